package iam

// assumeRole is the action by which services assume roles.
const assumeRole = "sts:AssumeRole"

// TrustsService reports whether the role's trust policy lets a service assume
// the role. The context has the condition keys of the service's request, such
// as aws:SourceArn; it may be nil. A policy that cannot be read trusts nobody.
func (r *Role) TrustsService(service string, context Context) bool {
	trust, err := CompileText(r.TrustPolicy, r.Name)
	if err != nil {
		return false
	}
	request := Request{
		Principal: Principal{Type: Service, InvokedBy: service}, Action: assumeRole, Resource: r.ARN(), ResourceAccount: r.Account, Context: context,
	}
	return Evaluate(&request, &Policies{Resource: trust, Kind: RoleResource}).Allowed()
}
