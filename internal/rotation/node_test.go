package rotation_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
)

// pair is two servers on one store, with secrets that rotate on them.
type pair struct {
	t    *testing.T
	a, b *apitest.Process
	// nodes are the URLs by which functions reach their server.
	nodes    map[*apitest.Process]string
	recorder *recorder
	function string
	// onA and onB are the same secrets, through the one and the other.
	onA, onB []*world
}

// newPair starts two nodes with folders of their own and one root key. The
// function takes its time for setSecret.
func newPair(t *testing.T, secrets int, slow string) *pair {
	t.Helper()
	return newPairOn(t, apitest.StoreURL(t), secrets, slow)
}

func newPairOn(t *testing.T, store string, secrets int, slow string) *pair {
	t.Helper()
	o := options(t)
	o.StoreURL = store
	p := &pair{t: t, recorder: newRecorder(t), a: apitest.StartProcess(t, o)}
	o.Dir = t.TempDir()
	rootKey, err := os.ReadFile(filepath.Join(p.a.Dir, "root.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, "root.key"), rootKey, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.b = apitest.StartProcess(t, o)
	p.function = p.a.NewFunction(t, p.recorder.function("rotate", map[string]string{"SLOW_STEP": "setSecret", "SLOW_SECONDS": slow}))
	p.nodes = map[*apitest.Process]string{p.a: p.node(p.a), p.b: p.node(p.b)}
	for i := range secrets {
		w := plain(t, p.a.Server, fmt.Sprintf("app/%d", i))
		p.onA = append(p.onA, w)
		p.onB = append(p.onB, &world{Server: p.b.Server, t: t, arn: w.arn})
	}
	return p
}

// node asks the function, run by a server, by which URL it reaches that.
func (p *pair) node(server *apitest.Process) (url string) {
	p.t.Helper()
	out, err := server.Lambda.Invoke(p.t.Context(), &lambda.InvokeInput{FunctionName: &p.function, Payload: []byte(`{"Step":"whichNode"}`)})
	if err == nil {
		err = json.Unmarshal(out.Payload, &url)
	}
	if err != nil {
		p.t.Fatalf("asking for the function's server: %v", err)
	}
	return url
}

// begin starts a rotation of every secret, by turns on the nodes, and returns
// their tokens.
func (p *pair) begin() (tokens []string) {
	p.t.Helper()
	for i := range p.onA {
		w := p.onA[i]
		if i%2 == 1 {
			w = p.onB[i]
		}
		tokens = append(tokens, w.begin(p.function))
	}
	return tokens
}

// complete waits until all rotations are complete, as one node sees it.
func (p *pair) complete(seen []*world, tokens []string) {
	p.t.Helper()
	for i, w := range seen {
		w.eventually("rotation "+tokens[i]+" completes", func() bool { return w.rotatedTo(tokens[i]) })
	}
}

// Many rotations on two nodes: every step runs once, on one node.
func TestTwoNodesShareRotations(t *testing.T) {
	t.Parallel()
	newPair(t, 10, "0.3").shareRotations()
}

// The same where the store's clock, by which leases are counted, is a minute
// ahead of the nodes' own.
func TestClockOfTheStoreDiffers(t *testing.T) {
	t.Parallel()
	store := apitest.StoreURL(t)
	conn, err := pgx.Connect(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, schema, _ := strings.Cut(store, "search_path=")
	_, err = conn.Exec(t.Context(), fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE FUNCTION %[1]s.clock_timestamp() RETURNS timestamptz LANGUAGE sql
		AS $$SELECT pg_catalog.clock_timestamp() + interval '1 minute'$$`, schema))
	if err != nil {
		t.Fatal(err)
	}
	p := newPairOn(t, store+",pg_catalog", 4, "0.3")
	p.shareRotations()
}

func (p *pair) shareRotations() {
	t := p.t
	t.Helper()
	tokens := p.begin()
	p.complete(p.onA, tokens)
	share := map[string]int{}
	for _, row := range p.recorder.rows() {
		share[row.Node]++
	}
	t.Logf("steps by node: %v", share)
	if len(share) == 0 {
		t.Error("no step was recorded")
	}
	for _, token := range tokens {
		if got := p.recorder.steps(token); !slices.Equal(got, allSteps) {
			t.Errorf("steps %v, want each once", got)
		}
	}
}

// leaseBound is how long a rotation may stand still after its node died: the
// lease, a moment to notice, and the start of a function.
const leaseBound = lease + 25*time.Second

// A node dies, or stands still, in the middle of a step of many rotations.
// The other takes them over when their leases end, repeats that step, and
// completes them; whatever the first then does has no effect.
func TestNodeLostDuringRotations(t *testing.T) {
	for name, lose := range map[string]func(p *pair){
		"killed": func(p *pair) { p.a.Kill() },
		"frozen": func(p *pair) { p.a.Signal(syscall.SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 6, "4")
			tokens := p.begin()
			p.onA[0].eventually("setSecret runs on a node", func() bool { return p.running(p.a)+p.running(p.b) > 0 })
			if p.running(p.a) == 0 { // the other was quicker with all of them
				p.a, p.b, p.onA, p.onB = p.b, p.a, p.onB, p.onA
			}
			lose(p)
			lost := p.clock()
			p.complete(p.onB, tokens)
			if name == "frozen" {
				p.a.Signal(syscall.SIGCONT)
				w := p.onA[0]
				w.eventually("the frozen node notices", func() bool {
					return strings.Count(p.a.Log(), "rotation taken over by another node") >= p.ranOn(p.a, "setSecret")
				})
			}
			taken := 0
			for i, token := range tokens {
				if p.wantTakenOver(token, lost) {
					taken++
				}
				if !p.onB[i].rotatedTo(token) {
					t.Errorf("in the end labels are %v", p.onB[i].holders())
				}
				p.onB[i].wantEvents("RotateSecret", "RotationStarted", "RotationSucceeded")
			}
			if taken == 0 {
				t.Error("no rotation was taken over: the test shows nothing")
			}
		})
	}
}

// running counts the steps setSecret that run on a node.
func (p *pair) running(node *apitest.Process) (n int) {
	for _, row := range p.recorder.rows() {
		if row.Name == "setSecret" && row.Ended == nil && row.Node == p.nodes[node] {
			n++
		}
	}
	return n
}

// ranOn counts the times that a step began on a node.
func (p *pair) ranOn(node *apitest.Process, step string) (n int) {
	for _, row := range p.recorder.rows() {
		if row.Name == step && row.Node == p.nodes[node] {
			n++
		}
	}
	return n
}

// clock is the time of the recorder's database.
func (p *pair) clock() (now time.Time) {
	p.t.Helper()
	if err := p.recorder.conn.QueryRow(p.t.Context(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		p.t.Fatal(err)
	}
	return now
}

// wantTakenOver demands of a rotation that the node which was not lost went on
// with the lost node's last step or the one after it, not before a lease could
// have ended and not after the bound, and made each further step once. What a
// function of the lost node did when it was frozen already, or thawed, is that
// node's last step. It tells whether the rotation was the lost node's.
func (p *pair) wantTakenOver(token string, lost time.Time) bool {
	p.t.Helper()
	var before, after []string
	var resumed time.Time
	for _, r := range p.recorder.rows() {
		switch {
		case r.Token != token:
		case r.Node == p.nodes[p.a]:
			before = append(before, r.Name)
		default:
			if after = append(after, r.Name); len(after) == 1 {
				resumed = r.Began
			}
		}
	}
	n := len(before)
	if n == 0 || len(after) == 0 {
		if all := slices.Concat(before, after); !slices.Equal(all, allSteps) {
			p.t.Errorf("steps %v on one node, want %v", all, allSteps)
		}
		return false
	}
	if !slices.Equal(before, allSteps[:min(n, len(allSteps))]) || !slices.Equal(after, allSteps[n-1:]) && !slices.Equal(after, allSteps[n:]) {
		p.t.Errorf("steps %v on the lost node and then %v", before, after)
	}
	if wait := resumed.Sub(lost); wait < lease/2 || wait > leaseBound {
		p.t.Errorf("the other node went on %v after the first was lost", wait)
	}
	return true
}
