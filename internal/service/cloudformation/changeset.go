package cloudformation

import (
	"context"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// The types of change sets.
const (
	typeCreate = "CREATE"
	typeUpdate = "UPDATE"
	typeImport = "IMPORT"
)

// CreateChangeSet begins to work a change set out. One of type CREATE makes a
// stack that is under review.
func (s *Service) CreateChangeSet(ctx context.Context, call *wire.Call, in *api.CreateChangeSetInput) (*api.CreateChangeSetOutput, error) {
	if err := s.mayCreate(ctx, call, *in.StackName, in.RoleARN, false); err != nil {
		return nil, err
	}
	kind := deref(in.ChangeSetType)
	switch kind {
	case "":
		kind = typeUpdate
	case typeImport:
		return nil, invalid("Importing existing resources is not supported by this server.")
	}
	if !arn.IsARN(*in.StackName) {
		if err := checkName("stackName", *in.StackName); err != nil {
			return nil, err
		}
	}
	if err := checkName("changeSetName", *in.ChangeSetName); err != nil {
		return nil, err
	}
	out := &api.CreateChangeSetOutput{}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		st, err := s.stackFor(tx, call, in, kind)
		if err != nil {
			return err
		}
		if err := s.createChangeSet(tx, call, in, kind, st, out); err != nil {
			return err
		}
		call.Resources = []trail.Resource{{Type: record.Type, Name: st.ID}}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

// stackFor is the stack of a new change set; one of type CREATE makes it
// unless it is under review already.
func (s *Service) stackFor(tx *store.Tx, call *wire.Call, in *api.CreateChangeSetInput, kind string) (*record.Stack, error) {
	st, _, err := lookUp(tx, call, *in.StackName)
	if err != nil {
		return nil, err
	}
	if st != nil && st.Status == record.DeleteComplete {
		st = nil
	}
	switch {
	case kind == typeUpdate && (st == nil || st.Status == record.ReviewInProgress):
		return nil, inBoxes(*in.StackName)
	case kind == typeUpdate && !st.Status.Updatable():
		return nil, invalid("Stack:%s is in %s state and can not be updated.", st.ID, st.Status)
	case kind == typeUpdate, st != nil && st.Status == record.ReviewInProgress:
		return st, nil
	case st != nil:
		return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", st.Name, *in.ChangeSetName)
	case arn.IsARN(*in.StackName): // which is no name for a new one
		return nil, inBoxes(*in.StackName)
	}
	st = newStack(call, *in.StackName, record.ReviewInProgress)
	if err := st.Seal(s.Sealer, &record.Contents{}); err != nil {
		return nil, err
	}
	if err := tx.CreateStack(st); err != nil {
		return nil, err
	}
	return st, tx.AddStackEvent(record.NewStackEvent(st, nil, time.Now()))
}

func (s *Service) createChangeSet(tx *store.Tx, call *wire.Call, in *api.CreateChangeSetInput, kind string, st *record.Stack, out *api.CreateChangeSetOutput) error {
	contents, err := st.Open(s.Sealer)
	if err != nil {
		return err
	}
	w := wanted{
		template: in.TemplateBody, url: in.TemplateURL, usePrevious: deref(in.UsePreviousTemplate), parameters: in.Parameters,
		capabilities: in.Capabilities, types: in.ResourceTypes, tags: in.Tags, notificationARNs: in.NotificationARNs, role: in.RoleARN,
	}
	previous := &contents.Config
	if kind == typeCreate {
		previous = nil
	}
	c, err := w.config(call, previous)
	if err != nil {
		return err
	}
	set := &record.ChangeSet{
		ID:      record.NewChangeSetID(st.Region, st.Account, *in.ChangeSetName, uuid.NewString()),
		StackID: st.ID, Name: *in.ChangeSetName, Status: record.ChangeSetPending, Execution: record.Unavailable, CreatedAt: time.Now(),
		Description: deref(in.Description), Token: deref(in.ClientToken), Kind: kind,
		IncludeNested: deref(in.IncludeNestedStacks), ImportExisting: deref(in.ImportExistingResources), OnFailure: deref(in.OnStackFailure),
	}
	set.Triggers, set.MonitoringMinutes = triggers(in.RollbackConfiguration)
	if err := set.Seal(s.Sealer, &record.Proposal{Config: *c}); err != nil {
		return err
	}
	out.Id, out.StackId = &set.ID, &st.ID
	err = tx.CreateChangeSet(set)
	if fault.Is(err, fault.Exists) {
		other, err := tx.ChangeSetOf(st.ID, set.Name)
		if err != nil {
			return err
		}
		if in.ClientToken != nil && other.Token == *in.ClientToken {
			out.Id = &other.ID
			return nil
		}
		return fault.New(fault.Exists, "ChangeSet [%s] already exists", set.Name)
	}
	if err != nil {
		return err
	}
	op, err := s.operation(tx, call, st, record.MakeChangeSet, "", nil)
	if err != nil {
		return err
	}
	op.Order.ChangeSetID = set.ID
	if st.Status == record.ReviewInProgress {
		st.ChangeSetID = set.ID
		if err := tx.SaveStack(st); err != nil {
			return err
		}
	}
	return tx.CreateOperation(op)
}

// changeSet returns a change set by its ARN, or by its name and its stack,
// and that stack, authorised for the call.
func (s *Service) changeSet(tx *store.Tx, call *wire.Call, stackName *string, id string) (*record.Stack, *record.ChangeSet, error) {
	if !arn.IsARN(id) {
		return s.changeSetByName(tx, call, stackName, id)
	}
	set, err := tx.ChangeSet(id)
	if fault.Is(err, fault.NotFound) {
		set, err = nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var st *record.Stack
	address := id
	if set != nil {
		if st, err = tx.Stack(set.StackID); err != nil {
			return nil, nil, err
		}
		if st.Account != call.Principal.Account || st.Region != call.Region {
			st, set = nil, nil
		} else {
			address = st.ID
		}
	}
	if err := s.authorize(call, "", address, st); err != nil {
		return nil, nil, err
	}
	if set == nil {
		return nil, nil, missingChangeSet(id)
	}
	call.Resources = []trail.Resource{{Type: record.Type, Name: st.ID}}
	return st, set, nil
}

func (s *Service) changeSetByName(tx *store.Tx, call *wire.Call, stackName *string, name string) (*record.Stack, *record.ChangeSet, error) {
	if stackName == nil {
		return nil, nil, invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	st, err := s.find(tx, call, *stackName)
	if err != nil {
		return nil, nil, err
	}
	if st == nil {
		return nil, nil, inBoxes(*stackName)
	}
	set, err := tx.ChangeSetOf(st.ID, name)
	if fault.Is(err, fault.NotFound) {
		return nil, nil, missingChangeSet(name)
	}
	return st, set, err
}

func missingChangeSet(id string) error {
	return fault.New(noChangeSet, "ChangeSet [%s] does not exist", id)
}

// DescribeChangeSet tells what a change set would change.
func (s *Service) DescribeChangeSet(ctx context.Context, call *wire.Call, in *api.DescribeChangeSetInput) (*api.DescribeChangeSetOutput, error) {
	var out *api.DescribeChangeSetOutput
	return out, s.Store.View(ctx, func(tx *store.Tx) error {
		st, set, err := s.changeSet(tx, call, in.StackName, *in.ChangeSetName)
		if err != nil {
			return err
		}
		proposal, err := set.Open(s.Sealer)
		if err != nil {
			return err
		}
		c := &proposal.Config
		out = &api.DescribeChangeSetOutput{
			ChangeSetName: &set.Name, ChangeSetId: &set.ID, StackId: &st.ID, StackName: &st.Name, Description: some(set.Description),
			Parameters: shownParameters(c), CreationTime: &set.CreatedAt, ExecutionStatus: new(string(set.Execution)), Status: new(string(set.Status)),
			StatusReason: some(set.StatusReason), NotificationARNs: list(c.NotificationARNs), RollbackConfiguration: shownTriggers(set.Triggers, set.MonitoringMinutes),
			Capabilities: c.Capabilities, Tags: shownTags(c.Tags), IncludeNestedStacks: &set.IncludeNested,
			OnStackFailure: some(set.OnFailure), ImportExistingResources: &set.ImportExisting,
		}
		const most = 100
		from, to, next, err := cut(len(proposal.Changes), most, in.NextToken)
		if err != nil {
			return err
		}
		out.Changes, out.NextToken = []api.Change{}, next
		for _, change := range proposal.Changes[from:to] {
			shown := shownChange(change)
			if deref(in.IncludePropertyValues) {
				shown.BeforeContext, shown.AfterContext = some(proposal.Before[change.LogicalID]), some(proposal.After[change.LogicalID])
			}
			out.Changes = append(out.Changes, api.Change{Type: new("Resource"), ResourceChange: shown})
		}
		return nil
	})
}

func shownChange(c stack.Change) *api.ResourceChange {
	shown := &api.ResourceChange{
		Action: &c.Action, LogicalResourceId: &c.LogicalID, PhysicalResourceId: some(c.PhysicalID), ResourceType: &c.Type,
		Replacement: some(c.Replacement), Scope: list(c.Scope), Details: []api.ResourceChangeDetail{},
	}
	for _, d := range c.Details {
		detail := api.ResourceChangeDetail{
			Target:     &api.ResourceTargetDefinition{Attribute: &d.Attribute, Name: some(d.Name), RequiresRecreation: some(d.Recreation)},
			Evaluation: some(d.Evaluation), ChangeSource: some(d.Source), CausingEntity: some(d.CausingEntity),
		}
		if d.Name != "" {
			detail.Target.Path = new("/" + d.Attribute + "/" + d.Name)
		}
		shown.Details = append(shown.Details, detail)
	}
	return shown
}

// ListChangeSets lists the change sets of a stack.
func (s *Service) ListChangeSets(ctx context.Context, call *wire.Call, in *api.ListChangeSetsInput) (*api.ListChangeSetsOutput, error) {
	out := &api.ListChangeSetsOutput{Summaries: []api.ChangeSetSummary{}}
	return out, s.view(ctx, call, in.StackName, inBoxes, func(tx *store.Tx, st *record.Stack) error {
		after, err := cursorOf(in.NextToken)
		if err != nil {
			return err
		}
		const most = 100
		sets, err := tx.ChangeSets(st.ID, after, most+1)
		if err != nil {
			return err
		}
		if len(sets) > most {
			sets = sets[:most]
			out.NextToken = cursor(sets[most-1].Name)
		}
		for _, c := range sets {
			out.Summaries = append(out.Summaries, api.ChangeSetSummary{
				StackId: &st.ID, StackName: &st.Name, ChangeSetId: &c.ID, ChangeSetName: &c.Name, ExecutionStatus: new(string(c.Execution)),
				Status: new(string(c.Status)), StatusReason: some(c.StatusReason), CreationTime: &c.CreatedAt, Description: some(c.Description),
				IncludeNestedStacks: &c.IncludeNested, ImportExistingResources: &c.ImportExisting,
			})
		}
		return nil
	})
}

// DeleteChangeSet deletes a change set that is not being executed. One that
// does not exist is deleted already.
func (s *Service) DeleteChangeSet(ctx context.Context, call *wire.Call, in *api.DeleteChangeSetInput) (*api.DeleteChangeSetOutput, error) {
	out := &api.DeleteChangeSetOutput{}
	return out, s.Store.Update(ctx, func(tx *store.Tx) error {
		_, set, err := s.changeSet(tx, call, in.StackName, *in.ChangeSetName)
		switch {
		case fault.Is(err, noChangeSet):
		case err != nil:
			return err
		case set.Execution == record.ExecuteInProgress:
			return fault.New(changeSetStatus, "ChangeSet [%s] cannot be deleted in its current execution status of [%s]", set.ID, set.Execution)
		default:
			if err := tx.DropChangeSet(set.ID); err != nil {
				return err
			}
		}
		return tx.Record(call.Event(out))
	})
}

// ExecuteChangeSet begins what a change set proposes. The stack's other change
// sets are deleted (AWS docs).
func (s *Service) ExecuteChangeSet(ctx context.Context, call *wire.Call, in *api.ExecuteChangeSetInput) (*api.ExecuteChangeSetOutput, error) {
	out := &api.ExecuteChangeSetOutput{}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		st, set, err := s.changeSet(tx, call, in.StackName, *in.ChangeSetName)
		if err != nil {
			return err
		}
		if err := s.execute(tx, call, in, st, set); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

func (s *Service) execute(tx *store.Tx, call *wire.Call, in *api.ExecuteChangeSetInput, st *record.Stack, set *record.ChangeSet) error {
	kind, status := record.CreateStack, record.CreateInProgress
	if set.Kind == typeUpdate {
		kind, status = record.UpdateStack, record.UpdateInProgress
	}
	if again, err := repeated(tx, st, kind, in.ClientRequestToken); err != nil || again {
		return err
	}
	switch {
	case set.Status != record.ChangeSetComplete:
		return fault.New(changeSetStatus, "ChangeSet [%s] cannot be executed in its current status of [%s]", set.ID, set.Status)
	case set.Execution != record.Available:
		return fault.New(changeSetStatus, "ChangeSet [%s] cannot be executed in its current execution status of [%s]", set.ID, set.Execution)
	case set.Kind == typeUpdate && !st.Status.Updatable(), set.Kind == typeCreate && st.Status != record.ReviewInProgress:
		return invalid("Stack:%s is in %s state and can not be updated.", st.ID, st.Status)
	case in.DisableRollback != nil && *in.DisableRollback && set.OnFailure != "" && set.OnFailure != record.OnFailureDoNothing:
		return invalid("DisableRollback cannot be true when the change set was created with OnStackFailure %s", set.OnFailure)
	}
	proposal, err := set.Open(s.Sealer)
	if err != nil {
		return err
	}
	contents, err := st.Open(s.Sealer)
	if err != nil {
		return err
	}
	op, err := s.startExecution(tx, call, in, st, contents, proposal, kind)
	if err != nil {
		return err
	}
	op.Order.OnFailure, op.Order.ChangeSetID, op.Order.RetainExceptOnCreate = set.OnFailure, set.ID, deref(in.RetainExceptOnCreate)
	if deref(in.DisableRollback) {
		op.Order.OnFailure = record.OnFailureDoNothing
	}
	st.ChangeSetID, st.Settings.DisableRollback = set.ID, op.Order.OnFailure == record.OnFailureDoNothing
	st.Settings.Triggers, st.Settings.MonitoringMinutes = set.Triggers, set.MonitoringMinutes
	set.Execution = record.ExecuteInProgress
	if err := tx.SaveChangeSet(set); err != nil {
		return err
	}
	if err := tx.KeepChangeSet(st.ID, set.ID); err != nil {
		return err
	}
	return s.begin(tx, st, op, status)
}

// startExecution makes the stack one that is on the way to what the change
// set proposes.
func (s *Service) startExecution(tx *store.Tx, call *wire.Call, in *api.ExecuteChangeSetInput, st *record.Stack,
	contents *record.Contents, proposal *record.Proposal, kind record.Kind,
) (*record.Operation, error) {
	if kind == record.UpdateStack {
		return s.startUpdate(tx, call, st, contents, &proposal.Config, in.ClientRequestToken)
	}
	st.Use(&proposal.Config)
	st.UpdatedAt = time.Now()
	if err := st.Seal(s.Sealer, &record.Contents{Config: proposal.Config}); err != nil {
		return nil, err
	}
	return s.operation(tx, call, st, kind, record.Apply, in.ClientRequestToken)
}
