package rehearse

// Steps of a rotation, in their order.
const (
	createSecret = "createSecret"
	setSecret    = "setSecret"
	testSecret   = "testSecret"
	finishSecret = "finishSecret"
)

// steps returns them in their order.
func steps() []string { return []string{createSecret, setSecret, testSecret, finishSecret} }

// moment is when in a step a fault strikes.
type moment int

const (
	never     moment = iota
	atBegin          // at the step's first call, before it is passed on
	before           // at a call, before it is passed on
	after            // at a call that was passed on, before it is answered
	connect          // when the function connects to the database
	effective        // when the database has taken the new password, before it says so
	inAdvance        // before the rotation
	atEnd            // after the rotation
)

// action is what a fault does.
type action int

const (
	actNothing action = iota
	actKill
	actFail
	actThrottle
	actHang
	actRepeat
	actPut
	actRotate
	actRefuse
	actSlow
	actDrop
	actSpoil
	actPunctuateCurrent
	actPunctuateNew
)

// fault is one entry of the plan.
type fault struct {
	// Name is stable; Title says what is done.
	Name, Title string
	step        string
	at          moment
	// call is the operation at which it strikes; "" for any.
	call string
	act  action
}

// Operations that functions call.
const (
	opPut    = "PutSecretValue"
	opMove   = "UpdateSecretVersionStage"
	opRandom = "GetRandomPassword"
)

// faults is the whole plan, in its order.
func faults() []*fault {
	return []*fault{
		{"none", "no fault: rotate, and rotate again", "", never, "", actNothing},

		{"repeat-createSecret", "createSecret is invoked again after it had its effect", setSecret, atBegin, "", actRepeat},
		{"repeat-setSecret", "setSecret is invoked again after it had its effect", testSecret, atBegin, "", actRepeat},
		{"repeat-testSecret", "testSecret is invoked again after it had its effect", finishSecret, atBegin, "", actRepeat},
		{"repeat-finishSecret", "finishSecret is invoked again after it had its effect", "", atEnd, "", actRepeat},

		{"kill-before-put", "the function is killed before PutSecretValue arrives", createSecret, before, opPut, actKill},
		{"kill-after-put", "the function is killed after PutSecretValue was applied", createSecret, after, opPut, actKill},
		{"kill-before-set", "the function is killed when it connects to the database in setSecret", setSecret, connect, "", actKill},
		{"kill-after-set", "the function is killed when the database has the new password", setSecret, effective, "", actKill},
		{"kill-in-test", "the function is killed in testSecret", testSecret, atBegin, "", actKill},
		{"kill-before-finish", "the function is killed before UpdateSecretVersionStage arrives", finishSecret, before, opMove, actKill},
		{"kill-after-finish", "the function is killed after UpdateSecretVersionStage was applied", finishSecret, after, opMove, actKill},

		{"fail-before-put", "PutSecretValue fails with InternalServiceError and is not applied", createSecret, before, opPut, actFail},
		{"fail-after-put", "PutSecretValue is applied and fails with InternalServiceError", createSecret, after, opPut, actFail},
		{"fail-before-finish", "UpdateSecretVersionStage fails with InternalServiceError and is not applied", finishSecret, before, opMove, actFail},
		{"fail-after-finish", "UpdateSecretVersionStage is applied and fails with InternalServiceError", finishSecret, after, opMove, actFail},

		{"throttle-createSecret", "calls of createSecret are throttled", createSecret, before, "", actThrottle},
		{"throttle-setSecret", "calls of setSecret are throttled", setSecret, before, "", actThrottle},
		{"throttle-testSecret", "calls of testSecret are throttled", testSecret, before, "", actThrottle},
		{"throttle-finishSecret", "calls of finishSecret are throttled", finishSecret, before, "", actThrottle},

		{"timeout-before-put", "createSecret times out; PutSecretValue did not arrive", createSecret, before, opPut, actHang},
		{"timeout-after-put", "createSecret times out; PutSecretValue was applied", createSecret, after, opPut, actHang},
		{"timeout-database-set", "the database does not answer in setSecret", setSecret, connect, "", actHang},
		{"timeout-database-test", "the database does not answer in testSecret", testSecret, connect, "", actHang},
		{"timeout-before-finish", "finishSecret times out; UpdateSecretVersionStage did not arrive", finishSecret, before, opMove, actHang},
		{"timeout-after-finish", "finishSecret times out; UpdateSecretVersionStage was applied", finishSecret, after, opMove, actHang},

		{"database-down-set", "the database is down in setSecret", setSecret, connect, "", actRefuse},
		{"database-down-test", "the database is down in testSecret", testSecret, connect, "", actRefuse},
		{"database-slow", "the database is slow in setSecret", setSecret, connect, "", actSlow},
		{"database-drop-set", "the connection breaks when the database has the new password", setSecret, effective, "", actDrop},
		{"wrong-password-test", "the database does not have the new password when testSecret begins", testSecret, atBegin, "", actSpoil},

		{"foreign-put-set", "somebody else puts a value when setSecret begins", setSecret, atBegin, "", actPut},
		{"foreign-put-finish", "somebody else puts a value when finishSecret begins", finishSecret, atBegin, "", actPut},
		{"foreign-rotate", "somebody else asks for a rotation when setSecret begins", setSecret, atBegin, "", actRotate},

		{"punctuation-current", "the current password has every punctuation character", "", inAdvance, "", actPunctuateCurrent},
		{"punctuation-new", "the new password has every punctuation character that the function does not exclude", createSecret, after, opRandom, actPunctuateNew},
	}
}

// onWire tells that it strikes between the function and the database.
func (f *fault) onWire() bool { return f.at == connect || f.at == effective }

// disturbs tells that a live database must not be rehearsed with it, because
// it holds connections of the database for long.
func (f *fault) disturbs() bool { return f.act == actSlow || f.act == actHang && f.onWire() }

// repeated is the step that is invoked again.
func (f *fault) repeated() string {
	switch f.step {
	case setSecret:
		return createSecret
	case testSecret:
		return setSecret
	case finishSecret:
		return testSecret
	}
	return finishSecret
}
