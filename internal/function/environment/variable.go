package environment

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/function"
)

// variables makes a function's whole environment (AWS: recorded): Lambda's
// own names, what leads AWS clients to this server and its certificates, and
// the user's variables, which may replace any of them that is not reserved.
// Nothing comes from the server's own environment.
func (e *environment) variables(at layout) []string {
	s := e.spec
	v := map[string]string{
		"LANG":                     "en_US.UTF-8",
		"TZ":                       ":UTC",
		"PATH":                     "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:" + at.opt + "/bin",
		"LD_LIBRARY_PATH":          libraryPath(at),
		"PYTHONPATH":               at.runtime,
		"PWD":                      at.task,
		"SHLVL":                    "0",
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS":  "127.0.0.1:2000",
		"_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
		"_AWS_XRAY_DAEMON_PORT":    "2000",
		"AWS_CA_BUNDLE":            at.bundle,
		"SSL_CERT_FILE":            at.bundle,
	}
	if e.runtime.Family != function.Python {
		delete(v, "PYTHONPATH")
	}
	if e.runtime.Family == function.NodeJS {
		v["NODE_PATH"] = nodePath(at, e.runtime.Version)
		v["NODE_EXTRA_CA_CERTS"] = at.bundle
	}
	if at != lambdaLayout {
		v["TMPDIR"] = at.tmp
		v["KEYTURN_OPT"] = at.opt // our bootstraps find layers by it
	}
	if e.pool.cfg.EndpointURL != "" {
		v["AWS_ENDPOINT_URL"] = e.pool.cfg.EndpointURL
	}
	if e.held() {
		for _, u := range e.pool.cfg.ServiceURLs {
			v["AWS_ENDPOINT_URL_"+u.Service] = u.URL
		}
	}
	for name, value := range s.Env {
		if !function.ReservedVariable(name) {
			v[name] = value
		}
	}
	if here := v["AWS_ENDPOINT_URL"]; here != "" && isAWS(v[secretsEndpoint], s.Region) {
		v[secretsEndpoint] = here
	}
	maps.Copy(v, map[string]string{
		"_HANDLER":                        s.Handler,
		"LAMBDA_TASK_ROOT":                at.task,
		"LAMBDA_RUNTIME_DIR":              at.runtime,
		"AWS_LAMBDA_RUNTIME_API":          e.api.address(),
		"AWS_REGION":                      s.Region,
		"AWS_DEFAULT_REGION":              s.Region,
		"AWS_ACCESS_KEY_ID":               e.credentials.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":           e.credentials.SecretAccessKey,
		"AWS_SESSION_TOKEN":               e.credentials.SessionToken,
		"AWS_EXECUTION_ENV":               "AWS_Lambda_" + s.Runtime,
		"AWS_LAMBDA_FUNCTION_NAME":        s.FunctionName,
		"AWS_LAMBDA_FUNCTION_VERSION":     s.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(s.MemoryMB),
		"AWS_LAMBDA_LOG_GROUP_NAME":       s.LogGroup,
		"AWS_LAMBDA_LOG_STREAM_NAME":      e.stream,
		"AWS_LAMBDA_INITIALIZATION_TYPE":  e.initialization(),
		"AWS_LAMBDA_LOG_FORMAT":           map[bool]string{true: "JSON", false: "Text"}[s.json()],
	})
	if s.json() {
		v["AWS_LAMBDA_LOG_LEVEL"] = orDefault(s.LogLevel, "INFO")
	}
	list := make([]string, 0, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !strings.ContainsRune(name+v[name], 0) {
			list = append(list, name+"="+v[name])
		}
	}
	return list
}

// secretsEndpoint is the variable by which AWS's rotation functions are told
// where Secrets Manager is.
const secretsEndpoint = "SECRETS_MANAGER_ENDPOINT"

// isAWS tells whether a URL is AWS's own of Secrets Manager in a region, as
// templates and instructions have it. AWS does not know the credentials that
// functions have here, so it stands for this server.
func isAWS(url, region string) bool {
	host, ok := strings.CutPrefix(strings.TrimSuffix(url, "/"), "https://secretsmanager."+region+".")
	return ok && (host == "amazonaws.com" || host == "amazonaws.com.cn" || host == "api.aws")
}

func libraryPath(at layout) string {
	return strings.Join([]string{
		"/var/lang/lib", "/lib64", "/usr/lib64", at.runtime, at.runtime + "/lib", at.task, at.task + "/lib", at.opt + "/lib",
	}, ":")
}

func nodePath(at layout, major string) string {
	return strings.Join([]string{
		at.opt + "/nodejs/node" + major + "/node_modules", at.opt + "/nodejs/node_modules",
		at.runtime + "/node_modules", at.runtime, at.task,
	}, ":")
}
