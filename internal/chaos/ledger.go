package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
)

// write is one value that a writer sent, under a token of its own.
type write struct {
	secret, token, value string
	seq                  int
	// acknowledgedAt is zero while no answer said that it is stored.
	acknowledgedAt time.Time
}

// ledger is what the writers know to be stored, beside the servers.
type ledger struct {
	mu     sync.Mutex
	writes []*write
	// latest is the last acknowledged write of each writer.
	latest map[int]*write
}

func newLedger() *ledger { return &ledger{latest: map[int]*write{}} }

func (l *ledger) sent(w *write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, w)
}

func (l *ledger) stored(writer int, w *write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.acknowledgedAt = time.Now()
	l.latest[writer%writers] = w
}

// from returns copies of the writes from a number on.
func (l *ledger) from(n int) (list []write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.writes[n:] {
		list = append(list, *w)
	}
	return list
}

func (l *ledger) last(writer int) (w write, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.latest[writer]; p != nil {
		return *p, true
	}
	return write{}, false
}

const (
	// writers write at once, each with a pause between two writes.
	writers    = 6
	writePause = 40 * time.Millisecond
	// perSecret is how many versions a writer puts into one secret; AWS
	// admits about 100 a day.
	perSecret = 60
	// tries is how often a writer repeats a request, under the same token,
	// before it gives up and leaves open whether it is stored; one in
	// giveUp does not repeat at all.
	tries  = 2000
	giveUp = 4
)

// writeOn puts version after version until ctx ends.
func (s *site) writeOn(ctx context.Context, writer int, rnd *rand.Rand) {
	secret := ""
	for seq := 0; ctx.Err() == nil; seq++ {
		if seq%perSecret == 0 {
			secret = fmt.Sprintf("%s/writer-%d/%d", s.tally.name, writer, seq/perSecret)
		}
		w := &write{secret: secret, token: uuid.NewString(), seq: seq}
		w.value = fmt.Sprintf("%s of writer %d, number %d", w.token, writer, seq)
		s.ledger.sent(w)
		n := tries
		if seq%perSecret != 0 && rnd.IntN(giveUp) == 0 {
			n = 1
		}
		if s.store(ctx, w, n, rnd) {
			s.ledger.stored(writer, w)
			s.tally.add(acknowledged, 1)
		} else if ctx.Err() == nil {
			s.tally.add(unacknowledged, 1)
		}
		pause(ctx, writePause)
	}
}

// store sends a write to any node, up to n times, and reports whether it was
// acknowledged.
func (s *site) store(ctx context.Context, w *write, n int, rnd *rand.Rand) bool {
	// One that was told to end lets the request under way end by itself.
	calm := context.WithoutCancel(ctx)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		if i > 0 {
			s.tally.add(retries, 1)
			pause(ctx, 20*time.Millisecond)
		}
		to := s.nodes[rnd.IntN(len(s.nodes))].secrets
		var err error
		if w.seq%perSecret == 0 {
			_, err = to.CreateSecret(calm, &secretsmanager.CreateSecretInput{Name: &w.secret, ClientRequestToken: &w.token, SecretString: &w.value})
		} else {
			_, err = to.PutSecretValue(calm, &secretsmanager.PutSecretValueInput{SecretId: &w.secret, ClientRequestToken: &w.token, SecretString: &w.value})
		}
		if err == nil {
			return true
		}
		s.failed("write "+w.secret, err)
	}
	return false
}

// failed notes what a request got that was not carried out. A fault of the
// server's program is a violation; that it is away, or that its store is, is
// not.
func (s *site) failed(doing string, err error) {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		s.tally.answer("no answer")
		return
	}
	s.tally.answer(api.ErrorCode())
	switch api.ErrorCode() {
	case "InternalServiceError", "InternalFailure", "InternalServerError":
		s.tally.violate("", "%s got %s: %s", doing, api.ErrorCode(), api.ErrorMessage())
	}
}

// settleTime is how old a write is that every node shows: what caches may
// hold back, and some.
const settleTime = 6 * time.Second

// readOn reads what was written last and demands that it is not older than
// what was acknowledged before the read began: at once on one node, within the
// bound of the change feed on several.
func (s *site) readOn(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		w, ok := s.ledger.last(rnd.IntN(writers))
		if !ok || len(s.nodes) > 1 && time.Since(w.acknowledgedAt) < settleTime {
			pause(ctx, 20*time.Millisecond)
			if !ok || !s.waitOut(ctx, w) {
				continue
			}
		}
		to := s.nodes[rnd.IntN(len(s.nodes))].secrets
		out, err := to.GetSecretValue(context.WithoutCancel(ctx), &secretsmanager.GetSecretValueInput{SecretId: &w.secret})
		if err != nil {
			s.readFailed(w, err)
			pause(ctx, 20*time.Millisecond)
			continue
		}
		var token string
		var writer, seq int
		if _, err := fmt.Sscanf(aws.ToString(out.SecretString), "%s of writer %d, number %d", &token, &writer, &seq); err != nil || token != *out.VersionId {
			s.tally.violate(lost, "%s has a value that nobody wrote, in version %s", w.secret, *out.VersionId)
		} else if seq < w.seq {
			s.tally.violate(lost, "%s: read number %d after number %d was acknowledged", w.secret, seq, w.seq)
		}
		s.tally.add(reads, 1)
		pause(ctx, 5*time.Millisecond)
	}
}

// waitOut waits until a write must be seen by all nodes.
func (s *site) waitOut(ctx context.Context, w write) bool {
	pause(ctx, time.Until(w.acknowledgedAt.Add(settleTime)))
	return ctx.Err() == nil
}

func (s *site) readFailed(w write, err error) {
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		s.tally.violate(lost, "%s, whose version %s was acknowledged, is not found", w.secret, w.token)
		return
	}
	s.failed("read "+w.secret, err)
}

// verify reads a write back: one that was acknowledged is there with its
// value, any other is whole or absent.
func (s *site) verify(ctx context.Context, n *node, w write) error {
	var out *secretsmanager.GetSecretValueOutput
	var err error
	for range 5 {
		out, err = n.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &w.secret, VersionId: &w.token})
		_, missing := errors.AsType[*types.ResourceNotFoundException](err)
		if err == nil || missing {
			break
		}
		s.failed("verify "+w.secret, err)
		pause(ctx, 200*time.Millisecond)
	}
	_, missing := errors.AsType[*types.ResourceNotFoundException](err)
	switch {
	case missing && w.acknowledgedAt.IsZero():
	case missing:
		s.tally.violate(lost, "version %s of %s, acknowledged at %s, is not there", w.token, w.secret, w.acknowledgedAt.Format(time.RFC3339Nano))
	case err != nil:
		return fmt.Errorf("reading %s back: %w", w.secret, err)
	case aws.ToString(out.SecretString) != w.value:
		s.tally.violate(lost, "version %s of %s has another value than was sent", w.token, w.secret)
	}
	return nil
}

// pause waits, but not past the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
