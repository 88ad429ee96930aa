package application_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
)

// The names are AWS's, so that its instructions lead here.
var published = []string{
	"SecretsManagerActiveDirectoryAndKeytabRotationSingleUser",
	"SecretsManagerActiveDirectoryRotationSingleUser",
	"SecretsManagerElasticacheUserRotation",
	"SecretsManagerInfluxDBRotationMultiUser",
	"SecretsManagerInfluxDBRotationSingleUser",
	"SecretsManagerMongoDBRotationMultiUser",
	"SecretsManagerMongoDBRotationSingleUser",
	"SecretsManagerRDSDb2RotationMultiUser",
	"SecretsManagerRDSDb2RotationSingleUser",
	"SecretsManagerRDSMariaDBRotationMultiUser",
	"SecretsManagerRDSMariaDBRotationSingleUser",
	"SecretsManagerRDSMySQLRotationMultiUser",
	"SecretsManagerRDSMySQLRotationSingleUser",
	"SecretsManagerRDSOracleRotationMultiUser",
	"SecretsManagerRDSOracleRotationSingleUser",
	"SecretsManagerRDSPostgreSQLRotationMultiUser",
	"SecretsManagerRDSPostgreSQLRotationSingleUser",
	"SecretsManagerRDSSQLServerRotationMultiUser",
	"SecretsManagerRDSSQLServerRotationSingleUser",
	"SecretsManagerRedshiftRotationMultiUser",
	"SecretsManagerRedshiftRotationSingleUser",
	"SecretsManagerRotationTemplate",
}

func TestAll(t *testing.T) {
	var names []string
	for _, a := range application.All() {
		names = append(names, a.Name)
		if found, ok := application.Lookup(a.Name); !ok || found != a {
			t.Errorf("%s is not found by its name", a.Name)
		}
	}
	if diff := cmp.Diff(published, names); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestFind(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1":      "arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRotationTemplate",
		"cn-northwest-1": "arn:aws-cn:serverlessrepo:cn-north-1:193023089310:applications/SecretsManagerRotationTemplate",
		"us-gov-east-1":  "arn:aws-us-gov:serverlessrepo:us-gov-west-1:023102451235:applications/SecretsManagerRotationTemplate",
	} {
		a, ok := application.Find(want)
		if !ok || a.Name != "SecretsManagerRotationTemplate" || a.ARN(region) != want {
			t.Errorf("%s: got %v for %s", region, a, want)
		}
	}
	for _, wrong := range []string{
		"", "SecretsManagerRotationTemplate", "arn:aws:serverlessrepo:us-east-1:297356227824:applications/Nope",
		"arn:aws:serverlessrepo:us-east-1:123456789012:applications/SecretsManagerRotationTemplate",
		"arn:aws:serverlessrepo:us-west-2:297356227824:applications/SecretsManagerRotationTemplate",
		"arn:aws-cn:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRotationTemplate",
		"arn:aws-x:serverlessrepo:::applications/SecretsManagerRotationTemplate",
		"arn:aws:serverlessrepo:us-east-1:297356227824:SecretsManagerRotationTemplate",
	} {
		if a, ok := application.Find(wrong); ok {
			t.Errorf("%q leads to %s", wrong, a.Name)
		}
	}
}

// body reads a template.
type body struct {
	Parameters map[string]struct {
		Type    string
		Default *string
	}
	Conditions map[string]any
	Resources  map[string]struct {
		Type       string
		Properties map[string]any
	}
	Outputs map[string]any
}

// names collects what a template refers to.
func names(v any, refs, conditions map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			names(item, refs, conditions)
		}
	case map[string]any:
		if name, ok := v["Ref"].(string); ok && !strings.HasPrefix(name, "AWS::") {
			refs[name] = true
		}
		if path, ok := v["Fn::GetAtt"].([]any); ok {
			refs[path[0].(string)] = true
		}
		if parts, ok := v["Fn::If"].([]any); ok {
			conditions[parts[0].(string)] = true
		}
		if text, ok := v["Fn::Sub"].(string); ok && strings.Contains(text, "${functionName}") {
			refs["functionName"] = true
		}
		for _, item := range v {
			names(item, refs, conditions)
		}
	}
}

