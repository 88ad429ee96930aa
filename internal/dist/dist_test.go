package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// The same files in any order give the same bytes, and none of this machine.
func TestPackIsReproducible(t *testing.T) {
	t.Parallel()
	files := []file{{"b", 0o644, []byte("2")}, {"a/c", 0o755, []byte("1")}}
	at := time.Unix(1700000000, 0)
	var first, second bytes.Buffer
	if err := pack(&first, "top", at, files); err != nil {
		t.Fatal(err)
	}
	if err := pack(&second, "top", at, []file{files[1], files[0]}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the archives differ")
	}
	zip, err := gzip.NewReader(&first)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if !h.ModTime.Equal(at) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("got %+v", h)
		}
	}
	if got := strings.Join(names, " "); got != "top/a/c top/b" {
		t.Errorf("got %s", got)
	}
}

// The bill of this very test program: every module, its sum and its licence.
func TestBill(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000000, 0).UTC()
	text, err := billOf(binary, "1.2.3", "abcdef", at, licences{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := billOf(binary, "1.2.3", "abcdef", at, licences{})
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("the second bill differs, or %v", err)
	}
	var b bill
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Timestamp != "2023-11-14T22:13:20Z" || b.Metadata.Component.Version != "1.2.3" {
		t.Errorf("got %+v", b.Metadata)
	}
	found := false
	for _, c := range b.Components {
		if c.Name == "github.com/google/uuid" {
			found = len(c.Hashes) == 1 && len(c.Hashes[0].Content) == 64 && len(c.Licences) == 1 && c.Licences[0].License.ID == "BSD-3-Clause" &&
				strings.HasPrefix(c.URL, "pkg:golang/github.com/google/uuid@v1.")
		}
	}
	if !found {
		t.Errorf("got %s, want github.com/google/uuid with its hash and licence", text)
	}
	if len(b.Dependencies) != len(b.Components)+1 || len(b.Dependencies[0].DependsOn) != len(b.Components) {
		t.Errorf("got %d dependencies of %d components", len(b.Dependencies), len(b.Components))
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                                                    "Apache-2.0",
		"Permission is hereby granted, free\nof charge, to any person … without restriction":                              "MIT",
		"Redistribution and use in source and binary forms … may be used to endorse or promote":                           "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without":                                              "BSD-2-Clause",
		"Mozilla Public License Version 2.0":                                                                              "MPL-2.0",
		"Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is granted": "ISC",
		"All rights reserved.": "",
	} {
		if got := identify(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	if got := escape("github.com/Azure/go-ntlmssp"); got != "github.com/!azure/go-ntlmssp" {
		t.Errorf("got %s", got)
	}
}

// Releases, images and the Makefile's builds are the same program.
func TestTags(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Makefile", "Dockerfile"} {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "-tags="+tags) {
			t.Errorf("%s does not build with -tags=%s", name, tags)
		}
	}
}
