package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
)

func setRules() []rule {
	return []rule{
		{"D10", "The function does not reach the database", phaseSet,
			[]string{"the function is not in the database's VPC", "security groups or network ACLs", "routing or DNS", "wrong host or port", "the database is stopped"},
			[]string{"run the function in the database's VPC", "open the way in both directions", "correct host and port"}, checkUnreached},
		{"D14", "TLS to the database fails", phaseSet,
			[]string{"the secret says ssl: true and the server has no TLS", "the certificate does not name the host", "the certificate's authority is not trusted"},
			[]string{"use the host's real name", "trust the authority (KEYTURN_CA_BUNDLE)", "TLS on the server"}, checkBrokenTLS},
		{"D13", "The database demands TLS and the function does not use it", phaseSet,
			[]string{"ssl is false in the secret", "AWS's template is from before 2021-12-20", "Db2's template never uses TLS"},
			[]string{"ssl true or absent", "make the function anew"}, checkWantsTLS},
		{"D12", "The function's libpq knows no SCRAM", phaseSet,
			[]string{"PostgreSQL authenticates by scram-sha-256, and the function was set up before 2021-12-30 with a libpq before 10"},
			[]string{"make the function anew from the current template", "md5 for a time"}, checkOldLibrary},
		{"D11", "The database refuses the stored passwords", phaseSet,
			[]string{"the password was changed outside", "the user was dropped or is locked", "a host rule refuses"},
			[]string{"reset the password, store it, rotate"}, checkCredentials},
		{"D15", "AWSCURRENT does not log in, and this strategy needs it", phaseSet,
			[]string{"alternating users have no AWSPREVIOUS to fall back to"}, []string{"repair AWSCURRENT"}, checkCurrentLogin},
		{"D16", "The superuser does not log in", phaseSet,
			[]string{"its password is stale", "its secret lacks the right host", "it may not connect to the user's database"},
			[]string{"mend the superuser's secret", "grant CONNECT"}, checkSuperuserLogin},
		{"D17", "The superuser's secret is not named or may not be read", phaseSet,
			[]string{"no masterarn member", "the role may not read it", "masterarn is a partial ARN", "another KMS key"},
			[]string{"add masterarn", "grant GetSecretValue and DescribeSecret on the full ARN"}, checkSuperuserSecret},
		{"D18", "User and superuser are of different hosts", phaseSet,
			[]string{"reader endpoint, alias, address or other case", "the replica check cannot ask RDS"}, []string{"the same host in both secrets", "allow rds:DescribeDBInstances"}, checkOtherHost},
		{"D33", "The pending version is of another user or host", phaseSet,
			[]string{"AWSPENDING is from an older attempt", "the user name was edited", "another strategy"}, []string{"take AWSPENDING off and rotate again"}, checkOtherUser},
		{"D30", "The database does not take the new password", phaseSet,
			[]string{"characters that the database or the driver does not take", "a policy on length or content", "a password used before"},
			[]string{"EXCLUDE_CHARACTERS, PASSWORD_LENGTH"}, checkPasswordRefused},
		{"D34", "The database refuses to change the password", phaseSet,
			[]string{"the user may not change itself", "the superuser lacks a right or the grant option", "a replica", "a server that the statements are too old for"},
			[]string{"grant", "newer code", "the primary's host"}, checkStatement},
		{"D35", "The RDS API does not say where the superuser's server is", phaseSet,
			[]string{"no way to the RDS API", "no permission", "the instance is gone"}, []string{"an endpoint for RDS", "grant rds:DescribeDBInstances and DescribeDBClusters"}, checkRDS},
		{"D36", "The function does not implement the step", phaseSet,
			[]string{"the generic template is unchanged"}, []string{"write setSecret and testSecret, or use a built-in rotator"}, checkNotImplemented},
		{"D37", "The ElastiCache user does not become active or is not the function's", phaseSet,
			[]string{"the function's timeout is under the 600 s it may wait", "USER_NAME or SECRET_ARN name others"}, []string{"raise the timeout", "correct the variables"}, checkCacheUser},
	}
}

