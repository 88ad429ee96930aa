package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rehearse/descendant"
	"github.com/keyturn/keyturn/internal/store"
)

// settleWithin is how long rotations may take to be complete once nothing is
// killed any more: a failed attempt waits half a minute for the next, its
// second one a minute and a half.
const settleWithin = 4 * time.Minute

// underLoad runs act while writers write, readers read and secrets rotate,
// then lets the rotations come to their ends and checks everything.
func (s *site) underLoad(ctx context.Context, act func(context.Context) error) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	load, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	own := func() *rand.Rand { return rand.New(rand.NewPCG(s.rnd.Uint64(), s.rnd.Uint64())) }
	for writer := range writers {
		rnd := own()
		group.Go(func() { s.writeOn(load, writer+writers*s.round, rnd) })
	}
	for range 2 {
		rnd := own()
		group.Go(func() { s.readOn(load, rnd) })
	}
	for _, r := range s.users {
		if rnd := own(); r.mode == onDemand {
			group.Go(func() { s.rotateOn(load, r, rnd) })
		}
	}
	err := act(load)
	stop()
	group.Wait()
	s.round++
	if err == nil {
		err = s.settle(ctx, settleWithin)
	}
	if err == nil {
		err = s.checkWhole(ctx)
	}
	return err
}

// kill ends a node and counts it.
func (s *site) kill(n *node) error {
	s.tally.add(serverKills, 1)
	return n.kill()
}

