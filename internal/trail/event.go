// Package trail records every call and every service event in CloudTrail's
// shape.
//
// A mutation stores its event in its own transaction. Reads and failures go
// to segment files through a Recorder, whose group write the answer waits
// for: no record, no answer. An event never holds a secret value, a rotation
// token or a generated password.
package trail

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/iam"
)

// Type is an event's family (AWS docs).
type Type string

// The event types.
const (
	APICall      Type = "AwsApiCall"
	ServiceEvent Type = "AwsServiceEvent"
)

// Event is one call, or one thing that a service did by itself.
type Event struct {
	// ID is a UUID.
	ID   string
	Time time.Time
	Type Type
	// Account receives the event; Region is where the call was made.
	Account, Region string
	// SharedID ties together the events that several accounts get of one
	// call; "" for a call that concerns one account.
	SharedID string
	// Source is the service, such as secretsmanager.amazonaws.com.
	Source string
	// Name is the operation or the service event, such as RotateSecret or
	// RotationFailed.
	Name      string
	ReadOnly  bool
	Principal iam.Principal
	SourceIP  string
	UserAgent string
	RequestID string
	// ErrorCode and ErrorMessage are set for failures.
	ErrorCode, ErrorMessage string
	// Request and Response are JSON objects without sensitive members, or
	// nil for null.
	Request, Response json.RawMessage
	// Additional is additionalEventData, Details serviceEventDetails; nil
	// leaves them out.
	Additional, Details json.RawMessage
	Resources           []Resource
	// TLS tells that the call came over TLS.
	TLS bool
}

// Resource is one resource that an event concerns.
type Resource struct {
	// Type is a CloudFormation-like type name, such as
	// AWS::SecretsManager::Secret.
	Type string
	// Name is the resource's ARN.
	Name string
}

// secretsManager is the service behind rotation and deletion events.
const secretsManager = "secretsmanager.amazonaws.com"

// SecretEvent returns an event of something that Secrets Manager did to a
// secret by itself, such as RotationSucceeded, in the recorded shape. The
// requestID ties the events of one rotation together; errorMessage is set for
// failures only.
func SecretEvent(name, secretARN, requestID, errorMessage string) Event {
	a, _ := arn.Parse(secretARN)
	additional, _ := json.Marshal(map[string]string{"SecretId": secretARN}) // strings always marshal
	return Event{
		ID: NewEventID(), Time: time.Now(), Type: ServiceEvent, Account: a.Account, Region: a.Region,
		Source: secretsManager, Name: name,
		Principal: iam.Principal{Type: iam.Service, Account: a.Account, InvokedBy: secretsManager},
		SourceIP:  secretsManager, UserAgent: secretsManager, RequestID: requestID,
		ErrorMessage: errorMessage, Additional: additional,
	}
}

// Diagnosed returns a failure's event with the code of the doctor's finding,
// such as D11, in additionalEventData (ours; AWS's events have no such member).
// An empty code changes nothing.
func (e Event) Diagnosed(code string) Event {
	if code == "" {
		return e
	}
	var additional map[string]any
	if json.Unmarshal(e.Additional, &additional) != nil || additional == nil {
		additional = map[string]any{}
	}
	additional["Finding"] = code
	e.Additional, _ = json.Marshal(additional) // what came from JSON always marshals
	return e
}

// KeyEvent returns an event of something that KMS did to a key by itself, such
// as DeleteKey, in the documented shape.
func KeyEvent(name, keyARN string, details map[string]string) Event {
	const internal = "AWS Internal"
	a, _ := arn.Parse(keyARN)
	text, _ := json.Marshal(details) // strings always marshal
	return Event{
		ID: NewEventID(), Time: time.Now(), Type: ServiceEvent, Account: a.Account, Region: a.Region,
		Source: "kms.amazonaws.com", Name: name,
		Principal: iam.Principal{Type: iam.Service, Account: a.Account, InvokedBy: internal},
		SourceIP:  internal, UserAgent: internal, Details: text,
		Resources: []Resource{{Type: "AWS::KMS::Key", Name: keyARN}},
	}
}

// At returns the event with another time: that of the call which caused it,
// so that both keep their order.
func (e Event) At(t time.Time) Event {
	e.Time = t
	return e
}

// NewEventID returns a UUID for an event. It grows with time, which keeps the
// stored events' index in the order in which they come.
func NewEventID() string {
	id, err := uuid.NewV7()
	if err != nil { // no clock to speak of: any UUID will do
		return uuid.NewString()
	}
	return id.String()
}

// RotationRequestID is the requestID of a rotation's events (AWS: recorded).
func RotationRequestID(secretARN, token string) string {
	return "Rotation-" + secretARN + "-" + token
}
