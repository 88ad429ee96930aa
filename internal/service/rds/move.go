package rds

import (
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Rotation functions send the passwords of managed secrets to where the
// registration says that its server is. Whoever says so, of the server itself
// or of what claims to be a part or a copy of it, could have them sent to a
// server of their own, and so must be allowed to read them anyhow.

// instanceSecrets are the managed secrets whose passwords functions may send
// to an instance: its own, and those of its cluster and of what it replicates.
func instanceSecrets(tx *store.Tx, i *database.Instance) (ids []string, err error) {
	for {
		ids = append(ids, i.SecretID)
		if i.Cluster != "" {
			c, err := tx.DBCluster(i.Account, i.Region, i.Cluster)
			if err == nil {
				ids = append(ids, c.SecretID)
			} else if !fault.Is(err, fault.NotFound) {
				return nil, err
			}
		}
		if i.Source == "" {
			return ids, nil
		}
		// A replica is younger than its source, so this ends.
		if i, err = tx.DBInstance(i.Account, i.Region, i.Source); fault.Is(err, fault.NotFound) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// admitReader refuses a caller that may not read the managed secrets. Those
// that do not exist, "" among them, have nothing to be read.
func (s *Service) admitReader(tx *store.Tx, call *wire.Call, ids ...string) error {
	for _, id := range ids {
		if id == "" {
			continue
		}
		sec, err := tx.SecretByID(id)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if sec, err = s.Guard.ReadVersion(tx, call.As("secretsmanager:GetSecretValue"), sec.ARN(), "", secret.Current); err != nil {
			return err
		}
		v := sec.Holder(secret.Current)
		if v == nil {
			continue
		}
		use := authz.KeyUse{Action: "kms:Decrypt", Context: key.SecretContext(sec.ARN(), v.ID), Via: secretsManager}
		if _, err := s.Guard.Key(tx, call, sec.Account, v.KeyARN, use); err != nil {
			return keyError(v.KeyARN, err)
		}
	}
	return nil
}

// rebegun tells that other tags say with what secret the management of the
// master user's password is to begin.
func rebegun(was, is *database.Server) bool {
	return was.Tag(database.InitialSecretTag) != is.Tag(database.InitialSecretTag)
}

// admitInstance refuses a change that moves an instance to a caller that may
// not read what functions will send there.
func (s *Service) admitInstance(tx *store.Tx, call *wire.Call, was, is *database.Instance) error {
	if was.Endpoint == is.Endpoint {
		return nil
	}
	ids, err := instanceSecrets(tx, was)
	if err != nil {
		return err
	}
	return s.admitReader(tx, call, ids...)
}

// admitCluster is admitInstance for a cluster.
func (s *Service) admitCluster(tx *store.Tx, call *wire.Call, was, is *database.Cluster) error {
	if was.Endpoint == is.Endpoint && was.Reader == is.Reader {
		return nil
	}
	return s.admitReader(tx, call, was.SecretID)
}

// tagInstance stores other tags of an instance. To move it by them, or to say
// with what its management begins, is to modify it.
func (s *Service) tagInstance(tx *store.Tx, call *wire.Call, was *database.Instance, tags []database.Tag) error {
	is := was.Clone()
	is.Tags = tags
	port := keptPort(was.Tag(database.EndpointTag), is.Tag(database.EndpointTag), was.Endpoint.Port)
	if err := locateInstance(tx, is, port); err != nil {
		return err
	}
	if was.Endpoint != is.Endpoint || rebegun(&was.Server, &is.Server) {
		if err := s.authorize(call, "rds:ModifyDBInstance", database.InstanceKind, was.ID, was.Tags); err != nil {
			return err
		}
	}
	if err := s.admitInstance(tx, call, was, is); err != nil {
		return err
	}
	return tx.SaveDBInstance(is)
}

// tagCluster is tagInstance for a cluster.
func (s *Service) tagCluster(tx *store.Tx, call *wire.Call, was *database.Cluster, tags []database.Tag) error {
	is := was.Clone()
	is.Tags = tags
	port := keptPort(was.Tag(database.EndpointTag), is.Tag(database.EndpointTag), was.Endpoint.Port)
	if err := locateCluster(is, port); err != nil {
		return err
	}
	if was.Endpoint != is.Endpoint || was.Reader != is.Reader || rebegun(&was.Server, &is.Server) {
		if err := s.authorize(call, "rds:ModifyDBCluster", database.ClusterKind, was.ID, was.Tags); err != nil {
			return err
		}
	}
	if err := s.admitCluster(tx, call, was, is); err != nil {
		return err
	}
	return tx.SaveDBCluster(is)
}
