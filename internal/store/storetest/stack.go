package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
)

const stackAccount, stackRegion = "123456789012", "us-east-1"

// fullStack returns a stack in which every member is set.
func fullStack(name, id string) *record.Stack {
	return &record.Stack{
		ID: record.NewStackID(stackRegion, stackAccount, name, id), Account: stackAccount, Region: stackRegion, Name: name,
		Status: record.CreateComplete, StatusReason: "because", Description: "d", CreatedAt: noon0, UpdatedAt: noon0.Add(time.Hour),
		ParentID: "parent", RootID: "root", ChangeSetID: "set", Sealed: []byte{1, 0, 2},
		Settings: record.Settings{
			Tags: []record.Tag{{Key: "k", Value: "v"}}, Capabilities: []string{"CAPABILITY_IAM"}, NotificationARNs: []string{"n"}, RoleARN: "r",
			DisableRollback: true, TimeoutInMinutes: 7, TerminationProtection: true, RetainExceptOnCreate: true, Policy: "{}",
			Triggers: []record.Trigger{{ARN: "a", Type: "t"}}, MonitoringMinutes: new(int64(3)), DeletionMode: "STANDARD",
			Operations: []record.Ran{{Type: "CREATE_STACK", ID: "o"}},
		},
	}
}

func createStack(t testing.TB, s *store.Store, st *record.Stack) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error { return tx.CreateStack(st) })
}

func testStacks(t *testing.T, open Open) {
	s := open(t)
	st := fullStack("a", "1")
	createStack(t, s, st)
	got := read(t, s, func(tx *store.Tx) (*record.Stack, error) { return tx.Stack(st.ID) })
	if diff := cmp.Diff(st, got); diff != "" {
		t.Errorf("stack (-want +got):\n%s", diff)
	}
	got = read(t, s, func(tx *store.Tx) (*record.Stack, error) { return tx.LiveStack(stackAccount, stackRegion, "a") })
	if got.ID != st.ID {
		t.Errorf("got %s, want %s", got.ID, st.ID)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateStack(fullStack("a", "2")) }), fault.Exists)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveStack(fullStack("a", "2")) }), fault.NotFound)
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Stack("none"); return err }), fault.NotFound)

	// A deleted stack gives its name away and is found by its ARN alone.
	st.Status, st.DeletedAt, st.Sealed = record.DeleteComplete, noon0.Add(2*time.Hour), []byte{9}
	update(t, s, func(tx *store.Tx) error { return tx.SaveStack(st) })
	if diff := cmp.Diff(st, read(t, s, func(tx *store.Tx) (*record.Stack, error) { return tx.Stack(st.ID) })); diff != "" {
		t.Errorf("stack (-want +got):\n%s", diff)
	}
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.LiveStack(stackAccount, stackRegion, "a"); return err }), fault.NotFound)
	createStack(t, s, fullStack("a", "2"))
	children := read(t, s, func(tx *store.Tx) ([]*record.Stack, error) { return tx.NestedStacks("parent") })
	if len(children) != 1 || children[0].ID == st.ID {
		t.Errorf("got %v, want the live stack", children)
	}
	purge := func(before time.Time) (n int64) {
		update(t, s, func(tx *store.Tx) (err error) { n, err = tx.PurgeStacks(before, 10); return err })
		return n
	}
	if n := purge(noon0.Add(time.Hour)); n != 0 {
		t.Errorf("purged %d stacks too early", n)
	}
	if n := purge(noon0.Add(3 * time.Hour)); n != 1 {
		t.Errorf("purged %d stacks, want 1", n)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DropStack(fullStack("a", "2").ID) })
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DropStack(fullStack("a", "2").ID) }), fault.NotFound)
}

func testStackList(t *testing.T, open Open) {
	s := open(t)
	var want []string
	for i := range 7 {
		st := fullStack(fmt.Sprint("s", i), "1")
		st.CreatedAt = noon0.Add(time.Duration(i/2) * time.Second) // some at the same time
		if i == 3 {
			st.DeletedAt = noon0
		}
		createStack(t, s, st)
		want = append(want, st.Name)
	}
	other := fullStack("other", "1")
	other.Region = "eu-west-1"
	createStack(t, s, other)
	slices.Reverse(want)
	for _, live := range []bool{false, true} {
		var got []string
		q := store.StackQuery{Account: stackAccount, Region: stackRegion, Live: live, Limit: 2}
		for {
			page := read(t, s, func(tx *store.Tx) ([]*record.Stack, error) { return tx.Stacks(q) })
			if len(page) == 0 {
				break
			}
			for _, st := range page {
				got = append(got, st.Name)
				q.AfterTime, q.AfterID = st.CreatedAt, st.ID
			}
		}
		expected := want
		if live {
			expected = slices.DeleteFunc(slices.Clone(want), func(name string) bool { return name == "s3" })
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("live %t (-want +got):\n%s", live, diff)
		}
	}
}

