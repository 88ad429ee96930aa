package egress

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// attempts is how many calls of one guard's processes are worked on at
	// once; an attempt takes some microseconds, or one tick of the kernel's
	// clock.
	attempts = 8
	// maxPause is the longest time between two looks at a call that waits.
	maxPause = 100 * time.Millisecond
	// decideLimit bounds one decision.
	decideLimit = 10 * time.Second
	// lostLife is how long an answer is kept that a signal kept from its
	// caller: the kernel repeats such a call at once.
	lostLife = 2 * time.Second
)

// Guard carries out what processes under a filter ask for.
type Guard struct {
	// Listener is the descriptor that Restrict made.
	Listener int
	// Decide judges destinations.
	Decide Decide
	// Hole takes what is dropped.
	Hole *Hole
	// Folder, if not "", is the only folder with Unix sockets for the
	// processes. Otherwise it is what they see as their root.
	Folder string
	// Logger takes what goes wrong; never nil.
	Logger *slog.Logger

	file  *os.File
	slots chan struct{}
	// dialing serialises calls that change a socket's timeout for a moment.
	dialing sync.Mutex
	// rights serialises messages that take descriptors along.
	rights sync.Mutex
	mu     sync.Mutex
	lost   map[callKey]lostAnswer
	warned bool
}

// notification is a call that waits (linux/seccomp.h: struct seccomp_notif).
type notification struct {
	id    uint64
	pid   uint32 // of the thread, as this process numbers it
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response ends a call (linux/seccomp.h: struct seccomp_notif_resp).
type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// result is what the caller gets: a value, or an error.
type result struct {
	value int64
	errno unix.Errno
}

// callKey tells the repetition of a call whose answer was lost.
type callKey struct {
	pid   uint32
	nr    int32
	args  [6]uint64
	inode uint64
}

type lostAnswer struct {
	result
	until time.Time
}

// Run answers until ctx ends or no process under the filter is left, and
// closes the descriptor. Calls that still wait then fail with ENOSYS.
func (g *Guard) Run(ctx context.Context) error {
	if err := unix.SetNonblock(g.Listener, true); err != nil {
		return errors.Join(err, unix.Close(g.Listener))
	}
	g.file = os.NewFile(uintptr(g.Listener), "seccomp")
	g.slots, g.lost = make(chan struct{}, attempts), map[callKey]lostAnswer{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = g.file.Close() }) // wakes the reader
	defer func() {
		if stop() {
			_ = g.file.Close() // nothing was written
		}
	}()
	conn, err := g.file.SyscallConn()
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	for {
		n, err := receive(conn)
		switch {
		case ctx.Err() != nil, errors.Is(err, errNobody):
			return nil
		case err != nil:
			return err
		}
		working.Go(func() { g.handle(ctx, n) })
	}
}

// errNobody tells that no process under the filter is left.
var errNobody = errors.New("no process is left")

// receive waits for the next call.
func receive(conn interface {
	Read(func(uintptr) bool) error
}) (n notification, err error) {
	waited := conn.Read(func(fd uintptr) bool {
		for {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err = unix.Poll(poll, 0); err != nil && err != unix.EINTR {
				return true
			}
			if poll[0].Revents&unix.POLLIN == 0 {
				err = errNobody
				return poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
			}
			n = notification{} // the kernel wants zeros
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
			switch errno {
			case 0:
				err = nil
				return true
			case unix.ENOENT, unix.EINTR: // the caller is gone
			default:
				err = errno
				return true
			}
		}
	})
	if waited != nil {
		return n, waited
	}
	return n, err
}

// handle carries out one call, in as many attempts as it takes to wait.
func (g *Guard) handle(ctx context.Context, n notification) {
	c := call{guard: g, n: n, began: time.Now()}
	for pause := time.Millisecond; ; pause = min(pause*2, maxPause) {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		r, done := c.attempt(ctx)
		<-g.slots
		if done {
			g.answer(&c, r)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if !g.waits(n.id) {
			return
		}
	}
}

// waits reports whether the caller still waits: it was not killed, nor
// interrupted by a signal.
func (g *Guard) waits(id uint64) bool {
	return g.control(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id)) == nil
}

// answer ends the call. A signal may have come before: then the kernel
// repeats the call, which must not happen twice.
func (g *Guard) answer(c *call, r result) {
	resp := response{id: c.n.id, val: r.value, errno: -int32(r.errno)}
	err := g.control(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&resp))
	if err != unix.ENOENT || !c.acted {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for key, a := range g.lost {
		if now.After(a.until) {
			delete(g.lost, key)
		}
	}
	g.lost[c.key()] = lostAnswer{r, now.Add(lostLife)}
}

// repeated returns the answer of a call that was carried out before.
func (g *Guard) repeated(key callKey) (result, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, ok := g.lost[key]
	delete(g.lost, key)
	return a.result, ok && time.Now().Before(a.until)
}

func (g *Guard) control(request uintptr, arg unsafe.Pointer) error {
	conn, err := g.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// warn logs once that calls fail because this process may not look into the
// callers.
func (g *Guard) warn(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.warned {
		g.warned = true
		g.Logger.Warn("a function's connections fail: the server may not look into its process", "error", err)
	}
}
