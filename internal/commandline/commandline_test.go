package commandline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/commandline"
)

type shared struct {
	Data string `help:"Folder." default:"data" env:"TEST_DATA" type:"path"`
}

type serve struct {
	Listen  string            `help:"Address." default:"here" env:"TEST_LISTEN"`
	TLSCert string            `help:"File." type:"existingfile"`
	Level   string            `help:"One of ${enum}." enum:"low,high" default:"low" env:"TEST_LEVEL"`
	Count   int32             `help:"Number." short:"c" env:"TEST_COUNT"`
	Limit   *int32            `help:"Number or nothing."`
	Grace   time.Duration     `help:"Time." default:"30s"`
	Loud    bool              `help:"Switch."`
	Keys    []string          `help:"List." env:"TEST_KEYS"`
	Whole   []string          `help:"List with commas." sep:"none"`
	Env     map[string]string `help:"Map." mapsep:"none"`
	Runtime map[string]string `help:"Map with commas." mapsep:","`
	shared  `embed:""`
	Private int
}

type root struct {
	Serve serve `cmd:"" help:"Serve it."`
	Group struct {
		Show struct {
			Name   string `arg:"" help:"What to show."`
			Rank   int    `arg:"" optional:"" help:"Which one."`
			Colour string `help:"Colour." required:"" placeholder:"NAME"`
			JSON   bool   `name:"json" help:"As JSON." xor:"form"`
			XML    bool   `name:"xml" help:"As XML." xor:"form"`
		} `cmd:"" help:"Show one."`
		ListAll struct{} `cmd:"" help:"List them."`
	} `cmd:"" help:"Things."`
	Run struct {
		Quiet bool     `help:"Say nothing."`
		Words []string `arg:"" optional:"" passthrough:"" name:"command" help:"Command to run."`
	} `cmd:"" help:"Run it."`
}

// parse reads a line and returns the structs, and the command's path.
func parse(t *testing.T, line ...string) (*root, string, error) {
	t.Helper()
	var r root
	called, err := commandline.New("tool", "A tool.", &r).Parse(line)
	if err != nil {
		return nil, "", err
	}
	return &r, called.Path(), nil
}

func TestValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cert")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_COUNT", "7")
	t.Setenv("TEST_KEYS", "x,y")
	t.Setenv("TEST_LEVEL", "high")
	r, path, err := parse(t, "serve", "--listen=there", "--tls-cert", file, "--level", "low", "--limit=5", "--loud", "--keys=a,b", "--keys", "c",
		"--whole", "a,b", "--env", "A=1,2", "--env=B=", "--runtime=p=1,n=2")
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("data")
	if err != nil {
		t.Fatal(err)
	}
	want := serve{
		Listen: "there", TLSCert: file, Level: "low", Count: 7, Limit: new(int32(5)), Grace: 30 * time.Second, Loud: true,
		Keys: []string{"a", "b", "c"}, Whole: []string{"a,b"}, Env: map[string]string{"A": "1,2", "B": ""},
		Runtime: map[string]string{"p": "1", "n": "2"}, shared: shared{here},
	}
	if diff := cmp.Diff(want, r.Serve, cmp.AllowUnexported(serve{})); diff != "" || path != "tool serve" {
		t.Errorf("%s: %s", path, diff)
	}
	t.Setenv("TEST_LISTEN", "")
	if r, _, err = parse(t, "serve", "-c3"); err != nil || r.Serve.Count != 3 || r.Serve.Listen != "here" || r.Serve.Level != "high" || len(r.Serve.Keys) != 2 || r.Serve.Limit != nil {
		t.Errorf("with variables: got %+v, %v", r, err)
	}
}

