package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
)

const functionColumns = `f.id, f.account, f.region, f.name, f.reserved, f.next_version, f.config, f.body, f.revision, f.owner`

// functionBody is what no query looks at.
type functionBody struct {
	Policies      map[string]function.Policy      `json:",omitempty"`
	Tags          map[string]string               `json:",omitempty"`
	Async         map[string]function.AsyncConfig `json:",omitempty"`
	Provisioned   map[string]function.Provisioned `json:",omitempty"`
	RecursiveLoop string                          `json:",omitempty"`
	RuntimeUpdate string                          `json:",omitempty"`
}

func scanFunction(rows *sql.Rows) (*function.Function, error) {
	var f function.Function
	var reserved int64
	var config, body string
	err := rows.Scan(&f.ID, &f.Account, &f.Region, &f.Name, &reserved, &f.NextVersion, &config, &body, &f.Revision, &f.Owner)
	if err != nil {
		return nil, err
	}
	if reserved >= 0 {
		f.Reserved = &reserved
	}
	if err := fromJSON(config, &f.Config); err != nil {
		return nil, err
	}
	var b functionBody
	if err := fromJSON(body, &b); err != nil {
		return nil, err
	}
	f.Policies, f.Tags, f.Async, f.Provisioned = b.Policies, b.Tags, b.Async, b.Provisioned
	f.RecursiveLoop, f.RuntimeUpdate = b.RecursiveLoop, b.RuntimeUpdate
	return &f, nil
}

// toJSON returns the stored form of a record that holds nothing that JSON
// cannot.
func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), fault.Wrap(err, "encoding a record")
}

func fromJSON(s string, v any) error {
	if err := json.Unmarshal([]byte(s), v); err != nil {
		return fmt.Errorf("reading a record: %w", err)
	}
	return nil
}

func (tx *Tx) functions(query string, args ...any) ([]*function.Function, error) {
	var list []*function.Function
	err := tx.each(func(rows *sql.Rows) error {
		f, err := scanFunction(rows)
		list = append(list, f)
		return err
	}, query, args...)
	return list, err
}

func (tx *Tx) function(query string, args ...any) (*function.Function, error) {
	list, err := tx.functions(query, args...)
	if err == nil && len(list) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Function returns a function by its name; the error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) Function(account, region, name string) (*function.Function, error) {
	return tx.function(`SELECT `+functionColumns+` FROM function f WHERE f.account = $1 AND f.region = $2 AND f.name = $3`, account, region, name)
}

// FunctionByID is Function by the internal ID.
func (tx *Tx) FunctionByID(id string) (*function.Function, error) {
	return tx.function(`SELECT `+functionColumns+` FROM function f WHERE f.id = $1`, id)
}

// Functions returns up to limit functions with names after the given one,
// in the order of their names, without those that AWS services own.
func (tx *Tx) Functions(account, region, after string, limit int) ([]*function.Function, error) {
	return tx.functions(`SELECT `+functionColumns+` FROM function f
		WHERE f.account = $1 AND f.region = $2 AND f.name > $3 AND f.owner = '' ORDER BY f.name LIMIT $4`, account, region, after, limit)
}

// ProvisionedFunctions returns every function with provisioned concurrency,
// of all accounts and regions.
func (tx *Tx) ProvisionedFunctions() ([]*function.Function, error) {
	return tx.functions(`SELECT ` + functionColumns + ` FROM function f WHERE f.provisioned > 0 ORDER BY f.id`)
}

