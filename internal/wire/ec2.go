package wire

import (
	"net/http"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/sigv4"
)

// adapterEC2 speaks EC2's protocol: the query protocol with flat lists, an
// answer without a result element and errors in a list.
type adapterEC2 struct{}

func (adapterEC2) check(m *Model) { check[queryInput, queryOutput](m) }

func (adapterEC2) usual(k fault.Kind) (Code, bool) { return codesEC2(k) }

func (adapterEC2) decode(x *exchange, in Input) error { return adapterQuery{}.decode(x, in) }

func (adapterEC2) encode(x *exchange, out Output, _ http.Header) {
	m := x.op.model
	e := &XML{buf: x.out.b}
	e.OpenRoot(m.Name+"Response", x.service.Model.Namespace)
	e.Text("requestId", x.id)
	if m.Void { // AWS: recorded
		e.Text("return", "true")
	} else {
		out.(queryOutput).EncodeXML(e)
	}
	e.Close(m.Name + "Response")
	x.out.b = e.buf
	x.answer.contentType, x.answer.body = "text/xml;charset=UTF-8", e.buf
}

func (adapterEC2) refuse(x *exchange, p public, _ http.Header) {
	e := NewXML(nil)
	e.Open("Response")
	e.Open("Errors")
	e.Open("Error")
	e.Text("Code", p.Name)
	e.Text("Message", p.message)
	e.Close("Error")
	e.Close("Errors")
	e.Text("RequestID", x.id)
	e.Close("Response")
	x.answer.contentType, x.answer.body = "text/xml;charset=UTF-8", e.Bytes()
}

// codesEC2 are the codes of EC2 that differ from those of other query
// services (AWS docs).
func codesEC2(k fault.Kind) (Code, bool) {
	switch k {
	case sigv4.UnknownKey, sigv4.Mismatch:
		return Code{"AuthFailure", 401}, true
	case sigv4.ExpiredSession, sigv4.Expired, sigv4.NotYetCurrent:
		return Code{"RequestExpired", 400}, true
	case fault.Denied:
		return Code{"UnauthorizedOperation", 403}, true
	case fault.Validation, MalformedInput:
		return Code{"InvalidParameterValue", 400}, true
	case fault.Throttled:
		return Code{"RequestLimitExceeded", 503}, true
	case fault.Unavailable:
		return Code{"Unavailable", 503}, true
	case fault.Internal:
		return Code{"InternalError", 500}, true
	}
	return codesQuery(k)
}
