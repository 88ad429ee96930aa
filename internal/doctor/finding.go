package doctor

import "time"

// Confidence says how sure a Finding is.
type Confidence string

// The confidences, surest first.
const (
	Certain  Confidence = "certain"  // the evidence leaves no other cause
	Likely   Confidence = "likely"   // it fits best; others are not ruled out
	Possible Confidence = "possible" // it fits, and so does something else
)

// Finding is one cause of a failed or endangered rotation.
type Finding struct {
	// Code is the rule's stable name: D01 to D53, and K01 and up for what
	// AWS's guide does not have, most of it found only on Keyturn.
	Code       string     `json:"code"`
	Title      string     `json:"title"`
	Confidence Confidence `json:"confidence"`
	// Cause says in a sentence or two what happened, to this secret and this
	// function.
	Cause string `json:"cause"`
	// Step is the step of the rotation that failed; "" for none.
	Step string `json:"step,omitempty"`
	// Facts are the evidence that it rests on.
	Facts []Fact `json:"facts"`
	// RuledOut are other causes of the same symptom, and why they are not it.
	RuledOut []Excluded `json:"ruledOut,omitempty"`
	// Next are observations that would make it surer.
	Next []string `json:"next,omitempty"`
	// Remedies are what to do, the best first.
	Remedies []Remedy `json:"remedies"`

	// Consequence tells that it follows from the first finding, which is to be
	// mended before.
	Consequence bool `json:"consequence,omitempty"`

	// rank and weight order findings: the lower rank and, of one rank and
	// confidence, the greater weight come first.
	rank, weight int
	// fallback marks the finding of failures that no rule knows.
	fallback bool
}

// Fact is a piece of evidence as it was found.
type Fact struct {
	// Source is where it is from: log, event, api, probe, package, network,
	// engine.
	Source string    `json:"source"`
	At     time.Time `json:"at,omitzero"`
	// Where names the thing: an operation, a log stream, an event's ID.
	Where string `json:"where,omitempty"`
	Text  string `json:"text"`
}

// Excluded is a cause that was ruled out.
type Excluded struct {
	Code    string `json:"code"`
	Title   string `json:"title"`
	Because string `json:"because"`
}

// Remedy is one way to mend it.
type Remedy struct {
	// Text says what is done.
	Text string `json:"text"`
	// Commands are exact commands, one a line.
	Commands []string `json:"commands,omitempty"`
	// Risk says what may go wrong; "" for nothing.
	Risk string `json:"risk,omitempty"`
	// Action is what keyturn doctor --fix does; nil for what is only printed.
	Action *Action `json:"action,omitempty"`
}

// ActionKind names what a remedy changes.
type ActionKind string

// The actions that are safe to apply.
const (
	// RemovePending takes AWSPENDING off the version Version.
	RemovePending ActionKind = "remove AWSPENDING"
	// PromotePending moves AWSCURRENT to the version Version, because its
	// password is the live one.
	PromotePending ActionKind = "make the pending version current"
	// AddPermission lets Secrets Manager invoke the function.
	AddPermission ActionKind = "let Secrets Manager invoke the function"
	// RaiseTimeout sets the function's timeout to Seconds.
	RaiseTimeout ActionKind = "raise the function's timeout"
	// RaiseMemory sets the function's memory to MB.
	RaiseMemory ActionKind = "raise the function's memory"
	// FreeConcurrency takes away a reserved concurrency that is too small.
	FreeConcurrency ActionKind = "remove the reserved concurrency"
	// Rotate starts a rotation: nothing else is to be done.
	Rotate ActionKind = "rotate"
)

// Action is a change that --fix makes after asking. What it depends on is
// looked at again right before.
type Action struct {
	Kind     ActionKind `json:"kind"`
	Secret   string     `json:"secret"`
	Function string     `json:"function,omitempty"`
	Version  string     `json:"version,omitempty"`
	Seconds  int32      `json:"seconds,omitempty"`
	MB       int32      `json:"mb,omitempty"`
	// Rotates tells that the rotation is to be tried right after.
	Rotates bool `json:"rotates,omitempty"`
}

// Diagnosis is what is told of one secret.
type Diagnosis struct {
	// State says in a sentence how the secret stands; Live which version's
	// password the database takes, as far as is known.
	State string `json:"state"`
	Live  string `json:"live,omitempty"`
	// Findings are the cause first, then what else is wrong; none if healthy.
	Findings []Finding `json:"findings"`
	Gaps     []Gap     `json:"gaps,omitempty"`
}
