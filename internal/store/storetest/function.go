package storetest

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
)

// digest is the name under which code is stored.
func digest(zip string) string {
	sum := sha256.Sum256([]byte(zip))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func newFunction(name, zip string) *function.Function {
	return &function.Function{
		ID: uuid.NewString(), Account: account, Region: region, Name: name, NextVersion: 1,
		Config: function.Config{Version: function.Latest, Runtime: "python3.12", CodeSHA256: digest(zip), CodeSize: int64(len(zip)), State: function.StateActive},
	}
}

// createFunction stores a function with its code.
func createFunction(t testing.TB, s *store.Store, name, zip string) *function.Function {
	t.Helper()
	var f *function.Function
	update(t, s, func(tx *store.Tx) error {
		f = newFunction(name, zip)
		if err := tx.SaveCode(digest(zip), []byte(zip)); err != nil {
			return err
		}
		return tx.CreateFunction(f)
	})
	return f
}

func codeIs(t testing.TB, s *store.Store, zip string, want bool) {
	t.Helper()
	err := s.View(t.Context(), func(tx *store.Tx) error {
		got, err := tx.Code(digest(zip))
		if err == nil && string(got) != zip {
			t.Errorf("code %q: got %q", zip, got)
		}
		return err
	})
	switch {
	case want && err != nil:
		t.Errorf("code %q: got %v, want it", zip, err)
	case !want && !fault.Is(err, fault.NotFound):
		t.Errorf("code %q: got %v, want it gone", zip, err)
	}
}

func testFunction(t *testing.T, open Open) {
	s := open(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	f := newFunction("f", "zip")
	f.Config.Environment = []byte{0, 1, 255}
	f.Config.VPC = &function.VPC{SubnetIDs: []string{"subnet-1"}, SecurityGroupIDs: []string{}}
	f.Config.LastModified = at
	f.Reserved = new(int64(0))
	f.Policies = map[string]function.Policy{"live": {Statements: []function.Statement{{
		Sid: "s", Principal: map[string]string{"*": "*"}, Condition: map[string]map[string]string{"ArnLike": {"AWS:SourceArn": "a"}},
	}}}}
	f.Tags = map[string]string{"team": "db"}
	f.Async = map[string]function.AsyncConfig{"$LATEST": {MaximumRetryAttempts: new(int64(1)), LastModified: at}}
	f.Provisioned = map[string]function.Provisioned{"live": {Requested: 2, LastModified: at}}
	f.RecursiveLoop, f.RuntimeUpdate = "Allow", "Manual"
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveCode(digest("zip"), []byte("zip")); err != nil {
			return err
		}
		return tx.CreateFunction(f)
	})
	got := read(t, s, func(tx *store.Tx) (*function.Function, error) { return tx.Function(account, region, "f") })
	if diff := cmp.Diff(f, got); diff != "" {
		t.Errorf("function (-want +got):\n%s", diff)
	}
	byID := read(t, s, func(tx *store.Tx) (*function.Function, error) { return tx.FunctionByID(f.ID) })
	if diff := cmp.Diff(f, byID); diff != "" {
		t.Errorf("function by ID (-want +got):\n%s", diff)
	}
	err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateFunction(newFunction("f", "zip")) })
	wantKind(t, err, fault.Exists)

	stale := *got
	got.Reserved, got.Config.Handler = nil, "h.h"
	update(t, s, func(tx *store.Tx) error { changed := *got; return tx.SaveFunction(&changed) })
	err = s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveFunction(&stale) })
	wantKind(t, err, fault.Conflict)
	got.Revision++
	again := read(t, s, func(tx *store.Tx) (*function.Function, error) { return tx.FunctionByID(f.ID) })
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("changed function (-want +got):\n%s", diff)
	}

	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunction(f.ID) })
	for _, name := range []string{"f", "g"} {
		err := s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Function(account, region, name); return err })
		wantKind(t, err, fault.NotFound)
	}
}

