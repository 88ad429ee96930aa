package gather

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/archive"
)

// maxCode bounds how much of a code package is fetched, in bytes: a package of
// 250 MB, the most that Lambda unpacks, is smaller than that (AWS docs).
const maxCode = 128 << 20

// fetchLimit is how long that may take.
const fetchLimit = time.Minute

// knownVariables are the environment variables of the rotation templates and
// of Keyturn's rotators; of others only the names are kept.
var knownVariables = []string{
	"AUTHENTICATION_CREATION_ENABLED", "DICT_KEY_DIRECTORY", "DICT_KEY_KEYTAB_ARNS", "DICT_KEY_KEYTAB_CONTENTS", "DICT_KEY_KEYTAB_NAME",
	"DICT_KEY_KEYTAB_PRINCIPALS", "DICT_KEY_KEYTAB_VERSION", "DICT_KEY_LAST_MODIFIED", "DICT_KEY_PASSWORD", "DICT_KEY_SCHEMA_VERSION",
	"DICT_KEY_SECRET_ARN", "DICT_KEY_USERNAME", "EXCLUDE_CHARACTERS", "EXCLUDE_LOWERCASE", "EXCLUDE_NUMBERS", "EXCLUDE_PUNCTUATION",
	"EXCLUDE_UPPERCASE", "KEYTURN_HOLD", "KEYTURN_KDC", "KEYTURN_PRIMARY_HOSTS", "KEYTURN_RETAIN_PASSWORD", "KEYTURN_SET_ROLE",
	"KEYTURN_SYNC_PRIVILEGES", "MAX_WAITING_TIME_FOR_ACTIVE_IN_SECONDS", "PASSWORD_LENGTH", "REQUIRE_EACH_INCLUDED_TYPE", "SECRETS_MANAGER_ENDPOINT",
	"SECRET_ARN", "SUPERUSER_SECRET_ARN", "USERNAME_CHARACTER_LIMIT", "USER_NAME", "WAITING_RETRY_INTERVAL_IN_SECONDS",
}

// function reads the rotation function's configuration and code.
func (l *look) function(ctx context.Context) {
	functionARN := l.e.Secret.FunctionARN
	if functionARN == "" {
		return
	}
	l.tell("function")
	f, code := l.functionOf(ctx, functionARN)
	if f != nil && code != nil && !l.options.NoCode {
		f.Code = l.code(ctx, f, code)
	}
	l.note(func(e *doctor.Evidence) { e.Function = f })
}

// functionOf reads a function, and where its code is; nil if nothing could be
// learnt of it.
func (l *look) functionOf(ctx context.Context, functionARN string) (*doctor.Function, *lambdatypes.FunctionCodeLocation) {
	f := &doctor.Function{ARN: functionARN}
	f.Name, f.Qualifier = functionParts(functionARN)
	out, err := l.lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &functionARN})
	if is(err, "ResourceNotFoundException") {
		return f, nil
	}
	if l.gap(err, "lambda:GetFunction", unqualified(functionARN), "what code the function runs") || out.Configuration == nil {
		return l.configuredOnly(ctx, f), nil
	}
	c := out.Configuration
	f.Found, f.Tags = true, out.Tags
	configured(f, configurationOf(c))
	if out.Concurrency != nil {
		f.Reserved = out.Concurrency.ReservedConcurrentExecutions
	}
	if out.TagsError != nil {
		l.gap(fmt.Errorf("%s: %s", aws.ToString(out.TagsError.ErrorCode), aws.ToString(out.TagsError.Message)),
			"lambda:ListTags", unqualified(functionARN), "which stack the function belongs to")
	}
	return f, out.Code
}

// configurationOf is the configuration in the shape of
// GetFunctionConfiguration's answer, as far as it is read.
func configurationOf(c *lambdatypes.FunctionConfiguration) *lambda.GetFunctionConfigurationOutput {
	return &lambda.GetFunctionConfigurationOutput{
		FunctionArn: c.FunctionArn, FunctionName: c.FunctionName, Runtime: c.Runtime, Handler: c.Handler, PackageType: c.PackageType, Architectures: c.Architectures, Timeout: c.Timeout,
		MemorySize: c.MemorySize, State: c.State, StateReason: c.StateReason, LastUpdateStatus: c.LastUpdateStatus,
		LastModified: c.LastModified, Role: c.Role, VpcConfig: c.VpcConfig, LoggingConfig: c.LoggingConfig, Environment: c.Environment,
	}
}

// configuredOnly reads what is left for a caller who may not get the function:
// its configuration, tags and concurrency.
func (l *look) configuredOnly(ctx context.Context, f *doctor.Function) *doctor.Function {
	plain := unqualified(f.ARN)
	out, err := l.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &f.ARN})
	if l.gap(err, "lambda:GetFunctionConfiguration", plain, "how the function is configured: runtime, timeout, network, role") {
		return nil
	}
	f.Found = true
	configured(f, out)
	tags, err := l.lambda.ListTags(ctx, &lambda.ListTagsInput{Resource: &plain})
	if !l.gap(err, "lambda:ListTags", plain, "which stack the function belongs to") {
		f.Tags = tags.Tags
	}
	limit, err := l.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &plain})
	if !l.gap(err, "lambda:GetFunctionConcurrency", plain, "whether the function's concurrency is limited") {
		f.Reserved = limit.ReservedConcurrentExecutions
	}
	return f
}

// lambdaTime is how Lambda writes times (AWS: recorded).
const lambdaTime = "2006-01-02T15:04:05.000-0700"

