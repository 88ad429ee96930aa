package directory

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// Kerberos limits.
const (
	kerberosPort  = "88"
	kerberosLimit = 15 * time.Second // for one login (AWS: the template)
	answerLimit   = 1 << 20          // bytes of a KDC's answer
)

// strong are the encryption types that logins use, best first. Whoever stands
// in the way could ask for a weaker one, and guess at leisure.
var strong = []int32{etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96}

// realm is a Kerberos realm and the addresses, host:port, of its key
// distribution centres in the order in which they are tried.
type realm struct {
	name      string
	addresses []string
}

// newRealm finds the KDCs: those that KEYTURN_KDC lists, separated by commas,
// else the given ones, else those of the realm's DNS records.
func newRealm(ctx context.Context, settings rotator.Settings, name string, given ...string) (realm, error) {
	r := realm{name: strings.ToUpper(name)}
	if list := settings.Text("KEYTURN_KDC", ""); list != "" {
		given = strings.Split(list, ",")
	}
	for _, host := range given {
		if host = strings.TrimSpace(host); host == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), kerberosPort)
		}
		r.addresses = append(r.addresses, host)
	}
	if len(r.addresses) > 0 {
		return r, nil
	}
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", "tcp", strings.ToLower(name))
	if err != nil {
		return r, rotator.Classify(err)
	}
	for _, record := range records {
		r.addresses = append(r.addresses, net.JoinHostPort(strings.TrimSuffix(record.Target, "."), strconv.Itoa(int(record.Port))))
	}
	return r, nil
}

// derivation is what turns an account's password into a key.
type derivation struct {
	etype        int32
	salt, params string
}

// key derives the key; params "" are the encryption type's own.
func (d derivation) key(password plaintext.Value) (types.EncryptionKey, error) {
	et, err := crypto.GetEtype(d.etype)
	if err != nil {
		return types.EncryptionKey{}, err
	}
	params := d.params
	if params == "" {
		params = et.GetDefaultStringToKeyParams()
	}
	value, err := et.StringToKey(password.RevealText(), d.salt, params)
	return types.EncryptionKey{KeyType: d.etype, KeyValue: value}, err
}

// keySource gives the key of a derivation: from a password, or a keytab that
// holds it.
type keySource func(derivation) (types.EncryptionKey, error)

func fromPassword(p plaintext.Value) keySource {
	return func(d derivation) (types.EncryptionKey, error) { return d.key(p) }
}

// login is an account that has proven its key.
type login struct {
	key  types.EncryptionKey
	kvno int // the key's version number
}

// login proves that the account's key is the source's, as kinit does: the
// answer can be decrypted by it only. The error is a *rotator.Failure.
func (r realm) login(ctx context.Context, account string, source keySource, etypes []int32) (login, error) {
	ctx, cancel := context.WithTimeout(ctx, kerberosLimit)
	defer cancel()
	request, err := messages.NewASReqForTGT(r.name, requestConfig(), types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, account))
	if err != nil {
		return login{}, rotator.Classify(err)
	}
	request.ReqBody.EType = etypes
	answer, err := r.exchange(ctx, request)
	if refusal, ok := err.(messages.KRBError); ok && refusal.ErrorCode == errorcode.KDC_ERR_PREAUTH_REQUIRED {
		if err := r.authenticate(&request, refusal, source); err != nil {
			return login{}, err
		}
		answer, err = r.exchange(ctx, request)
	}
	if err != nil {
		return login{}, refused(err)
	}
	return r.open(request, answer, source)
}

// requestConfig is the library's configuration without any file's.
func requestConfig() *config.Config {
	c := config.New()
	c.LibDefaults.TicketLifetime = time.Minute
	return c
}

// authenticate adds the proof that the request comes from the key's holder.
func (r realm) authenticate(request *messages.ASReq, refusal messages.KRBError, source keySource) error {
	var hints types.PADataSequence
	if err := hints.Unmarshal(refusal.EData); err != nil {
		return rotator.NewFailure(rotator.CauseOther, "", "the KDC's answer cannot be read", err)
	}
	d, err := r.derivation(request, hints, 0)
	if err != nil {
		return err
	}
	key, err := source(d)
	if err != nil {
		return noKey(err)
	}
	now, err := types.GetPAEncTSEncAsnMarshalled()
	if err != nil {
		return rotator.Classify(err)
	}
	sealed, err := crypto.GetEncryptedData(now, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, 0)
	if err != nil {
		return noKey(err)
	}
	proof, err := sealed.Marshal()
	if err != nil {
		return rotator.Classify(err)
	}
	request.PAData = append(request.PAData, types.PAData{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: proof})
	return nil
}

// noKey is the failure of a source; its error could tell of the key.
func noKey(err error) error {
	if f, ok := err.(*rotator.Failure); ok {
		return f
	}
	return rotator.NewFailure(rotator.CauseAuthentication, "", "no key can be made for the KDC's encryption type", nil)
}

