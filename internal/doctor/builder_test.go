package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/network"
)

const (
	secretARN    = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:app/db-a1b2c3"
	superARN     = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db/admin-AbCdEf"
	functionARN  = "arn:aws:lambda:eu-west-1:111122223333:function:rot-pg"
	roleARN      = "arn:aws:iam::111122223333:role/rot-pg-role"
	versionC     = "cccccccc-1111-4111-8111-cccccccccccc"
	versionT     = "77777777-2222-4222-8222-777777777777"
	versionP     = "99999999-3333-4333-8333-999999999999"
	openPolicy   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"secretsmanager.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + functionARN + `","Condition":{"StringEquals":{"AWS:SourceAccount":"111122223333"}}}]}`
	closedPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"secretsmanager.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + functionARN + `","Condition":{"StringEquals":{"AWS:SourceAccount":"999999999999"}}}]}`
)

// began is when the rotation of the tests begins; they look at it ten minutes
// later.
var began = time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC)

// with is a change of evidence.
type with func(*Evidence)

// well is a secret of a PostgreSQL user whose last rotation succeeded, with a
// function of AWS's current template, and nothing that could not be read.
func well(changes ...with) *Evidence {
	e := &Evidence{
		At: began.Add(10 * time.Minute), Account: "111122223333", Region: "eu-west-1", Partition: "aws",
		Caller: "arn:aws:iam::111122223333:user/ops",
		Secret: Secret{
			ARN: secretARN, Name: "app/db", Found: true, RotationEnabled: new(true), FunctionARN: functionARN, Rules: Rules{AfterDays: 30},
			LastRotatedAt: began.AddDate(0, 0, -1), LastChangedAt: began.AddDate(0, 0, -1), NextRotationAt: began.AddDate(0, 0, 29),
			Labels: map[string]string{labelCurrent: versionC, labelPrevious: versionP},
		},
		Versions: []Version{
			{ID: versionC, Labels: []string{labelCurrent}, HasValue: true, CreatedAt: began.AddDate(0, 0, -1)},
			{ID: versionP, Labels: []string{labelPrevious}, HasValue: true, CreatedAt: began.AddDate(0, 0, -31)},
		},
		Events: []Event{
			event("RotationStarted", -24*time.Hour, versionC, ""), event("RotationSucceeded", -24*time.Hour+3*time.Second, versionC, ""),
		},
		Function: &Function{
			ARN: functionARN, Name: "rot-pg", Found: true, Runtime: "python3.12", Handler: "lambda_function.lambda_handler", Architecture: "x86_64",
			Timeout: 30 * time.Second, MemoryMB: 128, State: "Active", LastUpdateStatus: "Successful", RoleARN: roleARN,
			Variables: map[string]string{"SECRETS_MANAGER_ENDPOINT": "https://secretsmanager.eu-west-1.amazonaws.com"},
			Policy:    openPolicy, PolicyKnown: true, LogGroup: "/aws/lambda/rot-pg",
			Code: &Code{Template: "SecretsManagerRDSPostgreSQLRotationSingleUser", Strategy: "single", Files: 9, HandlerFound: true, HandlerFile: "lambda_function.py",
				PassesToken: new(true), TriesTLS: new(true),
				Natives: []Native{{Path: "libpq.so.5", LibPQ: "16", SCRAM: true, Architecture: "x86_64"}, {Path: "_pg.cpython-312-x86_64-linux-gnu.so", Python: "3.12"}}},
		},
		Role: &Role{ARN: roleARN, Found: true, Trust: `{"Version":"2012-10-17"}`},
	}
	for _, c := range changes {
		c(e)
	}
	return e
}

func event(name string, after time.Duration, token, message string) Event {
	return Event{ID: name + token[:4], Name: name, Source: "secretsmanager.amazonaws.com", At: began.Add(after), Invoker: "secretsmanager.amazonaws.com",
		SecretID: secretARN, Token: token, ErrorMessage: message, Service: true}
}

// failedIn is a rotation that failed in a step, with the lines of the
// function's log in it. The steps before went well.
func failedIn(step string, took time.Duration, lines ...string) with {
	return func(e *Evidence) {
		stuckOn(e, step != stepCreate)
		e.Events = append(e.Events, event("RotationStarted", 0, versionT, ""))
		at := time.Second
		for _, s := range []string{stepCreate, stepSet, stepTest, stepFinish} {
			if s == step {
				break
			}
			e.Invocations = append(e.Invocations, invocation(s, at, 400*time.Millisecond, goodLines[s]...))
			at += time.Second
		}
		e.Invocations = append(e.Invocations, invocation(step, at, took, lines...))
		e.Events = append(e.Events, event("RotationFailed", at+took, versionT, "Error when executing lambda "+functionARN+" during "+step+" step"))
	}
}

var goodLines = map[string][]string{
	stepCreate: {"[INFO] createSecret: Successfully put secret for ARN " + secretARN + " and version " + versionT + "."},
	stepSet:    {"[INFO] Successfully established SSL/TLS connection as user 'app' with host: 'db.example.com'", "[INFO] setSecret: Successfully set password for user app in PostgreSQL DB for secret arn " + secretARN + "."},
	stepTest:   {"[INFO] testSecret: Successfully signed into PostgreSQL DB with AWSPENDING secret in " + secretARN + "."},
}

