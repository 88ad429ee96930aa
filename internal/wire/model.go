package wire

//go:generate go run ./apigen -out ../api

// Protocol is how a service's requests and answers look.
type Protocol string

// The protocols, by the names of the service models.
const (
	JSON     Protocol = "json"
	RestJSON Protocol = "rest-json"
	Query    Protocol = "query"
	EC2      Protocol = "ec2"
)

// Model is what the generated packages know of one service.
type Model struct {
	// ID is the service id, such as "Secrets Manager".
	ID string
	// SigningName is the service in a credential scope.
	SigningName string
	Protocol    Protocol
	// TargetPrefix is the X-Amz-Target header before the operation's dot, of
	// JSON services.
	TargetPrefix string
	// JSONVersion is the content type's version, of JSON services.
	JSONVersion string
	APIVersion  string
	// Namespace is the XML name space, of query services.
	Namespace  string
	Operations []Operation
	// Errors are the modelled errors by code.
	Errors map[string]ErrorShape
}

// Operation is what the model says of one operation.
type Operation struct {
	Name string
	// Method and URI are the HTTP binding; URI has {Label} segments.
	Method, URI string
	// Status is the status of success.
	Status int
	// Void says that the model has no output shape.
	Void bool
	// Anonymous says that the operation is called without a signature: the
	// request itself proves who calls.
	Anonymous bool
	// Result is the element around a query service's output, if any.
	Result string
	// Token is the idempotency token member, if any.
	Token string
	// In and Out make a fresh request and response.
	In  func() Input
	Out func() Output
}

// ErrorShape is what the model says of one error.
type ErrorShape struct {
	// Status is the HTTP status.
	Status int
	// Message is the member that holds the message, with its case.
	Message string
	// Type and Reason say that the error has those members, ErrorCode that it
	// has its code in a member errorCode too.
	Type, Reason, ErrorCode bool
}

// Input is a generated request.
type Input interface {
	// Validate notes what breaks the model's constraints, in member order.
	Validate(*Violations)
	EncodeJSON(*Encoder)
}

// Output is a generated response.
type Output interface {
	EncodeJSON(*Encoder)
}

// operation finds an operation by name; nil if there is none.
func (m *Model) operation(name string) *Operation {
	for i := range m.Operations {
		if m.Operations[i].Name == name {
			return &m.Operations[i]
		}
	}
	return nil
}
