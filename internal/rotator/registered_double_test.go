package rotator

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// Servers whose hosts are not named as RDS names them are compared by their
// whole endpoints: the first label alone could be anybody's.
func TestRegisteredReplicaByDouble(t *testing.T) {
	const main, copied, stray = "main.example.com", "copy.example.com", "stray.example.com"
	for _, tc := range []struct {
		name            string
		cur, master     string
		port            int
		wantSame, wants bool
	}{
		{"replica", copied, main, 5433, true, true},
		{"replica in other letters", "Copy.Example.com", "MAIN.example.com", 5433, true, true},
		{"primary of it", main, copied, 5433, false, true},
		{"another host of the same label", "copy.evil.example", main, 5433, false, true},
		{"replica of another host of the same label", copied, "main.evil.example", 5433, false, true},
		{"another port", copied, main, 5432, false, true},
		{"no replica", stray, main, 5433, false, true},
		{"reader", "two.example.com", "writer.example.com", 5433, true, true},
		{"writer", "one.example.com", "writer.example.com", 5433, false, true},
		{"reader of another cluster", "two.example.com", main, 5433, false, true},
		{"unknown", "none.example.com", main, 5433, false, true},
		{"no identifier", "_copy.example.com", main, 5433, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble()
			d.instances = map[string]string{
				"main": instanceXML("main", main, "postgres", "", ""), "copy": instanceXML("copy", copied, "postgres", "main", ""),
				"Copy": instanceXML("copy", copied, "postgres", "main", ""), "stray": instanceXML("stray", stray, "postgres", "", ""),
				"one": instanceXML("one", "one.example.com", "aurora-postgresql", "", "aurora"),
				"two": instanceXML("two", "two.example.com", "aurora-postgresql", "", "aurora"),
			}
			d.clusters = map[string]string{"aurora": `<DBCluster><Endpoint>writer.example.com</Endpoint><Port>5433</Port><DBClusterMembers>` +
				`<DBClusterMember><DBInstanceIdentifier>one</DBInstanceIdentifier><IsClusterWriter>true</IsClusterWriter></DBClusterMember>` +
				`<DBClusterMember><DBInstanceIdentifier>two</DBInstanceIdentifier><IsClusterWriter>false</IsClusterWriter></DBClusterMember>` +
				`</DBClusterMembers></DBCluster>`}
			r, _ := d.rotationAt(t, Settings{})
			same, err := r.sameServer(t.Context(), Kind{Service: Aurora}, Login{Host: tc.cur, Port: tc.port}, Login{Host: tc.master, Port: 5433})
			if err != nil || same != tc.wantSame || (len(d.asked) > 0) != tc.wants {
				t.Errorf("got %v, %v after the calls %q; want %s", same, err, d.asked, fmt.Sprint(tc.wantSame))
			}
		})
	}
}

// hostsDouble is an Engine of servers at several hosts, each with its users.
type hostsDouble struct {
	passwords map[string]string // by user@host
	attempts  []string
}

func (d *hostsDouble) Kind() Kind {
	return Kind{Accepts: []string{"double"}, Port: 5433, Service: RDS, OneTLS: true}
}

func (d *hostsDouble) Connect(_ context.Context, l Login, _ *tls.Config) (Session, error) {
	name := fmt.Sprintf("%s@%s:%d", l.Username, l.Host, l.Port)
	d.attempts = append(d.attempts, name)
	if password, ok := d.passwords[name]; !ok || password != l.Password.RevealText() {
		return nil, NewFailure(CauseAuthentication, "X1", "wrong password", nil)
	}
	return hostSession{}, nil
}

// hostSession can do nothing but end.
type hostSession struct{ Session }

func (hostSession) Close(context.Context) error { return nil }

// A registration alone does not make a host the replica of another: the user
// has to log in at the superuser's host, too, and it is that password which
// goes there, not the superuser's which goes elsewhere.
func TestForgedReplicaByDouble(t *testing.T) {
	const main, copied, admin = "app@main.example.com:5433", "app@copy.example.com:5433", "admin@main.example.com:5433"
	users := map[string]string{copied: "mine", admin: "admin's"}
	for _, tc := range []struct {
		name, hosts string
		atMain      string
		host        string
		want        []string
		refused     bool
	}{
		{"replica", "", "mine", "copy.example.com", []string{main, admin}, false},
		{"forged", "", "not mine", "copy.example.com", []string{main}, true},
		{"forged, no such user", "", "", "copy.example.com", []string{main}, true},
		{"the operator's word", "copy.example.com=main.example.com", "", "copy.example.com", []string{admin}, false},
		{"the same host", "", "", "main.example.com", []string{admin}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble()
			d.secrets["admin"] = `{"engine":"double","host":"main.example.com","username":"admin","password":"admin's"}`
			d.instances = map[string]string{
				"main": instanceXML("main", "main.example.com", "postgres", "", ""), "copy": instanceXML("copy", "copy.example.com", "postgres", "main", ""),
			}
			r, _ := d.rotationAt(t, Settings{"KEYTURN_PRIMARY_HOSTS": tc.hosts})
			e := &hostsDouble{passwords: map[string]string{}}
			for k, v := range users {
				e.passwords[k] = v
			}
			if tc.atMain != "" {
				e.passwords[main] = tc.atMain
			}
			doc, err := ParseDocument(plaintext.Of(`{"engine":"double","host":"` + tc.host + `","username":"app","password":"mine","masterarn":"admin"}`))
			if err != nil {
				t.Fatal(err)
			}
			cur, err := e.Kind().Login(doc)
			if err != nil {
				t.Fatal(err)
			}
			_, err = strategy{engine: e}.enterAsSuperuser(t.Context(), r, cur, cur)
			if refused := err != nil && strings.Contains(err.Error(), "at the host main.example.com of the master"); refused != tc.refused || !refused && err != nil {
				t.Errorf("got error %v, want a refusal: %v", err, tc.refused)
			}
			if diff := cmp.Diff(tc.want, e.attempts); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
		})
	}
}
