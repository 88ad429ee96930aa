package integrity_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/integrity"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
	"github.com/keyturn/keyturn/internal/trail"
)

// place is a store with its seals, and a connection to tamper with it.
type place struct {
	*store.Store
	t    *testing.T
	keys *integrity.Keys
	now  time.Time
	raw  *sql.DB
	dir  string
	lite bool // SQLite
}

// keysOf derives the keys of a deployment from a root key made of a byte. The
// wrapped key of the sealer is made once and then given.
func keysOf(t testing.TB, b byte, wrapped []byte) (*integrity.Keys, []byte) {
	t.Helper()
	k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if wrapped == nil {
		if wrapped, err = key.NewSealerKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	s, err := key.NewSealer(t.Context(), k, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := integrity.NewKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	return keys, wrapped
}

// bothStores runs a test on a fresh store of each kind.
func bothStores(t *testing.T, test func(*place)) {
	t.Run("SQLite", func(t *testing.T) {
		dir := t.TempDir()
		s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		newPlace(t, s, dir, "sqlite", filepath.Join(dir, "keyturn.db"), test)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := apitest.StoreURL(t)
		s, err := postgres.Open(t.Context(), postgres.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		newPlace(t, s, t.TempDir(), "pgx", url, test)
	})
}

func newPlace(t *testing.T, s *store.Store, dir, driver, source string, test func(*place)) {
	raw, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(raw.Close(), s.Close()) })
	keys, _ := keysOf(t, 1, nil)
	test(&place{Store: s, t: t, keys: keys, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), raw: raw, dir: dir, lite: driver == "sqlite"})
}

