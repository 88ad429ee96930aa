package doctor

import (
	"slices"
	"strings"
	"time"
)

// symptom is what a failure looks like: several causes may look the same.
type symptom string

// The symptoms.
const (
	noSymptom         symptom = ""
	cannotInvoke      symptom = "cannot invoke"
	noFunction        symptom = "no function named"
	unfinished        symptom = "previous rotation not complete"
	callerDenied      symptom = "caller refused"
	badSchedule       symptom = "schedule refused"
	bothSchedules     symptom = "two schedules"
	notRotatable      symptom = "not rotatable"
	wrongBuild        symptom = "wrong build"
	noImport          symptom = "module not imported"
	crashed           symptom = "process ended"
	timedOut          symptom = "timed out"
	keyDenied         symptom = "KMS refused"
	variablesSealed   symptom = "variables not decrypted"
	endpointPolicy    symptom = "endpoint policy refused"
	holdDenied        symptom = "hold may not look"
	rdsRefused        symptom = "RDS API"
	superuserDenied   symptom = "superuser's secret refused"
	finishDenied      symptom = "finishSecret refused"
	denied            symptom = "access denied"
	noEndpoint        symptom = "endpoint not reached"
	noMasterARN       symptom = "masterarn missing"
	keyMissing        symptom = "key missing"
	wrongEngine       symptom = "engine"
	binarySecret      symptom = "binary"
	notJSON           symptom = "not JSON"
	noCurrent         symptom = "no current value"
	cloneName         symptom = "clone's name"
	noCharacters      symptom = "password settings"
	foreignWriter     symptom = "foreign writer"
	writtenTwice      symptom = "written twice"
	notImplemented    symptom = "not implemented"
	cacheUser         symptom = "ElastiCache"
	otherUser         symptom = "other user"
	otherHost         symptom = "other host"
	superuserLogin    symptom = "superuser's login"
	currentLogin      symptom = "current login"
	pendingLogin      symptom = "pending login"
	anyLogin          symptom = "login"
	passwordRefused   symptom = "password refused"
	statementRefused  symptom = "statement refused"
	labelsMoved       symptom = "labels moved"
	notEnabled        symptom = "not enabled"
	nothingStored     symptom = "nothing stored"
	notMoved          symptom = "not moved"
	throttledFunction symptom = "throttled"
	noInterpreter     symptom = "no interpreter"
	noConfinement     symptom = "no confinement"
	noHeldVPC         symptom = "VPC not held"
	roleRefused       symptom = "role not assumed"
	serverError       symptom = "internal error"
	stepFailed        symptom = "step failed"
)

// signature is a text by which a symptom shows. The first one of the table
// that any text has counts: the table goes from what says most to what says
// least.
type signature struct {
	of      symptom
	pattern *pattern
	// steps limits it to these; nil for all.
	steps []string
	// service limits it to what services and the engine say: in the function's
	// log, which its code writes, the same words prove nothing.
	service bool
}

func sign(of symptom, text string, steps ...string) signature {
	return signature{of: of, pattern: compiled(text), steps: steps}
}

// served is sign for what only services say.
func served(of symptom, text string) signature {
	s := sign(of, text)
	s.service = true
	return s
}

