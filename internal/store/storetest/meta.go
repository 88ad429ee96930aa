package storetest

import (
	"testing"

	"github.com/keyturn/keyturn/internal/store"
)

func testMeta(t *testing.T, open Open) {
	s := open(t)
	meta := func(tx *store.Tx) (string, error) { return tx.Meta("made by") }
	if got := read(t, s, meta); got != "" {
		t.Errorf("got %q from an empty store, want nothing", got)
	}
	for _, want := range []string{"serve", "dev", ""} {
		update(t, s, func(tx *store.Tx) error { return tx.SetMeta("made by", want) })
		if got := read(t, s, meta); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
