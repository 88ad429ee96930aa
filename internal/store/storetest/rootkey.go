package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

// wrappedBy are bytes that begin as those which a root key wrapped.
func wrappedBy(root byte, text string) []byte {
	return append(append([]byte{1}, bytes.Repeat([]byte{root}, 8)...), text...)
}

func rootID(root byte) string { return fmt.Sprintf("%x", bytes.Repeat([]byte{root}, 8)) }

// Material is found by the root key that wrapped it, page by page, and leaves
// the list when another one wraps it.
func testRootKeys(t *testing.T, open Open) {
	s := open(t)
	ids := func() []string {
		return read(t, s, func(tx *store.Tx) ([]string, error) { return tx.RootKeyIDs() })
	}
	if got := ids(); got != nil {
		t.Errorf("got %v in an empty store", got)
	}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SetSealerKey(wrappedBy(2, "sealer")); err != nil {
			return err
		}
		for i := range 5 {
			k := fullKey(fmt.Sprint("k", i))
			k.Material = []key.Material{{ID: "old", Wrapped: wrappedBy(0xfe, k.ID), CreatedAt: noon0}, {ID: "new", Wrapped: wrappedBy(1, k.ID), CreatedAt: noon0}}
			if err := tx.SaveKey(k); err != nil {
				return err
			}
		}
		return nil
	})
	if got, want := ids(), []string{rootID(1), rootID(2), rootID(0xfe)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var page []store.WrappedMaterial
	var keys []string
	for after := (store.MaterialPlace{}); ; after = page[len(page)-1].MaterialPlace {
		page = read(t, s, func(tx *store.Tx) ([]store.WrappedMaterial, error) { return tx.MaterialOf(rootID(0xfe), after, 2) })
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			keys = append(keys, m.KeyID)
			want := store.WrappedMaterial{MaterialPlace: store.MaterialPlace{Account: account, Region: region, KeyID: m.KeyID}, ID: "old", Wrapped: wrappedBy(0xfe, m.KeyID)}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Errorf("material (-want +got):\n%s", diff)
			}
		}
		update(t, s, func(tx *store.Tx) error { return tx.Rewrap(&page[0], wrappedBy(1, "anew")) })
		wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.Rewrap(&page[0], wrappedBy(3, "late")) }), fault.NotFound)
	}
	if want := []string{"k0", "k1", "k2", "k3", "k4"}; !slices.Equal(keys, want) {
		t.Errorf("got material of %v, want %v", keys, want)
	}
	for root, want := range map[byte]int{0xfe: 2, 1: 8, 3: 0} {
		if got := read(t, s, func(tx *store.Tx) (int, error) { return tx.CountMaterial(rootID(root)) }); got != want {
			t.Errorf("root key %x wrapped %d, want %d", root, got, want)
		}
	}
	got := read(t, s, func(tx *store.Tx) (*key.Record, error) { return tx.Key(account, region, "k0") })
	if !bytes.Equal(got.Material[0].Wrapped, wrappedBy(1, "anew")) || got.Material[0].ID != "old" || len(got.Material) != 2 {
		t.Errorf("got %+v", got.Material)
	}
	sealer := read(t, s, func(tx *store.Tx) ([]byte, error) { return tx.SealerKey() })
	if !bytes.Equal(sealer, wrappedBy(2, "sealer")) {
		t.Errorf("got sealer key %x", sealer)
	}
}
