package transform

import (
	"maps"
	"slices"

	"github.com/keyturn/keyturn/internal/fault"
)

// policy is a policy template of SAM: its parameters, and the statements for
// their values.
type policy struct {
	parameters []string
	statements func(given map[string]any) []any
}

// policies are the templates that rotation functions use (AWS docs).
var policies = map[string]policy{
	"AWSSecretsManagerGetSecretValuePolicy": {[]string{"SecretArn"}, func(given map[string]any) []any {
		return []any{statement(filled("${secretArn}", "secretArn", given["SecretArn"]), "secretsmanager:GetSecretValue")}
	}},
	"AWSSecretsManagerRotationPolicy": {[]string{"FunctionName"}, func(given map[string]any) []any {
		secrets := statement(map[string]any{"Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:*"},
			"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")
		secrets["Condition"] = map[string]any{"StringEquals": map[string]any{
			"secretsmanager:resource/AllowRotationLambdaArn": functionARN("${functionName}", given["FunctionName"]),
		}}
		return []any{secrets, statement("*", "secretsmanager:GetRandomPassword")}
	}},
	"KMSDecryptPolicy": {[]string{"KeyId"}, func(given map[string]any) []any {
		return []any{statement(filled("arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/${keyId}", "keyId", given["KeyId"]), "kms:Decrypt")}
	}},
	"LambdaInvokePolicy": {[]string{"FunctionName"}, func(given map[string]any) []any {
		return []any{statement(functionARN("${functionName}*", given["FunctionName"]), "lambda:InvokeFunction")}
	}},
	"VPCAccessPolicy": {nil, func(map[string]any) []any {
		return []any{statement("*", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DetachNetworkInterface")}
	}},
}

func statement(resource any, actions ...any) map[string]any {
	return map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource}
}

// filled is a text with a variable of the value.
func filled(text, name string, value any) map[string]any {
	return map[string]any{"Fn::Sub": []any{text, map[string]any{name: value}}}
}

func functionARN(name string, value any) map[string]any {
	return filled("arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"+name, "functionName", value)
}

// policyTemplate gives the statements of an item that names a template.
func policyTemplate(item map[string]any, index int) ([]any, *fault.Error) {
	if len(item) != 1 {
		return nil, badPolicy(index)
	}
	for name, v := range item {
		template, ok := policies[name]
		if !ok {
			return nil, badPolicy(index)
		}
		given, ok := v.(map[string]any)
		if !ok && v != nil {
			return nil, invalid("Must specify valid parameter values for policy template '%s'", name)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(given)), slices.Sorted(slices.Values(template.parameters))) {
			return nil, invalid("Must specify valid parameter values for policy template '%s'", name)
		}
		return template.statements(given), nil
	}
	return nil, badPolicy(index)
}
