package mysql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show makes lines of SHOW GRANTS into grants.
func show(t testing.TB, a account, lines ...string) []grant {
	t.Helper()
	var all []grant
	for _, line := range lines {
		if g, ok := parseGrant(line, a); ok {
			all = append(all, g)
		}
	}
	return all
}

func TestParseGrant(t *testing.T) {
	app := account{"app", "%"}
	for _, c := range []struct {
		name, line, want string
		account          account
	}{
		{"8.0", "GRANT SELECT, INSERT ON `db`.* TO `app`@`%` WITH GRANT OPTION", "GRANT SELECT, INSERT ON `db`.* TO 'x'@'h' WITH GRANT OPTION", app},
		{"5.7", "GRANT CREATE USER ON *.* TO 'app'@'%'", "GRANT CREATE USER ON *.* TO 'x'@'h'", app},
		{"ANSI quotes", `GRANT SELECT ON "db".* TO "app"@"%"`, `GRANT SELECT ON "db".* TO 'x'@'h'`, app},
		{"columns", "GRANT SELECT (`a`, `b c`), UPDATE (`)`), DELETE ON `db`.`t` TO `app`@`%`",
			"GRANT SELECT (`a`), SELECT (`b c`), UPDATE (`)`), DELETE ON `db`.`t` TO 'x'@'h'", app},
		{"TO in a name", "GRANT SELECT ON ` TO ``y`` FROM `.`x TO y` TO `app`@`%`", "GRANT SELECT ON ` TO ``y`` FROM `.`x TO y` TO 'x'@'h'", app},
		{"an odd account", "GRANT SELECT ON `d`.* TO `o'd\"d ``n\\`@`10.%`", "GRANT SELECT ON `d`.* TO 'x'@'h'", account{"o'd\"d `n\\", "10.%"}},
		{"roles", "GRANT `r`@`%`,`s`@`%` TO `app`@`%` WITH ADMIN OPTION", "GRANT `r`@`%`, `s`@`%` TO 'x'@'h' WITH ADMIN OPTION", app},
		{"role of MariaDB", "GRANT `role TO` TO `app`@`%`", "GRANT `role TO` TO 'x'@'h'", app},
		{"proxy", "GRANT PROXY ON `p`@`h.%` TO `app`@`%` WITH GRANT OPTION", "GRANT PROXY ON `p`@`h.%` TO 'x'@'h' WITH GRANT OPTION", app},
		{"routine", "GRANT EXECUTE ON PROCEDURE `d`.`p` TO `app`@`%`", "GRANT EXECUTE ON PROCEDURE `d`.`p` TO 'x'@'h'", app},
		{"dynamic", "GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.* TO `app`@`%`", "GRANT BACKUP_ADMIN, CLONE_ADMIN ON *.* TO 'x'@'h'", app},
		{"MariaDB's trailer", "GRANT SELECT ON *.* TO `app`@`%` IDENTIFIED VIA ed25519 USING 'x TO y' OR unix_socket REQUIRE ISSUER 'WITH GRANT OPTION' " +
			"WITH GRANT OPTION MAX_QUERIES_PER_HOUR 5", "GRANT SELECT ON *.* TO 'x'@'h' WITH GRANT OPTION", app},
		{"quoted option", "GRANT SELECT ON *.* TO `app`@`%` REQUIRE ISSUER 'WITH GRANT OPTION'", "GRANT SELECT ON *.* TO 'x'@'h'", app},
		{"partial revoke", "REVOKE SELECT ON `mysql`.* FROM `app`@`%`", "REVOKE SELECT ON `mysql`.* FROM 'x'@'h'", app},
		{"another account", "GRANT SELECT ON *.* TO `other`@`%`", "", app},
		{"another host", "GRANT SELECT ON *.* TO `app`@`10.%`", "", app},
		{"public", "GRANT SELECT ON *.* TO PUBLIC", "", app},
		{"a default role", "SET DEFAULT ROLE `r` FOR `app`@`%`", "", app},
		{"nothing", "", "", app},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, ok := parseGrant(c.line, c.account)
			got := ""
			if ok {
				got = g.statement(account{"x", "h"})
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestExcess(t *testing.T) {
	a := account{"app", "%"}
	to := " TO `app`@`%`"
	want := show(t, a,
		"GRANT SELECT ON *.*"+to, "GRANT BACKUP_ADMIN ON *.*"+to, "GRANT CLONE_ADMIN ON *.*"+to+" WITH GRANT OPTION",
		"GRANT ALL PRIVILEGES ON `all`.*"+to, "GRANT SELECT (`a`) ON `d`.`t`"+to, "GRANT `r`@`%`,`s`@`%`"+to, "GRANT PROXY ON `p`@`%`"+to)
	have := show(t, a,
		"GRANT SELECT, CREATE USER ON *.*"+to+" WITH GRANT OPTION", "GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.*"+to+" WITH GRANT OPTION",
		"GRANT SELECT ON `all`.*"+to, "GRANT SELECT (`a`, `b`) ON `d`.`t`"+to, "GRANT `r`@`%`,`u`@`%`"+to+" WITH ADMIN OPTION",
		"GRANT PROXY ON `p`@`%`"+to+" WITH GRANT OPTION", "REVOKE SELECT ON `d`.* FROM `app`@`%`")
	from := " FROM 'app'@'%'"
	wanted := []string{
		"REVOKE CREATE USER ON *.*" + from, "REVOKE GRANT OPTION ON *.*" + from, "REVOKE BACKUP_ADMIN ON *.*" + from,
		"REVOKE SELECT (`b`) ON `d`.`t`" + from, "REVOKE `r`@`%`" + from, "REVOKE `u`@`%`" + from, "REVOKE PROXY ON `p`@`%`" + from,
	}
	if diff := cmp.Diff(wanted, excess(want, have, a)); diff != "" {
		t.Errorf("excess (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), excess(want, want, a)); diff != "" {
		t.Errorf("excess of equal grants (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GRANT SELECT ON `d`.* TO 'app'@'%'"}, lifted(want, have, a)); diff != "" {
		t.Errorf("lifted (-want +got):\n%s", diff)
	}
}

func TestParseDefinition(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"least", "CREATE USER `a`@`%`", "REQUIRE NONE WITH " + noLimits + " ACCOUNT UNLOCK PASSWORD EXPIRE DEFAULT"},
		{"words as names", "CREATE USER `REQUIRE`@`WITH` IDENTIFIED BY PASSWORD '*REQUIRE'", "REQUIRE NONE WITH " + noLimits + " ACCOUNT UNLOCK PASSWORD EXPIRE DEFAULT"},
		{"all", "CREATE USER `a`@`%` IDENTIFIED VIA ed25519 USING 'x' OR unix_socket REQUIRE ISSUER '/CN=WITH ''x''' SUBJECT '/CN=a' WITH " +
			"MAX_QUERIES_PER_HOUR 5 ACCOUNT LOCK PASSWORD EXPIRE INTERVAL 3 DAY",
			"REQUIRE ISSUER '/CN=WITH ''x''' SUBJECT '/CN=a' WITH " + noLimits + " MAX_QUERIES_PER_HOUR 5 ACCOUNT LOCK PASSWORD EXPIRE INTERVAL 3 DAY"},
		{"never", "CREATE USER `a`@`%` REQUIRE X509 PASSWORD EXPIRE NEVER", "REQUIRE X509 WITH " + noLimits + " ACCOUNT UNLOCK PASSWORD EXPIRE NEVER"},
		{"expired", "CREATE USER `a`@`%` REQUIRE SSL ACCOUNT LOCK PASSWORD EXPIRE", "REQUIRE SSL WITH " + noLimits + " ACCOUNT LOCK PASSWORD EXPIRE DEFAULT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := parseDefinition(c.text, true).clauses(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	d := parseDefinition("CREATE USER `a`@`%` IDENTIFIED VIA ed25519 USING 'x' OR unix_socket AS 'os' OR pam REQUIRE SSL", true)
	want := []method{{"ed25519", "'x'"}, {"unix_socket", "'os'"}, {"pam", ""}}
	if diff := cmp.Diff(want, d.methods, cmp.AllowUnexported(method{})); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"GRANT SELECT ON `a``b`.* TO 'x\\'y'@\"%\"", "`", "'\\", "a,(b)", "''''"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at := 0
		for _, tok := range tokens(s) {
			if tok.at < at || tok.text == "" || s[tok.at:tok.end()] != tok.text {
				t.Fatalf("got the token %q at %d, after %d", tok.text, tok.at, at)
			}
			if strings.Trim(s[at:tok.at], " \t\r\n") != "" {
				t.Fatalf("%q was left out", s[at:tok.at])
			}
			at = tok.end()
		}
		parseDefinition(s, true)
		if g, ok := parseGrant(s, account{"x", "%"}); ok {
			again, ok := parseGrant(g.statement(account{"x", "%"}), account{"x", "%"})
			if ok && !again.equal(g) {
				t.Fatalf("got %+v from its own statement, want %+v", again, g)
			}
		}
	})
}

// FuzzQuoting reads back what was quoted.
func FuzzQuoting(f *testing.F) {
	f.Add(`a'b"c\d` + "`%\x00")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		for quote, text := range map[byte]string{'\'': literal(s), '`': name(s)} {
			all := tokens("x " + text + " y")
			if len(all) != 3 || all[1].value != s || all[1].quote != quote {
				t.Errorf("got %q, which reads as %+v", text, all)
			}
		}
	})
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]version{
		"9.7.4-2":                   {false, 9, 7, 4},
		"8.0.mysql_aurora.3.04.0":   {false, 8, 0, 99},
		"5.7.12-log":                {false, 5, 7, 12},
		"10.11.19-MariaDB-0+deb12u": {true, 10, 11, 19},
		"8.4.0-azure":               {false, 8, 4, 0},
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	v := version{major: 8, minor: 0, patch: 14}
	for least, want := range map[[3]int]bool{{8, 0, 14}: true, {8, 0, 15}: false, {5, 7, 99}: true, {8, 1, 0}: false, {9, 0, 0}: false} {
		if got := v.atLeast(least[0], least[1], least[2]); got != want {
			t.Errorf("8.0.14 at least %v: got %v, want %v", least, got, want)
		}
	}
}

func TestStoredPasswords(t *testing.T) {
	// The servers' own PASSWORD('x') and ed25519_password('secret').
	for plugin, c := range map[string][2]string{
		nativePassword: {"x", "*B69027D44F6E5EDC07F1AEAD1477967B16F28227"},
		ed25519:        {"secret", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"},
	} {
		if got, ok := stored(plugin, c[0]); !ok || got != c[1] {
			t.Errorf("%s: got %q, want %q", plugin, got, c[1])
		}
	}
}
