package keeper

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/keyturn/keyturn/internal/key"
)

// Open returns the holder of the root key that the text names:
//
//	file:///path              a file, as OpenFile
//	env:NAME                  an environment variable, as NewEnvironment
//	hashivault://KEY          a key of Vault's or OpenBao's transit engine
//	awskms:///KEY             a key of AWS KMS: its ID or ARN, or alias/NAME
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K
//	azurekeyvault://NAME.vault.azure.net/keys/KEY/VERSION
//
// Anything without a colon is the root key itself, as NewEnvironment takes
// it. The services are called with the credentials that their own tools take
// from the environment. fresh is for OpenFile alone. Opening calls no service
// to wrap or unwrap: use Check for that. Errors name the keeper and what to
// do, and show nothing of a key or credential.
func Open(ctx context.Context, text string, fresh bool) (key.Keeper, error) {
	scheme, rest, found := strings.Cut(text, ":")
	if !found {
		return NewEnvironment(text)
	}
	switch scheme {
	case "file":
		return openFileURL(text, fresh)
	case "env":
		return openVariable(rest)
	}
	open, known := services()[scheme]
	if !known {
		return nil, errors.New("the root key must be file:, env:, hashivault:, awskms:, gcpkms: or azurekeyvault:, or 32 bytes in base64")
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil {
		return nil, fmt.Errorf("the root key %s:… is not a URL of that kind; credentials do not belong in it", scheme)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("the root key %s: %w", shown(u), oneLine(err))
	}
	return r, nil
}

// services maps URL schemes to what opens them.
func services() map[string]func(context.Context, *url.URL) (*Remote, error) {
	return map[string]func(context.Context, *url.URL) (*Remote, error){
		"hashivault":    openVault,
		"awskms":        openAWS,
		"gcpkms":        openGCP,
		"azurekeyvault": openAzure,
	}
}

func openFileURL(text string, fresh bool) (key.Keeper, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host != "" || u.RawQuery != "" || !strings.HasPrefix(u.Path, "/") {
		return nil, fmt.Errorf("the root key %q is not file:// with an absolute path behind it", text)
	}
	return OpenFile(path.Clean(u.Path), fresh)
}

func openVariable(name string) (key.Keeper, error) {
	name = strings.TrimPrefix(name, "//")
	value, found := os.LookupEnv(name)
	if !found {
		return nil, fmt.Errorf("the root key env:%s: the environment has no variable %[1]s", name)
	}
	return newEnvironment(name, value)
}

// shown is how messages name a service's key: without the query.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// keyName is the part of the URL that names the key.
func keyName(u *url.URL) string { return strings.Trim(path.Join(u.Host, u.Path), "/") }

// Check wraps and unwraps something, so that a service that cannot be
// reached, or that lacks a permission, is found before it is needed.
func Check(ctx context.Context, k key.Keeper) error {
	const sample = "keyturn"
	wrapped, err := k.Wrap(ctx, []byte(sample))
	if err != nil {
		return err
	}
	plain, err := k.Unwrap(ctx, wrapped)
	if err == nil && string(plain) != sample {
		err = fmt.Errorf("the root key %s does not give back what it wrapped", k.ID())
	}
	return err
}