// configured copies a function's configuration.
func configured(f *doctor.Function, c *lambda.GetFunctionConfigurationOutput) {
	if f.Name == "" { // it was asked for by its name alone
		f.ARN, f.Name = aws.ToString(c.FunctionArn), aws.ToString(c.FunctionName)
	}
	f.Runtime, f.Handler, f.PackageType = string(c.Runtime), aws.ToString(c.Handler), string(c.PackageType)
	if len(c.Architectures) > 0 {
		f.Architecture = string(c.Architectures[0])
	}
	f.Timeout, f.MemoryMB = time.Duration(aws.ToInt32(c.Timeout))*time.Second, aws.ToInt32(c.MemorySize)
	f.State, f.StateReason, f.LastUpdateStatus = string(c.State), blot(aws.ToString(c.StateReason)), string(c.LastUpdateStatus)
	if at, err := time.Parse(lambdaTime, aws.ToString(c.LastModified)); err == nil {
		f.ModifiedAt = at.UTC()
	}
	f.RoleARN, f.Rotator = aws.ToString(c.Role), rotatorOf(f)
	if v := c.VpcConfig; v != nil {
		f.VPCID, f.SubnetIDs, f.GroupIDs = aws.ToString(v.VpcId), v.SubnetIds, v.SecurityGroupIds
	}
	f.LogGroup = "/aws/lambda/" + f.Name
	if g := c.LoggingConfig; g != nil && aws.ToString(g.LogGroup) != "" {
		f.LogGroup = *g.LogGroup
	}
	if c.Environment != nil && len(c.Environment.Variables) > 0 {
		f.Variables = map[string]string{}
		for name, value := range c.Environment.Variables {
			if !slices.Contains(knownVariables, name) {
				value = ""
			}
			f.Variables[name] = blot(value)
		}
	}
}

// rotatorOf is the built-in rotator that a function runs; "" for other code. A
// handler alone says nothing: rotator.lambda_handler is a Python function in
// rotator.py.
func rotatorOf(f *doctor.Function) string {
	name := archive.Rotator(f.Handler)
	_, strategy, _ := strings.Cut(name, ".")
	if !strings.HasPrefix(f.Runtime, "provided") || name != "command" && !slices.Contains(strategies, strategy) {
		return ""
	}
	return name
}

// strategies are the ends of the names of built-in rotators.
var strategies = []string{"alternating", "keytab", "managed", "overlap", "single", "superuser", "token"}

// unqualified is a function's ARN without version or alias.
func unqualified(functionARN string) string {
	if parts := strings.Split(functionARN, ":"); len(parts) == 8 {
		return strings.Join(parts[:7], ":")
	}
	return functionARN
}

// code fetches and looks into the function's code package.
func (l *look) code(ctx context.Context, f *doctor.Function, where *lambdatypes.FunctionCodeLocation) *doctor.Code {
	if f.PackageType == string(lambdatypes.PackageTypeImage) || aws.ToString(where.Location) == "" {
		return nil
	}
	l.tell("code")
	const missing = "what is in the function's code package"
	data, err := l.fetch(ctx, *where.Location)
	if l.gap(err, "lambda:GetFunction", f.ARN+" (code)", missing) {
		return nil
	}
	c, err := archive.Inspect(data, f.Handler, f.Runtime)
	if l.gap(err, "lambda:GetFunction", f.ARN+" (code)", missing) {
		return nil
	}
	return c
}

// fetch downloads a code package. Its link needs no signature, and is never
// part of an error: who has it can read the code.
func (l *look) fetch(ctx context.Context, link string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, errors.New("the link to the code package cannot be read")
	}
	res, err := l.http.Do(r)
	if err != nil {
		return nil, errors.New("the code package could not be downloaded: no answer from " + r.URL.Host)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the code package could not be downloaded: %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxCode+1))
	switch {
	case err != nil:
		return nil, errors.New("the download of the code package broke off")
	case len(data) > maxCode:
		return nil, fmt.Errorf("the code package is larger than %d MB", maxCode>>20)
	}
	return data, nil
}

// functionPolicy reads the function's resource policy.
func (l *look) functionPolicy(ctx context.Context) {
	f := l.e.Function
	in := &lambda.GetPolicyInput{FunctionName: aws.String(unqualified(f.ARN))}
	if f.Qualifier != "" {
		in.Qualifier = &f.Qualifier
	}
	out, err := l.lambda.GetPolicy(ctx, in)
	if is(err, "ResourceNotFoundException") {
		l.note(func(*doctor.Evidence) { f.PolicyKnown = true })
		return
	}
	if l.gap(err, "lambda:GetPolicy", unqualified(f.ARN), "whether Secrets Manager may invoke the function") {
		return
	}
	l.note(func(*doctor.Evidence) { f.Policy, f.PolicyKnown = aws.ToString(out.Policy), true })
}

// provisioned reads the provisioned concurrency of the version or alias that
// the secret names; the function itself cannot have any.
func (l *look) provisioned(ctx context.Context) {
	f := l.e.Function
	if f.Qualifier == "" || f.Qualifier == "$LATEST" {
		return
	}
	out, err := l.lambda.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{
		FunctionName: aws.String(unqualified(f.ARN)), Qualifier: &f.Qualifier,
	})
	if is(err, "ProvisionedConcurrencyConfigNotFoundException", "ResourceNotFoundException") ||
		l.gap(err, "lambda:GetProvisionedConcurrencyConfig", f.ARN, "whether concurrency is provisioned for the function") {
		return
	}
	l.note(func(*doctor.Evidence) { f.Provisioned = out.RequestedProvisionedConcurrentExecutions })
}
