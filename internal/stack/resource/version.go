package resource

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
)

// The labels that a changed value moves.
const (
	currentLabel  = "AWSCURRENT"
	previousLabel = "AWSPREVIOUS"
	pendingLabel  = "AWSPENDING"
)

// labels tell where a secret's labels were before a stack changed its value:
// a rollback moves them back, so that the very version is current again that
// was before, with the password that the database still has.
type labels struct {
	// Current and Previous are version IDs; "" for none.
	Current, Previous string
	// Rotated is when the secret was rotated last.
	Rotated time.Time
	// Put is the version that the change made.
	Put string
	// finishing says that a rotation has just made its version current.
	finishing bool
}

// labelsOf are those of a secret.
func labelsOf(d *api.DescribeSecretResponse) labels {
	var l labels
	for id, list := range d.VersionIdsToStages {
		if slices.Contains(list, currentLabel) {
			l.Current = id
		}
		if slices.Contains(list, previousLabel) {
			l.Previous = id
		}
		l.finishing = l.finishing || slices.Contains(list, currentLabel) && slices.Contains(list, pendingLabel)
	}
	if d.LastRotatedDate != nil {
		l.Rotated = *d.LastRotatedDate
	}
	return l
}

// rememberLabels keeps for a rollback where the labels of a secret are, which
// is about to get the version put.
func (r *Request) rememberLabels(ctx context.Context, id, put string) error {
	if r.Remember == nil {
		return nil
	}
	d, err := r.describeSecret(ctx, id)
	if err != nil {
		return err
	}
	l := labelsOf(d)
	l.Put = put
	b, err := json.Marshal(l)
	if err != nil {
		return fault.Wrap(err, "remembering a secret's labels")
	}
	return r.Remember(string(b))
}

// restoreLabels moves the labels of a secret back. A value that somebody else
// has set meanwhile stays: that of a rotation, which a database has by now,
// and, if only its own was asked for, any other.
func (r *Request) restoreLabels(ctx context.Context, id string, own bool) error {
	if r.Remembered == "" { // the value was never touched
		return nil
	}
	var before labels
	if err := json.Unmarshal([]byte(r.Remembered), &before); err != nil {
		return fault.Wrap(err, "recalling a secret's labels")
	}
	for {
		d, err := r.describeSecret(ctx, id)
		if err != nil {
			return err
		}
		now := labelsOf(d)
		if before.Current == "" || now.finishing || !before.Rotated.Equal(now.Rotated) || own && now.Current != before.Put {
			return nil
		}
		if now.Current == before.Current {
			return r.restorePrevious(ctx, id, now.Previous, before.Previous)
		}
		if err := r.moveLabel(ctx, id, currentLabel, now.Current, before.Current); err == nil {
			return r.restorePrevious(ctx, id, now.Current, before.Previous)
		} else if d, failed := r.describeSecret(ctx, id); failed != nil || labelsOf(d).Current == now.Current {
			return err
		} // another one was faster: look again
	}
}

// restorePrevious moves AWSPREVIOUS back. The version that had it may be gone
// by now, because it has had no label since.
func (r *Request) restorePrevious(ctx context.Context, id, from, to string) error {
	if from == to || from == "" {
		return nil
	}
	return gone(r.moveLabel(ctx, id, previousLabel, from, to))
}

// moveLabel moves a label from one version to another, or takes it away.
func (r *Request) moveLabel(ctx context.Context, id, label, from, to string) error {
	in := &api.UpdateSecretVersionStageRequest{SecretId: &id, VersionStage: &label, RemoveFromVersionId: &from}
	if to != "" {
		in.MoveToVersionId = &to
	}
	return r.Client.do(ctx, secretsManager, "UpdateSecretVersionStage", in)
}
