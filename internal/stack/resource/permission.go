package resource

import (
	"context"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/lambda"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
)

// maxStatementID is the longest ID of a statement (AWS docs).
const maxStatementID = 100

// permissionHandler handles AWS::Lambda::Permission.
func permissionHandler() *Handler {
	return typed[api.AddPermissionRequest]{
		schema: &stack.Schema{
			Type: "AWS::Lambda::Permission", Attributes: []string{"Id"},
			Properties: properties{
				"FunctionName": fixed(required(text())), "Action": fixed(required(text())), "Principal": fixed(required(text())),
				"SourceArn": fixed(text()), "SourceAccount": fixed(text()), "EventSourceToken": fixed(text()), "PrincipalOrgID": fixed(text()),
				"FunctionUrlAuthType": fixed(text()), "InvokedViaFunctionUrl": fixed(boolean()),
			},
		},
		create: func(ctx context.Context, r *Request, p *api.AddPermissionRequest) (Result, error) {
			in := *p
			in.StatementId = new(r.generatedName(maxStatementID))
			err := r.Client.do(ctx, lambda, "AddPermission", &in)
			if err != nil && !(r.Resumed && ErrorCode(err) == Conflict) {
				return Result{}, err
			}
			return Result{PhysicalID: *in.StatementId, Attributes: map[string]any{"Id": *in.StatementId}}, r.initiated(*in.StatementId)
		},
		delete: func(ctx context.Context, r *Request, p *api.AddPermissionRequest) error {
			return gone(r.Client.do(ctx, lambda, "RemovePermission", &api.RemovePermissionRequest{FunctionName: p.FunctionName, StatementId: &r.PhysicalID}))
		},
	}.handler()
}

// provisioned is how many execution environments are kept ready.
type provisioned struct{ ProvisionedConcurrentExecutions *int64 }

func provisionedSchema() stack.Property {
	return object(properties{"ProvisionedConcurrentExecutions": required(integer())})
}

// provision keeps environments of a version or an alias ready, or does not
// any more.
func (r *Request) provision(ctx context.Context, name, qualifier string, p *provisioned) error {
	if p == nil {
		return gone(r.Client.do(ctx, lambda, "DeleteProvisionedConcurrencyConfig",
			&api.DeleteProvisionedConcurrencyConfigRequest{FunctionName: &name, Qualifier: &qualifier}))
	}
	err := r.Client.do(ctx, lambda, "PutProvisionedConcurrencyConfig", &api.PutProvisionedConcurrencyConfigRequest{
		FunctionName: &name, Qualifier: &qualifier, ProvisionedConcurrentExecutions: p.ProvisionedConcurrentExecutions,
	})
	if err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		out, err := call[api.GetProvisionedConcurrencyConfigResponse](ctx, r.Client, lambda, "GetProvisionedConcurrencyConfig",
			&api.GetProvisionedConcurrencyConfigRequest{FunctionName: &name, Qualifier: &qualifier})
		if err != nil {
			return false, err
		}
		if deref(out.Status) == api.ProvisionedConcurrencyStatusEnumFailed {
			return false, notStabilized("%s", deref(out.StatusReason))
		}
		return deref(out.Status) == api.ProvisionedConcurrencyStatusEnumReady, nil
	})
}

// versionProperties are those of AWS::Lambda::Version.
type versionProperties struct {
	FunctionName                 string
	CodeSha256, Description      *string
	ProvisionedConcurrencyConfig *provisioned
}

// versionHandler handles AWS::Lambda::Version.
func versionHandler() *Handler {
	return typed[versionProperties]{
		schema: &stack.Schema{
			Type: "AWS::Lambda::Version", Attributes: []string{"Version", "FunctionArn"},
			Properties: properties{
				"FunctionName": fixed(required(text())), "CodeSha256": fixed(text()), "Description": fixed(text()),
				"ProvisionedConcurrencyConfig": fixed(provisionedSchema()),
			},
		},
		create: createVersion,
		delete: func(ctx context.Context, r *Request, _ *versionProperties) error {
			name, version := splitVersion(r.PhysicalID)
			return r.removeFunction(ctx, name, version)
		},
	}.handler()
}

func createVersion(ctx context.Context, r *Request, p *versionProperties) (Result, error) {
	before, err := r.versions(ctx, p.FunctionName)
	if err != nil {
		return Result{}, err
	}
	if _, err := r.readyFunction(ctx, p.FunctionName); err != nil {
		return Result{}, err
	}
	out, err := call[api.FunctionConfiguration](ctx, r.Client, lambda, "PublishVersion", &api.PublishVersionRequest{
		FunctionName: &p.FunctionName, CodeSha256: p.CodeSha256, Description: p.Description,
	})
	if err != nil {
		return Result{}, err
	}
	id, version := *out.FunctionArn, *out.Version
	if before[version] && (!r.Resumed || id == r.Replaces) { // AWS: reported
		return Result{}, fault.New(fault.Exists, "A version for this Lambda function exists ( %s ). Modify the function to create a new version.", version)
	}
	name, _ := splitVersion(id)
	if err = r.initiated(id); err == nil {
		if _, err = r.readyFunction(ctx, id); err == nil && p.ProvisionedConcurrencyConfig != nil {
			err = r.provision(ctx, name, version, p.ProvisionedConcurrencyConfig)
		}
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeFunction(ctx, name, version) })
	}
	return Result{PhysicalID: id, Attributes: map[string]any{"Version": version, "FunctionArn": id}}, nil
}

