package engine

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever the graph, each node is visited once, after all that it needs, and
// what needs a node that failed is not visited.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "nodes")
		nodes, needs, fails := make([]string, n), map[string][]string{}, map[string]bool{}
		for i := range nodes {
			nodes[i] = fmt.Sprint(i)
			for j := range i {
				if rapid.IntRange(0, 4).Draw(t, "edge") == 0 {
					needs[nodes[i]] = append(needs[nodes[i]], nodes[j])
				}
			}
			fails[nodes[i]] = rapid.IntRange(0, 9).Draw(t, "fails") == 0
		}
		needs["0"] = append(needs["0"], "somewhere else") // which is not to be visited, so nobody waits for it
		shuffled := rapid.Permutation(nodes).Draw(t, "order")
		var mu sync.Mutex
		visited := map[string]bool{}
		walk(shuffled, needs, func() bool { return false }, func(node string) bool {
			mu.Lock()
			defer mu.Unlock()
			if visited[node] {
				t.Errorf("%s is visited twice", node)
			}
			for _, need := range needs[node] {
				if slices.Contains(nodes, need) && (!visited[need] || fails[need]) {
					t.Errorf("%s is visited before %s", node, need)
				}
			}
			visited[node] = true
			return !fails[node]
		})
		var blocked func(node string) bool
		blocked = func(node string) bool {
			return slices.ContainsFunc(needs[node], func(need string) bool { return fails[need] || slices.Contains(nodes, need) && blocked(need) })
		}
		for _, node := range nodes {
			if visited[node] == blocked(node) {
				t.Errorf("%s: visited %t, blocked %t", node, visited[node], blocked(node))
			}
		}
	})
}

func TestWalkHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		halted := func() bool { return time.Since(began) > 5*time.Second }
		visits := 0
		needs := map[string][]string{"b": {"a"}, "c": {"b"}, "d": {"c"}}
		walk([]string{"a", "b", "c", "d"}, needs, halted, func(string) bool {
			visits++
			time.Sleep(3 * time.Second)
			return true
		})
		if visits != 2 {
			t.Errorf("got %d visits, want the two that had begun", visits)
		}
	})
}
