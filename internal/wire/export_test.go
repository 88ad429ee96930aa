package wire

import "context"

// Echo returns all operations of a model; each hands its request to seen and
// answers with an empty response.
func Echo(m *Model, seen func(*Operation, Input)) []Op {
	var ops []Op
	for i := range m.Operations {
		op := &m.Operations[i]
		ops = append(ops, Op{name: op.Name, newIn: op.In, newOut: op.Out, invoke: func(_ context.Context, _ *Call, in Input) (Output, error) {
			seen(op, in)
			return op.Out(), nil
		}})
	}
	return ops
}
