package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// answer is what GetSecretValue of a bench secret looks like.
const answer = `{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:bench/team-000/secret-0000500-AbCdEf","Name":"bench/team-000/secret-0000500",` +
	`"VersionId":"3f5a1c0e-8d3b-4a53-9d43-0f1f3a1f1b7e","SecretString":%q,"VersionStages":["AWSCURRENT"],"CreatedDate":1711451177.101}`

// putAnswer is what PutSecretValue of one answers.
const putAnswer = `{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:bench/team-000/secret-0000500-AbCdEf","Name":"bench/team-000/secret-0000500",` +
	`"VersionId":"3f5a1c0e-8d3b-4a53-9d43-0f1f3a1f1b7e","VersionStages":["AWSCURRENT"]}`

// serveFloor answers every request with the same bytes; "crypto" verifies the
// signature and opens a sealed value before it does, "commit" changes a row
// too.
func serveFloor(kind, dir string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on http://" + listener.Addr().String())
	body := fmt.Appendf(nil, answer, value)
	handler := func(w http.ResponseWriter, r *http.Request) { reply(w, r, body) }
	switch kind {
	case "crypto":
		handler, err = cryptoFloor(func() error { return nil }, body)
	case "commit":
		handler, err = commitFloor(dir)
	}
	if err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(handler))
}

// commitFloor is the crypto floor with a durable change of one row before the
// answer, in a store like the server's.
func commitFloor(dir string) (http.HandlerFunc, error) {
	s, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	var count atomic.Int64
	return cryptoFloor(func() error {
		n := count.Add(1)
		return s.Update(context.Background(), func(tx *store.Tx) error {
			return tx.SetMeta("writer "+strconv.FormatInt(n%1000, 10), strconv.FormatInt(n, 10))
		})
	}, []byte(putAnswer))
}

// cryptoFloor calls work before it answers.
func cryptoFloor(work func() error, body []byte) (http.HandlerFunc, error) {
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
		if err := work(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
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
