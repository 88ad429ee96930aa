package main

import (
	"errors"
	"fmt"
	gobuild "go/build"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// licences finds the licences of modules in the module cache.
type licences struct{}

// licenceNames are what files with a licence are called.
var licenceNames = [...]string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.md", "COPYING", "COPYING.txt", "License", "License.txt", "LICENSE-MIT", "license.txt"}

// of returns the SPDX identifier of a module's licence, or "" when its text is
// none of those that are known here. The module must be in the cache, where a
// build has put it.
func (licences) of(path, version string) (string, error) {
	dir := filepath.Join(moduleCache(), escape(path)+"@"+escape(version))
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("looking for the licence of %s: %w", path, err)
	}
	for _, name := range licenceNames {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading the licence of %s: %w", path, err)
		}
		return identify(string(text)), nil
	}
	return "", nil
}

// ownLicence is this program's.
func ownLicence() string {
	text, err := os.ReadFile("LICENSE")
	if err != nil {
		return ""
	}
	return identify(string(text))
}

func moduleCache() string {
	if dir := os.Getenv("GOMODCACHE"); dir != "" {
		return dir
	}
	return filepath.Join(filepath.SplitList(gobuild.Default.GOPATH)[0], "pkg", "mod")
}

// escape writes a path as the module cache does: an upper-case letter is an
// exclamation mark and the lower-case letter.
func escape(path string) string {
	var b strings.Builder
	for _, r := range path {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// phrases are words that a licence, and none above it in the list, has.
var phrases = [...]struct {
	id    string
	words []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0"}},
	{"AGPL-3.0-only", []string{"GNU AFFERO GENERAL PUBLIC LICENSE"}},
	{"LGPL-3.0-only", []string{"GNU LESSER GENERAL PUBLIC LICENSE"}},
	{"GPL-3.0-only", []string{"GNU GENERAL PUBLIC LICENSE", "Version 3"}},
	{"MPL-2.0", []string{"Mozilla Public License", "2.0"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "endorse or promote"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}},
	{"ISC", []string{"Permission to use, copy, modify, and", "distribute this software for any purpose with or without fee"}},
	{"MIT", []string{"Permission is hereby granted, free of charge", "without restriction"}},
	{"Unlicense", []string{"free and unencumbered software released into the public domain"}},
	{"CC0-1.0", []string{"CC0 1.0 Universal"}},
}

// identify returns the SPDX identifier of a licence's text, "" if it is not
// known.
func identify(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, p := range phrases {
		found := true
		for _, w := range p.words {
			found = found && strings.Contains(text, strings.ToLower(w))
		}
		if found {
			return p.id
		}
	}
	return ""
}
