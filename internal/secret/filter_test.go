package secret

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
)

// names of the secrets that the filters match, in order.
func matching(t *testing.T, secrets []*Secret, filters ...Filter) []string {
	t.Helper()
	m, err := ParseFilters(filters)
	if err != nil {
		t.Fatalf("ParseFilters(%v): %v", filters, err)
	}
	prefix, _ := m.NamePrefix()
	names := []string{}
	for _, s := range secrets {
		if !m.Match(s) {
			continue
		}
		if !strings.HasPrefix(s.Name, prefix) {
			t.Errorf("%s matches %v but does not have the prefix %q", s.Name, filters, prefix)
		}
		names = append(names, s.Name)
	}
	return names
}

func described(pairs ...string) []*Secret {
	var out []*Secret
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &Secret{Name: pairs[i], Description: pairs[i+1]})
	}
	return out
}

func by(key FilterKey, values ...string) Filter { return Filter{key, values} }

func TestFilterByName(t *testing.T) {
	secrets := described("testing1/one-1", "", "/testing2/two-2", "", "testing3/three-3", "", "/testing4/four-4", "")
	for _, tc := range []struct {
		filter Filter
		want   []string
	}{
		{by(ByName, "/"), []string{"/testing2/two-2", "/testing4/four-4"}},
		{by(ByName, "!/"), []string{"testing1/one-1", "testing3/three-3"}},
		{by(ByName, "testing1 one"), []string{}},
		{by(ByName, "Testing1"), []string{}},
		{by(ByName, "testing1", "/testing4"), []string{"testing1/one-1", "/testing4/four-4"}},
		{by(ByName, "!t", "testing3"), []string{"/testing2/two-2", "testing3/three-3", "/testing4/four-4"}},
	} {
		if diff := cmp.Diff(tc.want, matching(t, secrets, tc.filter)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.filter, diff)
		}
	}
}

func TestFilterByDescription(t *testing.T) {
	first := described("1", "a secret", "2", "an secret", "3", "asecret", "4", "thesecret")
	second := described("foo", "one two", "bar", "one and two", "baz", "one", "qux", "two", "none", "unrelated")
	third := described("foo", "one two", "bar", "one", "baz", "two", "qux", "unrelated")
	guide := described("1", "my description", "2", "my basic description", "3", "Description of my secret", "4", "description")
	for _, tc := range []struct {
		secrets []*Secret
		filters []Filter
		want    []string
	}{
		{first, []Filter{by(ByDescription, "a")}, []string{"1", "2", "3"}},
		{first, []Filter{by(ByDescription, "!a")}, []string{"4"}},
		{first, []Filter{by(ByDescription, "a secret")}, []string{"1", "2"}},
		{first, []Filter{by(ByDescription, "!c")}, []string{"1", "2", "3", "4"}},
		{first, []Filter{by(ByDescription, "a"), by(ByName, "secret")}, []string{}},
		{second, []Filter{by(ByDescription, "one two")}, []string{"foo", "bar"}},
		{second, []Filter{by(ByDescription, "o t")}, []string{"foo", "bar"}},
		{second, []Filter{by(ByDescription, "t")}, []string{"foo", "bar", "qux"}},
		{third, []Filter{by(ByDescription, "one"), by(ByDescription, "two")}, []string{"foo"}},
		{third, []Filter{by(ByDescription, "one", "two")}, []string{"foo", "bar", "baz"}},
		{guide, []Filter{by(ByDescription, "My Description")}, []string{"1", "2", "3"}},
	} {
		if diff := cmp.Diff(tc.want, matching(t, tc.secrets, tc.filters...)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.filters, diff)
		}
	}
}

func TestFilterByAll(t *testing.T) {
	secrets := []*Secret{
		{Name: "SecretOne"},
		{Name: "SecretTwo", Description: "DescTwo"},
		{Name: "Thirdsecret"},
		{Name: "SecretFTag", Tags: []Tag{{"1", "foo"}}},
		{Name: "SecretFValue", Tags: []Tag{{"foo", "v"}}},
	}
	most := []string{"SecretOne", "SecretTwo", "SecretFTag", "SecretFValue"}
	for _, tc := range []struct {
		values, want []string
	}{
		{[]string{"SecretOne"}, []string{"SecretOne"}},
		{[]string{"foo"}, []string{"SecretFTag", "SecretFValue"}},
		{[]string{"Secret"}, most},
		{[]string{"secret"}, most},
		{[]string{"sec"}, most},
		{[]string{"ret"}, []string{}},
		{[]string{"SomeSecret"}, []string{}},
		{[]string{"d"}, []string{"SecretTwo"}},
		{[]string{"d t"}, []string{"SecretTwo"}},
		{[]string{"t"}, []string{"SecretTwo", "Thirdsecret", "SecretFTag"}},
		{[]string{"!sec"}, []string{"Thirdsecret"}},
	} {
		if diff := cmp.Diff(tc.want, matching(t, secrets, by(ByAll, tc.values...))); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.values, diff)
		}
	}
}

func TestFilterWords(t *testing.T) {
	var secrets []*Secret
	var prods []string
	for _, sep := range "/_+=.@-" {
		name := strings.ReplaceAll("prod/AppBeta/u", "/", string(sep))
		secrets = append(secrets, &Secret{Name: name})
		prods = append(prods, name)
	}
	secrets = append(secrets, &Secret{Name: "uat/COMPANY/u"}, &Secret{Name: "uat/COMPANYthings/u"})
	for _, tc := range []struct {
		values, want []string
	}{
		{[]string{"AppBeta"}, prods},
		{[]string{"Beta"}, prods},
		{[]string{"AppBeta", "prod"}, prods},
		{[]string{"+"}, []string{}},
		{[]string{"company"}, []string{"uat/COMPANY/u"}},
		{[]string{"things"}, []string{}},
		{[]string{"N"}, []string{}},
		{[]string{"pany"}, []string{}},
		{[]string{"Ythings"}, []string{"uat/COMPANYthings/u"}},
	} {
		if diff := cmp.Diff(tc.want, matching(t, secrets, by(ByAll, tc.values...))); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.values, diff)
		}
	}
}

