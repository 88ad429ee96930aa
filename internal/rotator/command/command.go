// Package command rotates a secret of any kind by an executable of the
// function's own package.
//
// The environment variable KEYTURN_COMMAND names it, with arguments separated
// by spaces; the default is ./rotate. A name with a slash is taken from the
// function's folder, any other is looked for in PATH. It is started in that
// folder once per step and reads one JSON object:
//
//	{"Step": "setSecret", "SecretId": "arn:…", "ClientRequestToken": "…",
//	 "current": …, "pending": …, "previous": …, "superuser": …}
//
// The last four are secret values: the JSON object that the secret is, else
// the text, and null where there is none. superuser is the current value of
// the secret that the current value's masterarn names. Nothing of a secret is
// in the command's arguments or environment.
//
// In createSecret the command may print the new value; if it prints nothing,
// that is the current value with a fresh password, or a fresh password alone
// for a secret that is no JSON object. In setSecret and testSecret what it
// prints goes to the function's log. All it writes to standard error goes
// there too, without the secrets that it was given or has made. It is not
// called in finishSecret unless KEYTURN_COMMAND_FINISH is true; then after the
// label has moved, with the new value as the current one.
//
// Exit status 0 is success. Any other fails the step, with the last line of
// standard error; such a line may begin with a cause and a colon, as in
// "authentication: password refused". Each step may be repeated. Shortly
// before the function's time is over the command's process group is killed,
// and so is what it leaves running when it exits.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Rotator is the command as a rotator.
type Rotator struct{}

// New makes the rotator.
func New() rotator.Rotator { return Rotator{} }

// passwords are the rules for a value that the command leaves to us (AWS: the
// generic template, and the length of GetRandomPassword).
var passwords = rotator.PasswordRules{Length: 32, Exclude: `/@"'\`}

// input is what the command reads.
type input struct {
	Step     string          `json:"Step"`
	SecretID string          `json:"SecretId"`
	Token    string          `json:"ClientRequestToken"`
	Current  json.RawMessage `json:"current"`
	Pending  json.RawMessage `json:"pending"`
	Previous json.RawMessage `json:"previous"`
	Super    json.RawMessage `json:"superuser"`
}

// Create implements rotator.Rotator.
func (Rotator) Create(ctx context.Context, r *rotator.Rotation) (plaintext.Value, error) {
	in, err := gather(ctx, r, false)
	if err != nil {
		return plaintext.Value{}, err
	}
	made, err := run(ctx, r, in)
	if err != nil || made.Len() > 0 {
		return made, err
	}
	password, err := r.NewPassword(ctx, passwords)
	if err != nil {
		return plaintext.Value{}, err
	}
	current, err := r.Value(ctx, "AWSCURRENT")
	if err != nil {
		return plaintext.Value{}, err
	}
	d, err := rotator.ParseDocument(current)
	if err != nil {
		return password, nil
	}
	return d.With("password", password).Value(), nil
}

// Set implements rotator.Rotator.
func (Rotator) Set(ctx context.Context, r *rotator.Rotation) error { return step(ctx, r, true) }

// Test implements rotator.Rotator.
func (Rotator) Test(ctx context.Context, r *rotator.Rotation) error { return step(ctx, r, true) }

// Finish implements rotator.Finisher.
func (Rotator) Finish(ctx context.Context, r *rotator.Rotation) error {
	if !r.Settings.Flag("KEYTURN_COMMAND_FINISH", false) {
		return nil
	}
	return step(ctx, r, false)
}

func step(ctx context.Context, r *rotator.Rotation, withPending bool) error {
	in, err := gather(ctx, r, withPending)
	if err != nil {
		return err
	}
	_, err = run(ctx, r, in)
	return err
}

// gather reads what the command is given.
func gather(ctx context.Context, r *rotator.Rotation, withPending bool) (*input, error) {
	in := &input{Step: r.Step, SecretID: r.SecretID, Token: r.Token}
	current, err := r.Value(ctx, "AWSCURRENT")
	if err != nil {
		return nil, err
	}
	in.Current = spelled(current)
	if withPending {
		pending, err := r.Value(ctx, "AWSPENDING")
		if err != nil {
			return nil, err
		}
		in.Pending = spelled(pending)
	}
	previous, err := r.Value(ctx, "AWSPREVIOUS")
	switch {
	case err == nil:
		in.Previous = spelled(previous)
	case !unusable(err):
		return nil, err
	}
	in.Super, err = superuser(ctx, r, current)
	return in, err
}

// superuser reads the secret that the current value's masterarn names.
func superuser(ctx context.Context, r *rotator.Rotation, current plaintext.Value) (json.RawMessage, error) {
	d, err := rotator.ParseDocument(current)
	if err != nil || d.Text("masterarn") == "" {
		return nil, nil // not every kind of secret has one
	}
	v, err := r.ValueOf(ctx, d.Text("masterarn"), "AWSCURRENT", "")
	if err != nil {
		return nil, err
	}
	return spelled(v), nil
}

// unusable tells that a version does not exist or holds binary data.
func unusable(err error) bool {
	_, missing := errors.AsType[*types.ResourceNotFoundException](err)
	_, invalid := errors.AsType[*rotator.Error](err)
	return missing || invalid
}

// spelled is a value in the command's input: the object it is, else a text.
func spelled(v plaintext.Value) json.RawMessage {
	if _, err := rotator.ParseDocument(v); err == nil {
		return v.Reveal()
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v.RevealText()) // texts always encode
	return json.RawMessage(b.String())
}
