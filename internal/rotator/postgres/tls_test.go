package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// entrances are users by how the server lets them in.
var entrances = []string{"either", "encrypted", "unencrypted", "trusted", "cleartext", "unknown"}

func access(kindOf map[string]string) []string {
	return []string{
		kindOf["all"] + " all postgres 127.0.0.0/8 scram-sha-256", "host all either 127.0.0.0/8 scram-sha-256",
		"hostssl all encrypted 127.0.0.0/8 scram-sha-256", "hostnossl all unencrypted 127.0.0.0/8 scram-sha-256",
		"host all trusted 127.0.0.0/8 trust", "host all cleartext 127.0.0.0/8 password",
	}
}

func startEntrances(t *testing.T, tls bool) *pgserver.Server {
	t.Helper()
	kind := "host"
	if tls {
		kind = "hostssl"
	}
	db := start(t, pgserver.Config{
		TLS: tls, Settings: map[string]string{"listen_addresses": "127.0.0.1,127.0.0.2"}, Access: access(map[string]string{"all": kind}),
	})
	w := &world{db: db}
	for _, user := range entrances {
		w.exec(t, "postgres", fmt.Sprintf("CREATE USER %s PASSWORD '%s'", user, firstPassword))
	}
	return db
}

// TestTLS goes through what a secret says, what the server offers and demands,
// and whom the function trusts.
func TestTLS(t *testing.T) {
	t.Parallel()
	with, without := startEntrances(t, true), startEntrances(t, false)
	const (
		nobody, inline, file = "nobody", "inline", "file"
		encrypted, plain     = "SSL/TLS", "non SSL/TLS"
	)
	for _, test := range []struct {
		name  string
		db    *pgserver.Server
		user  string
		ssl   any
		trust string
		host  string
		way   string // of the login; "" where there is none
		cause rotator.Cause
		text  string
	}{
		{name: "absent", db: with, user: "either", trust: inline, way: encrypted},
		{name: "true, authority in a file", db: with, user: "encrypted", ssl: true, trust: file, way: encrypted},
		{name: "true, authority inline", db: with, user: "encrypted", ssl: "true", trust: inline, way: encrypted},
		{name: "true, not trusted", db: with, user: "either", ssl: true, trust: nobody, cause: rotator.CauseTLS, text: "unknown authority"},
		{name: "absent, not trusted", db: with, user: "either", trust: nobody, way: plain},
		{name: "absent, not trusted, TLS demanded", db: with, user: "encrypted", trust: nobody, cause: rotator.CauseTLS, text: "unknown authority"},
		{name: "true, wrong host name", db: with, user: "either", ssl: true, trust: inline, host: "127.0.0.2", cause: rotator.CauseTLS,
			text: "Hostname verification failed when estlablishing SSL/TLS Handshake with host: 127.0.0.2"},
		{name: "absent, wrong host name", db: with, user: "either", trust: inline, host: "127.0.0.2", way: plain},
		{name: "false", db: with, user: "either", ssl: false, trust: nobody, way: plain},
		{name: "false, TLS demanded", db: with, user: "encrypted", ssl: "false", trust: inline, cause: rotator.CauseTLSRequired,
			text: "SSL/TLS is enforced on the host"},
		{name: "absent, plain demanded", db: with, user: "unencrypted", trust: inline, way: plain},
		{name: "true, plain demanded", db: with, user: "unencrypted", ssl: true, trust: inline, cause: rotator.CauseAccess, text: "no pg_hba.conf entry"},
		{name: "absent, no way in", db: with, user: "unknown", trust: inline, cause: rotator.CauseAccess, text: "and plain: no pg_hba.conf entry"},
		{name: "no password asked", db: with, user: "trusted", trust: inline, cause: rotator.CauseAccess, text: "asks for no password"},
		{name: "clear text, encrypted", db: with, user: "cleartext", trust: inline, way: encrypted},

		{name: "absent, no TLS", db: without, user: "either", way: plain},
		{name: "false, no TLS", db: without, user: "either", ssl: "False", way: plain},
		{name: "true, no TLS", db: without, user: "either", ssl: true, cause: rotator.CauseTLS, text: "SSL/TLS is not enabled on the host"},
		{name: "absent, no TLS, clear text", db: without, user: "cleartext", cause: rotator.CauseAccess, text: "wants the password in clear text"},
		{name: "false, no TLS, clear text", db: without, user: "cleartext", ssl: false, way: plain},
	} {
		t.Run(test.name, func(t *testing.T) {
			settings := rotator.Settings{}
			switch test.trust {
			case inline:
				settings["KEYTURN_CA_BUNDLE"] = rotatortest.PEM(t, test.db.CAFile)
			case file:
				settings["KEYTURN_CA_BUNDLE"] = test.db.CAFile
			}
			secret := map[string]any{
				"engine": "postgres", "host": "127.0.0.1", "port": test.db.Port, "username": test.user, "password": firstPassword,
			}
			if test.host != "" {
				secret["host"] = test.host
			}
			if test.ssl != nil {
				secret["ssl"] = test.ssl
			}
			s := rotatortest.NewSteps(rotator.NewSingleUser(postgres.New()), secret, nil, settings)
			s.Put(s.ARN, s.Token, secret, "AWSPENDING")
			err := s.Step(t.Context(), "testSecret")
			log := s.Log.String()
			switch {
			case test.way != "" && (err != nil || !strings.Contains(log, "Successfully established "+test.way+" connection")):
				t.Errorf("got %v\n%s\nwant a %s connection", err, log, test.way)
			case test.way == "" && (err == nil || !strings.Contains(err.Error(), ": "+string(test.cause)+": ") || !strings.Contains(log, test.text)):
				t.Errorf("got %v\n%s\nwant the cause %q and %q", err, log, test.cause, test.text)
			}
		})
	}
}
