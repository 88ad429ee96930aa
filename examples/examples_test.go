package examples

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDb2 runs the Python tests of the function for Db2, whose driver and
// server are doubles.
func TestDb2(t *testing.T) {
	cmd := exec.Command("/usr/bin/python3", "-B", "-m", "unittest", "-v")
	cmd.Dir = "db2-python"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "test_alternating") {
		t.Fatalf("%v\n%s", err, out)
	}
}
