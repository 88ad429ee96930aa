package directory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// members are the names of a secret's members, which environment variables
// change (AWS: the templates).
type members struct {
	directory, username, password       string
	secretVersion, lastModified         string
	keytabs                             string
	principals, contents, keytabVersion string
}

func newMembers(s rotator.Settings) members {
	return members{
		directory:     s.Text("DICT_KEY_DIRECTORY", "awsSeamlessDomainDirectoryId"),
		username:      s.Text("DICT_KEY_USERNAME", "awsSeamlessDomainUsername"),
		password:      s.Text("DICT_KEY_PASSWORD", "awsSeamlessDomainPassword"),
		secretVersion: "directoryServiceSecretVersion",
		lastModified:  s.Text("DICT_KEY_LAST_MODIFIED", "lastModifiedDateTime"),
		keytabs:       s.Text("DICT_KEY_KEYTAB_ARNS", "keytabArns"),
		principals:    s.Text("DICT_KEY_KEYTAB_PRINCIPALS", "principals"),
		contents:      s.Text("DICT_KEY_KEYTAB_CONTENTS", "keytabContents"),
		keytabVersion: s.Text("DICT_KEY_KEYTAB_VERSION", "version"),
	}
}

// dateTime is how the secrets write times, in UTC.
const dateTime = "2006-01-02 15:04:05"

// touched notes a change: the next number in the member, and the time.
func (m members) touched(d *rotator.Document, counter string) *rotator.Document {
	if n, err := strconv.Atoi(d.Text(counter)); err == nil {
		d = d.With(counter, n+1)
	}
	return d.With(m.lastModified, time.Now().UTC().Format(dateTime))
}

// keytabArns lists the secrets whose keytabs follow the password.
func (m members) keytabArns(d *rotator.Document) ([]string, error) {
	var arns []string
	err := d.Decode(m.keytabs, &arns)
	return arns, err
}

// each does something for every keytab secret, and makes one error of what
// failed.
func (m members) each(d *rotator.Document, failed string, do func(arn string) error) error {
	arns, err := m.keytabArns(d)
	if err != nil {
		return err
	}
	var why []string
	for _, arn := range arns {
		if err := do(arn); err != nil {
			why = append(why, arn+": "+err.Error())
		}
	}
	if len(why) == 0 {
		return nil
	}
	return rotator.Invalid("%s for %d/%d keytab(s): %s", failed, len(why), len(arns), strings.Join(why, "; "))
}

// setKeytabs stores a pending keytab, made from the password that the account
// has now, in every secret that follows.
func (m members) setKeytabs(ctx context.Context, r *rotator.Rotation, d *rotator.Document, a account, password plaintext.Value) error {
	return m.each(d, "Failed to set keytab", func(arn string) error { return m.setKeytab(ctx, r, arn, a, password) })
}

func (m members) setKeytab(ctx context.Context, r *rotator.Rotation, arn string, a account, password plaintext.Value) error {
	stored, err := r.PendingOf(ctx, arn)
	if err != nil {
		return err
	}
	if stored != nil {
		r.Logf("Keytab secret %s has its AWSPENDING version %s already.", arn, r.Token)
		return nil
	}
	d, err := r.DocumentOf(ctx, arn)
	if err != nil {
		return err
	}
	old, err := m.keytabOf(d, a.realm.name)
	if err != nil {
		return err
	}
	keys, err := a.keys(ctx, password, holdsRC4(old))
	if err != nil {
		return err
	}
	contents, err := follow(old, keys, time.Now())
	if err != nil {
		return err
	}
	if err := r.PutPending(ctx, arn, m.touched(d.With(m.contents, contents), m.keytabVersion).Value()); err != nil {
		return err
	}
	r.Logf("Successfully put keytab for secret %s and version %s.", arn, r.Token)
	return nil
}

// keytabOf reads a keytab secret. That its principals are those of the keytab
// inside keeps a main secret from overwriting one that does not belong to it.
func (m members) keytabOf(d *rotator.Document, realm string) (*keytab.Keytab, error) {
	var principals []string
	if err := d.Decode(m.principals, &principals); err != nil {
		return nil, err
	}
	for _, key := range []string{m.principals, m.contents} {
		if !d.Has(key) {
			return nil, rotator.MissingKey(key)
		}
	}
	kt, err := parseKeytab(d.Secret(m.contents))
	if err != nil {
		return nil, err
	}
	if inside := principalsOf(kt); !slices.Equal(inside, qualified(principals, realm)) {
		return nil, rotator.Invalid("the principals of the secret are %q, and those of its keytab %q", principals, inside)
	}
	return kt, nil
}

// testKeytabs logs in with every pending keytab.
func (m members) testKeytabs(ctx context.Context, r *rotator.Rotation, d *rotator.Document, a account) error {
	return m.each(d, "Validation failed", func(arn string) error {
		stored, err := r.PendingOf(ctx, arn)
		if err != nil {
			return err
		}
		if stored == nil {
			return rotator.Invalid("the secret has no AWSPENDING version %s", r.Token)
		}
		kt, err := m.keytabOf(stored, a.realm.name)
		if err != nil {
			return err
		}
		if err := a.validate(ctx, kt); err != nil {
			return err
		}
		r.Logf("Successfully logged in as %s@%s with the AWSPENDING keytab of secret %s.", a.name, a.realm.name, arn)
		return nil
	})
}

// finishKeytabs moves AWSCURRENT of the keytab secrets after the main
// secret's, of which d is the current value.
func (m members) finishKeytabs(ctx context.Context, r *rotator.Rotation, d *rotator.Document) error {
	return m.each(d, "Failed to move AWSCURRENT", func(arn string) error {
		if err := r.MoveCurrent(ctx, arn); err != nil {
			return err
		}
		r.Logf("finishKeytab: Successfully set AWSCURRENT stage to version %s for secret %s.", r.Token, arn)
		return nil
	})
}
