package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
)

// What is too old or too much goes, what is young enough stays, and what stays
// of the trail verifies; flags change how much that is.
func TestRetention(t *testing.T) {
	forEachStore(t, func(t *testing.T, o apitest.Options) {
		cfg := config(t)
		cfg.StoreURL = o.StoreURL
		cfg.RootAccessKeyID, cfg.RootSecretAccessKey = apitest.AccessKey, apitest.SecretKey
		cfg.Retention = server.Retention{LogBytes: 20_000, TrailAge: 10 * 24 * time.Hour, LogAge: 20 * 24 * time.Hour}
		s, _ := run(t, cfg)
		c := apitest.Connect(s.URL(), cfg.Dir, nil)
		ctx := t.Context()
		if _, err := c.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("v")}); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := c.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")}); err != nil {
				t.Fatal(err)
			}
		}
		writeLines(t, c, "kept", "", 100)
		writeLines(t, c, "large", strings.Repeat("x", 1000), 100)
		now := time.Now()
		if err := s.SealTrail(ctx, now); err != nil {
			t.Fatal(err)
		}

		tidy := func(at time.Time) {
			t.Helper()
			if err := s.Tidy(ctx, at); err != nil {
				t.Fatal(err)
			}
			if r, err := s.VerifyTrail(ctx); err != nil || !r.Whole() {
				t.Errorf("the trail does not verify: %v %+v", err, r)
			}
		}
		events := func() int {
			t.Helper()
			out, err := c.Trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{StartTime: aws.Time(now.Add(-time.Hour)), EndTime: aws.Time(now.Add(time.Hour))})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Events)
		}
		tidy(now.Add(time.Minute))
		if got := events(); got < 10 {
			t.Errorf("got %d events when nothing is old", got)
		}
		if got := countLines(t, c, "kept"); got != 100 {
			t.Errorf("a small log group has %d entries, want all 100", got)
		}
		if got := countLines(t, c, "large"); got != 19 {
			t.Errorf("a log group with %d entries of 1026 bytes, want 19 in its 20,000 bytes", got)
		}
		tidy(now.Add(11 * 24 * time.Hour))
		// The newest event stays, and the segment that is written to.
		if got := countLines(t, c, "kept"); got != 100 {
			t.Errorf("after 11 days a log group has %d entries, want all 100", got)
		}
		r, err := s.VerifyTrail(ctx)
		if err != nil || r.Sealed+r.Open > 2 {
			t.Errorf("after 11 days there are %+v stored events, want the newest alone, and %v", r, err)
		}
		tidy(now.Add(21 * 24 * time.Hour))
		if got := countLines(t, c, "kept"); got != 0 {
			t.Errorf("after 21 days a log group has %d entries", got)
		}
	})
}

// writeLines puts lines into a log group, some of them behind a padding.
func writeLines(t *testing.T, c *apitest.Server, group, padding string, n int) {
	t.Helper()
	if _, err := c.Logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: aws.String("s")}); err != nil {
		t.Fatal(err)
	}
	var list []logtypes.InputLogEvent
	for i := range n {
		message := padding
		if message == "" {
			message = fmt.Sprint("line ", i)
		}
		list = append(list, logtypes.InputLogEvent{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: &message})
	}
	if _, err := c.Logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: &group, LogStreamName: aws.String("s"), LogEvents: list}); err != nil {
		t.Fatal(err)
	}
}

func countLines(t *testing.T, c *apitest.Server, group string) int {
	t.Helper()
	out, err := c.Logs.FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Events)
}
