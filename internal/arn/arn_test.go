package arn

import "testing"

func TestParseRoundTrip(t *testing.T) {
	for _, s := range []string{
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-Zk3fQ9",
		"arn:aws:iam::123456789012:role/r",
		"arn:aws-cn:lambda:cn-north-1:1:function:f:$LATEST",
	} {
		a, ok := Parse(s)
		if !ok || a.String() != s {
			t.Errorf("Parse(%q) = %+v, %v", s, a, ok)
		}
	}
	for _, s := range []string{"", "arn", "arn:aws:s3", "urn:aws:a:b:c:d", "arn:::::"} {
		if _, ok := Parse(s); ok {
			t.Errorf("Parse(%q) succeeded", s)
		}
	}
}

// The table of secretsmanager-api.md section 3.2.
func TestParseSecretRef(t *testing.T) {
	const pre = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	for _, tc := range []struct {
		id, arn, name string
	}{
		{"app/db", "", "app/db"},
		{"app-Zk3fQ9", "", "app-Zk3fQ9"},
		{pre + "app/db-Zk3fQ9", pre + "app/db-Zk3fQ9", ""},
		{pre + "app/db", pre + "app/db", "app/db"},
		{pre + "Name-a1b2", pre + "Name-a1b2", "Name-a1b2"},
		{pre + "Name-a1b2c3", pre + "Name-a1b2c3", ""},
		{pre + "Name-a1b2c3-", pre + "Name-a1b2c3-", "Name-a1b2c3-"},
		{"arn:aws:s3:::bucket", "arn:aws:s3:::bucket", ""},
		{"arn:broken", "arn:broken", ""},
	} {
		got := ParseSecretRef(tc.id)
		if got.ARN != tc.arn || got.Name != tc.name {
			t.Errorf("ParseSecretRef(%q) = %+v, want ARN %q, Name %q", tc.id, got, tc.arn, tc.name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-Zk3fQ9")
	f.Add("arn:aws:lambda:us-east-1:1:function:f:1")
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := Parse(s); ok && a.String() != s {
			t.Errorf("Parse(%q) does not round-trip: %q", s, a.String())
		}
		if ref := ParseSecretRef(s); ref.ARN == "" && ref.Name != s {
			t.Errorf("ParseSecretRef(%q) lost the name: %+v", s, ref)
		}
	})
}

func TestParseKeyRef(t *testing.T) {
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, c := range []struct {
		id   string
		want KeyRef
		arn  string
	}{
		{id, KeyRef{Account: "1", Region: "here", ID: id}, "arn:aws:kms:here:1:key/" + id},
		{"alias/app", KeyRef{Account: "1", Region: "here", Alias: "alias/app"}, "arn:aws:kms:here:1:alias/app"},
		{"key/" + id, KeyRef{Account: "1", Region: "here", ID: "key/" + id}, "arn:aws:kms:here:1:key/key/" + id},
		{"arn:aws:kms:there:2:key/" + id, KeyRef{Account: "2", Region: "there", ID: id}, "arn:aws:kms:there:2:key/" + id},
		{"arn:aws:kms:there:2:alias/app", KeyRef{Account: "2", Region: "there", Alias: "alias/app"}, "arn:aws:kms:there:2:alias/app"},
		{"arn:aws:kms::2:key/" + id, KeyRef{Account: "2", ID: id}, "arn:aws:kms::2:key/" + id},
	} {
		got, ok := ParseKeyRef(c.id, "here", "1")
		if !ok || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.id, got, ok, c.want)
		}
		if got.ARN() != c.arn {
			t.Errorf("%s: got %s, want %s", c.id, got.ARN(), c.arn)
		}
	}
	for _, id := range []string{"arn:aws:kms", "arn:aws:iam::1:role/r", "arn:"} {
		if got, ok := ParseKeyRef(id, "here", "1"); ok {
			t.Errorf("%s: got %+v", id, got)
		}
	}
}
