package wire_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/api/cloudtrail"
	"github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/wire"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		name, text string
		want       secretsmanager.CreateSecretRequest
	}{
		{"empty object", ` { } `, secretsmanager.CreateSecretRequest{}},
		{"null is absent", `{"Name":null,"Tags":null,"SecretBinary":null,"ForceOverwriteReplicaSecret":null}`, secretsmanager.CreateSecretRequest{}},
		{"names match exactly", `{"name":"a","NAME":"b"}`, secretsmanager.CreateSecretRequest{}},
		{"the last of a repeated name counts", `{"Name":"a","Name":"b"}`, secretsmanager.CreateSecretRequest{Name: new("b")}},
		{"even null", `{"Name":"a","Name":null}`, secretsmanager.CreateSecretRequest{}},
		{"unknown members are skipped", `{"x":{"y":[1,-2.5e+3,true,false,null,"s\n",{},[]]},"Name":"a"}`, secretsmanager.CreateSecretRequest{Name: new("a")}},
		{"escapes", `{"N\u0061me":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, secretsmanager.CreateSecretRequest{Name: new("\"\\/\b\f\n\r\té😀")}},
		{"empty values are present", `{"Name":"","Tags":[],"SecretBinary":""}`, secretsmanager.CreateSecretRequest{Name: new(""), Tags: []secretsmanager.Tag{}, SecretBinary: []byte{}}},
		{"base64 with an escaped slash", `{"SecretBinary":"\/\/8="}`, secretsmanager.CreateSecretRequest{SecretBinary: []byte{255, 255}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got secretsmanager.CreateSecretRequest
			if err := wire.Unmarshal([]byte(tt.text), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	const number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an "
	deep := strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64)
	tests := []struct{ name, text, message string }{
		{"nothing", ``, ""},
		{"white space", ` `, ""},
		{"a list", `[]`, "Start of list found where not expected"},
		{"text after the value", `{} x`, ""},
		{"a second value", `{}{}`, ""},
		{"a NUL after the value", "{}\x00", ""},
		{"open object", `{`, ""},
		{"open member", `{"Name"`, ""},
		{"open value", `{"Name":`, ""},
		{"open string", `{"Name":"a`, ""},
		{"missing comma", `{"Name":"a" "x":1}`, ""},
		{"comma at the end", `{"Name":"a",}`, ""},
		{"comma at the end of a list", `{"Tags":[{},]}`, ""},
		{"open list", `{"Tags":[`, ""},
		{"open list after a comma", `{"x":[1,`, ""},
		{"name without quotes", `{Name:"a"}`, ""},
		{"control character", "{\"Name\":\"a\nb\"}", ""},
		{"bad escape", `{"Name":"\x"}`, ""},
		{"short escape", `{"Name":"\u00e"}`, ""},
		{"lone surrogate", `{"SecretString":"\ud83d"}`, ""},
		{"surrogates the wrong way round", `{"SecretString":"\ude00\ud83d"}`, ""},
		{"not UTF-8", "{\"Name\":\"\xff\"}", ""},
		{"bad literal", `{"x":nul}`, ""},
		{"leading zero", `{"x":01}`, ""},
		{"plus sign", `{"x":+1}`, ""},
		{"bare point", `{"x":1.}`, ""},
		{"bare exponent", `{"x":1e}`, ""},
		{"bad base64", `{"SecretBinary":"a"}`, ""},
		{"too deep", `{"x":` + deep + `}`, ""},
		{"boolean for a string", `{"Name":true}`, "class java.lang.Boolean can not be converted to an String"},
		{"number for a string", `{"Name":1}`, number + "String"},
		{"object for a string", `{"Name":{}}`, "Start of structure or map found where not expected."},
		{"list for a string", `{"Name":[]}`, "Start of list found where not expected"},
		{"string for a boolean", `{"ForceOverwriteReplicaSecret":"true"}`, "class java.lang.String can not be converted to an Boolean"},
		{"string for a list", `{"Tags":"a"}`, "class java.lang.String can not be converted to an List"},
		{"string for a structure", `{"Tags":["a"]}`, "class java.lang.String can not be converted to an Structure"},
		{"null in a list", `{"Tags":[null]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := wire.Unmarshal([]byte(tt.text), new(secretsmanager.CreateSecretRequest))
			e, ok := err.(*fault.Error)
			if !ok || e.Kind != wire.Serialization || e.Message != tt.message {
				t.Errorf("got %v, want %q", err, tt.message)
			}
		})
	}
	if err := wire.Unmarshal([]byte(`{"x":`+deep[1:len(deep)-1]+`}`), new(secretsmanager.CreateSecretRequest)); err != nil {
		t.Errorf("63 lists in an object: %v", err)
	}
}

func TestDecodeNumbers(t *testing.T) {
	tests := []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"-0", 0, true}, {"7", 7, true}, {"7.0", 7, true}, {"7e1", 70, true}, {"700E-2", 7, true},
		{"7.5", 0, false}, {`"7"`, 0, false}, {"true", 0, false}, {"1e400", 0, false},
		{"9223372036854775807", math.MaxInt64, true}, {"-9223372036854775808", math.MinInt64, true},
		{"9223372036854775808", 0, false}, {"1e18", 0, false},
	}
	for _, tt := range tests {
		var got secretsmanager.RotationRulesType
		err := wire.Unmarshal([]byte(`{"AutomaticallyAfterDays":`+tt.text+`}`), &got)
		if (err == nil) != tt.ok || tt.ok && *got.AutomaticallyAfterDays != tt.want {
			t.Errorf("%s: got %v, %v", tt.text, got.AutomaticallyAfterDays, err)
		}
	}
	var in secretsmanager.ListSecretsRequest // MaxResults has 32 bits
	if err := wire.Unmarshal([]byte(`{"MaxResults":2147483648}`), &in); !fault.Is(err, wire.Serialization) {
		t.Errorf("got %v, want an error for 2^31", err)
	}
	if err := wire.Unmarshal([]byte(`{"MaxResults":2147483647.0}`), &in); err != nil || *in.MaxResults != math.MaxInt32 {
		t.Errorf("got %v, %v", in.MaxResults, err)
	}
}

func TestDecodeTimes(t *testing.T) {
	tests := map[string]time.Time{
		"1704067200":                    time.Unix(1704067200, 0),
		"1704067200.123":                time.UnixMilli(1704067200123),
		"1.704067200123E9":              time.UnixMilli(1704067200123),
		`"2024-01-01T00:00:00Z"`:        time.Unix(1704067200, 0),
		`"2024-01-01T01:00:00.5+01:00"`: time.UnixMilli(1704067200500),
		"-1":                            time.Unix(-1, 0),
		`"1704067200"`:                  time.Unix(1704067200, 0),
	}
	for text, want := range tests {
		var in cloudtrail.LookupEventsRequest
		if err := wire.Unmarshal([]byte(`{"StartTime":`+text+`}`), &in); err != nil || !in.StartTime.Equal(want) {
			t.Errorf("%s: got %v, %v", text, in.StartTime, err)
		}
	}
	for _, text := range []string{"1e300", `"yesterday"`, "true", "{}", `"NaN"`} {
		if err := wire.Unmarshal([]byte(`{"StartTime":`+text+`}`), new(cloudtrail.LookupEventsRequest)); !fault.Is(err, wire.Serialization) {
			t.Errorf("%s: got %v, want an error", text, err)
		}
	}
}

func TestEncode(t *testing.T) {
	at := func(ms int64) *time.Time { return new(time.UnixMilli(ms)) }
	tests := []struct {
		name string
		out  wire.Output
		want string
	}{
		{"members without a value are left out", &secretsmanager.DescribeSecretResponse{}, `{}`},
		{"empty lists are kept", &secretsmanager.ListSecretsResponse{SecretList: []secretsmanager.SecretListEntry{}}, `{"SecretList":[]}`},
		{"milliseconds", &secretsmanager.DescribeSecretResponse{CreatedDate: at(1523477145713)}, `{"CreatedDate":1523477145.713}`},
		{"leading zeros of the fraction", &secretsmanager.DescribeSecretResponse{CreatedDate: at(1524085349095)}, `{"CreatedDate":1524085349.095}`},
		{"trailing zeros of the fraction", &secretsmanager.DescribeSecretResponse{CreatedDate: at(1524085349500)}, `{"CreatedDate":1524085349.5}`},
		{"whole seconds", &secretsmanager.DescribeSecretResponse{CreatedDate: at(1524085349000)}, `{"CreatedDate":1524085349}`},
		{"before the epoch", &secretsmanager.DescribeSecretResponse{CreatedDate: at(-1500)}, `{"CreatedDate":-1.5}`},
		{
			"maps are sorted", &secretsmanager.DescribeSecretResponse{VersionIdsToStages: map[string][]string{"b": {"AWSCURRENT"}, "a": {}}},
			`{"VersionIdsToStages":{"a":[],"b":["AWSCURRENT"]}}`,
		},
		{
			"nothing is escaped for HTML", &secretsmanager.GetRandomPasswordResponse{RandomPassword: new("<&>'\u2028\x7f\"\\\x00\b\f\n\r\t")},
			`{"RandomPassword":"<&>'` + "\u2028\x7f" + `\"\\\u0000\b\f\n\r\t"}`,
		},
		{"what is not UTF-8", &secretsmanager.GetRandomPasswordResponse{RandomPassword: new("a\xffb\xc3")}, `{"RandomPassword":"a` + "\uFFFDb\uFFFD" + `"}`},
		{"numbers have no exponent", &lambda.AliasConfiguration{RoutingConfig: &lambda.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.0000001}}}, `{"RoutingConfig":{"AdditionalVersionWeights":{"1":0.0000001}}}`},
		{"names are the model's", &logs.PutLogEventsResponse{NextSequenceToken: new("t")}, `{"nextSequenceToken":"t"}`},
		{"status and headers are not in the body", &lambda.InvocationResponse{StatusCode: new(int64(200)), Payload: []byte("x")}, `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := wire.NewEncoder(nil)
			tt.out.EncodeJSON(e)
			if got := string(e.Bytes()); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !json.Valid(e.Bytes()) {
				t.Errorf("%s is not JSON", e.Bytes())
			}
		})
	}
}

// TestEncodeTrail checks the form of elements in events.
func TestEncodeTrail(t *testing.T) {
	e := wire.NewTrailEncoder(nil)
	(&secretsmanager.DeleteSecretResponse{
		ARN: new("a"), Name: new("n"), DeletionDate: new(time.Date(2018, 5, 3, 17, 51, 2, 0, time.UTC)),
	}).EncodeJSON(e)
	if got, want := string(e.Bytes()), `{"arn":"a","name":"n","deletionDate":"May 3, 2018 5:51:02 PM"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"Name":"a","Tags":[{"Key":"k","Value":"v"}],"SecretBinary":"AAA=","ForceOverwriteReplicaSecret":true}`,
		`{"RotationRules":{"AutomaticallyAfterDays":1e1,"Duration":"3h"}}`, `{"N\u0061me":"\ud83d\ude00"}`, `{"x":[[[{"a":null}]]]}`,
		`{"StartTime":1.5,"LookupAttributes":[{"AttributeKey":"EventName"}]}`, `{"Tags":{"a":"b"},"logEvents":[{"timestamp":1,"message":"m"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecode(t, data, new(secretsmanager.CreateSecretRequest), new(secretsmanager.CreateSecretRequest))
		checkDecode(t, data, new(secretsmanager.RotateSecretRequest), new(secretsmanager.RotateSecretRequest))
		checkDecode(t, data, new(cloudtrail.LookupEventsRequest), new(cloudtrail.LookupEventsRequest))
		checkDecode(t, data, new(logs.PutLogEventsRequest), new(logs.PutLogEventsRequest))
		checkDecode(t, data, new(lambda.CreateFunctionRequest), new(lambda.CreateFunctionRequest))
	})
}

type decoded interface {
	wire.Input
	DecodeJSON(*wire.Decoder)
}

// checkDecode checks that what is accepted is JSON for the standard library
// too, and that it survives a round trip.
func checkDecode(t *testing.T, data []byte, x, y decoded) {
	if err := wire.Unmarshal(data, x); err != nil {
		if !fault.Is(err, wire.Serialization) {
			t.Fatalf("got an error of another kind: %v", err)
		}
		return
	}
	if !json.Valid(data) || !utf8.Valid(data) {
		t.Fatalf("accepted %q", data)
	}
	var v wire.Violations
	x.Validate(&v)
	_ = v.Err()
	e := wire.NewEncoder(nil)
	x.EncodeJSON(e)
	if err := wire.Unmarshal(e.Bytes(), y); err != nil {
		t.Fatalf("%s: %v", e.Bytes(), err)
	}
	if diff := cmp.Diff(x, y); diff != "" {
		t.Fatal(diff)
	}
}

func BenchmarkGetSecretValue(b *testing.B) {
	body := []byte(`{"SecretId":"app/db/password"}`)
	out := &secretsmanager.GetSecretValueResponse{
		ARN: new(arnDB), Name: new("app/db/password"), SecretString: new(`{"username":"app","password":"correct horse battery staple"}`),
		VersionId: new("11111111-2222-3333-4444-555555555555"), VersionStages: []string{"AWSCURRENT"}, CreatedDate: new(time.UnixMilli(1523477145713)),
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var in secretsmanager.GetSecretValueRequest
		if err := wire.Unmarshal(body, &in); err != nil {
			b.Fatal(err)
		}
		var v wire.Violations
		in.Validate(&v)
		if err := v.Err(); err != nil {
			b.Fatal(err)
		}
		e := wire.NewEncoder(buf)
		out.EncodeJSON(e)
	}
}
