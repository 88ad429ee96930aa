package lambda

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// upload is a package that was checked.
type upload struct {
	zip      []byte
	sha256   string
	unzipped int64
}

// newUpload checks a zip: its size, its names and its contents.
func newUpload(zip []byte) (upload, error) {
	if err := function.CheckZipped(int64(len(zip))); err != nil {
		return upload{}, err
	}
	archive, err := function.ReadArchive(bytes.NewReader(zip), int64(len(zip)))
	if err != nil {
		return upload{}, err
	}
	if err := archive.Verify(); err != nil {
		return upload{}, err
	}
	sum := sha256.Sum256(zip)
	return upload{zip, base64.StdEncoding.EncodeToString(sum[:]), archive.Unzipped}, nil
}

// save stores the package, within the account's limit.
func (u upload) save(tx *store.Tx, account, region string) error {
	_, used, err := tx.FunctionUsage(account, region)
	if err != nil {
		return err
	}
	if used+int64(len(u.zip)) > function.MaxCodeStorage {
		return function.TooMuchCode()
	}
	return tx.SaveCode(u.sha256, u.zip)
}

// errNoS3 is the answer to a package in S3, after AWS's for a bucket that
// does not exist.
func errNoS3() *fault.Error {
	return fault.New(fault.Parameter, "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist. "+
		"There is no S3 here: send the package itself as ZipFile.")
}

func errNoImage() *fault.Error {
	return fault.New(fault.Parameter, "Functions from container images cannot run here. Use PackageType Zip.")
}

// source returns the uploaded zip, or that of a rotation application, and
// refuses the other places where code may be.
func source(zip []byte, bucket, key, image *string) ([]byte, error) {
	published, ok := application.CodeAt(value(bucket), value(key))
	switch {
	case image != nil:
		return nil, errNoImage()
	case ok:
		return published, nil
	case bucket != nil || key != nil:
		return nil, errNoS3()
	case len(zip) == 0:
		return nil, fault.New(fault.Parameter, "Please provide a source for function code.")
	}
	return zip, nil
}

// checkRuntime refuses runtimes that cannot run here. Deprecated ones that
// can are accepted, with a notice in the server's log.
func (s *Service) checkRuntime(ctx context.Context, id string) error {
	rt, ok := function.LookupRuntime(id)
	if !ok {
		return function.UnknownRuntime(id)
	}
	if err := s.cfg.Invoker.CheckRuntime(ctx, id); err != nil {
		return err
	}
	if now := time.Now(); !rt.Deprecated.IsZero() && now.After(rt.Deprecated) {
		s.cfg.Logger.Warn("a function uses a runtime that AWS has deprecated", "runtime", id, "deprecated", rt.Deprecated.Format(time.DateOnly),
			"refused_by_aws", rt.CreateError(now) != nil)
	}
	return nil
}

// unsupported refuses what would make another kind of function.
func unsupported(in *api.CreateFunctionRequest) error {
	for _, refused := range []struct {
		given bool
		name  string
	}{
		{len(in.FileSystemConfigs) > 0, "FileSystemConfigs"},
		{in.CodeSigningConfigArn != nil, "CodeSigningConfigArn"},
		{in.CapacityProviderConfig != nil, "CapacityProviderConfig"},
		{in.DurableConfig != nil, "DurableConfig"},
		{in.TenancyConfig != nil, "TenancyConfig"},
	} {
		if refused.given {
			return fault.New(fault.Parameter, "%s is not supported here.", refused.name)
		}
	}
	return nil
}

