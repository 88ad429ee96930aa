package doctor

import (
	"github.com/keyturn/keyturn/internal/rotator"
)

// driverTexts are what database drivers say of a login that failed, where a
// function logs that: libpq and psycopg2, pgx, pymysql and mysqlclient.
// The first that matches counts.
var driverTexts = []struct {
	pattern *pattern
	cause   rotator.Cause
}{
	{compiled(`could not translate host name|Name or service not known|Temporary failure in name resolution|nodename nor servname|getaddrinfo|no such host|Unknown MySQL server host`), rotator.CauseDNS},
	{compiled(`(?i)server does not support SSL|SSL connection is required but the server doesn't support it|certificate verify failed|server certificate for .* does not match|root certificate file .* does not exist|SSL is not enabled on the server`), rotator.CauseTLS},
	{compiled(`no pg_hba\.conf entry for .*(?:SSL off|no encryption)|insecure transport are prohibited|require_secure_transport`), rotator.CauseTLSRequired},
	{compiled(`no pg_hba\.conf entry for|pg_hba\.conf rejects connection|is not allowed to connect to this M`), rotator.CauseAccess},
	{compiled(`database "[^"]*" does not exist|Unknown database`), rotator.CauseDatabase},
	{compiled(`too many (?:connections|clients)|remaining connection slots are reserved|[Tt]oo many connections`), rotator.CauseConnections},
	{compiled(`the database system is (?:starting up|shutting down|in recovery)|not yet accepting connections`), rotator.CauseUnavailable},
	{compiled(`role "[^"]*" does not exist`), rotator.CauseMissingUser},
	{compiled(`is not permitted to log in|[Aa]ccount is locked|account is blocked`), rotator.CauseLocked},
	{compiled(`password authentication failed|Access denied for user|authentication failed for user`), rotator.CauseAuthentication},
	{compiled(`(?i)connection (?:to server .* failed: )?timed? ?out|timeout expired|Operation timed out`), rotator.CauseTimeout},
	{compiled(`(?i)connection refused|could not connect to server|no route to host|network is unreachable|Can't connect to MySQL server|server closed the connection unexpectedly`), rotator.CauseTCP},
}

// driverSaid reads the cause of a login's failure out of a driver's text.
func driverSaid(f Fact) (spoken, bool) {
	for _, d := range driverTexts {
		if m := d.pattern.FindAllString(f.Text, 1); m != nil {
			return spoken{cause: d.cause, text: m[0], fact: f}, true
		}
	}
	return spoken{}, false
}
