// Package libflux stands in for the one of the same name in Flux, which binds
// a library in Rust that cannot be had as a Go module. InfluxDB's users and
// tokens come without any Flux script, so that everything here refuses.
// scripts/influxd puts this file into the vendored Flux.
package libflux

import (
	"context"
	"errors"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/influxdata/flux/semantic"
)

var errNoFlux = errors.New("this InfluxDB has no Flux")

// Options are of no consequence.
type Options struct{}

// NewOptions makes them.
func NewOptions(context.Context) Options { return Options{} }

// ASTPkg is no syntax tree.
type ASTPkg struct{}

func (ASTPkg) ASTHandle()                   {}
func (ASTPkg) Format() (string, error)      { return "", errNoFlux }
func (ASTPkg) GetError(Options) error       { return errNoFlux }
func (ASTPkg) MarshalJSON() ([]byte, error) { return nil, errNoFlux }
func (ASTPkg) Free()                        {}

// SemanticPkg is no semantic graph.
type SemanticPkg struct{}

func (SemanticPkg) MarshalFB() ([]byte, error) { return nil, errNoFlux }
func (SemanticPkg) Free()                      {}

func Parse(string, string) *ASTPkg                              { return &ASTPkg{} }
func ParseString(string) *ASTPkg                                { return &ASTPkg{} }
func ParseJSON([]byte) (*ASTPkg, error)                         { return nil, errNoFlux }
func MergePackages(_, _ *ASTPkg) error                          { return errNoFlux }
func AnalyzeWithOptions(*ASTPkg, Options) (*SemanticPkg, error) { return nil, errNoFlux }
func SemanticPackages() (map[string]*semantic.Package, error)   { return nil, errNoFlux }

// EnvStdlib is an environment of types without any; it is read at the start.
func EnvStdlib() []byte {
	b := flatbuffers.NewBuilder(64)
	b.StartObject(1)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}
