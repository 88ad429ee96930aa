package stack

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
)

// suiteHead is the template in which the suite's expressions stand.
const suiteHead = `
Transform: TRANSFORM
Parameters:
  Env: {Type: String, Default: dev}
  Empty: {Type: String, Default: ""}
  Count: {Type: Number, Default: 3}
  Names: {Type: CommaDelimitedList, Default: "a, b,c"}
  Ports: {Type: List<Number>, Default: "80,443"}
  Subnets: {Type: "List<AWS::EC2::Subnet::Id>", Default: "subnet-1,subnet-2"}
  Image: {Type: "AWS::SSM::Parameter::Value<String>", Default: /images/latest}
  Images: {Type: "AWS::SSM::Parameter::Value<List<String>>", Default: /images/all}
Mappings:
  Regions:
    eu-west-1: {Name: Ireland, Number: 2, Flag: true, Zones: [a, b]}
    us-east-1: {Name: Virginia}
  Accounts:
    "012345678901": {Alias: main}
Conditions:
  IsDev: !Equals [!Ref Env, dev]
  IsProd: !Equals [!Ref Env, prod]
  NotDev: !Not [!Condition IsDev]
  Both: !And [!Condition IsDev, !Not [!Condition IsProd]]
  Neither: !And [!Condition IsProd, !Condition IsDev]
  Either: !Or [!Condition IsProd, !Condition IsDev, !Condition Both]
  ByMap: !Equals [!FindInMap [Regions, !Ref "AWS::Region", Name], Ireland]
  ByNumber: !Equals [!Ref Count, 3]
  ByJoin: !Equals [!Join ["", [!Ref Env, x]], devx]
  BySub: !Equals [!Sub "${Env}-${AWS::Region}", dev-eu-west-1]
  BySelect: !Equals [!Select [1, !Ref Names], b]
  BySplit: !Equals [!Select [0, !Split ["-", !Ref "AWS::Region"]], eu]
  ByEmpty: !Not [!Equals [!Ref Empty, ""]]
  ByList: !Equals [!Ref Names, [a, b, c]]
  ByTruth: !Or ["false", true]
  ByIf: !Equals [!If [IsDev, small, big], small]
Resources:
  A: {Type: AWS::SecretsManager::Secret}
  Gone: {Type: AWS::SecretsManager::Secret, Condition: IsProd}
  R:
    Type: AWS::SecretsManager::Secret
    Properties:
      P: `

// The texts that AWS has for a function's wrong argument, as the suite
// expects them.
const (
	textRef     = "Template format error: Every Ref object must have a single String value."
	textGetAtt  = "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"
	textSub     = "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string"
	textSubName = "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons"
	textJoin    = "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
	textSelect  = "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
	textSplit   = "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split."
	textFind    = "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value"
	textMany    = "boolean parameters."
	textUnknown = "Template Error: Encountered unsupported function: "
	textMapping = "Template error: Unable to get mapping for "
	textOneText = "object must have a String-typed value."
	textCidr    = "Template error: every Fn::Cidr object requires a CIDR block, a count and an optional number of bits"
	textIf      = "Template error: Fn::If requires a list argument with three elements"
)