// derivation reads what the KDC says of the account's keys; etype 0 takes the
// first that was asked for. Without a word the salt is the account's name.
func (r realm) derivation(request *messages.ASReq, hints types.PADataSequence, etype int32) (derivation, error) {
	name := request.ReqBody.CName
	for _, hint := range hints {
		if hint.PADataType != patype.PA_ETYPE_INFO2 {
			continue
		}
		entries, err := hint.GetETypeInfo2()
		if err != nil {
			return derivation{}, rotator.NewFailure(rotator.CauseOther, "", "the KDC's answer cannot be read", err)
		}
		for _, want := range request.ReqBody.EType {
			for _, e := range entries {
				if e.EType != want || etype != 0 && etype != want {
					continue
				}
				d := derivation{etype: want, salt: e.Salt, params: hex.EncodeToString(e.S2KParams)}
				if d.salt == "" {
					d.salt = name.GetSalt(r.name)
				}
				return d, nil
			}
		}
	}
	if etype == 0 {
		return derivation{}, noEtype()
	}
	return derivation{etype: etype, salt: name.GetSalt(r.name)}, nil
}

// open decrypts the answer and checks that it is one to the request.
func (r realm) open(request messages.ASReq, answer []byte, source keySource) (login, error) {
	var reply messages.ASRep
	if err := reply.Unmarshal(answer); err != nil {
		return login{}, rotator.NewFailure(rotator.CauseOther, "", "the KDC's answer cannot be read", err)
	}
	d, err := r.derivation(&request, reply.PAData, reply.EncPart.EType)
	if err != nil {
		return login{}, err
	}
	key, err := source(d)
	if err != nil {
		return login{}, noKey(err)
	}
	wrong := rotator.NewFailure(rotator.CauseAuthentication, "", "the KDC's answer is not encrypted with the account's key", nil)
	plain, err := crypto.DecryptEncPart(reply.EncPart, key, keyusage.AS_REP_ENCPART)
	if err != nil {
		return login{}, wrong
	}
	var part messages.EncKDCRepPart
	if err := part.Unmarshal(plain); err != nil || part.Nonce != request.ReqBody.Nonce || part.SRealm != r.name {
		return login{}, wrong
	}
	return login{key: key, kvno: reply.EncPart.KVNO}, nil
}

// exchange asks the KDCs in turn until one answers. An error of the type
// messages.KRBError is a KDC's answer.
func (r realm) exchange(ctx context.Context, request messages.ASReq) ([]byte, error) {
	b, err := request.Marshal()
	if err != nil {
		return nil, rotator.Classify(err)
	}
	var last error
	for i, address := range r.addresses {
		answer, err := ask(ctx, address, b, len(r.addresses)-i)
		if err == nil {
			var refusal messages.KRBError
			if refusal.Unmarshal(answer) == nil {
				return nil, refusal
			}
			return answer, nil
		}
		last = rotator.Classify(err)
	}
	if last == nil {
		last = rotator.NewFailure(rotator.CauseDNS, "", "no KDC of the realm "+r.name+" is known", nil)
	}
	return nil, last
}

// ask sends a message to one KDC (RFC 4120, 7.2.2), within its share of the
// time among so many.
func ask(ctx context.Context, address string, message []byte, among int) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(among))
		defer cancel()
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var length uint32
	if err := binary.Read(conn, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	if length > answerLimit {
		return nil, fmt.Errorf("the KDC's answer of %d bytes is too long", length)
	}
	answer := make([]byte, length)
	_, err = io.ReadFull(conn, answer)
	return answer, err
}

// kdcErrors are the KDC's error codes (RFC 4120, 7.5.9) that say more than
// that something failed.
var kdcErrors = map[int32]struct {
	cause rotator.Cause
	text  string
}{
	errorcode.KDC_ERR_NAME_EXP:            {rotator.CauseLocked, "the account has expired"},
	errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN: {rotator.CauseMissingUser, "the KDC does not know the user"},
	errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN: {rotator.CauseDatabase, "the KDC does not know the realm"},
	errorcode.KDC_ERR_WRONG_REALM:         {rotator.CauseDatabase, "the KDC is of another realm"},
	errorcode.KDC_ERR_POLICY:              {rotator.CausePermission, "the KDC's policy does not let the user log in now"},
	errorcode.KDC_ERR_CLIENT_REVOKED:      {rotator.CauseLocked, "the account is locked, disabled or expired"},
	errorcode.KDC_ERR_CLIENT_NOTYET:       {rotator.CauseLocked, "the account is not valid yet"},
	errorcode.KDC_ERR_KEY_EXPIRED:         {rotator.CauseLocked, "the password has expired"},
	errorcode.KDC_ERR_PREAUTH_FAILED:      {rotator.CauseAuthentication, "the password is wrong"},
	errorcode.KDC_ERR_SVC_UNAVAILABLE:     {rotator.CauseUnavailable, "the KDC has no answer now"},
	errorcode.KRB_AP_ERR_SKEW:             {rotator.CauseOther, "the clocks of this host and of the KDC differ too much"},
}

// refused classifies what exchange returned.
func refused(err error) error {
	e, ok := err.(messages.KRBError)
	if !ok {
		return rotator.Classify(err)
	}
	if e.ErrorCode == errorcode.KDC_ERR_ETYPE_NOSUPP {
		return noEtype()
	}
	code := strconv.Itoa(int(e.ErrorCode))
	if known, ok := kdcErrors[e.ErrorCode]; ok {
		return rotator.NewFailure(known.cause, code, known.text, e)
	}
	return rotator.NewFailure(rotator.CauseOther, code, errorcode.Lookup(e.ErrorCode), e)
}

// errEtype is below the failure of an account that has no key of an encryption
// type that was asked for.
var errEtype = errors.New("encryption type not supported")

func noEtype() error {
	return rotator.NewFailure(rotator.CauseOther, strconv.Itoa(int(errorcode.KDC_ERR_ETYPE_NOSUPP)),
		"the account has no key of an encryption type that was asked for", errEtype)
}
