package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyturn/keyturn/internal/rotator"
)

// target is a version on its way.
type target struct {
	result Result
	engine Engine
	login  rotator.Login
	at     *endpoint
	// untried tells that there was no need to log in.
	untried bool
	// kept tells that the password was not sent unencrypted.
	kept bool
	// verifiers are what a superuser saw, by user.
	verifiers map[string]string
}

// Run tries the versions' logins. Versions that say too little to try one are
// left out. It ends with ctx at the latest, and what there was no time for
// says so.
func (p *Prober) Run(ctx context.Context, versions []Version) []Result {
	targets, secure := p.targets(ctx, versions)
	p.lookAround(ctx, targets, secure)
	users := map[string][]*target{}
	for _, t := range targets {
		key := t.at.address() + " " + t.login.Username
		users[key] = append(users[key], t)
	}
	names := usernames(targets)
	var group errgroup.Group
	for _, list := range users {
		group.Go(func() error {
			p.tryUser(ctx, list, names, secure)
			return nil
		})
	}
	_ = group.Wait() // failures are results
	return results(targets, hidden(versions))
}

// usernames are those whose verifiers a superuser is asked for.
func usernames(targets []*target) []string {
	var names []string
	for _, t := range targets {
		if !slices.Contains(names, t.login.Username) {
			names = append(names, t.login.Username)
		}
	}
	return names
}

// results fills in what one login has learnt for the others.
func results(targets []*target, secrets []string) []Result {
	all := []Result{}
	for _, t := range targets {
		if t.untried {
			continue
		}
		for _, other := range targets {
			if v := other.verifiers[t.login.Username]; v != "" && other.at == t.at {
				t.result.Verifier = v
			}
		}
		t.result.hide(secrets)
		all = append(all, t.result)
	}
	return all
}

// minHidden is the length from which a text is looked for: shorter ones are
// in everything, and are no passwords.
const minHidden = 4

// hidden are the texts that no result may hold: every member that does not
// say where or as whom.
func hidden(versions []Version) []string {
	shown := []string{
		"engine", "host", "port", "dbname", "username", "ssl", "masterarn", "superuserSecretArn", "adminSecretArn", "nodes", "hosts", "vhost",
		"dbInstanceIdentifier", "dbClusterIdentifier", "namespaceName", "hostKey", "publicKey", "baseDN", "userFilter", "startTLS", "amqpPort", "replicaSet",
		"dbIdentifier", "org",
	}
	var all []string
	for i := range versions {
		d, err := versions[i].Document()
		if err != nil {
			continue
		}
		for _, key := range d.Keys() {
			if text := d.Text(key); !slices.Contains(shown, key) && len(text) >= minHidden && text != "true" && text != "false" {
				all = append(all, text)
			}
		}
	}
	return all
}

// hide takes secrets out of the texts that servers and drivers wrote.
func (r *Result) hide(secrets []string) {
	for _, secret := range secrets {
		for i := range r.Stages {
			r.Stages[i].Text = strings.ReplaceAll(r.Stages[i].Text, secret, "(hidden)")
		}
		r.Server = strings.ReplaceAll(r.Server, secret, "(hidden)")
		r.Method = strings.ReplaceAll(r.Method, secret, "(hidden)")
		r.Names = strings.ReplaceAll(r.Names, secret, "(hidden)")
	}
}

// targets makes logins of the versions, and the client's side of TLS for each
// host.
func (p *Prober) targets(ctx context.Context, versions []Version) ([]*target, map[string]*tls.Config) {
	var all []*target
	var cur *target
	secure := map[string]*tls.Config{}
	endpoints := map[string]*endpoint{}
	trusting := &rotator.Rotation{Settings: p.Settings}
	for i := range versions {
		t := p.target(ctx, &versions[i], cur)
		if t == nil {
			continue
		}
		if t.result.Label == Current {
			cur = t
		}
		if t.result.Label == Previous && cur != nil {
			t.login.TLS = cur.login.TLS // as the templates have it
		}
		// A name that several versions have is looked up and connected to once.
		key := fmt.Sprint(t.at.address(), t.at.wire)
		if at, ok := endpoints[key]; ok {
			t.at = at
		}
		endpoints[key] = t.at
		if secure[t.login.Host] == nil {
			cfg, err := trusting.TLSConfig(t.login.Host)
			if err != nil { // of KEYTURN_CA_BUNDLE: only what the system trusts counts then
				cfg = &tls.Config{ServerName: t.login.Host, MinVersion: tls.VersionTLS12}
			}
			secure[t.login.Host] = cfg
		}
		all = append(all, t)
	}
	return all, secure
}

