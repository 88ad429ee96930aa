package serverlessrepo

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/application"
)

// An ID says what was made and when, and nothing else passes for one.
func TestTemplateID(t *testing.T) {
	app, _ := application.Lookup("SecretsManagerMongoDBRotationSingleUser")
	at := time.Now().UTC().Truncate(time.Millisecond)
	made := template{app, "1.1.9999999", at}
	got, ok := open(app, made.id())
	if !ok || got != made {
		t.Errorf("got %v, want %v", got, made)
	}
	if life := 6 * time.Hour; made.status(at.Add(life)) != "ACTIVE" || made.status(at.Add(life+time.Second)) != "EXPIRED" {
		t.Error("a template is good for another time than six hours")
	}
	id := []byte(made.id())
	for i := range id {
		changed := append([]byte(nil), id...)
		if changed[i] = '0'; id[i] == '0' {
			changed[i] = '1'
		}
		if _, ok := open(app, string(changed)); ok {
			t.Errorf("%s passes for %s", changed, id)
		}
	}
}
