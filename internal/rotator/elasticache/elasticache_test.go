package elasticache_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/elasticache"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

func TestMain(m *testing.M) { rotatortest.Main(m) }

const (
	userName      = "app"
	firstPassword = "first-Password-1-long"
)

func arnOf(id string) string { return "arn:aws:elasticache:us-east-1:123456789012:user:" + id }

func idOf(secret map[string]any) string {
	return strings.TrimPrefix(secret["user_arn"].(string), arnOf(""))
}

func (d *serviceDouble) environment() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL_ELASTICACHE": d.URL, "USER_NAME": userName, "WAITING_RETRY_INTERVAL_IN_SECONDS": "1",
	}
}

func (d *serviceDouble) target(t testing.TB) *rotatortest.Target {
	id := rotatortest.Unique("user-id")
	d.add(id, firstPassword)
	target := &rotatortest.Target{Secret: map[string]any{"username": userName, "user_arn": arnOf(id), "password": firstPassword, "note": "kept"}}
	target.Login = func(_ context.Context, secret map[string]any) error {
		return d.logIn(id, secret["password"].(string))
	}
	target.Prepare = func(t testing.TB, server *apitest.Server, function, arn string) {
		t.Helper()
		f, err := server.Lambda.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &function})
		if err != nil {
			t.Fatal(err)
		}
		variables := f.Environment.Variables
		variables["SECRET_ARN"] = arn
		_, err = server.Lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
			FunctionName: &function, Environment: &lambdatypes.Environment{Variables: variables},
		})
		if err != nil {
			t.Fatalf("telling the function its secret: %v", err)
		}
	}
	return target
}

func (d *serviceDouble) faults() []rotatortest.Fault {
	breakUser := func(how, back func(u *doubleUser)) func(testing.TB, *rotatortest.Target) func() {
		return func(t testing.TB, target *rotatortest.Target) func() {
			d.change(idOf(target.Secret), how)
			return func() { d.change(idOf(target.Secret), back) }
		}
	}
	return []rotatortest.Fault{{
		Name: "never active", Step: "setSecret", Cause: rotator.CauseTimeout, Text: "did not reached the active status.", Alone: true,
		Environment: map[string]string{"MAX_WAITING_TIME_FOR_ACTIVE_IN_SECONDS": "2"},
		Break: breakUser(
			func(u *doubleUser) { u.status, u.next, u.stuck = "modifying", u.valid, true },
			func(u *doubleUser) { u.status, u.stuck = "active", false }),
	}, {
		Name: "no right", Step: "createSecret", Cause: rotator.CausePermission, Text: "AccessDenied", Alone: true,
		Break: breakUser(func(u *doubleUser) { u.denied = true }, func(u *doubleUser) { u.denied = false }),
	}, {
		Name: "missing user", Step: "createSecret", Cause: rotator.CauseMissingUser, Text: "UserNotFound", Alone: true,
		Change: func(secret map[string]any) { secret["user_arn"] = arnOf("nobody") },
	}}
}

func TestContractDouble(t *testing.T) {
	d := startDouble(t)
	rotatortest.Suite{
		Rotator: "elasticache.overlap", Overlaps: true, New: d.target, Environment: d.environment(), Faults: d.faults(),
	}.Run(t)
}

// TestFirstPasswordDouble: before the first rotation the secret may have no
// password, and the user then gets one only.
func TestFirstPasswordDouble(t *testing.T) {
	d := startDouble(t)
	target := d.target(t)
	delete(target.Secret, "password")
	server := apitest.Start(t, apitest.Options{})
	suite := rotatortest.Suite{Rotator: "elasticache.overlap", Environment: d.environment()}
	w := rotatortest.NewWorld(t, server, target, server.NewFunction(t, suite.Function("rotate")))
	if lines, err := w.Rotate(); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	value := w.Value("AWSCURRENT")
	w.LogsIn("the new version", value)
	if n := len(value["password"].(string)); n != 20 {
		t.Errorf("got a password of %d characters, want 20", n)
	}
	if d.logIn(idOf(value), firstPassword) == nil {
		t.Error("a password that the secret does not hold is still valid")
	}
}

func TestRefusals(t *testing.T) {
	const secretARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app-AbCdEf"
	good := func() map[string]any { return map[string]any{"username": userName, "user_arn": arnOf("id")} }
	without := func(key string) map[string]any {
		s := good()
		delete(s, key)
		return s
	}
	other := good()
	other["username"] = "admin"
	bad := good()
	bad["user_arn"] = "arn:aws:elasticache:us-east-1:123456789012:usergroup:x"
	for _, test := range []struct {
		name   string
		secret map[string]any
		change func(rotator.Settings)
		want   string
	}{
		{"another secret", good(), func(s rotator.Settings) { s["SECRET_ARN"] = secretARN + "x" }, "Secret " + secretARN + " is not allowed to use this Lambda function for rotation"},
		{"no SECRET_ARN", good(), func(s rotator.Settings) { delete(s, "SECRET_ARN") }, "The environment variable SECRET_ARN is needed"},
		{"another user", other, nil, "User admin is not allowed to use this Lambda function for rotation"},
		{"no user_arn", without("user_arn"), nil, "user_arn key is missing from secret JSON"},
		{"no username", without("username"), nil, "username key is missing from secret JSON"},
		{"not a user", bad, nil, "The member user_arn of the secret's JSON is not the ARN of an ElastiCache user: " + bad["user_arn"].(string)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := rotatortest.NewSteps(elasticache.New(), test.secret, nil, rotator.Settings{"USER_NAME": userName, "SECRET_ARN": secretARN})
			if test.change != nil {
				test.change(w.Handler.Settings)
			}
			err := w.Step(t.Context(), "createSecret")
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
