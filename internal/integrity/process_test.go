package integrity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/admin"
	"github.com/keyturn/keyturn/internal/apitest"
)

// verifyTrail runs keyturn trail verify and returns its exit code and words.
func verifyTrail(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, apitest.Binary(t), append([]string{"trail", "verify"}, args...)...).CombinedOutput()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// work reads and writes on all servers until stop is called.
func work(t *testing.T, servers ...*apitest.Process) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i, s := range servers {
		for j := range 4 {
			name := aws.String(fmt.Sprint("s-", i, "-", j))
			_, _ = s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("v")})
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ { // errors are those of servers that were killed
					time.Sleep(5 * time.Millisecond) // others need the machine too
					_, _ = s.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name})
					if n%5 == 0 {
						_, _ = s.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: name, SecretString: aws.String("w")})
					}
				}
			})
		}
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			wg.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

// Servers under load, on each store, one of them killed in the middle: the
// trail verifies at any time, also with another root key in use, and what is
// done to it shows.
func TestProcess(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		s := apitest.StartProcess(t, apitest.Options{})
		args := []string{"--data", s.Dir}
		stop := work(t, s)
		whole(t, 0, args...)
		for range 2 {
			time.Sleep(300 * time.Millisecond)
			s.Kill()
			whole(t, 0, args...)
			s.Restart()
		}
		waitSealed(t, args...)
		whole(t, 1, args...)
		stop()
		rekey(t, s)
		s.Stop()
		args = append(args, "--root-key", "file://"+filepath.Join(s.Dir, "new.key"))
		whole(t, 1, args...)
		if code, said := verifyTrail(t, "--data", s.Dir); code != 1 || !strings.Contains(said, "wrapped by another root key") {
			t.Errorf("with the old root key: got %d and %s", code, said)
		}
		tamper(t, s.Dir)
		code, said := verifyTrail(t, args...)
		if code != 3 || !strings.Contains(said, "TAMPERED: ") || !strings.Contains(said, "lines ") {
			t.Errorf("after tampering: got %d and %s", code, said)
		}
		if code, said := verifyTrail(t, append(args, "--json")...); code != 3 || !strings.Contains(said, `"Whole": false`) {
			t.Errorf("after tampering, in JSON: got %d and %s", code, said)
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := apitest.StoreURL(t)
		one := apitest.StartProcess(t, apitest.Options{StoreURL: url})
		dir := t.TempDir()
		key, err := os.ReadFile(filepath.Join(one.Dir, "root.key"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "root.key"), key, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		two := apitest.StartProcess(t, apitest.Options{StoreURL: url, Dir: dir})
		stop := work(t, one, two)
		waitSealed(t, "--data", one.Dir, "--store", url)
		one.Kill()
		whole(t, 1, "--data", one.Dir, "--store", url)
		one.Restart()
		waitSealed(t, "--data", two.Dir, "--store", url)
		stop()
		for _, s := range []*apitest.Process{one, two} {
			whole(t, 1, "--data", s.Dir, "--store", url)
		}
	})
}

// whole demands that nothing is found, and at least so many seals.
func whole(t *testing.T, seals int, args ...string) {
	t.Helper()
	code, said := verifyTrail(t, args...)
	if code != 0 || !strings.Contains(said, "Nothing was changed") || seals > 0 && sealCount(said) == "0" {
		t.Errorf("got %d and %s", code, said)
	}
}

func sealCount(said string) string {
	m := regexp.MustCompile(`under (\d+) seals`).FindStringSubmatch(said)
	if m == nil {
		return "0"
	}
	return m[1]
}

// waitSealed waits for one more seal.
func waitSealed(t *testing.T, args ...string) {
	t.Helper()
	_, said := verifyTrail(t, args...)
	before := sealCount(said)
	for deadline := time.Now().Add(time.Minute); sealCount(said) == before; time.Sleep(500 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no new seal within a minute: %s", said)
		}
		_, said = verifyTrail(t, args...)
	}
}

// rekey replaces the root key by new.key.
func rekey(t *testing.T, s *apitest.Process) {
	t.Helper()
	s.Stop()
	s.Args = []string{"--root-key", "file://" + filepath.Join(s.Dir, "new.key"), "--old-root-key", "file://" + filepath.Join(s.Dir, "root.key")}
	s.Restart()
	c, err := admin.New(s.Config)
	if err == nil {
		_, err = c.StartRekey(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, err := c.DescribeRekey(t.Context())
		if err == nil && status.Rekey.Done() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rekey does not end: %v", err)
		}
	}
}

// tamper changes who read a secret in the oldest segment.
func tamper(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "trail", "*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	b, err := os.ReadFile(names[0])
	if err == nil {
		err = os.WriteFile(names[0], bytes.Replace(b, []byte(`"GetSecretValue"`), []byte(`"ListSecrets"`), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
