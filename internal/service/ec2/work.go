package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// work is one call at the network of its account and region.
type work struct {
	*network.Snapshot
	service *Service
	call    *wire.Call
	tx      *store.Tx
	now     time.Time
	changed []network.Object
	removed []string
}

// ensure makes the default VPC of an account that never had a network in the
// region.
func (s *Service) ensure(ctx context.Context, account, region string) error {
	has := false
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		has, err = tx.HasNetwork(account, region)
		return err
	})
	if err != nil || has {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.ClaimNetwork(account, region); err != nil {
			if fault.Is(err, fault.Exists) {
				return nil
			}
			return err
		}
		snapshot := &network.Snapshot{Account: account, Region: region}
		_, made := snapshot.NewDefault(time.Now().UTC().Truncate(time.Second))
		return tx.SaveNetwork(account, region, made...)
	})
}

// open loads the caller's network.
func (s *Service) open(tx *store.Tx, call *wire.Call) (*work, error) {
	snapshot, err := tx.Network(call.Principal.Account, call.Region)
	return &work{Snapshot: snapshot, service: s, call: call, tx: tx, now: call.Time.UTC().Truncate(time.Second)}, err
}

// change calls fn with the network and stores what fn changed with the
// call's event. fn authorises the call on everything that it concerns. With
// dry set nothing is stored, and the answer is that it would have been (AWS
// docs).
func (s *Service) change(ctx context.Context, call *wire.Call, dry *bool, out wire.Output, fn func(*work) error) error {
	if err := s.ensure(ctx, call.Principal.Account, call.Region); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		call.Resources = nil
		w, err := s.open(tx, call)
		if err != nil {
			return err
		}
		if err := fn(w); err != nil {
			return err
		}
		if err := refuseDry(dry); err != nil {
			return err
		}
		if err := w.store(); err != nil {
			return err
		}
		return tx.Record(call.Event(out))
	})
}

// view calls fn with the network, once the call is authorised to see it all.
func (s *Service) view(ctx context.Context, call *wire.Call, dry *bool, fn func(*work) error) error {
	if err := unauthorized(s.Guard.Action(call, "")); err != nil {
		return err
	}
	if err := refuseDry(dry); err != nil {
		return err
	}
	if err := s.ensure(ctx, call.Principal.Account, call.Region); err != nil {
		return err
	}
	return s.Store.View(ctx, func(tx *store.Tx) error {
		w, err := s.open(tx, call)
		if err != nil {
			return err
		}
		return fn(w)
	})
}

// refuseDry ends a dry run (AWS: recorded).
func refuseDry(dry *bool) error {
	if dry != nil && *dry {
		return fault.New(dryRun, "Request would have succeeded, but DryRun flag is set.")
	}
	return nil
}

// save notes objects as changed or new; the network must have them.
func (w *work) save(objects ...network.Object) {
	for _, o := range objects {
		if !slices.Contains(w.changed, o) {
			w.changed = append(w.changed, o)
		}
	}
}

// make adds a new object to the network.
func (w *work) make(o network.Object) {
	w.Add(o)
	w.save(o)
}

// remove takes objects out of the network.
func (w *work) remove(objects ...network.Object) {
	for _, o := range objects {
		w.Remove(o)
		w.changed = slices.DeleteFunc(w.changed, func(c network.Object) bool { return c == o })
		w.removed = append(w.removed, o.Base().ID)
	}
}

// store writes what changed.
func (w *work) store() error {
	if err := w.tx.SaveNetwork(w.Account, w.Region, w.changed...); err != nil {
		return err
	}
	for _, id := range w.removed {
		if err := w.tx.DeleteNetwork(w.Account, w.Region, id); err != nil {
			return err
		}
	}
	return nil
}

// eventTypes are the types of resources in events (AWS docs).
var eventTypes = map[network.Kind]string{
	network.KindVPC: "AWS::EC2::VPC", network.KindSubnet: "AWS::EC2::Subnet", network.KindGroup: "AWS::EC2::SecurityGroup",
	network.KindACL: "AWS::EC2::NetworkAcl", network.KindRouteTable: "AWS::EC2::RouteTable",
	network.KindInternetGateway: "AWS::EC2::InternetGateway", network.KindNATGateway: "AWS::EC2::NatGateway",
	network.KindEndpoint: "AWS::EC2::VPCEndpoint", network.KindInterface: "AWS::EC2::NetworkInterface",
}

// concerns notes what the call's event is about.
func (w *work) concerns(o network.Object) {
	w.call.Resources = append(w.call.Resources, trail.Resource{Type: eventTypes[o.Kind()], Name: network.ARN(w.Account, w.Region, o.Kind(), o.Base().ID)})
}

// base is the record of something new. Its ID is random, so that a
// transaction that runs twice makes another.
func (w *work) base(prefix, vpcID string) network.Record {
	return network.Record{ID: network.NewID(prefix), VPCID: vpcID, CreatedAt: w.now}
}

// digest stands for a request, so that its repetition is known.
func digest(in wire.Input) string {
	e := wire.NewTrailEncoder(nil)
	in.EncodeJSON(e)
	sum := sha256.Sum256(e.Bytes())
	return hex.EncodeToString(sum[:])
}

// repeated finds what an earlier request with the same token made; the zero
// T if there was none. Another request with the token is refused.
func repeated[T network.Object](list []T, token *string, in wire.Input) (found T, err error) {
	if token == nil || *token == "" {
		return found, nil
	}
	for _, o := range list {
		if b := o.Base(); b.Token == *token {
			if b.Request != digest(in) {
				return found, fault.New(tokenMismatch, "The client token '%s' was already used with different request parameters.", *token)
			}
			return o, nil
		}
	}
	return found, nil
}

// remember notes the request that makes an object.
func remember(r *network.Record, token *string, in wire.Input) {
	if token != nil && *token != "" {
		r.Token, r.Request = *token, digest(in)
	}
}
