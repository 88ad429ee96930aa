// Package function holds Lambda functions: their records, the rules of
// versions, aliases, policies and concurrency, runtimes, and the checks of
// code packages. All of it is pure; package environment runs functions.
package function

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// Latest is the version that is not published.
const Latest = "$LATEST"

// Function is the record of one function: its live configuration and what
// belongs to the function as a whole.
type Function struct {
	// ID is internal and never changes; rows refer to it. A function that is
	// deleted and made again has another.
	ID              string
	Account, Region string
	// Name is 1 to 64 characters of [a-zA-Z0-9-_]; an owned function's is
	// made by OwnedName.
	Name string
	// Owner is the AWS service, such as rds, whose own the function is: the
	// Lambda API neither shows nor names it. "" for users' functions.
	Owner string
	// Config is $LATEST.
	Config Config
	// Reserved is the reserved concurrency; nil when there is none.
	Reserved *int64
	// Policies maps a qualifier ("" for the function itself) to its
	// resource policy.
	Policies map[string]Policy
	Tags     map[string]string
	// NextVersion is the number that the next published version gets.
	NextVersion int64
	// Async holds the asynchronous invocation settings by qualifier, which is
	// $LATEST for the function itself.
	Async map[string]AsyncConfig
	// Provisioned maps a version or alias name to its provisioned
	// concurrency.
	Provisioned map[string]Provisioned
	// RecursiveLoop and RuntimeUpdate are stored and returned.
	RecursiveLoop, RuntimeUpdate string
	// Revision counts saved changes; storage uses it to tell stale copies.
	Revision int64
}

// Config is the configuration of one version of a function, in the terms of
// FunctionConfiguration (AWS service model).
type Config struct {
	// Version is "$LATEST" or a number.
	Version     string
	Runtime     string
	Handler     string
	Role        string
	Description string
	// TimeoutSeconds is 1 to 900; MemoryMB 128 to 10240; EphemeralMB 512
	// to 10240.
	TimeoutSeconds, MemoryMB, EphemeralMB int64
	// Environment is the JSON object of the variables, sealed; nil when none
	// were given.
	Environment []byte
	// EnvironmentKey is the ARN of the KMS key that sealed Environment; ""
	// for the server's own.
	EnvironmentKey string
	VPC            *VPC
	// Layers lists layer versions in order.
	Layers        []Layer
	Architectures []string
	TracingMode   string
	KMSKeyARN     string
	DeadLetterARN string
	SnapStart     string
	Logging       Logging
	PackageType   string
	// CodeSHA256 is the base64 SHA-256 of the zip, CodeSize its bytes,
	// Unzipped those of its files.
	CodeSHA256         string
	CodeSize, Unzipped int64
	// Change counts the changes of code and configuration. A version keeps
	// the count of the $LATEST that it was made from.
	Change int64
	// RevisionID changes on every change of configuration, policy or state.
	RevisionID   string
	LastModified time.Time
	// State and LastUpdate are as in FunctionConfiguration.
	State, StateReason, StateReasonCode                string
	LastUpdate, LastUpdateReason, LastUpdateReasonCode string
}

// Layer is a layer version that a function uses. It holds what the function
// needs, because a layer version may be deleted while functions use it (AWS
// docs).
type Layer struct {
	// ARN is the layer version's address.
	ARN string
	// CodeSHA256, CodeSize and Unzipped are as in Config.
	CodeSHA256         string
	CodeSize, Unzipped int64
}

// VPC is a function's VpcConfig. A detached function keeps an empty one.
type VPC struct {
	SubnetIDs, SecurityGroupIDs []string
	VPCID                       string
	IPv6                        bool
}

// Attached reports whether the function is in a VPC.
func (v VPC) Attached() bool { return len(v.SubnetIDs) > 0 }

// Logging is a function's LoggingConfig.
type Logging struct {
	// Format is Text or JSON.
	Format string
	// Group is the log group; /aws/lambda/NAME by default.
	Group                               string
	ApplicationLogLevel, SystemLogLevel string
}

// AsyncConfig is an EventInvokeConfig.
type AsyncConfig struct {
	MaximumRetryAttempts     *int64
	MaximumEventAgeInSeconds *int64
	OnSuccess, OnFailure     string
	LastModified             time.Time
}

// Provisioned is the provisioned concurrency of a version or alias.
type Provisioned struct {
	Requested    int64
	LastModified time.Time
}

// LayerVersion is one published version of a layer.
type LayerVersion struct {
	Account, Region, Name string
	Version               int64
	Description, License  string
	// CodeSHA256, CodeSize and Unzipped are as in Config.
	CodeSHA256         string
	CodeSize, Unzipped int64
	Runtimes           []string
	Architectures      []string
	CreatedAt          time.Time
}

// The states of a version and of its last update (AWS service model).
const (
	StatePending     = "Pending"
	StateActive      = "Active"
	StateFailed      = "Failed"
	UpdateInProgress = "InProgress"
	UpdateSuccessful = "Successful"
	UpdateFailed     = "Failed"
)

