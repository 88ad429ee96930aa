package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/oidc"
	"github.com/keyturn/keyturn/internal/service/admin"
	"github.com/keyturn/keyturn/internal/service/cloudformation"
	"github.com/keyturn/keyturn/internal/service/cloudtrail"
	"github.com/keyturn/keyturn/internal/service/ec2"
	"github.com/keyturn/keyturn/internal/service/iam"
	"github.com/keyturn/keyturn/internal/service/lambda"
	"github.com/keyturn/keyturn/internal/service/logs"
	"github.com/keyturn/keyturn/internal/service/rds"
	"github.com/keyturn/keyturn/internal/service/serverlessrepo"
	"github.com/keyturn/keyturn/internal/service/sts"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// services returns what is served.
func (s *Server) services(guard *authz.Guard, verifier *oidc.Verifier) []*wire.Service {
	s.applications = serverlessrepo.New(serverlessrepo.Config{Store: s.store, Guard: guard, URL: s.URL})
	return []*wire.Service{
		s.secrets.Wire(),
		lambda.New(lambda.Config{Store: s.store, Guard: guard, Invoker: s.invoker, CodeURL: s.codeURL, Concurrency: s.cfg.Concurrency, Logger: s.cfg.Logger}).Wire(),
		logs.New(logs.Config{Store: s.store, Guard: guard}).Wire(),
		cloudtrail.New(cloudtrail.Config{Store: s.store, Guard: guard, Recorder: s.recorder, Sealer: s.sealer}).Wire(),
		iam.New(iam.Config{Store: s.store, Guard: guard, Sealer: s.sealer}).Wire(),
		sts.New(sts.Config{Store: s.store, Guard: guard, Keyring: s.keyring, Verifier: verifier}).Wire(),
		s.kms.Wire(),
		cloudformation.New(cloudformation.Config{Store: s.store, Guard: guard, Sealer: s.sealer, Wake: s.stacks.Wake}).Wire(),
		ec2.New(ec2.Config{Store: s.store, Guard: guard}).Wire(),
		s.applications.Wire(),
		rds.New(rds.Config{Store: s.store, Guard: guard, Keys: s.keys, Sealer: s.sealer, Wake: s.engine.Wake, Logger: s.cfg.Logger}).Wire(),
		admin.New(admin.Config{
			Store: s.store, Guard: guard, Sealer: s.sealer, Rekeyer: s.rekeyer, Account: s.cfg.Account, Given: s.cfg.RootAccessKeyID != "",
		}).Wire(),
	}
}

// Paths that are no AWS API.
//
// ReadyPath answers 200 when the store can be read, LivePath whenever the
// process answers at all: who restarts what is not alive must not restart
// every node because their database is away.
const (
	ReadyPath   = "/health"
	LivePath    = "/health/live"
	metricsPath = "/metrics"
	codePath    = "/_keyturn/code"
)

// handler answers every request that comes through a VPC endpoint, or through
// none, or through the one that of finds.
func (s *Server) handler(services []*wire.Service, who *authenticator, endpoint *wire.Endpoint, of endpointOf) http.Handler {
	cfg := wire.Config{
		Services: services, Authenticate: who.authenticate, Region: s.cfg.Region, Endpoint: endpoint, EndpointOf: of,
		Record: s.gauges.record, Observe: s.metrics.request, Log: s.cfg.Logger,
	}
	if s.cfg.Tracer != nil {
		cfg.Trace = traceRequest
	}
	var aws http.Handler = wire.NewHandler(cfg)
	if s.cfg.Tracer != nil {
		aws = traced(s.cfg.Tracer, aws)
	}
	measured := s.metrics.handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// AWS paths hold encoded slashes and must not be cleaned, so there is
		// no ServeMux here.
		switch r.URL.Path {
		case ReadyPath, ReadyPath + "/ready":
			s.health(w, r)
		case LivePath:
			s.writeHealth(w, http.StatusOK, "ok")
		case metricsPath:
			measured.ServeHTTP(w, r)
		case codePath:
			s.code(w, r)
		default:
			if strings.HasPrefix(r.URL.Path, application.Folder) {
				serveTemplate(w, r)
				return
			}
			aws.ServeHTTP(w, r)
		}
	})
}

// serveTemplate serves the template of a rotation application, which is no
// secret: the links to it need no signature, like AWS's.
func serveTemplate(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "This link is for downloading.", http.StatusMethodNotAllowed)
		return
	}
	body, ok := application.At(r.URL.Path)
	if !ok {
		http.Error(w, "There is no such application.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = io.WriteString(w, body) // a client that went away gets no answer
}

// Headers of /health by which clients tell this server from others: the
// doctor reads the engine's reports only where there is an engine, and judges
// networks by whether they count.
const (
	serverName    = "Keyturn"
	enforceHeader = "Keyturn-Enforce-Vpc"
)

// health answers whether the store can be read.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	status, text := http.StatusOK, "ok"
	err := s.store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Meta(metaMadeBy)
		return err
	})
	if err != nil {
		s.cfg.Logger.Error("health check", "error", err)
		status, text = http.StatusServiceUnavailable, "the store cannot be read"
	}
	s.writeHealth(w, status, text)
}

func (s *Server) writeHealth(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server", serverName)
	w.Header().Set(enforceHeader, strconv.FormatBool(s.cfg.EnforceVPC))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": text}) // a client that went away gets no answer
}

// codeLife is how long GetFunction's link to the code is good (AWS docs).
const codeLife = 10 * time.Minute

const codePurpose = "code-link"

// codeLink is what a link to a code package carries, sealed.
type codeLink struct {
	SHA256  string
	Expires time.Time
}

// codeURL returns a link to a code package that needs no signature.
func (s *Server) codeURL(sha256 string) string {
	return s.URL() + codePath + "?" + url.Values{"token": {s.codeToken(sha256)}}.Encode()
}

func (s *Server) codeToken(sha256 string) string {
	b, _ := json.Marshal(codeLink{sha256, time.Now().Add(codeLife)}) // strings and times always marshal
	return base64.RawURLEncoding.EncodeToString(s.sealer.Seal(codePurpose, b))
}

// openLink reads what codeToken made, while it is good.
func (s *Server) openLink(token string) (link codeLink, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return link, err
	}
	b, err := s.sealer.Open(codePurpose, sealed)
	if err != nil {
		return link, err
	}
	if err := json.Unmarshal(b, &link); err != nil {
		return link, err
	}
	if time.Now().After(link.Expires) {
		return link, errors.New("the link has expired")
	}
	return link, nil
}

// code serves the package that a link names.
func (s *Server) code(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "This link is for downloading.", http.StatusMethodNotAllowed)
		return
	}
	link, err := s.openLink(r.URL.Query().Get("token"))
	if err != nil {
		http.Error(w, "This link is not valid or has expired.", http.StatusForbidden)
		return
	}
	var zip []byte
	err = s.store.View(r.Context(), func(tx *store.Tx) (err error) {
		zip, err = tx.Code(link.SHA256)
		return err
	})
	switch {
	case fault.Is(err, fault.NotFound):
		http.Error(w, "This code package has been deleted.", http.StatusNotFound)
		return
	case err != nil:
		s.cfg.Logger.Error("reading a code package", "error", err)
		http.Error(w, "The code package cannot be read now.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Length", strconv.Itoa(len(zip)))
	_, _ = w.Write(zip) // a client that went away gets no answer
}
