package iam_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	records "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/service/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

const (
	trust  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["secretsmanager:GetSecretValue"],"Resource":"*"}}`
)

type bench struct {
	*servicetest.Parts
	t   testing.TB
	c   *sdk.Client
	cfg aws.Config
}

func newBench(t testing.TB) *bench {
	t.Helper()
	p := servicetest.NewParts(t)
	_, cfg := p.Serve(t, iam.New(iam.Config{Store: p.Store, Guard: p.Guard, Sealer: p.Sealer}).Wire())
	return &bench{p, t, sdk.NewFromConfig(cfg), cfg}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// role makes a role.
func (b *bench) role(name string) *types.Role {
	b.t.Helper()
	out, err := b.c.CreateRole(b.t.Context(), &sdk.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trust)})
	b.must(err)
	return out.Role
}

func wantDocument(t testing.TB, got *string, want string) {
	t.Helper()
	plain, err := url.PathUnescape(aws.ToString(got))
	if err != nil || plain != want {
		t.Errorf("got document %s, want %s", aws.ToString(got), want)
	}
	if strings.ContainsAny(aws.ToString(got), "+{}\" ") {
		t.Errorf("%s is not encoded as RFC 3986 has it", aws.ToString(got))
	}
}

func TestRole(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	began := time.Now().Truncate(time.Second)
	made, err := b.c.CreateRole(ctx, &sdk.CreateRoleInput{
		RoleName: aws.String("Rotator"), Path: aws.String("/ops/db/"), AssumeRolePolicyDocument: aws.String(trust), Description: aws.String("rotates"),
		MaxSessionDuration: aws.Int32(7200), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a b")}},
	})
	b.must(err)
	r := made.Role
	if *r.Arn != "arn:aws:iam::123456789012:role/ops/db/Rotator" || *r.Path != "/ops/db/" || *r.RoleName != "Rotator" || *r.Description != "rotates" ||
		*r.MaxSessionDuration != 7200 || !strings.HasPrefix(*r.RoleId, "AROA") || len(*r.RoleId) != 21 || r.CreateDate.Before(began) {
		t.Errorf("got %+v", r)
	}
	wantDocument(t, r.AssumeRolePolicyDocument, trust)
	got, err := b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("rOTATOR")}) // names fold case
	b.must(err)
	if got.Role.RoleLastUsed == nil || len(got.Role.Tags) != 1 || *got.Role.Tags[0].Value != "a b" || *got.Role.RoleId != *r.RoleId {
		t.Errorf("got %+v", got.Role)
	}
	plain := b.role("plain")
	if *plain.Arn != "arn:aws:iam::123456789012:role/plain" || *plain.MaxSessionDuration != 3600 || plain.Description != nil || plain.Tags != nil {
		t.Errorf("got %+v", plain)
	}

	const other = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}`
	_, err = b.c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("plain"), PolicyDocument: aws.String(other)})
	b.must(err)
	got, err = b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("plain")})
	b.must(err)
	wantDocument(t, got.Role.AssumeRolePolicyDocument, other)

	_, err = b.c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: aws.String("plain")})
	b.must(err)
	_, err = b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("plain")})
	servicetest.WantError(t, "a deleted role", err, "NoSuchEntity", 404, "The role with name plain cannot be found.")
	if again := b.role("plain"); *again.RoleId == *plain.RoleId {
		t.Error("a role's ID was used again")
	}
}

