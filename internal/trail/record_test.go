package trail

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/iam"
)

// The recorded shape of a failed rotation (rotation.md section 3.1).
func TestServiceEventShape(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-a1b2c3"
	e := Event{
		ID: "e", Time: time.Date(2025, 3, 10, 8, 17, 48, 5e8, time.UTC), Type: ServiceEvent,
		Account: "111122223333", Region: "eu-west-1", Source: "secretsmanager.amazonaws.com", Name: "RotationFailed",
		Principal: iam.Principal{Type: iam.Service, Account: "111122223333", InvokedBy: "secretsmanager.amazonaws.com"},
		SourceIP:  "secretsmanager.amazonaws.com", UserAgent: "secretsmanager.amazonaws.com",
		ErrorMessage: "Error when executing lambda arn:aws:lambda:eu-west-1:111122223333:function:rot-pg during setSecret step",
		Additional:   json.RawMessage(`{"SecretId":"` + arn + `"}`), RequestID: "Rotation-" + arn + "-0f6f",
	}
	want := `{"eventVersion":"1.08","userIdentity":{"accountId":"111122223333","invokedBy":"secretsmanager.amazonaws.com"},` +
		`"eventTime":"2025-03-10T08:17:48Z","eventSource":"secretsmanager.amazonaws.com","eventName":"RotationFailed","awsRegion":"eu-west-1",` +
		`"sourceIPAddress":"secretsmanager.amazonaws.com","userAgent":"secretsmanager.amazonaws.com",` +
		`"errorMessage":"Error when executing lambda arn:aws:lambda:eu-west-1:111122223333:function:rot-pg during setSecret step",` +
		`"requestParameters":null,"responseElements":null,"additionalEventData":{"SecretId":"` + arn + `"},` +
		`"requestID":"Rotation-` + arn + `-0f6f","eventID":"e","readOnly":false,"eventType":"AwsServiceEvent","managementEvent":true,` +
		`"recipientAccountId":"111122223333","eventCategory":"Management"}`
	got, err := e.Record()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got.JSON)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseRecordRoundTrip(t *testing.T) {
	session := event("GetSecretValue", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	session.Principal = iam.Principal{
		Type: iam.AssumedRole, Account: "123456789012", ARN: "arn:aws:sts::123456789012:assumed-role/r/fn",
		ID: "AROAX:fn", Name: "r", Session: "fn", RoleARN: "arn:aws:iam::123456789012:role/r", AccessKeyID: "ASIA",
	}
	root := event("CreateSecret", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	root.Principal = iam.Principal{Type: iam.Root, Account: "123456789012", ARN: "arn:aws:iam::123456789012:root", ID: "123456789012"}
	root.Resources = []Resource{{"AWS::SecretsManager::Secret", "arn:x"}}
	for _, e := range []*Event{event("DescribeSecret", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), session, root} {
		want, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRecord(want.JSON)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.Name, diff)
		}
	}
}

// fill sets every member that v has to something, with text that needs
// escapes; odd leaves out what may be left out.
func fill(t *testing.T, v reflect.Value, odd bool, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{
			"plain", "a \"quoted\" <b> & c\\d", "\x00\x1f\b\f\n\r\t\x7f", "ünï \u2028 \u2029 \U0001F511", "bad \xff\xc3 end", "",
		}[*n%6])
	case reflect.Bool:
		v.SetBool(*n%2 == 0)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), odd, n)
		}
	case reflect.Pointer:
		if !odd {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), odd, n)
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			if *n%4 > 0 {
				v.SetBytes([]byte([]string{`{"a":["<x>",1]}`, "null", "{\n \"b\" : 2\n}"}[*n%4-1]))
			}
			return
		}
		for range *n % 3 {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(t, e, odd, n)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"z": "1", "a": "\"2\""}))
	default:
		t.Fatalf("a member of kind %v", v.Kind())
	}
}

// TestEncode compares the encoder with encoding/json on every member of a
// document.
func TestEncode(t *testing.T) {
	for n := range 60 {
		var d document
		count := n
		fill(t, reflect.ValueOf(&d).Elem(), n%2 == 1, &count)
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(d); err != nil {
			t.Fatal(err)
		}
		var e encoder
		e.document(&d)
		if diff := cmp.Diff(want.String(), string(e.buf)+"\n"); diff != "" || e.err != nil {
			t.Fatalf("error %v (-want +got):\n%s", e.err, diff)
		}
	}
}

func TestEncodeRefusesBrokenMembers(t *testing.T) {
	e := event("x", time.Now())
	e.Request = json.RawMessage("{\n")
	if _, err := e.Record(); err == nil {
		t.Error("a broken member was encoded")
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "\"", "\xff", "\u2028", "\x1f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := string(appendText(nil, s)) + "\n"; got != want.String() {
			t.Errorf("got %s, want %s", got, want.String())
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	b.Run("sealed", func(b *testing.B) { benchmarkRecord(b, true) })
	b.Run("plain", func(b *testing.B) { benchmarkRecord(b, false) })
}

func benchmarkRecord(b *testing.B, sealed bool) {
	e := event("GetSecretValue", time.Now())
	e.Resources = []Resource{{"AWS::SecretsManager::Secret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf"}}
	r, err := NewRecorder(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if sealed {
		if err := r.Seal("node", chainKey); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Record(e); err != nil {
			b.Fatal(err)
		}
	}
}