// killAtRandom kills servers at random instants, n times, and starts each
// again; one in ten is killed while it starts.
func (s *site) killAtRandom(ctx context.Context, n int) error {
	for i := 0; i < n; i++ {
		victim := s.nodes[s.rnd.IntN(len(s.nodes))]
		// Most kills come while much goes on, some right after the start.
		longest := 400
		if s.rnd.IntN(4) == 0 {
			longest = 40
		}
		pause(ctx, time.Duration(s.rnd.IntN(longest*1000))*time.Microsecond)
		if err := s.kill(victim); err != nil {
			return err
		}
		if err := s.scheduleSome(ctx); err != nil {
			return err
		}
		if s.rnd.IntN(10) == 0 && i+1 < n {
			i++
			if err := s.killEarly(ctx, victim); err != nil {
				return err
			}
		}
		if err := s.start(ctx, victim); err != nil {
			return err
		}
		if err := s.checkQuickly(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// killEarly kills a server while it starts.
func (s *site) killEarly(ctx context.Context, n *node) error {
	if err := n.launch(); err != nil {
		return err
	}
	pause(ctx, time.Duration(s.rnd.IntN(150_000))*time.Microsecond)
	s.tally.add(earlyKills, 1)
	return s.kill(n)
}

// scheduleSome lets, now and then, the schedule of a secret fire. The store of
// SQLite is open for that while its server is down.
func (s *site) scheduleSome(ctx context.Context) error {
	if s.rnd.IntN(6) != 0 {
		return nil
	}
	for _, r := range s.users {
		if r.mode != bySchedule || r.underWay() || s.rnd.IntN(2) == 0 {
			continue
		}
		if err := s.inStore(ctx, func(st *store.Store) error { return s.makeDue(ctx, st, r) }); err != nil {
			return fmt.Errorf("letting the schedule of %s fire: %w", r.name, err)
		}
	}
	return nil
}

// killAtBoundaries rotates the secrets that are for it, and kills the server
// that runs a rotation at one of its boundaries: for each secret at so many of
// them, spread evenly from the first to the last.
func (s *site) killAtBoundaries(ctx context.Context, most int) error {
	for _, r := range s.users {
		if r.mode != byTrap {
			continue
		}
		stride := 1 + boundaries/most
		for at := 1 + s.rnd.IntN(stride); ; at += stride {
			hit, err := s.killAt(ctx, r, at)
			if err != nil {
				return err
			}
			if !hit {
				break // the rotation has no more boundaries
			}
		}
	}
	return nil
}

// boundaries is about how many a rotation has.
const boundaries = 30

// killAt kills at one boundary of a new rotation, starts the server again,
// and waits until the rotation is complete. hit is false when it was complete
// before it got there.
func (s *site) killAt(ctx context.Context, r *rotating, at int) (hit bool, err error) {
	caught := make(chan *node, 1)
	var failed atomic.Pointer[error]
	t := &trap{arn: r.arn, user: r.name, at: at}
	t.spring = func(where string) {
		victim, err := s.runner(ctx, r)
		if err != nil {
			failed.Store(&err)
			victim = s.nodes[0]
		}
		victim.up.Store(false)
		_ = victim.cmd.Process.Kill() // waited for below
		s.tally.boundary(r.rotator + " " + where)
		caught <- victim
	}
	s.gates.trap.Store(t)
	defer s.gates.trap.Store(nil)
	if !s.begin(ctx, r, s.rnd) {
		return false, ctx.Err()
	}
	for {
		select {
		case victim := <-caught:
			return true, s.afterBoundary(ctx, r, victim, failed.Load())
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if s.completed(ctx, s.nodes[s.rnd.IntN(len(s.nodes))], r) {
			return false, nil
		}
	}
}

func (s *site) afterBoundary(ctx context.Context, r *rotating, victim *node, failed *error) error {
	if failed != nil {
		return fmt.Errorf("finding the node that runs a rotation: %w", *failed)
	}
	s.tally.add(boundaryKills, 1)
	if err := s.kill(victim); err != nil {
		return err
	}
	s.gates.trap.Store(nil)
	if err := s.start(ctx, victim); err != nil {
		return err
	}
	if err := s.checkQuickly(ctx); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if !s.awaitRotation(bounded, r, s.rnd) && ctx.Err() == nil {
		s.tally.violate("", "the rotation of %s is not complete %v after the kill: %s", r.name, settleWithin, s.situation(ctx, r))
	}
	return ctx.Err()
}

// runner returns the node that runs a secret's rotation: the only one, or the
// one that has claimed it in the store.
func (s *site) runner(ctx context.Context, r *rotating) (*node, error) {
	if s.backing == nil || len(s.nodes) == 1 {
		return s.nodes[0], nil
	}
	var owner string
	err := s.backing.store.View(ctx, func(tx *store.Tx) error {
		found, err := tx.FindSecret(account, region, arn.ParseSecretRef(r.arn))
		if err != nil {
			return err
		}
		run, err := tx.Run(found.ID)
		if err == nil {
			owner = run.Owner
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, n := range s.nodes {
		var name string
		text, err := os.ReadFile(filepath.Join(n.dir, "node.json"))
		if err == nil {
			err = json.Unmarshal(text, &name)
		}
		if err != nil {
			return nil, err
		}
		if name == owner {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node is called %q", owner)
}

// killFunctions kills the processes of functions at random instants, about n
// times: a rotation whose attempt failed waits before its next, which should
// not be killed too.
func (s *site) killFunctions(ctx context.Context, n int) error {
	rotators := []string{single, alternating, python}
	for killed, end := 0, time.Now().Add(10*time.Second); killed < n && time.Now().Before(end); {
		pause(ctx, time.Duration(50+s.rnd.IntN(250))*time.Millisecond)
		rotator := rotators[s.rnd.IntN(len(rotators))]
		if s.functions[rotator] == "" {
			continue
		}
		for _, node := range s.nodes {
			found := descendant.Kill(node.pid(), functionName(rotator))
			killed += found
			s.tally.add(functionKills, found)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// killDatabase kills the database whose users rotate, n times, and starts it
// again.
func (s *site) killDatabase(ctx context.Context, target *pgserver.Server, n int) error {
	for range n {
		pause(ctx, time.Duration(100+s.rnd.IntN(500))*time.Millisecond)
		s.tally.add(databaseKills, 1)
		if err := errors.Join(target.Kill(), target.Restart(ctx)); err != nil {
			return fmt.Errorf("restarting the database: %w", err)
		}
	}
	return s.checkQuickly(ctx)
}

// endStore ends the servers' PostgreSQL under load, n times: it is started
// again, or its standby takes over. The servers have to come back by
// themselves.
func (s *site) endStore(ctx context.Context, n int) error {
	for range n {
		pause(ctx, time.Duration(200+s.rnd.IntN(500))*time.Millisecond)
		end, what := s.backing.restart, storeKills
		if s.backing.standby != nil {
			end, what = s.backing.failOver, failOvers
		}
		s.tally.add(what, 1)
		if err := end(ctx); err != nil {
			return fmt.Errorf("ending the store: %w", err)
		}
		back := time.Now()
		for _, node := range s.nodes {
			if err := s.writesAgain(ctx, node, back); err != nil {
				return err
			}
		}
		if err := s.checkQuickly(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// writesAgain waits until a node stores a write.
func (s *site) writesAgain(ctx context.Context, n *node, back time.Time) error {
	for {
		_, err := n.secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String("superuser"),
			SecretString: aws.String(s.value(pgserver.Superuser, s.target.Password, ""))})
		if err == nil {
			s.tally.took(slowWrite, time.Since(back))
			return nil
		}
		if time.Since(back) > time.Minute {
			return fmt.Errorf("node %s does not write a minute after its store is back: %w", n.name, err)
		}
		pause(ctx, 20*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// loseNode kills a node in the middle of rotations and leaves it dead until
// the others have taken all of them over, n times.
func (s *site) loseNode(ctx context.Context, n int) error {
	for range n {
		victim, err := s.busy(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := s.kill(victim); err != nil {
			return err
		}
		for _, r := range s.users {
			bounded, cancel := context.WithTimeout(ctx, settleWithin)
			r.mu.Lock()
			token := r.token
			r.mu.Unlock()
			for token != "" && !s.over(bounded, r, token) && bounded.Err() == nil {
				pause(ctx, 100*time.Millisecond)
			}
			if bounded.Err() != nil && ctx.Err() == nil {
				s.tally.violate("", "the rotation of %s was not taken over: %s", r.name, s.situation(ctx, r))
			}
			cancel()
		}
		s.tally.add(takeOvers, 1)
		s.tally.took(slowTakeOver, time.Since(began))
		if err := s.start(ctx, victim); err != nil {
			return err
		}
		if err := s.checkQuickly(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// over tells whether a rotation has been followed by its end.
func (s *site) over(ctx context.Context, r *rotating, token string) bool {
	r.mu.Lock()
	now := r.token
	r.mu.Unlock()
	if now != token {
		return true
	}
	n := s.anyUp()
	if n == nil {
		return false
	}
	current, _, err := s.describe(ctx, n, r.arn)
	return err == nil && current == token
}

// busy waits until some node runs a rotation, and returns it.
func (s *site) busy(ctx context.Context) (*node, error) {
	for {
		for _, r := range s.users {
			if r.underWay() {
				if n, err := s.runner(ctx, r); err == nil {
					return n, nil
				}
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pause(ctx, 5*time.Millisecond)
	}
}
