//go:build linux

package hardship

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/faultdisk"
)

// Files of a data folder, as patterns.
const (
	database = "data/keyturn.db"
	wal      = "data/keyturn.db-wal"
	segments = "data/trail"
)

// checkpointPuts is how many values of 60 KiB fill the write-ahead log past
// the size at which it is copied into the database: 4000 pages of 4 KiB.
const checkpointPuts = 240

// crowded are enough secrets for them: a secret has 100 versions at most.
const crowded = 24

// A disk that fails in the middle: writes are refused, and neither what was
// acknowledged nor what was read is lost or changed; each fault as one that
// comes before the disk has done what was asked, and as one that comes after.
func TestFaultyDisk(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Mount(t)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data"), Args: []string{"--cache-size", "0"}})
	l := newLedger(t, p, names("faulty", crowded)...)
	for _, tc := range []struct {
		name string
		faultdisk.Fault
		puts int
		// applied says in which forms the fault comes.
		applied []bool
		// refuses says that writes, or reads, must be refused while it lasts.
		refusesPuts, refusesGets bool
	}{
		{"the log of the database", faultdisk.Fault{File: wal, Op: faultdisk.Write}, crowded, []bool{false, true}, true, false},
		{"the log of the database, at its end", faultdisk.Fault{File: wal, Op: faultdisk.Sync}, crowded, []bool{false, true}, true, false},
		{"the database, while others write", faultdisk.Fault{File: database, Op: faultdisk.Write}, checkpointPuts, []bool{false}, false, false},
		{"the database, at the end of copying", faultdisk.Fault{File: database, Op: faultdisk.Sync}, checkpointPuts, []bool{true}, false, false},
		{"the trail", faultdisk.Fault{File: segments, Op: faultdisk.Write}, crowded, []bool{false, true}, false, true},
	} {
		for _, applied := range tc.applied {
			t.Run(fmt.Sprintf("%s, applied=%t", tc.name, applied), func(t *testing.T) {
				f := tc.Fault
				f.Err, f.Applied = syscall.EIO, applied
				disk.Fail(f)
				put, got := l.crowd(t, tc.puts)
				if hits := disk.Heal(); hits == 0 {
					t.Fatal("the fault was not met")
				}
				if tc.refusesPuts && put > 0 || !tc.refusesPuts && put == 0 {
					t.Errorf("%d of %d writes were acknowledged", put, tc.puts)
				}
				if tc.refusesGets && got > 0 || !tc.refusesGets && got == 0 {
					t.Errorf("%d reads were answered", got)
				}
				if err := errors.Join(l.put(t, "faulty/0"), l.get(t, "faulty/0")); err != nil {
					t.Errorf("after the fault: %v", err)
				}
			})
		}
	}
	l.survive(t)
}

// crowd writes to and reads from all secrets at once and returns how many of
// each were answered.
func (l *ledger) crowd(t *testing.T, puts int) (put, got int) {
	var wrote, read atomic.Int64
	var wg sync.WaitGroup
	for name := range l.secrets {
		wg.Go(func() {
			for range puts / len(l.secrets) {
				if l.put(t, name) == nil {
					wrote.Add(1)
				}
				if l.get(t, name) == nil {
					read.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(wrote.Load()), int(read.Load())
}

// One fault at a time, while others write: who shares a commit with it shares
// its failure, and nobody is told wrong.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Mount(t)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data")})
	l := newLedger(t, p, names("passing", 4)...)
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		for _, f := range []faultdisk.Fault{
			{File: wal, Op: faultdisk.Write}, {File: wal, Op: faultdisk.Sync}, {File: wal, Op: faultdisk.Write, Applied: true},
			{File: wal, Op: faultdisk.Sync, Applied: true}, {File: segments, Op: faultdisk.Write}, {File: segments, Op: faultdisk.Write, Applied: true},
		} {
			f.Err, f.Times = errno, 1
			disk.Fail(f)
			l.crowd(t, 4)
			if hits := disk.Heal(); hits != 1 {
				t.Errorf("%+v was met %d times, want once", f, hits)
			}
		}
	}
	l.well(t)
	l.survive(t)
}

// A trail whose segment is full needs another: until one can be made nothing
// is answered that would have to be in it.
func TestNoSegmentCanBeMade(t *testing.T) {
	t.Parallel()
	disk := faultdisk.Mount(t)
	p := apitest.StartProcess(t, apitest.Options{Dir: filepath.Join(disk.Dir, "data")})
	disk.Fail(faultdisk.Fault{File: segments, Op: faultdisk.Create, Err: syscall.EIO})
	l := newLedger(t, p, "segment/a") // stored with its event, which needs no segment
	for range 3 {
		if l.get(t, "segment/a") == nil {
			t.Error("a read that cannot be recorded was answered")
		}
		if err := l.put(t, "segment/a"); err != nil {
			t.Errorf("a write: %v", err)
		}
	}
	wantLogged(t, p, "beginning a trail segment")
	disk.Heal()
	l.well(t)
	l.survive(t)
}
