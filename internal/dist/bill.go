package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
)

// bill is a bill of materials in the form of CycloneDX 1.6.
type bill struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	URL        string     `json:"purl"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licences   []licence  `json:"licenses,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licence struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// dependency is flat: the build info does not say who needs whom.
type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// billOf makes the bill of a program from what the Go tool wrote into it: all
// modules whose packages are in it, with the sums that go.sum held them to.
func billOf(binary []byte, version, commit string, at time.Time, known licences) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("reading the build info: %w", err)
	}
	sum := sha256.Sum256(binary)
	own := component{
		Type: "application", Ref: "keyturn", Name: info.Main.Path, Version: version, URL: packageURL(info.Main.Path, version),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, Licences: identified(ownLicence()),
	}
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" {
			own.Properties = append(own.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	own.Properties = append(own.Properties, property{"git:commit", commit})
	b := bill{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		SerialNumber: "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceURL, sum[:]).String(),
		Metadata:     metadata{at.Format(time.RFC3339), own},
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	b.Components = []component{{
		Type: "library", Ref: "std", Name: "std", Version: goVersion, URL: packageURL("std", goVersion), Licences: identified("BSD-3-Clause"),
	}}
	for _, m := range info.Deps {
		c, err := module(m, known)
		if err != nil {
			return nil, err
		}
		b.Components = append(b.Components, c)
	}
	all := dependency{Ref: own.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
	}
	b.Dependencies = append([]dependency{all}, b.Dependencies...)
	text, err := json.MarshalIndent(b, "", "  ")
	return append(text, '\n'), err
}

// module is a module of a program. What stands in for another is what is in
// the program.
func module(m *debug.Module, known licences) (component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	c := component{
		Type: "library", Ref: m.Path + "@" + m.Version, Name: m.Path, Version: m.Version, URL: packageURL(m.Path, m.Version),
		Properties: []property{{"go:sum", m.Sum}},
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(raw) != sha256.Size {
		return c, fmt.Errorf("the module %s has no sum of the kind h1, but %q", m.Path, m.Sum)
	}
	// The Go tool's sum of a module is the SHA-256 of the list of the sums of
	// its files.
	c.Hashes = []hash{{"SHA-256", hex.EncodeToString(raw)}}
	id, err := known.of(m.Path, m.Version)
	c.Licences = identified(id)
	return c, err
}

func identified(id string) []licence {
	if id == "" {
		return nil
	}
	var l licence
	l.License.ID = id
	return []licence{l}
}

// packageURL names a module as https://github.com/package-url does.
func packageURL(path, version string) string {
	return "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(version, "+", "%2B")
}
