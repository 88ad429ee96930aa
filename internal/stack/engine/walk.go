package engine

import (
	"slices"
	"sync"
)

// atOnce bounds the calls that one operation makes at once.
const atOnce = 16

// walk visits every node after those that it needs, many at once. A visit
// that returns false, and halted once it says true, let nothing more begin;
// walk returns when all that began has ended.
func walk(nodes []string, needs map[string][]string, halted func() bool, visit func(node string) bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	done, begun := map[string]bool{}, map[string]bool{}
	slots := make(chan struct{}, atOnce)
	failed := false
	var start func()
	ready := func(n string) bool {
		return !begun[n] && !slices.ContainsFunc(needs[n], func(need string) bool { return slices.Contains(nodes, need) && !done[need] })
	}
	start = func() { // holds mu
		for _, n := range nodes {
			if failed || !ready(n) {
				continue
			}
			begun[n] = true
			wg.Go(func() {
				slots <- struct{}{}
				ok := true
				mu.Lock()
				go_ := !failed && !halted()
				mu.Unlock()
				if go_ {
					ok = visit(n)
				}
				<-slots
				mu.Lock()
				defer mu.Unlock()
				if !ok || !go_ {
					failed = true
					return
				}
				done[n] = true
				start()
			})
		}
	}
	mu.Lock()
	start()
	mu.Unlock()
	wg.Wait()
}
