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

// setVariable changes one environment variable of the function and leaves
// the others, which the API replaces as a whole.
func (c *Case) setVariable(name, value string) string {
	get := c.onFunction("get-function-configuration", "--query", "{Variables: Environment.Variables}", "--output", "json")
	change := "jq --arg v " + quote(value) + " " + quote(".Variables."+name+" = $v")
	return c.onFunction("update-function-configuration") + ` --environment "$(` + get + " | " + change + `)"`
}

// putRolePolicy adds an inline policy that allows the actions on the
// resources to the function's role.
func (c *Case) putRolePolicy(name, document string) string {
	return c.aws("iam", "put-role-policy", "--role-name", c.roleName(), "--policy-name", name, "--policy-document", document)
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
