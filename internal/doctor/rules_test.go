package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/network"
)

const ms = time.Millisecond

// cases has for every rule evidence in which it comes first, and for most a
// near miss in which another does.
var cases = []struct {
	name, want string
	e          *Evidence
}{
	// Before and at RotateSecret.
	{"function without statement", "D20", well(function(func(f *Function) { f.Policy = "" }))},
	{"asked, function without statement", "D20", well(function(func(f *Function) { f.Policy = "" }), asked("AccessDeniedException", "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."))},
	{"condition of another account", "D20", well(function(func(f *Function) { f.Policy = closedPolicy }))},
	{"function gone", "D20", well(function(func(f *Function) { f.Found = false }))},
	{"keyturn: refused in setSecret", "D20", well(onKeyturn(stepSet, "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."), function(func(f *Function) { f.Policy = "" }))},
	{"refused in the trail, rotation not set up", "D20", well(secret(func(s *Secret) { s.RotationEnabled, s.FunctionARN = nil, "" }), func(e *Evidence) {
		e.Function, e.Invocations, e.Reports = nil, nil, nil
		e.Events = []Event{{Name: "RotateSecret", At: e.At.Add(-time.Minute), ErrorCode: "AccessDenied", FunctionARN: "arn:aws:lambda:us-east-1:123456789012:function:fn",
			ErrorMessage: "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com."}}
	})},
	{"no function named", "D21", well(asked("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret."), secret(func(s *Secret) { s.RotationEnabled, s.FunctionARN = nil, "" }), func(e *Evidence) { e.Function = nil })},
	{"previous not complete, cause unknown", "D22", well(func(e *Evidence) { stuckOn(e, true); e.Events = nil; e.At = began.Add(30 * time.Hour) }, asked("InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted."))},
	{"previous not complete, cause known", "D11", well(failedIn(stepSet, 300*ms, unableLogin), probe("here", labelCurrent, "auth", "authentication"), asked("InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted."))},
	{"caller refused", "D23", well(asked("AccessDeniedException", "User: arn:aws:iam::111122223333:user/ops is not authorized to perform: secretsmanager:RotateSecret on resource: "+secretARN))},
	{"schedule", "D24", well(asked("InvalidParameterException", "Invalid schedule expression."))},
	{"both schedules", "D25", well(asked("InvalidParameterException", "You cannot specify both rotation frequency and schedule expression together."))},
	{"deleted", "D26", well(secret(func(s *Secret) { s.DeletedAt = began.AddDate(0, 0, 20) }))},
	{"replica, asked", "D26", well(secret(func(s *Secret) { s.PrimaryRegion = "us-east-1" }), asked("InvalidRequestException", "Operation not permitted on a replica secret. Call must be made in primary secret's region."))},
	{"due and not begun", "D27", well(secret(func(s *Secret) { s.NextRotationAt = began.AddDate(0, 0, -2) }))},
	{"no log", "D28", well(silentIn(stepSet))},
	{"function failed", "D28", well(silentIn(stepCreate), function(func(f *Function) { f.State, f.StateReason = "Failed", "SubnetOutOfIPAddresses" }))},
	{"no right to write logs", "D28", well(silentIn(stepSet), func(e *Evidence) {
		e.Role.Decisions = []Decision{{Action: "logs:CreateLogStream", Resource: "*", Decision: "implicitDeny"}}
	})},

	// createSecret.
	{"endpoint not reached", "D01", well(failedIn(stepCreate, 30*time.Second, foundLine, timeLine), closed("secretsmanager", network.StageEndpoint))},
	{"endpoint not reached, network unknown", "D01", well(failedIn(stepCreate, 30*time.Second, foundLine, timeLine))},
	{"rotator hangs and says nothing", "D01", well(failedIn(stepCreate, 30*time.Second, timeLine), byRotator("postgres.single"), closed("secretsmanager", network.StageRoute))},
	{"endpoint of another Region", "D01", well(failedIn(stepCreate, 700*ms, foundLine, "[ERROR] ClientError: An error occurred (UnrecognizedClientException) when calling the DescribeSecret operation: The security token included in the request is invalid."),
		function(func(f *Function) {
			f.Variables["SECRETS_MANAGER_ENDPOINT"] = "https://secretsmanager.us-east-1.amazonaws.com"
		}))},
	{"endpoint variable missing", "D01", well(failedIn(stepCreate, 90*ms, "[ERROR] KeyError: 'SECRETS_MANAGER_ENDPOINT'"))},
	{"cut off after createSecret", "D02", well(failedIn(stepCreate, 30*time.Second, foundLine, "[INFO] createSecret: reading", timeLine))},
	{"answers lost after createSecret", "D02", well(failedIn(stepCreate, 30*time.Second, foundLine, "[INFO] createSecret: reading", timeLine), closed("secretsmanager", network.StageACLBack))},
	{"endpoint policy", "D02", well(failedIn(stepCreate, 300*ms, "[ERROR] ClientError: An error occurred (AccessDeniedException) when calling the GetSecretValue operation: User: "+roleARN+" is not authorized to perform: secretsmanager:GetSecretValue on resource: "+secretARN+" because no VPC endpoint policy allows the secretsmanager:GetSecretValue action"))},
	{"RDS out of reach", "D02", well(failedIn(stepSet, 30*time.Second, foundLine, timeLine), closed("rds", network.StageEndpoint), func(e *Evidence) { e.Superuser = &Superuser{ARN: superARN, Found: true, Service: "rds"} })},
	{"slow statement", "D02", well(failedIn(stepSet, 30*time.Second, foundLine, "[INFO] Successfully established SSL/TLS connection as user 'app' with host: 'db.example.com'", timeLine))},
	{"KMS denied", "D03", well(failedIn(stepCreate, 300*ms, "[ERROR] ClientError: An error occurred (AccessDeniedException) when calling the GetSecretValue operation: Access to KMS is not allowed"))},
	{"key disabled, no failure yet", "D03", well(secret(func(s *Secret) { s.KeyID = "key-1" }), func(e *Evidence) {
		e.Key = &Key{ID: "key-1", Found: true, State: "Disabled", Spec: "SYMMETRIC_DEFAULT"}
	})},
	{"access denied", "D04", well(failedIn(stepCreate, 300*ms, "[ERROR] ClientError: An error occurred (AccessDeniedException) when calling the GetSecretValue operation: User: "+roleARN+" is not authorized to perform: secretsmanager:GetSecretValue on resource: "+secretARN+" because no identity-based policy allows the secretsmanager:GetSecretValue action"))},
	{"access denied, Go", "D04", well(failedIn(stepCreate, 300*ms, "[ERROR]\t2026-03-10T08:00:01.000Z\treq\tcreateSecret: storing the pending value of secret "+secretARN+": operation error Secrets Manager: PutSecretValue, https response error StatusCode: 400, RequestID: 1, api error AccessDeniedException: User: "+roleARN+" is not authorized to perform: secretsmanager:PutSecretValue on resource: "+secretARN), byRotator("postgres.single"))},
	{"key missing", "D05", well(failedIn(stepCreate, 300*ms, `[ERROR] KeyError: 'host key is missing from secret JSON'`))},
	{"engine", "D06", well(failedIn(stepCreate, 300*ms, `[ERROR] KeyError: "Database engine must be set to 'postgres' in order to use this rotation lambda"`))},
	{"not JSON", "D07", well(failedIn(stepCreate, 300*ms, "[ERROR] JSONDecodeError: Expecting value: line 1 column 1 (char 0)"))},
	{"not JSON, rotator", "D07", well(failedIn(stepCreate, 300*ms, "[ERROR]\tt\tr\tcreateSecret: Invalid secret value JSON for secret "+secretARN+": not JSON at byte 1"), byRotator("postgres.single"))},
	{"binary", "D08", well(failedIn(stepCreate, 300*ms, "[ERROR] KeyError: 'SecretString'"))},
	{"binary, rotator", "D08", well(failedIn(stepCreate, 300*ms, "[ERROR]\tt\tr\tcreateSecret: Secret "+secretARN+" holds binary data in its AWSCURRENT version, which cannot be rotated"), byRotator("postgres.single"))},
	{"no current value", "D09", well(failedIn(stepCreate, 300*ms, "[ERROR] ResourceNotFoundException: An error occurred (ResourceNotFoundException) when calling the GetSecretValue operation: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"), secret(func(s *Secret) { delete(s.Labels, labelCurrent) }))},
	{"clone name", "D19", well(failedIn(stepCreate, 300*ms, "[ERROR] ValueError: Unable to clone user, username length with _clone appended would exceed 63 characters"))},
	{"settings", "D29", well(failedIn(stepCreate, 300*ms, "[ERROR] InvalidParameterException: An error occurred (InvalidParameterException) when calling the GetRandomPassword operation: All characters have been excluded from selection."))},
	{"settings, rotator", "D29", well(failedIn(stepCreate, 300*ms, `[ERROR]	t	r	createSecret: The environment variable PASSWORD_LENGTH must be a whole number, and is "many"`), byRotator("postgres.single"))},
	{"foreign writer", "D31", well(silentIn(stepCreate), func(e *Evidence) {
		e.Events[len(e.Events)-1].ErrorMessage = "Pending secret version " + versionT + " for Secret " + secretARN + " was not created by Lambda " + functionARN + ". Remove the AWSPENDING staging label and restart rotation"
	}, by("arn:aws:sts::111122223333:assumed-role/writer/x", Event{ID: "put", Name: "PutSecretValue", At: began.Add(time.Second), Token: versionT}))},
	{"written twice", "D32", well(failedIn(stepCreate, 300*ms, "[ERROR] ResourceExistsException: An error occurred (ResourceExistsException) when calling the PutSecretValue operation: You can't use ClientRequestToken "+versionT+" because that value is already in use for a version of secret "+secretARN+"."))},

	// setSecret: what hides behind one text.
	{"slow login", "D10", well(failedIn(stepSet, 10200*ms, unableLogin))},
	{"login runs out of time", "D10", well(failedIn(stepSet, 30*time.Second, foundLine, timeLine))},
	{"slow login, way closed", "D10", well(failedIn(stepSet, 10200*ms, unableLogin), closed("database", network.StageGroupIn))},
	{"rotator, connection refused", "D10", well(failedIn(stepSet, 300*ms, "[INFO]	t	r	setSecret: Login with the current secret failed (SSL/TLS, user 'app', host 'db.example.com'): TCP: dial tcp 10.0.0.5:5432: connect: connection refused",
		"[ERROR]	t	r	setSecret: Unable to log into database with previous, current, or pending secret of secret arn "+secretARN+": pending: TCP: dial tcp 10.0.0.5:5432: connect: connection refused; current: TCP: dial tcp 10.0.0.5:5432: connect: connection refused"), byRotator("postgres.single"))},
	{"rotator, name not found", "D10", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to log into database with previous, current, or pending secret of secret arn "+secretARN+": pending: DNS: lookup db.example.com: no such host; current: DNS: lookup db.example.com: no such host"), byRotator("postgres.single"))},
	{"short login", "D11", well(failedIn(stepSet, 300*ms, unableLogin))},
	{"short login, probed", "D11", well(failedIn(stepSet, 300*ms, unableLogin), probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPending, "auth", "authentication"))},
	{"rotator, password refused", "D11", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to log into database with previous, current, or pending secret of secret arn "+secretARN+": pending: authentication: password authentication failed for user \"app\" (28P01); current: authentication: password authentication failed for user \"app\" (28P01)"), byRotator("postgres.single"))},
	{"old libpq", "D12", well(failedIn(stepSet, 300*ms, unableLogin), function(func(f *Function) {
		f.Code.Natives = []Native{{Path: "libpq.so.5", LibPQ: "9.4", RunPath: "/usr/local/PostgreSQL-9.4/lib"}}
	}))},
	{"old libpq, login from here works", "D12", well(failedIn(stepSet, 300*ms, unableLogin), probe("here", labelCurrent, "", ""), function(func(f *Function) {
		f.Code.Natives = []Native{{Path: "libpq.so.5", RunPath: "/local/p4clients/PostgreSQL-9.4.x/lib"}}
	}))},
	{"old libpq, but slow", "D10", well(failedIn(stepSet, 20*time.Second, unableLogin), function(func(f *Function) { f.Code.Natives = []Native{{Path: "libpq.so.5", LibPQ: "9.4"}} }))},
	{"TLS enforced", "D13", well(failedIn(stepSet, 300*ms, "[ERROR] Unable to establish SSL/TLS handshake, SSL/TLS is enforced on the host: db.example.com", unableLogin))},
	{"plain refused, ssl false", "D13", well(failedIn(stepSet, 300*ms, unableLogin), func(e *Evidence) {
		e.Values = []Value{{Label: labelCurrent, VersionID: versionC, Object: true, Engine: "postgres", SSL: "false"}}
		e.Probes = []Probe{{Label: labelCurrent, From: "here", Host: "db.example.com", Port: 5432, Engine: "postgres", PlainRefused: true, TLSOffered: true,
			Stages: []Stage{{Name: "dns", OK: true}, {Name: "tcp", OK: true}, {Name: "tls", Cause: "TLS required"}}}}
	})},
	{"no TLS on the server", "D14", well(failedIn(stepSet, 300*ms, "[ERROR] Unable to establish SSL/TLS handshake, SSL/TLS is not enabled on the host: db.example.com", unableLogin))},
	{"certificate of another name", "D14", well(failedIn(stepSet, 300*ms, "[ERROR] Hostname verification failed when estlablishing SSL/TLS Handshake with host: 10.0.0.5", unableLogin))},
	{"current login", "D15", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Unable to log into database using current credentials for secret "+secretARN))},
	{"current login, network", "D10", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to log into database using current credentials for secret "+secretARN+": TCP: dial tcp 10.0.0.5:5432: connect: connection refused"), byRotator("postgres.alternating"))},
	{"superuser's login", "D16", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Unable to log into database using credentials in master secret "+superARN))},
	{"no masterarn", "D17", well(failedIn(stepSet, 300*ms, "[ERROR] KeyError: 'masterarn'"))},
	{"no masterarn, rotator", "D17", well(failedIn(stepCreate, 300*ms, "[ERROR]	t	r	createSecret: masterarn key is missing from secret JSON"), byRotator("postgres.alternating"))},
	{"superuser's secret refused", "D17", well(failedIn(stepSet, 300*ms, "[ERROR] ClientError: An error occurred (AccessDeniedException) when calling the GetSecretValue operation: User: "+roleARN+" is not authorized to perform: secretsmanager:GetSecretValue on resource: "+superARN))},
	{"other host", "D18", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Current database host a.example.com is not the same host as/rds replica of master b.example.com"))},
	{"password policy", "D30", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to set the password of user app for secret arn "+secretARN+": password policy: password is too easy to crack (22023)"), byRotator("postgres.single"))},
	{"other user", "D33", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Attempting to modify user new other than current user app"))},
	{"other user than the previous one: the current login had failed", "D11", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Attempting to modify user app other than previous valid user old"))},
	{"other host than the previous one, rotator", "D10", well(failedIn(stepSet, 300*ms, "[INFO]	t	r	setSecret: Login with the current secret failed (SSL/TLS, user 'app', host 'db.example.com'): TCP: dial tcp 10.0.0.5:1: connect: connection refused",
		"[ERROR]	t	r	setSecret: Attempting to modify user for host db.example.com other than previous valid host db.example.com"), byRotator("postgres.single"))},
	{"statement refused", "D34", well(failedIn(stepSet, 300*ms, "[ERROR] ProgrammingError: ERROR:  permission denied to alter role"))},
	{"read-only", "D34", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to set the password of user app for secret arn "+secretARN+": read-only: cannot execute ALTER ROLE in a read-only transaction (25006)"), byRotator("postgres.single"))},
	{"RDS API refuses", "D35", well(failedIn(stepSet, 300*ms, "[ERROR] Exception: Encountered API error while fetching connection parameters from DescribeDBInstances RDS API: An error occurred (AccessDenied) when calling the DescribeDBInstances operation"))},
	{"not implemented", "D36", well(failedIn(stepSet, 20*ms, "[ERROR] NotImplementedError"))},
	{"cache user", "D37", well(failedIn(stepTest, 600*time.Second, "[ERROR] ValueError: testSecret: user app associated with secret "+secretARN+" did not reached the active status."), function(func(f *Function) { f.Timeout = 15 * time.Minute }))},
	{"cache user, timeout", "D37", well(failedIn(stepSet, 30*time.Second, foundLine, "[INFO] setSecret: user app not active, waiting.", timeLine))},

	// testSecret, finishSecret, across.
	{"pending login", "D38", well(failedIn(stepTest, 300*ms, "[ERROR] ValueError: Unable to log into database with pending secret of secret ARN "+secretARN))},
	{"configuration test", "D11", well(func(e *Evidence) {
		e.Events = append(e.Events, event("TestRotationStarted", 0, versionT, ""), event("TestRotationFailed", 2*time.Second, versionT, "Error when executing lambda "+functionARN+" during testSecret step"))
		e.Invocations = append(e.Invocations, invocation(stepTest, time.Second, 300*ms, "[ERROR] ValueError: Unable to log into database with pending secret of secret ARN "+secretARN))
	})},
	{"finish refused", "D39", well(failedIn(stepFinish, 300*ms, "[ERROR] ClientError: An error occurred (AccessDeniedException) when calling the UpdateSecretVersionStage operation: User: "+roleARN+" is not authorized to perform: secretsmanager:UpdateSecretVersionStage on resource: "+secretARN))},
	{"current moved meanwhile", "D39", well(failedIn(stepFinish, 300*ms, "[ERROR] InvalidParameterException: An error occurred (InvalidParameterException) when calling the UpdateSecretVersionStage operation: The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version x, so you must explicitly reference that version in RemoveFromVersionId."))},
	{"AWSCURRENT moved by a wrong id", "D39", well(failedIn(stepFinish, 300*ms, "[ERROR] ResourceNotFoundException: An error occurred (ResourceNotFoundException) when calling the UpdateSecretVersionStage operation: Secrets Manager can't find the specified secret version."))},
	{"label moved", "D40", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Secret version "+versionT+" not set as AWSPENDING for rotation of secret "+secretARN+"."))},
	{"cancelled", "D41", well(failedIn(stepSet, 300*ms, "[ERROR] ValueError: Secret "+secretARN+" is not enabled for rotation"), secret(func(s *Secret) { s.RotationEnabled = new(false) }))},
	{"cancelled, nothing in the log", "D41", well(func(e *Evidence) { stuckOn(e, true); e.At = began.Add(48 * time.Hour) }, secret(func(s *Secret) { s.RotationEnabled = new(false) }))},
	{"current already", "D42", well(func(e *Evidence) {
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""), event("RotationSucceeded", 5*time.Second, versionT, ""))
		e.Invocations = append(e.Invocations, invocation(stepCreate, time.Second, 300*ms, "[INFO] Secret version "+versionT+" already set as AWSCURRENT for secret "+secretARN+"."))
	})},
	{"abandoned", "D43", well(func(e *Evidence) {
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""), event("RotationAbandoned", 5*time.Second, versionT, ""))
	}, by("arn:aws:iam::111122223333:user/ci", Event{ID: "put", Name: "PutSecretValue", At: began.Add(2 * time.Second), Token: versionP}))},
	{"throttled", "D44", well(silentIn(stepSet), function(func(f *Function) { f.Reserved = new(int32(1)) }))},
	{"throttled, engine", "D44", well(onKeyturn(stepCreate, "Rate Exceeded."), function(func(f *Function) { f.Reserved = new(int32(0)) }))},
	{"role's calls", "D45", well(silentIn(stepCreate), func(e *Evidence) {
		e.Gaps = append(e.Gaps, Gap{Action: "logs:FilterLogEvents", Error: "AccessDeniedException", Denied: true, Missing: "the function's log"})
	}, by("arn:aws:sts::111122223333:assumed-role/rot-pg-role/rot-pg", Event{ID: "get", Name: "GetSecretValue", Source: "secretsmanager.amazonaws.com", At: began.Add(time.Second), ErrorCode: "AccessDeniedException", ErrorMessage: "no"}))},
	{"current dead", "D46", well(probe("here", labelCurrent, "auth", "authentication"), probe("here", labelPrevious, "", ""))},
	{"every second", "D47", well(func(e *Evidence) {
		e.Function.Code.Strategy = "alternating"
		e.Events = nil
		for i, name := range []string{"RotationFailed", "RotationSucceeded", "RotationFailed", "RotationSucceeded"} {
			e.Events = append(e.Events, event(name, time.Duration(i-200)*time.Hour, strings.Repeat(string(rune('a'+i)), 36), ""))
		}
	})},
	{"stuck, nothing known", "D48", well(func(e *Evidence) { stuckOn(e, true); e.Events = nil; e.At = began.Add(30 * time.Hour) })},

	// Runtime.
	{"runtime changed in place", "D49", well(failedIn(stepCreate, 20*ms, "[ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': No module named '_pg'"), function(func(f *Function) {
		f.Code.Natives = []Native{{Path: "_pg.cpython-37m-x86_64-linux-gnu.so", Python: "3.7"}}
	}))},
	{"handler missing", "D49", well(failedIn(stepCreate, 20*ms, "[ERROR] Runtime.HandlerNotFound: Handler 'main' missing on module 'lambda_function'"))},
	{"old Python", "D50", well(function(func(f *Function) { f.Runtime = "python3.7" }))},
	{"Python 3.9", "D51", well(function(func(f *Function) { f.Runtime = "python3.9" }))},
	{"out of memory", "D52", well(failedIn(stepCreate, 300*ms, "RequestId: 1 Error: Runtime exited with error: signal: killed", "Runtime.ExitError"), func(e *Evidence) { e.Invocations[len(e.Invocations)-1].MaxMemoryMB = 128 })},
	{"GLIBC", "D53", well(failedIn(stepCreate, 300*ms, "[ERROR] Runtime.ImportModuleError: Unable to import module 'lambda_function': /lib64/libc.so.6: version `GLIBC_2.34' not found (required by /var/task/_pg.so)"))},

	// Keyturn's own.
	{"held", "K01", well(byRotator("postgres.alternating"), func(e *Evidence) {
		stuckOn(e, true)
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""))
		e.Reports = []Report{{At: began, Token: versionT, Status: "started"}, {At: began.Add(2 * time.Second), Token: versionT, Status: "held", Step: stepSet, Error: "the function waits until 2026-03-11T08:00:00Z for arn:aws:iam::111122223333:role/web to read the secret again"}}
	})},
	{"hold over", "K02", well(byRotator("postgres.alternating"), func(e *Evidence) {
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""), event("RotationSucceeded", 9*time.Second, versionT, ""))
		e.Invocations = append(e.Invocations, invocation(stepSet, time.Second, 300*ms, "[WARNING]	t	r	setSecret: The hold of user app is over. These have not read the secret since its password was replaced: arn:aws:iam::111122223333:role/web"))
	})},
	{"no interpreter", "K03", well(onKeyturn(stepCreate, "The runtime python3.12 needs an interpreter that functions can run, and this host has none. Install Python 3.12, or name its executable with --runtime python3.12=PATH."))},
	{"no confinement", "K04", well(onKeyturn(stepCreate, "Functions cannot run here, because nothing would keep them from the server's files: no Landlock in this kernel."))},
	{"VPC not held", "K05", well(onKeyturn(stepCreate, "The function is in a VPC, and this host cannot hold it to what the VPC allows."))},
	{"role gone", "K06", well(onKeyturn(stepCreate, "The role defined for the function cannot be assumed by Lambda."), func(e *Evidence) { e.Role.Found = false })},
	{"database missing", "K07", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to log into database with previous, current, or pending secret of secret arn "+secretARN+": pending: authentication: password authentication failed (28P01); current: database missing: database \"shop\" does not exist (3D000)"), byRotator("postgres.single"))},
	{"no connection left", "K08", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: Unable to log into database with previous, current, or pending secret of secret arn "+secretARN+": pending: too many connections: sorry, too many clients already (53300); current: too many connections: sorry, too many clients already (53300)"), byRotator("postgres.single"))},
	{"nothing stored", "K09", well(onKeyturn(stepCreate, "The createSecret step returned, but pending secret version "+versionT+" of secret "+secretARN+" has no value"))},
	{"hold may not look", "K10", well(failedIn(stepSet, 300*ms, "[ERROR]	t	r	setSecret: KEYTURN_HOLD needs to know who reads the secret, and the function's role may not look it up: add the statement"), byRotator("postgres.alternating"))},
	{"variables sealed", "K11", well(onKeyturn(stepCreate, "Lambda was unable to decrypt the environment variables because the KMS key used is disabled. Please check the function's KMS key settings."))},
	{"server failed", "K12", well(onKeyturn(stepCreate, "internal error"))},
	{"own error, taken for another step", "K13", well(failedIn(stepSet, 300*ms, "[ERROR] ZeroDivisionError: division by zero\nTraceback (most recent call last):\n  {\"createSecret\": create_secret}[step]()"), func(e *Evidence) {
		e.Invocations[len(e.Invocations)-1].Step = stepCreate
	})},
	{"own error", "K13", well(failedIn(stepSet, 300*ms, "[ERROR] ZeroDivisionError: division by zero"))},
}

func TestRules(t *testing.T) {
	first := map[string]bool{}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			d := Diagnose(tc.e)
			if len(d.Findings) == 0 || d.Findings[0].Code != tc.want {
				t.Fatalf("got %v, want %s first\n%s", codes(d), tc.want, describe(d))
			}
			f := d.Findings[0]
			if f.Cause == "" || f.Title == "" || len(f.Facts) == 0 || len(f.Remedies) == 0 {
				t.Errorf("%s lacks a cause, title, fact or remedy: %+v", f.Code, f)
			}
		})
		first[tc.want] = true
	}
	for _, code := range Codes() {
		if !first[code] {
			t.Errorf("no case in which %s comes first", code)
		}
	}
}
