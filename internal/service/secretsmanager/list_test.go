package secretsmanager

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
)

// list walks all pages of ListSecrets and returns the names.
func (b *bench) list(more string) []string {
	b.t.Helper()
	names, next := []string{}, ""
	for range 50 {
		got := b.ok("ListSecrets", `{`+strings.TrimPrefix(more+next, ",")+`}`)
		for _, s := range got["SecretList"].([]any) {
			names = append(names, s.(object)["Name"].(string))
		}
		token, more := got["NextToken"].(string)
		if !more {
			return names
		}
		next = `,"NextToken":"` + token + `"`
	}
	b.t.Fatal("the list does not end")
	return nil
}

// TestListFilters plays the recorded vectors of filters (reference 8.4)
// through the API; package secret has them all.
func TestListFilters(t *testing.T) {
	b := newBench(t)
	for _, s := range []struct{ name, description, tag string }{
		{"SecretOne1", "", ""}, {"SecretTwo1", "DescTwo", ""}, {"Thirdsecret1", "", ""}, {"SecretFTag1", "", `{"Key":"foo","Value":"1"}`},
		{"SecretFValue1", "", `{"Key":"1","Value":"foo"}`}, {"/a", "one two", ""}, {"/b", "one and two", ""}, {"c", "one", ""},
	} {
		b.ok("CreateSecret", withToken(`"Name":"`+s.name+`","Description":"`+s.description+`","Tags":[`+s.tag+`]`))
	}
	for _, tc := range []struct{ filters, want string }{
		{`{"Key":"name","Values":["/"]}`, "/a /b"},
		{`{"Key":"name","Values":["!/"]}`, "SecretOne1 SecretTwo1 Thirdsecret1 SecretFTag1 SecretFValue1 c"},
		{`{"Key":"name","Values":["secret"]}`, ""},
		{`{"Key":"name","Values":["SecretO","Third"]}`, "SecretOne1 Thirdsecret1"},
		{`{"Key":"description","Values":["one two"]}`, "/a /b"},
		{`{"Key":"description","Values":["o t"]}`, "/a /b"},
		{`{"Key":"description","Values":["one"]},{"Key":"description","Values":["two"]}`, "/a /b"},
		{`{"Key":"all","Values":["SecretOne"]}`, "SecretOne1"},
		{`{"Key":"all","Values":["foo"]}`, "SecretFTag1 SecretFValue1"},
		{`{"Key":"all","Values":["sec"]}`, "SecretOne1 SecretTwo1 SecretFTag1 SecretFValue1"},
		{`{"Key":"all","Values":["d t"]}`, "SecretTwo1"},
		{`{"Key":"tag-key","Values":["fo"]}`, "SecretFTag1"},
		{`{"Key":"tag-value","Values":["foo"]}`, "SecretFValue1"},
		{`{"Key":"primary-region","Values":["us"]}`, ""},
		{`{"Key":"owning-service","Values":["rds"]}`, ""},
	} {
		for _, size := range []string{"", `,"MaxResults":1`, `,"MaxResults":2`} {
			// Secrets of one millisecond are in no order that is known here.
			got, want := b.list(`"Filters":[`+tc.filters+`]`+size), strings.Fields(tc.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s%s: got %q, want %q", tc.filters, size, got, want)
			}
		}
	}
	b.refused("ListSecrets", `{"Filters":[{"Key":"invalid","Values":["x"]}]}`, "ValidationException",
		"1 validation error detected: Value 'invalid' at 'filters.1.member.key' failed to satisfy constraint: Member must satisfy enum value set:…")
	b.refused("ListSecrets", `{"Filters":[{"Key":"name","Values":["*"]}]}`, "ValidationException", "1 validation error detected…")
}

func TestListOrder(t *testing.T) {
	b := newBench(t)
	if got := b.ok("ListSecrets", `{}`); fmt.Sprint(got) != "map[SecretList:[]]" {
		t.Errorf("got %v, want an empty list", got)
	}
	for i, name := range []string{"c", "a", "b"} {
		b.create(name, "x")
		b.edit(home, name, func(s *secret.Secret) {
			s.CreatedAt = time.UnixMilli(int64(1e12 + 1000*i))
			s.ChangedAt = time.UnixMilli(int64(2e12 - 1000*i))
			s.AccessedOn = time.Unix(0, 0).AddDate(20, 0, (i+1)%3)
		})
	}
	for _, tc := range []struct{ members, want string }{
		{``, "c a b"},
		{`"SortBy":"created-date"`, "c a b"},
		{`"SortOrder":"desc"`, "b a c"},
		{`"SortBy":"last-changed-date","SortOrder":"asc"`, "b a c"},
		{`"SortBy":"last-accessed-date"`, "b c a"},
		{`"SortBy":"name"`, "a b c"},
		{`"SortBy":"name","SortOrder":"desc"`, "c b a"},
	} {
		for _, size := range []string{"", `,"MaxResults":1`, `,"MaxResults":2`, `,"MaxResults":3`} {
			if got := strings.Join(b.list(strings.TrimPrefix(tc.members+size, ",")), " "); got != tc.want {
				t.Errorf("%s%s: got %s, want %s", tc.members, size, got, tc.want)
			}
		}
	}
}

