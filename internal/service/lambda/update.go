package lambda

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// settings are the members of a configuration that requests may set; what is
// nil stays as it is.
type settings struct {
	Runtime, Role, Handler, Description, KMSKeyARN *string
	Timeout, MemorySize                            *int64
	VPC                                            *api.VpcConfig
	Environment                                    *api.Environment
	DeadLetter                                     *api.DeadLetterConfig
	Tracing                                        *api.TracingConfig
	Layers                                         []string
	Storage                                        *api.EphemeralStorage
	SnapStart                                      *api.SnapStart
	Logging                                        *api.LoggingConfig
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// apply changes the live configuration of f and checks the result.
func (s *Service) apply(r reader, f *function.Function, in settings) error {
	c := &f.Config
	set(&c.Runtime, in.Runtime)
	set(&c.Handler, in.Handler)
	set(&c.Description, in.Description)
	set(&c.KMSKeyARN, in.KMSKeyARN)
	set(&c.TimeoutSeconds, in.Timeout)
	set(&c.MemoryMB, in.MemorySize)
	if in.DeadLetter != nil {
		c.DeadLetterARN = value(in.DeadLetter.TargetArn)
	}
	if in.Tracing != nil {
		set(&c.TracingMode, in.Tracing.Mode)
	}
	if in.Storage != nil {
		set(&c.EphemeralMB, in.Storage.Size)
	}
	if in.SnapStart != nil {
		set(&c.SnapStart, in.SnapStart.ApplyOn)
	}
	if in.Logging != nil {
		c.Logging = newLogging(c.Logging, in.Logging)
	}
	for _, step := range []func() error{
		func() error { return setRole(r.tx, f, in.Role) },
		func() error { return setVPC(r.tx, f, in.VPC) },
		func() error { return s.setVariables(r, f, in.Environment) },
		func() error { return setLayers(r.tx, f, in.Layers) },
		c.Check,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// list is a list that is shown even if it is empty.
func list(l []string) []string { return append([]string{}, l...) }

// newLogging changes a LoggingConfig. Levels belong to the JSON format and
// are INFO unless they are chosen (AWS docs).
func newLogging(l function.Logging, in *api.LoggingConfig) function.Logging {
	set(&l.Format, in.LogFormat)
	set(&l.Group, in.LogGroup)
	set(&l.ApplicationLogLevel, in.ApplicationLogLevel)
	set(&l.SystemLogLevel, in.SystemLogLevel)
	for _, level := range []*string{&l.ApplicationLogLevel, &l.SystemLogLevel} {
		switch {
		case l.Format != api.LogFormatJson:
			*level = ""
		case *level == "":
			*level = api.ApplicationLogLevelInfo
		}
	}
	return l
}

func setRole(tx *store.Tx, f *function.Function, role *string) error {
	if role == nil {
		return nil
	}
	f.Config.Role = *role
	return invocation.Assumable(tx, *role, f.ARN(), f.Account)
}

// setVariables replaces the environment variables, or, without new ones, moves
// them to the function's KMS key if that is another one now. The same ones
// under the same key are kept as they were sealed, so that nothing counts as
// changed.
func (s *Service) setVariables(r reader, f *function.Function, in *api.Environment) error {
	c := &f.Config
	if in != nil && len(in.Variables) == 0 {
		c.Environment, c.EnvironmentKey = nil, ""
	}
	sameKey := c.EnvironmentKey == c.KMSKeyARN
	if in == nil && (sameKey || c.Environment == nil) || in != nil && len(in.Variables) == 0 {
		return nil
	}
	box, err := s.cfg.Invoker.BoxVariables(r.tx, f, c)
	if err != nil {
		return err
	}
	old, err := s.cfg.Invoker.OpenVariables(r.ctx, box)
	if in == nil {
		if err := cmp.Or(err, s.mayOpen(r, f, &box)); err != nil {
			return err
		}
		return s.cfg.Invoker.SealVariables(r.ctx, r.tx, f, old)
	}
	if err := function.CheckVariables(in.Variables); err != nil {
		return err
	}
	if err == nil && sameKey && maps.Equal(old, in.Variables) {
		return nil
	}
	return s.cfg.Invoker.SealVariables(r.ctx, r.tx, f, in.Variables)
}

// mayOpen authorises the reader to decrypt environment variables, if a KMS key
// seals them.
func (s *Service) mayOpen(r reader, f *function.Function, box *invocation.VariableBox) error {
	rec, _ := box.Key()
	if rec == nil {
		return nil
	}
	use := authz.KeyUse{Action: "kms:Decrypt", Context: invocation.VariableContext(f.ARN()), Via: via}
	return s.cfg.Guard.UseKey(r.tx, r.call, rec, use)
}

// setLayers replaces the layers; nil leaves them. Layers are used in the
// account and region where they are (ours).
func setLayers(tx *store.Tx, f *function.Function, arns []string) error {
	if arns == nil {
		return nil
	}
	if len(arns) > function.MaxLayers {
		return function.TooManyLayers()
	}
	var layers []function.Layer
	names := map[string]string{}
	for _, a := range arns {
		_, _, name, _, _ := function.ParseLayerARN(a)
		if other := names[name]; other != "" {
			return fault.New(fault.Parameter,
				"Two different versions of the same layer are not allowed to be referenced in the same function. %s and %s versions of the layers are incompatible.", other, a)
		}
		names[name] = a
		l, err := findLayer(tx, f, a)
		if err != nil {
			return err
		}
		layers = append(layers, l)
	}
	f.Config.Layers = layers
	return nil
}

// findLayer returns a layer version for the use of f. One that f has already
// stays usable, even if it was deleted.
func findLayer(tx *store.Tx, f *function.Function, a string) (function.Layer, error) {
	if i := slices.IndexFunc(f.Config.Layers, func(l function.Layer) bool { return l.ARN == a }); i >= 0 {
		return f.Config.Layers[i], nil
	}
	region, account, name, number, ok := function.ParseLayerARN(a)
	if !ok || region != f.Region || account != f.Account {
		return function.Layer{}, function.NoLayer(a)
	}
	l, err := tx.LayerVersion(account, region, name, number)
	if isNotFound(err) {
		return function.Layer{}, function.NoLayer(a)
	}
	if err != nil {
		return function.Layer{}, err
	}
	return function.Layer{ARN: a, CodeSHA256: l.CodeSHA256, CodeSize: l.CodeSize, Unzipped: l.Unzipped}, nil
}

// set makes the package a version's code.
func (u upload) set(c *function.Config) {
	c.CodeSHA256, c.CodeSize, c.Unzipped = u.sha256, int64(len(u.zip)), u.unzipped
}

// begin checks that f may be changed and returns its configuration before.
func begin(f *function.Function, revisionID *string) (function.Config, error) {
	if err := (target{f: f, config: &f.Config}).checkRevision(revisionID); err != nil {
		return function.Config{}, err
	}
	return f.Config.Clone(), f.Config.CheckChangeable(f.ARN())
}

// finish marks the changed configuration; a change that changes nothing keeps
// the environments.
func finish(f *function.Function, before *function.Config) {
	c := &f.Config
	if !c.Same(before) {
		c.Change++
	}
	c.RevisionID, c.LastModified = uuid.NewString(), time.Now().UTC()
	c.BeginUpdate()
}

// UpdateFunctionConfiguration changes the live configuration.
func (s *Service) UpdateFunctionConfiguration(ctx context.Context, call *wire.Call, in *api.UpdateFunctionConfigurationRequest) (*api.FunctionConfiguration, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err == nil {
		err = s.authorizeChange(ctx, call, ref, settings{Role: in.Role, Layers: in.Layers, VPC: in.VpcConfig, KMSKeyARN: in.KMSKeyArn, Environment: in.Environment})
	}
	if err != nil {
		return nil, err
	}
	err = unsupported(&api.CreateFunctionRequest{
		FileSystemConfigs: in.FileSystemConfigs, CapacityProviderConfig: in.CapacityProviderConfig, DurableConfig: in.DurableConfig,
	})
	if err == nil && in.Runtime != nil {
		err = s.checkRuntime(ctx, *in.Runtime)
	}
	if err != nil {
		return nil, err
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.FunctionConfiguration, error) {
		before, err := begin(f, in.RevisionId)
		if err != nil {
			return nil, err
		}
		err = s.apply(reader{ctx, tx, call}, f, settings{
			Runtime: in.Runtime, Role: in.Role, Handler: in.Handler, Description: in.Description, Timeout: in.Timeout, MemorySize: in.MemorySize,
			VPC: in.VpcConfig, Environment: in.Environment, DeadLetter: in.DeadLetterConfig, KMSKeyARN: in.KMSKeyArn, Tracing: in.TracingConfig,
			Layers: in.Layers, Storage: in.EphemeralStorage, SnapStart: in.SnapStart, Logging: in.LoggingConfig,
		})
		if err != nil {
			return nil, err
		}
		finish(f, &before)
		if err := tx.SaveFunction(f); err != nil {
			return nil, err
		}
		return s.describeFully(reader{ctx, tx, call}, f, &f.Config, "")
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// UpdateFunctionCode changes the live code, and publishes it if asked to.
func (s *Service) UpdateFunctionCode(ctx context.Context, call *wire.Call, in *api.UpdateFunctionCodeRequest) (*api.FunctionConfiguration, error) {
	ref, err := s.whole(ctx, call, in.FunctionName)
	if err != nil {
		return nil, err
	}
	zip, err := source(in.ZipFile, in.S3Bucket, in.S3Key, in.ImageUri)
	if err != nil {
		return nil, err
	}
	code, err := newUpload(zip)
	if err != nil {
		return nil, err
	}
	if value(in.DryRun) {
		return s.tryCode(ctx, call, ref, in, code)
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.FunctionConfiguration, error) {
		if err := code.save(tx, f.Account, f.Region); err != nil {
			return nil, err
		}
		if err := setNewCode(f, in, code); err != nil {
			return nil, err
		}
		shown, qualifier := &f.Config, ""
		if value(in.Publish) {
			v, err := publish(tx, f, function.Publication{})
			if err != nil {
				return nil, err
			}
			shown, qualifier = v, v.Version
		}
		if err := tx.SaveFunction(f); err != nil {
			return nil, err
		}
		return s.describeFully(reader{ctx, tx, call}, f, shown, qualifier)
	})
	if err == nil {
		s.cfg.Invoker.Changed()
	}
	return out, err
}

// setNewCode makes an uploaded package the live code of f.
func setNewCode(f *function.Function, in *api.UpdateFunctionCodeRequest, code upload) error {
	before, err := begin(f, in.RevisionId)
	if err != nil {
		return err
	}
	code.set(&f.Config)
	if in.Architectures != nil {
		f.Config.Architectures = in.Architectures
	}
	if err := f.Config.Check(); err != nil {
		return err
	}
	finish(f, &before)
	return nil
}

// tryCode says what an update would come to, and changes nothing.
func (s *Service) tryCode(ctx context.Context, call *wire.Call, ref function.Ref, in *api.UpdateFunctionCodeRequest, code upload) (out *api.FunctionConfiguration, err error) {
	err = s.read(ctx, ref, func(tx *store.Tx, f *function.Function) error {
		if err := setNewCode(f, in, code); err != nil {
			return err
		}
		out, err = s.describeFully(reader{ctx, tx, call}, f, &f.Config, "")
		return err
	})
	return out, err
}

// DeleteFunction deletes a function, or one version of it.
func (s *Service) DeleteFunction(ctx context.Context, call *wire.Call, in *api.DeleteFunctionRequest) (*api.DeleteFunctionResponse, error) {
	ref, err := s.ref(ctx, call, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	number, isVersion := function.VersionNumber(ref.Qualifier)
	switch {
	case ref.Qualifier == function.Latest:
		return nil, fault.New(fault.Parameter, "$LATEST version cannot be deleted without deleting the function.")
	case function.IsAlias(ref.Qualifier):
		return nil, fault.New(fault.Parameter, "Deletion of aliases is not currently supported.")
	}
	out, err := change(ctx, s, call, ref, func(tx *store.Tx, f *function.Function) (*api.DeleteFunctionResponse, error) {
		out := &api.DeleteFunctionResponse{StatusCode: new(int64(204))}
		if !isVersion {
			return out, tx.DeleteFunction(f.ID)
		}
		return out, deleteVersion(tx, f, ref, number)
	})
	if err != nil {
		return nil, err
	}
	if isVersion {
		s.cfg.Invoker.Retire(ref.FunctionARN(), ref.Qualifier)
	} else {
		s.cfg.Invoker.Retire(ref.FunctionARN())
	}
	return out, nil
}

// deleteVersion deletes a version that no alias points to, with everything
// that belongs to it.
func deleteVersion(tx *store.Tx, f *function.Function, ref function.Ref, number int64) error {
	aliases, err := tx.AllFunctionAliases(f.ID)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if slices.Contains(a.Versions(), ref.Qualifier) {
			return fault.New(fault.Conflict, "Version %s of function %s cannot be deleted: the alias %s points to it.", ref.Qualifier, f.Name, a.Name)
		}
	}
	err = tx.DeleteFunctionVersion(f.ID, number)
	if fault.Is(err, fault.NotFound) {
		return ref.NotFound()
	}
	if err != nil {
		return err
	}
	forget(f, ref.Qualifier)
	return tx.SaveFunction(f)
}

// forget drops what belongs to a version or alias that is deleted.
func forget(f *function.Function, qualifier string) {
	delete(f.Policies, qualifier)
	delete(f.Provisioned, qualifier)
	delete(f.Async, qualifier)
}
