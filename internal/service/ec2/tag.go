package ec2

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

// Limits of tags (AWS docs).
const (
	maxTags     = 50
	maxTagKey   = 127
	maxTagValue = 255
)

func (s *Service) tagOps() []wire.Op {
	return []wire.Op{
		wire.Handle("CreateTags", s.CreateTags),
		wire.Handle("DeleteTags", s.DeleteTags),
		wire.Handle("DescribeTags", s.DescribeTags),
	}
}

// addTags returns the tags with those of a request.
func (w *work) addTags(tags map[string]string, add []api.Tag) (map[string]string, error) {
	merged := maps.Clone(tags)
	if merged == nil {
		merged = map[string]string{}
	}
	seen := map[string]bool{}
	for _, t := range add {
		k, v := text(t.Key), text(t.Value)
		switch {
		case strings.HasPrefix(strings.ToLower(k), "aws:") && w.call.By == "":
			return nil, fault.New(invalidValue, "Tag keys starting with 'aws:' are reserved for internal use")
		case k == "" || utf8.RuneCountInString(k) > maxTagKey:
			return nil, fault.New(invalidValue, "Tag key exceeds the maximum length of %d characters", maxTagKey)
		case utf8.RuneCountInString(v) > maxTagValue:
			return nil, fault.New(invalidValue, "Tag value exceeds the maximum length of %d characters", maxTagValue)
		case seen[k]:
			return nil, fault.New(invalidValue, "Duplicate tag key '%s' specified.", k)
		}
		seen[k] = true
		merged[k] = v
	}
	users := 0
	for k := range merged {
		if !strings.HasPrefix(k, "aws:") {
			users++
		}
	}
	if users > maxTags {
		return nil, fault.New(tooManyTags, "Tag limit exceeded for the resource. The maximum is %d.", maxTags)
	}
	if len(merged) == 0 {
		return nil, nil
	}
	return merged, nil
}

// newTags returns the tags that a request gives to something new of the
// kind.
func (w *work) newTags(kind network.Kind, specs []api.TagSpecification) (map[string]string, error) {
	var tags map[string]string
	for _, spec := range specs {
		if t := text(spec.ResourceType); t != string(kind) {
			return nil, fault.New(invalidValue, "'%s' is not a valid taggable resource type for this operation.", t)
		}
		var err error
		if tags, err = w.addTags(tags, spec.Tags); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// shownTags lists tags by key.
func shownTags(tags map[string]string) []api.Tag {
	list := []api.Tag{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, api.Tag{Key: &k, Value: new(tags[k])})
	}
	return list
}

// tagged is something with tags: an object, or a rule of a security group.
type tagged struct {
	kind   network.Kind
	id     string
	object network.Object
	tags   *map[string]string
}

// everything lists all that has tags, or could have.
func (w *work) everything() []tagged {
	var all []tagged
	for _, o := range w.Objects() {
		all = append(all, tagged{o.Kind(), o.Base().ID, o, &o.Base().Tags})
	}
	for _, g := range w.Groups {
		for i := range g.Rules {
			all = append(all, tagged{network.KindRule, g.Rules[i].ID, g, &g.Rules[i].Tags})
		}
	}
	return all
}

// named finds what a request to change tags names, authorised for the call.
func (w *work) named(ids []string) ([]tagged, error) {
	all := w.everything()
	var list []tagged
	for _, id := range ids {
		kind := network.KindOf(id)
		if kind == "" {
			return nil, fault.New(invalidID, "The ID '%s' is not valid", id)
		}
		i := slices.IndexFunc(all, func(t tagged) bool { return t.id == id })
		if i < 0 {
			if err := w.allow(kind, id, nil); err != nil {
				return nil, err
			}
			return nil, missing(kind, id)
		}
		if err := w.allow(kind, id, all[i].object); err != nil {
			return nil, err
		}
		list = append(list, all[i])
	}
	return list, nil
}

// CreateTags sets tags of up to any number of objects, all or none.
func (s *Service) CreateTags(ctx context.Context, call *wire.Call, in *api.CreateTagsRequest) (*api.CreateTagsResponse, error) {
	out := &api.CreateTagsResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		list, err := w.named(in.Resources)
		if err != nil {
			return err
		}
		for _, t := range list {
			if *t.tags, err = w.addTags(*t.tags, in.Tags); err != nil {
				return err
			}
			w.save(t.object)
		}
		return nil
	})
}

// DeleteTags removes tags: those named, if a value is given only where they
// have it, or all of the user's.
func (s *Service) DeleteTags(ctx context.Context, call *wire.Call, in *api.DeleteTagsRequest) (*api.DeleteTagsResponse, error) {
	out := &api.DeleteTagsResponse{}
	return out, s.change(ctx, call, in.DryRun, out, func(w *work) error {
		list, err := w.named(in.Resources)
		if err != nil {
			return err
		}
		for _, d := range in.Tags {
			if strings.HasPrefix(strings.ToLower(text(d.Key)), "aws:") && call.By == "" {
				return fault.New(invalidValue, "Tag keys starting with 'aws:' are reserved for internal use")
			}
		}
		for _, t := range list {
			maps.DeleteFunc(*t.tags, func(k, v string) bool {
				if len(in.Tags) == 0 {
					return !strings.HasPrefix(k, "aws:")
				}
				return slices.ContainsFunc(in.Tags, func(d api.Tag) bool { return text(d.Key) == k && (d.Value == nil || *d.Value == v) })
			})
			w.save(t.object)
		}
		return nil
	})
}

// DescribeTags lists tags by resource and key.
func (s *Service) DescribeTags(ctx context.Context, call *wire.Call, in *api.DescribeTagsRequest) (*api.DescribeTagsResult, error) {
	out := &api.DescribeTagsResult{}
	return out, s.view(ctx, call, in.DryRun, func(w *work) error {
		list := []api.TagDescription{}
		for _, t := range w.everything() {
			for k, v := range *t.tags {
				list = append(list, api.TagDescription{Key: &k, Value: &v, ResourceId: &t.id, ResourceType: new(string(t.kind))})
			}
		}
		key := func(d api.TagDescription) string { return *d.ResourceId + " " + *d.Key }
		slices.SortFunc(list, func(a, b api.TagDescription) int { return strings.Compare(key(a), key(b)) })
		// Without tags the names of filters are checked all the same.
		if _, err := passes(in.Filters, func(name string) ([]string, bool) { return tagDescription(&api.TagDescription{}, name) }); err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(d api.TagDescription) bool {
			ok, _ := passes(in.Filters, func(name string) ([]string, bool) { return tagDescription(&d, name) })
			return !ok
		})
		var err error
		out.Tags, out.NextToken, err = page(list, key, in.MaxResults, in.NextToken)
		return err
	})
}

// tagDescription are the filters of DescribeTags (AWS docs).
func tagDescription(d *api.TagDescription, name string) ([]string, bool) {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if key == text(d.Key) {
			return one(text(d.Value))
		}
		return nil, true
	}
	v, ok := map[string]*string{"key": d.Key, "value": d.Value, "resource-id": d.ResourceId, "resource-type": d.ResourceType}[name]
	return []string{text(v)}, ok
}
