package database

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "DB-1", "x2-y3", strings.Repeat("a", 63)} {
		if got, err := CheckID("P", id); got != strings.ToLower(id) || err != nil {
			t.Errorf("%q: got %q, %v", id, got, err)
		}
	}
	for _, id := range []string{"", "1a", "-a", "a-", "a--b", "a_b", "a.b", "ä", strings.Repeat("a", 64)} {
		if got, err := CheckID("DBInstanceIdentifier", id); !fault.Is(err, fault.Parameter) ||
			!strings.Contains(err.Error(), "The parameter DBInstanceIdentifier is not a valid identifier.") {
			t.Errorf("%q: got %q, %v; want a refusal", id, got, err)
		}
	}
}

func TestReadEndpoint(t *testing.T) {
	for _, c := range []struct {
		tag, engine, host string
		given, port       int64
	}{
		{"db.example.com:6000", "postgres", "db.example.com", 0, 6000},
		{"db.example.com:6000", "postgres", "db.example.com", 6000, 6000},
		{"db.example.com", "postgres", "db.example.com", 0, 5432},
		{"db.example.com", "custom-oracle-ee", "db.example.com", 0, 1521},
		{"db", "aurora-mysql", "db", 4000, 4000},
		{"10.0.0.1:1", "mariadb", "10.0.0.1", 0, 1},
		{"[::1]:5433", "postgres", "::1", 0, 5433},
		{"2001:db8::1", "postgres", "2001:db8::1", 0, 5432},
	} {
		var given *int64
		if c.given != 0 {
			given = &c.given
		}
		if got, err := ReadEndpoint(c.tag, given, c.engine); err != nil || got != (Endpoint{c.host, c.port}) {
			t.Errorf("%q with port %d of %s: got %+v, %v; want %s:%d", c.tag, c.given, c.engine, got, err, c.host, c.port)
		}
	}
	for tag, kind := range map[string]fault.Kind{
		"": Combination, "db:7000": Combination, "db:0": fault.Parameter, "db:x": fault.Parameter, ":5432": fault.Parameter,
		"a:b:c": fault.Parameter, "db:70000": fault.Parameter, "d b": fault.Parameter, "http://db": fault.Parameter, "db/x": fault.Parameter,
	} {
		var given *int64
		if tag == "db:7000" {
			given = new(int64(5432))
		}
		if got, err := ReadEndpoint(tag, given, "postgres"); fault.KindOf(err) != kind {
			t.Errorf("%q: got %+v, %v; want an error of kind %s", tag, got, err, kind)
		}
	}
}

func TestCheckEngine(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		ok         bool
	}{
		{"Postgres", InstanceKind, true}, {"postgres", ClusterKind, true}, {"mariadb", InstanceKind, true}, {"mariadb", ClusterKind, false},
		{"aurora-mysql", ClusterKind, true}, {"custom-sqlserver-ee", InstanceKind, true}, {"cassandra", InstanceKind, false}, {"", InstanceKind, false},
	} {
		if _, err := CheckEngine(c.name, c.kind); (err == nil) != c.ok {
			t.Errorf("%q as %s: got %v, want it taken: %v", c.name, c.kind, err, c.ok)
		}
	}
	if got := Rotator("custom-oracle-se2"); got != "oracle" {
		t.Errorf("rotator: got %q, want oracle", got)
	}
}

func TestWriter(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := &Instance{ID: "a", Server: Server{CreatedAt: at.Add(time.Hour)}}
	b := &Instance{ID: "b", Server: Server{CreatedAt: at}}
	if got := Writer([]*Instance{a, b}); got != "b" {
		t.Errorf("got %q, want the oldest, b", got)
	}
	a.Tags = []Tag{{WriterTag, "true"}}
	if got := Writer([]*Instance{a, b}); got != "a" {
		t.Errorf("got %q, want the one whose tag says so, a", got)
	}
	if got := Writer(nil); got != "" {
		t.Errorf("got %q of no members", got)
	}
}

func TestParseARN(t *testing.T) {
	i := &Instance{Account: "123456789012", Region: "cn-north-1", ID: "db1"}
	region, account, kind, id, ok := ParseARN(i.ARN())
	if !ok || region != i.Region || account != i.Account || kind != InstanceKind || id != "db1" {
		t.Errorf("%s: got %s %s %s %s, %v", i.ARN(), region, account, kind, id, ok)
	}
	for _, s := range []string{"db1", "arn:aws:rds:us-east-1:123456789012:db", "arn:aws:rds:us-east-1:123456789012:db:", "arn:aws:ec2:us-east-1:123456789012:db:x", "arn:aws:rds:us-east-1::db:x"} {
		if _, _, _, _, ok := ParseARN(s); ok {
			t.Errorf("%s: got an address, want none", s)
		}
	}
}

func FuzzReadEndpoint(f *testing.F) {
	for _, seed := range []string{"db.example.com:5432", "[::1]:5432", "::1", "db", ":", "a:b:c", "[", "]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		e, err := ReadEndpoint(tag, nil, "postgres")
		if err == nil && (e.Host == "" || e.Port < 1 || e.Port > 65535 || strings.ContainsAny(e.Host, " /@\n")) {
			t.Errorf("%q: got %+v", tag, e)
		}
	})
}
