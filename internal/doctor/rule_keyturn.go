package doctor

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/rotator"
)

func keyturnRules() []rule {
	return []rule{
		{"K01", "The rotation waits for readers of the old password", phaseKeyturn,
			[]string{"KEYTURN_HOLD keeps the old password until its readers have read the secret again"}, []string{"let them read, or wait for the hold's end"}, checkHeld},
		{"K02", "The hold ended before all readers had moved", phaseKeyturn,
			[]string{"readers of the old password did not read the secret within KEYTURN_HOLD"}, []string{"restart them; a longer hold"}, checkHoldOver},
		{"K03", "The server has no interpreter for the function's runtime", phaseKeyturn,
			[]string{"the interpreter is not installed, or cannot run functions"}, []string{"install it, or name it by --runtime"}, checkInterpreter},
		{"K04", "The server cannot confine functions, and runs none", phaseKeyturn,
			[]string{"the kernel or the container offers neither namespaces nor Landlock nor another user"}, []string{"allow one of them"}, checkConfinement},
		{"K05", "The server cannot hold the function to its VPC", phaseKeyturn,
			[]string{"--enforce-vpc without seccomp notifications and Landlock"}, []string{"another host, or no --enforce-vpc"}, checkHeldVPC},
		{"K06", "Lambda may not take on the function's role", phaseKeyturn,
			[]string{"the role is deleted", "its trust policy does not name lambda.amazonaws.com"}, []string{"make the role, or mend its trust policy"}, checkRole},
		{"K07", "The database that the secret names does not exist", phaseKeyturn,
			[]string{"dbname is wrong or the database was dropped", "the user may not connect to it"}, []string{"correct dbname, or grant CONNECT"}, checkDatabase},
		{"K08", "The database server has no room or is not ready", phaseKeyturn,
			[]string{"too many connections", "it was starting, stopping or failing over"}, []string{"rotate again; more connections"}, checkServerBusy},
		{"K09", "A step returned without doing its work", phaseKeyturn,
			[]string{"createSecret returned and stored nothing", "finishSecret returned and moved nothing"}, []string{"mend the function"}, checkUndone},
		{"K10", "The hold may not look who reads the secret", phaseKeyturn,
			[]string{"the role lacks cloudtrail:LookupEvents"}, []string{"grant it, or remove KEYTURN_HOLD"}, checkHoldDenied},
		{"K11", "The function's environment variables cannot be decrypted", phaseKeyturn,
			[]string{"their KMS key is disabled, deleted or refuses"}, []string{"make the key usable"}, checkVariables},
		{"K12", "The server failed", phaseKeyturn,
			[]string{"an error of the server itself, which its log tells"}, []string{"look at the server's log"}, checkServer},
		{"K13", "The function failed for a reason of its own", phaseKeyturn,
			[]string{"an error that no rule knows"}, []string{"read its log"}, func(*Case) *Finding { return nil }},
	}
}

func checkHeld(c *Case) *Finding {
	if c.outcome != held || len(c.Reports) == 0 {
		return nil
	}
	last := c.Reports[len(c.Reports)-1]
	f := c.finding(Certain, fmt.Sprintf("The rotation of %s waits in setSecret, because KEYTURN_HOLD keeps the old password for readers that have not read the secret again: %s.", c.secretName(), last.Error))
	f.Step = stepSet
	f.fact(Fact{Source: "engine", At: last.At, Where: "/keyturn/rotation " + last.Token, Text: last.Error})
	f.as(rankRisk)
	return f.cure("Let the readers read the secret again (restart them), or wait: the hold ends by itself. Nothing is broken meanwhile.", "",
		c.logsCommand())
}

var holdOverPattern = compiled(`The hold of user .* is over\.`)

func checkHoldOver(c *Case) *Finding {
	x, ok := c.findRun(holdOverPattern)
	if !ok {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("The hold for %s ended while some still used the old password: they cannot log in any more.", c.secretName()), x).as(rankRisk)
	f.Step = stepSet
	value, _ := c.variable("KEYTURN_HOLD")
	return f.cure("Restart who is named, and make the hold longer than they keep a password"+map[bool]string{true: "", false: " (it is " + value + ")"}[value == ""]+".", "",
		c.setVariable("KEYTURN_HOLD", "48h")...)
}

