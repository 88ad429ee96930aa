package wire

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
)

// Op is one operation of a service, made by Handle.
type Op struct {
	name   string
	newIn  func() Input
	newOut func() Output
	invoke func(context.Context, *Call, Input) (Output, error)
}

type inputOf[T any] interface {
	*T
	Input
}

type outputOf[T any] interface {
	*T
	Output
}

// Handle makes an Op of a method. It returns either a response or an error;
// an error that is not a *fault.Error is internal.
func Handle[In, Out any, PI inputOf[In], PO outputOf[Out]](name string, fn func(context.Context, *Call, *In) (*Out, error)) Op {
	return Op{
		name:   name,
		newIn:  func() Input { return PI(new(In)) },
		newOut: func() Output { return PO(new(Out)) },
		invoke: func(ctx context.Context, c *Call, in Input) (Output, error) {
			out, err := fn(ctx, c, (*In)(in.(PI)))
			switch {
			case err != nil:
				return nil, err
			case out == nil:
				return nil, fault.New(fault.Internal, "").Because(fmt.Errorf("%s returned neither response nor error", name))
			}
			return PO(out), nil
		},
	}
}

// Code is how a service names an error to its clients.
type Code struct {
	Name string
	// Status is the HTTP status; 0 means that of the model.
	Status int
}

// Service is one service as it is served.
type Service struct {
	Model *Model
	// Ops are exactly the operations of the model.
	Ops []Op
	// Errors maps the kinds that the operations return to codes. Kinds that
	// are missing here get the protocol's usual code.
	Errors map[fault.Kind]Code
	// Conditions returns what a request of the service gives for a condition
	// key, in lower case, of its own service or of aws:RequestTag and
	// aws:TagKeys; nil where requests give none.
	Conditions func(in Input, key string) iam.Value
	// BodyLimit gives operations another limit than MaxBody, in bytes.
	BodyLimit map[string]int64
	// EventNames are operations whose events have another name.
	EventNames map[string]string
	// Actions are operations that another action guards than the one of
	// their name, without the service's prefix.
	Actions map[string]string
	// Opaque are operations whose events leave requestParameters and
	// responseElements out, because they carry the user's data.
	Opaque []string
	// Answered are reads whose events show the answer, as those of changes do.
	Answered []string
}

// binding is an operation ready to be called.
type binding struct {
	service *Service
	model   *Operation
	op      Op
	event   string
	source  string // of events
	action  string
	opaque  bool
	// answered tells whether events show the answer.
	answered bool
	limit    int64
}

// bind checks that a service's operations are those of its model, and
// panics otherwise: that is a mistake in the program.
func bind(s *Service) map[string]*binding {
	bound := map[string]*binding{}
	for _, op := range s.Ops {
		m := s.Model.operation(op.name)
		switch {
		case m == nil:
			panic(fmt.Sprintf("wire: the model of %s has no operation %s", s.Model.ID, op.name))
		case bound[op.name] != nil:
			panic(fmt.Sprintf("wire: %s of %s is bound twice", op.name, s.Model.ID))
		case reflect.TypeOf(m.In()) != reflect.TypeOf(op.newIn()), reflect.TypeOf(m.Out()) != reflect.TypeOf(op.newOut()):
			panic(fmt.Sprintf("wire: %s of %s has other types than the model's", op.name, s.Model.ID))
		}
		b := &binding{service: s, model: m, op: op, event: op.name, source: sourceOf(s.Model.SigningName), limit: MaxBody}
		b.answered = !m.Void && (!readOnly(op.name) || slices.Contains(s.Answered, op.name))
		b.action = s.Model.SigningName + ":" + cmp.Or(s.Actions[op.name], op.name)
		if name := s.EventNames[op.name]; name != "" {
			b.event = name
		}
		if n := s.BodyLimit[op.name]; n != 0 {
			b.limit = n
		}
		bound[op.name] = b
	}
	for _, name := range s.Opaque {
		bound[name].opaque = true
	}
	for i := range s.Model.Operations {
		if name := s.Model.Operations[i].Name; bound[name] == nil {
			panic(fmt.Sprintf("wire: %s of %s is not bound", name, s.Model.ID))
		}
	}
	return bound
}

// sourceOf is the source of a service's events (AWS docs).
func sourceOf(service string) string { return service + ".amazonaws.com" }

// readOnly tells reads by their names. AWS's own list is not published;
// AssumeRole, simulations and the use of KMS keys are reads in their events,
// and so is ValidateResourcePolicy (assumed).
func readOnly(operation string) bool {
	for _, verb := range []string{
		"Get", "Describe", "List", "Lookup", "BatchGet", "Filter", "Validate", "AssumeRole", "Simulate",
		"Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateRandom",
	} {
		if strings.HasPrefix(operation, verb) {
			return true
		}
	}
	return false
}
