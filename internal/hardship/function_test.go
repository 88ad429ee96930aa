//go:build linux

package hardship

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/faultdisk"
)

const greeting = "def lambda_handler(event, context):\n    print('a line for the log')\n    return 'hello %d'\n"

// invoke returns the answer of a function, or the server's error.
func invoke(t *testing.T, s *apitest.Server, name string) (string, error) {
	t.Helper()
	out, err := s.Lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name})
	if err != nil {
		return "", err
	}
	if out.FunctionError != nil {
		t.Errorf("the function failed: %s", out.Payload)
	}
	return string(out.Payload), nil
}

// wantHostFailure demands an error that does not blame the function.
func wantHostFailure(t *testing.T, err error) {
	t.Helper()
	refused, ok := errors.AsType[smithy.APIError](err)
	if !ok || refused.ErrorCode() != "ServiceException" || strings.Contains(refused.ErrorMessage(), "unzip") {
		t.Errorf("got %v, want a ServiceException that does not blame the package", err)
	}
}

// Code that cannot be unpacked is the disk's fault and not its author's, and
// runs as soon as the disk takes it; so does a rotation that waited for it.
func TestCodeOnFaultyDisk(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Mount(t)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data"), Interpreters: apitest.Interpreters(t)})
	p.NewFunction(t, apitest.PythonCode(t, "greeter", fmt.Sprintf(greeting, 0)))
	for i, f := range []faultdisk.Fault{
		{Op: faultdisk.Create, Err: syscall.ENOSPC}, {Op: faultdisk.Create, Err: syscall.EIO},
		{Op: faultdisk.Write, Err: syscall.ENOSPC}, {Op: faultdisk.Write, Err: syscall.EIO, Applied: true},
		{Op: faultdisk.Rename, Err: syscall.EIO},
	} {
		code := apitest.PythonCode(t, "greeter", fmt.Sprintf(greeting, i+1)).Code
		if _, err := p.Lambda.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("greeter"), ZipFile: code}); err != nil {
			t.Fatal(err)
		}
		f.File = "data/functions"
		disk.Fail(f)
		_, err := invoke(t, p.Server, "greeter")
		if hits := disk.Heal(); hits == 0 {
			t.Errorf("%v: the fault was not met", f)
		}
		wantHostFailure(t, err)
		if got, err := invoke(t, p.Server, "greeter"); err != nil || got != fmt.Sprintf(`"hello %d"`, i+1) {
			t.Errorf("after %v: got %s, %v", f, got, err)
		}
	}
	testRotationOnFaultyDisk(t, p, disk)
}

func testRotationOnFaultyDisk(t *testing.T, p *apitest.Process, disk *faultdisk.Disk) {
	rotator := p.NewFunction(t, apitest.StepFunction(t, "rotator", "", ""))
	made, err := p.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("rotated"), SecretString: aws.String("old")})
	if err != nil {
		t.Fatal(err)
	}
	disk.Fail(faultdisk.Fault{File: "data/functions", Op: faultdisk.Create, Err: syscall.ENOSPC})
	if _, err := p.Secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: made.ARN, RotationLambdaARN: &rotator}); err != nil {
		t.Fatal(err)
	}
	// The log of the invocations before says the same.
	eventually(t, "the rotation meets the fault", func() bool { return disk.Hits() > 0 })
	disk.Heal()
	eventually(t, "the rotation is done unaided", func() bool {
		out, err := p.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: made.ARN})
		if err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(*out.SecretString, "new-")
	})
}

// filler fills its /tmp and tells why it could not go on.
const filler = `
import errno
def lambda_handler(event, context):
    n = 0
    try:
        while True:
            with open("/tmp/%d" % n, "wb") as f:
                f.write(b"x" * (1 << 20))
            n += 1
    except OSError as e:
        return errno.errorcode[e.errno]
`

// A function that fills the disk is told so, and its server says the same to
// others and nothing wrong; what it wrote goes with its environment.
func TestFunctionFillsDisk(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Small(t, 64<<20)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data"), Interpreters: apitest.Interpreters(t)})
	l := newLedger(t, p, "beside/a")
	p.NewFunction(t, apitest.PythonCode(t, "filler", filler))
	got, err := invoke(t, p.Server, "filler")
	if err == nil && got != `"ENOSPC"` {
		t.Errorf("the function got %s", got)
	} else if err != nil {
		wantHostFailure(t, err) // its end could not be recorded
	}
	until(t, "writing", func() error { return l.put(t, "beside/a") })
	p.Kill()
	checkDatabase(t, p.Dir)
	p.Restart()
	eventually(t, "the function's files are gone", func() bool { return l.put(t, "beside/a") == nil })
	l.well(t)
	l.audit(t)
}