func TestListRoles(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	for i := range 7 {
		path := "/"
		if i%2 == 1 {
			path = "/odd/"
		}
		_, err := b.c.CreateRole(ctx, &sdk.CreateRoleInput{
			RoleName: aws.String(fmt.Sprintf("Role-%d", i)), Path: &path, AssumeRolePolicyDocument: aws.String(trust),
			Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
		})
		b.must(err)
	}
	list := func(in *sdk.ListRolesInput) (names []string, pages int) {
		t.Helper()
		for p := sdk.NewListRolesPaginator(b.c, in); p.HasMorePages(); pages++ {
			page, err := p.NextPage(ctx)
			b.must(err)
			if page.IsTruncated != (page.Marker != nil) {
				t.Errorf("truncated %t with marker %v", page.IsTruncated, page.Marker)
			}
			for _, r := range page.Roles {
				names = append(names, *r.RoleName)
				if r.Tags != nil || r.RoleLastUsed != nil {
					t.Errorf("a list shows %v and %v", r.Tags, r.RoleLastUsed)
				}
			}
		}
		return names, pages
	}
	all := []string{"Role-0", "Role-1", "Role-2", "Role-3", "Role-4", "Role-5", "Role-6"}
	names, pages := list(&sdk.ListRolesInput{MaxItems: aws.Int32(3)})
	if diff := cmp.Diff(all, names); diff != "" || pages != 3 {
		t.Errorf("%d pages, -want +got:\n%s", pages, diff)
	}
	names, pages = list(&sdk.ListRolesInput{PathPrefix: aws.String("/odd/"), MaxItems: aws.Int32(3)})
	if diff := cmp.Diff([]string{"Role-1", "Role-3", "Role-5"}, names); diff != "" || pages != 1 {
		t.Errorf("%d pages, -want +got:\n%s", pages, diff)
	}
	if names, _ = list(&sdk.ListRolesInput{PathPrefix: aws.String("/none/")}); len(names) != 0 {
		t.Errorf("got %v", names)
	}
}

func TestTags(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	tag := func(pairs ...string) error {
		in := &sdk.TagRoleInput{RoleName: aws.String("r")}
		for i := 0; i < len(pairs); i += 2 {
			in.Tags = append(in.Tags, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		_, err := b.c.TagRole(ctx, in)
		return err
	}
	b.must(tag("b", "1", "A", "2", "c", ""))
	b.must(tag("a", "3")) // in place of A
	var got []string
	for p := sdk.NewListRoleTagsPaginator(b.c, &sdk.ListRoleTagsInput{RoleName: aws.String("r"), MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		for _, tag := range page.Tags {
			got = append(got, *tag.Key+"="+*tag.Value)
		}
	}
	if diff := cmp.Diff([]string{"a=3", "b=1", "c="}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err := b.c.UntagRole(ctx, &sdk.UntagRoleInput{RoleName: aws.String("r"), TagKeys: []string{"B", "none"}})
	b.must(err)
	out, err := b.c.ListRoleTags(ctx, &sdk.ListRoleTagsInput{RoleName: aws.String("r")})
	b.must(err)
	if len(out.Tags) != 2 || out.IsTruncated {
		t.Errorf("got %v", out.Tags)
	}
	servicetest.WantError(t, "twice", tag("x", "1", "X", "2"), "InvalidInput", 400, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
	var many []string
	for i := range 49 {
		many = append(many, fmt.Sprint("k", i), "v")
	}
	servicetest.WantError(t, "51 tags", tag(many...), "LimitExceeded", 409, "Cannot exceed quota for TagsPerRole: 50")
	if out, err := b.c.ListRoleTags(ctx, &sdk.ListRoleTagsInput{RoleName: aws.String("r")}); err != nil || len(out.Tags) != 2 {
		t.Errorf("a refused call left %d tags, %v", len(out.Tags), err)
	}
}

func TestInlinePolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	put := func(name, document string) error {
		_, err := b.c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: aws.String("r"), PolicyName: &name, PolicyDocument: &document})
		return err
	}
	for _, name := range []string{"c", "a", "b"} {
		b.must(put(name, policy))
	}
	spaced := strings.ReplaceAll(policy, ",", ",\n\t ")
	b.must(put("a", spaced))
	got, err := b.c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("a")})
	b.must(err)
	if *got.RoleName != "r" || *got.PolicyName != "a" {
		t.Errorf("got %s of %s", *got.PolicyName, *got.RoleName)
	}
	wantDocument(t, got.PolicyDocument, spaced)
	var names []string
	for p := sdk.NewListRolePoliciesPaginator(b.c, &sdk.ListRolePoliciesInput{RoleName: aws.String("r"), MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		names = append(names, page.PolicyNames...)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = b.c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: aws.String("r")})
	servicetest.WantError(t, "with policies", err, "DeleteConflict", 409, "Cannot delete entity, must delete policies first.")
	const missing = "The role policy with name none cannot be found."
	_, err = b.c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("none")})
	servicetest.WantError(t, "get", err, "NoSuchEntity", 404, missing)
	_, err = b.c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("none")})
	servicetest.WantError(t, "delete", err, "NoSuchEntity", 404, missing)
	large := strings.Replace(policy, `"*"`, `"arn:aws:s3:::`+strings.Repeat("x", 10200)+`"`, 1)
	servicetest.WantError(t, "too large", put("d", large), "LimitExceeded", 409, "Maximum policy size of 10240 bytes exceeded for role r")
	for _, name := range names {
		_, err := b.c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: aws.String("r"), PolicyName: &name})
		b.must(err)
	}
	b.must(put("spaces-do-not-count", policy+strings.Repeat(" ", 20000)))
}

func TestAttachedPolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	attach := func(arn string) error {
		_, err := b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &arn})
		return err
	}
	detach := func(arn string) error {
		_, err := b.c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &arn})
		return err
	}
	const basic, readWrite = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", "arn:aws:iam::aws:policy/SecretsManagerReadWrite"
	b.must(attach(readWrite))
	b.must(attach(basic))
	b.must(attach(basic)) // once more changes nothing
	var got []string
	for p := sdk.NewListAttachedRolePoliciesPaginator(b.c, &sdk.ListAttachedRolePoliciesInput{RoleName: aws.String("r"), MaxItems: aws.Int32(1)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		b.must(err)
		for _, a := range page.AttachedPolicies {
			got = append(got, *a.PolicyName+" "+*a.PolicyArn)
		}
	}
	if diff := cmp.Diff([]string{"SecretsManagerReadWrite " + readWrite, "AWSLambdaBasicExecutionRole " + basic}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err := b.c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: aws.String("r")})
	servicetest.WantError(t, "with policies", err, "DeleteConflict", 409, "Cannot delete entity, must detach all policies first.")
	const own = "arn:aws:iam::123456789012:policy/own"
	servicetest.WantError(t, "attach our own", attach(own), "NoSuchEntity", 404, "Policy "+own+" does not exist or is not attachable.")
	servicetest.WantError(t, "detach our own", detach(own), "NoSuchEntity", 404, "Policy "+own+" was not found.")
	const noARN = "AWSLambdaBasicExecutionRole"
	servicetest.WantError(t, "attach a name", attach(noARN), "ValidationError", 400, "ARN "+noARN+" is not valid.")
	servicetest.WantError(t, "detach a name", detach(noARN), "ValidationError", 400, "ARN "+noARN+" is not valid.")
	var more []string
	for _, p := range records.ManagedPolicies() {
		if p.ARN != basic && p.ARN != readWrite {
			more = append(more, p.ARN)
		}
	}
	for _, a := range more[:8] {
		b.must(attach(a))
	}
	servicetest.WantError(t, "the eleventh", attach(more[8]), "LimitExceeded", 409, "Cannot exceed quota for PoliciesPerRole: 10")
	b.must(detach(basic))
	servicetest.WantError(t, "detach twice", detach(basic), "NoSuchEntity", 404, "Policy "+basic+" was not found.")
}

