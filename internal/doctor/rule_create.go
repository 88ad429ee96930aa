package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

func createRules() []rule {
	return []rule{
		{"D01", "The function does not reach Secrets Manager", phaseCreate,
			[]string{"a VPC without an interface endpoint for Secrets Manager and without a way to the internet", "private DNS, DNS hostnames or DNS resolution off",
				"SECRETS_MANAGER_ENDPOINT missing or of another Region"},
			[]string{"an interface endpoint (best), or a NAT gateway", "correct the variable"}, checkNoEndpoint},
		{"D02", "The function was cut off after it had begun", phaseCreate,
			[]string{"a network ACL drops the answers", "the function's timeout is too short", "the endpoint's security group does not admit the function",
				"the endpoint's policy refuses", "the RDS API is out of reach for a superuser's secret that RDS keeps"},
			[]string{"allow 443 out and 1024-65535 in", "raise the timeout", "admit the function", "widen the policy", "an endpoint for RDS"}, checkCutOff},
		{"D03", "The KMS key refuses", phaseCreate,
			[]string{"the role lacks kms:Decrypt or kms:GenerateDataKey", "a condition on the encryption context names another secret", "the key policy leaves the role out",
				"the key is disabled, deleted or not symmetric"},
			[]string{"add the statement", "widen the condition", "enable the key"}, checkKey},
		{"D04", "The function's role may not use the secret", phaseCreate,
			[]string{"its policy lacks the action, or names a partial ARN or another secret", "the secret's policy denies", "a permissions boundary"},
			[]string{"grant the four actions on the full ARN, and GetRandomPassword on *"}, checkDenied},
		{"D05", "The secret lacks a key", phaseCreate,
			[]string{"a required key is missing, has other case, or is nested", "a superuser's secret of RDS without its tags"},
			[]string{"add the key", "use a superuser's secret that is complete or kept by RDS"}, checkKeyMissing},
		{"D06", "The secret is of another engine than the function", phaseCreate,
			[]string{"the wrong function for the secret", "the engine is misspelt (postgresql, mssql)"}, []string{"correct the engine, or use the right function"}, checkEngine},
		{"D07", "The secret is not a JSON object", phaseCreate,
			[]string{"plain text", "typographic quotes", "cut off"}, []string{"store a JSON object"}, checkNotJSON},
		{"D08", "The secret is binary", phaseCreate,
			[]string{"the value was stored as SecretBinary"}, []string{"store it as SecretString"}, checkBinary},
		{"D09", "The secret has no current value", phaseCreate,
			[]string{"it was created without a value"}, []string{"put a value once"}, checkNoCurrent},
		{"D19", "The user's name is too long to be cloned", phaseCreate,
			[]string{"the name and _clone are longer than the engine or USERNAME_CHARACTER_LIMIT allows"},
			[]string{"a shorter name", "MySQL 5.7 and newer: USERNAME_CHARACTER_LIMIT=32"}, checkCloneName},
		{"D29", "No password can be made by these settings", phaseCreate,
			[]string{"EXCLUDE_ variables that leave nothing", "PASSWORD_LENGTH out of range or no number"}, []string{"correct the variables"}, checkPasswordSettings},
		{"D31", "The pending version was not written by the rotation function", phaseCreate,
			[]string{"the function takes on another role, or is of another account, and does not pass the RotationToken", "somebody else put the value"},
			[]string{"pass the event's RotationToken to PutSecretValue", "take AWSPENDING off and rotate again"}, checkForeignWriter},
		{"D32", "createSecret writes the pending version twice", phaseCreate,
			[]string{"createSecret does not look whether the version has a value", "two invocations overlap"}, []string{"read the version first"}, checkWrittenTwice},
	}
}

