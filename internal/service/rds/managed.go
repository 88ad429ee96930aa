package rds

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/database"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/schedule"
	"github.com/keyturn/keyturn/internal/secret"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

const (
	// servicePrincipal is who RDS is to others.
	servicePrincipal = "rds.amazonaws.com"
	secretsManager   = "secretsmanager"
	// everyDays is how often a managed secret is rotated (AWS docs).
	everyDays = 7
	// recovery is how long a released secret can be restored: there is a
	// server yet that its password is for.
	recovery = 30 * 24 * time.Hour
)

// subject is whose master user's password is to be managed.
type subject struct {
	account, region, kind, arn string
	server                     *database.Server
}

func instanceSubject(i *database.Instance) subject {
	return subject{i.Account, i.Region, database.InstanceKind, i.ARN(), &i.Server}
}

func clusterSubject(c *database.Cluster) subject {
	return subject{c.Account, c.Region, database.ClusterKind, c.ARN(), &c.Server}
}

// tag is the system tag by which functions find the server of a managed
// secret (AWS: reported).
func (s subject) tag() string {
	if s.kind == database.ClusterKind {
		return "aws:rds:primaryDBClusterArn"
	}
	return "aws:rds:primaryDBInstanceArn"
}

// noun is how the secret's description calls the server.
func (s subject) noun() string {
	if s.kind == database.ClusterKind {
		return "cluster"
	}
	return "instance"
}

// managing is a managed secret that is ready to be stored, with its first
// rotation.
type managing struct {
	secret *secret.Secret
	run    *secret.RotationRun
	helper helper
	// events are calls that the service makes for the caller's.
	events []*wire.Call
}

// save stores the secret and what rotates it. A nil managing stores nothing.
func (m *managing) save(tx *store.Tx) error {
	if m == nil {
		return nil
	}
	if err := m.helper.ensure(tx); err != nil {
		return err
	}
	run := *m.run
	if err := tx.SaveSecret(nil, m.secret.Clone()); err != nil {
		return err
	}
	if err := tx.SaveRun(&run, 0); err != nil {
		return err
	}
	for _, e := range m.events {
		if err := tx.Record(e.Event(nil)); err != nil {
			return err
		}
	}
	return nil
}

// credential is the value of a managed secret (AWS docs).
type credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// manage makes the managed secret of a server: it takes over the initial
// credentials with the caller's own rights, and plans a rotation at once,
// after which nobody but the secret knows the password.
func (s *Service) manage(ctx context.Context, call *wire.Call, of subject, keyID *string) (*managing, error) {
	h := helper{account: of.account, region: of.region, family: database.Rotator(of.server.Engine)}
	if h.family == "" {
		return nil, fault.New(database.Combination, "Managing the master user password is not supported for the engine %s.", of.server.Engine)
	}
	name := database.Service + "!" + of.kind + "-" + uuid.NewString()
	for _, action := range []string{"secretsmanager:CreateSecret", "secretsmanager:TagResource"} {
		if err := s.Guard.NewSecret(call, action, name); err != nil {
			return nil, err
		}
	}
	events, err := s.admitHelper(ctx, call, h)
	if err != nil {
		return nil, err
	}
	if err := s.Guard.EnsureDefaultKey(ctx, of.account, of.region); err != nil {
		return nil, err
	}
	initial, sourceARN, err := s.initialValue(ctx, call, of)
	if err != nil {
		return nil, err
	}
	m := &managing{helper: h}
	if m.secret, err = s.sealed(ctx, call, of, name, initial, given(keyID)); err != nil {
		return nil, err
	}
	if m.run, err = s.begin(m.secret, nil, h.functionARN(), call.Time); err != nil {
		return nil, err
	}
	m.events = append(events,
		serviceCall(call, secretsManager, "GetSecretValue", "AWS::SecretsManager::Secret", sourceARN),
		serviceCall(call, secretsManager, "CreateSecret", "AWS::SecretsManager::Secret", m.secret.ARN()))
	return m, nil
}

