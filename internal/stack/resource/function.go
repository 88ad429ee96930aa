package resource

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/stack"
)

const lambda = "lambda"

// maxFunctionName is the longest name of a function (AWS docs).
const maxFunctionName = 64

// functionProperties are those of AWS::Lambda::Function: mostly the members
// of CreateFunction.
type functionProperties struct {
	api.CreateFunctionRequest
	Code                         functionCode
	Tags                         tags
	ReservedConcurrentExecutions *int64
	RuntimeManagementConfig      *api.PutRuntimeManagementConfigRequest
	RecursiveLoop                *string
}

// functionCode is where the code is; ZipFile is the source itself.
type functionCode struct {
	ZipFile, S3Bucket, S3Key, S3ObjectVersion, ImageUri, SourceKMSKeyArn *string
}

// functionHandler handles AWS::Lambda::Function.
func functionHandler() *Handler {
	return typed[functionProperties]{
		schema: &stack.Schema{
			Type: "AWS::Lambda::Function", Taggable: "Tags",
			Attributes: []string{"Arn", "SnapStartResponse", "SnapStartResponse.ApplyOn", "SnapStartResponse.OptimizationStatus"},
			Properties: functionSchema(),
		},
		create: createFunction, update: updateFunction, delete: deleteFunction,
	}.handler()
}

func functionSchema() properties {
	return properties{
		"Code": required(object(properties{
			"ZipFile": text(), "S3Bucket": text(), "S3Key": text(), "S3ObjectVersion": text(), "ImageUri": text(), "SourceKMSKeyArn": text(),
		})),
		"Role": required(text()), "FunctionName": fixed(text()), "PackageType": fixed(text()), "Handler": text(), "Runtime": text(),
		"Description": text(), "Timeout": integer(), "MemorySize": integer(), "KmsKeyArn": text(), "CodeSigningConfigArn": text(),
		"Architectures": texts(), "Layers": texts(), "ReservedConcurrentExecutions": integer(), "RecursiveLoop": text(),
		"Environment":       object(properties{"Variables": mapOf(text())}),
		"EphemeralStorage":  object(properties{"Size": required(integer())}),
		"VpcConfig":         object(properties{"SubnetIds": texts(), "SecurityGroupIds": texts(), "Ipv6AllowedForDualStack": boolean()}),
		"DeadLetterConfig":  object(properties{"TargetArn": text()}),
		"TracingConfig":     object(properties{"Mode": text()}),
		"SnapStart":         object(properties{"ApplyOn": required(text())}),
		"LoggingConfig":     object(properties{"LogFormat": text(), "LogGroup": text(), "ApplicationLogLevel": text(), "SystemLogLevel": text()}),
		"FileSystemConfigs": listOf(object(properties{"Arn": required(text()), "LocalMountPath": required(text())})),
		"ImageConfig":       object(properties{"EntryPoint": texts(), "Command": texts(), "WorkingDirectory": text()}),
		"RuntimeManagementConfig": object(properties{
			"UpdateRuntimeOn": required(text()), "RuntimeVersionArn": text(),
		}),
		"TenancyConfig": fixed(object(properties{"TenantIsolationMode": required(text())})),
		"Tags":          listOf(object(properties{"Key": required(text()), "Value": text()})),
	}
}

// code returns the code for the service. Source in the template becomes a
// package of one file, index and the language's extension (AWS docs).
func (p *functionProperties) code() (*api.FunctionCode, error) {
	c := &api.FunctionCode{
		S3Bucket: p.Code.S3Bucket, S3Key: p.Code.S3Key, S3ObjectVersion: p.Code.S3ObjectVersion, ImageUri: p.Code.ImageUri,
		SourceKMSKeyArn: p.Code.SourceKMSKeyArn,
	}
	if p.Code.ZipFile == nil {
		return c, nil
	}
	name, err := sourceFile(deref(p.Runtime), deref(p.Handler))
	if err == nil {
		c.ZipFile, err = archive(name, *p.Code.ZipFile)
	}
	return c, err
}

// sourceFile names the file of a source in a template. Functions on a
// built-in rotator have no program of their own, so theirs is a note.
func sourceFile(runtime, handler string) (string, error) {
	switch {
	case strings.HasPrefix(runtime, "python"):
		return "index.py", nil
	case strings.HasPrefix(runtime, "nodejs"):
		return "index.js", nil
	case strings.HasPrefix(runtime, "provided") && strings.HasPrefix(handler, function.RotatorHandler):
		return "index.txt", nil
	}
	return "", fault.New(fault.State, "ZipFile can only be used when using an interpreted runtime language.") // AWS: reported
}

// archive makes a package of one file, the same every time.
func archive(name, content string) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	err = errors.Join(err, z.Close())
	return b.Bytes(), fault.Wrap(err, "packing the code")
}

