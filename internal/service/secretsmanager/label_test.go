package secretsmanager

import (
	"strings"
	"testing"
)

// TestLabelVectors plays the recorded vectors of label moves (reference 4.3)
// through the API.
func TestLabelVectors(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct{ name, steps, want string }{
		{"A1", "put v2", "v1[AWSPREVIOUS] v2[AWSCURRENT]"},
		{"A2", "put v2; put v3", "v2[AWSPREVIOUS] v3[AWSCURRENT]"},
		{"B1", "put v2 AWSPENDING", "v1[AWSCURRENT] v2[AWSPENDING]"},
		{"B2", "put v2 AWSPENDING; move AWSCURRENT v1 v2", "v1[AWSPREVIOUS] v2[AWSCURRENT,AWSPENDING]"},
		{"B3", "put v2 AWSPENDING; move AWSCURRENT v1 v2; put v3", "v2[AWSPREVIOUS] v3[AWSCURRENT]"},
		{"C1", "put v2 AWSPENDING; move AWSCURRENT v1 v2; put v3 AWSPENDING", "v1[AWSPREVIOUS] v2[AWSCURRENT] v3[AWSPENDING]"},
		{"C2", "put v2 AWSPENDING; move AWSCURRENT v1 v2; put v3 AWSPENDING; move AWSCURRENT v2 v3", "v2[AWSPREVIOUS] v3[AWSCURRENT,AWSPENDING]"},
		{"D1", "put v2 AWSPENDING,AWSSOMETHING,PUT1; move AWSCURRENT v1 v2", "v1[AWSPREVIOUS] v2[AWSCURRENT,AWSPENDING,AWSSOMETHING,PUT1]"},
		{
			"D2", "put v2 AWSPENDING,AWSSOMETHING,PUT1; move AWSCURRENT v1 v2; put v3 AWSPENDING,PUT2",
			"v1[AWSPREVIOUS] v2[AWSCURRENT,AWSSOMETHING,PUT1] v3[AWSPENDING,PUT2]",
		},
		{
			"D3", "put v2 AWSPENDING,AWSSOMETHING,PUT1; move AWSCURRENT v1 v2; put v3 AWSPENDING,PUT2; move AWSCURRENT v2 v3",
			"v2[AWSPREVIOUS,AWSSOMETHING,PUT1] v3[AWSCURRENT,AWSPENDING,PUT2]",
		},
		{"E1", "put v2 AWSCURRENT,PUT0", "v1[AWSPREVIOUS] v2[AWSCURRENT,PUT0]"},
		{
			"E2", "put v2 AWSCURRENT,PUT0; put v3 AWSPENDING,PUT1; move AWSCURRENT v2 v3",
			"v2[AWSPREVIOUS,PUT0] v3[AWSCURRENT,AWSPENDING,PUT1]",
		},
		{
			"E3", "put v2 AWSCURRENT,PUT0; put v3 AWSPENDING,PUT1; move AWSCURRENT v2 v3; put v4 AWSPENDING,PUT2; move AWSCURRENT v3 v4",
			"v2[PUT0] v3[AWSPREVIOUS,PUT1] v4[AWSCURRENT,AWSPENDING,PUT2]",
		},
		{"F", "put v2 one,two,three; put v3 one,two,three,four", "v1[AWSCURRENT] v3[four,one,three,two]"},
		{"G", "put v2 one,two,three; put v3 one,two,four", "v1[AWSCURRENT] v2[three] v3[four,one,two]"},
		{"H", "put v2 PENDING; move AWSCURRENT v1 v2; remove PENDING v2", "v1[AWSPREVIOUS] v2[AWSCURRENT]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.t = t
			b.create(tc.name, "v1")
			current := "v1"
			for step := range strings.SplitSeq(tc.steps, "; ") {
				current = b.play(tc.name, step, current)
			}
			if got := b.labels(tc.name); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			got := b.ok("GetSecretValue", `{"SecretId":"`+tc.name+`"}`)
			if got["SecretString"] != current || !strings.Contains(tc.want, current+"["+strings.Join(texts(got["VersionStages"]), ",")+"]") {
				t.Errorf("the current value is %v with %v, want %s", got["SecretString"], got["VersionStages"], current)
			}
		})
	}
}

