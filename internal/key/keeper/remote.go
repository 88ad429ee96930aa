package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"

	"github.com/keyturn/keyturn/internal/key"
)

// callTimeout bounds one call of a service, its client's retries included.
const callTimeout = 10 * time.Second

// Remote is a key.Keeper whose root key stays in a service: Vault, or a
// cloud's key management.
type Remote struct {
	name   string
	id     []byte
	keeper *secrets.Keeper
	// before, if not nil, prepares a call, such as by reading a new token.
	before func() error
	// hint says what a refusal asks for.
	hint string
}

// newRemote makes a Remote. identity names the key wherever the service is
// called from; the root key's ID is derived from it.
func newRemote(name, identity, hint string, k *secrets.Keeper) *Remote {
	sum := sha256.Sum256([]byte("keyturn root key " + identity))
	return &Remote{name: name, id: sum[:idBytes], keeper: k, hint: hint}
}

// ID implements key.Keeper: 16 hexadecimal digits.
func (r *Remote) ID() string { return hex.EncodeToString(r.id) }

// Wrap implements key.Keeper.
func (r *Remote) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	sealed, err := r.call(ctx, "wrapping a key", r.keeper.Encrypt, plain)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, header+len(sealed)), formatRemote)
	return append(append(b, r.id...), sealed...), nil
}

// Unwrap implements key.Keeper.
func (r *Remote) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	id, ok := key.WrappedBy(wrapped)
	if !ok || len(wrapped) == header {
		return nil, errors.New("a wrapped key is not in a format of this server")
	}
	if id != r.ID() || wrapped[0] != formatRemote {
		return nil, fmt.Errorf("%w: root key %s, but the one in use is %s", key.ErrWrongRootKey, id, r.ID())
	}
	return r.call(ctx, "opening a wrapped key", r.keeper.Decrypt, wrapped[header:])
}

// call bounds a call in time and says, when it fails, which key it was, what
// failed and what to do.
func (r *Remote) call(ctx context.Context, doing string, do func(context.Context, []byte) ([]byte, error), in []byte) (out []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if r.before != nil {
		err = r.before()
	}
	if err == nil {
		out, err = guarded(ctx, do, in)
	}
	if err != nil {
		return nil, fmt.Errorf("the root key %s: %s failed: %w (%s)", r.name, doing, oneLine(err), r.advice(err))
	}
	return out, nil
}

// guarded turns a panic of a driver into an error: Vault's does not expect
// an answer without the members that it needs.
func guarded(ctx context.Context, do func(context.Context, []byte) ([]byte, error), in []byte) (out []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the service's answer lacks what was asked for")
		}
	}()
	return do(ctx, in)
}

func (r *Remote) advice(err error) string {
	code := gcerrors.Code(err)
	if vault, ok := errors.AsType[*api.ResponseError](err); ok {
		code = vaultCode(vault.StatusCode)
	}
	_, network := errors.AsType[*net.OpError](err)
	switch {
	case network || errors.Is(err, context.DeadlineExceeded), code == gcerrors.DeadlineExceeded, code == gcerrors.ResourceExhausted:
		return "check that the service can be reached from here, and try again"
	case code == gcerrors.NotFound:
		return "check the key's name"
	case code == gcerrors.InvalidArgument:
		return "check the key's name; or the wrapped key is damaged, or another key of this name made it"
	}
	return r.hint
}

// lineError shows an error in one line; services answer in several.
type lineError struct{ error }

func (e lineError) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e lineError) Unwrap() error { return e.error }

func oneLine(err error) error { return lineError{err} }
