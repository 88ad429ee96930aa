package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// commits measures what the store reaches with n writers whose transactions
// change one row and nothing else, without a network: no write can be
// cheaper.
func commits(n int, length time.Duration) (_ result, err error) {
	dir, err := os.MkdirTemp("", "keyturn-bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	s, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir})
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var mu sync.Mutex
	var all []time.Duration
	before, began := ownTime(), time.Now()
	deadline := began.Add(length)
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			took, failed := writeRows(s, "writer "+strconv.Itoa(w), deadline)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			err = errors.Join(err, failed)
		})
	}
	wg.Wait()
	if err != nil || len(all) == 0 {
		return result{}, errors.Join(err, fmt.Errorf("%d commits", len(all)))
	}
	elapsed, cpu := time.Since(began), ownTime()-before
	slices.Sort(all)
	return result{
		perSecond: float64(len(all)) / elapsed.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100], cpu: cpu / time.Duration(len(all)),
	}, nil
}

func writeRows(s *store.Store, name string, deadline time.Time) (took []time.Duration, err error) {
	for i := 0; time.Now().Before(deadline); i++ {
		began := time.Now()
		err := s.Update(context.Background(), func(tx *store.Tx) error { return tx.SetMeta(name, strconv.Itoa(i+1)) })
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// ownTime is the processor time that this process has used.
func ownTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
