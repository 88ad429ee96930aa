package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotate"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// held is a secret of alternating users that ann and ben have read, and that
// has been rotated once since. Only ann has read it again.
type held struct {
	*rotatortest.World
	t        *testing.T
	ann, ben *secretsmanager.Client
	first    map[string]any
	// granted is what the first user may do.
	granted string
}

const benARN = "arn:aws:iam::" + apitest.Account + ":user/ben"

func newHeld(t *testing.T, server *apitest.Server, db *pgserver.Server, hold string, mayLook bool) *held {
	t.Helper()
	name := rotatortest.Unique("hold")
	f := rotatortest.Suite{Rotator: "postgres.alternating", Environment: map[string]string{
		"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, db.CAFile), "KEYTURN_HOLD": hold,
	}}.Function(name)
	function := server.NewFunction(t, f)
	h := &held{t: t}
	if mayLook {
		h.permitLooks(server, name)
	}
	h.World = rotatortest.NewWorld(t, server, (&world{db: db}).plain(t), function)
	h.ann, h.ben = h.user("ann"), h.user("ben")
	h.read(h.ann)
	h.read(h.ben)
	h.first = h.Value("AWSCURRENT")
	h.granted = h.grants(h.first)
	if lines, err := h.Rotate(); err != nil {
		t.Fatalf("the first rotation: %v\n%s", err, strings.Join(lines, "\n"))
	}
	h.read(h.ann)
	h.read(h.Secrets)
	return h
}

// permitLooks gives a function's role what a hold needs.
func (h *held) permitLooks(server *apitest.Server, function string) {
	h.t.Helper()
	_, err := server.IAM.PutRolePolicy(h.t.Context(), &iam.PutRolePolicyInput{
		RoleName: aws.String(function + "-role"), PolicyName: aws.String("trail"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}}`),
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// user makes a user who may read secrets.
func (h *held) user(name string) *secretsmanager.Client {
	h.t.Helper()
	cfg := h.NewUser(h.t, name)
	_, err := h.IAM.PutUserPolicy(h.t.Context(), &iam.PutUserPolicyInput{
		UserName: &name, PolicyName: aws.String("read"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*"}}`),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return secretsmanager.NewFromConfig(cfg)
}

func (h *held) read(as *secretsmanager.Client) {
	h.t.Helper()
	if _, err := as.GetSecretValue(h.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &h.ARN}); err != nil {
		h.t.Fatal(err)
	}
}

// rotate rotates the second time; whenHeld is told of each report of a hold.
func (h *held) rotate(whenHeld func(rotate.Report)) (lines []string, err error) {
	h.t.Helper()
	r, err := rotate.Start(h.t.Context(), rotate.NewClients(h.Config), h.ARN)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	err = r.Watch(ctx, func(l rotate.Line) {
		lines = append(lines, l.Text())
		if l.Report == nil {
			return
		}
		switch l.Report.Status {
		case rotate.Held:
			whenHeld(*l.Report)
		case rotate.Retrying:
			cancel()
		}
	})
	return lines, err
}

// hurry makes the engine look at once.
func (h *held) hurry() {
	h.t.Helper()
	_, err := h.Secrets.RotateSecret(h.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &h.ARN})
	if _, ok := errors.AsType[*smtypes.InvalidRequestException](err); !ok {
		h.t.Errorf("got %v, want that the rotation under way is reattempted", err)
	}
}

// wantEnd demands that the second rotation has replaced the first user's
// password, with its privileges as they were.
func (h *held) wantEnd() {
	h.t.Helper()
	fresh := h.Value("AWSCURRENT")
	if fresh["username"] != h.first["username"] {
		h.t.Errorf("the user is %v, want %v again", fresh["username"], h.first["username"])
	}
	h.LogsIn("the new version", fresh)
	h.LogsIn("the version before", h.Value("AWSPREVIOUS"))
	if h.Login(h.t.Context(), h.first) == nil {
		h.t.Error("the first version still logs in")
	}
	for _, value := range []map[string]any{fresh, h.Value("AWSPREVIOUS")} {
		if diff := cmp.Diff(h.granted, h.grants(value)); diff != "" {
			h.t.Errorf("privileges (-want +got):\n%s", diff)
		}
	}
}

