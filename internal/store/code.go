package store

import (
	"database/sql"
	"strconv"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

// Code returns the zip with a base64 SHA-256. The error is of kind NotFound,
// without message, when no function and no layer needs it any more.
func (tx *Tx) Code(sha256 string) ([]byte, error) {
	var zip []byte
	err := tx.one([]any{&zip}, `SELECT zip FROM code WHERE sha256 = $1`, sha256)
	return zip, err
}

// SaveCode stores a zip under its base64 SHA-256. In the same transaction
// something that needs it must be stored, or it stays for ever.
func (tx *Tx) SaveCode(sha256 string, zip []byte) error {
	_, err := tx.exec(`INSERT INTO code (sha256, zip) VALUES ($1, $2) ON CONFLICT DO NOTHING`, sha256, zip)
	return err
}

// functionHolder names a version of a function in code_use. No version sorts
// after "~".
func functionHolder(id, version string) string { return "function/" + id + "/" + version }

func layerHolder(l *function.LayerVersion) string {
	return "layer/" + l.Account + "/" + l.Region + "/" + l.Name + "/" + strconv.FormatInt(l.Version, 10)
}

// useFunctionCode makes a version of a function hold what it is made from,
// and nothing else.
func (tx *Tx) useFunctionCode(f *function.Function, c *function.Config) error {
	sizes := map[string]int64{}
	for _, code := range c.Codes() {
		sizes[code] = 0 // a layer counts where it is published
	}
	sizes[c.CodeSHA256] = c.CodeSize
	return tx.useCode(functionHolder(f.ID, c.Version), f.Account, f.Region, sizes)
}

// useCode makes the holder need the given zips and drops what it needed
// before. It writes nothing when that is the same.
func (tx *Tx) useCode(holder, account, region string, sizes map[string]int64) error {
	held, err := tx.heldCode(holder, holder)
	if err != nil {
		return err
	}
	same := len(held) == len(sizes)
	for _, code := range held {
		if _, ok := sizes[code]; !ok {
			same = false
		}
	}
	if same {
		return nil
	}
	if _, err := tx.exec(`DELETE FROM code_use WHERE holder = $1`, holder); err != nil {
		return err
	}
	for code, size := range sizes {
		_, err := tx.exec(`INSERT INTO code_use (holder, sha256, account, region, size) VALUES ($1, $2, $3, $4, $5)`, holder, code, account, region, size)
		if err != nil {
			return err
		}
	}
	return tx.dropCode(held)
}

// heldCode lists what the holders from the first to the last name need.
func (tx *Tx) heldCode(from, to string) ([]string, error) {
	var held []string
	err := tx.each(func(rows *sql.Rows) error {
		var code string
		err := rows.Scan(&code)
		held = append(held, code)
		return err
	}, `SELECT DISTINCT sha256 FROM code_use WHERE holder >= $1 AND holder <= $2`, from, to)
	return held, err
}

// releaseCode removes the holders from the first to the last name and the
// zips that nothing else needs.
func (tx *Tx) releaseCode(from, to string) error {
	held, err := tx.heldCode(from, to)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM code_use WHERE holder >= $1 AND holder <= $2`, from, to); err != nil {
		return err
	}
	return tx.dropCode(held)
}

// dropCode removes those of the zips that nothing needs any more.
func (tx *Tx) dropCode(codes []string) error {
	for _, code := range codes {
		_, err := tx.exec(`DELETE FROM code WHERE sha256 = $1 AND NOT EXISTS (SELECT 1 FROM code_use u WHERE u.sha256 = $1)`, code)
		if err != nil {
			return err
		}
	}
	return nil
}

// AddLayerVersion stores a new version of a layer, whose code must be stored
// before, and sets its number.
func (tx *Tx) AddLayerVersion(l *function.LayerVersion) error {
	_, err := tx.exec(`INSERT INTO layer (account, region, name, next_version) VALUES ($1, $2, $3, 2)
		ON CONFLICT (account, region, name) DO UPDATE SET next_version = layer.next_version + 1`, l.Account, l.Region, l.Name)
	if err != nil {
		return err
	}
	var next int64
	err = tx.one([]any{&next}, `SELECT next_version FROM layer WHERE account = $1 AND region = $2 AND name = $3`, l.Account, l.Region, l.Name)
	if err != nil {
		return err
	}
	l.Version = next - 1
	body, err := toJSON(l)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO layer_version (account, region, name, version, body) VALUES ($1, $2, $3, $4, $5)`,
		l.Account, l.Region, l.Name, l.Version, body)
	if err != nil {
		return err
	}
	return tx.useCode(layerHolder(l), l.Account, l.Region, map[string]int64{l.CodeSHA256: l.CodeSize})
}

func (tx *Tx) layers(query string, args ...any) ([]*function.LayerVersion, error) {
	var list []*function.LayerVersion
	err := tx.each(func(rows *sql.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var l function.LayerVersion
		list = append(list, &l)
		return fromJSON(body, &l)
	}, query, args...)
	return list, err
}

// LayerVersion returns a version of a layer; the error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) LayerVersion(account, region, name string, version int64) (*function.LayerVersion, error) {
	return first(tx.layers(`SELECT body FROM layer_version WHERE account = $1 AND region = $2 AND name = $3 AND version = $4`,
		account, region, name, version))
}

// LayerVersions returns up to limit versions of a layer with numbers below
// the given one, newest first.
func (tx *Tx) LayerVersions(account, region, name string, below int64, limit int) ([]*function.LayerVersion, error) {
	return tx.layers(`SELECT body FROM layer_version WHERE account = $1 AND region = $2 AND name = $3 AND version < $4
		ORDER BY version DESC LIMIT $5`, account, region, name, below, limit)
}

// Layers returns the names of up to limit layers that have a version, with
// names after the given one, in order.
func (tx *Tx) Layers(account, region, after string, limit int) ([]string, error) {
	var names []string
	err := tx.each(func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, `SELECT l.name FROM layer l WHERE l.account = $1 AND l.region = $2 AND l.name > $3 AND EXISTS (
			SELECT 1 FROM layer_version v WHERE v.account = l.account AND v.region = l.region AND v.name = l.name)
		ORDER BY l.name LIMIT $4`, account, region, after, limit)
	return names, err
}

// DeleteLayerVersion removes a version of a layer, if there is one, and its
// code unless a function still uses it.
func (tx *Tx) DeleteLayerVersion(account, region, name string, version int64) error {
	l := &function.LayerVersion{Account: account, Region: region, Name: name, Version: version}
	err := tx.change(`DELETE FROM layer_version WHERE account = $1 AND region = $2 AND name = $3 AND version = $4`, account, region, name, version)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.releaseCode(layerHolder(l), layerHolder(l))
}
