package server

import (
	"encoding/base64"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/key/keeper"
)

// A link to code is good for ten minutes.
func TestLinkExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := keeper.NewEnvironment(base64.StdEncoding.EncodeToString(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := key.NewSealerKey(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{}
		if s.sealer, err = key.NewSealer(t.Context(), k, wrapped); err != nil {
			t.Fatal(err)
		}
		token := s.codeToken("sum")
		time.Sleep(codeLife)
		if link, err := s.openLink(token); err != nil || link.SHA256 != "sum" {
			t.Errorf("after %v: got %q, %v", codeLife, link.SHA256, err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := s.openLink(token); err == nil {
			t.Error("the link is good for longer")
		}
		answer := httptest.NewRecorder()
		s.code(answer, httptest.NewRequest("GET", codePath+"?token="+token, nil))
		if answer.Code != 403 {
			t.Errorf("got status %d", answer.Code)
		}
	})
}
