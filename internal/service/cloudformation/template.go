package cloudformation

import (
	"context"
	"regexp"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/engine"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxBody bounds a template in a request, in bytes (AWS docs).
const maxBody = 51200

// fetch returns the text of a template that is in the request, or at a URL of
// an application of the Serverless Application Repository; there is no S3.
func fetch(body, address *string) (string, error) {
	switch {
	case body != nil && address != nil:
		return "", invalid("Both Template URL and Template Body cannot be specified at the same time.")
	case body != nil && len(*body) > maxBody:
		return "", invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", maxBody)
	case body != nil:
		return *body, nil
	case address == nil:
		return "", invalid("Either Template URL or Template Body must be specified.")
	}
	text, ok := application.Template(*address)
	if !ok {
		return "", invalid("TemplateURL must be a supported URL.")
	}
	return text, nil
}

// check parses a template and refuses what is wrong with it before anything
// is done.
func check(text string) (*stack.Template, error) {
	t, err := stack.Parse(text)
	if err != nil {
		return nil, err
	}
	return t, engine.Check(t)
}

// given are the parameters of a request.
func given(parameters []api.Parameter) map[string]stack.Given {
	m := make(map[string]stack.Given, len(parameters))
	for _, p := range parameters {
		m[deref(p.ParameterKey)] = stack.Given{Value: deref(p.ParameterValue), UsePrevious: deref(p.UsePreviousValue)}
	}
	return m
}

// wanted is what a request wants a stack to be.
type wanted struct {
	template, url    *string
	usePrevious      bool
	parameters       []api.Parameter
	capabilities     []string
	types            []string
	tags             []api.Tag
	notificationARNs []string
	role             *string
	// direct says that no change set shows what transforms produce.
	direct bool
}

// config makes the config that a request wants, transforms not applied.
// previous is that of the stack, nil for a new one.
func (w *wanted) config(call *wire.Call, previous *record.Config) (*record.Config, error) {
	c := &record.Config{Capabilities: w.capabilities, Tags: tagsOf(w.tags), NotificationARNs: w.notificationARNs, RoleARN: deref(w.role)}
	var before map[string]string
	if previous != nil {
		before = previous.Parameters
		if w.tags == nil {
			c.Tags = previous.Tags
		}
		if w.notificationARNs == nil {
			c.NotificationARNs = previous.NotificationARNs
		}
		if w.role == nil {
			c.RoleARN = previous.RoleARN
		}
	}
	if err := checkTags(call, c.Tags); err != nil {
		return nil, err
	}
	c.Tags = slices.DeleteFunc(slices.Clone(c.Tags), func(t record.Tag) bool { return strings.HasPrefix(t.Key, "aws:") }) // an outer stack's
	var err error
	switch {
	case w.usePrevious && (w.template != nil || w.url != nil):
		return nil, invalid("You cannot specify both usePreviousTemplate and Template Body/Template URL.")
	case w.usePrevious && previous == nil:
		return nil, invalid("There is no previous template to use.")
	case w.usePrevious:
		c.Template = previous.Template
	default:
		if c.Template, err = fetch(w.template, w.url); err != nil {
			return nil, err
		}
	}
	t, err := check(c.Template)
	if err != nil {
		return nil, err
	}
	if err := w.permit(t); err != nil {
		return nil, err
	}
	args, err := t.Bind(given(w.parameters), before)
	if err != nil {
		return nil, err
	}
	if err := args.ResolveSSM(noParameters); err != nil {
		return nil, err
	}
	c.Parameters, c.Description = args.Text, t.Description
	for _, p := range t.Parameters {
		c.Order = append(c.Order, p.Name)
		if p.NoEcho {
			c.NoEcho = append(c.NoEcho, p.Name)
		}
	}
	return c, t.Demand(w.capabilities, w.direct)
}

// noParameters stands for Systems Manager, which is not served.
func noParameters(name string) (string, error) {
	return "", invalid("Parameters of Systems Manager are not served here: unable to fetch parameters [%s] from parameter store for this account.", name)
}

// permit refuses types that the request itself does not admit (AWS docs).
func (w *wanted) permit(t *stack.Template) error {
	if len(w.types) == 0 {
		return nil
	}
	for _, id := range t.LogicalIDs() {
		kind := t.Resources[id].Type
		if !slices.ContainsFunc(w.types, func(allowed string) bool {
			prefix, wild := strings.CutSuffix(allowed, "*")
			return kind == allowed || wild && strings.HasPrefix(kind, prefix)
		}) {
			return invalid("Resource type %s is not allowed by parameter ResourceTypes [%s]", kind, strings.Join(w.types, ", "))
		}
	}
	return nil
}

// checkTags keeps the prefix aws: to services.
func checkTags(call *wire.Call, tags []record.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") && call.By == "" {
			return invalid("aws: prefixed tag key names are not allowed for external use.")
		}
		if seen[t.Key] {
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[t.Key] = true
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]*$`)

// checkName refuses what cannot be a name; member is that of the request.
func checkName(member, name string) error {
	if !namePattern.MatchString(name) {
		return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name, member)
	}
	if len(name) > 128 {
		return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must have length less than or equal to 128", name, member)
	}
	return nil
}

// policyOf returns the text of a stack policy in a request; there is no S3.
func policyOf(body, address *string, member string) (string, error) {
	if address != nil {
		return "", invalid("%sURL must be a supported URL.", member)
	}
	if body == nil {
		return "", nil
	}
	return *body, record.ParsePolicy(*body)
}

// ValidateTemplate tells what is in a template that is well formed.
func (s *Service) ValidateTemplate(_ context.Context, call *wire.Call, in *api.ValidateTemplateInput) (*api.ValidateTemplateOutput, error) {
	if err := s.Guard.Action(call, ""); err != nil {
		return nil, err
	}
	text, err := fetch(in.TemplateBody, in.TemplateURL)
	if err != nil {
		return nil, err
	}
	t, err := check(text)
	if err != nil {
		return nil, err
	}
	sum := t.Summary()
	out := &api.ValidateTemplateOutput{
		Parameters: []api.TemplateParameter{}, Description: some(sum.Description), Capabilities: sum.Capabilities,
		CapabilitiesReason: some(sum.CapabilitiesReason), DeclaredTransforms: sum.DeclaredTransforms,
	}
	for _, p := range sum.Parameters {
		out.Parameters = append(out.Parameters, api.TemplateParameter{
			ParameterKey: &p.Name, DefaultValue: p.Default, NoEcho: &p.NoEcho, Description: some(p.Description),
		})
	}
	return out, nil
}

// GetTemplateSummary tells what is in a template, or in that of a stack.
func (s *Service) GetTemplateSummary(ctx context.Context, call *wire.Call, in *api.GetTemplateSummaryInput) (*api.GetTemplateSummaryOutput, error) {
	t, err := s.templateOf(ctx, call, in)
	if err != nil {
		return nil, err
	}
	sum := t.Summary()
	out := &api.GetTemplateSummaryOutput{
		Parameters: []api.ParameterDeclaration{}, Description: some(sum.Description), Capabilities: sum.Capabilities,
		CapabilitiesReason: some(sum.CapabilitiesReason), ResourceTypes: sum.ResourceTypes, Version: some(sum.Version),
		Metadata: some(sum.Metadata), DeclaredTransforms: sum.DeclaredTransforms,
	}
	for _, p := range sum.Parameters {
		out.Parameters = append(out.Parameters, api.ParameterDeclaration{
			ParameterKey: &p.Name, DefaultValue: p.Default, ParameterType: &p.Type, NoEcho: &p.NoEcho, Description: some(p.Description),
			ParameterConstraints: &api.ParameterConstraints{AllowedValues: p.AllowedValues},
		})
	}
	for _, kind := range sum.ResourceTypes {
		out.ResourceIdentifierSummaries = append(out.ResourceIdentifierSummaries, api.ResourceIdentifierSummary{
			ResourceType: &kind, LogicalResourceIds: sum.LogicalIDs[kind],
		})
	}
	return out, nil
}

func (s *Service) templateOf(ctx context.Context, call *wire.Call, in *api.GetTemplateSummaryInput) (*stack.Template, error) {
	if in.StackName == nil {
		if err := s.Guard.Action(call, ""); err != nil {
			return nil, err
		}
		text, err := fetch(in.TemplateBody, in.TemplateURL)
		if err != nil {
			return nil, err
		}
		return stack.Parse(text)
	}
	var text string
	err := s.view(ctx, call, in.StackName, withID, func(_ *store.Tx, st *record.Stack) error {
		if st.Status == record.ReviewInProgress {
			return invalid("GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
		}
		contents, err := st.Open(s.Sealer)
		if err == nil {
			text = contents.Config.Template
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return stack.Parse(text)
}

// GetTemplate returns the template of a stack or a change set.
func (s *Service) GetTemplate(ctx context.Context, call *wire.Call, in *api.GetTemplateInput) (*api.GetTemplateOutput, error) {
	if in.StackName == nil && in.ChangeSetName == nil {
		return nil, invalid("StackName is required if ChangeSetName is not specified.")
	}
	var c *record.Config
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if in.ChangeSetName != nil {
			c, err = s.proposed(tx, call, in)
			return err
		}
		st, err := s.find(tx, call, *in.StackName)
		if err != nil {
			return err
		}
		if st == nil {
			return withID(*in.StackName)
		}
		if st.Status == record.ReviewInProgress {
			return nil
		}
		contents, err := st.Open(s.Sealer)
		c = &contents.Config
		return err
	})
	if err != nil {
		return nil, err
	}
	if c == nil { // a stack that has only change sets has no template (AWS: recorded; the stage assumed)
		return &api.GetTemplateOutput{StagesAvailable: []string{"Original"}}, nil
	}
	text := c.Template
	if deref(in.TemplateStage) == "Processed" {
		text = c.Text()
	}
	return &api.GetTemplateOutput{TemplateBody: &text, StagesAvailable: []string{"Original", "Processed"}}, nil
}

// proposed is the config of a change set.
func (s *Service) proposed(tx *store.Tx, call *wire.Call, in *api.GetTemplateInput) (*record.Config, error) {
	_, set, err := s.changeSet(tx, call, in.StackName, *in.ChangeSetName)
	if err != nil {
		return nil, err
	}
	proposal, err := set.Open(s.Sealer)
	return &proposal.Config, err
}

// DescribeAccountLimits tells AWS's limits (AWS docs), of which the number of
// outputs alone is held here.
func (s *Service) DescribeAccountLimits(_ context.Context, call *wire.Call, _ *api.DescribeAccountLimitsInput) (*api.DescribeAccountLimitsOutput, error) {
	if err := s.Guard.Action(call, ""); err != nil {
		return nil, err
	}
	out := &api.DescribeAccountLimitsOutput{}
	for _, l := range []struct {
		name  string
		value int64
	}{{"StackLimit", 2000}, {"StackOutputsLimit", stack.MaxOutputs}, {"ConcurrentResourcesLimit", 2500}} {
		out.AccountLimits = append(out.AccountLimits, api.AccountLimit{Name: &l.name, Value: &l.value})
	}
	return out, nil
}

// isRefusal reports whether an error has a text for the user.
func isRefusal(err error) bool { return fault.Is(err, fault.Validation) }