// stuckOn labels a version AWSPENDING that is not the current one.
func stuckOn(e *Evidence, valued bool) {
	e.Secret.Labels[labelPending] = versionT
	e.Secret.NextRotationAt = began.Add(12 * time.Hour)
	e.Versions = append([]Version{{ID: versionT, Labels: []string{labelPending}, HasValue: valued, CreatedAt: began}}, e.Versions...)
}

func invocation(step string, after, took time.Duration, lines ...string) Invocation {
	inv := Invocation{RequestID: "req-" + step, Stream: "2026/03/10/[$LATEST]ab", StartedAt: began.Add(after), EndedAt: began.Add(after + took), Took: took,
		MemoryMB: 128, MaxMemoryMB: 64, Complete: true, Step: step, Token: versionT}
	for i, l := range lines {
		inv.Lines = append(inv.Lines, Line{At: inv.StartedAt.Add(time.Duration(i) * time.Millisecond), Text: l})
		if timeoutPattern.MatchString(l) {
			inv.TimedOut = true
		}
	}
	return inv
}

// silentIn is a rotation that failed in a step of which the log has nothing.
func silentIn(step string) with {
	return func(e *Evidence) {
		failedIn(step, time.Second)(e)
		e.Invocations = e.Invocations[:len(e.Invocations)-1]
	}
}

// asked is a RotateSecret that was refused.
func asked(code, text string) with {
	return func(e *Evidence) { e.Request = &Request{Action: "RotateSecret", At: e.At, Code: code, Text: text} }
}

// probe adds a login. stage "" is one that worked, else the stage that
// failed.
func probe(from, label, stage, cause string) with {
	return func(e *Evidence) {
		p := Probe{Label: label, From: from, Host: "db.example.com", Port: 5432, Username: "app", Engine: "postgres", LogsIn: stage == ""}
		for _, s := range []string{"dns", "tcp", "tls", "auth", "database"} {
			if s == stage {
				p.Stages = append(p.Stages, Stage{Name: s, Cause: cause, Text: "refused", Took: 20 * time.Millisecond})
				break
			}
			p.Stages = append(p.Stages, Stage{Name: s, OK: true})
		}
		e.Probes = append(e.Probes, p)
	}
}

// closed is a way that the network analysis finds closed.
func closed(to string, stage network.Stage) with {
	return func(e *Evidence) {
		e.Function.SubnetIDs, e.Function.GroupIDs, e.Function.VPCID = []string{"subnet-1"}, []string{"sg-1"}, "vpc-1"
		e.Network = &Network{VPCID: "vpc-1", Enforced: true}
		for _, name := range []string{"secretsmanager", "rds", "database"} {
			p := Path{To: name, Host: name + ".example.com", Port: 443, Report: network.Report{Verdict: network.Allowed}}
			if name == to {
				p.Report = network.Report{Verdict: network.Dropped, Hops: []network.Hop{{Stage: stage, Resource: "sg-1", Verdict: network.Dropped,
					Text: "No egress rule of sg-1 lets TCP 443 out.", Fix: "aws ec2 authorize-security-group-egress --group-id sg-1"}}}
			}
			e.Network.Paths = append(e.Network.Paths, p)
		}
	}
}

// byRotator makes the function one of Keyturn's own.
func byRotator(name string) with {
	return func(e *Evidence) {
		e.Keyturn, e.Endpoint = true, "http://127.0.0.1:8443"
		e.Function.Rotator, e.Function.Runtime, e.Function.Code, e.Function.Variables = name, "provided.al2023", nil, map[string]string{}
	}
}

// report adds lines of Keyturn's engine on a failed step.
func reported(step, text string) with {
	return func(e *Evidence) {
		e.Keyturn = true
		e.Reports = []Report{
			{At: began, Token: versionT, Status: "started", Attempt: 1},
			{At: began.Add(2 * time.Second), Token: versionT, Status: "failed", Step: step, Attempt: 1, Error: text},
		}
	}
}

// onKeyturn is a rotation whose step the engine could not even invoke, or
// whose answer it did not take: there is no log of it.
func onKeyturn(step, text string) with {
	return func(e *Evidence) {
		silentIn(step)(e)
		reported(step, text)(e)
	}
}

func by(who string, ev Event) with {
	return func(e *Evidence) {
		ev.Principal, ev.Service, ev.Invoker = who, false, ""
		e.Events = append(e.Events, ev)
		slices.SortStableFunc(e.Events, func(a, b Event) int { return a.At.Compare(b.At) })
	}
}

func function(change func(*Function)) with { return func(e *Evidence) { change(e.Function) } }

func secret(change func(*Secret)) with { return func(e *Evidence) { change(&e.Secret) } }

func codes(d Diagnosis) []string {
	all := []string{}
	for _, f := range d.Findings {
		all = append(all, f.Code)
	}
	return all
}

func describe(d Diagnosis) string {
	s := d.State + "\n"
	for _, f := range d.Findings {
		s += fmt.Sprintf("%s %s rank %d weight %d: %s\n", f.Code, f.Confidence, f.rank, f.weight, f.Cause)
		for _, x := range f.Facts {
			s += "   fact " + x.Source + ": " + x.Text + "\n"
		}
		for _, x := range f.RuledOut {
			s += "   not " + x.Code + ": " + x.Because + "\n"
		}
	}
	return s
}

const (
	unableLogin = "[ERROR] ValueError: Unable to log into database with previous, current, or pending secret of secret arn " + secretARN
	timeLine    = "2026-03-10T08:00:31.000Z req-createSecret Task timed out after 30.03 seconds"
	foundLine   = "[INFO] 2026-03-10T08:00:01.000Z req Found credentials in environment variables."
)