func checkNoEndpoint(c *Case) *Finding {
	at := c.whereStopped()
	if c.symptom != noEndpoint && at != beforeAnything {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("%s does not reach a Secrets Manager endpoint: its first call never came back.", c.functionName()), c.told.Fact).weigh(10)
	if at == beforeAnything {
		f.fact(c.lastWord()).fact(c.durationFact())
	}
	f.not("D10", "the function had not come to the database yet")
	if c.wrongVariable(f) {
		return c.again(f, false)
	}
	p := c.path("secretsmanager")
	switch {
	case strings.Contains(c.told.Text, "UnrecognizedClient") || strings.Contains(c.told.Text, "InvalidClientTokenId"):
		f.Confidence = Possible
		f.Cause = fmt.Sprintf("The Secrets Manager that %s calls does not know its credentials: it is another Region's or server's, or the function's role was deleted and made again.", c.functionName())
		f.look("whether role %s is younger than the function: its environments keep a deleted role's credentials until they end", c.roleName())
	case p.hop() != nil:
		f.Confidence = Certain
		p.mend(f)
	case p.passes():
		f.Confidence = Possible
		f.fact(p.fact()).look("whether the Lambda service or Secrets Manager had an outage at that time, because the network analysis finds the way open")
	case !c.inVPC() && c.Function != nil && c.Function.Found && c.symptom != noEndpoint:
		f.Confidence = Possible
		f.saw("GetFunctionConfiguration", "the function is in no VPC")
		f.look("the function's own log level: a function that logs nothing looks the same while it waits for its database")
	}
	if p.hop() == nil && (c.inVPC() || c.Function == nil) {
		f.cure("Give the function's VPC an interface endpoint for Secrets Manager with private DNS (or a NAT gateway).", "",
			c.aws(append([]string{"ec2", "create-vpc-endpoint", "--vpc-endpoint-type", "Interface", "--vpc-id", c.vpcID(), "--service-name",
				"com.amazonaws." + cmp.Or(c.Region, "REGION") + ".secretsmanager", "--private-dns-enabled"}, c.subnetWords()...)...))
	}
	return c.again(f, false)
}

func (c *Case) vpcID() string {
	if c.Function != nil && c.Function.VPCID != "" {
		return c.Function.VPCID
	}
	return "VPC_ID"
}

func (c *Case) subnetWords() []string {
	if c.Function == nil || len(c.Function.SubnetIDs) == 0 {
		return []string{"--subnet-ids", "SUBNET_ID"}
	}
	words := append([]string{"--subnet-ids"}, c.Function.SubnetIDs...)
	if len(c.Function.GroupIDs) > 0 {
		words = append(append(words, "--security-group-ids"), c.Function.GroupIDs...)
	}
	return words
}

var hostRegion = compiled(`secretsmanager(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.`)

// wrongVariable tells and mends a SECRETS_MANAGER_ENDPOINT that cannot be
// right.
func (c *Case) wrongVariable(f *Finding) bool {
	const variable = "SECRETS_MANAGER_ENDPOINT"
	right := cmp.Or(c.Endpoint, "https://"+c.serviceHost("secretsmanager"))
	said := "the environment variable " + variable
	switch value, set := c.variable(variable); {
	case strings.Contains(c.told.Text, "'"+variable+"'") || !set && c.template() != "" && c.Function != nil && c.Function.Variables != nil && c.Function.Rotator == "":
		f.Cause = fmt.Sprintf("%s has no environment variable %s, which AWS's templates need.", c.functionName(), variable)
		said += " is not set"
	case set && value == "":
		return false // its value was left out
	case set && c.Region != "" && regionOf(value) != "" && regionOf(value) != c.Region:
		f.Cause = fmt.Sprintf("%s calls Secrets Manager in %s, but the secret is in %s.", c.functionName(), regionOf(value), c.Region)
		said += " is " + value
	case set && regionOf(value) == "" && c.path("secretsmanager") == nil && strings.Contains(value, "://") && c.Endpoint != "" && !sameHost(value, c.Endpoint):
		f.Cause = fmt.Sprintf("%s calls Secrets Manager at %s, and nothing answers there.", c.functionName(), value)
		f.saw("GetFunctionConfiguration", "%s is %s", said, value)
		f.cure("Correct the variable.", "", c.setVariable(variable, right)...)
		return true
	default:
		return false
	}
	f.Confidence = Certain
	f.saw("GetFunctionConfiguration", "%s", said)
	f.cure("Correct the variable.", "", c.setVariable(variable, right)...)
	return true
}

