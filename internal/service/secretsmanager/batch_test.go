package secretsmanager

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/key"
)

func TestBatchByID(t *testing.T) {
	b := newBench(t)
	id := b.addKey(home, "k")
	b.ok("CreateSecret", withToken(`"Name":"locked","KmsKeyId":"alias/k","SecretString":"x"`))
	b.setKeyState(home, id, key.Disabled)
	address := b.create("a", "1")
	b.put("a", "v2", "2", "")
	b.create("c", "3")
	b.ok("CreateSecret", withToken(`"Name":"empty"`))
	there := "arn:aws:secretsmanager:us-east-1:999999999999:secret:x-AbCdEf"
	got := b.ok("BatchGetSecretValue", `{"SecretIdList":["c","none","`+address+`","empty","a b","`+there+`","locked"]}`)
	var values, refusals []string
	version := map[string]string{}
	for _, v := range got["SecretValues"].([]any) {
		v := v.(object)
		if members(v) != "ARN CreatedDate Name SecretString VersionId VersionStages" {
			t.Errorf("got %v", v)
		}
		values = append(values, fmt.Sprint(v["Name"], "=", v["SecretString"]))
		version[v["Name"].(string)] = v["VersionId"].(string)
	}
	for _, e := range got["Errors"].([]any) {
		e := e.(object)
		refusals = append(refusals, fmt.Sprint(e["SecretId"], ": ", e["ErrorCode"], ": ", e["Message"]))
	}
	if got, want := strings.Join(values, " "), "c=3 a=2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := []string{
		"none: ResourceNotFoundException: " + notFoundText,
		"empty: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
		"a b: ValidationException: " + nameText,
		there + ": AccessDeniedException: User: arn:aws:iam::123456789012:root is not authorized to perform: secretsmanager:GetSecretValue on resource: " +
			there + " because no resource-based policy allows the secretsmanager:GetSecretValue action",
		"locked: DecryptionFailure: Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
	}
	if fmt.Sprint(refusals) != fmt.Sprint(want) {
		t.Errorf("got errors\n%s\nwant\n%s", strings.Join(refusals, "\n"), strings.Join(want, "\n"))
	}
	var events []string
	for _, e := range b.recorded {
		events = append(events, strings.TrimSpace(e.Name+" "+string(e.Request)+" "+string(e.Additional)))
	}
	if got := strings.Join(events, "\n"); got != `BatchGetSecretValue {"secretIdList":["c","none","`+address+`","empty","a b","`+there+`","locked"]}
GetSecretValue {"secretId":"c"} {"versionId":"`+version["c"]+`"}
GetSecretValue {"secretId":"`+address+`"} {"versionId":"`+version["a"]+`"}` {
		t.Errorf("got events\n%s", got)
	}
	if got := b.ok("BatchGetSecretValue", `{"SecretIdList":["a"]}`); members(got) != "Errors SecretValues" || len(got["Errors"].([]any)) != 0 {
		t.Errorf("got %v, want an empty list of errors", got)
	}
}

func TestBatchByFilter(t *testing.T) {
	b := newBench(t)
	for i := range 45 {
		b.create(fmt.Sprintf("n%02d", i), fmt.Sprint(i))
	}
	b.create("other", "x")
	b.ok("DeleteSecret", `{"SecretId":"n07"}`)
	seen, next, pages := "", "", 0
	for {
		got := b.ok("BatchGetSecretValue", `{"Filters":[{"Key":"name","Values":["n"]}]`+next+`}`)
		for _, v := range got["SecretValues"].([]any) {
			seen += " " + v.(object)["SecretString"].(string)
		}
		pages++
		token, more := got["NextToken"].(string)
		if !more {
			break
		}
		next = `,"NextToken":"` + token + `"`
	}
	want := ""
	for i := range 45 {
		if i != 7 {
			want += fmt.Sprint(" ", i)
		}
	}
	if seen != want || pages != 3 {
		t.Errorf("got %s on %d pages, want %s on 3", seen, pages, want)
	}
	got := b.ok("BatchGetSecretValue", `{"Filters":[{"Key":"name","Values":["n"]}],"MaxResults":2}`)
	if len(got["SecretValues"].([]any)) != 2 || got["NextToken"] == nil {
		t.Errorf("got %v, want a page of two", got)
	}
}