// signatures are those of AWS's templates, of the services' answers, and of
// Keyturn's own texts.
var signatures = []signature{
	// What the services answer, and what keeps the function from running.
	served(cannotInvoke, `cannot invoke the specified Lambda function`),
	served(noFunction, `No Lambda rotation function ARN is associated|enable rotation on a secret that doesn.t already have a Lambda function ARN`),
	served(unfinished, `previous rotation isn.t complete`),
	served(bothSchedules, `cannot specify both rotation frequency and schedule expression`),
	served(badSchedule, `Invalid schedule expression|Rate in (?:hour|day) should be|Duration (?:must be at least|cannot be greater)|Starting hour and duration must be|AutomaticallyAfterDays must be`),
	served(notRotatable, `marked for deletion|currently marked deleted|not permitted on a replica secret|managed by an AWS service|not supported for a service-managed secret`),
	served(noInterpreter, `needs an interpreter that functions can run|configured for the runtime \S+ cannot run functions`),
	served(noConfinement, `Functions cannot run here, because nothing would keep them`),
	served(noHeldVPC, `this host cannot hold it to what the VPC allows`),
	served(roleRefused, `cannot be assumed by Lambda`),
	served(variablesSealed, `unable to decrypt the environment variables`),
	served(throttledFunction, `Rate [Ee]xceeded|TooManyRequestsException|ConcurrentInvocationLimitExceeded`),
	served(foreignWriter, `was not created by Lambda`),
	served(nothingStored, `The createSecret step returned, but`),
	served(notMoved, `The finishSecret step returned, but`),
	// The package and the process.
	sign(wrongBuild, "version [`'\"]?GLIBC|GLIBC_[0-9.]+['\" ]* not found|invalid ELF header|wrong ELF class|cannot open shared object file|Exec format error|exec format error|undefined symbol"),
	sign(noImport, `Unable to import module|ModuleNotFoundError|ImportError: cannot import|Runtime\.ImportModuleError|Runtime\.HandlerNotFound|missing on module|Runtime\.UserCodeSyntaxError|Runtime\.InvalidEntrypoint|Cannot find module`),
	sign(crashed, `Runtime\.ExitError|Runtime exited|signal: killed|MemoryError|Runtime\.OutOfMemory|No space left on device`),
	sign(timedOut, `Task timed out after|Sandbox\.Timedout`),
	// Permissions.
	sign(keyDenied, `Access to KMS is not allowed|KMSAccessDenied|KMSInvalidState|(?:DecryptionFailure|EncryptionFailure)\b|kms:[A-Z][A-Za-z]+|DisabledException.*key|key.*is (?:disabled|pending deletion|pending import)`),
	sign(endpointPolicy, `(?i)no VPC endpoint policy allows|explicit deny in a VPC endpoint policy|VPC endpoint policy`),
	sign(holdDenied, `KEYTURN_HOLD needs to know who reads the secret`),
	sign(rdsRefused, `Encountered API error while fetching connection parameters|No (?:Instances|Clusters) found when using|It exceeds the maximum length of 256|rds:Describe|redshift(?:-serverless)?:(?:Describe|List)`),
	sign(denied, `AccessDenied|is not authorized to perform|not authorized`),
	sign(cacheUser, `did not reached the active status|is not allowed to use this Lambda function`),
	sign(noEndpoint, `Could not connect to the endpoint URL|EndpointConnectionError|ConnectTimeoutError|Connect timeout on endpoint URL|Read timeout on endpoint URL|KeyError: 'SECRETS_MANAGER_ENDPOINT'|'SECRETS_MANAGER_ENDPOINT'`),
	sign(noEndpoint, `operation error Secrets Manager: \w+,.*(?:dial tcp|no such host|i/o timeout|connection refused|deadline exceeded|no route to host|network is unreachable)`),
	sign(noEndpoint, `UnrecognizedClientException|InvalidClientTokenId|security token included in the request is invalid|InvalidSignatureException|Credential should be scoped to a valid region`),
	sign(notEnabled, `is not enabled for rotation`),
	sign(labelsMoved, `has no stage for rotation|not set as AWSPENDING`),
	// What is in the secret.
	sign(noMasterARN, `KeyError: 'masterarn'|masterarn key is missing|"errorMessage":\s*"'masterarn'"`),
	sign(binarySecret, `KeyError: 'SecretString'|holds binary data in its`),
	sign(keyMissing, `key is missing from secret JSON`),
	sign(wrongEngine, `Database engine must be set to`),
	sign(notJSON, `JSONDecodeError|Expecting value|Expecting property name|Invalid secret value (?:json|JSON)|No JSON object could be decoded|not JSON at byte`),
	sign(noCurrent, `can.t find the specified secret value for staging label: AWSCURRENT`),
	sign(cloneName, `Unable to clone user`),
	sign(noCharacters, `Invalid (?:value|length|range) for parameter (?:PasswordLength|ExcludeCharacters)|All characters have been excluded|GetRandomPassword operation.*(?:InvalidParameter|Validation)|environment variable PASSWORD_LENGTH|(?:InvalidParameter|Validation).*(?:PasswordLength|passwordLength|password length)|GetRandomPassword.*(?:InvalidParameterException|Validation)`),
	sign(writtenTwice, `ResourceExistsException|because that value is already in use for a version`),
	sign(notImplemented, `NotImplementedError`),
	// The database.
	sign(otherHost, `is not the same host|of which RDS says that its own host is a replica`),
	sign(otherUser, `Attempting to modify user`),
	sign(superuserLogin, `using (?:the )?credentials in (?:master|admin) secret`),
	sign(currentLogin, `Unable to log into database using current credentials`),
	sign(pendingLogin, `Unable to log into database with pending secret|Failed to set new authorization|kinit failed`, stepTest),
	sign(anyLogin, `Unable to log into database with previous, current,? or pending|Unable to log into database with pending secret|kinit failed`),
	sign(passwordRefused, `(?i)(?:password policy: |Unable to set the password.*(?:invalid character|not allowed in|ORA-0092[12]|ORA-0098[89]|ORA-0191[17])|ORA-0092[12]|ORA-00988|ORA-28003|syntax error at or near|Internal failure|contains (?:illegal|invalid|unsupported) character|password (?:is|does not|must|cannot).*(?:character|long|short|policy|complex))`),
	sign(statementRefused, `(?i)Unable to set the password of user|permission denied|must be superuser|insufficient privilege|ORA-01031|ORA-28007|PASSWORD\(|ALTER USER|ALTER ROLE|CREATE (?:USER|ROLE)|Error encountered when attempting to set password|Unable to reset the users password|Unable to create user|only be granted by|ADMIN OPTION|cannot execute .* in a read-only|read-only`, stepSet),
	// What says little.
	sign(finishDenied, `RemoveFromVersionId|UpdateSecretVersionStage operation|Secrets Manager: UpdateSecretVersionStage|InvalidParameterException|InvalidRequestException`, stepFinish),
	sign(serverError, `^(?:\w+ failed: )?internal error$`),
	sign(stepFailed, `Error when executing lambda|the function returned an error|TestRotationFailed|RotationFailed`),
}

