package postgres_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/storetest"
)

// node is one of several stores on one database.
type node struct {
	*store.Store
	heard storetest.Heard
	cache *store.Cache[string, int64]
}

func newNode(t *testing.T, url string) *node {
	t.Helper()
	n := &node{Store: openConfig(t, postgres.Config{URL: url, Connections: 8, Logger: slog.New(slog.DiscardHandler)})}
	n.Watch(n.heard.Hear)
	n.cache = store.NewCache(n.Store, 1<<20, func(string, int64) int64 { return 8 })
	return n
}

// get reads a counter through the node's cache.
func (n *node) get(t *testing.T, name string) (value int64, cached bool) {
	t.Helper()
	if v, ok := n.cache.Get(name); ok {
		return v, true
	}
	m := n.Mark()
	err := n.View(t.Context(), func(tx *store.Tx) error {
		text, err := tx.Meta(name)
		value, _ = strconv.ParseInt(text, 10, 64)
		return err
	})
	if err != nil {
		t.Logf("reading %s: %v", name, err)
		return -1, false // which nobody has set
	}
	n.cache.Put(m, name, value, name)
	return value, false
}

func (n *node) set(t *testing.T, name string, value int64) {
	t.Helper()
	if err := n.trySet(t, name, value); err != nil {
		t.Fatal(err)
	}
}

func (n *node) trySet(t *testing.T, name string, value int64) error {
	t.Helper()
	return n.Update(t.Context(), func(tx *store.Tx) error {
		tx.Touch(name)
		return tx.SetMeta(name, strconv.FormatInt(value, 10))
	})
}

