package secretsmanager

import (
	"context"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// callAt is a call for what is called without a request.
func callAt(*bench) *wire.Call {
	return &wire.Call{
		RequestID: "r", Service: "secretsmanager", Operation: "GetSecretValue", Region: home, Account: account,
		Time: time.Now(), Principal: authz.RootPrincipal(account, "AKIAROOT"),
	}
}

// authenticate makes the caller of the access key: one that was made before,
// root of another account, or root.
func (b *bench) authenticate(_ context.Context, q *sigv4.Request, _ []byte, _ string) (iam.Principal, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.callers[q.Scope.AccessKeyID]; ok {
		return p, nil
	}
	if q.Scope.AccessKeyID == foreign.accessKey {
		return authz.RootPrincipal(stranger, q.Scope.AccessKeyID), nil
	}
	return authz.RootPrincipal(account, q.Scope.AccessKeyID), nil
}

// everything is a statement that allows all.
const everything = `{"Effect":"Allow","Action":"*","Resource":"*"}`

// document is a policy of the statements.
func document(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// user makes a user of the account, with a policy of the statements.
func (b *bench) user(account, name, statements string) caller {
	b.t.Helper()
	u := &iam.User{Account: account, Name: name, Path: "/", ID: "AIDA" + strings.ToUpper(name), CreatedAt: time.Now()}
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error { return tx.SaveUser(nil, u) }))
	return b.called(iam.Principal{Type: iam.IAMUser, Account: account, ARN: u.ARN(), ID: u.ID, Name: name}, statements)
}

// roleSession makes a role of the account, with a policy of the statements,
// and a session of it. id is the role's unique ID.
func (b *bench) roleSession(name, id, statements string) caller {
	b.t.Helper()
	r := &iam.Role{Account: account, Name: name, Path: "/", ID: id, CreatedAt: time.Now()}
	b.must(b.Store.Update(b.t.Context(), func(tx *store.Tx) error { return tx.SaveRole(nil, r) }))
	return b.called(iam.Principal{
		Type: iam.AssumedRole, Account: account, ARN: r.SessionARN("s"), ID: id + ":s", Name: name, Session: "s", RoleARN: r.ARN(),
	}, statements)
}

// called makes a caller of a principal.
func (b *bench) called(p iam.Principal, statements string) caller {
	b.t.Helper()
	p.Identity = &iam.Identity{}
	if statements != "" {
		policy, err := iam.CompileText(document(statements), "own")
		b.must(err)
		p.Identity.Policies = []*iam.Policy{policy}
	}
	p.AccessKeyID = "AKIA" + p.ID
	b.mu.Lock()
	defer b.mu.Unlock()
	b.callers[p.AccessKeyID] = p
	return caller{home, p.AccessKeyID}
}

// govern gives a secret a policy of the statements.
func (b *bench) govern(id, statements string) {
	b.t.Helper()
	b.ok("PutResourcePolicy", `{"SecretId":"`+id+`","ResourcePolicy":`+quote(b.t, document(statements))+`}`)
}
