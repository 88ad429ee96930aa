package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// lines makes entries one second apart, from at on.
func lines(at time.Time, messages ...string) []loggroup.Entry {
	var list []loggroup.Entry
	for i, m := range messages {
		t := at.Add(time.Duration(i) * time.Second)
		list = append(list, loggroup.Entry{Time: t, IngestedAt: t.Add(time.Millisecond), Message: m})
	}
	return list
}

func appendLines(t *testing.T, s *store.Store, group, stream string, entries []loggroup.Entry) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error { return tx.AppendLogEntries(account, region, group, stream, entries) })
}

func groupID(t *testing.T, s *store.Store, name string) int64 {
	t.Helper()
	return read(t, s, func(tx *store.Tx) (*loggroup.Group, error) { return tx.LogGroup(account, region, name) }).ID
}

func logEntries(t *testing.T, s *store.Store, group int64, q store.LogQuery) []loggroup.Entry {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	return read(t, s, func(tx *store.Tx) ([]loggroup.Entry, error) { return tx.LogEntries(group, q) })
}

func messages(list []loggroup.Entry) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.Message)
	}
	return b.String()
}

func testLogGroups(t *testing.T, open Open) {
	s := open(t)
	want := loggroup.Group{
		Account: account, Region: region, Name: "/aws/lambda/Rotate_1", CreatedAt: noon, RetentionDays: 7,
		KMSKeyID: "key", Class: "STANDARD", Tags: map[string]string{"team": "db"},
	}
	update(t, s, func(tx *store.Tx) error { return tx.CreateLogGroup(&want) })
	get := func(tx *store.Tx) (*loggroup.Group, error) { return tx.LogGroup(account, region, want.Name) }
	if diff := gocmp.Diff(&want, read(t, s, get)); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error {
		return tx.CreateLogGroup(&loggroup.Group{Account: account, Region: region, Name: want.Name})
	}), fault.Exists)

	want.RetentionDays, want.KMSKeyID, want.Tags = 0, "", map[string]string{}
	update(t, s, func(tx *store.Tx) error { return tx.SaveLogGroup(&want) })
	if diff := gocmp.Diff(&want, read(t, s, get)); diff != "" {
		t.Errorf("saved (-want +got):\n%s", diff)
	}

	for _, name := range []string{"/aws/lambda/a", "/aws/lambda/b", "app_x", "appyx"} {
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateLogGroup(&loggroup.Group{Account: account, Region: region, Name: name, Class: "STANDARD", Tags: map[string]string{}})
		})
	}
	update(t, s, func(tx *store.Tx) error {
		return tx.CreateLogGroup(&loggroup.Group{Account: account, Region: "eu-west-1", Name: "elsewhere", Tags: map[string]string{}})
	})
	for _, tc := range []struct {
		q    store.LogGroupQuery
		want string
	}{
		{store.LogGroupQuery{Limit: 9}, "/aws/lambda/Rotate_1 /aws/lambda/a /aws/lambda/b app_x appyx"},
		{store.LogGroupQuery{Limit: 2}, "/aws/lambda/Rotate_1 /aws/lambda/a"},
		{store.LogGroupQuery{Limit: 2, After: "/aws/lambda/a"}, "/aws/lambda/b app_x"},
		{store.LogGroupQuery{Limit: 9, Prefix: "/aws/lambda/"}, "/aws/lambda/Rotate_1 /aws/lambda/a /aws/lambda/b"},
		{store.LogGroupQuery{Limit: 9, Prefix: "/aws/lambda/", After: "/aws/lambda/a"}, "/aws/lambda/b"},
		{store.LogGroupQuery{Limit: 9, Contains: "rotATE"}, "/aws/lambda/Rotate_1"},
		{store.LogGroupQuery{Limit: 9, Contains: "p_x"}, "app_x"},
		{store.LogGroupQuery{Limit: 9, Class: "INFREQUENT_ACCESS"}, ""},
	} {
		var names []string
		for _, g := range read(t, s, func(tx *store.Tx) ([]*loggroup.Group, error) { return tx.LogGroups(account, region, tc.q) }) {
			names = append(names, g.Name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.q, got, tc.want)
		}
	}

	appendLines(t, s, "app_x", "s", lines(noon, "12345", "é"))
	list := read(t, s, func(tx *store.Tx) ([]*loggroup.Group, error) {
		return tx.LogGroups(account, region, store.LogGroupQuery{Prefix: "app_x", Limit: 1})
	})
	if got, want := list[0].StoredBytes, int64(5+2+2*26); got != want {
		t.Errorf("got %d stored bytes, want %d", got, want)
	}

	id := groupID(t, s, want.Name)
	update(t, s, func(tx *store.Tx) error { return tx.DeleteLogGroup(id) })
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := get(tx); return err }), fault.NotFound)
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteLogGroup(id) }), fault.NotFound)
}

