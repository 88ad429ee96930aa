package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
)

// Rotators of the secrets.
const (
	single      = "postgres.single"
	alternating = "postgres.alternating"
	python      = "python"
)

// mode says what makes a secret rotate.
type mode string

// The modes: over and over on demand, by its schedule, or when a trap is set
// for it.
const (
	onDemand   mode = "demand"
	bySchedule mode = "schedule"
	byTrap     mode = "trap"
)

// rotating is a secret with a user of the real database.
type rotating struct {
	name, arn, rotator string
	mode               mode

	mu sync.Mutex
	// token is the rotation that was asked for and is not seen complete;
	// began is when. current is the version before a scheduled rotation.
	token, current string
	began          time.Time
	// rotated counts the completed rotations.
	rotated int
}

// A secret has no more than 100 versions of one day: the load leaves it when
// it has been rotated often enough, and another takes its place before the
// next round.
const (
	oftenEnough = 90
	tooOften    = 40
)

// worn tells whether a secret was rotated that often.
func (r *rotating) worn(times int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rotated >= times
}

// renew replaces the secrets that were rotated too often to last a round.
func (s *site) renew(ctx context.Context) error {
	for i, r := range s.users {
		if !r.worn(tooOften) {
			continue
		}
		s.enrolled++
		fresh := &rotating{name: fmt.Sprintf("%s_%d", s.tally.name, s.enrolled), rotator: r.rotator, mode: r.mode}
		if err := s.enrol(ctx, fresh); err != nil {
			return fmt.Errorf("making the rotating secret %s: %w", fresh.name, err)
		}
		s.users[i] = fresh
	}
	return s.settle(ctx, time.Minute)
}

// value is what a secret says of its login. Connections go through the gate,
// which reads along: they are not encrypted.
func (s *site) value(user, password, superuser string) string {
	v := map[string]any{
		"engine": "postgres", "host": "127.0.0.1", "port": s.gates.databasePort(), "dbname": "postgres",
		"username": user, "password": password, "ssl": false,
	}
	if superuser != "" {
		v["masterarn"] = superuser
	}
	b, _ := json.Marshal(v) // strings and numbers always marshal
	return string(b)
}

// describe returns the version that has AWSCURRENT, and the one that has
// AWSPENDING, which may be the same for a moment: the rotation is not complete
// then.
func (s *site) describe(ctx context.Context, n *node, id string) (current, pending string, err error) {
	out, err := n.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	if err != nil {
		return "", "", err
	}
	for version, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, "AWSCURRENT") {
			current = version
		}
		if slices.Contains(labels, "AWSPENDING") {
			pending = version
		}
	}
	return current, pending, nil
}

// rotateOn rotates a secret again and again until ctx ends.
func (s *site) rotateOn(ctx context.Context, r *rotating, rnd *rand.Rand) {
	for ctx.Err() == nil && !r.worn(oftenEnough) {
		if s.begin(ctx, r, rnd) {
			s.awaitRotation(ctx, r, rnd)
		}
		pause(ctx, time.Duration(50+rnd.IntN(300))*time.Millisecond)
	}
}

// begin asks for a rotation, if none is under way, until it is known to be
// stored or ctx ends.
func (s *site) begin(ctx context.Context, r *rotating, rnd *rand.Rand) (begun bool) {
	r.mu.Lock()
	open := r.token
	r.mu.Unlock()
	if open != "" {
		return true // one that was begun before
	}
	token := uuid.NewString()
	calm := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		n := s.nodes[rnd.IntN(len(s.nodes))]
		_, err := n.secrets.RotateSecret(calm, &secretsmanager.RotateSecretInput{SecretId: &r.arn, ClientRequestToken: &token})
		if err == nil || s.knows(calm, r.arn, token) {
			r.mu.Lock()
			r.token, r.began = token, time.Now()
			r.mu.Unlock()
			return true
		}
		if refused, ok := errors.AsType[*types.InvalidRequestException](err); !ok || !strings.Contains(refused.ErrorMessage(), "previous rotation") {
			s.failed("rotate "+r.name, err)
		}
		s.tally.add(retries, 1)
		pause(ctx, 50*time.Millisecond)
	}
	return false
}

