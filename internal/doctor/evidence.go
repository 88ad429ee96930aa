package doctor

import (
	"time"

	"github.com/keyturn/keyturn/internal/network"
	rotatorprobe "github.com/keyturn/keyturn/internal/rotator/probe"
)

// Evidence is all that is known about one secret's rotation. It may be stored
// and shown: no member holds the value of a secret. A nil or empty member is
// not known; Gaps says why where that matters.
type Evidence struct {
	// At is when it was collected.
	At time.Time `json:"at"`
	// Account, Region and Partition are those of the secret.
	Account   string `json:"account"`
	Region    string `json:"region"`
	Partition string `json:"partition"`
	// Caller is the ARN of who asks.
	Caller string `json:"caller,omitempty"`
	// Endpoint is where the APIs are, "" for AWS's own endpoints, and Keyturn
	// tells that a Keyturn server answers there.
	Endpoint string `json:"endpoint,omitempty"`
	Keyturn  bool   `json:"keyturn,omitempty"`

	Secret Secret `json:"secret"`
	// Versions are newest first.
	Versions []Version `json:"versions,omitempty"`
	// Events are the trail's events on the secret and of the function's role
	// around the last rotations, oldest first.
	Events []Event `json:"events,omitempty"`
	// Reports are the lines of Keyturn's engine about the last rotation,
	// oldest first.
	Reports []Report `json:"reports,omitempty"`
	// Function is the rotation function; nil if the secret names none or
	// nothing could be learnt of it.
	Function *Function `json:"function,omitempty"`
	// Invocations are those of the function in the time of the last
	// rotations, oldest first.
	Invocations []Invocation `json:"invocations,omitempty"`
	Role        *Role        `json:"role,omitempty"`
	Key         *Key         `json:"key,omitempty"`
	// Superuser is the secret that masterarn or superuserSecretArn names, as
	// far as something names it outside of the value: a function's variable,
	// a rotation's trail, or the probe.
	Superuser *Superuser `json:"superuser,omitempty"`
	Network   *Network   `json:"network,omitempty"`
	Stack     *Stack     `json:"stack,omitempty"`
	Load      *Load      `json:"load,omitempty"`
	// Values are the shapes of the versions' values, only with --probe.
	Values []Value `json:"values,omitempty"`
	// Probes are logins that were tried, only with --probe.
	Probes []Probe `json:"probes,omitempty"`
	// Request is the answer of a RotateSecret that was just made, if any.
	Request *Request `json:"request,omitempty"`
	// Gaps are what could not be collected.
	Gaps []Gap `json:"gaps,omitempty"`
}

// Gap is a call that could not be made, and so what was not looked at.
type Gap struct {
	// Action is the IAM action, such as cloudtrail:LookupEvents.
	Action string `json:"action"`
	// Resource is the ARN on which it was wanted; "*" for none.
	Resource string `json:"resource,omitempty"`
	// Error is the API's answer: its code and text.
	Error string `json:"error"`
	// Missing says in words what is not known for it.
	Missing string `json:"missing"`
	// Denied tells a missing permission from any other failure.
	Denied bool `json:"denied,omitempty"`
}

// Secret is what DescribeSecret and GetResourcePolicy tell.
type Secret struct {
	ARN             string            `json:"arn"`
	Name            string            `json:"name"`
	Found           bool              `json:"found"`
	RotationEnabled *bool             `json:"rotationEnabled,omitempty"` // nil: never configured
	FunctionARN     string            `json:"functionArn,omitempty"`
	Rules           Rules             `json:"rules"`
	CreatedAt       time.Time         `json:"createdAt,omitzero"`
	LastRotatedAt   time.Time         `json:"lastRotatedAt,omitzero"`
	LastChangedAt   time.Time         `json:"lastChangedAt,omitzero"`
	NextRotationAt  time.Time         `json:"nextRotationAt,omitzero"`
	DeletedAt       time.Time         `json:"deletedAt,omitzero"`
	PrimaryRegion   string            `json:"primaryRegion,omitempty"`
	OwningService   string            `json:"owningService,omitempty"`
	KeyID           string            `json:"keyId,omitempty"` // "" for aws/secretsmanager
	Tags            map[string]string `json:"tags,omitempty"`
	// Labels maps each staging label to its version.
	Labels map[string]string `json:"labels,omitempty"`
	// Policy is the resource policy; "" for none.
	Policy string `json:"policy,omitempty"`
}

// Rules are a secret's RotationRules.
type Rules struct {
	AfterDays  int64  `json:"afterDays,omitempty"`
	Duration   string `json:"duration,omitempty"`
	Expression string `json:"expression,omitempty"`
}

