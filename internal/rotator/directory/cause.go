package directory

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/keyturn/keyturn/internal/rotator"
)

// causeUnsupported marks an operation that the server does not know. It is
// seen by this package only.
const causeUnsupported rotator.Cause = "not supported"

// causes are the LDAP result codes that say more than that something failed.
var causes = map[uint16]rotator.Cause{
	ldap.LDAPResultProtocolError:               causeUnsupported,
	ldap.LDAPResultStrongAuthRequired:          rotator.CauseTLSRequired,
	ldap.LDAPResultReferral:                    rotator.CauseReadOnly,
	ldap.LDAPResultConfidentialityRequired:     rotator.CauseTLSRequired,
	ldap.LDAPResultConstraintViolation:         rotator.CausePolicy,
	ldap.LDAPResultNoSuchObject:                rotator.CauseMissingUser,
	ldap.LDAPResultInvalidDNSyntax:             rotator.CauseMissingUser,
	ldap.LDAPResultInappropriateAuthentication: rotator.CauseAuthentication,
	ldap.LDAPResultInvalidCredentials:          rotator.CauseAuthentication,
	ldap.LDAPResultInsufficientAccessRights:    rotator.CausePermission,
	ldap.LDAPResultBusy:                        rotator.CauseUnavailable,
	ldap.LDAPResultUnavailable:                 rotator.CauseUnavailable,
	ldap.ErrorEmptyPassword:                    rotator.CauseAuthentication,
}

// texts finds the cause in the words of codes that stand for many.
var texts = []struct {
	code  uint16
	words string // a part of the text, in lower case
	cause rotator.Cause
}{
	// Active Directory; the number is the Windows error.
	{ldap.LDAPResultConstraintViolation, "00000056", rotator.CauseAuthentication}, // the old password is not it
	{ldap.LDAPResultUnwillingToPerform, "0000052d", rotator.CausePolicy},
	{ldap.LDAPResultUnwillingToPerform, "0000001f", rotator.CauseTLSRequired}, // passwords change on encrypted connections only
	{ldap.LDAPResultUnwillingToPerform, "000020b0", rotator.CauseReadOnly},
	// OpenLDAP.
	{ldap.LDAPResultUnwillingToPerform, "old password", rotator.CauseAuthentication},
	{ldap.LDAPResultUnwillingToPerform, "shadow context", rotator.CauseReadOnly},
	{ldap.LDAPResultUnwillingToPerform, "operation restricted", rotator.CauseReadOnly},
	{ldap.LDAPResultUnwillingToPerform, "read-only", rotator.CauseReadOnly},
}

// logonErrors are Active Directory's reasons for refusing a login: Windows
// error codes, in hexadecimal (Microsoft's documentation).
var logonErrors = map[string]struct {
	cause rotator.Cause
	text  string
}{
	"525": {rotator.CauseMissingUser, "the user does not exist"},
	"52e": {rotator.CauseAuthentication, "the name or the password is wrong"},
	"52f": {rotator.CauseLocked, "an account restriction keeps the user from logging in"},
	"530": {rotator.CauseLocked, "the user may not log in at this time"},
	"531": {rotator.CauseLocked, "the user may not log in from this host"},
	"532": {rotator.CauseLocked, "the password has expired"},
	"533": {rotator.CauseLocked, "the account is disabled"},
	"701": {rotator.CauseLocked, "the account has expired"},
	"773": {rotator.CauseLocked, "the user must change the password at the next login"},
	"775": {rotator.CauseLocked, "the account is locked"},
}

var logonError = regexp.MustCompile(`data ([0-9a-fA-F]+)`)

// classify sorts what an LDAP server or the connection to it said. Neither
// echoes a request.
func classify(err error) *rotator.Failure {
	if f, ok := errors.AsType[*rotator.Failure](err); ok {
		return f
	}
	e, ok := errors.AsType[*ldap.Error](err)
	if !ok || e.ResultCode == ldap.ErrorNetwork {
		return broken(err)
	}
	text := strings.Trim(e.Err.Error(), " \x00")
	if text == "" {
		text = ldap.LDAPResultCodeMap[e.ResultCode]
	}
	code := strconv.Itoa(int(e.ResultCode))
	if e.ResultCode == ldap.LDAPResultInvalidCredentials {
		if data := logonError.FindStringSubmatch(text); data != nil {
			number := strings.ToLower(data[1])
			if known, ok := logonErrors[number]; ok {
				return rotator.NewFailure(known.cause, code+"/"+number, known.text, err)
			}
		}
	}
	return rotator.NewFailure(causeOf(e.ResultCode, text), code, text, err)
}

func causeOf(code uint16, text string) rotator.Cause {
	lower := strings.ToLower(text)
	for _, t := range texts {
		if t.code == code && strings.Contains(lower, t.words) {
			return t.cause
		}
	}
	if cause, ok := causes[code]; ok {
		return cause
	}
	return rotator.CauseOther
}

// broken classifies the end of a connection, of which the library keeps no
// more than a text.
func broken(err error) *rotator.Failure {
	f := rotator.Classify(err)
	if f.Cause == rotator.CauseOther {
		return rotator.NewFailure(rotator.CauseUnavailable, "", "the server broke the connection off", err)
	}
	return f
}
