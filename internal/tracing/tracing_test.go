package tracing

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// What the environment says, and what comes of it.
func TestConfigured(t *testing.T) {
	all := []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"}
	for _, c := range []struct {
		env  string
		want bool
		text string
	}{
		{"", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces", true, ""},
		{"OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", false, ""},
		{"OTEL_SDK_DISABLED=true OTEL_TRACES_EXPORTER=otlp", false, ""},
		{"OTEL_TRACES_EXPORTER=zipkin", false, "zipkin"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, "http/protobuf"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", true, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, ""}, // nobody asked for traces
	} {
		for _, name := range all {
			t.Setenv(name, "")
		}
		for _, assignment := range strings.Fields(c.env) {
			name, value, _ := strings.Cut(assignment, "=")
			t.Setenv(name, value)
		}
		got, err := Configured()
		if got != c.want || (err != nil) != (c.text != "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, %v; want %v, %q", c.env, got, err, c.want, c.text)
		}
	}
}

// Without a collector there is no tracer, and nothing is done or allocated.
func TestOff(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true")
	tracer, err := New(t.Context(), "1", slog.New(slog.DiscardHandler))
	if tracer != nil || err != nil {
		t.Fatalf("got %v, %v", tracer, err)
	}
	ctx := context.Background()
	header := func(string) string { return "" }
	if n := testing.AllocsPerRun(100, func() {
		inner, span := tracer.Receive(ctx, "x", header)
		_, call := tracer.Call(inner, "y")
		call.Fail("z")
		call.End()
		span.Set("a", "b")
		span.End()
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func TestXRay(t *testing.T) {
	t.Parallel()
	const header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	s, ok := parseXRay(header)
	if !ok || s.TraceID().String() != "5759e988bd862e3fe1be46a994272793" || s.SpanID().String() != "53995c3f42cd8ad8" || !s.IsSampled() {
		t.Fatalf("got %+v, %v", s, ok)
	}
	if got := XRay(trace.ContextWithSpanContext(t.Context(), s)); got != header {
		t.Errorf("got %s, want %s", got, header)
	}
	if got := XRay(t.Context()); got != "" {
		t.Errorf("without a span: got %s", got)
	}
	for _, wrong := range []string{
		"", "Root=1-5759e988-bd862e3fe1be46a994272793", "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
		"Root=1-5759e988;Parent=53995c3f42cd8ad8", "Root=1-5759e988-xx862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
		"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=short", "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8",
	} {
		if s, ok := parseXRay(wrong); ok {
			t.Errorf("%q: got %+v", wrong, s)
		}
	}
}

func FuzzXRay(f *testing.F) {
	f.Add("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Self=1-1-1")
	f.Fuzz(func(t *testing.T, header string) {
		if s, ok := parseXRay(header); ok {
			again, ok := parseXRay(XRay(trace.ContextWithSpanContext(context.Background(), s)))
			if !ok || !again.Equal(s) {
				t.Errorf("%q: got %+v, then %+v", header, s, again)
			}
		}
	})
}
