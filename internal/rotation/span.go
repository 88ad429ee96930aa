package rotation

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/tracing"
)

// endSpan says in the run's span what was driven. The ID of the run's events
// holds the secret's name, so that it stays out.
func (d *driver) endSpan(span tracing.Span) {
	if d.cfg.Tracer == nil {
		return
	}
	span.Set("cloud.account.id", d.account)
	span.Set("cloud.region", d.region)
	span.Set("keyturn.function", d.function)
	span.Count("keyturn.attempt", d.attempt)
	span.End()
}

// tracedInvoke is invoke in a span of the step.
func (d *driver) tracedInvoke(work context.Context, plan *stepPlan) error {
	if d.cfg.Tracer == nil {
		return d.invoke(work, plan)
	}
	work, span := d.cfg.Tracer.Start(work, string(plan.step))
	defer span.End()
	err := d.invoke(work, plan)
	switch f, ok := errors.AsType[*fault.Error](err); {
	case ok:
		span.Fail(string(f.Kind))
	case err != nil:
		span.Fail("error")
	}
	return err
}
