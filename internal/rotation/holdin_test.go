package rotation

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestHoldIn(t *testing.T) {
	const until = "until 2025-03-10T06:10:00Z"
	many := ""
	for i := range 30 {
		many += fmt.Sprintf(" arn:aws:iam::123456789012:user/u%02d,", i)
	}
	for _, tc := range []struct{ name, kind, message, want string }{
		{"a hold", "RotationHeld", "kept " + until + " for arn:aws:iam::123456789012:user/a.", "2025-03-10T06:10:00Z [arn:aws:iam::123456789012:user/a]"},
		{"nobody named", "RotationHeld", until, "2025-03-10T06:10:00Z []"},
		{"of other kinds", "RotationHeld", until + " arn:aws-cn:sts::123456789012:assumed-role/r/s, arn:aws:iam::123456789012:root (x) arn:aws:iam::123456789012:roots", "2025-03-10T06:10:00Z [arn:aws-cn:sts::123456789012:assumed-role/r/s arn:aws:iam::123456789012:root]"},
		{"no principals", "RotationHeld", until + " arn:aws:s3:::bucket arn:aws:iam::1:user/a hunter2", "2025-03-10T06:10:00Z []"},
		{"the first time", "RotationHeld", until + " until 2099-03-10T06:10:00Z", "2025-03-10T06:10:00Z []"},
		{"no time", "RotationHeld", "until tomorrow", ""},
		{"no day", "RotationHeld", "until 2025-13-40T06:10:00Z", ""},
		{"a failure", "ValueError", until, ""},
		{"many", "RotationHeld", until + many, "20 readers"},
	} {
		payload, err := json.Marshal(map[string]string{"errorType": tc.kind, "errorMessage": tc.message})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if h := holdIn(payload); h != nil && len(h.readers) == 20 {
			got = "20 readers"
		} else if h != nil {
			got = h.until.Format("2006-01-02T15:04:05Z") + " " + fmt.Sprint(h.readers)
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// Whatever a function says, its reports hold times and ARNs alone.
func FuzzHoldIn(f *testing.F) {
	f.Add("kept until 2025-03-10T06:10:00Z for arn:aws:iam::123456789012:user/a (x), arn:aws:sts::123456789012:assumed-role/r/s")
	f.Add("until 2025-02-30T06:10:00Z")
	f.Add("until 2025-03-10T06:10:00Z arn:aws:iam::123456789012:root")
	report := regexp.MustCompile(`^the function waits until \S+Z( for (arn:\S+(, )?)+ to read the secret again)?$`)
	f.Fuzz(func(t *testing.T, message string) {
		payload, err := json.Marshal(map[string]string{"errorType": "RotationHeld", "errorMessage": message})
		if err != nil {
			t.Fatal(err)
		}
		h := holdIn(payload)
		if h == nil {
			return
		}
		if text := h.Error(); !report.MatchString(text) || strings.ContainsAny(text, "\n\"'") {
			t.Errorf("got %q", text)
		}
	})
}
