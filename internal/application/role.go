package application

import "strconv"

// role is the function's: it may rotate the secrets that name the function as
// theirs, and nothing else (AWS docs; section by section the policies of
// AWS's applications).
func (a *Application) role() object {
	trusted := []any{"lambda.amazonaws.com", "secretsmanager.amazonaws.com"} // AWS: recorded
	return object{
		"AssumeRolePolicyDocument": document(object{
			"Effect": "Allow", "Principal": object{"Service": trusted}, "Action": []any{"sts:AssumeRole"},
		}),
		"ManagedPolicyArns": []any{
			// IAM here is of the partition aws in every region.
			"arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
			"arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
		},
		"Policies": a.policies(),
		"Tags":     tags(),
	}
}

func document(statements ...any) object {
	return object{"Version": "2012-10-17", "Statement": statements}
}

func allow(resource any, actions ...any) object {
	return object{"Effect": "Allow", "Action": actions, "Resource": resource}
}

// policies numbers the policies, those that depend on a parameter too.
func (a *Application) policies() []any {
	var list []any
	add := func(condition string, statements ...any) {
		policy := any(object{
			"PolicyName": a.roleID() + "Policy" + strconv.Itoa(len(list)), "PolicyDocument": document(statements...),
		})
		if condition != "" {
			policy = when(condition, policy)
		}
		list = append(list, policy)
	}
	add("", allow("*", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DetachNetworkInterface"))
	add("", rotating(), allow("*", "secretsmanager:GetRandomPassword"))
	add(given("kmsKeyArn"), allow(ref("kmsKeyArn"), "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"))
	if a.Superuser {
		for _, name := range []string{"masterSecret", "superuserSecret"} {
			add(given(name+"Arn"), allow(ref(name+"Arn"), "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"))
			add(given(name+"KmsKeyArn"), allow(ref(name+"KmsKeyArn"), "kms:Decrypt", "kms:DescribeKey"))
		}
	}
	if actions := calls(a.service); len(actions) > 0 {
		add("", allow("*", actions...))
	}
	return list
}

// rotating is the statement for the secrets that name the function.
func rotating() object {
	s := allow(sub("arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:*"),
		"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage")
	s["Condition"] = object{"StringEquals": object{
		"secretsmanager:resource/AllowRotationLambdaArn": sub("arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${functionName}"),
	}}
	return s
}

// calls are those that a function makes to the service that it rotates for.
func calls(service string) []any {
	switch service {
	case "rds":
		return []any{"rds:DescribeDBClusters", "rds:DescribeDBInstances"}
	case "redshift":
		return []any{"redshift:DescribeClusters", "redshift-serverless:ListNamespaces", "redshift-serverless:ListWorkgroups"}
	case "elasticache":
		return []any{"elasticache:DescribeUsers", "elasticache:ModifyUser"}
	case "directoryservice":
		return []any{"ds:DescribeDirectories", "ds:ResetUserPassword"}
	case "influxdb":
		return []any{"timestream-influxdb:GetDbInstance"}
	}
	return nil
}
