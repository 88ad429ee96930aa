package logs_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

func (b *bench) get(in cloudwatchlogs.GetLogEventsInput) (messages string, out *cloudwatchlogs.GetLogEventsOutput) {
	b.t.Helper()
	in.LogGroupName, in.LogStreamName = aws.String("g"), aws.String("s")
	out, err := b.GetLogEvents(b.ctx, &in)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range out.Events {
		messages += *e.Message
	}
	return messages, out
}

// The tokens of GetLogEvents lead through the stream and tell its ends.
func TestGetLogEventsTokens(t *testing.T) {
	b := newBench(t)
	b.append("g", "s", 0, "a", "b", "c", "d", "e")
	two := aws.Int32(2)
	step := func(token *string, wantMessages string) *cloudwatchlogs.GetLogEventsOutput {
		t.Helper()
		got, out := b.get(cloudwatchlogs.GetLogEventsInput{Limit: two, NextToken: token, StartFromHead: aws.Bool(true)})
		if got != wantMessages {
			t.Fatalf("got %q, want %q", got, wantMessages)
		}
		return out
	}
	form := regexp.MustCompile(`^[fb]/\d{56}/s$`)
	head := step(nil, "ab")
	for _, token := range []string{*head.NextForwardToken, *head.NextBackwardToken} {
		if !form.MatchString(token) {
			t.Errorf("the token %q does not look like AWS's", token)
		}
	}
	before := step(head.NextBackwardToken, "")
	if *before.NextBackwardToken != *head.NextBackwardToken {
		t.Errorf("at the head: got the token %s, want the one sent", *before.NextBackwardToken)
	}
	step(before.NextForwardToken, "ab")
	second := step(head.NextForwardToken, "cd")
	last := step(second.NextForwardToken, "e")
	end := step(last.NextForwardToken, "")
	if *end.NextForwardToken != *last.NextForwardToken {
		t.Errorf("at the end: got the token %s, want the one sent", *end.NextForwardToken)
	}
	step(end.NextBackwardToken, "de")
	step(last.NextBackwardToken, "cd")
	b.append("g", "s", time.Minute, "f", "g", "h")
	step(end.NextForwardToken, "fg")

	if got, _ := b.get(cloudwatchlogs.GetLogEventsInput{Limit: two}); got != "gh" {
		t.Errorf("latest: got %q, want %q", got, "gh")
	}
	if got, _ := b.get(cloudwatchlogs.GetLogEventsInput{StartTime: b.ms(time.Second), EndTime: b.ms(3 * time.Second)}); got != "bc" {
		t.Errorf("range: got %q, want %q", got, "bc")
	}
}

// A stream that was empty gives tokens that work once it is not.
func TestGetLogEventsEmptyStream(t *testing.T) {
	b := newBench(t)
	b.append("g", "other", 0, "x")
	if _, err := b.CreateLogStream(b.ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")}); err != nil {
		t.Fatal(err)
	}
	_, empty := b.get(cloudwatchlogs.GetLogEventsInput{})
	b.append("g", "s", 0, "a")
	if got, _ := b.get(cloudwatchlogs.GetLogEventsInput{NextToken: empty.NextForwardToken}); got != "a" {
		t.Errorf("forward: got %q, want %q", got, "a")
	}
	if got, _ := b.get(cloudwatchlogs.GetLogEventsInput{NextToken: empty.NextBackwardToken}); got != "" {
		t.Errorf("backward: got %q, want nothing", got)
	}
}

func TestGetLogEventsErrors(t *testing.T) {
	b := newBench(t)
	b.append("g", "s", 0, "a")
	digits := strings.Repeat("0", 56)
	for _, token := range []string{"x", "f/1/s", "g/" + digits + "/s", "f/" + digits + "/x", "f/" + digits[:55] + "x/s", "f/" + strings.Repeat("9", 56) + "/s", "f/-" + digits[:55] + "/s"} {
		_, err := b.GetLogEvents(b.ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), NextToken: &token})
		wantError(t, token, err, "InvalidParameterException", "The specified nextToken is invalid.")
	}
	_, err := b.GetLogEvents(b.ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), Limit: aws.Int32(10001)})
	wantError(t, "limit", err, "InvalidParameterException",
		"1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000")
	_, err = b.GetLogEvents(b.ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("none"), LogStreamName: aws.String("s")})
	wantError(t, "no group", err, "ResourceNotFoundException", noGroup)
	_, err = b.GetLogEvents(b.ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("none")})
	wantError(t, "no stream", err, "ResourceNotFoundException", noStream)
}

