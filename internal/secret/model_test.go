package secret

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// history drives one secret through random calls and checks after each what
// must always hold.
type history struct {
	s      *Secret
	run    *RotationRun
	now    time.Time
	ids    int
	before *Secret
	// hadCurrent tells that AWSCURRENT was on some version once.
	hadCurrent bool
}

var labelGen = rapid.SampledFrom([]string{
	Current, Pending, Previous, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
})

// id draws an existing version's ID, or one that does not exist, or "".
func (h *history) id(t *rapid.T) string {
	ids := []string{"", "unknown"}
	for _, v := range h.s.Versions {
		ids = append(ids, v.ID)
	}
	return rapid.SampledFrom(ids).Draw(t, "id")
}

func (h *history) newID() string {
	h.ids++
	return fmt.Sprintf("v%d", h.ids)
}

func (h *history) put(t *rapid.T, id string) {
	stages := rapid.SliceOfN(labelGen, 0, 8).Draw(t, "stages")
	e, err := h.s.Put(Version{ID: id, CreatedAt: h.now}, stages)
	if err != nil {
		h.unchanged(t)
		return
	}
	if h.run != nil && h.s.AbandonRotation(h.run, e, h.now) && h.s.Unfinished() != nil && !slices.Contains(stages, Pending) {
		t.Fatalf("abandoned, but %s still holds AWSPENDING", h.s.Unfinished().ID)
	}
}

func (h *history) unchanged(t *rapid.T) {
	if diff := cmp.Diff(h.before, h.s); diff != "" {
		t.Fatalf("a refused call changed the secret (-before +after):\n%s", diff)
	}
}

func (h *history) stage(t *rapid.T) {
	err := h.s.UpdateVersionStage(labelGen.Draw(t, "label"), h.id(t), h.id(t), h.now)
	if err != nil {
		h.unchanged(t)
	}
}

func (h *history) begin(t *rapid.T) {
	st := RotationStart{Token: h.newID(), FunctionARN: function, Now: h.now, Test: rapid.Bool().Draw(t, "test")}
	if st.Test && h.s.Holder(Current) != nil {
		st.Copy = &Version{Sealed: []byte("copy")}
	}
	run, err := h.s.BeginRotation(h.run, st)
	if err != nil {
		h.unchanged(t)
		return
	}
	h.run = run
	h.s.ConfigureRotation(function, nil, Dates{}, h.now)
}

func (h *history) step(t *rapid.T) {
	if h.run == nil || h.run.State != Running {
		return
	}
	if v := h.s.Version(h.run.Token); v != nil && !v.HasValue && rapid.Bool().Draw(t, "fill") {
		h.put(t, v.ID)
	}
	if v := h.s.Holder(Current); v != nil && h.run.State == Running && rapid.Bool().Draw(t, "finish") {
		_ = h.s.UpdateVersionStage(Current, v.ID, h.run.Token, h.now)
	}
	if h.run.State != Running {
		return
	}
	if rapid.IntRange(0, 4).Draw(t, "fail") == 0 {
		h.s.FailRotation(h.run, h.run.Step, "text", 0, h.now)
		return
	}
	done, err := h.s.Advance(h.run)
	if err != nil {
		h.s.FailRotation(h.run, h.run.Step, err.Error(), 0, h.now)
	} else if done {
		h.s.CompleteRotation(h.run, Dates{}, h.now)
	}
}

func (h *history) check(t *rapid.T) {
	seen := make(map[string]string)
	for i := range h.s.Versions {
		v := &h.s.Versions[i]
		if !slices.IsSorted(v.Labels) {
			t.Fatalf("%s has unsorted labels %v", v.ID, v.Labels)
		}
		for _, label := range v.Labels {
			if other := seen[label]; other != "" {
				t.Fatalf("label %s is on %s and %s", label, other, v.ID)
			}
			seen[label] = v.ID
		}
		if !v.HasValue && !slices.Equal(v.Labels, []string{Pending}) {
			t.Fatalf("empty version %s has labels %v", v.ID, v.Labels)
		}
		if h.s.Version(v.ID) != v {
			t.Fatalf("two versions have the ID %s", v.ID)
		}
	}
	if len(seen) > MaxLabels {
		t.Fatalf("%d labels", len(seen))
	}
	current := h.s.Holder(Current)
	if current != nil && (!current.HasValue || current.Has(Previous)) {
		t.Fatalf("current version is %+v", *current)
	}
	if current == nil && h.hadCurrent {
		t.Fatalf("AWSCURRENT got lost: %s", show(h.s))
	}
	h.hadCurrent = h.hadCurrent || current != nil
	if _, err := h.s.Select("", ""); (err == nil) != (current != nil) {
		t.Fatalf("Select with current %v: %v", current, err)
	}
}

// TestModel is invariant 1 of the design under random calls.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{s: newSecret(), now: start}
		action := func(do func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				h.now = h.now.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "hours")) * time.Hour)
				h.before = h.s.Clone()
				do(t)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":    h.check,
			"put": action(func(t *rapid.T) { h.put(t, h.newID()) }),
			"fill": action(func(t *rapid.T) {
				if id := h.id(t); id != "" {
					h.put(t, id)
				}
			}),
			"stage": action(h.stage),
			"begin": action(h.begin),
			"step":  action(h.step),
			"cancel": action(func(*rapid.T) {
				if _, err := h.s.CancelRotation(h.run, h.now); err != nil {
					h.unchanged(t)
				}
			}),
			"resume": action(func(*rapid.T) {
				if h.run != nil {
					h.s.Resume(h.run, time.Time{}, h.now)
				}
			}),
			"purge": action(func(t *rapid.T) {
				for _, id := range h.s.Purge(h.now) {
					if v := h.before.Version(id); len(v.Labels) > 0 || h.now.Sub(v.CreatedAt) <= SafeVersionAge {
						t.Fatalf("purged %+v", *v)
					}
				}
			}),
		})
	})
}