// Every application is a whole template: what it refers to it has, what it
// has it uses, and the parameters are what it says they are.
func TestTemplates(t *testing.T) {
	for _, a := range application.All() {
		t.Run(a.Name, func(t *testing.T) {
			url := application.TemplateURL(a.Name, a.Revision())
			text, ok := application.Template(url)
			if !ok || text != a.Body() {
				t.Fatalf("%s leads to no template", url)
			}
			var b body
			var tree map[string]any
			if json.Unmarshal([]byte(text), &b) != nil || json.Unmarshal([]byte(text), &tree) != nil {
				t.Fatalf("not JSON:\n%s", text)
			}
			refs, conditions := map[string]bool{}, map[string]bool{}
			names(tree, refs, conditions)
			for name := range b.Parameters {
				if !refs[name] && (name != "runtime" || a.Rotator == "") {
					t.Errorf("the parameter %s is not used", name)
				}
				delete(refs, name)
			}
			for name := range refs {
				if _, ok := b.Resources[name]; !ok {
					t.Errorf("the template has no %s", name)
				}
			}
			if got, want := slices.Sorted(maps.Keys(conditions)), slices.Sorted(maps.Keys(b.Conditions)); !slices.Equal(got, want) {
				t.Errorf("got the conditions %v in use, want %v", got, want)
			}
			checkParameters(t, a, b)
			checkFunction(t, a, b.Resources[a.Name].Properties)
			checkRole(t, a, b.Resources[a.Name+"Role"].Properties)
			if b.Outputs["RotationLambdaARN"] == nil {
				t.Error("the template has no output RotationLambdaARN")
			}
		})
	}
}

func checkParameters(t *testing.T, a *application.Application, b body) {
	for _, p := range a.Parameters() {
		got := b.Parameters[p.Name]
		if got.Type != p.Type || (got.Default == nil) != (p.Default == nil) {
			t.Errorf("got the parameter %s as %v, want %v", p.Name, got, p)
		}
		for _, by := range p.ReferencedBy {
			r := b.Resources[by]
			if raw, _ := json.Marshal(r.Properties); !strings.Contains(string(raw), p.Name) && !strings.Contains(string(raw), strings.ToUpper(p.Name[:1])+p.Name[1:]) {
				if p.Name != "functionName" { // others have the function's ARN
					t.Errorf("%s does not use %s", by, p.Name)
				}
			}
		}
	}
	if len(b.Parameters) != len(a.Parameters()) {
		t.Errorf("got %d parameters, want %d", len(b.Parameters), len(a.Parameters()))
	}
	for _, name := range []string{"endpoint", "functionName"} {
		if b.Parameters[name].Default != nil {
			t.Errorf("%s can be left out", name)
		}
	}
	if want := strings.Contains(a.Name, "MultiUser") || strings.Contains(a.Name, "Db2"); a.Takes("masterSecretArn") != want {
		t.Errorf("takes masterSecretArn: got %v, want %v", !want, want)
	}
}

