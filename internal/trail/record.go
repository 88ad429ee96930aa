package trail

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
)

// eventVersion is the version of CloudTrail's record format that the
// recorded service events carry (AWS: recorded).
const eventVersion = "1.08"

// Record is an event as LookupEvents returns it: the CloudTrail record and
// the members by which it is found.
type Record struct {
	EventID     string
	Time        time.Time
	Account     string
	Region      string
	Source      string
	Name        string
	ReadOnly    bool
	Username    string
	AccessKeyID string
	Resources   []Resource
	// JSON is the CloudTrail record, one line without a line break.
	JSON []byte
}

// usualRecord is room for the JSON of most records, in bytes.
const usualRecord = 1 << 10

// Record returns the event in CloudTrail's shape.
func (e *Event) Record() (Record, error) {
	r := Record{
		EventID: e.ID, Time: e.Time.UTC().Truncate(time.Second), Account: e.Account, Region: e.Region,
		Source: e.Source, Name: e.Name, ReadOnly: e.ReadOnly,
		Username: username(e.Principal), AccessKeyID: e.Principal.AccessKeyID, Resources: e.Resources,
	}
	var err error
	r.JSON, err = e.appendJSON(make([]byte, 0, usualRecord))
	return r, err
}

// appendJSON appends the CloudTrail record, one line without a line break.
func (e *Event) appendJSON(b []byte) ([]byte, error) {
	d := e.document()
	enc := encoder{buf: b}
	enc.document(&d)
	if enc.err != nil {
		return b, fmt.Errorf("encoding the %s event: %w", e.Name, enc.err)
	}
	return enc.buf, nil
}

// document is the CloudTrail record in the order in which AWS prints it.
type document struct {
	EventVersion       string          `json:"eventVersion"`
	UserIdentity       identity        `json:"userIdentity"`
	EventTime          string          `json:"eventTime"`
	EventSource        string          `json:"eventSource"`
	EventName          string          `json:"eventName"`
	AWSRegion          string          `json:"awsRegion"`
	SourceIPAddress    string          `json:"sourceIPAddress"`
	UserAgent          string          `json:"userAgent"`
	ErrorCode          string          `json:"errorCode,omitempty"`
	ErrorMessage       string          `json:"errorMessage,omitempty"`
	RequestParameters  json.RawMessage `json:"requestParameters"`
	ResponseElements   json.RawMessage `json:"responseElements"`
	AdditionalData     json.RawMessage `json:"additionalEventData,omitempty"`
	RequestID          string          `json:"requestID"`
	EventID            string          `json:"eventID"`
	ReadOnly           bool            `json:"readOnly"`
	Resources          []resource      `json:"resources,omitempty"`
	EventType          Type            `json:"eventType"`
	ManagementEvent    bool            `json:"managementEvent"`
	RecipientAccountID string          `json:"recipientAccountId"`
	ServiceDetails     json.RawMessage `json:"serviceEventDetails,omitempty"`
	SharedEventID      string          `json:"sharedEventID,omitempty"`
	EventCategory      string          `json:"eventCategory"`
}

type resource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type"`
	ARN       string `json:"ARN"`
}

type identity struct {
	Type           string          `json:"type,omitempty"`
	PrincipalID    string          `json:"principalId,omitempty"`
	ARN            string          `json:"arn,omitempty"`
	AccountID      string          `json:"accountId,omitempty"`
	AccessKeyID    string          `json:"accessKeyId,omitempty"`
	UserName       string          `json:"userName,omitempty"`
	SessionContext *sessionContext `json:"sessionContext,omitempty"`
	InvokedBy      string          `json:"invokedBy,omitempty"`
	// IdentityProvider is the ARN of a web identity's provider.
	IdentityProvider string `json:"identityProvider,omitempty"`
}

type sessionContext struct {
	SessionIssuer  *sessionIssuer    `json:"sessionIssuer,omitempty"`
	WebIdentity    *webIdentity      `json:"webIdFederationData,omitempty"`
	Attributes     map[string]string `json:"attributes"`
	SourceIdentity string            `json:"sourceIdentity,omitempty"`
}