func testFunctionList(t *testing.T, open Open) {
	s := open(t)
	for _, name := range []string{"b", "A", "a-1", "a_1", "c"} {
		createFunction(t, s, name, "zip")
	}
	update(t, s, func(tx *store.Tx) error {
		elsewhere := newFunction("x", "zip")
		elsewhere.Region = "eu-west-1"
		return tx.CreateFunction(elsewhere)
	})
	var names []string
	for after := ""; ; {
		page := read(t, s, func(tx *store.Tx) ([]*function.Function, error) { return tx.Functions(account, region, after, 2) })
		if len(page) == 0 {
			break
		}
		for _, f := range page {
			names = append(names, f.Name)
		}
		after = names[len(names)-1]
	}
	if want := []string{"A", "a-1", "a_1", "b", "c"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q: by bytes", names, want)
	}
	view(t, s, func(tx *store.Tx) error {
		count, bytes, err := tx.FunctionUsage(account, region)
		if count != 5 || bytes != 15 {
			t.Errorf("got %d functions of %d bytes, want 5 of 15", count, bytes)
		}
		return err
	})
}

func testFunctionConcurrency(t *testing.T, open Open) {
	s := open(t)
	for i, change := range []func(*function.Function){
		func(f *function.Function) { f.Reserved = new(int64(10)) },
		func(f *function.Function) { f.Reserved = new(int64(0)) },
		func(f *function.Function) { f.Provisioned = map[string]function.Provisioned{"1": {Requested: 3}} },
		func(f *function.Function) {
			f.Reserved = new(int64(7))
			f.Provisioned = map[string]function.Provisioned{"1": {Requested: 3}, "2": {Requested: 1}}
		},
		func(*function.Function) {},
	} {
		f := createFunction(t, s, fmt.Sprint("f", i), "zip")
		change(f)
		update(t, s, func(tx *store.Tx) error { changed := *f; return tx.SaveFunction(&changed) })
	}
	claimed := read(t, s, func(tx *store.Tx) (int64, error) { return tx.ClaimedConcurrency(account, region) })
	if claimed != 20 {
		t.Errorf("got %d claimed, want 20", claimed)
	}
	provisioned := read(t, s, (*store.Tx).ProvisionedFunctions)
	if len(provisioned) != 2 {
		t.Errorf("got %d functions with provisioned concurrency, want 2", len(provisioned))
	}
}

func testFunctionVersion(t *testing.T, open Open) {
	s := open(t)
	f := createFunction(t, s, "f", "zip1")
	version := func(number int, zip string) *function.Config {
		return &function.Config{Version: fmt.Sprint(number), CodeSHA256: digest(zip), CodeSize: 4, State: function.StateActive}
	}
	update(t, s, func(tx *store.Tx) error {
		for _, n := range []int{1, 2, 10} {
			if err := tx.SaveFunctionVersion(f, version(n, "zip1")); err != nil {
				return err
			}
		}
		return nil
	})
	list := read(t, s, func(tx *store.Tx) ([]*function.Config, error) { return tx.FunctionVersions(f.ID, 1, 5) })
	if diff := cmp.Diff([]*function.Config{version(2, "zip1"), version(10, "zip1")}, list); diff != "" {
		t.Errorf("versions after 1 (-want +got):\n%s", diff)
	}
	last := read(t, s, func(tx *store.Tx) (*function.Config, error) { return tx.LastFunctionVersion(f.ID) })
	if last.Version != "10" {
		t.Errorf("got last version %s, want 10", last.Version)
	}
	pending := version(10, "zip1")
	pending.BeginCreation()
	update(t, s, func(tx *store.Tx) error { return tx.SaveFunctionVersion(f, pending) })
	changing := read(t, s, func(tx *store.Tx) ([]store.ChangingVersion, error) { return tx.ChangingFunctions(10) })
	if diff := cmp.Diff([]store.ChangingVersion{{FunctionID: f.ID, Number: 10}}, changing); diff != "" {
		t.Errorf("changing (-want +got):\n%s", diff)
	}

	// $LATEST moves on; the versions keep their code.
	f.Config.CodeSHA256 = digest("zip2")
	update(t, s, func(tx *store.Tx) error {
		if err := tx.SaveCode(digest("zip2"), []byte("zip2")); err != nil {
			return err
		}
		changed := *f
		return tx.SaveFunction(&changed)
	})
	codeIs(t, s, "zip1", true)
	for _, n := range []int64{1, 2, 10} {
		codeIs(t, s, "zip1", true)
		update(t, s, func(tx *store.Tx) error { return tx.DeleteFunctionVersion(f.ID, n) })
	}
	codeIs(t, s, "zip1", false)
	err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteFunctionVersion(f.ID, 1) })
	wantKind(t, err, fault.NotFound)
	for _, get := range []func(*store.Tx) error{
		func(tx *store.Tx) error { _, err := tx.FunctionVersion(f.ID, 1); return err },
		func(tx *store.Tx) error { _, err := tx.LastFunctionVersion(f.ID); return err },
	} {
		wantKind(t, s.View(t.Context(), get), fault.NotFound)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunction(f.ID) })
	codeIs(t, s, "zip2", false)
}

