package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/keyturn/keyturn/internal/admin"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
)

// Root credentials are made once, for their owner alone, and stay.
func TestGeneratedCredentials(t *testing.T) {
	cfg := config(t)
	url, stop := start(t, cfg)
	first, err := server.ReadReach(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.URL != url || first.Region != cfg.Region || first.PID != os.Getpid() || first.TLSCert != "" {
		t.Errorf("got %+v", first)
	}
	if !strings.HasPrefix(first.AccessKeyID, "AKIA") || len(first.AccessKeyID) != 20 || len(first.SecretAccessKey) != 40 {
		t.Errorf("the credentials do not look like AWS's: %s and %d characters", first.AccessKeyID, len(first.SecretAccessKey))
	}
	for _, name := range []string{"root-credentials.json", "server.json", "root.key", "node.json", "keyturn.db"} {
		info, err := os.Stat(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", name, got)
		}
	}
	reach, err := os.ReadFile(filepath.Join(cfg.Dir, "server.json"))
	if err != nil || strings.Contains(string(reach), first.SecretAccessKey) {
		t.Errorf("the reach file holds the secret key, or cannot be read: %v", err)
	}
	stop()
	wantUnreachable(t, cfg.Dir, "no server runs on the data folder "+cfg.Dir+": start one with keyturn serve --data "+cfg.Dir)
	start(t, cfg)
	second, err := server.ReadReach(cfg.Dir)
	if err != nil || second.AccessKeyID != first.AccessKeyID || second.SecretAccessKey != first.SecretAccessKey {
		t.Errorf("after a restart: got %s and %v, want %s", second.AccessKeyID, err, first.AccessKeyID)
	}
}

func wantUnreachable(t *testing.T, dir, want string) {
	t.Helper()
	if _, err := server.ReadReach(dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestBadCredentialFile(t *testing.T) {
	for _, tc := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"half", `{"accessKeyId":"AKIA`, 0o600, "root-credentials.json is damaged"},
		{"no members", `{}`, 0o600, "root-credentials.json holds no credentials: remove it, and the next start writes it again"},
		{"no secret", `{"accessKeyId":"AKIA"}`, 0o600, "holds no credentials"},
		{"for all", `{"accessKeyId":"AKIA","secretAccessKey":"s"}`, 0o644, "have mode 0644 and are open to others than their owner: chmod 600 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config(t)
			path := filepath.Join(cfg.Dir, "root-credentials.json")
			if err := errors.Join(os.Mkdir(cfg.Dir, 0o700), os.WriteFile(path, []byte(tc.content), 0o600), os.Chmod(path, tc.mode)); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, cfg, tc.want)
			if got, err := os.ReadFile(path); err != nil || string(got) != tc.content {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// A server whose credentials were given keeps them out of the folder, and is
// reached with those of the environment only, whatever else lies there.
func TestGivenCredentials(t *testing.T) {
	cfg := config(t)
	_, stop := start(t, cfg)
	stop() // leaves generated ones
	cfg.RootAccessKeyID, cfg.RootSecretAccessKey = "AKIAGIVEN", "given-secret"
	start(t, cfg)
	const missing = "got its root credentials when it was started: set KEYTURN_ROOT_ACCESS_KEY_ID and KEYTURN_ROOT_SECRET_ACCESS_KEY here too"
	wantUnreachable(t, cfg.Dir, missing)
	t.Setenv("KEYTURN_ROOT_ACCESS_KEY_ID", "AKIAOTHER")
	t.Setenv("KEYTURN_ROOT_SECRET_ACCESS_KEY", "given-secret")
	wantUnreachable(t, cfg.Dir, missing)
	t.Setenv("KEYTURN_ROOT_ACCESS_KEY_ID", "AKIAGIVEN")
	reach, err := server.ReadReach(cfg.Dir)
	if err != nil || reach.AccessKeyID != "AKIAGIVEN" || reach.SecretAccessKey != "given-secret" {
		t.Errorf("got %s, %v", reach.AccessKeyID, err)
	}
}

// identify asks the server at the URL who calls.
func identify(t *testing.T, url, id, secret string) (string, error) {
	t.Helper()
	cfg := apitest.ConfigFor(url, apitest.Region)
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

// Nodes that share a database share the root credentials that one of them
// made, and a node that lost its file gets them again.
func TestSharedCredentials(t *testing.T) {
	t.Parallel()
	store := apitest.StoreURL(t)
	rootKey := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("r"), 32))
	var reaches []server.Reach
	for range 2 {
		cfg := config(t)
		cfg.StoreURL, cfg.RootKey = store, rootKey
		_, stop := start(t, cfg)
		stop()
		if err := os.Remove(filepath.Join(cfg.Dir, "root-credentials.json")); err != nil {
			t.Fatal(err)
		}
		start(t, cfg)
		reach, err := server.ReadReach(cfg.Dir)
		if err != nil {
			t.Fatal(err)
		}
		reaches = append(reaches, reach)
	}
	for i, r := range reaches {
		other := reaches[1-i]
		if r.AccessKeyID != other.AccessKeyID || r.SecretAccessKey != other.SecretAccessKey {
			t.Errorf("node %d has the root access key %s, the other %s", i, r.AccessKeyID, other.AccessKeyID)
		}
		if who, err := identify(t, other.URL, r.AccessKeyID, r.SecretAccessKey); err != nil || who != "arn:aws:iam::123456789012:root" {
			t.Errorf("got %s, %v", who, err)
		}
	}
}

// A folder of before the credentials were in the store keeps them.
func TestCredentialFileTakenOver(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	path := filepath.Join(cfg.Dir, "root-credentials.json")
	if err := errors.Join(os.Mkdir(cfg.Dir, 0o700), os.WriteFile(path, []byte(`{"accessKeyId":"AKIAFROMBEFORE000000","secretAccessKey":"known-before"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		url, stop := start(t, cfg)
		if who, err := identify(t, url, "AKIAFROMBEFORE000000", "known-before"); err != nil || who != "arn:aws:iam::123456789012:root" {
			t.Errorf("got %s, %v", who, err)
		}
		stop()
	}
}

// The root's access keys can be replaced; the file then shows the one that is
// left, and what was deleted does not come back.
func TestCredentialReplaced(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	url, stop := start(t, cfg)
	old, err := server.ReadReach(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	client := func(id, secret string) *admin.Client {
		cfg := apitest.ConfigFor(url, apitest.Region)
		cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
		c, err := admin.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	made, err := client(old.AccessKeyID, old.SecretAccessKey).CreateRootAccessKey(t.Context(), cfg.Account)
	if err != nil {
		t.Fatal(err)
	}
	if err := client(made.AccessKeyID, made.SecretAccessKey).DeleteRootAccessKey(t.Context(), cfg.Account, old.AccessKeyID); err != nil {
		t.Fatal(err)
	}
	if _, err := identify(t, url, old.AccessKeyID, old.SecretAccessKey); err == nil {
		t.Error("the deleted access key is good")
	}
	shown := func() bool {
		now, err := server.ReadReach(cfg.Dir)
		return err == nil && now.AccessKeyID == made.AccessKeyID && now.SecretAccessKey == made.SecretAccessKey
	}
	for deadline := time.Now().Add(time.Minute); !shown(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file does not show the access key that is left")
		}
	}
	stop()
	url, _ = start(t, cfg)
	if !shown() {
		t.Error("after a restart the file does not show the access key that is left")
	}
	if _, err := identify(t, url, old.AccessKeyID, old.SecretAccessKey); err == nil {
		t.Error("the deleted access key came back")
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	wantUnreachable(t, dir, "no server runs on")
	path := filepath.Join(dir, "server.json")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{")
	wantUnreachable(t, dir, "server.json is damaged")
	killed, err := json.Marshal(server.Reach{URL: "http://127.0.0.1:1", PID: 1 << 30}) // past every process number
	if err != nil {
		t.Fatal(err)
	}
	write(string(killed))
	wantUnreachable(t, dir, "no server runs on")
}
