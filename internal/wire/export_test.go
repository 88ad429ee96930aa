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

// ReserveBodies takes bytes of the memory for large bodies, or gives them back
// if they are less than 0, and returns what is taken then.
func (h *Handler) ReserveBodies(bytes int64) int64 { return h.bodies.reserved.Add(bytes) }

// MaxBodies is how much of that memory there is.
const MaxBodies = maxBodies
