package schedule_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/schedule"
)

// benchRules are one usual schedule of each kind and the rarest one.
var benchRules = []schedule.Rules{
	{AutomaticallyAfterDays: 30},
	{Expression: "rate(10 hours)"},
	{Expression: "cron(0 2/10 * * ? *)"},
	{Expression: "cron(0 18 ? * SAT *)"},
	{Expression: "cron(0 1 ? 1/3 SUN#1 *)"},
	{Expression: "cron(0 0 29 2 ? *)"},
	{Expression: "cron(0 0 ? 2 SUN#5 *)"},
}

// each runs a benchmark once per schedule.
func each(b *testing.B, run func(b *testing.B, r schedule.Rules)) {
	for _, r := range benchRules {
		name := r.Expression
		if name == "" {
			name = "30 days"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			run(b, r)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	each(b, func(b *testing.B, r schedule.Rules) {
		for b.Loop() {
			if _, err := schedule.Parse(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	each(b, func(b *testing.B, r schedule.Rules) {
		s := mustParse(b, r)
		h := schedule.History{Configured: base.AddDate(-1, 0, 0), Consumed: base}
		for b.Loop() {
			s.Next(h)
		}
	})
}

func BenchmarkFiring(b *testing.B) {
	s := mustParse(b, schedule.Rules{Expression: "cron(0 18 ? * SAT *)"})
	h := schedule.History{Configured: base.AddDate(-1, 0, 0), Consumed: base}
	b.ReportAllocs()
	for b.Loop() {
		s.Firing(h, "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf")
	}
}
