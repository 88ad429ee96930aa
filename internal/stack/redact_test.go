package stack

import "testing"

func TestRedact(t *testing.T) {
	for _, tc := range []struct {
		text    string
		secrets []string
		want    string
	}{
		{"plain", nil, "plain"},
		{"the value hunter22 is bad: hunter22", []string{"hunter22"}, "the value **** is bad: ****"},
		{"abc", []string{"abc", ""}, "abc"},
		{"abcdef and abcd", []string{"abcd", "abcdef"}, "**** and ****"},
		{`got "a\"b\nc"`, []string{"a\"b\nc"}, `got "****"`},
		{"got <secret>", []string{" <secret>\n"}, "got ****"},
		{"****", []string{"****"}, "****"},
	} {
		if got := Redact(tc.text, tc.secrets); got != tc.want {
			t.Errorf("%q without %q: got %q, want %q", tc.text, tc.secrets, got, tc.want)
		}
	}
}
