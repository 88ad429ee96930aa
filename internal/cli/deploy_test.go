package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/keyturn/keyturn/internal/server"
)

// root is the checkout's.
const root = "../../"

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// commandVariables are the environment variables of each command's flags.
func commandVariables() map[string][]string {
	known := map[string][]string{}
	for path, leaf := range leaves() {
		known[path] = []string{}
		for _, f := range leaf.Flags {
			known[path] = append(known[path], f.Variable)
		}
	}
	return known
}

// checkVariables compares the KEYTURN_ variables that a file sets or mentions
// with those that serve takes.
func checkVariables(t *testing.T, name, text string) {
	t.Helper()
	found := regexp.MustCompile(`KEYTURN_[A-Z_]+`).FindAllString(text, -1)
	if len(found) == 0 {
		t.Errorf("%s names no variable", name)
	}
	for _, v := range found {
		if !slices.Contains(commandVariables()["serve"], v) {
			t.Errorf("%s: keyturn serve has no variable %s", name, v)
		}
	}
}

// probes are the paths that the server answers for health checks.
var probes = []string{server.ReadyPath, server.LivePath}

// manifests are the Kubernetes objects of deploy/kubernetes by kind and name.
func manifests(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(root + "deploy/kubernetes/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("got %v, %v", files, err)
	}
	all := map[string]map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
			object := map[string]any{}
			err := d.Decode(&object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			name, _ := at(object, "metadata", "name").(string)
			all[object["kind"].(string)+"/"+name] = object
		}
	}
	return all
}

// at follows keys into maps and indexes into lists; nil if there is nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// What the manifests say of the program is so.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	all := manifests(t)
	set := all["StatefulSet/keyturn"]
	pod := at(set, "spec", "template", "spec")
	container := at(pod, "containers", 0)
	port := at(container, "ports", 0, "containerPort")
	given := map[string]string{}
	for i := 0; at(container, "env", i) != nil; i++ {
		given[at(container, "env", i, "name").(string)], _ = at(container, "env", i, "value").(string)
	}
	for name := range at(all["Secret/keyturn"], "stringData").(map[string]any) {
		given[name] = ""
	}
	for name := range given {
		checkVariables(t, "deploy/kubernetes", name)
	}
	if got := given["KEYTURN_LISTEN"]; got != "0.0.0.0:4566" || port != 4566 {
		t.Errorf("the server listens on %s, and the container's port is %v", got, port)
	}
	for _, kind := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		path, _ := at(container, kind, "httpGet", "path").(string)
		if !slices.Contains(probes, path) || at(container, kind, "httpGet", "port") != "https" {
			t.Errorf("%s asks for %q, want one of %v", kind, path, probes)
		}
	}
	if got := at(container, "livenessProbe", "httpGet", "path"); got != server.LivePath {
		t.Errorf("the liveness probe asks for %v: every node would be restarted when the store is away", got)
	}
	for i := 0; at(container, "args", i) != nil; i++ {
		if command := at(container, "args", i).(string); commandVariables()[command] == nil {
			t.Errorf("there is no command %s", command)
		}
	}
	checkTimes(t, pod, container, given)
	checkMounts(t, set, container, given)
	checkSelectors(t, all)
}

// checkTimes sees that a node has the time to stop that it may take.
func checkTimes(t *testing.T, pod, container any, given map[string]string) {
	t.Helper()
	grace, err := time.ParseDuration(given["KEYTURN_GRACE"])
	if err != nil {
		t.Fatal(err)
	}
	pause, _ := at(container, "lifecycle", "preStop", "sleep", "seconds").(int)
	if whole, _ := at(pod, "terminationGracePeriodSeconds").(int); pause <= 0 || grace.Seconds()+float64(pause) >= float64(whole) {
		t.Errorf("a pause of %d s and a grace of %v do not fit into %d s", pause, grace, whole)
	}
}

