package stack

import (
	"maps"
	"slices"
	"strings"
)

// Graph says for each resource, by logical ID, those that must exist before
// it. The lists are sorted.
type Graph map[string][]string

// Graph returns what the resources that exist under the conditions depend
// on, by Ref, Fn::GetAtt, Fn::Sub and DependsOn; of a Fn::If the chosen
// branch alone counts. With nil conditions all resources and branches count.
// It refuses a circle, and a reference to a resource that a condition leaves
// out.
func (t *Template) Graph(conditions map[string]bool) (Graph, error) {
	ids := t.ids
	if conditions != nil {
		ids = t.Active(conditions)
	}
	g := Graph{}
	for _, id := range ids {
		g[id] = nil
	}
	for _, id := range ids {
		r := t.Resources[id]
		needed := map[string]bool{}
		for _, other := range r.DependsOn {
			needed[other] = true
		}
		for ref := range references([]any{r.Properties, r.Metadata, r.CreationPolicy, r.UpdatePolicy}, conditions) {
			if t.missing(ref.Name, conditions) {
				return nil, errDependency([]string{ref.Name}, "Resources")
			}
			needed[ref.Name] = true
		}
		for _, other := range slices.Sorted(maps.Keys(needed)) {
			if _, exists := g[other]; exists {
				g[id] = append(g[id], other)
			}
		}
	}
	for _, o := range t.ActiveOutputs(conditions) {
		for ref := range references([]any{o.Value, o.Export}, conditions) {
			if t.missing(ref.Name, conditions) {
				return nil, errDependency([]string{ref.Name}, "Outputs")
			}
		}
	}
	if circle := g.circle(); len(circle) > 0 {
		return nil, invalid("Circular dependency between resources: [%s]", strings.Join(circle, ", "))
	}
	return g, nil
}

// missing reports whether a name is that of a resource which the conditions
// leave out.
func (t *Template) missing(name string, conditions map[string]bool) bool {
	r, ok := t.Resources[name]
	return ok && conditions != nil && r.Condition != "" && !conditions[r.Condition]
}

// Order returns the resources so that each stands after those it depends on,
// and else by name. The graph has no circle.
func (g Graph) Order() []string {
	order := make([]string, 0, len(g))
	done := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		if done[id] {
			return
		}
		done[id] = true
		for _, other := range g[id] {
			visit(other)
		}
		order = append(order, id)
	}
	for _, id := range slices.Sorted(maps.Keys(g)) {
		visit(id)
	}
	return order
}

// Reverse says for each resource those that depend on it: the order of
// deletion.
func (g Graph) Reverse() Graph {
	back := Graph{}
	for id := range g {
		back[id] = nil
	}
	for _, id := range slices.Sorted(maps.Keys(g)) {
		for _, other := range g[id] {
			back[other] = append(back[other], id)
		}
	}
	return back
}

// circle returns, sorted, the resources that stand on a circle.
func (g Graph) circle() []string {
	left := maps.Clone(g)
	trim := func(next Graph) {
		for again := true; again; {
			again = false
			for id := range left {
				if !slices.ContainsFunc(next[id], func(other string) bool { _, ok := left[other]; return ok }) {
					delete(left, id)
					again = true
				}
			}
		}
	}
	trim(g)
	trim(g.Reverse())
	return slices.Sorted(maps.Keys(left))
}
