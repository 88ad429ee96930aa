package gather

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/keyturn/keyturn/internal/doctor"
)

// rotationEvents are the names by which rotations are found in the trail. The
// service's own events name no resource, so CloudTrail does not find them by
// the secret.
var rotationEvents = []string{
	"RotationStarted", "RotationSucceeded", "RotationFailed", "RotationAbandoned",
	"TestRotationStarted", "TestRotationSucceeded", "TestRotationFailed", "RotateSecret", "CancelRotateSecret",
}

// The bounds of one look through the trail, in pages of 50 events, newest
// first.
const (
	maxNamePages   = 5  // per name of an event, all secrets of the account
	maxSecretPages = 10 // on the secret, and of the function, in the last rotations
	lastRotations  = 5  // whose calls are looked at
)

// events reads the trail: when the secret rotated, then what happened to it
// and what the function did in that time.
func (l *look) events(ctx context.Context) {
	l.tell("trail")
	found := make([][]doctor.Event, len(rotationEvents))
	var parts []part
	for i, name := range rotationEvents {
		parts = append(parts, func(ctx context.Context) {
			all := l.lookup(ctx, trailtypes.LookupAttributeKeyEventName, name, window{l.since(), l.e.At}, maxNamePages)
			found[i] = slices.DeleteFunc(all, func(v doctor.Event) bool { return !l.about(v) })
		})
	}
	l.together(ctx, parts...)
	rotations := slices.Concat(found...)
	times := windows(rotations, l.e.At)
	if len(times) == 0 {
		times = []window{{l.since(), l.e.At}}
	}
	whole := window{times[0].from.Add(-clockSkew), times[len(times)-1].to.Add(clockSkew)}
	var onSecret, ofFunction []doctor.Event
	l.together(ctx,
		func(ctx context.Context) {
			onSecret = l.lookup(ctx, trailtypes.LookupAttributeKeyResourceName, l.e.Secret.ARN, whole, maxSecretPages)
		},
		func(ctx context.Context) {
			if name := functionName(l.e.Secret.FunctionARN); name != "" {
				ofFunction = l.lookup(ctx, trailtypes.LookupAttributeKeyUsername, name, whole, maxSecretPages)
			}
		})
	all := inOrder(slices.DeleteFunc(slices.Concat(rotations, onSecret, ofFunction), l.idle))
	l.note(func(e *doctor.Evidence) { e.Events = all })
}

// about tells whether an event is on the secret.
func (l *look) about(v doctor.Event) bool {
	return v.SecretID == l.e.Secret.ARN || v.SecretID == l.e.Secret.Name
}

// idle tells whether an event changed nothing and is not of the function: who
// else read the secret, this look among them.
func (l *look) idle(v doctor.Event) bool {
	reads := slices.ContainsFunc(readPrefixes, func(p string) bool { return strings.HasPrefix(v.Name, p) })
	return reads && !strings.HasSuffix(v.Principal, "/"+functionName(l.e.Secret.FunctionARN))
}

// readPrefixes are what the names of operations that change nothing begin
// with.
var readPrefixes = []string{"Get", "List", "Describe", "BatchGet", "Validate"}

// inOrder sorts events by time, each once.
func inOrder(all []doctor.Event) []doctor.Event {
	slices.SortStableFunc(all, func(a, b doctor.Event) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return slices.CompactFunc(all, func(a, b doctor.Event) bool { return a.ID == b.ID })
}

// functionName is the name in a function's ARN; "" for none.
func functionName(functionARN string) string {
	name, _ := functionParts(functionARN)
	return name
}

// functionParts are the name and the qualifier in a function's ARN.
func functionParts(functionARN string) (name, qualifier string) {
	parts := strings.Split(functionARN, ":")
	switch {
	case len(parts) == 7:
		return parts[6], ""
	case len(parts) == 8:
		return parts[6], parts[7]
	}
	return "", ""
}

// lookup reads events by one attribute, at most so many pages.
func (l *look) lookup(ctx context.Context, by trailtypes.LookupAttributeKey, value string, in window, maxPages int) []doctor.Event {
	var all []doctor.Event
	pages := cloudtrail.NewLookupEventsPaginator(l.trail, &cloudtrail.LookupEventsInput{
		LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: by, AttributeValue: &value}},
		StartTime:        &in.from, EndTime: &in.to, MaxResults: aws.Int32(50),
	})
	for n := 0; pages.HasMorePages() && n < maxPages; n++ {
		page, err := pages.NextPage(ctx)
		if l.gap(err, "cloudtrail:LookupEvents", "", "when the secret rotated, who changed it, and which calls of the function were refused") {
			break
		}
		for _, e := range page.Events {
			if v, ok := parseEvent(e); ok {
				all = append(all, v)
			}
		}
	}
	return all
}

