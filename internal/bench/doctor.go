package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/doctor/gather"
	"github.com/keyturn/keyturn/internal/rotate"
)

// diagnoses is how often a diagnosis is measured.
const diagnoses = 20

// diagnose measures what a diagnosis of a rotation that failed takes: in this
// process, beside the same requests made one after another, and as a command.
func (b *rotationBench) diagnose(ctx context.Context, binary string) error {
	name := userName(0)
	if err := b.makeIll(ctx, name); err != nil {
		return err
	}
	calls := &tape{}
	cfg := b.cfg.Copy()
	cfg.HTTPClient = calls
	if _, err := gather.New(cfg, gather.Options{}).Secret(ctx, name); err != nil {
		return err
	}
	var together, apart time.Duration
	var found []doctor.Finding
	for range diagnoses {
		began := time.Now()
		e, err := gather.New(b.cfg, gather.Options{}).Secret(ctx, name)
		if err != nil {
			return err
		}
		found = doctor.Diagnose(e).Findings
		together += time.Since(began)
		took, err := calls.replay(ctx)
		if err != nil {
			return err
		}
		apart += took
	}
	if len(found) == 0 || found[0].Code != "D11" {
		return fmt.Errorf("the doctor found %d things and not first that the password was changed", len(found))
	}
	command, err := b.command(ctx, binary, name)
	if err != nil {
		return err
	}
	fmt.Printf("doctor, one secret, %d requests: %s; the same requests one after another %s (ratio %.2f); as a command, start to end, %s (budget 3s)\n",
		len(calls.requests), (together / diagnoses).Round(time.Millisecond), (apart / diagnoses).Round(time.Millisecond),
		together.Seconds()/apart.Seconds(), command.Round(time.Millisecond))
	return nil
}

// makeIll changes the user's password in the database and lets a rotation
// fail.
func (b *rotationBench) makeIll(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, b.db.AdminURL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "ALTER USER "+name+" PASSWORD 'changed'"); err != nil {
		return err
	}
	out, err := b.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &name, RotationLambdaARN: aws.String(b.arns[builtinFunction]),
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		return err
	}
	watch, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	failed := false
	r := rotate.Follow(watch, rotate.NewClients(b.cfg), *out.ARN, *out.VersionId, time.Now())
	err = r.Watch(watch, func(l rotate.Line) {
		if l.Report != nil && l.Report.Status == rotate.Retrying {
			failed = true
			cancel()
		}
	})
	if !failed {
		return fmt.Errorf("the rotation of %s was to fail: %w", name, err)
	}
	return nil
}

// command runs keyturn doctor, which has findings.
func (b *rotationBench) command(ctx context.Context, binary, name string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, binary, "doctor", name)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+*b.cfg.BaseEndpoint, "AWS_REGION="+region,
		"AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey)
	began := time.Now()
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.ExitCode() == 3 {
		return time.Since(began), nil
	}
	return 0, fmt.Errorf("keyturn doctor %s: %w", name, err)
}

// tape is an HTTP client that keeps the requests that it makes.
type tape struct {
	mu       sync.Mutex
	requests []taped
}

type taped struct {
	method, url string
	header      http.Header
	body        []byte
}

// Do implements aws.HTTPClient.
func (t *tape) Do(r *http.Request) (*http.Response, error) {
	one := taped{method: r.Method, url: r.URL.String(), header: r.Header.Clone()}
	if r.Body != nil {
		var err error
		if one.body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(one.body))
	}
	t.mu.Lock()
	t.requests = append(t.requests, one)
	t.mu.Unlock()
	return http.DefaultClient.Do(r)
}

// replay makes the requests again, one after another, and reads the answers.
func (t *tape) replay(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	for _, one := range t.requests {
		r, err := http.NewRequestWithContext(ctx, one.method, one.url, bytes.NewReader(one.body))
		if err != nil {
			return 0, err
		}
		r.Header = one.header
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return 0, err
		}
		if res.StatusCode == http.StatusForbidden {
			return 0, fmt.Errorf("a repeated request was answered %s", res.Status)
		}
	}
	return time.Since(began), nil
}
