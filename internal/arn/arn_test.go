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
