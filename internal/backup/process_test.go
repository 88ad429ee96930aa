package backup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

// keyturn runs the program and returns what it said.
func keyturn(t testing.TB, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, apitest.Binary(t), args...).CombinedOutput()
	return string(out), err
}

func mustKeyturn(t testing.TB, args ...string) string {
	t.Helper()
	out, err := keyturn(t, args...)
	if err != nil {
		t.Fatalf("keyturn %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// site is a running server with writers and with secrets that rotate.
type site struct {
	*apitest.Process
	t     *testing.T
	store string
	users map[string]apitest.User // by the name of their secret
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu    sync.Mutex
	acked map[string]int // the highest number of each written secret
}

const (
	siteUsers   = 3
	siteWriters = 4
)

func newSite(t *testing.T, storeURL string) *site {
	t.Helper()
	s := &site{Process: apitest.StartProcess(t, apitest.Options{StoreURL: storeURL}), t: t, store: storeURL, users: map[string]apitest.User{}, acked: map[string]int{}}
	function := s.NewFunction(t, apitest.Function{
		Name: "rotate", Runtime: "provided.al2023", Handler: builtin.Handler("postgres.single"), Code: apitest.Zip(t, map[string][]byte{"unused": nil}),
	})
	db := apitest.Database(t)
	for i := range siteUsers {
		u, name := apitest.NewUser(t, db), fmt.Sprint("user-", i)
		if _, err := s.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(u.Value(u.Password))}); err != nil {
			t.Fatal(err)
		}
		_, err := s.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
			SecretId: &name, RotationLambdaARN: &function, RotationRules: &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.users[name] = u
	}
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	for i := range siteWriters {
		s.done.Go(func() { s.write(ctx, fmt.Sprint("written-", i)) })
	}
	s.done.Go(func() { s.rotate(ctx) })
	t.Cleanup(func() { stop(); s.done.Wait() })
	return s
}

// write puts one number after the other into a secret, and every tenth into
// one of its own.
func (s *site) write(ctx context.Context, name string) {
	for n := 1; ctx.Err() == nil; n++ {
		target := name
		if n%10 == 0 {
			target = fmt.Sprint(name, "-", n)
		}
		value := aws.String(strconv.Itoa(n))
		_, err := s.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &target, SecretString: value})
		if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
			_, err = s.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &target, SecretString: value})
		}
		if err == nil {
			s.mu.Lock()
			s.acked[target] = n
			s.mu.Unlock()
		}
	}
}

// rotate keeps all users' secrets rotating.
func (s *site) rotate(ctx context.Context) {
	for ctx.Err() == nil {
		for name := range s.users { // a rotation that runs already is refused
			_, _ = s.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &name})
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *site) acknowledged() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.acked)
}

// elsewhere restores a backup on another machine, where nothing is but the
// root key, and starts a server there.
func (s *site) elsewhere(file, storeURL string) *apitest.Process {
	s.t.Helper()
	dir := s.t.TempDir()
	key, err := os.ReadFile(filepath.Join(s.Dir, "root.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "root.key"), key, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Log(mustKeyturn(s.t, "restore", file, "--data", dir, "--store", storeURL))
	return apitest.StartProcess(s.t, apitest.Options{Dir: dir, StoreURL: storeURL})
}

// A backup that is taken while everything is at work holds all that was
// acknowledged before it began. Restored elsewhere, in the other kind of store
// and with nothing but the root key, everybody can log in, and rotations that
// were running go on by themselves.
func TestMovedUnderLoad(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to func(testing.TB) string
	}{
		{"SQLite to PostgreSQL", func(testing.TB) string { return "" }, apitest.StoreURL},
		{"PostgreSQL to SQLite", apitest.StoreURL, func(testing.TB) string { return "" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, tc.from(t))
			time.Sleep(time.Second) // of work
			before := s.acknowledged()
			serving, frozen := filepath.Join(t.TempDir(), "serving"), filepath.Join(t.TempDir(), "frozen")
			t.Log(mustKeyturn(t, "backup", serving, "--data", s.Dir, "--store", s.store))
			if len(before) < siteWriters {
				t.Fatalf("only %d secrets were written", len(before))
			}
			// A moment of which everything is known: rotations are under way
			// and get no further than what the backup holds.
			s.Signal(syscall.SIGSTOP)
			lastly := s.acknowledged()
			mustKeyturn(t, "backup", frozen, "--data", s.Dir, "--store", s.store)
			s.Kill()
			s.stop()
			s.done.Wait()

			known := s.elsewhere(frozen, tc.to(t))
			checkWritten(t, known, lastly)
			for name, u := range s.users {
				checkRotates(t, known, name, u)
			}
			// The older one rotates too, with passwords that are gone, so it
			// comes last.
			known.Kill()
			checkWritten(t, s.elsewhere(serving, tc.to(t)), before)
		})
	}
}

// checkWritten demands every acknowledged number, or a later one.
func checkWritten(t *testing.T, p *apitest.Process, acked map[string]int) {
	t.Helper()
	for name, n := range acked {
		got, err := p.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if have, _ := strconv.Atoi(*got.SecretString); have < n {
			t.Errorf("%s: got %d, but %d was acknowledged", name, have, n)
		}
	}
}

