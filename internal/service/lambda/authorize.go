package lambda

import (
	"context"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// ref resolves what a call names, completed by a qualifier, and authorises
// the call on it.
func (s *Service) ref(ctx context.Context, call *wire.Call, name, qualifier *string) (function.Ref, error) {
	ref, err := resolve(call, name, qualifier)
	if err != nil {
		return ref, err
	}
	return ref, s.authorize(ctx, call, ref, nil)
}

func resolve(call *wire.Call, name, qualifier *string) (function.Ref, error) {
	return function.Resolve(value(name), value(qualifier), call.Region, call.Principal.Account)
}

// authorize authorises the call on a function, version or alias, by the
// caller's policies and the resource policy of exactly that. What does not
// exist is refused as what does. more, which may be nil, gives further
// condition keys.
func (s *Service) authorize(ctx context.Context, call *wire.Call, ref function.Ref, more func(*store.Tx, *function.Function) (iam.Context, error)) error {
	var r *authz.Resource
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		f, err := tx.Function(ref.Account, ref.Region, ref.Name)
		if isNotFound(err) {
			f, err = &function.Function{}, nil
		}
		if err != nil {
			return err
		}
		r = invocation.ResourceOf(ref, f)
		if more == nil {
			return nil
		}
		keys, err := more(tx, f)
		r.Context = either(r.Context, keys)
		return err
	})
	if err == nil {
		err = s.cfg.Guard.On(call, "", r)
	}
	if err == nil {
		call.Resources = []trail.Resource{{Type: functionType, Name: ref.FunctionARN()}}
	}
	return err
}

// either asks a second Context for what the first does not have.
func either(first, second iam.Context) iam.Context {
	return func(key string) iam.Value {
		if v := first(key); !v.IsZero() {
			return v
		}
		return second(key)
	}
}

// whole is ref for operations on a function as a whole (AWS: recorded), which
// is what they are authorised on, however the function was named.
func (s *Service) whole(ctx context.Context, call *wire.Call, name *string) (function.Ref, error) {
	ref, err := resolve(call, name, nil)
	if err == nil {
		err = s.authorize(ctx, call, ref.Unqualified(), nil)
	}
	if err == nil {
		err = checkWhole(ref)
	}
	return ref.Unqualified(), err
}

func checkWhole(ref function.Ref) error {
	if ref.Qualifier == "" || ref.Qualifier == function.Latest {
		return nil
	}
	return fault.New(fault.Parameter, "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "+
		"Please specify either a function name or an unqualified function ARN.")
}

// newRef resolves the name of a function that is to be created and authorises
// all that this takes. A function that has the name already has no say.
func (s *Service) newRef(ctx context.Context, call *wire.Call, in *api.CreateFunctionRequest) (function.Ref, error) {
	given, err := resolve(call, in.FunctionName, nil)
	ref := given.Unqualified()
	if err != nil {
		return ref, err
	}
	made := invocation.ResourceOf(ref, &function.Function{})
	if err := s.cfg.Guard.On(call, "", made); err != nil {
		return ref, err
	}
	if err := checkWhole(given); err != nil {
		return ref, err
	}
	if len(in.Tags) > 0 {
		if err := s.cfg.Guard.On(call, "lambda:TagResource", made); err != nil {
			return ref, err
		}
	}
	call.Resources = []trail.Resource{{Type: functionType, Name: ref.FunctionARN()}}
	return ref, s.authorizeSettings(ctx, call, ref, function.Config{}, settings{
		Role: in.Role, Layers: in.Layers, VPC: in.VpcConfig, KMSKeyARN: in.KMSKeyArn, Environment: in.Environment,
	})
}

// authorizeSettings authorises what a change of a configuration takes beside
// the call's own action: to hand the role to Lambda, to read the layers, to
// look at the network, and to seal with the KMS key.
func (s *Service) authorizeSettings(ctx context.Context, call *wire.Call, ref function.Ref, c function.Config, in settings) error {
	if in.Role != nil {
		if err := s.passRole(ctx, call, ref, *in.Role); err != nil {
			return err
		}
	}
	for _, layer := range in.Layers {
		if err := s.cfg.Guard.On(call, "lambda:GetLayerVersion", &authz.Resource{ARN: layer}); err != nil {
			return err
		}
	}
	if err := s.lookAtNetwork(call, in.VPC); err != nil {
		return err
	}
	set(&c.Role, in.Role)
	set(&c.KMSKeyARN, in.KMSKeyARN)
	if in.VPC != nil {
		c.VPC = &function.VPC{SubnetIDs: in.VPC.SubnetIds}
	}
	if in.KMSKeyARN != nil || in.Environment != nil {
		if err := s.useKey(ctx, call, ref, c.KMSKeyARN, in.KMSKeyARN != nil); err != nil {
			return err
		}
	}
	if in.Role == nil && in.VPC == nil || c.VPC == nil || len(c.VPC.SubnetIDs) == 0 {
		return nil
	}
	return s.cfg.Invoker.CheckAttachable(ctx, c.Role, ref)
}

// authorizeChange is authorizeSettings for a function that exists; one that
// does not is found missing later.
func (s *Service) authorizeChange(ctx context.Context, call *wire.Call, ref function.Ref, in settings) error {
	var c function.Config
	err := s.read(ctx, ref, func(_ *store.Tx, f *function.Function) error {
		c = f.Config
		return nil
	})
	if err != nil && !isNotFound(err) {
		return err
	}
	return s.authorizeSettings(ctx, call, ref, c, in)
}

