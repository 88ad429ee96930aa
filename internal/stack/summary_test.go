package stack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
)

func TestDemand(t *testing.T) {
	const (
		role   = "  R: {Type: AWS::IAM::Role}\n"
		named  = "  R: {Type: AWS::IAM::Role, Properties: {RoleName: x}}\n"
		hosted = "  S: {Type: AWS::SecretsManager::RotationSchedule, Properties: {HostedRotationLambda: {}}}\n"
		policy = "  P: {Type: AWS::IAM::Policy, Properties: {PolicyName: x}}\n"
		sam    = "Transform: AWS::Serverless-2016-10-31\n"
		fn     = "  F: {Type: AWS::Serverless::Function}\n"
		app    = "  F: {Type: AWS::Serverless::Application}\n"
	)
	iam, expand := CapabilityIAM, CapabilityAutoExpand
	for _, tc := range []struct {
		name, transform, resources string
		given                      []string
		direct                     bool
		want                       string
	}{
		{"none", "", "  A: {Type: T}\n", nil, true, ""},
		{"role", "", role, nil, true, "[CAPABILITY_IAM]"},
		{"role given", "", role, []string{iam}, true, ""},
		{"role by the greater", "", role, []string{CapabilityNamedIAM}, true, ""},
		{"policy's name is none", "", policy, []string{iam}, true, ""},
		{"own policy", "", "  P: {Type: AWS::IAM::RolePolicy, Properties: {RoleName: x, PolicyName: y}}\n", nil, true, "[CAPABILITY_IAM]"},
		{"own policy given", "", "  P: {Type: AWS::IAM::UserPolicy, Properties: {UserName: x, PolicyName: y}}\n", []string{iam}, true, ""},
		{"named", "", named + policy, []string{iam}, false, "[CAPABILITY_NAMED_IAM]"},
		{"transform in a change set", sam, fn, nil, false, ""},
		{"transform directly", sam, fn, nil, true, "[CAPABILITY_AUTO_EXPAND]"},
		{"transform directly, given", sam, fn, []string{expand}, true, ""},
		{"application in a change set", sam, app, []string{iam}, false, "[CAPABILITY_AUTO_EXPAND]"},
		{"hosted in a change set", "Transform: AWS::SecretsManager-2024-09-16\n", hosted, nil, false, "[CAPABILITY_AUTO_EXPAND, CAPABILITY_IAM]"},
		{"hosted, given", "Transform: AWS::SecretsManager-2024-09-16\n", hosted, []string{iam, expand}, true, ""},
		{"hosted without transform", "", hosted, nil, false, ""},
	} {
		tpl, err := Parse(tc.transform + "Resources:\n" + tc.resources)
		if err != nil {
			t.Fatal(err)
		}
		err = tpl.Demand(tc.given, tc.direct)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		f, ok := err.(*fault.Error)
		if !ok || f.Kind != InsufficientCapabilities || f.Message != "Requires capabilities : "+tc.want {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestSummary(t *testing.T) {
	tpl, err := Parse(`
AWSTemplateFormatVersion: "2010-09-09"
Description: What it does
Transform: [AWS::LanguageExtensions, {Name: AWS::Serverless-2016-10-31}]
Metadata: {Author: me}
Parameters:
  Z: {Type: String, NoEcho: true, Description: last letter, AllowedValues: [a, b]}
  A: {Type: Number, Default: 5}
Resources:
  Role: {Type: AWS::IAM::Role, Properties: {RoleName: x}}
  Two: {Type: AWS::SecretsManager::Secret}
  One: {Type: AWS::SecretsManager::Secret}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{
		Version: "2010-09-09", Description: "What it does",
		Parameters: []Parameter{
			{Name: "Z", Type: "String", Description: "last letter", NoEcho: true, AllowedValues: []string{"a", "b"}},
			{Name: "A", Type: "Number", Default: new("5")},
		},
		ResourceTypes:      []string{"AWS::IAM::Role", "AWS::SecretsManager::Secret"},
		LogicalIDs:         map[string][]string{"AWS::IAM::Role": {"Role"}, "AWS::SecretsManager::Secret": {"Two", "One"}},
		Capabilities:       []string{"CAPABILITY_AUTO_EXPAND", "CAPABILITY_NAMED_IAM"},
		CapabilitiesReason: "The following resource(s) require capabilities: [AWS::IAM::Role, AWS::LanguageExtensions, AWS::Serverless-2016-10-31]",
		DeclaredTransforms: []string{"AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"},
		Metadata:           `{"Author":"me"}`,
	}
	if diff := cmp.Diff(want, tpl.Summary()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}