// creating is the reason of a Pending state and of an update in progress
// (AWS: recorded, for both).
const (
	creatingReason = "The function is being created."
	creatingCode   = "Creating"
)

// BeginCreation puts a version into the Pending state.
func (c *Config) BeginCreation() {
	c.State, c.StateReason, c.StateReasonCode = StatePending, creatingReason, creatingCode
	c.LastUpdate, c.LastUpdateReason, c.LastUpdateReasonCode = "", "", ""
}

// BeginUpdate marks an update as in progress.
func (c *Config) BeginUpdate() {
	c.LastUpdate, c.LastUpdateReason, c.LastUpdateReasonCode = UpdateInProgress, creatingReason, creatingCode
}

// Changing reports whether a creation or an update has not finished.
func (c *Config) Changing() bool { return c.State == StatePending || c.LastUpdate == UpdateInProgress }

// Finish ends a creation or an update. reason says why it failed; "" means
// that it succeeded. It reports whether anything was under way.
func (c *Config) Finish(code, reason, revisionID string) bool {
	if !c.Changing() {
		return false
	}
	state, update := StateActive, UpdateSuccessful
	if reason != "" {
		state, update = StateFailed, UpdateFailed
	} else {
		code = ""
	}
	if c.State == StatePending {
		c.State, c.StateReason, c.StateReasonCode = state, reason, code
	}
	c.LastUpdate, c.LastUpdateReason, c.LastUpdateReasonCode = update, reason, code
	c.RevisionID = revisionID
	return true
}

// Clone returns a deep copy.
func (c *Config) Clone() Config {
	d := *c
	d.Environment = slices.Clone(c.Environment)
	d.Layers = slices.Clone(c.Layers)
	d.Architectures = slices.Clone(c.Architectures)
	if c.VPC != nil {
		v := *c.VPC
		v.SubnetIDs, v.SecurityGroupIDs = slices.Clone(v.SubnetIDs), slices.Clone(v.SecurityGroupIDs)
		d.VPC = &v
	}
	return d
}

// Same reports whether two configurations make the same function: version
// number, description of state and bookkeeping aside.
func (c *Config) Same(d *Config) bool {
	a, b := c.content(), d.content()
	return reflect.DeepEqual(&a, &b)
}

func (c *Config) content() Config {
	d := *c
	d.Version, d.RevisionID, d.Change, d.LastModified = "", "", 0, time.Time{}
	d.State, d.StateReason, d.StateReasonCode = "", "", ""
	d.LastUpdate, d.LastUpdateReason, d.LastUpdateReasonCode = "", "", ""
	return d
}

// LogGroup is where the version's output goes.
func (c *Config) LogGroup(name string) string {
	if c.Logging.Group != "" {
		return c.Logging.Group
	}
	return "/aws/lambda/" + name
}

// Codes returns the hashes of every package that the version is made from.
func (c *Config) Codes() []string {
	codes := []string{c.CodeSHA256}
	for _, l := range c.Layers {
		codes = append(codes, l.CodeSHA256)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// Deployment names what environments of a version of the function are made
// from: it changes with code and configuration, and is never used again.
func (f *Function) Deployment(c *Config) string {
	return f.ID + "/" + strconv.FormatInt(c.Change, 10)
}

// Clone returns a deep copy.
func (f *Function) Clone() *Function {
	g := *f
	g.Config = f.Config.Clone()
	if f.Reserved != nil {
		g.Reserved = new(*f.Reserved)
	}
	g.Tags, g.Async, g.Provisioned = maps.Clone(f.Tags), maps.Clone(f.Async), maps.Clone(f.Provisioned)
	g.Policies = make(map[string]Policy, len(f.Policies))
	for q, p := range f.Policies {
		g.Policies[q] = Policy{slices.Clone(p.Statements)}
	}
	return &g
}

// ARN returns the function's unqualified address.
func (f *Function) ARN() string { return ARN(f.Region, f.Account, f.Name, "") }

// Qualified returns the function's address with a qualifier, which may be
// empty.
func (f *Function) Qualified(qualifier string) string {
	return ARN(f.Region, f.Account, f.Name, qualifier)
}

// ARN builds a function's address; qualifier may be empty.
func ARN(region, account, name, qualifier string) string {
	r := "function:" + name
	if qualifier != "" {
		r += ":" + qualifier
	}
	return arn.New("lambda", region, account, r).String()
}

// ARN returns the layer version's address.
func (l *LayerVersion) ARN() string {
	return l.LayerARN() + ":" + strconv.FormatInt(l.Version, 10)
}

// LayerARN returns the address of the layer itself.
func (l *LayerVersion) LayerARN() string {
	return LayerARN(l.Region, l.Account, l.Name)
}

// LayerARN builds the address of a layer without a version.
func LayerARN(region, account, name string) string {
	return arn.New("lambda", region, account, "layer:"+name).String()
}
