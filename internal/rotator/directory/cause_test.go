package directory

import (
	"errors"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/jcmturner/gokrb5/v8/messages"

	"github.com/keyturn/keyturn/internal/rotator"
)

func TestClassify(t *testing.T) {
	windows := func(data string) string {
		return "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data " + data + ", v4563\x00"
	}
	for _, test := range []struct {
		code uint16
		text string
		want rotator.Cause
	}{
		{49, "", rotator.CauseAuthentication},
		{49, windows("525"), rotator.CauseMissingUser},
		{49, windows("52e"), rotator.CauseAuthentication},
		{49, windows("530"), rotator.CauseLocked},
		{49, windows("531"), rotator.CauseLocked},
		{49, windows("532"), rotator.CauseLocked},
		{49, windows("533"), rotator.CauseLocked},
		{49, windows("701"), rotator.CauseLocked},
		{49, windows("773"), rotator.CauseLocked},
		{49, windows("775"), rotator.CauseLocked},
		{49, windows("57"), rotator.CauseAuthentication},
		{19, "0000052D: Constraint violation - check_password_restrictions: the password is too short", rotator.CausePolicy},
		{19, "0000052D: AtrErr: DSID-03191083, #1: 0: 0000052D: DSID-03191083, problem 1005 (CONSTRAINT_ATT_TYPE)", rotator.CausePolicy},
		{19, "00000056: AtrErr: DSID-03190F80, #1: problem 1005 (CONSTRAINT_ATT_TYPE), Att 9005a (unicodePwd)", rotator.CauseAuthentication},
		{53, "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0", rotator.CausePolicy},
		{53, "0000001F: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0", rotator.CauseTLSRequired},
		{53, "unwilling to verify old password", rotator.CauseAuthentication},
		{53, "shadow context; no update referral", rotator.CauseReadOnly},
		{53, "operation restricted", rotator.CauseReadOnly},
		{53, "something else", rotator.CauseOther},
		{19, "Password is in history of old passwords", rotator.CausePolicy},
		{50, "00000005: SecErr: DSID-031A11ED, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0", rotator.CausePermission},
		{10, "", rotator.CauseReadOnly},
		{13, "confidentiality required", rotator.CauseTLSRequired},
		{8, "TLS required", rotator.CauseTLSRequired},
		{32, "", rotator.CauseMissingUser},
		{34, "invalid DN", rotator.CauseMissingUser},
		{51, "", rotator.CauseUnavailable},
		{200, "ldap: connection closed", rotator.CauseUnavailable},
		{206, "ldap: empty password not allowed by the client", rotator.CauseAuthentication},
	} {
		got := classify(ldap.NewError(test.code, errors.New(test.text)))
		if got.Cause != test.want {
			t.Errorf("%d %q: got cause %q, want %q", test.code, test.text, got.Cause, test.want)
		}
		if got.Text == "" {
			t.Errorf("%d %q: the failure says nothing", test.code, test.text)
		}
	}
}

func TestClassifyKDC(t *testing.T) {
	for code, want := range map[int32]rotator.Cause{
		1: rotator.CauseLocked, 6: rotator.CauseMissingUser, 12: rotator.CausePermission, 18: rotator.CauseLocked,
		23: rotator.CauseLocked, 24: rotator.CauseAuthentication, 37: rotator.CauseOther, 68: rotator.CauseDatabase, 60: rotator.CauseOther,
	} {
		f, ok := refused(messages.KRBError{ErrorCode: code}).(*rotator.Failure)
		if !ok || f.Cause != want {
			t.Errorf("KDC error %d: got %v, want cause %q", code, f, want)
		}
	}
	if err := refused(messages.KRBError{ErrorCode: 14}); !errors.Is(err, errEtype) {
		t.Errorf("got %v, want an encryption type that is not supported", err)
	}
}
