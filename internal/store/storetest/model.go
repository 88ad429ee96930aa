package storetest

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// testModel makes random changes to the store and to a plain map, and
// compares the two after each. Both backends are compared with the same
// map, and so with each other.
func testModel(t *testing.T, open Open) {
	s := open(t)
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("30"); err != nil { // enough for every pair of actions
			t.Fatal(err)
		}
	}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := &model{s: s, t: t, account: fmt.Sprintf("%012d", round), secrets: map[string]*secret.Secret{}}
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"create":  m.create,
			"change":  m.change,
			"put":     m.put,
			"label":   m.label,
			"strip":   m.strip,
			"remove":  m.remove,
			"touch":   m.touch,
			"failing": m.failing,
			"purge":   m.purge,
			"list":    m.list,
		})
	})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// model is what the store should hold of one account: secrets by name, with
// their sealed values.
type model struct {
	s       *store.Store
	t       *testing.T
	account string
	secrets map[string]*secret.Secret
	made    int
}

var modelNames = []string{"a", "a/b", "A", "a-b", "b", "b_AbCdEf"}

// drawn returns one of the stored secrets.
func (m *model) drawn(t *rapid.T) *secret.Secret {
	if len(m.secrets) == 0 {
		t.Skip("no secret")
	}
	return m.secrets[rapid.SampledFrom(slices.Sorted(maps.Keys(m.secrets))).Draw(t, "secret")]
}

// update runs fn, which must not fail.
func (m *model) update(t *rapid.T, fn func(tx *store.Tx) error) {
	if err := m.s.Update(m.t.Context(), fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// save stores a change of a secret that it reads anew, whole or in part.
func (m *model) save(t *rapid.T, want *secret.Secret, change func(*secret.Secret)) {
	partly := rapid.Bool().Draw(t, "partly")
	existing := versionIDs(want)
	versionID := rapid.SampledFrom(append([]string{""}, existing...)).Draw(t, "loaded")
	change(want)
	m.update(t, func(tx *store.Tx) error {
		ref := arn.SecretRef{Name: want.Name}
		before, err := tx.FindSecret(m.account, region, ref)
		if partly && err == nil {
			before, err = tx.FindLabelled(m.account, region, ref, versionID)
		}
		if err != nil {
			return err
		}
		// What was not loaded stays as it is.
		after := want.Clone()
		after.Versions = slices.DeleteFunc(after.Versions, func(v secret.Version) bool {
			return before.Version(v.ID) == nil && slices.Contains(existing, v.ID)
		})
		if err := tx.SaveSecret(before, unread(before, after)); err != nil {
			return err
		}
		want.Revision = after.Revision
		return nil
	})
}

// unread takes those values out of after that before has already: a record
// is read without them.
func unread(before, after *secret.Secret) *secret.Secret {
	for i := range after.Versions {
		if old := before.Version(after.Versions[i].ID); old != nil && old.HasValue {
			after.Versions[i].Sealed = nil
		}
	}
	return after
}

// versionIDs lists the IDs of the secret's versions.
func versionIDs(s *secret.Secret) (ids []string) {
	for i := range s.Versions {
		ids = append(ids, s.Versions[i].ID)
	}
	return ids
}

func (m *model) newVersion(t *rapid.T, labels ...string) secret.Version {
	m.made++
	v := version(fmt.Sprint("v", m.made), labels...)
	v.CreatedAt = noon0.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "at")) * time.Second)
	if rapid.Bool().Draw(t, "placeholder") {
		v.HasValue, v.Sealed = false, nil
	}
	return v
}

