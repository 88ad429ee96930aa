// Command dialer is a Lambda function in Go for the tests: it connects to the
// addresses that it is asked to, many times at once, and answers how often
// each gave "hello", timed out, or failed otherwise.
package main

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Networks  []string
	Addresses []string
	Times     int
	Waits     []int // in seconds, by address
}

type count struct{ Hello, Timeout, Other int }

func handle(ctx context.Context, e event) (map[string]*count, error) {
	stop := make(chan struct{})
	defer close(stop)
	go func() { // has the runtime preempt everybody all the time
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	counts := map[string]*count{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, address := range e.Addresses {
		c := &count{}
		counts[address] = c
		for range e.Times {
			wg.Go(func() {
				err := greet(ctx, e.Networks[i], address, time.Duration(e.Waits[i])*time.Second)
				mu.Lock()
				defer mu.Unlock()
				switch timeout, ok := errors.AsType[net.Error](err); {
				case err == nil:
					c.Hello++
				case ok && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
					c.Timeout++
				default:
					c.Other++
				}
			})
		}
	}
	wg.Wait()
	return counts, nil
}

func greet(ctx context.Context, network, address string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if network == "udp" {
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
	}
	b := make([]byte, 5)
	n, err := conn.Read(b)
	if err == nil && string(b[:n]) != "hello" {
		err = errors.New("another answer")
	}
	return err
}

func main() { lambda.Start(handle) }