// sealer returns a Sealer of a node whose segments are nowhere.
func (p *place) sealer(node string) *integrity.Sealer {
	p.t.Helper()
	r, err := trail.NewRecorder(filepath.Join(p.dir, "trail-"+node))
	if err == nil {
		err = r.Seal(node, p.keys.Segments)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return integrity.New(integrity.Config{Store: p.Store, Keys: p.keys, Recorder: r, Node: node, Logger: slog.New(slog.DiscardHandler)})
}

// add stores events, some in one transaction, and lets time pass.
func (p *place) add(n int) {
	p.t.Helper()
	for i := range n {
		p.now = p.now.Add(time.Second)
		e := trail.Event{ID: fmt.Sprintf("%d-%d", p.now.Unix(), i), Time: p.now, Type: trail.APICall, Account: "123456789012", Region: "us-east-1", Source: "s", Name: "PutSecretValue"}
		if err := p.Update(p.t.Context(), func(tx *store.Tx) error { return tx.Record(e) }); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *place) pass(s *integrity.Sealer) {
	p.t.Helper()
	p.now = p.now.Add(31 * time.Second)
	if err := s.Pass(p.t.Context(), p.now); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) verify() *integrity.Report {
	p.t.Helper()
	r, err := integrity.Verify(p.t.Context(), p.Store, p.keys, filepath.Join(p.dir, "trail-one"), "one")
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *place) want(when string, sealed, open int) {
	p.t.Helper()
	if r := p.verify(); !r.Whole() || r.Sealed != sealed || r.Open != open {
		p.t.Errorf("%s: got %d sealed and %d open events with faults %v %v, want %d and %d", when, r.Sealed, r.Open, r.Faults, r.Segments.Faults, sealed, open)
	}
}

// gap leaves a number out, as a transaction that is rolled back does on
// PostgreSQL.
func (p *place) gap() {
	p.t.Helper()
	if p.lite {
		p.exec(`INSERT INTO trail_event (seq, id, account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body)
			SELECT max(seq) + 2, 'gap', account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body FROM trail_event`)
		return
	}
	p.exec(`SELECT nextval(pg_get_serial_sequence('trail_event', 'seq'))`)
	p.add(1)
}

func (p *place) exec(query string) {
	p.t.Helper()
	if p.lite {
		query = strings.ReplaceAll(query, "OVERRIDING SYSTEM VALUE", "")
	}
	if _, err := p.raw.ExecContext(p.t.Context(), query); err != nil {
		p.t.Fatal(err)
	}
}

// Events are sealed one pass after they were there, in seals of bounded size;
// nodes take turns and none seals twice.
func TestSealed(t *testing.T) {
	bothStores(t, func(p *place) {
		one, two := p.sealer("one"), p.sealer("two")
		p.want("empty", 0, 0)
		p.add(5)
		p.pass(one)
		p.want("at the first pass", 0, 5)
		p.add(2)
		p.pass(one)
		p.want("at the second pass", 5, 2)
		p.pass(two)
		p.pass(two)
		p.want("by another node", 7, 0)
		p.pass(one)
		p.pass(two)
		p.want("with nothing new", 7, 0)
		if r := p.verify(); r.Seals != 2 || r.Newest.Number != 2 || r.Newest.Node != "two" {
			p.t.Errorf("got %d seals, the newest %+v", r.Seals, r.Newest)
		}
		// Many at once take several seals.
		if err := p.Update(t.Context(), func(tx *store.Tx) error {
			for i := range 2100 {
				if err := tx.AddRecord(trail.Record{EventID: fmt.Sprint("m", i), Time: p.now, Account: "1", Region: "r", JSON: []byte("{}")}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		p.pass(one)
		p.pass(one)
		p.want("many", 2107, 0)
	})
}

// Whatever is done to stored events, seals or anchors is found, and the event
// named.
func TestTampered(t *testing.T) {
	for name, tc := range map[string]struct{ query, where string }{
		"an event changed":          {`UPDATE trail_event SET body = replace(body, 'PutSecretValue', 'GetSecretValue') WHERE seq = 3`, "event 3: it was changed"},
		"a column changed":          {`UPDATE trail_event SET username = 'somebody' WHERE seq = 3`, "event 3: it was changed"},
		"a time changed":            {`UPDATE trail_event SET at = at + 1 WHERE seq = 4`, "event 4: it was changed"},
		"an event removed":          {`DELETE FROM trail_event WHERE seq = 3`, "event 3: it was removed"},
		"the oldest one removed":    {`DELETE FROM trail_event WHERE seq = 1`, "event 1: it was removed"},
		"all removed":               {`DELETE FROM trail_event`, "event 1: it was removed"},
		"events exchanged":          {`UPDATE trail_event SET body = (SELECT o.body FROM trail_event o WHERE o.seq = 9 - trail_event.seq), id = 'x' WHERE seq IN (4, 5)`, "event 4: it was changed"},
		"an event inserted":         {`INSERT INTO trail_event (seq, id, account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body) OVERRIDING SYSTEM VALUE SELECT 8, 'forged', account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body FROM trail_event WHERE seq = 4`, "event 8: it was inserted"},
		"one before all":            {`INSERT INTO trail_event (seq, id, account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body) OVERRIDING SYSTEM VALUE SELECT -5, 'forged', account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body FROM trail_event WHERE seq = 4`, "event -5: it was inserted"},
		"a seal removed":            {`DELETE FROM trail_seal WHERE number = 2`, "seal 2"},
		"the oldest seal removed":   {`DELETE FROM trail_seal WHERE number = 1`, "seals 1 to 1 are missing"},
		"a seal's number changed":   {`UPDATE trail_seal SET number = 9 WHERE number = 3`, "seal 3"},
		"a seal's node changed":     {`UPDATE trail_seal SET node = 'x' WHERE number = 2`, "seal 2: the seal, or the one before it, was changed"},
		"a seal's time changed":     {`UPDATE trail_seal SET sealed_at = sealed_at + 1 WHERE number = 2`, "seal 2: the seal"},
		"an event and seal removed": {`DELETE FROM trail_event WHERE seq = 6; DELETE FROM trail_seal WHERE number = 2`, "seals 2 to 2 are missing"},
		"an anchor forged":          {`INSERT INTO meta (key, value) VALUES ('trail anchor', '{"Through":3,"Number":1}')`, "anchor: the record of what retention removed was changed"},
		"a head changed":            {`INSERT INTO trail_head (chain, noted_at, body, seal) VALUES ('one', 1, '{}', 'abc')`, "node one: the note of how far"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			bothStores(t, func(p *place) {
				one := p.sealer("one")
				p.pass(one)
				for i, n := range []int{4, 3, 3, 3, 3} {
					if i == 2 {
						p.gap() // number 8
					}
					p.add(n)
					p.pass(one)
					p.pass(one)
				}
				p.now = p.now.Add(time.Hour)
				p.add(1)
				p.pass(one)
				p.pass(one)
				p.want("before", 18, 0)
				for _, q := range strings.Split(tc.query, ";") {
					p.exec(q)
				}
				r := p.verify()
				if r.Whole() || !strings.Contains(fmt.Sprint(r.Faults), strings.Replace(tc.where, ": ", " ", 1)) {
					p.t.Errorf("got %v, want %q", r.Faults, tc.where)
				}
			})
		})
	}
}

// An event that comes late, because its transaction took long, is sealed too,
// and not taken for a forgery meanwhile.
func TestLate(t *testing.T) {
	bothStores(t, func(p *place) {
		one := p.sealer("one")
		p.pass(one)
		p.add(2)
		p.gap()
		p.pass(one)
		p.pass(one)
		p.want("without it", 3, 0)
		p.exec(`INSERT INTO trail_event (seq, id, account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body) OVERRIDING SYSTEM VALUE
			SELECT 3, 'late', account, region, at, source, name, read_only, username, access_key_id, resource_type, resource_name, body FROM trail_event WHERE seq = 1`)
		p.want("as it comes", 3, 1)
		p.pass(one)
		p.pass(one)
		p.want("afterwards", 4, 0)
		p.add(3)
		p.pass(one)
		p.pass(one)
		p.want("later", 7, 0)
	})
}

// Retention removes the oldest events in parts, and what is left verifies; the
// chain goes on even when all events are gone.
func TestRetention(t *testing.T) {
	bothStores(t, func(p *place) {
		one := p.sealer("one")
		p.pass(one)
		begin := p.now
		for range 5 {
			p.add(10)
			p.pass(one)
			p.pass(one)
		}
		drop := func(before time.Time, want int64) {
			p.t.Helper()
			var all int64
			for n := int64(1); n > 0; all += n {
				if err := p.Update(p.t.Context(), func(tx *store.Tx) (err error) {
					n, err = p.keys.Drop(tx, p.now, before, 7)
					return err
				}); err != nil {
					p.t.Fatal(err)
				}
			}
			if all != want {
				p.t.Errorf("dropped %d events, want %d", all, want)
			}
		}
		drop(begin.Add(5*time.Second), 4)
		p.want("a part of a seal gone", 46, 0)
		drop(p.now.Add(-150*time.Second), 26)
		p.want("whole seals gone", 20, 0)
		// More that is removed shows, as ever.
		p.add(1)
		p.exec(`DELETE FROM trail_event WHERE seq = 35`)
		if r := p.verify(); !strings.Contains(fmt.Sprint(r.Faults), "event 35 it was removed") {
			p.t.Errorf("got %v", r.Faults)
		}
		drop(p.now.Add(time.Hour), 19)
		p.want("all but the newest gone", 0, 1)
		p.add(2)
		p.pass(one)
		p.pass(one)
		p.want("gone on", 3, 0)
	})
}

// The keys follow from the root key and from nothing else: a rewrapped sealer
// key gives the same.
func TestKeys(t *testing.T) {
	one, wrapped := keysOf(t, 1, nil)
	again, _ := keysOf(t, 1, wrapped)
	other, _ := keysOf(t, 1, nil)
	if !bytes.Equal(one.Segments, again.Segments) || bytes.Equal(one.Segments, other.Segments) {
		t.Error("the key of the segments does not follow from the sealer's key")
	}
}
