// Command dist makes what is released: for each platform an archive with the
// program, its man page, completions and service files, beside it a bill of
// materials, and the checksums of all. It is run from the root of a checkout.
//
// The same commit and Go version give the same bytes: paths, times, owners
// and the order of files come from the commit, not from the machine.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "dist", "folder for what is made")
	only := flag.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "platforms, as GOOS/GOARCH with commas between")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// release is what all platforms share.
type release struct {
	version string
	// commit is the whole hash.
	commit string
	// time is the commit's.
	time time.Time
	// shared are the files that go into every archive.
	shared []file
}

func run(ctx context.Context, out string, platforms []string) error {
	work, err := os.MkdirTemp("", "keyturn-dist-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // it is in the folder for such things
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	r, err := prepare(ctx, work)
	if err != nil {
		return err
	}
	var made []string
	for _, p := range platforms {
		names, err := r.platform(ctx, work, out, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		made = append(made, names...)
	}
	return writeSums(out, made)
}

// prepare finds out the version and makes the shared files, by the program
// built for this machine.
func prepare(ctx context.Context, work string) (*release, error) {
	last, err := output(ctx, nil, "git", "log", "-1", "--format=%H %ct")
	if err != nil {
		return nil, err
	}
	commit, seconds, _ := strings.Cut(strings.TrimSpace(string(last)), " ")
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the commit's time: %w", err)
	}
	r := &release{commit: commit, time: time.Unix(epoch, 0).UTC()}
	described, err := output(ctx, nil, "git", "describe", "--tags", "--always", "--dirty")
	if err != nil {
		return nil, err
	}
	r.version = strings.TrimPrefix(strings.TrimSpace(string(described)), "v")
	program := filepath.Join(work, "keyturn")
	if err := r.build(ctx, program, ""); err != nil {
		return nil, err
	}
	env := []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(epoch, 10)}
	for name, args := range map[string][]string{
		"share/man/man8/keyturn.8": {"man"}, "share/bash-completion/completions/keyturn": {"completion", "bash"},
		"share/zsh/site-functions/_keyturn": {"completion", "zsh"}, "share/fish/vendor_completions.d/keyturn.fish": {"completion", "fish"},
	} {
		text, err := output(ctx, env, program, args...)
		if err != nil {
			return nil, err
		}
		r.shared = append(r.shared, file{name, 0o644, text})
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "deploy/systemd/keyturn.service", "deploy/systemd/keyturn.env", "deploy/prometheus/keyturn.rules.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		r.shared = append(r.shared, file{name, 0o644, text})
	}
	return r, nil
}

// platform makes the archive and the bill of materials of a platform and
// returns their names.
func (r *release) platform(ctx context.Context, work, out, platform string) ([]string, error) {
	goos, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return nil, fmt.Errorf("want GOOS/GOARCH")
	}
	program := filepath.Join(work, goos+"-"+arch)
	if err := r.build(ctx, program, platform); err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	bill, err := billOf(binary, r.version, r.commit, r.time, licences{})
	if err != nil {
		return nil, err
	}
	name := "keyturn-" + r.version + "-" + goos + "-" + arch
	var archive bytes.Buffer
	if err := pack(&archive, name, r.time, append(slices.Clone(r.shared), file{"bin/keyturn", 0o755, binary})); err != nil {
		return nil, err
	}
	fmt.Printf("%s.tar.gz: %.1f MB, the program %.1f MB\n", name, float64(archive.Len())/1e6, float64(len(binary))/1e6)
	names := []string{name + ".tar.gz", name + ".cdx.json"}
	for i, content := range [][]byte{archive.Bytes(), bill} {
		if err := os.WriteFile(filepath.Join(out, names[i]), content, 0o644); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// tags leave out what finds methods by name, which would nearly double the
// program: see the Makefile.
const tags = "lambda.norpc,grpcnotrace"

// build builds the program for a platform, "" for this machine's.
func (r *release) build(ctx context.Context, to, platform string) error {
	env := []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOAMD64=v1", "GOARM64=v8.0"}
	if goos, arch, ok := strings.Cut(platform, "/"); ok {
		env = append(env, "GOOS="+goos, "GOARCH="+arch)
	}
	// What the Go tool records by itself differs between kinds of checkouts.
	flags := "-s -w -buildid= -X github.com/keyturn/keyturn/internal/release.stamp=" + r.version + "," + r.commit
	_, err := output(ctx, env, "go", "build", "-trimpath", "-tags="+tags, "-buildvcs=false", "-ldflags="+flags, "-o", to, "./cmd/keyturn")
	return err
}

// output runs a command and returns what it prints.
func output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// writeSums writes the checksums as sha256sum -c reads them.
func writeSums(out string, names []string) error {
	slices.Sort(names)
	var text bytes.Buffer
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(b), name)
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), text.Bytes(), 0o644)
}
