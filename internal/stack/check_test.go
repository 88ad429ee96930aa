package stack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// knownTypes are those of these tests.
func knownTypes(kind string) bool {
	return slices.Contains([]string{"AWS::SecretsManager::Secret", "AWS::IAM::Role", "AWS::RDS::DBInstance", "AWS::Lambda::Function", "AWS::Serverless::Function"}, kind)
}

func knownAttributes(_, attribute string) bool { return attribute == "Arn" || attribute == "Id" }

// secretOf is a template of one secret with a property.
func secretOf(property string) string {
	return "Resources:\n  A:\n    Type: AWS::SecretsManager::Secret\n    Properties:\n      Description: " + property + "\n"
}

const plainSecret = "Resources: {A: {Type: AWS::SecretsManager::Secret}}\n"

// TestRefusedTemplates wants the texts with which templates are refused
// before anything is made of them.
func TestRefusedTemplates(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		// Syntax and structure.
		{"JSON", `{"Resources": {"A": {"T"}}}`, "Template format error: JSON not well-formed. (line 1, column 25)"},
		{"JSON on a later line", "{\n\"Resources\":\n  oops}", "Template format error: JSON not well-formed. (line 3, column 3)"},
		{"JSON ends early", "{\"a\": [1,\n2", "Template format error: JSON not well-formed. (line 2, column 1)"},
		{"JSON with more after it", `{} {}`, "Template format error: JSON not well-formed. (line 1, column 4)"},
		{"YAML", "Resources:\n  A: [b\n  C: d\n", "Template format error: YAML not well-formed. (line 3, column 4)"},
		{"YAML tab", "Resources:\n\tA: b\n", "Template format error: YAML not well-formed. (line 2, column 1)"},
		{"YAML key twice", "Resources:\n  A: {Type: X}\n  A: {Type: Y}\n", "Template format error: YAML not well-formed. (line 3, column 3)"},
		{"YAML alias", "Resources:\n  A: &a {Type: X}\n  B: *a\n", "Template error: YAML aliases are not allowed in CloudFormation templates"},
		{"YAML merge", "Resources:\n  A: &a {Type: X}\n  B: {<<: *a}\n", "Template error: YAML aliases are not allowed in CloudFormation templates"},
		{"YAML alias key", "a: &a b\n*a : c\n", "Template error: YAML aliases are not allowed in CloudFormation templates"},
		{"scalar", "hello", "Template format error: unsupported structure."},
		{"list", "- a\n", "Template format error: unsupported structure."},
		{"nothing", "", "Template format error: unsupported structure."},
		{"blank", " \n\n", "Template format error: unsupported structure."},
		{"short form as document", "!Sub x", "Template format error: At least one Resources member must be defined."},
		{"too large", plainSecret + strings.Repeat("#", MaxBytes), "Template may not exceed 1000000 bytes in size."},
		{"deep JSON", `{"Resources":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, "Template format error: JSON not well-formed. (line 1, column 164)"},
		{"deep YAML", `Resources: ` + strings.Repeat("[", 500) + strings.Repeat("]", 500), "Template format error: YAML not well-formed. (line 1, column 162)"},
		{"version", "AWSTemplateFormatVersion: '2011-01-01'\n" + plainSecret, "Template format error: 2011-01-01 is not a supported value for AWSTemplateFormatVersion."},
		{"description", "Description: [a]\n" + plainSecret, "Template format error: Every Description member must be a string."},
		{"long description", "Description: " + strings.Repeat("x", 1025) + "\n" + plainSecret, "Template format error: 'Description' length is greater than 1024."},
		{"section", "Foo: {}\nBar: {}\n" + plainSecret, "Invalid template property or properties [Bar, Foo]"},
		{"section no object", "Parameters: [a]\n" + plainSecret, "Template format error: Parameters must be an object."},
		// Resources.
		{"no resources", "Outputs: {}", "Template format error: At least one Resources member must be defined."},
		{"empty resources", "Resources: {}", "Template format error: At least one Resources member must be defined."},
		{"resource no object", "Resources: {A: b}", "Template format error: Any Resources member must be an object."},
		{"no type", "Resources: {A: {Properties: {}}}", "Template format error: [/Resources/A] Every Resources object must contain a Type member."},
		{"unknown types", "Resources: {A: {Type: AWS::X::Y}, B: {Type: AWS::SecretsManager::Secret}, C: {Type: Z}}", "Template format error: Unrecognized resource types: [AWS::X::Y, Z]"},
		{"resource member", "Resources: {A: {Type: AWS::SecretsManager::Secret, Propertys: {}}}", "Invalid template resource property 'Propertys'"},
		{"resource name", "Resources: {A-b: {Type: AWS::SecretsManager::Secret}}", "Template format error: Resource name A-b is non alphanumeric."},
		{"properties no object", "Resources: {A: {Type: AWS::SecretsManager::Secret, Properties: [a]}}", "Template format error: [/Resources/A/Properties] Properties must be an object."},
		{"null properties", "Resources: {A: {Type: AWS::SecretsManager::Secret, Properties: }}", "[/Resources/A/Properties] 'null' values are not allowed in templates"},
		{"null property", secretOf(""), "[/Resources/A/Properties/Description] 'null' values are not allowed in templates"},
		{"null in list", secretOf("[a, ~]"), "[/Resources/A/Properties/Description/1] 'null' values are not allowed in templates"},
		{"null output", plainSecret + "Outputs: {O: {Value: }}", "[/Outputs/O/Value] 'null' values are not allowed in templates"},
		{"DependsOn no string", "Resources: {A: {Type: AWS::SecretsManager::Secret, DependsOn: {a: b}}}", "Template format error: DependsOn must be a string or list of strings."},
		{"DependsOn unknown", "Resources: {A: {Type: AWS::SecretsManager::Secret, DependsOn: [B, C]}}", "Template format error: Unresolved resource dependencies [B, C] in the Resources block of the template"},
		{"deletion policy", "Resources: {A: {Type: AWS::SecretsManager::Secret, DeletionPolicy: Keep}}", "Template format error: Unrecognized DeletionPolicy Keep for resource A"},
		{"update replace policy", "Resources: {A: {Type: AWS::SecretsManager::Secret, UpdateReplacePolicy: RetainExceptOnCreate}}", "Template format error: Unrecognized UpdateReplacePolicy RetainExceptOnCreate for resource A"},
		{"snapshot", "Resources: {A: {Type: AWS::SecretsManager::Secret, DeletionPolicy: Snapshot}}", "Template error: resource type AWS::SecretsManager::Secret does not support deletion policy Snapshot"},
		{"resource condition", "Resources: {A: {Type: AWS::SecretsManager::Secret, Condition: C}}", "Template format error: Unresolved condition dependency C in the Resources block of the template"},
		{"too many resources", "Resources:\n" + members(501, "{Type: T}"), "Template format error: Number of resources, 501, is greater than maximum allowed, 500"},
		{"too many parameters", plainSecret + "Parameters:\n" + members(201, "{Type: String}"), "Template format error: Number of parameters, 201, is greater than maximum allowed, 200"},
		{"too many mappings", plainSecret + "Mappings:\n" + members(201, "{a: {b: c}}"), "Template format error: Number of mappings, 201, is greater than maximum allowed, 200"},
		{"too many outputs", plainSecret + "Outputs:\n" + members(201, "{Value: x}"), "Template format error: Number of outputs, 201, is greater than maximum allowed, 200"},
		// References and circles.
		{"ref unknown", secretOf("!Ref Nope"), "Template format error: Unresolved resource dependencies [Nope] in the Resources block of the template"},
		{"refs unknown", secretOf("[!Ref Z, !Sub '${Y} ${X}', !Ref Z]"), "Template format error: Unresolved resource dependencies [X, Y, Z] in the Resources block of the template"},
		{"ref in metadata", "Resources: {A: {Type: AWS::SecretsManager::Secret, Metadata: {a: !Ref B}}}", "Template format error: Unresolved resource dependencies [B] in the Resources block of the template"},
		{"getatt unknown", secretOf("!GetAtt Nope.Arn"), "Template error: instance of Fn::GetAtt references undefined resource Nope"},
		{"getatt attribute", secretOf("!GetAtt A.Color"), "Template error: resource A does not support attribute type Color in Fn::GetAtt"},
		{"getatt empty", secretOf("!GetAtt A"), textGetAtt},
		{"sub attribute", secretOf("!Sub '${A.Color}'"), "Template error: instance of Fn::Sub references invalid resource attribute A.Color"},
		{"sub attribute of nothing", secretOf("!Sub '${B.Arn}'"), "Template error: instance of Fn::Sub references invalid resource attribute B.Arn"},
		{"itself", secretOf("!Ref A"), "Circular dependency between resources: [A]"},
		{"circle of three", `
Resources:
  A: {Type: AWS::SecretsManager::Secret, Properties: {Name: !Ref B}}
  B: {Type: AWS::SecretsManager::Secret, Properties: {Name: !GetAtt C.Arn}}
  C: {Type: AWS::SecretsManager::Secret, DependsOn: A}
  D: {Type: AWS::SecretsManager::Secret, DependsOn: A}
  E: {Type: AWS::SecretsManager::Secret}
`, "Circular dependency between resources: [A, B, C]"},
		// Functions.
		{"unknown function", secretOf("{'Fn::Nope': [a]}"), "Template Error: Encountered unsupported function: Fn::Nope Supported functions are: [Fn::Base64, Fn::GetAtt,"},
		{"unknown function in outputs", plainSecret + "Outputs: {O: {Value: !Nope a}}", "Template Error: Encountered unsupported function: Fn::Nope"},
		{"unknown function in conditions", plainSecret + "Conditions: {C: !Not [!Nope a]}", "Template Error: Encountered unsupported function: Fn::Nope"},
		{"ref list", secretOf("{Ref: [A]}"), textRef},
		{"join", secretOf("!Join [a]"), textJoin},
		{"join delimiter", secretOf("!Join [!Ref A, [a]]"), textJoin},
		{"select", secretOf("!Select [x, [a]]"), textSelect},
		{"select no list", secretOf("!Select [0, a]"), textSelect},
		{"split", secretOf("!Split [',']"), textSplit},
		{"find", secretOf("!FindInMap [M, a]"), textFind},
		{"find no mapping", secretOf("!FindInMap [M, a, b]"), "Template error: Mapping named 'M' is not present in the 'Mappings' section of template."},
		{"if condition", secretOf("!If [C, a, b]"), "Template error: unresolved condition dependency C in Fn::If"},
		{"if shape", secretOf("!If [C, a]"), textIf},
		{"sub name", secretOf("!Sub '${a b}'"), textSubName},
		{"sub shape", secretOf("!Sub [a]"), textSub},
		{"base64", secretOf("!Base64 [a]"), textOneText},
		{"zones", secretOf("!GetAZs [a]"), textOneText},
		{"cidr", secretOf("!Cidr [a]"), textCidr},
		{"length", secretOf("!Length [a]"), "Template Error: Encountered unsupported function: Fn::Length"},
		{"transform", secretOf("{'Fn::Transform': {Name: Mine}}"), "No transform named Mine found."},
		{"transform of resources", "Resources: {'Fn::Transform': {Name: AWS::Include}}", "No transform named AWS::Include found."},
		{"import of a resource", secretOf("{'Fn::ImportValue': !Ref A}"), "Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or Fn::GetAZs"},
		{"import of an import", secretOf("{'Fn::ImportValue': !ImportValue a}"), "Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or Fn::GetAZs"},
		// Outputs.
		{"output no object", plainSecret + "Outputs: {O: x}", "Template format error: Output O is malformed."},
		{"output no value", plainSecret + "Outputs: {O: {Description: x}}", "Template format error: Every Outputs member must contain a Value object"},
		{"output list", plainSecret + "Outputs: {O: {Value: [x]}}", "Template format error: The Value field of every Outputs member must evaluate to a String."},
		{"output ref", plainSecret + "Outputs: {O: {Value: !Ref B}}", "Template format error: Unresolved resource dependencies [B] in the Outputs block of the template"},
		{"output name", plainSecret + "Outputs: {O-p: {Value: x}}", "Template format error: Output name O-p is non alphanumeric."},
		{"output condition", plainSecret + "Outputs: {O: {Value: x, Condition: C}}", "Template format error: Unresolved condition dependency C in the Outputs block of the template"},
		{"export", plainSecret + "Outputs: {O: {Value: x, Export: y}}", "Template format error: Output O is malformed."},
		{"export name", plainSecret + "Outputs: {O: {Value: x, Export: {Name: a b}}}", "consist only of alphanumeric characters, colons, or hyphens."},
		{"output secret", plainSecret + "Outputs: {O: {Value: '{{resolve:secretsmanager:s}}'}}", "Dynamic references to secretsmanager are not supported in: [Outputs/O]"},
		// Parameters.
		{"parameter no object", plainSecret + "Parameters: {P: x}", "Template format error: Any Parameters member must be an object."},
		{"parameter no type", plainSecret + "Parameters: {P: {}}", "Template format error: Every Parameters object must contain a Type member."},
		{"parameter type", plainSecret + "Parameters: {P: {Type: Strin}}", "Template format error: Unrecognized parameter type: Strin"},
		{"parameter member", plainSecret + "Parameters: {P: {Type: String, Defualt: x}}", "Invalid template parameter property 'Defualt'"},
		{"parameter name", plainSecret + "Parameters: {P_: {Type: String}}", "Template format error: Parameter name P_ is non alphanumeric."},
		{"parameter and resource", plainSecret + "Parameters: {A: {Type: String}}", "Template error: all resources and parameters must have unique names. Common name(s): [A]"},
		{"default", plainSecret + "Parameters: {P: {Type: String, Default: [a]}}", "Template format error: Every Default member must be a string."},
		{"allowed values", plainSecret + "Parameters: {P: {Type: String, AllowedValues: a}}", "Template format error: AllowedValues member must be a non-empty list of strings."},
		{"length no number", plainSecret + "Parameters: {P: {Type: String, MinLength: a}}", "Template format error: Every MinLength member must be a number."},
		// Mappings and conditions.
		{"mapping", plainSecret + "Mappings: {M: [a]}", "Template format error: Every Mappings member must be a map"},
		{"mapping key", plainSecret + "Mappings: {M: {a: b}}", "Template format error: Every Mappings member M must be a map"},
		{"mapping value", plainSecret + "Mappings: {M: {a: {b: {c: d}}}}", "Template format error: Every Mappings attribute must be a String or a List."},
		{"condition literal", plainSecret + "Conditions: {C: x}", "Template format error: Conditions can only be boolean operations on parameters and other conditions"},
		{"condition of a resource", plainSecret + "Conditions: {C: !Equals [!Ref A, !GetAtt B.Arn]}", "Template format error: Unresolved dependencies [A, B]. Cannot reference resources in the Conditions block of the template"},
		{"condition of nothing", plainSecret + "Conditions: {C: !Not [!Condition D]}", "Template format error: Unresolved condition dependency D in the Conditions block of the template"},
		{"condition circle", plainSecret + "Conditions: {C: !Not [!Condition D], D: !Not [!Condition C]}", "Template error: Found circular condition dependency between [C, D]"},
		{"and of one", plainSecret + "Conditions: {C: !And [!Equals [a, b]]}", "Template error: every Fn::And object requires a list of at least 2 and at most 10 boolean parameters."},
		{"or of eleven", plainSecret + "Conditions: {C: !Or [" + strings.Repeat("!Equals [a, b], ", 10) + "!Equals [a, b]]}", "Template error: every Fn::Or object requires a list of at least 2 and at most 10 boolean parameters."},
		{"not of two", plainSecret + "Conditions: {C: !Not [!Equals [a, b], !Equals [a, b]]}", "Template error: every Fn::Not object requires one boolean parameter."},
		{"equals of three", plainSecret + "Conditions: {C: !Equals [a, b, c]}", "Template error: every Fn::Equals object requires a list of 2 string parameters."},
		// Dynamic references.
		{"dynamic count", secretOf(strings.Repeat("'{{resolve:ssm:a}}' ", 1)) + "      Name: '" + strings.Repeat("{{resolve:ssm:a}}", 60) + "'\n", "Template error: number of dynamic references, 61, is greater than maximum allowed, 60"},
		{"dynamic secure place", "Resources: {A: {Type: AWS::Lambda::Function, Properties: {Environment: {Variables: {V: '{{resolve:ssm-secure:p:1}}'}}}}}", "SSM Secure reference is not supported in: [AWS::Lambda::Function/Properties/Environment/Variables/V]"},
		{"dynamic secure in a list", secretOf("[{Value: '{{resolve:ssm-secure:p}}'}]"), "SSM Secure reference is not supported in: [AWS::SecretsManager::Secret/Properties/Description]"},
		{"dynamic malformed", secretOf("'{{resolve:secretsmanager:a:SecretBinary}}'"), "Incorrect format is used in the following Secrets Manager reference: [{{resolve:secretsmanager:a:SecretBinary}}]"},
		{"dynamic service", secretOf("'{{resolve:vault:a}}'"), "Template error: Encountered unsupported dynamic reference: {{resolve:vault:a}}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tpl, err := Parse(tc.body)
			if err == nil {
				err = tpl.Check(knownTypes, knownAttributes)
			}
			checkRefusal(t, err, tc.want)
		})
	}
}

// members writes n members of a section.
func members(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  N%03d: %s\n", i, value)
	}
	return b.String()
}

// TestAdmittedTemplates says what is not refused.
func TestAdmittedTemplates(t *testing.T) {
	for _, tc := range []struct{ name, body string }{
		{"small", plainSecret},
		{"JSON", `{"Resources": {"A": {"Type": "AWS::SecretsManager::Secret"}}}`},
		{"no properties", plainSecret + "Outputs: {}\nParameters: {}\n"},
		{"rules and hooks", plainSecret + "Rules: {R: {}}\nHooks: {}\n"},
		{"policies", "Resources: {A: {Type: AWS::RDS::DBInstance, DeletionPolicy: Snapshot, UpdateReplacePolicy: Retain}, B: {Type: AWS::SecretsManager::Secret, DeletionPolicy: RetainExceptOnCreate}}"},
		{"sixty dynamic references", secretOf("'" + strings.Repeat("{{resolve:ssm:a}}", 60) + "'")},
		{"dynamic reference by parts", secretOf("!Sub '{{resolve:secretsmanager:arn:${AWS::Partition}:x:SecretString:k}}'")},
		{"secure reference in its place", "Resources: {A: {Type: AWS::RDS::DBInstance, Properties: {MasterUserPassword: '{{resolve:ssm-secure:p:1}}'}}}"},
		{"reference into a transform's outcome", "Transform: AWS::Serverless-2016-10-31\nGlobals: {Function: {}}\nResources: {F: {Type: AWS::Serverless::Function, Properties: {X: !GetAtt FRole.Arn, Y: !Ref FRole}}}"},
		{"IAM's own Condition", secretOf("{Statement: [{Condition: {StringEquals: {a: b}}}, {Condition: NoName}]}")},
		{"branch not taken", "Parameters: {P: {Type: String, Default: a}}\nConditions: {C: !Equals [!Ref P, b]}\n" + secretOf("!If [C, !Sub '${B}', x]") + "  B: {Type: AWS::IAM::Role, Condition: C}\n"},
	} {
		tpl, err := Parse(tc.body)
		if err == nil {
			err = tpl.Check(knownTypes, knownAttributes)
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestLeftOut says that a reference to a resource that a condition leaves out
// is refused once the conditions are known.
func TestLeftOut(t *testing.T) {
	const conditions = "Conditions: {C: !Equals [a, b]}\n"
	for _, tc := range []struct{ body, want string }{
		{secretOf("!Ref B") + "  B: {Type: AWS::IAM::Role, Condition: C}\n", "Template format error: Unresolved resource dependencies [B] in the Resources block of the template"},
		{secretOf("x") + "  B: {Type: AWS::IAM::Role, Condition: C}\nOutputs: {O: {Value: !GetAtt B.Arn}}\n", "Template format error: Unresolved resource dependencies [B] in the Outputs block of the template"},
	} {
		tpl, err := Parse(conditions + tc.body)
		if err != nil {
			t.Fatal(err)
		}
		decided, err := tpl.Evaluate(&Scope{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpl.Graph(decided)
		checkRefusal(t, err, tc.want)
	}
}
