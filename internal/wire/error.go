package wire

import (
	"errors"
	"net/http"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// UnknownOperation is the kind of a request for an operation that is not
// served.
const UnknownOperation fault.Kind = "unknown operation"

// Texts that clients get when an error's own must not leave the server.
const (
	internalText    = "The request processing has failed because of an unknown error, exception or failure." // AWS docs
	unavailableText = "The request has failed due to a temporary failure of the server."                     // AWS docs
	throttledText   = "Rate exceeded"                                                                        // AWS: recorded
)

// codesJSON are the codes that JSON services share (AWS: recorded, all 400).
func codesJSON(k fault.Kind) (Code, bool) {
	switch k {
	case sigv4.Missing:
		return Code{"MissingAuthenticationTokenException", 400}, true
	case sigv4.Incomplete:
		return Code{"IncompleteSignatureException", 400}, true
	case sigv4.Mismatch, sigv4.Expired, sigv4.NotYetCurrent, sigv4.BadScope:
		return Code{"InvalidSignatureException", 400}, true
	case sigv4.UnknownKey:
		return Code{"UnrecognizedClientException", 400}, true
	case sigv4.ExpiredSession:
		return Code{"ExpiredTokenException", 400}, true
	case UnknownOperation:
		return Code{"UnknownOperationException", 400}, true
	case Serialization:
		return Code{"SerializationException", 400}, true
	case fault.Validation:
		return Code{"ValidationException", 400}, true
	case fault.Denied:
		return Code{"AccessDeniedException", 400}, true
	case fault.Throttled:
		return Code{"ThrottlingException", 400}, true
	case fault.TooLarge:
		return Code{"RequestEntityTooLargeException", 413}, true
	case TooSlow: // the name that AWS's clients try again after
		return Code{"RequestTimeoutException", 408}, true
	case fault.Unavailable:
		return Code{"ServiceUnavailable", 503}, true
	case fault.Internal:
		return Code{"InternalFailure", 500}, true
	}
	return Code{}, false
}

// codesRest are those of JSON with HTTP's own statuses.
func codesRest(k fault.Kind) (Code, bool) {
	switch k {
	case fault.Throttled:
		return Code{"TooManyRequestsException", 429}, true
	case UnknownOperation:
		return Code{"UnknownOperationException", 404}, true
	case sigv4.Missing, sigv4.Incomplete, sigv4.Mismatch, sigv4.Expired, sigv4.NotYetCurrent, sigv4.BadScope,
		sigv4.UnknownKey, sigv4.ExpiredSession, fault.Denied:
		c, ok := codesJSON(k)
		return Code{c.Name, 403}, ok
	}
	return codesJSON(k)
}

// codesQuery are the codes that query services share.
func codesQuery(k fault.Kind) (Code, bool) {
	switch k {
	case sigv4.Missing:
		return Code{"MissingAuthenticationToken", 403}, true
	case sigv4.Incomplete:
		return Code{"IncompleteSignature", 400}, true
	case sigv4.Mismatch, sigv4.Expired, sigv4.NotYetCurrent, sigv4.BadScope:
		return Code{"SignatureDoesNotMatch", 403}, true
	case sigv4.UnknownKey:
		return Code{"InvalidClientTokenId", 403}, true
	case sigv4.ExpiredSession:
		return Code{"ExpiredToken", 403}, true
	case UnknownOperation:
		return Code{"InvalidAction", 400}, true
	case Serialization, MalformedInput:
		return Code{"MalformedInput", 400}, true
	case fault.Validation:
		return Code{"ValidationError", 400}, true
	case fault.Denied:
		return Code{"AccessDenied", 403}, true
	case fault.Throttled:
		return Code{"Throttling", 400}, true
	case fault.TooLarge:
		return Code{"RequestEntityTooLarge", 413}, true
	case TooSlow:
		return Code{"RequestTimeout", 408}, true
	case fault.Unavailable:
		return Code{"ServiceUnavailable", 503}, true
	case fault.Internal:
		return Code{"InternalFailure", 500}, true
	}
	return Code{}, false
}

// public is an error as a client gets it.
type public struct {
	Code
	message, reason string
	shape           ErrorShape
	// hidden says that the client does not get the error's own text.
	hidden bool
}

// publish turns an error into what the client gets, by the service's table
// and then by the protocol's. s is nil when no service is known.
func publish(err error, s *Service, usual func(fault.Kind) (Code, bool)) public {
	e, ok := errors.AsType[*fault.Error](err)
	kind := fault.KindOf(err)
	code, known := codeOf(kind, s, usual)
	if !ok || !known || kind == fault.Internal {
		code, _ = codeOf(fault.Internal, s, usual)
		p := public{Code: code, message: internalText, hidden: true}
		p.complete(s)
		return p
	}
	p := public{Code: code, message: e.Message, reason: e.Reason}
	if p.message == "" {
		p.message = map[fault.Kind]string{fault.Unavailable: unavailableText, fault.Throttled: throttledText}[kind]
	}
	p.hidden = kind == fault.Unavailable
	p.complete(s)
	return p
}

func codeOf(k fault.Kind, s *Service, usual func(fault.Kind) (Code, bool)) (Code, bool) {
	if s != nil {
		if c, ok := s.Errors[k]; ok {
			return c, true
		}
	}
	return usual(k)
}

// complete adds what the model says of the code.
func (p *public) complete(s *Service) {
	if s != nil {
		p.shape = s.Model.Errors[p.Name]
	}
	if p.Status == 0 {
		p.Status = p.shape.Status
	}
	if p.Status == 0 {
		p.Status = http.StatusBadRequest
	}
}
