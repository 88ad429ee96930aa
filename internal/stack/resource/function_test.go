package resource_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/stack/resource"
)

func functionScenarios() []scenario {
	return []scenario{functionScenario(), rotatorScenario(), permissionScenario(), versionScenario(), aliasScenario(), layerScenario(), invokeConfigScenario()}
}

// lookFunction shows a function's configuration.
func (k *kit) lookFunction(res resource.Result) string {
	f, err := k.lambda.GetFunction(k.Context(), &lambda.GetFunctionInput{FunctionName: &res.PhysicalID})
	return seen(err, func() string {
		c, variables, reserved, layers := f.Configuration, map[string]string{}, int32(-1), 0
		if c.Environment != nil {
			variables = c.Environment.Variables
		}
		if f.Concurrency != nil {
			reserved = *f.Concurrency.ReservedConcurrentExecutions
		}
		layers = len(c.Layers)
		vpc := 0
		if c.VpcConfig != nil {
			vpc = len(c.VpcConfig.SubnetIds)
		}
		letter := "-"
		if c.DeadLetterConfig != nil {
			letter = text(c.DeadLetterConfig.TargetArn)
		}
		m, err := k.lambda.GetRuntimeManagementConfig(k.Context(), &lambda.GetRuntimeManagementConfigInput{FunctionName: &res.PhysicalID})
		k.must(err)
		return fmt.Sprintf("%s %s %s %q %d %d env=%v reserved=%d size=%d %v storage=%d log=%s,%s vpc=%d layers=%d letter=%s tracing=%s snap=%s updates=%s key=%s tags=%s",
			c.State, c.Runtime, *c.Handler, *c.Description, *c.Timeout, *c.MemorySize, variables, reserved, c.CodeSize, c.Architectures,
			*c.EphemeralStorage.Size, c.LoggingConfig.LogFormat, *c.LoggingConfig.LogGroup, vpc, layers, letter, c.TracingConfig.Mode, c.SnapStart.ApplyOn,
			m.UpdateRuntimeOn, text(c.KMSKeyArn), k.users(f.Tags))
	})
}