func TestFilterOtherKeys(t *testing.T) {
	secrets := []*Secret{
		{Name: "a", Tags: []Tag{{"Team", "blue"}, {"stage", "prod"}}},
		{Name: "b", Tags: []Tag{{"stage", "Prod"}}, PrimaryRegion: "eu-west-1"},
		{Name: "c", OwningService: "rds"},
	}
	for _, tc := range []struct {
		filter Filter
		want   []string
	}{
		{by(ByTagKey, "st"), []string{"a", "b"}},
		{by(ByTagKey, "team"), []string{}},
		{by(ByTagKey, "!Team"), []string{"b", "c"}},
		{by(ByTagValue, "prod"), []string{"a"}},
		{by(ByPrimaryRegion, "eu-"), []string{"b"}},
		{by(ByOwningService, "RD"), []string{"c"}},
		{by(ByAll, "rds"), []string{"c"}},
	} {
		if diff := cmp.Diff(tc.want, matching(t, secrets, tc.filter)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.filter, diff)
		}
	}
}

func TestParseFiltersErrors(t *testing.T) {
	_, err := ParseFilters([]Filter{by("colour", "red")})
	wantFault(t, err, fault.Parameter, "Invalid filter key")
	_, err = ParseFilters([]Filter{{Key: ByName}})
	wantFault(t, err, fault.Parameter, "Invalid filter values for key: name")
	var none Matcher
	if !none.Match(newSecret()) {
		t.Error("the zero Matcher does not match")
	}
}

func TestNamePrefix(t *testing.T) {
	for _, tc := range []struct {
		filters []Filter
		want    string
	}{
		{nil, ""},
		{[]Filter{by(ByName, "app/")}, "app/"},
		{[]Filter{by(ByName, "app/a", "app/b")}, "app/"},
		{[]Filter{by(ByName, "app", "db")}, ""},
		{[]Filter{by(ByName, "!app")}, ""},
		{[]Filter{by(ByName, "app", "!x")}, ""},
		{[]Filter{by(ByName, "app"), by(ByName, "app/prod"), by(ByAll, "x")}, "app/prod"},
		{[]Filter{by(ByDescription, "app")}, ""},
	} {
		m, err := ParseFilters(tc.filters)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.NamePrefix(); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%v: got %q, %v; want %q", tc.filters, got, ok, tc.want)
		}
	}
}

func words(text string) []string {
	var out []string
	for word, rest := nextWord(text); word != ""; word, rest = nextWord(rest) {
		out = append(out, word)
	}
	return out
}

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                   nil,
		"+ /":                nil,
		"credsDatabase#892":  {"creds", "Database", "892"},
		"COMPANYthings":      {"COMPAN", "Ythings"},
		"SecretFTag":         {"Secret", "F", "Tag"},
		"dbURL2":             {"db", "URL", "2"},
		"a/b_c+d=e.f@g-h i":  {"a", "b", "c", "d", "e", "f", "g", "h", "i"},
		"straßeÜber\xffKöln": {"straße", "Über", "Köln"},
	} {
		if got := words(text); !slices.Equal(got, want) {
			t.Errorf("words(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, text := range []string{"SecretOne", "!/", "+", "COMPANYthings", "d t", "creds#892", "!", "ŉDž\xff", "K"} {
		f.Add(text, "app/Db-"+text)
	}
	f.Fuzz(func(t *testing.T, value, text string) {
		s := &Secret{Name: text, Description: text, Tags: []Tag{{Key: text}}}
		match := func(key FilterKey, value string) bool {
			m, err := ParseFilters([]Filter{by(key, value)})
			if err != nil {
				t.Fatal(err)
			}
			got := m.Match(s)
			if p, _ := m.NamePrefix(); got && !strings.HasPrefix(s.Name, p) {
				t.Errorf("%q matches without the prefix %q", s.Name, p)
			}
			return got
		}
		for _, key := range []FilterKey{ByName, ByTagKey, ByDescription, ByAll} {
			if !strings.HasPrefix(value, "!") && match(key, value) == match(key, "!"+value) {
				t.Errorf("%s %q and its negation agree on %q", key, value, text)
			}
		}
		var joined int
		for _, w := range words(text) {
			joined += len(w)
			if !strings.Contains(text, w) {
				t.Errorf("word %q is not in %q", w, text)
			}
		}
		if joined > len(text) {
			t.Errorf("the words of %q are longer than it", text)
		}
		if strings.HasPrefix(text, "!") || len(words(text)) == 0 {
			return
		}
		if !match(ByDescription, text) {
			t.Errorf("%q does not find itself", text)
		}
	})
}

func BenchmarkMatchWords(b *testing.B) {
	m, err := ParseFilters([]Filter{by(ByAll, "database prod")})
	if err != nil {
		b.Fatal(err)
	}
	s := &Secret{Name: "prod/AppBeta/credentials", Description: "Database credentials of the beta in production", Tags: []Tag{{"team", "blue"}}}
	b.ReportAllocs()
	for b.Loop() {
		if !m.Match(s) {
			b.Fatal("no match")
		}
	}
}
