package transform

import (
	"slices"
	"strconv"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
)

// managed begins the ARNs of AWS managed policies. IAM here is of the
// partition aws in every region.
const managed = "arn:aws:iam::aws:policy/"

// role makes a function's execution role and returns its ARN (AWS: recorded).
func (x *serverless) role(id string, r resource, p map[string]any, tags []any) (any, *fault.Error) {
	attached := []any{managed + "service-role/AWSLambdaBasicExecutionRole"}
	if mode := p["Tracing"]; mode == "Active" || mode == "PassThrough" {
		attached = append(attached, managed+"AWSXRayDaemonWriteAccess")
	}
	if p["VpcConfig"] != nil {
		attached = append(attached, managed+"service-role/AWSLambdaVPCAccessExecutionRole")
	}
	trust := p["AssumeRolePolicyDocument"]
	if trust == nil {
		trust = policyDocument(map[string]any{
			"Effect": "Allow", "Action": []any{"sts:AssumeRole"}, "Principal": map[string]any{"Service": []any{"lambda.amazonaws.com"}},
		})
	}
	inline, more, err := rolePolicies(id+"Role", p["Policies"])
	if err != nil {
		return nil, err
	}
	for _, arn := range more {
		if s, ok := arn.(string); !ok || !slices.Contains(attached, any(s)) {
			attached = append(attached, arn)
		}
	}
	properties := map[string]any{
		"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": attached, "Tags": copied(tags),
	}
	if len(inline) > 0 {
		properties["Policies"] = inline
	}
	if path, ok := p["RolePath"]; ok {
		properties["Path"] = path
	}
	if boundary, ok := p["PermissionsBoundary"]; ok {
		properties["PermissionsBoundary"] = boundary
	}
	x.made(id+"Role", "AWS::IAM::Role", properties, r)
	return map[string]any{"Fn::GetAtt": []any{id + "Role", "Arn"}}, nil
}

func policyDocument(statements ...any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}

// rolePolicies reads the property Policies: names and ARNs of managed
// policies, documents, and templates of policies.
func rolePolicies(role string, v any) (inline, attached []any, err *fault.Error) {
	list, many := v.([]any)
	if !many && v != nil {
		list = []any{v}
	}
	for i, item := range list {
		name := role + "Policy" + strconv.Itoa(i)
		policy, arn, err := rolePolicy(name, i, item)
		if err != nil {
			return nil, nil, err
		}
		if arn != nil {
			attached = append(attached, arn)
		} else {
			inline = append(inline, policy)
		}
	}
	return inline, attached, nil
}

// rolePolicy reads one item: it is a policy of the role's own, or the ARN of
// another one.
func rolePolicy(name string, index int, item any) (inline, arn any, err *fault.Error) {
	switch item := item.(type) {
	case string:
		return nil, managedARN(item), nil
	case map[string]any:
		if branches, ok := item["Fn::If"].([]any); ok && len(branches) == 3 && len(item) == 1 {
			return conditional(name, index, branches)
		}
		if isCall(item) {
			return nil, item, nil
		}
		if item["Statement"] != nil {
			return map[string]any{"PolicyName": name, "PolicyDocument": item}, nil, nil
		}
		statements, err := policyTemplate(item, index)
		return map[string]any{"PolicyName": name, "PolicyDocument": map[string]any{"Statement": statements}}, nil, err
	}
	return nil, nil, badPolicy(index)
}

func badPolicy(index int) *fault.Error {
	return invalid("Policy at index %d in the 'Policies' property is not valid", index)
}

// conditional reads the branches of a policy that depends on a condition:
// both are policies of the role's own, or both ARNs, or nothing.
func conditional(name string, index int, branches []any) (inline, arn any, err *fault.Error) {
	chosen := []any{branches[0], nil, nil}
	kinds := map[bool]bool{}
	for i, branch := range branches[1:] {
		if m, ok := branch.(map[string]any); ok && m["Ref"] == "AWS::NoValue" {
			chosen[i+1] = m
			continue
		}
		policy, a, err := rolePolicy(name, index, branch)
		if err != nil {
			return nil, nil, err
		}
		chosen[i+1] = policy
		if a != nil {
			chosen[i+1] = a
		}
		kinds[a != nil] = true
	}
	made := map[string]any{"Fn::If": chosen}
	switch {
	case len(kinds) > 1:
		return nil, nil, badPolicy(index)
	case kinds[true]:
		return nil, made, nil
	}
	return made, nil, nil
}

// managedARN is the ARN of a managed policy that may be given by its name.
func managedARN(name string) string {
	for _, p := range iam.ManagedPolicies() {
		if p.Name == name {
			return p.ARN
		}
	}
	return name // an ARN, or what IAM refuses
}
