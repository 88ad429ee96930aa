// Package rotate starts a rotation and watches it to its end, as a client:
// through the AWS APIs alone, so it works on Keyturn and on AWS.
//
// On Keyturn the engine reports each step to the log group EngineGroup, in
// the stream named by the rotation's token, and the watch follows that. On
// AWS, which has no such group, it follows the function's log and the
// CloudTrail events.
package rotate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// EngineGroup is the log group to which Keyturn's engine reports. Its
// streams are named by rotation tokens.
const EngineGroup = "/keyturn/rotation"

// The times between two looks at a rotation under way: at Keyturn's engine,
// and, while it holds the rotation or where it does not report, at the
// function's log and CloudTrail, of which AWS admits few a second per account.
const (
	engineInterval = 200 * time.Millisecond
	trailInterval  = 2 * time.Second
)

// settle is how long Start waits for a rotation under way.
const settle = 10 * time.Second

// clockSkew is how far the clocks of client and service may differ, as for
// signatures.
const clockSkew = 5 * time.Minute

// Status is what a Report says of a rotation or a step of it.
type Status string

// The statuses. The last four end a watch.
const (
	Started   Status = "started"
	Done      Status = "done"
	Retrying  Status = "retrying"
	Held      Status = "held"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Abandoned Status = "abandoned"
	Cancelled Status = "cancelled"
)

// Report is one line of the engine about a rotation. Step is empty where it
// speaks of the rotation as a whole.
type Report struct {
	SecretARN  string `json:"secretArn"`
	Token      string `json:"token"`
	Status     Status `json:"status"`
	Step       string `json:"step,omitempty"`
	Attempt    int    `json:"attempt,omitempty"`
	DurationMS int64  `json:"durationMs,omitempty"`
	Error      string `json:"error,omitempty"`
	// RetryAt is when the next attempt starts, in RFC 3339.
	RetryAt string `json:"retryAt,omitempty"`
	// HeldUntil is when a hold ends at the latest, in RFC 3339, and Readers
	// are the ARNs of who is awaited; RetryAt is then the next look.
	HeldUntil string   `json:"heldUntil,omitempty"`
	Readers   []string `json:"readers,omitempty"`
	// Finding is the doctor's, on the line that says what comes of a failure;
	// nil if it found nothing.
	Finding *Finding `json:"finding,omitempty"`
}

// Finding is what a report tells of the doctor's finding; package doctor says
// what the members mean.
type Finding struct {
	Code       string   `json:"code"`
	Title      string   `json:"title"`
	Confidence string   `json:"confidence"`
	Cause      string   `json:"cause"`
	Remedies   []Remedy `json:"remedies,omitempty"`
}

// Remedy is one way to mend it.
type Remedy struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands,omitempty"`
	Risk     string   `json:"risk,omitempty"`
}

// HoldEnd is when a hold ends at the latest; the zero time for reports of
// anything else.
func (rep *Report) HoldEnd() time.Time {
	end, err := time.Parse(time.RFC3339, rep.HeldUntil)
	if rep.Status != Held || err != nil {
		return time.Time{}
	}
	return end
}

// Line is one thing that a watch shows: a report of the engine, or, with
// Report nil, a line of the function's log.
type Line struct {
	Time   time.Time
	Report *Report
	Log    string
}

// Clients are the services that a watch reads.
type Clients struct {
	Secrets *secretsmanager.Client
	Lambda  *lambda.Client
	Logs    *cloudwatchlogs.Client
	Trail   *cloudtrail.Client
}

// NewClients makes the clients of one configuration.
func NewClients(cfg aws.Config) Clients {
	return Clients{
		Secrets: secretsmanager.NewFromConfig(cfg), Lambda: lambda.NewFromConfig(cfg),
		Logs: cloudwatchlogs.NewFromConfig(cfg), Trail: cloudtrail.NewFromConfig(cfg),
	}
}

// ErrNotSucceeded is returned by Watch for a rotation that ended otherwise.
var ErrNotSucceeded = errors.New("the rotation did not succeed")

// Rotation is a rotation that has been started.
type Rotation struct {
	SecretARN string
	Token     string
	StartedAt time.Time

	clients  Clients
	logGroup string
	show     func(Line)
	seen     map[string]bool
	// newest is the latest time of a log event seen, by log group.
	newest map[string]int64
	held   bool
	// after, if set, is before what is shown.
	after time.Time
}

