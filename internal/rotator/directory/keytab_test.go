package directory

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// oldKeytab holds two versions of two principals' keys.
func oldKeytab(t testing.TB) *keytab.Keytab {
	t.Helper()
	kt := keytab.New()
	for _, kvno := range []uint8{4, 5} {
		for _, principal := range []string{"svc", "HTTP/web.example.com"} {
			if err := kt.AddEntry(principal, "EXAMPLE.COM", "old", time.Unix(1, 0), kvno, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kt
}

func entriesOf(kt *keytab.Keytab) []string {
	var lines []string
	for _, e := range kt.Entries {
		lines = append(lines, fmt.Sprintf("%s %d %d %x", e.Principal, e.Key.KeyType, e.KVNO, e.Key.KeyValue[:1]))
	}
	return lines
}

func TestFollow(t *testing.T) {
	old := oldKeytab(t)
	key := func(etype int32, first byte) types.EncryptionKey {
		return types.EncryptionKey{KeyType: etype, KeyValue: []byte{first, 2, 3}}
	}
	for _, test := range []struct {
		name string
		kvno int
		want uint32
	}{{"the KDC's version", 300, 300}, {"counted by one", 0, 6}} {
		t.Run(test.name, func(t *testing.T) {
			keys := []login{{key(18, 0xaa), test.kvno}, {key(17, 0xbb), test.kvno}, {key(23, 0xcc), test.kvno}}
			contents, err := follow(old, keys, time.Unix(2, 0))
			if err != nil {
				t.Fatal(err)
			}
			next, err := parseKeytab(contents)
			if err != nil {
				t.Fatal(err)
			}
			first := fmt.Sprintf("%x", old.Entries[2].Key.KeyValue[:1])
			service := fmt.Sprintf("%x", old.Entries[3].Key.KeyValue[:1])
			want := []string{
				fmt.Sprintf("HTTP/web.example.com@EXAMPLE.COM 18 %d aa", test.want),
				fmt.Sprintf("HTTP/web.example.com@EXAMPLE.COM 17 %d bb", test.want),
				fmt.Sprintf("svc@EXAMPLE.COM 18 %d aa", test.want),
				fmt.Sprintf("svc@EXAMPLE.COM 17 %d bb", test.want),
				"svc@EXAMPLE.COM 18 5 " + first,
				"HTTP/web.example.com@EXAMPLE.COM 18 5 " + service,
			}
			if diff := cmp.Diff(want, entriesOf(next)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeytabOfOthers(t *testing.T) {
	b, err := oldKeytab(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	contents := base64.StdEncoding.EncodeToString(b)
	m := newMembers(rotator.Settings{})
	secret := func(principals ...string) *rotator.Document {
		return (&rotator.Document{}).With("principals", principals).With("keytabContents", contents)
	}
	for name, test := range map[string]struct {
		document *rotator.Document
		want     string
	}{
		"its own":           {secret("svc", "HTTP/web.example.com@EXAMPLE.COM"), ""},
		"fewer principals":  {secret("svc"), `the principals of the secret are ["svc"], and those of its keytab ["HTTP/web.example.com@EXAMPLE.COM" "svc@EXAMPLE.COM"]`},
		"another realm":     {secret("svc@OTHER", "HTTP/web.example.com"), `the principals of the secret are ["svc@OTHER" "HTTP/web.example.com"], and those of its keytab ["HTTP/web.example.com@EXAMPLE.COM" "svc@EXAMPLE.COM"]`},
		"no principals":     {secret().Without("principals"), "principals key is missing from secret JSON"},
		"no keytab":         {secret("svc").Without("keytabContents"), "keytabContents key is missing from secret JSON"},
		"a broken keytab":   {secret("svc").With("keytabContents", contents[:40]), "the keytab cannot be read"},
		"a list of numbers": {(&rotator.Document{}).With("principals", []int{1}), "The member principals of the secret's JSON is not of the type that is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := m.keytabOf(test.document, "EXAMPLE.COM")
			if got := fmt.Sprint(err); got != test.want && (test.want != "" || err != nil) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestNewRealm(t *testing.T) {
	for _, test := range []struct {
		setting string
		given   []string
		want    []string
	}{
		{"", []string{"10.0.0.1", "10.0.0.2:1088"}, []string{"10.0.0.1:88", "10.0.0.2:1088"}},
		{"kdc.example.com, [fd00::1]:750", []string{"10.0.0.1"}, []string{"kdc.example.com:88", "[fd00::1]:750"}},
		{"[fd00::1]", nil, []string{"[fd00::1]:88"}},
	} {
		settings := rotator.Settings{}
		if test.setting != "" {
			settings["KEYTURN_KDC"] = test.setting
		}
		r, err := newRealm(context.Background(), settings, "corp.example.com", test.given...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, r.addresses); diff != "" || r.name != "CORP.EXAMPLE.COM" {
			t.Errorf("%q %v: realm %s (-want +got):\n%s", test.setting, test.given, r.name, diff)
		}
	}
}

func FuzzParseKeytab(f *testing.F) {
	b, err := oldKeytab(f).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{5, 2, 0, 0, 0, 2, 0, 1})
	f.Add([]byte{5, 1, 0xff, 0xff, 0xff, 0xf0})
	f.Fuzz(func(t *testing.T, b []byte) {
		kt, err := parseKeytab(plaintext.Of(base64.StdEncoding.EncodeToString(b)))
		if err != nil && err.Error() != errKeytab.Error() {
			t.Errorf("got %v, want nothing of the contents", err)
		}
		if err == nil {
			principalsOf(kt)
			newest(kt)
		}
	})
}