// CreateFunction stores a new function; its code must be stored before. The
// error is of kind Exists, without message, when the name is taken.
func (tx *Tx) CreateFunction(f *function.Function) error {
	config, body, err := functionJSON(f)
	if err != nil {
		return err
	}
	f.Revision = 1
	err = tx.insert(`INSERT INTO function (id, account, region, name, reserved, provisioned, changing, next_version, config, body, revision, owner)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		f.ID, f.Account, f.Region, f.Name, reservedColumn(f), f.ProvisionedTotal(), bit(f.Config.Changing()), f.NextVersion, config, body, f.Revision, f.Owner)
	if err != nil {
		return err
	}
	return tx.useFor(f, &f.Config)
}

// SaveFunction stores a changed function. The error is of kind Conflict,
// without message, when it was changed or deleted since it was read.
func (tx *Tx) SaveFunction(f *function.Function) error {
	config, body, err := functionJSON(f)
	if err != nil {
		return err
	}
	n, err := tx.exec(`UPDATE function SET reserved = $1, provisioned = $2, changing = $3, next_version = $4, config = $5, body = $6, revision = $7
		WHERE id = $8 AND revision = $9`,
		reservedColumn(f), f.ProvisionedTotal(), bit(f.Config.Changing()), f.NextVersion, config, body, f.Revision+1, f.ID, f.Revision)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.New(fault.Conflict, "")
	}
	f.Revision++
	return tx.useFor(f, &f.Config)
}

func functionJSON(f *function.Function) (config, body string, err error) {
	if config, err = toJSON(&f.Config); err != nil {
		return "", "", err
	}
	body, err = toJSON(functionBody{f.Policies, f.Tags, f.Async, f.Provisioned, f.RecursiveLoop, f.RuntimeUpdate})
	return config, body, err
}

func reservedColumn(f *function.Function) int64 {
	if f.Reserved == nil {
		return -1
	}
	return *f.Reserved
}

// DeleteFunction removes a function with its versions, aliases and waiting
// events, and the code that nothing else needs.
func (tx *Tx) DeleteFunction(id string) error {
	if err := tx.change(`DELETE FROM function WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.release(functionHolder(id, ""), functionHolder(id, "")+"~")
}

// FunctionUsage returns how many functions an account has in a region, those
// that AWS services own aside, and the bytes of all their versions' code and
// of its layers.
func (tx *Tx) FunctionUsage(account, region string) (count, bytes int64, err error) {
	err = tx.one([]any{&count}, `SELECT count(*) FROM function WHERE account = $1 AND region = $2 AND owner = ''`, account, region)
	if err != nil {
		return 0, 0, err
	}
	err = tx.one([]any{&bytes}, `SELECT coalesce(sum(size), 0) FROM code_use WHERE account = $1 AND region = $2`, account, region)
	return count, bytes, err
}

// ClaimedConcurrency sums what the functions of an account and region keep
// for themselves: reserved concurrency, or else provisioned.
func (tx *Tx) ClaimedConcurrency(account, region string) (int64, error) {
	var sum int64
	err := tx.one([]any{&sum}, `SELECT coalesce(sum(CASE WHEN reserved >= 0 THEN reserved ELSE provisioned END), 0)
		FROM function WHERE account = $1 AND region = $2 AND (reserved > 0 OR provisioned > 0)`, account, region)
	return sum, err
}

// FunctionVersion returns a published version; the error is of kind
// NotFound, without message, when there is none.
func (tx *Tx) FunctionVersion(functionID string, number int64) (*function.Config, error) {
	return first(tx.functionVersions(`SELECT config FROM function_version WHERE function_id = $1 AND number = $2`, functionID, number))
}

// LastFunctionVersion returns the published version with the highest number
// that is left; the error is as FunctionVersion's.
func (tx *Tx) LastFunctionVersion(functionID string) (*function.Config, error) {
	return first(tx.functionVersions(`SELECT config FROM function_version WHERE function_id = $1 ORDER BY number DESC LIMIT 1`, functionID))
}

// FunctionVersions returns up to limit published versions with numbers
// after the given one, in order.
func (tx *Tx) FunctionVersions(functionID string, after int64, limit int) ([]*function.Config, error) {
	return tx.functionVersions(`SELECT config FROM function_version WHERE function_id = $1 AND number > $2 ORDER BY number LIMIT $3`, functionID, after, limit)
}

func (tx *Tx) functionVersions(query string, args ...any) ([]*function.Config, error) {
	var list []*function.Config
	err := tx.each(func(rows *sql.Rows) error {
		var config string
		if err := rows.Scan(&config); err != nil {
			return err
		}
		var c function.Config
		list = append(list, &c)
		return fromJSON(config, &c)
	}, query, args...)
	return list, err
}

// first returns the only element of a list, or an error of kind NotFound.
func first[T any](list []*T, err error) (*T, error) {
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// SaveFunctionVersion stores a published version, new or changed.
func (tx *Tx) SaveFunctionVersion(f *function.Function, c *function.Config) error {
	number, ok := function.VersionNumber(c.Version)
	if !ok {
		return &fault.Error{Kind: fault.Internal, Cause: fmt.Errorf("%q is no version number", c.Version)}
	}
	config, err := toJSON(c)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO function_version (function_id, number, changing, config) VALUES ($1, $2, $3, $4)
		ON CONFLICT (function_id, number) DO UPDATE SET changing = excluded.changing, config = excluded.config`,
		f.ID, number, bit(c.Changing()), config)
	if err != nil {
		return err
	}
	return tx.useFor(f, c)
}

// DeleteFunctionVersion removes a published version and the code that
// nothing else needs.
func (tx *Tx) DeleteFunctionVersion(functionID string, number int64) error {
	if err := tx.change(`DELETE FROM function_version WHERE function_id = $1 AND number = $2`, functionID, number); err != nil {
		return err
	}
	holder := functionHolder(functionID, strconv.FormatInt(number, 10))
	return tx.release(holder, holder)
}

// useFor makes a version of a function hold its code and its network
// interfaces.
func (tx *Tx) useFor(f *function.Function, c *function.Config) error {
	if err := tx.useFunctionCode(f, c); err != nil {
		return err
	}
	return tx.useFunctionNetwork(f, c)
}

// release removes what the holders from the first to the last name held and
// nothing else holds.
func (tx *Tx) release(from, to string) error {
	if err := tx.releaseCode(from, to); err != nil {
		return err
	}
	return tx.releaseNetwork(from, to)
}

// ChangingVersion is a version whose creation or update has not finished.
type ChangingVersion struct {
	FunctionID string
	// Number is 0 for $LATEST.
	Number int64
}

// ChangingFunctions returns up to limit versions whose creation or update
// has not finished, of all accounts and regions.
func (tx *Tx) ChangingFunctions(limit int) ([]ChangingVersion, error) {
	var list []ChangingVersion
	scan := func(rows *sql.Rows) error {
		var v ChangingVersion
		err := rows.Scan(&v.FunctionID, &v.Number)
		list = append(list, v)
		return err
	}
	if err := tx.each(scan, `SELECT id, 0 FROM function WHERE changing = 1 LIMIT $1`, limit); err != nil {
		return nil, err
	}
	err := tx.each(scan, `SELECT function_id, number FROM function_version WHERE changing = 1 LIMIT $1`, limit)
	return list[:min(len(list), limit)], err
}

const functionAliasColumns = `function_id, name, version, description, revision_id, weights`

func (tx *Tx) functionAliases(query string, args ...any) ([]*function.Alias, error) {
	var list []*function.Alias
	err := tx.each(func(rows *sql.Rows) error {
		var a function.Alias
		var weights string
		list = append(list, &a)
		if err := rows.Scan(&a.FunctionID, &a.Name, &a.Version, &a.Description, &a.RevisionID, &weights); err != nil {
			return err
		}
		return fromJSON(weights, &a.Weights)
	}, query, args...)
	return list, err
}

// FunctionAlias returns an alias of a function; the error is of kind
// NotFound, without message, when there is none.
func (tx *Tx) FunctionAlias(functionID, name string) (*function.Alias, error) {
	return first(tx.functionAliases(`SELECT `+functionAliasColumns+` FROM function_alias WHERE function_id = $1 AND name = $2`, functionID, name))
}

// FunctionAliases returns up to limit aliases with names after the given
// one, in the order of their names.
func (tx *Tx) FunctionAliases(functionID, after string, limit int) ([]*function.Alias, error) {
	return tx.functionAliases(`SELECT `+functionAliasColumns+` FROM function_alias WHERE function_id = $1 AND name > $2 ORDER BY name LIMIT $3`, functionID, after, limit)
}

// AllFunctionAliases returns every alias of a function.
func (tx *Tx) AllFunctionAliases(functionID string) ([]*function.Alias, error) {
	return tx.FunctionAliases(functionID, "", math.MaxInt32)
}

// CreateFunctionAlias stores a new alias; the error is of kind Exists,
// without message, when the name is taken.
func (tx *Tx) CreateFunctionAlias(a *function.Alias) error {
	weights, err := toJSON(a.Weights)
	if err != nil {
		return err
	}
	return tx.insert(`INSERT INTO function_alias (`+functionAliasColumns+`) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		a.FunctionID, a.Name, a.Version, a.Description, a.RevisionID, weights)
}

// SaveFunctionAlias stores a changed alias.
func (tx *Tx) SaveFunctionAlias(a *function.Alias) error {
	weights, err := toJSON(a.Weights)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE function_alias SET version = $1, description = $2, revision_id = $3, weights = $4
		WHERE function_id = $5 AND name = $6`, a.Version, a.Description, a.RevisionID, weights, a.FunctionID, a.Name)
}

// DeleteFunctionAlias removes an alias; the error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) DeleteFunctionAlias(functionID, name string) error {
	return tx.change(`DELETE FROM function_alias WHERE function_id = $1 AND name = $2`, functionID, name)
}
