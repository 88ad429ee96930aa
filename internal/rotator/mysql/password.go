package mysql

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/edwards25519"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// The plugins of MariaDB whose stored passwords this package can make, so
// that the password itself does not get into the server's logs. (MySQL takes
// passwords out of its logs itself.)
const (
	nativePassword = "mysql_native_password"
	ed25519        = "ed25519"
)

// asIs are MariaDB's plugins that keep no password.
var asIs = []string{"unix_socket", "auth_socket", "pam", "gssapi", "named_pipe"}

// stored is what a plugin keeps of a password; ok is false for plugins that
// are not known here.
func stored(plugin, password string) (text string, ok bool) {
	switch plugin {
	case nativePassword, "":
		first := sha1.Sum([]byte(password))
		return fmt.Sprintf("*%X", sha1.Sum(first[:])), true
	case ed25519:
		digest := sha512.Sum512([]byte(password))
		scalar, err := edwards25519.NewScalar().SetBytesWithClamping(digest[:32])
		if err != nil {
			return "", false
		}
		point := new(edwards25519.Point).ScalarBaseMult(scalar)
		return base64.RawStdEncoding.EncodeToString(point.Bytes()), true
	}
	return "", false
}

// first returns the plugin that MariaDB's SET PASSWORD is about: the first.
func (d definition) first() (plugin string, err error) {
	if len(d.methods) == 0 {
		return nativePassword, nil
	}
	plugin = d.methods[0].plugin
	if slices.Contains(asIs, plugin) {
		return "", rotator.NewFailure(rotator.CauseOther, "",
			"the account's first authentication plugin is "+plugin+", so that it cannot set its own password; a superuser can", nil)
	}
	return plugin, nil
}

// expression is the password as MariaDB takes it after SET PASSWORD = and
// USING: as stored, unless the server has to see the password itself.
func expression(plugin string, password plaintext.Value, open bool) string {
	if text, ok := stored(plugin, password.RevealText()); ok && !open {
		return literal(text)
	}
	return "PASSWORD(" + literal(password.RevealText()) + ")"
}

// hashed runs a statement that MariaDB may refuse to take with a stored
// password, because a password policy has to see the password. It is tried
// again with that.
func (s *session) hashed(ctx context.Context, statement func(open bool) string) error {
	err := s.execSecret(ctx, statement(false))
	f, ok := errors.AsType[*rotator.Failure](err)
	if !ok || code(err) != errOptionPrevents || !strings.Contains(f.Text, "strict-password-validation") {
		return err
	}
	return s.execSecret(ctx, statement(true))
}

// identify is the clause that gives a MariaDB account the methods of
// another, with a password.
func (d definition) identify(password plaintext.Value, open bool) string {
	var all []string
	for _, m := range d.methods {
		switch {
		case !slices.Contains(asIs, m.plugin):
			all = append(all, m.plugin+" USING "+expression(m.plugin, password, open))
		case m.data != "":
			all = append(all, m.plugin+" USING "+m.data)
		default:
			all = append(all, m.plugin)
		}
	}
	if len(all) == 0 {
		all = []string{nativePassword + " USING " + expression(nativePassword, password, open)}
	}
	return "IDENTIFIED VIA " + strings.Join(all, " OR ")
}

// SetOwnPassword implements rotator.Session, for the account that the server
// has matched.
func (s *session) SetOwnPassword(ctx context.Context, l rotator.Login, next plaintext.Value) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	switch {
	case s.retain && (s.server.maria || !s.server.atLeast(8, 0, 14)):
		return rotator.NewFailure(rotator.CauseOther, "", "KEYTURN_RETAIN_PASSWORD needs MySQL 8.0.14 or newer", nil)
	case s.server.maria:
		rows, err := s.query(ctx, "SHOW CREATE USER")
		if err != nil {
			return err
		}
		plugin, err := parseDefinition(rows[0][0], true).first()
		if err != nil {
			return err
		}
		return s.hashed(ctx, func(open bool) string { return "SET PASSWORD = " + expression(plugin, next, open) })
	case !s.server.atLeast(5, 7, 6):
		return s.execSecret(ctx, "SET PASSWORD = "+expression(nativePassword, next, false))
	}
	retain := ""
	if s.retain {
		retain = " RETAIN CURRENT PASSWORD"
	}
	change := "ALTER USER CURRENT_USER() IDENTIFIED BY " + literal(next.RevealText())
	err := s.execSecret(ctx, change+retain)
	if code(err) == errMissingPassword {
		err = s.execSecret(ctx, change+" REPLACE "+literal(l.Password.RevealText())+retain)
	}
	return err
}

// SetPassword implements rotator.Session, for all accounts of the name.
func (s *session) SetPassword(ctx context.Context, user string, next plaintext.Value) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	all, err := s.originals(ctx, user)
	if err != nil {
		return err
	}
	if !s.server.maria && s.server.atLeast(5, 7, 6) {
		changes := make([]string, len(all))
		for i, a := range all {
			changes[i] = a.String() + " IDENTIFIED BY " + literal(next.RevealText())
		}
		return s.execSecret(ctx, "ALTER USER "+strings.Join(changes, ", "))
	}
	for _, a := range all {
		if err := s.setPassword(ctx, a, next); err != nil {
			return err
		}
	}
	return nil
}

// setPassword does so for one account of MariaDB, or of an old MySQL.
func (s *session) setPassword(ctx context.Context, a account, next plaintext.Value) error {
	plugin := nativePassword
	if s.server.maria {
		d, err := s.define(ctx, a)
		if err != nil {
			return err
		}
		if len(d.methods) > 1 {
			return s.identify(ctx, "ALTER USER ", a, d, next) // the others would keep their password
		}
		if plugin, err = d.first(); err != nil {
			return err
		}
	}
	return s.hashed(ctx, func(open bool) string {
		return "SET PASSWORD FOR " + a.String() + " = " + expression(plugin, next, open)
	})
}

// writable refuses servers that take no writes: a superuser may write to a
// replica all the same, which would then differ from its primary.
func (s *session) writable(ctx context.Context) error {
	rows, err := s.query(ctx, "SELECT @@global.read_only, @@global.innodb_read_only")
	if err != nil {
		return err
	}
	for _, v := range rows[0] {
		if v != "0" && !strings.EqualFold(v, "OFF") {
			return rotator.NewFailure(rotator.CauseReadOnly, "", "the server is read-only", nil)
		}
	}
	return nil
}

// throwaway is a password that nobody gets to know, of every kind of
// character that policies ask for.
func throwaway() plaintext.Value { return plaintext.Of(rand.Text() + "-a1") }
