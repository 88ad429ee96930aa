package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/sigv4"
)

// answer is what GetSecretValue of a bench secret looks like.
const answer = `{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:bench/team-000/secret-0000500-AbCdEf","Name":"bench/team-000/secret-0000500",` +
	`"VersionId":"3f5a1c0e-8d3b-4a53-9d43-0f1f3a1f1b7e","SecretString":%q,"VersionStages":["AWSCURRENT"],"CreatedDate":1711451177.101}`

// serveFloor answers every request with the same bytes; "crypto" verifies the
// signature and opens a sealed value before it does.
func serveFloor(kind string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on http://" + listener.Addr().String())
	body := fmt.Appendf(nil, answer, value)
	handler := func(w http.ResponseWriter, r *http.Request) { reply(w, r, body) }
	if kind == "crypto" {
		if handler, err = cryptoFloor(body); err != nil {
			return err
		}
	}
	return http.Serve(listener, http.HandlerFunc(handler))
}

func cryptoFloor(body []byte) (http.HandlerFunc, error) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	sealed := gcm.Seal(nil, nil, []byte(value), nil)
	cache := sigv4.NewKeyCache(16)
	want := sigv4.Expected{Service: "secretsmanager"}
	return func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		signed, err := sigv4.Parse(r)
		if err == nil {
			err = cache.Verify(signed, got, time.Now(), want, func() (string, error) { return secretKey, nil })
		}
		plain, broken := gcm.Open(nil, nil, sealed, nil)
		if err != nil || broken != nil || !bytes.Equal(plain, []byte(value)) {
			http.Error(w, fmt.Sprint(err, broken), http.StatusForbidden)
			return
		}
		reply(w, r, body)
	}, nil
}

func reply(w http.ResponseWriter, _ *http.Request, body []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that went away gets no answer
}
