package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// event returns the i-th of a series of unlike events, a second apart from
// every second one.
func event(i int) trail.Event {
	e := trail.Event{
		ID: fmt.Sprintf("e%02d", i), Time: day0.Add(time.Duration(i/2) * time.Second), Type: trail.APICall, Account: account, Region: region,
		Source: "secretsmanager.amazonaws.com", Name: []string{"PutSecretValue", "CreateSecret", "RotateSecret"}[i%3],
		ReadOnly:  i%4 == 1,
		Principal: iam.Principal{Type: iam.IAMUser, Account: account, Name: fmt.Sprint("user", i%2), AccessKeyID: fmt.Sprint("AKIA", i%5)},
		Request:   []byte(`{"secretId":"a<b"}`),
	}
	if i%5 == 0 {
		e.Source = "lambda.amazonaws.com"
		e.Principal = iam.Principal{Type: iam.Service, Account: account, InvokedBy: "x.amazonaws.com"}
	}
	for j := range i % 4 {
		e.Resources = append(e.Resources, trail.Resource{Type: fmt.Sprint("AWS::T::", j), Name: fmt.Sprint("arn:", i%3, ":", j)})
	}
	return e
}

// lookUp pages through a query.
func lookUp(t testing.TB, s *store.Store, q store.EventQuery) (found []trail.Record) {
	t.Helper()
	for {
		var page []trail.Record
		var next store.EventCursor
		view(t, s, func(tx *store.Tx) (err error) {
			page, next, err = tx.Events(q)
			return err
		})
		if found = append(found, page...); next.IsZero() {
			return found
		}
		if len(page) != q.Limit {
			t.Fatalf("got a page of %d that is not the last, want %d", len(page), q.Limit)
		}
		q.After = next
	}
}

func testEvents(t *testing.T, open Open) {
	s := open(t)
	const n = 40
	var all []trail.Record
	for i := range n {
		e := event(i)
		update(t, s, func(tx *store.Tx) error { return tx.Record(e) })
		r, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	foreign := event(0)
	foreign.Region, foreign.ID = "eu-west-1", "foreign"
	update(t, s, func(tx *store.Tx) error { return tx.Record(foreign) })
	slices.Reverse(all) // recorded in the order of time

	resource := func(match func(trail.Resource) bool) func(trail.Record) bool {
		return func(r trail.Record) bool { return slices.ContainsFunc(r.Resources, match) }
	}
	for _, tc := range []struct {
		attribute store.EventAttribute
		value     string
		match     func(trail.Record) bool
	}{
		{"", "", func(trail.Record) bool { return true }},
		{store.EventID, "e07", func(r trail.Record) bool { return r.EventID == "e07" }},
		{store.EventName, "RotateSecret", func(r trail.Record) bool { return r.Name == "RotateSecret" }},
		{store.EventSource, "lambda.amazonaws.com", func(r trail.Record) bool { return strings.HasPrefix(r.Source, "lambda") }},
		{store.ReadOnly, "true", func(r trail.Record) bool { return r.ReadOnly }},
		{store.ReadOnly, "false", func(r trail.Record) bool { return !r.ReadOnly }},
		{store.Username, "user1", func(r trail.Record) bool { return r.Username == "user1" }},
		{store.AccessKeyID, "AKIA3", func(r trail.Record) bool { return r.AccessKeyID == "AKIA3" }},
		{store.ResourceType, "AWS::T::0", resource(func(r trail.Resource) bool { return r.Type == "AWS::T::0" })},
		{store.ResourceType, "AWS::T::2", resource(func(r trail.Resource) bool { return r.Type == "AWS::T::2" })},
		{store.ResourceName, "arn:1:0", resource(func(r trail.Resource) bool { return r.Name == "arn:1:0" })},
		{store.ResourceName, "arn:2:1", resource(func(r trail.Resource) bool { return r.Name == "arn:2:1" })},
		{store.EventName, "rotatesecret", func(trail.Record) bool { return false }},
		{"Nonsense", "x", func(trail.Record) bool { return false }},
	} {
		for _, bounds := range [][2]time.Time{{}, {day0.Add(5 * time.Second), day0.Add(15 * time.Second)}} {
			var want []string
			for _, r := range all {
				if tc.match(r) && (bounds[0].IsZero() || !r.Time.Before(bounds[0]) && r.Time.Before(bounds[1])) {
					want = append(want, string(r.JSON))
				}
			}
			for _, limit := range []int{1, 3, 50} {
				var got []string
				for _, r := range lookUp(t, s, store.EventQuery{
					Account: account, Region: region, Attribute: tc.attribute, Value: tc.value, From: bounds[0], To: bounds[1], Limit: limit,
				}) {
					got = append(got, string(r.JSON))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %q by %d (-want +got):\n%s", tc.attribute, tc.value, limit, diff)
				}
			}
		}
	}
}

func testDropEvents(t *testing.T, open Open) {
	s := open(t)
	for i := range 20 {
		update(t, s, func(tx *store.Tx) error { return tx.Record(event(i)) })
	}
	for _, want := range []int64{4, 4, 2, 0} {
		var got int64
		update(t, s, func(tx *store.Tx) (err error) {
			got, _, err = tx.DropEvents(day0.Add(5*time.Second), 4)
			return err
		})
		if got != want {
			t.Errorf("dropped %d events, want %d", got, want)
		}
	}
	left := lookUp(t, s, store.EventQuery{Account: account, Region: region, Limit: 50})
	if len(left) != 10 || left[9].EventID != "e10" {
		t.Errorf("%d events are left, want e10 to e19", len(left))
	}
	if got := lookUp(t, s, store.EventQuery{Account: account, Region: region, Attribute: store.ResourceName, Value: "arn:1:1", Limit: 50}); len(got) != 2 {
		t.Errorf("found %d of the events left by their second resource, want 2", len(got))
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// testEventWithChange loses the event with the change and the change with
// the event.
func testEventWithChange(t *testing.T, open Open) {
	s := open(t)
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.Record(event(1)); err != nil {
			return err
		}
		return errOnPurpose
	})
	if err != errOnPurpose {
		t.Fatalf("got error %v, want the function's own", err)
	}
	if got := lookUp(t, s, store.EventQuery{Account: account, Region: region, Limit: 50}); len(got) != 0 {
		t.Errorf("got %d events of an update that failed", len(got))
	}
}
