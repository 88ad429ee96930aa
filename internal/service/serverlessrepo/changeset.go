package serverlessrepo

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/api/cloudformation"
	api "github.com/keyturn/keyturn/internal/api/serverlessrepo"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// By is the service principal that calls CloudFormation.
const By = "serverlessrepo.amazonaws.com"

// stackPrefix begins the names of the stacks (AWS docs).
const stackPrefix = "serverlessrepo-"

// CreateCloudFormationChangeSet makes a change set, as the caller, for the
// stack of an application: a new stack, or an update of one that exists.
func (s *Service) CreateCloudFormationChangeSet(ctx context.Context, call *wire.Call, in *api.CreateCloudFormationChangeSetRequest) (*api.CreateCloudFormationChangeSetResponse, error) {
	app, err := s.find(call, *in.ApplicationId)
	if err != nil {
		return nil, err
	}
	v, err := chosen(app, in)
	if err == nil {
		err = cmp.Or(checkCapabilities(in.Capabilities), checkTags(in.Tags))
	}
	if err != nil {
		return nil, err
	}
	set := changeSet(app, v, in)
	out, err := s.create(ctx, call, set)
	if err != nil {
		return nil, err
	}
	return &api.CreateCloudFormationChangeSetResponse{
		ApplicationId: in.ApplicationId, SemanticVersion: &v, ChangeSetId: out.Id, StackId: out.StackId,
	}, nil
}

// chosen is the version that the request names, by itself or by a template.
func chosen(app *application.Application, in *api.CreateCloudFormationChangeSetRequest) (string, error) {
	if in.TemplateId == nil {
		return version(app, in.SemanticVersion)
	}
	t, err := made(app, *in.TemplateId)
	switch {
	case err != nil:
		return "", err
	case t.status(time.Now()) == api.StatusExpired: // assumed
		return "", fault.New(fault.Parameter, "The template %s has expired.", *in.TemplateId)
	case in.SemanticVersion != nil && *in.SemanticVersion != t.version: // assumed
		return "", fault.New(fault.Parameter, "The template %s is of version %s.", *in.TemplateId, t.version)
	}
	return t.version, nil
}

// checkCapabilities demands that all that an application requires has been
// acknowledged. What is named IAM includes IAM. The texts are assumed.
func checkCapabilities(acknowledged []string) error {
	known := []string{
		api.CapabilityCapabilityIam, api.CapabilityCapabilityNamedIam, api.CapabilityCapabilityAutoExpand, api.CapabilityCapabilityResourcePolicy,
	}
	for _, c := range acknowledged {
		if !slices.Contains(known, c) {
			return fault.New(fault.Parameter, "Invalid capability: %s. Valid capabilities are: %s", c, strings.Join(known, ", "))
		}
	}
	var missing []string
	for _, c := range application.Capabilities() {
		named := c == api.CapabilityCapabilityIam && slices.Contains(acknowledged, api.CapabilityCapabilityNamedIam)
		if !named && !slices.Contains(acknowledged, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return fault.New(fault.Parameter, "Unacknowledged capabilities: [%s]", strings.Join(missing, ", "))
	}
	return nil
}

// checkTags refuses keys that are kept for services: calls in process may set
// them.
func checkTags(tags []api.Tag) error {
	for _, t := range tags {
		key := strings.ToLower(*t.Key)
		if strings.HasPrefix(key, "aws:") || strings.HasPrefix(key, "serverlessrepo:") { // assumed
			return fault.New(fault.Parameter, "Tag keys cannot start with aws: or serverlessrepo: (%s)", *t.Key)
		}
	}
	return nil
}

// changeSet is the request to CloudFormation, for a new stack.
func changeSet(app *application.Application, version string, in *api.CreateCloudFormationChangeSetRequest) *cloudformation.CreateChangeSetInput {
	set := &cloudformation.CreateChangeSetInput{
		StackName: new(stackPrefix + *in.StackName), ChangeSetName: in.ChangeSetName, ChangeSetType: new("CREATE"),
		TemplateURL: new(application.TemplateURL(app.Name, version)), Description: in.Description, ClientToken: in.ClientToken,
		NotificationARNs: in.NotificationArns, ResourceTypes: in.ResourceTypes,
		Tags: []cloudformation.Tag{
			{Key: new("serverlessrepo:applicationId"), Value: in.ApplicationId},
			{Key: new("serverlessrepo:semanticVersion"), Value: &version},
		},
	}
	if set.ChangeSetName == nil {
		set.ChangeSetName = new("a" + uuid.NewString()) // AWS: like a UUID; a name begins with a letter
	}
	for _, p := range in.ParameterOverrides {
		set.Parameters = append(set.Parameters, cloudformation.Parameter{ParameterKey: p.Name, ParameterValue: p.Value})
	}
	for _, c := range in.Capabilities {
		if c != api.CapabilityCapabilityResourcePolicy { // which CloudFormation does not know
			set.Capabilities = append(set.Capabilities, c)
		}
	}
	for _, t := range in.Tags {
		set.Tags = append(set.Tags, cloudformation.Tag{Key: t.Key, Value: t.Value})
	}
	if r := in.RollbackConfiguration; r != nil {
		set.RollbackConfiguration = &cloudformation.RollbackConfiguration{MonitoringTimeInMinutes: r.MonitoringTimeInMinutes}
		for _, t := range r.RollbackTriggers {
			set.RollbackConfiguration.RollbackTriggers = append(set.RollbackConfiguration.RollbackTriggers, cloudformation.RollbackTrigger{Arn: t.Arn, Type: t.Type})
		}
	}
	return set
}

// create calls CreateChangeSet. A stack that exists is updated (AWS docs).
func (s *Service) create(ctx context.Context, call *wire.Call, set *cloudformation.CreateChangeSetInput) (*cloudformation.CreateChangeSetOutput, error) {
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		st, err := tx.LiveStack(call.Principal.Account, call.Region, *set.StackName)
		if err == nil && st.Status != record.ReviewInProgress {
			set.ChangeSetType = new("UPDATE")
		}
		return err
	})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	out, err := s.call(ctx, call, set)
	if err != nil {
		return nil, refused(err)
	}
	return out.(*cloudformation.CreateChangeSetOutput), nil
}

// call calls CloudFormation as the caller.
func (s *Service) call(ctx context.Context, call *wire.Call, in *cloudformation.CreateChangeSetInput) (wire.Output, error) {
	return s.handler.Call(ctx, &wire.Call{
		RequestID: uuid.NewString(), Service: "cloudformation", Operation: "CreateChangeSet", Region: call.Region,
		Account: call.Principal.Account, Principal: call.Principal, Token: call.Token, SourceIP: call.SourceIP, Secure: call.Secure, By: By,
	}, in)
}

// refused keeps CloudFormation's text. What is the caller's fault is a bad
// request here.
func refused(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || slices.Contains([]fault.Kind{fault.Internal, "", fault.Denied, fault.Throttled, fault.Unavailable}, f.Kind) {
		return err
	}
	return fault.New(fault.Parameter, "%s", f.Message).For(f.Subject).Because(f)
}
