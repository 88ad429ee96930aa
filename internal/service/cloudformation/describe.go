package cloudformation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// cursor makes a NextToken of where a page ended.
func cursor(at string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(at))) }

// cursorOf reads a NextToken; "" is the beginning.
func cursorOf(token *string) (string, error) {
	if token == nil {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil || len(b) == 0 {
		return "", errToken()
	}
	return string(b), nil
}

func errToken() error { return fault.New(fault.PageToken, "The specified NextToken is invalid.") }

// cut is the page of a list of n that a token asks for.
func cut(n, most int, token *string) (from, to int, next *string, err error) {
	at, err := cursorOf(token)
	if err != nil {
		return 0, 0, nil, err
	}
	if at != "" {
		if from, err = strconv.Atoi(at); err != nil || from < 0 || from > n {
			return 0, 0, nil, errToken()
		}
	}
	if to = min(n, from+most); to < n {
		next = cursor(strconv.Itoa(to))
	}
	return from, to, next, nil
}

// page reads stacks behind a token and makes the next one.
func page(tx *store.Tx, q store.StackQuery, token *string) (stacks []*record.Stack, next *string, err error) {
	at, err := cursorOf(token)
	if err != nil {
		return nil, nil, err
	}
	if at != "" {
		micros, id, ok := strings.Cut(at, " ")
		n, err := strconv.ParseInt(micros, 10, 64)
		if !ok || err != nil {
			return nil, nil, errToken()
		}
		q.AfterTime, q.AfterID = time.UnixMicro(n), id
	}
	most := q.Limit
	q.Limit++
	if stacks, err = tx.Stacks(q); err != nil || len(stacks) <= most {
		return stacks, nil, err
	}
	stacks = stacks[:most]
	last := stacks[most-1]
	return stacks, cursor(strconv.FormatInt(last.CreatedAt.UnixMicro(), 10) + " " + last.ID), nil
}

// DescribeStacks tells of one stack, or of all that are not deleted.
func (s *Service) DescribeStacks(ctx context.Context, call *wire.Call, in *api.DescribeStacksInput) (*api.DescribeStacksOutput, error) {
	out := &api.DescribeStacksOutput{Stacks: []api.Stack{}}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		stacks, next, err := s.describedStacks(tx, call, in)
		if err != nil {
			return err
		}
		out.Stacks, out.NextToken = []api.Stack{}, next
		for _, st := range stacks {
			shown, err := s.shownStack(st)
			if err != nil {
				return err
			}
			out.Stacks = append(out.Stacks, *shown)
		}
		return nil
	})
}

func (s *Service) describedStacks(tx *store.Tx, call *wire.Call, in *api.DescribeStacksInput) ([]*record.Stack, *string, error) {
	if in.StackName != nil {
		st, err := s.find(tx, call, *in.StackName)
		if err == nil && st == nil {
			err = withID(*in.StackName)
		}
		return []*record.Stack{st}, nil, err
	}
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, nil, err
	}
	const most = 50
	return page(tx, store.StackQuery{Account: call.Principal.Account, Region: call.Region, Live: true, Limit: most}, in.NextToken)
}

func (s *Service) shownStack(st *record.Stack) (*api.Stack, error) {
	contents, err := st.Open(s.Sealer)
	if err != nil {
		return nil, err
	}
	set := &st.Settings
	shown := &api.Stack{
		StackId: &st.ID, StackName: &st.Name, ChangeSetId: some(st.ChangeSetID), Description: some(st.Description),
		CreationTime: &st.CreatedAt, RollbackConfiguration: shownTriggers(set.Triggers, set.MonitoringMinutes),
		StackStatus: new(string(st.Status)), StackStatusReason: some(st.StatusReason), DisableRollback: &set.DisableRollback,
		NotificationARNs: list(set.NotificationARNs), Capabilities: set.Capabilities, RoleARN: some(set.RoleARN), Tags: shownTags(set.Tags),
		EnableTerminationProtection: &set.TerminationProtection, ParentId: some(st.ParentID), RootId: some(st.RootID),
		DriftInformation: &api.StackDriftInformation{StackDriftStatus: new("NOT_CHECKED")}, DeletionMode: some(set.DeletionMode),
	}
	if set.TimeoutInMinutes > 0 {
		shown.TimeoutInMinutes = &set.TimeoutInMinutes
	}
	if set.RetainExceptOnCreate {
		shown.RetainExceptOnCreate = new(true)
	}
	shown.LastUpdatedTime, shown.DeletionTime = moment(st.UpdatedAt), moment(st.DeletedAt)
	for _, o := range contents.Outputs {
		shown.Outputs = append(shown.Outputs, api.Output{
			OutputKey: &o.Name, OutputValue: &o.Value, Description: some(o.Description), ExportName: some(o.Export),
		})
	}
	for _, r := range set.Operations {
		shown.LastOperations = append(shown.LastOperations, api.OperationEntry{OperationType: &r.Type, OperationId: &r.ID})
	}
	if st.Status != record.ReviewInProgress {
		shown.Parameters = shownParameters(&contents.Config)
	}
	return shown, nil
}

