package probe

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	core "github.com/keyturn/keyturn/internal/rotator/probe"
)

const (
	// maxShown bounds a member's text in the evidence, in characters, and
	// maxKeys how many names of members.
	maxShown = 256
	maxKeys  = 64
)

// shapes says what the values are like.
func shapes(versions []core.Version) []doctor.Value {
	var all []doctor.Value
	passwords := make([]plaintext.Value, len(versions))
	for i := range versions {
		v := &versions[i]
		shown := doctor.Value{Label: v.Label, VersionID: v.ID, Missing: v.Missing, Binary: v.Binary}
		if v.Err != nil {
			shown.Error = gap(v.Err, "", "", "").Error
		}
		if !v.Missing && !v.Binary && v.Err == nil {
			passwords[i] = shape(&shown, v)
			shown.PasswordLength = utf8.RuneCount(passwords[i].Reveal())
		}
		all = append(all, shown)
	}
	for i := range all {
		for j := range all {
			if i != j && passwords[i].Len() > 0 && passwords[i].Equal(passwords[j]) {
				all[i].SamePassword = append(all[i].SamePassword, all[j].Label)
			}
		}
	}
	return all
}

// shape fills in what is shown of a value, and returns its password: of a
// value that is no JSON object the whole.
func shape(shown *doctor.Value, v *core.Version) plaintext.Value {
	d, err := v.Document()
	if err != nil {
		shown.Problem = err.Error()
		if strings.ContainsAny(v.Value.RevealText(), "\u201c\u201d\u201e") {
			shown.Problem += "; it has typographic quotation marks"
		}
		return v.Value
	}
	shown.Object = true
	for _, key := range d.Keys() {
		if len(shown.Keys) < maxKeys {
			shown.Keys = append(shown.Keys, cut(key))
		}
	}
	for member, into := range map[string]*string{
		"engine": &shown.Engine, "host": &shown.Host, "port": &shown.Port, "username": &shown.Username, "dbname": &shown.Database,
		"ssl": &shown.SSL, "masterarn": &shown.MasterARN,
	} {
		*into = text(d, member)
	}
	return password(d)
}

// text is a member that is a text, a number or a truth value; what else
// stands there could hold anything.
func text(d *rotator.Document, member string) string {
	t := d.Text(member)
	if strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
		return "(no text)"
	}
	return cut(t)
}

func cut(s string) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), maxShown)])
}

// password is the member that logs in.
func password(d *rotator.Document) plaintext.Value {
	members := []string{"password", "awsSeamlessDomainPassword", "token", "privateKey"}
	i := slices.IndexFunc(members, d.Has)
	if i < 0 {
		return plaintext.Value{}
	}
	return d.Secret(members[i])
}
