package archive_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPythonHandler(t *testing.T) {
	const good = "def lambda_handler(event, context):\n    pass\n"
	for _, c := range []struct {
		name, handler string
		files         map[string]string
		file, problem string
	}{
		{"as usual", "lambda_function.lambda_handler", map[string]string{"lambda_function.py": good}, "lambda_function.py", ""},
		{"in a folder", "src/app.run", map[string]string{"src/app.py": "async def run(e, c): pass"}, "src/app.py", ""},
		{"by dots", "src.app.run", map[string]string{"src/app/__init__.py": "from .x import run"}, "src/app/__init__.py", ""},
		{"assigned", "a.run", map[string]string{"a.py": "run = wrap(\n  go)\n"}, "a.py", ""},
		{"everything imported", "a.run", map[string]string{"a.py": "from b import *\n"}, "a.py", ""},
		{"in a condition", "a.run", map[string]string{"a.py": "if 1:\n\tdef run(e, c): pass\n"}, "a.py", ""},
		{"compiled", "a.run", map[string]string{"a.cpython-39.so": "x"}, "a.py", ""},
		{"no file", "lambda_function.lambda_handler", map[string]string{"app.py": good}, "lambda_function.py", "there is no file lambda_function.py in the package"},
		{"one folder too deep", "lambda_function.lambda_handler", map[string]string{"my/lambda_function.py": good}, "lambda_function.py", "there is no file lambda_function.py in the package"},
		{"no function", "lambda_function.handler", map[string]string{"lambda_function.py": good}, "lambda_function.py", "there is no function handler in lambda_function.py"},
		{"a method", "a.run", map[string]string{"a.py": "class A:\n    def run(self): pass\n    def stop(self): pass\n"}, "a.py", "there is no function run in a.py"},
		{"in a string", "a.run", map[string]string{"a.py": "x = '''\ndef run(e, c): pass\n'''\n# def run(e, c): pass\n"}, "a.py", "there is no function run in a.py"},
		{"no dot", "handler", map[string]string{"handler.py": good}, "", "the handler names no file and function: it has to be FILE.FUNCTION"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := inspect(t, c.files, c.handler, "python3.12")
			if got.HandlerFile != c.file || got.HandlerProblem != c.problem || got.HandlerFound != (c.problem == "") {
				t.Errorf("got %q, found %v, %q; want %q, %q", got.HandlerFile, got.HandlerFound, got.HandlerProblem, c.file, c.problem)
			}
		})
	}
}

