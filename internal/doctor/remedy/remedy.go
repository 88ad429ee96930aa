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
	// Code is that of the finding that asks for it; Text, Commands and Risk
	// are its remedy's.
	Code, Text string
	Commands   []string
	Risk       string
}

// order is that of a plan: what the rotation needs comes before the labels,
// and those before the rotation itself.
var order = []doctor.ActionKind{
	doctor.AddPermission, doctor.RaiseTimeout, doctor.RaiseMemory, doctor.FreeConcurrency, doctor.PromotePending, doctor.RemovePending, doctor.Rotate,
}

// Plan returns what would be done about a diagnosis: of each finding the first
// remedy, if that is one that can be applied, each change once, in an order in
// which they help each other. A finding whose first remedy is a person's to
// apply gets none. It is empty if there is nothing to do here.
//
// Removing AWSPENDING and making its version current exclude each other: the
// finding that comes first, the cause, decides.
func Plan(d doctor.Diagnosis) []Step {
	var plan []Step
	labelled := false
	for _, f := range d.Findings {
		if len(f.Remedies) == 0 || f.Remedies[0].Action == nil {
			continue
		}
		r := f.Remedies[0]
		moves := r.Action.Kind == doctor.RemovePending || r.Action.Kind == doctor.PromotePending
		if !complete(*r.Action) || moves && labelled || slices.ContainsFunc(plan, func(s Step) bool { return sameChange(s.Action, *r.Action) }) {
			continue
		}
		labelled = labelled || moves
		plan = append(plan, Step{*r.Action, f.Code, r.Text, r.Commands, r.Risk})
	}
	slices.SortStableFunc(plan, func(a, b Step) int {
		return cmp.Compare(slices.Index(order, a.Action.Kind), slices.Index(order, b.Action.Kind))
	})
	return plan
}

// complete tells whether an action names what it changes.
func complete(a doctor.Action) bool {
	switch a.Kind {
	case doctor.RemovePending, doctor.PromotePending:
		return a.Secret != "" && a.Version != ""
	case doctor.Rotate:
		return a.Secret != ""
	case doctor.RaiseTimeout:
		return a.Function != "" && a.Seconds > 0
	case doctor.RaiseMemory:
		return a.Function != "" && a.MB > 0
	}
	return a.Secret != "" && a.Function != ""
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
func (s *Surgeon) Apply(ctx context.Context, a doctor.Action) (done string, err error) {
	switch a.Kind {
	case doctor.RemovePending:
		return s.removePending(ctx, a)
	case doctor.PromotePending:
		return s.promotePending(ctx, a)
	case doctor.AddPermission:
		return s.addPermission(ctx, a)
	case doctor.RaiseTimeout, doctor.RaiseMemory:
		return s.raise(ctx, a)
	case doctor.FreeConcurrency:
		return s.freeConcurrency(ctx, a)
	case doctor.Rotate:
		return "nothing to change before rotating", nil
	}
	return "", fmt.Errorf("there is no way to %q here", a.Kind)
}

// Verify rotates the secret with its stored configuration, shows what happens
// and returns nil if it succeeded; an error that wraps rotate.ErrNotSucceeded
// says how it ended otherwise.
func (s *Surgeon) Verify(ctx context.Context, secretID string, show func(rotate.Line)) error {
	r, err := rotate.Start(ctx, s.clients, secretID)
	if err != nil {
		return err
	}
	return r.Watch(ctx, show)
}

// labels returns who holds the labels of a secret, and demands that AWSPENDING
// is on the action's version and that this is not the current one.
func (s *Surgeon) labels(ctx context.Context, a doctor.Action) (current string, err error) {
	d, err := s.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &a.Secret})
	if err != nil {
		return "", fmt.Errorf("looking at the labels of %s: %w", a.Secret, err)
	}
	if a.Version == "" {
		return "", stale("no version is named")
	}
	held := d.VersionIdsToStages[a.Version]
	switch {
	case !slices.Contains(held, "AWSPENDING"):
		return "", stale("version %s does not hold AWSPENDING any more", a.Version)
	case slices.Contains(held, "AWSCURRENT"):
		return "", stale("version %s is the current one", a.Version)
	}
	for id, labels := range d.VersionIdsToStages {
		if slices.Contains(labels, "AWSCURRENT") {
			current = id
		}
	}
	return current, nil
}

func (s *Surgeon) removePending(ctx context.Context, a doctor.Action) (string, error) {
	if _, err := s.labels(ctx, a); err != nil {
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

func (s *Surgeon) promotePending(ctx context.Context, a doctor.Action) (string, error) {
	current, err := s.labels(ctx, a)
	if err != nil {
		return "", err
	}
	in := &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &a.Secret, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &a.Version,
	}
	if current != "" {
		in.RemoveFromVersionId = &current // refused if another one is current by now
	}
	if _, err := s.secrets.UpdateSecretVersionStage(ctx, in); err != nil {
		if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
			return "", stale("version %s has no value", a.Version)
		}
		return "", fmt.Errorf("moving AWSCURRENT to version %s: %w", a.Version, err)
	}
	return fmt.Sprintf("moved AWSCURRENT from version %s to %s", cmp.Or(current, "none"), a.Version), nil
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