func sameHost(a, b string) bool {
	host := func(u string) string {
		_, u, _ = strings.Cut(u, "://")
		u, _, _ = strings.Cut(u, "/")
		return strings.ToLower(u)
	}
	return host(a) == host(b)
}

func regionOf(url string) string {
	if m := hostRegion.FindStringSubmatch(url); m != nil {
		return m[1]
	}
	return ""
}

// variable is one of the function's environment variables.
func (c *Case) variable(name string) (value string, set bool) {
	if c.Function == nil {
		return "", false
	}
	value, set = c.Function.Variables[name]
	return value, set
}

func checkCutOff(c *Case) *Finding {
	if c.symptom == endpointPolicy {
		f := c.bySymptom(endpointPolicy, Certain, fmt.Sprintf("The policy of the VPC endpoint through which %s calls refuses the call.", c.functionName()))
		f.not("D04", "the refusal names the endpoint's policy, not the role's").not("D01", "the endpoint answered")
		if p := c.path("secretsmanager"); p.hop() != nil {
			p.mend(f)
		} else {
			f.Confidence = Likely
			f.cure("Let the endpoint's policy admit the function's role: add to its statements that of the Allow below. "+
				`{"Effect":"Allow","Principal":{"AWS":"`+c.roleARN()+`"},"Action":"secretsmanager:*","Resource":"`+c.secretID()+`"}`,
				"A statement for too many opens the endpoint to them.", c.aws("ec2", "describe-vpc-endpoints", "--query", "VpcEndpoints[].[VpcEndpointId,ServiceName,PolicyDocument]"))
		}
		return c.again(f, false)
	}
	at := c.whereStopped()
	if at != afterCreate && at != afterLogin && at != atRDS {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("%s ran out of its time in %s after it had begun.", c.functionName(), cmp.Or(c.step, "a step")), c.told.Fact, c.lastWord(), c.durationFact()).weigh(10)
	f.not("D01", "the function got answers from Secrets Manager before")
	switch {
	case at == atRDS:
		f.Confidence = Certain
		f.Cause = fmt.Sprintf("The superuser's secret %s is kept by RDS, and %s does not reach the RDS API to ask where the server is.", c.Superuser.ARN, c.functionName())
		c.path("rds").mend(f)
		return c.again(f, false)
	case at == afterCreate && c.closed("secretsmanager"):
		f.Confidence = Certain
		f.Cause = fmt.Sprintf("%s loses the answers of Secrets Manager on the way.", c.functionName())
		c.path("secretsmanager").mend(f)
		return c.again(f, false)
	case at == afterLogin:
		f.not("D10", "it had logged in to the database")
		f.Cause += " It had logged in: the database was slow, or the statement waited for a lock."
		f.look("what the database was doing then: long transactions that touch the user or its grants, locks, replication")
	default:
		f.look("how long the function takes at best: a cold start in a VPC with little memory takes seconds")
		f.look("network ACLs and the endpoint's security group (describe-network-acls, describe-security-groups)")
	}
	limit := 30 * time.Second
	if c.Function != nil && c.Function.Timeout > 0 {
		limit = c.Function.Timeout
	}
	c.raiseTimeout(f, max(2*limit, 30*time.Second))
	return c.again(f, true)
}

