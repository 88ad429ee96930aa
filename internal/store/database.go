package store

import (
	"database/sql"

	"github.com/keyturn/keyturn/internal/database"
)

// bodies runs a query whose only column is the JSON of a record.
func bodies[T any](tx *Tx, query string, args ...any) ([]*T, error) {
	var list []*T
	err := tx.each(func(rows *sql.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		record := new(T)
		list = append(list, record)
		return fromJSON(body, record)
	}, query, args...)
	return list, err
}

// DBInstance returns a registered instance. The error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) DBInstance(account, region, id string) (*database.Instance, error) {
	return first(bodies[database.Instance](tx, `SELECT body FROM db_instance WHERE account = $1 AND region = $2 AND id = $3`, account, region, id))
}

// DBInstances returns up to limit instances with IDs after the given one, in
// order.
func (tx *Tx) DBInstances(account, region, after string, limit int) ([]*database.Instance, error) {
	return bodies[database.Instance](tx, `SELECT body FROM db_instance WHERE account = $1 AND region = $2 AND id > $3 ORDER BY id LIMIT $4`,
		account, region, after, limit)
}

// DBInstancesOfCluster returns the members of a cluster by ID.
func (tx *Tx) DBInstancesOfCluster(account, region, cluster string) ([]*database.Instance, error) {
	return bodies[database.Instance](tx, `SELECT body FROM db_instance WHERE account = $1 AND region = $2 AND cluster = $3 AND cluster <> '' ORDER BY id`,
		account, region, cluster)
}

// DBReplicas returns the instances that replicate another by ID.
func (tx *Tx) DBReplicas(account, region, source string) ([]*database.Instance, error) {
	return bodies[database.Instance](tx, `SELECT body FROM db_instance WHERE account = $1 AND region = $2 AND source = $3 AND source <> '' ORDER BY id`,
		account, region, source)
}

// CreateDBInstance stores a new instance. The error is of kind Exists,
// without message, when the ID is taken.
func (tx *Tx) CreateDBInstance(i *database.Instance) error {
	tx.Touch(NetworkTopic(i.Account, i.Region))
	body, err := toJSON(i)
	if err != nil {
		return err
	}
	return tx.insert(`INSERT INTO db_instance (account, region, id, cluster, source, subnets, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`, i.Account, i.Region, i.ID, i.Cluster, i.Source, i.SubnetGroup, body)
}

// SaveDBInstance stores a changed instance. The error is of kind NotFound,
// without message, when it is gone.
func (tx *Tx) SaveDBInstance(i *database.Instance) error {
	tx.Touch(NetworkTopic(i.Account, i.Region))
	body, err := toJSON(i)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE db_instance SET cluster = $4, source = $5, subnets = $6, body = $7 WHERE account = $1 AND region = $2 AND id = $3`,
		i.Account, i.Region, i.ID, i.Cluster, i.Source, i.SubnetGroup, body)
}

// DeleteDBInstance removes an instance. The error is of kind NotFound,
// without message, when it is gone.
func (tx *Tx) DeleteDBInstance(account, region, id string) error {
	tx.Touch(NetworkTopic(account, region))
	return tx.change(`DELETE FROM db_instance WHERE account = $1 AND region = $2 AND id = $3`, account, region, id)
}

// DBCluster returns a registered cluster. The error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) DBCluster(account, region, id string) (*database.Cluster, error) {
	return first(bodies[database.Cluster](tx, `SELECT body FROM db_cluster WHERE account = $1 AND region = $2 AND id = $3`, account, region, id))
}

// DBClusters returns up to limit clusters with IDs after the given one, in
// order.
func (tx *Tx) DBClusters(account, region, after string, limit int) ([]*database.Cluster, error) {
	return bodies[database.Cluster](tx, `SELECT body FROM db_cluster WHERE account = $1 AND region = $2 AND id > $3 ORDER BY id LIMIT $4`,
		account, region, after, limit)
}

// CreateDBCluster stores a new cluster. The error is of kind Exists, without
// message, when the ID is taken.
func (tx *Tx) CreateDBCluster(c *database.Cluster) error {
	tx.Touch(NetworkTopic(c.Account, c.Region))
	body, err := toJSON(c)
	if err != nil {
		return err
	}
	return tx.insert(`INSERT INTO db_cluster (account, region, id, subnets, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		c.Account, c.Region, c.ID, c.SubnetGroup, body)
}