func testStackResources(t *testing.T, open Open) {
	s := open(t)
	st := fullStack("a", "1")
	createStack(t, s, st)
	list := func() []*record.Resource {
		return read(t, s, func(tx *store.Tx) ([]*record.Resource, error) { return tx.StackResources(st.ID) })
	}
	old := &record.Resource{
		ID: "z", StackID: st.ID, LogicalID: "L", Type: "T", PhysicalID: "p1", Status: record.CreateComplete, StatusReason: "r", ChangedAt: noon0,
		Place: record.Updated, Leaving: record.Superseded, Operation: "o", Token: "t", Sealed: []byte{1},
	}
	fresh := &record.Resource{ID: "a", StackID: st.ID, LogicalID: "L", Type: "T", Status: record.CreateInProgress, ChangedAt: noon0, Place: record.Created}
	first := &record.Resource{ID: "m", StackID: st.ID, LogicalID: "K", Type: "T", ChangedAt: noon0}
	for _, r := range []*record.Resource{old, fresh, first} {
		update(t, s, func(tx *store.Tx) error { return tx.SaveStackResource(r) })
	}
	if diff := cmp.Diff([]*record.Resource{first, old, fresh}, list()); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	fresh.PhysicalID, fresh.Status, fresh.Sealed = "p2", record.CreateComplete, []byte{2}
	update(t, s, func(tx *store.Tx) error {
		if err := tx.DropStackResource(old.ID); err != nil {
			return err
		}
		return tx.SaveStackResource(fresh)
	})
	if diff := cmp.Diff([]*record.Resource{first, fresh}, list()); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	id := read(t, s, func(tx *store.Tx) (string, error) { return tx.StackOfResource(stackAccount, stackRegion, "p2") })
	if id != st.ID {
		t.Errorf("got %s, want %s", id, st.ID)
	}
	for _, where := range [][3]string{{stackAccount, stackRegion, "p1"}, {stackAccount, "eu-west-1", "p2"}, {stackAccount, stackRegion, ""}} {
		wantKind(t, s.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.StackOfResource(where[0], where[1], where[2])
			return err
		}), fault.NotFound)
	}
}

func testStackEvents(t *testing.T, open Open) {
	s := open(t)
	st := fullStack("a", "1")
	createStack(t, s, st)
	var want []*record.Event
	for i := range 5 {
		e := &record.Event{
			StackID: st.ID, ID: fmt.Sprint("e", i), At: noon0, LogicalID: "L", PhysicalID: "p", Type: "T", Status: record.CreateComplete,
			Reason: "r", ClientRequestToken: "t", OperationID: "o", Sealed: []byte{byte(i)},
		}
		update(t, s, func(tx *store.Tx) error { return tx.AddStackEvent(e) })
		want = append(want, e)
	}
	slices.Reverse(want)
	var got []*record.Event
	for before := int64(0); ; {
		page := read(t, s, func(tx *store.Tx) ([]*record.Event, error) { return tx.StackEvents(st.ID, before, 2) })
		if len(page) == 0 {
			break
		}
		before = page[len(page)-1].Seq
		got = append(got, page...)
	}
	for _, e := range got {
		e.Seq = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func testChangeSets(t *testing.T, open Open) {
	s := open(t)
	st := fullStack("a", "1")
	createStack(t, s, st)
	full := func(name string) *record.ChangeSet {
		return &record.ChangeSet{
			ID: record.NewChangeSetID(stackRegion, stackAccount, name, "1"), StackID: st.ID, Name: name, Status: record.ChangeSetPending, StatusReason: "r",
			Execution: record.Unavailable, CreatedAt: noon0, Description: "d", Token: "t", Kind: "CREATE", IncludeNested: true, ImportExisting: true,
			OnFailure: "DELETE", Triggers: []record.Trigger{{ARN: "a", Type: "t"}}, MonitoringMinutes: new(int64(1)), Sealed: []byte{3},
		}
	}
	for _, name := range []string{"one", "two", "three"} {
		update(t, s, func(tx *store.Tx) error { return tx.CreateChangeSet(full(name)) })
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error {
		c := full("one")
		c.ID = "another"
		return tx.CreateChangeSet(c)
	}), fault.Exists)
	two := full("two")
	two.Status, two.Execution, two.Sealed = record.ChangeSetComplete, record.Available, []byte{4}
	update(t, s, func(tx *store.Tx) error { return tx.SaveChangeSet(two) })
	for _, got := range []*record.ChangeSet{
		read(t, s, func(tx *store.Tx) (*record.ChangeSet, error) { return tx.ChangeSet(two.ID) }),
		read(t, s, func(tx *store.Tx) (*record.ChangeSet, error) { return tx.ChangeSetOf(st.ID, "two") }),
	} {
		if diff := cmp.Diff(two, got); diff != "" {
			t.Errorf("change set (-want +got):\n%s", diff)
		}
	}
	names := func(after string, limit int) (list []string) {
		for _, c := range read(t, s, func(tx *store.Tx) ([]*record.ChangeSet, error) { return tx.ChangeSets(st.ID, after, limit) }) {
			list = append(list, c.Name)
		}
		return list
	}
	if diff := cmp.Diff([]string{"three", "two"}, names("one", 5)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.DropChangeSet(full("three").ID) })
	update(t, s, func(tx *store.Tx) error { return tx.KeepChangeSet(st.ID, two.ID) })
	if diff := cmp.Diff([]string{"two"}, names("", 5)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveChangeSet(full("one")) }), fault.NotFound)
}