func functionScenario() scenario {
	const fixed = `"FunctionName":"fn","Role":"arn:aws:iam::123456789012:role/execution"`
	return scenario{
		typ: "AWS::Lambda::Function", look: (*kit).lookFunction,
		properties: `{` + fixed + `,"Code":{"ZipFile":"def handler(e, c): return 1"},"Handler":"index.handler","Runtime":"python3.11","Description":"first",
			"Timeout":"10","MemorySize":256,"Environment":{"Variables":{"AA":"1","NN":2}},"ReservedConcurrentExecutions":5,"Tags":[{"Key":"team","Value":"db"}]}`,
		want: `Active python3.11 index.handler "first" 10 256 env=map[AA:1 NN:2] reserved=5 size=181 [x86_64] storage=512 log=Text,/aws/lambda/fn vpc=0 layers=0 ` +
			`letter=- tracing=PassThrough snap=None updates=Auto key=- tags=map[team:db]`,
		attributes: map[string]string{"Ref": "fn", "Arn": "arn:aws:lambda:us-east-1:123456789012:function:fn"},
		setup: func(k *kit) map[string]string {
			_, subnet, group := k.newNetwork()
			_, err := k.iam.CreateRole(k.Context(), &iam.CreateRoleInput{RoleName: new("other"), AssumeRolePolicyDocument: new(lambdaTrust)})
			k.must(err)
			_, err = k.iam.AttachRolePolicy(k.Context(), &iam.AttachRolePolicyInput{RoleName: new("execution"), PolicyArn: new(vpc)})
			k.must(err)
			return map[string]string{"SUBNET": subnet, "GROUP": group, "KEY": k.newKey(), "LAYER": k.newLayer()}
		},
		updates: []change{
			{
				"code and configuration", `{` + fixed + `,"Code":{"ZipFile":"exports.handler = async () => 1"},"Handler":"index.other","Runtime":"nodejs20.x",
					"VpcConfig":{"SubnetIds":["${SUBNET}"],"SecurityGroupIds":["${GROUP}"]},"Layers":["${LAYER}"],"EphemeralStorage":{"Size":1024},
					"DeadLetterConfig":{"TargetArn":"arn:aws:sqs:us-east-1:123456789012:q"},"TracingConfig":{"Mode":"Active"},"KmsKeyArn":"arn:aws:kms:us-east-1:123456789012:key/${KEY}",
					"LoggingConfig":{"LogFormat":"JSON","LogGroup":"own"},"SnapStart":{"ApplyOn":"PublishedVersions"},"Architectures":["arm64"],
					"RuntimeManagementConfig":{"UpdateRuntimeOn":"FunctionUpdate"}}`,
				`Active nodejs20.x index.other "" 3 128 env=map[] reserved=-1 size=185 [arm64] storage=1024 log=JSON,own vpc=1 layers=1 ` +
					`letter=arn:aws:sqs:us-east-1:123456789012:q tracing=Active snap=PublishedVersions updates=FunctionUpdate key=arn:aws:kms:us-east-1:123456789012:key/${KEY} tags=map[]`,
			},
			{
				"back", `{"FunctionName":"fn","Role":"arn:aws:iam::123456789012:role/other","Code":{"ZipFile":"def handler(e, c): return 2"},"Handler":"index.handler","Runtime":"python3.11",
					"Description":"third","Timeout":20,"MemorySize":512,"Environment":{"Variables":{"BB":"2"}},"ReservedConcurrentExecutions":0}`,
				`Active python3.11 index.handler "third" 20 512 env=map[BB:2] reserved=0 size=181 [x86_64] storage=512 log=Text,/aws/lambda/fn vpc=0 layers=0 ` +
					`letter=- tracing=PassThrough snap=None updates=Auto key=- tags=map[]`,
			},
		},
		unchanging: []string{"CodeSigningConfigArn", "FileSystemConfigs", "ImageConfig", "RecursiveLoop"},
		refused: []refusal{
			{
				"inline code of another language", `{` + fixed + `,"Code":{"ZipFile":"x"},"Handler":"x","Runtime":"provided.al2023"}`, resource.InvalidRequest,
				"ZipFile can only be used when using an interpreted runtime language.",
			},
			{
				"an unknown role", `{"FunctionName":"fn","Role":"arn:aws:iam::123456789012:role/nobody","Code":{"ZipFile":"x"},"Handler":"x","Runtime":"python3.11"}`,
				resource.InvalidRequest, "The role defined for the function cannot be assumed by Lambda.",
			},
			{
				"too much concurrency", `{` + fixed + `,"Code":{"ZipFile":"x"},"Handler":"x","Runtime":"python3.11","ReservedConcurrentExecutions":1000}`,
				resource.InvalidRequest,
				"Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
			},
		},
	}
}

func rotatorScenario() scenario {
	return scenario{
		typ: "AWS::Lambda::Function",
		look: func(k *kit, res resource.Result) string {
			f, err := k.lambda.GetFunction(k.Context(), &lambda.GetFunctionInput{FunctionName: &res.PhysicalID})
			return seen(err, func() string { return string(f.Configuration.Runtime) + " " + *f.Configuration.Handler })
		},
		properties: `{"Role":"arn:aws:iam::123456789012:role/execution","Code":{"ZipFile":"built in"},"Handler":"rotator.postgres.single","Runtime":"provided.al2023"}`,
		want:       "provided.al2023 rotator.postgres.single", attributes: map[string]string{"Ref": "shop-Thing-*"},
		unchanging: []string{
			"Role", "Code", "Handler", "Runtime", "Description", "Timeout", "MemorySize", "Environment", "Tags", "ReservedConcurrentExecutions", "Architectures",
			"CodeSigningConfigArn", "DeadLetterConfig", "EphemeralStorage", "FileSystemConfigs", "ImageConfig", "KmsKeyArn", "Layers", "LoggingConfig",
			"RecursiveLoop", "RuntimeManagementConfig", "SnapStart", "TracingConfig", "VpcConfig",
		},
	}
}

