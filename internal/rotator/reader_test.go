package rotator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// moment is so many minutes after the previous version was made; the current
// one became it at minute 60.
func moment(minute int) time.Time {
	return time.Date(2025, 3, 10, 8, minute, 0, 0, time.UTC)
}

const (
	ann     = "arn:aws:iam::123456789012:user/ann"
	role    = "arn:aws:iam::123456789012:role/path/app"
	session = "arn:aws:sts::123456789012:assumed-role/app/"
)

func TestStragglers(t *testing.T) {
	by := func(minute int, principal, version string) reading {
		return reading{at: moment(minute), principal: principal, version: version, address: "10.0.0.1", agent: "x"}
	}
	in := func(minute int, name, address, version string) reading {
		return reading{at: moment(minute), principal: session + name, role: role, version: version, address: address, agent: "x"}
	}
	label := func(minute int, label string) reading {
		return reading{at: moment(minute), principal: ann, by: label, address: "10.0.0.1", agent: "x"}
	}
	for _, tc := range []struct {
		name  string
		reads []reading
		want  []string
	}{
		{"nobody", nil, nil},
		{"has not read again", []reading{by(1, ann, "old"), by(2, ann, "old")}, []string{ann + " 02"}},
		{"in whatever order", []reading{by(2, ann, "old"), by(1, ann, "old")}, []string{ann + " 02"}},
		{"has read again", []reading{by(1, ann, "old"), by(61, ann, "new")}, nil},
		{"has read the old one by its id", []reading{by(1, ann, "old"), by(61, ann, "old")}, []string{ann + " 61"}},
		{"has read both", []reading{by(61, ann, "new"), by(62, ann, "old")}, nil},
		{"has read others alone", []reading{by(1, ann, "older"), by(61, ann, "newest")}, nil},
		{"another has read again", []reading{by(1, ann, "old"), by(61, "root", "new")}, []string{ann + " 01"}},
		{"by time: before", []reading{by(1, ann, "")}, []string{ann + " 01"}},
		{"by time: and after", []reading{by(1, ann, ""), by(60, ann, "")}, nil},
		{"by time: the old label after", []reading{by(1, ann, ""), label(61, "AWSPREVIOUS")}, []string{ann + " 61"}},
		{"by time: the pending label", []reading{label(61, "AWSPENDING"), label(1, "AWSPENDING")}, nil},
		{"by time: another label", []reading{label(1, "mine")}, []string{ann + " 01"}},
		{"a session renewed at its address", []reading{in(1, "a", "10.0.0.1", "old"), in(61, "b", "10.0.0.1", "new")}, nil},
		{"a session elsewhere", []reading{in(1, "a", "10.0.0.1", "old"), in(61, "b", "10.0.0.2", "new")}, []string{session + "a 01"}},
		{"a session that has moved", []reading{in(1, "a", "10.0.0.1", "old"), in(61, "a", "10.0.0.2", "new")}, nil},
		{"a user at the address of one who moved", []reading{by(1, ann, "old"), by(61, "root", "new")}, []string{ann + " 01"}},
		{"many", []reading{by(2, "b", "old"), by(1, "a", "old"), by(3, "a", "old")}, []string{"a 03", "b 02"}},
	} {
		reads, g := tally{}, generation{previous: "old", current: "new"}
		for _, r := range tc.reads {
			reads.add(g, r)
		}
		var got []string
		for _, s := range reads.stragglers(g, moment(60)) {
			// Minute 60 is the next hour's first.
			got = append(got, fmt.Sprintf("%s %02d", s.principal, int(s.last.Sub(moment(0)).Minutes())))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestParseReading(t *testing.T) {
	const ofAWS = `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROA:i-1","arn":"arn:aws:sts::123456789012:assumed-role/app/i-1",` +
		`"accountId":"123456789012","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::123456789012:role/app"}}},"eventTime":"2025-03-10T08:01:00Z",` +
		`"eventName":"GetSecretValue","sourceIPAddress":"192.0.2.1","userAgent":"aws-cli/2","requestParameters":{"secretId":"app/db","versionStage":"AWSCURRENT"},"responseElements":null}`
	want := reading{
		at: moment(1), principal: "arn:aws:sts::123456789012:assumed-role/app/i-1", role: "arn:aws:iam::123456789012:role/app", address: "192.0.2.1", agent: "aws-cli/2",
		secret: "app/db", by: "AWSCURRENT",
	}
	for name, tc := range map[string]struct {
		event string
		ok    bool
		edit  func(r *reading)
	}{
		"of AWS":     {ofAWS, true, func(*reading) {}},
		"of Keyturn": {strings.Replace(ofAWS, `"responseElements"`, `"additionalEventData":{"versionId":"v1"},"responseElements"`, 1), true, func(r *reading) { r.version = "v1" }},
		"by id":      {strings.Replace(ofAWS, `"versionStage":"AWSCURRENT"`, `"versionId":"v2"`, 1), true, func(r *reading) { r.version, r.by = "v2", "" }},
		"of a service": {strings.Replace(ofAWS, `"arn":"arn:aws:sts::123456789012:assumed-role/app/i-1"`, `"invokedBy":"rds.amazonaws.com"`, 1), true,
			func(r *reading) { r.principal = "rds.amazonaws.com" }},
		"refused": {strings.Replace(ofAWS, `"responseElements"`, `"errorCode":"AccessDenied","responseElements"`, 1), false, nil},
		"no JSON": {"{", false, nil},
	} {
		got, ok := parseReading(tc.event)
		if ok != tc.ok {
			t.Errorf("%s: got %v, want %v", name, ok, tc.ok)
			continue
		}
		if !ok {
			continue
		}
		w := want
		tc.edit(&w)
		if diff := cmp.Diff(w, got, cmp.AllowUnexported(reading{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestHoldDuration(t *testing.T) {
	for text, want := range map[string]string{
		"": "0s", "24h": "24h0m0s", "2d": "48h0m0s", "1d12h": "36h0m0s", " 90m ": "1h30m0s", "0": "0s", "0d": "0s",
		"two": "error", "-1h": "error", "-1d": "error", "1d-1h": "error", "d": "error", "1.5d": "error", "7": "error",
	} {
		got := "error"
		if d, err := (Settings{"KEYTURN_HOLD": text}).hold(); err == nil {
			got = d.String()
		} else if want := fmt.Sprintf("The environment variable KEYTURN_HOLD must be a duration such as 24h or 2d, and is %q", text); err.Error() != want {
			t.Errorf("%q: got error %v, want %s", text, err, want)
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestNamed(t *testing.T) {
	s := straggler{principal: ann, address: "192.0.2.1", agent: strings.Repeat("é", 100), last: moment(1)}
	want := ann + " (last read 2025-03-10T08:01:00Z, from 192.0.2.1, with " + strings.Repeat("é", 80) + ")"
	if got := named([]straggler{s}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := named(make([]straggler, 25)); !strings.HasSuffix(got, ", and 5 more") || strings.Count(got, "last read") != 20 {
		t.Errorf("got %s, want 20 and how many more", got)
	}
}

// Whatever the trail holds, a reading can be counted and told.
func FuzzReading(f *testing.F) {
	f.Add(`{"eventTime":"2025-03-10T08:01:00Z","userIdentity":{"arn":"a"},"requestParameters":{"secretId":"s","versionStage":"AWSPREVIOUS"},"additionalEventData":{"versionId":"v"}}`)
	f.Add(`{"eventTime":"2025-03-10T08:01:00Z","requestParameters":null,"errorCode":"AccessDenied"}`)
	f.Add(`{"userAgent":"\u00e9\ud800"}`)
	f.Fuzz(func(t *testing.T, event string) {
		r, ok := parseReading(event)
		if !ok {
			return
		}
		reads, g := tally{}, generation{previous: "old", current: "new"}
		reads.add(g, r)
		list := reads.stragglers(g, moment(60))
		if len(list) > 1 || len(list) == 1 && (r.by == pending && r.version == "" || r.version == g.current) {
			t.Errorf("got stragglers %v of %+v", list, r)
		}
		_ = named(list)
	})
}
