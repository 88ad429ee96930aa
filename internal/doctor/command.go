package doctor

import (
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// quote makes one word of a POSIX shell of any text.
func quote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(plain(s), "'", `'\''`) + "'"
}

// aws is a command of the AWS CLI in the secret's Region. Words are quoted
// where they need it.
func (c *Case) aws(words ...string) string {
	line := "aws"
	for _, w := range words {
		line += " " + quote(w)
	}
	if c.Region != "" {
		line += " --region " + quote(c.Region)
	}
	return line
}

// onFunction is aws for an operation of Lambda on the rotation function, in
// its own Region.
func (c *Case) onFunction(operation string, words ...string) string {
	return c.aws(append([]string{"lambda", operation, "--function-name", c.functionID()}, words...)...)
}

// functionID names the function without a qualifier.
func (c *Case) functionID() string {
	id := c.functionARN()
	if a, ok := arn.Parse(id); ok && strings.Count(a.Resource, ":") > 1 {
		return strings.TrimSuffix(id, ":"+c.qualifier())
	}
	return id
}

// qualifier is the version or alias that the secret's ARN of the function
// names; "" for none.
func (c *Case) qualifier() string {
	if c.Function != nil && c.Function.Qualifier != "" {
		return c.Function.Qualifier
	}
	a, ok := arn.Parse(c.functionARN())
	if !ok || strings.Count(a.Resource, ":") < 2 {
		return ""
	}
	return a.Resource[strings.LastIndexByte(a.Resource, ':')+1:]
}

func (c *Case) rotateCommand() string {
	return c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID())
}

func (c *Case) removePendingCommand() string {
	return c.aws("secretsmanager", "update-secret-version-stage", "--secret-id", c.secretID(),
		"--version-stage", labelPending, "--remove-from-version-id", c.pending)
}

func (c *Case) promoteCommand() string {
	words := []string{"secretsmanager", "update-secret-version-stage", "--secret-id", c.secretID(),
		"--version-stage", labelCurrent, "--move-to-version-id", c.pending}
	if c.current != "" {
		words = append(words, "--remove-from-version-id", c.current)
	}
	return c.aws(words...)
}

// setVariable changes environment variables of the function, given as names
// and values, and leaves the others, which the API replaces as a whole. They go
// through a file, not through arguments that other users see, and nothing is
// done where the function's key does not let them be read.
func (c *Case) setVariable(pairs ...string) []string {
	change, arguments := "", ""
	for i := 0; i+1 < len(pairs); i += 2 {
		name := "v" + strconv.Itoa(i/2)
		arguments += " --arg " + name + " " + quote(pairs[i+1])
		change += " | .[" + strconv.Quote(pairs[i]) + "] = $" + name
	}
	program := `if .Error then error("the variables cannot be read") else {Variables: ((.Variables // {})` + change + `)} end`
	return []string{
		"umask 077",
		c.onFunction("get-function-configuration", "--query", "Environment", "--output", "json") + " > environment.json",
		"jq" + arguments + " " + quote(program) + " environment.json > changed.json",
		c.onFunction("update-function-configuration", "--environment", "file://changed.json"),
		"rm -f environment.json changed.json",
	}
}

// publishCommands bring a change of the function to the version or alias by
// which the secret names it.
func (c *Case) publishCommands() []string {
	publish := c.onFunction("publish-version", "--query", "Version", "--output", "text")
	if _, err := strconv.Atoi(c.qualifier()); err == nil {
		return []string{c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(), "--no-rotate-immediately") +
			" --rotation-lambda-arn " + quote(c.functionID()) + `:"$(` + publish + `)"`}
	}
	return []string{c.onFunction("update-alias", "--name", c.qualifier()) + ` --function-version "$(` + publish + `)"`}
}

// putRolePolicy adds an inline policy under a name of the doctor's own: one of
// the same name would be replaced.
func (c *Case) putRolePolicy(code, document string) string {
	return c.aws("iam", "put-role-policy", "--role-name", c.roleName(), "--policy-name", "keyturn-doctor-"+code, "--policy-document", document)
}

func (c *Case) roleName() string {
	role := c.roleARN()
	return role[strings.LastIndexByte(role, '/')+1:]
}

func (c *Case) roleARN() string {
	switch {
	case c.Function != nil && c.Function.RoleARN != "":
		return c.Function.RoleARN
	case c.Role != nil:
		return c.Role.ARN
	}
	return ""
}

// logsCommand shows the function's log around the rotation.
func (c *Case) logsCommand() string {
	group := "/aws/lambda/" + c.functionName()
	if c.Function != nil && c.Function.LogGroup != "" {
		group = c.Function.LogGroup
	}
	from := c.At.Add(-24 * time.Hour)
	if !c.started.IsZero() {
		from = c.started
	}
	return c.aws("logs", "filter-log-events", "--log-group-name", group, "--start-time", strconv.FormatInt(from.UnixMilli(), 10))
}

// allow is a policy document of one statement.
func allow(resource string, actions ...string) string {
	quoted := make([]string, len(actions))
	for i, a := range actions {
		quoted[i] = strconv.Quote(a)
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + strings.Join(quoted, ",") + `],"Resource":` + strconv.Quote(plain(resource)) + `}]}`
}

// seconds prints a duration as logs do.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + " ms" }

// serviceHost is the regional host of a service.
func (c *Case) serviceHost(service string) string {
	suffix := ".amazonaws.com"
	if strings.HasPrefix(c.Region, "cn-") {
		suffix += ".cn"
	}
	return service + "." + c.Region + suffix
}
