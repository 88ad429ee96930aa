package transform_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack/transform"
)

var here = transform.Environment{Account: "123456789012", Region: "us-east-1", Partition: "aws", URLSuffix: "amazonaws.com", StackName: "s"}

func tree(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// expand expands a template, which must not change by that.
func expand(t *testing.T, text string) (map[string]any, error) {
	t.Helper()
	given := tree(t, text)
	out, err := transform.Expand(given, here)
	if diff := cmp.Diff(tree(t, text), given); diff != "" {
		t.Errorf("the given template was changed:\n%s", diff)
	}
	return out, err
}

// same compares an expanded template with JSON text.
func same(t *testing.T, got any, want string) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, want), tree(t, string(b))); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestExpandNothing(t *testing.T) {
	out, err := expand(t, `{"Resources":{"A":{"Type":"AWS::KMS::Key"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, out, `{"Resources":{"A":{"Type":"AWS::KMS::Key"}}}`)
}

func TestExpandFunction(t *testing.T) {
	out, err := expand(t, `{"Transform":"AWS::Serverless-2016-10-31",
	  "Globals":{"Function":{"Timeout":30,"Environment":{"Variables":{"A":"1","B":"1"}},"Layers":["one"],"Tags":{"Team":"db"}}},
	  "Resources":{"F":{"Type":"AWS::Serverless::Function","Condition":"C","DependsOn":"D","Properties":{
	    "Handler":"index.h","Runtime":"python3.12","InlineCode":"x","Environment":{"Variables":{"B":"2"}},"Layers":["two"],
	    "VpcConfig":{"SubnetIds":["s"]},"FunctionName":{"Ref":"Name"},
	    "Policies":["AmazonRDSReadOnlyAccess",{"AWSSecretsManagerRotationPolicy":{"FunctionName":{"Ref":"Name"}}},
	      {"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*"}]},
	      {"Fn::If":["C",{"KMSDecryptPolicy":{"KeyId":"k"}},{"Ref":"AWS::NoValue"}]},"arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, out, `{"Resources":{
	  "F":{"Type":"AWS::Lambda::Function","Condition":"C","DependsOn":"D","Properties":{
	    "Handler":"index.h","Runtime":"python3.12","Code":{"ZipFile":"x"},"Timeout":30,"Environment":{"Variables":{"A":"1","B":"2"}},
	    "Layers":["one","two"],"VpcConfig":{"SubnetIds":["s"]},"FunctionName":{"Ref":"Name"},"Role":{"Fn::GetAtt":["FRole","Arn"]},
	    "Tags":[{"Key":"lambda:createdBy","Value":"SAM"},{"Key":"Team","Value":"db"}]}},
	  "FRole":{"Type":"AWS::IAM::Role","Condition":"C","Properties":{
	    "AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole"],"Principal":{"Service":["lambda.amazonaws.com"]}}]},
	    "ManagedPolicyArns":["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole","arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
	      "arn:aws:iam::aws:policy/AmazonRDSReadOnlyAccess"],
	    "Tags":[{"Key":"lambda:createdBy","Value":"SAM"},{"Key":"Team","Value":"db"}],
	    "Policies":[
	      {"PolicyName":"FRolePolicy1","PolicyDocument":{"Statement":[
	        {"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue","secretsmanager:PutSecretValue","secretsmanager:UpdateSecretVersionStage"],
	         "Resource":{"Fn::Sub":"arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:*"},
	         "Condition":{"StringEquals":{"secretsmanager:resource/AllowRotationLambdaArn":
	           {"Fn::Sub":["arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${functionName}",{"functionName":{"Ref":"Name"}}]}}}},
	        {"Effect":"Allow","Action":["secretsmanager:GetRandomPassword"],"Resource":"*"}]}},
	      {"PolicyName":"FRolePolicy2","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*"}]}},
	      {"Fn::If":["C",{"PolicyName":"FRolePolicy3","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":["kms:Decrypt"],
	        "Resource":{"Fn::Sub":["arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/${keyId}",{"keyId":"k"}]}}]}},{"Ref":"AWS::NoValue"}]}]}}}}`)
}

func TestExpandAlias(t *testing.T) {
	const text = `{"Transform":["AWS::Serverless-2016-10-31"],"Parameters":{"Stage":{"Type":"String","Default":"live-1"}},
	  "Resources":{"F":{"Type":"AWS::Serverless::Function","Properties":{"Role":"r","CodeUri":"s3://b/k.zip?versionId=7","AutoPublishAlias":{"Ref":"Stage"}}}},
	  "Outputs":{"V":{"Value":{"Ref":"F.Version"}},"A":{"Value":{"Fn::GetAtt":["F.Alias","AliasArn"]}}}}`
	out, err := expand(t, text)
	if err != nil {
		t.Fatal(err)
	}
	var version string
	for id := range out["Resources"].(map[string]any) {
		if strings.HasPrefix(id, "FVersion") {
			version = id
		}
	}
	if len(version) != len("FVersion")+10 {
		t.Fatalf("got the version %q, want FVersion and ten digits", version)
	}
	same(t, out, strings.ReplaceAll(`{"Parameters":{"Stage":{"Type":"String","Default":"live-1"}},"Resources":{
	  "F":{"Type":"AWS::Lambda::Function","Properties":{"Role":"r","Code":{"S3Bucket":"b","S3Key":"k.zip","S3ObjectVersion":"7"},"Tags":[{"Key":"lambda:createdBy","Value":"SAM"}]}},
	  "VERSION":{"Type":"AWS::Lambda::Version","DeletionPolicy":"Retain","Properties":{"FunctionName":{"Ref":"F"}}},
	  "FAliaslive1":{"Type":"AWS::Lambda::Alias","Properties":{"Name":"live-1","FunctionName":{"Ref":"F"},"FunctionVersion":{"Fn::GetAtt":["VERSION","Version"]}}}},
	  "Outputs":{"V":{"Value":{"Ref":"VERSION"}},"A":{"Value":{"Fn::GetAtt":["FAliaslive1","AliasArn"]}}}}`, "VERSION", version))

	changed, err := expand(t, strings.Replace(text, "k.zip", "other.zip", 1))
	if err != nil {
		t.Fatal(err)
	}
	if changed["Resources"].(map[string]any)[version] != nil {
		t.Error("other code has the same version")
	}
}

func TestExpandApplication(t *testing.T) {
	out, err := expand(t, `{"Transform":"AWS::Serverless-2016-10-31",
	  "Mappings":{"M":{"aws":{"id":"arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationSingleUser","v":"1.1.367"}}},
	  "Resources":{"A":{"Type":"AWS::Serverless::Application","DependsOn":["S"],"Properties":{
	    "Location":{"ApplicationId":{"Fn::FindInMap":["M",{"Ref":"AWS::Partition"},"id"]},"SemanticVersion":{"Fn::FindInMap":["M",{"Ref":"AWS::Partition"},"v"]}},
	    "Parameters":{"endpoint":"https://x","functionName":"f"},"TimeoutInMinutes":5,"Tags":{"a":"b"}}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	a := out["Resources"].(map[string]any)["A"]
	url := a.(map[string]any)["Properties"].(map[string]any)["TemplateURL"].(string)
	if body, ok := application.Template(url); !ok || !strings.Contains(body, "rotator.postgres.single") {
		t.Errorf("the template's address %s leads to %q", url, body)
	}
	same(t, a, strings.Replace(`{"Type":"AWS::CloudFormation::Stack","DependsOn":["S"],"Properties":{"TemplateURL":"AT",
	  "Parameters":{"endpoint":"https://x","functionName":"f"},"TimeoutInMinutes":5,"Tags":[
	    {"Key":"lambda:createdBy","Value":"SAM"},
	    {"Key":"serverlessrepo:applicationId","Value":"arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationSingleUser"},
	    {"Key":"serverlessrepo:semanticVersion","Value":"1.1.367"},{"Key":"a","Value":"b"}]}}`, "AT", url, 1))
}

// hostedTemplate has a schedule with what the transforms keep and what only
// the newer one keeps.
const hostedTemplate = `{"Transform":["NAME","AWS::LanguageExtensions"],"Resources":{"Schedule":{
  "Type":"AWS::SecretsManager::RotationSchedule","DeletionPolicy":"Retain","UpdateReplacePolicy":"Retain","DependsOn":"Attachment","Condition":"C",
  "Metadata":{"m":"1"},"UpdatePolicy":{"u":"1"},"CreationPolicy":{"c":"1"},
  "Properties":{"SecretId":{"Ref":"Secret"},"RotationRules":{"AutomaticallyAfterDays":7},"HostedRotationLambda":HOSTED}}}}`

func hostedText(name, hosted string) string {
	return strings.NewReplacer("NAME", name, "HOSTED", hosted).Replace(hostedTemplate)
}

func TestExpandHosted(t *testing.T) {
	const hosted = `{"RotationType":"MariaDBMultiUser","RotationLambdaName":"fn","SuperuserSecretArn":{"Ref":"Master"},"KmsKeyArn":"k",
	  "VpcSubnetIds":"s1,s2","VpcSecurityGroupIds":"g","ExcludeCharacters":"x","Runtime":"python3.10"}`
	const parameters = `{"endpoint":{"Fn::Sub":"https://secretsmanager.${AWS::Region}.${AWS::URLSuffix}"},"functionName":"fn","superuserSecretArn":{"Ref":"Master"},
	  "kmsKeyArn":"k","vpcSubnetIds":"s1,s2","vpcSecurityGroupIds":"g","excludeCharacters":"x","runtime":"python3.10"}`
	const properties = `{"SecretId":{"Ref":"Secret"},"RotationRules":{"AutomaticallyAfterDays":7},
	  "RotationLambdaARN":{"Fn::GetAtt":["ScheduleHostedRotationLambda","Outputs.RotationLambdaARN"]}}`
	app, _ := application.Lookup("SecretsManagerRDSMariaDBRotationMultiUser")
	for name, c := range map[string]struct{ version, schedule, nested string }{
		transform.SecretsManager2020: {"", `"DeletionPolicy":"Retain","UpdateReplacePolicy":"Retain"`, `"DeletionPolicy":"Retain","UpdateReplacePolicy":"Retain"`},
		transform.SecretsManager2024: {
			app.Revision(),
			`"DeletionPolicy":"Retain","UpdateReplacePolicy":"Retain","DependsOn":"Attachment","Condition":"C","Metadata":{"m":"1"},"UpdatePolicy":{"u":"1"},"CreationPolicy":{"c":"1"}`,
			`"DeletionPolicy":"Retain","UpdateReplacePolicy":"Retain","DependsOn":"Attachment","Condition":"C","Metadata":{"m":"1"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := expand(t, hostedText(name, hosted))
			if err != nil {
				t.Fatal(err)
			}
			url := application.TemplateURL(app.Name, c.version)
			if body, ok := application.Template(url); !ok || !strings.Contains(body, "rotator.mariadb.alternating") {
				t.Errorf("the template's address %s leads to %q", url, body)
			}
			same(t, out, `{"Transform":"AWS::LanguageExtensions","Resources":{
			  "Schedule":{"Type":"AWS::SecretsManager::RotationSchedule",`+c.schedule+`,"Properties":`+properties+`},
			  "ScheduleHostedRotationLambda":{"Type":"AWS::CloudFormation::Stack",`+c.nested+`,"Properties":{"TemplateURL":"`+url+`","Parameters":`+parameters+`}}}}`)
		})
	}
}

// Without a name the function gets one that has room in Lambda's limit, and
// only the newer transform says which runtime is the current one.
func TestExpandHostedDefaults(t *testing.T) {
	for name, runtime := range map[string]any{transform.SecretsManager2020: nil, transform.SecretsManager2024: application.DefaultRuntime} {
		text := strings.ReplaceAll(hostedText(name, `{"RotationType":"PostgreSQLSingleUser"}`), "Schedule\":{", strings.Repeat("S", 200)+"\":{")
		out, err := expand(t, text)
		if err != nil {
			t.Fatal(err)
		}
		nested := out["Resources"].(map[string]any)[strings.Repeat("S", 200)+"HostedRotationLambda"].(map[string]any)
		parameters := nested["Properties"].(map[string]any)["Parameters"].(map[string]any)
		if parameters["runtime"] != runtime {
			t.Errorf("%s: got the runtime %v, want %v", name, parameters["runtime"], runtime)
		}
		first := parameters["functionName"].(map[string]any)["Fn::Join"].([]any)[1].([]any)[0].(string)
		if len(first)+1+8 > 64 {
			t.Errorf("the function's name begins with %q, which leaves no room", first)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	sam := func(resources string) string {
		return `{"Transform":"AWS::Serverless-2016-10-31","Resources":{` + resources + `}}`
	}
	function := func(properties string) string {
		return sam(`"F":{"Type":"AWS::Serverless::Function","Properties":{` + properties + `}}`)
	}
	app := func(properties string) string {
		return sam(`"A":{"Type":"AWS::Serverless::Application","Properties":{` + properties + `}}`)
	}
	one := func(id, text string) string {
		return "Transform AWS::Serverless-2016-10-31 failed with: Invalid Serverless Application Specification document. Number of errors found: 1. Resource with id [" + id + "] is invalid. " + text
	}
	const secrets = "Transform AWS::SecretsManager-2020-07-23 failed with: "
	for name, c := range map[string]struct{ template, want string }{
		"unknown":         {`{"Transform":"Mine","Resources":{}}`, "No transform named Mine found."},
		"unknown in list": {`{"Transform":["AWS::LanguageExtensions",{"Name":"AWS::Include"}],"Resources":{}}`, "No transform named AWS::Include found."},
		"macro inside":    {`{"Resources":{"A":{"Properties":[{"Fn::Transform":{"Name":"Mine"}}]}}}`, "No transform named Mine found."},
		"both": {
			`{"Transform":["AWS::SecretsManager-2020-07-23","AWS::SecretsManager-2024-09-16"],"Resources":{}}`,
			"Transform AWS::SecretsManager-2024-09-16 failed with: Can only specify one version of the AWS::SecretsManager transform.",
		},
		"hosted and function": {
			strings.Replace(hostedText(transform.SecretsManager2020, `{"RotationType":"MySQLSingleUser"}`), `"SecretId"`, `"RotationLambdaARN":"a","SecretId"`, 1),
			secrets + "Can only specify either HostedRotationLambda or RotationLambdaARN.",
		},
		"rotation type": {hostedText(transform.SecretsManager2020, `{"RotationType":"FoxProSingleUser"}`), secrets + "FoxProSingleUser is not a supported rotation engine type"},
		"two superusers": {
			hostedText(transform.SecretsManager2020, `{"RotationType":"MySQLMultiUser","MasterSecretArn":"a","SuperuserSecretArn":"b"}`),
			secrets + "You can't specify both masterSecretArn and superuserSecretArn in the same Lambda rotation function.",
		},
		"hosted property": {hostedText(transform.SecretsManager2020, `{"RotationType":"MySQLMultiUser","Nope":"a"}`), secrets + "Encountered unsupported property Nope"},
		"type":            {sam(`"T":{"Type":"AWS::Serverless::SimpleTable"}`), one("T", "Resources of type 'AWS::Serverless::SimpleTable' are not supported here.")},
		"event": {
			function(`"InlineCode":"x","Events":{"E":{"Type":"Api"}}`),
			one("F", "Event with id [E] is invalid. Events of type 'Api' are not supported here."),
		},
		"hidden alias": {
			strings.Replace(function(`"InlineCode":"x","AutoPublishAlias":{"Fn::Sub":"a-${P}"}`), `"Resources"`, `"Parameters":{"P":{"Type":"String","NoEcho":"true","Default":"secret"}},"Resources"`, 1),
			one("F", "'AutoPublishAlias' must be a string or a Ref to a template parameter"),
		},
		"no code":      {function(`"Handler":"h"`), one("F", "Either 'InlineCode' or 'CodeUri' must be set.")},
		"two codes":    {function(`"InlineCode":"h","CodeUri":"s3://a/b"`), one("F", "Only one of 'InlineCode', 'ImageUri' or 'CodeUri' can be set.")},
		"local code":   {function(`"CodeUri":"./src"`), one("F", "'CodeUri' is not a valid S3 Uri of the form 's3://bucket/key' with optional versionId query parameter.")},
		"property":     {function(`"InlineCode":"h","Foo":1`), one("F", "property Foo not defined for resource of type AWS::Serverless::Function")},
		"policy":       {function(`"InlineCode":"h","Policies":[{"Foo":{}}]`), one("F", "Policy at index 0 in the 'Policies' property is not valid")},
		"policy value": {function(`"InlineCode":"h","Policies":[{"KMSDecryptPolicy":{}}]`), one("F", "Must specify valid parameter values for policy template 'KMSDecryptPolicy'")},
		"no location":  {app(``), one("A", "Resource is missing the required [Location] property.")},
		"no version":   {app(`"Location":{"ApplicationId":"x"}`), one("A", "Resource is missing the required [SemanticVersion] property.")},
		"application":  {app(`"Location":{"ApplicationId":"x","SemanticVersion":"1.1.1"}`), one("A", "Application with id [x] could not be found.")},
		"two errors": {
			sam(`"T":{"Type":"AWS::Serverless::Api"},"S":{"Type":"AWS::Serverless::Function"}`),
			"Transform AWS::Serverless-2016-10-31 failed with: Invalid Serverless Application Specification document. Number of errors found: 2. " +
				"Resource with id [S] is invalid. Either 'InlineCode' or 'CodeUri' must be set. Resource with id [T] is invalid. Resources of type 'AWS::Serverless::Api' are not supported here.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := expand(t, c.template)
			f, ok := err.(*fault.Error)
			if !ok || f.Kind != fault.Validation || f.Message != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Whatever a template is, expanding ends with a template or with a refusal.
func FuzzExpand(f *testing.F) {
	f.Add(hostedText(transform.SecretsManager2024, `{"RotationType":"MySQLMultiUser"}`))
	f.Add(`{"Transform":["AWS::Serverless-2016-10-31"],"Globals":{"Function":{"Tags":[]}},"Resources":{"F":{"Type":"AWS::Serverless::Function","Properties":{"InlineCode":"x","Policies":["a",{"Fn::If":[1,2,3]}],"Events":{"E":1},"AutoPublishAlias":"a"}},"A":{"Type":"AWS::Serverless::Application","Properties":{"Location":{}}}}}`)
	f.Add(`{"Transform":"AWS::Serverless-2016-10-31","Resources":{"A":1,"B":{"Type":"AWS::Serverless::Function","Properties":7}},"Outputs":{"O":{"Fn::GetAtt":[]}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var given map[string]any
		if json.Unmarshal([]byte(text), &given) != nil {
			return
		}
		out, err := transform.Expand(given, here)
		if out == nil && err == nil {
			t.Errorf("neither a template nor a refusal")
		}
		if err != nil && !fault.Is(err, fault.Validation) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
}
