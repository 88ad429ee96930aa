package wire

// Outcome is what became of a request, without anything that it said.
type Outcome struct {
	// Service and Operation are "" when unknown, Account and Region when the
	// caller is.
	Service, Operation, Account, Region string
	RequestID                           string
	// Code is AWS's error code, "" for success; Status that of HTTP.
	Code   string
	Status int
}

func (x *exchange) outcome() Outcome {
	o := Outcome{RequestID: x.id, Code: x.answer.code, Status: x.answer.status}
	if x.service != nil {
		o.Service = x.service.Model.SigningName
	}
	if x.op != nil {
		o.Operation = x.op.op.name
	}
	if x.call != nil {
		o.Account, o.Region = x.call.Account, x.call.Region
	}
	return o
}