func checkInterpreter(c *Case) *Finding {
	f := c.bySymptom(noInterpreter, Certain, fmt.Sprintf("The server has nothing to run %s on: %s.", c.functionName(), c.runtime()))
	if f == nil {
		return nil
	}
	f.not("D49", "the function's code was never started")
	f.cure("Install the interpreter on the server's host and restart the server, or name its executable: keyturn serve --runtime "+c.runtime()+"=PATH. "+
		"Or use a built-in rotator, which needs none.", "", "keyturn function create "+quote(c.functionName()+"-2")+" --rotator "+quote(c.rotatorName())+" --secret "+quote(c.secretID()))
	return c.again(f, false)
}

func checkConfinement(c *Case) *Finding {
	f := c.bySymptom(noConfinement, Certain, "The server runs no function, because nothing on its host would keep functions from the server's own files.")
	if f == nil {
		return nil
	}
	f.cure("Allow the server user namespaces, a kernel with Landlock, or a user of its own for functions; keyturn serve says at its start what is missing (docs/functions.md).", "")
	return c.again(f, false)
}

func checkHeldVPC(c *Case) *Finding {
	f := c.bySymptom(noHeldVPC, Certain, fmt.Sprintf("%s is in a VPC, and the server's host can hold it neither by seccomp nor by Landlock, so it does not run.", c.functionName()))
	if f == nil {
		return nil
	}
	f.cure("Run the server on a kernel with seccomp notifications or Landlock 4, or without --enforce-vpc, or take the function out of its VPC.",
		"Without the VPC the function reaches everything that the host reaches.",
		c.onFunction("update-function-configuration", "--vpc-config", "SubnetIds=[],SecurityGroupIds=[]"))
	return c.again(f, false)
}