// checkRotates demands that the user can log in with a stored version at
// once, that what was running ends, and that a new rotation works.
func checkRotates(t *testing.T, p *apitest.Process, name string, u apitest.User) {
	t.Helper()
	logsIn := false
	for _, stage := range []string{"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"} {
		v, err := p.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name, VersionStage: &stage})
		logsIn = logsIn || err == nil && u.Login(t.Context(), apitest.PasswordIn(t, *v.SecretString)) == nil
	}
	if !logsIn {
		t.Errorf("%s: no stored version logs in", name)
	}
	var token string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if token == "" { // refused as long as the restored rotation runs
			if out, err := p.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &name}); err == nil {
				token = *out.VersionId
			}
		}
		v, err := p.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
		if err != nil {
			t.Fatal(err)
		}
		if *v.VersionId == token {
			if err := u.Login(t.Context(), apitest.PasswordIn(t, *v.SecretString)); err != nil {
				t.Errorf("%s: after a rotation: %v", name, err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: no rotation within a minute; the server said:\n%s", name, p.Log())
		}
	}
}

// A restore that is killed leaves a folder that servers refuse, and can be
// repeated.
func TestKilledRestore(t *testing.T) {
	program := apitest.Binary(t)
	dir := t.TempDir()
	openTables(t, dir)
	reads := make([]byte, 300_000) // which cannot be compressed into one chunk
	_, _ = rand.Read(reads)        // it never fails
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "trail"), 0o700), os.WriteFile(filepath.Join(dir, "trail", "20260101T000000.000000000.jsonl"), reads, 0o600)); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "root.key")
	// A server makes the key.
	fresh := apitest.StartProcess(t, apitest.Options{Args: []string{"--root-key", "file://" + key}})
	fresh.Stop()
	file := filepath.Join(t.TempDir(), "file")
	mustKeyturn(t, "backup", file, "--data", dir, "--root-key", "file://"+key)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"", apitest.StoreURL(t)} {
		target := filepath.Join(t.TempDir(), "target")
		args := []string{"restore", "-", "--data", target, "--store", url, "--root-key", "file://" + key}
		cmd := exec.CommandContext(t.Context(), program, args...)
		var said bytes.Buffer
		cmd.Stderr = &said
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// All but the end: it waits in the middle of its transaction.
		if _, err := in.Write(content[:len(content)-100]); err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(target, "trail")); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the restore did not come to the trail: %s", said.String())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		out, err := keyturn(t, "serve", "--data", target, "--store", url, "--listen", "127.0.0.1:0", "--root-key", "file://"+key)
		if err == nil || !strings.Contains(out, "did not come to its end: run keyturn restore again") {
			t.Errorf("a server on what is left: got %v and %s", err, out)
		}
		args[1] = file
		mustKeyturn(t, args...)
		if _, err := os.Stat(filepath.Join(target, "restore.incomplete")); err == nil {
			t.Error("the mark of a restore stayed")
		}
	}
}

// The command line's own refusals and words.
func TestCommands(t *testing.T) {
	p := apitest.StartProcess(t, apitest.Options{})
	if _, err := p.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("v")}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, pass := filepath.Join(dir, "file"), filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("a passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := mustKeyturn(t, "backup", file, "--data", p.Dir)
	if !strings.Contains(said, "backed up 1 secrets with 1 versions") || !strings.Contains(said, "keep apart from it, and safe: the root key ") {
		t.Errorf("a backup says %s", said)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	fails := func(want string, args ...string) {
		t.Helper()
		out, err := keyturn(t, args...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("keyturn %s: got %v and %q, want %q", strings.Join(args, " "), err, out, want)
		}
	}
	fails("exists: choose another name, or give --force", "backup", file, "--data", p.Dir)
	mustKeyturn(t, "backup", file, "--data", p.Dir, "--force")
	fails("--with-root-key needs a passphrase", "backup", file+"2", "--data", p.Dir, "--with-root-key")
	fails("holds no database of keyturn", "backup", file+"2", "--data", dir, "--passphrase-file", pass)
	if out := mustKeyturn(t, "restore", "--check", file, "--data", p.Dir); !strings.Contains(out, "is whole: 1 secrets") {
		t.Errorf("a check says %s", out)
	}
	fails("this is not a backup of keyturn", "restore", pass, "--data", filepath.Join(dir, "new"))

	mustKeyturn(t, "backup", file+"3", "--data", p.Dir, "--passphrase-file", pass, "--with-root-key")
	fails("the backup is under a passphrase", "restore", file+"3", "--data", filepath.Join(dir, "new"))
	p.Stop()
	mustKeyturn(t, "restore", file+"3", "--data", filepath.Join(dir, "new"), "--passphrase-file", pass)
	again := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(dir, "new")})
	got, err := again.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
	if err != nil || *got.SecretString != "v" {
		t.Errorf("restored with its root key: got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}
