package authz

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/key"
)

// value returns what there is for a condition key in lower case.
func (q *inquiry) value(name string) iam.Value {
	service, rest, ok := strings.Cut(name, ":")
	if !ok {
		return iam.Value{}
	}
	var v iam.Value
	switch service {
	case "aws":
		v = q.global(rest)
	case "secretsmanager":
		v = q.ofSecret(rest)
	case "kms":
		v = q.ofKey(rest)
	}
	if v.IsZero() && q.resource != nil {
		v = q.resource(name)
	}
	// A service that acts for the caller asks with a request of its own.
	if v.IsZero() && q.use.Via == "" {
		v = q.call.Condition(name)
	}
	return v
}

// global returns the keys that every service has (AWS docs), but for those
// that follow from the principal.
func (q *inquiry) global(name string) iam.Value {
	call := q.call
	if tag, ok := strings.CutPrefix(name, "principaltag/"); ok {
		return iam.TagValue(principalTags(call.Principal.Identity), tag)
	}
	if tag, ok := strings.CutPrefix(name, "resourcetag/"); ok {
		return q.resourceTag(tag)
	}
	switch name {
	case "sourceip":
		return given(call.SourceIP, call.Endpoint == nil)
	case "vpcsourceip":
		return given(call.SourceIP, call.Endpoint != nil)
	case "sourcevpce":
		if call.Endpoint != nil {
			return iam.NonEmpty(call.Endpoint.ID)
		}
	case "sourcevpc":
		if call.Endpoint != nil {
			return iam.NonEmpty(call.Endpoint.VPC)
		}
	case "securetransport":
		return iam.Bool(call.Secure || isLoopback(call.SourceIP))
	case "requestedregion":
		return iam.NonEmpty(call.Region)
	case "currenttime":
		return iam.Text(call.Time.UTC().Format(time.RFC3339))
	case "epochtime":
		return iam.Text(strconv.FormatInt(call.Time.Unix(), 10))
	case "useragent":
		return iam.NonEmpty(call.UserAgent)
	case "referer":
		return iam.NonEmpty(call.Referer)
	case "resourceaccount":
		if q.request.ResourceAccount != "" {
			return iam.Text(q.request.ResourceAccount)
		}
		return iam.NonEmpty(call.Principal.Account)
	}
	return q.manner(name)
}

// manner returns the keys that tell how the caller came to call: by itself or
// through a service, and with what sort of session.
func (q *inquiry) manner(name string) iam.Value {
	switch name {
	case "viaawsservice":
		return iam.Bool(q.use.Via != "" || q.call.By != "")
	case "calledvia":
		return iam.List(q.via())
	case "calledviafirst":
		if via := q.via(); len(via) > 0 {
			return iam.Text(via[0])
		}
	case "calledvialast":
		if via := q.via(); len(via) > 0 {
			return iam.Text(via[len(via)-1])
		}
	case "multifactorauthpresent":
		return given("false", !q.call.Principal.IssuedAt.IsZero()) // long-term keys have no such key (AWS docs)
	}
	if s := q.call.Principal.Given; s != nil {
		switch name {
		case "sourceidentity":
			return iam.NonEmpty(s.SourceIdentity)
		case "federatedprovider":
			return iam.NonEmpty(s.Provider)
		}
	}
	return iam.Value{}
}

// via lists the services through which the caller calls, the first one that it
// called first.
func (q *inquiry) via() []string {
	var list []string
	if q.call.By != "" {
		list = append(list, q.call.By)
	}
	if q.use.Via != "" {
		list = append(list, q.use.Via+".amazonaws.com")
	}
	return list
}

// ofSecret returns the keys that a secret gives; requests give the others.
func (q *inquiry) ofSecret(name string) iam.Value {
	s := q.secret
	if s == nil {
		return iam.Value{}
	}
	if tag, ok := strings.CutPrefix(name, "resourcetag/"); ok {
		return q.resourceTag(tag)
	}
	switch name {
	case "secretid":
		return iam.NonEmpty(q.secretARN)
	case "versionstage":
		return q.reading.stages(s)
	case "resource/allowrotationlambdaarn":
		return iam.NonEmpty(s.Rotation.FunctionARN)
	case "resource/type":
		return iam.NonEmpty(s.Type)
	case "secretprimaryregion":
		if s.PrimaryRegion != "" {
			return iam.Text(s.PrimaryRegion)
		}
		return iam.NonEmpty(s.Region)
	}
	return iam.Value{}
}

// ofKey returns the keys that a KMS key and its use give.
func (q *inquiry) ofKey(name string) iam.Value {
	if q.key == nil {
		return iam.Value{}
	}
	if pair, ok := strings.CutPrefix(name, "encryptioncontext:"); ok {
		return contextValue(q.use.Context, pair)
	}
	switch name {
	case "encryptioncontextkeys":
		return iam.List(slices.Collect(maps.Keys(q.use.Context)))
	case "requestalias":
		return iam.NonEmpty(q.use.Alias)
	case "resourcealiases":
		return q.aliases()
	case "grantisforawsresource":
		return given("true", q.use.Via != "")
	case "viaservice":
		return given(q.use.Via+"."+q.call.Region+".amazonaws.com", q.use.Via != "")
	case "calleraccount":
		return iam.NonEmpty(q.call.Principal.Account)
	case "keyspec", "customermasterkeyspec":
		return iam.Text("SYMMETRIC_DEFAULT")
	case "keyusage", "customermasterkeyusage":
		return iam.Text("ENCRYPT_DECRYPT")
	case "keyorigin":
		return iam.Text("AWS_KMS")
	case "multiregion":
		return iam.Text("false")
	}
	return iam.Value{}
}

// aliases returns the names of the key. A failure to read them ends the
// transaction, which tells the caller.
func (q *inquiry) aliases() iam.Value {
	if q.tx == nil {
		return iam.Value{}
	}
	const most = 256 // AWS docs: 50 aliases of a key
	list, err := q.tx.Aliases(q.key.Account, q.key.Region, q.key.ID, "", most)
	if err != nil {
		return iam.Value{}
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return iam.List(names)
}

func (q *inquiry) resourceTag(name string) iam.Value {
	switch {
	case q.secret != nil:
		return iam.TagValue(q.secret.Tags, name)
	case q.key != nil:
		return iam.TagValue(q.key.Tags, name)
	}
	return iam.Value{}
}

func principalTags(id *iam.Identity) []iam.Tag {
	if id == nil {
		return nil
	}
	return id.Tags
}

// contextValue returns the value of a pair, whose key is in lower case: all of
// them if the keys of several pairs differ in case only, so that none can hide
// another.
func contextValue(c key.EncryptionContext, name string) iam.Value {
	var v iam.Value
	for k, text := range c {
		switch {
		case !strings.EqualFold(k, name):
		case v.IsZero():
			v = iam.Text(text)
		default:
			v = iam.List(append(v.Strings(), text))
		}
	}
	return v
}

// given is a text that is there under a condition and unless it is empty.
func given(text string, there bool) iam.Value {
	if !there {
		return iam.Value{}
	}
	return iam.NonEmpty(text)
}

// isLoopback reports whether the peer is on this machine, whose traffic
// nobody on a network can read.
func isLoopback(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsLoopback()
}