// moment is a time that may not have come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// shownTriggers is the rollback configuration, which is there even if empty.
func shownTriggers(list []record.Trigger, minutes *int64) *api.RollbackConfiguration {
	c := &api.RollbackConfiguration{MonitoringTimeInMinutes: minutes}
	for _, t := range list {
		c.RollbackTriggers = append(c.RollbackTriggers, api.RollbackTrigger{Arn: &t.ARN, Type: &t.Type})
	}
	return c
}

// shownParameters are the parameters with masks for those of NoEcho.
func shownParameters(c *record.Config) []api.Parameter {
	var shown []api.Parameter
	for _, name := range c.Order {
		value, ok := c.Parameters[name]
		if slices.Contains(c.NoEcho, name) {
			value = stack.Mask
		}
		if ok {
			shown = append(shown, api.Parameter{ParameterKey: &name, ParameterValue: &value})
		}
	}
	return shown
}

// ListStacks lists stacks, those too that were deleted within 90 days.
func (s *Service) ListStacks(ctx context.Context, call *wire.Call, in *api.ListStacksInput) (*api.ListStacksOutput, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.ListStacksOutput{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		const most = 100
		stacks, next, err := page(tx, store.StackQuery{Account: call.Principal.Account, Region: call.Region, Limit: most}, in.NextToken)
		out.StackSummaries, out.NextToken = []api.StackSummary{}, next
		for _, st := range stacks {
			if len(in.StackStatusFilter) > 0 && !slices.Contains(in.StackStatusFilter, string(st.Status)) {
				continue
			}
			out.StackSummaries = append(out.StackSummaries, api.StackSummary{
				StackId: &st.ID, StackName: &st.Name, TemplateDescription: some(st.Description), CreationTime: &st.CreatedAt,
				LastUpdatedTime: moment(st.UpdatedAt), DeletionTime: moment(st.DeletedAt), StackStatus: new(string(st.Status)),
				StackStatusReason: some(st.StatusReason), ParentId: some(st.ParentID), RootId: some(st.RootID),
				DriftInformation: &api.StackDriftInformationSummary{StackDriftStatus: new("NOT_CHECKED")},
			})
		}
		return err
	})
}

// DescribeStackEvents lists what happened to a stack, the newest first.
func (s *Service) DescribeStackEvents(ctx context.Context, call *wire.Call, in *api.DescribeStackEventsInput) (*api.DescribeStackEventsOutput, error) {
	out := &api.DescribeStackEventsOutput{}
	return out, s.view(ctx, call, in.StackName, inBoxes, func(tx *store.Tx, st *record.Stack) error {
		at, err := cursorOf(in.NextToken)
		if err != nil {
			return err
		}
		before := int64(0)
		if at != "" {
			if before, err = strconv.ParseInt(at, 10, 64); err != nil {
				return errToken()
			}
		}
		const most = 100
		events, err := tx.StackEvents(st.ID, before, most+1)
		if err != nil {
			return err
		}
		out.StackEvents, out.NextToken = []api.StackEvent{}, nil
		if len(events) > most {
			events = events[:most]
			out.NextToken = cursor(strconv.FormatInt(events[most-1].Seq, 10))
		}
		for _, e := range events {
			properties, err := e.Properties(s.Sealer)
			if err != nil {
				return err
			}
			out.StackEvents = append(out.StackEvents, api.StackEvent{
				StackId: &st.ID, EventId: &e.ID, StackName: &st.Name, LogicalResourceId: &e.LogicalID, PhysicalResourceId: &e.PhysicalID,
				ResourceType: &e.Type, Timestamp: &e.At, ResourceStatus: new(string(e.Status)), ResourceStatusReason: some(e.Reason),
				ResourceProperties: some(properties), ClientRequestToken: some(e.ClientRequestToken), OperationId: some(e.OperationID),
			})
		}
		return nil
	})
}

