package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// Unsafe says that nothing would keep a function from the server's own files,
// so that a server refuses to run functions.
func (c HostCapability) Unsafe() bool { return c.unsafe }

// RuntimeSupport is what would run the functions of one runtime.
type RuntimeSupport struct {
	Runtime string
	// Path is the interpreter, "" if there is none; then Missing says what is.
	Path string
	// Notice says that it is not of the version that the runtime names.
	Notice, Missing string
}

// Survey asks the host how it confines functions, and what would run them for
// each runtime that needs an interpreter, as a Pool with this configuration
// would; of that, the interpreters and StrictRuntimes count. It starts each
// interpreter once, in a temporary folder.
func Survey(ctx context.Context, cfg Config) (c HostCapability, list []RuntimeSupport, err error) {
	cfg = cfg.withDefaults()
	c = probeHost(cfg)
	dir, err := os.MkdirTemp("", "keyturn-survey-")
	if err != nil {
		return c, nil, fmt.Errorf("trying interpreters: %w", err)
	}
	defer removeTree(dir)
	cfg.Dir = filepath.Join(dir, "d")
	h, err := newHost(cfg, c)
	if err != nil {
		return c, nil, fmt.Errorf("trying interpreters: %w", err)
	}
	defer removeTree(h.temporary)
	interpreters := newInterpreters(cfg)
	for _, rt := range function.Runtimes() {
		if !rt.Served || rt.Family == function.Provided {
			continue
		}
		found, err := interpreters.find(ctx, h, rt.ID)
		s := RuntimeSupport{Runtime: rt.ID, Path: found.path, Notice: found.notice}
		if err != nil {
			s.Missing = err.Error()
			if f, ok := errors.AsType[*fault.Error](err); ok && f.Message != "" {
				s.Missing = f.Message
			}
		}
		list = append(list, s)
	}
	return c, list, ctx.Err()
}
