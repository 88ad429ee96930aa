package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// activeLimit is how long a function may take to become usable.
const activeLimit = time.Minute

// existing returns the function as it is; nil if there is none. One that is
// not of a built-in rotator is nobody's to change here.
func (d *deployment) existing(ctx context.Context) (*types.FunctionConfiguration, error) {
	out, err := d.lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &d.Name})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the function %s: %w", d.Name, err)
	}
	c := out.Configuration
	if !strings.HasPrefix(aws.ToString(c.Handler), handlerPrefix) {
		return nil, fmt.Errorf("the function %s exists and is no built-in rotator (runtime %s, handler %s): choose another name; "+
			"docs/rotators.md says how to put a built-in rotator in its place live", d.Name, c.Runtime, aws.ToString(c.Handler))
	}
	return c, nil
}

// function makes the function, or changes what differs, and returns its ARN.
func (d *deployment) function(ctx context.Context, existing *types.FunctionConfiguration, role string) (string, error) {
	code, err := standInPackage(d.CABundle)
	if err != nil {
		return "", err
	}
	if existing == nil {
		return d.createFunction(ctx, role, code)
	}
	differs := d.differences(existing, role)
	sum := sha256.Sum256(code)
	if base64.StdEncoding.EncodeToString(sum[:]) != aws.ToString(existing.CodeSha256) {
		if err := d.updateCode(ctx, code); err != nil {
			return "", err
		}
		differs = append(differs, "code")
		d.did(Change{"code of the function", d.Name, Updated, ""})
	}
	change := Change{"function", *existing.FunctionArn, Unchanged, ""}
	if settings := slices.DeleteFunc(slices.Clone(differs), func(s string) bool { return s == "code" }); len(settings) > 0 {
		if err := d.updateConfiguration(ctx, role); err != nil {
			return "", err
		}
		change.Action, change.Detail = Updated, strings.Join(settings, ", ")
	}
	d.did(change)
	return *existing.FunctionArn, nil
}

func (d *deployment) createFunction(ctx context.Context, role string, code []byte) (string, error) {
	out, err := d.lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &d.Name, Role: &role, Runtime: Runtime, Handler: aws.String(handlerPrefix + d.Rotator),
		Timeout: &d.Timeout, MemorySize: &d.Memory, Code: &types.FunctionCode{ZipFile: code},
		Environment: &types.Environment{Variables: d.variables()},
		Description: aws.String("Built-in rotator " + d.Rotator + " of Keyturn"),
	})
	if err != nil {
		return "", fmt.Errorf("creating the function %s: %w", d.Name, err)
	}
	d.did(Change{"function", *out.FunctionArn, Created, ""})
	err = lambda.NewFunctionActiveV2Waiter(d.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &d.Name}, activeLimit)
	if err != nil {
		return "", fmt.Errorf("waiting for the function %s: %w", d.Name, err)
	}
	return *out.FunctionArn, nil
}

// differences names what of the function is not as wanted, and never a value.
func (d *deployment) differences(c *types.FunctionConfiguration, role string) []string {
	var list []string
	note := func(what string, differs bool) {
		if differs {
			list = append(list, what)
		}
	}
	note("runtime", c.Runtime != Runtime)
	note("handler", *c.Handler != handlerPrefix+d.Rotator)
	note("timeout", aws.ToInt32(c.Timeout) != d.Timeout)
	note("memory", aws.ToInt32(c.MemorySize) != d.Memory)
	note("role", aws.ToString(c.Role) != role)
	have := map[string]string{}
	if c.Environment != nil && c.Environment.Error == nil {
		have = c.Environment.Variables
	}
	for _, name := range changed(have, d.variables()) {
		note("variable "+name, true)
	}
	return list
}

