package transform

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// Properties of AWS::Serverless::Function (AWS docs): those that the Lambda
// function has too, and those that the transform works on.
var (
	passedOn = []string{
		"Architectures", "CodeSigningConfigArn", "Description", "Environment", "EphemeralStorage", "FileSystemConfigs", "FunctionName",
		"Handler", "KmsKeyArn", "Layers", "LoggingConfig", "MemorySize", "PackageType", "RecursiveLoop", "ReservedConcurrentExecutions",
		"Runtime", "RuntimeManagementConfig", "SnapStart", "Timeout", "VpcConfig",
	}
	workedOn = []string{
		"AssumeRolePolicyDocument", "AutoPublishAlias", "AutoPublishAliasAllProperties", "AutoPublishCodeSha256", "CodeUri", "DeadLetterQueue",
		"Events", "InlineCode", "PermissionsBoundary", "Policies", "PropagateTags", "Role", "RolePath", "Tags", "Tracing", "VersionDescription",
	}
	// refusedHere are properties that make resources which are not served.
	refusedHere = []string{
		"DeploymentPreference", "EventInvokeConfig", "FunctionUrlConfig", "ImageConfig", "ImageUri", "ProvisionedConcurrencyConfig",
	}
)

// function makes a Lambda function, and unless it has them the role and, if
// asked for, a version and an alias.
func (x *serverless) function(id string, r resource, p map[string]any) *fault.Error {
	for _, name := range refusedHere {
		if _, ok := p[name]; ok {
			return invalid("Property '%s' is not supported here.", name)
		}
	}
	if err := known(p, slices.Concat(passedOn, workedOn), serverlessFunction); err != nil {
		return err
	}
	if err := noEvents(p["Events"]); err != nil {
		return err
	}
	made := map[string]any{}
	for _, name := range passedOn {
		if v, ok := p[name]; ok {
			made[name] = v
		}
	}
	code, err := codeOf(p)
	if err != nil {
		return err
	}
	made["Code"] = code
	tags, err := tagList([][2]any{createdBySAM}, p["Tags"])
	if err != nil {
		return err
	}
	made["Tags"] = tags
	if mode, ok := p["Tracing"]; ok {
		made["TracingConfig"] = map[string]any{"Mode": mode}
	}
	if queue, ok := p["DeadLetterQueue"].(map[string]any); ok {
		made["DeadLetterConfig"] = map[string]any{"TargetArn": queue["TargetArn"]}
	}
	if role, ok := p["Role"]; ok {
		made["Role"] = role
	} else if made["Role"], err = x.role(id, r, p, tags); err != nil {
		return err
	}
	pass(r, x.made(id, "AWS::Lambda::Function", made, r), "DependsOn", "Metadata")
	return x.publish(id, r, p, code)
}

// noEvents refuses events: what makes them is not served.
func noEvents(v any) *fault.Error {
	events, ok := v.(map[string]any)
	if !ok && v != nil {
		return invalid("Type of property 'Events' is invalid.")
	}
	for _, id := range slices.Sorted(maps.Keys(events)) {
		event, _ := events[id].(map[string]any)
		kind, _ := event["Type"].(string)
		return invalid("Event with id [%s] is invalid. Events of type '%s' are not supported here.", id, kind)
	}
	return nil
}

// codeOf is where the function's code is.
func codeOf(p map[string]any) (map[string]any, *fault.Error) {
	inline, isInline := p["InlineCode"]
	uri, isURI := p["CodeUri"]
	switch {
	case isInline && isURI:
		return nil, invalid("Only one of 'InlineCode', 'ImageUri' or 'CodeUri' can be set.")
	case isInline:
		return map[string]any{"ZipFile": inline}, nil
	case !isURI:
		return nil, invalid("Either 'InlineCode' or 'CodeUri' must be set.")
	}
	switch uri := uri.(type) {
	case map[string]any:
		if uri["Bucket"] == nil || uri["Key"] == nil {
			return nil, invalid("'CodeUri' requires Bucket and Key properties to be specified.")
		}
		code := map[string]any{"S3Bucket": uri["Bucket"], "S3Key": uri["Key"]}
		if v, ok := uri["Version"]; ok {
			code["S3ObjectVersion"] = v
		}
		return code, nil
	case string:
		if u, err := url.Parse(uri); err == nil && u.Scheme == "s3" && u.Host != "" && len(u.Path) > 1 {
			code := map[string]any{"S3Bucket": u.Host, "S3Key": strings.TrimPrefix(u.Path, "/")}
			if v := u.Query().Get("versionId"); v != "" {
				code["S3ObjectVersion"] = v
			}
			return code, nil
		}
	}
	return nil, invalid("'CodeUri' is not a valid S3 Uri of the form 's3://bucket/key' with optional versionId query parameter.")
}

var notAlphanumeric = regexp.MustCompile(`[^a-zA-Z0-9]`)

// publish makes a version of the function's code, and the alias that follows
// the latest one.
func (x *serverless) publish(id string, r resource, p, code map[string]any) *fault.Error {
	if p["AutoPublishAlias"] == nil {
		return nil
	}
	name, ok := x.text(p["AutoPublishAlias"])
	if !ok || name == "" {
		return invalid("'AutoPublishAlias' must be a string or a Ref to a template parameter")
	}
	var content any = code
	if sum := p["AutoPublishCodeSha256"]; sum != nil {
		content = sum
	}
	if p["AutoPublishAliasAllProperties"] == true {
		content = []any{content, p}
	}
	b, err := json.Marshal(content)
	if err != nil {
		return invalid("Type of property 'CodeUri' is invalid.")
	}
	sum := sha256.Sum256(b)
	version := id + "Version" + hex.EncodeToString(sum[:5])
	alias := id + "Alias" + notAlphanumeric.ReplaceAllString(name, "")
	function := map[string]any{"Ref": id}
	properties := map[string]any{"FunctionName": function}
	if text, ok := p["VersionDescription"]; ok {
		properties["Description"] = text
	}
	made := x.made(version, "AWS::Lambda::Version", properties, r)
	made["DeletionPolicy"] = "Retain" // AWS: what went before may be in use
	x.made(alias, "AWS::Lambda::Alias", map[string]any{
		"Name": name, "FunctionName": copied(function), "FunctionVersion": map[string]any{"Fn::GetAtt": []any{version, "Version"}},
	}, r)
	x.names[id+".Version"], x.names[id+".Alias"] = version, alias
	return nil
}