func checkKey(c *Case) *Finding {
	k := c.Key
	broken := k != nil && c.Secret.KeyID != "" && (k.Found && k.State != "" && k.State != "Enabled" || k.Spec != "" && k.Spec != "SYMMETRIC_DEFAULT")
	if c.symptom != keyDenied && !broken {
		return nil
	}
	f := c.finding(Certain, "").weigh(10)
	if c.symptom == keyDenied {
		f.fact(c.told.Fact)
	} else if !c.failing() {
		f.as(rankBroken)
	}
	id := cmp.Or(c.Secret.KeyID, "KEY_ID")
	if k != nil {
		id = cmp.Or(k.ID, id)
	}
	f.not("D04", "the refusal is of KMS: Secrets Manager itself let the call in")
	switch {
	case broken && k.Spec != "" && k.Spec != "SYMMETRIC_DEFAULT":
		f.Cause = fmt.Sprintf("The key %s of %s is %s; secrets need a symmetric encryption key.", id, c.secretName(), k.Spec)
		f.saw("DescribeKey", "KeySpec %s", k.Spec)
		f.cure("Give the secret another key.", "", c.aws("secretsmanager", "update-secret", "--secret-id", c.secretID(), "--kms-key-id", "alias/aws/secretsmanager"))
	case broken:
		f.Cause = fmt.Sprintf("The key %s of %s is %s, so nobody can read the secret.", id, c.secretName(), k.State)
		f.saw("DescribeKey", "KeyState %s", k.State)
		f.cure("Make the key usable again.", "", c.keyCommands(id)...)
	default:
		c.keyOfRole(f, id)
	}
	return c.again(f, false)
}

func (c *Case) keyCommands(id string) []string {
	enable := c.aws("kms", "enable-key", "--key-id", id)
	if c.Key.State == "PendingDeletion" {
		return []string{c.aws("kms", "cancel-key-deletion", "--key-id", id), enable}
	}
	return []string{enable}
}

// keyOfRole explains a key that works, but not for the function's role.
func (c *Case) keyOfRole(f *Finding, id string) {
	f.Cause = fmt.Sprintf("The role of %s may not use the key %s under which %s is encrypted.", c.functionName(), id, c.secretName())
	if c.otherSecretIn(c.told.Text) != "" {
		f.Cause = fmt.Sprintf("The role of %s may not use the key of the superuser's secret %s.", c.functionName(), c.otherSecretIn(c.told.Text))
		if c.Superuser != nil && c.Superuser.KeyID != "" {
			id = c.Superuser.KeyID
		}
	}
	if c.Key != nil && c.Key.State == "Enabled" {
		f.saw("DescribeKey", "the key is enabled")
	}
	if d := c.refused("kms:", ""); d != nil {
		f.fact(decisionFact(d))
	} else {
		f.Confidence = Likely
		f.look("the key's policy (aws kms get-key-policy) and whether a condition kms:EncryptionContext:SecretARN names another secret")
	}
	if c.Key != nil && strings.Contains(c.Key.Policy, "kms:EncryptionContext") && !strings.Contains(c.Key.Policy, c.Secret.ARN) {
		f.saw("GetKeyPolicy", "a condition on kms:EncryptionContext does not name %s", c.Secret.ARN)
	}
	f.cure("Let the role decrypt and make data keys with this key, through Secrets Manager.", "",
		c.putRolePolicy("D03", allow(id, "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey")))
}

var allSecretActions = []string{"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"}

func checkDenied(c *Case) *Finding {
	f := c.bySymptom(denied, Certain, "")
	if f == nil {
		return nil
	}
	action := c.deniedIn(c.told.Text)
	f.Cause = fmt.Sprintf("The role of %s may not call %s on %s.", c.functionName(), cmp.Or(action, "what it calls"), c.secretName())
	f.not("D01", "Secrets Manager answered").not("D03", "the refusal does not speak of KMS")
	if d := c.refused(action, ""); d != nil && action != "" {
		f.fact(decisionFact(d))
	}
	if !c.confirmed(action) {
		f.Confidence = Likely
		f.look("whether the simulation of the role's policies and the trail say the same: a line of a log is all that says so here")
	}
	switch {
	case strings.Contains(c.told.Text, "explicit deny in a resource-based policy") || strings.Contains(c.Secret.Policy, `"Deny"`) && strings.Contains(c.told.Text, "explicit deny"):
		f.Cause += " The secret's own policy denies it."
		f.saw("GetResourcePolicy", "%s", c.Secret.Policy)
		f.cure("Except the function's role from the Deny in the secret's policy.", "", c.aws("secretsmanager", "get-resource-policy", "--secret-id", c.secretID()))
	case strings.Contains(c.told.Text, "permissions boundary"):
		f.cure("Widen the role's permissions boundary.", "", c.aws("iam", "get-role", "--role-name", c.roleName(), "--query", "Role.PermissionsBoundary"))
	case slices.Contains(allSecretActions, action) || action == "":
		f.cure("Grant the role the four actions of a rotation on the secret's full ARN.", "", c.putRolePolicy("D04", allow(c.secretID(), allSecretActions...)))
	case slices.Contains(grantable, action):
		f.cure("Grant the role "+action+".", "", c.putRolePolicy("D04", allow("*", action)))
	default:
		f.cure("Rotation functions do not need "+action+": find out why this one calls it, before anybody grants it.", "", c.logsCommand())
	}
	return c.again(f, false)
}

