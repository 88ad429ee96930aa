package authz_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// Policies of any resource are kept with unique IDs and shown with names.
func TestPrincipals(t *testing.T) {
	w := newWorld(t)
	const hosted = "222222222222"
	w.update(func(tx *store.Tx) error {
		if err := tx.SaveAccount(&iam.Account{ID: hosted, Name: "hosted"}); err != nil {
			return err
		}
		if err := tx.SaveRole(nil, &iam.Role{Account: hosted, Name: "r", Path: "/p/", ID: "AROAROLE", CreatedAt: time.Now()}); err != nil {
			return err
		}
		return tx.SaveUser(nil, &iam.User{Account: account, Name: "ann", Path: "/", ID: "AIDAANN", CreatedAt: time.Now()})
	})
	bind := func(name string) (got string, err error) {
		err = w.view(func(tx *store.Tx) (err error) {
			got, err = authz.BindPrincipals(tx, `{"Statement":{"Principal":{"AWS":"`+name+`"}}}`, account)
			return err
		})
		return strings.TrimSuffix(strings.TrimPrefix(got, `{"Statement":{"Principal":{"AWS":"`), `"}}}`), err
	}
	for name, want := range map[string]string{
		"*":                                     "*",
		account:                                 account,
		"AIDAANN":                               "AIDAANN",
		annARN:                                  "AIDAANN",
		"AROAROLE":                              "AROAROLE",
		"AROANONE":                              "",
		foreign:                                 foreign,
		"AROAROLE:":                             "AROAROLE:",
		"arn:aws:iam::" + account + ":root":     "arn:aws:iam::" + account + ":root",
		"arn:aws:iam::" + hosted + ":role/p/r":  "AROAROLE",
		"arn:aws:iam::" + hosted + ":role/r":    "",
		"arn:aws:iam::" + hosted + ":role/p/R":  "",
		"arn:aws:iam::" + hosted + ":user/none": "",
		"arn:aws:sts::" + hosted + ":assumed-role/r/session":  "AROAROLE:session",
		"arn:aws:sts::" + hosted + ":assumed-role/no/session": "",
		"arn:aws:sts::" + hosted + ":federated-user/f":        "arn:aws:sts::" + hosted + ":federated-user/f",
		"arn:aws:iam::" + foreign + ":role/whatever":          "arn:aws:iam::" + foreign + ":role/whatever",
	} {
		got, err := bind(name)
		if want == "" {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: got %q, %v, want it unknown", name, got, err)
			}
		} else if got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %s", name, got, err, want)
		}
	}
	const kept = `{"Statement":{"Principal":{"AWS":["AIDAANN","AROAROLE","AROAROLE:s","AROAGONE","*"]}}}`
	want := `{"Statement":{"Principal":{"AWS":["` + annARN + `","arn:aws:iam::222222222222:role/p/r","arn:aws:sts::222222222222:assumed-role/r/s","AROAGONE","*"]}}}`
	for text, want := range map[string]string{kept: want, "": ""} {
		err := w.view(func(tx *store.Tx) error {
			got, err := authz.ShowPrincipals(tx, text)
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
