package rotator

import (
	"context"
	"crypto/tls"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// Engine is one kind of server that users log in to by name and password.
type Engine interface {
	// Kind describes it; always the same.
	Kind() Kind
	// Connect logs in. With secure nil the connection is plain, else
	// encrypted as it says. It ends with ctx at the latest. The error is a
	// *Failure: the engine classifies what only it can tell and gives the
	// rest to Classify.
	Connect(ctx context.Context, l Login, secure *tls.Config) (Session, error)
}

// Session is a login. Every method leaves things as they were or has its
// whole effect, as far as the server offers that, and may be repeated. Errors
// are *Failure and never hold a statement that holds a password.
type Session interface {
	// Ping proves that the login can do its work: the query of testSecret.
	Ping(ctx context.Context) error
	// SetOwnPassword changes the password of the user that is logged in, as
	// which l logged in.
	SetOwnPassword(ctx context.Context, l Login, next plaintext.Value) error
	// SetPassword changes the password of any user, as a superuser.
	SetPassword(ctx context.Context, user string, next plaintext.Value) error
	// UserExists tells whether the server has the user.
	UserExists(ctx context.Context, user string) (bool, error)
	// CreateClone makes a user to alternate with the one of from, without
	// its privileges yet. The password is one that no version holds: a clone
	// can be logged in to only once SetPassword has been called, which is
	// after it has its privileges.
	CreateClone(ctx context.Context, from Login, to string, password plaintext.Value) error
	// CopyGrants gives the user to what the user of from may do.
	CopyGrants(ctx context.Context, from Login, to string) error
	// Close ends the login.
	Close(ctx context.Context) error
}

// Adviser is a Session of a superuser that sees where two alternating users
// may still do different things. Advice is called when the pending user, to,
// is complete but for its password; each text names what to do.
type Adviser interface {
	Advice(ctx context.Context, from Login, to string) []string
}

// Kind is what the strategies need to know of an engine.
type Kind struct {
	// Title is how log lines name it, such as "PostgreSQL DB".
	Title string
	// Accepts are the values of the secret's engine member; the first is the
	// one that errors name.
	Accepts []string
	// Required are the members that a secret needs beside engine.
	Required []string
	// Port and Database are used where the secret does not say; Port 0 makes
	// the member port needed only as the engine sees fit.
	Port     int
	Database string
	// OnePorts are ports at which one server is reached in different ways, 0
	// being the usual one. Other ports of a host belong to other servers.
	OnePorts []int
	// Passwords are the rules for new passwords.
	Passwords PasswordRules
	// CloneSuffix is what the name of an alternating user's clone ends with;
	// "" means _clone. CloneUpper says that clones' names are upper-case.
	CloneSuffix string
	CloneUpper  bool
	// CloneLimit is how long a clone's name may be, in characters; 0 for no
	// limit. CloneLimitVariable is the environment variable that changes it.
	// CloneBytes says that the limit is in bytes of UTF-8.
	CloneLimit         int
	CloneLimitVariable string
	CloneBytes         bool
	// GrantsEachTime copies privileges in every rotation, not only to a
	// fresh clone.
	GrantsEachTime bool
	// KeepsAdminDatabase leaves the superuser in the database of its own
	// secret, rather than in that of the user's (AWS: only MongoDB).
	KeepsAdminDatabase bool
	// UsersPerNode says that each node of a cluster has users of its own. The
	// secret's member nodes lists the nodes beside host and port; Connect
	// logs in to every one, and what a Session does it does on all.
	UsersPerNode bool
	// OneTLS says that plain connections do not exist or that the engine
	// negotiates by itself: there is one attempt, with TLS settings unless
	// the secret turns it off.
	OneTLS bool
	// Service is the AWS service that may keep the superuser's secret, and
	// know which host is a replica of which. The zero value is none.
	Service Service
}

// Service is what AWS runs an engine's servers with (AWS: the templates).
type Service int

// The services.
const (
	NoService Service = iota // servers that no AWS service knows
	RDS                      // instances and their read replicas
	Aurora                   // as RDS, and clusters
	Redshift                 // clusters and serverless namespaces
)

// superuser is how errors name a superuser (AWS: the templates).
func (s Service) superuser() string {
	if s == Redshift {
		return "admin"
	}
	return "master"
}

// Matches tells whether a secret's engine member names this engine.
func (k Kind) Matches(engine string) bool {
	for _, name := range k.Accepts {
		if name == engine {
			return true
		}
	}
	return false
}