func permissionScenario() scenario {
	return scenario{
		typ:   "AWS::Lambda::Permission",
		setup: func(k *kit) map[string]string { return map[string]string{"FN": k.newFunction("fn")} },
		look: func(k *kit, res resource.Result) string {
			p, err := k.lambda.GetPolicy(k.Context(), &lambda.GetPolicyInput{FunctionName: new("fn")})
			k.must(err)
			var document struct {
				Statement []struct {
					Sid       string
					Action    string
					Condition map[string]map[string]string
				}
			}
			k.must(json.Unmarshal([]byte(*p.Policy), &document))
			for _, s := range document.Statement {
				if s.Sid == res.PhysicalID {
					return fmt.Sprint(s.Action, s.Condition)
				}
			}
			return absent
		},
		properties: `{"FunctionName":"${FN}","Action":"lambda:InvokeFunction","Principal":"secretsmanager.amazonaws.com","SourceAccount":"123456789012"}`,
		want:       "lambda:InvokeFunctionmap[StringEquals:map[AWS:SourceAccount:123456789012]]", attributes: map[string]string{"Ref": "shop-Thing-*", "Id": "$ID"},
		refused: []refusal{{
			"a missing function", `{"FunctionName":"nowhere","Action":"lambda:InvokeFunction","Principal":"*"}`, resource.NotFound,
			"Function not found: arn:aws:lambda:us-east-1:123456789012:function:nowhere",
		}},
	}
}

func versionScenario() scenario {
	return scenario{
		typ:   "AWS::Lambda::Version",
		setup: func(k *kit) map[string]string { return map[string]string{"FN": k.newFunction("fn")} },
		look: func(k *kit, res resource.Result) string {
			c, err := k.lambda.GetFunctionConfiguration(k.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &res.PhysicalID})
			if err != nil {
				return absent
			}
			p, err := k.lambda.GetProvisionedConcurrencyConfig(k.Context(), &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: new("fn"), Qualifier: c.Version})
			k.must(err)
			return fmt.Sprint(*c.Version, " ", *c.Description, " ", *p.RequestedProvisionedConcurrentExecutions)
		},
		properties: `{"FunctionName":"fn","Description":"first","ProvisionedConcurrencyConfig":{"ProvisionedConcurrentExecutions":1}}`, want: "1 first 1",
		attributes: map[string]string{"Ref": "${FN}:1", "Version": "1", "FunctionArn": "${FN}:1"},
		refused: []refusal{
			{
				"a missing function", `{"FunctionName":"nowhere"}`, resource.NotFound,
				"Function not found: arn:aws:lambda:us-east-1:123456789012:function:nowhere",
			},
		},
	}
}

func TestVersionExists(t *testing.T) {
	k := newKit(t)
	k.newFunction("fn")
	h := resource.Lookup("AWS::Lambda::Version")
	_, err := h.Create(t.Context(), k.request(`{"FunctionName":"fn"}`))
	k.must(err)
	_, err = h.Create(t.Context(), k.request(`{"FunctionName":"fn"}`))
	const want = "already exists: A version for this Lambda function exists ( 1 ). Modify the function to create a new version."
	if err == nil || err.Error() != want || resource.ErrorCode(err) != resource.AlreadyExists {
		t.Errorf("a version of the same code:\ngot  %v\nwant %s", err, want)
	}
}

