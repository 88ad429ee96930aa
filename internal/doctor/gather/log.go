package gather

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/keyturn/keyturn/internal/doctor"
)

// The bounds of what is kept of a log.
const (
	maxLine        = 4 << 10 // bytes of a line
	firstLines     = 40      // of an invocation
	lastLines      = 160
	maxInvocations = 100
)

// lineKind says what a log line is to the platform.
type lineKind int

const (
	plainLine lineKind = iota
	initLine
	startLine
	endLine
	reportLine
)

// platformLine is what the platform says in a line. ID is also set for plain
// lines that name their invocation.
type platformLine struct {
	kind     lineKind
	id       string
	took     time.Duration
	init     time.Duration
	memory   int32
	used     int32
	timedOut bool
}

// The platform's lines in text format (AWS: recorded), and the line that it
// writes when time is up.
var (
	platformText = regexp.MustCompile(`^(START|END|REPORT) RequestId: (\S+)`)
	timeUp       = regexp.MustCompile(`^\S+ (\S+) Task timed out after [\d.]+ seconds`)
	metric       = regexp.MustCompile(`(Init Duration|Duration|Memory Size|Max Memory Used): ([\d.]+) (?:ms|MB)`)
)

var platformKinds = map[string]lineKind{
	"START": startLine, "END": endLine, "REPORT": reportLine,
	"platform.start": startLine, "platform.runtimeDone": endLine, "platform.report": reportLine, "platform.initStart": initLine,
}

// readPlatform tells what a line is, in either format.
func readPlatform(text string) platformLine {
	if strings.HasPrefix(text, "{") {
		return readPlatformJSON(text)
	}
	if strings.HasPrefix(text, "INIT_START ") {
		return platformLine{kind: initLine}
	}
	if m := timeUp.FindStringSubmatch(text); m != nil {
		return platformLine{id: m[1], timedOut: true}
	}
	m := platformText.FindStringSubmatch(text)
	if m == nil {
		return platformLine{}
	}
	p := platformLine{kind: platformKinds[m[1]], id: m[2]}
	if p.kind != reportLine {
		return p
	}
	for _, m := range metric.FindAllStringSubmatch(text, -1) {
		value, _ := strconv.ParseFloat(m[2], 64) // the pattern has digits and dots only: 0 for nonsense
		switch m[1] {
		case "Duration":
			// Billed Duration ends in the same word and comes second.
			if p.took == 0 {
				p.took = millis(value)
			}
		case "Init Duration":
			p.init = millis(value)
		case "Memory Size":
			p.memory = int32(value)
		case "Max Memory Used":
			p.used = int32(value)
		}
	}
	p.timedOut = strings.Contains(text, "Status: timeout")
	return p
}

