// Package remedy applies the remedies of findings that are safe: it is the one
// part of the doctor that changes anything.
//
// Plan picks from a diagnosis what would be done, for a person to agree to.
// Apply looks again right before it acts, at the very thing that the remedy
// rests on, and does nothing if that has changed: then the error is ErrStale.
// Verify rotates, which shows whether it helped. Clients refuse every operation
// that is not in Operations before it is sent; none of them reads a value or
// deletes a version, a secret or a function.
package remedy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotate"
)

// ErrStale tells that a remedy no longer fits: what it rests on has changed
// since the evidence was collected. Nothing was done.
var ErrStale = errors.New("it is no longer as the doctor found it")

func stale(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrStale, fmt.Sprintf(format, args...))
}

// Step is one change of a plan.
type Step struct {
	Action doctor.Action
	// Current is the version that had AWSCURRENT when the evidence was
	// collected; a label is only moved while it has.
	Current string
	// Code is that of the finding that asks for it; Text, Commands and Risk
	// are its remedy's.
	Code, Text string
	Commands   []string
	Risk       string
}

// order is that of a plan: what the rotation needs comes before the labels,
// and those before the rotation itself. What is not in it is not done here:
// a reserved concurrency may be there to keep a function off or a database
// whole, and how much memory is enough nobody knows.
var order = []doctor.ActionKind{
	doctor.AddPermission, doctor.RaiseTimeout, doctor.PromotePending, doctor.RemovePending, doctor.Rotate,
}

// Plan returns what would be done about a diagnosis: of each finding that is
// certain the first remedy, if that is one that can be applied, each change
// once, in an order in which they help each other. It is empty if the first
// finding, the cause, is a person's to mend: what follows from it would only
// come back.
//
// Labels are left alone while the rotation goes on or is to be tried again,
// and a version is made current only where a login has shown that its password
// is the live one.
func Plan(d doctor.Diagnosis, e *doctor.Evidence) []Step {
	var plan []Step
	labelled := underWay(e)
	for i, f := range d.Findings {
		applies := f.Confidence == doctor.Certain && len(f.Remedies) > 0 && f.Remedies[0].Action != nil &&
			complete(*f.Remedies[0].Action) && proven(&f)
		if !applies && i == 0 {
			return nil
		}
		if !applies {
			continue
		}
		r := f.Remedies[0]
		moves := movesLabel(r.Action.Kind)
		if moves && labelled || slices.ContainsFunc(plan, func(s Step) bool { return sameChange(s.Action, *r.Action) }) {
			continue
		}
		labelled = labelled || moves
		plan = append(plan, Step{*r.Action, e.Secret.Labels["AWSCURRENT"], f.Code, r.Text, r.Commands, r.Risk})
	}
	slices.SortStableFunc(plan, func(a, b Step) int {
		return cmp.Compare(slices.Index(order, a.Action.Kind), slices.Index(order, b.Action.Kind))
	})
	return plan
}

// Still returns the steps of a plan that a later look at the same secret asks
// for as well.
func Still(plan, later []Step) []Step {
	return slices.DeleteFunc(slices.Clone(plan), func(s Step) bool {
		return !slices.ContainsFunc(later, func(l Step) bool { return sameChange(l.Action, s.Action) && l.Current == s.Current })
	})
}

func movesLabel(k doctor.ActionKind) bool {
	return k == doctor.RemovePending || k == doctor.PromotePending
}

// proven tells whether a finding may be acted on as far as it moves
// AWSCURRENT: by a login of this very look.
func proven(f *doctor.Finding) bool {
	return f.Remedies[0].Action.Kind != doctor.PromotePending ||
		slices.ContainsFunc(f.Facts, func(x doctor.Fact) bool { return x.Source == "probe" })
}

// underWay tells whether a step of a rotation may be running, or will be
// without anybody's doing.
func underWay(e *doctor.Evidence) bool {
	if len(e.Reports) == 0 {
		return false
	}
	switch last := e.Reports[len(e.Reports)-1]; last.Status {
	case "started", "done", "held", "retrying":
		return true
	case "failed": // of a step: what comes of it is the next report
		return last.Step != ""
	}
	return false
}

// complete tells whether an action is done here and names what it changes.
func complete(a doctor.Action) bool {
	switch a.Kind {
	case doctor.RemovePending, doctor.PromotePending:
		return a.Secret != "" && a.Version != ""
	case doctor.Rotate:
		return a.Secret != ""
	case doctor.RaiseTimeout:
		return a.Function != "" && a.Seconds > 0
	case doctor.AddPermission:
		return a.Secret != "" && a.Function != ""
	}
	return false // printed, not done
}

