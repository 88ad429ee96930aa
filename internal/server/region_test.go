package server

import (
	"regexp"
	"testing"
)

func TestIsRegion(t *testing.T) {
	pattern := regexp.MustCompile(`^[a-z]+(-[a-z]+)+-\d+$`)
	for _, s := range []string{
		"us-east-1", "us-gov-east-1", "eu-central-12", "", "-", "a", "a-b", "a-1", "us-east", "us-east-", "us-east-1a", "us-east1", "us--east-1",
		"-us-east-1", "us-east--1", "us-east-1-", "Us-east-1", "us-eäst-1", "us-east-1 ", "1", "us-1-1", "us-east-1-1", "local-one-0",
	} {
		if got, want := isRegion(s), pattern.MatchString(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func FuzzIsRegion(f *testing.F) {
	pattern := regexp.MustCompile(`^[a-z]+(-[a-z]+)+-[0-9]+$`)
	f.Add("us-east-1")
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := isRegion(s), pattern.MatchString(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	})
}