// Every operation says alike that there is no such role.
func TestNoSuchRole(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	name, p, arn := aws.String("none"), aws.String("p"), aws.String("arn:aws:iam::aws:policy/P")
	for what, call := range map[string]func() error{
		"GetRole":    func() error { _, err := b.c.GetRole(ctx, &sdk.GetRoleInput{RoleName: name}); return err },
		"DeleteRole": func() error { _, err := b.c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name}); return err },
		"UpdateAssumeRolePolicy": func() error {
			_, err := b.c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String(trust)})
			return err
		},
		"PutRolePolicy": func() error {
			_, err := b.c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: name, PolicyName: p, PolicyDocument: aws.String(policy)})
			return err
		},
		"GetRolePolicy": func() error {
			_, err := b.c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: name, PolicyName: p})
			return err
		},
		"ListRolePolicies": func() error {
			_, err := b.c.ListRolePolicies(ctx, &sdk.ListRolePoliciesInput{RoleName: name})
			return err
		},
		"DeleteRolePolicy": func() error {
			_, err := b.c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: name, PolicyName: p})
			return err
		},
		"AttachRolePolicy": func() error {
			_, err := b.c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: name, PolicyArn: arn})
			return err
		},
		"DetachRolePolicy": func() error {
			_, err := b.c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: name, PolicyArn: arn})
			return err
		},
		"ListAttachedRolePolicies": func() error {
			_, err := b.c.ListAttachedRolePolicies(ctx, &sdk.ListAttachedRolePoliciesInput{RoleName: name})
			return err
		},
		"TagRole": func() error {
			_, err := b.c.TagRole(ctx, &sdk.TagRoleInput{RoleName: name, Tags: []types.Tag{{Key: p, Value: p}}})
			return err
		},
		"UntagRole": func() error {
			_, err := b.c.UntagRole(ctx, &sdk.UntagRoleInput{RoleName: name, TagKeys: []string{"k"}})
			return err
		},
		"ListRoleTags": func() error { _, err := b.c.ListRoleTags(ctx, &sdk.ListRoleTagsInput{RoleName: name}); return err },
	} {
		servicetest.WantError(t, what, call(), "NoSuchEntity", 404, "The role with name none cannot be found.")
	}
}

func TestCreateRoleRefusals(t *testing.T) {
	b := newBench(t)
	b.role("taken")
	for _, tc := range []struct {
		what, code string
		status     int
		set        func(*sdk.CreateRoleInput)
		text       string
	}{
		{"taken", "EntityAlreadyExists", 409, func(in *sdk.CreateRoleInput) { in.RoleName = aws.String("TAKEN") }, "Role with name TAKEN already exists."},
		{"boundary", "NoSuchEntity", 404, func(in *sdk.CreateRoleInput) { in.PermissionsBoundary = aws.String("arn:aws:iam::aws:policy/P") }, "Scope ARN: arn:aws:iam::aws:policy/P does not exist or is not attachable."},
		{"tags", "InvalidInput", 400, func(in *sdk.CreateRoleInput) {
			in.Tags = []types.Tag{{Key: aws.String("k"), Value: aws.String("1")}, {Key: aws.String("K"), Value: aws.String("2")}}
		}, "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{"name", "ValidationError", 400, func(in *sdk.CreateRoleInput) { in.RoleName = aws.String("a b") },
			`1 validation error detected: Value 'a b' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+`},
		{"long name", "ValidationError", 400, func(in *sdk.CreateRoleInput) { in.RoleName = aws.String(strings.Repeat("r", 65)) },
			"1 validation error detected: Value '" + strings.Repeat("r", 65) + "' at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"short session", "ValidationError", 400, func(in *sdk.CreateRoleInput) { in.MaxSessionDuration = aws.Int32(3599) },
			"1 validation error detected: Value '3599' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600"},
		{"long trust policy", "LimitExceeded", 409, func(in *sdk.CreateRoleInput) {
			in.AssumeRolePolicyDocument = aws.String(trust + strings.Repeat(" ", 2048))
		}, "Cannot exceed quota for ACLSizePerRole: 2048"},
	} {
		in := &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trust)}
		tc.set(in)
		_, err := b.c.CreateRole(t.Context(), in)
		servicetest.WantError(t, tc.what, err, tc.code, tc.status, tc.text)
	}
}