// sameChange tells whether two actions do the same, whatever comes after.
func sameChange(a, b doctor.Action) bool {
	a.Rotates, b.Rotates = false, false
	return a == b
}

// Rotates tells whether a plan ends with a rotation.
func Rotates(plan []Step) bool {
	return slices.ContainsFunc(plan, func(s Step) bool { return s.Action.Rotates || s.Action.Kind == doctor.Rotate })
}

// Surgeon applies actions with one configuration's credentials. Use New.
type Surgeon struct {
	secrets *secretsmanager.Client
	lambda  *lambda.Client
	clients rotate.Clients
}

// New returns a Surgeon.
func New(cfg aws.Config) *Surgeon {
	cfg = restricted(cfg)
	return &Surgeon{secretsmanager.NewFromConfig(cfg), lambda.NewFromConfig(cfg), rotate.NewClients(cfg)}
}

// Apply makes one change and says in words what was done. Rotate changes
// nothing here: Verify does that for the whole plan. The error wraps ErrStale
// when the change no longer fits.
func (s *Surgeon) Apply(ctx context.Context, step Step) (done string, err error) {
	a := step.Action
	switch a.Kind {
	case doctor.RemovePending:
		return s.removePending(ctx, step)
	case doctor.PromotePending:
		return s.promotePending(ctx, step)
	case doctor.AddPermission:
		return s.addPermission(ctx, a)
	case doctor.RaiseTimeout:
		return s.raiseTimeout(ctx, a)
	case doctor.Rotate:
		return "nothing to change before rotating", nil
	}
	return "", fmt.Errorf("there is no way to %q here", a.Kind)
}

// Verify rotates the secret with its stored configuration, shows what happens
// and returns nil if it succeeded; an error that wraps rotate.ErrNotSucceeded
// says how it ended otherwise.
func (s *Surgeon) Verify(ctx context.Context, secretID string, show func(rotate.Line)) error {
	r, err := rotate.StartOrGoOn(ctx, s.clients, secretID)
	if err != nil {
		return err
	}
	return r.Watch(ctx, show)
}

// look demands that AWSPENDING is still on the step's version, and AWSCURRENT
// on the version that had it.
func (s *Surgeon) look(ctx context.Context, step Step) error {
	a := step.Action
	d, err := s.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &a.Secret})
	if err != nil {
		return fmt.Errorf("looking at the labels of %s: %w", a.Secret, err)
	}
	held := d.VersionIdsToStages[a.Version]
	switch {
	case a.Version == "" || step.Current == "":
		return stale("it is not known which version is the current one")
	case !slices.Contains(held, "AWSPENDING"):
		return stale("version %s does not hold AWSPENDING any more", a.Version)
	case slices.Contains(held, "AWSCURRENT"):
		return stale("version %s is the current one", a.Version)
	case !slices.Contains(d.VersionIdsToStages[step.Current], "AWSCURRENT"):
		return stale("AWSCURRENT is no longer on version %s", step.Current)
	}
	return nil
}

func (s *Surgeon) removePending(ctx context.Context, step Step) (string, error) {
	a := step.Action
	if err := s.look(ctx, step); err != nil {
		return "", err
	}
	_, err := s.secrets.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &a.Secret, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &a.Version,
	})
	if err != nil {
		return "", fmt.Errorf("removing AWSPENDING from version %s: %w", a.Version, err)
	}
	return fmt.Sprintf("removed AWSPENDING from version %s; the version itself stays readable by its ID", a.Version), nil
}

func (s *Surgeon) promotePending(ctx context.Context, step Step) (string, error) {
	a := step.Action
	if err := s.look(ctx, step); err != nil {
		return "", err
	}
	_, err := s.secrets.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &a.Secret, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &a.Version,
		RemoveFromVersionId: &step.Current, // refused if another one is current by now
	})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return "", stale("version %s has no value", a.Version)
	}
	if err != nil {
		return "", fmt.Errorf("moving AWSCURRENT to version %s: %w", a.Version, err)
	}
	return fmt.Sprintf("moved AWSCURRENT from version %s to %s", step.Current, a.Version), nil
}

// accountOf returns the account that owns a secret, by its ARN.
func accountOf(secretARN string) (string, error) {
	a, ok := arn.Parse(secretARN)
	if !ok || a.Account == "" {
		return "", fmt.Errorf("%q is not the ARN of a secret", secretARN)
	}
	return a.Account, nil
}

// unqualified splits the version or alias off a function's ARN.
func unqualified(function string) (name, qualifier string) {
	a, ok := arn.Parse(function)
	if !ok {
		return function, ""
	}
	parts := strings.Split(a.Resource, ":")
	if len(parts) < 3 {
		return function, ""
	}
	a.Resource = strings.Join(parts[:2], ":")
	return a.String(), parts[2]
}
