package iam

// Refusal returns AWS's text for a request that was not allowed. An empty
// principal is an anonymous one; an empty resource leaves its phrase out, as
// for actions without a resource. Assuming a role tells no reason that would
// show whether the role exists (AWS docs).
func (d Decision) Refusal(principalARN, action, resource string) string {
	if principalARN == "" {
		principalARN = "anonymous"
	}
	text := "User: " + principalARN + " is not authorized to perform: " + action
	if resource != "" {
		text += " on resource: " + resource
	}
	switch {
	case d.Layer == TrustLayer || d.kind == RoleResource && d.Effect != ExplicitDeny:
		return text
	case d.Effect == ImplicitDeny:
		return text + " because no " + d.Layer.policyName() + " allows the " + action + " action"
	case d.Effect == ExplicitDeny && d.Layer == IdentityLayer:
		return text + " with an explicit deny in an " + d.Layer.policyName()
	case d.Effect == ExplicitDeny:
		return text + " with an explicit deny in a " + d.Layer.policyName()
	}
	return text
}

// policyName is what AWS's texts call the layer's policy.
func (l Layer) policyName() string {
	switch l {
	case BoundaryLayer:
		return "permissions boundary"
	case SessionLayer:
		return "session policy"
	case EndpointLayer:
		return "VPC endpoint policy"
	}
	return string(l) + "-based policy"
}
