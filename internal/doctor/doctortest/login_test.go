package doctortest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
)

// restored makes the user's password what the secret says.
func restored(p *patient) {
	p.exec("ALTER USER $USER PASSWORD '" + p.user.Password + "' LOGIN VALID UNTIL 'infinity' CONNECTION LIMIT -1")
}

func altered(how string) func(*patient) {
	return func(p *patient) { p.exec("ALTER USER $USER " + how) }
}

var untrusting struct {
	sync.Once
	server *pgserver.Server
	err    error
}

// withoutTLS is a database server that knows no TLS.
func withoutTLS(t testing.TB) *pgserver.Server {
	t.Helper()
	untrusting.Do(func() { untrusting.server, untrusting.err = pgserver.Start(context.Background(), pgserver.Config{}) })
	if untrusting.err != nil {
		t.Fatal(untrusting.err)
	}
	return untrusting.server
}

// loginFaults are those between function and database.
func loginFaults() []fault {
	proxied := plan{throughProxy: true}
	badLogin := func(name, code, how string) []fault {
		return []fault{
			{name: name, code: code, ill: altered(how), cure: restored},
			{name: name, code: code, ill: altered(how), cure: restored, probe: true},
		}
	}
	list := []fault{
		{name: "the database's port is closed", code: "D10", plan: proxied,
			ill: func(p *patient) { p.proxy.Refuse() }, cure: func(p *patient) { p.proxy.Forward(p.t) }},
		{name: "the network swallows the way to the database", code: "D10", plan: proxied,
			ill: func(p *patient) { p.proxy.Swallow() }, cure: func(p *patient) { p.proxy.Forward(p.t) }},
		{name: "the host's name does not resolve", code: "D10", plan: valued(map[string]any{"host": "db.invalid"}), cure: puts},
		{name: "the host's name does not resolve", code: "D10", plan: valued(map[string]any{"host": "db.invalid"}), cure: puts, probe: true},
		{name: "the database demands TLS, the secret says ssl false", code: "D13", plan: valued(map[string]any{"ssl": false}), cure: puts},
		{name: "the secret demands TLS, the database has none", code: "D14",
			plan: plan{value: func(p *patient) string {
				p.db = withoutTLS(p.t)
				p.user = apitest.NewUser(p.t, p.db)
				return p.with(nil)
			}},
			cure: func(p *patient) { p.put(p.with(map[string]any{"ssl": false})) }},
		{name: "the database is missing", code: "K07", plan: valued(map[string]any{"dbname": "nowhere"}), cure: puts},
		{name: "the database is missing", code: "K07", plan: valued(map[string]any{"dbname": "nowhere"}), cure: puts, probe: true},
		{name: "the user has no connections left", code: "K08", ill: altered("CONNECTION LIMIT 0"), cure: restored},
		{name: "the user's sessions are read-only", code: "D34", ill: altered("SET default_transaction_read_only = on"),
			cure: altered("RESET default_transaction_read_only")},
		{name: "setSecret sets another password than it stored", code: "D38",
			plan: plan{code: edited(`sql.Literal(pending["password"])`, `sql.Literal("Other-Password-3")`)},
			cure: func(p *patient) {
				p.recode(postgres)
				restored(p)
			}},
		{name: "the pending version is of another user", code: "D33",
			plan: plan{code: edited(`    current["password"] =`, `    current["username"] = "somebody_else"`+"\n"+`    current["password"] =`)},
			cure: func(p *patient) {
				p.recode(postgres)
				p.unlabel()
			}},
		{name: "finishSecret is refused after the password was set", code: "D39", probe: true,
			ill: func(p *patient) { p.without("UpdateSecretVersionStage") }, cure: (*patient).recover},
		{name: "a repair by hand gave the user an older password", code: "D46", probe: true,
			act: func(p *patient) {
				p.rotates()
				restored(p)
			},
			cure: func(p *patient) {
				got, err := p.Secrets.GetSecretValue(p.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &p.secret})
				p.must(err)
				p.exec("ALTER USER $USER PASSWORD '" + passwordIn(aws.ToString(got.SecretString)) + "'")
			}},
		{name: "the database refuses passwords that are too short", code: "D30",
			ill: func(p *patient) {
				p.exec("ALTER USER $USER SET session_preload_libraries = 'passwordcheck'")
				p.variables("PASSWORD_LENGTH", "6")
			},
			cure: func(p *patient) {
				p.variables()
				p.unlabel()
			}},
	}
	list = append(list, badLogin("the password was changed in the database", "D11", "PASSWORD 'changed-Password-2'")...)
	list = append(list, badLogin("the user may not log in any more", "D11", "NOLOGIN")...)
	list = append(list, badLogin("the password has expired in the database", "D11", "VALID UNTIL '2001-01-01'")...)
	return list
}

// edited is the example's function with a piece of its source replaced.
func edited(old, with string) func(*testing.T, string) apitest.Function {
	return func(t *testing.T, name string) apitest.Function {
		source := exampleSource(t)
		if !strings.Contains(source, old) {
			t.Fatalf("the example has no %q any more", old)
		}
		return apitest.PythonCode(t, name, strings.ReplaceAll(source, old, with))
	}
}
