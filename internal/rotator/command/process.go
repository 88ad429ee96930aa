package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

const (
	// margin is what a command leaves of the function's time, so that the
	// step can say why it failed.
	margin = time.Second
	// linger is how long what a command has left running may hold its output
	// open.
	linger = 200 * time.Millisecond
	// maxValue is the size of the largest secret value in bytes (AWS docs).
	maxValue = 65536
)

// run runs the command for a step. What it prints is returned in
// createSecret, and logged in the others.
func run(ctx context.Context, r *rotator.Rotation, in *input) (plaintext.Value, error) {
	stdin, err := json.Marshal(in)
	if err != nil {
		return plaintext.Value{}, fmt.Errorf("writing the command's input: %w", err)
	}
	name, cmd, err := prepare(r.Settings)
	if err != nil {
		return plaintext.Value{}, err
	}
	var one sync.Mutex // a line of either at a time
	log := func(line string) {
		one.Lock()
		defer one.Unlock()
		r.Logf("%s", line)
	}
	said, printed := &lines{say: log}, &lines{say: log}
	var value limited
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), printed, said
	if in.Step == "createSecret" {
		// What it says is held back until it is known what it has made.
		said.say, cmd.Stdout = nil, &value
	}
	began := time.Now()
	over, err := supervise(ctx, cmd)
	made := plaintext.Of(strings.TrimRight(value.b.String(), "\r\n"))
	r.Hide(made)
	said.end()
	printed.end()
	for _, line := range said.kept {
		log(line)
	}
	switch {
	case over:
		return plaintext.Value{}, rotator.Invalid("The command %s was killed", name).Because(rotator.NewFailure(rotator.CauseTimeout, "",
			fmt.Sprintf("it ran for %s, and the function's time is over", time.Since(began).Round(time.Millisecond)), err))
	case err != nil:
		return plaintext.Value{}, failed(name, said.last, err)
	case value.over:
		return plaintext.Value{}, rotator.Invalid("The command %s printed more than the %d bytes that a secret may hold", name, maxValue)
	case !utf8.Valid(made.Reveal()):
		return plaintext.Value{}, rotator.Invalid("The command %s printed a value that is not UTF-8", name)
	}
	return made, nil
}

// prepare finds the command and makes its process.
func prepare(s rotator.Settings) (string, *exec.Cmd, error) {
	words := strings.Fields(s.Text("KEYTURN_COMMAND", "./rotate"))
	if len(words) == 0 {
		return "", nil, rotator.Invalid("The environment variable KEYTURN_COMMAND is empty")
	}
	folder := s.Text("LAMBDA_TASK_ROOT", "")
	name := words[0]
	path := name
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(path) && folder != "" {
			path = filepath.Join(folder, name)
		}
	} else if found, err := exec.LookPath(name); err == nil {
		path = found
	} else {
		return name, nil, rotator.Invalid("The command %s is not in PATH; a file of the function's package is ./%s", name, name)
	}
	cmd := exec.Command(path, words[1:]...)
	cmd.Dir, cmd.Env = folder, environment(s)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = linger
	return name, cmd, nil
}

// environment is the function's own, without what would let the command
// answer in the function's place.
func environment(s rotator.Settings) []string {
	var list []string
	for name, value := range s {
		if name != "AWS_LAMBDA_RUNTIME_API" && name != "_HANDLER" {
			list = append(list, name+"="+value)
		}
	}
	slices.Sort(list)
	return list
}

// supervise runs the process to its end or to that of the function's time,
// and kills its group after it. over says that the time was over.
func supervise(ctx context.Context, cmd *exec.Cmd) (over bool, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-margin))
		defer cancel()
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // nobody is left, or is killed
	stop := context.AfterFunc(ctx, kill)
	err = cmd.Wait()
	over = !stop()
	kill()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has exited well and left something running
	}
	return over && err != nil, err
}

// failed says how a command ended that did not end well.
func failed(name, last string, err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return rotator.Invalid("The command %s could not be started", name).Because(notStarted(err))
	}
	e := rotator.Invalid("The command %s ended by %s", name, exit.ProcessState)
	if last == "" {
		return e.Because(rotator.NewFailure(rotator.CauseOther, "", "it wrote nothing to standard error", err))
	}
	return e.Because(rotator.ParseFailure(last))
}

func notStarted(err error) *rotator.Failure {
	text := err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text = errno.Error()
		if errno == syscall.EACCES {
			text += "; it must be executable in the function's package"
		}
	}
	return rotator.NewFailure(rotator.CauseOther, "", text, err)
}

// limited keeps as much as a secret may hold, with a line's end after it.
type limited struct {
	b    bytes.Buffer
	over bool
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	room := maxValue + 2 - l.b.Len()
	if len(p) > room {
		l.over = true
	}
	l.b.Write(p[:min(len(p), room)])
	l.over = l.over || len(bytes.TrimRight(l.b.Bytes(), "\r\n")) > maxValue
	return len(p), nil
}

// maxLine is the longest line that is logged, in bytes: longer ones are left
// out as a whole, because half a secret would not be recognised.
const maxLine = 1 << 20

// maxKept is how many lines are held back at most: the last ones.
const maxKept = 1000

// lines cuts what a command writes into lines.
type lines struct {
	say     func(line string) // nil: they are kept
	kept    []string
	last    string // the last one with something in it
	partial []byte
	skip    bool
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if l.skip = l.skip || len(l.partial)+len(line) > maxLine; l.skip {
			l.partial = nil
		} else {
			l.partial = append(l.partial, line...)
		}
		if whole {
			l.end()
		}
	}
	return len(p), nil
}

// end ends the line that is under way.
func (l *lines) end() {
	line := strings.TrimRight(string(l.partial), "\r\t ")
	if l.skip {
		line = "(a line longer than 1 MiB was left out)"
	}
	l.partial, l.skip = nil, false
	if line == "" {
		return
	}
	l.last = line
	if l.say != nil {
		l.say(line)
		return
	}
	l.kept = append(l.kept, line)
	l.kept = l.kept[max(0, len(l.kept)-maxKept):]
}