// Start asks for a rotation of the secret with its stored configuration. One
// that is under way, such as the test of a configuration that was just made,
// gets some seconds to end.
func Start(ctx context.Context, c Clients, secretID string) (*Rotation, error) {
	started := time.Now()
	out, err := c.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &secretID})
	for underWay(err) && time.Since(started) < settle {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a rotation of %s to end: %w", secretID, context.Cause(ctx))
		case <-time.After(engineInterval):
		}
		out, err = c.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &secretID})
	}
	if err != nil {
		return nil, fmt.Errorf("rotating %s: %w", secretID, err)
	}
	return Follow(ctx, c, aws.ToString(out.ARN), aws.ToString(out.VersionId), started), nil
}

// StartOrGoOn asks for a rotation, as Start does, or follows the one that is
// not complete: a server that tries that again does so at once when it is asked
// for another. What was reported of it before is not shown again.
func StartOrGoOn(ctx context.Context, c Clients, secretID string) (*Rotation, error) {
	asked := time.Now()
	out, err := c.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &secretID})
	if err == nil {
		return Follow(ctx, c, aws.ToString(out.ARN), aws.ToString(out.VersionId), asked), nil
	}
	if !underWay(err) {
		return nil, fmt.Errorf("rotating %s: %w", secretID, err)
	}
	d, described := c.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secretID})
	if described != nil {
		return nil, fmt.Errorf("rotating %s: %w", secretID, err)
	}
	for id, labels := range d.VersionIdsToStages {
		if slices.Contains(labels, "AWSPENDING") {
			r := Follow(ctx, c, aws.ToString(d.ARN), id, asked)
			r.after = asked
			return r, nil
		}
	}
	return Start(ctx, c, secretID) // it has ended meanwhile
}

// Follow returns a rotation that was started at about the given time, to
// watch it.
func Follow(ctx context.Context, c Clients, secretARN, token string, started time.Time) *Rotation {
	r := &Rotation{
		SecretARN: secretARN, Token: token, StartedAt: started,
		clients: c, seen: map[string]bool{}, newest: map[string]int64{},
	}
	r.logGroup = r.functionLogGroup(ctx)
	return r
}

// underWay tells whether a rotation was refused for another one's sake (AWS:
// recorded text).
func underWay(err error) bool {
	refused, ok := errors.AsType[*smtypes.InvalidRequestException](err)
	return ok && strings.Contains(refused.ErrorMessage(), "previous rotation isn't complete")
}

// functionLogGroup returns the log group of the secret's function, or "" if
// it cannot be found out: the watch then goes without its lines.
func (r *Rotation) functionLogGroup(ctx context.Context) string {
	d, err := r.clients.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.SecretARN})
	if err != nil || d.RotationLambdaARN == nil {
		return ""
	}
	fn, err := r.clients.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: d.RotationLambdaARN})
	if err != nil || fn.LoggingConfig == nil {
		return ""
	}
	return aws.ToString(fn.LoggingConfig.LogGroup)
}

// Watch shows what happens until the rotation ends or ctx does. It returns
// nil for a rotation that succeeded and ErrNotSucceeded, wrapped with the
// reason, for one that did not.
func (r *Rotation) Watch(ctx context.Context, show func(Line)) error {
	r.show = show
	for {
		end, next, err := r.poll(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("watching the rotation of %s: %w", r.SecretARN, context.Cause(ctx))
		}
		if err != nil {
			return err
		}
		if end != nil {
			return end.verdict()
		}
		select {
		case <-ctx.Done():
		case <-time.After(next):
		}
	}
}

func (rep *Report) verdict() error {
	if rep.Status == Succeeded {
		return nil
	}
	reason := string(rep.Status)
	if rep.Error != "" {
		reason += ": " + Plain(rep.Error)
	}
	return fmt.Errorf("%w: %s", ErrNotSucceeded, reason)
}

// poll shows what is new, in order of time, and returns the report that ends
// the rotation, if there is one, and when to look again.
func (r *Rotation) poll(ctx context.Context) (end *Report, next time.Duration, err error) {
	reports, onKeyturn, err := r.engineLines(ctx)
	if err == nil && !onKeyturn {
		reports, err = r.trailLines(ctx)
	}
	if err != nil {
		return nil, 0, err
	}
	lines, err := r.functionLines(ctx)
	if err != nil {
		return nil, 0, err
	}
	lines = append(lines, reports...)
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Time.UnixMilli(), b.Time.UnixMilli()) })
	for _, l := range lines {
		r.show(l)
		if l.Report == nil {
			continue
		}
		r.held = l.Report.Status == Held
		if l.Report.ends() {
			end = l.Report
		}
	}
	if onKeyturn && !r.held {
		return end, engineInterval, nil
	}
	return end, trailInterval, nil
}

