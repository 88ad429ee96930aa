package secret

import "github.com/keyturn/keyturn/internal/fault"

// PutDecision says what a call that brings a value has to do.
type PutDecision int

// The decisions.
const (
	NewVersion      PutDecision = iota + 1 // add a version with the token as its ID
	FillPlaceholder                        // give the rotation's empty version its value
	Replay                                 // the call was made before: answer again, change nothing
)

// CheckToken refuses a missing ClientRequestToken. AWS answers with the same
// text under two codes: fault.Parameter for RotateSecret, fault.State for the
// other operations (AWS: recorded).
func CheckToken(token string, kind fault.Kind) error {
	if token == "" {
		return fault.New(kind, "You must provide a ClientRequestToken value. We recommend a UUID-type value.")
	}
	return nil
}

// DecidePut applies the idempotency rule of PutSecretValue and UpdateSecret
// (AWS: recorded). same compares the stored value of the version named by the
// token with the one in the call, kind and bytes; it is called only when such
// a version has a value, and its error is passed on. Staging labels play no
// part: a repeated call with other labels changes nothing.
//
// A token in use for another value gives fault.Exists.
func (s *Secret) DecidePut(token string, same func() (bool, error)) (PutDecision, error) {
	v := s.Version(token)
	if v == nil {
		return NewVersion, nil
	}
	if !v.HasValue {
		return FillPlaceholder, nil
	}
	equal, err := same()
	if err != nil {
		return 0, err
	}
	if !equal {
		return 0, s.tokenInUse(token)
	}
	return Replay, nil
}

// DecideCreate applies the idempotency rule of CreateSecret to the secret s
// that already has the wanted name: nil means that the call is a repetition
// and is to be answered as before (AWS: recorded). same is as in DecidePut;
// nil stands for a call without a value, which is never a repetition because
// nothing of its token was kept.
//
// Errors: fault.State when s is scheduled for deletion, fault.Exists when the
// name or the token is in use.
func (s *Secret) DecideCreate(token string, same func() (bool, error)) error {
	if s.Deleted() {
		return fault.New(fault.State, "You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	v := s.Version(token)
	if v == nil || !v.HasValue {
		return fault.New(fault.Exists, "The operation failed because the secret %s already exists.", s.Name)
	}
	if same == nil {
		return s.tokenInUse(token)
	}
	_, err := s.DecidePut(token, same)
	return err
}

func (s *Secret) tokenInUse(token string) *fault.Error {
	return fault.New(fault.Exists, "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", token, s.ARN())
}
