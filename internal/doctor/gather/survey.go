package gather

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/doctor"
)

// surveyed are the events that a survey counts.
var surveyed = []string{"RotationStarted", "RotationSucceeded", "RotationFailed", "RotationAbandoned"}

// maxSurveyPages bounds the events of one name, in pages of 50.
const maxSurveyPages = 20

// Survey collects the cheap evidence about every rotating secret: the list of
// secrets, the trail's rotations since Options.Since, and each function once.
// The error is that of the context, or of the list without which there is
// nothing.
func (g *Gatherer) Survey(ctx context.Context) (*doctor.Survey, error) {
	s := &doctor.Survey{At: time.Now().UTC(), Region: g.region, Endpoint: g.endpoint, Secrets: []doctor.Surveyed{}}
	s.Since = s.At.Add(-g.options.Since)
	l := &look{Gatherer: g, gaps: &s.Gaps, e: &doctor.Evidence{At: s.At, Region: g.region}}
	var list []smtypes.SecretListEntry
	var failed error
	events := make([][]doctor.Event, len(surveyed))
	parts := []part{l.caller, l.server, func(ctx context.Context) {
		g.tell("secrets")
		list, failed = g.rotating(ctx)
	}}
	for i, name := range surveyed {
		parts = append(parts, func(ctx context.Context) {
			events[i] = l.lookup(ctx, trailtypes.LookupAttributeKeyEventName, name, window{s.Since, s.At}, maxSurveyPages)
		})
	}
	l.together(ctx, parts...)
	if failed != nil {
		return nil, fmt.Errorf("listing the secrets: %w", failed)
	}
	s.Account, s.Partition, s.Caller, s.Keyturn = l.e.Account, l.e.Partition, l.e.Caller, l.e.Keyturn
	for i := range list {
		s.Secrets = append(s.Secrets, survey(&list[i], slices.Concat(events...)))
	}
	l.surveyFunctions(ctx, s.Secrets)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("surveying the secrets: %w", context.Cause(ctx))
	}
	slices.SortFunc(s.Gaps, func(a, b doctor.Gap) int { return strings.Compare(a.Action+a.Resource, b.Action+b.Resource) })
	return s, nil
}

// survey is what the list and the trail tell of a secret.
func survey(s *smtypes.SecretListEntry, events []doctor.Event) doctor.Surveyed {
	x := doctor.Surveyed{
		ARN: aws.ToString(s.ARN), Name: aws.ToString(s.Name), RotationEnabled: aws.ToBool(s.RotationEnabled), Rules: rules(s.RotationRules),
		LastRotatedAt: aws.ToTime(s.LastRotatedDate), LastChangedAt: aws.ToTime(s.LastChangedDate), NextRotationAt: aws.ToTime(s.NextRotationDate),
		OwningService: aws.ToString(s.OwningService), PrimaryRegion: aws.ToString(s.PrimaryRegion), FunctionARN: aws.ToString(s.RotationLambdaARN),
	}
	for version, labels := range s.SecretVersionsToStages {
		if slices.Contains(labels, "AWSCURRENT") {
			x.Current = version
		}
		if slices.Contains(labels, "AWSPENDING") {
			x.Pending = version
		}
	}
	for _, v := range events {
		if v.SecretID != x.ARN {
			continue
		}
		switch v.Name {
		case "RotationFailed":
			x.Failures++
			if x.LastFailure == nil || v.At.After(x.LastFailure.At) {
				x.LastFailure = &v
			}
		case "RotationSucceeded":
			x.SucceededAt = later(x.SucceededAt, v.At)
		case "RotationAbandoned":
			x.AbandonedAt = later(x.AbandonedAt, v.At)
		case "RotationStarted":
			x.StartedAt = later(x.StartedAt, v.At)
		}
	}
	return x
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// surveyFunctions reads each function once, and the stack that it is of.
func (l *look) surveyFunctions(ctx context.Context, list []doctor.Surveyed) {
	l.tell("functions")
	type found struct {
		function *doctor.Function
		stack    *doctor.Stack
	}
	byARN := map[string]*found{}
	var parts []part
	for i := range list {
		functionARN := list[i].FunctionARN
		if functionARN == "" || byARN[functionARN] != nil {
			continue
		}
		f := &found{}
		byARN[functionARN] = f
		parts = append(parts, func(ctx context.Context) {
			f.function, _ = l.functionOf(ctx, functionARN)
			if f.function != nil && f.function.Found {
				f.stack = l.stackOf(ctx, f.function)
			}
		})
	}
	l.atMost(ctx, maxAtOnce, parts)
	for i := range list {
		if f := byARN[list[i].FunctionARN]; f != nil {
			list[i].Function, list[i].Stack = f.function, f.stack
		}
	}
}

// maxAtOnce bounds the functions that are looked at side by side.
const maxAtOnce = 16

// atMost runs parts, at most n of them at once.
func (l *look) atMost(ctx context.Context, n int, parts []part) {
	var wg sync.WaitGroup
	free := make(chan struct{}, n)
	for _, p := range parts {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			defer l.recovered()
			p(ctx)
		})
	}
	wg.Wait()
}
