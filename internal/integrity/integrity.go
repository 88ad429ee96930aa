// Package integrity makes changes of the trail show.
//
// Two kinds of events are sealed in two ways, both with keys that follow from
// the root key. A read's event is sealed with the write that records it: see
// package trail. A change's event is stored in the transaction of its change,
// where waiting for a seal would make writers wait for each other; so a Sealer
// seals stored events a few seconds later, on one node at a time. A seal covers
// up to 1000 events. It holds a proof for each, an HMAC over all columns, and
// is itself an HMAC over them and the seal before it. So an event that was
// changed, removed or inserted, or whose number was, is found by its number.
//
// Transactions may commit in another order than their events are numbered in.
// The Sealer therefore stays some seconds behind, and looks again for what came
// late; a seal may cover numbers below those of an earlier one.
//
// What retention removes is noted in an anchor, which is sealed too: Verify
// begins there. The newest events, which no seal covers yet, can be changed
// unnoticed; and whoever puts the whole store and the segments back as they
// were, seals included, is found by nobody who kept no note of a later seal.
package integrity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// Keys are the keys of the seals.
type Keys struct {
	// Segments is that of trail.Recorder.Seal and Prune.
	Segments                    []byte
	event, seal, anchored, head []byte
}

// NewKeys derives the keys from the deployment's Sealer.
func NewKeys(s *key.Sealer) (*Keys, error) {
	var k Keys
	for purpose, to := range map[string]*[]byte{
		"trail segments": &k.Segments, "trail events": &k.event, "trail seals": &k.seal, "trail anchor": &k.anchored, "trail heads": &k.head,
	} {
		var err error
		if *to, err = s.Key(purpose); err != nil {
			return nil, err
		}
	}
	return &k, nil
}

// proofSize is the length of an event's proof: an HMAC-SHA-256, cut.
const proofSize = 16

// proof is what a seal holds of one event.
type proof struct {
	seq int64
	sum [proofSize]byte
}

func (k *Keys) proof(e *store.StoredEvent) proof {
	p := proof{seq: e.Seq}
	copy(p.sum[:], mac(k.event, e.Text))
	return p
}

func mac(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, b := range parts {
		m.Write(b)
	}
	return m.Sum(nil)
}

// encodeProofs writes proofs, whose numbers grow: each as the distance from
// the one before, and the sum.
func encodeProofs(list []proof) []byte {
	var b []byte
	last := int64(0)
	for _, p := range list {
		b = binary.AppendUvarint(b, uint64(p.seq-last))
		b = append(b, p.sum[:]...)
		last = p.seq
	}
	return b
}

var errProofs = errors.New("the seal's list of events was changed")

func decodeProofs(b []byte) ([]proof, error) {
	var list []proof
	for last := int64(0); len(b) > 0; {
		d, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+proofSize || d == 0 || d > uint64(1<<63-1-last) {
			return nil, errProofs
		}
		last += int64(d)
		p := proof{seq: last}
		copy(p.sum[:], b[n:])
		list = append(list, p)
		b = b[n+proofSize:]
	}
	return list, nil
}

// sealOf is the seal over a TrailSeal's members behind the seal before it,
// which is nil for the first.
func (k *Keys) sealOf(s *store.TrailSeal, before []byte) []byte {
	var b []byte
	for _, n := range []int64{s.Number, s.High, int64(s.Events), s.SealedAt.UnixMicro(), int64(len(before)), int64(len(s.Node))} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return mac(k.seal, b, before, []byte(s.Node), s.Proofs)
}

// anchor tells what retention removed from the stored events: all up to the
// number Through, and the seals up to Number, whose last was Seal.
type anchor struct {
	Through int64
	Number  int64
	Seal    []byte
	At      time.Time
	MAC     []byte
}

func (k *Keys) anchorMAC(a *anchor) []byte {
	return mac(k.anchored, fmt.Appendf(nil, "%d %d %x %d", a.Through, a.Number, a.Seal, a.At.UnixMicro()))
}

// loadAnchor returns the anchor; a zero one when there is none.
func (k *Keys) loadAnchor(tx *store.Tx) (*anchor, error) {
	text, err := tx.TrailAnchor()
	if err != nil || text == "" {
		return &anchor{}, err
	}
	var a anchor
	if json.Unmarshal([]byte(text), &a) != nil || !hmac.Equal(a.MAC, k.anchorMAC(&a)) {
		return nil, errAnchor
	}
	return &a, nil
}

var errAnchor = errors.New("the record of what retention removed was changed")

// Drop removes up to limit of the oldest stored events before a time, and
// leaves an anchor. It returns how many it removed.
func (k *Keys) Drop(tx *store.Tx, now, before time.Time, limit int) (int64, error) {
	dropped, through, err := tx.DropEvents(before, limit)
	if err != nil || dropped == 0 {
		return 0, err
	}
	last, err := tx.DropTrailSeals(through)
	if err != nil {
		return 0, err
	}
	a, err := k.loadAnchor(tx)
	if errors.Is(err, errAnchor) {
		// Disk must stay bounded all the same; the anchor begins anew, and
		// Verify tells that seals are missing.
		a, err = &anchor{}, nil
	}
	if err != nil {
		return 0, err
	}
	a.Through, a.At = max(a.Through, through), now.UTC().Truncate(time.Microsecond)
	if last != nil {
		a.Number, a.Seal = last.Number, last.Seal
	}
	a.MAC = k.anchorMAC(a)
	text, err := json.Marshal(a)
	if err != nil {
		return 0, err
	}
	return dropped, tx.SetTrailAnchor(string(text))
}

// NoteHead stores how far a node's segments reach, so that Verify notices when
// their newest part was cut off.
func (k *Keys) NoteHead(tx *store.Tx, h *trail.Head, now time.Time) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	at := now.UTC().Truncate(time.Microsecond)
	return tx.SetTrailHead(&store.TrailHead{Chain: h.Chain, NotedAt: at, Body: string(body), Seal: mac(k.head, []byte(h.Chain), body)})
}
