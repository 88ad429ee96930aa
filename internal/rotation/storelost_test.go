package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/pgserver"
)

// The store is lost while a step runs, so that its end cannot be stored. When
// the store is back the node gives its claim back and the step is repeated,
// not when the lease ends.
func TestStoreLostDuringAStep(t *testing.T) {
	t.Parallel()
	apitest.Binary(t)
	own, err := pgserver.Start(t.Context(), pgserver.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	o := options(t)
	o.StoreURL = own.AdminURL()
	p, recorder := apitest.StartProcess(t, o), newRecorder(t)
	function := p.NewFunction(t, recorder.function("rotate", map[string]string{"SLOW_STEP": "setSecret", "SLOW_SECONDS": "2"}))
	w := plain(t, p.Server, "app")
	token := w.begin(function)
	w.eventually("setSecret runs", func() bool { return len(recorder.rows()) == 2 })
	conn, err := pgx.Connect(t.Context(), own.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	var lease int64
	if err := conn.QueryRow(t.Context(), "SELECT lease_until FROM rotation").Scan(&lease); err != nil {
		t.Fatal(err)
	}
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the node notices", func() bool { return strings.Contains(p.Log(), "rotation interrupted") })
	if err := own.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("the rotation completes", func() bool { return w.rotatedTo(token) })
	if got, want := recorder.steps(token), []string{"createSecret", "setSecret", "setSecret", "testSecret", "finishSecret"}; !slices.Equal(got, want) {
		t.Fatalf("steps %v, want %v", got, want)
	}
	if again, held := recorder.rows()[2].Began, time.UnixMicro(lease); !again.Before(held) {
		t.Errorf("the step was repeated at %v, after the lease, which held until %v", again, held)
	}
}