// serviceCall is a call that RDS makes on behalf of the caller, for its event.
func serviceCall(call *wire.Call, service, operation, kind, address string) *wire.Call {
	return &wire.Call{
		RequestID: call.RequestID, Service: service, Operation: operation, Region: call.Region, Time: call.Time, Principal: call.Principal,
		By: servicePrincipal, Secure: call.Secure, Resources: []trail.Resource{{Type: kind, Name: address}},
	}
}

// initialValue reads, as the caller, the credentials by which the master user
// logs in now.
func (s *Service) initialValue(ctx context.Context, call *wire.Call, of subject) (c credential, sourceARN string, err error) {
	id := of.server.Tag(database.InitialSecretTag)
	if id == "" {
		return c, "", fault.New(database.Combination, "The database exists and has a password already, with which its management must begin: "+
			"name the secret that holds it in the tag %s.", database.InitialSecretTag)
	}
	var box []byte
	var rec *key.Record
	var use authz.KeyUse
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		sec, err := s.Guard.ReadVersion(tx, call.As("secretsmanager:GetSecretValue"), id, "", secret.Current)
		if err != nil {
			return badInitial(id, err)
		}
		if err := sec.Admit(secret.Read); err != nil {
			return badInitial(id, err)
		}
		v, err := sec.Select("", secret.Current)
		if err != nil {
			return badInitial(id, err)
		}
		sourceARN = sec.ARN()
		use = authz.KeyUse{Action: "kms:Decrypt", Context: key.SecretContext(sourceARN, v.ID), Via: secretsManager}
		if rec, err = s.Guard.Key(tx, call, sec.Account, v.KeyARN, use); err != nil {
			return keyError(v.KeyARN, err)
		}
		if box = v.Sealed; box == nil {
			box, err = tx.SealedValue(sec.ID, v.ID)
		}
		return err
	})
	if err != nil {
		return c, "", err
	}
	plain, err := s.Keys.Open(ctx, rec, use.Context, box)
	if err != nil {
		return c, "", keyError(rec.ARN(), err)
	}
	if json.Unmarshal(plain, &c) != nil || c.Username == "" || c.Password == "" {
		return c, "", fault.New(fault.Parameter, "The secret %s, which the tag %s names, does not hold a JSON object with username and password.", id, database.InitialSecretTag)
	}
	if c.Username != of.server.MasterUsername {
		return c, "", fault.New(fault.Parameter, "The secret %s, which the tag %s names, is of another user than MasterUsername.", id, database.InitialSecretTag)
	}
	return c, sourceARN, nil
}

// badInitial is what is wrong with the initial secret; faults of the server
// and refusals stay.
func badInitial(id string, err error) error {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.State, fault.Parameter:
		return fault.New(fault.Parameter, "The secret %s, which the tag %s names, cannot be read.", id, database.InitialSecretTag).Because(err)
	}
	return err
}

// keyError turns what is wrong with a key into RDS's words (AWS: reported).
func keyError(id string, err error) error {
	switch fault.KindOf(err) {
	case fault.Parameter, fault.NotFound, fault.Decryption, fault.Encryption, key.KeyDisabled, key.KeyState:
		return fault.New(badKey, "The specified KMS key [%s] does not exist, is not enabled or you do not have permissions to access it.", id).Because(err)
	}
	return err
}

// sealed makes the secret with its first version.
func (s *Service) sealed(ctx context.Context, call *wire.Call, of subject, name string, c credential, keyID string) (*secret.Secret, error) {
	now := call.Time.UTC().Truncate(time.Millisecond)
	sec := &secret.Secret{
		ID: uuid.NewString(), Account: of.account, Region: of.region, Name: name, Suffix: secret.NewSuffix(), CreatedAt: now, ChangedAt: now,
		Description: "Secret associated with primary RDS DB " + of.noun() + ": " + of.arn, OwningService: database.Service,
		Tags: []secret.Tag{{Key: of.tag(), Value: of.arn}, {Key: "aws:secretsmanager:owningService", Value: database.Service}},
	}
	version := uuid.NewString()
	use := authz.KeyUse{Action: "kms:GenerateDataKey", Context: key.SecretContext(sec.ARN(), version), Via: secretsManager}
	var rec *key.Record
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		rec, err = s.Guard.Key(tx, call, of.account, keyID, use)
		return err
	})
	if err != nil {
		return nil, keyError(keyID, err)
	}
	if rec.Manager != key.AWS {
		sec.KMSKeyID = keyID
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, fault.Wrap(err, "encoding a managed secret")
	}
	box, err := s.Keys.Seal(ctx, rec, use.Context, plaintext.New(plain).Reveal())
	if err != nil {
		return nil, keyError(rec.ARN(), err)
	}
	_, err = sec.Put(secret.Version{ID: version, CreatedAt: now, HasValue: true, KeyARN: rec.ARN(), WrittenBy: writer(call), Sealed: box}, nil)
	return sec, err
}

