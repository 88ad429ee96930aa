package server

import (
	"context"
	"errors"
	"sync"
)

// group runs functions until the first fails or the group is stopped.
type group struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.stop = context.WithCancel(ctx)
	return g
}

// start runs fn; failed is called if it returns an error.
func (g *group) start(fn func(context.Context) error, failed func()) {
	g.wg.Go(func() {
		if err := fn(g.ctx); err != nil {
			g.mu.Lock()
			g.err = errors.Join(g.err, err)
			g.mu.Unlock()
			failed()
		}
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	g.stop()
	return g.err
}
