package server

import (
	"context"
	"net/http"

	"github.com/keyturn/keyturn/internal/tracing"
	"github.com/keyturn/keyturn/internal/wire"
)

// traced gives every request a span, below the caller's if it sends one. It
// stands in the way of requests only when traces are on.
func traced(t *tracing.Tracer, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.Receive(r.Context(), "request", r.Header.Get)
		defer span.End()
		inner.ServeHTTP(w, r.WithContext(ctx))
	})
}

// traceRequest tells the span of a request what became of it. The names are
// those of OpenTelemetry's conventions for AWS's SDKs, as far as there are.
func traceRequest(ctx context.Context, o wire.Outcome) {
	span := tracing.Current(ctx)
	if o.Operation != "" {
		span.Name(o.Service + "." + o.Operation)
	}
	span.Set("rpc.system", "aws-api")
	span.Set("rpc.service", o.Service)
	span.Set("rpc.method", o.Operation)
	span.Set("cloud.account.id", o.Account)
	span.Set("cloud.region", o.Region)
	span.Set("aws.request_id", o.RequestID)
	span.Count("http.response.status_code", o.Status)
	if o.Code != "" {
		span.Fail(o.Code)
	}
}