func testLogStreams(t *testing.T, open Open) {
	s := open(t)
	appendLines(t, s, "g", "a/1", lines(noon, "x", "y"))
	appendLines(t, s, "g", "a/2", lines(noon.Add(-time.Hour), "x"))
	appendLines(t, s, "g", "b/1", lines(noon.Add(-time.Hour), "x"))
	appendLines(t, s, "g", "a/1", lines(noon.Add(-2*time.Hour), "late"))
	id := groupID(t, s, "g")
	update(t, s, func(tx *store.Tx) error { return tx.CreateLogStream(id, "empty", noon) })
	wantKind(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateLogStream(id, "a/1", noon) }), fault.Exists)

	got := read(t, s, func(tx *store.Tx) (*loggroup.Stream, error) { return tx.LogStream(id, "a/1") })
	if !got.FirstEventAt.Equal(noon.Add(-2*time.Hour)) || !got.LastEventAt.Equal(noon.Add(time.Second)) || !got.LastIngestion.Equal(noon.Add(1001*time.Millisecond)) {
		t.Errorf("got %+v", got)
	}
	for _, tc := range []struct {
		q    store.LogStreamQuery
		want string
	}{
		{store.LogStreamQuery{}, "a/1 a/2 b/1 empty"},
		{store.LogStreamQuery{Descending: true}, "empty b/1 a/2 a/1"},
		{store.LogStreamQuery{Prefix: "a/"}, "a/1 a/2"},
		{store.LogStreamQuery{Prefix: "a/", Descending: true}, "a/2 a/1"},
		{store.LogStreamQuery{ByLastEvent: true}, "empty a/2 b/1 a/1"},
		{store.LogStreamQuery{ByLastEvent: true, Descending: true}, "a/1 b/1 a/2 empty"},
	} {
		var names []string
		for tc.q.Limit = 1; ; {
			page := read(t, s, func(tx *store.Tx) ([]*loggroup.Stream, error) { return tx.LogStreams(id, tc.q) })
			if len(page) == 0 {
				break
			}
			names = append(names, page[0].Name)
			tc.q.After = page[0]
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.q, got, tc.want)
		}
	}

	stream := read(t, s, func(tx *store.Tx) (*loggroup.Stream, error) { return tx.LogStream(id, "a/1") })
	update(t, s, func(tx *store.Tx) error { return tx.DeleteLogStream(stream.ID) })
	wantKind(t, s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.LogStream(id, "a/1"); return err }), fault.NotFound)
	if got, want := messages(logEntries(t, s, id, store.LogQuery{})), "xx"; got != want {
		t.Errorf("after the stream went: got %q, want %q", got, want)
	}
	appendLines(t, s, "g", "a/1", lines(noon, "new"))
	stream = read(t, s, func(tx *store.Tx) (*loggroup.Stream, error) { return tx.LogStream(id, "a/1") })
	if got := messages(logEntries(t, s, id, store.LogQuery{Streams: []*loggroup.Stream{stream}})); got != "new" {
		t.Errorf("in a stream made again: got %q, want %q", got, "new")
	}
}

