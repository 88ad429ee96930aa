package resource_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

func secretScenarios() []scenario {
	return []scenario{
		secretScenario(), generatedScenario(), plainSecretScenario(), secretPolicyScenario(), scheduleScenario(),
	}
}

// lookSecret shows a secret; values only by their members and lengths, unless
// they are short.
func (k *kit) lookSecret(res resource.Result) string {
	d, err := k.secrets.DescribeSecret(k.Context(), &secretsmanager.DescribeSecretInput{SecretId: &res.PhysicalID})
	return seen(err, func() string {
		tags := map[string]string{}
		for _, t := range d.Tags {
			tags[*t.Key] = *t.Value
		}
		var replicas []string
		for _, r := range d.ReplicationStatus {
			replicas = append(replicas, *r.Region+" "+string(r.Status))
		}
		return fmt.Sprintf("%s key=%s %s tags=%s replicas=%v value=%s versions=%d", text(d.Description), text(d.KmsKeyId), text(d.Type), k.users(tags),
			replicas, k.valueOf(res.PhysicalID), len(d.VersionIdsToStages))
	})
}

func text(p *string) string {
	if p == nil {
		return "-"
	}
	return *p
}

func (k *kit) valueOf(id string) string {
	v, err := k.secrets.GetSecretValue(k.Context(), &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		return "none"
	}
	if len(*v.SecretString) < 20 {
		return *v.SecretString
	}
	var members map[string]any
	if json.Unmarshal([]byte(*v.SecretString), &members) != nil {
		return fmt.Sprint(len(*v.SecretString))
	}
	for name, value := range members {
		if s := fmt.Sprint(value); len(s) > 12 {
			members[name] = len(s)
		}
	}
	return fmt.Sprint(members)
}

func secretScenario() scenario {
	return scenario{
		typ: "AWS::SecretsManager::Secret", look: (*kit).lookSecret,
		properties: `{"Description":"first","SecretString":"open sesame","Tags":[{"Key":"team","Value":"db"},{"Key":"old","Value":"x"}]}`,
		want:       "first key=- - tags=map[old:x team:db] replicas=[] value=open sesame versions=1",
		attributes: map[string]string{"Ref": "arn:aws:secretsmanager:us-east-1:123456789012:secret:Thing-*", "Id": "$ID"},
		setup: func(k *kit) map[string]string {
			return map[string]string{"KEY": k.newKey()}
		},
		updates: []change{
			{
				"description and tags", `{"Description":"second","SecretString":"open sesame","Tags":[{"Key":"team","Value":"app"}]}`,
				"second key=- - tags=map[team:app] replicas=[] value=open sesame versions=1",
			},
			{
				"value, key and type", `{"SecretString":"shut","KmsKeyId":"${KEY}","Type":"kind","Tags":[{"Key":"team","Value":"app"}]}`,
				"- key=${KEY} kind tags=map[team:app] replicas=[] value=shut versions=2",
			},
			{
				"the default key again", `{"SecretString":"shut"}`, "- key=- - tags=map[] replicas=[] value=shut versions=2",
			},
			{
				"a generated value and replicas", `{"GenerateSecretString":{"PasswordLength":40},"ReplicaRegions":[{"Region":"eu-west-1"},{"Region":"ap-south-1"}]}`,
				"- key=- - tags=map[] replicas=[eu-west-1 InSync ap-south-1 InSync] value=40 versions=2",
			},
			{
				"another replica", `{"GenerateSecretString":{"PasswordLength":40},"ReplicaRegions":[{"Region":"ap-south-1"}]}`,
				"- key=- - tags=map[] replicas=[ap-south-1 InSync] value=40 versions=2",
			},
		},
		refused: []refusal{
			{"both values", `{"SecretString":"x","GenerateSecretString":{}}`, resource.InvalidRequest, "You can't specify both SecretString and GenerateSecretString."},
			{
				"a broken template", `{"GenerateSecretString":{"SecretStringTemplate":"{","GenerateStringKey":"p"}}`, resource.InvalidRequest,
				"Could not parse SecretStringTemplate JSON",
			},
			{
				"a template without a key", `{"GenerateSecretString":{"SecretStringTemplate":"{}"}}`, resource.InvalidRequest,
				"You must specify both GenerateStringKey and SecretStringTemplate, or neither of them.",
			},
			{
				"a replica of an unknown region", `{"Name":"r","ReplicaRegions":[{"Region":"mars-1"}]}`, resource.InvalidRequest,
				"Invalid replica region.",
			},
		},
	}
}

