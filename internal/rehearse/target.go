package rehearse

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/plaintext"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/mysql"
	"github.com/keyturn/keyturn/internal/rotator/postgres"
	"github.com/keyturn/keyturn/internal/rotator/redis"
)

// value is a secret's JSON object.
type value = map[string]any

// target is the service whose users' secrets are rotated.
type target interface {
	// create makes a fresh user, with the password unless that is "", and
	// returns its secret, and that of the superuser if there is one.
	create(ctx context.Context, password string) (secret, superuser value, err error)
	// login tells whether the service lets the user of a secret in. An error
	// says that this could not be found out.
	login(ctx context.Context, secret value) (bool, error)
	// setPassword gives the user of a secret a password by the superuser's
	// hand; errCannot where there is none.
	setPassword(ctx context.Context, secret value, password string) error
	// address is where the service listens, host:port; "" if it cannot be led
	// over a wire.
	address() string
	// authority is a file of the authority that the service's certificate is
	// from; "" for none.
	authority() string
	// live tells that others use the service.
	live() bool
	// guard tells by an error that something was changed that must not be.
	guard(ctx context.Context) error
	// close ends what was started and removes what was made.
	close() error
}

var errCannot = errors.New("this service's passwords can only be changed by the function")

func newTarget(ctx context.Context, w *workspace, o Options) (target, error) {
	switch {
	case o.Shadow != nil:
		return newShadow(ctx, o)
	case o.Service != "":
		return startCommand(ctx, w, o.Service)
	}
	switch o.Engine {
	case "postgres":
		return startPostgres(ctx, w, o.Plain)
	case "mysql", "mariadb":
		return startMariaDB(ctx, w, o.Engine)
	case "redis":
		return startRedis(ctx, w)
	}
	return nil, fmt.Errorf("there is no private %q; there are postgres, mysql, mariadb and redis; any other service can be given with --service", o.Engine)
}