// findSymptom applies the table. What was asked of the API just now is
// looked at first: it is what the user wonders about.
func (c *Case) findSymptom() {
	if len(c.texts) == 0 {
		return
	}
	if c.Request != nil && c.Request.Code != "" && c.fromRequest() {
		return
	}
	if c.hasTimedOut() {
		c.symptom = timedOut
		if t, ok := c.find(timeoutPattern); ok {
			c.told = t
		} else {
			c.told = text{Fact: Fact{Source: "log", At: c.run.StartedAt, Where: c.run.RequestID, Text: "Duration: " + millis(c.run.Took)}, line: true}
		}
		return
	}
	c.match(c.texts)
	c.refine()
}

// fromRequest reads the answer of a RotateSecret. That a rotation is under
// way, or was left half done, explains nothing: what comes of the rest of the
// evidence does.
func (c *Case) fromRequest() bool {
	asked := c.texts[0]
	for _, s := range signatures {
		if !s.pattern.MatchString(asked.Text) {
			continue
		}
		switch s.of {
		case unfinished:
			c.refusal = asked
			return false
		case cannotInvoke, noFunction, bothSchedules, badSchedule, notRotatable:
			c.symptom, c.told = s.of, asked
			return true
		}
		break
	}
	if strings.Contains(c.Request.Code, "AccessDenied") {
		c.symptom, c.told = callerDenied, asked
		return true
	}
	return false
}

var timeoutPattern = compiled(`Task timed out after|Sandbox\.Timedout`)