// terminate ends the listening connections of a schema's nodes and returns
// how many those were.
func terminate(url string) (n int, err error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1`,
		schemaOf(url)+" listening").Scan(&n)
	return n, err
}

func schemaOf(url string) string { return url[strings.LastIndexByte(url, '=')+1:] }

// named makes the connections of a URL recognisable.
func named(url string) string { return url + "&application_name=" + schemaOf(url) }

func TestNodesHearEachOther(t *testing.T) {
	url := newURL()
	one, two := newNode(t, url), newNode(t, url)
	other := newNode(t, newURL())
	if one.Current() {
		t.Error("a store that does not run claims to hear of changes")
	}
	one.get(t, "a")
	if _, cached := one.get(t, "a"); cached {
		t.Error("a store that hears of no changes caches")
	}
	for _, n := range []*node{one, two, other} {
		storetest.Follow(t, n.Store)
	}
	other.heard.Take()
	for i := range 20 {
		name := fmt.Sprint("counter", i%3)
		two.get(t, name)
		one.set(t, name, int64(i+1))
		storetest.Eventually(t, "the other node sees the change", func() bool {
			got, _ := two.get(t, name)
			return got == int64(i+1)
		})
		if got, _ := one.get(t, name); got != int64(i+1) {
			t.Errorf("the node that changed %s to %d reads %d", name, i+1, got)
		}
	}
	storetest.Eventually(t, "an answer is cached", func() bool {
		_, cached := two.get(t, "counter0")
		return cached
	})
	if got := two.heard.Take(); !slices.Contains(got, "counter1") {
		t.Errorf("heard %q, want counter1 among it", got)
	}
	if got := other.heard.Take(); got != nil {
		t.Errorf("a store in another schema heard %q", got)
	}
}

// TestManyTopics announces few, many and too many topics, from a process that
// ends before it notified anybody.
func TestManyTopics(t *testing.T) {
	url := newURL()
	one, two := newNode(t, url), newNode(t, url)
	storetest.Follow(t, two.Store)
	for _, tc := range []struct {
		topics int
		all    bool
	}{{1, false}, {900, false}, {1100, true}} {
		two.heard.Take()
		var want []string
		err := one.Update(t.Context(), func(tx *store.Tx) error {
			want = nil
			for i := range tc.topics {
				want = append(want, fmt.Sprintf("secret/%036d", i))
				tx.Touch(want[i])
			}
			return tx.SetMeta("k", "v")
		})
		if err != nil {
			t.Fatal(err)
		}
		if tc.all {
			want = []string{"*"}
		}
		var got []string
		storetest.Eventually(t, "the other node hears", func() bool {
			got = slices.Sorted(slices.Values(append(got, two.heard.Take()...)))
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%d topics: heard %d topics, want %d", tc.topics, len(got), len(want))
		}
	}
}

// TestLateCommit commits in another order than transactions began: each is
// heard of, and once.
func TestLateCommit(t *testing.T) {
	url := newURL()
	n := newNode(t, url)
	storetest.Follow(t, n.Store)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	begin := func(topic string) *sql.Tx {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`INSERT INTO change (xid, topics) VALUES (pg_current_xact_id()::text::bigint, $1)`, topic); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	wantHeard := func(want string) {
		t.Helper()
		var got []string
		storetest.Eventually(t, want+" is heard", func() bool {
			got = append(got, n.heard.Take()...)
			return slices.Contains(got, want)
		})
		if len(got) != 1 {
			t.Errorf("heard %q, want %s once", got, want)
		}
	}
	n.heard.Take()
	slow, lost := begin("slow"), begin("lost")
	for _, topic := range []string{"fast", "faster"} {
		if err := begin(topic).Commit(); err != nil {
			t.Fatal(err)
		}
		wantHeard(topic)
	}
	if err := lost.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	wantHeard("slow")
	if err := begin("last").Commit(); err != nil {
		t.Fatal(err)
	}
	wantHeard("last")
}

// TestChangesRemoved looks that rows are removed once all nodes must have
// read them, and that a node which comes later than that begins anew.
func TestChangesRemoved(t *testing.T) {
	url := newURL()
	n := newNode(t, url)
	n.set(t, "before", 1)
	feed := store.NewFeed(false)
	e, err := postgres.NewEar(t.Context(), url, feed)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wantRows := func(want string) {
		t.Helper()
		if err := e.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got sql.NullString
		if err := db.QueryRow(`SELECT string_agg(topics, ' ' ORDER BY xid) FROM change`).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got.String != want {
			t.Errorf("got rows %q, want %q", got.String, want)
		}
	}
	n.set(t, "after", 1)
	wantRows("before after")
	e.Age(150 * time.Second)
	wantRows("after")
	e.Age(150 * time.Second)
	wantRows("")
	n.set(t, "more", 1)
	e.Sleep(50 * time.Second)
	if err := e.Poll(t.Context()); err != nil {
		t.Errorf("after a short sleep: %v", err)
	}
	e.Sleep(70 * time.Second)
	if err := e.Poll(t.Context()); err == nil {
		t.Error("a node that slept through removals goes on")
	}
}

// TestListeningConnectionLost ends listening connections: nodes that do not
// hear give nothing from their caches, and hear again soon.
func TestListeningConnectionLost(t *testing.T) {
	url := named(newURL())
	one, two := newNode(t, url), newNode(t, url)
	storetest.Follow(t, one.Store)
	storetest.Follow(t, two.Store)
	for i := range 3 {
		storetest.Eventually(t, "an answer is cached", func() bool {
			_, cached := two.get(t, "a")
			return cached
		})
		two.heard.Take()
		if n, err := terminate(url); n != 2 || err != nil {
			t.Fatalf("ended %d connections, error %v, want both nodes'", n, err)
		}
		storetest.Eventually(t, "the node notices", func() bool { return slices.Contains(two.heard.Take(), "*") })
		one.set(t, "a", int64(i+1))
		storetest.Eventually(t, "the nodes hear again", func() bool { return one.Current() && two.Current() })
		if got, _ := two.get(t, "a"); got != int64(i+1) {
			t.Errorf("got %d after the connection was back, want %d", got, i+1)
		}
	}
}

// TestServerLost kills the database server under the nodes.
func TestServerLost(t *testing.T) {
	own, err := pgserver.Start(t.Context(), pgserver.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	one, two := newNode(t, own.AdminURL()), newNode(t, own.AdminURL())
	storetest.Follow(t, one.Store)
	storetest.Follow(t, two.Store)
	two.get(t, "a")
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the caches are off", func() bool {
		_, cached := two.cache.Get("a")
		return !cached && !two.Current()
	})
	if err := own.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the nodes hear again", func() bool { return one.Current() && two.Current() })
	// The pooled connections that died with the server fail no call.
	if err := one.trySet(t, "a", 7); err != nil {
		t.Errorf("the first write after the restart: %v", err)
	}
	storetest.Eventually(t, "the other node sees the change", func() bool {
		got, _ := two.get(t, "a")
		return got == 7
	})
}

// TestCutOff lets the network to one node swallow everything: within the
// bound its cache gives nothing more, and it hears again once the network is
// back.
func TestCutOff(t *testing.T) {
	url := newURL()
	link := newLink(t)
	one, two := newNode(t, url), newNode(t, strings.Replace(url, fmt.Sprint(server.Port), fmt.Sprint(link.port()), 1))
	storetest.Follow(t, one.Store)
	storetest.Follow(t, two.Store)
	two.get(t, "a")
	wantCached := func(want bool) {
		t.Helper()
		if got, cached := two.cache.Get("a"); cached != want {
			t.Errorf("got %d, cached %v, want cached %v", got, cached, want)
		}
	}
	wantCached(true)
	link.cut.Lock()
	one.set(t, "a", 1)
	changed := time.Now()
	wantCached(true)
	for {
		at := time.Since(changed)
		_, cached := two.cache.Get("a")
		if !cached {
			break
		}
		if at > 5*time.Second {
			t.Fatalf("a change is not seen after %v", at)
		}
		time.Sleep(10 * time.Millisecond)
	}
	link.cut.Unlock()
	storetest.Eventually(t, "the node hears again", two.Current)
	if got, _ := two.get(t, "a"); got != 1 {
		t.Errorf("got %d after the network was back, want 1", got)
	}
}

// link passes connections on to the database server, and holds back
// everything while cut is locked.
type link struct {
	listener net.Listener
	cut      sync.RWMutex
	// rewrite, if set, changes what the server says.
	rewrite func([]byte) []byte
}

func newLink(t *testing.T) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", server.Port))
			if err != nil {
				in.Close()
				continue
			}
			go k.pass(in, out, nil)
			go k.pass(out, in, k.rewrite)
		}
	}()
	return k
}

func (k *link) port() int { return k.listener.Addr().(*net.TCPAddr).Port }

func (k *link) pass(from, to net.Conn, rewrite func([]byte) []byte) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		said := b[:n]
		if rewrite != nil {
			said = rewrite(said)
		}
		k.cut.RLock()
		_, err = to.Write(said)
		k.cut.RUnlock()
		if err != nil {
			return
		}
	}
}

// TestNodesRace counts up on one node and reads on both through caches, while
// the listening connections are ended over and over: the writing node never
// reads less than what it was told is stored, the other never less than what
// was stored before the bound.
func TestNodesRace(t *testing.T) {
	url := named(newURL())
	one, two := newNode(t, url), newNode(t, url)
	storetest.Follow(t, one.Store)
	storetest.Follow(t, two.Store)
	var acknowledged atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	var hits [2]atomic.Int64
	for i, n := range []*node{one, two} {
		wg.Go(func() {
			last := int64(0)
			for !stop.Load() {
				want := acknowledged.Load()
				got, cached := n.get(t, "a")
				if cached {
					hits[i].Add(1)
				}
				if n == one && got < want || got < last {
					t.Errorf("node %d read %d (cached: %v) after %d, %d was acknowledged", i, got, cached, last, want)
					return
				}
				last = got
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			time.Sleep(300 * time.Millisecond)
			if _, err := terminate(url); err != nil {
				t.Errorf("ending connections: %v", err)
			}
		}
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		next := acknowledged.Load() + 1
		one.set(t, "a", next)
		acknowledged.Store(next)
		time.Sleep(2 * time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	if hits[0].Load() == 0 || hits[1].Load() == 0 {
		t.Errorf("got %d and %d hits, want some on both nodes", hits[0].Load(), hits[1].Load())
	}
	last := acknowledged.Load()
	storetest.Eventually(t, "the other node catches up", func() bool {
		got, _ := two.get(t, "a")
		return got == last
	})
}
