package function_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

func TestParseRef(t *testing.T) {
	const full = "arn:aws:lambda:us-east-1:123456789012:function:rotate-pg"
	for _, tc := range []struct {
		in   string
		want function.Ref
		ok   bool
	}{
		{"rotate-pg", function.Ref{Name: "rotate-pg"}, true},
		{"rotate-pg:3", function.Ref{Name: "rotate-pg", Qualifier: "3"}, true},
		{"rotate-pg:$LATEST", function.Ref{Name: "rotate-pg", Qualifier: "$LATEST"}, true},
		{"function:rotate-pg", function.Ref{Name: "rotate-pg"}, true},
		{"123456789012:function:rotate-pg", function.Ref{Account: "123456789012", Name: "rotate-pg"}, true},
		{"123456789012:function:rotate-pg:live", function.Ref{Account: "123456789012", Name: "rotate-pg", Qualifier: "live"}, true},
		{full, function.Ref{Region: "us-east-1", Account: "123456789012", Name: "rotate-pg"}, true},
		{full + ":live", function.Ref{Region: "us-east-1", Account: "123456789012", Name: "rotate-pg", Qualifier: "live"}, true},
		{"arn:aws-cn:lambda:cn-north-1:123456789012:function:f", function.Ref{Region: "cn-north-1", Account: "123456789012", Name: "f"}, true},
		{"", function.Ref{}, false},
		{"has space", function.Ref{Name: "has space"}, false},
		{"f:", function.Ref{Name: "f"}, false},
		{"f:1:2", function.Ref{}, false},
		{"f:$OTHER", function.Ref{}, false},
		{"arn:aws:s3:::bucket", function.Ref{}, false},
		{"arn:aws:lambda:us-east-1:123456789012:layer:l", function.Ref{}, false},
		{"arn:aws:lambda:us-east-1::function:f", function.Ref{}, false},
	} {
		got, ok := function.ParseRef(tc.in)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("ParseRef(%q) = %+v, %t; want %+v, %t", tc.in, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"f", "f:1", "123456789012:function:f:live", "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST", "function:function:f", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, ok := function.ParseRef(s)
		if !ok {
			return
		}
		if ref.Region == "" {
			ref.Region = "us-east-1"
		}
		if ref.Account == "" {
			ref.Account = "123456789012"
		}
		again, ok := function.ParseRef(ref.ARN())
		if !ok || again != ref {
			t.Errorf("%q is read as %+v, whose ARN %s is read as %+v, %t", s, ref, ref.ARN(), again, ok)
		}
	})
}

func text(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Message
	}
	return ""
}

func TestResolve(t *testing.T) {
	resolve := func(name, qualifier string) (function.Ref, error) {
		return function.Resolve(name, qualifier, "us-east-1", "123456789012")
	}
	want := function.Ref{Region: "us-east-1", Account: "123456789012", Name: "f", Qualifier: "live"}
	for _, in := range [][2]string{{"f", "live"}, {"f:live", ""}, {"f:live", "live"}} {
		got, err := resolve(in[0], in[1])
		if err != nil || got != want {
			t.Errorf("Resolve(%q, %q) = %+v, %v; want %+v", in[0], in[1], got, err, want)
		}
	}
	if got, err := resolve("arn:aws:lambda:us-east-1:999999999999:function:f", ""); err != nil || got.Account != "999999999999" {
		t.Errorf("another account's: got %+v, %v; want that account", got, err)
	}
	for _, tc := range []struct {
		name, qualifier string
		kind            fault.Kind
		text            string
	}{
		{"f:1", "2", fault.Parameter, "The derived qualifier from the function name does not match the specified qualifier."},
		{"arn:aws:lambda:eu-west-1:123456789012:function:f", "", fault.NotFound, "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"},
	} {
		_, err := resolve(tc.name, tc.qualifier)
		if !fault.Is(err, tc.kind) || text(err) != tc.text {
			t.Errorf("Resolve(%q, %q): got %v, want %q", tc.name, tc.qualifier, err, tc.text)
		}
	}
	if _, err := resolve("no name", ""); !fault.Is(err, fault.Validation) {
		t.Errorf("no name: got %v, want a validation error", err)
	}
}

func TestQualifiers(t *testing.T) {
	for _, tc := range []struct {
		in     string
		number int64
		ok     bool
		alias  bool
	}{
		{"", 0, false, false},
		{"$LATEST", 0, false, false},
		{"1", 1, true, false},
		{"42", 42, true, false},
		{"01", 0, false, false},
		{"99999999999999999999", 0, false, false},
		{"live", 0, false, true},
		{"1a", 0, false, true},
	} {
		n, ok := function.VersionNumber(tc.in)
		if ok != tc.ok || ok && n != tc.number {
			t.Errorf("VersionNumber(%q) = %d, %t; want %d, %t", tc.in, n, ok, tc.number, tc.ok)
		}
		if got := function.IsAlias(tc.in); got != tc.alias {
			t.Errorf("IsAlias(%q) = %t, want %t", tc.in, got, tc.alias)
		}
	}
}

// A function has one ARN: policies would not know it by another partition.
func TestOnePartition(t *testing.T) {
	for s, want := range map[string]bool{
		"arn:aws:lambda:us-east-1:123456789012:function:f":     true,
		"arn:aws-cn:lambda:cn-north-1:123456789012:function:f": true,
		"arn:aws-cn:lambda:us-east-1:123456789012:function:f":  false,
		"arn:x:lambda:us-east-1:123456789012:function:f:1":     false,
	} {
		if _, ok := function.ParseRef(s); ok != want {
			t.Errorf("%s: got %v, want %v", s, ok, want)
		}
	}
}

func TestParseLayerARN(t *testing.T) {
	type layer struct {
		Region, Account, Name string
		Version               int64
		OK                    bool
	}
	parse := func(s string) (l layer) {
		l.Region, l.Account, l.Name, l.Version, l.OK = function.ParseLayerARN(s)
		return l
	}
	base := "arn:aws:lambda:us-east-1:123456789012:layer:deps"
	for in, want := range map[string]layer{
		base:         {"us-east-1", "123456789012", "deps", 0, true},
		base + ":7":  {"us-east-1", "123456789012", "deps", 7, true},
		base + ":x":  {},
		base + ":0":  {},
		"deps":       {},
		base + ":1x": {},
		strings.Replace(base, "arn:aws:", "arn:aws-cn:", 1):    {}, // policies would not know it by that
		"arn:aws-cn:lambda:cn-north-1:123456789012:layer:deps": {"cn-north-1", "123456789012", "deps", 0, true},
	} {
		if diff := cmp.Diff(want, parse(in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

func TestCheckNewName(t *testing.T) {
	long := make([]byte, 65)
	for i := range long {
		long[i] = 'a'
	}
	err := function.Ref{Name: string(long)}.CheckNewName()
	want := "1 validation error detected: Value '" + string(long) + "' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
	if text(err) != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if err := (function.Ref{Name: string(long[:64])}).CheckNewName(); err != nil {
		t.Errorf("64 characters: got %v, want nil", err)
	}
}
