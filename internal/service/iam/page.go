package iam

import (
	"context"

	"github.com/keyturn/keyturn/internal/store"
)

// page cuts a list, sorted by key, behind the marker to the wanted size, 100
// by default. next is nil on the last page.
func page[T any](list []T, key func(T) string, marker *string, size *int64) (part []T, next *string) {
	start := 0
	if marker != nil {
		for start < len(list) && key(list[start]) <= *marker {
			start++
		}
	}
	list = list[start:]
	most := pageSize(size)
	if len(list) <= most {
		return list, nil
	}
	return list[:most], new(key(list[most-1]))
}

// pageSize is the size that a request wants, 100 by default (AWS docs).
func pageSize(size *int64) int {
	if size == nil {
		return 100
	}
	return int(*size)
}

// pageOf reads one page with a function of the store that lists by name:
// behind the marker, up to one more than the wanted size.
func pageOf[T any](ctx context.Context, s *store.Store, name func(T) string, marker *string, size *int64,
	list func(tx *store.Tx, after string, limit int) ([]T, error)) (part []T, next *string, err error) {
	most := pageSize(size)
	err = s.View(ctx, func(tx *store.Tx) (err error) {
		part, err = list(tx, text(marker), most+1)
		return err
	})
	if err != nil || len(part) <= most {
		return part, nil, err
	}
	return part[:most], new(name(part[most-1])), nil
}

// text returns what an optional member holds, or "".
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// pathOf returns the path that a request gives, "/" by default (AWS docs).
func pathOf(s *string) string {
	if s == nil {
		return "/"
	}
	return *s
}