// Documents that are not well formed are refused in AWS's words.
func TestMalformedPolicies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	statement := func(members string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + members + `}]}`
	}
	const lambda, assume, all = `"Principal":{"Service":"lambda.amazonaws.com"}`, `"Action":"sts:AssumeRole"`, `"Resource":"*"`
	for _, tc := range []struct{ document, asTrust, asPolicy string }{
		{`{`, "This policy contains invalid Json", "This policy contains invalid Json"},
		{`[]`, "Syntax errors in policy.", "Syntax errors in policy."},
		{`{"Version":"2020-01-01","Statement":[]}`, "Syntax errors in policy.", "Syntax errors in policy."},
		{statement(lambda + "," + all), "Policy statement must contain actions.", "Policy statement must contain actions."},
		{statement(lambda + `,"Action":"AssumeRole"`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{statement(lambda + "," + assume + "," + all), "Has prohibited field Resource", "Policy document should not specify a principal."},
		{statement(assume), "Missing required field Principal", "Policy statement must contain resources."},
		{statement(assume + `,"Resource":"secret"`), "Missing required field Principal", `Resource secret must be in ARN format or "*".`},
		{statement(assume + `,"NotResource":["*","x"]`), "Missing required field Principal", `Resource x must be in ARN format or "*".`},
		{statement(`"Principal":{"AWS":"somebody"},` + assume), `Invalid principal in policy: "AWS":"somebody"`, "Policy document should not specify a principal."},
		{statement(`"Principal":{"AWS":["*","arn:aws:iam::123456789012:group/g"]},` + assume), `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:group/g"`, "Policy document should not specify a principal."},
		{statement(`"Principal":{"Service":"lambda"},` + assume), `Invalid principal in policy: "SERVICE":"lambda"`, "Policy document should not specify a principal."},
	} {
		_, err := b.c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("new"), AssumeRolePolicyDocument: &tc.document})
		servicetest.WantError(t, "CreateRole "+tc.document, err, "MalformedPolicyDocument", 400, tc.asTrust)
		_, err = b.c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("r"), PolicyDocument: &tc.document})
		servicetest.WantError(t, "UpdateAssumeRolePolicy "+tc.document, err, "MalformedPolicyDocument", 400, tc.asTrust)
		_, err = b.c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("p"), PolicyDocument: &tc.document})
		servicetest.WantError(t, "PutRolePolicy "+tc.document, err, "MalformedPolicyDocument", 400, tc.asPolicy)
	}
}

// A change and its event are stored together; a refused one leaves neither.
func TestEvents(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.role("r")
	_, err := b.c.TagRole(ctx, &sdk.TagRoleInput{RoleName: aws.String("r"), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	b.must(err)
	_, err = b.c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trust)})
	if err == nil {
		t.Fatal("a role was made twice")
	}
	var stored []trail.Record
	b.must(b.Store.View(ctx, func(tx *store.Tx) (err error) {
		stored, _, err = tx.Events(store.EventQuery{Account: servicetest.Account, Region: servicetest.Region, Limit: 10})
		return err
	}))
	var got []string
	for _, r := range stored {
		var doc struct {
			RequestParameters struct{ RoleName string }
			Resources         []struct{ ARN string }
		}
		if err := json.Unmarshal(r.JSON, &doc); err != nil || len(doc.Resources) != 1 {
			t.Fatalf("%s: %v", r.JSON, err)
		}
		got = append(got, r.Name+" "+doc.RequestParameters.RoleName+" "+doc.Resources[0].ARN)
	}
	want := []string{"TagRole r arn:aws:iam::123456789012:role/r", "CreateRole r arn:aws:iam::123456789012:role/r"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored events (-want +got):\n%s", diff)
	}
}
