package secretsmanager

import (
	"context"
	"slices"
	"time"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// ListSecrets lists the secrets of the account in the region, by creation
// unless told otherwise.
func (s *Service) ListSecrets(ctx context.Context, call *wire.Call, in *api.ListSecretsRequest) (*api.ListSecretsResponse, error) {
	if err := s.Guard.Action(call, ""); err != nil {
		return nil, err
	}
	l, err := s.newListing(call, "ListSecrets", listParameters{
		deleted: given(in.IncludePlannedDeletion), by: given(in.SortBy), order: given(in.SortOrder), filters: in.Filters,
	}, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListSecretsResponse{}
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		found, next, err := l.page(tx, pageSize(in.MaxResults, maxPage))
		out.SecretList = make([]api.SecretListEntry, len(found))
		for i, sec := range found {
			out.SecretList[i] = listed(sec)
		}
		out.NextToken = next
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// listParameters are what every page of one listing has in common.
type listParameters struct {
	deleted bool
	// by and order are as the request spells them; "" is the default.
	by, order string
	filters   []api.Filter
}

// listing walks the secrets that match the filters.
type listing struct {
	query   store.SecretQuery
	matcher secret.Matcher
	pager   pager
}

var sorts = map[string]store.SecretSort{
	"":                             store.ByCreated,
	api.SortByTypeCreatedDate:      store.ByCreated,
	api.SortByTypeLastChangedDate:  store.ByChanged,
	api.SortByTypeLastAccessedDate: store.ByAccess,
	api.SortByTypeName:             store.ByName,
}

// newListing checks the filters and the token, which was given for the same
// operation and parameters.
func (s *Service) newListing(call *wire.Call, operation string, p listParameters, token *string) (*listing, error) {
	matcher, err := secret.ParseFilters(filtersIn(p.filters))
	if err != nil {
		return nil, err
	}
	pager, err := s.newPager(call, operation, p.deleted, p.by, p.order, p.filters)
	if err != nil {
		return nil, err
	}
	l := &listing{matcher: matcher, pager: pager, query: store.SecretQuery{
		Account: call.Principal.Account, Region: call.Region, Deleted: p.deleted,
		Sort: sorts[p.by], Descending: p.order == api.SortOrderTypeDesc,
	}}
	l.query.NamePrefix, _ = matcher.NamePrefix()
	return l, pager.read(token, &l.query.After)
}

func filtersIn(filters []api.Filter) []secret.Filter {
	in := make([]secret.Filter, len(filters))
	for i, f := range filters {
		in[i] = secret.Filter{Key: secret.FilterKey(given(f.Key)), Values: f.Values}
	}
	return in
}

// maxScanned bounds how many secrets one page looks at: a page may be short,
// or empty, and still have a successor (AWS docs).
const maxScanned = 2000

// page returns the next secrets that match, up to size, and the token of the
// page after it.
func (l *listing) page(tx *store.Tx, size int) (found []*secret.Secret, next *string, err error) {
	q := l.query
	q.Limit = size
	for scanned := 0; scanned < maxScanned; scanned += q.Limit {
		list, cursor, err := tx.ListSecrets(q)
		if err != nil {
			return nil, nil, err
		}
		for i, sec := range list {
			if !l.matcher.Match(sec) {
				continue
			}
			found = append(found, sec)
			if len(found) == size && (i+1 < len(list) || !cursor.IsZero()) {
				next, err = l.pager.token(cursorAt(q.Sort, sec))
				return found, next, err
			}
		}
		if cursor.IsZero() {
			return found, nil, nil
		}
		q.After, q.Limit = cursor, max(size, maxPage)
	}
	next, err = l.pager.token(q.After)
	return found, next, err
}

// cursorAt is the place of a secret in a listing.
func cursorAt(by store.SecretSort, sec *secret.Secret) store.SecretCursor {
	var at time.Time
	switch by {
	case store.ByCreated:
		at = sec.CreatedAt
	case store.ByChanged:
		at = sec.ChangedAt
	case store.ByAccess:
		at = sec.AccessedOn
	}
	c := store.SecretCursor{Name: sec.Name}
	if !at.IsZero() {
		c.At = at.UnixMicro()
	}
	return c
}

// versionPlace is the last version of a page.
type versionPlace struct {
	ID string
	At time.Time
}

// ListSecretVersionIds lists the versions of a secret, the oldest first, also
// while it is scheduled for deletion.
func (s *Service) ListSecretVersionIds(ctx context.Context, call *wire.Call, in *api.ListSecretVersionIdsRequest) (*api.ListSecretVersionIdsResponse, error) {
	var out *api.ListSecretVersionIdsResponse
	deprecated := given(in.IncludeDeprecated)
	err := s.view(ctx, call, target{id: *in.SecretId, use: secret.Inspect, whole: deprecated || in.NextToken != nil}, func(tx *store.Tx, sec *secret.Secret) error {
		pager, err := s.newPager(call, "ListSecretVersionIds", sec.ID, deprecated)
		if err != nil {
			return err
		}
		var after versionPlace
		if err := pager.read(in.NextToken, &after); err != nil {
			return err
		}
		byDefault, err := defaultKey(tx, sec)
		if err != nil {
			return err
		}
		out = &api.ListSecretVersionIdsResponse{ARN: new(sec.ARN()), Name: &sec.Name, Versions: []api.SecretVersionsListEntry{}}
		rest := versionsAfter(sec.Versions, after)
		if !deprecated {
			rest = slices.DeleteFunc(rest, func(v secret.Version) bool { return len(v.Labels) == 0 })
		}
		if size := pageSize(in.MaxResults, maxPage); len(rest) > size {
			last := rest[size-1]
			if out.NextToken, err = pager.token(versionPlace{last.ID, last.CreatedAt}); err != nil {
				return err
			}
			rest = rest[:size]
		}
		for i := range rest {
			out.Versions = append(out.Versions, versionOut(&rest[i], byDefault))
		}
		return nil
	})
	return out, err
}

// versionsAfter returns what follows the place, also when the version there
// was purged meanwhile. versions are all of the secret's, but for the first
// page.
func versionsAfter(versions []secret.Version, place versionPlace) []secret.Version {
	if place.ID == "" {
		return versions
	}
	for i := range versions {
		if versions[i].ID == place.ID {
			return versions[i+1:]
		}
	}
	for i := range versions {
		if versions[i].CreatedAt.After(place.At) {
			return versions[i:]
		}
	}
	return nil
}

// defaultKey returns the ARN of the default key of the secret's region; ""
// when there is none yet.
func defaultKey(tx *store.Tx, sec *secret.Secret) (string, error) {
	alias, err := tx.Alias(sec.Account, sec.Region, key.DefaultAlias)
	switch {
	case err == nil:
		return (&key.Record{ID: alias.KeyID, Account: alias.Account, Region: alias.Region}).ARN(), nil
	case notFound(err):
		return "", nil
	}
	return "", err
}

// versionOut is a version as an entry of the list. A rotation's empty version
// was sealed with no key.
func versionOut(v *secret.Version, defaultARN string) api.SecretVersionsListEntry {
	e := api.SecretVersionsListEntry{
		VersionId: &v.ID, VersionStages: v.Labels, LastAccessedDate: date(v.AccessedOn), CreatedDate: &v.CreatedAt,
	}
	switch v.KeyARN {
	case "":
	case defaultARN:
		e.KmsKeyIds = []string{"DefaultEncryptionKey"}
	default:
		e.KmsKeyIds = []string{v.KeyARN}
	}
	return e
}