// record is what is read of a CloudTrail record (AWS docs).
type record struct {
	EventTime       time.Time `json:"eventTime"`
	EventSource     string    `json:"eventSource"`
	EventName       string    `json:"eventName"`
	EventType       string    `json:"eventType"`
	SourceIPAddress string    `json:"sourceIPAddress"`
	UserAgent       string    `json:"userAgent"`
	ErrorCode       string    `json:"errorCode"`
	ErrorMessage    string    `json:"errorMessage"`
	RequestID       string    `json:"requestID"`
	EventID         string    `json:"eventID"`
	UserIdentity    struct {
		ARN       string `json:"arn"`
		InvokedBy string `json:"invokedBy"`
	} `json:"userIdentity"`
	Request    recordRequest   `json:"requestParameters"`
	Response   recordResponse  `json:"responseElements"`
	Additional recordSubject   `json:"additionalEventData"`
	Details    recordSubject   `json:"serviceEventDetails"`
	Resources  []recordSubject `json:"resources"`
}

type recordRequest struct {
	SecretID            string          `json:"secretId"`
	ClientRequestToken  string          `json:"clientRequestToken"`
	RotationLambdaARN   string          `json:"rotationLambdaARN"`
	VersionID           string          `json:"versionId"`
	VersionStage        string          `json:"versionStage"`
	MoveToVersionID     string          `json:"moveToVersionId"`
	RemoveFromVersionID string          `json:"removeFromVersionId"`
	RotationToken       json.RawMessage `json:"rotationToken"`
}

// recordResponse has the ARN under the name that it has now and the one that
// it had before 2024.
type recordResponse struct {
	ARN       string `json:"arn"`
	VersionID string `json:"versionId"`
}

// recordSubject names what an event is about. The first is the service's
// additionalEventData, the second its serviceEventDetails, the third a
// resource; encoding/json reads names in any case.
type recordSubject struct {
	SecretID string `json:"secretId"`
	ARN      string `json:"arn"`
}

// parseEvent reads an event; false for one that is no CloudTrail record.
func parseEvent(e trailtypes.Event) (doctor.Event, bool) {
	var r record
	if err := json.Unmarshal([]byte(aws.ToString(e.CloudTrailEvent)), &r); err != nil || r.EventName == "" {
		return doctor.Event{}, false
	}
	v := doctor.Event{
		ID: r.EventID, Name: r.EventName, Source: r.EventSource, At: r.EventTime.UTC(), Principal: r.UserIdentity.ARN, Invoker: r.UserIdentity.InvokedBy,
		ErrorCode: r.ErrorCode, ErrorMessage: blot(r.ErrorMessage), UserAgent: r.UserAgent, Service: r.EventType == "AwsServiceEvent",
		Label: r.Request.VersionStage, From: r.Request.RemoveFromVersionID, To: r.Request.MoveToVersionID,
		HadRotationToken: len(r.Request.RotationToken) > 0 && string(r.Request.RotationToken) != "null",
	}
	if v.Invoker == "" && strings.HasSuffix(r.SourceIPAddress, ".amazonaws.com") {
		v.Invoker = r.SourceIPAddress
	}
	v.SecretID = r.subject()
	v.FunctionARN = r.Request.RotationLambdaARN
	v.Token = firstOf(r.Request.ClientRequestToken, r.Request.VersionID, r.Response.VersionID, r.Request.MoveToVersionID, rotationToken(r.RequestID))
	return v, true
}

// subject is the secret that the record is about: its ARN rather than its
// name.
func (r *record) subject() string {
	ids := []string{r.Additional.SecretID, r.Details.SecretID, r.Response.ARN}
	for _, x := range r.Resources {
		ids = append(ids, x.ARN)
	}
	for _, id := range append(ids, r.Request.SecretID) {
		if strings.Contains(id, ":secretsmanager:") && strings.Contains(id, ":secret:") {
			return id
		}
	}
	return r.Request.SecretID
}

// rotationToken is the version in the request ID of a service event, which is
// Rotation-ARN-VERSION (AWS: recorded); a version's ID is a UUID.
func rotationToken(requestID string) string {
	const uuid = 36
	if !strings.HasPrefix(requestID, "Rotation-") || len(requestID) < len("Rotation-")+uuid {
		return ""
	}
	return requestID[len(requestID)-uuid:]
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
