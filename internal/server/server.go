package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/rotation"
	"github.com/keyturn/keyturn/internal/service/secretsmanager"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// Server is a server that listens but does not answer until Run.
type Server struct {
	cfg      Config
	store    *store.Store
	recorder *trail.Recorder
	sealer   *key.Sealer
	keyring  *authz.Keyring
	pool     *environment.Pool
	invoker  *invocation.Invoker
	engine   *rotation.Engine
	secrets  *secretsmanager.Service
	metrics  *metrics
	http     *http.Server
	listener net.Listener
	// inner is a plain loopback listener for functions, when the outer one
	// has TLS or another address; nil otherwise.
	inner net.Listener
}

// materialCache bounds the KMS key material that is kept ready in memory.
const materialCache = 4096

// New opens the store and the keys, and listens. It starts nothing: call Run,
// or Close to give everything back.
func New(ctx context.Context, cfg Config) (_ *Server, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, metrics: newMetrics()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.store, err = openStore(ctx, &cfg); err != nil {
		return nil, err
	}
	if s.recorder, err = trail.NewRecorder(filepath.Join(cfg.Dir, "trail")); err != nil {
		return nil, err
	}
	keeper, err := openKeeper(ctx, &cfg, s.store)
	if err != nil {
		return nil, err
	}
	if s.sealer, err = openSealer(ctx, s.store, keeper); err != nil {
		return nil, err
	}
	root, err := rootCredential(&cfg)
	if err != nil {
		return nil, err
	}
	s.keyring = authz.NewKeyring(root, s.sealer)
	if err := s.openListeners(); err != nil {
		return nil, err
	}
	return s, s.assemble(keeper)
}

// openListeners opens the listener, and one for functions if they cannot use
// that.
func (s *Server) openListeners() (err error) {
	if s.listener, err = s.cfg.listen(); err != nil {
		return err
	}
	ip := s.listener.Addr().(*net.TCPAddr).IP
	if s.cfg.TLSCert != "" || !ip.IsLoopback() && !ip.IsUnspecified() {
		s.inner, err = net.Listen("tcp", "127.0.0.1:0")
	}
	return err
}

// assemble makes the parts and wires them together.
func (s *Server) assemble(keeper key.Keeper) (err error) {
	node, err := nodeName(s.cfg.Dir)
	if err != nil {
		return err
	}
	guard := authz.NewGuard(s.store, keeper)
	keys := key.NewRing(keeper, materialCache)
	s.invoker = invocation.New(invocation.Config{
		Store: s.store, Sealer: s.sealer, Node: node, Concurrency: s.cfg.Concurrency, Logger: s.cfg.Logger,
		Credentials: s.functionCredentials, Observe: s.metrics.invocation,
	})
	s.pool, err = environment.New(environment.Config{
		Dir: filepath.Join(s.cfg.Dir, "functions"), Interpreters: s.cfg.Interpreters, StrictRuntimes: s.cfg.StrictRuntimes,
		Private: []string{s.cfg.Dir}, AllowUnconfined: s.cfg.Dev,
		EndpointURL: s.innerURL(), CABundle: s.cfg.CABundle, Grace: s.cfg.Grace, Logger: s.cfg.Logger,
		Credentials: s.invoker.Credentials, Logs: s.invoker.Logs,
	})
	if err != nil {
		return fmt.Errorf("preparing to run functions: %w", err)
	}
	s.invoker.Use(s.pool)
	s.engine = rotation.New(rotation.Config{
		Store: s.store, Invoke: s.invoker.Invoke, Sealer: s.sealer, Node: node, Grace: s.cfg.Grace,
		Observe: s.metrics.rotation, Logger: s.cfg.Logger,
	})
	s.secrets = secretsmanager.New(secretsmanager.Config{
		Store: s.store, Guard: guard, Keys: keys, Sealer: s.sealer, Regions: s.cfg.regions(),
		CanInvoke: invocation.CanInvoke, Wake: s.engine.Wake, Logger: s.cfg.Logger,
	})
	s.http = s.newHTTP(s.services(guard, keeper))
	return nil
}

// functionCredentials makes a session of a function's execution role.
func (s *Server) functionCredentials(_ context.Context, role *iam.Role, session string, d time.Duration) (environment.Credentials, error) {
	c, err := s.keyring.Issue(role, session, d)
	return environment.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expires,
	}, err
}

// URL is where clients reach the server.
func (s *Server) URL() string {
	scheme := "http"
	if s.cfg.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(s.listener)
}

// innerURL is where functions reach it.
func (s *Server) innerURL() string {
	if s.inner != nil {
		return "http://" + reachable(s.inner)
	}
	return s.URL()
}

// reachable is a listener's address, with loopback for the unspecified one.
func reachable(l net.Listener) string {
	addr := *l.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		addr.IP = net.IPv4(127, 0, 0, 1)
	}
	return addr.String()
}

// Run answers requests and does the server's own work until ctx ends, then
// drains both. ready is called once requests are answered.
func (s *Server) Run(ctx context.Context, ready func()) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.announce(); err != nil {
		return err
	}
	defer func() { _ = os.Remove(filepath.Join(s.cfg.Dir, reachFile)) }()
	// Work ends first: running steps still need functions, and functions
	// still call this server. Then requests end, then functions.
	work := newGroup(ctx)
	functions := newGroup(context.WithoutCancel(ctx))
	functions.start(s.pool.Run, work.stop)
	work.start(s.engine.Run, work.stop)
	work.start(s.invoker.Run, work.stop)
	work.start(s.secrets.Replicator().Run, work.stop)
	work.start(s.secrets.Sweeper().Run, work.stop)
	work.start(s.housekeep, work.stop)
	requests := newGroup(context.WithoutCancel(ctx))
	for _, l := range []net.Listener{s.listener, s.inner} {
		if l != nil {
			requests.start(func(context.Context) error { return s.serve(l) }, work.stop)
		}
	}
	ready()
	err = work.wait()
	err = errors.Join(err, s.shutdown(), requests.wait())
	functions.stop()
	return errors.Join(err, functions.wait())
}

func (s *Server) serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving requests: %w", err)
	}
	return nil
}

// shutdown lets requests finish within the grace.
func (s *Server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.cfg.Logger.Warn("requests were cut off at the end of the grace", "error", err)
		return s.http.Close()
	}
	return nil
}

// announce writes where the server listens into the data folder.
func (s *Server) announce() error {
	return writeJSON(filepath.Join(s.cfg.Dir, reachFile), Reach{
		URL: s.URL(), Region: s.cfg.Region, TLSCert: s.cfg.TLSCert, PID: os.Getpid(),
	})
}

// Close gives back what New opened. Run does so by itself.
func (s *Server) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.listener, s.inner} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.recorder != nil {
		errs = append(errs, s.recorder.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// group runs functions until the first fails or the group is stopped.
type group struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.stop = context.WithCancel(ctx)
	return g
}

// start runs fn; failed is called if it returns an error.
func (g *group) start(fn func(context.Context) error, failed func()) {
	g.wg.Go(func() {
		if err := fn(g.ctx); err != nil {
			g.mu.Lock()
			g.err = errors.Join(g.err, err)
			g.mu.Unlock()
			failed()
		}
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	g.stop()
	return g.err
}