func checkFunction(t *testing.T, a *application.Application, f map[string]any) {
	if a.Rotator != "" {
		if _, ok := builtin.New(a.Rotator); !ok || f["Handler"] != builtin.Handler(a.Rotator) || f["Runtime"] != "provided.al2023" {
			t.Errorf("the rotator %s: handler %v, runtime %v", a.Rotator, f["Handler"], f["Runtime"])
		}
	} else if f["Handler"] != "lambda_function.lambda_handler" {
		t.Errorf("got the handler %v", f["Handler"])
	}
	code := f["Code"].(map[string]any)
	packed, ok := application.CodeAt(code["S3Bucket"].(string), code["S3Key"].(string))
	if !ok || !bytes.Equal(packed, a.Code()) {
		t.Fatalf("%v is not the code", code)
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || len(z.File) != 1 {
		t.Fatalf("the code is no zip of one file: %v", err)
	}
	wantFile := map[bool]string{true: "README.txt", false: "lambda_function.py"}[a.Rotator != ""]
	if z.File[0].Name != wantFile {
		t.Errorf("got the file %s, want %s", z.File[0].Name, wantFile)
	}
}

// checkRole reads every policy, with its variables as they are, as IAM does.
func checkRole(t *testing.T, a *application.Application, role map[string]any) {
	if len(role["Policies"].([]any)) < 3 {
		t.Errorf("got %d policies", len(role["Policies"].([]any)))
	}
	for _, p := range role["Policies"].([]any) {
		if parts, ok := p.(map[string]any)["Fn::If"].([]any); ok {
			p = parts[1]
		}
		raw, _ := json.Marshal(plain(p.(map[string]any)["PolicyDocument"]))
		d, err := iam.ParseDocument(string(raw))
		if err == nil {
			err = d.CheckIdentity()
		}
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, arn := range role["ManagedPolicyArns"].([]any) {
		if _, ok := iam.ManagedPolicyByARN(arn.(string)); !ok {
			t.Errorf("there is no policy %s", arn)
		}
	}
}

// plain puts an ARN where CloudFormation would.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		if v["Ref"] != nil || v["Fn::Sub"] != nil {
			return "arn:aws:secretsmanager:us-east-1:123456789012:secret:x"
		}
		for key := range v {
			v[key] = plain(v[key])
		}
	}
	return v
}

func TestTemplateOf(t *testing.T) {
	const name = "SecretsManagerRotationTemplate"
	for url, want := range map[string]bool{
		application.TemplateURL(name, ""):                                                    true,
		application.TemplateURL(name, "1.1.60"):                                              true,
		"http://127.0.0.1:4566" + application.TemplatePath(name, "1.1.9999"):                 true,
		"ftp://127.0.0.1:4566" + application.TemplatePath(name, ""):                          false,
		"https://s3.amazonaws.com/bucket/template.json":                                      false,
		application.Base + application.TemplatePath("Nope", ""):                              false,
		application.TemplateURL(name, "2.0.0"):                                               false,
		application.Base + application.Folder + name:                                         false,
		application.Base + application.Folder + name + "/1.1.60/other/template.json":         false,
		application.Base + application.Folder + "../applications/" + name + "/template.json": false,
		"%": false,
	} {
		if _, ok := application.Template(url); ok != want {
			t.Errorf("%s: got %v, want %v", url, ok, want)
		}
	}
	for _, at := range [][2]string{{"b", "SecretsManagerRotationTemplate/x.zip"}, {application.Bucket, "x.zip"}, {application.Bucket, "Nope/x.zip"}, {application.Bucket, name + "/a/b.zip"}} {
		if _, ok := application.CodeAt(at[0], at[1]); ok {
			t.Errorf("%v holds code", at)
		}
	}
}

func TestVersions(t *testing.T) {
	a, _ := application.Lookup("SecretsManagerRDSMySQLRotationSingleUser")
	for _, v := range append(a.Versions(), "1.1.9999") {
		if !a.Has(v) {
			t.Errorf("%s cannot be asked for", v)
		}
	}
	for _, v := range []string{"", "1.1", "2.0.0", "1.1.x", "1.1.1.1", "1.1.1-1"} {
		if a.Has(v) {
			t.Errorf("%s can be asked for", v)
		}
	}
	if revision := a.Revision(); !strings.HasPrefix(revision, a.Latest()+"-") || revision != a.Revision() {
		t.Errorf("got the revision %s", revision)
	}
	b, _ := application.Lookup("SecretsManagerRDSMySQLRotationMultiUser")
	if a.Revision() == b.Revision() {
		t.Error("two templates have the same revision")
	}
}

// The generic function's source is the example's, whole.
func TestGenericCode(t *testing.T) {
	a, _ := application.Lookup("SecretsManagerRotationTemplate")
	packed := a.Code()
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	want, missing := examples.Files.ReadFile("rotation-template/lambda_function.py")
	if err != nil || missing != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d: %v, %v", len(got), len(want), err, missing)
	}
}
