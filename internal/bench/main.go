// Command bench measures the server beside two floors in one run and prints
// ratios: a bare net/http server that answers fixed bytes, and one that does
// only the work no such server can avoid (it verifies the signature and opens
// one AES-256-GCM value from memory). Writes stand beside two floors: bare
// group commits of one row in this process, and the second server with such a
// commit in each request.
//
// All servers are processes of their own, loaded over loopback by the same
// client with requests signed beforehand. CPU time is the servers' own.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	region    = "us-east-1"
	accessKey = "AKIABENCHBENCHBENCHB"
	secretKey = "bench-only-root-secret-access-key"
)

func main() {
	floor := flag.String("floor", "", "serve as a floor: bare, crypto or commit (used by the command itself)")
	dir := flag.String("dir", "", "the folder of the floor's store (used by the command itself)")
	seconds := flag.Duration("time", 4*time.Second, "length of each measurement")
	many := flag.Int("many", 100_000, "secrets in the larger list measurement")
	only := flag.String("only", "", "measure one section: requests, rotation (with the doctor), doctor, scale or schedule; all but the last two when empty")
	count := flag.Int("count", 100_000, "secrets in the sections scale and schedule")
	keyturn := flag.String("keyturn", "", "measure this program instead of building one")
	due := flag.Int("due", 1000, "secrets that are due at once")
	flag.Parse()
	measure := func() error {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return run(ctx, *keyturn, *only, *seconds, *many, *due, *count)
	}
	if *floor != "" { // ends by the signal itself
		measure = func() error { return serveFloor(*floor, *dir) }
	}
	if err := measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// process is a server under measurement.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// start runs a server and waits for the line that says where it listens.
func start(ctx context.Context, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KEYTURN_ROOT_ACCESS_KEY_ID="+accessKey, "KEYTURN_ROOT_SECRET_ACCESS_KEY="+secretKey)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "http://"); ok {
			return &process{cmd, strings.Fields(rest)[0]}, nil
		}
	}
	return nil, fmt.Errorf("%s does not say where it listens", name)
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := p.cmd.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil // a floor ends by the signal itself
	}
	return err
}

func run(ctx context.Context, binary, only string, length time.Duration, many, due, count int) error {
	dir, err := os.MkdirTemp("", "keyturn-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary == "" {
		binary = filepath.Join(dir, "keyturn")
		if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags=lambda.norpc,grpcnotrace", "-o", binary, "./cmd/keyturn").CombinedOutput(); err != nil {
			return fmt.Errorf("building keyturn: %w\n%s", err, out)
		}
	}
	switch only {
	case "scale":
		return measureScale(ctx, binary, dir, length, count)
	case "schedule":
		return measureSchedule(ctx, binary, dir, length, count, due)
	}
	if only == "" || only == "requests" {
		if err := measureRequests(ctx, binary, dir, length, many); err != nil {
			return err
		}
	}
	if only == "requests" {
		return nil
	}
	return measureRotations(ctx, binary, dir, 2*length, due, only)
}

// measureRequests runs the sections on single requests.
func measureRequests(ctx context.Context, binary, dir string, length time.Duration, many int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare, err := start(ctx, self, "-floor", "bare")
	if err != nil {
		return err
	}
	defer bare.stop()
	crypto, err := start(ctx, self, "-floor", "crypto")
	if err != nil {
		return err
	}
	defer crypto.stop()
	commit, err := start(ctx, self, "-floor", "commit", "-dir", filepath.Join(dir, "floor"))
	if err != nil {
		return err
	}
	defer commit.stop()
	began := time.Now()
	server, err := start(ctx, binary, "serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--log-level", "error")
	if err != nil {
		return err
	}
	defer server.stop()
	fmt.Printf("start on an empty folder to the line that says it listens: %s; resident %s\n\n",
		time.Since(began).Round(time.Millisecond), mebibytes(server.resident()))
	b := &bench{length: length, bare: bare, crypto: crypto, commit: commit, server: server}
	return b.all(many)
}
