package authz_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	annARN  = "arn:aws:iam::" + account + ":user/ann"
	foreign = "999999999999"
)

// policy compiles a policy of the given statements.
func policy(t testing.TB, statements string) *iam.Policy {
	t.Helper()
	p, err := iam.CompileText(`{"Version":"2012-10-17","Statement":[`+statements+`]}`, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ann is a user of the account who holds one policy.
func ann(t testing.TB, statements string) iam.Principal {
	t.Helper()
	return iam.Principal{
		Type: iam.IAMUser, Account: account, ARN: annARN, ID: "AIDAANN", Name: "ann",
		Identity: &iam.Identity{Policies: []*iam.Policy{policy(t, statements)}, Tags: []iam.Tag{{Key: "Team", Value: "blue"}}},
	}
}

const anything = `{"Effect":"Allow","Action":"*","Resource":"*"}`

// What does not exist and what is refused cannot be told apart.
func TestMissingLooksDenied(t *testing.T) {
	w := newWorld(t)
	w.call.Principal = ann(t, `{"Effect":"Allow","Action":"secretsmanager:*","Resource":"arn:aws:secretsmanager:*:*:secret:mine/*"}`)
	get := func(id string) error {
		return w.view(func(tx *store.Tx) error {
			_, err := w.Guard.Secret(tx, w.call, id, "")
			return err
		})
	}
	for _, id := range []string{"app/db", "app/none", w.secretARN, strings.Replace(w.secretARN, "db", "no", 1)} {
		want := "User: " + annARN + " is not authorized to perform: secretsmanager:GetSecretValue on resource: " + id +
			" because no identity-based policy allows the secretsmanager:GetSecretValue action"
		wantFault(t, id, get(id), fault.Denied, want)
	}
	wantFault(t, "mine/none", get("mine/none"), fault.NotFound, notFound)
}

// The condition keys of the request, of the secret and of the caller.
func TestConditions(t *testing.T) {
	w := newWorld(t)
	var sec *secret.Secret
	err := w.view(func(tx *store.Tx) (err error) {
		sec, err = w.Guard.Secret(tx, w.call, "app/db", "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sec.Tags = []secret.Tag{{Key: "Team", Value: "blue"}}
	sec.Rotation.FunctionARN = "arn:aws:lambda:us-east-1:" + account + ":function:f"
	w.call.Time = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	w.call.SourceIP, w.call.UserAgent, w.call.Referer = "10.1.2.3", "agent", "page"
	for _, tc := range []struct {
		condition string
		want      bool
	}{
		{`"StringEquals":{"secretsmanager:ResourceTag/team":"blue"}`, true},
		{`"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/Team}"}`, true},
		{`"StringEquals":{"aws:ResourceTag/Team":"red"}`, false},
		{`"StringEquals":{"secretsmanager:SecretId":"` + w.secretARN + `"}`, true},
		{`"StringEquals":{"secretsmanager:resource/AllowRotationLambdaArn":"` + sec.Rotation.FunctionARN + `"}`, true},
		{`"StringEquals":{"secretsmanager:resource/AllowRotationLambdaArn":"arn:aws:lambda:us-east-1:1:function:g"}`, false},
		{`"StringEquals":{"secretsmanager:SecretPrimaryRegion":"us-east-1"}`, true},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, true},
		{`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, false},
		{`"Null":{"aws:SourceVpce":"true","aws:VpcSourceIp":"true"}`, true},
		{`"Bool":{"aws:SecureTransport":"true"}`, false},
		{`"Bool":{"aws:ViaAWSService":"false"}`, true},
		{`"StringEquals":{"aws:RequestedRegion":"us-east-1","aws:UserAgent":"agent","aws:Referer":"page"}`, true},
		{`"DateGreaterThan":{"aws:CurrentTime":"2026-11-21T11:59:59Z"}`, true},
		{`"NumericLessThan":{"aws:EpochTime":"1795262400"}`, false},
		{`"StringEquals":{"aws:PrincipalArn":"` + annARN + `","aws:ResourceAccount":"` + account + `"}`, true},
		{`"Null":{"aws:MultiFactorAuthPresent":"true"}`, true},
		{`"Null":{"kms:ViaService":"true","secretsmanager:unknown":"true"}`, true},
	} {
		w.call.Principal = ann(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+tc.condition+`}}`)
		err := w.Guard.OnSecret(w.call, "secretsmanager:GetSecretValue", sec, w.secretARN, "app/db")
		if got := err == nil; got != tc.want {
			t.Errorf("%s: got %v (%v), want %v", tc.condition, got, err, tc.want)
		}
	}
	w.call.SourceIP = "127.0.0.1" // nobody on a network can read what stays on the machine
	w.call.Principal = ann(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`)
	if err := w.Guard.OnSecret(w.call, "secretsmanager:GetSecretValue", sec, w.secretARN, "app/db"); err != nil {
		t.Error(err)
	}
}

// A call through a VPC endpoint needs what the endpoint's policy allows, and
// has other condition keys.
func TestEndpoint(t *testing.T) {
	w := newWorld(t)
	w.call.SourceIP = "10.1.2.3"
	w.call.Principal = ann(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{
		"StringEquals":{"aws:SourceVpce":"vpce-1","aws:SourceVpc":"vpc-1"},"IpAddress":{"aws:VpcSourceIp":"10.1.2.3"},"Null":{"aws:SourceIp":"true"}}}`)
	get := func() error {
		return w.view(func(tx *store.Tx) error {
			_, err := w.Guard.Secret(tx, w.call, "app/db", "")
			return err
		})
	}
	refused := "User: " + annARN + " is not authorized to perform: secretsmanager:GetSecretValue on resource: app/db "
	wantFault(t, "not through the endpoint", get(), fault.Denied, refused+"because no identity-based policy allows the secretsmanager:GetSecretValue action")
	w.call.Endpoint = &wire.Endpoint{ID: "vpce-1", VPC: "vpc-1"}
	if err := get(); err != nil {
		t.Error(err)
	}
	w.call.Endpoint.Policy = policy(t, `{"Effect":"Allow","Principal":"*","Action":"secretsmanager:DescribeSecret","Resource":"*"}`)
	wantFault(t, "endpoint without it", get(), fault.Denied, refused+"because no VPC endpoint policy allows the secretsmanager:GetSecretValue action")
	w.call.Endpoint.Policy = policy(t, `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`)
	wantFault(t, "endpoint against it", get(), fault.Denied, refused+"with an explicit deny in a VPC endpoint policy")
}

// The policy of a key comes first, and sees who uses it for what.
func TestKeyPolicy(t *testing.T) {
	w := newWorld(t)
	w.call.Principal = ann(t, anything)
	use := authz.KeyUse{Action: "kms:Decrypt", Context: key.SecretContext(w.secretARN, "v1"), Via: "secretsmanager"}
	direct := use
	direct.Via = ""
	const refused = "User: " + annARN + " is not authorized to perform: kms:Decrypt on resource: "
	statement := func(principal, condition string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"kms:*","Resource":"*","Condition":{` + condition + `}}}`
	}
	for _, tc := range []struct {
		policy string
		use    authz.KeyUse
		want   string
	}{
		{statement(account, ``), use, ""},
		{statement("arn:aws:iam::"+account+":user/bob", ``), use, "because no resource-based policy allows the kms:Decrypt action"},
		{statement(annARN, `"StringEquals":{"kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"}`), use, ""},
		{statement(annARN, `"StringEquals":{"kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"}`), direct, "because no resource-based policy allows the kms:Decrypt action"},
		{statement(annARN, `"StringEquals":{"kms:CallerAccount":"`+account+`","kms:EncryptionContext:SecretARN":"`+w.secretARN+`"}`), use, ""},
		{statement(annARN, `"StringEquals":{"kms:EncryptionContext:SecretARN":"another"}`), use, "because no resource-based policy allows the kms:Decrypt action"},
		{statement(annARN, `"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["SecretARN","SecretVersionId"]}`), use, ""},
		{statement(annARN, `"StringEquals":{"aws:CalledViaLast":"secretsmanager.amazonaws.com","kms:KeySpec":"SYMMETRIC_DEFAULT"}`), use, ""},
	} {
		w.key.Policy = tc.policy
		err := w.view(func(tx *store.Tx) error { return w.Guard.UseKey(tx, w.call, w.key, tc.use) })
		if tc.want != "" {
			wantFault(t, tc.policy, err, fault.Denied, refused+w.key.ARN()+" "+tc.want)
		} else if err != nil {
			t.Errorf("%s: %v", tc.policy, err)
		}
	}
}

// Another account's secret needs a policy on both sides.
func TestAcrossAccounts(t *testing.T) {
	w := newWorld(t)
	var sec *secret.Secret
	err := w.view(func(tx *store.Tx) (err error) {
		sec, err = w.Guard.Secret(tx, w.call, "app/db", "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.call.Principal = ann(t, anything)
	w.call.Principal.Account, w.call.Principal.ARN = foreign, "arn:aws:iam::"+foreign+":user/ann"
	on := func() error {
		return w.Guard.OnSecret(w.call, "secretsmanager:GetSecretValue", sec, w.secretARN, w.secretARN)
	}
	refused := "User: arn:aws:iam::" + foreign + ":user/ann is not authorized to perform: secretsmanager:GetSecretValue on resource: " + w.secretARN + " "
	wantFault(t, "without a policy", on(), fault.Denied, refused+"because no resource-based policy allows the secretsmanager:GetSecretValue action")
	sec.Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + foreign + `"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}}`
	if err := on(); err != nil {
		t.Error(err)
	}
	w.call.Principal.Identity = nil
	wantFault(t, "without one of its own", on(), fault.Denied, refused+"because no identity-based policy allows the secretsmanager:GetSecretValue action")
}

// A policy that cannot be read allows nobody, but for the root who can replace
// it.
func TestUnreadablePolicy(t *testing.T) {
	w := newWorld(t)
	on := func() error {
		return w.Guard.On(w.call, "secretsmanager:PutResourcePolicy", &authz.Resource{ARN: w.secretARN, Policy: "{"})
	}
	if err := on(); err != nil {
		t.Error(err)
	}
	w.call.Principal = ann(t, anything)
	wantFault(t, "ann", on(), fault.Denied, "User: "+annARN+" is not authorized to perform: secretsmanager:PutResourcePolicy on resource: "+w.secretARN+
		" with an explicit deny in a resource-based policy")
}

// twenty is a policy of 20 statements, of which the last one allows.
func twenty(t testing.TB) iam.Principal {
	var b strings.Builder
	for range 19 {
		b.WriteString(`{"Effect":"Allow","Action":["secretsmanager:Describe*","secretsmanager:GetSecretValue"],
			"Resource":"arn:aws:secretsmanager:us-east-1:123456789012:secret:other/*"},`)
	}
	b.WriteString(`{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:*:*:secret:app/*",
		"Condition":{"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/Team}"}}}`)
	return ann(t, b.String())
}

func twentyStatements(t testing.TB) func() error {
	g := authz.NewGuard(nil, nil)
	call := &wire.Call{Service: "secretsmanager", Operation: "GetSecretValue", Region: region, Principal: twenty(t)}
	sec := &secret.Secret{Account: account, Region: region, Name: "app/db", Suffix: "AbCdEf", Tags: []secret.Tag{{Key: "Team", Value: "blue"}},
		Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"123456789012"}}}}`}
	address := sec.ARN()
	return func() error { return g.OnSecret(call, "secretsmanager:GetSecretValue", sec, address, "app/db") }
}

// Authorising a read by 20 statements does not allocate.
func TestOnSecretAllocations(t *testing.T) {
	on := twentyStatements(t)
	if err := on(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = on() }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkOnSecret(b *testing.B) {
	on := twentyStatements(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := on(); err != nil {
			b.Fatal(err)
		}
	}
}
