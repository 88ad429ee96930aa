// Package internal_test holds the rule of who may import whom.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/keyturn/keyturn/"

// layers names, from the bottom up, the packages of the house. A package may
// import what stands in layers below its own; "x/..." covers x and what is
// below it. Packages of one layer do not import each other, except inside
// one "x/..." family.
var layers = [][]string{
	{"fault", "plaintext", "commandline"},
	{"arn", "schedule", "sigv4", "oidc", "pgserver", "sweep", "manual", "tracing", "release"},
	{"iam", "key/...", "loggroup", "function", "function/egress", "network", "stack", "database", "application"},
	{"secret", "trail", "function/environment", "stack/transform", "stack/record"},
	{"store/...", "wire/..."},
	{"api/..."},
	{"authz"},
	{"invocation", "rekey", "backup", "integrity", "host"},
	{"rotation", "stack/resource"},
	{"stack/engine"},
	{"service/..."},
	{"server"},
	{"demo", "bench"},
	{"cli"},
}

// clients talk to the AWS APIs through the SDK and know nothing of the
// server's inside.
var clients = []string{"admin", "rotate", "rotator/...", "deploy", "doctor/...", "rehearse/..."}

// clientNeeds names what clients may import beside fault, arn, plaintext and
// schedule: other clients, and rules that are pure.
var clientNeeds = map[string][]string{
	"rotator/...":  {"rotator/..."},
	"doctor/...":   {"doctor/...", "rotator/...", "rotate", "iam", "network"},
	"rehearse/...": {"rehearse/...", "doctor/...", "rotator/...", "rotate", "deploy", "pgserver"},
}

// only lists imports that few packages may have, with the packages that may.
var only = map[string][]string{
	"net/http": {
		"sigv4", "oidc", "wire/...", "function/environment", "server", "cli", "console", "demo", "bench", "apitest",
		"admin", "rotate", "rotator/...", "deploy", "doctor/...", "rehearse/...", "key/keeper",
	},
	"database/sql":                          {"store/...", "rotator/..."},
	"modernc.org/sqlite":                    {"store/sqlite"},
	"github.com/jackc/pgx":                  {"store/postgres", "rotator/postgres", "rotator/redshift", "demo", "bench"},
	"github.com/aws/aws-sdk-go-v2":          {"admin", "rotate", "rotator/...", "deploy", "doctor/...", "rehearse/...", "demo", "bench", "apitest", "cli", "server"},
	"github.com/go-sql-driver/mysql":        {"rotator/mysql"},
	"filippo.io/edwards25519":               {"rotator/mysql"},
	"github.com/microsoft/go-mssqldb":       {"rotator/sqlserver"},
	"github.com/sijms/go-ora":               {"rotator/oracle"},
	"go.mongodb.org/mongo-driver":           {"rotator/mongo"},
	"github.com/redis/go-redis":             {"rotator/redis"},
	"github.com/rabbitmq":                   {"rotator/rabbitmq"},
	"github.com/go-ldap":                    {"rotator/directory"},
	"github.com/jcmturner":                  {"rotator/directory"},
	"golang.org/x/crypto/ssh":               {"rotator/ssh"},
	"golang.org/x/crypto/argon2":            {"backup"},
	"gocloud.dev":                           {"key/keeper"},
	"cloud.google.com/go":                   {"key/keeper"},
	"google.golang.org":                     {"key/keeper"},
	"github.com/Azure":                      {"key/keeper"},
	"github.com/hashicorp":                  {"key/keeper"},
	"github.com/go-jose":                    {"oidc"},
	"github.com/landlock-lsm":               {"function/environment"},
	"github.com/prometheus":                 {"server"},
	"go.opentelemetry.io":                   {"tracing"},
	"github.com/hanwen/go-fuse":             {}, // what tests run on
	module + "internal/apitest":             {},
	module + "internal/servicetest":         {},
	module + "internal/oidc/oidctest":       {},
	module + "internal/faultdisk":           {},
	module + "internal/store/storetest":     {},
	module + "internal/rotator/rotatortest": {},
	module + "internal/chaos":               {},
}

// testOnly lists packages that only tests use; chaos is a test that is a
// program.
var testOnly = []string{"apitest", "servicetest", "store/storetest", "oidc/oidctest", "rotator/rotatortest", "chaos", "faultdisk"}

func TestImports(t *testing.T) {
	for pkg, imports := range productImports(t) {
		for _, imp := range imports {
			checkRestricted(t, pkg, imp)
			if dep, ours := strings.CutPrefix(imp, module+"internal/"); ours {
				checkLayer(t, pkg, dep)
			}
		}
	}
}

func checkRestricted(t *testing.T, pkg, imp string) {
	if slices.Contains(testOnly, pkg) {
		return
	}
	for prefix, allowed := range only {
		if imp != prefix && !strings.HasPrefix(imp, prefix+"/") {
			continue
		}
		if !slices.ContainsFunc(allowed, func(p string) bool { return covers(p, pkg) }) {
			t.Errorf("%s imports %s, which only %v may", pkg, imp, allowed)
		}
	}
}

func checkLayer(t *testing.T, pkg, dep string) {
	if slices.Contains(testOnly, pkg) {
		return
	}
	if isClient(pkg) {
		if !slices.Contains([]string{"fault", "arn", "plaintext", "schedule"}, dep) && !clientMay(pkg, dep) {
			t.Errorf("%s is a client and imports %s", pkg, dep)
		}
		return
	}
	from, family := layerOf(pkg)
	to, depFamily := layerOf(dep)
	switch {
	case from < 0:
		t.Errorf("%s stands in no layer", pkg)
	case to < 0 && !isClient(dep):
		t.Errorf("%s, imported by %s, stands in no layer", dep, pkg)
	case to > from, to == from && (family != depFamily || !strings.HasSuffix(family, "/...")):
		t.Errorf("%s imports %s, which is not below it", pkg, dep)
	}
	if covers("service/...", pkg) && covers("service/...", dep) {
		t.Errorf("%s imports %s: services do not know each other", pkg, dep)
	}
}

func clientMay(pkg, dep string) bool {
	for family, needs := range clientNeeds {
		if covers(family, pkg) && slices.ContainsFunc(needs, func(p string) bool { return covers(p, dep) }) {
			return true
		}
	}
	return false
}

func isClient(pkg string) bool {
	return slices.ContainsFunc(clients, func(p string) bool { return covers(p, pkg) })
}

// layerOf returns the layer of a package and the pattern that placed it; -1
// when none does.
func layerOf(pkg string) (int, string) {
	best, pattern := -1, ""
	for i, layer := range layers {
		for _, p := range layer {
			if covers(p, pkg) && len(p) > len(pattern) {
				best, pattern = i, p
			}
		}
	}
	return best, pattern
}

func covers(pattern, pkg string) bool {
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == root || strings.HasPrefix(pkg, root+"/")
	}
	return pkg == pattern
}

// productImports maps each package below this folder to what its files,
// tests aside, import.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return fs.SkipDir // modules of their own, and no part of the program
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[pkg] = append(found[pkg], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 5 {
		t.Fatalf("found only %d packages", len(found))
	}
	return found
}
