package authz_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
)

// The use of a key is noted once an hour, without a change that anybody's
// caches would have to hear of.
func TestUsed(t *testing.T) {
	p := newPeople(t)
	p.user(&iam.User{Name: "ann", ID: "AIDAANN"})
	id, _ := p.key(account, "ann")
	p.who(id, "")
	touched := false
	defer p.Store.Watch(func([]string) { touched = true })()
	run := func(fn func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.ring.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		fn()
		cancel()
		wg.Wait()
	}
	first := time.Now().Truncate(time.Second)
	for _, tc := range []struct {
		after   time.Duration
		service string
		want    string
		at      time.Duration
	}{
		{0, "secretsmanager", "secretsmanager", 0},
		{time.Minute, "sts", "secretsmanager", 0},
		{time.Hour - time.Second, "sts", "secretsmanager", 0},
		{time.Hour, "kms", "kms", time.Hour},
	} {
		run(func() { p.ring.Used(id, tc.service, region, first.Add(tc.after)) })
		var k *iam.AccessKey
		err := p.Store.View(t.Context(), func(tx *store.Tx) (err error) {
			k, err = tx.AccessKey(id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !k.UsedAt.Equal(first.Add(tc.at)) || k.UsedService != tc.want || k.UsedRegion != region {
			t.Errorf("after %v: noted %s in %s at %v, want %s at %v", tc.after, k.UsedService, k.UsedRegion, k.UsedAt, tc.want, first.Add(tc.at))
		}
	}
	if touched {
		t.Error("noting a use told of a change")
	}
	run(func() { p.ring.Used("AKIANOBODY", "sts", region, first) })
}

// Nobody waits for notes, even if nobody takes them.
func TestUsedDoesNotWait(t *testing.T) {
	p := newPeople(t)
	p.user(&iam.User{Name: "ann", ID: "AIDAANN"})
	id, _ := p.key(account, "ann")
	p.who(id, "")
	for i := range 2000 {
		p.ring.Used(id, "sts", region, time.Now().Add(time.Duration(i)*time.Hour))
	}
}