func (m *model) create(t *rapid.T) {
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	s := newSecret(name)
	m.made++
	s.ID, s.Account = fmt.Sprint(m.account, "/", m.made), m.account
	s.CreatedAt = noon0.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "created")) * time.Hour)
	s.Versions = nil
	if rapid.Bool().Draw(t, "with value") {
		s.Versions = []secret.Version{m.newVersion(t, secret.Current)}
	}
	stored := s.Clone()
	err := m.s.Update(m.t.Context(), func(tx *store.Tx) error { return tx.SaveSecret(nil, stored) })
	if _, taken := m.secrets[name]; taken {
		if !fault.Is(err, fault.Exists) {
			t.Fatalf("creating %s again: got error %v, want one of kind Exists", name, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("creating %s: %v", name, err)
	}
	s.Revision = 1
	m.secrets[name] = s
}

func (m *model) change(t *rapid.T) {
	s := m.drawn(t)
	days := time.Duration(rapid.IntRange(0, 2).Draw(t, "days")) * 24 * time.Hour
	before := s.Clone()
	m.save(t, s, func(s *secret.Secret) {
		switch rapid.SampledFrom([]string{"description", "tags", "dates", "due", "deleted"}).Draw(t, "member") {
		case "description":
			s.Description = rapid.StringMatching(`[a-zü ]{0,5}`).Draw(t, "description")
		case "tags":
			s.Tags = []secret.Tag{}
			for range rapid.IntRange(0, 2).Draw(t, "tags") {
				s.Tags = append(s.Tags, secret.Tag{Key: "k", Value: rapid.StringMatching(`.{0,3}`).Draw(t, "tag")})
			}
		case "dates":
			s.ChangedAt, s.Rotation.LastRotatedAt = noon0.Add(days), noon0.Add(days)
		case "due":
			s.Rotation.Configured, s.Rotation.DueAt = true, noon0.Add(days)
		case "deleted":
			if s.DeleteAt = (time.Time{}); days > 0 {
				s.DeleteAt = noon0.Add(days)
			}
		}
	})
	if want := before.Revision + bit(!gocmp.Equal(withoutRevision(before), withoutRevision(s))); s.Revision != want {
		t.Fatalf("got revision %d, want %d", s.Revision, want)
	}
}

func withoutRevision(s *secret.Secret) *secret.Secret {
	c := s.Clone()
	c.Revision = 0
	return c
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// attach moves labels to one version.
func attach(s *secret.Secret, id string, labels []string) {
	for i := range s.Versions {
		v := &s.Versions[i]
		v.Labels = slices.DeleteFunc(v.Labels, func(l string) bool { return slices.Contains(labels, l) })
		if v.ID == id {
			v.Labels = append(v.Labels, labels...)
			slices.Sort(v.Labels)
		}
	}
}

func drawnLabels(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{secret.Current, secret.Pending, secret.Previous, "x"}), 1, 3, rapid.ID).Draw(t, "labels")
}

func (m *model) put(t *rapid.T) {
	s := m.drawn(t)
	v, labels := m.newVersion(t), drawnLabels(t)
	m.save(t, s, func(s *secret.Secret) {
		s.Versions = append(s.Versions, v)
		attach(s, v.ID, labels)
	})
}

// label moves labels to a version, which may be deprecated.
func (m *model) label(t *rapid.T) {
	s := m.drawn(t)
	if len(s.Versions) == 0 {
		t.Skip("no version")
	}
	id, labels := rapid.SampledFrom(versionIDs(s)).Draw(t, "version"), drawnLabels(t)
	whole := s.Clone()
	m.update(t, func(tx *store.Tx) error {
		before, err := tx.FindLabelled(m.account, region, arn.SecretRef{Name: s.Name}, id)
		if err != nil {
			return err
		}
		after := before.Clone()
		attach(after, id, labels)
		if err := tx.SaveSecret(before, after); err != nil {
			return err
		}
		whole.Revision = after.Revision
		return nil
	})
	attach(whole, id, labels)
	m.secrets[s.Name] = whole
}

// strip takes every label of a version.
func (m *model) strip(t *rapid.T) {
	s := m.drawn(t)
	if len(s.Versions) == 0 {
		t.Skip("no version")
	}
	id := rapid.SampledFrom(versionIDs(s)).Draw(t, "version")
	m.whole(t, s, func(s *secret.Secret) { s.Version(id).Labels = nil })
}

// remove drops a version, labelled or not, or fills a placeholder.
func (m *model) remove(t *rapid.T) {
	s := m.drawn(t)
	if len(s.Versions) == 0 {
		t.Skip("no version")
	}
	id := rapid.SampledFrom(versionIDs(s)).Draw(t, "version")
	m.whole(t, s, func(s *secret.Secret) {
		if v := s.Version(id); !v.HasValue {
			v.HasValue, v.Sealed = true, []byte("filled "+id)
			return
		}
		s.Versions = slices.DeleteFunc(s.Versions, func(v secret.Version) bool { return v.ID == id })
	})
}

