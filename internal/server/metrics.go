package server

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what GET /metrics shows.
type metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	latency     *prometheus.HistogramVec
	rotations   *prometheus.CounterVec
	diagnoses   *prometheus.CounterVec
	invocations *prometheus.HistogramVec
	// known remembers the series of request by what it is called with.
	known sync.Map
}

// series are the metrics of requests with one outcome.
type series struct {
	requests prometheus.Counter
	latency  prometheus.Observer
}

type outcome struct{ service, operation, code string }

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyturn_requests_total", Help: "Requests by service, operation and AWS error code (empty for success).",
		}, []string{"service", "operation", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keyturn_request_seconds", Help: "Time from a request's header to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"service", "operation"}),
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyturn_rotations_total", Help: "Rotations by outcome: succeeded, failed, abandoned, cancelled; retried counts failed attempts.",
		}, []string{"outcome"}),
		diagnoses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyturn_diagnoses_total", Help: "Failed rotations by what the doctor made of them: found, nothing, failed, skipped because too many failed at once.",
		}, []string{"outcome"}),
		invocations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keyturn_invocation_seconds", Help: "Function invocations by outcome: ok, error, throttled, failed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.rotations, m.diagnoses, m.invocations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(service, operation, code string, took time.Duration) {
	of := outcome{service, operation, code}
	s, ok := m.known.Load(of)
	if !ok {
		s, _ = m.known.LoadOrStore(of, series{m.requests.WithLabelValues(service, operation, code), m.latency.WithLabelValues(service, operation)})
	}
	s.(series).requests.Inc()
	s.(series).latency.Observe(took.Seconds())
}

func (m *metrics) rotation(outcome string) { m.rotations.WithLabelValues(outcome).Inc() }

func (m *metrics) diagnosis(outcome string) { m.diagnoses.WithLabelValues(outcome).Inc() }

func (m *metrics) invocation(outcome string, took time.Duration) {
	m.invocations.WithLabelValues(outcome).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