func testOperations(t *testing.T, open Open) {
	s := open(t)
	st := fullStack("a", "1")
	createStack(t, s, st)
	op := &record.Operation{
		ID: "o1", StackID: st.ID, Kind: record.UpdateStack, Phase: record.Apply, Nested: true, StartedAt: noon0, Token: "token", Sealed: []byte{5},
		Order: record.Order{
			AccessKeyID: "k", Account: stackAccount, RoleARN: "r", OnFailure: "DELETE", RetainResources: []string{"a"}, Skip: []string{"b"},
			RetainExceptOnCreate: true, Force: true, ChangeSetID: "c", Policy: "p", Deadline: noon0, Refusal: "no", Cancel: record.Undo, Reason: "why",
			Began: record.CreateComplete,
		},
	}
	update(t, s, func(tx *store.Tx) error { return tx.CreateOperation(op) })
	for _, find := range []func(tx *store.Tx) (*record.Operation, error){
		func(tx *store.Tx) (*record.Operation, error) { return tx.StackOperation("o1") },
		func(tx *store.Tx) (*record.Operation, error) { return tx.RunningOperation(st.ID) },
		func(tx *store.Tx) (*record.Operation, error) { return tx.OperationByToken(st.ID, "token") },
		func(tx *store.Tx) (*record.Operation, error) { return tx.CheckFence("o1", 0) },
	} {
		if diff := cmp.Diff(op, read(t, s, find)); diff != "" {
			t.Errorf("operation (-want +got):\n%s", diff)
		}
	}
	op.Done, op.Phase, op.Order.Cancel, op.Sealed = true, record.Cleanup, "", []byte{6}
	op.Order.Deleter = &record.Asker{AccessKeyID: "l", Account: stackAccount, RoleARN: "s", At: noon0, Sealed: []byte{7}}
	op.Order.AskedAt = noon0
	update(t, s, func(tx *store.Tx) error { return tx.SaveOperation(op) })
	if diff := cmp.Diff(op, read(t, s, func(tx *store.Tx) (*record.Operation, error) { return tx.StackOperation("o1") })); diff != "" {
		t.Errorf("operation (-want +got):\n%s", diff)
	}
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.RunningOperation(st.ID); return err }), fault.NotFound)
	for i := range 4 {
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateOperation(&record.Operation{ID: fmt.Sprint("p", i), StackID: st.ID, Kind: record.UpdateStack, Done: true, StartedAt: noon0.Add(time.Duration(i+1) * time.Second)})
		})
	}
	update(t, s, func(tx *store.Tx) error { return tx.DropOperations(st.ID, 2) })
	var left []string
	for _, o := range read(t, s, func(tx *store.Tx) ([]*record.Operation, error) { return tx.StackOperations(st.ID, 10) }) {
		left = append(left, o.ID)
	}
	if diff := cmp.Diff([]string{"p3", "p2"}, left); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

