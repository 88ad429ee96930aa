package sigv4

import "github.com/keyturn/keyturn/internal/fault"

// The kinds of authentication failure. AWS gives each kind its own code and
// status per protocol; the message is the same in all of them except where a
// kind says otherwise.
const (
	// Missing: the request carries no SigV4 authentication at all. Query
	// protocols answer "Request is missing Authentication Token" instead.
	Missing fault.Kind = "missing authentication"
	// Incomplete: authentication is there but a part of it is absent or
	// malformed (IncompleteSignature).
	Incomplete fault.Kind = "incomplete signature"
	// Mismatch: the signature is not the one of this request, or does not
	// cover what it must cover (InvalidSignature, SignatureDoesNotMatch).
	Mismatch fault.Kind = "signature mismatch"
	// Expired: the request was signed too long ago. The code is that of
	// Mismatch, except in EC2 (RequestExpired).
	Expired fault.Kind = "signature expired"
	// NotYetCurrent: the request is dated too far in the future. The code is
	// that of Mismatch.
	NotYetCurrent fault.Kind = "signature not yet current"
	// BadScope: the credential scope names another date, region, service or
	// terminator than the request needs. The code is that of Mismatch.
	BadScope fault.Kind = "bad credential scope"
	// UnknownKey: the access key does not exist or is not active, or the
	// session token is absent or not the one of that key. One kind, because
	// a caller must not learn which.
	UnknownKey fault.Kind = "unknown access key or token"
	// ExpiredSession: the key and token are right but their session is over.
	ExpiredSession fault.Kind = "expired session"
)

// Errors whose text never varies. ErrUnknownKey and ErrExpiredSession are
// returned by whoever finds the secret of an access key.
var (
	// AWS docs; the text of JSON services.
	ErrMissing = fault.New(Missing, "Missing Authentication Token")
	// AWS: recorded, in all protocols.
	ErrMismatch = fault.New(Mismatch, "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	// AWS: recorded in JSON services; query services often leave out the dot.
	ErrUnknownKey = fault.New(UnknownKey, "The security token included in the request is invalid.")
	// AWS docs; no dot at the end.
	ErrExpiredSession = fault.New(ExpiredSession, "The security token included in the request is expired")
)
