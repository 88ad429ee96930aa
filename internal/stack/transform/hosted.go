package transform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/application"
)

// engines are what rotation types begin with (AWS docs), and what the names
// of the applications have for them.
var engines = map[string]string{
	"Db2": "RDSDb2", "MySQL": "RDSMySQL", "PostgreSQL": "RDSPostgreSQL", "Oracle": "RDSOracle", "MariaDB": "RDSMariaDB",
	"SQLServer": "RDSSQLServer", "Redshift": "Redshift", "MongoDB": "MongoDB",
}

// hostedParameters are the members of HostedRotationLambda that the nested
// stack takes, by the names of its parameters (AWS docs).
var hostedParameters = map[string]string{
	"ExcludeCharacters": "excludeCharacters", "KmsKeyArn": "kmsKeyArn",
	"MasterSecretArn": "masterSecretArn", "MasterSecretKmsKeyArn": "masterSecretKmsKeyArn",
	"SuperuserSecretArn": "superuserSecretArn", "SuperuserSecretKmsKeyArn": "superuserSecretKmsKeyArn",
	"RotationLambdaName": "functionName", "Runtime": "runtime",
	"VpcSecurityGroupIds": "vpcSecurityGroupIds", "VpcSubnetIds": "vpcSubnetIds",
}

// Attributes of a schedule that the two transforms keep (AWS docs). A nested
// stack has those of them that it can have.
var (
	kept2020   = []string{"DeletionPolicy", "UpdateReplacePolicy"}
	nested2024 = []string{"Condition", "DeletionPolicy", "DependsOn", "Metadata", "UpdateReplacePolicy"}
	kept2024   = append(slices.Clone(nested2024), "CreationPolicy", "UpdatePolicy")
)

// hosted expands the schedules of one template.
type hosted struct {
	scope
	transform string
}

// expandHosted gives every schedule with a HostedRotationLambda a nested
// stack that makes the function.
func expandHosted(tree map[string]any, transform string, env Environment) error {
	h := hosted{scope{env, tree}, transform}
	all, ids := resources(tree, "AWS::SecretsManager::RotationSchedule")
	for _, id := range ids {
		schedule := all[id].(resource)
		properties, _ := schedule["Properties"].(map[string]any)
		lambda, ok := properties["HostedRotationLambda"]
		if !ok {
			continue
		}
		if _, both := properties["RotationLambdaARN"]; both { // AWS: recorded
			return failed(transform, "Can only specify either HostedRotationLambda or RotationLambdaARN.")
		}
		nested, err := h.nested(id, lambda)
		if err != nil {
			return err
		}
		name := id + "HostedRotationLambda"
		delete(properties, "HostedRotationLambda")
		properties["RotationLambdaARN"] = map[string]any{"Fn::GetAtt": []any{name, "Outputs.RotationLambdaARN"}}
		changed := resource{"Type": schedule["Type"], "Properties": properties}
		if transform == SecretsManager2020 {
			pass(schedule, changed, kept2020...)
			pass(schedule, nested, kept2020...)
		} else {
			pass(schedule, changed, kept2024...)
			pass(schedule, nested, nested2024...)
		}
		all[id], all[name] = changed, nested
	}
	return nil
}

// nested is the stack of a schedule's function.
func (h hosted) nested(schedule string, v any) (resource, error) {
	lambda, ok := v.(map[string]any)
	if !ok {
		return nil, failed(h.transform, "HostedRotationLambda must be an object.")
	}
	app, err := h.application(lambda["RotationType"])
	if err != nil {
		return nil, err
	}
	parameters := map[string]any{
		"endpoint":     map[string]any{"Fn::Sub": "https://secretsmanager.${AWS::Region}.${AWS::URLSuffix}"},
		"functionName": functionName(schedule),
	}
	for _, name := range slices.Sorted(maps.Keys(lambda)) {
		if name == "RotationType" {
			continue
		}
		parameter, ok := hostedParameters[name]
		if !ok {
			return nil, failed(h.transform, "Encountered unsupported property "+name)
		}
		parameters[parameter] = lambda[name]
	}
	if _, master := parameters["masterSecretArn"]; master && parameters["superuserSecretArn"] != nil {
		return nil, failed(h.transform, application.BothSuperusers)
	}
	url := application.TemplateURL(app.Name, "")
	if h.transform == SecretsManager2024 {
		// The address changes with the application, so that every update of
		// the stack brings the function up to date. That of 2020 stays, and
		// the function with it.
		url = application.TemplateURL(app.Name, app.Revision())
		if parameters["runtime"] == nil {
			parameters["runtime"] = application.DefaultRuntime
		}
	}
	return resource{"Type": "AWS::CloudFormation::Stack", "Properties": map[string]any{"TemplateURL": url, "Parameters": parameters}}, nil
}

// application finds the application of a rotation type.
func (h hosted) application(rotationType any) (*application.Application, error) {
	text, ok := h.text(rotationType)
	if rotationType == nil {
		return nil, failed(h.transform, "RotationType is required.") // assumed
	}
	for _, strategy := range []string{"SingleUser", "MultiUser"} {
		engine, found := strings.CutSuffix(text, strategy)
		if name := engines[engine]; ok && found && name != "" {
			if app, ok := application.Lookup("SecretsManager" + name + "Rotation" + strategy); ok {
				return app, nil
			}
		}
	}
	if !ok {
		text = fmt.Sprint(rotationType)
	}
	return nil, failed(h.transform, text+" is not a supported rotation engine type") // AWS docs
}

// functionName is the name of a function that was given none (assumed): that
// of the schedule, and a part of the stack's ID, which no other stack has.
func functionName(schedule string) any {
	const room = 64 - len("SecretsManager") - 1 - 8
	if len(schedule) > room {
		sum := sha256.Sum256([]byte(schedule))
		schedule = schedule[:room-8] + hex.EncodeToString(sum[:4])
	}
	stack := map[string]any{"Fn::Select": []any{"2", map[string]any{"Fn::Split": []any{"/", map[string]any{"Ref": "AWS::StackId"}}}}}
	part := map[string]any{"Fn::Select": []any{"0", map[string]any{"Fn::Split": []any{"-", stack}}}}
	return map[string]any{"Fn::Join": []any{"-", []any{"SecretsManager" + schedule, part}}}
}
