package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets/hashivault"
)

// vaultTimeout bounds one attempt at Vault; its driver does not heed a
// context. One retry follows.
const vaultTimeout = 4 * time.Second

// openVault opens hashivault://KEY. Parameters: engine (the mount, "transit"
// unless given), address, namespace, token_file. Otherwise the variables
// VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE and VAULT_CACERT, or the same with
// BAO_, say where the service is and who calls. A token file is read before
// each call, so that an agent may renew it.
func openVault(_ context.Context, u *url.URL) (*Remote, error) {
	q := u.Query()
	for name := range q {
		switch name {
		case "engine", "address", "namespace", "token_file":
		default:
			return nil, fmt.Errorf("it has no parameter %q", name)
		}
	}
	if keyName(u) == "" {
		return nil, errors.New("the name of the transit key is missing, as in hashivault://keyturn")
	}
	client, err := vaultClient(q)
	if err != nil {
		return nil, err
	}
	return vaultRemote(u, client), nil
}

func vaultRemote(u *url.URL, client *api.Client) *Remote {
	q, name := u.Query(), keyName(u)
	engine := cmp.Or(q.Get("engine"), "transit")
	identity := strings.Join([]string{"vault", q.Get("address"), cmp.Or(q.Get("namespace"), vaultVariable("NAMESPACE")), engine, name}, "\n")
	hint := fmt.Sprintf("check the token, and that its policy has update on %s/encrypt/%s and %[1]s/decrypt/%[2]s", engine, name)
	r := newRemote(shown(u), identity, hint, hashivault.OpenKeeper(client, name, &hashivault.KeeperOptions{Engine: engine}))
	if file := q.Get("token_file"); file != "" {
		r.before = func() error { return readToken(client, file) }
	}
	return r
}

func vaultClient(q url.Values) (*api.Client, error) {
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return nil, cfg.Error
	}
	cfg.Address = cmp.Or(q.Get("address"), vaultVariable("ADDR"))
	if cfg.Address == "" {
		return nil, errors.New("nothing says where Vault is: set VAULT_ADDR")
	}
	if ca := os.Getenv("BAO_CACERT"); ca != "" && os.Getenv(api.EnvVaultCACert) == "" {
		if err := cfg.ConfigureTLS(&api.TLSConfig{CACert: ca}); err != nil {
			return nil, err
		}
	}
	cfg.Timeout, cfg.MaxRetries, cfg.MaxRetryWait = vaultTimeout, 1, cfg.MinRetryWait
	token := vaultVariable("TOKEN")
	if token == "" && q.Get("token_file") == "" {
		return nil, errors.New("nothing says who calls Vault: set VAULT_TOKEN, or give ?token_file=")
	}
	client, err := api.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	client.SetToken(token)
	if namespace := cmp.Or(q.Get("namespace"), vaultVariable("NAMESPACE")); namespace != "" {
		client.SetNamespace(namespace)
	}
	return client, nil
}

// vaultVariable reads a variable of Vault's, or OpenBao's of the same
// meaning.
func vaultVariable(name string) string {
	return cmp.Or(os.Getenv("VAULT_"+name), os.Getenv("BAO_"+name))
}

func readToken(client *api.Client, file string) error {
	token, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading Vault's token: %w", err)
	}
	client.SetToken(strings.TrimSpace(string(token)))
	clear(token)
	return nil
}

// vaultCode classifies Vault's answers, which its driver does not.
func vaultCode(status int) gcerrors.ErrorCode {
	switch status {
	case http.StatusBadRequest:
		return gcerrors.InvalidArgument
	case http.StatusNotFound:
		return gcerrors.NotFound
	case http.StatusForbidden:
		return gcerrors.PermissionDenied
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return gcerrors.ResourceExhausted
	}
	return gcerrors.Unknown
}
