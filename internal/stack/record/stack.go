// Package record holds what is kept of stacks: the stacks, what they were
// asked to be, their resources as they stand, their events, change sets and
// operations. It is pure but for sealing: whatever may hold a secret (the
// template, parameters, properties, outputs) is kept sealed, and opened by
// who shows or uses it.
package record

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/stack"
)

// Service is the principal of CloudFormation.
const Service = "cloudformation.amazonaws.com"

// Type is the resource type of stacks.
const Type = "AWS::CloudFormation::Stack"

// Stack is a stack as it is kept.
type Stack struct {
	// ID is the stack's ARN.
	ID                    string
	Account, Region, Name string
	Status                Status
	StatusReason          string
	Description           string
	CreatedAt             time.Time
	// UpdatedAt and DeletedAt are zero until there was an update or deletion.
	UpdatedAt, DeletedAt time.Time
	// ParentID and RootID are ARNs of stacks; "" unless the stack is nested.
	ParentID, RootID string
	// ChangeSetID is the ARN of the change set executed last, or of the one
	// under review; "" for none.
	ChangeSetID string
	Settings    Settings
	// Sealed are the Contents.
	Sealed []byte
}

// Settings are what a stack was asked to be that can be no secret.
type Settings struct {
	Tags                  []Tag
	Capabilities          []string
	NotificationARNs      []string
	RoleARN               string
	DisableRollback       bool
	TimeoutInMinutes      int64
	TerminationProtection bool
	RetainExceptOnCreate  bool
	// Policy is the stack policy's text, or "".
	Policy string
	// Triggers and MonitoringMinutes are the rollback configuration, which is
	// kept and shown; nothing is monitored.
	Triggers          []Trigger `json:",omitzero"`
	MonitoringMinutes *int64
	DeletionMode      string
	// Operations are the latest ones, newest first.
	Operations []Ran `json:",omitzero"`
}

// Trigger is a rollback trigger.
type Trigger struct{ ARN, Type string }

// Ran names an operation that ran on a stack.
type Ran struct {
	Type, ID string
}

// Tag is a tag of a stack, which its resources inherit.
type Tag struct{ Key, Value string }

// Contents are what is kept of a stack sealed.
type Contents struct {
	// Config is what the stack is, or is being made to be.
	Config Config
	// Stable is what a rollback leads back to; nil when that is Config, or
	// when the stack was never complete.
	Stable *Config
	// Outputs are those of the last success, Imports the exports that they
	// use.
	Outputs []Output
	Imports []string `json:",omitzero"`
}

// Config is one version of what a stack is to be.
type Config struct {
	// Template is the text as submitted; Processed is the JSON that the
	// transforms made of it, "" for one without.
	Template, Processed string
	// Parameters are the values as submitted or defaulted, by name.
	Parameters map[string]string
	// Order lists the parameters as the template does, NoEcho those whose
	// values are not shown.
	Order  []string `json:",omitzero"`
	NoEcho []string `json:",omitzero"`
	// Fetched are the values of parameters that name a value kept elsewhere.
	Fetched map[string]string `json:",omitzero"`
	Tags    []Tag
	// NotificationARNs are those of AWS::NotificationARNs.
	NotificationARNs []string `json:",omitzero"`
	Capabilities     []string `json:",omitzero"`
	RoleARN          string   `json:",omitzero"`
	Description      string   `json:",omitzero"`
}

// Secrets are the values of the NoEcho parameters, and their members for what
// may be lists.
func (c *Config) Secrets() []string {
	var list []string
	for _, name := range c.NoEcho {
		value := c.Parameters[name]
		list = append(list, value)
		if strings.Contains(value, ",") {
			list = append(list, strings.Split(value, ",")...)
		}
	}
	return list
}

// Text is the template to deploy.
func (c *Config) Text() string {
	if c.Processed != "" {
		return c.Processed
	}
	return c.Template
}

// Parse reads the template to deploy and binds its parameters.
func (c *Config) Parse() (*stack.Template, stack.Arguments, error) {
	t, err := stack.Parse(c.Text())
	if err != nil {
		return nil, stack.Arguments{}, err
	}
	given := make(map[string]stack.Given, len(t.Parameters))
	for _, p := range t.Parameters {
		if v, ok := c.Parameters[p.Name]; ok {
			given[p.Name] = stack.Given{Value: v}
		}
	}
	args, err := t.Bind(given, nil)
	return t, args, err
}

// Output is a value that a stack gives.
type Output struct {
	Name, Value, Description string
	// Export is the name under which other stacks import it, or "".
	Export string
}

// seal and open keep a record of the stack with the ID under a purpose of its
// own, so that one cannot stand in for another.
func seal(sealer *key.Sealer, purpose string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(err, "encoding a record of a stack")
	}
	return sealer.Seal(purpose, b), nil
}

func open(sealer *key.Sealer, purpose string, sealed []byte, v any) error {
	if sealed == nil {
		return nil
	}
	b, err := sealer.Open(purpose, sealed)
	if err != nil {
		return fault.Wrap(err, "opening a record of a stack")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // as in templates
	return fault.Wrap(d.Decode(v), "reading a record of a stack")
}

// Open returns the stack's contents.
func (s *Stack) Open(sealer *key.Sealer) (*Contents, error) {
	var c Contents
	err := open(sealer, "stack/"+s.ID, s.Sealed, &c)
	return &c, err
}

// Seal replaces the stack's contents.
func (s *Stack) Seal(sealer *key.Sealer, c *Contents) (err error) {
	s.Sealed, err = seal(sealer, "stack/"+s.ID, c)
	return err
}

// Use makes the settings those of a config.
func (s *Stack) Use(c *Config) {
	s.Settings.Tags, s.Settings.Capabilities = c.Tags, c.Capabilities
	s.Settings.NotificationARNs, s.Settings.RoleARN = c.NotificationARNs, c.RoleARN
	s.Description = c.Description
}

// Ran puts an operation at the head of the latest ones.
func (s *Stack) Ran(kind, id string) {
	const most = 4
	list := append([]Ran{{kind, id}}, s.Settings.Operations...)
	s.Settings.Operations = list[:min(most, len(list))]
}

// Root is the ARN of the outermost stack around this one, or its own.
func (s *Stack) Root() string {
	if s.RootID != "" {
		return s.RootID
	}
	return s.ID
}

// NewStackID returns the ARN of a stack with a UUID.
func NewStackID(region, account, name, uuid string) string {
	return arn.New("cloudformation", region, account, "stack/"+name+"/"+uuid).String()
}

// NewChangeSetID returns the ARN of a change set with a UUID.
func NewChangeSetID(region, account, name, uuid string) string {
	return arn.New("cloudformation", region, account, "changeSet/"+name+"/"+uuid).String()
}