// CreateFunction makes a function, which becomes Active shortly after.
func (s *Service) CreateFunction(ctx context.Context, call *wire.Call, in *api.CreateFunctionRequest) (*api.FunctionConfiguration, error) {
	ref, err := s.newRef(ctx, call, in)
	if err != nil {
		return nil, err
	}
	if err := ref.CheckNewName(); err != nil {
		return nil, err
	}
	if value(in.PackageType) == api.PackageTypeImage {
		return nil, errNoImage()
	}
	if err := unsupported(in); err != nil {
		return nil, err
	}
	zip, err := source(in.Code.ZipFile, in.Code.S3Bucket, in.Code.S3Key, in.Code.ImageUri)
	if err != nil {
		return nil, err
	}
	if in.Runtime == nil || in.Handler == nil {
		return nil, fault.New(fault.Parameter, "Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if err := checkTags(call, in.Tags); err != nil {
		return nil, err
	}
	if err := s.checkRuntime(ctx, *in.Runtime); err != nil {
		return nil, err
	}
	code, err := newUpload(zip)
	if err != nil {
		return nil, err
	}
	var out *api.FunctionConfiguration
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		f, err := s.newFunction(reader{ctx, tx, call}, ref, in, code)
		if err != nil {
			return err
		}
		if out, err = s.storeNew(reader{ctx, tx, call}, f, in, code); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Invoker.Changed()
	return out, nil
}

// newFunction makes the record of a function that does not exist yet.
func (s *Service) newFunction(r reader, ref function.Ref, in *api.CreateFunctionRequest, code upload) (*function.Function, error) {
	f := &function.Function{
		ID: uuid.NewString(), Account: ref.Account, Region: ref.Region, Name: ref.Name, NextVersion: 1, Tags: in.Tags,
		Config: function.Config{
			Version: function.Latest, PackageType: api.PackageTypeZip, TimeoutSeconds: function.DefaultTimeout,
			MemoryMB: function.DefaultMemory, EphemeralMB: function.DefaultStorage, TracingMode: api.TracingModePassThrough,
			SnapStart: api.SnapStartApplyOnNone, Architectures: []string{api.ArchitectureX8664},
			Logging: function.Logging{Format: api.LogFormatText}, Change: 1,
			RevisionID: uuid.NewString(), LastModified: time.Now().UTC(),
		},
	}
	c := &f.Config
	code.set(c)
	if in.Architectures != nil {
		c.Architectures = in.Architectures
	}
	c.BeginCreation()
	err := s.apply(r, f, settings{
		Runtime: in.Runtime, Role: in.Role, Handler: in.Handler, Description: in.Description, Timeout: in.Timeout, MemorySize: in.MemorySize,
		VPC: in.VpcConfig, Environment: in.Environment, DeadLetter: in.DeadLetterConfig, KMSKeyARN: in.KMSKeyArn, Tracing: in.TracingConfig,
		Layers: in.Layers, Storage: in.EphemeralStorage, SnapStart: in.SnapStart, Logging: in.LoggingConfig,
	})
	if c.VPC != nil && len(c.VPC.SubnetIDs) == 0 && len(c.VPC.SecurityGroupIDs) == 0 {
		c.VPC = nil
	}
	return f, err
}

// storeNew stores a new function and, if asked for, its first version.
func (s *Service) storeNew(r reader, f *function.Function, in *api.CreateFunctionRequest, code upload) (*api.FunctionConfiguration, error) {
	if err := code.save(r.tx, f.Account, f.Region); err != nil {
		return nil, err
	}
	shown, qualifier := &f.Config, ""
	if value(in.Publish) {
		v, _, err := f.Publish(function.Publication{NewRevisionID: uuid.NewString(), Now: f.Config.LastModified}, nil)
		if err != nil {
			return nil, err
		}
		shown, qualifier = v, v.Version
	}
	err := r.tx.CreateFunction(f)
	if fault.Is(err, fault.Exists) {
		return nil, fault.New(fault.Conflict, "Function already exist: %s", f.Name).For(f.ARN())
	}
	if err == nil && shown != &f.Config {
		err = r.tx.SaveFunctionVersion(f, shown)
	}
	if err != nil {
		return nil, err
	}
	return s.describeFully(r, f, shown, qualifier)
}
