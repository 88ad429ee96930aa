package deploy

import (
	"encoding/json"
	"strings"
)

const (
	// templateRegion is the region in a template's texts.
	templateRegion = "${AWS::Region}"
	// superuserParameter is the superuser's secret there.
	superuserParameter = "${SuperuserSecretArn}"
)

// object is one of a template.
type object = map[string]any

// Template is a CloudFormation template, in JSON, for the package of a
// function on AWS: the function, its role with the policy it needs, the
// permission of Secrets Manager and, for a secret that is given as its
// parameter, the schedule. arch is Go's name of the processor.
func (s *Spec) Template(arch string) (string, error) {
	deployed := s.withSuperuser(superuserParameter)
	text, err := deployed.policy(names{Region: templateRegion, Account: "${AWS::AccountId}", Function: "${FunctionName}"})
	if err != nil {
		return "", err
	}
	var policy, trust any
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		return "", err
	}
	if err := json.Unmarshal([]byte(trustPolicy), &trust); err != nil {
		return "", err
	}
	schedule, err := deployed.scheduleResource()
	if err != nil {
		return "", err
	}
	return indented(object{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Description":              "Rotation function " + s.Rotator + " of Keyturn. Upload its package to S3 first.",
		"Parameters":               deployed.parameters(),
		"Conditions": object{
			"InVpc":     object{"Fn::Not": []any{object{"Fn::Equals": []any{object{"Fn::Join": []any{"", ref("VpcSubnetIds")}}, ""}}}},
			"HasSecret": object{"Fn::Not": []any{object{"Fn::Equals": []any{ref("SecretArn"), ""}}}},
		},
		"Resources": object{
			"Role":       role(filled(policy), trust),
			"Function":   deployed.functionResource(arch),
			"Permission": permission(),
			"Schedule":   schedule,
		},
		"Outputs": object{"FunctionArn": object{"Value": attribute("Function")}, "RoleArn": object{"Value": attribute("Role")}},
	})
}

func ref(name string) object           { return object{"Ref": name} }
func attribute(resource string) object { return object{"Fn::GetAtt": []string{resource, "Arn"}} }
func when(condition string, v any) object {
	return object{"Fn::If": []any{condition, v, ref("AWS::NoValue")}}
}

// filled lets CloudFormation fill in every text that asks for it.
func filled(v any) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "${") {
			return object{"Fn::Sub": v}
		}
	case []any:
		for i := range v {
			v[i] = filled(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = filled(v[k])
		}
	}
	return v
}

func (s *Spec) parameters() object {
	text := func(description string, more object) object {
		p := object{"Type": "String", "Description": description}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	p := object{
		"FunctionName": text("Name of the function.", object{"Default": s.Name}),
		"CodeS3Bucket": text("Bucket of the package.", nil),
		"CodeS3Key":    text("Key of the package.", object{"Default": "rotator.zip"}),
		"SecretArn":    text("A secret that the function is to rotate; others can be added later.", object{"Default": ""}),
		"VpcSubnetIds": object{"Type": "CommaDelimitedList", "Default": "",
			"Description": "Subnets from which the function reaches the database and Secrets Manager; none for outside of a VPC."},
		"VpcSecurityGroupIds": object{"Type": "CommaDelimitedList", "Default": "", "Description": "Security groups of the function in these subnets."},
	}
	if len(s.Superusers) == 1 && s.Superusers[0] == superuserParameter {
		p["SuperuserSecretArn"] = text("The secret that the member masterarn names.", nil)
	}
	return p
}

func role(policy, trust any) object {
	return object{"Type": "AWS::IAM::Role", "Properties": object{
		"AssumeRolePolicyDocument": trust,
		"Policies":                 []any{object{"PolicyName": policyName, "PolicyDocument": policy}},
		"ManagedPolicyArns": when("InVpc", []any{
			object{"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"},
		}),
	}}
}

func (s *Spec) functionResource(arch string) object {
	properties := object{
		"FunctionName": ref("FunctionName"), "Description": "Built-in rotator " + s.Rotator + " of Keyturn",
		"Runtime": Runtime, "Handler": handlerPrefix + s.Rotator, "Architectures": []string{LambdaArchitecture(arch)},
		"Code": object{"S3Bucket": ref("CodeS3Bucket"), "S3Key": ref("CodeS3Key")},
		"Role": attribute("Role"), "Timeout": s.Timeout, "MemorySize": s.Memory,
		"VpcConfig": when("InVpc", object{"SubnetIds": ref("VpcSubnetIds"), "SecurityGroupIds": ref("VpcSecurityGroupIds")}),
	}
	if vars := s.variables(); len(vars) > 0 {
		properties["Environment"] = object{"Variables": vars}
	}
	if s.Concurrency != nil {
		properties["ReservedConcurrentExecutions"] = *s.Concurrency
	}
	return object{"Type": "AWS::Lambda::Function", "Properties": properties}
}

func permission() object {
	return object{"Type": "AWS::Lambda::Permission", "Properties": object{
		"FunctionName": attribute("Function"), "Action": "lambda:InvokeFunction", "Principal": service, "SourceAccount": ref("AWS::AccountId"),
	}}
}

// scheduleResource turns on rotation; it tests the configuration and leaves
// the password as it is until the first window.
func (s *Spec) scheduleResource() (object, error) {
	every := s.Every
	if every == "" {
		every = everyDefault
	}
	r, err := Rules(every, s.Window)
	if err != nil {
		return nil, err
	}
	rules := object{}
	if r.AutomaticallyAfterDays != nil {
		rules["AutomaticallyAfterDays"] = *r.AutomaticallyAfterDays
	}
	if r.ScheduleExpression != nil {
		rules["ScheduleExpression"] = *r.ScheduleExpression
	}
	if r.Duration != nil {
		rules["Duration"] = *r.Duration
	}
	return object{
		"Type": "AWS::SecretsManager::RotationSchedule", "Condition": "HasSecret", "DependsOn": "Permission",
		"Properties": object{
			"SecretId": ref("SecretArn"), "RotationLambdaARN": attribute("Function"), "RotateImmediatelyOnUpdate": false, "RotationRules": rules,
		},
	}, nil
}
