//lint:file-ignore SA1019 clients still read PackedPolicySize

package sts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
)

const (
	foreign   = "999999999999"
	anything  = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	assumeAll = `{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}`
)

func roleARN(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// assumeAs assumes a role of the first account.
func (b *bench) assumeAs(cfg aws.Config, name string, set func(*sdk.AssumeRoleInput)) (*sdk.AssumeRoleOutput, error) {
	in := &sdk.AssumeRoleInput{RoleArn: aws.String(roleARN(name)), RoleSessionName: aws.String("session")}
	if set != nil {
		set(in)
	}
	return sdk.NewFromConfig(cfg).AssumeRole(b.t.Context(), in)
}

func (b *bench) mustAssume(cfg aws.Config, name string, set func(*sdk.AssumeRoleInput)) *types.Credentials {
	b.t.Helper()
	out, err := b.assumeAs(cfg, name, set)
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Credentials
}

func wantDenied(t testing.TB, what string, err error, caller, action, role string) {
	t.Helper()
	servicetest.WantError(t, what, err, "AccessDenied", 403, "User: "+caller+" is not authorized to perform: "+action+" on resource: "+roleARN(role))
}

func userARN(account, name string) string { return "arn:aws:iam::" + account + ":user/" + name }

// Who may assume a role: in the account the trust policy alone, if it names
// the caller, else both sides; across accounts both sides.
func TestWhoMayAssume(t *testing.T) {
	b := newBench(t)
	b.update(func(tx *store.Tx) error { return tx.SaveAccount(&iam.Account{ID: foreign, Name: "second"}) })
	users := func(arns ...string) string { return `{"AWS":["` + strings.Join(arns, `","`) + `"]}` }
	root := func(account string) string { return "arn:aws:iam::" + account + ":root" }
	b.role("byaccount", "/", document(trust(users(root(account)), `"sts:AssumeRole"`, "")))
	b.role("byname", "/", document(trust(users(userARN(account, "plain")), `"sts:AssumeRole"`, "")))
	b.role("byforeign", "/", document(trust(users(root(foreign)), `"sts:AssumeRole"`, "")))
	b.role("byforeignname", "/", document(trust(users(userARN(foreign, "plain"), userARN(foreign, "allowed")), `"sts:AssumeRole"`, "")))
	b.role("all", "/", document(trust(`"*"`, `"sts:AssumeRole"`, "")))
	b.role("allbut", "/", document(trust(`"*"`, `"sts:AssumeRole"`, "")+`,{"Effect":"Deny","Principal":`+users(userARN(account, "plain"))+`,"Action":"sts:*"}`))
	foreignRoot, _ := b.key(foreign, "")
	for _, tc := range []struct {
		who, arn string
		client   aws.Config
		may      string
	}{
		{"a user without policies", userARN(account, "plain"), b.user(account, "plain", ""), "byname all"},
		{"a user who may assume", userARN(account, "allowed"), b.user(account, "allowed", assumeAll), "byaccount all allbut"},
		{"a user who must not", userARN(account, "banned"), b.user(account, "banned", assumeAll+`,{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"arn:aws:iam::*:role/all"}`), "byaccount allbut"},
		{"the root", root(account), b.cfg, "byaccount all allbut"},
		{"a foreign user without policies", userARN(foreign, "plain"), b.user(foreign, "plain", ""), ""},
		{"a foreign user who may", userARN(foreign, "allowed"), b.user(foreign, "allowed", assumeAll), "byforeign byforeignname all allbut"},
		{"a foreign root", root(foreign), foreignRoot, "byforeign all allbut"},
	} {
		for _, name := range []string{"byaccount", "byname", "byforeign", "byforeignname", "all", "allbut", "missing"} {
			_, err := b.assumeAs(tc.client, name, nil)
			switch {
			case strings.Contains(" "+tc.may+" ", " "+name+" "):
				if err != nil {
					t.Errorf("%s, role %s: %v", tc.who, name, err)
				}
			case tc.who == "a user who must not" && name == "all":
				servicetest.WantError(t, tc.who, err, "AccessDenied", 403, "User: "+tc.arn+" is not authorized to perform: sts:AssumeRole on resource: "+
					roleARN(name)+" with an explicit deny in an identity-based policy")
			default:
				wantDenied(t, tc.who+", role "+name, err, tc.arn, "sts:AssumeRole", name)
			}
		}
	}
}

// Conditions of trust policies see what the request and the caller have.
func TestTrustConditions(t *testing.T) {
	b := newBench(t)
	b.user(account, "ann", "")
	cfg, _ := b.key(account, "ann")
	full := func(in *sdk.AssumeRoleInput) {
		in.ExternalId, in.SourceIdentity, in.DurationSeconds = aws.String("secret-handshake"), aws.String("alice"), aws.Int32(900)
		in.Tags = []types.Tag{{Key: aws.String("Cost"), Value: aws.String("1")}, {Key: aws.String("Stage"), Value: aws.String("test")}}
		in.TransitiveTagKeys = []string{"Cost"}
	}
	for i, tc := range []struct {
		condition   string
		plain, full bool
	}{
		{`"StringEquals":{"sts:ExternalId":"secret-handshake"}`, false, true},
		{`"StringEquals":{"sts:ExternalId":"other"}`, false, false},
		{`"Null":{"sts:ExternalId":"true"}`, true, false},
		{`"StringLike":{"sts:RoleSessionName":"sess*"}`, true, true},
		{`"StringLike":{"sts:RoleSessionName":"${aws:username}"}`, false, false},
		{`"StringEquals":{"sts:SourceIdentity":"alice"}`, false, true},
		{`"StringEquals":{"aws:RequestTag/cost":"1"}`, false, true},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["Cost","Stage"]}`, true, true},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["Cost"]}`, true, false},
		{`"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["Cost"]},"Null":{"sts:TransitiveTagKeys":"false"}`, false, true},
		{`"NumericLessThanEquals":{"sts:DurationSeconds":"900"}`, false, true},
		{`"StringEquals":{"aws:PrincipalTag/Team":"blue"}`, true, true},
		{`"StringEquals":{"aws:ResourceTag/Open":"to-${aws:username}"}`, true, true},
		{`"StringEquals":{"iam:ResourceTag/Open":"to-bob"}`, false, false},
		{`"StringEquals":{"aws:PrincipalArn":"` + userARN(account, "ann") + `","aws:PrincipalAccount":"` + account + `"}`, true, true},
		{`"IpAddress":{"aws:SourceIp":"127.0.0.1/32"}`, true, true},
		{`"NotIpAddress":{"aws:SourceIp":"127.0.0.1/32"}`, false, false},
	} {
		name := "role" + strings.Repeat("x", i)
		b.roleOf(account, name, "/", document(trust(`{"AWS":"`+userARN(account, "ann")+`"}`, `"sts:*"`, `,"Condition":{`+tc.condition+`}`)),
			iam.Holdings{Tags: []iam.Tag{{Key: "Open", Value: "to-ann"}}})
		for _, call := range []struct {
			set  func(*sdk.AssumeRoleInput)
			want bool
		}{{nil, tc.plain}, {full, tc.full}} {
			_, err := b.assumeAs(cfg, name, call.set)
			if call.want && err != nil {
				t.Errorf("%s, full %t: %v", tc.condition, call.set != nil, err)
			}
			if !call.want {
				wantDenied(t, tc.condition, err, userARN(account, "ann"), "sts:AssumeRole", name)
			}
		}
	}
}

