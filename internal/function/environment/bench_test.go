//go:build linux

package environment

import (
	"context"
	"strconv"
	"testing"

	"github.com/google/uuid"
)

func benchmarkPool(b *testing.B) (*Pool, Spec) {
	b.Helper()
	p, err := New(Config{Dir: b.TempDir() + "/functions"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	b.Cleanup(func() { cancel(); <-done; removeTree(p.cfg.Dir) })
	return p, spec(b, py("return 1"), nil)
}

func benchmarkInvoke(b *testing.B, p *Pool, s Spec) {
	r, err := p.Invoke(b.Context(), s, free, Event{RequestID: uuid.NewString()})
	if err != nil || r.FunctionError != "" {
		b.Fatalf("%v %s", err, r.Payload)
	}
}

// BenchmarkWarm is one invocation of an idle Python function.
func BenchmarkWarm(b *testing.B) {
	p, s := benchmarkPool(b)
	benchmarkInvoke(b, p, s)
	for b.Loop() {
		benchmarkInvoke(b, p, s)
	}
}

// BenchmarkCold is one invocation that starts its environment.
func BenchmarkCold(b *testing.B) {
	p, s := benchmarkPool(b)
	benchmarkInvoke(b, p, s)
	n := 0
	for b.Loop() {
		n++
		s.RevisionID = strconv.Itoa(n)
		benchmarkInvoke(b, p, s)
	}
}
