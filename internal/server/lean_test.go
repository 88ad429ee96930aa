package server_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/keyturn/keyturn/internal/apitest"
)

// TestProgramIsLean looks for code that nobody calls. As soon as anything in
// the program looks methods up by name (text/template does, and so do net/rpc
// and some readers of command lines), the linker keeps every exported method
// of every type, of the cloud's clients above all: twice the program, and with
// it longer starts and more memory.
func TestProgramIsLean(t *testing.T) {
	program, err := os.ReadFile(apitest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(program, []byte("aws-sdk-go-v2/service/ec2.(*Client)")) {
		t.Fatal("the program tells no names of methods, so that none can be missed")
	}
	for _, method := range []string{
		"aws-sdk-go-v2/service/ec2.(*Client).AcceptAddressTransfer",
		"text/template.(*state).evalField",
		"net/rpc.suitableMethods",
	} {
		if bytes.Contains(program, []byte(method)) {
			t.Errorf("the program holds %s: build it with the Makefile's tags, and see what finds methods by name (go build -ldflags=-dumpdep, ReflectMethod)", method)
		}
	}
}