// SaveDBCluster stores a changed cluster. The error is of kind NotFound,
// without message, when it is gone.
func (tx *Tx) SaveDBCluster(c *database.Cluster) error {
	tx.Touch(NetworkTopic(c.Account, c.Region))
	body, err := toJSON(c)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE db_cluster SET subnets = $4, body = $5 WHERE account = $1 AND region = $2 AND id = $3`,
		c.Account, c.Region, c.ID, c.SubnetGroup, body)
}

// DeleteDBCluster removes a cluster. The error is of kind NotFound, without
// message, when it is gone.
func (tx *Tx) DeleteDBCluster(account, region, id string) error {
	tx.Touch(NetworkTopic(account, region))
	return tx.change(`DELETE FROM db_cluster WHERE account = $1 AND region = $2 AND id = $3`, account, region, id)
}

// DBSubnetGroup returns a subnet group. The error is of kind NotFound,
// without message, when there is none.
func (tx *Tx) DBSubnetGroup(account, region, name string) (*database.SubnetGroup, error) {
	return first(bodies[database.SubnetGroup](tx, `SELECT body FROM db_subnet_group WHERE account = $1 AND region = $2 AND name = $3`, account, region, name))
}

// DBSubnetGroups returns up to limit subnet groups with names after the given
// one, in order.
func (tx *Tx) DBSubnetGroups(account, region, after string, limit int) ([]*database.SubnetGroup, error) {
	return bodies[database.SubnetGroup](tx, `SELECT body FROM db_subnet_group WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`,
		account, region, after, limit)
}

// DBSubnetGroupUser returns the ID of an instance or a cluster that uses a
// subnet group; "" if none does.
func (tx *Tx) DBSubnetGroupUser(account, region, name string) (id string, err error) {
	err = tx.each(func(rows *sql.Rows) error { return rows.Scan(&id) }, `
		SELECT id FROM db_instance WHERE account = $1 AND region = $2 AND subnets = $3 AND subnets <> ''
		UNION SELECT id FROM db_cluster WHERE account = $1 AND region = $2 AND subnets = $3 AND subnets <> '' ORDER BY 1 DESC`, account, region, name)
	return id, err
}

// CreateDBSubnetGroup stores a new subnet group. The error is of kind Exists,
// without message, when the name is taken.
func (tx *Tx) CreateDBSubnetGroup(g *database.SubnetGroup) error {
	tx.Touch(NetworkTopic(g.Account, g.Region))
	body, err := toJSON(g)
	if err != nil {
		return err
	}
	return tx.insert(`INSERT INTO db_subnet_group (account, region, name, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		g.Account, g.Region, g.Name, body)
}

// SaveDBSubnetGroup stores a changed subnet group. The error is of kind
// NotFound, without message, when it is gone.
func (tx *Tx) SaveDBSubnetGroup(g *database.SubnetGroup) error {
	tx.Touch(NetworkTopic(g.Account, g.Region))
	body, err := toJSON(g)
	if err != nil {
		return err
	}
	return tx.change(`UPDATE db_subnet_group SET body = $4 WHERE account = $1 AND region = $2 AND name = $3`, g.Account, g.Region, g.Name, body)
}

// DeleteDBSubnetGroup removes a subnet group. The error is of kind NotFound,
// without message, when it is gone.
func (tx *Tx) DeleteDBSubnetGroup(account, region, name string) error {
	tx.Touch(NetworkTopic(account, region))
	return tx.change(`DELETE FROM db_subnet_group WHERE account = $1 AND region = $2 AND name = $3`, account, region, name)
}
