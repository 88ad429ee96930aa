package oidc

import "time"

// SetTimes makes a Verifier forget keys, and ask again, sooner.
func (v *Verifier) SetTimes(life, pause time.Duration) { v.life, v.pause = life, pause }
