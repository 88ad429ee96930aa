package wire

import (
	"net/http"
	"net/url"

	"github.com/keyturn/keyturn/internal/fault"
)

// adapter speaks one protocol.
type adapter interface {
	// check panics if a model's requests and responses lack the codecs.
	check(*Model)
	// decode reads the request, whose operation is known.
	decode(*exchange, Input) error
	// encode sets the answer's type and body, and may set its status.
	encode(*exchange, Output, http.Header)
	// refuse sets the answer's type and body for an error.
	refuse(*exchange, public, http.Header)
	// usual gives the codes that the protocol's services share.
	usual(fault.Kind) (Code, bool)
}

// adapterOf panics on a protocol that has no adapter.
func adapterOf(p Protocol) adapter {
	switch p {
	case JSON:
		return adapterJSON{}
	case RestJSON:
		return adapterRest{}
	case Query:
		return adapterQuery{}
	case EC2:
		return adapterEC2{}
	}
	panic("wire: no adapter for protocol " + string(p))
}

// check panics unless all requests of a model are an In and all responses an
// Out.
func check[In, Out any](m *Model) {
	for i := range m.Operations {
		op := &m.Operations[i]
		if _, ok := op.In().(In); !ok {
			panic("wire: the request of " + op.Name + " lacks its codec")
		}
		if _, ok := op.Out().(Out); !ok {
			panic("wire: the response of " + op.Name + " lacks its codec")
		}
	}
}

type jsonInput interface{ DecodeJSON(*Decoder) }

// adapterJSON speaks JSON 1.0 and 1.1.
type adapterJSON struct{}

func (adapterJSON) check(m *Model) { check[jsonInput, Output](m) }

func (adapterJSON) usual(k fault.Kind) (Code, bool) { return codesJSON(k) }

func (adapterJSON) decode(x *exchange, in Input) error {
	if len(x.body.b) == 0 {
		return nil
	}
	return Unmarshal(x.body.b, in.(jsonInput))
}

func (a adapterJSON) encode(x *exchange, out Output, _ http.Header) {
	x.answer.contentType = a.contentType(x.service)
	if x.op.model.Void {
		return
	}
	e := Encoder{buf: x.out.b}
	out.EncodeJSON(&e)
	x.out.b = e.buf
	x.answer.body = e.buf
}

func (adapterJSON) contentType(s *Service) string {
	if s != nil && s.Model.JSONVersion == "1.0" {
		return "application/x-amz-json-1.0"
	}
	return "application/x-amz-json-1.1"
}

func (a adapterJSON) refuse(x *exchange, p public, _ http.Header) {
	x.answer.contentType = a.contentType(x.service)
	e := NewEncoder(nil)
	e.Begin()
	e.String("__type", &p.Name)
	p.encodeMessage(e)
	e.End()
	x.answer.body = e.Bytes()
}

// encodeMessage writes the message under the name that the model has for
// it; front-door errors, which are not modelled, have it in lower case.
func (p *public) encodeMessage(e *Encoder) {
	if p.message == "" {
		return
	}
	name := p.shape.Message
	if name == "" {
		name = "message"
	}
	e.String(name, &p.message)
}

type restInput interface{ DecodeREST(*Rest) }

type restOutput interface{ EncodeREST(*RestAnswer) }

// adapterRest speaks rest-json.
type adapterRest struct{}

func (adapterRest) check(m *Model) { check[restInput, restOutput](m) }

func (adapterRest) usual(k fault.Kind) (Code, bool) { return codesRest(k) }

func (adapterRest) decode(x *exchange, in Input) error {
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return fault.New(Serialization, "").Because(err)
	}
	r := &Rest{labels: x.labels, query: query, header: x.r.Header, body: x.body.b}
	in.(restInput).DecodeREST(r)
	return r.err
}

func (adapterRest) encode(x *exchange, out Output, header http.Header) {
	a := &RestAnswer{status: x.answer.status, header: header, enc: &Encoder{buf: x.out.b}}
	out.(restOutput).EncodeREST(a)
	x.out.b = a.enc.buf
	x.answer.status, x.answer.body = a.status, a.body
	if len(a.body) > 0 {
		x.answer.contentType = "application/json"
	}
}

func (adapterRest) refuse(x *exchange, p public, header http.Header) {
	x.answer.contentType = "application/json"
	e := NewEncoder(nil)
	e.Begin()
	if p.shape.Reason && p.reason != "" {
		e.String("Reason", &p.reason)
	}
	if p.shape.ErrorCode {
		e.String("errorCode", &p.Name)
	}
	if p.shape.Type {
		e.String("Type", new(p.side("User", "Service")))
	}
	p.encodeMessage(e)
	e.End()
	x.answer.body = e.Bytes()
	if p.Status == http.StatusTooManyRequests {
		header.Set("Retry-After", "1")
	}
}

// side tells whose fault the error is.
func (p *public) side(client, server string) string {
	if p.Status < 500 {
		return client
	}
	return server
}

type queryInput interface{ DecodeForm(Form) }

type queryOutput interface{ EncodeXML(*XML) }

// adapterQuery speaks the query protocol.
type adapterQuery struct{}

func (adapterQuery) check(m *Model) { check[queryInput, queryOutput](m) }

func (adapterQuery) usual(k fault.Kind) (Code, bool) { return codesQuery(k) }

func (adapterQuery) decode(x *exchange, in Input) error {
	in.(queryInput).DecodeForm(x.form)
	return x.form.Err()
}

func (adapterQuery) encode(x *exchange, out Output, _ http.Header) {
	m := x.op.model
	e := &XML{buf: x.out.b}
	e.OpenRoot(m.Name+"Response", x.service.Model.Namespace)
	if m.Result != "" {
		e.Open(m.Result)
		out.(queryOutput).EncodeXML(e)
		e.Close(m.Result)
	}
	e.Open("ResponseMetadata")
	e.Text("RequestId", x.id)
	e.Close("ResponseMetadata")
	e.Close(m.Name + "Response")
	x.out.b = e.buf
	x.answer.contentType, x.answer.body = "text/xml", e.buf
}

// faultNamespace is the name space of errors of no service (AWS: recorded).
const faultNamespace = "http://webservices.amazon.com/AWSFault/2005-15-09"

func (adapterQuery) refuse(x *exchange, p public, _ http.Header) {
	namespace := faultNamespace
	if x.service != nil && x.service.Model.Namespace != "" {
		namespace = x.service.Model.Namespace
	}
	if p.Name == "MissingAuthenticationToken" {
		p.message = "Request is missing Authentication Token"
	}
	e := NewXML(nil)
	e.OpenRoot("ErrorResponse", namespace)
	e.Open("Error")
	e.Text("Type", p.side("Sender", "Receiver"))
	e.Text("Code", p.Name)
	e.Text("Message", p.message)
	e.Close("Error")
	e.Text("RequestId", x.id)
	e.Close("ErrorResponse")
	x.answer.contentType, x.answer.body = "text/xml", e.Bytes()
}
