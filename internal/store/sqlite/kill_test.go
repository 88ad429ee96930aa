package sqlite_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// killedDir tells a child process of this test binary to write into the
// folder that it names until it is killed.
const killedDir = "KEYTURN_TEST_KILLED_DIR"

// TestKill kills a process with SIGKILL while it writes: every update that
// it was told is stored is there afterwards, each update is whole or
// absent, and the database is sound.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	for round := range 4 {
		acknowledged := writeAndKill(t, dir, round)
		s := openConfig(t, sqlite.Config{Dir: dir})
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("after the kill: %v", err)
		}
		if len(acknowledged) == 0 {
			t.Error("nothing was acknowledged before the kill")
		}
		for _, key := range acknowledged {
			wantWhole(t, s, key, true)
		}
		for i := range killWriters {
			// The update that was not acknowledged may be there or not.
			wantWhole(t, s, fmt.Sprintf("%d/%d/%d", round, i, nextOf(acknowledged, round, i)), false)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const killWriters = 4

// writeUntilKilled stores pairs of rows from several goroutines and reports
// each pair on standard output once it is stored.
func writeUntilKilled(t *testing.T, dir string) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range killWriters {
		wg.Go(func() {
			for j := 0; ; j++ {
				key := fmt.Sprintf("%s/%d/%d", os.Getenv("KEYTURN_TEST_ROUND"), i, j)
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					if err := tx.SetMeta(key+"/a", "v"); err != nil {
						return err
					}
					return tx.SetMeta(key+"/b", "v")
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Println("stored", key)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// writeAndKill runs a child for a moment, kills it, and returns what it
// reported as stored.
func writeAndKill(t *testing.T, dir string, round int) (stored []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), killedDir+"="+dir, fmt.Sprint("KEYTURN_TEST_ROUND=", round))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		key, found := strings.CutPrefix(lines.Text(), "stored ")
		if !found {
			t.Fatalf("the child said %q", lines.Text())
		}
		if stored = append(stored, key); len(stored) == 1 {
			// The moment differs from round to round.
			time.AfterFunc(time.Duration(50+37*round)*time.Millisecond, func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Wait()
	// A line may be cut off by the kill; the pair of such a key is checked
	// as one that was not acknowledged.
	if n := len(stored); n > 0 && strings.Count(stored[n-1], "/") < 2 {
		stored = stored[:n-1]
	}
	return stored
}

// nextOf returns the number of the update that a writer had under way.
func nextOf(acknowledged []string, round, writer int) int {
	prefix := fmt.Sprintf("%d/%d/", round, writer)
	n := 0
	for _, key := range acknowledged {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// wantWhole fails the test if one of a pair is stored and the other is not,
// or if the pair must be stored and is not.
func wantWhole(t *testing.T, s *store.Store, key string, must bool) {
	t.Helper()
	err := s.View(t.Context(), func(tx *store.Tx) error {
		a, err := tx.Meta(key + "/a")
		if err != nil {
			return err
		}
		b, err := tx.Meta(key + "/b")
		if a != b || must && a != "v" {
			t.Errorf("%s: got halves %q and %q", key, a, b)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
