package iam

// assumeRole is the action that trust policies are about.
const assumeRole = "sts:AssumeRole"

// TrustsService reports whether the role's trust policy lets a service assume
// the role.
func (r *Role) TrustsService(service string) bool {
	return r.trusts(Principal{Type: Service, InvokedBy: service})
}

// TrustsPrincipal reports whether the role's trust policy lets a caller
// assume the role, if the caller's own policies do.
func (r *Role) TrustsPrincipal(p Principal) bool { return r.trusts(p) }

// trusts evaluates the trust policy alone. A policy that cannot be read
// trusts nobody.
func (r *Role) trusts(p Principal) bool {
	trust, err := CompileText(r.TrustPolicy, r.Name)
	if err != nil {
		return false
	}
	administrator, _ := ManagedPolicyByARN(administratorAccess)
	own, err := CompileText(administrator.Document, administrator.Name)
	if err != nil {
		return false
	}
	request := Request{Principal: p, Action: assumeRole, Resource: r.ARN(), ResourceAccount: r.Account, Context: ContextOf(nil)}
	return Evaluate(&request, &Policies{Identity: []*Policy{own}, Resource: trust, Kind: RoleResource}).Allowed()
}

// administratorAccess stands for a caller's own policies, which are not kept
// yet.
const administratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"
