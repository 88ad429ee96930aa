package wire_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/wire"
)

func form(t *testing.T, text string) wire.Form {
	t.Helper()
	v, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	return wire.NewForm(v)
}

func TestDecodeForm(t *testing.T) {
	tests := []struct {
		name, text string
		want       sts.AssumeRoleRequest
	}{
		{"nothing", "", sts.AssumeRoleRequest{}},
		{"scalars", "RoleArn=a&DurationSeconds=900&Policy=", sts.AssumeRoleRequest{RoleArn: new("a"), DurationSeconds: new(int64(900)), Policy: new("")}},
		{"the first of a repeated name counts", "RoleArn=a&RoleArn=b", sts.AssumeRoleRequest{RoleArn: new("a")}},
		{"empty list", "TransitiveTagKeys=&Tags=", sts.AssumeRoleRequest{TransitiveTagKeys: []string{}, Tags: []sts.Tag{}}},
		{
			"lists are in the order of their numbers, and gaps close",
			"TransitiveTagKeys.member.10=c&TransitiveTagKeys.member.2=b&TransitiveTagKeys.member.1=a", sts.AssumeRoleRequest{TransitiveTagKeys: []string{"a", "b", "c"}},
		},
		{
			"structures in lists", "Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=l&PolicyArns.member.1.arn=p",
			sts.AssumeRoleRequest{Tags: []sts.Tag{{Key: new("k"), Value: new("v")}, {Key: new("l")}}, PolicyArns: []sts.PolicyDescriptorType{{Arn: new("p")}}},
		},
		{
			"names that only begin alike", "Tags.memberx.1.Key=k&TagsX=1&Tags.member.01.Key=k&Tags.member.-1.Key=k&Tags.member.x=k&Tags.member.99999999999.Key=k",
			sts.AssumeRoleRequest{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got sts.AssumeRoleRequest
			f := form(t, tt.text)
			got.DecodeForm(f)
			if diff := cmp.Diff(tt.want, got); diff != "" || f.Err() != nil {
				t.Errorf("%v %s", f.Err(), diff)
			}
		})
	}
}

func TestFormRefuses(t *testing.T) {
	for _, text := range []string{"DurationSeconds=x", "DurationSeconds=", "DurationSeconds=1.5", "DurationSeconds=2147483648"} {
		f := form(t, text)
		new(sts.AssumeRoleRequest).DecodeForm(f)
		if !fault.Is(f.Err(), wire.MalformedInput) {
			t.Errorf("%s: got %v, want an error", text, f.Err())
		}
	}
}

// TestFormTypes checks what no generated request uses yet.
func TestFormTypes(t *testing.T) {
	f := form(t, "b=true&c=FALSE&n=9&d=1.5&t=2024-01-01T00:00:00Z&x=aGk%3D&m.entry.1.key=k&m.entry.1.value=v&fl.1=a&fl.2=b&s.k=v&q.1.name=n&q.1.val=w")
	if !*f.Bool("b") || *f.Bool("c") || f.Bool("none") != nil || *f.Long("n") != 9 || *f.Double("d") != 1.5 ||
		!f.Time("t").Equal(time.Unix(1704067200, 0)) || string(f.Blob("x")) != "hi" || f.Blob("none") != nil {
		t.Error("a scalar is wrong")
	}
	got := []any{
		f.StringMap("m", "entry", "key", "value"), f.StringMap("q", "", "name", "val"), f.StringMap("none", "entry", "key", "value"),
		f.Strings("fl", ""), *wire.FormStruct[sts.Tag](form(t, "s.Key=v"), "s"), wire.FormStruct[sts.Tag](f, "none") == nil,
	}
	want := []any{
		map[string]string{"k": "v"}, map[string]string{"n": "w"}, map[string]string(nil), []string{"a", "b"}, sts.Tag{Key: new("v")}, true,
	}
	if diff := cmp.Diff(want, got); diff != "" || f.Err() != nil {
		t.Errorf("%v %s", f.Err(), diff)
	}
	for _, read := range []func(wire.Form){
		func(f wire.Form) { f.Bool("v") }, func(f wire.Form) { f.Time("v") }, func(f wire.Form) { f.Blob("v") }, func(f wire.Form) { f.Double("v") },
	} {
		f := form(t, "v=%21")
		if read(f); !fault.Is(f.Err(), wire.MalformedInput) {
			t.Errorf("got %v, want an error", f.Err())
		}
	}
}

func TestXML(t *testing.T) {
	e := wire.NewXML(nil)
	e.Bool("b", new(true))
	e.Bool("none", nil)
	e.Long("n", new(int64(-3)))
	e.Double("d", new(1e-7))
	e.Time("t", new(time.UnixMilli(1704067200123)))
	e.Blob("x", []byte("hi"))
	e.Strings("list", "member", []string{"a", "<"})
	e.Strings("empty", "member", []string{})
	e.Strings("none", "member", nil)
	e.Strings("flat", "", []string{"a", "b"})
	e.StringMap("m", "entry", "key", "value", map[string]string{"b": "2", "a": "1"})
	e.StringMap("em", "entry", "key", "value", map[string]string{})
	e.LongMap("lm", "entry", "key", "value", map[string]int64{"b": -2, "a": 1})
	wire.XMLStruct(e, "role", &iam.AttachedPolicy{PolicyName: new("p")})
	want := `<b>true</b><n>-3</n><d>0.0000001</d><t>2024-01-01T00:00:00.123Z</t><x>aGk=</x>` +
		`<list><member>a</member><member>&lt;</member></list><empty></empty><flat>a</flat><flat>b</flat>` +
		`<m><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>2</value></entry></m><em></em>` +
		`<lm><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>-2</value></entry></lm>` +
		`<role><PolicyName>p</PolicyName></role>`
	if got := string(e.Bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzDecodeForm(f *testing.F) {
	f.Add("RoleArn=a&Tags.member.1.Key=k&Tags.member.2.Value=&TransitiveTagKeys=&PolicyArns.member.3.arn=%00")
	f.Add("Tags.member.=1&Tags.member=2&Tags.=3&.=4&Tags.member.1=5&DurationSeconds=-1")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		var in sts.AssumeRoleRequest
		in.DecodeForm(wire.NewForm(values))
		if len(in.Tags) > len(values) || len(in.TransitiveTagKeys) > len(values) {
			t.Fatalf("got %d tags of %d parameters", len(in.Tags), len(values))
		}
		if s, ok := values["RoleArn"]; ok != (in.RoleArn != nil) || ok && *in.RoleArn != s[0] {
			t.Fatalf("got %v, want %v", in.RoleArn, s)
		}
		var v wire.Violations
		in.Validate(&v)
		_ = v.Err()
	})
}
