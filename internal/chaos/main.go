// Command chaos kills a Keyturn over and over, under load, and demands that
// nothing is lost: it runs real servers as processes, on SQLite and on
// PostgreSQL, writers that note every acknowledged value, readers, and secrets
// that rotate the passwords of a real PostgreSQL's users, and sends SIGKILL to
// the servers, to functions, to the database and to the servers' store.
//
// After every restart some stored version of every rotating secret has to log
// in, and the last acknowledged writes have to be there. After every round,
// with no help, every rotation has to be complete, every acknowledged value in
// its place, every acknowledged change in the trail, and the store sound. It
// ends with a table of counts, and with exit code 1 and the evidence when
// anything was otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/keyturn/keyturn/internal/pgserver"
)

func main() {
	kills := flag.Int("kills", 1000, "how often servers are killed, over all configurations")
	only := flag.String("only", "", "run the configurations whose names contain this")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of all that is random here; what the machine does remains")
	longest := flag.Duration("time", time.Hour, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *longest)
	defer cancel()
	if err := whole(ctx, os.Stdout, *kills, *only, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// configuration is one way to run Keyturn, and what is done to it.
type configuration struct {
	setup
	// share is the part of all kills, in percent.
	share int
	// act does it, with a number of kills of servers.
	act func(s *site, ctx context.Context, kills int) error
}

// perRound is how many kills come before everything is checked.
const perRound = 40

// configurations are all ways, in the order in which they are run.
func configurations() []configuration {
	return []configuration{
		{setup{name: "sqlite", nodes: 1, crew: fullCrew()}, 40, func(s *site, ctx context.Context, kills int) error {
			return errors.Join(s.shatter(ctx, kills), s.underLoad(ctx, func(ctx context.Context) error {
				return errors.Join(s.killFunctions(ctx, 15), s.killDatabase(ctx, s.target, 5))
			}))
		}},
		{setup{name: "postgres", nodes: 1, postgres: true, crew: fullCrew()}, 30, func(s *site, ctx context.Context, kills int) error {
			return errors.Join(s.shatter(ctx, kills), s.underLoad(ctx, func(ctx context.Context) error { return s.endStore(ctx, 10) }))
		}},
		{setup{name: "three", nodes: 3, postgres: true, standby: true, crew: fullCrew()}, 30, func(s *site, ctx context.Context, kills int) error {
			return errors.Join(s.shatter(ctx, kills), s.underLoad(ctx, func(ctx context.Context) error { return s.loseNode(ctx, 2) }),
				s.underLoad(ctx, func(ctx context.Context) error { return s.endStore(ctx, 5) }))
		}},
	}
}

// shatter kills servers at every boundary of a rotation and then at random
// instants, as often as is left of kills.
func (s *site) shatter(ctx context.Context, kills int) error {
	began := s.tally.kills()
	err := s.underLoad(ctx, func(ctx context.Context) error { return s.killAtBoundaries(ctx, max(kills/6, 1)) })
	for err == nil {
		left := kills - (s.tally.kills() - began)
		if left <= 0 {
			break
		}
		err = s.underLoad(ctx, func(ctx context.Context) error { return s.killAtRandom(ctx, min(left, perRound)) })
	}
	if err != nil {
		return err
	}
	return s.checkAgain(ctx)
}

// ground is what all configurations stand on.
type ground struct {
	dir, binary string
	// target is the database whose users rotate.
	target *pgserver.Server
}

// newGround makes a folder with the program and starts the database.
func newGround(ctx context.Context) (g *ground, err error) {
	manyConnections()
	g = &ground{}
	if g.dir, err = os.MkdirTemp("", "keyturn-chaos-"); err != nil {
		return nil, err
	}
	// Functions may run as a user of their own, who has to get at the program.
	if err = os.Chmod(g.dir, 0o755); err == nil {
		g.binary, err = program(ctx, g.dir)
	}
	if err == nil {
		g.target, err = pgserver.Start(ctx, pgserver.Config{Durable: true})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(g.dir))
	}
	return g, nil
}

func (g *ground) close() error { return errors.Join(g.target.Close(), os.RemoveAll(g.dir)) }

// whole runs the configurations and reports. The error tells of violations
// too.
func whole(ctx context.Context, w io.Writer, kills int, only string, seed uint64) (err error) {
	fmt.Fprintf(w, "seed %d\n", seed)
	g, err := newGround(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	var all []*tally
	for i, c := range configurations() {
		if !strings.Contains(c.name, only) {
			continue
		}
		began := time.Now()
		t, failed := c.run(ctx, g, kills*c.share/100, rand.New(rand.NewPCG(seed, uint64(i))))
		fmt.Fprintf(w, "%s: %d servers killed in %v, %d violations\n", c.name, t.kills(), time.Since(began).Round(time.Second), len(t.violations))
		if all = append(all, t); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, failed))
			break
		}
	}
	report(w, all)
	for _, t := range all {
		if len(t.violations) > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d violations", t.name, len(t.violations)))
		}
	}
	return err
}

// run opens a configuration, does to it what is to be done, and closes it.
func (c *configuration) run(ctx context.Context, g *ground, kills int, rnd *rand.Rand) (*tally, error) {
	s, err := open(ctx, g, c.setup, rnd)
	if err == nil {
		err = c.act(s, ctx, kills)
	}
	if err != nil && ctx.Err() == nil {
		for _, n := range s.nodes {
			err = fmt.Errorf("%w\nnode %s said at last:\n%s", err, n.name, n.said())
		}
	}
	return s.tally, errors.Join(err, s.close())
}

// programVariable names the variable of the environment with the path of a
// keyturn that is built already.
const programVariable = "KEYTURN_TEST_BINARY"

// program copies or builds the program.
func program(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "keyturn")
	if built := os.Getenv(programVariable); built != "" {
		content, err := os.ReadFile(built)
		if err != nil {
			return "", err
		}
		return path, os.WriteFile(path, content, 0o755)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", path, "github.com/keyturn/keyturn/cmd/keyturn")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building keyturn: %w\n%s", err, out)
	}
	return path, nil
}
