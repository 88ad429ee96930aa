package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/integrity"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/rekey"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/service/kms"
	"github.com/keyturn/keyturn/internal/service/secretsmanager"
	"github.com/keyturn/keyturn/internal/service/serverlessrepo"
	stackengine "github.com/keyturn/keyturn/internal/stack/engine"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/folder"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// Server is a server that listens but does not answer until Run.
type Server struct {
	cfg      Config
	store    *store.Store
	recorder *trail.Recorder
	sealer   *key.Sealer
	keys     *key.Ring
	root     authz.Root
	keyring  *authz.Keyring
	pool     *environment.Pool
	invoker  *invocation.Invoker
	engine   *rotation.Engine
	stacks   *stackengine.Engine
	secrets  *secretsmanager.Service
	// node names this node; integrity seals what it records.
	node      string
	seals     *integrity.Keys
	integrity *integrity.Sealer
	rekeyer   *rekey.Rekeyer
	kms       *kms.Service
	// applications calls other services' operations through the handler.
	applications *serverlessrepo.Service
	metrics      *metrics
	gauges       *gauges
	diagnoser    *diagnoser
	// folder is held here when the store does not hold it: nil with SQLite.
	folder *folder.Folder
	// crowd is who is connected, at any door.
	crowd *crowd
	// outer is for clients, inner for functions, passages for clients in
	// VPCs.
	outer, inner door
	passages     []*passage
	// side are the doors of single services for functions in a VPC.
	side []*sideDoor
}

// materialCache bounds the KMS key material that is kept ready in memory.
const materialCache = 4096

// New opens the store and the keys, and listens. It starts nothing: call Run,
// or Close to give everything back.
func New(ctx context.Context, cfg Config) (_ *Server, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.EnforceVPC {
		if err := checkEnforcement(cfg.Logger); err != nil {
			return nil, err
		}
	}
	s := &Server{cfg: cfg, metrics: newMetrics(), crowd: newCrowd(guestLimit())}
	s.gauges = newGauges(s)
	s.metrics.registry.MustRegister(s.gauges)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.openStore(ctx); err != nil {
		return nil, err
	}
	keepers, err := openKeeper(ctx, &cfg, s.store)
	if err != nil {
		return nil, err
	}
	if s.sealer, err = openSealer(ctx, s.store, keepers); err != nil {
		return nil, err
	}
	if err := s.openTrail(); err != nil {
		return nil, err
	}
	if s.root, err = rootCredential(ctx, &cfg, s.store, s.sealer); err != nil {
		return nil, err
	}
	// A root credential of the store is found there, as long as it is there.
	given := authz.Root{Account: cfg.Account, AccessKeyID: cfg.RootAccessKeyID, SecretAccessKey: cfg.RootSecretAccessKey}
	s.keyring = authz.NewKeyring(authz.KeyringConfig{Root: given, Store: s.store, Sealer: s.sealer, Logger: cfg.Logger})
	if err := s.openDoors(); err != nil {
		return nil, err
	}
	if err := s.assemble(keepers); err != nil {
		return nil, err
	}
	return s, nil
}

// assemble makes the parts and wires them together.
func (s *Server) assemble(keepers *keeper.Set) (err error) {
	node := s.node
	s.rekeyer = rekey.New(rekey.Config{Store: s.store, Keepers: keepers, Node: node, Logger: s.cfg.Logger})
	guard := authz.NewGuard(s.store, keepers)
	s.keys = key.NewRing(keepers, materialCache)
	s.store.Watch(func(topics []string) { forget(s.keys, topics) })
	s.invoker = invocation.New(invocation.Config{
		Store: s.store, Guard: guard, Sealer: s.sealer, Keys: s.keys, Node: node, Concurrency: s.cfg.Concurrency, Logger: s.cfg.Logger,
		Credentials: s.functionCredentials, Principal: s.sessionPrincipal, Observe: s.metrics.invocation, Tracer: s.cfg.Tracer,
	})
	var held *environment.Egress
	if s.cfg.EnforceVPC {
		held = newEnforcer(s.store, s.places, s.cfg.Logger).egress()
	}
	s.pool, err = environment.New(environment.Config{
		Dir: filepath.Join(s.cfg.Dir, "functions"), Private: s.cfg.private(), AllowUnconfined: s.cfg.Dev,
		Interpreters: s.cfg.Interpreters, StrictRuntimes: s.cfg.StrictRuntimes,
		EndpointURL: "http://" + s.inner.address(), CABundle: s.cfg.CABundle, Grace: s.cfg.Grace, Logger: s.cfg.Logger,
		Credentials: s.invoker.Credentials, Logs: s.invoker.Logs, Egress: held, ServiceURLs: s.sideURLs(),
	})
	if err != nil {
		return fmt.Errorf("preparing to run functions: %w", err)
	}
	s.invoker.Use(s.pool)
	s.engine = rotation.New(rotation.Config{
		Store: s.store, Invoke: s.invoker.Invoke, Sealer: s.sealer, Node: node, Grace: s.cfg.Grace,
		Observe: s.metrics.rotation, Diagnose: s.diagnose, Logger: s.cfg.Logger, Tracer: s.cfg.Tracer,
	})
	s.secrets = secretsmanager.New(secretsmanager.Config{
		Store: s.store, Guard: guard, Keys: s.keys, Sealer: s.sealer, Regions: s.cfg.regions(),
		CanInvoke: invocation.CanInvoke, Wake: s.engine.Wake, Logger: s.cfg.Logger,
	})
	s.stacks = stackengine.New(stackengine.Config{
		Store: s.store, Sealer: s.sealer, Keyring: s.keyring, Node: node, Grace: s.cfg.Grace, Logger: s.cfg.Logger,
	})
	s.kms = kms.New(kms.Config{Store: s.store, Guard: guard, Keeper: keepers, Keys: s.keys, Logger: s.cfg.Logger})
	authorities, err := s.cfg.authorities()
	if err != nil {
		return err
	}
	services := s.services(guard, oidc.New(authorities, s.cfg.Logger))
	inside := wire.NewHandler(wire.Config{Services: services, Region: s.cfg.Region, Record: s.gauges.record, Log: s.cfg.Logger})
	s.stacks.Use(inside)
	s.applications.Use(inside)
	s.answerAll(services)
	s.diagnoser, err = s.newDiagnoser(services)
	return err
}

