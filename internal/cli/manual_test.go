package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/commandline"
	"github.com/keyturn/keyturn/internal/manual"
)

func model() *commandline.Command { return newCommandLine() }

// leaves are the commands that do something, by their words.
func leaves() map[string]*commandline.Command {
	all := map[string]*commandline.Command{}
	var walk func(*commandline.Command)
	walk = func(c *commandline.Command) {
		for _, sub := range c.Commands {
			walk(sub)
		}
		if len(c.Commands) == 0 {
			all[strings.TrimPrefix(c.Path(), "keyturn ")] = c
		}
	}
	walk(model())
	return all
}

// completed is what a shell offers for a command line, whose last word the
// cursor stands behind.
type completed struct {
	line string
	want []string // some of what is offered
	not  []string // none of what is offered
}

// Beside these lie the files folder/, cert.pem.
var lines = [...]completed{
	{"keyturn ", []string{"serve", "doctor", "completion", "account"}, []string{"--data", "cert.pem", "create"}},
	{"keyturn ser", []string{"serve"}, []string{"doctor"}},
	{"keyturn account ", []string{"create", "list", "key"}, []string{"serve"}},
	{"keyturn account key ", []string{"create", "delete"}, []string{"list"}},
	{"keyturn serve --lo", []string{"--log-level"}, []string{"--listen", "--json"}},
	{"keyturn serve --log-level ", []string{"debug", "info", "warn", "error"}, []string{"serve", "cert.pem"}},
	{"keyturn serve --listen account --log-level w", []string{"warn"}, []string{"info"}},
	{"keyturn --help serve --tls-cert ", []string{"cert.pem"}, []string{"debug"}},
	{"keyturn completion ", []string{"bash", "zsh", "fish"}, []string{"cert.pem"}},
	{"keyturn function create --s", []string{"--secret"}, []string{"--listen"}},
}

func TestBash(t *testing.T) {
	t.Parallel()
	checkShell(t, "bash", `
source "$1"
IFS=' ' read -ra COMP_WORDS <<<"$2"
[[ $2 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_keyturn
printf '%s\n' "${COMPREPLY[@]}"`)
}

// bash gives --flag=value as three words.
func TestBashEqualSign(t *testing.T) {
	t.Parallel()
	script := completionFile(t, "bash")
	for _, words := range []string{"keyturn serve --log-level = d", "keyturn serve --tls-key = k --log-level = d"} {
		out := shell(t, t.TempDir(), "bash", `source "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _keyturn; printf '%s\n' "${COMPREPLY[@]}"`, script, words)
		if strings.TrimSpace(out) != "debug" {
			t.Errorf("%s: got %q, want debug", words, out)
		}
	}
}

// In zsh the functions of its completion system stand in for themselves and
// print what they are given.
func TestZsh(t *testing.T) {
	t.Parallel()
	checkShell(t, "zsh", `
compdef() {}
_describe() { for word in ${(P)2}; do [[ $word == $words[CURRENT]* ]] && print -r -- ${word%%:*}; done }
_files() { print -r -- cert.pem }
_message() {}
words=(${(s: :)2})
[[ $2 == *' ' ]] && words+=('')
CURRENT=$#words
source "$1"
_keyturn`)
}

func TestFish(t *testing.T) {
	t.Parallel()
	checkShell(t, "fish", `source $argv[1]; complete -C $argv[2] | string replace -r '\t.*' ''`)
}

// checkShell asks a real shell for completions of the lines.
func checkShell(t *testing.T, name, run string) {
	script := completionFile(t, name)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		words := strings.Fields(shell(t, dir, name, run, script, l.line))
		for _, w := range l.want {
			if !slices.Contains(words, w) {
				t.Errorf("%s, %q: got %q, want %s in it", name, l.line, words, w)
			}
		}
		for _, w := range l.not {
			if slices.Contains(words, w) {
				t.Errorf("%s, %q: got %q, want %s not in it", name, l.line, words, w)
			}
		}
	}
}

func completionFile(t *testing.T, name string) string {
	t.Helper()
	var b bytes.Buffer
	if err := describe(model()).WriteCompletion(&b, name); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// shell runs a script in a shell without anybody's settings.
func shell(t *testing.T, dir, name, script string, args ...string) string {
	t.Helper()
	words := map[string][]string{"bash": {"--norc", "-c", script, "bash"}, "zsh": {"-f", "-c", script, "zsh"}, "fish": {"--no-config", "-c", script}}[name]
	cmd := exec.CommandContext(t.Context(), name, append(words, args...)...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && stderr.Len() > 0 || stderr.Len() > 0 {
		t.Fatalf("%s %q: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// The page holds every command, flag and variable, and is well formed.
func TestManPage(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := describe(model()).WritePage(&b, time.Unix(1700000000, 0)); err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(b.String(), `\-`, "-")
	for path, leaf := range leaves() {
		if !strings.Contains(page, "\n.SS \"keyturn "+path) {
			t.Errorf("the page lacks the command %s", path)
		}
		for _, f := range leaf.Flags {
			if !strings.Contains(page, "--"+f.Name) || !strings.Contains(page, f.Variable) {
				t.Errorf("the page lacks --%s of %s", f.Name, path)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "keyturn.8")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "mandoc", "-T", "lint", "-W", "warning", file).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

// The doctor examines the machine for what serve is started with: so it takes
// the same flags.
func TestSelfFlags(t *testing.T) {
	t.Parallel()
	of := map[string]*commandline.Value{}
	for _, f := range leaves()["serve"].Flags {
		of[f.Name] = f
	}
	own := commandline.New("self", "", &selfFlags{}).Flags
	for _, f := range own {
		if s := of[f.Name]; s == nil || s.Default != f.Default || s.Variable != f.Variable || s.Type != f.Type {
			t.Errorf("--%s: serve has %+v", f.Name, s)
		}
	}
	if n := len(own); n < 10 {
		t.Errorf("got %d flags, want 10 or more", n)
	}
}

func TestUnknownShell(t *testing.T) {
	t.Parallel()
	if err := (&manual.Program{Name: "x"}).WriteCompletion(io.Discard, "csh"); err == nil {
		t.Error("no error for csh")
	}
}
