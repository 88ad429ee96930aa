// Command influxd serves what InfluxDB 2 has of users and tokens: its own
// packages for tenants, passwords, sessions and authorizations, on its own
// store, behind its own HTTP handlers. The dispatch and the choice between
// token and session are written here, because InfluxDB's bring all of its
// storage and query language along. There is no data and no Flux.
//
//	influxd ADDRESS FILE [CERTIFICATE KEY]
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/influxdata/influxdb/v2"
	"github.com/influxdata/influxdb/v2/authorization"
	"github.com/influxdata/influxdb/v2/bolt"
	icontext "github.com/influxdata/influxdb/v2/context"
	"github.com/influxdata/influxdb/v2/inmem"
	"github.com/influxdata/influxdb/v2/kit/platform/errors"
	kithttp "github.com/influxdata/influxdb/v2/kit/transport/http"
	"github.com/influxdata/influxdb/v2/kv/migration"
	"github.com/influxdata/influxdb/v2/kv/migration/all"
	"github.com/influxdata/influxdb/v2/secret"
	"github.com/influxdata/influxdb/v2/session"
	"github.com/influxdata/influxdb/v2/tenant"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 5 {
		log.Fatal("usage: influxd ADDRESS FILE [CERTIFICATE KEY]")
	}
	handler, err := newHandler(context.Background(), os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) == 5 {
		err = http.ListenAndServeTLS(os.Args[1], os.Args[3], os.Args[4], handler)
	} else {
		err = http.ListenAndServe(os.Args[1], handler)
	}
	log.Fatal(err)
}

// server chooses the handler of a request, and who makes it.
type server struct {
	handlers []kithttp.ResourceHandler
	open     []string // the prefixes that need no login
	users    influxdb.UserService
	tokens   influxdb.AuthorizationService
	sessions influxdb.SessionService
	api      *kithttp.API
}

func newHandler(ctx context.Context, file string) (http.Handler, error) {
	logger := zap.NewNop()
	store := bolt.NewKVStore(logger, file)
	if err := store.Open(ctx); err != nil {
		return nil, err
	}
	migrator, err := migration.NewMigrator(logger, store, all.Migrations[:]...)
	if err != nil {
		return nil, err
	}
	if err := migrator.Up(ctx); err != nil {
		return nil, err
	}
	// Weak passwords are refused, as "influxd --strong-passwords" does.
	ts := tenant.NewSystem(tenant.NewStore(store), logger, prometheus.NewRegistry(), true)
	tokenStore, err := authorization.NewStore(store)
	if err != nil {
		return nil, err
	}
	tokens := authorization.NewService(tokenStore, ts)
	sessions := session.NewService(session.NewStorage(inmem.NewSessionStore()), ts.UserService, ts.UserResourceMappingService, tokens)
	secretStore, err := secret.NewStore(store)
	if err != nil {
		return nil, err
	}
	setup := tenant.NewAuthedOnboardSvc(tenant.NewOnboardService(ts, tokens))
	signing := session.NewSessionHandler(logger, sessions, ts.UserService, ts.PasswordsService)
	return &server{
		handlers: []kithttp.ResourceHandler{
			tenant.NewHTTPOnboardHandler(logger, setup), signing.SignInResourceHandler(), signing.SignOutResourceHandler(),
			ts.NewUserHTTPHandler(logger), ts.NewMeHTTPHandler(logger), ts.NewOrgHTTPHandler(logger, secret.NewService(secretStore)),
			authorization.NewHTTPAuthHandler(logger, authorization.NewAuthedAuthorizationService(tokens, ts), ts),
		},
		open:  []string{"/api/v2/setup", "/api/v2/signin"},
		users: ts, tokens: tokens, sessions: sessions, api: kithttp.NewAPI(),
	}, nil
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, h := range s.handlers {
		if r.URL.Path != h.Prefix() && !strings.HasPrefix(r.URL.Path, h.Prefix()+"/") {
			continue
		}
		for _, prefix := range s.open {
			if h.Prefix() == prefix {
				http.StripPrefix(h.Prefix(), slashed{h}).ServeHTTP(w, r)
				return
			}
		}
		who, err := s.authenticate(r)
		if err != nil {
			s.api.Err(w, r, err)
			return
		}
		r = r.WithContext(icontext.SetAuthorizer(r.Context(), who))
		http.StripPrefix(h.Prefix(), slashed{h}).ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// slashed gives a handler the path that it expects for its root.
type slashed struct{ http.Handler }

func (h slashed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	h.Handler.ServeHTTP(w, r)
}

// authenticate finds the token or the session of a request, as InfluxDB does.
func (s *server) authenticate(r *http.Request) (influxdb.Authorizer, error) {
	who, err := s.authorizer(r)
	if err != nil {
		return nil, &errors.Error{Code: errors.EUnauthorized, Msg: "unauthorized access"}
	}
	user, err := s.users.FindUserByID(r.Context(), who.GetUserID())
	if err != nil || user.Status == influxdb.Inactive {
		return nil, &errors.Error{Code: errors.EForbidden, Msg: "User is inactive"}
	}
	return who, nil
}

func (s *server) authorizer(r *http.Request) (influxdb.Authorizer, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Token "); ok {
		return s.tokens.FindAuthorizationByToken(r.Context(), token)
	}
	key, err := session.DecodeCookieSession(r.Context(), r)
	if err != nil {
		return nil, fmt.Errorf("no token and no session: %w", err)
	}
	return s.sessions.FindSession(r.Context(), key)
}