// changed lists the keys under which two maps differ.
func changed(a, b map[string]string) []string {
	var list []string
	for _, m := range []map[string]string{a, b} {
		for name := range m {
			x, inA := a[name]
			y, inB := b[name]
			if x != y || inA != inB {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (d *deployment) updateCode(ctx context.Context, code []byte) error {
	_, err := d.lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &d.Name, ZipFile: code})
	if err != nil {
		return fmt.Errorf("changing the code of the function %s: %w", d.Name, err)
	}
	return d.updated(ctx)
}

func (d *deployment) updateConfiguration(ctx context.Context, role string) error {
	_, err := d.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &d.Name, Role: &role, Runtime: Runtime, Handler: aws.String(handlerPrefix + d.Rotator),
		Timeout: &d.Timeout, MemorySize: &d.Memory, Environment: &types.Environment{Variables: d.variables()},
	})
	if err != nil {
		return fmt.Errorf("changing the function %s: %w", d.Name, err)
	}
	return d.updated(ctx)
}

func (d *deployment) updated(ctx context.Context) error {
	err := lambda.NewFunctionUpdatedV2Waiter(d.lambda).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &d.Name}, activeLimit)
	if err != nil {
		return fmt.Errorf("waiting for the function %s: %w", d.Name, err)
	}
	return nil
}

// concurrency limits the execution environments, or takes the limit away.
func (d *deployment) concurrency(ctx context.Context) error {
	out, err := d.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &d.Name})
	if err != nil {
		return fmt.Errorf("asking for the concurrency of the function %s: %w", d.Name, err)
	}
	have := out.ReservedConcurrentExecutions
	change := Change{"reserved concurrency of", d.Name, Updated, "no limit of its own"}
	switch {
	case have == nil && d.Concurrency == nil, have != nil && d.Concurrency != nil && *have == *d.Concurrency:
		return nil
	case d.Concurrency == nil:
		_, err = d.lambda.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: &d.Name})
	default:
		change.Detail = strconv.Itoa(int(*d.Concurrency))
		_, err = d.lambda.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{
			FunctionName: &d.Name, ReservedConcurrentExecutions: d.Concurrency,
		})
	}
	if err != nil {
		return fmt.Errorf("setting the concurrency of the function %s: %w", d.Name, err)
	}
	d.did(change)
	return nil
}

const (
	// statementID is the id of the permission's statement (AWS docs: the
	// name that its examples use).
	statementID = "SecretsManager"
	// service is who gets the permission.
	service = "secretsmanager.amazonaws.com"
)

// permission admits Secrets Manager to the function, for this account alone.
func (d *deployment) permission(ctx context.Context, function string) error {
	change := Change{"permission of Secrets Manager on", d.Name, Created, ""}
	out, err := d.lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &d.Name})
	_, missing := errors.AsType[*types.ResourceNotFoundException](err)
	if err != nil && !missing {
		return fmt.Errorf("reading the policy of the function %s: %w", d.Name, err)
	}
	if !missing {
		exists, right := admits(aws.ToString(out.Policy), function, d.names.Account)
		if right {
			change.Action = Unchanged
			d.did(change)
			return nil
		}
		if exists {
			change.Action = Updated
			_, err := d.lambda.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &d.Name, StatementId: aws.String(statementID)})
			if err != nil {
				return fmt.Errorf("removing an old permission of Secrets Manager from the function %s: %w", d.Name, err)
			}
		}
	}
	_, err = d.lambda.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &d.Name, StatementId: aws.String(statementID), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String(service), SourceAccount: &d.names.Account,
	})
	if err != nil {
		return fmt.Errorf("admitting Secrets Manager to the function %s: %w", d.Name, err)
	}
	d.did(change)
	return nil
}

// admits tells whether a function's policy has a statement of our id, and
// whether that is what it should be.
func admits(policy, function, account string) (exists, right bool) {
	var p struct {
		Statement []struct {
			Sid, Effect, Action, Resource string
			Principal                     json.RawMessage
			Condition                     map[string]map[string]string
		}
	}
	if json.Unmarshal([]byte(policy), &p) != nil {
		return false, false
	}
	want := map[string]string{"AWS:SourceAccount": account}
	for _, s := range p.Statement {
		if s.Sid != statementID {
			continue
		}
		found := map[string]string{}
		for name, value := range s.Condition["StringEquals"] {
			found[strings.Replace(name, "aws:", "AWS:", 1)] = value
		}
		return true, s.Effect == "Allow" && s.Action == "lambda:InvokeFunction" && s.Resource == function &&
			same(string(s.Principal), `{"Service":"`+service+`"}`) && len(s.Condition) == 1 && maps.Equal(found, want)
	}
	return false, false
}
