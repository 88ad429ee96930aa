package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

const (
	region    = "us-east-1"
	account   = "123456789012"
	accessKey = "AKIADEMODEMODEMODEMO"
	secretKey = "demo-only-root-secret-access-key"
)

// interpreter is a Python that can run the example.
type interpreter struct{ path, runtime string }

// FindPython returns the runtime and the path of the first interpreter that
// can import what the Python example needs: the one asked for, or, if that is
// "", the usual ones.
func FindPython(ctx context.Context, wanted string) (runtime, path string, err error) {
	candidates := []string{wanted}
	if wanted == "" {
		candidates = []string{"/usr/bin/python3", "/usr/local/bin/python3", "python3"}
	}
	const probe = "import sys, boto3, psycopg2; print('python%d.%d' % sys.version_info[:2])"
	for _, c := range candidates {
		path, err := exec.LookPath(c)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-c", probe).Output()
		if runtime := strings.TrimSpace(string(out)); err == nil && strings.HasPrefix(runtime, "python3.") {
			return runtime, path, nil
		}
	}
	return "", "", fmt.Errorf("no Python with boto3 and psycopg2 among %s: run apt-get install python3 python3-boto3 python3-psycopg2",
		strings.Join(candidates, ", "))
}

// startServer runs the program as a server and returns how to stop it and
// how to reach it.
func startServer(ctx context.Context, binary, dir string, python interpreter, caFile string) (stop func() error, cfg aws.Config, err error) {
	cmd := exec.CommandContext(ctx, binary, "serve",
		"--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--region", region, "--account", account,
		"--runtime", python.runtime+"="+python.path)
	cmd.Env = append(os.Environ(),
		"KEYTURN_ROOT_ACCESS_KEY_ID="+accessKey, "KEYTURN_ROOT_SECRET_ACCESS_KEY="+secretKey, "KEYTURN_CA_BUNDLE="+caFile)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, cfg, err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, cfg, err
	}
	if err := cmd.Start(); err != nil {
		return nil, cfg, fmt.Errorf("starting %s: %w", binary, err)
	}
	stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("stopping the server: %w", err)
		}
		return nil
	}
	endpoint, err := readEndpoint(bufio.NewScanner(out))
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, cfg, errors.Join(fmt.Errorf("the server did not start: %w\n%s", err, said), stop())
	}
	return stop, aws.Config{
		Region: region, BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	}, nil
}

// readEndpoint waits for the line on which the server says where it listens.
func readEndpoint(lines *bufio.Scanner) (string, error) {
	for lines.Scan() {
		if i := strings.Index(lines.Text(), "http://"); i >= 0 {
			return strings.Fields(lines.Text()[i:])[0], nil
		}
	}
	return "", errors.New("it said nowhere that it listens")
}
