package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

const (
	// smallSize is how many secrets there are at first: what costs then is
	// what the costs at the full size are compared with.
	smallSize = 1000
	// walkers are the connections that ask for pages.
	walkers = 4
	// mark is in the description and a tag of one secret of markEvery.
	mark      = "marked"
	markEvery = 500
)

// scaleBench measures one server as its secrets grow.
type scaleBench struct {
	bench
	ctx    context.Context
	binary string
	data   string
	// small are the results at the small size, by their name.
	small map[string]result
}

// measureScale runs the section on many secrets: what requests cost with a
// thousand and with count secrets, how long a start takes, and what is held
// in memory.
func measureScale(ctx context.Context, binary, dir string, length time.Duration, count int) error {
	b := &scaleBench{bench: bench{length: length}, ctx: ctx, binary: binary, data: filepath.Join(dir, "scale"), small: map[string]result{}}
	if err := b.emptyStarts(filepath.Join(dir, "empty")); err != nil {
		return err
	}
	if err := b.withServer(func() error { return b.grow(0, min(smallSize, count)) }); err != nil {
		return err
	}
	if err := b.uncached(min(smallSize, count)); err != nil {
		return err
	}
	if err := b.withServer(func() error { return b.grow(smallSize, count) }); err != nil {
		return err
	}
	if err := b.uncached(count); err != nil {
		return err
	}
	if err := b.fullStarts(count); err != nil {
		return err
	}
	return b.caches(count)
}