func createFunction(ctx context.Context, r *Request, p *functionProperties) (Result, error) {
	name, _ := r.nameOr(p.FunctionName, maxFunctionName)
	if err := r.makeFunction(ctx, name, p); err != nil {
		return Result{}, err
	}
	res, err := r.finishFunction(ctx, name, p)
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeFunction(ctx, name, "") })
	}
	return res, nil
}

func (r *Request) makeFunction(ctx context.Context, name string, p *functionProperties) error {
	if deref(p.RecursiveLoop) == "Allow" {
		return fault.New(fault.State, "RecursiveLoop Allow is not supported by this server.")
	}
	in := p.CreateFunctionRequest
	in.FunctionName, in.Tags = &name, p.Tags.with(r.Tags)
	var err error
	if in.Code, err = p.code(); err != nil {
		return err
	}
	err = r.Client.do(ctx, lambda, "CreateFunction", &in)
	if exists(err) && r.Resumed {
		out, failed := call[api.GetFunctionResponse](ctx, r.Client, lambda, "GetFunction", &api.GetFunctionRequest{FunctionName: &name})
		if failed == nil && r.ours(name, func(key string) string { return out.Tags[key] }) {
			return nil
		}
	}
	return err
}

// finishFunction waits for a new function and sets what CreateFunction does
// not.
func (r *Request) finishFunction(ctx context.Context, name string, p *functionProperties) (Result, error) {
	if err := r.initiated(name); err != nil {
		return Result{}, err
	}
	if _, err := r.readyFunction(ctx, name); err != nil {
		return Result{}, err
	}
	if err := r.Client.each(ctx, p.extras(&functionProperties{}, name)...); err != nil {
		return Result{}, err
	}
	return r.functionResult(ctx, name)
}

// extras are the steps for what has operations of its own.
func (p *functionProperties) extras(old *functionProperties, name string) (steps []step) {
	if differ(old.ReservedConcurrentExecutions, p.ReservedConcurrentExecutions) {
		if p.ReservedConcurrentExecutions == nil {
			steps = append(steps, step{lambda, "DeleteFunctionConcurrency", &api.DeleteFunctionConcurrencyRequest{FunctionName: &name}})
		} else {
			steps = append(steps, step{lambda, "PutFunctionConcurrency",
				&api.PutFunctionConcurrencyRequest{FunctionName: &name, ReservedConcurrentExecutions: p.ReservedConcurrentExecutions}})
		}
	}
	if differ(old.RuntimeManagementConfig, p.RuntimeManagementConfig) {
		in := api.PutRuntimeManagementConfigRequest{UpdateRuntimeOn: new(api.UpdateRuntimeOnAuto)}
		if p.RuntimeManagementConfig != nil {
			in = *p.RuntimeManagementConfig
		}
		in.FunctionName = &name
		steps = append(steps, step{lambda, "PutRuntimeManagementConfig", &in})
	}
	return steps
}

func (r *Request) functionConfiguration(ctx context.Context, name string) (*api.FunctionConfiguration, error) {
	return call[api.FunctionConfiguration](ctx, r.Client, lambda, "GetFunctionConfiguration", &api.GetFunctionConfigurationRequest{FunctionName: &name})
}

// readyFunction waits until a function, or a version of one, is active and
// its last update is over.
func (r *Request) readyFunction(ctx context.Context, name string) (c *api.FunctionConfiguration, err error) {
	err = until(ctx, func() (bool, error) {
		c, err = r.functionConfiguration(ctx, name)
		switch {
		case err != nil:
			return false, err
		case deref(c.State) == api.StateFailed:
			return false, notStabilized("%s", deref(c.StateReason))
		case deref(c.LastUpdateStatus) == api.LastUpdateStatusFailed:
			return false, notStabilized("%s", deref(c.LastUpdateStatusReason))
		}
		return deref(c.State) != api.StatePending && deref(c.LastUpdateStatus) != api.LastUpdateStatusInProgress, nil
	})
	return c, err
}

func (r *Request) functionResult(ctx context.Context, name string) (Result, error) {
	c, err := r.readyFunction(ctx, name)
	if err != nil {
		return Result{}, err
	}
	attributes := map[string]any{"Arn": deref(c.FunctionArn)}
	if s := c.SnapStart; s != nil {
		attributes["SnapStartResponse.ApplyOn"] = deref(s.ApplyOn)
		attributes["SnapStartResponse.OptimizationStatus"] = deref(s.OptimizationStatus)
	}
	return Result{PhysicalID: name, Attributes: attributes}, nil
}