func TestArguments(t *testing.T) {
	r, path, err := parse(t, "group", "show", "--colour", "red", "--", "-x", "4")
	if err != nil || path != "tool group show" || r.Group.Show.Name != "-x" || r.Group.Show.Rank != 4 {
		t.Errorf("got %s, %+v, %v", path, r, err)
	}
	r, _, err = parse(t, "run", "--quiet", "--", "ls", "--quiet", "-h")
	if err != nil || strings.Join(r.Run.Words, " ") != "-- ls --quiet -h" || !r.Run.Quiet {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, _, err = parse(t, "run", "ls", "--help"); err != nil || strings.Join(r.Run.Words, " ") != "ls --help" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRefused(t *testing.T) {
	t.Setenv("TEST_COUNT", "few")
	for _, tc := range []struct{ line, want string }{
		{"", `expected one of "serve", "group", "run"`},
		{"group", `expected one of "show", "list-all"`},
		{"nonsense", "unexpected argument nonsense"},
		{"run --nonsense", "unknown flag --nonsense"},
		{"serve -x", "unknown flag -x"},
		{"serve --count=1 more", "unexpected argument more"},
		{"serve --count many", `--count: expected a whole number but got "many"`},
		{"serve --count 3000000000", "--count: the number 3000000000 is too large"},
		{"serve --count", "--count needs a value: --count=INT32"},
		{"serve --count=1 --grace soon", `--grace: expected a duration such as 30s or 2h but got "soon"`},
		{"serve --count=1 --level middle", `--level must be one of "low","high" but got "middle"`},
		{"serve --count=1 --env NAME", `--env: expected NAME=VALUE but got "NAME"`},
		{"serve --count=1 --loud=perhaps", `--loud: must be true or false but got "perhaps"`},
		{"serve --count=1 --tls-cert missing", "--tls-cert: stat "},
		{"serve --count=1 --tls-cert .", "--tls-cert: . is a folder, not a file"},
		{"serve", `--count (from $TEST_COUNT): expected a whole number but got "few"`},
		{"group show", `expected "<name>"`},
		{"group show x", "missing flags: --colour=NAME"},
		{"group show x --colour=red --json --xml", "--json and --xml can't be used together"},
	} {
		_, _, err := parse(t, strings.Fields(tc.line)...)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want %s", tc.line, err, tc.want)
		}
	}
}

// TestUnknownType panics when the program is made, not when it runs.
func TestUnknownType(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a field of type float64 was taken")
		}
	}()
	commandline.New("tool", "", &struct {
		Ratio float64 `help:"No such type."`
	}{})
}

func TestHelp(t *testing.T) {
	for _, tc := range []struct {
		line string
		want string
	}{
		{"--help", `Usage: tool <command>

A tool.

Flags:
  -h, --help    Show this help.

Commands:
  serve    Serve it.
  group    Things.
  run      Run it.

Run "tool <command> --help" for more on a command.
`},
		{"group show x -h", `Usage: tool group show --colour=NAME <name> [<rank>] [flags]

Show one.

Arguments:
  <name>      What to show.
  [<rank>]    Which one.

Flags:
  -h, --help           Show this help.
      --colour=NAME    Colour.
      --json           As JSON.
      --xml            As XML.
`},
	} {
		_, _, err := parse(t, strings.Fields(tc.line)...)
		asked, ok := errors.AsType[*commandline.HelpError](err)
		if !ok {
			t.Fatalf("%s: got %v, want help", tc.line, err)
		}
		var b strings.Builder
		if err := asked.Command.WriteHelp(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, b.String()); diff != "" {
			t.Errorf("%s: %s", tc.line, diff)
		}
	}
	_, _, err := parse(t, "serve", "--help")
	asked, _ := errors.AsType[*commandline.HelpError](err)
	var b strings.Builder
	if err := asked.Command.WriteHelp(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len([]rune(line)) > 81 {
			t.Errorf("too wide: %s", line)
		}
	}
	for _, want := range []string{"  -c, --count=INT32 ", "      --level=low  ", "One of low,high ($TEST_LEVEL).", "      --data=data "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &b)
		}
	}
}