// grantable are the actions beside those on the secret that rotation functions
// need. Nothing else is ever advised to be granted: the line that asks for it
// may be written by whoever may change the function.
var grantable = []string{
	"secretsmanager:GetRandomPassword", "rds:DescribeDBInstances", "rds:DescribeDBClusters", "redshift:DescribeClusters",
	"redshift-serverless:ListNamespaces", "redshift-serverless:ListWorkgroups", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
	"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DetachNetworkInterface",
	"elasticache:DescribeUsers", "ds:DescribeDirectories", "timestream-influxdb:GetDbInstance", "cloudtrail:LookupEvents",
}

// confirmed tells that more than a line of the function's log says that the
// role may not do something: the simulation, or the trail.
func (c *Case) confirmed(action string) bool {
	if action == "" {
		return false
	}
	if c.refused(action, "") != nil {
		return true
	}
	_, name, _ := strings.Cut(action, ":")
	return c.lastEvent(func(ev *Event) bool {
		return ev.Name == name && strings.Contains(ev.ErrorCode, "AccessDenied") && c.byFunction(ev)
	}) >= 0
}

// deniedIn returns the action that a refusal is about.
func (c *Case) deniedIn(t string) string {
	if m := deniedAction.FindStringSubmatch(t); m != nil {
		return m[1]
	}
	if m := operationRegex.FindStringSubmatch(t); m != nil {
		return "secretsmanager:" + m[1]
	}
	return ""
}

var missingKey = compiled(`([\w.-]+) key is missing from secret JSON`)

