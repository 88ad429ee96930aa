package commandline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// duration is written as time.ParseDuration reads it.
var duration = reflect.TypeFor[time.Duration]()

// readable reports whether set can set a value of the type.
func readable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64:
		return true
	case reflect.Pointer, reflect.Slice:
		return readable(t.Elem()) && t.Elem().Kind() != reflect.Slice
	case reflect.Map:
		return t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String
	}
	return false
}

// title is the value as error texts name it.
func (v *Value) title() string {
	if v.argument {
		return "<" + v.Name + ">"
	}
	return "--" + v.Name
}

// give sets the value that the command line gives, or adds to it.
func (v *Value) give(text string) error {
	if !v.given {
		v.target.SetZero()
	}
	v.given = true
	return v.put(text, v.title())
}

// put sets or adds to the value. source is where the text comes from.
func (v *Value) put(text, source string) error {
	if v.Enum != nil && !slices.Contains(v.Enum, text) {
		return fmt.Errorf("%s must be one of %s but got %q", source, quotedList(v.Enum), text)
	}
	parts := []string{text}
	if v.IsRepeated() && !v.argument && v.separator != "none" {
		parts = strings.Split(text, v.separator)
	}
	for _, part := range parts {
		if err := v.assign(v.target, part); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

func quotedList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, ",")
}

// assign sets the target to one value, or adds one to it.
func (v *Value) assign(target reflect.Value, text string) (err error) {
	if v.Type != "" && target.Kind() == reflect.String && text != "" {
		if text, err = path(text, v.Type == "existingfile"); err != nil {
			return err
		}
	}
	switch target.Kind() {
	case reflect.String:
		target.SetString(text)
	case reflect.Bool:
		return setBool(target, text)
	case reflect.Int, reflect.Int32, reflect.Int64:
		return setInt(target, text)
	case reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		return v.assign(target.Elem(), text)
	case reflect.Slice:
		element := reflect.New(target.Type().Elem()).Elem()
		err = v.assign(element, text)
		target.Set(reflect.Append(target, element))
	case reflect.Map:
		return setEntry(target, text)
	}
	return err
}

func setBool(target reflect.Value, text string) error {
	switch strings.ToLower(text) {
	case "true", "1", "yes":
		target.SetBool(true)
	case "false", "0", "no":
		target.SetBool(false)
	default:
		return fmt.Errorf("must be true or false but got %q", text)
	}
	return nil
}

func setInt(target reflect.Value, text string) error {
	if target.Type() == duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("expected a duration such as 30s or 2h but got %q", text)
		}
		target.SetInt(int64(d))
		return nil
	}
	n, err := strconv.ParseInt(text, 10, target.Type().Bits())
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("the number %s is too large", text)
	}
	if err != nil {
		return fmt.Errorf("expected a whole number but got %q", text)
	}
	target.SetInt(n)
	return nil
}

func setEntry(target reflect.Value, text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("expected NAME=VALUE but got %q", text)
	}
	if target.IsNil() {
		target.Set(reflect.MakeMap(target.Type()))
	}
	target.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
	return nil
}

// path makes a path absolute; ~ at its beginning is the home folder.
func path(text string, mustExist bool) (string, error) {
	if rest, ok := strings.CutPrefix(text, "~"); ok && (rest == "" || rest[0] == '/') {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		text = home + rest
	}
	full, err := filepath.Abs(text)
	if err != nil || !mustExist {
		return full, err
	}
	info, err := os.Stat(full)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "", fmt.Errorf("%s is a folder, not a file", text)
	}
	return full, nil
}