// writer is the identity that a value is put under.
func writer(call *wire.Call) string {
	if call.Principal.RoleARN != "" {
		return call.Principal.RoleARN
	}
	return call.Principal.ARN
}

// begin starts a rotation of the secret, which is to be saved with the run;
// nil if the last one, prev, is unfinished and merely hurried.
func (s *Service) begin(sec *secret.Secret, prev *secret.RotationRun, functionARN string, now time.Time) (*secret.RotationRun, error) {
	run, err := sec.BeginRotation(prev, secret.RotationStart{
		Token: uuid.NewString(), FunctionARN: functionARN, RotationToken: s.Sealer.Seal(rotation.TokenPurpose, []byte(uuid.NewString())), Now: now,
	})
	if err != nil {
		return nil, err
	}
	var rules *schedule.Rules
	if !sec.Rotation.Configured {
		rules = &schedule.Rules{AutomaticallyAfterDays: everyDays}
	}
	since := sec.Rotation.ConfiguredAt
	enabled := sec.Rotation.Enabled
	sec.ConfigureRotation(functionARN, rules, secret.Dates{}, now)
	if enabled {
		sec.Rotation.ConfiguredAt = since // a rotation on demand leaves the schedule as it is
	}
	return run, sec.Plan(run)
}

// masterChange is what a call wants of the master user's password.
type masterChange struct {
	manage, rotate, immediately *bool
	password, keyID             *string
}

// check refuses what cannot be done. dependent is a member of a cluster or a
// replica, secretID the managed secret, or "".
func (c masterChange) check(newID *string, dependent bool, secretID string) error {
	switch {
	case newID != nil:
		return fault.New(database.Combination, "Keyturn does not rename registrations: delete this one and make another.")
	case c.password != nil:
		return fault.New(database.Combination, "Keyturn holds the registration of a database and cannot set its password: change it in the database itself, "+
			"or let it be managed with ManageMasterUserPassword.")
	case dependent && (isTrue(c.manage) || isTrue(c.rotate)):
		return fault.New(database.Combination, "The master user password of a member of a cluster or of a replica is managed where it is written: at the cluster or the source.")
	case isTrue(c.rotate) && (secretID == "" || c.manage != nil && !*c.manage):
		return fault.New(database.Combination, "RotateMasterUserPassword can be specified only when the master user password is managed.")
	case isTrue(c.rotate) && !isTrue(c.immediately):
		return fault.New(database.Combination, "ApplyImmediately must be specified to rotate the master user password.")
	case c.keyID != nil && (!isTrue(c.manage) || secretID != ""):
		return fault.New(database.Combination, "MasterUserSecretKmsKeyId can be specified only when management of the master user password is turned on.")
	}
	return nil
}

// prepareChange makes the managed secret if the change wants the first one.
func (s *Service) prepareChange(ctx context.Context, call *wire.Call, c masterChange, of subject) (*managing, error) {
	if !isTrue(c.manage) || of.server.SecretID != "" {
		return nil, nil
	}
	return s.manage(ctx, call, of, c.keyID)
}