type webIdentity struct {
	Provider   string            `json:"federatedProvider"`
	Attributes map[string]string `json:"attributes"`
}

type sessionIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

func (e *Event) document() document {
	d := document{
		EventVersion: eventVersion, UserIdentity: identityOf(e.Principal), EventTime: e.Time.UTC().Format(time.RFC3339),
		EventSource: e.Source, EventName: e.Name, AWSRegion: e.Region, SourceIPAddress: e.SourceIP, UserAgent: e.UserAgent,
		ErrorCode: e.ErrorCode, ErrorMessage: e.ErrorMessage,
		RequestParameters: e.Request, ResponseElements: e.Response, AdditionalData: e.Additional, ServiceDetails: e.Details,
		RequestID: e.RequestID, EventID: e.ID, ReadOnly: e.ReadOnly, EventType: e.Type,
		ManagementEvent: true, RecipientAccountID: e.Account, SharedEventID: e.SharedID, EventCategory: "Management",
	}
	for _, r := range e.Resources {
		d.Resources = append(d.Resources, resource{cmp.Or(r.account(), e.Account), r.Type, r.Name})
	}
	return d
}

func identityOf(p iam.Principal) identity {
	if p.Type == iam.Service {
		return identity{AccountID: p.Account, InvokedBy: p.InvokedBy}
	}
	id := identity{
		Type: string(p.Type), PrincipalID: p.ID, ARN: p.ARN, AccountID: p.Account, AccessKeyID: p.AccessKeyID,
		SessionContext: sessionOf(p), IdentityProvider: p.IdentityProvider, InvokedBy: p.InvokedBy,
	}
	if p.Type != iam.AssumedRole {
		id.UserName = p.Name
	}
	return id
}

// sessionOf describes the session of temporary credentials (AWS docs); nil
// for others.
func sessionOf(p iam.Principal) *sessionContext {
	if p.IssuedAt.IsZero() && p.Type != iam.AssumedRole {
		return nil
	}
	c := &sessionContext{Attributes: map[string]string{
		"creationDate": p.IssuedAt.UTC().Format(time.RFC3339), "mfaAuthenticated": "false",
	}}
	if p.Type == iam.AssumedRole {
		roleID, _, _ := strings.Cut(p.ID, ":")
		c.SessionIssuer = &sessionIssuer{"Role", roleID, p.RoleARN, p.Account, p.Name}
	}
	if p.Given != nil {
		c.SourceIdentity = p.Given.SourceIdentity
		if p.Given.Provider != "" {
			c.WebIdentity = &webIdentity{p.Given.Provider, map[string]string{}}
		}
	}
	return c
}

// username is what LookupEvents shows and finds as Username: the user's
// name, the session's name, or "root" (AWS docs; "root" assumed).
func username(p iam.Principal) string {
	switch p.Type {
	case iam.AssumedRole:
		return p.Session
	case iam.Root:
		return "root"
	}
	return p.Name
}

// ParseRecord reads back a line that Record made.
func ParseRecord(line []byte) (Record, error) {
	var d document
	if err := json.Unmarshal(line, &d); err != nil {
		return Record{}, fmt.Errorf("reading a trail record: %w", err)
	}
	at, err := time.Parse(time.RFC3339, d.EventTime)
	if err != nil {
		return Record{}, fmt.Errorf("reading a trail record: %w", err)
	}
	r := Record{
		EventID: d.EventID, Time: at, Account: d.RecipientAccountID, Region: d.AWSRegion, Source: d.EventSource,
		Name: d.EventName, ReadOnly: d.ReadOnly, AccessKeyID: d.UserIdentity.AccessKeyID, JSON: line,
	}
	r.Username = d.UserIdentity.username()
	for _, res := range d.Resources {
		r.Resources = append(r.Resources, Resource{res.Type, res.ARN})
	}
	return r, nil
}

func (i identity) username() string {
	switch iam.PrincipalType(i.Type) {
	case iam.AssumedRole:
		return i.ARN[strings.LastIndexByte(i.ARN, '/')+1:]
	case iam.Root:
		return "root"
	}
	return i.UserName
}
