package server_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