// versions are the numbers of a function's versions.
func (r *Request) versions(ctx context.Context, name string) (map[string]bool, error) {
	all := map[string]bool{}
	in := &api.ListVersionsByFunctionRequest{FunctionName: &name}
	for {
		out, err := call[api.ListVersionsByFunctionResponse](ctx, r.Client, lambda, "ListVersionsByFunction", in)
		if err != nil {
			return nil, err
		}
		for _, v := range out.Versions {
			all[deref(v.Version)] = true
		}
		if in.Marker = out.NextMarker; deref(in.Marker) == "" {
			return all, nil
		}
	}
}

// splitVersion splits a qualified ARN.
func splitVersion(arn string) (name, qualifier string) {
	i := strings.LastIndexByte(arn, ':')
	if i < 0 {
		return arn, ""
	}
	return arn[:i], arn[i+1:]
}

// aliasProperties are those of AWS::Lambda::Alias.
type aliasProperties struct {
	FunctionName, FunctionVersion, Name string
	Description                         *string
	RoutingConfig                       *struct {
		AdditionalVersionWeights []struct {
			FunctionVersion string
			FunctionWeight  float64
		}
	}
	ProvisionedConcurrencyConfig *provisioned
}

// functionAliasHandler handles AWS::Lambda::Alias.
func functionAliasHandler() *Handler {
	return typed[aliasProperties]{
		schema: &stack.Schema{
			Type: "AWS::Lambda::Alias", Attributes: []string{"AliasArn"},
			Properties: properties{
				"FunctionName": fixed(required(text())), "Name": fixed(required(text())), "FunctionVersion": required(text()), "Description": text(),
				"RoutingConfig": object(properties{"AdditionalVersionWeights": listOf(object(properties{
					"FunctionVersion": required(text()), "FunctionWeight": required(number()),
				}))}),
				"ProvisionedConcurrencyConfig": provisionedSchema(),
			},
		},
		create: createAlias, update: updateAlias,
		delete: func(ctx context.Context, r *Request, p *aliasProperties) error { return r.removeAlias(ctx, p) },
	}.handler()
}

func (p *aliasProperties) routing() *api.AliasRoutingConfiguration {
	c := &api.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}
	if p.RoutingConfig != nil {
		for _, w := range p.RoutingConfig.AdditionalVersionWeights {
			c.AdditionalVersionWeights[w.FunctionVersion] = w.FunctionWeight
		}
	}
	return c
}

func createAlias(ctx context.Context, r *Request, p *aliasProperties) (Result, error) {
	in := &api.CreateAliasRequest{FunctionName: &p.FunctionName, Name: &p.Name, FunctionVersion: &p.FunctionVersion, Description: p.Description}
	if p.RoutingConfig != nil {
		in.RoutingConfig = p.routing()
	}
	out, err := call[api.AliasConfiguration](ctx, r.Client, lambda, "CreateAlias", in)
	if err != nil && r.Resumed && ErrorCode(err) == Conflict {
		made, failed := call[api.AliasConfiguration](ctx, r.Client, lambda, "GetAlias", &api.GetAliasRequest{FunctionName: &p.FunctionName, Name: &p.Name})
		if failed == nil && deref(made.FunctionVersion) == p.FunctionVersion && deref(made.Description) == deref(p.Description) && *made.AliasArn != r.Replaces {
			out, err = made, nil
		}
	}
	if err != nil {
		return Result{}, err
	}
	if err = r.initiated(*out.AliasArn); err == nil && p.ProvisionedConcurrencyConfig != nil {
		err = r.provision(ctx, p.FunctionName, p.Name, p.ProvisionedConcurrencyConfig)
	}
	if err != nil {
		return Result{}, undo(ctx, err, func(ctx context.Context) error { return r.removeAlias(ctx, p) })
	}
	return aliasResult(*out.AliasArn), nil
}

func aliasResult(arn string) Result {
	return Result{PhysicalID: arn, Attributes: map[string]any{"AliasArn": arn}}
}

