package rotation

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
)

// heldType is the errorType by which a function says in setSecret that it
// waits for readers of an old version: a postponement, not a failure.
const heldType = "RotationHeld"

// hold is such an answer. It is an error only to the step.
type hold struct {
	until time.Time
	// readers are the ARNs of who is awaited.
	readers []string
}

// Error implements error.
func (h *hold) Error() string {
	text := "the function waits until " + h.until.Format(time.RFC3339)
	if len(h.readers) > 0 {
		text += " for " + strings.Join(h.readers, ", ") + " to read the secret again"
	}
	return text
}

// maxReaders bounds how many readers a report names.
const maxReaders = 20

// Of a function's message only what cannot be a secret is taken: the end of
// the hold, and the ARNs of principals.
// They are compiled when the first one comes: this is also linked into every
// function that a built-in rotator runs as, where none does.
var (
	heldUntil  = onFirstUse(`\buntil (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)`)
	heldReader = onFirstUse(`\barn:aws[a-z-]*:(?:iam|sts)::\d{12}:(?:root\b|(?:user|role|assumed-role|federated-user)/[A-Za-z0-9_+=,.@/-]{0,253}[A-Za-z0-9_+=@/-])`)
)

func onFirstUse(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// holdIn reads a function's error payload as a hold; nil if it is none, or
// does not say when it ends.
func holdIn(payload []byte) *hold {
	var e struct {
		ErrorType    string `json:"errorType"`
		ErrorMessage string `json:"errorMessage"`
	}
	if json.Unmarshal(payload, &e) != nil || e.ErrorType != heldType {
		return nil
	}
	found := heldUntil().FindStringSubmatch(e.ErrorMessage)
	if found == nil {
		return nil
	}
	until, err := time.Parse(time.RFC3339, found[1])
	if err != nil {
		return nil
	}
	readers := heldReader().FindAllString(e.ErrorMessage, -1)
	slices.Sort(readers)
	readers = slices.Compact(readers)
	return &hold{until: until, readers: readers[:min(len(readers), maxReaders)]}
}

// postpone stores that the run waits, and says so. held is false when the
// hold is over by the engine's clock: the answer is then a failure like any
// other, or a function could keep a rotation for ever.
func (d *driver) postpone(work context.Context, h *hold, took time.Duration) (held bool, err error) {
	err = d.change(work, func(tx *store.Tx, s, after *secret.Secret, run *secret.RotationRun) error {
		if held = run.Hold(h.until, time.Now()); !held {
			return nil
		}
		if err := d.save(tx, s, after, run); err != nil {
			return err
		}
		return d.report(tx, report{
			Status: statusHeld, Step: run.Step, DurationMS: took.Milliseconds(), Error: h.Error(),
			RetryAt: rfc3339(run.NotBefore), HeldUntil: rfc3339(h.until), Readers: h.readers,
		})
	})
	if err != nil || !held {
		return held, err
	}
	d.cfg.Logger.Info("rotation held", "secret", d.secretARN, "until", h.until, "readers", h.readers)
	return true, nil
}