// intrinsics is the suite: an expression in YAML with the JSON of its value,
// or with a part of the text that refuses it.
var intrinsics = []struct{ name, expression, want, refusal string }{
	// Ref and the pseudo parameters.
	{"ref string", `!Ref Env`, `"dev"`, ""},
	{"ref long form", `{Ref: Env}`, `"dev"`, ""},
	{"ref empty string", `!Ref Empty`, `""`, ""},
	{"ref number is text", `!Ref Count`, `"3"`, ""},
	{"ref comma list", `!Ref Names`, `["a","b","c"]`, ""},
	{"ref number list", `!Ref Ports`, `["80","443"]`, ""},
	{"ref AWS list", `!Ref Subnets`, `["subnet-1","subnet-2"]`, ""},
	{"ref SSM", `!Ref Image`, `"value of /images/latest"`, ""},
	{"ref SSM list", `!Ref Images`, `["value of /images/all"]`, ""},
	{"ref resource", `!Ref A`, `"a-physical"`, ""},
	{"ref account", `!Ref "AWS::AccountId"`, `"012345678901"`, ""},
	{"ref region", `!Ref "AWS::Region"`, `"eu-west-1"`, ""},
	{"ref partition", `!Ref "AWS::Partition"`, `"aws"`, ""},
	{"ref URL suffix", `!Ref "AWS::URLSuffix"`, `"amazonaws.com"`, ""},
	{"ref stack ID", `!Ref "AWS::StackId"`, `"arn:stack"`, ""},
	{"ref stack name", `!Ref "AWS::StackName"`, `"app"`, ""},
	{"ref notification ARNs", `!Ref "AWS::NotificationARNs"`, `["arn:one","arn:two"]`, ""},
	{"ref no value as property", `{K: !Ref "AWS::NoValue", L: x}`, `{"L":"x"}`, ""},
	{"ref no value in list", `[a, !Ref "AWS::NoValue", b]`, `["a","b"]`, ""},
	{"ref unknown", `!Ref Nothing`, "", "Template format error: Unresolved resource dependencies [Nothing] in the Resources block of the template"},
	{"ref of a list", `{Ref: [Env]}`, "", textRef},
	{"ref beside another member is no call", `{Ref: Env, Other: x}`, `{"Ref":"Env","Other":"x"}`, ""},
	// Fn::GetAtt.
	{"getatt short", `!GetAtt A.Arn`, `"A/Arn"`, ""},
	{"getatt nested attribute", `!GetAtt A.Outputs.Arn`, `"A/Outputs.Arn"`, ""},
	{"getatt list", `!GetAtt [A, Arn]`, `"A/Arn"`, ""},
	{"getatt long list", `{"Fn::GetAtt": [A, Id]}`, `"A/Id"`, ""},
	{"getatt long string", `{"Fn::GetAtt": A.Id}`, `"A/Id"`, ""},
	{"getatt attribute by Ref", `{"Fn::GetAtt": [A, !Ref Env]}`, `"A/dev"`, ""},
	{"getatt a list value", `!GetAtt A.List`, `["x","y"]`, ""},
	{"getatt no attribute", `!GetAtt A`, "", textGetAtt},
	{"getatt empty attribute", `!GetAtt [A, ""]`, "", textGetAtt},
	{"getatt three parts", `!GetAtt [A, B, C]`, "", textGetAtt},
	{"getatt object", `{"Fn::GetAtt": {A: B}}`, "", textGetAtt},
	{"getatt refused by the resource", `!GetAtt A.Nothing`, "", "no such attribute"},
	// Fn::Sub.
	{"sub plain", `!Sub plain`, `"plain"`, ""},
	{"sub parameter", `!Sub "x-${Env}-y"`, `"x-dev-y"`, ""},
	{"sub pseudo parameter", `!Sub "arn:${AWS::Partition}:s3:::b"`, `"arn:aws:s3:::b"`, ""},
	{"sub resource", `!Sub "${A}!"`, `"a-physical!"`, ""},
	{"sub attribute", `!Sub "${A.Arn}/x"`, `"A/Arn/x"`, ""},
	{"sub nested attribute", `!Sub "${A.Outputs.Arn}"`, `"A/Outputs.Arn"`, ""},
	{"sub literal", `!Sub "${!Env} ${Env}"`, `"${Env} dev"`, ""},
	{"sub literal of anything", `!Sub "${!a b/c}"`, `"${a b/c}"`, ""},
	{"sub no value", `!Sub "x${AWS::NoValue}y"`, `"xy"`, ""},
	{"sub number", `!Sub "${Count}"`, `"3"`, ""},
	{"sub own variable", `!Sub ["${V}-${Env}", {V: own}]`, `"own-dev"`, ""},
	{"sub own variable goes first", `!Sub ["${Env}", {Env: own}]`, `"own"`, ""},
	{"sub own variable by function", `!Sub ["${V}", {V: !Join ["+", !Ref Names]}]`, `"a+b+c"`, ""},
	{"sub own variable with period", `!Sub ["${V.x}", {V.x: own}]`, `"own"`, ""},
	{"sub own variable number", `!Sub ["${V}", {V: 5}]`, `"5"`, ""},
	{"sub blanks", `!Sub "${ Env }"`, `"dev"`, ""},
	{"sub dollar alone", `!Sub "$5 {x} $"`, `"$5 {x} $"`, ""},
	{"sub unclosed", `!Sub "a ${Env"`, `"a ${Env"`, ""},
	{"sub dynamic reference kept", `!Sub "{{resolve:secretsmanager:${A}:SecretString:k}}"`, `"{{resolve:secretsmanager:a-physical:SecretString:k}}"`, ""},
	{"sub many lines", "!Sub |\n        a ${Env}\n        b\n", `"a dev\nb\n"`, ""},
	{"sub odd name", `!Sub "${En-v}"`, "", textSubName},
	{"sub empty name", `!Sub "${}"`, "", textSubName},
	{"sub list parameter", `!Sub "${Names}"`, "", "Template error: Fn::Sub expects the value of ${Names} to be a string"},
	{"sub own list", `!Sub ["${V}", {V: [a]}]`, "", "Template error: Fn::Sub expects the value of ${V} to be a string"},
	{"sub unknown", `!Sub "${Nothing}"`, "", "Unresolved resource dependencies [Nothing]"},
	{"sub list of one", `!Sub ["x"]`, "", textSub},
	{"sub no map", `!Sub ["x", y]`, "", textSub},
	{"sub of a call", `{"Fn::Sub": {Ref: Env}}`, "", textSub},
	// Fn::Join.
	{"join", `!Join ["-", [a, b]]`, `"a-b"`, ""},
	{"join empty delimiter", `!Join ["", [a, b]]`, `"ab"`, ""},
	{"join nothing", `!Join ["-", []]`, `""`, ""},
	{"join list parameter", `!Join ["|", !Ref Names]`, `"a|b|c"`, ""},
	{"join calls", `!Join [":", [!Ref Env, !GetAtt A.Arn, !Sub "${Count}"]]`, `"dev:A/Arn:3"`, ""},
	{"join numbers", `!Join [",", [1, 2.5, true]]`, `"1,2.5,true"`, ""},
	{"join leaves no value out", `!Join [",", [a, !Ref "AWS::NoValue", b]]`, `"a,b"`, ""},
	{"join zones", `!Join [",", !GetAZs ""]`, `"eu-west-1a,eu-west-1b"`, ""},
	{"join one argument", `!Join ["-"]`, "", textJoin},
	{"join delimiter by call", `!Join [!Ref Env, [a]]`, "", textJoin},
	{"join a string", `!Join ["-", a]`, "", textJoin},
	{"join a list of lists", `!Join ["-", [[a]]]`, "", textJoin},
	// Fn::Select.
	{"select", `!Select [1, [a, b]]`, `"b"`, ""},
	{"select text index", `!Select ["0", [a, b]]`, `"a"`, ""},
	{"select index by Ref", `!Select [!Select [0, ["2"]], !Ref Names]`, `"c"`, ""},
	{"select of split", `!Select [2, !Split ["/", "a/b/c"]]`, `"c"`, ""},
	{"select an object", `!Select [0, [{K: !Ref Env}]]`, `{"K":"dev"}`, ""},
	{"select beyond", `!Select [3, !Ref Names]`, "", "Template error: Fn::Select cannot select nonexistent value at index 3"},
	{"select negative", `!Select [-1, !Ref Names]`, "", "Template error: Fn::Select cannot select nonexistent value at index -1"},
	{"select word", `!Select [x, [a]]`, "", textSelect},
	{"select no list", `!Select [0, a]`, "", textSelect},
	{"select one argument", `!Select [0]`, "", textSelect},
	// Fn::Split.
	{"split", `!Split ["|", "a|b||c"]`, `["a","b","","c"]`, ""},
	{"split absent delimiter", `!Split [",", "abc"]`, `["abc"]`, ""},
	{"split long delimiter", `!Split ["::", "a::b"]`, `["a","b"]`, ""},
	{"split a call", `!Split ["-", !Ref "AWS::Region"]`, `["eu","west","1"]`, ""},
	{"split empty delimiter", `!Split ["", "abc"]`, "", textSplit},
	{"split one argument", `!Split [","]`, "", textSplit},
	{"split a list", `!Split [",", !Ref Names]`, "", textSplit},
	// Fn::FindInMap.
	{"find", `!FindInMap [Regions, eu-west-1, Name]`, `"Ireland"`, ""},
	{"find by region", `!FindInMap [Regions, !Ref "AWS::Region", Name]`, `"Ireland"`, ""},
	{"find by account", `!FindInMap [Accounts, !Ref "AWS::AccountId", Alias]`, `"main"`, ""},
	{"find a number", `!FindInMap [Regions, eu-west-1, Number]`, `2`, ""},
	{"find a boolean", `!FindInMap [Regions, eu-west-1, Flag]`, `true`, ""},
	{"find a list", `!FindInMap [Regions, eu-west-1, Zones]`, `["a","b"]`, ""},
	{"find nested", `!FindInMap [Regions, !FindInMap [Regions, eu-west-1, Nothing], Name]`, "", textMapping + "Regions::eu-west-1::Nothing"},
	{"find absent attribute", `!FindInMap [Regions, us-east-1, Zones]`, "", textMapping + "Regions::us-east-1::Zones"},
	{"find absent key", `!FindInMap [Regions, mars, Name]`, "", textMapping + "Regions::mars::Name"},
	{"find absent mapping", `!FindInMap [Planets, mars, Name]`, "", "Template error: Mapping named 'Planets' is not present in the 'Mappings' section of template."},
	{"find two arguments", `!FindInMap [Regions, mars]`, "", textFind},
	{"find a list as key", `!FindInMap [Regions, !Ref Names, Name]`, "", textFind},
	{"find default without extension", `!FindInMap [Regions, mars, Name, {DefaultValue: x}]`, "", textFind},
	{"extended find default", `!FindInMap [Regions, mars, Name, {DefaultValue: !Ref Env}]`, `"dev"`, ""},
	{"extended find default unused", `!FindInMap [Regions, eu-west-1, Name, {DefaultValue: x}]`, `"Ireland"`, ""},
	{"extended find default of no mapping", `!FindInMap [Planets, mars, Name, {DefaultValue: [x]}]`, `["x"]`, ""},
	{"extended find odd option", `!FindInMap [Regions, mars, Name, {Default: x}]`, "", textFind},
	// Conditions.
	{"if true", `!If [IsDev, small, big]`, `"small"`, ""},
	{"if false", `!If [IsProd, big, small]`, `"small"`, ""},
	{"if resolves its branch", `!If [IsDev, {K: !Ref Env}, x]`, `{"K":"dev"}`, ""},
	{"if leaves the other branch", `!If [IsDev, x, !Ref Gone]`, `"x"`, ""},
	{"if no value", `{K: !If [IsProd, x, !Ref "AWS::NoValue"], L: y}`, `{"L":"y"}`, ""},
	{"if no value in list", `[!If [IsProd, x, !Ref "AWS::NoValue"], y]`, `["y"]`, ""},
	{"if nested", `!If [IsProd, a, !If [Both, b, c]]`, `"b"`, ""},
	{"if negated", `!If [NotDev, a, b]`, `"b"`, ""},
	{"if and", `!If [Both, a, b]`, `"a"`, ""},
	{"if and false", `!If [Neither, a, b]`, `"b"`, ""},
	{"if or", `!If [Either, a, b]`, `"a"`, ""},
	{"if by mapping", `!If [ByMap, a, b]`, `"a"`, ""},
	{"if number is its text", `!If [ByNumber, a, b]`, `"a"`, ""},
	{"if by join", `!If [ByJoin, a, b]`, `"a"`, ""},
	{"if by sub", `!If [BySub, a, b]`, `"a"`, ""},
	{"if by select", `!If [BySelect, a, b]`, `"a"`, ""},
	{"if by split", `!If [BySplit, a, b]`, `"a"`, ""},
	{"if by empty", `!If [ByEmpty, a, b]`, `"b"`, ""},
	{"if by list", `!If [ByList, a, b]`, `"a"`, ""},
	{"if by truth", `!If [ByTruth, a, b]`, `"a"`, ""},
	{"if by if", `!If [ByIf, a, b]`, `"a"`, ""},
	{"if unknown condition", `!If [Nope, a, b]`, "", "Template error: unresolved condition dependency Nope in Fn::If"},
	{"if two arguments", `!If [IsDev, a]`, "", textIf},
	{"if condition by call", `!If [!Ref Env, a, b]`, "", textIf},
	{"equals in place", `!Equals [!Ref Env, dev]`, `true`, ""},
	{"not in place", `!Not [!Equals [a, b]]`, `true`, ""},
	{"equals one argument", `!Equals [a]`, "", "Template error: every Fn::Equals object requires a list of 2 string parameters."},
	{"not two arguments", `!Not [true, false]`, "", "Template error: every Fn::Not object requires one boolean parameter."},
	{"and one argument", `!And [true]`, "", textMany},
	{"or of words", `!Or [maybe, true]`, "", textMany},
	// Fn::ImportValue.
	{"import", `!ImportValue shared-key`, `"value of shared-key"`, ""},
	{"import by sub", `{"Fn::ImportValue": !Sub "${Env}-key"}`, `"value of dev-key"`, ""},
	{"import unknown", `!ImportValue none`, "", "No export named none found."},
	{"import a list", `!ImportValue [a]`, "", textOneText},
	// Fn::GetAZs.
	{"zones of no region", `!GetAZs ""`, `["eu-west-1a","eu-west-1b"]`, ""},
	{"zones of this region", `!GetAZs {Ref: "AWS::Region"}`, `["eu-west-1a","eu-west-1b"]`, ""},
	{"zones of another region", `!GetAZs us-east-1`, `["us-east-1a","us-east-1b","us-east-1c"]`, ""},
	{"zones select", `!Select [0, !GetAZs ""]`, `"eu-west-1a"`, ""},
	{"zones of a list", `!GetAZs [a]`, "", textOneText},
	// Fn::Base64.
	{"base64", `!Base64 "hello world"`, `"aGVsbG8gd29ybGQ="`, ""},
	{"base64 of sub", `{"Fn::Base64": !Sub "${Env}"}`, `"ZGV2"`, ""},
	{"base64 of nothing", `!Base64 ""`, `""`, ""},
	{"base64 of a list", `!Base64 [a]`, "", textOneText},
	// Fn::Cidr.
	{"cidr", `!Cidr ["192.168.0.0/24", 3, 5]`, `["192.168.0.0/27","192.168.0.32/27","192.168.0.64/27"]`, ""},
	{"cidr text numbers", `!Cidr ["10.0.0.0/16", "2", "8"]`, `["10.0.0.0/24","10.0.1.0/24"]`, ""},
	{"cidr default bits", `!Cidr ["10.0.0.0/16", 1]`, `["10.0.0.0/24"]`, ""},
	{"cidr masks the block", `!Cidr ["10.0.7.9/16", 1, 8]`, `["10.0.0.0/24"]`, ""},
	{"cidr IPv6", `!Cidr ["2001:db8:0:ff00::/56", 2, 64]`, `["2001:db8:0:ff00::/64","2001:db8:0:ff01::/64"]`, ""},
	{"cidr of an attribute", `!Select [1, !Cidr [!GetAtt A.CidrBlock, 2, 8]]`, `"10.1.1.0/24"`, ""},
	{"cidr too many", `!Cidr ["10.0.0.0/24", 9, 5]`, "", "Template error: Fn::Cidr: 10.0.0.0/24 does not hold 9 blocks of 5 bits"},
	{"cidr no block", `!Cidr ["10.0.0/24", 1, 5]`, "", "Template error: Fn::Cidr: 10.0.0/24 is not a valid CIDR block"},
	{"cidr no count", `!Cidr ["10.0.0.0/24", 0, 5]`, "", "Template error: Fn::Cidr requires a count between 1 and 256"},
	{"cidr bits beyond", `!Cidr ["10.0.0.0/24", 1, 40]`, "", "does not hold"},
	{"cidr one argument", `!Cidr ["10.0.0.0/24"]`, "", textCidr},
	// Fn::Transform and what is no function.
	{"transform", `{"Fn::Transform": {Name: "AWS::Include", Parameters: {Location: "s3://b/k"}}}`, "", "No transform named AWS::Include found."},
	{"unknown function", `{"Fn::Reverse": [a]}`, "", textUnknown + "Fn::Reverse Supported functions are: [Fn::Base64, "},
	{"unknown short form", `!Reverse [a]`, "", textUnknown + "Fn::Reverse"},
	{"wrong case", `{"Fn::getAtt": [A, Arn]}`, "", textUnknown + "Fn::getAtt"},
	{"length without extension", `{"Fn::Length": [a]}`, "", textUnknown + "Fn::Length"},
	{"to JSON without extension", `{"Fn::ToJsonString": {a: b}}`, "", textUnknown + "Fn::ToJsonString"},
	// AWS::LanguageExtensions.
	{"extended length", `{"Fn::Length": [a, b]}`, `2`, ""},
	{"extended length of a parameter", `!Length {Ref: Names}`, `3`, ""},
	{"extended length of split", `!Length {"Fn::Split": ["|", "a|b|c|d"]}`, `4`, ""},
	{"extended length of a string", `!Length abc`, "", "Template error: every Fn::Length object requires a list or a function that returns a list"},
	{"extended to JSON", `!ToJsonString {b: !Ref Env, a: [1, true, "<&>"]}`, `"{\"a\":[1,true,\"<&>\"],\"b\":\"dev\"}"`, ""},
	{"extended to JSON of a list", `!ToJsonString [!Ref Names]`, `"[[\"a\",\"b\",\"c\"]]"`, ""},
	{"extended to JSON of a string", `!ToJsonString abc`, "", "Template error: every Fn::ToJsonString object requires an object or a list"},
}

