package rabbitmq

import (
	"context"
	"slices"

	"github.com/keyturn/keyturn/internal/rotator"
)

// permission is what a user may do in a vhost or, where it has an exchange,
// to which topics of the exchange. The parts are regular expressions.
type permission struct {
	Vhost     string  `json:"vhost"`
	Exchange  *string `json:"exchange,omitempty"`
	Configure *string `json:"configure,omitempty"`
	Write     string  `json:"write"`
	Read      string  `json:"read"`
}

// CopyGrants implements rotator.Session: the user to gets exactly the tags,
// limits, permissions and topic permissions of the other. Limits come before
// permissions and topics' rules before those of whole vhosts, so that nothing
// is allowed for a moment that shall not be.
func (s *session) CopyGrants(ctx context.Context, from rotator.Login, to string) error {
	for _, copy := range []func(context.Context, string, string) error{s.copyLimits, s.copyTopics, s.copyPermissions, s.copyTags} {
		if err := copy(ctx, from.Username, to); err != nil {
			return err
		}
	}
	return nil
}

// copyTags leaves the password as it is, by its hash.
func (s *session) copyTags(ctx context.Context, from, to string) error {
	source, err := s.user(ctx, from)
	if err != nil {
		return err
	}
	target, err := s.user(ctx, to)
	if err != nil {
		return err
	}
	target.Tags, target.Limits = source.Tags, nil
	return s.put(ctx, path("users", to), target)
}

func (s *session) copyLimits(ctx context.Context, from, to string) error {
	source, err := s.user(ctx, from)
	if err != nil {
		return err
	}
	target, err := s.user(ctx, to)
	if err != nil {
		return err
	}
	for name, value := range source.Limits {
		if err := s.put(ctx, path("user-limits", to, name), map[string]int{"value": value}); err != nil {
			return err
		}
	}
	for name := range target.Limits {
		if _, kept := source.Limits[name]; kept {
			continue
		}
		if err := s.remove(ctx, path("user-limits", to, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) copyPermissions(ctx context.Context, from, to string) error {
	return s.copyRules(ctx, "permissions", permission.sameVhost, from, to)
}

// copyTopics removes all rules of a vhost where there is one too many: no
// other way is known to all versions.
func (s *session) copyTopics(ctx context.Context, from, to string) error {
	return s.copyRules(ctx, "topic-permissions", permission.sameExchange, from, to)
}

// copyRules copies the permissions of a kind, after it has removed those for
// which the source has none of the same place.
func (s *session) copyRules(ctx context.Context, kind string, same func(p, q permission) bool, from, to string) error {
	source, err := s.permissions(ctx, from, kind)
	if err != nil {
		return err
	}
	target, err := s.permissions(ctx, to, kind)
	if err != nil {
		return err
	}
	for _, p := range target {
		if slices.ContainsFunc(source, func(q permission) bool { return same(p, q) }) {
			continue
		}
		if err := s.remove(ctx, path(kind, p.Vhost, to)); err != nil {
			return err
		}
	}
	return s.permit(ctx, kind, to, source)
}

func (p permission) sameVhost(q permission) bool { return p.Vhost == q.Vhost }

func (p permission) sameExchange(q permission) bool {
	return p.Vhost == q.Vhost && p.Exchange != nil && q.Exchange != nil && *p.Exchange == *q.Exchange
}

func (s *session) permissions(ctx context.Context, name, kind string) (all []permission, err error) {
	return all, s.management.call(ctx, "GET", path("users", name, kind), nil, &all)
}

func (s *session) permit(ctx context.Context, kind, to string, all []permission) error {
	for _, p := range all {
		if err := s.put(ctx, path(kind, p.Vhost, to), p); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes what may be gone already.
func (s *session) remove(ctx context.Context, path string) error {
	err := s.management.call(ctx, "DELETE", path, nil, nil)
	if causeOf(err) == rotator.CauseMissingUser {
		return nil
	}
	return err
}