func (rep *Report) ends() bool {
	switch rep.Status {
	case Succeeded, Failed, Abandoned, Cancelled:
		return rep.Step == ""
	}
	return false
}

func (r *Rotation) engineLines(ctx context.Context) (lines []Line, found bool, err error) {
	events, err := r.newEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String(EngineGroup), LogStreamNamePrefix: &r.Token,
	})
	if _, missing := errors.AsType[*logtypes.ResourceNotFoundException](err); missing {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the log group %s: %w", EngineGroup, err)
	}
	for _, e := range events {
		if time.UnixMilli(aws.ToInt64(e.Timestamp)).Before(r.after.Truncate(time.Millisecond)) {
			continue
		}
		var rep Report
		if json.Unmarshal([]byte(aws.ToString(e.Message)), &rep) == nil {
			lines = append(lines, Line{Time: time.UnixMilli(aws.ToInt64(e.Timestamp)), Report: &rep})
		}
	}
	return lines, true, nil
}

func (r *Rotation) functionLines(ctx context.Context) ([]Line, error) {
	if r.logGroup == "" {
		return nil, nil
	}
	events, err := r.newEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: &r.logGroup, StartTime: aws.Int64(r.StartedAt.UnixMilli()),
	})
	if _, missing := errors.AsType[*logtypes.ResourceNotFoundException](err); missing {
		return nil, nil // the function has not run yet
	}
	if err != nil {
		return nil, fmt.Errorf("reading the function's log group %s: %w", r.logGroup, err)
	}
	var lines []Line
	for _, e := range events {
		lines = append(lines, Line{
			Time: time.UnixMilli(aws.ToInt64(e.Timestamp)), Log: strings.TrimRight(aws.ToString(e.Message), "\r\n"),
		})
	}
	return lines, nil
}

// newEvents returns the log events that no earlier call returned.
func (r *Rotation) newEvents(ctx context.Context, in *cloudwatchlogs.FilterLogEventsInput) ([]logtypes.FilteredLogEvent, error) {
	group := aws.ToString(in.LogGroupName)
	if known := r.newest[group] - clockSkew.Milliseconds(); known > aws.ToInt64(in.StartTime) {
		in.StartTime = &known // a rotation may be held for days: what is old is known
	}
	var fresh []logtypes.FilteredLogEvent
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(r.clients.Logs, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			if id := group + aws.ToString(e.EventId); !r.seen[id] {
				r.seen[id] = true
				r.newest[group] = max(r.newest[group], aws.ToInt64(e.Timestamp))
				fresh = append(fresh, e)
			}
		}
	}
	return fresh, nil
}

// trailStatus maps the names of CloudTrail's events to what they say.
var trailStatus = map[string]Status{
	"RotationStarted": Started, "RotationSucceeded": Succeeded, "RotationFailed": Failed, "RotationAbandoned": Abandoned,
	"CancelRotateSecret": Cancelled,
}

// trailLines returns the events that no earlier call returned, oldest first.
func (r *Rotation) trailLines(ctx context.Context) ([]Line, error) {
	var lines []Line
	pages := cloudtrail.NewLookupEventsPaginator(r.clients.Trail, &cloudtrail.LookupEventsInput{
		LookupAttributes: []trailtypes.LookupAttribute{{
			AttributeKey: trailtypes.LookupAttributeKeyEventSource, AttributeValue: aws.String("secretsmanager.amazonaws.com"),
		}},
		StartTime: aws.Time(r.StartedAt.Add(-clockSkew)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking up CloudTrail events: %w", err)
		}
		for _, e := range page.Events {
			if l, ours := r.trailLine(e); ours {
				lines = append(lines, l)
			}
		}
	}
	slices.Reverse(lines) // CloudTrail gives the newest first
	return lines, nil
}

// trailLine reads an event that is new and names the rotation's version: the
// service's events do in their request ID, a cancellation in its answer.
func (r *Rotation) trailLine(e trailtypes.Event) (l Line, ours bool) {
	status, known := trailStatus[aws.ToString(e.EventName)]
	id, record := aws.ToString(e.EventId), aws.ToString(e.CloudTrailEvent)
	if !known || r.seen[id] || !strings.Contains(record, r.Token) {
		return Line{}, false
	}
	r.seen[id] = true
	var detail struct {
		ErrorMessage string `json:"errorMessage"`
	}
	_ = json.Unmarshal([]byte(record), &detail) // a record without the member has no message
	return Line{Time: aws.ToTime(e.EventTime), Report: &Report{
		SecretARN: r.SecretARN, Token: r.Token, Status: status, Error: detail.ErrorMessage,
	}}, true
}
