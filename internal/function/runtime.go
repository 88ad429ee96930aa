package function

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
)

// Family is the kind of program that a runtime starts.
type Family string

// The families. Keyturn runs Python, NodeJS and Provided; AWS has the others.
const (
	Python   Family = "python"
	NodeJS   Family = "nodejs"
	Provided Family = "provided"
	Java     Family = "java"
	Ruby     Family = "ruby"
	DotNet   Family = "dotnet"
	GoOne    Family = "go"
)

// RotatorHandler is what the handlers of built-in rotators begin with. A
// function of a provided runtime that has such a handler and no bootstrap of
// its own runs on the server's.
const RotatorHandler = "rotator."

// Runtime is one row of AWS's table of Lambda runtimes.
type Runtime struct {
	// ID is AWS's identifier, such as "python3.12".
	ID string
	// Family is the kind of program.
	Family Family
	// Version is the language's version ("3.12", "20") or, for provided
	// runtimes, the operating system's ("al2023").
	Version string
	// Accepted says that AWS's CreateFunction still takes the identifier
	// (AWS: recorded, November 2025).
	Accepted bool
	// Served says that Keyturn can run functions of this runtime, given the
	// interpreter on the host.
	Served bool
	// Deprecated, CreateBlocked and UpdateBlocked are AWS's three phases; zero
	// where AWS has named no date. AWS has moved them repeatedly (AWS docs).
	Deprecated, CreateBlocked, UpdateBlocked time.Time
}

// runtimeRow is a Runtime with its dates as written.
type runtimeRow struct {
	id                      string
	family                  Family
	version                 string
	accepted, served        bool
	deprecated, create, upd string
}

// runtimeTable lists the accepted identifiers in the order in which AWS
// prints them, then those that AWS knows and refuses.
var runtimeTable = []runtimeRow{
	{"nodejs20.x", NodeJS, "20", true, true, "2026-04-30", "2027-02-01", "2027-03-03"},
	{"python3.14", Python, "3.14", true, true, "2029-06-30", "2029-07-31", "2029-08-31"},
	{"provided.al2023", Provided, "al2023", true, true, "2029-06-30", "2029-07-31", "2029-08-31"},
	{"python3.12", Python, "3.12", true, true, "2028-10-31", "2028-11-30", "2029-01-10"},
	{"python3.13", Python, "3.13", true, true, "2029-06-30", "2029-07-31", "2029-08-31"},
	{"nodejs24.x", NodeJS, "24", true, true, "2028-04-30", "2028-06-01", "2028-07-01"},
	{"nodejs22.x", NodeJS, "22", true, true, "2027-04-30", "2027-06-01", "2027-07-01"},
	{"java25", Java, "25", true, false, "", "", ""},
	{"python3.10", Python, "3.10", true, true, "2026-10-31", "2027-02-01", "2027-03-03"},
	{"python3.11", Python, "3.11", true, true, "2027-06-30", "2027-07-31", "2027-08-31"},
	{"java21", Java, "21", true, false, "", "", ""},
	{"ruby3.3", Ruby, "3.3", true, false, "", "", ""},
	{"ruby3.4", Ruby, "3.4", true, false, "", "", ""},
	{"ruby3.2", Ruby, "3.2", true, false, "", "", ""},
	{"python3.8", Python, "3.8", true, true, "2024-10-14", "2027-02-01", "2027-03-03"},
	{"python3.9", Python, "3.9", true, true, "2025-12-15", "2027-02-01", "2027-03-03"},
	{"java17", Java, "17", true, false, "", "", ""},
	{"nodejs16.x", NodeJS, "16", true, false, "2024-06-12", "2027-02-01", "2027-03-03"},
	{"dotnet10", DotNet, "10", true, false, "", "", ""},
	{"dotnet8", DotNet, "8", true, false, "", "", ""},
	{"java11", Java, "11", true, false, "", "", ""},
	{"dotnet6", DotNet, "6", true, false, "", "", ""},
	{"nodejs18.x", NodeJS, "18", true, true, "2025-09-01", "2027-02-01", "2027-03-03"},
	{"provided.al2", Provided, "al2", true, true, "2026-07-31", "2027-02-01", "2027-03-03"},
	{"java8.al2", Java, "8", true, false, "", "", ""},

	{"python3.7", Python, "3.7", false, true, "2023-12-04", "2024-01-09", "2026-07-01"},
	{"python3.6", Python, "3.6", false, false, "2022-07-18", "2022-07-18", "2022-08-29"},
	{"python2.7", Python, "2.7", false, false, "", "", ""},
	{"nodejs14.x", NodeJS, "14", false, false, "", "", ""},
	{"nodejs12.x", NodeJS, "12", false, false, "", "", ""},
	{"nodejs10.x", NodeJS, "10", false, false, "", "", ""},
	{"nodejs8.10", NodeJS, "8", false, false, "", "", ""},
	{"nodejs6.10", NodeJS, "6", false, false, "", "", ""},
	{"nodejs4.3", NodeJS, "4", false, false, "", "", ""},
	{"go1.x", GoOne, "1", false, false, "", "", ""},
	{"provided", Provided, "al1", false, false, "", "", ""},
	{"java8", Java, "8", false, false, "", "", ""},
	{"dotnetcore3.1", DotNet, "3.1", false, false, "", "", ""},
	{"dotnetcore2.1", DotNet, "2.1", false, false, "", "", ""},
	{"dotnetcore2.0", DotNet, "2.0", false, false, "", "", ""},
	{"dotnetcore1.0", DotNet, "1.0", false, false, "", "", ""},
	{"ruby2.7", Ruby, "2.7", false, false, "", "", ""},
	{"ruby2.5", Ruby, "2.5", false, false, "", "", ""},
}