// Version is what ListSecretVersionIds tells of a version. HasValue is false
// for one that a rotation began and no value was put in (it is not listed, but
// DescribeSecret names it).
type Version struct {
	ID             string    `json:"id"`
	Labels         []string  `json:"labels,omitempty"`
	HasValue       bool      `json:"hasValue"`
	CreatedAt      time.Time `json:"createdAt,omitzero"`
	LastAccessedAt time.Time `json:"lastAccessedAt,omitzero"`
	KeyIDs         []string  `json:"keyIds,omitempty"`
}

// Event is one CloudTrail event.
type Event struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Source    string    `json:"source"` // secretsmanager.amazonaws.com
	At        time.Time `json:"at"`
	Principal string    `json:"principal,omitempty"` // userIdentity.arn
	// Invoker is userIdentity.invokedBy or a service's sourceIPAddress.
	Invoker      string `json:"invoker,omitempty"`
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
	SecretID     string `json:"secretId,omitempty"`
	// Token is the ClientRequestToken, VersionId or rotation token that the
	// event is about.
	Token string `json:"token,omitempty"`
	// FunctionARN is the function that RotateSecret named, "" for none.
	FunctionARN string `json:"functionArn,omitempty"`
	// Label is the VersionStage that UpdateSecretVersionStage moves, From and
	// To the versions.
	Label string `json:"label,omitempty"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	// HadRotationToken tells whether PutSecretValue came with a RotationToken
	// (shown as hidden in the event).
	HadRotationToken bool   `json:"hadRotationToken,omitempty"`
	UserAgent        string `json:"userAgent,omitempty"`
	Service          bool   `json:"service,omitempty"` // an AwsServiceEvent
}

// Report is a line of Keyturn's engine (log group /keyturn/rotation).
type Report struct {
	At      time.Time     `json:"at"`
	Token   string        `json:"token"`
	Status  string        `json:"status"`
	Step    string        `json:"step,omitempty"`
	Attempt int           `json:"attempt,omitempty"`
	Took    time.Duration `json:"took,omitempty"`
	Error   string        `json:"error,omitempty"`
	RetryAt time.Time     `json:"retryAt,omitzero"`
}

// Function is what Lambda tells of the rotation function.
type Function struct {
	ARN   string `json:"arn"`
	Name  string `json:"name"`
	Found bool   `json:"found"`
	// Qualifier is the version or alias in the secret's ARN, "" for none.
	Qualifier        string            `json:"qualifier,omitempty"`
	Runtime          string            `json:"runtime,omitempty"`
	Handler          string            `json:"handler,omitempty"`
	PackageType      string            `json:"packageType,omitempty"`
	Architecture     string            `json:"architecture,omitempty"`
	Timeout          time.Duration     `json:"timeout,omitempty"`
	MemoryMB         int32             `json:"memoryMB,omitempty"`
	State            string            `json:"state,omitempty"`
	StateReason      string            `json:"stateReason,omitempty"`
	LastUpdateStatus string            `json:"lastUpdateStatus,omitempty"`
	ModifiedAt       time.Time         `json:"modifiedAt,omitzero"`
	RoleARN          string            `json:"roleArn,omitempty"`
	SubnetIDs        []string          `json:"subnetIds,omitempty"`
	GroupIDs         []string          `json:"groupIds,omitempty"`
	VPCID            string            `json:"vpcId,omitempty"`
	Tags             map[string]string `json:"tags,omitempty"`
	LogGroup         string            `json:"logGroup,omitempty"`
	// Variables are its environment variables; those that are not of the
	// rotation templates or Keyturn have their values left out.
	Variables map[string]string `json:"variables,omitempty"`
	// Policy is its resource policy; "" for none, PolicyKnown whether it was
	// read.
	Policy      string `json:"policy,omitempty"`
	PolicyKnown bool   `json:"policyKnown,omitempty"`
	// Reserved is the reserved concurrency; nil for none. Provisioned is the
	// provisioned one of the qualifier.
	Reserved    *int32 `json:"reserved,omitempty"`
	Provisioned *int32 `json:"provisioned,omitempty"`
	// Rotator is the name of the built-in rotator that it runs, "" for other
	// code.
	Rotator string `json:"rotator,omitempty"`
	Code    *Code  `json:"code,omitempty"`
}

// Code is what package archive found in the function's deployment package.
type Code struct {
	// Template is the rotation template that the code is, such as
	// SecretsManagerRDSPostgreSQLRotationSingleUser, "" if none is known, and
	// Strategy is single or alternating for those.
	Template string `json:"template,omitempty"`
	Strategy string `json:"strategy,omitempty"`
	// Files is how many there are; Truncated that not all were looked at.
	Files     int  `json:"files"`
	Truncated bool `json:"truncated,omitempty"`
	// HandlerFile is the file that the handler names, and HandlerFound
	// whether it and the function in it exist.
	HandlerFile  string `json:"handlerFile,omitempty"`
	HandlerFound bool   `json:"handlerFound"`
	// HandlerProblem says what is wrong with it, in words; "" for nothing.
	HandlerProblem string `json:"handlerProblem,omitempty"`
	// PassesToken tells whether PutSecretValue gets the RotationToken; nil if
	// that cannot be told.
	PassesToken *bool `json:"passesToken,omitempty"`
	// Unfinished lists the steps that only raise NotImplementedError.
	Unfinished []string `json:"unfinished,omitempty"`
	// Natives are the native modules and libraries.
	Natives []Native `json:"natives,omitempty"`
	// TriesTLS tells for a database template whether it tries TLS; nil if
	// that cannot be told. Those before 2021-12-20 do not.
	TriesTLS *bool `json:"triesTLS,omitempty"`
	// Imports are top-level Python modules that the handler imports and the
	// package does not hold, the standard library and boto3 aside.
	Imports []string `json:"imports,omitempty"`
}

// Native is an ELF file of a deployment package.
type Native struct {
	Path string `json:"path"`
	// Python is the version that a module's name is tagged for, such as 3.7.
	Python string `json:"python,omitempty"`
	// Architecture is x86_64 or arm64.
	Architecture string `json:"architecture,omitempty"`
	// RunPath is its RUNPATH or RPATH, as readelf shows it.
	RunPath string `json:"runPath,omitempty"`
	// LibPQ is the major version of PostgreSQL that a libpq is of, "" if it
	// is none or that cannot be told: 9.4, 12.
	LibPQ string `json:"libpq,omitempty"`
	// SCRAM tells whether a libpq knows SCRAM-SHA-256.
	SCRAM bool `json:"scram,omitempty"`
	// GLIBC is the newest version of GLIBC that it needs, such as 2.34.
	GLIBC string `json:"glibc,omitempty"`
	// Needs lists the libraries that it needs (DT_NEEDED).
	Needs []string `json:"needs,omitempty"`
}

// Invocation is one run of the function as its log shows it.
type Invocation struct {
	RequestID string    `json:"requestId"`
	Stream    string    `json:"stream,omitempty"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// Took is the Duration of its REPORT line, Init its Init Duration.
	Took        time.Duration `json:"took,omitempty"`
	Init        time.Duration `json:"init,omitempty"`
	MemoryMB    int32         `json:"memoryMB,omitempty"`
	MaxMemoryMB int32         `json:"maxMemoryMB,omitempty"`
	TimedOut    bool          `json:"timedOut,omitempty"`
	// Complete tells whether the log holds its REPORT line.
	Complete bool `json:"complete,omitempty"`
	// Step and Token are what its lines or the engine's reports tell; "" if
	// nothing does.
	Step  string `json:"step,omitempty"`
	Token string `json:"token,omitempty"`
	// Lines are its log lines, without START, END and REPORT; long ones are
	// cut and there is a limit.
	Lines []Line `json:"lines,omitempty"`
}

