package gather

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/doctor"
)

// look is one gathering. Its parts run side by side and write to e under mu.
type look struct {
	*Gatherer
	mu   sync.Mutex
	gaps *[]doctor.Gap
	e    *doctor.Evidence
	// statements are the policies of the function's role, if all of them
	// could be read and no boundary narrows them.
	statements map[string]string
	// parameters are those of the function's stack.
	parameters map[string]string
}

// part is a piece of the work.
type part func(context.Context)

// together runs parts side by side and returns when all are done. What they
// read is other people's: one that panics leaves a gap and ends nothing else.
func (l *look) together(ctx context.Context, parts ...part) {
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() {
			defer l.recovered()
			p(ctx)
		})
	}
	wg.Wait()
}

// recovered turns a panic into a gap. Its text is not told: it may hold what
// was read.
func (l *look) recovered() {
	if recover() == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.gaps = append(*l.gaps, doctor.Gap{
		Action: "keyturn:Read", Resource: "*", Error: "an answer could not be read: a fault of this program", Missing: "a part of the evidence",
	})
}

// note changes the evidence.
func (l *look) note(change func(*doctor.Evidence)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l.e)
}

// deniedCodes are the services' names for a missing permission (AWS docs).
var deniedCodes = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized", "AccessDeniedFault"}

// codeOf returns the API's error code; "" for an error that is no answer.
func codeOf(err error) string {
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		return said.ErrorCode()
	}
	return ""
}

// is tells whether an API answered with one of the codes.
func is(err error, codes ...string) bool { return err != nil && slices.Contains(codes, codeOf(err)) }

func denied(err error) bool { return is(err, deniedCodes...) }

// textOf is what the API answered, in a line.
func textOf(err error) string {
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		return strings.TrimSpace(said.ErrorCode() + ": " + said.ErrorMessage())
	}
	if call, ok := errors.AsType[*smithy.OperationError](err); ok {
		err = call.Err
	}
	return err.Error()
}

// gap notes a call that failed, and reports whether it did.
func (l *look) gap(err error, action, resource, missing string) bool {
	if err == nil {
		return false
	}
	g := doctor.Gap{Action: action, Resource: resource, Error: textOf(err), Missing: missing, Denied: denied(err)}
	if g.Resource == "" {
		g.Resource = "*"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(*l.gaps, func(x doctor.Gap) bool { return x.Action == g.Action && x.Resource == g.Resource }) {
		*l.gaps = append(*l.gaps, g)
	}
	return true
}

// Secret collects the evidence about one secret's rotation, by its name or
// ARN. What cannot be read is listed in Gaps; a secret that does not exist or
// may not be described has Found false and little else. The error is that of
// the context alone.
func (g *Gatherer) Secret(ctx context.Context, secretID string) (*doctor.Evidence, error) {
	e := &doctor.Evidence{At: time.Now().UTC(), Region: g.region, Endpoint: g.endpoint}
	l := &look{Gatherer: g, e: e, gaps: &e.Gaps}
	l.together(ctx, l.caller, l.server, func(ctx context.Context) { l.secret(ctx, secretID) })
	if e.Secret.Found {
		l.surroundings(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("gathering evidence on %s: %w", secretID, context.Cause(ctx))
	}
	slices.SortFunc(e.Gaps, func(a, b doctor.Gap) int { return strings.Compare(a.Action+a.Resource, b.Action+b.Resource) })
	return e, nil
}

// surroundings follows the secret to everything that has to do with it.
func (l *look) surroundings(ctx context.Context) {
	var rotations part = func(ctx context.Context) {
		l.together(ctx, l.events, l.reports)
	}
	var function part = func(ctx context.Context) {
		l.function(ctx)
		if l.e.Function == nil || !l.e.Function.Found {
			return
		}
		l.together(ctx, l.functionPolicy, l.provisioned, l.role, l.stack)
	}
	l.together(ctx, l.versions, l.resourcePolicy, l.key, l.load, rotations, function)
	l.together(ctx, l.invocations, l.network, l.superuser, l.keyDecisions)
	l.summarize()
}

// caller finds who asks.
func (l *look) caller(ctx context.Context) {
	out, err := l.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if l.gap(err, "sts:GetCallerIdentity", "", "who asks, and so whether the caller may rotate") {
		return
	}
	l.note(func(e *doctor.Evidence) {
		e.Caller = aws.ToString(out.Arn)
		if e.Account == "" {
			e.Account = aws.ToString(out.Account)
		}
		if a, ok := arn.Parse(e.Caller); ok && e.Partition == "" {
			e.Partition = a.Partition
		}
	})
}

// server finds whether this is Keyturn.
func (l *look) server(ctx context.Context) {
	keyturn, enforced := l.onKeyturn(ctx)
	l.note(func(e *doctor.Evidence) {
		e.Keyturn = keyturn
		e.Network = &doctor.Network{Enforced: enforced} // taken away again where there is no VPC
	})
}
