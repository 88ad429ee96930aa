package wire

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// router finds the service and the operation of a request.
type router struct {
	byTarget map[string]*target
	// bySigning holds the services of a signing name: some share one.
	bySigning map[string][]*target
	rest      []*target
	// anonymous are the query services with operations that are called without
	// a signature.
	anonymous []*target
}

// target is one service with its operations.
type target struct {
	*Service
	ops    map[string]*binding
	routes []route
}

func newRouter(services []*Service) router {
	r := router{byTarget: map[string]*target{}, bySigning: map[string][]*target{}}
	for _, s := range services {
		t := &target{Service: s, ops: bind(s)}
		name := s.Model.SigningName
		r.bySigning[name] = append(r.bySigning[name], t)
		switch s.Model.Protocol {
		case JSON:
			r.byTarget[shapeName(s.Model.TargetPrefix)] = t
		case RestJSON:
			t.routes = newRoutes(t.ops)
			r.rest = append(r.rest, t)
		case Query:
			if slices.ContainsFunc(s.Model.Operations, func(o Operation) bool { return o.Anonymous }) {
				r.anonymous = append(r.anonymous, t)
			}
		}
		adapterOf(s.Model.Protocol).check(s.Model)
	}
	return r
}

// find returns an operation by signing name; nil if there is none.
func (r *router) find(service, operation string) *binding {
	for _, t := range r.bySigning[service] {
		if b := t.ops[operation]; b != nil {
			return b
		}
	}
	return nil
}

// route sets the exchange's adapter, service and operation and takes the
// body in. An unsigned request is refused, unless its operation takes such
// requests, but only after its operation was found where header or path name
// it.
func (r *router) route(x *exchange) error {
	x.sig, x.sigErr = sigv4.Parse(x.r)
	if name := x.r.Header.Get("X-Amz-Target"); name != "" {
		x.adapter = adapterJSON{}
		return r.routeTarget(x, name)
	}
	path := x.r.URL.EscapedPath()
	if x.sigErr != nil {
		return r.routeUnsigned(x, path)
	}
	path = x.sig.Path
	services := r.bySigning[x.sig.Scope.Service]
	if len(services) == 0 {
		return notServed(x.sig.Scope.Service)
	}
	x.service, x.adapter = services[0].Service, adapterOf(services[0].Model.Protocol)
	switch x.service.Model.Protocol {
	case RestJSON:
		return r.routePath(x, services, path)
	case Query, EC2:
		return r.routeForm(x, services)
	}
	return fault.New(UnknownOperation, "")
}

// notServed names a service of AWS that is none here.
func notServed(service string) error {
	return fault.New(UnknownOperation, "The service '%s' is not served here.", service)
}

// shapeName is the name of a target without its name space: botocore sends
// CloudTrail's com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101, other
// clients CloudTrail_20131101 alone (AWS: seen).
func shapeName(target string) string { return target[strings.LastIndexByte(target, '.')+1:] }

func (r *router) routeTarget(x *exchange, name string) error {
	prefix, operation := "", name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		prefix, operation = name[:i], name[i+1:]
	}
	t := r.byTarget[shapeName(prefix)]
	if t == nil && x.sigErr == nil && len(r.bySigning[x.sig.Scope.Service]) == 0 {
		return notServed(x.sig.Scope.Service)
	}
	if t == nil {
		return fault.New(UnknownOperation, "")
	}
	x.service = t.Service
	if x.op = t.ops[operation]; x.op == nil || x.r.Method != http.MethodPost {
		x.op = nil
		return fault.New(UnknownOperation, "")
	}
	if x.sigErr != nil {
		return x.sigErr
	}
	return x.read(x.op.limit)
}

// routeUnsigned finds an operation that needs no signature, or else the
// protocol in which to refuse.
func (r *router) routeUnsigned(x *exchange, path string) error {
	for _, t := range r.rest {
		if op, _ := match(t.routes, x.r.Method, path, x.r.URL.Query()); op != nil {
			x.service, x.op, x.adapter = t.Service, op, adapterRest{}
			return x.sigErr
		}
	}
	if fault.Is(x.sigErr, sigv4.Missing) && r.routeAnonymous(x) {
		return nil
	}
	return x.sigErr
}

// maxAnonymous bounds the body of an unsigned request, in bytes: a token of
// 20,000 characters and a session policy, percent-encoded, fit.
const maxAnonymous = 128 << 10

