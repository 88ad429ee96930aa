package rehearse

// Code is the stable name of a finding.
type Code string

// The findings.
const (
	NotIdempotent    Code = "not-idempotent"
	SetBeforeStore   Code = "set-before-store"
	SetInCreate      Code = "set-in-create"
	StoresNothing    Code = "stores-nothing"
	WrongVersion     Code = "wrong-version"
	ChangesPending   Code = "changes-pending"
	SetsNothing      Code = "sets-nothing"
	SwallowsErrors   Code = "swallows-errors"
	PromotesUntested Code = "promotes-untested"
	DoesNotPromote   Code = "does-not-promote"
	IgnoresLabels    Code = "ignores-labels"
	LogsSecret       Code = "logs-secret"
	NoRotationToken  Code = "no-rotation-token"
	Punctuation      Code = "breaks-on-punctuation"
	Lockout          Code = "lockout"
	FailsPlain       Code = "fails-without-fault"
	DoesNotConverge  Code = "does-not-converge"
)

// meaning explains a code.
type meaning struct{ title, remedy string }

// meanings explains every code.
var meanings = map[Code]meaning{
	NotIdempotent: {"A step that is repeated does not find what it did before",
		"Begin createSecret by reading the version of ClientRequestToken: if it has a value, return. Let every other step first look whether its effect is there."},
	SetBeforeStore: {"The password is set before it is stored",
		"Store the new value by PutSecretValue in createSecret, and change the database in setSecret only: a crash in between would leave a password that nobody knows."},
	SetInCreate: {"createSecret changes the database",
		"Leave the database alone in createSecret: the step makes and stores a value, and setSecret sets it."},
	StoresNothing: {"createSecret returns without a stored value",
		"Call PutSecretValue with ClientRequestToken of the event and VersionStages [\"AWSPENDING\"], and raise if it fails."},
	WrongVersion: {"The value is stored under another version than the event's",
		"Pass the event's ClientRequestToken as ClientRequestToken of PutSecretValue."},
	ChangesPending: {"A step after createSecret changes the stored value",
		"Store the value once, in createSecret; setSecret, testSecret and finishSecret only read it."},
	SetsNothing: {"setSecret returns without having set the password",
		"Let setSecret make the database accept the pending value, and raise if it does not."},
	SwallowsErrors: {"A step that failed returns as if it had succeeded",
		"Let errors leave the handler: only a step that raises is repeated. Do not catch what the step cannot mend."},
	PromotesUntested: {"A value becomes current without a login that proved it",
		"Log in with the pending value in testSecret and raise if that fails; move AWSCURRENT in finishSecret only."},
	DoesNotPromote: {"finishSecret returns without having moved AWSCURRENT",
		"Call UpdateSecretVersionStage with VersionStage AWSCURRENT, MoveToVersionId ClientRequestToken and RemoveFromVersionId of the version that has it."},
	IgnoresLabels: {"A step goes on with a version that is no longer pending",
		"Begin every step with DescribeSecret, and raise unless the event's version has AWSPENDING."},
	LogsSecret: {"A secret is in the function's log or in its error",
		"Log names and ARNs, never values, events, connection strings or the text of statements."},
	NoRotationToken: {"The RotationToken is not passed on",
		"Pass the event's RotationToken as RotationToken of PutSecretValue: a function of another role or account is not recognised without."},
	Punctuation: {"Passwords with punctuation break the function",
		"Give passwords to the driver as parameters or quoted by its own functions, not pasted into URLs or statements; else exclude the characters from new passwords."},
	Lockout: {"No stored version logs in",
		"Order the effects so that at each moment the current or the pending version is the one that the database accepts."},
	FailsPlain: {"The rotation fails without any fault",
		"See the function's log, and keyturn doctor."},
	DoesNotConverge: {"The rotation does not succeed when it is repeated",
		"Let every step succeed when its effect, or a part of it, is there from an earlier attempt."},
}

// Codes are the stable names of all findings.
func Codes() []Code {
	return []Code{
		NotIdempotent, SetBeforeStore, SetInCreate, StoresNothing, WrongVersion, ChangesPending, SetsNothing, SwallowsErrors, PromotesUntested,
		DoesNotPromote, IgnoresLabels, LogsSecret, NoRotationToken, Punctuation, Lockout, FailsPlain, DoesNotConverge,
	}
}

// consequences are the findings that another one leads to, in the same trial.
var consequences = map[Code][]Code{
	SetBeforeStore: {SetInCreate},
	WrongVersion:   {StoresNothing},
	ChangesPending: {SetsNothing},
}

// follows tells that a finding is what any other leads to, and is left out
// beside one.
func (c Code) follows() bool {
	return c == Lockout || c == DoesNotConverge || c == FailsPlain
}

// Title says what the finding is.
func (c Code) Title() string { return meanings[c].title }

// Remedy says what to do.
func (c Code) Remedy() string { return meanings[c].remedy }
