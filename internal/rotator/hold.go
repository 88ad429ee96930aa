package rotator

import "context"

// hold keeps the pending user's old password while readers still need it.
func (r *Rotation) hold(context.Context) error { return nil }