// Runtimes returns the whole table: accepted identifiers in AWS's order, then
// the others.
func Runtimes() []Runtime {
	all := make([]Runtime, len(runtimeTable))
	for i, r := range runtimeTable {
		all[i] = r.runtime()
	}
	return all
}

func (r runtimeRow) runtime() Runtime {
	return Runtime{
		ID: r.id, Family: r.family, Version: r.version, Accepted: r.accepted, Served: r.served,
		Deprecated: day(r.deprecated), CreateBlocked: day(r.create), UpdateBlocked: day(r.upd),
	}
}

// day reads a date of the table; "" is the zero time.
func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// LookupRuntime finds a runtime by its identifier; ok is false for one that
// AWS never had.
func LookupRuntime(id string) (r Runtime, ok bool) {
	for _, r := range runtimeTable {
		if r.id == id {
			return r.runtime(), true
		}
	}
	return Runtime{}, false
}

// UnknownRuntime is the error for an identifier that is not in the table, in
// AWS's words with the values that AWS accepts (AWS: recorded).
func UnknownRuntime(id string) *fault.Error {
	var accepted []string
	for _, r := range runtimeTable {
		if r.accepted {
			accepted = append(accepted, r.id)
		}
	}
	return fault.New(fault.Parameter,
		"Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [%s] or be a valid ARN",
		id, strings.Join(accepted, ", "))
}

// CreateError returns what AWS answers to creating a function of the runtime
// at the time: nil, or an error of kind Parameter once creation is blocked
// (AWS: recorded).
func (r Runtime) CreateError(at time.Time) error { return r.blocked(r.CreateBlocked, at) }

// UpdateError is CreateError for updates.
func (r Runtime) UpdateError(at time.Time) error { return r.blocked(r.UpdateBlocked, at) }

func (r Runtime) blocked(from, at time.Time) error {
	if from.IsZero() || at.Before(from) {
		return nil
	}
	return fault.New(fault.Parameter,
		"The runtime parameter of %s is no longer supported for creating or updating AWS Lambda functions. "+
			"We recommend you use a supported runtime while creating or updating functions.", r.ID)
}

// VersionName is the runtime's name in INIT_START lines, such as
// "python:3.12.v1". The last part counts the changes of our bootstrap.
func (r Runtime) VersionName() string {
	return string(r.Family) + ":" + r.Version + ".v1"
}

// VersionARN is the RuntimeVersionArn of functions of this runtime in a
// region. It has AWS's form; its hash is ours.
func (r Runtime) VersionARN(partition, region string) string {
	sum := sha256.Sum256([]byte("keyturn " + r.VersionName()))
	return "arn:" + partition + ":lambda:" + region + "::runtime:" + hex.EncodeToString(sum[:])
}
