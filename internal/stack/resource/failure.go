package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// Failure is an operation that refused, as the client of the operation would
// have seen it. It unwraps to the operation's own error.
type Failure struct {
	// Service is the signing name.
	Service   string
	RequestID string
	// Code, Status and Message are what the service answers.
	Code    string
	Status  int
	Message string
	err     error
}

// Error prints everything, for logs.
func (f *Failure) Error() string { return f.err.Error() }

// Unwrap returns the operation's own error.
func (f *Failure) Unwrap() error { return f.err }

// HandlerErrorCode classifies the failures of handlers (AWS docs).
type HandlerErrorCode string

// The codes that occur.
const (
	AlreadyExists      HandlerErrorCode = "AlreadyExists"
	NotFound           HandlerErrorCode = "NotFound"
	InvalidRequest     HandlerErrorCode = "InvalidRequest"
	AccessDenied       HandlerErrorCode = "AccessDenied"
	InvalidCredentials HandlerErrorCode = "InvalidCredentials"
	Throttling         HandlerErrorCode = "Throttling"
	LimitExceeded      HandlerErrorCode = "ServiceLimitExceeded"
	NotStabilized      HandlerErrorCode = "NotStabilized"
	Conflict           HandlerErrorCode = "ResourceConflict"
	NotUpdatable       HandlerErrorCode = "NotUpdatable"
	ServiceInternal    HandlerErrorCode = "ServiceInternalError"
	GeneralService     HandlerErrorCode = "GeneralServiceException"
	InternalFailure    HandlerErrorCode = "InternalFailure"
)

// codesByText classify a service's error by a part of its code; the first
// that fits counts.
var codesByText = []struct {
	part string
	code HandlerErrorCode
}{
	{"AccessDenied", AccessDenied},
	{"Unauthorized", AccessDenied},
	{"AuthFailure", AccessDenied},
	{"Throttl", Throttling},
	{"TooManyRequests", Throttling},
	{"RequestLimitExceeded", Throttling},
	{"AlreadyExist", AlreadyExists},
	{"EntityAlreadyExists", AlreadyExists},
	{"ResourceExists", AlreadyExists},
	{"DuplicateSubnets", InvalidRequest},
	{"Duplicate", AlreadyExists},
	{"NotFound", NotFound},
	{"NoSuchEntity", NotFound},
	{"LimitExceeded", LimitExceeded},
	{"QuotaExceeded", LimitExceeded},
	{"CodeStorageExceeded", LimitExceeded},
	{"Conflict", Conflict},
	{"DependencyViolation", Conflict},
	{"InternalFailure", ServiceInternal},
	{"InternalError", ServiceInternal},
	{"InternalServiceError", ServiceInternal},
	{"ServiceUnavailable", ServiceInternal},
	{"ServiceFailure", ServiceInternal},
	{"ServiceException", ServiceInternal},
	{"ServerInternal", ServiceInternal},
}

// ErrorCode classifies a handler's error.
func ErrorCode(err error) HandlerErrorCode {
	if f, ok := errors.AsType[*Failure](err); ok && f.Code != "" {
		return codeOfService(f)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return NotStabilized
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return InternalFailure
	}
	if e.Reason == string(NotStabilized) {
		return NotStabilized
	}
	switch e.Kind {
	case fault.NotFound:
		return NotFound
	case fault.Exists:
		return AlreadyExists
	case fault.Denied:
		return AccessDenied
	case fault.Throttled:
		return Throttling
	case fault.Limit:
		return LimitExceeded
	case fault.Conflict:
		return Conflict
	case fault.Unavailable:
		return ServiceInternal
	case fault.Internal, "":
		return InternalFailure
	}
	return InvalidRequest
}

func codeOfService(f *Failure) HandlerErrorCode {
	if strings.HasPrefix(f.Message, "Function already exist") { // which Lambda calls a conflict
		return AlreadyExists
	}
	for _, c := range codesByText {
		if strings.Contains(f.Code, c.part) {
			return c.code
		}
	}
	if f.Status >= 500 {
		return ServiceInternal
	}
	return InvalidRequest
}

// codeOf is the service's code of an error, if any.
func codeOf(err error) string {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Code
	}
	return ""
}

func isNotFound(err error) bool { return err != nil && ErrorCode(err) == NotFound }
func exists(err error) bool     { return err != nil && ErrorCode(err) == AlreadyExists }

// gone passes over the error of what does not exist.
func gone(err error) error {
	if isNotFound(err) {
		return nil
	}
	return err
}

// notStabilized is the error for something that did not become ready.
func notStabilized(format string, args ...any) error {
	e := fault.New(fault.State, format, args...)
	e.Reason = string(NotStabilized)
	return e
}

// serviceTitles are the names of the services in texts (AWS: recorded).
var serviceTitles = map[string]string{
	"secretsmanager": "SecretsManager", "lambda": "Lambda", "iam": "Iam", "kms": "Kms", "logs": "CloudWatchLogs",
	"ec2": "Ec2", "rds": "Rds", "cloudformation": "CloudFormation",
}

// Describe is the reason in the event of a failed resource, in AWS's words
// (AWS: recorded). token is a UUID that the event shows.
func Describe(err error, token string) string {
	code := ErrorCode(err)
	text := "Internal Failure"
	if f, ok := errors.AsType[*Failure](err); ok && f.Service != "" {
		text = fmt.Sprintf("%s (Service: %s, Status Code: %d, Request ID: %s)", f.Message, serviceTitles[f.Service], f.Status, f.RequestID)
	} else if e, ok := errors.AsType[*fault.Error](err); ok && e.Message != "" {
		text = e.Message
	}
	return fmt.Sprintf("Resource handler returned message: \"%s\" (RequestToken: %s, HandlerErrorCode: %s)", text, token, code)
}
