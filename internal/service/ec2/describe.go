package ec2

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

// query is what requests that list objects have in common.
type query struct {
	ids     []string
	filters []api.Filter
	max     *int64
	next    *string
	dry     *bool
}

// fields returns an object's values for a filter, and whether there is a
// filter of the name.
type fields[T any] func(w *work, o T, name string) (values []string, known bool)

// describe lists objects of a kind by ID: those that the query names, or all
// that pass its filters.
func describe[T network.Object, O any](ctx context.Context, s *Service, call *wire.Call, kind network.Kind, q query,
	list func(*work) []T, of fields[T], show func(*work, T) O) (shown []O, next *string, err error) {
	err = s.view(ctx, call, q.dry, func(w *work) error {
		found := list(w)
		if err := w.exist(kind, idsOf(found), q.ids); err != nil {
			return err
		}
		part, err := choose(w, found, kind, q, of)
		if err != nil {
			return err
		}
		part, next, err = page(part, func(o T) string { return o.Base().ID }, q.max, q.next)
		shown = []O{}
		for _, o := range part {
			shown = append(shown, show(w, o))
		}
		return err
	})
	return shown, next, err
}

func idsOf[T network.Object](list []T) []string {
	ids := make([]string, len(list))
	for i, o := range list {
		ids[i] = o.Base().ID
	}
	return ids
}

// exist refuses IDs that name nothing.
func (w *work) exist(kind network.Kind, have, ids []string) error {
	var absent []string
	for _, id := range ids {
		if kind == network.KindGroup && !strings.HasPrefix(id, network.PrefixGroup+"-") {
			return fault.New(groupMalformed, `Invalid id: "%s" (expecting "sg-...")`, id)
		}
		if !slices.Contains(have, id) {
			absent = append(absent, id)
		}
	}
	if absent != nil {
		return missing(kind, absent...)
	}
	return nil
}

// choose returns the objects that the query selects.
func choose[T network.Object](w *work, list []T, kind network.Kind, q query, of fields[T]) ([]T, error) {
	var chosen []T
	for _, o := range list {
		if len(q.ids) > 0 && !slices.Contains(q.ids, o.Base().ID) {
			continue
		}
		ok, err := passes(q.filters, func(name string) ([]string, bool) {
			if values, known := common(w, o, name); known {
				return values, true
			}
			return of(w, o, name)
		})
		if err != nil {
			return nil, err
		}
		if ok {
			chosen = append(chosen, o)
		}
	}
	if len(list) == 0 { // names are checked even when there is nothing to filter
		_, err := passes(q.filters, func(name string) ([]string, bool) {
			o := network.NewObject(kind)
			if values, known := common(w, o, name); known {
				return values, true
			}
			t, ok := o.(T)
			if !ok {
				return nil, true
			}
			return of(w, t, name)
		})
		return nil, err
	}
	return chosen, nil
}

// common are the filters that all objects have.
func common(w *work, o network.Object, name string) ([]string, bool) {
	b := o.Base()
	switch name {
	case "owner-id":
		return []string{w.Account}, true
	case "vpc-id":
		return []string{b.VPCID}, o.Kind() != network.KindInternetGateway
	}
	return tagFields(b.Tags, name)
}

// tagFields are the filters about tags.
func tagFields(tags map[string]string, name string) ([]string, bool) {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if v, ok := tags[key]; ok {
			return []string{v}, true
		}
		return nil, true
	}
	var values []string
	for k, v := range tags {
		if name == "tag-key" {
			values = append(values, k)
		} else {
			values = append(values, v)
		}
	}
	return values, name == "tag-key" || name == "tag-value"
}

// passes applies filters: every one must have a value that matches one of the
// object's (AWS docs).
func passes(filters []api.Filter, of func(name string) ([]string, bool)) (bool, error) {
	all := true
	for _, f := range filters {
		if f.Name == nil {
			return false, fault.New(invalidValue, "The filter 'null' is invalid")
		}
		values, known := of(*f.Name)
		if !known {
			return false, fault.New(invalidValue, "The filter '%s' is invalid", *f.Name)
		}
		if len(f.Values) == 0 {
			return false, fault.New(invalidValue, "The filter '%s' must have at least one value", *f.Name) // text assumed
		}
		all = all && slices.ContainsFunc(f.Values, func(pattern string) bool {
			return slices.ContainsFunc(values, func(v string) bool { return matches(pattern, v) })
		})
	}
	return all, nil
}

// matches compares a filter's value: * stands for any characters, ? for one,
// and a backslash takes the meaning of the next (AWS docs). It takes at most
// time in the product of the lengths.
func matches(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			p, i = p+1, i+1
		case p+1 < len(pattern) && pattern[p] == '\\' && pattern[p+1] == s[i]:
			p, i = p+2, i+1
		case p < len(pattern) && pattern[p] != '\\' && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// maxPage is the largest page where a request does not say (AWS docs).
const maxPage = 1000

// page cuts a list, sorted by key, behind the token to the wanted size;
// without a size it is whole, as at AWS.
func page[T any](list []T, key func(T) string, size *int64, token *string) (part []T, next *string, err error) {
	if token != nil && *token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(*token)
		after, ok := strings.CutPrefix(string(raw), tokenMark)
		if err != nil || !ok {
			return nil, nil, fault.New(invalidToken, "The pagination token is invalid: %s", *token) // text assumed
		}
		list = slices.DeleteFunc(slices.Clone(list), func(x T) bool { return key(x) <= after })
	}
	if size == nil {
		return list, nil, nil
	}
	if *size < 1 {
		return nil, nil, invalid(*size, "maxResults", "Expecting a value greater than 0.")
	}
	most := int(min(*size, maxPage))
	if len(list) <= most {
		return list, nil, nil
	}
	return list[:most], new(base64.RawURLEncoding.EncodeToString([]byte(tokenMark + key(list[most-1])))), nil
}

// tokenMark begins every page token.
const tokenMark = "after:"

// text returns what an optional member holds, or "".
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// on returns what an optional switch says, off by default.
func on(b *bool) bool { return b != nil && *b }

// optional leaves an empty text out of an answer.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// one is a filter's only value.
func one(s string) ([]string, bool) { return []string{s}, true }

// truth is a filter's only value for a switch.
func truth(b bool) ([]string, bool) { return one(strconv.FormatBool(b)) }