// target makes a login of a version; nil if it says too little. cur is that
// of the current version, in whose database a superuser works.
func (p *Prober) target(ctx context.Context, v *Version, cur *target) *target {
	d, err := v.Document()
	if err != nil {
		return nil
	}
	if !d.Has("host") && d.Has("username") && d.Has("password") {
		d = p.located(ctx, v, d)
	}
	e, d, ok := p.engine(d)
	if !ok {
		return nil
	}
	l, err := e.Kind.Login(d)
	if err != nil {
		return nil
	}
	l.Settings = p.Settings
	if v.Label == Superuser && cur != nil {
		l.Users = cur.login.Database
		if !e.Kind.KeepsAdminDatabase && cur.login.Database != "" {
			l.Database = cur.login.Database
		}
	}
	return &target{
		engine: e, login: l, at: endpointOf(e, l),
		result: Result{
			Label: v.Label, VersionID: v.ID, From: p.From, Host: l.Host, Port: l.Port, Username: l.Username, Database: l.Database, Engine: d.Text("engine"),
		},
	}
}

// located completes a secret that does not say where its server is, by what
// the service that keeps it says. Another version's word would not do: a
// superuser's password must not go where somebody has written that it should.
func (p *Prober) located(ctx context.Context, v *Version, d *rotator.Document) *rotator.Document {
	within, cancel := context.WithTimeout(ctx, stageLimit)
	defer cancel()
	if whole, ok, err := rotator.Whereabouts(within, p.Config, v.Tags, d); ok && err == nil {
		return whole
	}
	return d
}

// lookAround asks every server, once each, what needs no login.
func (p *Prober) lookAround(ctx context.Context, targets []*target, secure map[string]*tls.Config) {
	var group errgroup.Group
	seen := map[*endpoint]bool{}
	for _, t := range targets {
		if seen[t.at] {
			continue
		}
		seen[t.at] = true
		group.Go(func() error {
			t.at.look(ctx, secure[t.login.Host])
			return nil
		})
	}
	_ = group.Wait() // failures are stages
}

// tryUser tries a user's versions one after the other.
func (p *Prober) tryUser(ctx context.Context, list []*target, names []string, secure map[string]*tls.Config) {
	var asked manner
	for i, t := range list {
		t.result.Stages = slices.Clone(t.at.stages)
		t.result.TLSOffered, t.result.Names, t.result.Server = t.at.offered, t.at.names, t.at.server
		if !t.at.up {
			continue
		}
		if i == 0 {
			asked = t.at.ask(ctx, t.login, secure[t.login.Host])
		}
		t.result.Method, t.result.PlainRefused = asked.method, asked.plainRefused
		if same := refusedBefore(list[:i], t); same != nil {
			t.result.Stages, t.result.LogsIn = slices.Clone(same.result.Stages), false
			continue
		}
		if t.untried = t.result.Label == Previous && currentIn(list[:i]); t.untried {
			continue
		}
		p.try(ctx, t, names, secure[t.login.Host])
	}
}

// currentIn tells whether the current version's password was taken. The one
// before it is then expected to be wrong.
func currentIn(earlier []*target) bool {
	return slices.ContainsFunc(earlier, func(e *target) bool {
		return e.result.Label == Current && slices.ContainsFunc(e.result.Stages, func(s Stage) bool { return s.Name == stageAuth && s.OK })
	})
}

// refusedBefore finds an earlier version whose same password was refused, or
// one that found the user's account locked: the server is not asked again.
func refusedBefore(earlier []*target, t *target) *target {
	for _, e := range earlier {
		if e.login.Password.Equal(t.login.Password) && !e.result.LogsIn && e.login.Password.Len() > 0 || e.result.locked() {
			return e
		}
	}
	return nil
}

// locked tells that the server said so of the user.
func (r *Result) locked() bool {
	return slices.ContainsFunc(r.Stages, func(s Stage) bool { return s.Cause == string(rotator.CauseLocked) })
}

// try logs in, and looks around.
func (p *Prober) try(ctx context.Context, t *target, names []string, secure *tls.Config) {
	began := time.Now()
	visit, failed := t.enter(ctx, secure, p.From == FromHere)
	if failed != nil {
		t.failed(began, failed)
		return
	}
	defer leave(ctx, visit)
	t.encrypted()
	t.result.Stages = append(t.result.Stages, stage(stageAuth, began, nil))
	began = time.Now()
	within, cancel := context.WithTimeout(ctx, stageLimit)
	defer cancel()
	err := visit.Ping(within)
	t.result.Stages = append(t.result.Stages, stage(stageDatabase, began, classify(err)))
	t.result.LogsIn = err == nil
	p.examine(within, t, visit, names)
}

