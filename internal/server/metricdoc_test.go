package server_test

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// documentedMetrics are the metrics of docs/metrics.md with their types, and
// served those of a page of /metrics.
func documentedMetrics(t *testing.T) (list []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(keyturn_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		list = append(list, m[1]+" "+m[2])
	}
	slices.Sort(list)
	return list
}

func servedMetrics(page string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (keyturn_\w+) (\w+)$`).FindAllStringSubmatch(page, -1) {
		list = append(list, m[1]+" "+m[2])
	}
	slices.Sort(list)
	return list
}

// The alerts ask for metrics that there are.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/prometheus/keyturn.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documented := documentedMetrics(t)
	names := regexp.MustCompile(`(?m)keyturn_\w+`).FindAllString(string(text), -1)
	if len(names) < 8 {
		t.Fatalf("got only %v", names)
	}
	for _, name := range names {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		if !slices.ContainsFunc(documented, func(d string) bool { return d == base+" gauge" || d == base+" counter" || d == base+" histogram" }) {
			t.Errorf("there is no metric %s", name)
		}
	}
}
