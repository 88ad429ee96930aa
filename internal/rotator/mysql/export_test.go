package mysql

import "github.com/keyturn/keyturn/internal/rotator"

// With returns the engine with other settings than the environment's.
func With(e rotator.Engine, settings rotator.Settings) rotator.Engine {
	return Engine{kind: e.Kind(), settings: settings}
}