// Line is a line of a log.
type Line struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Role is the function's execution role.
type Role struct {
	ARN   string `json:"arn"`
	Found bool   `json:"found"`
	Trust string `json:"trust,omitempty"`
	// Decisions are what the simulation of its policies said of the calls
	// that a rotation function makes.
	Decisions []Decision `json:"decisions,omitempty"`
	// Statements are the documents of its policies, by name.
	Statements map[string]string `json:"statements,omitempty"`
}

// Decision is the answer to whether the role may do something.
type Decision struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	// Decision is allowed, explicitDeny or implicitDeny.
	Decision string `json:"decision"`
	// MatchedBy names the policies with statements that matched.
	MatchedBy []string `json:"matchedBy,omitempty"`
	// Boundary tells that a permissions boundary refuses.
	Boundary bool `json:"boundary,omitempty"`
}

// Key is the KMS key under which the secret is encrypted.
type Key struct {
	ID      string `json:"id"`
	Found   bool   `json:"found"`
	State   string `json:"state,omitempty"`   // Enabled, Disabled, PendingDeletion, PendingImport, Unavailable
	Spec    string `json:"spec,omitempty"`    // SYMMETRIC_DEFAULT
	Usage   string `json:"usage,omitempty"`   // ENCRYPT_DECRYPT
	Manager string `json:"manager,omitempty"` // AWS, CUSTOMER
	Account string `json:"account,omitempty"`
	Policy  string `json:"policy,omitempty"`
}

