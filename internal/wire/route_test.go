package wire

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// routes are operations with every kind of path.
func routesForTest() []route {
	ops := map[string]*binding{}
	for name, uri := range map[string]string{
		"CreateFunction": "/2015-03-31/functions", "GetFunction": "/2015-03-31/functions/{FunctionName}",
		"GetConfiguration": "/2015-03-31/functions/{FunctionName}/configuration",
		"GetAlias":         "/2015-03-31/functions/{FunctionName}/aliases/{Name}",
		"GetSpecial":       "/2015-03-31/functions/special", "GetByArn": "/2018-10-31/layers?find=LayerVersion", "ListLayers": "/2018-10-31/layers",
		"ListTags": "/2017-03-31/tags/{Resource}", "GetObject": "/objects/{Bucket}/{Key+}",
	} {
		method := "GET"
		if strings.HasPrefix(name, "Create") {
			method = "POST"
		}
		ops[name] = &binding{model: &Operation{Name: name, Method: method, URI: uri}}
	}
	return newRoutes(ops)
}

func TestMatch(t *testing.T) {
	routes := routesForTest()
	tests := []struct {
		method, path, op string
		labels           []string
	}{
		{"POST", "/2015-03-31/functions", "CreateFunction", nil},
		{"POST", "/2015-03-31/functions/", "CreateFunction", nil},
		{"GET", "/2015-03-31/functions", "", nil},
		{"GET", "/2015-03-31/functions/f", "GetFunction", []string{"f"}},
		{"GET", "/2015-03-31/functions/f/", "GetFunction", []string{"f"}},
		{"GET", "/2015-03-31/functions/special", "GetSpecial", nil},
		{"GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Ar%3A1%3Afunction%3Af", "GetFunction", []string{"arn:aws:lambda:r:1:function:f"}},
		{"GET", "/2015-03-31/functions/a%2Fb/configuration", "GetConfiguration", []string{"a/b"}},
		{"GET", "/2015-03-31/functions/a+b/configuration", "GetConfiguration", []string{"a+b"}},
		{"GET", "/2015-03-31/functions//configuration", "", nil},
		{"GET", "/2015-03-31/functions/f/other", "", nil},
		{"GET", "/2015-03-31/functions/f/aliases/a", "GetAlias", []string{"f", "a"}},
		{"GET", "/2015-03-31/functions/f/aliases/a/b", "", nil},
		{"GET", "/2015-03-31/functions/%zz", "", nil},
		{"DELETE", "/2015-03-31/functions/f", "", nil},
		{"GET", "/2018-10-31/layers", "ListLayers", nil},
		{"GET", "/2018-10-31/layers?find=LayerVersion&Arn=a", "GetByArn", nil},
		{"GET", "/2018-10-31/layers?find=Other", "ListLayers", nil},
		{"GET", "/2017-03-31/tags/arn%3Aa%2Fb", "ListTags", []string{"arn:a/b"}},
		{"GET", "/objects/b/k/l%20m/n", "GetObject", []string{"b", "k/l m/n"}},
		{"GET", "/objects/b", "", nil},
		{"GET", "/", "", nil},
		{"GET", "", "", nil},
	}
	for _, tt := range tests {
		path, query, _ := strings.Cut(tt.path, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		op, labels := match(routes, tt.method, path, values)
		name := ""
		if op != nil {
			name = op.model.Name
		}
		var got []string
		for _, l := range labels {
			got = append(got, l.value)
		}
		if diff := cmp.Diff(tt.labels, got); name != tt.op || diff != "" {
			t.Errorf("%s %s: got %q %v, want %q %v", tt.method, tt.path, name, got, tt.op, tt.labels)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"/2015-03-31/functions/f/aliases/%2F", "/objects/a/b/c", "//", "/2017-03-31/tags/%", "/2018-10-31/layers"} {
		f.Add(s, "find=LayerVersion")
	}
	routes := routesForTest()
	f.Fuzz(func(t *testing.T, path, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		op, labels := match(routes, "GET", path, values)
		if op == nil {
			if labels != nil {
				t.Fatalf("got labels %v without an operation", labels)
			}
			return
		}
		if want := strings.Count(op.model.URI, "{"); len(labels) != want {
			t.Fatalf("%s: got %d labels for %s", path, len(labels), op.model.URI)
		}
		for _, l := range labels {
			if l.value == "" || utf8.ValidString(path) && !strings.Contains(path, "%") && !strings.Contains(path, l.value) {
				t.Fatalf("%s: got label %q", path, l.value)
			}
		}
	})
}
