package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// XRayHeader is the header by which AWS's services and SDKs pass traces on,
// and whose value functions find in _X_AMZN_TRACE_ID (AWS docs).
const XRayHeader = "X-Amzn-Trace-Id"

// XRay returns the span of ctx as such a header, "" if there is none. A trace
// ID of W3C has 32 hexadecimal digits; X-Ray writes the first 8 apart (AWS
// docs).
func XRay(ctx context.Context) string {
	s := trace.SpanContextFromContext(ctx)
	if !s.IsValid() {
		return ""
	}
	id := s.TraceID().String()
	sampled := "0"
	if s.IsSampled() {
		sampled = "1"
	}
	return "Root=1-" + id[:8] + "-" + id[8:] + ";Parent=" + s.SpanID().String() + ";Sampled=" + sampled
}

// parseXRay reads such a header. One without a parent, as load balancers
// send, names no span.
func parseXRay(header string) (trace.SpanContext, bool) {
	var cfg trace.SpanContextConfig
	for part := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch name {
		case "Root":
			fields := strings.Split(value, "-")
			if len(fields) != 3 || fields[0] != "1" {
				return trace.SpanContext{}, false
			}
			cfg.TraceID, err = trace.TraceIDFromHex(fields[1] + fields[2])
		case "Parent":
			cfg.SpanID, err = trace.SpanIDFromHex(value)
		case "Sampled":
			if value == "1" {
				cfg.TraceFlags = trace.FlagsSampled
			}
		}
		if err != nil {
			return trace.SpanContext{}, false
		}
	}
	cfg.Remote = true
	s := trace.NewSpanContext(cfg)
	return s, s.IsValid()
}
