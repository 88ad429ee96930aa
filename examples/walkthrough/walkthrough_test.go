package walkthrough_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

func TestMain(m *testing.M) {
	builtin.RunIfAsked()
	apitest.Main(m)
}

// start runs a server whose Python functions have boto3 and psycopg2.
func start(t *testing.T, db *pgserver.Server) *apitest.Server {
	t.Helper()
	_, python := apitest.Python(t)
	return apitest.Start(t, apitest.Options{
		Interpreters: map[string]string{application.DefaultRuntime: python}, CABundle: []string{db.CAFile},
	})
}

// script runs one of the scripts with the real AWS CLI, and returns what it
// printed.
func script(t *testing.T, s *apitest.Server, name string, db *pgserver.Server, u apitest.User) string {
	t.Helper()
	cmd := exec.Command("./" + name)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_REGION=" + apitest.Region, "AWS_DEFAULT_REGION=" + apitest.Region,
		"AWS_ACCESS_KEY_ID=" + apitest.AccessKey, "AWS_SECRET_ACCESS_KEY=" + apitest.SecretKey,
		"DB_HOST=" + db.Host, "DB_PORT=" + strconv.Itoa(db.Port), "DB_NAME=postgres", "DB_USER=" + u.Name, "DB_PASSWORD=" + u.Password,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	if want := "logged in as " + u.Name; !strings.Contains(string(out), want) {
		t.Errorf("the script does not say %q:\n%s", want, out)
	}
	return string(out)
}

// needCLI leaves the test to the SDK where there is no AWS CLI.
func needCLI(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("no AWS CLI; TestCustomFunctionBySDK and TestHostedRotation make the same calls")
	}
}

func TestCustomFunction(t *testing.T) {
	needCLI(t)
	t.Parallel()
	db := apitest.Database(t)
	u := apitest.NewUser(t, db)
	out := script(t, start(t, db), "custom-function.sh", db, u)
	if err := u.Login(t.Context(), u.Password); err == nil {
		t.Error("the old password still logs in")
	}
	for _, want := range []string{"MySecretRotation", "vpce-", "True\t7"} {
		if !strings.Contains(out, want) {
			t.Errorf("the script does not say %q:\n%s", want, out)
		}
	}
}

func TestHostedRotationScript(t *testing.T) {
	needCLI(t)
	t.Parallel()
	db := apitest.Database(t)
	u := apitest.NewUser(t, db)
	s := start(t, db)
	out := script(t, s, "hosted-rotation.sh", db, u)
	if !strings.Contains(out, "ScheduleHostedRotationLambda") {
		t.Errorf("the stack has no nested one:\n%s", out)
	}
	if err := u.Login(t.Context(), u.Password); err == nil {
		t.Error("the old password still logs in")
	}
	nothingLeft(t, s)
}
