package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/keyturn/keyturn/internal/backup"
	"github.com/keyturn/keyturn/internal/integrity"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

type trailCmd struct {
	Verify trailVerifyCmd `cmd:"" help:"Verify the seals of the trail; exit with 3 if something was changed, removed or inserted."`
}

type trailVerifyCmd struct {
	JSON        bool `name:"json" help:"Print JSON."`
	storedFlags `embed:""`
}

// Run verifies the trail, whether or not a server is at work.
func (c *trailVerifyCmd) Run(p *program) error {
	r, err := c.verify(p.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "    ")
		err = e.Encode(trailVerdict(r))
	} else {
		err = printVerdict(p.stdout, r)
	}
	if err == nil && !r.Whole() {
		err = exitError(exitFindings)
	}
	return err
}

func (c *trailVerifyCmd) verify(ctx context.Context) (*integrity.Report, error) {
	keepers, err := c.keepers(ctx)
	if err != nil {
		return nil, err
	}
	s, _, err := backup.Attach(ctx, c.Data, c.Store)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var wrapped []byte
	if err := s.View(ctx, func(tx *store.Tx) (err error) {
		wrapped, err = tx.SealerKey()
		return err
	}); err != nil {
		return nil, err
	}
	if wrapped == nil {
		return nil, errors.New("no server has been started on this store yet")
	}
	sealer, err := key.NewSealer(ctx, keepers, wrapped)
	if err != nil {
		return nil, fmt.Errorf("opening the store with the root key %s: %w", keepers.ID(), err)
	}
	keys, err := integrity.NewKeys(sealer)
	if err != nil {
		return nil, err
	}
	node, err := server.ReadNode(c.Data)
	if err != nil {
		return nil, err
	}
	return integrity.Verify(ctx, s, keys, filepath.Join(c.Data, backup.TrailFolder), node)
}

// sealNumber is how a seal is shown: its number and the first half of its
// bytes.
func sealNumber(s *store.TrailSeal) string {
	return fmt.Sprintf("%d:%s", s.Number, hex.EncodeToString(s.Seal[:min(16, len(s.Seal))]))
}

func printVerdict(w io.Writer, r *integrity.Report) error {
	text := fmt.Appendf(nil, "Stored events:  %d whole under %d seals, %d not sealed yet\n", r.Sealed, r.Seals, r.Open)
	if r.Newest != nil {
		text = fmt.Appendf(text, "                newest seal %s of %s\n", sealNumber(r.Newest), r.Newest.SealedAt.Format(time.RFC3339))
	}
	text = fmt.Appendf(text, "Read segments:  %d whole with %d events, %d events not sealed\n", r.Segments.Segments, r.Segments.Sealed, r.Segments.Open)
	for _, node := range r.Elsewhere {
		text = fmt.Appendf(text, "                those of node %s are in its own data folder: verify them there\n", node)
	}
	for _, list := range [][]trail.Fault{r.Faults, r.Segments.Faults} {
		for _, f := range list {
			text = fmt.Appendf(text, "TAMPERED: %s: %s\n", f.Where, f.What)
		}
	}
	if r.Whole() {
		text = append(text, "Nothing was changed, removed, inserted or reordered.\n"...)
	}
	_, err := w.Write(text)
	return err
}

// trailVerdict is the report in JSON.
func trailVerdict(r *integrity.Report) any {
	type fault struct{ Where, What string }
	out := struct {
		Whole                           bool
		SealedEvents, Seals, OpenEvents int
		NewestSeal                      string `json:",omitempty"`
		Segments, SealedReads           int
		OpenReads                       int
		NodesElsewhere                  []string `json:",omitempty"`
		Faults                          []fault
	}{
		Whole: r.Whole(), SealedEvents: r.Sealed, Seals: r.Seals, OpenEvents: r.Open,
		Segments: r.Segments.Segments, SealedReads: r.Segments.Sealed, OpenReads: r.Segments.Open, NodesElsewhere: r.Elsewhere, Faults: []fault{},
	}
	if r.Newest != nil {
		out.NewestSeal = sealNumber(r.Newest)
	}
	for _, list := range [][]trail.Fault{r.Faults, r.Segments.Faults} {
		for _, f := range list {
			out.Faults = append(out.Faults, fault{f.Where, f.What})
		}
	}
	return out
}