// examine asks the server about itself, and a superuser about the users.
// What it does not say is left out.
func (p *Prober) examine(ctx context.Context, t *target, visit Visit, names []string) {
	who, ok := visit.(rotator.Examiner)
	if !ok {
		return
	}
	if e, err := who.Examine(ctx); err == nil {
		t.result.Server, t.result.ReadOnly = e.Server, e.ReadOnly
	}
	if t.result.Label != Superuser {
		return
	}
	t.verifiers = map[string]string{}
	for _, name := range names {
		if v, err := who.Verifier(ctx, name); err == nil {
			t.verifiers[name] = v
		}
	}
}

// leave ends a login even where time is over.
func leave(ctx context.Context, visit Visit) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = visit.Close(within) // what it was for has been learnt
}

// enter logs in as the rotators do: encrypted and else plain, unless the
// secret or the engine leaves one way. A password that was refused is not
// tried the other way. Where strict is true only a secret that says so is
// sent unencrypted: an operator's machine is not in the database's network,
// and whoever answers there without TLS may be anybody.
func (t *target) enter(ctx context.Context, secure *tls.Config, strict bool) (Visit, *rotator.Failure) {
	if t.login.TLS == rotator.NoTLS {
		return t.enterOnce(ctx, nil)
	}
	visit, failed := t.enterOnce(ctx, secure)
	if failed == nil || t.login.TLS == rotator.RequireTLS || t.engine.Kind.OneTLS {
		return visit, failed
	}
	if failed.Cause != rotator.CauseTLS && failed.Cause != rotator.CauseAccess {
		return nil, failed
	}
	if strict {
		t.kept = true
		return nil, failed
	}
	visit, plain := t.enterOnce(ctx, nil)
	if plain != nil && plain.Cause == rotator.CauseTLSRequired {
		return nil, rotator.NewFailure(failed.Cause, failed.Code, failed.Text+"; and plain: "+plain.Text, failed)
	}
	return visit, plain
}

func (t *target) enterOnce(ctx context.Context, secure *tls.Config) (Visit, *rotator.Failure) {
	if ctx.Err() != nil {
		return nil, rotator.NewFailure(rotator.CauseTimeout, "", "there was no time left to try", ctx.Err())
	}
	within, cancel := context.WithTimeout(ctx, stageLimit)
	defer cancel()
	if secure != nil {
		secure = secure.Clone()
	}
	visit, err := t.engine.Enter(within, t.login, secure)
	if err != nil {
		return nil, rotator.Classify(err)
	}
	return visit, nil
}

// failed says at which stage a login ended.
func (t *target) failed(began time.Time, failed *rotator.Failure) {
	s := &t.result.Stages
	name := stageAuth
	switch failed.Cause {
	case rotator.CauseTLS, rotator.CauseTLSRequired:
		name = stageTLS
	case rotator.CauseDatabase:
		name = stageDatabase
	case rotator.CauseDNS:
		name = stageDNS
	case rotator.CauseTCP:
		name = stageTCP
	}
	if name == stageAuth || name == stageDatabase {
		t.encrypted()
	}
	if name == stageDatabase { // which is looked at after the password
		*s = append(*s, stage(stageAuth, began, nil))
	}
	last := stage(name, began, failed)
	if name == stageTLS && t.at.secure != nil && !t.at.secure.OK && failed.Cause == rotator.CauseTLS {
		last.Text, last.Code = longer(last.Text, t.at.secure.Text), cmp.Or(last.Code, t.at.secure.Code)
	}
	if t.kept {
		last.Text += "; it was not tried unencrypted, which from here takes a secret whose ssl is false"
	}
	*s = append(*s, last)
}

// encrypted adds the stage of TLS that a login has passed. One that failed
// stands only where it is why the login failed.
func (t *target) encrypted() {
	if t.at.secure != nil && t.at.secure.OK && t.login.TLS != rotator.NoTLS {
		t.result.Stages = append(t.result.Stages, *t.at.secure)
	}
}

// longer is the text that says more of the same.
func longer(a, b string) string {
	if len(b) > len(a) {
		return b
	}
	return a
}
