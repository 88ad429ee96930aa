package server

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/function/egress"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/network"
)

// A host that cannot hold functions is refused by name of what it lacks; one
// that holds them coarsely is told of.
func TestAdmitEnforcement(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	why := errors.New("setting a seccomp filter with notifications: operation not permitted")
	err := admitEnforcement(environment.NotHeld, why, logger)
	if err == nil || !strings.Contains(err.Error(), "--enforce-vpc cannot be kept on this host") || !strings.Contains(err.Error(), "operation not permitted") {
		t.Errorf("got %v", err)
	}
	if err := admitEnforcement(environment.HeldByPort, why, logger); err != nil || !strings.Contains(log.String(), "by TCP port only") {
		t.Errorf("got %v and the log %s", err, &log)
	}
	log.Reset()
	if err := admitEnforcement(environment.HeldByAddress, nil, logger); err != nil || log.Len() > 0 {
		t.Errorf("got %v and the log %s", err, &log)
	}
}

// The server's log says what held a connection back, once a minute.
func TestEnforcerSays(t *testing.T) {
	var log bytes.Buffer
	f := newTestEnforcer(slog.New(slog.NewTextHandler(&log, nil)))
	spec := environment.Spec{FunctionARN: "arn:aws:lambda:us-east-1:123456789012:function:f"}
	to := egress.Destination{Address: netip.MustParseAddr("10.0.0.9"), Port: 5432, Protocol: egress.TCP}
	report := network.Report{Verdict: network.Dropped, Hops: []network.Hop{{Text: "No egress rule of sg-1 lets TCP port 5432 out."}}}
	for range 3 {
		f.say(spec, to, report)
	}
	if n := strings.Count(log.String(), "No egress rule of sg-1 lets TCP port 5432 out."); n != 1 || !strings.Contains(log.String(), "to=10.0.0.9:5432") {
		t.Errorf("said %d times:\n%s", n, &log)
	}
	f.said[saidKey{spec.FunctionARN, to}] = time.Now().Add(-sayAgain)
	f.say(spec, to, report)
	if n := strings.Count(log.String(), "No egress rule"); n != 2 {
		t.Errorf("a minute later: said %d times", n)
	}
}

func newTestEnforcer(logger *slog.Logger) *enforcer {
	return &enforcer{logger: logger, said: map[saidKey]time.Time{}, names: map[string]resolvedName{}, doors: func() []doorPlace {
		return []doorPlace{
			{at: netip.MustParseAddrPort("127.0.0.1:4566"), service: "secretsmanager"},
			{at: netip.MustParseAddrPort("0.0.0.0:8443"), service: "secretsmanager"},
			{at: netip.MustParseAddrPort("127.0.0.1:9001"), endpoint: "vpce-1", vpc: "vpc-1"},
			{at: netip.MustParseAddrPort("127.0.0.1:9002"), endpoint: "vpce-2", vpc: "vpc-2"},
		}
	}}
}

// What the server's doors stand for.
func TestStandsFor(t *testing.T) {
	f := newTestEnforcer(slog.New(slog.DiscardHandler))
	s := &network.Snapshot{
		Account: "123456789012", Region: "us-east-1", VPCs: []*network.VPC{{Record: network.Record{ID: "vpc-1"}}},
		Endpoints: []*network.Endpoint{{
			Record: network.Record{ID: "vpce-1", VPCID: "vpc-1"}, Service: "com.amazonaws.us-east-1.secretsmanager", Type: network.Interfaced, Label: "abcd1234",
		}},
	}
	main := network.Destination{Service: "secretsmanager"}
	tests := []struct {
		to       string
		protocol egress.Protocol
		want     network.Destination
		ok       bool
	}{
		{"127.0.0.1:4566", egress.TCP, main, true},
		{"127.0.0.1:4566", egress.UDP, network.Destination{}, false},
		{"127.0.0.2:4566", egress.TCP, network.Destination{}, false},
		{"127.0.0.1:4567", egress.TCP, network.Destination{}, false},
		{"127.0.0.1:8443", egress.TCP, main, true},
		{"198.51.100.1:8443", egress.TCP, network.Destination{}, false},
		{"127.0.0.1:9001", egress.TCP, network.Destination{Service: "secretsmanager", Host: "vpce-1-abcd1234.secretsmanager.us-east-1.vpce.amazonaws.com"}, true},
		{"127.0.0.1:9002", egress.TCP, network.Destination{}, true},
	}
	for _, test := range tests {
		at := netip.MustParseAddrPort(test.to)
		got, ok := f.standsFor(s, egress.Destination{Address: at.Addr(), Port: at.Port(), Protocol: test.protocol})
		if got != test.want || ok != test.ok {
			t.Errorf("%s %s: got %v, %v, want %v, %v", test.protocol, test.to, got, ok, test.want, test.ok)
		}
	}
}