// knows tells whether a secret has a version of that ID, on any node.
func (s *site) knows(ctx context.Context, id, version string) bool {
	for _, n := range s.nodes {
		if !n.up.Load() {
			continue
		}
		out, err := n.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
		if err == nil {
			_, found := out.VersionIdsToStages[version]
			return found
		}
	}
	return false
}

// awaitRotation waits until the rotation that was begun is complete, or ctx
// ends, and counts it.
func (s *site) awaitRotation(ctx context.Context, r *rotating, rnd *rand.Rand) (complete bool) {
	for {
		n := s.nodes[rnd.IntN(len(s.nodes))]
		if n.up.Load() && s.completed(context.WithoutCancel(ctx), n, r) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		pause(ctx, 40*time.Millisecond)
	}
}

// completed looks whether the rotation under way is complete, and counts it if
// so. It is false on errors.
func (s *site) completed(ctx context.Context, n *node, r *rotating) bool {
	current, pending, err := s.describe(ctx, n, r.arn)
	if err != nil || pending != "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mode == bySchedule && r.current != "" && current != r.current:
		s.tally.add(scheduled, 1)
		r.token = current
	case r.mode == bySchedule || current != r.token:
		return false
	}
	r.rotated++
	s.tally.add(rotations, 1)
	s.tally.took(slowRotation, time.Since(r.began))
	s.note(r.arn, r.token)
	r.token, r.current = "", ""
	return true
}

// makeDue lets the schedule of a secret fire now. Only the time is moved, in
// the store; all the rest is the server's.
func (s *site) makeDue(ctx context.Context, st *store.Store, r *rotating) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != "" {
		return nil // it is under way
	}
	var current string
	err := st.Update(ctx, func(tx *store.Tx) error {
		before, err := tx.FindLabelled(account, region, arn.ParseSecretRef(r.arn))
		if err != nil {
			return err
		}
		for i := range before.Versions {
			if before.Versions[i].Has("AWSCURRENT") {
				current = before.Versions[i].ID
			}
		}
		after := before.Clone()
		after.Rotation.DueAt = time.Now()
		return tx.SaveSecret(before, after)
	})
	if err == nil {
		r.current, r.began = current, time.Now()
	}
	return err
}

// underWay tells whether a rotation was begun and is not seen complete.
func (r *rotating) underWay() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.token != "" || r.current != ""
}

// logsIn tries the stored values of a secret as an operator would, the current
// one first, with real logins. A rotation under way may change between a read
// and a login, so it looks several times before it says no.
func (s *site) logsIn(ctx context.Context, n *node, r *rotating) error {
	var tried error
	for range 6 {
		tried = nil
		for _, label := range []string{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"} {
			out, err := n.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &r.arn, VersionStage: aws.String(label)})
			if err == nil {
				err = s.login(ctx, *out.SecretString)
			}
			if err == nil {
				s.tally.add(logins, 1)
				return nil
			}
			tried = errors.Join(tried, fmt.Errorf("%s: %w", label, err))
		}
		pause(ctx, 250*time.Millisecond)
	}
	return tried
}

// login logs in to the database, not through the gate.
func (s *site) login(ctx context.Context, value string) error {
	var v struct{ Username, Password string }
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		return errors.New("the value is no JSON object")
	}
	conn, err := pgx.Connect(ctx, s.target.URL(v.Username, v.Password, "postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// makeUser makes a user of the database with a first password.
func makeUser(ctx context.Context, db *pgserver.Server, name, password string) error {
	conn, err := pgx.Connect(ctx, db.AdminURL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, fmt.Sprintf("CREATE USER %s PASSWORD '%s'", name, password))
	return err
}