func generatedScenario() scenario {
	template := `{"Name":"app/db","ReplicaRegions":[{"Region":"eu-west-1"}],"GenerateSecretString":{"SecretStringTemplate":"{\"username\":\"admin\",\"port\":5432}",` +
		`"GenerateStringKey":"password","PasswordLength":20,"ExcludePunctuation":true}}`
	return scenario{
		typ: "AWS::SecretsManager::Secret", look: (*kit).lookSecret,
		properties: template, want: "- key=- - tags=map[] replicas=[eu-west-1 InSync] value=map[password:20 port:5432 username:admin] versions=1",
		attributes: map[string]string{"Ref": "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-*"},
		updates: []change{{
			"generated anew", strings.ReplaceAll(template, `"PasswordLength":20`, `"PasswordLength":30`),
			"- key=- - tags=map[] replicas=[eu-west-1 InSync] value=map[password:30 port:5432 username:admin] versions=2",
		}},
		unchanging: []string{"Description", "KmsKeyId", "SecretString", "Type", "Tags", "ReplicaRegions"},
	}
}

func plainSecretScenario() scenario {
	return scenario{
		typ: "AWS::SecretsManager::Secret", look: (*kit).lookSecret,
		properties: `{"Name":"empty"}`, want: "- key=- - tags=map[] replicas=[] value=none versions=0",
		unchanging: []string{"Description", "KmsKeyId", "SecretString", "GenerateSecretString", "Type", "Tags", "ReplicaRegions"},
		refused: []refusal{{
			"an impossible password", `{"GenerateSecretString":{"PasswordLength":5000}}`, resource.InvalidRequest,
			"1 validation error detected: Value '5000' at 'passwordLength' failed to satisfy constraint: Member must have value less than or equal to 4096",
		}},
	}
}

// newSecret makes a secret and returns its ARN.
func (k *kit) newSecret(name string) string {
	k.Helper()
	out, err := k.secrets.CreateSecret(k.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: new(`{"username":"u"}`)})
	k.must(err)
	return *out.ARN
}

