package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// additiveFrom is the number of the first migration that was made under the
// rule: nodes of the version before serve on beside the newer schema while a
// deployment is upgraded one node after the other (docs/operations.md).
const additiveFrom = "0011"

var (
	comments = regexp.MustCompile(`(?m)--.*$`)
	// takesAway is what an older node cannot live with: something that it uses
	// is gone, has another name or type, or refuses what it writes.
	takesAway = regexp.MustCompile(`(?is)\b(DROP\s+(TABLE|COLUMN|NOT\s+NULL|DEFAULT)|RENAME|ALTER\s+COLUMN|SET\s+NOT\s+NULL|ADD\s+CONSTRAINT|CREATE\s+UNIQUE\s+INDEX|CREATE\s+TRIGGER)\b`)
	addColumn = regexp.MustCompile(`(?is)\bADD\s+COLUMN\b`)
)

// broken says what in a migration would break an older node; "" for nothing.
// A unique index on a table of its own is no harm.
func broken(text string) string {
	made := map[string]bool{}
	for statement := range strings.SplitSeq(comments.ReplaceAllString(text, ""), ";") {
		words := strings.Fields(statement)
		if len(words) > 2 && strings.EqualFold(words[0]+words[1], "CREATETABLE") {
			made[words[2]] = true
		}
		if len(words) > 5 && strings.EqualFold(words[1], "UNIQUE") && made[words[5]] {
			continue
		}
		if found := takesAway.FindString(statement); found != "" {
			return found
		}
		upper := strings.ToUpper(statement)
		if addColumn.MatchString(statement) && strings.Contains(upper, "NOT NULL") && !strings.Contains(upper, "DEFAULT") {
			return "ADD COLUMN … NOT NULL without DEFAULT"
		}
	}
	return ""
}

func TestMigrationsOnlyAdd(t *testing.T) {
	files, err := filepath.Glob("schema/*.sql")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d migrations: %v", len(files), err)
	}
	for _, file := range files {
		if filepath.Base(file) < additiveFrom {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := broken(string(text)); found != "" {
			t.Errorf("%s has %s: nodes of the version before could not serve on beside it", file, found)
		}
	}
	for text, want := range map[string]bool{
		"CREATE TABLE a (b {int} NOT NULL); CREATE UNIQUE INDEX a_b ON a (b);":           false,
		"ALTER TABLE secret ADD COLUMN a {int} NOT NULL DEFAULT 0; -- DROP TABLE secret": false,
		"DROP INDEX a; CREATE INDEX a ON secret (name)":                                  false,
		"ALTER TABLE secret ADD COLUMN a {int} NOT NULL":                                 true,
		"ALTER TABLE secret DROP COLUMN a":                                               true,
		"ALTER TABLE secret RENAME TO a":                                                 true,
		"CREATE UNIQUE INDEX a ON secret (name)":                                         true,
	} {
		if got := broken(text) != ""; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
