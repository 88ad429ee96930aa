package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The dates at which AWS's templates changed (AWS docs): functions made
// before do not have what came with them.
var (
	cutTLS   = time.Date(2021, 12, 20, 0, 0, 0, 0, time.UTC)
	cutSCRAM = time.Date(2021, 12, 30, 0, 0, 0, 0, time.UTC)
)

// The transforms of hosted rotation.
const (
	transform2020 = "AWS::SecretsManager-2020-07-23"
	transform2024 = "AWS::SecretsManager-2024-09-16"
)

// before tells that the function was made before a day: by its stack, which
// is the only thing that tells (a function has no date of its making). A
// stack that was updated since may have newer code.
func (c *Case) before(day time.Time) bool {
	return c.Stack != nil && !c.Stack.CreatedAt.IsZero() && c.Stack.CreatedAt.Before(day) &&
		(c.Stack.UpdatedAt.IsZero() || c.Stack.UpdatedAt.Before(day))
}

func (c *Case) ageFact() Fact {
	if c.Stack == nil {
		return Fact{}
	}
	said := fmt.Sprintf("the function's stack %s was created on %s", c.Stack.Name, c.Stack.CreatedAt.UTC().Format(time.DateOnly))
	if !c.Stack.UpdatedAt.IsZero() {
		said += " and last updated on " + c.Stack.UpdatedAt.UTC().Format(time.DateOnly)
	}
	return Fact{Source: "api", Where: "DescribeStacks", Text: said}
}

// upgrade adds how to get a function of today, by how it was deployed.
func (c *Case) upgrade(f *Finding) *Finding {
	const verify = " Look afterwards whether the package's .so files are tagged for the new version."
	root := c.rootStack()
	switch {
	case c.Keyturn && (c.Stack == nil || c.Stack.Name == ""):
		f.cure("Use a built-in rotator, which has no runtime that ages: make it beside the old function, test it, then rotate.", "",
			"keyturn function create "+quote(c.functionName()+"-2")+" --rotator "+quote(c.rotatorName())+" --secret "+quote(c.secretID()))
	case c.Stack != nil && c.Stack.CDK:
		f.cure("Upgrade aws-cdk-lib to 2.94.0 or newer and deploy again."+verify, "", "cdk deploy "+quote(root))
	case c.Stack != nil && slices.Contains(c.Stack.Transforms, transform2024):
		f.cure("Update the stack with its own template: the transform "+transform2024+" brings runtime and libraries along."+verify, parametersFall, c.updateStack(root))
	case c.Stack != nil && slices.Contains(c.Stack.Transforms, transform2020):
		f.cure("Move the template to the transform "+transform2024+" and update the stack; take runtime out of HostedRotationLambda."+verify,
			"The transforms are not compatible backwards: going back needs care. "+parametersFall, c.updateStack(root))
		f.cure("Or give HostedRotationLambda another rotationLambdaName, so that the function is made anew.", "The old function's grants have to be given to the new one.", c.updateStack(root))
	case c.Stack != nil && c.Stack.Application != "" && (len(c.Stack.Transforms) > 0 || root == c.Stack.Name):
		f.cure("Update the application "+c.Stack.Application+" to its newest version."+verify, "", c.aws("serverlessrepo", "create-cloud-formation-change-set",
			"--application-id", c.applicationARN(), "--stack-name", strings.TrimPrefix(c.Stack.Name, "serverlessrepo-"), "--capabilities", "CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY",
			"--parameter-overrides", "Name=functionName,Value="+c.functionName(), "Name=endpoint,Value=https://"+c.serviceHost("secretsmanager")),
			c.aws("cloudformation", "execute-change-set", "--change-set-name", "CHANGE_SET_ID"))
	case c.template() != "":
		f.cure("The function was made by the console: its libraries cannot be changed. On the secret's Rotation tab create a new function under a new name, "+
			"rotate at once to test it, then delete the old one."+verify, "", c.testCommand("NEW_FUNCTION_ARN"))
	default:
		f.cure("Build the package anew for the new runtime, with its libraries, and set both together.", "A runtime changed without its libraries does not start (D49).",
			c.onFunction("update-function-code", "--zip-file", "fileb://function.zip"), c.onFunction("update-function-configuration", "--runtime", "python3.13"))
	}
	return f
}

// parametersFall is the risk of every update of a stack.
const parametersFall = "Parameters that are not named fall back to their defaults: add --parameters ParameterKey=NAME,UsePreviousValue=true for each."

func (c *Case) rootStack() string {
	if c.Stack == nil {
		return ""
	}
	return cmp.Or(c.Stack.RootName, c.Stack.Name)
}

func (c *Case) updateStack(root string) string {
	return c.aws("cloudformation", "update-stack", "--stack-name", root, "--template-body", "file://template.json",
		"--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
}

func (c *Case) applicationARN() string {
	id := "arn:aws:serverlessrepo:us-east-1:297356227824:applications/"
	switch c.Partition {
	case "aws-cn":
		id = "arn:aws-cn:serverlessrepo:cn-north-1:193023089310:applications/"
	case "aws-us-gov":
		id = "arn:aws-us-gov:serverlessrepo:us-gov-west-1:023102451235:applications/"
	}
	return id + c.Stack.Application
}

// testCommand makes a function the secret's and only tests it.
func (c *Case) testCommand(functionARN string) string {
	return c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(), "--rotation-lambda-arn", functionARN, "--no-rotate-immediately")
}

// rotatorName is the built-in rotator for the secret's engine and strategy.
func (c *Case) rotatorName() string {
	engine := strings.TrimPrefix(c.engine(), "aurora-")
	engine = strings.Replace(engine, "postgresql", "postgres", 1)
	return cmp.Or(engine, "ENGINE") + "." + cmp.Or(c.strategy(), "single")
}
