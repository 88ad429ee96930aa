package secretsmanager

import (
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
)

// orNil returns nil for the zero value: members without a value are absent
// (AWS: recorded).
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// date is orNil for times.
func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// given returns what p points to, or the zero value for nil.
func given[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// day is the UTC day of the time: what LastAccessedDate shows (AWS:
// recorded).
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// milliseconds is the precision in which dates are kept and shown.
func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// tagsOut keeps the difference between no tags ever and no tags left.
func tagsOut(tags []secret.Tag) []api.Tag {
	if tags == nil {
		return nil
	}
	out := make([]api.Tag, len(tags))
	for i, t := range tags {
		out[i] = api.Tag{Key: &t.Key, Value: &t.Value}
	}
	return out
}

func tagsIn(tags []api.Tag) []secret.Tag {
	in := make([]secret.Tag, len(tags))
	for i, t := range tags {
		in[i] = secret.Tag{Key: given(t.Key), Value: given(t.Value)}
	}
	return in
}

// stages maps the labelled versions to their labels; nil when there are none.
func stages(sec *secret.Secret) map[string][]string {
	var m map[string][]string
	for i := range sec.Versions {
		if v := &sec.Versions[i]; len(v.Labels) > 0 {
			if m == nil {
				m = make(map[string][]string, 3)
			}
			m[v.ID] = v.Labels
		}
	}
	return m
}

// rotationOut is what Describe and List show of the rotation configuration.
type rotationOut struct {
	enabled           *bool
	function          *string
	rules             *api.RotationRulesType
	lastRotated, next *time.Time
}

// rotationOf shows the configuration once there was one, and dates only while
// rotation is on (AWS docs).
func rotationOf(sec *secret.Secret) rotationOut {
	r := &sec.Rotation
	if !r.Configured {
		return rotationOut{}
	}
	out := rotationOut{enabled: &r.Enabled, rules: rulesOut(r)}
	if sec.OwningService == "" {
		out.function = orNil(r.FunctionARN)
	}
	if r.Enabled {
		out.lastRotated, out.next = date(r.LastRotatedAt), date(r.NextDate)
	}
	return out
}

// rulesOut holds only the members that are set. Beside an expression AWS
// shows the days that it comes to, from the first successful rotation on (AWS:
// recorded).
func rulesOut(r *secret.Rotation) *api.RotationRulesType {
	if r.Rules == (schedule.Rules{}) {
		return nil
	}
	days := r.Rules.AutomaticallyAfterDays
	if r.Rules.Expression != "" && !r.LastRotatedAt.IsZero() {
		if plan, err := schedule.Parse(r.Rules); err == nil {
			days = plan.DisplayDays()
		}
	}
	return &api.RotationRulesType{
		AutomaticallyAfterDays: orNil(days), Duration: orNil(r.Rules.Duration), ScheduleExpression: orNil(r.Rules.Expression),
	}
}

// replicationStatus lists the replicas. It is nil for none; operations that
// show an empty list say so themselves.
func replicationStatus(sec *secret.Secret) []api.ReplicationStatusType {
	var out []api.ReplicationStatusType
	for i := range sec.Replicas {
		r := &sec.Replicas[i]
		status, message := r.Status, r.Message
		if status == secret.InSync && r.Revision < sec.Revision {
			status, message = secret.InProgress, "" // a change is on its way
		}
		kmsKeyID := r.KMSKeyID
		if kmsKeyID == "" {
			kmsKeyID = key.DefaultAlias // AWS docs
		}
		out = append(out, api.ReplicationStatusType{
			Region: &r.Region, KmsKeyId: &kmsKeyID, Status: (*string)(&status),
			StatusMessage: orNil(message), LastAccessedDate: date(r.AccessedOn),
		})
	}
	return out
}