func updateFunction(ctx context.Context, r *Request, old, p *functionProperties) (Result, error) {
	name := r.PhysicalID
	c, err := r.readyFunction(ctx, name)
	if err != nil && ErrorCode(err) != NotStabilized { // an update may mend what failed
		return Result{}, err
	}
	if differ(old.configuration(name), p.configuration(name)) {
		if err := r.Client.do(ctx, lambda, "UpdateFunctionConfiguration", p.configuration(name)); err != nil {
			return Result{}, err
		}
		if c, err = r.readyFunction(ctx, name); err != nil {
			return Result{}, err
		}
	}
	if err := r.updateCode(ctx, name, old, p); err != nil {
		return Result{}, err
	}
	steps := p.extras(old, name)
	change := r.tagsChanged(old.Tags, p.Tags)
	if len(change.drop) > 0 {
		steps = append(steps, step{lambda, "UntagResource", &api.UntagResourceRequest{Resource: c.FunctionArn, TagKeys: change.drop}})
	}
	if len(change.set) > 0 {
		steps = append(steps, step{lambda, "TagResource", &api.TagResourceRequest{Resource: c.FunctionArn, Tags: change.set}})
	}
	if err := r.Client.each(ctx, steps...); err != nil {
		return Result{}, err
	}
	return r.functionResult(ctx, name)
}

// updateCode uploads the code if it, or what its package depends on, has
// changed.
func (r *Request) updateCode(ctx context.Context, name string, old, p *functionProperties) error {
	before, _ := old.code() // what could not be packed differs
	code, err := p.code()
	if err != nil {
		return err
	}
	architectures := func(p *functionProperties) []string {
		if p.Architectures == nil {
			return []string{api.ArchitectureX8664}
		}
		return p.Architectures
	}
	if !differ(before, code) && !differ(architectures(old), architectures(p)) {
		return nil
	}
	err = r.Client.do(ctx, lambda, "UpdateFunctionCode", &api.UpdateFunctionCodeRequest{
		FunctionName: &name, ZipFile: code.ZipFile, S3Bucket: code.S3Bucket, S3Key: code.S3Key, S3ObjectVersion: code.S3ObjectVersion,
		ImageUri: code.ImageUri, SourceKMSKeyArn: code.SourceKMSKeyArn, Architectures: architectures(p),
	})
	if err == nil {
		_, err = r.readyFunction(ctx, name)
	}
	return err
}

// configuration is everything that UpdateFunctionConfiguration sets; what the
// template leaves out gets its default.
func (p *functionProperties) configuration(name string) *api.UpdateFunctionConfigurationRequest {
	c := &api.UpdateFunctionConfigurationRequest{
		FunctionName: &name, Role: p.Role, Handler: p.Handler, Runtime: p.Runtime, Description: orEmpty(p.Description),
		Timeout: p.Timeout, MemorySize: p.MemorySize, VpcConfig: p.VpcConfig, Environment: p.Environment, DeadLetterConfig: p.DeadLetterConfig,
		KMSKeyArn: orEmpty(p.KMSKeyArn), TracingConfig: p.TracingConfig, Layers: p.Layers, FileSystemConfigs: p.FileSystemConfigs,
		ImageConfig: p.ImageConfig, EphemeralStorage: p.EphemeralStorage, SnapStart: p.SnapStart, LoggingConfig: p.LoggingConfig,
	}
	byDefault(&c.Timeout, function.DefaultTimeout)
	byDefault(&c.MemorySize, function.DefaultMemory)
	byDefault(&c.VpcConfig, api.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}})
	byDefault(&c.Environment, api.Environment{Variables: map[string]string{}})
	byDefault(&c.DeadLetterConfig, api.DeadLetterConfig{TargetArn: new("")})
	byDefault(&c.TracingConfig, api.TracingConfig{Mode: new(api.TracingModePassThrough)})
	byDefault(&c.EphemeralStorage, api.EphemeralStorage{Size: new(int64(function.DefaultStorage))})
	byDefault(&c.SnapStart, api.SnapStart{ApplyOn: new(api.SnapStartApplyOnNone)})
	byDefault(&c.LoggingConfig, api.LoggingConfig{LogFormat: new(api.LogFormatText), LogGroup: new("/aws/lambda/" + name)})
	if c.Layers == nil {
		c.Layers = []string{}
	}
	return c
}

// byDefault sets what is not given.
func byDefault[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

func deleteFunction(ctx context.Context, r *Request, _ *functionProperties) error {
	return r.removeFunction(ctx, r.PhysicalID, "")
}

// removeFunction deletes a function, or one version of it.
func (r *Request) removeFunction(ctx context.Context, name, version string) error {
	in := &api.DeleteFunctionRequest{FunctionName: &name}
	if version != "" {
		in.Qualifier = &version
	}
	return gone(r.Client.do(ctx, lambda, "DeleteFunction", in))
}
