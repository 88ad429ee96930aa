package gather

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// The list holds what reads, and nothing that reads a secret's value.
func TestOperationsOnlyRead(t *testing.T) {
	list := Operations()
	if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
		t.Error("the list is not sorted, or has something twice")
	}
	for _, action := range list {
		_, name, _ := strings.Cut(action, ":")
		if !slices.ContainsFunc([]string{"Describe", "Get", "List", "Lookup", "Filter", "Simulate"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			t.Errorf("%s does not only read", action)
		}
		for _, never := range []string{"GetSecretValue", "GetRandomPassword", "GetParametersForImport", "GetSessionToken", "GetFederationToken"} {
			if strings.Contains(name, never) {
				t.Errorf("%s hands out secrets", action)
			}
		}
	}
}

// cable counts what is sent, and answers nothing.
type cable struct{ sent []string }

func (c *cable) Do(r *http.Request) (*http.Response, error) {
	c.sent = append(c.sent, r.URL.String())
	return nil, errors.New("not sent")
}

// Every method of every client is called: those in the list get past the
// middleware, all others do not reach the network.
func TestClientsRefuseWhatIsNotListed(t *testing.T) {
	sent := &cable{}
	g := New(aws.Config{
		Region: "eu-west-1", HTTPClient: sent, RetryMaxAttempts: 1, BaseEndpoint: aws.String("http://127.0.0.1:1"),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
	}, Options{})
	passed, refused := map[string]bool{}, 0
	of := reflect.ValueOf(g.clients)
	for prefix, client := range map[string]any{
		"secretsmanager": g.secrets, "cloudtrail": g.trail, "lambda": g.lambda, "logs": g.logs, "iam": g.iam, "kms": g.kms, "sts": g.sts,
		"cloudformation": g.stacks, "ec2": g.ec2, "rds": g.rds, "cloudwatch": g.metrics,
	} {
		v := reflect.ValueOf(client)
		for i := range v.NumMethod() {
			name, method := v.Type().Method(i).Name, v.Method(i)
			if method.Type().NumIn() != 3 || method.Type().In(0) != reflect.TypeFor[context.Context]() {
				continue // Options and the like
			}
			before := len(sent.sent)
			out := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.New(method.Type().In(1).Elem())})
			err, _ := out[1].Interface().(error)
			_, isRefused := errors.AsType[refusal](err)
			action := prefix + ":" + name
			switch listed := slices.Contains(operations, action); {
			case listed && isRefused:
				t.Errorf("%s is listed and was refused", action)
			case listed:
				passed[action] = true
			case !isRefused, len(sent.sent) != before:
				t.Errorf("%s is not listed: got %v, sent %v", action, err, sent.sent[before:])
			default:
				refused++
			}
		}
	}
	if of.NumField() != len(prefixes) {
		t.Errorf("%d clients, and %d of them are tested", of.NumField(), len(prefixes))
	}
	for _, action := range operations {
		if !passed[action] {
			t.Errorf("%s is no operation of a client", action)
		}
	}
	if refused < 1000 {
		t.Errorf("only %d operations were refused", refused)
	}
	for _, action := range []string{"secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "secretsmanager:PutSecretValue", "lambda:Invoke"} {
		if passed[action] {
			t.Errorf("%s passed", action)
		}
	}
}

// The policy allows what is called, and nothing else.
func TestPolicyHoldsTheList(t *testing.T) {
	const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf"
	text := Policy("aws", "123456789012", "eu-west-1", secret)
	var p struct {
		Statement []struct {
			Effect           string
			Action, Resource []string
		}
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, s := range p.Statement {
		actions = append(actions, s.Action...)
		for _, r := range s.Resource {
			if r != "*" && (!strings.HasPrefix(r, "arn:aws:") || strings.Contains(r, ":A:") || strings.Contains(r, ":R:")) {
				t.Errorf("got the resource %s", r)
			}
		}
		if len(s.Resource) == 0 || s.Effect != "Allow" {
			t.Errorf("got the statement %+v", s)
		}
	}
	slices.Sort(actions)
	if got := slices.Compact(actions); !slices.Equal(got, operations) {
		t.Errorf("got the actions %v, want %v", got, operations)
	}
	if !strings.Contains(text, secret) {
		t.Error("the policy does not name the secret")
	}
	if len(text) > 6144 {
		t.Errorf("the policy has %d characters; a managed policy may have 6144", len(text))
	}
}
