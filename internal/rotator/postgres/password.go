package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
)

// stored returns a password as the server would store it, and whether that is
// a hash. It is the clear text where KEYTURN_PLAIN_PASSWORDS asks for it,
// because the server has a policy to check; where the server hashes in a way
// that is not known here; and where the text is not ASCII, since then what is
// hashed depends on the server's encoding and its tables of Unicode.
func (s *session) stored(ctx context.Context, tx pgx.Tx, user string, p plaintext.Value) (text string, hashed bool, err error) {
	text = p.RevealText()
	if s.settings.Flag("KEYTURN_PLAIN_PASSWORDS", false) || !printable(text) {
		return text, false, nil
	}
	var method, iterations string
	const ask = "SELECT current_setting('password_encryption'), coalesce(current_setting('scram_iterations', true), '')"
	if err := tx.QueryRow(ctx, ask).Scan(&method, &iterations); err != nil {
		return "", false, Refusal(err)
	}
	switch method {
	case "scram-sha-256":
		text, err = verifier(text, iterations)
	case "md5":
		text = md5Hash(text, user)
	default:
		return text, false, nil
	}
	return text, true, err
}

// printable tells that a text is of ASCII's printable characters, which
// SASLprep leaves as they are.
func printable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

const (
	saltLength        = 16   // as the server's own
	defaultIterations = 4096 // of servers before 16, which have no setting
)

// verifier makes a SCRAM-SHA-256 verifier (RFC 5803 in PostgreSQL's form).
func verifier(password, iterations string) (string, error) {
	n, err := strconv.Atoi(iterations)
	if err != nil {
		n = defaultIterations
	}
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, n, sha256.Size)
	if err != nil {
		return "", rotator.NewFailure(rotator.CauseOther, "", "making a SCRAM verifier: "+err.Error(), err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", n, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// md5Hash is what servers keep whose password_encryption is md5.
func md5Hash(password, user string) string {
	sum := md5.Sum([]byte(password + user))
	return "md5" + hex.EncodeToString(sum[:])
}