func testLogEntries(t *testing.T, open Open) {
	s := open(t)
	appendLines(t, s, "g", "s", lines(noon, "a", "b", "c", "d"))
	appendLines(t, s, "g", "other", lines(noon.Add(500*time.Millisecond), "A", "B"))
	appendLines(t, s, "g", "s", lines(noon, "z")) // the time of a
	id := groupID(t, s, "g")
	all := logEntries(t, s, id, store.LogQuery{})
	if got, want := messages(all), "azAbBcd"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	want := loggroup.Entry{ID: all[2].ID, Stream: "other", Time: noon.Add(500 * time.Millisecond), IngestedAt: noon.Add(501 * time.Millisecond), Message: "A"}
	if diff := gocmp.Diff(want, all[2]); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	streams := read(t, s, func(tx *store.Tx) ([]*loggroup.Stream, error) {
		return tx.LogStreams(id, store.LogStreamQuery{Limit: 9})
	})
	for _, tc := range []struct {
		name string
		q    store.LogQuery
		want string
	}{
		{"latest", store.LogQuery{Backward: true, Limit: 3}, "Bcd"},
		{"from, to", store.LogQuery{From: noon.Add(time.Second), To: noon.Add(3 * time.Second)}, "bBc"},
		{"after", store.LogQuery{Cursor: all[0].Cursor()}, "zAbBcd"},
		{"before", store.LogQuery{Cursor: all[3].Cursor(), Backward: true, Limit: 2}, "zA"},
		{"after, before from", store.LogQuery{Cursor: all[0].Cursor(), From: noon.Add(2 * time.Second)}, "cd"},
		{"before, after to", store.LogQuery{Cursor: all[6].Cursor(), Backward: true, To: noon.Add(time.Second)}, "azA"},
		{"prefix", store.LogQuery{Prefix: "ot"}, "AB"},
		{"no such prefix", store.LogQuery{Prefix: "zz"}, ""},
		{"one stream", store.LogQuery{Streams: streams[1:], Backward: true, Limit: 3}, "bcd"},
		{"two streams", store.LogQuery{Streams: streams, Limit: 4}, "azAb"},
		{"a stream twice", store.LogQuery{Streams: []*loggroup.Stream{streams[1], streams[1]}}, "azbcd"},
		{"no stream", store.LogQuery{Streams: []*loggroup.Stream{}}, ""},
		{"bytes", store.LogQuery{Bytes: 2 * 27}, "az"},
		{"bytes for none", store.LogQuery{Bytes: 1}, "a"},
	} {
		if got := messages(logEntries(t, s, id, tc.q)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}

	long := strings.Repeat("x", loggroup.MaxEntryBytes-1) + "é"
	appendLines(t, s, "long", "s", lines(noon, long))
	if got := messages(logEntries(t, s, groupID(t, s, "long"), store.LogQuery{})); got != long[:loggroup.MaxEntryBytes-1] {
		t.Errorf("got a message of %d bytes, want %d", len(got), loggroup.MaxEntryBytes-1)
	}

	// Reading is stopped early, and the transaction goes on.
	view(t, s, func(tx *store.Tx) error {
		for range 3 {
			list, err := tx.LogEntries(id, store.LogQuery{Limit: 9, Bytes: 27})
			if err != nil || len(list) != 1 {
				return fmt.Errorf("got %d entries, error %v", len(list), err)
			}
		}
		return nil
	})
}

// testLogEntriesModel compares pages of random queries with a slice.
func testLogEntriesModel(t *testing.T, open Open) {
	s := open(t)
	random := rand.New(rand.NewPCG(1, 2))
	var model []loggroup.Entry
	for batch := range 12 {
		stream := fmt.Sprintf("s/%03d", random.IntN(3))
		n := 1 + random.IntN(700)
		entries := make([]loggroup.Entry, n)
		for i := range entries {
			at := noon.Add(time.Duration(random.IntN(1000)) * time.Second)
			entries[i] = loggroup.Entry{Time: at, IngestedAt: noon, Message: fmt.Sprintf("%d.%d ", batch, i)}
		}
		appendLines(t, s, "g", stream, entries)
		for i := range entries {
			entries[i].Stream, entries[i].ID = stream, int64(len(model)+i)
		}
		model = append(model, entries...)
	}
	// Enough streams that a prefix is not merged.
	for i := range 120 {
		appendLines(t, s, "g", fmt.Sprintf("t/%03d", i), lines(noon, "t "))
		model = append(model, loggroup.Entry{Stream: fmt.Sprintf("t/%03d", i), Time: noon, ID: int64(len(model)), Message: "t "})
	}
	slices.SortFunc(model, func(a, b loggroup.Entry) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	id := groupID(t, s, "g")
	for range 12 {
		q := store.LogQuery{Limit: 1 + random.IntN(900), Backward: random.IntN(2) == 0}
		q.Prefix = []string{"", "s/", "s/001", "t/"}[random.IntN(4)]
		if random.IntN(2) == 0 {
			q.From = noon.Add(time.Duration(random.IntN(500)) * time.Second)
			q.To = q.From.Add(time.Duration(random.IntN(500)) * time.Second)
		}
		var want []loggroup.Entry
		for _, e := range model {
			if strings.HasPrefix(e.Stream, q.Prefix) && !e.Time.Before(q.From) && (q.To.IsZero() || e.Time.Before(q.To)) {
				want = append(want, e)
			}
		}
		if got, want := pages(t, s, id, q), messages(want); got != want {
			t.Errorf("%+v: got %d bytes, want %d", q, len(got), len(want))
		}
	}
}

// pages reads all pages of a query and returns their messages.
func pages(t *testing.T, s *store.Store, id int64, q store.LogQuery) string {
	t.Helper()
	all := ""
	for {
		page := logEntries(t, s, id, q)
		if len(page) == 0 {
			return all
		}
		if q.Backward {
			all, q.Cursor = messages(page)+all, page[0].Cursor()
		} else {
			all, q.Cursor = all+messages(page), page[len(page)-1].Cursor()
		}
	}
}

func testTrimLogs(t *testing.T, open Open) {
	s := open(t)
	day := 24 * time.Hour
	trim := func(now time.Time, keep time.Duration) (calls int) {
		for {
			var n int
			update(t, s, func(tx *store.Tx) (err error) { n, err = tx.TrimLogs(now, keep, 2); return err })
			if n > 2 || calls > 50 {
				t.Fatalf("removed %d at once, after %d calls", n, calls)
			}
			if n == 0 {
				return calls
			}
			calls++
		}
	}
	appendLines(t, s, "short", "s", append(lines(noon, "a", "b", "c", "d", "e"), lines(noon.Add(2*day), "f")...))
	appendLines(t, s, "short", "old", lines(noon, "x"))
	appendLines(t, s, "ever", "s", lines(noon, "a", "b"))
	short := read(t, s, func(tx *store.Tx) (*loggroup.Group, error) { return tx.LogGroup(account, region, "short") })
	short.RetentionDays = 1
	update(t, s, func(tx *store.Tx) error { return tx.SaveLogGroup(short) })
	if n := trim(noon.Add(day), 0); n != 0 {
		t.Errorf("trimmed %d times when nothing was old", n)
	}
	trim(noon.Add(2*day), 0)
	if got := messages(logEntries(t, s, short.ID, store.LogQuery{})); got != "f" {
		t.Errorf("after retention: got %q, want %q", got, "f")
	}
	size := func(tx *store.Tx) ([]*loggroup.Group, error) {
		return tx.LogGroups(account, region, store.LogGroupQuery{Limit: 9, Prefix: "short"})
	}
	if got := read(t, s, size)[0].StoredBytes; got != 27 {
		t.Errorf("after retention: got %d stored bytes, want 27", got)
	}
	// The empty stream goes once its creation is as old.
	later := time.Now().Add(2 * day)
	appendLines(t, s, "short", "s", lines(later, "g"))
	trim(later, 0)
	streams := read(t, s, func(tx *store.Tx) ([]*loggroup.Stream, error) {
		return tx.LogStreams(short.ID, store.LogStreamQuery{Limit: 9})
	})
	if len(streams) != 1 || streams[0].Name != "s" {
		t.Errorf("got %d streams, want s alone", len(streams))
	}
	ever := groupID(t, s, "ever")
	if got := messages(logEntries(t, s, ever, store.LogQuery{})); got != "ab" {
		t.Errorf("without retention: got %q, want %q", got, "ab")
	}
	trim(noon.Add(3*day), 3*day-time.Second)
	if got := messages(logEntries(t, s, ever, store.LogQuery{})); got != "b" {
		t.Errorf("after the bound: got %q, want %q", got, "b")
	}
	// What is deleted goes whatever its age, and only that.
	appendLines(t, s, "gone", "s", lines(later, "a", "b", "c", "d", "e"))
	gone := groupID(t, s, "gone")
	update(t, s, func(tx *store.Tx) error { return tx.DeleteLogGroup(gone) })
	appendLines(t, s, "gone", "s", lines(later, "new"))
	if n := trim(noon, 0); n != 3 {
		t.Errorf("trimmed a deleted group in %d calls, want 3", n)
	}
	if got := messages(logEntries(t, s, gone, store.LogQuery{})); got != "" {
		t.Errorf("the deleted group still holds %q", got)
	}
	if got := messages(logEntries(t, s, groupID(t, s, "gone"), store.LogQuery{})); got != "new" {
		t.Errorf("the group made again holds %q, want %q", got, "new")
	}
	update(t, s, func(tx *store.Tx) error { return tx.DeleteLogStream(streams[0].ID) })
	trim(noon, 0)
	appendLines(t, s, "short", "s", lines(later, "h"))
	if got := messages(logEntries(t, s, short.ID, store.LogQuery{})); got != "h" {
		t.Errorf("after the stream was made again: got %q, want %q", got, "h")
	}
}

// A group without a retention policy gives up its oldest entries, and no more
// of them than it must.
func testLargeLogGroups(t *testing.T, open Open) {
	s := open(t)
	appendLines(t, s, "small", "s", lines(noon, "a"))
	appendLines(t, s, "large", "s", lines(noon, "a", "b", "c", "d", "e", "f"))
	appendLines(t, s, "large", "other", lines(noon.Add(time.Hour), "x"))
	appendLines(t, s, "ruled", "s", lines(noon, "a", "b", "c", "d", "e", "f", "g"))
	ruled := read(t, s, func(tx *store.Tx) (*loggroup.Group, error) { return tx.LogGroup(account, region, "ruled") })
	ruled.RetentionDays = 30
	update(t, s, func(tx *store.Tx) error { return tx.SaveLogGroup(ruled) })
	const each = 1 + loggroup.EntryOverhead
	find := func(after, most int64) (id, excess int64) {
		t.Helper()
		view(t, s, func(tx *store.Tx) (err error) {
			id, excess, err = tx.LargeLogGroup(after, most)
			return err
		})
		return id, excess
	}
	large := groupID(t, s, "large")
	if id, _ := find(0, 7*each); id != 0 {
		t.Errorf("got group %d, want none beyond its bound", id)
	}
	id, excess := find(0, 4*each-1)
	if id != large || excess != 3*each+1 {
		t.Errorf("got group %d with %d too many, want %d with %d", id, excess, large, 3*each+1)
	}
	if id, _ := find(large, 4*each-1); id != 0 {
		t.Errorf("behind it: got group %d", id)
	}
	var removed int
	update(t, s, func(tx *store.Tx) (err error) { removed, err = tx.TrimLogGroup(large, excess, 3); return err })
	if removed != 3 {
		t.Errorf("removed %d entries, want the limit of 3", removed)
	}
	update(t, s, func(tx *store.Tx) (err error) { removed, err = tx.TrimLogGroup(large, excess-3*each, 3); return err })
	if removed != 1 {
		t.Errorf("removed %d entries, want the one that it took", removed)
	}
	if got := messages(logEntries(t, s, large, store.LogQuery{})); got != "efx" {
		t.Errorf("left is %q, want efx", got)
	}
	if id, _ := find(0, 4*each-1); id != 0 {
		t.Errorf("afterwards: got group %d", id)
	}
}
