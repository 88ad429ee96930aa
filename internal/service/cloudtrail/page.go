package cloudtrail

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// maxWalked bounds how much of the segments one call looks through, in
// bytes. A call that finds little answers with what it has, and with a token
// to go on.
const maxWalked = 64 << 20

// page returns the next events, newest first, and moves the progress behind
// them. Inside the segments events lie in the order of their ends, so a long
// call may come a little late; on a page the order is right.
func (s *Service) page(ctx context.Context, l *lookup) ([]trail.Record, error) {
	stored, err := s.stored(ctx, l)
	if err != nil {
		return nil, err
	}
	recorded, err := s.recorded(ctx, l)
	if err != nil {
		return nil, err
	}
	var page []trail.Record
	a, b := 0, 0
	for len(page) < l.limit {
		switch {
		case a < len(stored.list) && (b == len(recorded.list) && recorded.seen(stored.list[a].Time) ||
			b < len(recorded.list) && !stored.list[a].Time.Before(recorded.list[b].Time)):
			page = append(page, stored.list[a])
			a++
			continue
		case b < len(recorded.list):
			page = append(page, recorded.list[b].Record)
			b++
			continue
		}
		break
	}
	recorded.advance(l, b)
	stored.advance(l, a)
	slices.SortStableFunc(page, func(x, y trail.Record) int { return y.Time.Compare(x.Time) })
	return page, nil
}

// storedEvents are the next events of the store.
type storedEvents struct {
	list []trail.Record
	page *store.EventPage
}

func (s *Service) stored(ctx context.Context, l *lookup) (e storedEvents, err error) {
	if l.Stored.Done {
		return e, nil
	}
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if e.page, err = tx.EventPage(l.query(l.limit)); err == nil {
			e.list = e.page.Records
		}
		return err
	})
	return e, err
}

func (l *lookup) query(limit int) store.EventQuery {
	return store.EventQuery{
		Account: l.account, Region: l.region, Attribute: store.EventAttribute(l.Attribute), Value: l.Value,
		From: l.From, To: l.To, Limit: limit, After: l.Stored.After,
	}
}

// advance moves the progress behind the first n of the events. It asks nothing
// again: events that came meanwhile would move the place.
func (e *storedEvents) advance(l *lookup, n int) {
	if e.page == nil || n == 0 && len(e.list) > 0 {
		return
	}
	l.Stored.After = e.page.Behind(n)
	l.Stored.Done = n == len(e.list) && l.Stored.After.IsZero()
}

// recordedEvents are the next events of the segments.
type recordedEvents struct {
	list []placedRecord
	// at is the place up to which the segments have been walked; done says
	// that it is their beginning. until is the time of the event there.
	at    trail.Place
	done  bool
	until time.Time
}

// placedRecord is a record with its place.
type placedRecord struct {
	trail.Record
	place trail.Place
}

// seen reports whether every recorded event that is newer than the time has
// been walked over.
func (e *recordedEvents) seen(t time.Time) bool { return e.done || !t.Before(e.until) }

// advance moves the progress behind the first n of the events.
func (e *recordedEvents) advance(l *lookup, n int) {
	switch {
	case n == len(e.list):
		l.Recorded.Before, l.Recorded.Done = e.at, e.done
	case n > 0:
		l.Recorded.Before = e.list[n-1].place
	}
}

func (s *Service) recorded(ctx context.Context, l *lookup) (e recordedEvents, err error) {
	if e.done = l.Recorded.Done || l.Recorded.Before == (trail.Place{}); e.done {
		return e, nil
	}
	e.at, e.done = l.Recorded.Before, true
	needle := l.needle()
	walked := 0
	err = s.Recorder.Walk(l.Recorded.Before, l.From, l.To, func(line []byte, at trail.Place) bool {
		e.at = at
		walked += len(line)
		full := walked >= maxWalked || ctx.Err() != nil
		if !full && !bytes.Contains(line, needle) {
			return true
		}
		r, err := trail.ParseRecord(bytes.Clone(line))
		if err != nil {
			return true // a line cut off by a crash
		}
		if l.matches(&r) {
			e.list = append(e.list, placedRecord{r, at})
		}
		e.until = r.Time
		e.done = !full && len(e.list) < l.limit
		return e.done
	})
	return e, err
}

// needle returns what the line of every record with the attribute holds:
// looking for it is much quicker than reading the line.
func (l *lookup) needle() []byte {
	if l.Attribute == string(store.ReadOnly) {
		return []byte(`"readOnly":` + l.Value)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(l.Value) // a string always encodes
	return []byte(strings.Trim(b.String(), "\"\n"))
}

// matches reports whether the question asks for the record.
func (l *lookup) matches(r *trail.Record) bool {
	if r.Account != l.account || r.Region != l.region || r.Time.Before(l.From) || !r.Time.Before(l.To) {
		return false
	}
	switch store.EventAttribute(l.Attribute) {
	case store.EventID:
		return r.EventID == l.Value
	case store.EventName:
		return r.Name == l.Value
	case store.EventSource:
		return r.Source == l.Value
	case store.ReadOnly:
		return r.ReadOnly == (l.Value == "true")
	case store.Username:
		return r.Username == l.Value
	case store.AccessKeyID:
		return r.AccessKeyID == l.Value
	case store.ResourceType:
		return slices.ContainsFunc(r.Resources, func(res trail.Resource) bool { return res.Type == l.Value })
	case store.ResourceName:
		return slices.ContainsFunc(r.Resources, func(res trail.Resource) bool { return res.Name == l.Value })
	}
	return true
}