func TestPythonToken(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"passed", "c.put_secret_value(SecretId=a, RotationToken=event['RotationToken'])", "yes"},
		{"on many lines, after a comment", "c.put_secret_value(  # RotationToken is below\n  SecretId=f(a, b),\n  RotationToken=t)", "yes"},
		{"not passed", "c.put_secret_value(SecretId=a, SecretString=json.dumps({'x': [1, 2]}))", "no"},
		{"in a comment only", "c.put_secret_value(SecretId=a) # RotationToken=t", "no"},
		{"commented out", "c.put_secret_value(SecretId=a,\n#  RotationToken=t\n)", "no"},
		{"read and not passed", "t = event['RotationToken']\nc.put_secret_value(SecretId=a)", "no"},
		{"in another call's arguments", "c.put_secret_value(SecretId=f(RotationToken=1))", "no"},
		{"in a dictionary in place", "c.put_secret_value(**{'RotationToken': t})", "yes"},
		{"in a dictionary that is built", "kw = {}\nkw['RotationToken'] = t\nc.put_secret_value(SecretId=a, **kw)", "yes"},
		{"in an unknown dictionary", "t = event['RotationToken']\nc.put_secret_value(**args(t))", "unknown"},
		{"in an unknown dictionary, never named", "c.put_secret_value(**kw)", "no"},
		{"by another name", "put = c.put_secret_value\nput(RotationToken=t)", "unknown"},
		{"one of two", "if t: c.put_secret_value(RotationToken=t)\nelse: c.put_secret_value()", "unknown"},
		{"none at all", "print('put_secret_value')", "unknown"},
		{"in a module of the package", "import store.values\n", "yes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"a.py": c.source + "\n", "store/__init__.py": "", "store/values.py": "from . import more\n", "store/more.py": "c.put_secret_value(RotationToken=1)"}
			if got := show(inspect(t, files, "a.b", "python3.12").PassesToken); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestImports(t *testing.T) {
	source := `
import json, os.path as p, boto3
import pg, \
    psycopg2.extras as extras
from sqlalchemy import (create_engine,
    text)
from . import sibling
import helper, native, lib, tomllib, distutils
try:
    import orjson
except ImportError:
    orjson = None
try:
    import needed
except ValueError:
    raise
if typing.TYPE_CHECKING:
    import typed
def f():
    import later
'import quoted'
`
	files := map[string]string{
		"a.py": source, "helper.py": "import deep", "native.cpython-39-x86_64-linux-gnu.so": "x", "lib/x.py": "import never", "sibling.py": "",
		"psycopg2/__init__.py": "import psycopg_needs", "psycopg2_binary-2.9.dist-info/top_level.txt": "psycopg2\n",
	}
	got := inspect(t, files, "a.b", "python3.9").Imports
	if want := []string{"deep", "needed", "pg", "sqlalchemy", "tomllib"}; !cmp.Equal(got, want) {
		t.Errorf("python3.9: got %v, want %v", got, want)
	}
	got = inspect(t, files, "a.b", "python3.12").Imports
	if want := []string{"deep", "distutils", "needed", "pg", "sqlalchemy"}; !cmp.Equal(got, want) {
		t.Errorf("python3.12: got %v, want %v", got, want)
	}
}

func TestUnfinished(t *testing.T) {
	source := `
def create_secret(c, a, t):
    c.put_secret_value(SecretId=a)
def set_secret(c, a, t):
    """Sets it."""
    # to do
    logger.info("x")
    raise NotImplementedError
async def testSecret(c, a, t): raise NotImplementedError("later")
def finish_secret(c, a, t):
    if t is None:
        raise NotImplementedError
    c.update_secret_version_stage()
`
	got := inspect(t, map[string]string{"a.py": source}, "a.b", "python3.12").Unfinished
	if want := []string{"setSecret", "testSecret"}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// handlerLike is a program of the shape of a database template, with texts of
// its own.
func handlerLike(engine, driver, connect string, texts ...string) string {
	return "import " + driver + "\n" + `
def lambda_handler(event, context): pass
def create_secret(c, a, t): c.put_secret_value(SecretId=a)
def set_secret(c, a, t): pass
def test_secret(c, a, t): pass
def finish_secret(c, a, t): pass
def get_secret_dict(c, a, s):
    raise KeyError("Database engine must be set to '` + engine + `' in order to use this rotation lambda")
def get_connection(d):
    return ` + connect + "\ntexts = ['''" + strings.Join(texts, "''', '''") + "''']\n"
}

func TestTemplates(t *testing.T) {
	const steps = "def create_secret(): go()\ndef set_secret(): go()\ndef test_secret(): go()\ndef finish_secret(): go()\n"
	for _, c := range []struct{ source, template, strategy, tls string }{
		{handlerLike("postgres", "pgdb", "pgdb.connect(host=h, sslmode='verify-full')"), "SecretsManagerRDSPostgreSQLRotationSingleUser", "single", "yes"},
		{handlerLike("postgres", "pgdb", "pgdb.connect(host=h)", "Unable to clone user"), "SecretsManagerRDSPostgreSQLRotationMultiUser", "alternating", "no"},
		{handlerLike("mysql", "pymysql", "pymysql.connect(h, ssl=x)"), "SecretsManagerRDSMySQLRotationSingleUser", "single", "yes"},
		{handlerLike("mysql", "pymysql", "pymysql.connect(h)"), "SecretsManagerRDSMySQLRotationSingleUser", "single", "no"},
		{handlerLike("mariadb", "pymysql", "pymysql.connect(h)", "_clone"), "SecretsManagerRDSMariaDBRotationMultiUser", "alternating", "no"},
		{handlerLike("oracle", "oracledb", "oracledb.connect('(PROTOCOL=tcps)')", "_CLONE"), "SecretsManagerRDSOracleRotationMultiUser", "alternating", "yes"},
		{handlerLike("sqlserver", "pymssql", "pymssql.connect(h)"), "SecretsManagerRDSSQLServerRotationSingleUser", "single", "no"},
		{handlerLike("db2", "ibm_db", "ibm_db.connect(h)"), "SecretsManagerRDSDb2RotationSingleUser", "single", "no"},
		{handlerLike("mongo", "pymongo", "MongoClient(h, ssl=True)", "current user or clone"), "SecretsManagerMongoDBRotationMultiUser", "alternating", "yes"},
		{handlerLike("redshift", "pgdb", "pgdb.connect(h)"), "SecretsManagerRedshiftRotationSingleUser", "single", "yes"},
		{handlerLike("%s", "pymysql", "pymysql.connect(h)", "in MariaDB DB for"), "SecretsManagerRDSMariaDBRotationSingleUser", "single", "no"},
		{steps + "x = 'testSecret: user did not reached the active status.'", "SecretsManagerElasticacheUserRotation", "", "unknown"},
		{steps + "x = os.environ['DICT_KEY_DIRECTORY']", "SecretsManagerActiveDirectoryRotationSingleUser", "single", "unknown"},
		{steps + "x = 'execute_kinit_command: kinit failed'; y = 'Failed to set keytab for %s/%s keytab(s):'", "SecretsManagerActiveDirectoryAndKeytabRotationSingleUser", "single", "unknown"},
		{steps + "x = 'timestream-influxdb'", "SecretsManagerInfluxDBRotationSingleUser", "single", "unknown"},
		{steps + "x = 'timestream-influxdb', 'AUTHENTICATION_CREATION_ENABLED'", "SecretsManagerInfluxDBRotationMultiUser", "alternating", "unknown"},
		{strings.ReplaceAll(steps, "go()", "raise NotImplementedError"), "SecretsManagerRotationTemplate", "", "unknown"},
		{steps, "", "", "unknown"},
		{"import pgdb\nx = 'Database engine must be set to'", "", "", "unknown"},
	} {
		got := inspect(t, map[string]string{"a.py": c.source}, "a.b", "python3.10")
		if got.Template != c.template || got.Strategy != c.strategy || show(got.TriesTLS) != c.tls {
			t.Errorf("got %q, %q, TLS %s; want %q, %q, %s", got.Template, got.Strategy, show(got.TriesTLS), c.template, c.strategy, c.tls)
		}
	}
}