func checkUnreached(c *Case) *Finding {
	if !c.loginFailed() {
		return nil
	}
	confidence, facts, ok := c.unreached()
	if !ok {
		return nil
	}
	f := c.finding(confidence, fmt.Sprintf("%s does not reach the database of %s%s.", c.functionName(), c.secretName(), c.at()), c.told.Fact).weigh(10)
	for _, x := range facts {
		f.fact(x)
	}
	if c.login().timed {
		f.fact(c.durationFact())
	}
	c.excludeLogins(f, "D10").not("D01", "the function got answers from Secrets Manager before")
	p := c.path("database")
	s, said := c.login().spoke(unreachable()...)
	switch {
	case p.hop() != nil:
		p.mend(f)
	case said && s.cause == rotator.CauseDNS, said && s.cause == rotator.CauseTCP:
		f.cure("Correct host and port in the secret, or start the database.", "A new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
		c.sameVPC(f)
	default:
		c.sameVPC(f)
		if p == nil && !c.Keyturn {
			f.look("the way from the function's subnets to the database: security groups on both sides, ACLs, routes")
		}
	}
	if confidence != Certain {
		f.look("the same login from inside the function's network: keyturn doctor --probe-in-function %s", quote(c.secretID()))
	}
	return c.again(f, false)
}

// at says where the database is, as far as anything tells.
func (c *Case) at() string {
	for _, p := range c.Probes {
		if p.Host != "" && p.Label != "superuser" {
			return fmt.Sprintf(" (%s:%d)", p.Host, p.Port)
		}
	}
	if p := c.path("database"); p != nil && p.Host != "" {
		return fmt.Sprintf(" (%s:%d)", p.Host, p.Port)
	}
	return ""
}

func (c *Case) sameVPC(f *Finding) {
	if c.inVPC() {
		f.cure("Let the function's security groups out to the database's port, and the database's security group in from them.", "",
			c.aws("ec2", "authorize-security-group-ingress", "--group-id", "DATABASE_GROUP_ID", "--protocol", "tcp", "--port", "PORT", "--source-group", firstOf(c.Function.GroupIDs, "FUNCTION_GROUP_ID")))
		return
	}
	if c.Keyturn && !c.enforced() {
		f.cure("See that the database runs and listens where the secret says.", "")
		return
	}
	f.cure("Run the function in the database's VPC.", "It then needs an endpoint or a NAT gateway to reach Secrets Manager.",
		c.onFunction("update-function-configuration", "--vpc-config", "SubnetIds=SUBNET_ID,SecurityGroupIds=SECURITY_GROUP_ID"))
}

func (c *Case) enforced() bool { return c.Network != nil && c.Network.Enforced }

func firstOf(all []string, otherwise string) string {
	if len(all) > 0 {
		return all[0]
	}
	return otherwise
}

func checkBrokenTLS(c *Case) *Finding {
	if !c.loginFailed() && c.symptom != superuserLogin {
		return nil
	}
	confidence, facts, ok := c.brokenTLS()
	if !ok {
		return nil
	}
	f := c.finding(confidence, "", c.told.Fact).weigh(11)
	text := ""
	for _, x := range facts {
		f.fact(x)
		text += x.Text
	}
	if strings.Contains(text, "not enabled") || strings.Contains(text, "check that SSL/TLS is enabled") {
		f.Cause = fmt.Sprintf("%s asks for TLS, and the server%s has none.", c.secretName(), c.at())
		f.cure("Turn TLS on in the server; or take ssl out of the secret where plain connections are acceptable.", "Plain connections show the password on the network.", c.putCommand())
	} else {
		f.Cause = fmt.Sprintf("The certificate of the server%s is not taken: it is not for this host name, or its authority is not trusted.", c.at())
		for _, p := range c.Probes {
			if p.Names != "" {
				f.fact(Fact{Source: "probe", Where: p.Host, Text: "the certificate names " + p.Names})
			}
		}
		f.cure("Put a host name into the secret that the certificate has, not an address or an alias.", "A new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
		if c.Function == nil || c.Function.Rotator != "" {
			f.cure("Or let the function trust the authority.", "", c.setVariable("KEYTURN_CA_BUNDLE", "/var/task/ca.pem")...)
		}
	}
	if confidence == Possible {
		f.look("the same from inside the function, which may trust an authority that this machine does not: keyturn doctor --probe-in-function %s; or name the authority here by KEYTURN_CA_BUNDLE", quote(c.secretID()))
	}
	c.excludeLogins(f, "D14")
	return c.again(f, false)
}

func checkWantsTLS(c *Case) *Finding {
	if !c.loginFailed() && c.symptom != superuserLogin {
		return nil
	}
	confidence, facts, ok := c.wantsTLS()
	if !ok {
		return nil
	}
	if _, _, broken := c.brokenTLS(); broken {
		return nil // TLS was tried: that it fails is the cause
	}
	f := c.finding(confidence, fmt.Sprintf("The server%s takes no plain connection, and %s makes none by TLS.", c.at(), c.functionName()), c.told.Fact).weigh(9)
	for _, x := range facts {
		f.fact(x)
	}
	if confidence != Certain {
		f.look("whether the server refuses plain connections: keyturn doctor --probe %s", quote(c.secretID()))
	}
	if why, never := c.neverTLS(); !never || why.Source == "probe" {
		f.cure("Set ssl to true in the secret, or take it out.", "A new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	}
	if c.Function == nil || c.Function.Rotator == "" {
		c.upgrade(f)
	}
	c.excludeLogins(f, "D13")
	return c.again(f, false)
}

func checkOldLibrary(c *Case) *Finding {
	if c.symptom != anyLogin && c.symptom != currentLogin && c.symptom != superuserLogin {
		return nil
	}
	confidence, facts, ok := c.oldLibrary()
	if !ok {
		return nil
	}
	f := c.finding(confidence, fmt.Sprintf("%s brings a libpq from before PostgreSQL 10, which cannot log in where the server authenticates by SCRAM-SHA-256.", c.functionName()), c.told.Fact).weigh(9)
	for _, x := range facts {
		f.fact(x)
	}
	if c.login().timed {
		f.fact(c.durationFact())
	}
	if confidence != Certain {
		f.look("how the server authenticates and whether a newer client logs in: keyturn doctor --probe %s", quote(c.secretID()))
		f.look("the RUNPATH of libpq in the package: readelf -a libpq.so.5 | grep RUNPATH")
	}
	c.upgrade(f)
	f.cure("For the time until then the server may keep the user's password as md5: SET password_encryption = 'md5', then set it again, and an md5 line in pg_hba.conf.",
		"md5 is weak; undo it afterwards.")
	c.excludeLogins(f, "D12")
	return c.again(f, false)
}

func checkCredentials(c *Case) *Finding {
	if c.symptom != anyLogin {
		return nil
	}
	confidence, facts, ok := c.refusedCredentials()
	if !ok {
		return nil
	}
	f := c.finding(confidence, fmt.Sprintf("The database of %s%s refuses every password that the secret holds: it was changed outside, or the user is gone or locked.", c.secretName(), c.at()), c.told.Fact).weigh(8)
	for _, x := range facts {
		f.fact(x)
	}
	s, _ := c.login().spoke(refusing()...)
	switch s.cause {
	case rotator.CauseLocked:
		f.Cause = fmt.Sprintf("The database user of %s is locked, or its password has expired.", c.secretName())
	case rotator.CauseMissingUser:
		f.Cause = fmt.Sprintf("The database user of %s does not exist any more.", c.secretName())
	case rotator.CauseAccess:
		f.Cause = fmt.Sprintf("The database%s has no rule that lets the user of %s in from the function's address.", c.at(), c.secretName())
		f.cure("Add a rule for the user and the function's address (pg_hba.conf, or the host of the MySQL account).", "")
	}
	if confidence != Certain {
		f.look("a login with each version: keyturn doctor --probe %s; the database's own log names the reason", quote(c.secretID()))
	}
	c.excludeLogins(f, "D11")
	f.cure("Give the user a password as a superuser of the database (and unlock it), and store that in the secret. The new value becomes AWSCURRENT and ends the rotation that is stuck.",
		"Programs that hold the password that the database has now lose it.", c.putCommand(), c.rotateCommand())
	if c.stuck() && !c.Keyturn {
		f.Remedies[len(f.Remedies)-1].Commands = []string{c.putCommand(), c.removePendingCommand(), c.rotateCommand()}
	}
	return f
}

func checkCurrentLogin(c *Case) *Finding {
	if c.symptom != currentLogin {
		return nil
	}
	if s, ok := c.login().spoke(unreachable()...); ok && s.cause != "" || c.closed("database") {
		return nil
	}
	confidence := Likely
	if _, ok := c.login().spoke(refusing()...); ok {
		confidence = Certain
	} else if p, ok := c.login().refused(); ok && (p.From == "function" || c.worksFrom(p.From, true)) {
		confidence = Certain
	}
	if c.login().slow && confidence != Certain {
		confidence = Possible
	}
	f := c.bySymptom(currentLogin, confidence, fmt.Sprintf("AWSCURRENT of %s does not log in. Alternating users prove by it who they are, and do not fall back to AWSPREVIOUS.", c.secretName()))
	for _, s := range c.login().said {
		f.fact(s.fact)
	}
	c.excludeLogins(f, "D11")
	if confidence != Certain {
		f.look("a login with AWSCURRENT: keyturn doctor --probe %s", quote(c.secretID()))
	}
	if c.previous != "" && c.live.previous == yes {
		f.cure("Move AWSCURRENT back to the version before, which logs in.", "", c.aws("secretsmanager", "update-secret-version-stage", "--secret-id", c.secretID(),
			"--version-stage", labelCurrent, "--move-to-version-id", c.previous, "--remove-from-version-id", c.current))
		return c.again(f, false)
	}
	f.cure("Set the user's password as a superuser of the database and store it.", "Programs that hold the password that the database has now lose it.", c.putCommand())
	return c.again(f, false)
}

func checkSuperuserLogin(c *Case) *Finding {
	if c.symptom != superuserLogin {
		return nil
	}
	arn := c.superuserARN() // never that of a line: the superuser's password goes there
	f := c.bySymptom(superuserLogin, Likely, fmt.Sprintf("The superuser of %s does not log in with its secret %s.", c.secretName(), arn))
	if s, ok := c.login().spoke(refusing()...); ok {
		f.Confidence, f.Cause = Certain, f.Cause+" The database refuses its password."
		f.fact(s.fact)
	} else if s, ok := c.login().spoke(rotator.CauseDatabase); ok {
		f.Confidence, f.Cause = Certain, f.Cause+" The user's database does not exist for it, or it may not connect to it."
		f.fact(s.fact)
	}
	for _, p := range c.Probes {
		if p.Label == "superuser" {
			f.fact(probeFact(p))
			if !p.LogsIn {
				f.Confidence = Certain
			}
		}
	}
	f.not("D15", "AWSCURRENT has logged in right before").not("D10", "AWSCURRENT has logged in right before, at the same host")
	f.cure("Store the superuser's right password in its secret, and let it connect to the user's database (GRANT CONNECT ON DATABASE).", "",
		c.aws("secretsmanager", "put-secret-value", "--secret-id", arn, "--secret-string", "file://superuser.json"))
	if f.Confidence != Certain {
		f.look("a login as the superuser: keyturn doctor --probe %s", quote(c.secretID()))
	}
	return c.again(f, false)
}

func checkSuperuserSecret(c *Case) *Finding {
	switch c.symptom {
	case noMasterARN:
		f := c.bySymptom(noMasterARN, Certain, fmt.Sprintf("%s has no member masterarn, by which %s finds its superuser.", c.secretName(), c.functionName()))
		f.cure("Store the value again with masterarn: the complete ARN of the superuser's secret.", "The new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
		return c.again(f, false)
	case superuserDenied:
	default:
		return nil
	}
	arn, named := c.superuserARN(), c.otherSecretIn(c.told.Text)
	f := c.bySymptom(superuserDenied, Likely, fmt.Sprintf("The role of %s may not read %s, which it takes for its superuser's secret.", c.functionName(), named))
	f.not("D04", "the refusal is about another secret than "+c.secretName())
	if named != arn {
		f.look("whether %s is the superuser's secret at all, that masterarn names: keyturn doctor --probe %s", named, quote(c.secretID()))
		f.cure("If it is, grant the role secretsmanager:GetSecretValue and DescribeSecret on its full ARN; if not, find out why the function wants to read it.", "")
		return c.again(f, false)
	}
	if d := c.refused("secretsmanager:GetSecretValue", arn); d != nil {
		f.fact(decisionFact(d))
	}
	f.Confidence = Certain
	f.Cause = fmt.Sprintf("The role of %s may not read the superuser's secret %s.", c.functionName(), arn)
	f.cure("Grant the role reading on the superuser's full ARN.", "", c.putRolePolicy("D17", allow(arn, "secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret")))
	return c.again(f, false)
}

func checkOtherHost(c *Case) *Finding {
	f := c.bySymptom(otherHost, Certain, fmt.Sprintf("The secrets of %s and of its superuser name different hosts, and neither is known to replicate the other.", c.secretName()))
	if f == nil {
		return nil
	}
	f.fact(c.hosts())
	f.cure("Write the same host, spelt the same, into both secrets.", "The new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	f.cure("If the one is a replica of the other, let the role ask RDS.", "", c.putRolePolicy("D35", allow("*", "rds:DescribeDBInstances", "rds:DescribeDBClusters")))
	return c.again(f, false)
}

func (c *Case) hosts() Fact {
	user, super := c.value(labelCurrent), c.value("superuser")
	if user == nil || super == nil {
		return Fact{}
	}
	return Fact{Source: "probe", Where: "hosts", Text: fmt.Sprintf("AWSCURRENT names %q, the superuser's secret %q", user.Host, super.Host)}
}

func checkOtherUser(c *Case) *Finding {
	f := c.bySymptom(otherUser, Certain, fmt.Sprintf("AWSPENDING of %s names another user or host than AWSCURRENT: it is from before a change of the secret, or of another strategy.", c.secretName()))
	if f == nil {
		return nil
	}
	f.not("D11", "no login was refused for it: the versions were compared")
	return c.again(f, true)
}

func checkPasswordRefused(c *Case) *Finding {
	if c.symptom != passwordRefused {
		return nil
	}
	confidence := Likely
	if _, ok := c.login().spoke(rotator.CausePolicy); ok || strings.Contains(strings.ToLower(c.told.Text), "password policy") {
		confidence = Certain
	}
	f := c.bySymptom(passwordRefused, confidence, fmt.Sprintf("The database does not take the password that was made for %s: by its characters, its length or a policy.", c.secretName()))
	f.not("D34", "the refusal is of the password, not of the right to set one")
	for _, name := range []string{"EXCLUDE_CHARACTERS", "PASSWORD_LENGTH"} {
		if v, ok := c.variable(name); ok {
			f.saw("GetFunctionConfiguration", "%s is %s", name, v)
		}
	}
	f.cure("Leave out the characters that the database does not take, and make the password as long and mixed as its policy asks.", "",
		c.setVariable("EXCLUDE_CHARACTERS", `:/@"'\`, "PASSWORD_LENGTH", "32")...)
	f.look("the database's own log and its rules for passwords")
	return c.again(f, false)
}

func checkStatement(c *Case) *Finding {
	f := c.bySymptom(statementRefused, Likely, fmt.Sprintf("The database lets the function of %s log in and refuses to change the password.", c.secretName()))
	if f == nil {
		return nil
	}
	f.not("D11", "the login succeeded").not("D30", "nothing says that the password itself is refused")
	text := "Grant what the statement needs: the user must be able to set its own password, the superuser to set others' (CREATEROLE and ADMIN OPTION in PostgreSQL 16 and newer)."
	switch s, ok := c.login().spoke(rotator.CausePermission, rotator.CauseReadOnly, rotator.CauseMissingUser); {
	case ok && s.cause == rotator.CauseReadOnly, !ok && strings.Contains(strings.ToLower(c.told.Text), "read-only"):
		f.Confidence, f.Cause = Certain, fmt.Sprintf("The server of %s%s takes no changes: it is a replica, or read-only.", c.secretName(), c.at())
		text = "Name the primary's host in the secret; passwords change only there."
	case ok && s.cause == rotator.CauseMissingUser:
		f.Confidence, f.Cause = Certain, fmt.Sprintf("The user of %s whose password is to change does not exist on the server.", c.secretName())
		text = "Make the user, or correct its name in the secret."
	case ok:
		f.Confidence = Certain
	case strings.Contains(c.told.Text, "PASSWORD("):
		f.Cause += " The function's statements are too old for the server: PASSWORD() is gone from MySQL."
	}
	f.cure(text, "")
	f.look("the database's own log at %s", day(c.told.At))
	return c.again(f, false)
}

func checkRDS(c *Case) *Finding {
	f := c.bySymptom(rdsRefused, Certain, fmt.Sprintf("%s cannot find out from the RDS API where the server of the superuser's secret is.", c.functionName()))
	if f == nil {
		return nil
	}
	t := c.told.Text
	switch {
	case strings.Contains(t, "AccessDenied") || strings.Contains(t, "not authorized"):
		f.cure("Let the role ask RDS.", "", c.putRolePolicy("D35", allow("*", "rds:DescribeDBInstances", "rds:DescribeDBClusters")))
	case strings.Contains(t, "found when using") || strings.Contains(t, "NotFound") || strings.Contains(t, "exceeds the maximum"):
		f.Cause = fmt.Sprintf("The server that the superuser's secret %s is tagged with does not exist any more.", c.superuserARN())
		f.cure("Use the superuser's secret of the server that there is: correct masterarn.", "The new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	default:
		if p := c.path("rds"); p.hop() != nil {
			p.mend(f)
			break
		}
		f.cure("Give the function's VPC an interface endpoint for RDS.", "",
			c.aws(append([]string{"ec2", "create-vpc-endpoint", "--vpc-endpoint-type", "Interface", "--vpc-id", c.vpcID(), "--service-name",
				"com.amazonaws." + cmp.Or(c.Region, "REGION") + ".rds", "--private-dns-enabled"}, c.subnetWords()...)...))
	}
	return c.again(f, false)
}

func checkNotImplemented(c *Case) *Finding {
	f := c.bySymptom(notImplemented, Certain, fmt.Sprintf("%s does not implement %s: the generic template leaves setSecret and testSecret to you.", c.functionName(), cmp.Or(c.step, "the step")))
	if f == nil {
		return nil
	}
	if c.Function != nil && c.Function.Code != nil && len(c.Function.Code.Unfinished) > 0 {
		f.fact(Fact{Source: "package", Where: c.Function.Code.HandlerFile, Text: list(c.Function.Code.Unfinished) + " only raise NotImplementedError"})
	}
	f.cure("Write the steps, deploy, rotate. On Keyturn a built-in rotator may do it all: keyturn function list-rotators.", "",
		c.onFunction("update-function-code", "--zip-file", "fileb://function.zip"))
	return c.again(f, false)
}

func checkCacheUser(c *Case) *Finding {
	if at := c.whereStopped(); c.symptom != cacheUser && at != atCache {
		return nil
	}
	f := c.finding(Certain, "", c.told.Fact, c.lastWord()).weigh(12)
	if strings.Contains(c.told.Text, "is not allowed to use this Lambda function") {
		f.Cause = fmt.Sprintf("%s is made for one user and one secret, and its variables USER_NAME and SECRET_ARN name others than %s has.", c.functionName(), c.secretName())
		f.cure("Correct the variables.", "", c.setVariable("SECRET_ARN", c.secretID(), "USER_NAME", "USER_NAME")...)
		return c.again(f, false)
	}
	f.Cause = fmt.Sprintf("The ElastiCache user of %s did not become active before %s gave up.", c.secretName(), c.functionName())
	if c.Function != nil && c.Function.Timeout > 0 && c.Function.Timeout < 11*time.Minute {
		f.saw("GetFunctionConfiguration", "Timeout is %s; the function may wait 600 s for the user", seconds(c.Function.Timeout))
		c.raiseTimeout(f, 15*time.Minute)
		return c.again(f, true)
	}
	f.look("the user's status: aws elasticache describe-users")
	return c.again(f, false)
}
