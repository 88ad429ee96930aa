package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/store"
)

func BenchmarkPieces(b *testing.B) {
	const secrets = 1000
	run := func(name string, fn func(tx *store.Tx, i int) error) {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			populate(b, s, secrets)
			for i := range secrets * 3 {
				if i%secrets == 0 {
				}
				if err := put(b.Context(), s, i, secrets); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			spent := cpuTime()
			defer func() { b.ReportMetric(float64((cpuTime()-spent).Microseconds())/float64(b.N), "cpu-us/op") }()
			for from := 0; from < b.N; from += 64 {
				err := s.Update(b.Context(), func(tx *store.Tx) error {
					for i := range min(64, b.N-from) {
						if err := fn(tx, from+i); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("nothing", func(tx *store.Tx, i int) error { return nil })
	run("find", func(tx *store.Tx, i int) error {
		_, err := tx.FindLabelled(account, region, arn.SecretRef{Name: fmt.Sprintf("app/%06d", i*7919%secrets)}, "")
		return err
	})
	run("find+token", func(tx *store.Tx, i int) error {
		_, err := tx.FindLabelled(account, region, arn.SecretRef{Name: fmt.Sprintf("app/%06d", i*7919%secrets)}, "token")
		return err
	})
	run("update row", func(tx *store.Tx, i int) error {
		before, err := tx.FindLabelled(account, region, arn.SecretRef{Name: fmt.Sprintf("app/%06d", i*7919%secrets)}, "")
		if err != nil {
			return err
		}
		after := before.Clone()
		after.ChangedAt = time.Now()
		return tx.SaveSecret(before, after)
	})
	run("event", func(tx *store.Tx, i int) error {
		r, err := putEvent(benchSecret(i%secrets), fmt.Sprintf("%012d-0000-4000-8000", i))
		if err != nil {
			return err
		}
		return tx.AddRecord(r)
	})
	run("meta", func(tx *store.Tx, i int) error { return tx.SetMeta(fmt.Sprintf("%09d", i), "value") })
	run("getmeta", func(tx *store.Tx, i int) error { _, err := tx.Meta(fmt.Sprintf("%09d", i)); return err })
}
