package application

import (
	"encoding/json"
	"strings"
)

// object is one of a template.
type object = map[string]any

// permissionID is the logical ID of the permission of Secrets Manager.
const permissionID = "LambdaPermission"

func (a *Application) roleID() string { return a.Name + "Role" }

// Body is the application's CloudFormation template, in JSON. Its resources
// are what the Serverless transform makes of AWS's (AWS: recorded): the
// function, which has the application's name as its logical ID, its role and
// the permission of Secrets Manager.
func (a *Application) Body() string {
	b, err := json.MarshalIndent(a.tree(), "", "  ")
	if err != nil {
		panic("application: " + err.Error()) // strings, lists and objects always marshal
	}
	return string(b) + "\n"
}

func (a *Application) tree() object {
	parameters := object{}
	for _, p := range a.Parameters() {
		made := object{"Type": p.Type, "Description": p.Description}
		if p.Default != nil {
			made["Default"] = *p.Default
		}
		parameters[p.Name] = made
	}
	return object{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Description":              a.Description,
		"Parameters":               parameters,
		"Conditions":               a.conditions(),
		"Resources": object{
			a.Name:       object{"Type": "AWS::Lambda::Function", "Properties": a.function()},
			a.roleID():   object{"Type": "AWS::IAM::Role", "Properties": a.role()},
			permissionID: object{"Type": "AWS::Lambda::Permission", "Properties": a.permission()},
		},
		"Outputs": object{"RotationLambdaARN": object{"Description": "ARN of the rotation function", "Value": attribute(a.Name)}},
	}
}

func ref(name string) object           { return object{"Ref": name} }
func sub(text string) object           { return object{"Fn::Sub": text} }
func attribute(resource string) object { return object{"Fn::GetAtt": []any{resource, "Arn"}} }

// when is v if the condition holds, and otherwise nothing.
func when(condition string, v any) object {
	return object{"Fn::If": []any{condition, v, ref("AWS::NoValue")}}
}

// given is the name of the condition that a parameter is not empty.
func given(parameter string) string {
	return strings.ToUpper(parameter[:1]) + parameter[1:] + "Given"
}

// conditions are those of every optional parameter that the template asks for.
func (a *Application) conditions() object {
	all := object{}
	for _, p := range a.Parameters() {
		if p.Default == nil || *p.Default != "" || p.Name == "runtime" || p.Name == "vpcSecurityGroupIds" {
			continue
		}
		value := any(ref(p.Name))
		if p.Type == typeList {
			value = object{"Fn::Join": []any{"", ref(p.Name)}}
		}
		all[given(p.Name)] = object{"Fn::Not": []any{object{"Fn::Equals": []any{value, ""}}}}
	}
	return all
}

// tags are those that AWS's applications put on what they make (AWS:
// recorded).
func tags() []any {
	return []any{
		object{"Key": "SecretsManagerLambda", "Value": "Rotation"},
		object{"Key": "lambda:createdBy", "Value": "SAM"},
	}
}

func (a *Application) function() object {
	f := object{
		"FunctionName": ref("functionName"),
		"Description":  a.Description,
		"Code":         object{"S3Bucket": Bucket, "S3Key": a.codeKey()},
		"Role":         attribute(a.roleID()),
		"Timeout":      30,
		"MemorySize":   128,
		"Environment":  object{"Variables": a.variables()},
		"Tags":         tags(),
		"VpcConfig": when(given("vpcSubnetIds"), object{
			"SubnetIds": ref("vpcSubnetIds"), "SecurityGroupIds": ref("vpcSecurityGroupIds"),
		}),
	}
	if a.Rotator == "" {
		f["Runtime"], f["Handler"] = ref("runtime"), "lambda_function.lambda_handler"
	} else {
		f["Runtime"], f["Handler"] = "provided.al2023", "rotator."+a.Rotator
	}
	return f
}

// variables are the function's environment.
func (a *Application) variables() object {
	vars := object{"SECRETS_MANAGER_ENDPOINT": ref("endpoint"), "EXCLUDE_CHARACTERS": ref("excludeCharacters")}
	if a.strategy != "" {
		vars["STRATEGY"] = a.strategy
	}
	if a.service == "elasticache" {
		vars["SECRET_ARN"] = when(given("secretArn"), ref("secretArn"))
		vars["USER_NAME"] = when(given("userName"), ref("userName"))
	}
	return vars
}

// permission admits Secrets Manager, for this account alone.
func (a *Application) permission() object {
	return object{
		"FunctionName": attribute(a.Name), "Action": "lambda:InvokeFunction",
		"Principal": ref("invokingServicePrincipal"), "SourceAccount": ref("AWS::AccountId"),
	}
}
