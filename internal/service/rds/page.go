package rds

import (
	"encoding/base64"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
)

// The sizes of pages (AWS docs).
const (
	minPage = 20
	maxPage = 100
)

// page is which part of a list is wanted.
type page struct {
	after string
	size  int
}

func newPage(size *int64, from *string) (page, error) {
	p := page{size: maxPage}
	if size != nil {
		if *size < minPage || *size > maxPage { // AWS: reported
			return p, fault.New(fault.Parameter, "Invalid value %d for MaxRecords. Must be between %d and %d", *size, minPage, maxPage)
		}
		p.size = int(*size)
	}
	if given(from) != "" {
		b, err := base64.RawURLEncoding.DecodeString(*from)
		if err != nil {
			return p, fault.New(fault.PageToken, "The parameter Marker is not valid.").Because(err)
		}
		p.after = string(b)
	}
	return p, nil
}

// marker leads to what comes after an identifier.
func marker(id string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(id))) }

// walk collects one page of what list returns in order and keep keeps.
func walk[T any](p page, id func(*T) string, list func(after string, limit int) ([]*T, error), keep func(*T) bool) (found []*T, next *string, err error) {
	for after := p.after; ; {
		batch, err := list(after, maxPage)
		if err != nil {
			return nil, nil, err
		}
		for _, x := range batch {
			if !keep(x) {
				continue
			}
			if len(found) == p.size {
				return found, marker(id(found[p.size-1])), nil
			}
			found = append(found, x)
		}
		if len(batch) < maxPage {
			return found, nil, nil
		}
		after = id(batch[len(batch)-1])
	}
}

// filters are what a list is narrowed to, by name: values are alternatives.
type filters map[string][]string

// filtersOf reads the filters of a request, of which only known names and
// those that narrow nothing down here are taken.
func filtersOf(in []api.Filter, known ...string) (filters, error) {
	f := filters{}
	for i := range in {
		name := given(in[i].Name)
		ok := false
		for _, k := range known {
			ok = ok || k == name
		}
		if !ok { // AWS: reported
			return nil, fault.New(fault.Parameter, "Unrecognized filter name: %s", name)
		}
		if len(in[i].Values) == 0 {
			return nil, fault.New(database.Combination, "The filter '%s' requires values.", name)
		}
		f[name] = append(f[name], in[i].Values...)
	}
	return f, nil
}

// match tells whether a property has one of a filter's values, without regard
// to case. IDs are also known by their ARNs.
func (f filters) match(name string, has ...string) bool {
	wanted, filtered := f[name]
	if !filtered {
		return true
	}
	for _, v := range wanted {
		for _, h := range has {
			if h != "" && strings.EqualFold(v, h) {
				return true
			}
		}
	}
	return false
}