// via is the service that uses keys on behalf of its callers.
const via = "lambda"

// useKey authorises the caller to seal environment variables with a KMS key,
// and, for a key that is new to the function, to grant Lambda its use (AWS
// docs). The key has to be named by its ARN.
func (s *Service) useKey(ctx context.Context, call *wire.Call, ref function.Ref, keyARN string, fresh bool) error {
	if keyARN == "" {
		return nil
	}
	invalid := fault.New(fault.Parameter, "Invalid keyId '%s'", keyARN)
	if a, _ := arn.Parse(keyARN); !strings.HasPrefix(a.Resource, "key/") {
		return invocation.InvalidKey(invalid) // before a refusal tells which key an alias stands for
	}
	use := authz.KeyUse{Action: "kms:Encrypt", Context: invocation.VariableContext(ref.FunctionARN()), Via: via}
	var rec *key.Record
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if rec, err = s.cfg.Guard.Key(tx, call, ref.Account, keyARN, use); err != nil || !fresh {
			return err
		}
		use.Action = "kms:CreateGrant"
		return s.cfg.Guard.UseKey(tx, call, rec, use)
	})
	if err == nil && rec.ARN() != keyARN {
		err = invalid
	}
	if err != nil {
		return invocation.InvalidKey(err)
	}
	return s.cfg.Invoker.WarmKey(ctx, rec)
}

// lambdaService is what a role is passed to.
const lambdaService = "lambda.amazonaws.com"

// passRole authorises the caller to give a function its execution role (AWS
// docs). A role that does not exist is refused as one that does.
func (s *Service) passRole(ctx context.Context, call *wire.Call, ref function.Ref, roleARN string) error {
	account, name, ok := iam.RoleNameFromARN(roleARN)
	if ok && (account != ref.Account || account != call.Principal.Account) {
		return fault.New(fault.Denied, "Cross-account pass role is not allowed.").For(roleARN)
	}
	var tags []iam.Tag
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		role, err := tx.Role(account, name)
		if err == nil {
			tags = role.Tags
		} else if isNotFound(err) {
			tags, err = nil, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.cfg.Guard.On(call, "iam:PassRole", &authz.Resource{ARN: roleARN, Context: func(key string) iam.Value {
		switch key {
		case "iam:passedtoservice":
			return iam.Text(lambdaService)
		case "iam:associatedresourcearn":
			return iam.Text(ref.FunctionARN())
		}
		return iam.ResourceTags(key, tags)
	}})
}

// lookAtNetwork authorises the caller to look at the network that a function
// is to be attached to. The refusal is EC2's, passed on (AWS: recorded).
func (s *Service) lookAtNetwork(call *wire.Call, vpc *api.VpcConfig) error {
	if vpc == nil || len(vpc.SubnetIds) == 0 && len(vpc.SecurityGroupIds) == 0 {
		return nil
	}
	for _, look := range []struct {
		action string
		ids    []string
	}{{"DescribeSecurityGroups", vpc.SecurityGroupIds}, {"DescribeSubnets", vpc.SubnetIds}, {"DescribeVpcs", vpc.SubnetIds}} {
		err := s.cfg.Guard.On(call, "ec2:"+look.action, &authz.Resource{ARN: "*"})
		if err != nil && len(look.ids) > 0 {
			return fault.New(fault.Denied, "Your access has been denied by EC2, please make sure your request credentials have permission to %s for %s. "+
				"EC2 Error Code: UnauthorizedOperation. EC2 Error Message: You are not authorized to perform this operation.", look.action, look.ids[0]).Because(err)
		}
	}
	return nil
}

// conditions returns the condition keys that requests give (AWS docs).
func conditions(in wire.Input, key string) iam.Value {
	switch in := in.(type) {
	case *api.CreateFunctionRequest:
		return firstOf(key, tagKeys(in.Tags), settingKeys(in.Layers, in.VpcConfig), text("lambda:codesigningconfigarn", in.CodeSigningConfigArn))
	case *api.UpdateFunctionConfigurationRequest:
		return settingKeys(in.Layers, in.VpcConfig)(key)
	case *api.AddPermissionRequest:
		return firstOf(key, principals(spellings(*in.Principal)), text("lambda:eventsourcetoken", in.EventSourceToken),
			text("lambda:functionurlauthtype", in.FunctionUrlAuthType))
	case *api.TagResourceRequest:
		return tagKeys(in.Tags)(key)
	case *api.UntagResourceRequest:
		if key == "aws:tagkeys" {
			return iam.List(in.TagKeys)
		}
	}
	return iam.Value{}
}

func firstOf(key string, contexts ...iam.Context) iam.Value {
	for _, c := range contexts {
		if v := c(key); !v.IsZero() {
			return v
		}
	}
	return iam.Value{}
}

func text(name string, given *string) iam.Context {
	return func(key string) iam.Value {
		if key != name {
			return iam.Value{}
		}
		return iam.Optional(given)
	}
}

// tagKeys are the condition keys of the tags in a request.
func tagKeys(tags map[string]string) iam.Context {
	return iam.TagContext("aws:requesttag/", "aws:tagkeys", tags)
}

func settingKeys(layers []string, vpc *api.VpcConfig) iam.Context {
	return func(key string) iam.Value {
		switch {
		case key == "lambda:layer":
			return iam.List(layers)
		case vpc == nil:
		case key == "lambda:subnetids":
			return iam.List(vpc.SubnetIds)
		case key == "lambda:securitygroupids":
			return iam.List(vpc.SecurityGroupIds)
		}
		return iam.Value{}
	}
}