// routeAnonymous finds the operation of an unsigned form, if it is one that
// takes such requests.
func (r *router) routeAnonymous(x *exchange) bool {
	form := x.r.Method == http.MethodGet || strings.HasPrefix(x.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if len(r.anonymous) == 0 || !form || x.read(maxAnonymous) != nil {
		return false
	}
	values, err := x.values()
	if err != nil {
		return false
	}
	for _, t := range r.anonymous {
		op := t.ops[values.Get("Action")]
		if op != nil && op.model.Anonymous && values.Get("Version") == t.Model.APIVersion {
			x.service, x.op, x.adapter, x.form = t.Service, op, adapterQuery{}, NewForm(values)
			return true
		}
	}
	return false
}

// guess names the adapter of a request whose service is unknown.
func guess(r *http.Request) adapter {
	switch path := r.URL.Path; {
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-amz-json"):
		return adapterJSON{}
	case strings.HasPrefix(path, "/20"), strings.HasPrefix(path, "/applications"):
		return adapterRest{}
	}
	return adapterQuery{}
}

func (r *router) routePath(x *exchange, services []*target, path string) error {
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return fault.New(Serialization, "").Because(err)
	}
	for _, t := range services {
		if op, labels := match(t.routes, x.r.Method, path, query); op != nil {
			x.service, x.op, x.labels = t.Service, op, labels
			return x.read(op.limit)
		}
	}
	return fault.New(UnknownOperation, "")
}

func (r *router) routeForm(x *exchange, services []*target) error {
	if err := x.read(MaxBody); err != nil {
		return err
	}
	values, err := x.values()
	if err != nil {
		return err
	}
	action, version := values.Get("Action"), values.Get("Version")
	for _, t := range services {
		if t.Model.APIVersion == version || len(services) == 1 {
			x.service, x.op = t.Service, t.ops[action]
		}
	}
	switch {
	case x.op != nil && version != x.service.Model.APIVersion:
		x.op = nil
		return fault.New(UnknownOperation, "Could not find operation %s for version %s", action, version)
	case x.op == nil:
		return fault.New(UnknownOperation, "The action %s is not valid for this web service.", action)
	}
	x.form = NewForm(values)
	return nil
}

// values parses the form in the body of a POST, or in the query.
func (x *exchange) values() (url.Values, error) {
	text := x.r.URL.RawQuery
	if x.r.Method == http.MethodPost {
		text = string(x.body.b)
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, fault.New(MalformedInput, "The request is not a well-formed form.").Because(err)
	}
	return values, nil
}

// route is the path of one rest-json operation.
type route struct {
	op       *binding
	method   string
	segments []string
	// query holds parameters that must have these values.
	query url.Values
	// pattern sorts after others where it has a literal and they a label.
	pattern string
}

// newRoutes puts literal paths before labels.
func newRoutes(ops map[string]*binding) []route {
	var routes []route
	for _, b := range ops {
		path, query, _ := strings.Cut(b.model.URI, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			panic("wire: " + b.model.Name + " has the URI " + b.model.URI)
		}
		segments := split(path)
		routes = append(routes, route{b, b.model.Method, segments, values, pattern(segments)})
	}
	slices.SortFunc(routes, func(a, b route) int {
		if len(a.query) != len(b.query) {
			return len(b.query) - len(a.query)
		}
		return strings.Compare(b.pattern, a.pattern)
	})
	return routes
}

func pattern(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		if isLabel(s) {
			b.WriteString("/\x00" + s)
		} else {
			b.WriteString("/\x01" + s)
		}
	}
	return b.String()
}

func isLabel(segment string) bool { return strings.HasPrefix(segment, "{") }

// split cuts an escaped path, without a slash at its end, into segments.
func split(path string) []string {
	return strings.Split(strings.Trim(path, "/"), "/")
}

// match finds the operation of a method and an escaped path, and the labels'
// values. Segments are decoded after they are cut apart, so a label may hold
// an escaped slash.
func match(routes []route, method, path string, query url.Values) (*binding, []pair) {
	segments := split(path)
	for i := range routes {
		r := &routes[i]
		if r.method != method || !r.admits(query) {
			continue
		}
		if labels, ok := r.match(segments); ok {
			return r.op, labels
		}
	}
	return nil, nil
}

func (r *route) admits(query url.Values) bool {
	for name, want := range r.query {
		if query.Get(name) != want[0] {
			return false
		}
	}
	return true
}

func (r *route) match(segments []string) (labels []pair, ok bool) {
	for i, want := range r.segments {
		if i >= len(segments) {
			return nil, false
		}
		if !isLabel(want) {
			if segments[i] != want {
				return nil, false
			}
			continue
		}
		text, name := segments[i], strings.Trim(want, "{}")
		if greedy, ok := strings.CutSuffix(name, "+"); ok {
			text, name = strings.Join(segments[i:], "/"), greedy
			segments = segments[:i+1]
		}
		value, err := url.PathUnescape(text)
		if err != nil || value == "" {
			return nil, false
		}
		labels = append(labels, pair{name, value})
	}
	return labels, len(segments) == len(r.segments)
}
