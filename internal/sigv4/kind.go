package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

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

func incomplete(format string, args ...any) *fault.Error {
	return fault.New(Incomplete, format, args...)
}

func mismatch(format string, args ...any) *fault.Error {
	return fault.New(Mismatch, format, args...)
}

// because is a mismatch whose reason only the log shows.
func because(reason string) error { return ErrMismatch.Because(errors.New(reason)) }

// missingParts names every part that an Authorization header lacks, in the
// order in which AWS does, and the header's hash, as AWS has done since it
// stopped repeating the header (AWS: recorded).
func missingParts(p params, stamp, header string) error {
	var b strings.Builder
	for _, part := range [...]struct {
		absent bool
		name   string
	}{{p.credential == "", "Credential"}, {p.signature == "", "Signature"}, {!p.listed, "SignedHeaders"}} {
		if part.absent {
			b.WriteString("Authorization header requires '" + part.name + "' parameter. ")
		}
	}
	if stamp == "" {
		b.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	return incomplete("%s(Hashed with SHA-256 and encoded with Base64) Authorization=%s", b.String(), hashed(header))
}

// notPair: AWS recorded.
func notPair(header string) error {
	return incomplete("Invalid key=value pair (missing equal-sign) in Authorization header "+
		"(hashed with SHA-256 and encoded with Base64): '%s'.", hashed(header))
}

// unsupported: AWS recorded, with the blank at its end.
func unsupported(name string) error {
	return incomplete("Unsupported AWS 'algorithm': '%s' (only AWS4-HMAC-SHA256 for now). ", clip(name))
}

// badDate: AWS recorded.
func badDate(s string) error {
	return incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", clip(s))
}

// notSigned: AWS recorded for 'Host' or ':authority'; assumed for others.
func notSigned(header string) error {
	return mismatch("%s must be a 'SignedHeader' in the AWS Authorization.", header)
}

// clip bounds what a message repeats of a request.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
