package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTranslate(t *testing.T) {
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{`[0-9]+h`, []string{"3h"}, []string{"h", "3h "}},
		{`[\u0020-\u00FF]+`, []string{" ÿ"}, []string{"\x1f", "\u0100"}},
		{`[a-zA-Z0-9-_]+`, []string{"a-_9"}, []string{"a.", ""}},
		{`[^\s]+`, []string{"a"}, []string{"a\vb", "a b"}},
		{`\S{2}`, []string{"ab"}, []string{"a\v"}},
		{`[\s\S]*`, []string{"", "a\n\v"}, nil},
		{`.*`, []string{"a b"}, []string{"a\nb", "a\rb", "a\u2028b", "a\u0085b"}},
		{`(?s).*`, []string{"a\nb\r"}, nil},
		{`a\.b[.]c`, []string{"a.b.c"}, []string{"axb.c", "a.bxc"}},
		{`^a$|^b`, []string{"a", "b"}, []string{"ab", "bb"}},
		{`(?!^[0-9]+$)([a-zA-Z0-9-_]+)`, []string{"a1", "1-"}, []string{"12", ""}},
		{`[0-9A-Za-z\.\-_]*(?<!\.)`, []string{"a.b"}, []string{"a."}},
		{`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`, []string{"abc", "a-b"}, []string{"a--b", "ab-", "ab"}},
	}
	for _, tt := range tests {
		tr, err := translate(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		matches := func(s string) bool {
			full := func(p string) bool { return regexp.MustCompile(`\A(?:` + p + `)\z`).MatchString(s) }
			return full(tr.match) && (tr.not == "" || !full(tr.not))
		}
		for _, s := range tt.yes {
			if !matches(s) {
				t.Errorf("%s does not match %q", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if matches(s) {
				t.Errorf("%s matches %q", tt.pattern, s)
			}
		}
	}
	for _, bad := range []string{`a(?=b)`, `[a[b]]`, `[a&&b]`, `(`, `a{1,2000}`} {
		if tr, err := translate(bad); err == nil {
			t.Errorf("%s: got %q, want an error", bad, tr.match)
		}
	}
}

// tiny is a model with the cases that are easy to get wrong.
const tiny = `{
 "metadata": {"apiVersion": "2020-01-01", "protocol": "rest-json", "serviceId": "Tiny", "endpointPrefix": "tiny"},
 "operations": {
  "Put": {"name": "Put", "http": {"method": "PUT", "requestUri": "/x/{Id}", "responseCode": 201},
    "input": {"shape": "PutIn"}, "errors": [{"shape": "Gone"}, {"shape": "Broken"}]},
  "Unused": {"name": "Unused", "http": {"method": "GET", "requestUri": "/"}, "input": {"shape": "Other"}}},
 "shapes": {
  "PutIn": {"type": "structure", "required": ["Id"], "members": {
    "zeta": {"shape": "Name"}, "Id": {"shape": "Name", "location": "uri", "locationName": "Id"},
    "Token": {"shape": "Name", "idempotencyToken": true}, "Nested": {"shape": "NestedList"}, "Kind": {"shape": "Kind"}}},
  "NestedList": {"type": "list", "member": {"shape": "lower"}},
  "lower": {"type": "structure", "members": {"Key": {"shape": "Secret"}}},
  "Name": {"type": "string", "max": 5}, "Secret": {"type": "string", "sensitive": true},
  "Kind": {"type": "string", "enum": ["A_B", "c-d"]},
  "Other": {"type": "structure", "members": {}},
  "Gone": {"type": "structure", "exception": true, "members": {"Type": {"shape": "Name"}, "Message": {"shape": "Name"}}, "error": {"httpStatusCode": 410}},
  "Broken": {"type": "structure", "exception": true, "fault": true, "members": {"errorCode": {"shape": "Name"}, "message": {"shape": "Name"}}}}}`

func generateTiny(t *testing.T, text string, operations ...string) (map[string][]byte, error) {
	t.Helper()
	m, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return generate(service{pkg: "tiny", folder: "tiny", operations: operations}, m)
}

func TestGenerate(t *testing.T) {
	files, err := generateTiny(t, tiny, "Put")
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string][]string{
		"model_gen.go": {
			"from the AWS service model tiny 2020-01-01. DO NOT EDIT.", `SigningName: "tiny"`, "Void:  true", `Token: "Token"`, "Status: 201",
			`"Broken": {Status: 500, ErrorCode: true, Message: "message"}`, `"Gone":   {Status: 410, Type: true, Message: "Message"}`,
		},
		"request_gen.go":  {"Zeta   *string", "Nested []Lower", "// required, at most 5 characters, uri Id", `return "Lower{redacted}"`, `return "PutIn{redacted}"`},
		"response_gen.go": {"type PutResponse struct {"},
		"enum_gen.go":     {`KindAB = "A_B"`, `KindCD = "c-d"`},
		"decode_gen.go":   {`case "zeta":`},
		"encode_gen.go":   {"if e.Trail() {\n\t\te.String(\"Id\", x.Id)", "if !e.Trail() {\n\t\te.String(\"Key\", x.Key)"},
		"rest_gen.go":     {`x.Id = r.Label("Id")`, "r.JSON(x)"},
		"validate_gen.go": {"v.Text(\"zeta\", x.Zeta, &ruleName)\n\tv.Required(\"id\", x.Id != nil)", `Enum: []string{"A_B", "c-d"}`},
	}
	for name, fragments := range wants {
		for _, want := range fragments {
			if !strings.Contains(string(files[name]), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, files[name])
			}
		}
	}
	for name, text := range files {
		if strings.Contains(string(text), "Other") || strings.Contains(string(text), `case "Id"`) {
			t.Errorf("%s has what no operation of the package reads:\n%s", name, text)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	replaced := func(old, with string) string { return strings.Replace(tiny, old, with, 1) }
	tests := map[string]struct{ text, operation, want string }{
		"unknown operation": {tiny, "Nope", "no operation Nope"},
		"unknown binding":   {replaced(`"location": "uri"`, `"location": "cookie"`), "Put", "cookie"},
		"fractional bound":  {replaced(`"max": 5`, `"max": 5.5`), "Put", "not integral"},
		"same constant":     {replaced(`"c-d"`, `"a b"`), "Put", "two values"},
		"look-around":       {replaced(`"max": 5`, `"pattern": "(?=a)b"`), "Put", "looks around"},
	}
	for name, tt := range tests {
		if _, err := generateTiny(t, tt.text, tt.operation); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// TestGeneratedIsCurrent generates everything again and compares. It needs
// the models, which are not ours to keep in the repository.
func TestGeneratedIsCurrent(t *testing.T) {
	models := os.Getenv("KEYTURN_AWS_MODELS")
	if models == "" {
		t.Skip("KEYTURN_AWS_MODELS does not name the folder of service models")
	}
	dir := t.TempDir()
	if err := run(models, dir); err != nil {
		t.Fatal(err)
	}
	for _, s := range services() {
		fresh, err := filepath.Glob(filepath.Join(dir, s.pkg, "*_gen.go"))
		if err != nil || len(fresh) == 0 {
			t.Fatalf("%s: %v, %v", s.pkg, fresh, err)
		}
		for _, name := range fresh {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("..", "..", "api", s.pkg, filepath.Base(name)))
			if err != nil || string(got) != string(want) {
				t.Errorf("internal/api/%s/%s is not what the models give: %v", s.pkg, filepath.Base(name), err)
			}
		}
	}
}

// One member can be hidden though others have its shape.
func TestHideMember(t *testing.T) {
	m, err := parse([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	if !m.hide("lower.Key") || !m.hide("PutIn.zeta") || m.hide("PutIn.nope") || m.hide("Nope") || m.hide("Nope.x") {
		t.Error("a shape or a member is not found, or one that the model does not have is")
	}
	files, err := generate(service{pkg: "tiny", folder: "tiny", operations: []string{"Put"}}, m)
	if err != nil {
		t.Fatal(err)
	}
	text := string(files["encode_gen.go"])
	if !strings.Contains(text, "if !e.Trail() {\n\t\te.String(\"zeta\", x.Zeta)") || strings.Contains(text, "if !e.Trail() {\n\t\te.String(\"Kind\"") {
		t.Errorf("another member than zeta is hidden:\n%s", text)
	}
}
