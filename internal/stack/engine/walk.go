package engine

import (
	"slices"
	"sync"
)

// atOnce bounds the calls that one operation makes at once.
const atOnce = 16

// walk visits every node after those of the nodes that it needs, many at
// once. What needs a node whose visit returned false is not visited. Once
// halted says true nothing more begins; walk returns when all that began has
// ended.
func walk(nodes []string, needs map[string][]string, halted func() bool, visit func(node string) bool) {
	w := &walker{
		nodes: nodes, needs: needs, halted: halted, visit: visit, slots: make(chan struct{}, atOnce),
		known: map[string]bool{}, begun: map[string]bool{}, done: map[string]bool{},
	}
	for _, n := range nodes {
		w.known[n] = true
	}
	w.begin()
	w.running.Wait()
}

type walker struct {
	nodes   []string
	needs   map[string][]string
	halted  func() bool
	visit   func(string) bool
	slots   chan struct{}
	running sync.WaitGroup

	mu                 sync.Mutex
	known, begun, done map[string]bool
}

// begin starts every node that has become ready.
func (w *walker) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if !w.begun[n] && w.ready(n) {
			w.begun[n] = true
			w.running.Go(func() { w.run(n) })
		}
	}
}

func (w *walker) ready(n string) bool {
	return !slices.ContainsFunc(w.needs[n], func(need string) bool { return w.known[need] && !w.done[need] })
}

func (w *walker) run(n string) {
	w.slots <- struct{}{}
	ok := !w.halted() && w.visit(n)
	<-w.slots
	if !ok {
		return
	}
	w.mu.Lock()
	w.done[n] = true
	w.mu.Unlock()
	w.begin()
}