func aliasScenario() scenario {
	return scenario{
		typ: "AWS::Lambda::Alias",
		setup: func(k *kit) map[string]string {
			fn := k.newFunction("fn")
			for _, description := range []string{"one", "two"} {
				_, err := k.lambda.UpdateFunctionConfiguration(k.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &fn, Description: &description})
				k.must(err)
				k.must(lambda.NewFunctionUpdatedV2Waiter(k.lambda, func(o *lambda.FunctionUpdatedV2WaiterOptions) { o.MinDelay, o.MaxDelay = 1e7, 1e8 }).Wait(
					k.Context(), &lambda.GetFunctionInput{FunctionName: &fn}, 3e10))
				_, err = k.lambda.PublishVersion(k.Context(), &lambda.PublishVersionInput{FunctionName: &fn})
				k.must(err)
			}
			k.must(lambda.NewPublishedVersionActiveWaiter(k.lambda, func(o *lambda.PublishedVersionActiveWaiterOptions) { o.MinDelay, o.MaxDelay = 1e7, 1e8 }).Wait(
				k.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &fn, Qualifier: new("2")}, 3e10))
			return map[string]string{"FN": fn}
		},
		look: func(k *kit, res resource.Result) string {
			a, err := k.lambda.GetAlias(k.Context(), &lambda.GetAliasInput{FunctionName: new("fn"), Name: new("live")})
			return seen(err, func() string {
				weights := map[string]float64{}
				if a.RoutingConfig != nil {
					weights = a.RoutingConfig.AdditionalVersionWeights
				}
				provisioned := "-"
				p, err := k.lambda.GetProvisionedConcurrencyConfig(k.Context(), &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: new("fn"), Qualifier: new("live")})
				if err == nil {
					provisioned = fmt.Sprint(*p.RequestedProvisionedConcurrentExecutions)
				}
				return fmt.Sprint(*a.FunctionVersion, " ", text(a.Description), " ", weights, " ", provisioned)
			})
		},
		properties: `{"FunctionName":"fn","Name":"live","FunctionVersion":"1","Description":"first","RoutingConfig":{"AdditionalVersionWeights":[{"FunctionVersion":"2","FunctionWeight":0.25}]}}`,
		want:       "1 first map[2:0.25] -", attributes: map[string]string{"Ref": "${FN}:live", "AliasArn": "${FN}:live"},
		updates: []change{
			{
				"version and provision", `{"FunctionName":"fn","Name":"live","FunctionVersion":"2","ProvisionedConcurrencyConfig":{"ProvisionedConcurrentExecutions":1}}`,
				"2  map[] 1",
			},
			{"no provision", `{"FunctionName":"fn","Name":"live","FunctionVersion":"2"}`, "2  map[] -"},
		},
		refused: []refusal{{
			"a missing version", `{"FunctionName":"fn","Name":"live","FunctionVersion":"9"}`, resource.NotFound, "Function not found: ${FN}:9",
		}},
	}
}

func layerScenario() scenario {
	return scenario{
		typ:   "AWS::Lambda::LayerVersion",
		setup: func(k *kit) map[string]string { return map[string]string{"ZIP": emptyZip} },
		look: func(k *kit, res resource.Result) string {
			l, err := k.lambda.GetLayerVersionByArn(k.Context(), &lambda.GetLayerVersionByArnInput{Arn: &res.PhysicalID})
			return seen(err, func() string { return fmt.Sprint(l.Version, " ", *l.Description, " ", l.CompatibleRuntimes) })
		},
		properties: `{"Content":{"ZipFile":"${ZIP}"},"Description":"first","CompatibleRuntimes":["python3.11"]}`, want: "1 first [python3.11]",
		attributes: map[string]string{"Ref": "arn:aws:lambda:us-east-1:123456789012:layer:shop-Thing-*:1", "LayerVersionArn": "$ID"},
		refused: []refusal{{
			"content in S3", `{"Content":{"S3Bucket":"bucket","S3Key":"key"}}`, resource.InvalidRequest,
			"Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist. There is no S3 here: send the package itself as ZipFile.",
		}},
	}
}

// emptyZip is an archive of nothing, in base64.
const emptyZip = "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="

func invokeConfigScenario() scenario {
	return scenario{
		typ:   "AWS::Lambda::EventInvokeConfig",
		setup: func(k *kit) map[string]string { return map[string]string{"FN": k.newFunction("fn")} },
		look: func(k *kit, res resource.Result) string {
			c, err := k.lambda.GetFunctionEventInvokeConfig(k.Context(), &lambda.GetFunctionEventInvokeConfigInput{FunctionName: new("fn")})
			if err != nil {
				return absent
			}
			age, retries := int32(-1), int32(-1)
			if c.MaximumEventAgeInSeconds != nil {
				age = *c.MaximumEventAgeInSeconds
			}
			if c.MaximumRetryAttempts != nil {
				retries = *c.MaximumRetryAttempts
			}
			return fmt.Sprint(age, " ", retries)
		},
		properties: `{"FunctionName":"fn","Qualifier":"$LATEST","MaximumRetryAttempts":1,"MaximumEventAgeInSeconds":100}`, want: "100 1",
		attributes: map[string]string{"Ref": "shop-Thing-*"}, unchanging: []string{"DestinationConfig"},
		updates: []change{{"both", `{"FunctionName":"fn","Qualifier":"$LATEST","MaximumRetryAttempts":0,"MaximumEventAgeInSeconds":200}`, "200 0"}},
		refused: []refusal{{
			"a missing function", `{"FunctionName":"nowhere","Qualifier":"$LATEST"}`, resource.NotFound,
			"Function not found: arn:aws:lambda:us-east-1:123456789012:function:nowhere:$LATEST",
		}},
	}
}
