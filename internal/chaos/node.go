package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/servicetest"
)

const (
	region    = "us-east-1"
	account   = "123456789012"
	accessKey = "AKIACHAOSCHAOSCHAOSC"
	secretKey = "chaos-only-root-secret-access-key"
	// callTime bounds a request to a server: one that is stopped does not
	// answer.
	callTime = 20 * time.Second
	// startTime bounds the start of a server.
	startTime = 30 * time.Second
)

// node is one server process, killed and started again on one folder and one
// address.
type node struct {
	name, dir, listen string
	binary            string
	args              []string
	cfg               aws.Config
	secrets           *secretsmanager.Client
	lambda            *lambda.Client

	up     atomic.Bool
	cmd    *exec.Cmd
	exited chan struct{}
	// ready gets the end of a start: nil once the server listens.
	ready chan error
}

func newNode(binary, name, dir string, args ...string) (*node, error) {
	port, err := quietPort()
	if err != nil {
		return nil, err
	}
	n := &node{name: name, dir: filepath.Join(dir, name), listen: "127.0.0.1:" + strconv.Itoa(port), binary: binary, args: args}
	client := servicetest.HTTPClient()
	client.Timeout = callTime
	n.cfg = aws.Config{
		Region: region, BaseEndpoint: aws.String("http://" + n.listen), RetryMaxAttempts: 1, HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	}
	n.secrets, n.lambda = secretsmanager.NewFromConfig(n.cfg), lambda.NewFromConfig(n.cfg)
	return n, nil
}

// quietPort returns a free port that no client's connection gets while the
// server that listens on it is down: it is below those that Linux gives out.
func quietPort() (int, error) {
	for range 100 {
		port := 12000 + rand.IntN(20000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// launch starts the process and does not wait until it listens. The death of
// the starting thread would end it, so one locked thread starts it and waits
// for its end.
func (n *node) launch() error {
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"serve", "--data", n.dir, "--listen", n.listen, "--region", region, "--account", account, "--log-level", "warn"}, n.args...)
	cmd := exec.Command(n.binary, args...)
	cmd.Env = append(os.Environ(), "KEYTURN_ROOT_ACCESS_KEY_ID="+accessKey, "KEYTURN_ROOT_SECRET_ACCESS_KEY="+secretKey)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, to, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout = to
	started, exited, ready := make(chan error), make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(exited)
	}()
	err = <-started
	to.Close()
	if err != nil {
		out.Close()
		return fmt.Errorf("starting %s: %w", n.binary, err)
	}
	go awaitListening(out, ready)
	n.cmd, n.exited, n.ready = cmd, exited, ready
	return nil
}

// awaitListening reads what a server says until it ends.
func awaitListening(out io.ReadCloser, ready chan<- error) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listens on http://") {
			ready <- nil
			_, _ = io.Copy(io.Discard, out)
			return
		}
	}
	ready <- errors.New("it ended before it listened")
}

// start launches the process and waits until it listens.
func (n *node) start(ctx context.Context) error {
	if err := n.launch(); err != nil {
		return err
	}
	return n.await(ctx)
}

func (n *node) await(ctx context.Context) error {
	select {
	case err := <-n.ready:
		if err != nil {
			return fmt.Errorf("node %s: %w:\n%s", n.name, err, n.said())
		}
		n.up.Store(true)
		return nil
	case <-time.After(startTime):
		return fmt.Errorf("node %s does not listen after %v:\n%s", n.name, startTime, n.said())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// said is the end of the server's log.
func (n *node) said() string {
	log, _ := os.ReadFile(n.dir + ".log")
	return string(log[max(0, len(log)-4000):])
}

// kill ends the process with SIGKILL and returns once it is gone.
func (n *node) kill() error {
	n.up.Store(false)
	if n.cmd == nil {
		return nil
	}
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing node %s: %w", n.name, err)
	}
	<-n.exited
	n.cmd = nil
	return nil
}

// pid is the process's number; 0 when it does not run.
func (n *node) pid() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// manyConnections lets the clients of one process keep theirs.
func manyConnections() {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t.MaxIdleConnsPerHost = 64
	}
}
