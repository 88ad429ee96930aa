package server

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
)

// asked counts what the holder of the root key has to unwrap.
type asked struct {
	key.Keeper
	times int
}

func (a *asked) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	a.times++
	return a.Keeper.Unwrap(ctx, wrapped)
}

// Material leaves the memory when its key changes, and when that cannot be
// known.
func TestForget(t *testing.T) {
	inner, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	k := &asked{Keeper: inner}
	ring := key.NewRing(k, 0)
	var recs [2]*key.Record
	for i := range recs {
		if recs[i], err = key.NewRecord(t.Context(), k, key.NewKey{Account: "1", Region: "us-east-1", Manager: key.Customer}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		what   string
		topics []string
		want   int // unwrapped anew, of two keys
	}{
		{"at first", []string{}, 2},
		{"nothing", []string{}, 0},
		{"others", []string{store.KeyTopic("x"), store.SecretTopic(recs[0].ID), store.IdentityTopic("1")}, 0},
		{"one", []string{store.SecretTopic("s"), store.KeyTopic(recs[0].ID)}, 1},
		{"who knows", nil, 2},
	} {
		forget(ring, tc.topics)
		before := k.times
		for _, rec := range recs {
			if _, err := ring.Encrypt(t.Context(), rec, nil, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if got := k.times - before; got != tc.want {
			t.Errorf("%s changed: %d keys were unwrapped, want %d", tc.what, got, tc.want)
		}
	}
}