// play runs one step and returns the name of the version that is current
// after it.
func (b *bench) play(name, step, current string) string {
	b.t.Helper()
	f := strings.Fields(step)
	switch {
	case f[0] == "put" && len(f) == 2:
		b.put(name, f[1], f[1], "")
		return f[1]
	case f[0] == "put":
		labels := strings.Split(f[2], ",")
		b.put(name, f[1], f[1], `["`+strings.Join(labels, `","`)+`"]`)
		if strings.Contains(f[2], "AWSCURRENT") {
			return f[1]
		}
	case f[0] == "move":
		b.ok("UpdateSecretVersionStage", `{"SecretId":"`+name+`","VersionStage":"`+f[1]+`","RemoveFromVersionId":"`+tok(f[2])+`","MoveToVersionId":"`+tok(f[3])+`"}`)
		return f[3]
	case f[0] == "remove":
		b.ok("UpdateSecretVersionStage", `{"SecretId":"`+name+`","VersionStage":"`+f[1]+`","RemoveFromVersionId":"`+tok(f[2])+`"}`)
	}
	return current
}

// TestLabelVectorI lists a deprecated version, which has no VersionStages.
func TestLabelVectorI(t *testing.T) {
	b := newBench(t)
	b.create("i", "1")
	b.put("i", "v2", "2", "")
	b.put("i", "v3", "3", "")
	got := b.ok("ListSecretVersionIds", `{"SecretId":"i","IncludeDeprecated":true}`)
	versions := got["Versions"].([]any)
	if len(versions) != 3 {
		t.Fatalf("got %d versions, want 3", len(versions))
	}
	if v := versions[0].(object); v["VersionId"] != tok("v1") || members(v) != "CreatedDate KmsKeyIds VersionId" {
		t.Errorf("the deprecated version is %v, want v1 without VersionStages", v)
	}
	// It is still readable by its ID, and may get a label again.
	read := b.ok("GetSecretValue", `{"SecretId":"i","VersionId":"`+tok("v1")+`"}`)
	if read["SecretString"] != "1" || members(read) != "ARN CreatedDate Name SecretString VersionId" {
		t.Errorf("got %v, want v1 without VersionStages", read)
	}
	b.ok("UpdateSecretVersionStage", `{"SecretId":"i","VersionStage":"old","MoveToVersionId":"`+tok("v1")+`"}`)
	if got, want := b.labels("i"), "v1[old] v2[AWSPREVIOUS] v3[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUpdateSecretMovesLabels(t *testing.T) {
	b := newBench(t)
	b.create("u", "1")
	got := b.ok("UpdateSecret", `{"SecretId":"u","ClientRequestToken":"`+tok("v2")+`","SecretBinary":"AAEC"}`)
	if members(got) != "ARN Name VersionId" || got["VersionId"] != tok("v2") {
		t.Errorf("got %v, want the version", got)
	}
	if got, want := b.labels("u"), "v1[AWSPREVIOUS] v2[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := b.ok("GetSecretValue", `{"SecretId":"u"}`); got["SecretBinary"] != "AAEC" || got["SecretString"] != nil {
		t.Errorf("got %v, want the binary value", got)
	}
	// The token of a version that has been deprecated since still counts.
	b.put("u", "v3", "3", "")
	b.put("u", "v4", "4", "")
	if got := b.put("u", "v1", "1", ""); len(texts(got["VersionStages"])) != 0 {
		t.Errorf("got %v, want a repetition without labels", got)
	}
	b.refused("PutSecretValue", `{"SecretId":"u","ClientRequestToken":"`+tok("v1")+`","SecretString":"x"}`, "ResourceExistsException", "You can't use ClientRequestToken "+tok("v1")+"…")
	if got, want := b.labels("u"), "v3[AWSPREVIOUS] v4[AWSCURRENT]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