func checkKeyMissing(c *Case) *Finding {
	f := c.bySymptom(keyMissing, Certain, "")
	if f == nil {
		return nil
	}
	key := "a key"
	if m := missingKey.FindStringSubmatch(c.told.Text); m != nil {
		key = m[1]
	}
	if other, ok := c.findRun(fetchedPattern); ok && key == "host" && c.step == stepSet {
		f.Cause = "The superuser's secret says neither its host nor is it one that RDS keeps, with a tag that names its server."
		f.fact(other).cure("Complete the superuser's secret with engine, host and port, or use the one that RDS keeps for the master user.", "",
			c.aws("secretsmanager", "describe-secret", "--secret-id", c.superuserARN()))
		return c.again(f, false)
	}
	f.Cause = fmt.Sprintf("The JSON of %s has no member %q, which %s needs.", c.secretName(), key, c.functionName())
	if v := c.value(labelCurrent); v != nil {
		for _, k := range v.Keys {
			if strings.EqualFold(k, key) && k != key {
				f.Cause += fmt.Sprintf(" It has %q: the names' case counts.", k)
			}
		}
		f.fact(Fact{Source: "probe", Where: "AWSCURRENT", Text: "the members are " + list(v.Keys)})
	} else {
		f.look("the names of the secret's members: keyturn doctor --probe %s", quote(c.secretID()))
	}
	f.cure("Store the value again with the member added; its other members stay as they are.",
		"The new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	return c.again(f, false)
}

// putCommand stores a value from a file, so that it is in no shell history.
func (c *Case) putCommand() string {
	return c.aws("secretsmanager", "put-secret-value", "--secret-id", c.secretID(), "--secret-string", "file://value.json")
}

func (c *Case) superuserARN() string {
	if c.Superuser != nil && c.Superuser.ARN != "" {
		return c.Superuser.ARN
	}
	if v := c.value(labelCurrent); v != nil && v.MasterARN != "" {
		return v.MasterARN
	}
	return "SUPERUSER_SECRET_ARN"
}

var wantedEngine = compiled(`Database engine must be set to '([^']*)'`)

func checkEngine(c *Case) *Finding {
	f := c.bySymptom(wrongEngine, Certain, "")
	if f == nil {
		return nil
	}
	want := "another engine"
	if m := wantedEngine.FindStringSubmatch(c.told.Text); m != nil {
		want = m[1]
	}
	f.Cause = fmt.Sprintf("%s rotates secrets whose engine is %q, and that of %s is not.", c.functionName(), want, c.secretName())
	if v := c.value(labelCurrent); v != nil && v.Engine != "" {
		f.Cause = fmt.Sprintf("%s rotates secrets whose engine is %q, and that of %s is %q.", c.functionName(), want, c.secretName(), v.Engine)
	} else {
		f.look("the secret's engine member: keyturn doctor --probe %s", quote(c.secretID()))
	}
	f.cure("If it is only misspelt, store the value with the right engine.", "The new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	f.cure("Otherwise name the function for its engine.", "", c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(),
		"--rotation-lambda-arn", "FUNCTION_ARN", "--no-rotate-immediately"))
	return c.again(f, false)
}