// Tags and source identities need actions of their own, also those that a
// chain hands on.
func TestTagsNeedPermission(t *testing.T) {
	b := newBench(t)
	everybody := func(actions string) string { return document(trust(`{"AWS":"`+account+`"}`, actions, "")) }
	b.role("plain", "/", everybody(`"sts:AssumeRole"`))
	b.role("tagged", "/", everybody(`"sts:AssumeRole","sts:TagSession"`))
	b.role("known", "/", everybody(`"sts:AssumeRole","sts:SetSourceIdentity"`))
	first := b.roleOf(account, "first", "/", everybody(`"sts:*"`), iam.Holdings{Inline: map[string]string{"p": document(`{"Effect":"Allow","Action":"sts:*","Resource":"*"}`)}})
	tags := func(in *sdk.AssumeRoleInput) {
		in.Tags = []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
		in.TransitiveTagKeys = []string{"k"}
	}
	identity := func(in *sdk.AssumeRoleInput) { in.SourceIdentity = aws.String("alice") }
	_, err := b.assumeAs(b.cfg, "plain", tags)
	wantDenied(t, "tags", err, rootARN, "sts:TagSession", "plain")
	_, err = b.assumeAs(b.cfg, "tagged", identity)
	wantDenied(t, "source identity", err, rootARN, "sts:SetSourceIdentity", "tagged")
	b.mustAssume(b.cfg, "tagged", tags)
	b.mustAssume(b.cfg, "known", identity)
	session := first.SessionARN("session")
	chain := as(b.cfg, b.mustAssume(b.cfg, "first", tags))
	_, err = b.assumeAs(chain, "plain", nil)
	wantDenied(t, "inherited tags", err, session, "sts:TagSession", "plain")
	b.mustAssume(chain, "tagged", nil)
	chain = as(b.cfg, b.mustAssume(b.cfg, "first", identity))
	_, err = b.assumeAs(chain, "plain", nil)
	wantDenied(t, "inherited source identity", err, session, "sts:SetSourceIdentity", "plain")
	b.mustAssume(chain, "known", nil)
}