// Superuser is the secret by which alternating users and superuser rotations
// log in.
type Superuser struct {
	ARN   string `json:"arn"`
	Found bool   `json:"found"`
	// Service is the service that keeps it, such as rds; "" for none.
	Service string            `json:"service,omitempty"`
	KeyID   string            `json:"keyId,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// From says where its ARN was found.
	From string `json:"from,omitempty"`
}

// Network is what EC2 and RDS describe of where the function runs, and what
// network.Analyze says of its ways.
type Network struct {
	VPCID string `json:"vpcId,omitempty"`
	Paths []Path `json:"paths,omitempty"`
	// Enforced tells that the server holds functions to their network
	// (keyturn serve --enforce-vpc); on AWS it is always so.
	Enforced bool `json:"enforced"`
}

// Path is a way from the function to what it calls.
type Path struct {
	// To is secretsmanager, rds, kms, elasticache or database.
	To   string `json:"to"`
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// Database describes a registered database that is meant, "" otherwise.
	Database string         `json:"database,omitempty"`
	Report   network.Report `json:"report"`
}

// Stack is the CloudFormation stack that the function belongs to.
type Stack struct {
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
	Status    string    `json:"status,omitempty"`
	// RootName is the stack at the top of nested ones, else Name.
	RootName string `json:"rootName,omitempty"`
	// Transforms are those of the root's template.
	Transforms []string `json:"transforms,omitempty"`
	// Application and Version are the Serverless Application Repository's.
	Application string `json:"application,omitempty"`
	Version     string `json:"version,omitempty"`
	// CDK tells that the CDK made it.
	CDK bool `json:"cdk,omitempty"`
}

// Load is what is known of the function's concurrency.
type Load struct {
	// AccountLimit and Unreserved are the account's.
	AccountLimit int32 `json:"accountLimit,omitempty"`
	Unreserved   int32 `json:"unreserved,omitempty"`
	// Secrets is how many secrets rotate by the function, and Due how many of
	// them are due within the same hour as this one.
	Secrets int `json:"secrets,omitempty"`
	Due     int `json:"due,omitempty"`
	// Peak is the greatest number of invocations seen at once.
	Peak int `json:"peak,omitempty"`
	// MeanTook is the mean duration of the invocations.
	MeanTook time.Duration `json:"meanTook,omitempty"`
	// Throttles is CloudWatch's count over the last day; nil if not read.
	Throttles *int64 `json:"throttles,omitempty"`
}

// Request is a RotateSecret and its answer.
type Request struct {
	Action string    `json:"action"` // RotateSecret
	At     time.Time `json:"at"`
	Code   string    `json:"code,omitempty"`
	Text   string    `json:"text,omitempty"`
}

// Value is the shape of a version's value: never the value.
type Value struct {
	Label     string `json:"label"` // AWSCURRENT, AWSPENDING, AWSPREVIOUS, superuser
	VersionID string `json:"versionId"`
	// Missing tells that there is no value; Error why it could not be read.
	Missing bool   `json:"missing,omitempty"`
	Error   string `json:"error,omitempty"`
	Binary  bool   `json:"binary,omitempty"`
	// Object tells that it is a JSON object; Problem what is wrong with it
	// else, without any of its text.
	Object  bool   `json:"object,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Keys are the members' names.
	Keys []string `json:"keys,omitempty"`
	// The members that say where and as whom, not the password.
	Engine    string `json:"engine,omitempty"`
	Host      string `json:"host,omitempty"`
	Port      string `json:"port,omitempty"`
	Username  string `json:"username,omitempty"`
	Database  string `json:"dbname,omitempty"`
	SSL       string `json:"ssl,omitempty"`
	MasterARN string `json:"masterarn,omitempty"`
	// SamePassword lists the labels whose password is the same. It is
	// compared in memory; nothing of it is kept.
	SamePassword   []string `json:"samePassword,omitempty"`
	PasswordLength int      `json:"passwordLength,omitempty"`
}

// Probe is one login that was tried, stage by stage; the last stage failed
// unless it LogsIn. From is here, or function for one from inside the
// function's own network.
type Probe = rotatorprobe.Result

// Stage is a part of a login: dns, tcp, tls, auth, database.
type Stage = rotatorprobe.Stage
