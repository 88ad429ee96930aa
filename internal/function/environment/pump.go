//go:build unix

package environment

import (
	"os"
	"sync"
	"syscall"
)

// pump moves a process tree's output into a log as it comes.
type pump struct {
	r    *os.File
	mu   sync.Mutex
	buf  []byte
	sink func([]byte)
	done chan struct{}
}

// newPump starts to read r; sink gets the bytes in order. It ends with r.
func newPump(r *os.File, sink func([]byte)) *pump {
	p := &pump{r: r, buf: make([]byte, 32<<10), sink: sink, done: make(chan struct{})}
	go p.run()
	return p
}

func (p *pump) run() {
	defer close(p.done)
	defer p.r.Close()
	raw, err := p.r.SyscallConn()
	if err != nil {
		return
	}
	// Read waits for more whenever drain says that nothing is left now.
	_ = raw.Read(p.drain)
}

// drain reads what is there and reports whether the output has ended. Under
// the lock, so that flush and run never swap the order of two pieces.
func (p *pump) drain(fd uintptr) (ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		n, err := syscall.Read(int(fd), p.buf)
		switch {
		case n > 0:
			p.sink(p.buf[:n])
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return false
		default:
			return true
		}
	}
}

// flush reads what the process has written up to now.
func (p *pump) flush() {
	raw, err := p.r.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { p.drain(fd) })
}

// stop ends the pump although somebody still holds the other end.
func (p *pump) stop() {
	p.r.Close()
	<-p.done
}