// TestListPages walks more secrets than one page looks at, with few matches.
func TestListPages(t *testing.T) {
	b := newBench(t)
	for i := range 230 {
		b.ok("CreateSecret", withToken(fmt.Sprintf(`"Name":"n%03d","Description":"%s"`, i, []string{"odd", "even"}[i%115/114])))
	}
	if got := b.list(``); len(got) != 230 || !slices.IsSorted(got) {
		t.Errorf("got %d secrets, want 230 in order", len(got))
	}
	if got := strings.Join(b.list(`"Filters":[{"Key":"description","Values":["even"]}],"MaxResults":1`), " "); got != "n114 n229" && got != "n229 n114" {
		t.Errorf("got %s", got)
	}
	first := b.ok("ListSecrets", `{"MaxResults":10}`)
	token := first["NextToken"].(string)
	// The token holds for this list alone.
	for _, body := range []string{`"SortBy":"name"`, `"SortOrder":"desc"`, `"IncludePlannedDeletion":true`, `"Filters":[{"Key":"name","Values":["n"]}]`} {
		b.refused("ListSecrets", `{`+body+`,"NextToken":"`+token+`"}`, "InvalidNextTokenException", "The NextToken value is invalid.")
	}
	b.refusedAs(rootAway, "ListSecrets", `{"NextToken":"`+token+`"}`, "InvalidNextTokenException", "The NextToken value is invalid.")
	b.refusedAs(foreign, "ListSecrets", `{"NextToken":"`+token+`"}`, "InvalidNextTokenException", "The NextToken value is invalid.")
	b.refused("BatchGetSecretValue", `{"Filters":[{"Key":"name","Values":["n"]}],"NextToken":"`+token+`"}`, "InvalidNextTokenException", "The NextToken value is invalid.")
	if got := b.ok("ListSecrets", `{"MaxResults":100,"NextToken":"`+token+`"}`)["SecretList"].([]any); len(got) != 100 || got[0].(object)["Name"] != "n010" {
		t.Errorf("with another page size: got %d from %v", len(got), got[0])
	}
}

func TestListEntries(t *testing.T) {
	b := newBench(t)
	b.ok("CreateSecret", withToken(`"Name":"s","Description":"d","SecretString":"x","Tags":[{"Key":"k","Value":"v"}],"AddReplicaRegions":[{"Region":"eu-west-1"}]`))
	entry := b.ok("ListSecrets", `{}`)["SecretList"].([]any)[0].(object)
	if got, want := members(entry), "ARN CreatedDate Description LastChangedDate Name PrimaryRegion SecretVersionsToStages Tags"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.must(b.Replicator().Replicate(t.Context()))
	if got := b.okAs(rootAway, "ListSecrets", `{"Filters":[{"Key":"primary-region","Values":["us-east-1"]}]}`)["SecretList"].([]any); len(got) != 1 {
		t.Errorf("got %v, want the replica in its own region", got)
	}
	if got := b.okAs(foreign, "ListSecrets", `{}`)["SecretList"].([]any); len(got) != 0 {
		t.Errorf("another account sees %v", got)
	}
}

func TestListVersionPages(t *testing.T) {
	b := newBench(t)
	b.create("s", "0")
	var want []string
	for i := range 7 {
		b.put("s", fmt.Sprintf("p%d", i), "x", fmt.Sprintf(`["l%d"]`, i))
		want = append(want, fmt.Sprintf("p%d", i))
	}
	want = append([]string{"v1"}, want...)
	var got []string
	next := ""
	for page := 0; ; page++ {
		a := b.ok("ListSecretVersionIds", `{"SecretId":"s","MaxResults":3`+next+`}`)
		for _, v := range a["Versions"].([]any) {
			got = append(got, strings.TrimRight(v.(object)["VersionId"].(string), "-"))
		}
		token, more := a["NextToken"].(string)
		if !more {
			break
		}
		next = `,"NextToken":"` + token + `"`
		if page == 0 { // the last version of the page loses its label
			b.ok("UpdateSecretVersionStage", `{"SecretId":"s","VersionStage":"l1","RemoveFromVersionId":"`+tok("p1")+`"}`)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	b.refused("ListSecretVersionIds", `{"SecretId":"s","IncludeDeprecated":true`+next+`}`, "InvalidNextTokenException", "The NextToken value is invalid.")
}