func checkRole(c *Case) *Finding {
	gone := c.Role != nil && !c.Role.Found && c.Role.ARN != "" && c.gap("iam:GetRole") == nil && c.Function != nil && c.Function.Found
	if c.symptom != roleRefused && !gone {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("Lambda cannot take on %s, the role of %s.", cmp.Or(c.roleARN(), "the role"), c.functionName())).weigh(10)
	if c.symptom == roleRefused {
		f.fact(c.told.Fact)
	} else if c.run != nil || !c.failing() {
		f.as(rankBroken)
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	if c.Role != nil && c.Role.Found {
		f.Cause += " It exists; its trust policy does not let lambda.amazonaws.com assume it."
		f.saw("GetRole", "trust policy: %s", c.Role.Trust)
		f.cure("Mend its trust policy.", "", c.aws("iam", "update-assume-role-policy", "--role-name", c.roleName(), "--policy-document", trust))
		return c.again(f, false)
	}
	if gone {
		f.Cause += " It does not exist."
		f.saw("GetRole", "%s was not found", c.Role.ARN)
	}
	f.cure("Make the role again with the rights of a rotation function, or name another.", "",
		c.aws("iam", "create-role", "--role-name", c.roleName(), "--assume-role-policy-document", trust),
		c.putRolePolicy("K06", allow(c.secretID(), allSecretActions...)))
	return c.again(f, false)
}

func checkDatabase(c *Case) *Finding {
	if !c.loginFailed() || c.symptom == pendingLogin && !c.test {
		return nil
	}
	s, said := c.login().spoke(rotator.CauseDatabase)
	var shown Fact
	switch p, _, found := c.login().failsAt("database"); {
	case said:
		shown = s.fact
	case found && len(c.login().said) == 0:
		shown = probeFact(p)
	default:
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("The database that %s names does not exist%s, or its user may not connect to it.", c.secretName(), c.at()), c.told.Fact, shown).weigh(12)
	f.not("D11", "the password was taken").not("D10", "the server answered")
	f.cure("Correct dbname in the secret, or make the database and let the user connect.", "A new value becomes AWSCURRENT at once. Take the password over exactly.", c.putCommand())
	return c.again(f, false)
}

func checkServerBusy(c *Case) *Finding {
	s, ok := c.login().spoke(rotator.CauseConnections, rotator.CauseUnavailable)
	if !ok || !c.loginFailed() && c.symptom != superuserLogin && c.symptom != statementRefused {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("The database server%s was not ready for %s: it was starting or stopping, or broke the connection off.", c.at(), c.functionName()), c.told.Fact, s.fact).weigh(12)
	if s.cause == rotator.CauseConnections {
		f.Cause = fmt.Sprintf("The database server%s had no connection left for %s.", c.at(), c.functionName())
		f.cure("Free connections or allow more. On Keyturn --concurrency of keyturn function create limits how many a function opens at once.", "")
	}
	f.not("D11", "no password was refused").not("D10", "the server answered")
	return c.again(f, true)
}

func checkUndone(c *Case) *Finding {
	if c.symptom != nothingStored && c.symptom != notMoved {
		return nil
	}
	f := c.bySymptom(c.symptom, Certain, fmt.Sprintf("createSecret of %s returned without an error, and version %s has no value.", c.functionName(), c.token))
	if c.symptom == notMoved {
		f.Cause = fmt.Sprintf("finishSecret of %s returned without an error, and AWSCURRENT is not on version %s.", c.functionName(), c.token)
	}
	f.cure("Mend the function: createSecret puts the value with ClientRequestToken and AWSPENDING, finishSecret moves AWSCURRENT to the same version, and errors are raised, not swallowed.", "",
		c.onFunction("update-function-code", "--zip-file", "fileb://function.zip"))
	return c.again(f, false)
}

func checkHoldDenied(c *Case) *Finding {
	f := c.bySymptom(holdDenied, Certain, fmt.Sprintf("KEYTURN_HOLD of %s needs to know who reads the secret, and its role may not look.", c.functionName()))
	if f == nil {
		return nil
	}
	f.cure("Let the role look events up, or remove the variable.", "", c.putRolePolicy("K10", allow("*", "cloudtrail:LookupEvents")))
	return c.again(f, false)
}

func checkVariables(c *Case) *Finding {
	f := c.bySymptom(variablesSealed, Certain, fmt.Sprintf("The environment variables of %s cannot be decrypted, so it does not start.", c.functionName()))
	if f == nil {
		return nil
	}
	f.not("D03", "it is the key of the function's variables, not of the secret")
	f.cure("Make the key of the function's variables usable again (enable-key, cancel-key-deletion), or give the function another.", "",
		c.onFunction("get-function-configuration", "--query", "KMSKeyArn"))
	return c.again(f, false)
}

func checkServer(c *Case) *Finding {
	f := c.bySymptom(serverError, Likely, "The server itself failed in the step; what happened stands in its own log, not in what clients see.")
	if f == nil {
		return nil
	}
	f.look("the server's log at %s, line \"rotation failed\"", day(c.ended))
	return c.again(f, true)
}

// unexplained is the finding of a failure that no rule knows.
func (c *Case) unexplained() *Finding {
	if c.outcome != failed {
		return nil
	}
	f := c.finding(Possible, fmt.Sprintf("%s of %s failed, and nothing that could be read says why.", cmp.Or(c.step, "The rotation"), c.secretName()))
	f.Code, f.Title, f.fallback = "K13", "The function failed for a reason of its own", true
	f.fact(c.source)
	if c.report != "" {
		f.fact(Fact{Source: "engine", At: c.ended, Text: c.report})
	}
	if c.run != nil {
		f.Cause = fmt.Sprintf("%s of %s failed with an error that no rule knows.", cmp.Or(c.step, "The rotation"), c.secretName())
		f.Confidence = Likely
		for _, l := range lastLines(c.run) {
			if failurePattern.MatchString(l.Text) || strings.Contains(l.Text, c.step+":") && c.step != "" {
				f.fact(logFact(c.run, l))
			}
		}
		f.fact(c.lastWord())
	}
	if g := c.gap("logs:"); g != nil {
		f.look("the function's log, which could not be read: %s", g.Error)
	} else if c.run == nil {
		f.look("the function's log around %s", day(c.ended))
	}
	f.cure("Read the function's log and mend what it names.", "", c.logsCommand())
	return c.again(f, false)
}