// A page holds a megabyte at most.
func TestGetLogEventsBytes(t *testing.T) {
	b := newBench(t)
	big := strings.Repeat("x", 200<<10)
	b.append("g", "s", 0, big, big, big, big, big, big, "end")
	got, out := b.get(cloudwatchlogs.GetLogEventsInput{StartFromHead: aws.Bool(true)})
	if len(out.Events) != 5 || len(got) != 5*len(big) {
		t.Fatalf("got %d events, want 5", len(out.Events))
	}
	got, _ = b.get(cloudwatchlogs.GetLogEventsInput{NextToken: out.NextForwardToken})
	if want := big + "end"; got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

func (b *bench) filter(in cloudwatchlogs.FilterLogEventsInput) (messages string, pages int) {
	b.t.Helper()
	if in.LogGroupIdentifier == nil {
		in.LogGroupName = aws.String("g")
	}
	p := cloudwatchlogs.NewFilterLogEventsPaginator(b.Client, &in)
	for p.HasMorePages() {
		out, err := p.NextPage(b.ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range out.Events {
			messages += *e.Message
		}
		if out.SearchedLogStreams == nil {
			b.t.Error("there is no searchedLogStreams")
		}
		pages++
	}
	return messages, pages
}

func TestFilterLogEvents(t *testing.T) {
	b := newBench(t)
	b.append("g", "2026/a", 0, "START ", "boom ERROR ", "END ")
	b.append("g", "2026/b", 500*time.Millisecond, "start ", "ERROR quiet ")
	for _, tc := range []struct {
		name string
		in   cloudwatchlogs.FilterLogEventsInput
		want string
	}{
		{"all", cloudwatchlogs.FilterLogEventsInput{}, "START start boom ERROR ERROR quiet END "},
		{"pattern", cloudwatchlogs.FilterLogEventsInput{FilterPattern: aws.String("ERROR -quiet")}, "boom ERROR "},
		{"page by page", cloudwatchlogs.FilterLogEventsInput{Limit: aws.Int32(1)}, "START start boom ERROR ERROR quiet END "},
		{"pattern page by page", cloudwatchlogs.FilterLogEventsInput{Limit: aws.Int32(1), FilterPattern: aws.String("ERROR")}, "boom ERROR ERROR quiet "},
		{"stream", cloudwatchlogs.FilterLogEventsInput{LogStreamNames: []string{"2026/b"}}, "start ERROR quiet "},
		{"streams", cloudwatchlogs.FilterLogEventsInput{LogStreamNames: []string{"2026/b", "2026/a"}}, "START start boom ERROR ERROR quiet END "},
		{"prefix", cloudwatchlogs.FilterLogEventsInput{LogStreamNamePrefix: aws.String("2026/b")}, "start ERROR quiet "},
		{"from", cloudwatchlogs.FilterLogEventsInput{StartTime: b.ms(time.Second)}, "boom ERROR ERROR quiet END "},
		{"to, that in", cloudwatchlogs.FilterLogEventsInput{EndTime: b.ms(time.Second)}, "START start boom ERROR "},
		{"identifier", cloudwatchlogs.FilterLogEventsInput{
			LogGroupIdentifier: aws.String("arn:aws:logs:us-east-1:123456789012:log-group:g"), FilterPattern: aws.String("END"),
		}, "END "},
	} {
		if got, _ := b.filter(tc.in); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	fail := func(name, code, message string, in cloudwatchlogs.FilterLogEventsInput) {
		t.Helper()
		if in.LogGroupName == nil {
			in.LogGroupName = aws.String("g")
		}
		_, err := b.FilterLogEvents(b.ctx, &in)
		wantError(t, name, err, code, message)
	}
	fail("no group", "ResourceNotFoundException", noGroup, cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("none")})
	fail("no stream", "ResourceNotFoundException", noStream, cloudwatchlogs.FilterLogEventsInput{LogStreamNames: []string{"none"}})
	fail("pattern", "InvalidParameterException", "Invalid character(s) in term 'a:b'", cloudwatchlogs.FilterLogEventsInput{FilterPattern: aws.String("a:b")})
	fail("token", "InvalidParameterException", "The specified nextToken is invalid.", cloudwatchlogs.FilterLogEventsInput{NextToken: aws.String("x")})
}

// A search that finds little answers in time, with a token to go on.
func TestFilterLogEventsLongSearch(t *testing.T) {
	b := newBench(t)
	messages := make([]string, 25_000)
	for i := range messages {
		messages[i] = "nothing "
	}
	messages[24_500] = "needle "
	b.append("g", "s", -10*time.Hour, messages...)
	got, pages := b.filter(cloudwatchlogs.FilterLogEventsInput{FilterPattern: aws.String("needle")})
	if got != "needle " || pages < 2 {
		t.Errorf("got %q in %d pages, want the needle in several", got, pages)
	}
}

// The loop of "aws logs tail --follow": pages while there is a token, then
// from the largest time seen on, dropping the events already seen there.
func TestTailFollows(t *testing.T) {
	b := newBench(t)
	start := b.ms(-10 * time.Minute)
	seen := map[string]bool{}
	var lines []string
	poll := func() {
		t.Helper()
		//lint:ignore SA1019 the CLI still sends it
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/lambda/fn"), Interleaved: aws.Bool(true), StartTime: start, Limit: aws.Int32(2)}
		for {
			out, err := b.FilterLogEvents(b.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Events {
				if !seen[*e.EventId] {
					lines = append(lines, line(e))
				}
				seen[*e.EventId] = true
				start = aws.Int64(max(*start, *e.Timestamp))
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return
			}
		}
	}
	const stream = "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef"
	b.append("/aws/lambda/fn", stream, 0, "one\n", "two\n", "three\n")
	poll()
	poll()
	b.append("/aws/lambda/fn", stream, 2*time.Second, "same time\n", "later\n")
	poll()
	var want []string
	for _, w := range []struct {
		after   time.Duration
		message string
	}{{0, "one\n"}, {time.Second, "two\n"}, {2 * time.Second, "three\n"}, {2 * time.Second, "same time\n"}, {3 * time.Second, "later\n"}} {
		want = append(want, fmt.Sprint(b.now.Add(w.after).UnixMilli(), " ", stream, " ", w.message))
	}
	if got, want := strings.Join(lines, ""), strings.Join(want, ""); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func line(e types.FilteredLogEvent) string {
	return fmt.Sprint(*e.Timestamp, " ", *e.LogStreamName, " ", *e.Message)
}
