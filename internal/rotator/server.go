package rotator

import (
	"context"
	"strings"
)

// located completes the secret of a superuser that holds only the
// credentials.
func (r *Rotation) located(_ context.Context, arn string, d *Document) (*Document, error) {
	return d, nil
}

// sameServer tells whether a superuser's host is the current one, or the
// primary of the current one as KEYTURN_PRIMARY_HOSTS says: pairs
// replica=primary, separated by commas.
func (r *Rotation) sameServer(_ context.Context, cur, master Login) (bool, error) {
	if cur.Host == master.Host {
		return true, nil
	}
	for pair := range strings.SplitSeq(r.Settings.Text("KEYTURN_PRIMARY_HOSTS", ""), ",") {
		replica, primary, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if replica == cur.Host && primary == master.Host {
			return true, nil
		}
	}
	return false, nil
}

// hold keeps the pending user's old password while readers still need it.
func (r *Rotation) hold(context.Context) error { return nil }
