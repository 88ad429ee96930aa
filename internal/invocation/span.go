package invocation

import (
	"context"

	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/tracing"
)

// span begins the span of an invocation and puts it into the event, so that
// what the function calls comes below it.
func (i *Invoker) span(ctx context.Context, t *target, event *environment.Event) (context.Context, tracing.Span) {
	ctx, span := i.cfg.Tracer.Call(ctx, "invoke")
	if i.cfg.Tracer == nil {
		return ctx, span
	}
	span.Set("faas.invoked_name", t.spec.FunctionName)
	span.Set("faas.invocation_id", event.RequestID)
	span.Set("faas.version", t.spec.Version)
	span.Set("cloud.account.id", t.spec.Account)
	span.Set("cloud.region", t.spec.Region)
	if event.TraceHeader == "" {
		event.TraceHeader = tracing.XRay(ctx)
	}
	return ctx, span
}

// endSpan tells what became of the invocation.
func endSpan(span tracing.Span, r Result, err error) {
	if how := outcome(r, err); how != "ok" {
		span.Fail(how)
	}
	span.Count("keyturn.init_milliseconds", int(r.Init.Milliseconds()))
	span.Count("keyturn.max_memory_mib", r.MaxMemoryMB)
}