// resources are those that a stack shows: one for each logical ID.
func resources(tx *store.Tx, st *record.Stack) ([]*record.Resource, error) {
	all, err := tx.StackResources(st.ID)
	if err != nil {
		return nil, err
	}
	byID := map[string]*record.Resource{}
	for _, r := range all {
		if other := byID[r.LogicalID]; other == nil || !other.Current() || r.Current() {
			byID[r.LogicalID] = r
		}
	}
	shown := make([]*record.Resource, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		shown = append(shown, byID[id])
	}
	return shown, nil
}

// DescribeStackResource tells of one resource.
func (s *Service) DescribeStackResource(ctx context.Context, call *wire.Call, in *api.DescribeStackResourceInput) (*api.DescribeStackResourceOutput, error) {
	out := &api.DescribeStackResourceOutput{}
	return out, s.view(ctx, call, in.StackName, inTicks, func(tx *store.Tx, st *record.Stack) error {
		shown, err := resources(tx, st)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(shown, func(r *record.Resource) bool { return r.LogicalID == *in.LogicalResourceId })
		if i < 0 {
			return invalid("Resource %s does not exist for stack %s", *in.LogicalResourceId, st.Name)
		}
		r := shown[i]
		state, err := r.Open(s.Sealer)
		if err != nil {
			return err
		}
		out.StackResourceDetail = &api.StackResourceDetail{
			StackName: &st.Name, StackId: &st.ID, LogicalResourceId: &r.LogicalID, PhysicalResourceId: some(r.PhysicalID), ResourceType: &r.Type,
			LastUpdatedTimestamp: &r.ChangedAt, ResourceStatus: new(string(r.Status)), ResourceStatusReason: some(r.StatusReason),
			Metadata: metadata(state), DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: new("NOT_CHECKED")},
		}
		return nil
	})
}

// metadata is a resource's own as JSON.
func metadata(state *record.State) *string {
	if state.Now == nil || state.Now.Metadata == nil {
		return new("{}")
	}
	b, _ := json.Marshal(state.Now.Metadata) // which came from JSON
	return new(string(b))
}

// DescribeStackResources tells of the resources of a stack, which a physical
// ID may name.
func (s *Service) DescribeStackResources(ctx context.Context, call *wire.Call, in *api.DescribeStackResourcesInput) (*api.DescribeStackResourcesOutput, error) {
	if in.StackName != nil && in.PhysicalResourceId != nil || in.StackName == nil && in.PhysicalResourceId == nil {
		return nil, invalid("You must specify either StackName or PhysicalResourceId, but not both.")
	}
	out := &api.DescribeStackResourcesOutput{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		name, err := s.ownerOf(tx, call, in)
		if err != nil {
			return err
		}
		st, err := s.find(tx, call, name)
		if err != nil {
			return err
		}
		if st == nil {
			return withID(name)
		}
		shown, err := resources(tx, st)
		out.StackResources = []api.StackResource{}
		const most = 100
		for _, r := range shown[:min(most, len(shown))] {
			if in.LogicalResourceId != nil && *in.LogicalResourceId != r.LogicalID {
				continue
			}
			out.StackResources = append(out.StackResources, api.StackResource{
				StackName: &st.Name, StackId: &st.ID, LogicalResourceId: &r.LogicalID, PhysicalResourceId: some(r.PhysicalID), ResourceType: &r.Type,
				Timestamp: &r.ChangedAt, ResourceStatus: new(string(r.Status)), ResourceStatusReason: some(r.StatusReason),
				DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: new("NOT_CHECKED")},
			})
		}
		return err
	})
}

