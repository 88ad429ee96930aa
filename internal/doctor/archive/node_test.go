package archive_test

import "testing"

func TestNodeHandler(t *testing.T) {
	for _, c := range []struct {
		name, handler string
		files         map[string]string
		file          string
		found         bool
	}{
		{"exports", "index.handler", map[string]string{"index.js": "exports.handler = async e => 1"}, "index.js", true},
		{"module.exports", "index.handler", map[string]string{"index.js": "module.exports = { handler }"}, "index.js", true},
		{"export function", "index.handler", map[string]string{"index.mjs": "export async function handler() {}"}, "index.mjs", true},
		{"export const", "src/app.run", map[string]string{"src/app.mjs": "export const run = 1"}, "src/app.mjs", true},
		{"export list", "index.handler", map[string]string{"index.cjs": "export { main as handler }"}, "index.cjs", true},
		{"a bundler's", "index.handler", map[string]string{"index.js": "__export(src_exports, { handler: () => handler });"}, "index.js", true},
		{"in a comment", "index.handler", map[string]string{"index.js": "// exports.handler = 1\n/* exports.handler */ exports.main = 'exports.handler'"}, "index.js", false},
		{"no file", "index.handler", map[string]string{"app.js": "exports.handler = 1"}, "index.js", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := inspect(t, c.files, c.handler, "nodejs22.x")
			if got.HandlerFile != c.file || got.HandlerFound != c.found || (got.HandlerProblem == "") != c.found {
				t.Errorf("got %q, found %v, %q; want %q, %v", got.HandlerFile, got.HandlerFound, got.HandlerProblem, c.file, c.found)
			}
		})
	}
}

func TestNodeToken(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"passed", "c.send(new PutSecretValueCommand({ SecretId: a, RotationToken: t }))", "yes"},
		{"in short", "c.send(new sdk.PutSecretValueCommand({ SecretId, RotationToken }))", "yes"},
		{"older client", "c.putSecretValue({ SecretId: a, RotationToken: t }, done)", "yes"},
		{"spread in place", "c.putSecretValue({ SecretId: a, ...(t ? { RotationToken: t } : {}) })", "yes"},
		{"not passed", "const t = e.RotationToken\nc.send(new PutSecretValueCommand({ SecretId: a, Value: f({ RotationToken: 1 }) }))", "no"},
		{"commented out", "c.send(new PutSecretValueCommand({ SecretId: a /* , RotationToken: t */ }))", "no"},
		{"spread", "const t = e.RotationToken; c.send(new PutSecretValueCommand({ ...args }))", "unknown"},
		{"a variable", "const p = { RotationToken: t }; c.send(new PutSecretValueCommand(p))", "unknown"},
		{"a variable, never named", "c.send(new PutSecretValueCommand(p))", "no"},
		{"after what looks like a comment", "const r = /[/*]'/g, q = a / b; c.putSecretValue({ RotationToken: t })", "yes"},
		{"none", "class PutSecretValueCommand {}", "unknown"},
		{"in a file that is required", "require('./store')", "yes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"a.js": c.source, "store/index.js": "x.putSecretValue({ RotationToken: t })"}
			if got := show(inspect(t, files, "a.b", "nodejs22.x").PassesToken); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
