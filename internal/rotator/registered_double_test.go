package rotator

import (
	"fmt"
	"testing"
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
