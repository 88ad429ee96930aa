package rehearse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// command is a service that a user's program starts and knows. The program is
// run through a shell with one more argument:
//
//	start        starts the service and returns when it answers
//	create NAME  makes a user and prints {"secret": {…}, "superuser": {…}}
//	check        reads a secret's value from its input; exits with 0 if that
//	             logs in, with 1 if it is refused
//	stop         ends the service
//
// The variable KEYTURN_REHEARSE_DIR names a folder of its own to keep things
// in, which is removed in the end.
type command struct {
	line, dir string
	// at is where the service listens, as the first secret says.
	at    atomic.Pointer[string]
	host  atomic.Pointer[value]
	count atomic.Int64
}

// commandTime bounds one run of the program.
const commandTime = 2 * time.Minute

// refused is the exit code of check for a secret that does not log in.
const refused = 1

func startCommand(ctx context.Context, w *workspace, line string) (target, error) {
	dir, err := w.folder("service")
	if err != nil {
		return nil, err
	}
	c := &command{line: line, dir: dir}
	if _, err := c.run(ctx, nil, "start"); err != nil {
		return nil, errors.Join(err, c.close())
	}
	// A first user tells where the service listens.
	secret, _, err := c.create(ctx, "")
	if err == nil {
		var in bool
		if in, err = c.login(ctx, secret); err == nil && !in {
			err = errors.New("the secret that it creates does not pass its own check")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the service %s: %w", line, err), c.close())
	}
	host, port := text(secret["host"]), text(secret["port"])
	if host != "" && port != "" {
		address := net.JoinHostPort(host, port)
		c.at.Store(&address)
		c.host.Store(&value{"host": secret["host"], "port": secret["port"]})
	}
	return c, nil
}

// text is a member of a secret as text; "" for what is none.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64, int, json.Number:
		return fmt.Sprint(v)
	}
	return ""
}

// run runs the program and returns what it printed.
func (c *command) run(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", c.line + ` "$@"`, "sh"}, args...)...)
	cmd.Env = append(cleanEnvironment(), "KEYTURN_REHEARSE_DIR="+c.dir)
	cmd.Stdin = bytes.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if args[0] != "create" {
		cmd.Stdout = os.Stderr // only a secret is read, and no secret is shown
	}
	cmd.WaitDelay = time.Second // a service that start leaves behind may hold its output
	err := cmd.Run()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("%s %s: %w", c.line, strings.Join(args, " "), err)
	}
	return out.Bytes(), nil
}

func (c *command) create(ctx context.Context, password string) (secret, superuser value, err error) {
	if password != "" {
		return nil, nil, errCannot
	}
	out, err := c.run(ctx, nil, "create", fmt.Sprintf("app_%d", c.count.Add(1)))
	if err != nil {
		return nil, nil, err
	}
	var made struct{ Secret, Superuser value }
	if json.Unmarshal(out, &made) != nil || made.Secret == nil {
		return nil, nil, fmt.Errorf(`%s create did not print {"secret": {...}}`, c.line)
	}
	return made.Secret, made.Superuser, nil
}

func (c *command) login(ctx context.Context, secret value) (bool, error) {
	direct := value{}
	for k, v := range secret {
		direct[k] = v
	}
	if at := c.host.Load(); at != nil {
		for k, v := range *at {
			direct[k] = v
		}
	}
	input, err := json.Marshal(direct)
	if err != nil {
		return false, err
	}
	_, err = c.run(ctx, input, "check")
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.ExitCode() == refused {
		return false, nil
	}
	return err == nil, err
}

func (c *command) setPassword(context.Context, value, string) error { return errCannot }
func (c *command) authority() string                                { return "" }
func (c *command) live() bool                                       { return false }
func (c *command) guard(context.Context) error                      { return nil }

func (c *command) address() string {
	if at := c.at.Load(); at != nil {
		return *at
	}
	return ""
}

func (c *command) close() error {
	_, err := c.run(context.Background(), nil, "stop")
	return errors.Join(err, os.RemoveAll(c.dir))
}
