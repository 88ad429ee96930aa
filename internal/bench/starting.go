package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// starts is how often each kind of start is measured.
const starts = 7

// emptyStarts measures starts on folders that do not exist, and what a server
// holds that has nothing to do.
func (b *scaleBench) emptyStarts(dir string) error {
	var folders int
	old := b.data
	defer func() { b.data = old }()
	fresh := func() error {
		folders++
		b.data = fmt.Sprintf("%s-%d", dir, folders)
		return nil
	}
	if err := b.started("an empty folder", fresh, "ListSecrets", func() any { return map[string]any{} }); err != nil {
		return err
	}
	if err := b.started("the same folder again", func() error { return nil }, "ListSecrets", func() any { return map[string]any{} }); err != nil {
		return err
	}
	return b.withServer(func() error {
		time.Sleep(3 * time.Second)
		fmt.Printf("idle after 3 s: %s\n\n", b.server.held())
		return nil
	})
}

// fullStarts measures starts on the full data: with the database in the
// system's cache of files, and without.
func (b *scaleBench) fullStarts(count int) error {
	in := func() any { return map[string]any{"SecretId": name(rand.IntN(count))} }
	if err := b.started(fmt.Sprintf("%d secrets", count), func() error { return nil }, "GetSecretValue", in); err != nil {
		return err
	}
	if err := b.started(fmt.Sprintf("%d secrets, files not cached", count), b.forgetFiles, "GetSecretValue", in); err != nil {
		return err
	}
	fmt.Println()
	return nil
}

// started measures the time from the start of the process to the line that
// says that it listens, and to the first answer.
func (b *scaleBench) started(what string, before func() error, operation string, in func() any) error {
	var listens, answers []time.Duration
	for range starts {
		if err := before(); err != nil {
			return err
		}
		began := time.Now()
		err := b.withServer(func() error {
			listens = append(listens, time.Since(began))
			err := ask(b.server.addr, operation, in(), new(any))
			answers = append(answers, time.Since(began))
			return err
		})
		if err != nil {
			return err
		}
	}
	fmt.Printf("start on %s, median (least) of %d: listens after %s, first answer after %s\n", what, starts, medianLeast(listens), medianLeast(answers))
	return nil
}

func medianLeast(d []time.Duration) string {
	slices.Sort(d)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
	return ms(d[len(d)/2]) + " (" + ms(d[0]) + ") ms"
}

// forgetFiles makes the system forget the pages of the database, so that the
// next start reads from the disk.
func (b *scaleBench) forgetFiles() error {
	files, err := filepath.Glob(filepath.Join(b.data, "keyturn.db*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = f.Sync()
		if err == nil {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("forgetting %s: %w", name, err)
		}
	}
	return nil
}

// caches measures random reads and memory by the size of the cache.
func (b *scaleBench) caches(count int) error {
	fmt.Printf("%d secrets, GetSecretValue at random by --cache-size\n", count)
	for _, size := range []int64{4 << 20, 64 << 20, 256 << 20} {
		err := b.withServer(func() error {
			got, err := load(b.server, readers, 2*b.length, b.random(count))
			if err != nil {
				return err
			}
			row(mebibytes(size), got, nil)
			fmt.Printf("    %s\n", b.server.held())
			return nil
		}, fmt.Sprintf("--cache-size=%d", size))
		if err != nil {
			return err
		}
	}
	return nil
}
