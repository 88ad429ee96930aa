package engine

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/keyturn/keyturn/internal/stack/record"
	"github.com/keyturn/keyturn/internal/stack/resource"
)

// suppose makes the part's state what a call that leads to want must take for
// what is there. Of a call that failed, or was cut short, nobody knows what it
// has changed: what differs between that and want counts as changed, the rest
// as it was before. So everything that may differ from want does.
func (p *part) suppose(want *record.Applied) {
	now, next := p.state.Now, p.state.Next
	if now == nil || next == nil {
		return
	}
	schema := resource.Schema(p.Type)
	if schema == nil {
		return
	}
	mixed := *now
	changed, _ := schema.Compare(next.Declared, want.Declared)
	mixed.Declared = mix(now.Declared, next.Declared, changed)
	if mixed.Resolved = nil; now.Resolved != nil || next.Resolved != nil || want.Resolved != nil {
		changed, _ = schema.Compare(next.Properties(), want.Properties())
		mixed.Resolved = mix(now.Properties(), next.Properties(), changed)
	}
	if !slices.Equal(next.Tags, want.Tags) {
		mixed.Tags = mixTags(now.Tags, next.Tags, want.Tags)
	}
	p.state.Now = &mixed
}

// mix is now with the names' values of next.
func mix[V any](now, next map[string]V, names []string) map[string]V {
	mixed := map[string]V{}
	maps.Copy(mixed, now)
	for _, name := range names {
		if v, ok := next[name]; ok {
			mixed[name] = v
		} else {
			delete(mixed, name)
		}
	}
	return mixed
}

func mixTags(now, next, want []record.Tag) []record.Tag {
	var changed []string
	before, after := tagMap(next), tagMap(want)
	for _, tag := range slices.Concat(next, want) {
		old, had := before[tag.Key]
		value, has := after[tag.Key]
		if had != has || old != value {
			changed = append(changed, tag.Key)
		}
	}
	values := mix(tagMap(now), before, changed)
	var list []record.Tag
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, record.Tag{Key: key, Value: values[key]})
	}
	return list
}

// takeBack gives the place of a part that could not be made back to the one
// from before the update, if that can become what is wanted where it stands.
// It returns nil if there is no such part.
func (d *driver) takeBack(work context.Context, failed *part, next *record.Applied) (*part, error) {
	kind := d.plan.template.Resources[failed.LogicalID].Type
	list := d.where(func(p *part) bool {
		if p.LogicalID != failed.LogicalID || p.Type != kind || p.Leaving != record.Superseded || p.Place == record.Created || p.Status.Gone() || p.state.Now == nil {
			return false
		}
		_, how := resource.Schema(p.Type).Compare(p.state.Now.Declared, next.Declared)
		return how != replacement
	})
	if len(list) == 0 {
		return nil, nil
	}
	back, gone := list[0].copy(), failed.copy()
	back.Leaving, gone.Leaving = record.Staying, record.Superseded
	return back, d.take(work, &step{save: []*part{gone, back}})
}

// restoring reports whether the call that ran on the part led back.
func (d *driver) restoring(p *part) bool {
	next, stable := p.state.Next, p.state.Stable
	return next != nil && stable != nil && same(next, stable) && equal(next.Declared, stable.Declared) &&
		reflect.DeepEqual(next.Resolved, stable.Resolved) && slices.Equal(next.Tags, stable.Tags)
}
