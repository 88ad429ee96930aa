package engine

import (
	"encoding/base64"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// pretend applies the differences between two states to a third, those of
// the keys that done tells.
func pretend[V comparable](real, old, new map[string]V, done func() bool) {
	all := maps.Clone(old)
	maps.Copy(all, new)
	for k := range all {
		before, had := old[k]
		after, has := new[k]
		switch {
		case before == after && had == has || !done():
		case has:
			real[k] = after
		default:
			delete(real, k)
		}
	}
}

// However many updates fail, and whatever they have changed by then, one that
// succeeds leads to what is wanted, though handlers apply differences alone.
func TestSuppose(t *testing.T) {
	t.Parallel()
	tags := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b"}), rapid.SampledFrom([]string{"1", "2"}), 0, 2)
	values := rapid.MapOfN(rapid.SampledFrom([]string{"KmsKeyId", "LogGroupClass"}), rapid.SampledFrom([]any{"1", "2"}), 0, 2)
	applied := rapid.Custom(func(t *rapid.T) *record.Applied {
		a := &record.Applied{Declared: values.Draw(t, "properties")}
		if rapid.Bool().Draw(t, "dynamic") {
			a.Resolved = values.Draw(t, "resolved")
		}
		for k, v := range tags.Draw(t, "tags") {
			a.Tags = append(a.Tags, record.Tag{Key: k, Value: v})
		}
		return a
	})
	rapid.Check(t, func(t *rapid.T) {
		p := &part{&record.Resource{Type: "AWS::Logs::LogGroup"}, &record.State{Now: applied.Draw(t, "first")}}
		real, realTags := maps.Clone(p.state.Now.Properties()), tagMap(p.state.Now.Tags)
		update := func(want *record.Applied, done func() bool) {
			p.suppose(want)
			p.state.Next = want
			pretend(real, p.state.Now.Properties(), want.Properties(), done)
			pretend(realTags, tagMap(p.state.Now.Tags), tagMap(want.Tags), done)
		}
		for range rapid.IntRange(0, 4).Draw(t, "failures") {
			update(applied.Draw(t, "failing"), func() bool { return rapid.Bool().Draw(t, "done") })
		}
		want := applied.Draw(t, "last")
		update(want, func() bool { return true })
		if diff := cmp.Diff(want.Properties(), real); diff != "" {
			t.Errorf("properties (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(tagMap(want.Tags), realTags); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
	})
}

// An export whose value is not the one that was read is not used.
func TestUseOfChangedExport(t *testing.T) {
	t.Parallel()
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := key.NewSealerKey(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := key.NewSealer(t.Context(), k, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	giver := &record.Stack{ID: "arn:giver", Account: "1", Region: "r", Name: "giver", Status: record.CreateComplete}
	taker := &record.Stack{ID: "arn:taker", Account: "1", Region: "r", Name: "taker", Status: record.CreateInProgress}
	d := &driver{Engine: New(Config{Store: st, Sealer: sealer}), stack: taker, stackID: taker.ID, plan: &plan{scope: ScopeOf(taker, stack.Arguments{}, nil)}}
	give := func(tx *store.Tx, value string) error {
		x := &record.Export{Account: "1", Region: "r", Name: "shared", StackID: giver.ID}
		if err := x.Seal(sealer, value); err != nil {
			return err
		}
		return tx.SaveExport(x)
	}
	if err := st.Update(t.Context(), func(tx *store.Tx) error {
		for _, s := range []*record.Stack{giver, taker} {
			if err := tx.CreateStack(s); err != nil {
				return err
			}
		}
		return give(tx, "one")
	}); err != nil {
		t.Fatal(err)
	}
	a := &record.Applied{}
	if v, err := d.scopeFor(t.Context(), a).Import("shared"); err != nil || v != "one" {
		t.Fatalf("got %q, %v", v, err)
	}
	use := func(tx *store.Tx) error { return d.use(tx, a) }
	if err := st.Update(t.Context(), use); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	if err := st.Update(t.Context(), func(tx *store.Tx) error { return give(tx, "two") }); err != nil {
		t.Fatal(err)
	}
	const want = "Export shared was changed in the meantime"
	if err := st.Update(t.Context(), use); !fault.Is(err, fault.Validation) || message(err) != want {
		t.Errorf("changed: got %v, want %s", err, want)
	}
	if _, err := d.scopeFor(t.Context(), a).Import("shared"); err == nil || message(err) != want {
		t.Errorf("read again: got %v, want %s", err, want)
	}
}
