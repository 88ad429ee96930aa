package doctor

import (
	"bytes"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/serverlessapplicationrepository"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// adviceOf is every command of every case.
func adviceOf(t *testing.T) (commands []string) {
	t.Helper()
	for _, tc := range cases {
		for _, f := range Diagnose(tc.e).Findings {
			for _, r := range f.Remedies {
				commands = append(commands, r.Commands...)
			}
			for _, next := range f.Next {
				if _, command, found := strings.Cut(next, "aws "); found && strings.HasPrefix(next, "aws ") {
					commands = append(commands, "aws "+command)
				}
			}
		}
	}
	slices.Sort(commands)
	commands = slices.Compact(commands)
	if len(commands) < 40 {
		t.Fatalf("got %d commands, want more", len(commands))
	}
	return commands
}

// wordsOf has a shell run the commands, with an aws that only says what words
// it got: each call is a list of words.
func wordsOf(t *testing.T, commands []string) (calls [][]string) {
	t.Helper()
	dir := t.TempDir()
	said := dir + "/said"
	script := "exec 3>>" + said + `
aws() { printf '%s\0' "$@" >&3; printf '\0' >&3; printf 1; }
exec >/dev/null; jq() { :; }; keyturn() { :; }; cdk() { :; }
` + strings.Join(commands, " || exit 1\n") + "\n"
	cmd := exec.Command("sh", "-e", "-u", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("got %v: %s", err, out)
	}
	b, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	for call := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte("\x00\x00")), []byte("\x00\x00")) {
		calls = append(calls, strings.Split(string(call), "\x00"))
	}
	return calls
}

// Every command of every case is one line that a shell understands.
func TestCommandsAreShell(t *testing.T) {
	t.Parallel()
	commands := adviceOf(t)
	for _, command := range commands {
		if strings.ContainsAny(command, "\n\r") {
			t.Errorf("more than one line: %q", command)
		}
	}
	wordsOf(t, commands)
}

// clients have the operations of the services that commands name.
var clients = map[string]any{
	"secretsmanager": &secretsmanager.Client{}, "lambda": &lambda.Client{}, "iam": &iam.Client{}, "kms": &kms.Client{}, "sts": &sts.Client{},
	"logs": &cloudwatchlogs.Client{}, "cloudtrail": &cloudtrail.Client{}, "cloudformation": &cloudformation.Client{}, "ec2": &ec2.Client{},
	"rds": &rds.Client{}, "serverlessrepo": &serverlessapplicationrepository.Client{},
}

// waited are the operations that the CLI's waiters ask.
var waited = map[string]string{
	"function-updated-v2": "get-function", "function-active-v2": "get-function", "function-updated": "get-function-configuration",
	"change-set-create-complete": "describe-change-set", "stack-update-complete": "describe-stacks", "stack-create-complete": "describe-stacks",
}

// anywhere are the CLI's options for every operation.
var anywhere = []string{"query", "output", "region", "profile", "cli-binary-format", "endpoint-url", "cli-input-json"}

// Every aws command of every case names an operation and options that there
// are, with a value for each that has one.
func TestCommandsAreOfTheAPI(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, words := range wordsOf(t, adviceOf(t)) {
		if why := misspelt(words); why != "" {
			t.Errorf("aws %s: %s", strings.Join(words, " "), why)
		}
		if len(words) > 1 {
			seen[words[0]+" "+words[1]] = true
		}
	}
	if len(seen) < 20 {
		t.Errorf("got %d operations, want more: %v", len(seen), seen)
	}
	for _, wrong := range []string{
		"secretsmanager rotate-secrets --secret-id x", "secretmanager rotate-secret --secret-id x", "lambda get-function --function x",
		"lambda get-function --function-name", "lambda get-function --function-name --query x", "lambda wait function-ready --function-name x", "lambda",
	} {
		if misspelt(strings.Fields(wrong)) == "" {
			t.Errorf("aws %s: nothing is wrong with it", wrong)
		}
	}
}

// misspelt says what is wrong with an aws command; "" if nothing is.
func misspelt(words []string) string {
	if len(words) < 2 {
		return "no operation"
	}
	client, known := clients[words[0]]
	operation, rest := words[1], words[2:]
	if !known {
		return "no such service"
	}
	if operation == "wait" && len(rest) > 0 {
		operation, rest = waited[rest[0]], rest[1:]
	}
	input := inputOf(client, operation)
	if input == nil {
		return "no such operation"
	}
	return misused(input, rest)
}

// misused says what is wrong with the options of an operation.
func misused(input reflect.Type, words []string) string {
	for i := 0; i < len(words); i++ {
		name, found := strings.CutPrefix(words[i], "--")
		if !found {
			return "a word without an option: " + words[i]
		}
		member := memberOf(input, name)
		if member == nil && !slices.Contains(anywhere, name) {
			return "no such option: " + words[i]
		}
		if member != nil && (member.Kind() == reflect.Bool || member.Kind() == reflect.Pointer && member.Elem().Kind() == reflect.Bool) {
			continue
		}
		first := i
		for i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
			i++
		}
		if i == first || words[first+1] == "" {
			return "no value: " + words[first]
		}
		if i > first+1 && (member == nil || member.Kind() != reflect.Slice) {
			return "more than one value: " + words[first]
		}
	}
	return ""
}

// inputOf is the input of an operation by its name in the CLI; nil if there
// is none.
func inputOf(client any, operation string) reflect.Type {
	t := reflect.TypeOf(client)
	for i := range t.NumMethod() {
		if m := t.Method(i); kebab(m.Name) == operation && m.Type.NumIn() > 2 && m.Type.In(2).Kind() == reflect.Pointer {
			return m.Type.In(2).Elem()
		}
	}
	return nil
}

// memberOf is the type of an input's member by its option; nil if there is
// none.
func memberOf(input reflect.Type, option string) reflect.Type {
	for i := range input.NumField() {
		f := input.Field(i)
		name := kebab(f.Name)
		if name == option || "no-"+name == option {
			return f.Type
		}
	}
	return nil
}

var (
	capital = regexp.MustCompile(`(.)([A-Z][a-z]+)`)
	border  = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// kebab is how the CLI spells a name of the API.
func kebab(name string) string {
	if strings.HasSuffix(name, "ARNs") || strings.HasSuffix(name, "IDs") {
		name = name[:len(name)-1] + "S"
	}
	return strings.ToLower(border.ReplaceAllString(capital.ReplaceAllString(name, "$1-$2"), "$1-$2"))
}
