package secret

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
)

func newPassword(t *testing.T, change func(*PasswordRules)) string {
	t.Helper()
	rules := DefaultPasswordRules()
	if change != nil {
		change(&rules)
	}
	p, err := NewPassword(rules)
	if err != nil {
		t.Fatalf("NewPassword(%+v): %v", rules, err)
	}
	return string(p.Reveal())
}

func TestNewPassword(t *testing.T) {
	if len(punctuation) != 32 {
		t.Fatalf("got %d punctuation characters, want 32", len(punctuation))
	}
	for _, tc := range []struct {
		name   string
		change func(*PasswordRules)
		length int
		each   []string // one of each is wanted
		from   string   // every character is one of these
	}{
		{"default", nil, 32, []string{upper, lower, digits, punctuation}, upper + lower + digits + punctuation},
		{"4", func(r *PasswordRules) { r.Length = 4 }, 4, []string{upper, lower, digits, punctuation}, upper + lower + digits + punctuation},
		{"3 without punctuation", func(r *PasswordRules) { r.Length, r.ExcludePunctuation = 3, true }, 3, []string{upper, lower, digits}, upper + lower + digits},
		{"1 of any", func(r *PasswordRules) { r.Length, r.RequireEachIncludedType = 1, false }, 1, nil, upper + lower + digits + punctuation},
		{"only spaces", func(r *PasswordRules) {
			r.Length, r.IncludeSpace = 8, true
			r.ExcludeLowercase, r.ExcludeUppercase, r.ExcludeNumbers, r.ExcludePunctuation = true, true, true, true
		}, 8, nil, " "},
		{"digits twice off", func(r *PasswordRules) { r.ExcludeCharacters, r.ExcludeNumbers = digits, true }, 32, []string{upper, lower, punctuation}, upper + lower + punctuation},
		{"digits off, none required", func(r *PasswordRules) { r.ExcludeCharacters, r.RequireEachIncludedType = digits, false }, 32, nil, upper + lower + punctuation},
		{"odd exclusions", func(r *PasswordRules) { r.ExcludeCharacters = "aaaß" }, 32, []string{upper, lower, digits, punctuation}, strings.ReplaceAll(upper+lower+digits+punctuation, "a", "")},
		{"no space after all", func(r *PasswordRules) { r.ExcludeCharacters, r.IncludeSpace = " ", true }, 32, nil, upper + lower + digits + punctuation},
		{"longest", func(r *PasswordRules) { r.Length = 4096 }, 4096, []string{upper, lower, digits, punctuation}, upper + lower + digits + punctuation},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 50 {
				p := newPassword(t, tc.change)
				if len(p) != tc.length {
					t.Fatalf("got length %d, want %d", len(p), tc.length)
				}
				for _, class := range tc.each {
					if !strings.ContainsAny(p, class) {
						t.Errorf("a password has none of %s", class)
					}
				}
				if strings.Trim(p, tc.from) != "" {
					t.Errorf("a password has characters beside %s", tc.from)
				}
			}
		})
	}
}

func TestNewPasswordErrors(t *testing.T) {
	const (
		short   = "Password length is too short based on the required types."
		emptied = "All characters of the desired type have been excluded"
		nothing = "All characters have been excluded from selection"
		bounds  = "1 validation error detected: Value '%d' at 'passwordLength' failed to satisfy constraint: Member must have value %s than or equal to %d"
	)
	for _, tc := range []struct {
		name   string
		change func(*PasswordRules)
		kind   fault.Kind
		text   string
	}{
		{"3 of four classes", func(r *PasswordRules) { r.Length = 3 }, fault.Parameter, short},
		{"all classes off", func(r *PasswordRules) {
			r.Length = 8
			r.ExcludeLowercase, r.ExcludeUppercase, r.ExcludeNumbers, r.ExcludePunctuation = true, true, true, true
		}, fault.Parameter, nothing},
		{"digits excluded", func(r *PasswordRules) { r.ExcludeCharacters = digits }, fault.Parameter, emptied},
		{"everything excluded", func(r *PasswordRules) { r.ExcludeCharacters = upper + lower + digits + punctuation }, fault.Parameter, nothing},
		{"0", func(r *PasswordRules) { r.Length = 0 }, fault.Validation, fmt.Sprintf(bounds, 0, "greater", 1)},
		{"4097", func(r *PasswordRules) { r.Length = 4097 }, fault.Validation, fmt.Sprintf(bounds, 4097, "less", 4096)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules := DefaultPasswordRules()
			tc.change(&rules)
			_, err := NewPassword(rules)
			wantFault(t, err, tc.kind, tc.text)
		})
	}
}

// TestPasswordUniform counts characters by value and required characters by
// place. The bounds are far beyond any chance fluctuation (a chi-squared value
// with k degrees of freedom has mean k and deviation √2k), yet a generator
// that takes bytes modulo 94, or that leaves the required characters at one
// end, passes them widely.
func TestPasswordUniform(t *testing.T) {
	const rounds = 100
	values := make(map[byte]int)
	for range rounds {
		p := newPassword(t, func(r *PasswordRules) { r.Length, r.RequireEachIncludedType = 4096, false })
		for i := range len(p) {
			values[p[i]]++
		}
	}
	pool := upper + lower + digits + punctuation
	var counts []int
	for i := range len(pool) {
		counts = append(counts, values[pool[i]])
	}
	if got := chiSquared(counts); got > 250 {
		t.Errorf("characters: chi-squared %.0f for %d degrees of freedom", got, len(counts)-1)
	}
	places := make([]int, 4)
	for range 20000 {
		p := newPassword(t, func(r *PasswordRules) { r.Length = 4 })
		places[strings.IndexAny(p, digits)]++
	}
	if got := chiSquared(places); got > 50 {
		t.Errorf("places of the digit: chi-squared %.0f for 3 degrees of freedom: %v", got, places)
	}
}

func chiSquared(counts []int) float64 {
	var total int
	for _, n := range counts {
		total += n
	}
	want := float64(total) / float64(len(counts))
	var sum float64
	for _, n := range counts {
		sum += (float64(n) - want) * (float64(n) - want) / want
	}
	return sum
}

func BenchmarkNewPassword(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewPassword(DefaultPasswordRules()); err != nil {
			b.Fatal(err)
		}
	}
}
