package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"sync"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/wire"
)

// Endpoint is a VPC endpoint: a door of its own, whose policy limits what goes
// through it and by which policies elsewhere know its calls
// (aws:SourceVpce, aws:SourceVpc, aws:VpcSourceIp). The names of its members
// are those of DescribeVpcEndpoints.
type Endpoint struct {
	ID  string `json:"VpcEndpointId"`
	VPC string `json:"VpcId"`
	// Listen is the address of the door.
	Listen string `json:"Listen"`
	// Policy is a policy document, as an object or as a text of it; without
	// one everything may go through (AWS docs).
	Policy json.RawMessage `json:"PolicyDocument"`
}

var (
	endpointPattern = regexp.MustCompile(`^vpce-[0-9a-z]+$`)
	vpcPattern      = regexp.MustCompile(`^vpc-[0-9a-z]+$`)
)

// fullAccess is the policy of an endpoint for which none was given (AWS docs).
const fullAccess = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`

// ReadEndpoint reads an endpoint from a JSON file.
func ReadEndpoint(path string) (Endpoint, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Endpoint{}, fmt.Errorf("reading a VPC endpoint: %w", err)
	}
	var e Endpoint
	// A member that is misspelt must not leave the endpoint without a policy.
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(&e)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more than one JSON object")
		}
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("reading the VPC endpoint in %s: %w", path, err)
	}
	return e, nil
}

// compile checks the endpoint and prepares it for calls.
func (e *Endpoint) compile() (*wire.Endpoint, error) {
	switch {
	case !endpointPattern.MatchString(e.ID):
		return nil, fmt.Errorf("the VPC endpoint %q does not have an ID such as vpce-0a1b2c3d", e.ID)
	case !vpcPattern.MatchString(e.VPC):
		return nil, fmt.Errorf("the VPC %q of %s does not have an ID such as vpc-0a1b2c3d", e.VPC, e.ID)
	}
	text := string(e.Policy)
	if len(e.Policy) == 0 || text == "null" {
		text = fullAccess
	} else if e.Policy[0] == '"' {
		if err := json.Unmarshal(e.Policy, &text); err != nil {
			return nil, fmt.Errorf("reading the policy of %s: %w", e.ID, err)
		}
	}
	d, err := iam.ParseDocument(text)
	if err == nil {
		err = d.CheckResource()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the policy of %s: %w", e.ID, err)
	}
	p, err := iam.Compile(d, e.ID)
	if err != nil {
		return nil, fmt.Errorf("reading the policy of %s: %w", e.ID, err)
	}
	return &wire.Endpoint{ID: e.ID, VPC: e.VPC, Policy: p}, nil
}

// passage is the door of a VPC endpoint.
type passage struct {
	door
	endpoint *wire.Endpoint
}

// openEndpoints opens the doors of the VPC endpoints.
func (s *Server) openEndpoints() error {
	for i := range s.cfg.Endpoints {
		e := &s.cfg.Endpoints[i]
		compiled, err := e.compile()
		if err != nil {
			return err
		}
		l, err := s.cfg.listen(e.Listen, s.crowd)
		if err != nil {
			return fmt.Errorf("opening the VPC endpoint %s: %w", e.ID, err)
		}
		s.passages = append(s.passages, &passage{door{listener: l}, compiled})
	}
	return nil
}

// EndpointURL is where clients reach a VPC endpoint; "" for one that the
// server does not have.
func (s *Server) EndpointURL(id string) string {
	for _, p := range s.passages {
		if p.endpoint.ID == id {
			return s.cfg.scheme() + p.address()
		}
	}
	return ""
}

// doors are all doors for clients.
func (s *Server) doors() []*door {
	list := []*door{&s.outer}
	for _, p := range s.passages {
		list = append(list, &p.door)
	}
	return list
}

// shutDoors lets nobody in any more by these doors and waits for those
// inside.
func (s *Server) shutDoors(doors []*door) error {
	errs := make([]error, len(doors))
	var wg sync.WaitGroup
	for i, d := range doors {
		wg.Go(func() { errs[i] = d.shut(s.cfg.Grace, s.cfg.Logger) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// answerAll makes every door answer.
func (s *Server) answerAll(services []*wire.Service) {
	who := newAuthenticator(s.keyring)
	answer := func(d *door, h http.Handler) { d.answer(h, s.cfg.Logger) }
	answer(&s.outer, s.handler(services, who, nil, nil))
	of := newRecorded(s.store).endpoint
	ofMain := of
	if s.cfg.EnforceVPC {
		ofMain = through(mainService, of)
	}
	answer(&s.inner, s.handler(services, who, nil, ofMain))
	for _, d := range s.side {
		answer(&d.door, s.handler(services, who, nil, through(d.service, of)))
	}
	for _, p := range s.passages {
		answer(&p.door, s.handler(services, who, p.endpoint, nil))
	}
}
