package application

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/keyturn/keyturn/examples"
)

// Bucket is where the code of the applications' functions is, for Lambda.
// It holds nothing else, and nobody can write to it.
const Bucket = "secrets-manager-rotation-apps"

// Base is where the applications' templates are. The name is one that exists
// nowhere else: the domain internal is never delegated.
const Base = "https://" + Bucket + ".keyturn.internal"

// Folder is the path of templates, on this server and at Base.
const Folder = "/_keyturn/applications/"

const templateFile = "template.json"

// TemplateURL is where the template of an application is. A version that is
// "" stands for whatever the template is when it is fetched.
func TemplateURL(name, version string) string { return Base + TemplatePath(name, version) }

// TemplatePath is the path in TemplateURL, under which servers offer it too.
func TemplatePath(name, version string) string {
	return path.Join(Folder, name, version, templateFile)
}

// Revision is the latest semantic version with the digest of the template: it
// changes exactly when the template or the function's code does.
func (a *Application) Revision() string {
	sum := sha256.Sum256([]byte(a.Body()))
	return a.Latest() + "-" + hex.EncodeToString(sum[:4])
}

// Template returns the template that a TemplateURL names. The server's part
// of the URL does not matter, for a server may have several names. ok is
// false for a URL that names no application.
func Template(address string) (body string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", false
	}
	return At(u.Path)
}

// At returns the template at a path that TemplatePath made.
func At(at string) (body string, ok bool) {
	rest, ok := strings.CutPrefix(at, Folder)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) < 2 || len(parts) > 3 || parts[len(parts)-1] != templateFile {
		return "", false
	}
	a, ok := Lookup(parts[0])
	if !ok {
		return "", false
	}
	if len(parts) == 3 {
		version, _, _ := strings.Cut(parts[1], "-")
		if !a.Has(version) {
			return "", false
		}
	}
	return a.Body(), true
}

// note is in the code of functions that the server's own program runs.
const note = `This function has no code of its own: its handler names a rotator that is
built into Keyturn, and Keyturn's program runs it. For AWS, make a package
with "keyturn function package".
`

// source is the file that the function's code consists of.
func (a *Application) source() (name string, content []byte) {
	if a.file == "" {
		return "README.txt", []byte(note)
	}
	b, err := examples.Files.ReadFile(a.file)
	if err != nil {
		panic("application: " + err.Error()) // it is embedded
	}
	return path.Base(a.file), b
}

// Code is the function's code package, a zip; the same content makes the same
// package.
func (a *Application) Code() []byte {
	name, content := a.source()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o644)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		panic("application: " + err.Error()) // memory takes everything
	}
	return b.Bytes()
}

// codeKey is the key of the code in Bucket. It has a digest of the content,
// so that an update of a stack updates the code that changed.
func (a *Application) codeKey() string {
	_, content := a.source()
	sum := sha256.Sum256(content)
	return a.Name + "/" + hex.EncodeToString(sum[:8]) + ".zip"
}

// CodeAt returns the code package that a template's S3Bucket and S3Key name.
// The package is that of now, whatever it was when the template was made.
func CodeAt(bucket, key string) (zip []byte, ok bool) {
	name, file, found := strings.Cut(key, "/")
	if bucket != Bucket || !found || !strings.HasSuffix(file, ".zip") || strings.Contains(file, "/") {
		return nil, false
	}
	a, ok := Lookup(name)
	if !ok {
		return nil, false
	}
	return a.Code(), true
}
