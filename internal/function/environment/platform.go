package environment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// maxResponse is the largest answer of a function in bytes (AWS: recorded).
const maxResponse = 6*1024*1024 + 100

// failure is an error object that the platform makes.
type failure struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

// payload encodes the object with its members in Lambda's order.
func (f failure) payload() []byte { return encode(f) }

// encode is JSON without HTML escapes and without a newline at its end.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// timedOut is what an invocation answers that ran out of time (AWS: recorded,
// since 2025).
func timedOut(requestID string, timeout time.Duration) failure {
	return failure{"Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", requestID, timeout.Seconds())}
}

// exited is what an invocation answers whose runtime ended (AWS: recorded).
func exited(requestID string, s exitStatus) failure {
	if reason := s.String(); reason != "" {
		return failure{"Runtime.ExitError", "RequestId: " + requestID + " Error: Runtime exited with error: " + reason}
	}
	return failure{"Runtime.ExitError", "RequestId: " + requestID + " Error: Runtime exited without providing a reason"}
}

// tooLarge is what an invocation answers whose result is over maxResponse
// (AWS: recorded).
func tooLarge() []byte {
	return fmt.Appendf(nil, `{"errorMessage":"Response payload size exceeded maximum allowed payload size (%d bytes).",`+
		`"errorType":"Function.ResponseSizeTooLarge"}`, maxResponse)
}

// millis prints a duration as the platform does, in milliseconds with two
// decimals.
func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

// billed is a duration in whole milliseconds, rounded up.
func billed(d time.Duration) int64 { return int64(math.Ceil(float64(d) / 1e6)) }

// report is the account of one invocation.
type report struct {
	requestID string
	duration  time.Duration
	init      time.Duration // of a cold start, else 0
	memoryMB  int
	usedMB    int
	status    string // success, timeout, error
	errorType string // of a platform error
	trace     string // the trace header when the invocation is traced
}

// lines writes an invocation's last platform lines in the function's format.
func (r report) lines(asJSON bool) []string {
	if asJSON {
		return r.records()
	}
	line := fmt.Sprintf("REPORT RequestId: %s\tDuration: %s ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t",
		r.requestID, millis(r.duration), billed(r.duration), r.memoryMB, r.usedMB)
	if r.init > 0 {
		line += "Init Duration: " + millis(r.init) + " ms\t"
	}
	line += xrayFields(r.trace)
	if r.status != "success" {
		line += "Status: " + r.status
		if r.errorType != "" {
			line += "\tError Type: " + r.errorType
		}
	}
	return []string{"END RequestId: " + r.requestID, line}
}

// xrayFields are the REPORT line's fields of a traced invocation.
func xrayFields(header string) string {
	fields := map[string]string{}
	for part := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	if fields["Sampled"] != "1" {
		return ""
	}
	return "XRAY TraceId: " + fields["Root"] + "\tSegmentId: " + fields["Parent"] + "\tSampled: true\t"
}

// record is a platform event of the JSON format.
func record(kind string, content any) string {
	return string(encode(struct {
		Time   string `json:"time"`
		Type   string `json:"type"`
		Record any    `json:"record"`
	}{time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "platform." + kind, content}))
}

// milliseconds encodes with up to three decimals, as Lambda's records do.
type milliseconds time.Duration

// MarshalJSON implements json.Marshaler.
func (m milliseconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(float64(m)/1e3)/1e3, 'f', -1, 64), nil
}

func (r report) records() []string {
	type metrics struct {
		Duration milliseconds  `json:"durationMs"`
		Billed   int64         `json:"billedDurationMs"`
		Memory   int           `json:"memorySizeMB"`
		Used     int           `json:"maxMemoryUsedMB"`
		Init     *milliseconds `json:"initDurationMs,omitempty"`
	}
	m := metrics{Duration: milliseconds(r.duration), Billed: billed(r.duration), Memory: r.memoryMB, Used: r.usedMB}
	if r.init > 0 {
		m.Init = new(milliseconds(r.init))
	}
	var lines []string
	if r.status != "success" {
		lines = append(lines, record("runtimeDone", struct {
			RequestID string                  `json:"requestId"`
			Status    string                  `json:"status"`
			ErrorType string                  `json:"errorType,omitempty"`
			Metrics   map[string]milliseconds `json:"metrics"`
		}{r.requestID, r.status, r.errorType, map[string]milliseconds{"durationMs": milliseconds(r.duration)}}))
	}
	return append(lines, record("report", struct {
		RequestID string  `json:"requestId"`
		Metrics   metrics `json:"metrics"`
		Status    string  `json:"status"`
		ErrorType string  `json:"errorType,omitempty"`
	}{r.requestID, m, r.status, r.errorType}))
}

// initStartLine announces a new environment.
func (e *environment) initStartLine() string {
	name, version := e.runtime.VersionName(), e.runtime.VersionARN(arn.Partition(e.spec.Region), e.spec.Region)
	if !e.spec.json() {
		return "INIT_START Runtime Version: " + name + "\tRuntime Version ARN: " + version
	}
	return record("initStart", struct {
		Type            string `json:"initializationType"`
		Phase           string `json:"phase"`
		RuntimeVersion  string `json:"runtimeVersion"`
		RuntimeARN      string `json:"runtimeVersionArn"`
		FunctionName    string `json:"functionName"`
		FunctionVersion string `json:"functionVersion"`
		InstanceID      string `json:"instanceId"`
		InstanceMemory  int    `json:"instanceMaxMemory"`
	}{e.initialization(), "init", name, version, e.spec.FunctionName, e.spec.Version, e.stream, e.spec.MemoryMB << 20})
}

// initReportLine accounts for an init phase that failed.
func (e *environment) initReportLine(phase, status, errorType string, took time.Duration) string {
	if e.spec.json() {
		return record("initReport", struct {
			Type      string                  `json:"initializationType"`
			Phase     string                  `json:"phase"`
			Status    string                  `json:"status"`
			ErrorType string                  `json:"errorType,omitempty"`
			Metrics   map[string]milliseconds `json:"metrics"`
		}{e.initialization(), phase, status, errorType, map[string]milliseconds{"durationMs": milliseconds(took)}})
	}
	line := "INIT_REPORT Init Duration: " + millis(took) + " ms\tPhase: " + phase + "\tStatus: " + status
	if errorType != "" {
		line += "\tError Type: " + errorType
	}
	return line
}

// startLine announces an invocation.
func (e *environment) startLine(requestID string) string {
	if e.spec.json() {
		return record("start", struct {
			RequestID string `json:"requestId"`
			ARN       string `json:"functionArn"`
			Version   string `json:"version"`
		}{requestID, e.spec.FunctionARN, e.spec.Version})
	}
	return "START RequestId: " + requestID + " Version: " + e.spec.Version
}