// changeMaster applies the change and returns the secret that is managed
// afterwards.
func (s *Service) changeMaster(tx *store.Tx, call *wire.Call, c masterChange, m *managing, secretID string) (string, error) {
	switch {
	case m != nil && secretID != "":
		return "", fault.New(fault.State, "The master user password is managed already.")
	case m != nil:
		return m.secret.ID, m.save(tx)
	case c.manage != nil && !*c.manage:
		return "", release(tx, call, secretID)
	case isTrue(c.rotate):
		return secretID, s.rotate(tx, call, secretID)
	}
	return secretID, nil
}

// rotate starts a rotation of a managed secret, or hurries an unfinished one.
func (s *Service) rotate(tx *store.Tx, call *wire.Call, secretID string) error {
	before, prev, err := load(tx, secretID)
	if err != nil {
		return err
	}
	address := before.ARN()
	if err := s.Guard.OnSecret(call, "secretsmanager:RotateSecret", before, address, address); err != nil {
		return err
	}
	if err := before.Admit(secret.Rotate); err != nil {
		return err
	}
	fence := int64(0)
	if prev != nil {
		fence = prev.Fence
	}
	if prev != nil && before.Resume(prev, time.Time{}, call.Time) {
		return tx.SaveRun(prev, fence)
	}
	after := before.Clone()
	run, err := s.begin(after, prev, before.Rotation.FunctionARN, call.Time)
	if err != nil {
		return err
	}
	if err := tx.SaveSecret(before, after); err != nil {
		return err
	}
	return tx.SaveRun(run, fence)
}

// load returns a managed secret and its last run, or nil.
func load(tx *store.Tx, id string) (*secret.Secret, *secret.RotationRun, error) {
	sec, err := tx.SecretByID(id)
	if err != nil {
		return nil, nil, err
	}
	run, err := tx.Run(id)
	if fault.Is(err, fault.NotFound) {
		return sec, nil, nil
	}
	return sec, run, err
}

// release ends the management of a secret, "" for none. The server is still
// there, and this is all that knows its password: the secret becomes an
// ordinary one that is scheduled for deletion and can be restored.
func release(tx *store.Tx, call *wire.Call, id string) error {
	if id == "" {
		return nil
	}
	before, run, err := load(tx, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(before.Replicas) > 0 {
		return fault.New(fault.State, "The managed secret %s still has replica regions: remove them first.", before.ARN())
	}
	if run != nil && run.Active() {
		fence := run.Fence
		run.Cancel(call.Time)
		if err := tx.SaveRun(run, fence); err != nil {
			return err
		}
	}
	after := before.Clone()
	after.OwningService, after.Rotation = "", secret.Rotation{}
	after.Tags = slices.DeleteFunc(after.Tags, func(t secret.Tag) bool { return strings.HasPrefix(t.Key, "aws:") })
	after.ChangedAt = call.Time.UTC().Truncate(time.Millisecond)
	after.DeleteAt = after.ChangedAt.Add(recovery)
	if err := tx.SaveSecret(before, after); err != nil {
		return err
	}
	for range after.Versions {
		if err := tx.Record(trail.SecretEvent("StartSecretVersionDelete", after.ARN(), call.RequestID, "").At(call.Time)); err != nil {
			return err
		}
	}
	return tx.Record(serviceCall(call, secretsManager, "DeleteSecret", "AWS::SecretsManager::Secret", after.ARN()).Event(nil))
}

// The statuses of managed secrets (AWS docs).
const (
	creating = "creating"
	active   = "active"
	rotating = "rotating"
	impaired = "impaired"
)

// statusOf tells how a managed secret fares.
func statusOf(sec *secret.Secret, run *secret.RotationRun) string {
	switch {
	case run == nil:
		return active
	case run.State == secret.Exhausted, run.State == secret.Running && run.Error != "":
		return impaired // it has failed, and is tried again or waits for its next window
	case run.State == secret.Running && sec.Rotation.LastRotatedAt.IsZero():
		return creating
	case run.State == secret.Running:
		return rotating
	}
	return active
}

// keyOf returns the key of the current version, as an ARN.
func keyOf(sec *secret.Secret) string {
	if v := sec.Holder(secret.Current); v != nil && arn.IsARN(v.KeyARN) {
		return v.KeyARN
	}
	return sec.KMSKeyID
}
