//go:build linux

package environment

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// botoLayer imitates the parts of botocore that the bootstrap touches, before
// or since it knows AWS_ENDPOINT_URL.
func botoLayer(knows bool) files {
	provider := "class ConfigValueStore: pass\n"
	if knows {
		provider += "class ConfiguredEndpointProvider: pass\n"
	}
	return files{
		"python/botocore/__init__.py":       "",
		"python/botocore/configprovider.py": provider,
		"python/botocore/session.py": `class Model:
    def __init__(self, name): self.service_id = {"secretsmanager": "Secrets Manager", "s3": "S3"}[name]
class Session:
    def get_service_model(self, name): return Model(name)
    def create_client(self, service_name, region_name=None, api_version=None, use_ssl=True, verify=None, endpoint_url=None, key=None):
        return endpoint_url
`,
	}
}

const useBoto = `import botocore.session, os
---
s = botocore.session.Session()
os.environ.update(event.get("env", {}))
args = event.get("args", [])
try:
    return [s.create_client("secretsmanager", *args), s.create_client("s3", **event.get("kwargs", {})), botocore.session.__loader__ is not None]
finally:
    for name in event.get("env", {}): del os.environ[name]`

func TestOldBotoFindsTheEndpoint(t *testing.T) {
	notShort(t)
	k := newKit(t, nil)
	const server = "http://127.0.0.1:4566"
	tests := []struct {
		name, event string
		knows       bool
		want        []any
	}{
		{"from the environment", `{}`, false, []any{server, server, true}},
		{"new versions are left alone", `{}`, true, []any{nil, nil, true}},
		{"a service's own", `{"env":{"AWS_ENDPOINT_URL_SECRETS_MANAGER":"http://own"}}`, false, []any{"http://own", server, true}},
		{"what the code says goes first", `{"args":[null,null,true,null,"http://given"],"kwargs":{"endpoint_url":"http://named"}}`, false,
			[]any{"http://given", "http://named", true}},
		{"positions", `{"args":["us-east-1",null,true,null,null,"key"]}`, false, []any{server, server, true}},
		{"ignored on request", `{"env":{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS":"true"}}`, false, []any{nil, nil, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := &kit{Pool: k.Pool, t: t, logs: k.logs}
			s := spec(t, py(useBoto), func(s *Spec) { s.Layers = []Package{packageOf(botoLayer(test.knows).zip(t))} })
			if diff := cmp.Diff(test.want, decode[[]any](t, []byte(k.value(s, test.event)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestInstalledBoto uses the boto3 that the host's Python has, or the one in
// the folder that KEYTURN_TEST_BOTO3 names, if there is any.
func TestInstalledBoto(t *testing.T) {
	notShort(t)
	k := newKit(t, nil)
	layer := files{"python/none.txt": ""}
	if dir := os.Getenv("KEYTURN_TEST_BOTO3"); dir != "" {
		paths, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			addTree(t, layer, filepath.Dir(path), path)
		}
	}
	s := spec(t, py(`try:
    import boto3
except ImportError:
    boto3 = None
---
return boto3 and [boto3.__version__, boto3.client("secretsmanager").meta.endpoint_url, boto3.Session().client("sts").meta.endpoint_url]`),
		func(s *Spec) { s.Layers = []Package{packageOf(layer.zip(t))} })
	got := k.value(s, "{}")
	t.Logf("boto3: %s", got)
	if list := decode[[]string](t, []byte(got)); list != nil {
		if diff := cmp.Diff([]string{"http://127.0.0.1:4566", "http://127.0.0.1:4566"}, list[1:]); diff != "" {
			t.Errorf("boto3 %s (-want +got):\n%s", list[0], diff)
		}
	}
}

func addTree(t *testing.T, f files, base, path string) {
	t.Helper()
	err := filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(base, path)
		f["python/"+filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