func testOperationClaims(t *testing.T, open Open) {
	s := open(t)
	st := fullStack("a", "1")
	createStack(t, s, st)
	for i, nested := range []bool{false, true, false} {
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateOperation(&record.Operation{ID: fmt.Sprint("o", i), StackID: st.ID, Kind: record.MakeChangeSet, Nested: nested, StartedAt: noon0.Add(time.Duration(-i) * time.Second)})
		})
	}
	const lease = time.Minute
	claim := func(owner string, nested bool, now time.Time, limit int) (ids []string, list []*record.Operation) {
		update(t, s, func(tx *store.Tx) (err error) {
			list, err = tx.ClaimOperations(owner, nested, now, now.Add(lease), limit)
			return err
		})
		for _, o := range list {
			ids = append(ids, o.ID)
		}
		return ids, list
	}
	wait := func(now time.Time) bool {
		return read(t, s, func(tx *store.Tx) (bool, error) { return tx.OperationsWait(now, lease) })
	}
	if !wait(noon0) {
		t.Error("nothing waits")
	}
	ids, list := claim("a", false, noon0, 1)
	if !slices.Equal(ids, []string{"o2"}) { // the oldest
		t.Errorf("got %v", ids)
	}
	if ids, _ := claim("b", false, noon0, 5); !slices.Equal(ids, []string{"o0"}) {
		t.Errorf("got %v", ids)
	}
	if ids, _ := claim("b", true, noon0, 5); !slices.Equal(ids, []string{"o1"}) {
		t.Errorf("got %v", ids)
	}
	if wait(noon0) {
		t.Error("what is claimed waits")
	}
	mine := list[0]
	renew := func(owner string, fence int64, until time.Time) error {
		return s.Update(t.Context(), func(tx *store.Tx) error { return tx.RenewOperation("o2", owner, fence, until) })
	}
	if err := renew("a", mine.Fence, noon0.Add(2*lease)); err != nil {
		t.Error(err)
	}
	wantKind(t, renew("b", mine.Fence, noon0), fault.Conflict)
	wantKind(t, renew("a", mine.Fence+1, noon0), fault.Conflict)
	if ids, _ := claim("c", false, noon0.Add(lease), 5); !slices.Equal(ids, []string{"o0"}) { // whose lease has ended
		t.Errorf("got %v", ids)
	}
	if ids, _ := claim("c", false, noon0.Add(-2*lease), 5); !slices.Equal(ids, []string{"o2", "o0"}) { // leases from the future
		t.Errorf("got %v", ids)
	}
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.CheckFence("o2", mine.Fence); return err }), fault.Conflict)
	update(t, s, func(tx *store.Tx) error { return tx.ReleaseOperations("c") })
	if ids, _ := claim("d", false, noon0, 5); !slices.Equal(ids, []string{"o2", "o0"}) {
		t.Errorf("got %v", ids)
	}
}

func testExports(t *testing.T, open Open) {
	s := open(t)
	a, b := fullStack("a", "1"), fullStack("b", "1")
	createStack(t, s, a)
	createStack(t, s, b)
	x := &record.Export{Account: stackAccount, Region: stackRegion, Name: "x", StackID: a.ID, Sealed: []byte{1}}
	save := func(x record.Export) error {
		return s.Update(t.Context(), func(tx *store.Tx) error { return tx.SaveExport(&x) })
	}
	for _, name := range []string{"x", "y"} {
		more := *x
		more.Name = name
		if err := save(more); err != nil {
			t.Fatal(err)
		}
	}
	taken := *x
	taken.StackID = b.ID
	wantKind(t, save(taken), fault.Exists)
	x.Sealed = []byte{2}
	if err := save(*x); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, read(t, s, func(tx *store.Tx) (*record.Export, error) { return tx.Export(stackAccount, stackRegion, "x") })); diff != "" {
		t.Errorf("export (-want +got):\n%s", diff)
	}
	if got := read(t, s, func(tx *store.Tx) ([]*record.Export, error) { return tx.Exports(stackAccount, stackRegion, "x", 5) }); len(got) != 1 || got[0].Name != "y" {
		t.Errorf("got %v", got)
	}
	if got := read(t, s, func(tx *store.Tx) ([]*record.Export, error) { return tx.ExportsOf(a.ID) }); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	importers := func(after string) []string {
		return read(t, s, func(tx *store.Tx) ([]string, error) { return tx.Importers(stackAccount, stackRegion, "x", after, 5) })
	}
	update(t, s, func(tx *store.Tx) error { return tx.SetImports(stackAccount, stackRegion, b.ID, []string{"x", "y"}) })
	update(t, s, func(tx *store.Tx) error { return tx.AddImport(stackAccount, stackRegion, "x", a.ID) })
	if diff := cmp.Diff([]string{a.ID, b.ID}, importers("")); diff != "" {
		t.Errorf("importers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{b.ID}, importers(a.ID)); diff != "" {
		t.Errorf("importers (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *store.Tx) error { return tx.SetImports(stackAccount, stackRegion, b.ID, []string{"y"}) })
	update(t, s, func(tx *store.Tx) error { return tx.DropExport(x) })
	if diff := cmp.Diff([]string{a.ID}, importers("")); diff != "" {
		t.Errorf("importers (-want +got):\n%s", diff)
	}
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Export(stackAccount, stackRegion, "x"); return err }), fault.NotFound)
	update(t, s, func(tx *store.Tx) error { return tx.DropStack(a.ID) })
	if got := read(t, s, func(tx *store.Tx) ([]*record.Export, error) { return tx.Exports(stackAccount, stackRegion, "", 5) }); len(got) != 0 {
		t.Errorf("got %v after the stack was dropped", got)
	}
}
