package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// kills is how often each configuration's servers are killed by tests.
const kills = 20

// seed is of the tests' random choices.
const seed = 1

// smallCrew is what tests rotate.
func smallCrew(more ...crew) []crew {
	return append([]crew{{single, onDemand, 1}, {alternating, onDemand, 1}, {single, bySchedule, 1}, {alternating, byTrap, 1}}, more...)
}

// The fixed smaller set of what make chaos does: every configuration, every
// kind of kill.
func TestKills(t *testing.T) {
	g, err := newGround(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
	tests := []configuration{
		{setup: setup{name: "sqlite", nodes: 1, crew: smallCrew(crew{python, onDemand, 1})}, act: (*site).shatter},
		{setup: setup{name: "postgres", nodes: 1, postgres: true, crew: smallCrew(crew{single, byTrap, 1})}, act: (*site).shatter},
		{setup: setup{name: "three", nodes: 3, postgres: true, standby: true, crew: smallCrew()}, act: func(s *site, ctx context.Context, kills int) error {
			return errors.Join(s.shatter(ctx, kills), s.underLoad(ctx, func(ctx context.Context) error { return s.endStore(ctx, 1) }))
		}},
	}
	t.Run("all", func(t *testing.T) {
		for i, c := range tests {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				got, err := c.run(t.Context(), g, kills, rand.New(rand.NewPCG(seed, uint64(i))))
				var table strings.Builder
				report(&table, []*tally{got})
				t.Log(table.String())
				if err != nil {
					t.Fatal(err)
				}
				if len(got.violations) > 0 {
					t.Error("something is not as it must be: see above")
				}
				for _, what := range []string{boundaryKills, acknowledged, reads, rotations, logins} {
					if got.count(what) == 0 {
						t.Errorf("%s: got none: the test shows nothing", what)
					}
				}
				if got.kills() < kills {
					t.Errorf("got %d kills, want %d", got.kills(), kills)
				}
			})
		}
	})
}
