package keeper

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/key"
)

// Set is a key.Keeper made of several: the first wraps, and whichever wrapped
// something opens it. So a root key can be replaced while its successor is
// already in use.
type Set struct {
	key.Keeper
	others map[string]key.Keeper
}

// NewSet returns a Set whose ID is that of first. Keepers of the same root
// key count once.
func NewSet(first key.Keeper, others ...key.Keeper) *Set {
	s := &Set{first, map[string]key.Keeper{}}
	for _, k := range others {
		if k.ID() != first.ID() {
			s.others[k.ID()] = k
		}
	}
	return s
}

// Has reports whether the set opens what the root key with the ID wrapped.
func (s *Set) Has(id string) bool {
	_, found := s.others[id]
	return found || id == s.ID()
}

// Unwrap implements key.Keeper.
func (s *Set) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	id, ok := key.WrappedBy(wrapped)
	if !ok || id == s.ID() {
		return s.Keeper.Unwrap(ctx, wrapped)
	}
	if k, found := s.others[id]; found {
		return k.Unwrap(ctx, wrapped)
	}
	known := []string{s.ID()}
	for id := range s.others {
		known = append(known, id)
	}
	return nil, fmt.Errorf("%w: root key %s, but those in use are %s", key.ErrWrongRootKey, id, strings.Join(known, ", "))
}
