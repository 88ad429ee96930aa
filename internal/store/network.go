package store

import (
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/network"
)

// networkObjects runs a query for kind and body.
func (tx *Tx) networkObjects(add func(network.Object), query string, args ...any) error {
	return tx.each(func(rows *sql.Rows) error {
		var kind, body string
		if err := rows.Scan(&kind, &body); err != nil {
			return err
		}
		o := network.NewObject(network.Kind(kind))
		if o == nil {
			return fmt.Errorf("reading a record: %q is no kind of network object", kind)
		}
		add(o)
		return fromJSON(body, o)
	}, query, args...)
}

// Network returns what an account has in a region, in the order of IDs: the
// objects of the kinds, or all of them when none is named.
func (tx *Tx) Network(account, region string, kinds ...network.Kind) (*network.Snapshot, error) {
	s := &network.Snapshot{Account: account, Region: region}
	query, args := `SELECT kind, body FROM network_object WHERE account = $1 AND region = $2`, []any{account, region}
	if len(kinds) > 0 {
		var places []string
		for _, k := range kinds {
			args = append(args, string(k))
			places = append(places, "$"+strconv.Itoa(len(args)))
		}
		query += ` AND kind IN (` + strings.Join(places, ", ") + `)`
	}
	return s, tx.networkObjects(s.Add, query+` ORDER BY id`, args...)
}

// VPCNetwork returns what belongs to one VPC, itself included, in the order
// of IDs; nothing when it does not exist.
func (tx *Tx) VPCNetwork(account, region, vpcID string) (*network.Snapshot, error) {
	s := &network.Snapshot{Account: account, Region: region}
	return s, tx.networkObjects(s.Add, `SELECT kind, body FROM network_object WHERE account = $1 AND region = $2 AND vpc = $3 ORDER BY id`,
		account, region, vpcID)
}

// NetworkObject returns one object; the error is of kind NotFound, without
// message, when there is none.
func (tx *Tx) NetworkObject(account, region, id string) (network.Object, error) {
	var found network.Object
	err := tx.networkObjects(func(o network.Object) { found = o },
		`SELECT kind, body FROM network_object WHERE account = $1 AND region = $2 AND id = $3`, account, region, id)
	if err == nil && found == nil {
		return nil, fault.New(fault.NotFound, "")
	}
	return found, err
}

// SaveNetwork stores objects, new or changed. An object keeps its kind.
func (tx *Tx) SaveNetwork(account, region string, objects ...network.Object) error {
	tx.Touch(NetworkTopic(account, region))
	for _, o := range objects {
		body, err := toJSON(o)
		if err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO network_object (account, region, id, kind, vpc, body) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (account, region, id) DO UPDATE SET vpc = excluded.vpc, body = excluded.body`,
			account, region, o.Base().ID, string(o.Kind()), o.Base().VPCID, body)
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteNetwork removes an object; the error is of kind NotFound, without
// message, when there is none.
func (tx *Tx) DeleteNetwork(account, region, id string) error {
	tx.Touch(NetworkTopic(account, region))
	return tx.change(`DELETE FROM network_object WHERE account = $1 AND region = $2 AND id = $3`, account, region, id)
}

// HasNetwork reports whether ClaimNetwork was called for an account's
// region.
func (tx *Tx) HasNetwork(account, region string) (bool, error) {
	var n int
	err := tx.one([]any{&n}, `SELECT count(*) FROM network_account WHERE account = $1 AND region = $2`, account, region)
	return n > 0, err
}

// ClaimNetwork notes that the account's first VPC in the region is made. The
// error is of kind Exists, without message, when that was noted before.
func (tx *Tx) ClaimNetwork(account, region string) error {
	return tx.insert(`INSERT INTO network_account (account, region) VALUES ($1, $2) ON CONFLICT DO NOTHING`, account, region)
}

// useFunctionNetwork makes a version of a function hold interfaces for its
// VpcConfig, and none besides: what it lacks is made, what nothing holds any
// more is removed. It writes nothing when that is the same.
func (tx *Tx) useFunctionNetwork(f *function.Function, c *function.Config) error {
	holder := functionHolder(f.ID, c.Version)
	held, err := tx.heldInterfaces(holder, holder)
	if err != nil {
		return err
	}
	if c.VPC == nil || len(c.VPC.SubnetIDs) == 0 {
		if len(held) == 0 {
			return nil
		}
		return tx.releaseNetwork(holder, holder)
	}
	s, err := tx.VPCNetwork(f.Account, f.Region, c.VPC.VPCID)
	if err != nil {
		return err
	}
	used, made := s.Attach(f.Name, network.VPCConfig{SubnetIDs: c.VPC.SubnetIDs, GroupIDs: c.VPC.SecurityGroupIDs}, time.Now())
	same := len(made) == 0 && len(held) == len(used)
	for _, i := range used {
		same = same && held[i.ID].id != ""
	}
	if same {
		return nil
	}
	for _, i := range made {
		if err := tx.SaveNetwork(f.Account, f.Region, i); err != nil {
			return err
		}
	}
	if _, err := tx.exec(`DELETE FROM network_use WHERE holder = $1`, holder); err != nil {
		return err
	}
	for _, i := range used {
		_, err := tx.exec(`INSERT INTO network_use (holder, account, region, interface_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			holder, f.Account, f.Region, i.ID)
		if err != nil {
			return err
		}
	}
	return tx.dropInterfaces(held)
}

// heldInterface is an interface that versions of functions hold.
type heldInterface struct{ account, region, id string }

// heldInterfaces returns what the holders from the first to the last name
// hold, by ID.
func (tx *Tx) heldInterfaces(from, to string) (map[string]heldInterface, error) {
	held := map[string]heldInterface{}
	err := tx.each(func(rows *sql.Rows) error {
		var i heldInterface
		err := rows.Scan(&i.account, &i.region, &i.id)
		held[i.id] = i
		return err
	}, `SELECT account, region, interface_id FROM network_use WHERE holder >= $1 AND holder <= $2`, from, to)
	return held, err
}

// releaseNetwork removes the holders from the first to the last name and the
// interfaces that nothing else holds. AWS removes those some twenty minutes
// later.
func (tx *Tx) releaseNetwork(from, to string) error {
	held, err := tx.heldInterfaces(from, to)
	if err != nil || len(held) == 0 {
		return err
	}
	if _, err := tx.exec(`DELETE FROM network_use WHERE holder >= $1 AND holder <= $2`, from, to); err != nil {
		return err
	}
	return tx.dropInterfaces(held)
}

// dropInterfaces removes those of the interfaces that nothing holds any
// more.
func (tx *Tx) dropInterfaces(held map[string]heldInterface) error {
	for _, i := range held {
		tx.Touch(NetworkTopic(i.account, i.region))
		_, err := tx.exec(`DELETE FROM network_object WHERE account = $1 AND region = $2 AND id = $3 AND NOT EXISTS (
			SELECT 1 FROM network_use u WHERE u.account = $1 AND u.region = $2 AND u.interface_id = $3)`, i.account, i.region, i.id)
		if err != nil {
			return err
		}
	}
	return nil
}
