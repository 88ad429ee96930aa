package function_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

func TestRuntimesServed(t *testing.T) {
	want := strings.Fields("python3.7 python3.8 python3.9 python3.10 python3.11 python3.12 python3.13 python3.14 " +
		"nodejs18.x nodejs20.x nodejs22.x nodejs24.x provided.al2 provided.al2023")
	for _, id := range want {
		if r, ok := function.LookupRuntime(id); !ok || !r.Served {
			t.Errorf("LookupRuntime(%q) = %+v, %t; want a served runtime", id, r, ok)
		}
	}
	served := 0
	for _, r := range function.Runtimes() {
		if r.Served {
			served++
		}
	}
	if served != len(want) {
		t.Errorf("got %d served runtimes, want %d", served, len(want))
	}
}

func TestRuntimeDatesInOrder(t *testing.T) {
	for _, r := range function.Runtimes() {
		if r.CreateBlocked.Before(r.Deprecated) || r.UpdateBlocked.Before(r.CreateBlocked) {
			t.Errorf("%s: phases out of order: %v, %v, %v", r.ID, r.Deprecated, r.CreateBlocked, r.UpdateBlocked)
		}
		if r.Served && r.Deprecated.IsZero() {
			t.Errorf("%s: served, but without dates", r.ID)
		}
	}
}

func TestRuntimeBlocked(t *testing.T) {
	r, _ := function.LookupRuntime("python3.7")
	before, after := r.CreateBlocked.Add(-time.Second), r.CreateBlocked
	if err := r.CreateError(before); err != nil {
		t.Errorf("before the date: got %v, want nil", err)
	}
	err := r.CreateError(after)
	want := "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. " +
		"We recommend you use a supported runtime while creating or updating functions."
	if !fault.Is(err, fault.Parameter) || err.(*fault.Error).Message != want {
		t.Errorf("at the date: got %v, want %q", err, want)
	}
	if err := r.UpdateError(after); err != nil {
		t.Errorf("update at the create date: got %v, want nil", err)
	}
}

func TestUnknownRuntime(t *testing.T) {
	if r, ok := function.LookupRuntime("cobol85"); ok {
		t.Fatalf("LookupRuntime(cobol85) = %+v, want none", r)
	}
	got := function.UnknownRuntime("cobol85").Message
	if !strings.HasPrefix(got, "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "+
		"[nodejs20.x, python3.14, provided.al2023, ") || !strings.HasSuffix(got, ", java8.al2] or be a valid ARN") {
		t.Errorf("got %q", got)
	}
}

func TestRuntimeVersionARN(t *testing.T) {
	r, _ := function.LookupRuntime("python3.12")
	got := r.VersionARN("aws", "eu-west-1")
	if !regexp.MustCompile(`^arn:aws:lambda:eu-west-1::runtime:[0-9a-f]{64}$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	if got := r.VersionName(); got != "python:3.12.v1" {
		t.Errorf("got %q, want python:3.12.v1", got)
	}
}

func TestReservedVariable(t *testing.T) {
	for name, want := range map[string]bool{
		"AWS_REGION": true, "_HANDLER": true, "LAMBDA_TASK_ROOT": true,
		"PATH": false, "TZ": false, "AWS_ENDPOINT_URL": false, "SECRETS_MANAGER_ENDPOINT": false, "aws_region": false,
	} {
		if got := function.ReservedVariable(name); got != want {
			t.Errorf("ReservedVariable(%q) = %t, want %t", name, got, want)
		}
	}
}
