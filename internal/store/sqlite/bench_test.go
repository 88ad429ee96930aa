package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

func benchSecret(i int) *secret.Secret {
	name := fmt.Sprintf("app/%06d", i)
	now := time.Now()
	return &secret.Secret{
		ID: fmt.Sprintf("%08x%s", uint32(i)*2654435761, name), Account: account, Region: region, Name: name, Suffix: "AbCdEf",
		CreatedAt: now, ChangedAt: now, Description: "a secret of the benchmark",
		Versions: []secret.Version{{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Labels: []string{secret.Current}, CreatedAt: now, HasValue: true,
			KeyARN:    "arn:aws:kms:us-east-1:123456789012:key/3f5a1c0e-8d3b-4a53-9d43-0f1f3a1f1b7e",
			WrittenBy: "arn:aws:iam::123456789012:root", Sealed: bytes.Repeat([]byte{0xa5}, 300),
		}},
	}
}

// populate stores n secrets.
func populate(b testing.TB, s *store.Store, n int) {
	b.Helper()
	const batch = 1000
	for from := 0; from < n; from += batch {
		err := s.Update(b.Context(), func(tx *store.Tx) error {
			for i := from; i < min(from+batch, n); i++ {
				if err := tx.SaveSecret(nil, benchSecret(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// callers runs op b.N times spread over n goroutines.
func callers(b *testing.B, n int, op func(caller, i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	spent := cpuTime()
	for c := range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if err := op(c, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64((cpuTime()-spent).Microseconds())/float64(b.N), "cpu-us/op")
}

// cpuTime returns the processor time of this process, which says more than
// the clock on a busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bare is the least that a group commit of one row can be: one goroutine,
// one prepared insert, one commit for what is queued.
type bare struct {
	queue chan chan error
	done  chan struct{}
}

func newBare(b *testing.B) *bare {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)")
	if err != nil {
		b.Fatal(err)
	}
	c, err := db.Conn(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.ExecContext(context.Background(), "CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)"); err != nil {
		b.Fatal(err)
	}
	stmt := func(q string) *sql.Stmt {
		s, err := c.PrepareContext(context.Background(), q)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	begin, insert, commit := stmt("BEGIN IMMEDIATE"), stmt("INSERT INTO t (v) VALUES (?1)"), stmt("COMMIT")
	w := &bare{queue: make(chan chan error, 256), done: make(chan struct{})}
	value := bytes.Repeat([]byte{0xa5}, 300)
	go func() {
		defer close(w.done)
		defer db.Close()
		for first := range w.queue {
			batch := []chan error{first}
			for range len(w.queue) {
				batch = append(batch, <-w.queue)
			}
			_, err := begin.Exec()
			for range batch {
				if err == nil {
					_, err = insert.Exec(value)
				}
			}
			if err == nil {
				_, err = commit.Exec()
			}
			for _, answer := range batch {
				answer <- err
			}
		}
	}()
	b.Cleanup(func() { close(w.queue); <-w.done })
	return w
}

func (w *bare) update() error {
	answer := make(chan error, 1)
	w.queue <- answer
	return <-answer
}

var writers = []int{1, 16, 64}

func BenchmarkBareCommit(b *testing.B) {
	for _, n := range writers {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newBare(b)
			callers(b, n, func(int, int) error { return w.update() })
		})
	}
}

func BenchmarkOneRow(b *testing.B) {
	for _, n := range writers {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b)
			callers(b, n, func(_, i int) error {
				return s.Update(b.Context(), func(tx *store.Tx) error { return tx.SetMeta(fmt.Sprintf("%09d", i), "value") })
			})
		})
	}
}

func putEvent(s *secret.Secret, token string) (trail.Record, error) {
	e := trail.Event{
		ID: uuid.Must(uuid.NewV7()).String(), Time: time.Now(), Type: trail.APICall, Account: account, Region: region,
		Source: "secretsmanager.amazonaws.com", Name: "PutSecretValue",
		Principal: iam.Principal{Type: iam.Root, Account: account, ARN: "arn:aws:iam::123456789012:root", ID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"},
		SourceIP:  "127.0.0.1", UserAgent: "aws-sdk-go-v2/1.47.7", RequestID: token,
		Request:   []byte(`{"secretId":"app/000001","clientRequestToken":"` + token + `"}`),
		Resources: []trail.Resource{{Type: "AWS::SecretsManager::Secret", Name: s.ARN()}},
	}
	return e.Record()
}

// put is what PutSecretValue does in the store.
func put(ctx context.Context, s *store.Store, i, secrets int) error {
	ref := arn.SecretRef{Name: fmt.Sprintf("app/%06d", i%secrets)}
	token := fmt.Sprintf("10000000-0000-4000-8000-%012d", i)
	sealed := bytes.Repeat([]byte{0x5a}, 300)
	record, err := putEvent(benchSecret(i%secrets), token)
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *store.Tx) error {
		before, err := tx.FindLabelled(account, region, ref, token)
		if err != nil {
			return err
		}
		after := before.Clone()
		for j := range after.Versions {
			v := &after.Versions[j]
			switch {
			case v.Has(secret.Current):
				v.Labels = []string{secret.Previous}
			case v.Has(secret.Previous):
				v.Labels = nil
			}
		}
		now := time.Now()
		after.ChangedAt, after.Rotation.ValueChangedAt = now, now
		v := after.Versions[0]
		v.ID, v.Labels, v.CreatedAt, v.Sealed = token, []string{secret.Current}, now, sealed
		after.Versions = append(after.Versions, v)
		if err := tx.SaveSecret(before, after); err != nil {
			return err
		}
		return tx.AddRecord(record)
	})
}

func BenchmarkPut(b *testing.B) {
	for _, n := range writers {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b)
			const secrets = 1000
			populate(b, s, secrets)
			callers(b, n, func(_, i int) error { return put(b.Context(), s, i, secrets) })
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := open(b)
	const secrets = 10000
	populate(b, s, secrets)
	ref := func(i int) arn.SecretRef { return arn.SecretRef{Name: fmt.Sprintf("app/%06d", i*7919%secrets)} }
	for name, view := range map[string]func(context.Context, func(*store.Tx) error) error{"ReadVersion": s.View, "Recall": s.Read} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				err := view(b.Context(), func(tx *store.Tx) error {
					_, err := tx.ReadVersion(account, region, ref(i), "", secret.Current)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("FindAndSealedValue", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			err := s.View(b.Context(), func(tx *store.Tx) error {
				got, err := tx.FindSecret(account, region, ref(i))
				if err != nil {
					return err
				}
				_, err = tx.SealedValue(got.ID, got.Versions[0].ID)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkListPage(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		s := open(b)
		populate(b, s, n)
		for _, tc := range []struct {
			name string
			q    store.SecretQuery
		}{
			{"created", store.SecretQuery{}},
			{"changed descending", store.SecretQuery{Sort: store.ByChanged, Descending: true}},
			{"name", store.SecretQuery{Sort: store.ByName}},
			{"prefix of all", store.SecretQuery{NamePrefix: "app/"}},
			{"prefix of 100", store.SecretQuery{NamePrefix: "app/0005"}},
			{"prefix of 100 by name", store.SecretQuery{NamePrefix: "app/0005", Sort: store.ByName}},
		} {
			tc.q.Account, tc.q.Region, tc.q.Limit = account, region, 100
			b.Run(fmt.Sprintf("%d/%s", n, tc.name), func(b *testing.B) {
				for b.Loop() {
					err := s.View(b.Context(), func(tx *store.Tx) error {
						page, _, err := tx.ListSecrets(tc.q)
						if len(page) != 100 {
							b.Fatalf("got %d secrets, want 100", len(page))
						}
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
