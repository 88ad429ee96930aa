package archive_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/doctor/archive"
)

// TestCostly opens small packages that are made to cost much: what they cost
// in all has to stay near to what the bounds allow.
func TestCostly(t *testing.T) {
	const (
		most = 400 << 20 // bytes allocated in all, and mostly not at once
		long = time.Minute
		size = 3 << 20
	)
	semicolons := strings.Repeat(";", size)
	for _, c := range []struct {
		name, handler, runtime string
		files                  map[string]string
	}{
		{"a token per byte", "a.handler", "nodejs22.x", map[string]string{
			"a.js": "require('./b');" + semicolons, "b.js": "require('./c');" + semicolons, "c.js": semicolons,
		}},
		{"a token per byte in files without one too many", "a.handler", "nodejs22.x", map[string]string{
			"a.js": "require('./b'), require('./c'); exports.handler = 1" + semicolons[:500_000], "b.js": semicolons[:590_000], "c.js": semicolons[:590_000],
		}},
		{"exports of exports", "a.handler", "nodejs22.x", map[string]string{"a.js": strings.Repeat("exports=", 290_000)}},
		{"lists of exports", "a.handler", "nodejs22.x", map[string]string{"a.js": strings.Repeat("export{", 290_000)}},
		{"calls within calls", "a.handler", "nodejs22.x", map[string]string{"a.js": "exports.handler=1;" + strings.Repeat("a.putSecretValue(", 140_000)}},
		{"statements", "a.handler", "python3.12", map[string]string{"a.py": strings.Repeat("a;", size/2)}},
		{"comments", "a.handler", "python3.12", map[string]string{"a.py": strings.Repeat("#\n", size/2)}},
		{"calls within calls of Python", "a.handler", "python3.12", map[string]string{"a.py": strings.Repeat("a.put_secret_value(", 140_000)}},
		{"spreads", "a.handler", "python3.12", map[string]string{"a.py": "a.put_secret_value(" + strings.Repeat("**b,", 50_000) + ")\n" + strings.Repeat("c=1\n", 100_000)}},
		{"a long name", "a.handler", "python3.12", map[string]string{"a.py": "import a" + strings.Repeat(".a", 290_000)}},
		{"steps within steps", "a.handler", "python3.12", map[string]string{"a.py": nested(2000)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := pack(t, c.files)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			if _, err := archive.Inspect(data, c.handler, c.runtime); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			t.Logf("a package of %d bytes: %d bytes allocated, %v", len(data), after.TotalAlloc-before.TotalAlloc, took)
			if cost := after.TotalAlloc - before.TotalAlloc; cost > most || took > long {
				t.Errorf("a package of %d bytes cost %d bytes and %v, want at most %d and %v", len(data), cost, took, most, long)
			}
		})
	}
}

// nested is Python with functions within each other.
func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "def create_secret():\n")
	}
	return b.String()
}

// TestTooManyTokens tells nothing of source that was not looked at.
func TestTooManyTokens(t *testing.T) {
	large := strings.Repeat(";", 1<<20)
	got := inspect(t, map[string]string{
		"a.js": "exports.handler = 1; require('./b'); c.putSecretValue({ SecretId: 1 })", "b.js": large,
	}, "a.handler", "nodejs22.x")
	if !got.Truncated || !got.HandlerFound || got.PassesToken != nil {
		t.Errorf("a script beyond the bound beside the handler: got truncated %v, found %v, token %s", got.Truncated, got.HandlerFound, show(got.PassesToken))
	}
	got = inspect(t, map[string]string{
		"a.py": "import b\ndef handler(): c.put_secret_value(SecretId=1)\n", "b.py": strings.Repeat("a;", 1<<20),
	}, "a.handler", "python3.12")
	if !got.Truncated || !got.HandlerFound || got.PassesToken != nil || len(got.Imports) > 0 {
		t.Errorf("a module beyond the bound beside the handler: got truncated %v, found %v, token %s, missing %v",
			got.Truncated, got.HandlerFound, show(got.PassesToken), got.Imports)
	}
}