func checkNotJSON(c *Case) *Finding {
	f := c.bySymptom(notJSON, Certain, "")
	if f == nil {
		return nil
	}
	which := c.secretName()
	if other := c.otherSecretIn(c.told.Text); other != "" {
		which = "the superuser's secret " + other
	}
	f.Cause = fmt.Sprintf("The value of %s is not a JSON object: it is plain text, has typographic quotes, or is cut off.", which)
	if v := c.value(labelCurrent); v != nil && v.Problem != "" {
		f.fact(Fact{Source: "probe", Where: labelCurrent, Text: v.Problem})
	}
	f.cure("Store a JSON object.", "The new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	return c.again(f, false)
}

func checkBinary(c *Case) *Finding {
	f := c.bySymptom(binarySecret, Certain, fmt.Sprintf("The value of %s was stored as SecretBinary; rotation functions read SecretString.", c.secretName()))
	if f == nil {
		return nil
	}
	f.not("D07", "there is no text that could be JSON")
	f.cure("Store the value as text.", "The new value becomes AWSCURRENT at once.", c.putCommand())
	return c.again(f, false)
}

func checkNoCurrent(c *Case) *Finding {
	nowhere := c.state.kind == noCurrentValue || c.failing() && c.current == "" && len(c.Secret.Labels) > 0
	empty := c.current != "" && c.failing() && len(c.Versions) > 0 && func() bool { has, known := c.hasValue(c.current); return known && !has }()
	if c.symptom != noCurrent && !nowhere && !empty {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("%s has no current value: it was created without one, and %s makes a new value from the current one.", c.secretName(), c.functionName()), c.told.Fact).weigh(5)
	if c.symptom != noCurrent {
		f.saw("DescribeSecret", "no version with a value has AWSCURRENT")
		if !c.failing() {
			f.as(rankBroken)
		}
	}
	f.cure("Put a first value; it becomes AWSCURRENT.", "", c.putCommand())
	return c.again(f, false)
}

func checkCloneName(c *Case) *Finding {
	f := c.bySymptom(cloneName, Certain, "The second user of the pair would have a name that is too long: "+strings.TrimSpace(c.told.Text[max(strings.Index(c.told.Text, "Unable to clone"), 0):])+".")
	if f == nil {
		return nil
	}
	if e := c.engine(); e == "mysql" || e == "aurora-mysql" || strings.Contains(c.told.Text, "exceed 16 characters") {
		f.cure("MySQL 5.7 and newer allow 32 characters: say so to the function.", "", c.setVariable("USERNAME_CHARACTER_LIMIT", "32")...)
	} else {
		f.cure("Use a user with a shorter name.", "Programs that name the user themselves have to follow.", c.putCommand())
	}
	return c.again(f, false)
}

func checkPasswordSettings(c *Case) *Finding {
	f := c.bySymptom(noCharacters, Certain, fmt.Sprintf("The environment variables of %s leave no password that could be made.", c.functionName()))
	if f == nil {
		return nil
	}
	for _, name := range []string{"EXCLUDE_CHARACTERS", "PASSWORD_LENGTH", "EXCLUDE_NUMBERS", "EXCLUDE_PUNCTUATION", "EXCLUDE_UPPERCASE", "EXCLUDE_LOWERCASE", "REQUIRE_EACH_INCLUDED_TYPE"} {
		if v, ok := c.variable(name); ok {
			f.saw("GetFunctionConfiguration", "%s is %s", name, v)
		}
	}
	f.cure("Exclude less, and ask for 1 to 4096 characters, at least one of each class that is required.", "",
		c.setVariable("EXCLUDE_CHARACTERS", `:/@"'\`, "PASSWORD_LENGTH", "32")...)
	return c.again(f, false)
}

func checkForeignWriter(c *Case) *Finding {
	f := c.bySymptom(foreignWriter, Certain, fmt.Sprintf("The pending version of %s was written by somebody other than %s: neither its role nor the RotationToken vouches for it.", c.secretName(), c.functionName()))
	if f == nil {
		return nil
	}
	i := c.lastEvent(func(ev *Event) bool { return ev.Name == "PutSecretValue" && ev.Token == c.token && ev.ErrorCode == "" })
	ours := false
	if i >= 0 {
		ev := &c.Events[i]
		ours = strings.Contains(ev.Principal, "/"+c.functionName())
		f.fact(eventFact(ev))
		if !ev.HadRotationToken {
			f.fact(Fact{Source: "event", At: ev.At, Where: ev.ID, Text: "PutSecretValue came without a RotationToken"})
		}
	}
	passes := c.Function != nil && c.Function.Code != nil && c.Function.Code.PassesToken != nil
	if passes && !*c.Function.Code.PassesToken {
		f.fact(Fact{Source: "package", Where: c.Function.Code.HandlerFile, Text: "PutSecretValue is called without RotationToken"})
	}
	if !passes && !ours {
		f.look("who put version %s: the PutSecretValue event with that ClientRequestToken", c.token)
	}
	f.cure("A function that takes on another role or is of another account passes event['RotationToken'] on: put_secret_value(..., RotationToken=token). "+
		"If a person or a pipeline put the value, keep them from writing AWSPENDING.", "")
	return c.again(f, false)
}

func checkWrittenTwice(c *Case) *Finding {
	f := c.bySymptom(writtenTwice, Likely, fmt.Sprintf("createSecret of %s puts version %s a second time with another value.", c.functionName(), c.token))
	if f == nil {
		return nil
	}
	puts := 0
	for i := range c.Events {
		if ev := &c.Events[i]; ev.Name == "PutSecretValue" && ev.Token == c.token && c.token != "" {
			f.fact(eventFact(ev))
			puts++
		}
	}
	if puts > 1 || c.overlap() {
		f.Confidence = Certain
	} else {
		f.look("PutSecretValue events with the token %s, and invocations of createSecret that overlap", c.token)
	}
	f.cure("Let createSecret read the version (VersionId and AWSPENDING) first, and put nothing when it has a value.", "")
	return c.again(f, false)
}

// overlap tells that two invocations of the rotation ran at once.
func (c *Case) overlap() bool {
	for i, a := range c.runs {
		for _, b := range c.runs[i+1:] {
			if !a.EndedAt.IsZero() && b.StartedAt.Before(a.EndedAt) && stepOf(a) == stepOf(b) {
				return true
			}
		}
	}
	return false
}