// A session may assume a role that trusts it, for an hour at most, and hands
// transitive tags and the source identity on.
func TestChaining(t *testing.T) {
	b := newBench(t)
	first := b.roleOf(account, "first", "/ops/", document(trust(`{"AWS":"`+account+`"}`, `"sts:*"`, "")), iam.Holdings{Tags: []iam.Tag{{Key: "Role", Value: "first"}}})
	second := b.role("second", "/", document(trust(`{"AWS":"`+first.ARN()+`"}`, `"sts:*"`, "")))
	b.role("third", "/", document(trust(`{"AWS":"`+second.ARN()+`"}`, `"sts:*"`, "")))
	out, err := b.assume(func(in *sdk.AssumeRoleInput) {
		in.RoleArn, in.SourceIdentity = aws.String(first.ARN()), aws.String("alice")
		in.Tags = []types.Tag{{Key: aws.String("Cost"), Value: aws.String("1")}, {Key: aws.String("Own"), Value: aws.String("2")}}
		in.TransitiveTagKeys = []string{"cost"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if *out.SourceIdentity != "alice" || out.PackedPolicySize == nil || *out.PackedPolicySize < 1 || *out.PackedPolicySize > 10 {
		t.Errorf("got %+v", out)
	}
	chain := as(b.cfg, out.Credentials)
	got, err := b.assumeAs(chain, "second", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.SourceIdentity == nil || *got.SourceIdentity != "alice" {
		t.Error("the source identity is not handed on")
	}
	wantIdentity(t, as(b.cfg, got.Credentials), "arn:aws:sts::123456789012:assumed-role/second/session", "AROASECOND:session")
	third := b.mustAssume(as(b.cfg, got.Credentials), "third", func(in *sdk.AssumeRoleInput) {
		in.Tags = []types.Tag{{Key: aws.String("New"), Value: aws.String("3")}}
	})
	_, who, err := b.Keyring.Secret(t.Context(), *third.AccessKeyId, *third.SessionToken, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := &iam.Session{Tags: []iam.Tag{{Key: "New", Value: "3"}, {Key: "Cost", Value: "1"}}, Transitive: []string{"cost"}, SourceIdentity: "alice"}
	if diff := cmp.Diff(want, who.Given); diff != "" {
		t.Errorf("at the end of the chain: -want +got:\n%s", diff)
	}
	refuse := func(what, code, text string, set func(*sdk.AssumeRoleInput)) {
		t.Helper()
		_, err := b.assumeAs(chain, "second", set)
		servicetest.WantError(t, what, err, code, 400, text)
	}
	refuse("longer", "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
		func(in *sdk.AssumeRoleInput) { in.DurationSeconds = aws.Int32(3601) })
	refuse("another source identity", "ValidationError", "The source identity is already set for this assume role session",
		func(in *sdk.AssumeRoleInput) { in.SourceIdentity = aws.String("bob") })
	refuse("a transitive tag again", "InvalidParameterValue",
		"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
		func(in *sdk.AssumeRoleInput) {
			in.Tags = []types.Tag{{Key: aws.String("COST"), Value: aws.String("2")}}
		})
	b.mustAssume(chain, "second", func(in *sdk.AssumeRoleInput) {
		in.SourceIdentity, in.DurationSeconds = aws.String("alice"), aws.Int32(3600)
	})
	_, err = b.assumeAs(b.cfg, "second", nil)
	wantDenied(t, "root", err, rootARN, "sts:AssumeRole", "second")
}

// What a function in a VPC assumes calls from that VPC, however long the
// chain, but is not the function's own session.
func TestChainFromVPC(t *testing.T) {
	b := newBench(t)
	first := b.role("first", "/", document(trust(`{"AWS":"`+account+`"}`, `"sts:*"`, "")))
	second := b.role("second", "/", document(trust(`{"AWS":"`+first.ARN()+`"}`, `"sts:*"`, "")))
	b.role("third", "/", document(trust(`{"AWS":"`+second.ARN()+`"}`, `"sts:*"`, "")))
	const function = "arn:aws:lambda:us-east-1:123456789012:function:f"
	own, err := b.Keyring.Issue(first, "f", time.Hour, &iam.Session{SourceFunction: function, SourceVPC: "vpc-1"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := as(b.cfg, &types.Credentials{AccessKeyId: &own.AccessKeyID, SecretAccessKey: &own.SecretAccessKey, SessionToken: &own.SessionToken})
	for _, next := range []string{"second", "third"} {
		made := b.mustAssume(cfg, next, nil)
		_, who, err := b.Keyring.Secret(t.Context(), *made.AccessKeyId, *made.SessionToken, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&iam.Session{SourceVPC: "vpc-1", VPCFunction: function}, who.Given); diff != "" {
			t.Errorf("%s: -want +got:\n%s", next, diff)
		}
		cfg = as(b.cfg, made)
	}
}

// Session policies only take away, at every call and in every service.
func TestSessionPolicies(t *testing.T) {
	b := newBench(t)
	b.roleOf(account, "rich", "/", trustsAccount, iam.Holdings{Inline: map[string]string{"all": document(anything)}})
	b.role("poor", "/", trustsAccount)
	limited := func(in *sdk.AssumeRoleInput) {
		in.Policy = aws.String("\n" + document(`{"Effect":"Allow", "Action":"sts:AssumeRole", "Resource":"arn:aws:iam::*:role/poor"}`))
	}
	out, err := b.assumeAs(b.cfg, "rich", limited)
	if err != nil {
		t.Fatal(err)
	}
	if out.PackedPolicySize == nil || *out.PackedPolicySize < 1 || *out.PackedPolicySize > 50 {
		t.Errorf("got a packed size of %v", out.PackedPolicySize)
	}
	if n := len(*out.Credentials.SessionToken); n > 700 {
		t.Errorf("the token has %d characters", n)
	}
	cfg := as(b.cfg, out.Credentials)
	b.mustAssume(cfg, "poor", nil)
	_, err = b.assumeAs(cfg, "rich", nil)
	wantDenied(t, "what the session policy leaves out", err, "arn:aws:sts::123456789012:assumed-role/rich/session", "sts:AssumeRole", "rich")
	b.update(func(tx *store.Tx) error {
		return tx.SaveCustomerPolicy(nil, &iam.CustomerPolicy{Account: account, Name: "narrow", Path: "/", ID: "ANPAX", Default: "v1", NextVersion: 2,
			Versions: []iam.PolicyVersion{{ID: "v1", Document: document(`{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::*:role/rich"}`)}}})
	})
	cfg = as(b.cfg, b.mustAssume(b.cfg, "rich", func(in *sdk.AssumeRoleInput) {
		in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::123456789012:policy/narrow")}}
	}))
	b.mustAssume(cfg, "rich", nil)
	_, err = b.assumeAs(cfg, "poor", nil)
	wantDenied(t, "what the policy by ARN leaves out", err, "arn:aws:sts::123456789012:assumed-role/rich/session", "sts:AssumeRole", "poor")
	// The limits hold for what the session assumes, but do not pass on.
	wide := as(b.cfg, b.mustAssume(cfg, "rich", nil))
	b.mustAssume(wide, "poor", nil)
}

// Keys that are inactive or gone are unknown at once, in the words of each
// protocol; a role that is made anew has none of the old one's sessions.
func TestKeysEnd(t *testing.T) {
	b := newBench(t)
	cfg := b.user(account, "ann", "")
	wantIdentity(t, cfg, userARN(account, "ann"), "AIDA1ANN")
	creds, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unknown := func(what string, cfg aws.Config) {
		t.Helper()
		_, err := sdk.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
		servicetest.WantError(t, what, err, "InvalidClientTokenId", 403, "The security token included in the request is invalid.")
	}
	set := func(id string, inactive bool) {
		b.update(func(tx *store.Tx) error {
			k, err := tx.AccessKey(id)
			if err != nil {
				return err
			}
			k.Inactive = inactive
			return tx.SaveAccessKey(k)
		})
	}
	set(creds.AccessKeyID, true)
	unknown("inactive", cfg)
	set(creds.AccessKeyID, false)
	wantIdentity(t, cfg, userARN(account, "ann"), "AIDA1ANN")
	b.update(func(tx *store.Tx) error { return tx.DeleteAccessKey(creds.AccessKeyID) })
	unknown("deleted", cfg)
	again, id := b.key(account, "ann")
	session, err := sdk.NewFromConfig(again).GetSessionToken(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ofUser := as(b.cfg, session.Credentials)
	wantIdentity(t, ofUser, userARN(account, "ann"), "AIDA1ANN")
	set(id, true)
	unknown("inactive, with a session", again)
	wantIdentity(t, ofUser, userARN(account, "ann"), "AIDA1ANN")
	set(id, false)
	r := b.role("rotator", "/", trustsAccount)
	ofRole := as(b.cfg, b.mustAssume(b.cfg, "rotator", nil))
	wantIdentity(t, ofRole, r.SessionARN("session"), "AROAROTATOR:session")
	b.update(func(tx *store.Tx) error {
		if err := tx.DeleteRole(account, "rotator"); err != nil {
			return err
		}
		return tx.DeleteUser(account, "ann")
	})
	unknown("the user's key", again)
	unknown("the user's session", ofUser)
	unknown("the role's session", ofRole)
	r.ID = "AROANEW"
	b.update(func(tx *store.Tx) error { return tx.SaveRole(nil, r) })
	b.update(func(tx *store.Tx) error {
		return tx.SaveUser(nil, &iam.User{Account: account, Name: "ann", Path: "/", ID: "AIDANEW"})
	})
	unknown("the user's key, of another", again)
	unknown("the user's session, of another", ofUser)
	unknown("the role's session, of another", ofRole)
	_, err = secretsmanager.NewFromConfig(ofRole).ListSecrets(t.Context(), nil)
	if err == nil {
		t.Error("the session reaches another service")
	}
}

// Sessions of users and roots may do what these may, and no session begets a
// session of its own kind.
func TestSessionToken(t *testing.T) {
	b := newBench(t)
	ann := b.user(account, "ann", assumeAll+`,{"Effect":"Deny","Action":"sts:GetSessionToken","Resource":"*"}`)
	b.role("rotator", "/", trustsAccount)
	for _, tc := range []struct {
		cfg     aws.Config
		seconds *int32
		life    time.Duration
		arn, id string
	}{
		{ann, nil, 12 * time.Hour, userARN(account, "ann"), "AIDA1ANN"},
		{ann, aws.Int32(129600), 36 * time.Hour, userARN(account, "ann"), "AIDA1ANN"},
		{b.cfg, nil, time.Hour, rootARN, account},
		{b.cfg, aws.Int32(7200), time.Hour, rootARN, account},
		{b.cfg, aws.Int32(900), 15 * time.Minute, rootARN, account},
	} {
		before := time.Now().Truncate(time.Second)
		out, err := sdk.NewFromConfig(tc.cfg).GetSessionToken(t.Context(), &sdk.GetSessionTokenInput{DurationSeconds: tc.seconds})
		if err != nil {
			t.Error(err)
			continue
		}
		if end := *out.Credentials.Expiration; end.Before(before.Add(tc.life)) || end.After(time.Now().Add(tc.life)) {
			t.Errorf("%s: ends at %v, want %v from now", tc.arn, end, tc.life)
		}
		session := as(b.cfg, out.Credentials)
		wantIdentity(t, session, tc.arn, tc.id)
		b.mustAssume(session, "rotator", nil)
		_, err = sdk.NewFromConfig(session).GetSessionToken(t.Context(), nil)
		servicetest.WantError(t, tc.arn, err, "AccessDenied", 403, "Cannot call GetSessionToken with session credentials")
	}
	_, err := sdk.NewFromConfig(as(b.cfg, b.mustAssume(b.cfg, "rotator", nil))).GetSessionToken(t.Context(), nil)
	servicetest.WantError(t, "a role's session", err, "AccessDenied", 403, "Cannot call GetSessionToken with session credentials")
	_, err = sdk.NewFromConfig(ann).GetSessionToken(t.Context(), &sdk.GetSessionTokenInput{SerialNumber: aws.String("arn:aws:iam::123456789012:mfa/ann"), TokenCode: aws.String("123456")})
	servicetest.WantError(t, "a device", err, "AccessDenied", 403, noMFA)
}
