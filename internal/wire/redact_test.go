package wire_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// checkRedacted prints and logs values that hold "hunter2" in every way.
func checkRedacted(t *testing.T, values ...any) {
	t.Helper()
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
				t.Errorf("%s of %T shows the secret: %s", verb, v, got)
			}
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
		if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "aHVudGVyMg") {
			t.Errorf("the log of %T shows the secret: %s", v, b.String())
		}
	}
}
