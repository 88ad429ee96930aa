//go:build linux

package hardship

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/apitest"
)

// zipped is an archive of entries as they are, however bad.
func zipped(t *testing.T, write func(*zip.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	write(z)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func put(t *testing.T, z *zip.Writer, name, body string, mode fs.FileMode) {
	t.Helper()
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = io.WriteString(w, body)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const (
	unzip    = "InvalidParameterValueException: Could not unzip uploaded file. Please check your file, then try to upload again."
	unzipped = "InvalidParameterValueException: Unzipped size must be smaller than 262144000 bytes"
)

// badPackages are zips that do harm where they are unpacked blindly.
func badPackages(t *testing.T) map[string]struct {
	zip  []byte
	want string
} {
	one := func(name, body string, mode fs.FileMode) []byte {
		return zipped(t, func(z *zip.Writer) { put(t, z, name, body, mode) })
	}
	bomb := zipped(t, func(z *zip.Writer) {
		for i := range 5 {
			put(t, z, fmt.Sprintf("zeros%d", i), strings.Repeat("\x00", 60<<20), 0o644)
		}
	})
	liar := one("zeros", strings.Repeat("\x00", 1<<20), 0o644)
	directory := bytes.LastIndex(liar, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(liar[directory+24:], 10)
	many := zipped(t, func(z *zip.Writer) {
		for i := range 200_001 {
			put(t, z, fmt.Sprint(i), "", 0o644)
		}
	})
	type bad = struct {
		zip  []byte
		want string
	}
	return map[string]bad{
		"no zip":             {[]byte("hello"), unzip},
		"cut short":          {bomb[:len(bomb)/2], unzip},
		"a bomb":             {bomb, unzipped},
		"a bomb that lies":   {liar, unzip},
		"200,001 files":      {many, unzip},
		"a parent's file":    {one("../../../../../../tmp/keyturn-escaped", "x", 0o644), unzip},
		"an absolute name":   {one("/tmp/keyturn-escaped", "x", 0o644), unzip},
		"a link outside":     {one("l", "/etc/passwd", fs.ModeSymlink|0o777), unzip},
		"a link to a parent": {one("l", "../../..", fs.ModeSymlink|0o777), unzip},
		"through a link": {zipped(t, func(z *zip.Writer) {
			put(t, z, "l", "d", fs.ModeSymlink|0o777)
			put(t, z, "l/x", "x", 0o644)
		}), unzip},
		"a file twice, once a folder": {zipped(t, func(z *zip.Writer) {
			put(t, z, "a", "x", 0o644)
			put(t, z, "a/", "", fs.ModeDir|0o755)
		}), unzip},
		"a device": {one("d", "", fs.ModeDevice|0o666), unzip},
	}
}

// Every way in refuses a bad package in AWS's words, and nothing of it is
// stored or unpacked.
func TestBadPackages(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, apitest.Options{Interpreters: apitest.Interpreters(t)})
	good := apitest.PythonCode(t, "target", fmt.Sprintf(greeting, 0))
	s.NewFunction(t, good)
	role := aws.String("arn:aws:iam::" + apitest.Account + ":role/target-role")
	for name, tc := range badPackages(t) {
		answers := map[string]error{}
		_, answers["UpdateFunctionCode"] = s.Lambda.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("target"), ZipFile: tc.zip})
		if len(tc.zip) < 1<<20 { // the larger ones take their time
			_, answers["CreateFunction"] = s.Lambda.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
				FunctionName: aws.String("other"), Role: role, Runtime: lambdatypes.Runtime(good.Runtime), Handler: &good.Handler,
				Code: &lambdatypes.FunctionCode{ZipFile: tc.zip},
			})
			_, answers["PublishLayerVersion"] = s.Lambda.PublishLayerVersion(t.Context(), &lambda.PublishLayerVersionInput{
				LayerName: aws.String("layer"), Content: &lambdatypes.LayerVersionContentInput{ZipFile: tc.zip},
			})
		}
		for how, err := range answers {
			refused, ok := errors.AsType[smithy.APIError](err)
			if !ok || refused.ErrorCode()+": "+refused.ErrorMessage() != tc.want {
				t.Errorf("%s, %s: got %v, want %s", name, how, err, tc.want)
			}
		}
	}
	large := make([]byte, 52_428_800)
	_, err := s.Lambda.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("target"), ZipFile: large})
	if refused, ok := errors.AsType[smithy.APIError](err); !ok || refused.ErrorMessage() != "Zipped size must be smaller than 52428800 bytes" {
		t.Errorf("50 MiB: got %v", err)
	}
	if got, err := invoke(t, s, "target"); err != nil || got != `"hello 0"` {
		t.Errorf("after all that: got %s, %v", got, err)
	}
	list, err := s.Lambda.ListLayers(t.Context(), &lambda.ListLayersInput{})
	if err != nil || len(list.Layers) > 0 {
		t.Errorf("got layers %v, %v", list, err)
	}
	for _, path := range []string{"/tmp/keyturn-escaped", filepath.Join(s.Dir, "keyturn-escaped")} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there", path)
		}
	}
}