// hasTimedOut tells that the failing invocation used all its time.
func (c *Case) hasTimedOut() bool {
	if c.run == nil {
		t, ok := c.find(timeoutPattern)
		return ok && !t.line
	}
	if c.run.TimedOut {
		return true
	}
	if c.Function != nil && c.run.Took > 0 && c.run.Took < c.Function.Timeout*9/10 {
		return false // whatever it writes
	}
	if slices.ContainsFunc(lastLines(c.run), func(l Line) bool { return timeoutPattern.MatchString(l.Text) }) {
		return true
	}
	return c.failing() && c.Function != nil && c.Function.Timeout > 0 && c.run.Took >= c.Function.Timeout
}

func (c *Case) match(texts []text) bool {
	for _, s := range signatures {
		if s.steps != nil && !slices.Contains(s.steps, c.step) {
			continue
		}
		for _, t := range slices.Backward(texts) {
			if s.service && t.line {
				continue
			}
			if t.Text != c.refusal.Text && s.pattern.MatchString(t.Text) && !incidental(t.Text, s.of) {
				c.symptom, c.told = s.of, t
				return true
			}
		}
	}
	return false
}

var toleratedPattern = compiled(`\[(?:INFO|DEBUG)\]`)

// incidental tells lines that a function writes on its good way: what it
// tried and took calmly is not why it failed.
func incidental(line string, of symptom) bool {
	switch of {
	case timedOut, stepFailed, serverError:
		return false
	}
	return toleratedPattern.MatchString(line)
}

var previousPattern = compiled(`other than (?:current )?(?:previous|last)`)

var (
	namesSecret    = compiled(`arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@!?-]+`)
	operationRegex = compiled(`\b(GetSecretValue|PutSecretValue|DescribeSecret|UpdateSecretVersionStage|GetRandomPassword|ListSecretVersionIds)\b`)
	deniedAction   = compiled(`not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)`)
)

// refine tells refusals apart by what was refused, and on which secret.
func (c *Case) refine() {
	if c.symptom == otherUser && previousPattern.MatchString(c.told.Text) {
		c.symptom = anyLogin // AWSCURRENT did not log in, and AWSPREVIOUS is of another user or host
	}
	if c.symptom == pendingLogin && c.test {
		c.symptom = anyLogin // its pending version is a copy of the current one
	}
	if c.symptom != denied && c.symptom != finishDenied {
		return
	}
	t := c.told.Text
	other := c.otherSecretIn(t)
	switch {
	case other != "":
		c.symptom = superuserDenied
	case c.step == stepFinish && (strings.Contains(t, "UpdateSecretVersionStage") || c.symptom == finishDenied):
		c.symptom = finishDenied
	case !operationRegex.MatchString(t) && !deniedAction.MatchString(t) && !c.told.line:
		c.symptom = stepFailed
	}
}

// otherSecretIn returns the ARN of another secret than this one that a text
// is about.
func (c *Case) otherSecretIn(t string) string {
	for _, found := range namesSecret.FindAllString(t, -1) {
		if strings.TrimRight(found, ".?") != c.Secret.ARN && !strings.HasPrefix(c.Secret.ARN, strings.TrimRight(found, ".?-*")) {
			return strings.TrimRight(found, ".")
		}
	}
	return ""
}

// lastWord is the last line of the failing invocation that is the function's
// own; "" if there is none.
func (c *Case) lastWord() Fact {
	if c.run == nil {
		return Fact{}
	}
	for _, l := range slices.Backward(lastLines(c.run)) {
		t := strings.TrimSpace(l.Text)
		if t == "" || timeoutPattern.MatchString(t) || platformPattern.MatchString(t) {
			continue
		}
		return logFact(c.run, l)
	}
	return Fact{}
}

var platformPattern = compiled(`^(?:START|END|REPORT|INIT_START|INIT_REPORT|EXTENSION|XRAY) `)

// took is how long the failing invocation ran.
func (c *Case) took() time.Duration {
	if c.run == nil {
		return 0
	}
	if c.run.Took == 0 && c.run.EndedAt.After(c.run.StartedAt) {
		return c.run.EndedAt.Sub(c.run.StartedAt)
	}
	return c.run.Took
}