// whole stores a change of a secret that is loaded with all versions.
func (m *model) whole(t *rapid.T, s *secret.Secret, change func(*secret.Secret)) {
	change(s)
	m.update(t, func(tx *store.Tx) error {
		before, err := tx.SecretByID(s.ID)
		if err != nil {
			return err
		}
		after := unread(before, s.Clone())
		if err := tx.SaveSecret(before, after); err != nil {
			return err
		}
		s.Revision = after.Revision
		return nil
	})
}

func (m *model) touch(t *rapid.T) {
	s := m.drawn(t)
	day := day0.AddDate(0, 0, rapid.IntRange(0, 2).Draw(t, "day"))
	id := rapid.SampledFrom(append(versionIDs(s), "none")).Draw(t, "version")
	m.update(t, func(tx *store.Tx) error { return tx.TouchSecret(s.ID, id, day) })
	if s.AccessedOn.Before(day) {
		s.AccessedOn = day
	}
	if v := s.Version(id); v != nil && v.AccessedOn.Before(day) {
		v.AccessedOn = day
	}
}

// failing changes a secret in an update that fails.
func (m *model) failing(t *rapid.T) {
	s := m.drawn(t)
	err := m.s.Update(m.t.Context(), func(tx *store.Tx) error {
		before, err := tx.SecretByID(s.ID)
		if err != nil {
			return err
		}
		after := before.Clone()
		after.Description, after.Versions = "never stored", nil
		if err := tx.SaveSecret(before, after); err != nil {
			return err
		}
		if err := tx.DeleteSecret(s.ID); err != nil {
			return err
		}
		return errOnPurpose
	})
	if err != errOnPurpose {
		t.Fatalf("got error %v, want the function's own", err)
	}
}

func (m *model) purge(t *rapid.T) {
	s := m.drawn(t)
	m.update(t, func(tx *store.Tx) error { return tx.DeleteSecret(s.ID) })
	delete(m.secrets, s.Name)
}

// check compares every secret and every value.
func (m *model) check(t *rapid.T) {
	err := m.s.View(m.t.Context(), func(tx *store.Tx) error {
		for _, name := range modelNames {
			want, exists := m.secrets[name]
			got, err := tx.FindSecret(m.account, region, arn.SecretRef{Name: name})
			if !exists {
				if !fault.Is(err, fault.NotFound) {
					t.Fatalf("%s: got error %v, want one of kind NotFound", name, err)
				}
				continue
			}
			if err != nil {
				return err
			}
			if diff := gocmp.Diff(want, got, unsealed); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
			for i := range want.Versions {
				v := &want.Versions[i]
				sealed, err := tx.SealedValue(want.ID, v.ID)
				if v.HasValue == fault.Is(err, fault.NotFound) || string(sealed) != string(v.Sealed) {
					t.Fatalf("%s version %s: got value %q and error %v, want %q", name, v.ID, sealed, err, v.Sealed)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) list(t *rapid.T) {
	q := store.SecretQuery{
		Account: m.account, Region: region, Sort: store.SecretSort(rapid.IntRange(0, 3).Draw(t, "sort")),
		Descending: rapid.Bool().Draw(t, "descending"), Deleted: rapid.Bool().Draw(t, "deleted"),
		NamePrefix: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "prefix"), Limit: rapid.IntRange(1, 4).Draw(t, "limit"),
	}
	at := func(s *secret.Secret) time.Time {
		return []time.Time{s.CreatedAt, s.ChangedAt, s.AccessedOn, {}}[q.Sort]
	}
	var want []string
	for _, s := range slices.SortedFunc(maps.Values(m.secrets), func(a, b *secret.Secret) int {
		c := cmp.Or(at(a).Compare(at(b)), strings.Compare(a.Name, b.Name))
		if q.Descending {
			c = -c
		}
		return c
	}) {
		if (q.Deleted || !s.Deleted()) && strings.HasPrefix(s.Name, q.NamePrefix) {
			want = append(want, s.Name)
		}
	}
	if diff := gocmp.Diff(want, listAll(m.t, m.s, q)); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", q, diff)
	}
}
