package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// anyUp returns a node that is up; nil when none is.
func (s *site) anyUp() *node {
	for range 20 {
		if n := s.nodes[s.rnd.IntN(len(s.nodes))]; n.up.Load() {
			return n
		}
	}
	for _, n := range s.nodes {
		if n.up.Load() {
			return n
		}
	}
	return nil
}

// checkQuickly is for after every restart: every rotating secret has a stored
// version that logs in, and the last write of every writer is there.
func (s *site) checkQuickly(ctx context.Context) error {
	n := s.anyUp()
	if n == nil {
		return nil
	}
	if err := s.checkLogins(ctx, n); err != nil {
		return err
	}
	for writer := range writers {
		if w, ok := s.ledger.last(writer); ok {
			if err := s.verify(ctx, n, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *site) checkLogins(ctx context.Context, n *node) error {
	return each(s.users, 2, func(r *rotating) error {
		if err := s.logsIn(ctx, n, r); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.tally.violate(lockOuts, "no stored version of %s (%s) logs in: %v", r.name, r.rotator, err)
		}
		return nil
	})
}

// settle waits until every rotation that was begun is complete.
func (s *site) settle(ctx context.Context, within time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, r := range s.users {
		for r.underWay() {
			if n := s.anyUp(); n != nil && s.completed(ctx, n, r) {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if bounded.Err() != nil {
				s.tally.violate("", "the rotation of %s (%s) is not complete after %v: %s", r.name, r.rotator, within, s.situation(ctx, r))
				r.mu.Lock()
				r.token, r.current = "", ""
				r.mu.Unlock()
				break
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
	return nil
}

// situation is the evidence of a rotation that does not end.
func (s *site) situation(ctx context.Context, r *rotating) string {
	n := s.anyUp()
	if n == nil {
		return "no node is up"
	}
	out, err := n.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.arn})
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("asked for %s, labels %v", r.token, out.VersionIdsToStages)
	if s.backing == nil {
		return text
	}
	err = s.inStore(ctx, func(st *store.Store) error {
		return st.View(ctx, func(tx *store.Tx) error {
			found, err := tx.FindSecret(account, region, arn.ParseSecretRef(r.arn))
			if err != nil {
				return err
			}
			run, err := tx.Run(found.ID)
			if err == nil {
				text += fmt.Sprintf(", run %s %s attempt %d not before %v: %s", run.State, run.Step, run.Attempt, run.NotBefore, run.Error)
			}
			return err
		})
	})
	if err != nil {
		text += ", " + err.Error()
	}
	return text
}

// checkWhole looks at everything that is stored. Load and rotations must be
// over. The servers of SQLite are down in between.
func (s *site) checkWhole(ctx context.Context) error {
	if n := s.anyUp(); n != nil {
		if err := s.checkLogins(ctx, n); err != nil {
			return err
		}
	}
	fresh := s.ledger.from(s.checked)
	err := each(fresh, 16, func(w write) error { return s.verify(ctx, s.nodes[0], w) })
	if err != nil {
		return err
	}
	if s.backing == nil {
		if err := s.kill(s.nodes[0]); err != nil {
			return err
		}
	}
	if err := s.inStore(ctx, func(st *store.Store) error { return s.checkStore(ctx, st, fresh) }); err != nil {
		return err
	}
	s.checked += len(fresh)
	if s.backing == nil {
		return s.start(ctx, s.nodes[0])
	}
	return nil
}

// checkAgain reads every write of the whole run back.
func (s *site) checkAgain(ctx context.Context) error {
	return each(s.ledger.from(0), 16, func(w write) error { return s.verify(ctx, s.nodes[0], w) })
}

// checkStore demands that the store is sound: SQLite's integrity check, the
// rules of labels, references; and that the trail has every acknowledged
// change.
func (s *site) checkStore(ctx context.Context, st *store.Store, fresh []write) error {
	if err := st.Check(ctx); err != nil {
		s.tally.violate("", "the store is not sound: %v", err)
	}
	recorded, err := s.recorded(ctx, st)
	if err != nil {
		return fmt.Errorf("reading the trail: %w", err)
	}
	for _, w := range fresh {
		if !w.acknowledgedAt.IsZero() && !recorded[w.token] {
			s.tally.violate(lost, "the trail has no event of version %s of %s, acknowledged at %s", w.token, w.secret, w.acknowledgedAt.Format(time.RFC3339Nano))
		}
	}
	s.mu.Lock()
	done := s.done
	s.done = map[string]string{}
	s.mu.Unlock()
	for _, token := range slices.Sorted(maps.Keys(done)) {
		if !recorded[succeeded+token] {
			s.tally.violate(lost, "the trail has no RotationSucceeded of %s for %s", token, done[token])
		}
	}
	return nil
}

// succeeded marks, among what is recorded, the end of a rotation.
const succeeded = "RotationSucceeded "

// recorded reads the events in the trail that were made since the last look,
// and some before, and returns the tokens of the changes that they tell of.
func (s *site) recorded(ctx context.Context, st *store.Store) (map[string]bool, error) {
	const page = 2000
	found := map[string]bool{}
	failed := 0
	for _, name := range []string{"PutSecretValue", "CreateSecret", "RotationSucceeded", "RotationFailed"} {
		q := store.EventQuery{Account: account, Region: region, Attribute: store.EventName, Value: name, From: s.looked.Add(-time.Minute), Limit: page}
		for more := true; more; {
			err := st.View(ctx, func(tx *store.Tx) error {
				list, next, err := tx.Events(q)
				for _, e := range list {
					found[tokenOf(name, e)] = true
					if name == "RotationFailed" && !s.failures[e.EventID] {
						s.failures[e.EventID] = true
						failed++
					}
				}
				q.After, more = next, !next.IsZero()
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	s.tally.add(failedSteps, failed)
	s.looked = time.Now()
	return found, nil
}

// tokenOf returns the token of the change that an event tells of: the
// caller's, or, for the end of a rotation, the one in its request ID.
func tokenOf(name string, r trail.Record) string {
	var body struct {
		RequestID         string `json:"requestID"`
		RequestParameters struct {
			Token string `json:"clientRequestToken"`
		} `json:"requestParameters"`
	}
	if json.Unmarshal(r.JSON, &body) != nil {
		return ""
	}
	if !strings.HasPrefix(name, "Rotation") {
		return body.RequestParameters.Token
	}
	// The request ID of a rotation is ARN and token (AWS: recorded).
	return name + " " + body.RequestID[max(0, len(body.RequestID)-36):]
}

// each calls fn for all, by so many goroutines.
func each[T any](all []T, workers int, fn func(T) error) error {
	next := make(chan T)
	var mu sync.Mutex
	var failed error
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for item := range next {
				if err := fn(item); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, item := range all {
		next <- item
	}
	close(next)
	group.Wait()
	return failed
}
