package store

import (
	"database/sql"
	"errors"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
)

// ErrFenced, of kind Conflict, tells that a rotation's claim has passed to
// another engine, or that the rotation was replaced or ended meanwhile.
var ErrFenced = &fault.Error{Kind: fault.Conflict, Cause: errors.New("the rotation is no longer claimed by this engine")}

// runColumns are the columns of a run as scanRun reads them.
const runColumns = `r.secret_id, r.token, r.test_only, r.scheduled, r.state, r.step, r.attempt, r.announced, r.function_arn, r.rotation_token,
	r.started_at, r.window_end, r.not_before, r.error, r.failed_step, r.finished_at, r.owner, r.lease_until, r.fence, r.finding`

func scanRun(rows *sql.Rows) (secret.RotationRun, error) {
	var r secret.RotationRun
	var testOnly, scheduled, started, windowEnd, notBefore, finished, lease int64
	err := rows.Scan(&r.SecretID, &r.Token, &testOnly, &scheduled, &r.State, &r.Step, &r.Attempt, &r.Announced, &r.FunctionARN, &r.RotationToken,
		&started, &windowEnd, &notBefore, &r.Error, &r.FailedStep, &finished, &r.Owner, &lease, &r.Fence, &r.Finding)
	r.TestOnly, r.Scheduled = testOnly != 0, scheduled != 0
	r.StartedAt, r.WindowEnd, r.NotBefore = fromMicros(started), fromMicros(windowEnd), fromMicros(notBefore)
	r.FinishedAt, r.LeaseUntil = fromMicros(finished), fromMicros(lease)
	return r, err
}

func (tx *Tx) runs(query string, args ...any) ([]secret.RotationRun, error) {
	var list []secret.RotationRun
	err := tx.each(func(rows *sql.Rows) error {
		r, err := scanRun(rows)
		list = append(list, r)
		return err
	}, query, args...)
	return list, err
}

// Run returns the rotation of a secret. It returns an error of kind
// NotFound, without message, when the secret never rotated.
func (tx *Tx) Run(secretID string) (*secret.RotationRun, error) {
	list, err := tx.runs(`SELECT `+runColumns+` FROM rotation r WHERE r.secret_id = $1`, secretID)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	return &list[0], nil
}

// SaveRun stores a run with its claim as it stands in run, and in place of
// the secret's former run. fence is the one that the caller read or got
// with its claim, 0 when there was no run; a newer stored one makes SaveRun
// return ErrFenced. The stored fence never gets smaller.
func (tx *Tx) SaveRun(run *secret.RotationRun, fence int64) error {
	n, err := tx.exec(`INSERT INTO rotation (secret_id, token, test_only, scheduled, state, step, attempt, announced, function_arn, rotation_token,
			started_at, window_end, not_before, error, failed_step, finished_at, owner, lease_until, fence, finding)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (secret_id) DO UPDATE SET token = excluded.token, test_only = excluded.test_only, scheduled = excluded.scheduled,
			state = excluded.state, step = excluded.step, attempt = excluded.attempt, announced = excluded.announced,
			function_arn = excluded.function_arn, rotation_token = excluded.rotation_token, started_at = excluded.started_at,
			window_end = excluded.window_end, not_before = excluded.not_before, error = excluded.error,
			failed_step = excluded.failed_step, finished_at = excluded.finished_at, owner = excluded.owner,
			lease_until = excluded.lease_until, fence = excluded.fence, finding = excluded.finding
		WHERE rotation.fence <= $21`,
		run.SecretID, run.Token, bit(run.TestOnly), bit(run.Scheduled), string(run.State), string(run.Step), run.Attempt, run.Announced,
		run.FunctionARN, nullable(run.RotationToken), micros(run.StartedAt), micros(run.WindowEnd), micros(run.NotBefore), run.Error,
		string(run.FailedStep), micros(run.FinishedAt), run.Owner, micros(run.LeaseUntil), max(run.Fence, fence), run.Finding, fence)
	if err == nil && n == 0 {
		return ErrFenced
	}
	return err
}

// ClaimRuns gives up to limit running rotations to the engine named owner
// until leaseUntil, those first whose next attempt has waited longest. It
// takes runs whose next attempt is due, by the engine's own clock, and that no
// other engine holds a lease on at now, by the store's (Store.Now). A lease
// that ends later than two from now is not one: the clock has been set back
// since. Each claim has a fence of its own.
func (tx *Tx) ClaimRuns(owner string, due, now, leaseUntil time.Time, limit int) ([]secret.RotationRun, error) {
	list, err := tx.runs(`SELECT `+runColumns+` FROM rotation r
		WHERE r.state = 'running' AND r.not_before <= $1 AND (r.lease_until <= $2 OR r.lease_until > $3) ORDER BY r.not_before LIMIT $4`,
		micros(due), micros(now), micros(leaseUntil.Add(leaseUntil.Sub(now))), limit)
	if err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		r.Owner, r.LeaseUntil, r.Fence = owner, fromMicros(micros(leaseUntil)), r.Fence+1
		if _, err := tx.exec(`UPDATE rotation SET owner = $2, lease_until = $3, fence = $4 WHERE secret_id = $1`,
			r.SecretID, owner, micros(leaseUntil), r.Fence); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// RenewLease makes a claim last until the given time; the zero time gives
// it back. It returns ErrFenced when the claim is lost or the rotation is
// over.
func (tx *Tx) RenewLease(secretID, owner string, fence int64, until time.Time) error {
	n, err := tx.exec(`UPDATE rotation SET lease_until = $4 WHERE secret_id = $1 AND owner = $2 AND fence = $3 AND state = 'running'`,
		secretID, owner, fence, micros(until))
	if err == nil && n == 0 {
		return ErrFenced
	}
	return err
}

// ReleaseRuns gives back every claim of the engine named owner, which must
// not be running: after a crash its runs then need not wait for their leases.
func (tx *Tx) ReleaseRuns(owner string) error {
	_, err := tx.exec(`UPDATE rotation SET owner = '', lease_until = 0, fence = fence + 1 WHERE owner = $1 AND state = 'running'`, owner)
	return err
}

// NextDue returns when a rotation engine next finds something to do: the
// first scheduled rotation of any secret, the next attempt of a running one
// or the end of its lease, by the engine's own clock, which is ahead of the
// store's by so much. It is zero when there is nothing to wait for.
func (tx *Tx) NextDue(ahead time.Duration) (time.Time, error) {
	var scheduled, running, leased int64
	// Rotations that run are few; an index holds only them.
	err := tx.one([]any{&scheduled, &running, &leased}, `SELECT
		coalesce((SELECT min(s.due_at) FROM secret s WHERE s.due_at > 0 AND s.delete_at = 0), 0),
		coalesce((SELECT min(CASE WHEN r.lease_until > r.not_before THEN r.lease_until ELSE r.not_before END)
			FROM rotation r WHERE r.state = 'running'), -1),
		coalesce((SELECT CASE WHEN r.lease_until > r.not_before THEN 1 ELSE 0 END FROM rotation r WHERE r.state = 'running'
			ORDER BY CASE WHEN r.lease_until > r.not_before THEN r.lease_until ELSE r.not_before END LIMIT 1), 0)`)
	if leased != 0 {
		running += ahead.Microseconds()
	}
	if err != nil || running < 0 {
		return fromMicros(scheduled), err
	}
	if scheduled == 0 || running < scheduled {
		// A run that may start at any time has zero here, which must not
		// read as nothing.
		return fromMicros(max(running, 1)), nil
	}
	return fromMicros(scheduled), nil
}