func updateAlias(ctx context.Context, r *Request, old, p *aliasProperties) (Result, error) {
	err := r.Client.do(ctx, lambda, "UpdateAlias", &api.UpdateAliasRequest{
		FunctionName: &p.FunctionName, Name: &p.Name, FunctionVersion: &p.FunctionVersion, Description: orEmpty(p.Description), RoutingConfig: p.routing(),
	})
	if err == nil && differ(old.ProvisionedConcurrencyConfig, p.ProvisionedConcurrencyConfig) {
		err = r.provision(ctx, p.FunctionName, p.Name, p.ProvisionedConcurrencyConfig)
	}
	return aliasResult(r.PhysicalID), err
}

func (r *Request) removeAlias(ctx context.Context, p *aliasProperties) error {
	return gone(r.Client.do(ctx, lambda, "DeleteAlias", &api.DeleteAliasRequest{FunctionName: &p.FunctionName, Name: &p.Name}))
}

// maxLayerName is the longest name of a layer (AWS docs).
const maxLayerName = 140

// layerHandler handles AWS::Lambda::LayerVersion. Its content may be given in
// the template, in base64, for there is no S3 here.
func layerHandler() *Handler {
	return typed[api.PublishLayerVersionRequest]{
		schema: &stack.Schema{
			Type: "AWS::Lambda::LayerVersion", Attributes: []string{"LayerVersionArn"},
			Properties: properties{
				"Content": fixed(required(object(properties{
					"S3Bucket": fixed(text()), "S3Key": fixed(text()), "S3ObjectVersion": fixed(text()), "ZipFile": fixed(text()),
				}))),
				"LayerName": fixed(text()), "Description": fixed(text()), "LicenseInfo": fixed(text()), "CompatibleRuntimes": fixed(texts()),
				"CompatibleArchitectures": fixed(texts()),
			},
		},
		create: createLayer, delete: deleteLayer,
	}.handler()
}

func createLayer(ctx context.Context, r *Request, p *api.PublishLayerVersionRequest) (Result, error) {
	in := *p
	name, generated := r.nameOr(p.LayerName, maxLayerName)
	in.LayerName = &name
	if generated && r.Resumed {
		out, err := call[api.ListLayerVersionsResponse](ctx, r.Client, lambda, "ListLayerVersions", &api.ListLayerVersionsRequest{LayerName: &name})
		if err == nil && len(out.LayerVersions) > 0 {
			arn := *out.LayerVersions[0].LayerVersionArn
			return layerResult(arn), r.initiated(arn)
		}
	}
	out, err := call[api.PublishLayerVersionResponse](ctx, r.Client, lambda, "PublishLayerVersion", &in)
	if err != nil {
		return Result{}, err
	}
	return layerResult(*out.LayerVersionArn), r.initiated(*out.LayerVersionArn)
}

func layerResult(arn string) Result {
	return Result{PhysicalID: arn, Attributes: map[string]any{"LayerVersionArn": arn}}
}

func deleteLayer(ctx context.Context, r *Request, _ *api.PublishLayerVersionRequest) error {
	layer, version := splitVersion(r.PhysicalID)
	number, err := parseInteger(version)
	if err != nil {
		return nil // which no layer has
	}
	return gone(r.Client.do(ctx, lambda, "DeleteLayerVersion", &api.DeleteLayerVersionRequest{LayerName: &layer, VersionNumber: &number}))
}

// invokeConfigHandler handles AWS::Lambda::EventInvokeConfig.
func invokeConfigHandler() *Handler {
	put := func(ctx context.Context, r *Request, p *api.PutFunctionEventInvokeConfigRequest, id string) (Result, error) {
		return Result{PhysicalID: id}, r.Client.do(ctx, lambda, "PutFunctionEventInvokeConfig", p)
	}
	destination := object(properties{"Destination": required(text())})
	return typed[api.PutFunctionEventInvokeConfigRequest]{
		schema: &stack.Schema{
			Type: "AWS::Lambda::EventInvokeConfig",
			Properties: properties{
				"FunctionName": fixed(required(text())), "Qualifier": fixed(required(text())), "MaximumEventAgeInSeconds": integer(),
				"MaximumRetryAttempts": integer(), "DestinationConfig": object(properties{"OnSuccess": destination, "OnFailure": destination}),
			},
		},
		create: func(ctx context.Context, r *Request, p *api.PutFunctionEventInvokeConfigRequest) (Result, error) {
			res, err := put(ctx, r, p, r.generatedName(maxStatementID))
			if err == nil {
				err = r.initiated(res.PhysicalID)
			}
			return res, err
		},
		update: func(ctx context.Context, r *Request, _, p *api.PutFunctionEventInvokeConfigRequest) (Result, error) {
			return put(ctx, r, p, r.PhysicalID)
		},
		delete: func(ctx context.Context, r *Request, p *api.PutFunctionEventInvokeConfigRequest) error {
			return gone(r.Client.do(ctx, lambda, "DeleteFunctionEventInvokeConfig",
				&api.DeleteFunctionEventInvokeConfigRequest{FunctionName: p.FunctionName, Qualifier: p.Qualifier}))
		},
	}.handler()
}