func testFunctionAlias(t *testing.T, open Open) {
	s := open(t)
	f := createFunction(t, s, "f", "zip")
	live := &function.Alias{FunctionID: f.ID, Name: "live", Version: "1", Description: "d", RevisionID: "r", Weights: map[string]float64{"2": 0.25}}
	update(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"a", "b"} {
			if err := tx.CreateFunctionAlias(&function.Alias{FunctionID: f.ID, Name: name, Version: "1"}); err != nil {
				return err
			}
		}
		return tx.CreateFunctionAlias(live)
	})
	err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateFunctionAlias(live) })
	wantKind(t, err, fault.Exists)
	live.Version, live.Weights = "2", nil
	update(t, s, func(tx *store.Tx) error { return tx.SaveFunctionAlias(live) })
	got := read(t, s, func(tx *store.Tx) (*function.Alias, error) { return tx.FunctionAlias(f.ID, "live") })
	if diff := cmp.Diff(live, got); diff != "" {
		t.Errorf("alias (-want +got):\n%s", diff)
	}
	page := read(t, s, func(tx *store.Tx) ([]*function.Alias, error) { return tx.FunctionAliases(f.ID, "a", 1) })
	if len(page) != 1 || page[0].Name != "b" {
		t.Errorf("got %v after a, want b", page)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunctionAlias(f.ID, "b") })
	if all := read(t, s, func(tx *store.Tx) ([]*function.Alias, error) { return tx.AllFunctionAliases(f.ID) }); len(all) != 2 {
		t.Errorf("got %d aliases, want 2", len(all))
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunction(f.ID) })
	err = s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.FunctionAlias(f.ID, "live"); return err })
	wantKind(t, err, fault.NotFound)
}

func testLayer(t *testing.T, open Open) {
	s := open(t)
	publish := func(name, zip string) *function.LayerVersion {
		t.Helper()
		l := &function.LayerVersion{Account: account, Region: region, Name: name, CodeSHA256: digest(zip), CodeSize: int64(len(zip)), Runtimes: []string{"python3.12"}}
		update(t, s, func(tx *store.Tx) error {
			if err := tx.SaveCode(digest(zip), []byte(zip)); err != nil {
				return err
			}
			return tx.AddLayerVersion(l)
		})
		return l
	}
	first, second := publish("deps", "layer1"), publish("deps", "layer2")
	publish("other", "layer3")
	if first.Version != 1 || second.Version != 2 {
		t.Errorf("got versions %d and %d, want 1 and 2", first.Version, second.Version)
	}
	got := read(t, s, func(tx *store.Tx) (*function.LayerVersion, error) { return tx.LayerVersion(account, region, "deps", 2) })
	if diff := cmp.Diff(second, got); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
	list := read(t, s, func(tx *store.Tx) ([]*function.LayerVersion, error) {
		return tx.LayerVersions(account, region, "deps", 1000, 10)
	})
	if diff := cmp.Diff([]*function.LayerVersion{second, first}, list); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}

	// A function keeps the code of a layer that is deleted.
	f := createFunction(t, s, "f", "zip")
	f.Config.Layers = []function.Layer{{ARN: first.ARN(), CodeSHA256: first.CodeSHA256, CodeSize: first.CodeSize}}
	update(t, s, func(tx *store.Tx) error { changed := *f; return tx.SaveFunction(&changed) })
	for range 2 {
		for n := range int64(2) {
			update(t, s, func(tx *store.Tx) error { return tx.DeleteLayerVersion(account, region, "deps", n+1) })
		}
	}
	codeIs(t, s, "layer1", true)
	codeIs(t, s, "layer2", false)
	names := read(t, s, func(tx *store.Tx) ([]string, error) { return tx.Layers(account, region, "", 10) })
	if !slices.Equal(names, []string{"other"}) {
		t.Errorf("got layers %q, want other alone", names)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunction(f.ID) })
	codeIs(t, s, "layer1", false)
	if third := publish("deps", "layer1"); third.Version != 3 {
		t.Errorf("got version %d after all were deleted, want 3", third.Version)
	}
}

