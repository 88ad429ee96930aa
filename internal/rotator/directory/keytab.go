package directory

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// account is a user of a Kerberos realm.
type account struct {
	realm realm
	name  string // without the realm
}

// keys proves the password once for each encryption type that the account has
// a key of, and returns the keys as the KDC knows them: salt and version
// number are its own. RC4, which is weak, is asked for only on demand.
func (a account) keys(ctx context.Context, password plaintext.Value, rc4 bool) ([]login, error) {
	wanted := strong
	if rc4 {
		wanted = append(slices.Clone(strong), etypeID.RC4_HMAC)
	}
	var keys []login
	for _, etype := range wanted {
		l, err := a.realm.login(ctx, a.name, fromPassword(password), []int32{etype})
		switch {
		case err == nil:
			keys = append(keys, l)
		case !errors.Is(err, errEtype):
			return nil, err
		}
	}
	if len(keys) == 0 {
		return nil, noEtype()
	}
	return keys, nil
}

// errKeytab says nothing of the contents, which are keys.
var errKeytab = errors.New("the keytab cannot be read")

// parseKeytab reads a keytab in base64.
func parseKeytab(contents plaintext.Value) (kt *keytab.Keytab, err error) {
	// The library's reader is not made for broken input.
	defer func() {
		if recover() != nil {
			kt, err = nil, errKeytab
		}
	}()
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(contents.RevealText()))
	if err != nil {
		return nil, errKeytab
	}
	kt = keytab.New()
	if err := kt.Unmarshal(b); err != nil {
		return nil, errKeytab
	}
	return kt, nil
}

// principalsOf lists the principals of a keytab, sorted.
func principalsOf(kt *keytab.Keytab) []string {
	var names []string
	for _, e := range kt.Entries {
		names = append(names, e.Principal.String())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// qualified completes principals by the realm and sorts them.
func qualified(principals []string, realm string) []string {
	names := make([]string, len(principals))
	for i, p := range principals {
		if !strings.Contains(p, "@") {
			p += "@" + realm
		}
		names[i] = p
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// newest is the highest version number of a keytab's keys.
func newest(kt *keytab.Keytab) uint32 {
	var kvno uint32
	for _, e := range kt.Entries {
		kvno = max(kvno, e.KVNO)
	}
	return kvno
}

// holdsRC4 tells whether a keytab has keys of that type.
func holdsRC4(kt *keytab.Keytab) bool {
	for _, e := range kt.Entries {
		if e.Key.KeyType == etypeID.RC4_HMAC {
			return true
		}
	}
	return false
}

// follow returns the keytab after old: the new keys for each of its
// principals, and the newest of its own, by which tickets can be read that
// were issued before.
func follow(old *keytab.Keytab, keys []login, at time.Time) (plaintext.Value, error) {
	next, last := keytab.New(), newest(old)
	for _, principal := range principalsOf(old) {
		name, realm, _ := strings.Cut(principal, "@")
		for _, k := range keys {
			if k.key.KeyType == etypeID.RC4_HMAC && !holdsRC4(old) {
				continue
			}
			if err := next.AddEntry(name, realm, "", at, 0, k.key.KeyType); err != nil {
				return plaintext.Value{}, errKeytab
			}
			e := &next.Entries[len(next.Entries)-1]
			e.Key, e.KVNO = k.key, uint32(k.kvno)
			if k.kvno == 0 {
				e.KVNO = last + 1 // a KDC that does not say counts by one
			}
			e.KVNO8 = uint8(e.KVNO)
		}
	}
	for _, e := range old.Entries {
		if e.KVNO == last && e.KVNO != newest(next) {
			next.Entries = append(next.Entries, e)
		}
	}
	b, err := next.Marshal()
	if err != nil {
		return plaintext.Value{}, errKeytab
	}
	return plaintext.Of(base64.StdEncoding.EncodeToString(b)), nil
}

// validate logs in with each of a keytab's newest keys.
func (a account) validate(ctx context.Context, kt *keytab.Keytab) error {
	last := newest(kt)
	proven := map[string]bool{}
	for _, e := range kt.Entries {
		id := string(rune(e.Key.KeyType)) + string(e.Key.KeyValue)
		if e.KVNO != last || proven[id] {
			continue
		}
		source := func(derivation) (types.EncryptionKey, error) { return e.Key, nil }
		l, err := a.realm.login(ctx, a.name, source, []int32{e.Key.KeyType})
		if err != nil {
			return err
		}
		if l.kvno != 0 && uint32(l.kvno) != last {
			return rotator.Invalid("the keys are of version %d, and the account's of version %d", last, l.kvno)
		}
		proven[id] = true
	}
	if len(proven) == 0 {
		return errors.New("the keytab is empty")
	}
	return nil
}