// pinger is a login of any engine.
type pinger interface {
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// database is a target that rotator engines know how to log in to.
type database struct {
	kind rotator.Kind
	// name is the secret's engine member.
	name string
	// enter logs in.
	enter func(ctx context.Context, l rotator.Login, secure *tls.Config) (pinger, error)
	// admin makes users and sets passwords; nil if users are there already.
	admin *accounts
	// host, port and dbname are where it listens; secure is nil without TLS.
	host   string
	port   int
	dbname string
	secure *tls.Config
	caFile string
	shadow bool
	stop   func() error
	// ready are users that need not be made; set gives one a password.
	ready chan value
	set   func(ctx context.Context, user, password string) error
	count atomic.Int64
}

// accounts is the superuser's hand.
type accounts struct {
	engine rotator.Engine
	secret value
	// model is the user that others are made after: the superuser's own login
	// with grants nil, else a user whose grants are copied.
	model  value
	grants bool
	prefix string
}

// entrance makes the way in of an engine.
func entrance(e rotator.Engine) func(context.Context, rotator.Login, *tls.Config) (pinger, error) {
	return func(ctx context.Context, l rotator.Login, secure *tls.Config) (pinger, error) {
		s, err := e.Connect(ctx, l, secure)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

func (d *database) address() string   { return net.JoinHostPort(d.host, strconv.Itoa(d.port)) }
func (d *database) authority() string { return d.caFile }
func (d *database) live() bool        { return d.shadow }
func (d *database) close() error      { return d.stop() }

func (d *database) guard(context.Context) error { return nil }

// loginTime bounds one login.
const loginTime = 15 * time.Second

// read makes a login of a secret, at the database itself rather than at the
// wire that stands before it.
func (d *database) read(secret value) (rotator.Login, error) {
	direct := value{}
	for k, v := range secret {
		direct[k] = v
	}
	direct["host"], direct["port"] = d.host, d.port
	text, err := json.Marshal(direct)
	if err != nil {
		return rotator.Login{}, err
	}
	doc, err := rotator.ParseDocument(plaintext.Of(string(text)))
	if err != nil {
		return rotator.Login{}, err
	}
	l, err := d.kind.Login(doc)
	l.Settings = rotator.Settings{}
	return l, err
}

// refusals are the causes by which a server refuses a user or its password.
var refusals = []rotator.Cause{rotator.CauseAuthentication, rotator.CauseMissingUser, rotator.CauseLocked, rotator.CauseAccess}

func (d *database) login(ctx context.Context, secret value) (bool, error) {
	l, err := d.read(secret)
	if err != nil {
		return false, nil // no login can be made of what is stored
	}
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	s, err := d.enter(ctx, l, d.secure)
	if err != nil {
		if slices.Contains(refusals, rotator.Classify(err).Cause) {
			return false, nil
		}
		return false, fmt.Errorf("logging in as %s: %w", l.Username, rotator.Classify(err))
	}
	defer s.Close(ctx)
	if err := s.Ping(ctx); err != nil {
		return false, fmt.Errorf("working as %s: %w", l.Username, rotator.Classify(err))
	}
	return true, nil
}

// asSuperuser logs in by the superuser's secret.
func (d *database) asSuperuser(ctx context.Context) (rotator.Session, error) {
	l, err := d.read(d.admin.secret)
	if err != nil {
		return nil, err
	}
	s, err := d.admin.engine.Connect(ctx, l, d.secure)
	if err != nil {
		return nil, fmt.Errorf("logging in as the superuser: %w", rotator.Classify(err))
	}
	return s, nil
}

func (d *database) create(ctx context.Context, password string) (secret, superuser value, err error) {
	if password == "" {
		password = "First-" + rand.Text()
	}
	if d.admin == nil {
		return d.takeReady(ctx, password)
	}
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	s, err := d.asSuperuser(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close(ctx)
	model, err := d.read(d.admin.model)
	if err != nil {
		return nil, nil, err
	}
	name := fmt.Sprintf("%s%d", d.admin.prefix, d.count.Add(1))
	err = s.CreateClone(ctx, model, name, plaintext.Of(rand.Text()))
	if err == nil && d.admin.grants {
		err = s.CopyGrants(ctx, model, name)
	}
	if k, can := s.(keeper); err == nil && d.shadow && can {
		err = k.Expire(ctx, name)
	}
	if err == nil {
		err = s.SetPassword(ctx, name, plaintext.Of(password))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making the user %s: %w", name, rotator.Classify(err))
	}
	return d.secretOf(name, password), d.admin.secret, nil
}

func (d *database) takeReady(ctx context.Context, password string) (secret, superuser value, err error) {
	select {
	case secret = <-d.ready:
	default:
		return nil, nil, errors.New("there are no users left")
	}
	if err := d.setPassword(ctx, secret, password); err != nil {
		return nil, nil, err
	}
	secret["password"] = password
	return secret, nil, nil
}

// secretOf is the secret of a user.
func (d *database) secretOf(user, password string) value {
	secret := value{"engine": d.name, "host": d.host, "port": d.port, "username": user, "password": password, "ssl": d.secure != nil}
	if d.dbname != "" {
		secret["dbname"] = d.dbname
	}
	return secret
}

func (d *database) setPassword(ctx context.Context, secret value, password string) error {
	l, err := d.read(secret)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	if d.set != nil {
		return d.set(ctx, l.Username, password)
	}
	s, err := d.asSuperuser(ctx)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	if err := s.SetPassword(ctx, l.Username, plaintext.Of(password)); err != nil {
		return fmt.Errorf("setting the password of %s: %w", l.Username, rotator.Classify(err))
	}
	return nil
}

// startPostgres starts a private PostgreSQL.
func startPostgres(ctx context.Context, w *workspace, plain bool) (target, error) {
	dir, err := w.folder("postgres")
	if err != nil {
		return nil, err
	}
	pg, err := pgserver.Start(ctx, pgserver.Config{Dir: dir, TLS: !plain})
	if err != nil {
		return nil, err
	}
	engine := postgres.New()
	d := &database{
		kind: engine.Kind(), name: "postgres", enter: entrance(engine), host: pg.Host, port: pg.Port, dbname: "postgres",
		caFile: pg.CAFile, stop: pg.Close,
	}
	if !plain {
		if d.secure, err = trusting(pg.CAFile, pg.Host); err != nil {
			return nil, errors.Join(err, pg.Close())
		}
	}
	root := d.secretOf(pgserver.Superuser, pg.Password)
	d.admin = &accounts{engine: engine, secret: root, model: root, prefix: "app_"}
	return d, nil
}

// trusting is TLS that trusts one authority.
func trusting(file, host string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}, nil
}

// startMariaDB starts a private MariaDB, which speaks to MySQL's clients.
func startMariaDB(ctx context.Context, w *workspace, name string) (target, error) {
	password := rand.Text()
	d := &database{name: name, host: "127.0.0.1", dbname: "mysql"}
	engine := mysql.NewMariaDB()
	if name == "mysql" {
		engine = mysql.New()
	}
	d.kind, d.enter = engine.Kind(), entrance(engine)
	root := value{"engine": name, "username": "root", "password": password, "ssl": false}
	d.admin = &accounts{engine: engine, secret: root, model: root, prefix: "app_"}
	daemon, err := newMariaDB(ctx, w, password)
	if err != nil {
		return nil, err
	}
	d.stop, d.port = daemon.stop, daemon.port
	d.dbname = ""
	root["host"], root["port"] = d.host, d.port
	return d, daemon.await(ctx, func(ctx context.Context) error {
		_, err := d.login(ctx, root)
		return err
	})
}

// readyUsers is how many users a private Redis has.
const readyUsers = 100

// startRedis starts a private Redis with users of its own.
func startRedis(ctx context.Context, w *workspace) (target, error) {
	engine := redis.New()
	d := &database{kind: engine.Kind(), name: "redis", host: "127.0.0.1", ready: make(chan value, readyUsers)}
	d.enter = func(ctx context.Context, l rotator.Login, secure *tls.Config) (pinger, error) {
		s, err := engine.Connect(ctx, l, secure)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	users := map[string]string{}
	for n := range readyUsers {
		users[fmt.Sprintf("app_%d", n+1)] = "First-" + rand.Text()
	}
	const admin = "rehearsal"
	users[admin] = rand.Text()
	daemon, err := newRedis(w, users)
	if err != nil {
		return nil, err
	}
	d.stop, d.port = daemon.stop, daemon.port
	root := d.secretOf(admin, users[admin])
	delete(users, admin)
	for user, password := range users {
		d.ready <- d.secretOf(user, password)
	}
	d.set = func(ctx context.Context, user, password string) error {
		l, err := d.read(root)
		if err != nil {
			return err
		}
		s, err := engine.Connect(ctx, l, nil)
		if err != nil {
			return err
		}
		defer s.Close(ctx)
		return s.SetPasswords(ctx, user, plaintext.Of(password))
	}
	return d, daemon.await(ctx, func(ctx context.Context) error {
		_, err := d.login(ctx, root)
		return err
	})
}