// ownerOf is the stack that a request names, or whose resource it names.
func (s *Service) ownerOf(tx *store.Tx, call *wire.Call, in *api.DescribeStackResourcesInput) (string, error) {
	if in.StackName != nil {
		return *in.StackName, nil
	}
	id, err := tx.StackOfResource(call.Principal.Account, call.Region, *in.PhysicalResourceId)
	if !fault.Is(err, fault.NotFound) {
		return id, err
	}
	if err := s.authorize(call, "", arn.New("cloudformation", call.Region, call.Principal.Account, "stack/*").String(), nil); err != nil {
		return "", err
	}
	return "", invalid("Stack for %s does not exist", *in.PhysicalResourceId)
}

// ListStackResources lists the resources of a stack.
func (s *Service) ListStackResources(ctx context.Context, call *wire.Call, in *api.ListStackResourcesInput) (*api.ListStackResourcesOutput, error) {
	out := &api.ListStackResourcesOutput{}
	return out, s.view(ctx, call, in.StackName, withID, func(tx *store.Tx, st *record.Stack) error {
		shown, err := resources(tx, st)
		if err != nil {
			return err
		}
		const most = 100
		from, to, next, err := cut(len(shown), most, in.NextToken)
		if err != nil {
			return err
		}
		out.StackResourceSummaries, out.NextToken = []api.StackResourceSummary{}, next
		for _, r := range shown[from:to] {
			out.StackResourceSummaries = append(out.StackResourceSummaries, api.StackResourceSummary{
				LogicalResourceId: &r.LogicalID, PhysicalResourceId: some(r.PhysicalID), ResourceType: &r.Type,
				LastUpdatedTimestamp: &r.ChangedAt, ResourceStatus: new(string(r.Status)), ResourceStatusReason: some(r.StatusReason),
				DriftInformation: &api.StackResourceDriftInformationSummary{StackResourceDriftStatus: new("NOT_CHECKED")},
			})
		}
		return nil
	})
}

// ListExports lists the values that the stacks of the account and region
// export.
func (s *Service) ListExports(ctx context.Context, call *wire.Call, in *api.ListExportsInput) (*api.ListExportsOutput, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.ListExportsOutput{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		after, err := cursorOf(in.NextToken)
		if err != nil {
			return err
		}
		const most = 100
		exports, err := tx.Exports(call.Principal.Account, call.Region, after, most+1)
		if err != nil {
			return err
		}
		out.Exports, out.NextToken = []api.Export{}, nil
		if len(exports) > most {
			exports = exports[:most]
			out.NextToken = cursor(exports[most-1].Name)
		}
		for _, x := range exports {
			value, err := x.Value(s.Sealer)
			if err != nil {
				return err
			}
			out.Exports = append(out.Exports, api.Export{ExportingStackId: &x.StackID, Name: &x.Name, Value: &value})
		}
		return nil
	})
}

// ListImports lists the stacks that use an export.
func (s *Service) ListImports(ctx context.Context, call *wire.Call, in *api.ListImportsInput) (*api.ListImportsOutput, error) {
	if err := s.Guard.Action(call, "*"); err != nil {
		return nil, err
	}
	out := &api.ListImportsOutput{}
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		after, err := cursorOf(in.NextToken)
		if err != nil {
			return err
		}
		const most = 100
		ids, err := tx.Importers(call.Principal.Account, call.Region, *in.ExportName, after, most+1)
		if err != nil {
			return err
		}
		if len(ids) == 0 && after == "" {
			return invalid("Export '%s' is not imported by any stack.", *in.ExportName)
		}
		out.Imports, out.NextToken = []string{}, nil
		if len(ids) > most {
			ids = ids[:most]
			out.NextToken = cursor(ids[most-1])
		}
		for _, id := range ids {
			st, err := tx.Stack(id)
			if err != nil {
				return err
			}
			out.Imports = append(out.Imports, st.Name)
		}
		return nil
	})
}