// checkMounts sees that what the server is told to use is mounted.
func checkMounts(t *testing.T, set map[string]any, container any, given map[string]string) {
	t.Helper()
	volumes := []any{at(set, "spec", "volumeClaimTemplates", 0, "metadata", "name")}
	for i := 0; at(set, "spec", "template", "spec", "volumes", i) != nil; i++ {
		volumes = append(volumes, at(set, "spec", "template", "spec", "volumes", i, "name"))
	}
	var paths []string
	for i := 0; at(container, "volumeMounts", i) != nil; i++ {
		m := at(container, "volumeMounts", i)
		if !slices.Contains(volumes, at(m, "name")) {
			t.Errorf("there is no volume %v", at(m, "name"))
		}
		paths = append(paths, at(m, "mountPath").(string))
	}
	for _, file := range []string{given["KEYTURN_DATA"] + "/x", given["KEYTURN_TLS_CERT"], given["KEYTURN_TLS_KEY"], "/tmp/x"} {
		if !slices.Contains(paths, filepath.Dir(file)) {
			t.Errorf("nothing is mounted for %s", file)
		}
	}
}

// checkSelectors sees that everything that selects pods selects the server's.
func checkSelectors(t *testing.T, all map[string]map[string]any) {
	t.Helper()
	const label = "app.kubernetes.io/name"
	want := at(all["StatefulSet/keyturn"], "spec", "template", "metadata", "labels", label)
	for name, path := range map[string][]any{
		"StatefulSet/keyturn":         {"spec", "selector", "matchLabels", label},
		"PodDisruptionBudget/keyturn": {"spec", "selector", "matchLabels", label},
		"NetworkPolicy/keyturn":       {"spec", "podSelector", "matchLabels", label},
		"Service/keyturn":             {"spec", "selector", label},
		"Service/keyturn-nodes":       {"spec", "selector", label},
	} {
		if got := at(all[name], path...); got != want || want == nil {
			t.Errorf("%s selects %v, and the pods have %v", name, got, want)
		}
	}
	if got := at(all["StatefulSet/keyturn"], "spec", "serviceName"); all["Service/"+got.(string)] == nil {
		t.Errorf("there is no service %v", got)
	}
	resources := at(all["Kustomization/"], "resources").([]any)
	files, _ := filepath.Glob(root + "deploy/kubernetes/*.yaml")
	if len(resources) != len(files)-1 {
		t.Errorf("the kustomization has %d of %d files", len(resources), len(files)-1)
	}
}

// Every variable, command and path that the images name is there.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	checkVariables(t, "Dockerfile", text)
	for _, m := range regexp.MustCompile(`(?m)^COPY (?:--\S+ )*(\S+) .*$`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[0], "--from=") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("%s: %v", m[0], err)
		}
	}
	known := commandVariables()
	for _, m := range regexp.MustCompile(`(?m)^(?:CMD|HEALTHCHECK .* CMD) \[(.*)\]$`).FindAllStringSubmatch(text, -1) {
		words := regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(m[1], -1)
		command := words[len(words)-1][1]
		if known[command] == nil {
			t.Errorf("%s: there is no command %s", m[0], command)
		}
	}
	program := regexp.MustCompile(`ENTRYPOINT \["(\S+)"\]`).FindAllStringSubmatch(text, -1)
	if len(program) != 2 {
		t.Fatalf("got %d entry points, want one for each image", len(program))
	}
	for _, p := range program {
		if !strings.Contains(text, "/out/keyturn "+p[1]+"\n") {
			t.Errorf("nothing is copied to %s", p[1])
		}
	}
	if users := strings.Count(text, "USER 65532:65532"); users != 2 {
		t.Errorf("%d of 2 images have a user that is not root", users)
	}
	if want := "FROM golang:" + regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]; !strings.Contains(text, want) {
		t.Errorf("the image is not built with the Go of go.mod: want %s", want)
	}
}

// The unit starts what there is, with variables that there are.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	unit := read(t, "deploy/systemd/keyturn.service")
	settings := read(t, "deploy/systemd/keyturn.env")
	checkVariables(t, "keyturn.service", unit)
	checkVariables(t, "keyturn.env", settings)
	start := regexp.MustCompile(`(?m)^ExecStart=\S+/keyturn (.*)$`).FindStringSubmatch(unit)
	if start == nil {
		t.Fatal("the unit starts no keyturn")
	}
	if _, err := model().Parse(strings.Fields(start[1])); err != nil {
		t.Errorf("keyturn %s: %v", start[1], err)
	}
	for _, want := range []string{"NoNewPrivileges=yes", "ProtectSystem=strict", "StateDirectoryMode=0700", "LimitCORE=0", "User=keyturn"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the unit lacks %s", want)
		}
	}
	if !strings.Contains(read(t, "deploy/systemd/keyturn.sysusers"), "\nu keyturn ") {
		t.Error("keyturn.sysusers does not make the unit's user")
	}
}
