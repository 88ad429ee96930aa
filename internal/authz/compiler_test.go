package authz

import (
	"fmt"
	"strings"
	"testing"
)

// Callers choose the texts of policies: no number and no size of them may make
// the server keep more than so much.
func TestCompilerIsBounded(t *testing.T) {
	var c compiler
	padding := strings.Repeat(`,{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"arn:aws:kms:*:*:key/none"}`, 1000)
	for i := range 60 {
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/%d"}%s]}`, i, padding)
		if first, second := c.compile(text), c.compile(text); first != second {
			t.Fatal("a policy is not kept")
		}
		kept := 0
		for text := range c.kept {
			kept += len(text)
		}
		if kept > compiledText {
			t.Fatalf("after %d policies %d bytes of text are kept", i+1, kept)
		}
	}
}
