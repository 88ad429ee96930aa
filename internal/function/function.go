// Package function holds Lambda functions: their records, runtimes, code
// package checks and concurrency rules. All of it is pure; package
// environment runs them.
package function

import (
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
)

// Latest is the version that is not published.
const Latest = "$LATEST"

// Function is the record of one function: its live configuration and what
// belongs to the function as a whole.
type Function struct {
	// ID is internal and never changes; rows refer to it.
	ID              string
	Account, Region string
	// Name is 1 to 64 characters of [a-zA-Z0-9-_].
	Name string
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
	// Async holds the asynchronous invocation settings by qualifier.
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
	// Environment is nil when no variables were given.
	Environment map[string]string
	VPC         *VPC
	// Layers lists layer version ARNs in order.
	Layers        []string
	Architectures []string
	TracingMode   string
	KMSKeyARN     string
	DeadLetterARN string
	SnapStart     string
	Logging       Logging
	PackageType   string
	// CodeSHA256 is the base64 SHA-256 of the zip; CodeSize its bytes.
	CodeSHA256 string
	CodeSize   int64
	// RevisionID changes on every change of configuration or state.
	RevisionID   string
	LastModified time.Time
	// State and LastUpdate are as in FunctionConfiguration.
	State, StateReason, StateReasonCode                string
	LastUpdate, LastUpdateReason, LastUpdateReasonCode string
}

// VPC is a function's VpcConfig. A detached function keeps an empty one.
type VPC struct {
	SubnetIDs, SecurityGroupIDs []string
	VPCID                       string
	IPv6                        bool
}

// Logging is a function's LoggingConfig.
type Logging struct {
	// Format is Text or JSON.
	Format string
	// Group is the log group; /aws/lambda/NAME by default.
	Group                               string
	ApplicationLogLevel, SystemLogLevel string
}

// Policy is a resource policy with its revision.
type Policy struct {
	RevisionID string
	Statements []Statement
}

// Statement is one grant made by AddPermission. Condition maps operator to
// key to value.
type Statement struct {
	Sid       string
	Effect    string
	Principal map[string]string // {"Service": …}, {"AWS": …} or {"*": "*"}
	Action    string
	Resource  string
	Condition map[string]map[string]string
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

// Alias points at a version, with optional routing weights.
type Alias struct {
	FunctionID, Name, Version, Description string
	RevisionID                             string
	// Weights maps other versions to their share of invocations, 0 to 1.
	Weights map[string]float64
}

// LayerVersion is one published version of a layer.
type LayerVersion struct {
	Account, Region, Name string
	Version               int64
	Description, License  string
	CodeSHA256            string
	CodeSize              int64
	Runtimes              []string
	Architectures         []string
	CreatedAt             time.Time
}

// ARN returns the function's unqualified address.
func (f *Function) ARN() string { return ARN(f.Region, f.Account, f.Name, "") }

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
	return arn.New("lambda", l.Region, l.Account, "layer:"+l.Name).String()
}

// Ref names a function, and perhaps one version or alias of it.
type Ref struct {
	// Region and Account are empty where the identifier did not name them.
	Region, Account string
	Name            string
	// Qualifier is a version, "$LATEST", an alias, or "".
	Qualifier string
}

// ParseRef reads the forms that the Lambda API accepts as FunctionName (AWS
// docs): name, name:qualifier, ACCOUNT:function:name[:qualifier], and the
// full ARN with or without a qualifier. ok is false for anything else.
func ParseRef(s string) (ref Ref, ok bool) {
	if arn.IsARN(s) {
		a, ok := arn.Parse(s)
		rest, isFunction := strings.CutPrefix(a.Resource, "function:")
		if !ok || !isFunction || a.Service != "lambda" {
			return Ref{}, false
		}
		ref.Region, ref.Account = a.Region, a.Account
		ref.Name, ref.Qualifier, _ = strings.Cut(rest, ":")
		return ref, validName(ref)
	}
	if account, rest, found := strings.Cut(s, ":function:"); found {
		ref.Account = account
		s = rest
	}
	ref.Name, ref.Qualifier, _ = strings.Cut(s, ":")
	return ref, validName(ref)
}

func validName(r Ref) bool {
	return r.Name != "" && !strings.ContainsAny(r.Name, ":/ ") && !strings.Contains(r.Qualifier, ":")
}
