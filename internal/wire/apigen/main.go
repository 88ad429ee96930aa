// Command apigen writes internal/api/<service> from the AWS service models, and
// from our own, keyturn.json: the request and response types with their JSON,
// rest-json and query codecs, the constraint tables and the operation table.
// Nothing of the models' documentation text is copied.
//
// The models are the data folder of an installed AWS CLI or botocore, named
// by -models or KEYTURN_AWS_MODELS. Run it with go generate ./internal/wire.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	models := flag.String("models", os.Getenv("KEYTURN_AWS_MODELS"), "`folder` of service models")
	out := flag.String("out", "", "`folder` that gets a package for each service")
	flag.Parse()
	if err := run(*models, *out); err != nil {
		fmt.Fprintln(os.Stderr, "apigen:", err)
		os.Exit(1)
	}
}

func run(models, out string) error {
	if models == "" || out == "" {
		return errors.New("-models (or KEYTURN_AWS_MODELS) and -out are needed")
	}
	for _, s := range services() {
		m, err := s.model(models)
		if err != nil {
			return fmt.Errorf("%s: %w", s.pkg, err)
		}
		for _, name := range s.secret {
			if !m.hide(name) {
				return fmt.Errorf("%s: the model has no shape %s", s.pkg, name)
			}
		}
		files, err := generate(s, m)
		if err != nil {
			return fmt.Errorf("%s: %w", s.pkg, err)
		}
		if err := write(filepath.Join(out, s.pkg), files); err != nil {
			return err
		}
	}
	return nil
}

// ownModel is the model of our own service.
//
//go:embed keyturn.json
var ownModel []byte

// model reads the service's model: AWS's from the folder, or our own.
func (s *service) model(folder string) (*model, error) {
	if s.folder == "" {
		return parse(ownModel)
	}
	return load(filepath.Join(folder, s.folder, s.version))
}

// write replaces the folder's generated files.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*_gen.go"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