// readPlatformJSON reads the platform's records, and the request ID of a
// function's own.
func readPlatformJSON(text string) platformLine {
	var line struct {
		Type      string `json:"type"`
		RequestID string `json:"requestId"`
		Record    struct {
			RequestID string `json:"requestId"`
			Status    string `json:"status"`
			Metrics   struct {
				Duration float64 `json:"durationMs"`
				Init     float64 `json:"initDurationMs"`
				Memory   int32   `json:"memorySizeMB"`
				Used     int32   `json:"maxMemoryUsedMB"`
			} `json:"metrics"`
		} `json:"record"`
	}
	if json.Unmarshal([]byte(text), &line) != nil {
		return platformLine{}
	}
	kind, known := platformKinds[line.Type]
	if !known {
		return platformLine{id: line.RequestID}
	}
	m := line.Record.Metrics
	return platformLine{
		kind: kind, id: line.Record.RequestID, took: millis(m.Duration), init: millis(m.Init), memory: m.Memory, used: m.Used,
		timedOut: line.Record.Status == "timeout",
	}
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// logReader puts a log's lines together to invocations.
type logReader struct {
	all  []*doctor.Invocation
	byID map[string]*doctor.Invocation
	// open is the invocation that runs in each stream; waiting are lines from
	// outside of any: of an init phase, they belong to the next.
	open    map[string]*doctor.Invocation
	last    map[string]*doctor.Invocation
	waiting map[string][]doctor.Line
}

// parseLog returns the invocations that a log group's events tell of, oldest
// first. Events of one stream are in their order.
func parseLog(events []logtypes.FilteredLogEvent) []doctor.Invocation {
	r := &logReader{
		byID: map[string]*doctor.Invocation{}, open: map[string]*doctor.Invocation{}, last: map[string]*doctor.Invocation{},
		waiting: map[string][]doctor.Line{},
	}
	for _, e := range events {
		r.read(aws.ToString(e.LogStreamName), time.UnixMilli(aws.ToInt64(e.Timestamp)).UTC(), strings.TrimRight(aws.ToString(e.Message), "\r\n"))
	}
	r.finish()
	slices.SortStableFunc(r.all, func(a, b *doctor.Invocation) int { return a.StartedAt.Compare(b.StartedAt) })
	list := make([]doctor.Invocation, len(r.all))
	for i, inv := range r.all {
		inv.Lines = cut(inv.Lines)
		list[i] = *inv
	}
	return list
}

func (r *logReader) read(stream string, at time.Time, text string) {
	p := readPlatform(text)
	switch p.kind {
	case initLine:
		delete(r.open, stream)
	case startLine:
		inv := r.invocation(stream, p.id, at)
		inv.Lines = append(inv.Lines, r.waiting[stream]...)
		delete(r.waiting, stream)
		r.open[stream] = inv
	case endLine, reportLine:
		inv := r.invocation(stream, p.id, at.Add(-p.took))
		inv.EndedAt = at
		inv.TimedOut = inv.TimedOut || p.timedOut
		if p.kind == reportLine {
			inv.Took, inv.Init, inv.MemoryMB, inv.MaxMemoryMB, inv.Complete = p.took, p.init, p.memory, p.used, true
			delete(r.open, stream)
		}
	default:
		r.line(stream, at, text, p)
	}
}

// line puts a function's line where it belongs.
func (r *logReader) line(stream string, at time.Time, text string, p platformLine) {
	l := doctor.Line{At: at, Text: shorten(blot(text))}
	inv := r.open[stream]
	if named := r.byID[p.id]; named != nil {
		inv = named
	}
	if inv == nil {
		r.waiting[stream] = append(r.waiting[stream], l)
		return
	}
	inv.TimedOut = inv.TimedOut || p.timedOut
	inv.Lines = append(inv.Lines, l)
}

// invocation returns the one with the ID, a new one at first.
func (r *logReader) invocation(stream, id string, startedAt time.Time) *doctor.Invocation {
	inv := r.byID[id]
	if inv == nil {
		inv = &doctor.Invocation{RequestID: id, Stream: stream, StartedAt: startedAt}
		r.byID[id] = inv
		r.all = append(r.all, inv)
	}
	r.last[stream] = inv
	return inv
}

// finish gives the lines that are left to the last invocation of their stream;
// those of a stream without any are an environment that never got so far.
func (r *logReader) finish() {
	for stream, lines := range r.waiting {
		inv := r.last[stream]
		if inv == nil {
			inv = &doctor.Invocation{Stream: stream, StartedAt: lines[0].At}
			r.all = append(r.all, inv)
		}
		inv.Lines = append(inv.Lines, lines...)
	}
}

// shorten cuts a line that is too long, at a whole character.
func shorten(s string) string {
	if len(s) <= maxLine {
		return s
	}
	return strings.ToValidUTF8(s[:maxLine], "") + "…"
}

// cut leaves out the middle of many lines.
func cut(lines []doctor.Line) []doctor.Line {
	if len(lines) <= firstLines+lastLines {
		return lines
	}
	left := len(lines) - firstLines - lastLines
	gap := doctor.Line{At: lines[firstLines].At, Text: "… " + strconv.Itoa(left) + " lines left out …"}
	return slices.Concat(lines[:firstLines], []doctor.Line{gap}, lines[len(lines)-lastLines:])
}