func testEvent(t *testing.T, open Open) {
	s := open(t)
	f := createFunction(t, s, "f", "zip")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event := func(id string, due time.Time) *function.Event {
		return &function.Event{RequestID: id, FunctionID: f.ID, Qualifier: "live", Payload: []byte{0, 255}, TraceHeader: "t", AcceptedAt: at, DueAt: due}
	}
	update(t, s, func(tx *store.Tx) error {
		for i, id := range []string{"r2", "r1", "r3"} {
			if err := tx.AddFunctionEvent(event(id, at.Add(time.Duration(i)*time.Minute))); err != nil {
				return err
			}
		}
		return nil
	})
	err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.AddFunctionEvent(event("r1", at)) })
	wantKind(t, err, fault.Exists)

	claim := func(now, until time.Time) (list []*function.Event) {
		update(t, s, func(tx *store.Tx) (err error) {
			list, err = tx.ClaimFunctionEvents("node", now, until, 10)
			return err
		})
		return list
	}
	until := at.Add(time.Hour)
	list := claim(at.Add(time.Minute), until)
	want := []*function.Event{event("r2", until), event("r1", until)}
	for _, e := range want {
		e.Owner, e.Fence, e.Account, e.Region, e.Name = "node", 1, account, region, "f"
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Fatalf("claimed (-want +got):\n%s", diff)
	}
	if again := claim(at.Add(time.Minute), until); len(again) != 0 {
		t.Errorf("got %d events twice", len(again))
	}
	if next := read(t, s, (*store.Tx).NextFunctionEvent); !next.Equal(at.Add(2 * time.Minute)) {
		t.Errorf("got next at %v, want r3's time", next)
	}

	// r2 waits for another attempt; r1's claim ends and somebody else gets it.
	list[0].Errors, list[0].Owner, list[0].DueAt = 1, "", at.Add(3*time.Minute)
	update(t, s, func(tx *store.Tx) error { return tx.SaveFunctionEvent(list[0]) })
	later := claim(until, until.Add(time.Hour))
	if len(later) != 3 || later[0].RequestID != "r3" || later[1].RequestID != "r2" || later[1].Errors != 1 || later[2].Fence != 2 {
		t.Fatalf("got %+v after the claim ended", later)
	}
	for _, lost := range []func(*store.Tx) error{
		func(tx *store.Tx) error { return tx.SaveFunctionEvent(list[1]) },
		func(tx *store.Tx) error { return tx.RemoveFunctionEvent(list[1]) },
	} {
		wantKind(t, s.Update(t.Context(), lost), fault.Conflict)
	}
	update(t, s, func(tx *store.Tx) error { return tx.RemoveFunctionEvent(later[2]) })

	// A node that starts again frees what it owned, and nothing else.
	later[0].Owner, later[0].DueAt = "", until.Add(30*time.Minute)
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.SaveFunctionEvent(later[0]), tx.FreeFunctionEvents("other", at), tx.FreeFunctionEvents("node", at))
	})
	if freed := claim(at, until.Add(time.Hour)); len(freed) != 1 || freed[0].RequestID != "r2" {
		t.Errorf("got %+v freed, want r2 alone", freed)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteFunction(f.ID) })
	if next := read(t, s, (*store.Tx).NextFunctionEvent); !next.IsZero() {
		t.Errorf("got an event at %v of a function that is gone", next)
	}
}
