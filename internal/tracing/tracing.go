// Package tracing records what the server does as OpenTelemetry spans and
// sends them to a collector, if the environment names one. Without one there
// is no Tracer, and all of this package does nothing with a nil one.
//
// A span never carries a value, a name or a version of a secret: spans go to
// systems that more people can read than the trail.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. A nil Tracer makes none. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Configured reports whether the environment, in the variables of the
// OpenTelemetry specification, asks for traces and says where they go.
func Configured() (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	named := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "otlp":
		named = true // the collector's default is http://localhost:4318
	case "":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: this program sends traces by otlp or not at all (none)", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := os.Getenv(name); named && protocol != "" {
			if protocol != "http/protobuf" {
				return false, fmt.Errorf("%s is %q: this program sends traces by http/protobuf alone, to port 4318 of most collectors", name, protocol)
			}
			break
		}
	}
	return named, nil
}

// New returns a Tracer for the collector of the environment, nil when that
// names none. The version is this program's. It starts a goroutine that
// sends; Close ends it. A collector that cannot be reached costs its spans
// alone: requests never wait for it. What goes wrong is logged.
func New(ctx context.Context, version string, logger *slog.Logger) (*Tracer, error) {
	if on, err := Configured(); err != nil || !on {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing to send traces: %w", err)
	}
	// What the environment says of the service counts more than what is here.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "keyturn"), attribute.String("service.version", version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading OTEL_RESOURCE_ATTRIBUTES: %w", err), exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("sending traces", "error", err) }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return &Tracer{provider, provider.Tracer("github.com/keyturn/keyturn")}, nil
}

// closeLimit bounds how long Close waits for the collector.
const closeLimit = 5 * time.Second

// Close sends what there is and ends the Tracer. It may be called again.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	// A collector that is away is no failure of the server, and was logged.
	_ = t.provider.Shutdown(ctx)
	return nil
}

// Span is one piece of work. The zero Span records nothing.
type Span struct{ span trace.Span }

// Start begins a span below the one of ctx, if that has one.
func (t *Tracer) Start(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, Span{span}
}

// Call begins a span for a call of something outside, such as a function.
func (t *Tracer) Call(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	return ctx, Span{span}
}

// Receive begins the span of a request, below the caller's span if its
// headers, which get returns by name, carry one: W3C's traceparent, or AWS's
// X-Amzn-Trace-Id, which AWS's SDKs send from inside functions.
func (t *Tracer) Receive(ctx context.Context, name string, get func(string) string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	outer := propagation.TraceContext{}.Extract(ctx, getter(get))
	if caller := trace.SpanContextFromContext(outer); !caller.IsValid() {
		if caller, ok := parseXRay(get(XRayHeader)); ok {
			outer = trace.ContextWithRemoteSpanContext(ctx, caller)
		}
	}
	ctx, span := t.tracer.Start(outer, name, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{span}
}

// getter lets OpenTelemetry read headers.
type getter func(string) string

// Get returns a header's value, or "".
func (g getter) Get(key string) string { return g(key) }

// Set does nothing: headers are only read.
func (getter) Set(string, string) {}

// Keys names nothing: headers are only looked up.
func (getter) Keys() []string { return nil }

// Current is the span of ctx, for those who did not begin it.
func Current(ctx context.Context) Span {
	if span := trace.SpanFromContext(ctx); span.SpanContext().IsValid() {
		return Span{span}
	}
	return Span{}
}

// Name gives the span another name, once it is known what is done.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Set adds what is known of the work. Empty values are left out.
func (s Span) Set(key, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Count adds a number.
func (s Span) Count(key string, n int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, n))
	}
}

// Fail marks the span as failed, with the code of the error: its text may
// quote what does not belong here.
func (s Span) Fail(code string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("error.type", code))
		s.span.SetStatus(codes.Error, code)
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}
