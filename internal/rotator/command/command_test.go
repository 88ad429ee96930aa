package command_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

// TestExample runs the contract suite with the example's script.
func TestExample(t *testing.T) {
	script, err := examples.Files.ReadFile("command-postgres/rotate.sh")
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgserver.Start(t.Context(), pgserver.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rotatortest.Suite{
		Rotator: "command", Code: apitest.Zip(t, map[string][]byte{"rotate.sh": script}),
		Environment: map[string]string{"KEYTURN_COMMAND": "./rotate.sh"},
		New:         func(t testing.TB) *rotatortest.Target { return newTarget(t, db) },
		Kill:        func(t testing.TB) { db.Kill() },
		Revive: func(t testing.TB) {
			if err := db.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		Faults: []rotatortest.Fault{{
			Name: "wrong password", Step: "setSecret", Cause: rotator.CauseAuthentication, Lockout: true, Alone: true,
			Change: func(secret map[string]any) { secret["password"] = "not-the-password" },
		}, {
			Name: "host without an address", Step: "setSecret", Cause: rotator.CauseDNS, Lockout: true, Alone: true,
			Change: func(secret map[string]any) { secret["host"] = "no-such-host.invalid" },
		}},
	}.Run(t)
}

func newTarget(t testing.TB, db *pgserver.Server) *rotatortest.Target {
	user := rotatortest.Unique(`App "of" $HOME's`)
	apitest.Exec(t, db, fmt.Sprintf(`CREATE USER %s PASSWORD 'first:Pass\word''1'`, pgx.Identifier{user}.Sanitize()))
	return &rotatortest.Target{
		Secret: map[string]any{
			"host": db.Host, "port": db.Port, "dbname": "postgres", "username": user, "password": `first:Pass\word'1`, "sslmode": "disable",
		},
		Login: func(ctx context.Context, secret map[string]any) error {
			cfg, err := pgx.ParseConfig(db.AdminURL())
			if err != nil {
				return err
			}
			cfg.User, cfg.Password = secret["username"].(string), secret["password"].(string)
			conn, err := pgx.ConnectConfig(ctx, cfg)
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		},
	}
}

// rotate rotates a secret once by a script and returns the log.
func rotate(t *testing.T, f apitest.Function, secret, superuser map[string]any) (w *rotatortest.World, log string, err error) {
	t.Helper()
	server := apitest.Start(t, apitest.Options{})
	f.Name, f.Runtime, f.Handler = "rotate", "provided.al2023", "rotator.command"
	target := &rotatortest.Target{Secret: secret, Superuser: superuser}
	w = rotatortest.NewWorld(t, server, target, server.NewFunction(t, f))
	lines, err := w.Rotate()
	return w, strings.Join(lines, "\n"), err
}

func script(t *testing.T, text string) apitest.Function {
	return apitest.Function{Code: apitest.Zip(t, map[string][]byte{"rotate": []byte("#!/bin/sh\n" + text)})}
}

func TestInput(t *testing.T) {
	f := script(t, `cat >"$TMPDIR/in" 2>/dev/null || cat >/tmp/in; cd "${TMPDIR:-/tmp}"
step=$(jq -r .Step in)
echo "$step has: $(jq -c '[.current.n, .pending.n, .previous.n, .superuser.username, (.ClientRequestToken | length), (.SecretId | startswith("arn:"))]' in)" >&2
env | grep -q -e _HANDLER -e RUNTIME_API && echo "may answer itself" >&2
env | grep -q one-secret-value && echo "leaks" >&2
[ "$1/$2" = "a/b" ] || exit 3
[ $step != createSecret ] || jq -c '.current | .n += 1 | .token = "fresh-secret-value"' in`)
	f.Environment = map[string]string{"KEYTURN_COMMAND": "./rotate a b", "KEYTURN_COMMAND_FINISH": "true"}
	w, log, err := rotate(t, f, map[string]any{"n": 1, "token": "one-secret-value"}, map[string]any{"username": "root", "password": "of-the-superuser"})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for _, want := range []string{
		`createSecret: createSecret has: [1,null,null,"root",36,true]`,
		`setSecret: setSecret has: [1,2,null,"root",36,true]`,
		`testSecret: testSecret has: [1,2,null,"root",36,true]`,
		`finishSecret: finishSecret has: [2,null,1,"root",36,true]`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	for _, unwanted := range []string{"may answer itself", "leaks"} {
		if strings.Contains(log, unwanted) {
			t.Errorf("the command %s", unwanted)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
	if value := w.Value("AWSCURRENT"); value["token"] != "fresh-secret-value" || value["n"] != 2.0 {
		t.Errorf("the value is not what the command printed")
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	f := script(t, `in=$(cat)
say() { printf '%s\n' "$in"; }
say >&2
[ "$(say | jq -r .Step)" != createSecret ] || { echo '{"key":"made-by-the-command"}'; echo made-by-the-command >&2; exit 0; }
say; say | jq -r '.pending.key, .current.key, .superuser.password'
`)
	_, log, err := rotate(t, f, map[string]any{"key": "-----\nline-one-of-it\nline \"two\" of it\n-----"},
		map[string]any{"username": "root", "password": "of-the-superuser"})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for _, leak := range []string{"line-one-of-it", "two", "of-the-superuser", "made-by-the-command"} {
		if strings.Contains(log, leak) {
			t.Errorf("the log holds %q", leak)
		}
	}
	if !strings.Contains(log, "[REDACTED]") {
		t.Error("the log holds nothing of what the command said")
	}
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		script, command string
		want            []string
		not             string
	}{
		"exit status": {script: `echo "first line" >&2; echo "no luck with one-secret-value" >&2; exit 7`,
			want: []string{"The command ./rotate ended by exit status 7: other: no luck with [REDACTED]", "createSecret: first line"}},
		"a cause":        {script: `echo "account locked: ask Alice" >&2; exit 1`, want: []string{"account locked: ask Alice"}, not: "other: "},
		"silence":        {script: `exit 1`, want: []string{"exit status 1: other: it wrote nothing"}},
		"a signal":       {script: `kill -9 $$`, want: []string{"ended by signal: killed"}},
		"not there":      {command: "./nothing", want: []string{"The command ./nothing could not be started: other: no such file"}},
		"not in PATH":    {command: "rotate", want: []string{"The command rotate is not in PATH; a file of the function's package is ./rotate"}},
		"nothing":        {command: " ", want: []string{"KEYTURN_COMMAND is empty"}},
		"too much":       {script: `head -c 65537 /dev/zero | tr '\0' x`, want: []string{"more than the 65536 bytes"}},
		"no text":        {script: `printf '\377\376'`, want: []string{"not UTF-8"}},
		"time over":      {script: `echo waiting >&2; sleep 60 & sleep 60`, want: []string{"The command ./rotate was killed: timeout: it ran for ", "createSecret: waiting"}, not: "timed out"},
		"held by others": {script: `sleep 60 & echo "left one" >&2; exit 4`, want: []string{"exit status 4: other: left one"}, not: "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			f := script(t, c.script)
			f.Timeout = 4
			if c.command != "" {
				f.Environment = map[string]string{"KEYTURN_COMMAND": c.command}
			}
			w, log, err := rotate(t, f, map[string]any{"token": "one-secret-value"}, nil)
			if err == nil {
				t.Fatal("the rotation succeeded")
			}
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %q", want)
				}
			}
			if c.not != "" && strings.Contains(log, c.not) {
				t.Errorf("the log holds %q", c.not)
			}
			if strings.Contains(log, "one-secret-value") || w.Value("AWSPENDING") != nil {
				t.Error("the secret got out or a pending value was stored")
			}
			if t.Failed() {
				t.Logf("%v\n%s", err, log)
			}
		})
	}
}

func TestDefaultValue(t *testing.T) {
	w, log, err := rotate(t, script(t, `exit 0`), map[string]any{"n": 12345678901234567, "password": "the-first-one"}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	value := w.Value("AWSCURRENT")
	if fresh, _ := value["password"].(string); len(fresh) != 32 || value["n"] == nil {
		t.Errorf("got a password of %d characters, want 32 and the other members kept", len(fresh))
	}
}
