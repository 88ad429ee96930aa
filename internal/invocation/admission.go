package invocation

import (
	"context"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// InvokeFunction is the action that guards invocations (AWS docs).
const InvokeFunction = "lambda:InvokeFunction"

// Resource returns the function, version or alias that an ARN names as
// policies see it. What does not exist has neither policy nor tags, so that
// its refusal looks like any other.
func Resource(tx *store.Tx, functionARN string) (*authz.Resource, error) {
	ref, ok := function.ParseRef(functionARN)
	if !ok || ref.Region == "" {
		return &authz.Resource{ARN: functionARN}, nil
	}
	f, err := tx.Function(ref.Account, ref.Region, ref.Name)
	if fault.Is(err, fault.NotFound) {
		return ResourceOf(ref, &function.Function{}), nil
	}
	if err != nil {
		return nil, err
	}
	return ResourceOf(ref, f), nil
}

// ResourceOf is Resource for a function at hand: with the resource policy of
// exactly what ref names, and the function's tags.
func ResourceOf(ref function.Ref, f *function.Function) *authz.Resource {
	r := &authz.Resource{ARN: ref.ARN(), Account: ref.Account, Policy: f.PolicyText(ref.Qualifier)}
	tags := iam.TagContext("aws:resourcetag/", "", f.Tags)
	r.Context = func(key string) iam.Value {
		if key == "lambda:functionarn" {
			return iam.Text(r.ARN)
		}
		return tags(key)
	}
	return r
}

// secretsManager is the principal that rotations invoke functions as.
const secretsManager = "secretsmanager.amazonaws.com"

// notAdmitted is the refusal of a rotation function that Secrets Manager may
// not invoke (AWS: recorded). It does not tell a missing function from a
// missing grant.
func notAdmitted(functionARN string) *fault.Error {
	return fault.New(fault.Denied, "Secrets Manager cannot invoke the specified Lambda function. "+
		"Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com.").For(functionARN)
}

// CanInvoke checks that Secrets Manager may invoke a function for a secret:
// the function, and its version or alias if the ARN names one, exists, and
// the resource policy of exactly that admits the service on behalf of the
// secret. The function may belong to another account than the secret. The
// error is of kind Denied with AWS's text.
func CanInvoke(tx *store.Tx, functionARN, secretARN, secretAccount string) error {
	ref, ok := function.ParseRef(functionARN)
	if !ok || ref.Region == "" {
		return notAdmitted(functionARN)
	}
	f, _, err := Lookup(tx, ref, 0)
	if fault.Is(err, fault.NotFound) {
		return notAdmitted(functionARN).Because(err)
	}
	if err != nil {
		return err
	}
	if !admits(ResourceOf(ref, f), secretARN, secretAccount) {
		return notAdmitted(functionARN)
	}
	return nil
}

// Owned returns the function by which an AWS service rotates secrets that it
// owns in the account. The error is of kind Denied when the ARN names nothing
// of that service there.
func Owned(tx *store.Tx, functionARN, service, account string) (*function.Function, error) {
	ref, owner, ok := function.ParseOwnedARN(functionARN)
	if !ok || service == "" || owner != service || ref.Account != account {
		return nil, notAdmitted(functionARN)
	}
	f, err := tx.Function(ref.Account, ref.Region, ref.Name)
	if fault.Is(err, fault.NotFound) || err == nil && f.Owner != service {
		return nil, notAdmitted(functionARN).Because(err)
	}
	return f, err
}

// admits evaluates the policy of a function for the service and the secret. A
// policy that cannot be read admits nobody.
func admits(r *authz.Resource, secretARN, secretAccount string) bool {
	if r.Policy == "" {
		return false
	}
	policy, err := iam.CompileText(r.Policy, r.ARN)
	if err != nil {
		return false
	}
	request := iam.Request{
		Principal: iam.Principal{Type: iam.Service, InvokedBy: secretsManager}, Action: InvokeFunction,
		Resource: r.ARN, ResourceAccount: r.Account,
		Context: func(key string) iam.Value {
			switch key {
			case "aws:sourcearn":
				return iam.Text(secretARN)
			case "aws:sourceaccount":
				return iam.Text(secretAccount)
			}
			return r.Context(key)
		},
	}
	return iam.Evaluate(&request, &iam.Policies{Resource: policy}).Allowed()
}

// CheckAttachable refuses a role that may not attach a function to a VPC
// (AWS: reported).
func (i *Invoker) CheckAttachable(ctx context.Context, roleARN string, ref function.Ref) error {
	session, err := i.Credentials(ctx, environment.Spec{RoleARN: roleARN, FunctionARN: ref.FunctionARN(), FunctionName: ref.Name, Account: ref.Account})
	if fault.Is(err, fault.Denied) {
		return nil // that it cannot be assumed at all is said elsewhere
	}
	if err != nil {
		return err
	}
	who, err := i.cfg.Principal(ctx, session.AccessKeyID, session.SessionToken)
	if err != nil {
		return err
	}
	call := &wire.Call{Service: "ec2", Region: ref.Region, Account: ref.Account, Time: time.Now(), Principal: who, Secure: true}
	for _, operation := range []string{"CreateNetworkInterface", "DescribeNetworkInterfaces", "DeleteNetworkInterface"} {
		if err := i.cfg.Guard.On(call, "ec2:"+operation, &authz.Resource{ARN: "*"}); err != nil {
			return fault.New(fault.Parameter, "The provided execution role does not have permissions to call %s on EC2", operation).For(roleARN).Because(err)
		}
	}
	return nil
}
