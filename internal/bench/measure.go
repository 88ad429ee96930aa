package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/sigv4"
)

// readers and writers are the connections of the measurements.
const (
	readers = 16
	writers = 64
)

// value is what the secrets hold: the size of a database secret.
const value = `{"engine":"postgres","host":"db.example.internal","port":5432,"dbname":"app","username":"app_user","password":"correct-horse-battery-staple-01"}`

type bench struct {
	length                       time.Duration
	bare, crypto, commit, server *process
	// floor is the last measurement of the floor, which ratios refer to.
	floor result
}

// signed makes a Secrets Manager call for a server.
func signed(addr, operation string, in any) (*http.Request, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	return r, sigv4.Sign(r, body, sigv4.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, region, "secretsmanager", time.Now())
}

// request is a signed call as it goes on the wire.
func request(addr, operation string, in any) []byte {
	r, err := signed(addr, operation, in)
	if err != nil {
		panic(err) // our own literals
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func same(b []byte) func(int) []byte { return func(int) []byte { return b } }

// prepared returns n requests, made beforehand, one after another; nil after
// the last.
func prepared(n int, make func(i int) []byte) func(int) []byte {
	all := [][]byte{}
	for i := range n {
		all = append(all, make(i))
	}
	return func(i int) []byte {
		if i >= len(all) {
			return nil
		}
		return all[i]
	}
}

func (b *bench) all(many int) error {
	if err := b.fill(0, 1000); err != nil {
		return err
	}
	if err := b.reads("1,000"); err != nil {
		return err
	}
	if err := b.writes("1,000"); err != nil {
		return err
	}
	if many <= 1000 {
		return nil
	}
	small, err := b.list()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.fill(1000, many); err != nil {
		return err
	}
	fmt.Printf("created %d secrets more, %.0f per second\n\n", many-1000, float64(many-1000)/time.Since(began).Seconds())
	large, err := b.list()
	if err != nil {
		return err
	}
	fmt.Println("ListSecrets, a page of 100")
	row("1,000 secrets", small, &b.floor)
	row(fmt.Sprintf("%d secrets", many), large, &small)
	fmt.Println()
	if err := b.writes(fmt.Sprint(many)); err != nil {
		return err
	}
	return b.reads(fmt.Sprint(many))
}

// fill makes the secrets with numbers from up to to.
func (b *bench) fill(from, to int) error {
	return b.fillWith(from, to, func(int) map[string]any { return nil })
}

// fillWith is fill with more members for the secret with a number.
func (b *bench) fillWith(from, to int, more func(i int) map[string]any) error {
	const chunk = 10_000 // signatures last five minutes; this takes seconds
	for ; from < to; from += chunk {
		end := min(from+chunk, to)
		next := prepared(end-from, func(i int) []byte {
			in := map[string]any{"Name": name(from + i), "SecretString": value, "ClientRequestToken": uuid.NewString()}
			maps.Copy(in, more(from+i))
			return request(b.server.addr, "CreateSecret", in)
		})
		if _, err := load(b.server, writers, time.Hour, next); err != nil {
			return fmt.Errorf("creating secrets: %w", err)
		}
	}
	return nil
}

func name(i int) string { return fmt.Sprintf("bench/team-%03d/secret-%07d", i%100, i) }

func (b *bench) reads(size string) error {
	get := func(p *process) []byte {
		return request(p.addr, "GetSecretValue", map[string]any{"SecretId": name(500)})
	}
	bare, err := load(b.bare, readers, b.length, same(get(b.bare)))
	if err != nil {
		return err
	}
	if b.floor, err = load(b.crypto, readers, b.length, same(get(b.crypto))); err != nil {
		return err
	}
	one, err := load(b.server, readers, b.length, same(get(b.server)))
	if err != nil {
		return err
	}
	spread := make([][]byte, 1000)
	for i := range spread {
		spread[i] = request(b.server.addr, "GetSecretValue", map[string]any{"SecretId": name(i)})
	}
	varied, err := load(b.server, readers, b.length, func(i int) []byte { return spread[i%len(spread)] })
	if err != nil {
		return err
	}
	fmt.Printf("GetSecretValue, %d connections, %s secrets; resident %s\n", readers, size, mebibytes(b.server.resident()))
	row("bare net/http", bare, &b.floor)
	row("floor (signature, one opening)", b.floor, nil)
	row("keyturn, one secret", one, &b.floor)
	row("keyturn, a thousand in turn", varied, &b.floor)
	return b.batches(one)
}

// batches reads 20 secrets a call and compares how many come in a second with
// how many single reads brought.
func (b *bench) batches(single result) error {
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = name(i * 7)
	}
	got, err := load(b.server, readers, b.length, same(request(b.server.addr, "BatchGetSecretValue", map[string]any{"SecretIdList": ids})))
	if err != nil {
		return err
	}
	got.perSecond *= float64(len(ids))
	got.cpu /= time.Duration(len(ids))
	row("keyturn, secrets in batches of 20", got, &single)
	fmt.Println()
	return nil
}

func (b *bench) writes(size string) error {
	fmt.Printf("PutSecretValue, durable, %s secrets\n", size)
	for _, n := range []int{1, writers} {
		bare, err := commits(n, b.length)
		if err != nil {
			return err
		}
		row(fmt.Sprintf("bare one-row commits, %d writers", n), bare, nil)
		floor, err := load(b.commit, n, b.length, b.puts(b.commit))
		if err != nil {
			return err
		}
		row("floor (signature, one-row commit)", floor, &bare)
		got, err := load(b.server, n, b.length, b.puts(b.server))
		if err != nil {
			return err
		}
		row(fmt.Sprintf("keyturn, %d connections", n), got, &floor)
		fmt.Printf("  %-34s x%.3f/s of the bare commits\n", "", got.perSecond/bare.perSecond)
	}
	fmt.Println()
	return nil
}

// puts returns requests that put values of a thousand secrets in turn.
func (b *bench) puts(p *process) func(int) []byte {
	return prepared(int(b.length.Seconds()*20_000), func(i int) []byte {
		return request(p.addr, "PutSecretValue", map[string]any{
			"SecretId": name(i % 1000), "SecretString": value, "ClientRequestToken": uuid.NewString(),
		})
	})
}

func (b *bench) list() (result, error) {
	return load(b.server, 4, b.length, same(request(b.server.addr, "ListSecrets", map[string]any{"MaxResults": 100})))
}

// row prints a result, and beside it the ratios to a reference.
func row(what string, r result, to *result) {
	fmt.Printf("  %-34s %9.0f/s  p50 %8s  p99 %8s  cpu %8s", what, r.perSecond, short(r.p50), short(r.p99), short(r.cpu))
	if to != nil {
		fmt.Printf("   x%.2f/s  p99 x%.2f  cpu x%.2f", r.perSecond/to.perSecond, float64(r.p99)/float64(to.p99), float64(r.cpu)/float64(to.cpu))
	}
	fmt.Println()
}

func short(d time.Duration) string { return d.Round(time.Microsecond).String() }
