package trail_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/trail"
)

// Who called is told as AWS documents it for each sort of caller.
func TestUserIdentity(t *testing.T) {
	const (
		account  = "123456789012"
		provider = "arn:aws:iam::123456789012:oidc-provider/issuer.example"
	)
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		who            iam.Principal
		username, want string
	}{
		{iam.Principal{Type: iam.IAMUser, Account: account, ARN: "arn:aws:iam::123456789012:user/ann", ID: "AIDA", Name: "ann", AccessKeyID: "AKIA"}, "ann",
			`{"type":"IAMUser","principalId":"AIDA","arn":"arn:aws:iam::123456789012:user/ann","accountId":"123456789012","accessKeyId":"AKIA","userName":"ann"}`},
		{iam.Principal{Type: iam.IAMUser, Account: account, ARN: "arn:aws:iam::123456789012:user/ann", ID: "AIDA", Name: "ann", AccessKeyID: "ASIA", IssuedAt: at}, "ann",
			`{"type":"IAMUser","principalId":"AIDA","arn":"arn:aws:iam::123456789012:user/ann","accountId":"123456789012","accessKeyId":"ASIA","userName":"ann",` +
				`"sessionContext":{"attributes":{"creationDate":"2026-11-21T12:00:00Z","mfaAuthenticated":"false"}}}`},
		{iam.Principal{
			Type: iam.AssumedRole, Account: account, ARN: "arn:aws:sts::123456789012:assumed-role/r/s", ID: "AROA:s", Name: "r", Session: "s",
			RoleARN: "arn:aws:iam::123456789012:role/r", AccessKeyID: "ASIA", IssuedAt: at, Given: &iam.Session{Provider: provider, SourceIdentity: "alice"},
		}, "s", `{"type":"AssumedRole","principalId":"AROA:s","arn":"arn:aws:sts::123456789012:assumed-role/r/s","accountId":"123456789012","accessKeyId":"ASIA",` +
			`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA","arn":"arn:aws:iam::123456789012:role/r","accountId":"123456789012","userName":"r"},` +
			`"webIdFederationData":{"federatedProvider":"` + provider + `","attributes":{}},` +
			`"attributes":{"creationDate":"2026-11-21T12:00:00Z","mfaAuthenticated":"false"},"sourceIdentity":"alice"}}`},
		{iam.Principal{Type: iam.WebIdentity, ID: provider + ":aud:sub", Name: "sub", IdentityProvider: provider}, "sub",
			`{"type":"WebIdentityUser","principalId":"` + provider + `:aud:sub","userName":"sub","identityProvider":"` + provider + `"}`},
	} {
		e := trail.Event{ID: "id", Time: at, Type: trail.APICall, Account: account, Principal: tc.who}
		r, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ UserIdentity json.RawMessage }
		if err := json.Unmarshal(r.JSON, &got); err != nil {
			t.Fatal(err)
		}
		if string(got.UserIdentity) != tc.want {
			t.Errorf("got  %s\nwant %s", got.UserIdentity, tc.want)
		}
		again, err := trail.ParseRecord(r.JSON)
		if err != nil || r.Username != tc.username || again.Username != tc.username {
			t.Errorf("got the names %q and %q, %v, want %q", r.Username, again.Username, err, tc.username)
		}
	}
}