// forget drops the material of keys that changed, which may be gone, on
// whichever node that happened; nil stands for all keys.
func forget(keys *key.Ring, topics []string) {
	if topics == nil {
		keys.Clear()
	}
	for _, topic := range topics {
		if id, ok := strings.CutPrefix(topic, store.KeyTopic("")); ok {
			keys.Forget(id)
		}
	}
}

// functionCredentials makes a session of a function's execution role.
func (s *Server) functionCredentials(_ context.Context, role *iam.Role, session string, d time.Duration, given *iam.Session) (environment.Credentials, error) {
	c, err := s.keyring.Issue(role, session, d, given)
	return environment.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expires,
	}, err
}

// sessionPrincipal returns who a session of a function's role stands for now.
func (s *Server) sessionPrincipal(ctx context.Context, accessKeyID, token string) (iam.Principal, error) {
	_, p, err := s.keyring.Secret(ctx, accessKeyID, token, time.Now())
	return p, err
}

// Run answers requests and does the server's own work until ctx ends, then
// drains both. ready is called once requests are answered.
func (s *Server) Run(ctx context.Context, ready func()) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.announce(); err != nil {
		return err
	}
	defer func() { _ = os.Remove(filepath.Join(s.cfg.Dir, reachFile)) }()
	work := newGroup(ctx)
	functions := newGroup(context.WithoutCancel(ctx))
	requests := newGroup(context.WithoutCancel(ctx))
	functions.start(s.pool.Run, work.stop)
	functions.start(s.store.Run, work.stop)
	for _, run := range []func(context.Context) error{
		s.engine.Run, s.stacks.Run, s.invoker.Run, s.secrets.Replicator().Run, s.secrets.Sweeper().Run, s.kms.Sweeper().Run,
		s.keyring.Run, s.rekeyer.Run, s.followRoot, s.housekeep, s.pruneSegments, s.integrity.Run,
	} {
		work.start(run, work.stop)
	}
	for _, d := range slices.Concat(s.doors(), s.innerDoors()) {
		requests.start(d.serve, work.stop)
	}
	ready()
	<-work.ctx.Done()
	// Clients' requests and the server's own work end first, side by side.
	// Both may wait for functions, so these end then; and functions call this
	// server, so their door is shut last.
	err = errors.Join(s.shutDoors(s.doors()), work.wait())
	functions.stop()
	err = errors.Join(err, functions.wait(), s.shutDoors(s.innerDoors()))
	return errors.Join(err, requests.wait())
}

// announce writes where the server listens into the data folder.
func (s *Server) announce() error {
	return writeJSON(filepath.Join(s.cfg.Dir, reachFile), Reach{
		URL: s.URL(), Region: s.cfg.Region, TLSCert: s.cfg.TLSCert, PID: os.Getpid(), AccessKeyID: s.root.AccessKeyID,
	})
}

// Close gives back what New opened. Run does so by itself.
func (s *Server) Close() error {
	var errs []error
	for _, d := range slices.Concat(s.doors(), s.innerDoors()) {
		errs = append(errs, d.close())
	}
	if s.recorder != nil {
		errs = append(errs, s.recorder.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.folder != nil {
		errs = append(errs, s.folder.Close())
	}
	errs = append(errs, s.cfg.Tracer.Close())
	return errors.Join(errs...)
}
