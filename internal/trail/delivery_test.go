package trail

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// deliveries prints who gets which event.
func deliveries(t *testing.T, e *Event) string {
	t.Helper()
	var list []string
	err := e.Deliver(func(e *Event) error {
		names := make([]string, len(e.Resources))
		for i := range e.Resources {
			names[i] = e.Resources[i].Name
		}
		list = append(list, e.Account+" by "+string(e.Principal.Type)+" "+e.Principal.ARN+" of "+strings.Join(names, ","))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

func TestDeliver(t *testing.T) {
	const (
		own    = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf"
		theirs = "arn:aws:secretsmanager:us-east-1:999999999999:secret:b-AbCdEf"
		user   = "123456789012 by IAMUser arn:aws:iam::123456789012:user/u of "
		other  = "999999999999 by AWSAccount  of "
	)
	for _, tc := range []struct {
		names []string
		code  string
		want  string
	}{
		{nil, "", user},
		{[]string{own}, "", user + own},
		{[]string{theirs, own, theirs}, "", user + theirs + "," + own + "," + theirs + "\n" + other + theirs + "," + theirs},
		{[]string{theirs}, "DecryptionFailure", user + theirs + "\n" + other + theirs},
		{[]string{theirs}, "AccessDenied", user + theirs},
		{[]string{"arn:aws:s3:::bucket", "name", "arn:aws:x:y:z:w"}, "", user + "arn:aws:s3:::bucket,name,arn:aws:x:y:z:w"},
	} {
		e := event("TagResource", time.Now())
		e.ErrorCode = tc.code
		for _, name := range tc.names {
			e.Resources = append(e.Resources, Resource{"T", name})
		}
		if got := deliveries(t, e); got != tc.want {
			t.Errorf("%v %s: got\n%s\nwant\n%s", tc.names, tc.code, got, tc.want)
		}
		var ids, again []string
		collect := func(to *[]string) func(*Event) error {
			return func(e *Event) error { *to = append(*to, e.ID+" "+e.SharedID); return nil }
		}
		_ = e.Deliver(collect(&ids))
		_ = e.Deliver(collect(&again))
		if strings.Join(ids, " ") != strings.Join(again, " ") || len(ids) == 2 && ids[0][:36] == ids[1][:36] {
			t.Errorf("got IDs %v and then %v", ids, again)
		}
	}
	service := SecretEvent("RotationStarted", theirs, "r", "")
	service.Account, service.Resources = "123456789012", []Resource{{"T", theirs}}
	if got := strings.Count(deliveries(t, &service), "\n"); got != 0 {
		t.Error("an event of a service was delivered twice")
	}
	full := errors.New("full")
	if err := service.Deliver(func(*Event) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