func secretPolicyScenario() scenario {
	policy := func(action string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"` + action + `","Resource":"*"}]}`
	}
	return scenario{
		typ:   "AWS::SecretsManager::ResourcePolicy",
		setup: func(k *kit) map[string]string { return map[string]string{"SECRET": k.newSecret("held")} },
		look: func(k *kit, res resource.Result) string {
			p, err := k.secrets.GetResourcePolicy(k.Context(), &secretsmanager.GetResourcePolicyInput{SecretId: &res.PhysicalID})
			k.must(err)
			return text(p.ResourcePolicy)
		},
		properties: `{"SecretId":"held","ResourcePolicy":` + policy("secretsmanager:PutSecretValue") + `}`,
		want:       compact(policy("secretsmanager:PutSecretValue")), after: "-", attributes: map[string]string{"Ref": "${SECRET}", "Id": "${SECRET}"},
		updates: []change{{
			"policy", `{"SecretId":"held","BlockPublicPolicy":true,"ResourcePolicy":` + policy("secretsmanager:TagResource") + `}`,
			compact(policy("secretsmanager:TagResource")),
		}},
		refused: []refusal{
			{
				"a missing secret", `{"SecretId":"nowhere","ResourcePolicy":` + policy("secretsmanager:TagResource") + `}`, resource.NotFound,
				"Secrets Manager can't find the specified secret.",
			},
		},
	}
}

// compact is JSON with its members sorted, as documents in templates become.
func compact(document string) string {
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		return err.Error()
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// newFunction makes an active function that Secrets Manager may invoke.
func (k *kit) newFunction(name string) string {
	k.Helper()
	out, err := k.lambda.CreateFunction(k.Context(), &lambda.CreateFunctionInput{
		FunctionName: &name, Role: new(roleARN), Handler: new("index.handler"), Runtime: lambdatypes.RuntimePython311,
		Code: &lambdatypes.FunctionCode{ZipFile: apitest.Zip(k, map[string][]byte{"index.py": []byte("def handler(e, c): pass")})},
	})
	k.must(err)
	_, err = k.lambda.AddPermission(k.Context(), &lambda.AddPermissionInput{
		FunctionName: &name, StatementId: new("rotation"), Action: new("lambda:InvokeFunction"), Principal: new("secretsmanager.amazonaws.com"),
	})
	k.must(err)
	k.must(lambda.NewFunctionActiveV2Waiter(k.lambda, func(o *lambda.FunctionActiveV2WaiterOptions) { o.MinDelay, o.MaxDelay = 1e7, 1e8 }).Wait(
		k.Context(), &lambda.GetFunctionInput{FunctionName: &name}, 3e10))
	return *out.FunctionArn
}

func scheduleScenario() scenario {
	return scenario{
		typ: "AWS::SecretsManager::RotationSchedule",
		setup: func(k *kit) map[string]string {
			return map[string]string{"SECRET": k.newSecret("turned"), "ONE": k.newFunction("one"), "TWO": k.newFunction("two")}
		},
		look: func(k *kit, res resource.Result) string {
			d, err := k.secrets.DescribeSecret(k.Context(), &secretsmanager.DescribeSecretInput{SecretId: &res.PhysicalID})
			return seen(err, func() string {
				rules := "-"
				if r := d.RotationRules; r != nil && *d.RotationEnabled {
					days := int64(0)
					if r.AutomaticallyAfterDays != nil {
						days = *r.AutomaticallyAfterDays
					}
					rules = fmt.Sprint(days, text(r.Duration), text(r.ScheduleExpression))
				}
				return fmt.Sprint(*d.RotationEnabled, " ", text(d.RotationLambdaARN), " ", rules, " ", slices.Sorted(maps.Keys(d.VersionIdsToStages)) != nil)
			})
		},
		properties: `{"SecretId":"turned","RotationLambdaARN":"${ONE}","RotationRules":{"AutomaticallyAfterDays":"30","Duration":"2h"},"RotateImmediatelyOnUpdate":false}`,
		want:       "true ${ONE} 302h- true", after: "false ${TWO} - true", attributes: map[string]string{"Ref": "${SECRET}", "Id": "${SECRET}"},
		updates: []change{
			{
				"rules", `{"SecretId":"turned","RotationLambdaARN":"${ONE}","RotationRules":{"ScheduleExpression":"rate(10 days)"},"RotateImmediatelyOnUpdate":false}`,
				"true ${ONE} 0-rate(10 days) true",
			},
			{
				"function, at once", `{"SecretId":"turned","RotationLambdaARN":"${TWO}","RotationRules":{"ScheduleExpression":"rate(10 days)"}}`,
				"true ${TWO} 0-rate(10 days) true",
			},
		},
		unchanging: []string{"HostedRotationLambda", "ExternalSecretRotationMetadata", "ExternalSecretRotationRoleArn"},
		refused: []refusal{
			{
				"a hosted function without the transform", `{"SecretId":"turned","HostedRotationLambda":{"RotationType":"PostgreSQLSingleUser"}}`, resource.InvalidRequest,
				"To use the HostedRotationLambda property, you must use the AWS::SecretsManager transform",
			},
			{"a missing secret", `{"SecretId":"nowhere","RotationLambdaARN":"${ONE}"}`, resource.NotFound, "Secrets Manager can't find the specified secret."},
		},
	}
}

// newUser makes a user.
func (k *kit) newUser(name string) string {
	k.Helper()
	_, err := k.iam.CreateUser(k.Context(), &iam.CreateUserInput{UserName: &name})
	k.must(err)
	return name
}