// withServer runs f with a server on the data.
func (b *scaleBench) withServer(f func() error, more ...string) (err error) {
	args := append([]string{"serve", "--data", b.data, "--listen", "127.0.0.1:0", "--log-level", "error"}, more...)
	if b.server, err = start(b.ctx, b.binary, args...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	return f()
}

// grow makes the secrets with numbers from up to to, and measures with them.
func (b *scaleBench) grow(from, to int) error {
	if to <= from {
		return nil
	}
	before, began := b.server.cpuTime(), time.Now()
	if err := b.fillWith(from, to, marked); err != nil {
		return err
	}
	took, n := time.Since(began), time.Duration(to-from)
	fmt.Printf("%d secrets: created %d by CreateSecret on %d connections in %s: %.0f/s, cpu %s each; %s\n", to, to-from, writers,
		took.Round(time.Millisecond), float64(to-from)/took.Seconds(), short((b.server.cpuTime()-before)/n), b.server.held())
	if err := b.reading(to); err != nil {
		return err
	}
	if err := b.listing(to); err != nil {
		return err
	}
	fmt.Printf("  after all that %s\n\n", b.server.held())
	return nil
}

// marked gives one secret of markEvery what filters look for.
func marked(i int) map[string]any {
	if i%markEvery != 0 {
		return map[string]any{"Tags": []map[string]string{{"Key": "team", "Value": fmt.Sprintf("team-%03d", i%100)}}}
	}
	return map[string]any{"Description": mark, "Tags": []map[string]string{{"Key": mark, "Value": mark}}}
}

// row prints a result beside that of the same name at the small size.
func (b *scaleBench) row(what string, r result) {
	base, known := b.small[what]
	if !known {
		b.small[what] = r
		row(what, r, nil)
		return
	}
	row(what, r, &base)
}

func getValue(addr string, i int) []byte {
	return request(addr, "GetSecretValue", map[string]any{"SecretId": name(i)})
}

// reading measures GetSecretValue: of a thousand secrets over and over, of
// all at random for the first time, which notes the day of the access, and of
// the same again.
func (b *scaleBench) reading(size int) error {
	hot := make([][]byte, min(smallSize, size))
	for i := range hot {
		hot[i] = getValue(b.server.addr, i)
	}
	got, err := load(b.server, readers, b.length, func(i int) []byte { return hot[i%len(hot)] })
	if err != nil {
		return err
	}
	b.row("get, the same thousand", got)
	all := b.random(size)
	for _, what := range []string{"get at random, first of the day", "get at random, again"} {
		if got, err = load(b.server, readers, b.length, all); err != nil {
			return err
		}
		b.row(what, got)
	}
	return nil
}

// random returns requests for random secrets of the first size, so many that
// few repeat in one measurement.
func (b *scaleBench) random(size int) func(int) []byte {
	const mostPerSecond = 15_000
	all := make([][]byte, min(2*size, int(b.length.Seconds()*mostPerSecond)))
	for i := range all {
		all[i] = getValue(b.server.addr, rand.IntN(size))
	}
	return func(i int) []byte { return all[i%len(all)] }
}

// uncached measures random reads by a server that keeps no records.
func (b *scaleBench) uncached(size int) error {
	return b.withServer(func() error {
		got, err := load(b.server, readers, b.length, b.random(size))
		if err != nil {
			return err
		}
		fmt.Printf("%d secrets, without a cache\n", size)
		b.row("get at random, --cache-size=0", got)
		fmt.Println()
		return nil
	}, "--cache-size=0")
}

// listed is what the sections need of a page.
type listed struct {
	SecretList []struct{ Name string }
	NextToken  string
}

// listing measures pages of ListSecrets at several places and with filters.
func (b *scaleBench) listing(size int) error {
	middle, last, err := b.walk(size)
	if err != nil {
		return err
	}
	filter := func(key, value string) map[string]any {
		return map[string]any{"Filters": []map[string]any{{"Key": key, "Values": []string{value}}}}
	}
	for _, q := range []struct {
		what string
		in   map[string]any
	}{
		{"list, the first 100", map[string]any{}},
		{"list, 100 in the middle", map[string]any{"NextToken": middle}},
		{"list, the last 100", map[string]any{"NextToken": last}},
		{"list, 100 by name", map[string]any{"SortBy": "name"}},
		{"list, 100 last changed", map[string]any{"SortBy": "last-changed-date", "SortOrder": "desc"}},
		{"name prefix, one matches", filter("name", name(size/2))},
		{"name prefix, 1 % match", filter("name", "bench/team-042/")},
		{"name prefix, all match", filter("name", "bench/")},
		{"tag value, 1 % match", filter("tag-value", "team-042")},
		{"tag key, 0.2 % match", filter("tag-key", mark)},
		{"description, 0.2 % match", filter("description", mark)},
		{"all, 0.2 % match", filter("all", mark)},
		{"all, none matches", filter("all", "nowhere")},
	} {
		q.in["MaxResults"] = 100
		got, err := load(b.server, walkers, b.length/2, same(request(b.server.addr, "ListSecrets", q.in)))
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		b.row(q.what, got)
	}
	return nil
}

// walk lists all secrets, checks that each comes once, and returns the tokens
// of a page in the middle and of the last one.
func (b *scaleBench) walk(size int) (middle, last string, err error) {
	began, seen, token := time.Now(), map[string]bool{}, ""
	pages := (size + 99) / 100
	for n := 0; ; n++ {
		in := map[string]any{"MaxResults": 100}
		if token != "" {
			in["NextToken"] = token
		}
		var page listed
		if err := b.call("ListSecrets", in, &page); err != nil {
			return "", "", err
		}
		for _, s := range page.SecretList {
			seen[s.Name] = true
		}
		if n == pages/2 {
			middle = token
		}
		last = token
		if token = page.NextToken; token == "" {
			break
		}
	}
	if len(seen) != size {
		return "", "", fmt.Errorf("the list has %d secrets, want %d", len(seen), size)
	}
	took := time.Since(began)
	fmt.Printf("  all %d pages one after another in %s: %s each, decoding included\n", pages, took.Round(time.Millisecond), short(took/time.Duration(pages)))
	return middle, last, nil
}

// call asks the server and decodes its answer into out.
func (b *scaleBench) call(operation string, in, out any) error {
	return ask(b.server.addr, operation, in, out)
}

// ask sends one request on a connection of its own or on one that is free.
func ask(addr, operation string, in, out any) error {
	r, err := signed(addr, operation, in)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", operation, answer.Status, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, out)
}
