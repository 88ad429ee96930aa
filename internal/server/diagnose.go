package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/logging"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	// diagnosesAtOnce bounds the diagnoses that are being made: each reads
	// what keyturn doctor reads, some thirty calls.
	diagnosesAtOnce = 2
	// diagnosesWaiting bounds those that wait, each of which holds one of the
	// engine's places. When a fleet fails, the rest get no finding: the
	// rotations go on instead, and keyturn doctor is there to be asked.
	diagnosesWaiting = 8
	// diagnosisSince is how far back a diagnosis looks. It is about what has
	// just happened.
	diagnosisSince = time.Hour
)

// diagnoser finds out why rotations fail, as a client of this server that
// needs no network: it asks a handler of its own, as a principal that exists
// nowhere else.
type diagnoser struct {
	cfg     aws.Config
	running chan struct{}
	waiting atomic.Int32
	// flush stores what functions have written.
	flush func(context.Context)
}

// newDiagnoser makes the one of the server. Its calls are neither counted nor
// in the trail: nobody made them, they change nothing, and what they find is
// told with the failure itself.
func (s *Server) newDiagnoser(services []*wire.Service) (*diagnoser, error) {
	policy, err := readerPolicy()
	if err != nil {
		return nil, err
	}
	calls := wire.NewHandler(wire.Config{
		Services: services, Region: s.cfg.Region, Log: s.cfg.Logger,
		Authenticate: func(_ context.Context, q *sigv4.Request, _ []byte, _ string) (iam.Principal, error) {
			return reader(q.Scope.AccessKeyID, policy), nil
		},
		Record: func(...*trail.Event) error { return nil },
	})
	inside := inProcess{func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == ReadyPath {
			s.health(w, r)
			return
		}
		calls.ServeHTTP(w, r)
	}}
	return &diagnoser{
		cfg: aws.Config{
			BaseEndpoint: new(s.URL()), HTTPClient: inside, Logger: logging.Nop{}, RetryMaxAttempts: 1,
		},
		running: make(chan struct{}, diagnosesAtOnce), flush: s.invoker.FlushLogs,
	}, nil
}

// readerPolicy allows exactly the operations by which evidence is gathered.
func readerPolicy() (*iam.Policy, error) {
	text, err := json.Marshal(map[string]any{
		"Version":   iam.Version2012,
		"Statement": map[string]any{"Effect": "Allow", "Action": gather.Operations(), "Resource": "*"},
	})
	if err != nil {
		return nil, err
	}
	p, err := iam.CompileText(string(text), "diagnosis")
	if err != nil {
		return nil, fmt.Errorf("compiling the policy of diagnoses: %w", err)
	}
	return p, nil
}

// reader is who gathers evidence in an account: a session of a role that is
// stored nowhere. Explicit denials hold for it as for anybody.
func reader(account string, policy *iam.Policy) iam.Principal {
	const role, session = "AWSServiceRoleForKeyturnDoctor", "diagnosis"
	r := iam.Role{Account: account, Name: role}
	return iam.Principal{
		Type: iam.AssumedRole, Account: account, ARN: r.SessionARN(session), ID: "AROAKEYTURNDOCTOR:" + session,
		Name: role, Session: session, RoleARN: r.ARN(),
		Identity: &iam.Identity{Policies: []*iam.Policy{policy}},
	}
}

// diagnose is what the engine calls. It returns nil when there is nothing to
// say, no time, or too many other failures to look at.
func (s *Server) diagnose(ctx context.Context, c rotation.Case) *rotation.Finding {
	release, ok := s.diagnoser.enter(ctx)
	if !ok {
		s.metrics.diagnosis("skipped")
		return nil
	}
	defer release()
	finding, err := s.diagnoser.find(ctx, c)
	switch {
	case err != nil:
		s.metrics.diagnosis("failed")
		s.cfg.Logger.Warn("diagnosing a rotation", "secret", c.SecretARN, "error", err)
	case finding == nil:
		s.metrics.diagnosis("nothing")
	default:
		s.metrics.diagnosis("found")
	}
	return finding
}

// enter takes a place among those that are being made, or waits for one as
// long as there is time and room to wait.
func (d *diagnoser) enter(ctx context.Context) (release func(), ok bool) {
	defer d.waiting.Add(-1)
	if d.waiting.Add(1) > diagnosesWaiting {
		return nil, false
	}
	select {
	case d.running <- struct{}{}:
		return func() { <-d.running }, true
	case <-ctx.Done():
		return nil, false
	}
}

// find gathers the evidence, adds what is not stored yet, and diagnoses.
func (d *diagnoser) find(ctx context.Context, c rotation.Case) (*rotation.Finding, error) {
	d.flush(ctx) // what the steps before the failing one wrote may still wait to be stored
	cfg := d.cfg.Copy()
	cfg.Region = c.Region
	cfg.Credentials = credentials.NewStaticCredentialsProvider(c.Account, "in process", "")
	evidence, err := gather.New(cfg, gather.Options{Since: diagnosisSince, NoCode: true, OwnLog: true}).Secret(ctx, c.SecretARN)
	if err != nil {
		return nil, err
	}
	addFailure(evidence, c)
	found := doctor.Diagnose(evidence).Findings
	if len(found) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(brief(&found[0], evidence))
	return &rotation.Finding{Code: found[0].Code, JSON: text}, err
}

// addFailure puts the failure into the evidence: its report and its event are
// stored together with the finding.
func addFailure(e *doctor.Evidence, c rotation.Case) {
	if c.Step != "" {
		e.Reports = append(e.Reports, doctor.Report{
			At: c.At, Token: c.Token, Status: "failed", Step: string(c.Step), Attempt: c.Attempt, Took: c.Took, Error: c.Error,
		})
	}
	name := "RotationFailed"
	if c.TestOnly {
		name = "TestRotationFailed"
	}
	e.Events = append(e.Events, doctor.Event{
		Name: name, Source: "secretsmanager.amazonaws.com", At: c.At, Invoker: "secretsmanager.amazonaws.com",
		ErrorMessage: c.EventText, SecretID: c.SecretARN, Token: c.Token, Service: true,
	})
}

// inProcess performs requests by a handler, without a network.
type inProcess struct{ serve http.HandlerFunc }

// Do implements aws.HTTPClient.
func (p inProcess) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RemoteAddr, in.RequestURI, in.Host = "127.0.0.1:0", r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &memoryWriter{header: http.Header{}, status: http.StatusOK}
	p.serve(w, in)
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// memoryWriter keeps an answer.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) { w.status = status }

func (w *memoryWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