// suiteScope knows what the suite's expressions ask for.
func suiteScope(t *testing.T, tpl *Template) *Scope {
	t.Helper()
	s := &Scope{
		Account: "012345678901", Region: "eu-west-1", Partition: "aws", URLSuffix: "amazonaws.com", StackID: "arn:stack", StackName: "app",
		NotificationARNs: []string{"arn:one", "arn:two"}, Zones: []string{"eu-west-1a", "eu-west-1b"},
		Ref: func(id string) (any, bool) { return "a-physical", id == "A" },
		GetAtt: func(id, attribute string) (any, error) {
			switch attribute {
			case "Nothing":
				return nil, fault.New(fault.Validation, "no such attribute")
			case "List":
				return []any{"x", "y"}, nil
			case "CidrBlock":
				return "10.1.0.0/16", nil
			}
			return id + "/" + attribute, nil
		},
		Import: func(name string) (string, error) {
			if name == "none" {
				return "", fault.New(fault.Validation, "No export named none found.")
			}
			return "value of " + name, nil
		},
	}
	var err error
	if s.Arguments, err = tpl.Bind(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Arguments.ResolveSSM(func(name string) (string, error) { return "value of " + name, nil }); err != nil {
		t.Fatal(err)
	}
	if s.Conditions, err = tpl.Evaluate(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestIntrinsics runs the suite, each expression in YAML and in JSON.
func TestIntrinsics(t *testing.T) {
	if len(intrinsics) < 100 {
		t.Errorf("got %d cases, want at least 100", len(intrinsics))
	}
	for _, tc := range intrinsics {
		t.Run(tc.name, func(t *testing.T) {
			transform := "[]"
			if strings.HasPrefix(tc.name, "extended ") {
				transform = LanguageExtensions
			}
			yaml := strings.Replace(suiteHead, "TRANSFORM", transform, 1) + tc.expression + "\n"
			tree, err := Decode(yaml)
			if err != nil {
				t.Fatal(err)
			}
			asJSON, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{yaml, string(asJSON)} {
				tpl, err := Parse(body)
				if err != nil {
					t.Fatal(err)
				}
				got, err := tpl.ResolveProperties("R", suiteScope(t, tpl))
				checkResolved(t, got, err, tc.want, tc.refusal)
			}
		})
	}
}

func checkResolved(t *testing.T, got map[string]any, err error, want, refusal string) {
	t.Helper()
	if refusal != "" {
		checkRefusal(t, err, refusal)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(`{"P":` + want + `}`))
	decoder.UseNumber()
	var wanted map[string]any
	if err := decoder.Decode(&wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
}

// checkRefusal wants a validation error whose message holds a text.
func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	f, ok := err.(*fault.Error)
	if !ok || f.Kind != fault.Validation || !strings.Contains(f.Message, want) {
		t.Errorf("got error %v, want a validation error with %q", err, want)
	}
}

// TestPreview says that what is not known stays recognisable, and that what
// depends on it is not known either.
func TestPreview(t *testing.T) {
	for _, tc := range []struct{ expression, want string }{
		{`!Ref A`, `"` + KnownAfterApply + `"`},
		{`!GetAtt A.Arn`, `"` + KnownAfterApply + `"`},
		{`!ImportValue x`, `"` + KnownAfterApply + `"`},
		{`!Sub "${A}-x"`, `"` + KnownAfterApply + `-x"`},
		{`!Join ["-", [!Ref A, x]]`, `"` + KnownAfterApply + `-x"`},
		{`!Join ["-", !GetAtt A.List]`, `"` + KnownAfterApply + `"`},
		{`!Select [0, !GetAtt A.List]`, `"` + KnownAfterApply + `"`},
		{`!Split ["-", !Ref A]`, `"` + KnownAfterApply + `"`},
		{`!Base64 {Ref: A}`, `"` + KnownAfterApply + `"`},
		{`!Cidr [!GetAtt A.CidrBlock, 2, 8]`, `"` + KnownAfterApply + `"`},
		{`!Ref Env`, `"dev"`},
	} {
		tpl, err := Parse(strings.Replace(suiteHead, "TRANSFORM", "[]", 1) + tc.expression + "\n")
		if err != nil {
			t.Fatal(err)
		}
		s := suiteScope(t, tpl)
		s.Ref, s.GetAtt, s.Import, s.Preview = nil, nil, nil, true
		got, err := tpl.ResolveProperties("R", s)
		checkResolved(t, got, err, tc.want, "")
	}
}

// TestProducedText says that functions cannot double a text without end.
func TestProducedText(t *testing.T) {
	expression := "x"
	for range 40 {
		expression = `{"Fn::Sub": ["${v}${v}", {"v": ` + expression + `}]}`
	}
	expression = strings.Replace(expression, ": x}", `: "x"}`, 1)
	tpl, err := Parse(`{"Resources": {"R": {"Type": "T", "Properties": {"P": ` + expression + `}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tpl.ResolveProperties("R", &Scope{})
	checkRefusal(t, err, "Template may not exceed 1000000 bytes in size.")
}
