package cloudformation

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/cloudformation"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/stack"
	"github.com/keyturn/keyturn/internal/stack/engine"
	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// userInitiated is the reason of what a caller began (AWS: recorded).
const userInitiated = "User Initiated"

// onFailure reads what is to become of a stack that fails.
func onFailure(disable *bool, policy *string) (string, error) {
	if disable != nil && policy != nil {
		return "", invalid("You cannot specify both DisableRollback and OnFailure")
	}
	if deref(disable) {
		return record.OnFailureDoNothing, nil
	}
	return deref(policy), nil
}

// trigger are the rollback triggers of a request.
func triggers(c *api.RollbackConfiguration) (list []record.Trigger, minutes *int64) {
	if c == nil {
		return nil, nil
	}
	for _, t := range c.RollbackTriggers {
		list = append(list, record.Trigger{ARN: deref(t.Arn), Type: deref(t.Type)})
	}
	return list, c.MonitoringTimeInMinutes
}

// CreateStack begins the creation of a stack.
func (s *Service) CreateStack(ctx context.Context, call *wire.Call, in *api.CreateStackInput) (*api.CreateStackOutput, error) {
	if err := s.mayCreate(ctx, call, *in.StackName, in.RoleARN, in.StackPolicyBody != nil || in.StackPolicyURL != nil); err != nil {
		return nil, err
	}
	if err := checkName("stackName", *in.StackName); err != nil {
		return nil, err
	}
	failure, err := onFailure(in.DisableRollback, in.OnFailure)
	if err != nil {
		return nil, err
	}
	policy, err := policyOf(in.StackPolicyBody, in.StackPolicyURL, "StackPolicy")
	if err != nil {
		return nil, err
	}
	w := wanted{
		template: in.TemplateBody, url: in.TemplateURL, parameters: in.Parameters, capabilities: in.Capabilities, types: in.ResourceTypes,
		tags: in.Tags, notificationARNs: in.NotificationARNs, role: in.RoleARN, direct: true,
	}
	c, err := w.config(call, nil)
	if err != nil {
		return nil, err
	}
	st := newStack(call, *in.StackName, record.CreateInProgress)
	st.Use(c)
	st.Settings.DisableRollback, st.Settings.TimeoutInMinutes, st.Settings.Policy = failure == record.OnFailureDoNothing, deref(in.TimeoutInMinutes), policy
	st.Settings.TerminationProtection, st.Settings.RetainExceptOnCreate = deref(in.EnableTerminationProtection), deref(in.RetainExceptOnCreate)
	st.Settings.Triggers, st.Settings.MonitoringMinutes = triggers(in.RollbackConfiguration)
	refusal := expand(st, c)
	if err := st.Seal(s.Sealer, &record.Contents{Config: *c}); err != nil {
		return nil, err
	}
	out := &api.CreateStackOutput{}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		return s.createStack(tx, call, in, st, out, record.Order{OnFailure: failure, Refusal: refusal})
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

// expand applies the transforms of a config, and returns why the operation
// fails if that does.
func expand(st *record.Stack, c *record.Config) (refusal string) {
	err := engine.Expand(st, c)
	if err == nil && c.Processed != "" {
		var t *stack.Template
		if t, err = check(c.Processed); err == nil {
			err = t.Demand(c.Capabilities, true)
		}
	}
	switch {
	case err == nil:
		return ""
	case isRefusal(err), fault.Is(err, stack.InsufficientCapabilities):
		c.Processed = ""
		return stack.Redact(err.(*fault.Error).Message, c.Secrets())
	}
	c.Processed = ""
	return "Internal Failure"
}

// setPolicy is the action of who gives a stack a policy, by whatever
// operation, also for one update alone (AWS docs).
const setPolicy = "cloudformation:SetStackPolicy"

// mayCreate authorises the creation of a stack, with a policy or without.
func (s *Service) mayCreate(ctx context.Context, call *wire.Call, name string, role *string, policy bool) error {
	return s.Store.View(ctx, func(tx *store.Tx) error {
		st, address, err := lookUp(tx, call, name)
		if err != nil {
			return err
		}
		if err := s.authorize(call, "", address, st); err != nil {
			return err
		}
		if policy {
			if err := s.authorize(call, setPolicy, address, st); err != nil {
				return err
			}
		}
		return s.passRole(tx, call, role, address)
	})
}

func newStack(call *wire.Call, name string, status record.Status) *record.Stack {
	return &record.Stack{
		ID: record.NewStackID(call.Region, call.Principal.Account, name, uuid.NewString()), Account: call.Principal.Account, Region: call.Region,
		Name: name, Status: status, StatusReason: userInitiated, CreatedAt: time.Now(),
	}
}

// createStack stores a new stack and the operation that makes it.
func (s *Service) createStack(tx *store.Tx, call *wire.Call, in *api.CreateStackInput, st *record.Stack, out *api.CreateStackOutput, order record.Order) error {
	if err := s.nest(tx, call, in.Tags, st); err != nil {
		return err
	}
	if other, err := tx.LiveStack(st.Account, st.Region, st.Name); err == nil {
		again, err := repeated(tx, other, record.CreateStack, in.ClientRequestToken)
		if err != nil {
			return err
		}
		if !again {
			return fault.New(fault.Exists, "Stack [%s] already exists", st.Name)
		}
		out.StackId = &other.ID
		return tx.Record(call.Event(out))
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := tx.CreateStack(st); err != nil {
		return err
	}
	op, err := s.operation(tx, call, st, record.CreateStack, record.Apply, in.ClientRequestToken)
	if err != nil {
		return err
	}
	op.Order.OnFailure, op.Order.Refusal, op.Order.RetainExceptOnCreate = order.OnFailure, order.Refusal, st.Settings.RetainExceptOnCreate
	if m := st.Settings.TimeoutInMinutes; m > 0 {
		op.Order.Deadline = op.StartedAt.Add(time.Duration(m) * time.Minute)
	}
	if err := s.begin(tx, st, op, record.CreateInProgress); err != nil {
		return err
	}
	out.StackId, out.OperationId = &st.ID, &op.ID
	call.Resources = []trail.Resource{{Type: record.Type, Name: st.ID}}
	return tx.Record(call.Event(out))
}

// parentTag is the tag by which a nested stack knows its parent.
const parentTag = "aws:cloudformation:stack-id"

// nest makes a stack that another one's operation creates a nested one.
func (s *Service) nest(tx *store.Tx, call *wire.Call, tags []api.Tag, st *record.Stack) error {
	if call.By != record.Service {
		return nil
	}
	i := slices.IndexFunc(tags, func(t api.Tag) bool { return deref(t.Key) == parentTag })
	if i < 0 {
		return nil
	}
	parent, err := tx.Stack(deref(tags[i].Value))
	if err != nil {
		return err
	}
	st.ParentID, st.RootID = parent.ID, parent.Root()
	return nil
}

// UpdateStack begins an update.
func (s *Service) UpdateStack(ctx context.Context, call *wire.Call, in *api.UpdateStackInput) (*api.UpdateStackOutput, error) {
	w := wanted{
		template: in.TemplateBody, url: in.TemplateURL, usePrevious: deref(in.UsePreviousTemplate), parameters: in.Parameters,
		capabilities: in.Capabilities, types: in.ResourceTypes, tags: in.Tags, notificationARNs: in.NotificationARNs, role: in.RoleARN, direct: true,
	}
	out := &api.UpdateStackOutput{}
	err := s.change(ctx, call, in.StackName, inBoxes, out, func(tx *store.Tx, st *record.Stack) error {
		if err := s.passRole(tx, call, in.RoleARN, st.ID); err != nil {
			return err
		}
		if in.StackPolicyBody != nil || in.StackPolicyURL != nil || in.StackPolicyDuringUpdateBody != nil || in.StackPolicyDuringUpdateURL != nil {
			if err := s.authorize(call, setPolicy, st.ID, st); err != nil {
				return err
			}
		}
		out.StackId, out.OperationId = &st.ID, nil
		if again, err := repeated(tx, st, record.UpdateStack, in.ClientRequestToken); err != nil || again {
			return err
		}
		return s.updateStack(tx, call, in, &w, st, out)
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

func (s *Service) updateStack(tx *store.Tx, call *wire.Call, in *api.UpdateStackInput, w *wanted, st *record.Stack, out *api.UpdateStackOutput) error {
	if !st.Status.Updatable() {
		return invalid("Stack:%s is in %s state and can not be updated.", st.ID, st.Status)
	}
	policy, err := policyOf(in.StackPolicyBody, in.StackPolicyURL, "StackPolicy")
	if err != nil {
		return err
	}
	during, err := policyOf(in.StackPolicyDuringUpdateBody, in.StackPolicyDuringUpdateURL, "StackPolicyDuringUpdate")
	if err != nil {
		return err
	}
	contents, err := st.Open(s.Sealer)
	if err != nil {
		return err
	}
	c, err := w.config(call, &contents.Config)
	if err != nil {
		return err
	}
	refusal := expand(st, c)
	if refusal == "" {
		preview, err := engine.NewPreview(tx, s.Sealer, st, c)
		if err != nil {
			return err
		}
		if preview.Empty() && policy == "" {
			return invalid("No updates are to be performed.")
		}
	}
	if policy != "" {
		st.Settings.Policy = policy
	}
	if in.RollbackConfiguration != nil {
		st.Settings.Triggers, st.Settings.MonitoringMinutes = triggers(in.RollbackConfiguration)
	}
	st.Settings.DisableRollback = deref(in.DisableRollback)
	op, err := s.startUpdate(tx, call, st, contents, c, in.ClientRequestToken)
	if err != nil {
		return err
	}
	op.Order.Refusal, op.Order.Policy, op.Order.RetainExceptOnCreate = refusal, during, deref(in.RetainExceptOnCreate)
	if deref(in.DisableRollback) {
		op.Order.OnFailure = record.OnFailureDoNothing
	}
	out.OperationId = &op.ID
	if err := tx.KeepChangeSet(st.ID, ""); err != nil { // they are about what the stack was
		return err
	}
	return s.begin(tx, st, op, record.UpdateInProgress)
}

// startUpdate makes the stack one that is on the way to a config.
func (s *Service) startUpdate(tx *store.Tx, call *wire.Call, st *record.Stack, contents *record.Contents, c *record.Config, token *string) (*record.Operation, error) {
	if st.Status.Stable() {
		stable := contents.Config
		contents.Stable = &stable
	}
	contents.Config = *c
	st.Use(c)
	st.UpdatedAt = time.Now()
	if err := st.Seal(s.Sealer, contents); err != nil {
		return nil, err
	}
	return s.operation(tx, call, st, record.UpdateStack, record.Apply, token)
}

// DeleteStack begins the deletion of a stack. One that does not exist is
// deleted already.
func (s *Service) DeleteStack(ctx context.Context, call *wire.Call, in *api.DeleteStackInput) (*api.DeleteStackResponse, error) {
	out := &api.DeleteStackResponse{}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		st, err := s.find(tx, call, *in.StackName)
		if err != nil {
			return err
		}
		if st != nil {
			if err := s.deleteStack(tx, call, in, st); err != nil {
				return err
			}
		}
		return tx.Record(call.Event(out))
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

func (s *Service) deleteStack(tx *store.Tx, call *wire.Call, in *api.DeleteStackInput, st *record.Stack) error {
	if err := s.passRole(tx, call, in.RoleARN, st.ID); err != nil {
		return err
	}
	if err := s.deletable(tx, call, in, st); err != nil {
		return err
	}
	if in.RoleARN != nil {
		st.Settings.RoleARN = *in.RoleARN
	}
	switch st.Status {
	case record.DeleteComplete, record.DeleteInProgress:
		return nil
	case record.CreateInProgress:
		return s.deleteInstead(tx, call, in, st)
	}
	if st.Status.InProgress() && st.Status != record.ReviewInProgress {
		return invalid("Stack [%s] cannot be deleted while in status %s", st.Name, st.Status)
	}
	op, err := s.operation(tx, call, st, record.DeleteStack, record.Delete, in.ClientRequestToken)
	if err != nil {
		return err
	}
	op.Order.RetainResources, op.Order.Force = in.RetainResources, deref(in.DeletionMode) == "FORCE_DELETE_STACK"
	st.Settings.DeletionMode = deref(in.DeletionMode)
	return s.begin(tx, st, op, record.DeleteInProgress)
}

// deleteInstead makes a running creation go on with the deletion of the
// stack, as who asks for that.
func (s *Service) deleteInstead(tx *store.Tx, call *wire.Call, in *api.DeleteStackInput, st *record.Stack) error {
	op, err := tx.RunningOperation(st.ID)
	if err != nil {
		return err
	}
	by, session, err := s.asker(tx, call, st)
	if err != nil {
		return err
	}
	if err := op.AskDeletion(s.Sealer, by, session); err != nil {
		return err
	}
	st.Settings.DeletionMode = deref(in.DeletionMode)
	if err := tx.SaveStack(st); err != nil { // which has the deletion's role
		return err
	}
	return tx.SaveOperation(op)
}

// deletable refuses the deletion of what is protected or in use.
func (s *Service) deletable(tx *store.Tx, call *wire.Call, in *api.DeleteStackInput, st *record.Stack) error {
	root := st
	if st.RootID != "" && call.By != record.Service {
		var err error
		if root, err = tx.Stack(st.RootID); err != nil {
			return err
		}
	}
	if root.Settings.TerminationProtection && call.By != record.Service {
		return invalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", st.ID)
	}
	if len(in.RetainResources) > 0 && st.Status != record.DeleteFailed {
		return invalid("Invalid operation on stack [%s]. Specify RetainResources only when the stack is in the DELETE_FAILED state.", st.ID)
	}
	if deref(in.DeletionMode) == "FORCE_DELETE_STACK" && st.Status != record.DeleteFailed { // text recorded
		return invalid("Invalid operation on stack [%s]. You can activate DeletionMode FORCE_DELETE_STACK in a delete stack operation only when the stack is in the DELETE_FAILED state.", st.ID)
	}
	if err := retainable(tx, st, in.RetainResources); err != nil {
		return err
	}
	exports, err := tx.ExportsOf(st.ID)
	if err != nil {
		return err
	}
	for _, x := range exports {
		if err := engine.InUse(tx, x, "deleted"); err != nil {
			return err
		}
	}
	return nil
}

// retainable refuses resources that a deletion cannot leave out, because they
// are gone or never were.
func retainable(tx *store.Tx, st *record.Stack, ids []string) error {
	parts, err := tx.StackResources(st.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(parts, func(p *record.Resource) bool { return p.LogicalID == id && !p.Status.Gone() }) { // text recorded
			return invalid("The specified resources to retain must be in a valid state. Do not specify resources that are in the DELETE_COMPLETE state.")
		}
	}
	return nil
}

// skippable refuses resources that are not what a rollback failed at (AWS
// docs; texts assumed).
func skippable(tx *store.Tx, st *record.Stack, ids []string) error {
	parts, err := tx.StackResources(st.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if strings.Contains(id, ".") {
			return invalid("ResourcesToSkip cannot name resources of nested stacks here: [%s]", id)
		}
		failed := func(p *record.Resource) bool {
			return p.LogicalID == id && p.Status == record.UpdateFailed && p.StatusReason != record.UpdateCancelled
		}
		if !slices.ContainsFunc(parts, failed) {
			return invalid("ResourcesToSkip can only name resources that are in the UPDATE_FAILED state because a rollback failed: [%s] is not", id)
		}
	}
	return nil
}

// cancel asks a running operation to end.
func cancel(tx *store.Tx, st *record.Stack, next record.Phase) error {
	op, err := tx.RunningOperation(st.ID)
	if err != nil {
		return err
	}
	op.Order.Cancel = next
	return tx.SaveOperation(op)
}

// CancelUpdateStack makes a running update roll back.
func (s *Service) CancelUpdateStack(ctx context.Context, call *wire.Call, in *api.CancelUpdateStackInput) (*api.CancelUpdateStackResponse, error) {
	out := &api.CancelUpdateStackResponse{}
	err := s.change(ctx, call, in.StackName, inBoxes, out, func(tx *store.Tx, st *record.Stack) error {
		if st.Status != record.UpdateInProgress {
			return invalid("CancelUpdateStack cannot be called from current stack status")
		}
		return cancel(tx, st, record.Undo)
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

// ContinueUpdateRollback takes up a rollback that failed.
func (s *Service) ContinueUpdateRollback(ctx context.Context, call *wire.Call, in *api.ContinueUpdateRollbackInput) (*api.ContinueUpdateRollbackOutput, error) {
	out := &api.ContinueUpdateRollbackOutput{}
	err := s.change(ctx, call, in.StackName, inBoxes, out, func(tx *store.Tx, st *record.Stack) error {
		if again, err := repeated(tx, st, record.Continue, in.ClientRequestToken); err != nil || again {
			return err
		}
		if st.Status != record.UpdateRollbackFailed {
			return invalid("Stack:%s is in %s state and can not continue rollback.", st.ID, st.Status)
		}
		if err := skippable(tx, st, in.ResourcesToSkip); err != nil {
			return err
		}
		return s.rollBack(tx, call, st, record.Continue, in.RoleARN, in.ClientRequestToken, record.Order{Skip: in.ResourcesToSkip}, record.UpdateRollbackInProgress)
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

// rollBack begins an operation that leads back.
func (s *Service) rollBack(tx *store.Tx, call *wire.Call, st *record.Stack, kind record.Kind, role, token *string, order record.Order, status record.Status) error {
	if err := s.passRole(tx, call, role, st.ID); err != nil {
		return err
	}
	if role != nil {
		st.Settings.RoleARN = *role
	}
	op, err := s.operation(tx, call, st, kind, record.Undo, token)
	if err != nil {
		return err
	}
	op.Order.Skip, op.Order.RetainExceptOnCreate = order.Skip, order.RetainExceptOnCreate
	return s.begin(tx, st, op, status)
}

// RollbackStack rolls back what a creation or an update without rollback left.
func (s *Service) RollbackStack(ctx context.Context, call *wire.Call, in *api.RollbackStackInput) (*api.RollbackStackOutput, error) {
	out := &api.RollbackStackOutput{}
	err := s.change(ctx, call, in.StackName, inBoxes, out, func(tx *store.Tx, st *record.Stack) error {
		out.StackId = &st.ID
		if again, err := repeated(tx, st, record.Rollback, in.ClientRequestToken); err != nil || again {
			return err
		}
		status := record.UpdateRollbackInProgress
		switch st.Status {
		case record.CreateFailed:
			status = record.RollbackInProgress
		case record.UpdateFailed:
			contents, err := st.Open(s.Sealer)
			if err != nil {
				return err
			}
			if contents.Stable == nil {
				status = record.RollbackInProgress
			}
		default:
			return invalid("Stack:%s is in %s state and can not be rolled back.", st.ID, st.Status)
		}
		return s.rollBack(tx, call, st, record.Rollback, in.RoleARN, in.ClientRequestToken,
			record.Order{RetainExceptOnCreate: deref(in.RetainExceptOnCreate)}, status)
	})
	if err != nil {
		return nil, err
	}
	s.Wake()
	return out, nil
}

// SetStackPolicy replaces the stack policy.
func (s *Service) SetStackPolicy(ctx context.Context, call *wire.Call, in *api.SetStackPolicyInput) (*api.SetStackPolicyResponse, error) {
	policy, err := policyOf(in.StackPolicyBody, in.StackPolicyURL, "StackPolicy")
	out := &api.SetStackPolicyResponse{}
	return out, s.change(ctx, call, in.StackName, inBoxes, out, func(tx *store.Tx, st *record.Stack) error {
		if err != nil {
			return err
		}
		st.Settings.Policy = policy
		return tx.SaveStack(st)
	})
}

// GetStackPolicy returns the stack policy.
func (s *Service) GetStackPolicy(ctx context.Context, call *wire.Call, in *api.GetStackPolicyInput) (*api.GetStackPolicyOutput, error) {
	out := &api.GetStackPolicyOutput{}
	return out, s.view(ctx, call, in.StackName, inBoxes, func(_ *store.Tx, st *record.Stack) error {
		out.StackPolicyBody = some(st.Settings.Policy)
		return nil
	})
}

// UpdateTerminationProtection protects a stack from deletion, or no more.
func (s *Service) UpdateTerminationProtection(ctx context.Context, call *wire.Call, in *api.UpdateTerminationProtectionInput) (*api.UpdateTerminationProtectionOutput, error) {
	out := &api.UpdateTerminationProtectionOutput{}
	return out, s.change(ctx, call, in.StackName, inBoxes, out, func(tx *store.Tx, st *record.Stack) error {
		if st.ParentID != "" {
			return invalid("Termination protection cannot be updated on a nested stack: %s", st.ID)
		}
		out.StackId = &st.ID
		st.Settings.TerminationProtection = *in.EnableTerminationProtection
		return tx.SaveStack(st)
	})
}