func (h *held) grants(value map[string]any) string {
	h.t.Helper()
	text, err := h.Grants(h.t.Context(), value["username"].(string))
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

func TestHold(t *testing.T) {
	db, err := pgserver.Start(t.Context(), pgserver.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	t.Run("until the straggler reads", func(t *testing.T) { holdUntilRead(t, db) })
	t.Run("until the deadline", func(t *testing.T) { holdUntilDeadline(t, db) })
	t.Run("over a killed server", func(t *testing.T) { holdOverKill(t, db) })
	t.Run("without permission", func(t *testing.T) { holdWithoutPermission(t, db) })
}

func holdUntilRead(t *testing.T, db *pgserver.Server) {
	h := newHeld(t, apitest.Start(t, apitest.Options{}), db, "1d", true)
	began, looks := time.Now(), 0
	lines, err := h.rotate(func(rep rotate.Report) {
		looks++
		h.LogsIn("the first version", h.first)
		if diff := cmp.Diff([]string{benARN}, rep.Readers); diff != "" {
			t.Errorf("awaited (-want +got):\n%s", diff)
		}
		if in := rep.HoldEnd().Sub(began).Round(10 * time.Second); in != 24*time.Hour {
			t.Errorf("the hold ends in %v, want a day", in)
		}
		if looks == 2 {
			h.read(h.ben)
		}
		h.hurry()
	})
	text := strings.Join(lines, "\n")
	if err != nil || looks != 2 {
		t.Fatalf("got error %v after %d holds\n%s", err, looks, text)
	}
	if !strings.Contains(text, "setSecret: The old password of user "+h.first["username"].(string)+" is kept until ") {
		t.Errorf("the log does not say that the password is kept\n%s", text)
	}
	if !strings.Contains(text, benARN+" (last read ") || !strings.Contains(text, ", from 127.0.0.1, with aws-sdk-go-v2/") {
		t.Errorf("the log does not say who is awaited\n%s", text)
	}
	if slices.ContainsFunc(lines, func(l string) bool {
		return strings.Contains(l, "user/ann") || strings.Contains(l, ":root (") || strings.Contains(l, "-role/")
	}) {
		t.Errorf("somebody is awaited who need not be\n%s", text)
	}
	h.wantEnd()
}

func holdUntilDeadline(t *testing.T, db *pgserver.Server) {
	h := newHeld(t, apitest.Start(t, apitest.Options{}), db, "5s", true)
	var end time.Time
	lines, err := h.rotate(func(rep rotate.Report) {
		h.LogsIn("the first version", h.first)
		end = rep.HoldEnd()
	})
	text := strings.Join(lines, "\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if end.IsZero() || time.Now().Before(end) {
		t.Errorf("the rotation ended before the hold, at %v", end)
	}
	if !strings.Contains(text, "[WARNING]") || !strings.Contains(text, "is over. These have not read the secret since its password was replaced: "+benARN) {
		t.Errorf("no warning about ben\n%s", text)
	}
	h.wantEnd()
}

func holdOverKill(t *testing.T, db *pgserver.Server) {
	p := apitest.StartProcess(t, apitest.Options{})
	h := newHeld(t, p.Server, db, "1h", true)
	killed := false
	_, _ = h.rotate(func(rotate.Report) { // the watch ends with the server
		if !killed {
			killed = true
			p.Kill()
		}
	})
	p.Restart()
	if !killed || h.Value("AWSPENDING") == nil {
		t.Fatal("the rotation was not held when the server was killed")
	}
	h.LogsIn("the first version", h.first)
	h.read(h.ben)
	h.Converge()
	h.wantEnd()
}

func holdWithoutPermission(t *testing.T, db *pgserver.Server) {
	server := apitest.Start(t, apitest.Options{})
	h := newHeld(t, server, db, "1h", false)
	lines, err := h.rotate(func(rotate.Report) { t.Error("held, though the trail may not be read") })
	text := strings.Join(lines, "\n")
	const statement = `{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}`
	if err == nil || !strings.Contains(text, "setSecret: KEYTURN_HOLD needs to know who reads the secret") || !strings.Contains(text, statement) {
		t.Fatalf("got %v\n%s\nwant a failure that says what to permit", err, text)
	}
	h.LogsIn("the first version", h.first)
	functions, err := server.Lambda.ListFunctions(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.permitLooks(server, *functions.Functions[0].FunctionName)
	h.read(h.ben)
	h.Converge()
	h.wantEnd()
}
