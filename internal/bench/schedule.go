package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

const (
	// spread is the time in which the secrets fall due, lead what passes from
	// the end of the preparation to the first of them.
	spread, lead = time.Minute, 45 * time.Second
	// pacedReads is how many secrets clients read in a second meanwhile.
	pacedReads = 400
	// everyDays is the schedule of all secrets, dueAccount that of the root
	// credentials.
	everyDays  = 30
	dueAccount = "123456789012"
)

// measureSchedule runs the section on schedules: all secrets rotate, some of
// them fall due within a minute, and clients read at an even pace meanwhile.
func measureSchedule(ctx context.Context, binary, dir string, length time.Duration, total, due int) (err error) {
	b, stop, err := startRotationBench(ctx, binary, filepath.Join(dir, "schedule"), length)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := b.createUsers(ctx, due); err != nil {
		return err
	}
	if err := b.createFunctions(ctx, b.runtime); err != nil {
		return err
	}
	if err := b.limit(ctx, builtinFunction, rushLimit); err != nil {
		return err
	}
	if err := (&bench{server: b.server}).fill(0, total-due); err != nil {
		return err
	}
	if err := b.server.stop(); err != nil {
		return err
	}
	began := time.Now()
	first, err := scheduleAll(ctx, b.data, b.arns[builtinFunction], due)
	if err != nil {
		return err
	}
	if b.server, err = start(ctx, binary, b.args...); err != nil {
		return err
	}
	b.useServer()
	fmt.Printf("%d secrets rotate every %d days, %d of them fall due within %s; schedules stored in %s\n", total, everyDays, due, spread,
		first.Add(-lead).Sub(began).Round(time.Millisecond))
	return b.watchSchedule(ctx, first, due)
}

// scheduleAll turns rotation on for every secret in the data folder, which no
// server uses. Those of users fall due from the time that it returns on.
func scheduleAll(ctx context.Context, dir, function string, due int) (first time.Time, err error) {
	s, err := sqlite.Open(ctx, sqlite.Config{Dir: dir})
	if err != nil {
		return first, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rules := schedule.Rules{AutomaticallyAfterDays: everyDays}
	if err := eachPage(ctx, s, "bench/", func(_ int, sec *secret.Secret) error {
		sec.ConfigureRotation(function, &rules, secret.Dates{}, time.Now())
		return sec.Plan(nil)
	}); err != nil {
		return first, err
	}
	first = time.Now().Add(lead)
	return first, eachPage(ctx, s, "app_", func(i int, sec *secret.Secret) error {
		at := first.Add(spread * time.Duration(i) / time.Duration(due))
		sec.ConfigureRotation(function, &rules, secret.Dates{Next: at, Due: at}, time.Now())
		sec.Rotation.ConfiguredAt = time.Now().AddDate(0, 0, -everyDays)
		return nil
	})
}

// eachPage changes all secrets with a name prefix, a page in one transaction.
func eachPage(ctx context.Context, s *store.Store, prefix string, change func(i int, sec *secret.Secret) error) error {
	q := store.SecretQuery{Account: dueAccount, Region: region, Sort: store.ByName, NamePrefix: prefix, Limit: 500}
	for done := 0; ; {
		var next store.SecretCursor
		var n int
		err := s.Update(ctx, func(tx *store.Tx) error {
			list, cursor, err := tx.ListSecrets(q)
			if err != nil {
				return err
			}
			next, n = cursor, len(list)
			for i, before := range list {
				after := before.Clone()
				if err := change(done+i, after); err != nil {
					return err
				}
				if err := tx.SaveSecret(before, after); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || next.IsZero() {
			return err
		}
		done, q.After = done+n, next
	}
}

// watchSchedule reads before and while the rotations run, waits for the last
// and proves that they took place.
func (b *rotationBench) watchSchedule(ctx context.Context, first time.Time, due int) error {
	calm, err := b.pacedReads(time.Until(first) - 2*time.Second)
	if err != nil {
		return err
	}
	time.Sleep(time.Until(first))
	before := b.server.cpuTime()
	busy, err := b.pacedReads(spread)
	if err != nil {
		return err
	}
	cpu := (b.server.cpuTime() - before).Seconds() / spread.Seconds()
	row(fmt.Sprintf("reads, %d/s, nothing due", pacedReads), calm, nil)
	row("reads while secrets rotate", busy, &calm)
	fmt.Printf("  the server used %.0f %% of a processor in that minute, reads included\n", 100*cpu)
	var late []time.Duration
	for i := range due {
		rotated, err := b.awaitRotated(ctx, userName(i))
		if err != nil {
			return err
		}
		late = append(late, rotated.Sub(first.Add(spread*time.Duration(i)/time.Duration(due))))
		if err := b.logsIn(ctx, userName(i)); err != nil {
			return err
		}
	}
	slices.Sort(late)
	fmt.Printf("  all %d rotated and log in; after they fell due: p50 %s, p99 %s, the last %s\n", due,
		late[due/2].Round(time.Millisecond), late[due*99/100].Round(time.Millisecond), late[due-1].Round(time.Millisecond))
	return nil
}

// pacedReads reads random secrets at an even pace.
func (b *rotationBench) pacedReads(length time.Duration) (result, error) {
	reading := &scaleBench{bench: bench{server: b.server, length: length}}
	next := reading.random(smallSize)
	tick := time.NewTicker(time.Second / pacedReads)
	defer tick.Stop()
	return load(b.server, readers, length, func(i int) []byte {
		<-tick.C
		return next(i)
	})
}

// awaitRotated waits until a secret was rotated and returns when that was.
func (b *rotationBench) awaitRotated(ctx context.Context, name string) (time.Time, error) {
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		out, err := b.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name})
		if err != nil {
			return time.Time{}, err
		}
		if out.LastRotatedDate != nil {
			return *out.LastRotatedDate, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s was not rotated", name)
}

// logsIn logs in with a secret's value.
func (b *rotationBench) logsIn(ctx context.Context, name string) error {
	out, err := b.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(name)})
	if err != nil {
		return err
	}
	var value struct{ Password string }
	if err := json.Unmarshal([]byte(*out.SecretString), &value); err != nil {
		return errors.New("a new value is no JSON")
	}
	conn, err := pgx.Connect(ctx, b.db.URL(name, value.Password, "postgres"))
	if err != nil {
		return fmt.Errorf("the new password of %s does not log in: %w", name, err)
	}
	return conn.Close(ctx)
}
