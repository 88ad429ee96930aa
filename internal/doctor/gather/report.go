package gather

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotate"
)

// maxLogPages bounds how much of a log is read at once, in pages of 10,000
// events or 1 MB (AWS docs).
const maxLogPages = 10

// readLog reads a log group's events in a time; those of one stream come in
// their order. A group that does not exist has none.
func (l *look) readLog(ctx context.Context, group string, in window, pattern string) ([]logtypes.FilteredLogEvent, error) {
	input := &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: &group, StartTime: aws.Int64(in.from.UnixMilli()), EndTime: aws.Int64(in.to.UnixMilli() + 1),
	}
	if pattern != "" {
		input.FilterPattern = &pattern
	}
	var all []logtypes.FilteredLogEvent
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(l.logs, input)
	for n := 0; pages.HasMorePages() && n < maxLogPages; n++ {
		page, err := pages.NextPage(ctx)
		if is(err, "ResourceNotFoundException") {
			return nil, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, page.Events...)
	}
	return all, nil
}

// logARN is the ARN of a log group for the permission to filter it.
func (l *look) logARN(group string) string {
	return "arn:" + l.e.Partition + ":logs:" + l.e.Region + ":" + l.e.Account + ":log-group:" + group + ":*"
}

// reports reads what Keyturn's engine says of the secret's rotations.
func (l *look) reports(ctx context.Context) {
	if !l.e.Keyturn {
		return
	}
	l.tell("engine")
	lines, err := l.readLog(ctx, rotate.EngineGroup, window{l.since(), l.e.At}, "{ $.secretArn = "+quoted(l.e.Secret.ARN)+" }")
	l.gap(err, "logs:FilterLogEvents", l.logARN(rotate.EngineGroup), "what the rotation engine did, step by step")
	var all []doctor.Report
	for _, line := range lines {
		var r rotate.Report
		if json.Unmarshal([]byte(aws.ToString(line.Message)), &r) != nil || r.SecretARN != l.e.Secret.ARN {
			continue
		}
		all = append(all, report(time.UnixMilli(aws.ToInt64(line.Timestamp)).UTC(), r))
	}
	l.note(func(e *doctor.Evidence) { e.Reports = all })
}

func report(at time.Time, r rotate.Report) doctor.Report {
	retry, err := time.Parse(time.RFC3339, r.RetryAt)
	if err != nil {
		retry = time.Time{}
	}
	return doctor.Report{
		At: at, Token: r.Token, Status: string(r.Status), Step: r.Step, Attempt: r.Attempt,
		Took: time.Duration(r.DurationMS) * time.Millisecond, Error: blot(r.Error), RetryAt: retry,
	}
}

// quoted is a text as filter patterns have it.
func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}
