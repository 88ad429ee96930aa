package stack

import (
	"strings"
)

// MaxDynamicReferences bounds the dynamic references of one template (AWS
// docs).
const MaxDynamicReferences = 60

// The services that a dynamic reference may name.
const (
	DynamicSecretsManager = "secretsmanager"
	DynamicSSM            = "ssm"
	DynamicSSMSecure      = "ssm-secure"
)

// DynamicReference is one {{resolve:...}} in a string.
type DynamicReference struct {
	// Service is one of the constants DynamicX.
	Service string
	// Text is the reference as written, braces and all.
	Text string

	// SecretID is a secret's name or ARN.
	SecretID string
	// JSONKey is the member of the secret's JSON text; "" is the whole text.
	JSONKey string
	// VersionStage and VersionID select the version; at most one is set.
	VersionStage, VersionID string

	// Name is an SSM parameter's name or ARN.
	Name string
	// Version is the SSM parameter's version, decimal; "" is the latest.
	Version string
}

const dynamicOpen, dynamicClose = "{{resolve:", "}}"

// dynamicWord is what is marked of an opening: the colon may come from a
// Fn::Join.
const dynamicWord = "{{resolve"

// DynamicReferences returns the references in a string, in order.
func DynamicReferences(s string) ([]DynamicReference, error) {
	var found []DynamicReference
	_, err := scanDynamic(s, "", func(ref DynamicReference) (string, error) {
		found = append(found, ref)
		return "", nil
	})
	return found, err
}

// HasDynamic reports whether a tree holds a dynamic reference.
func HasDynamic(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, dynamicOpen)
	case map[string]any:
		for _, e := range v {
			if HasDynamic(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if HasDynamic(e) {
				return true
			}
		}
	}
	return false
}

// markDynamic copies a tree with a mark in every opening of a reference.
func markDynamic(v any, mark string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, dynamicWord, dynamicWord+mark)
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = markDynamic(e, mark)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = markDynamic(e, mark)
		}
		return l
	default:
		return v
	}
}

// replaceDynamic copies a tree with its marked references replaced, and
// without marks. What a reference gives is not looked at again.
func replaceDynamic(v any, mark string, get func(DynamicReference) (string, error)) (any, error) {
	switch v := v.(type) {
	case string:
		return scanDynamic(v, mark, get)
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			r, err := replaceDynamic(e, mark, get)
			if err != nil {
				return nil, err
			}
			m[k] = r
		}
		return m, nil
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			r, err := replaceDynamic(e, mark, get)
			if err != nil {
				return nil, err
			}
			l[i] = r
		}
		return l, nil
	default:
		return v, nil
	}
}

// scanDynamic replaces the references of one string whose openings have the
// mark, "" for every opening. An opening that nothing closes is text.
func scanDynamic(s, mark string, get func(DynamicReference) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, dynamicWord+mark+":")
		inner, after, closed := strings.Cut(rest, dynamicClose)
		if !ok || !closed {
			b.WriteString(unmarked(s, mark))
			return b.String(), nil
		}
		ref, err := parseDynamic(unmarked(inner, mark))
		if err != nil {
			return "", err
		}
		value, err := get(ref)
		if err != nil {
			return "", err
		}
		b.WriteString(unmarked(before, mark))
		b.WriteString(value)
		s = after
	}
}

func unmarked(s, mark string) string {
	if mark == "" {
		return s
	}
	return strings.ReplaceAll(s, mark, "")
}

// parseDynamic reads what stands between "{{resolve:" and "}}".
func parseDynamic(inner string) (DynamicReference, error) {
	service, key, _ := strings.Cut(inner, ":")
	ref := DynamicReference{Service: service, Text: dynamicOpen + inner + dynamicClose}
	switch service {
	case DynamicSecretsManager:
		return ref, ref.secret(key)
	case DynamicSSM, DynamicSSMSecure:
		return ref, ref.parameter(key)
	default:
		return ref, invalid("Template error: Encountered unsupported dynamic reference: %s", ref.Text)
	}
}

// secret reads SECRET-ID[:SecretString[:JSON-KEY[:STAGE[:VERSION-ID]]]]. An
// ARN as SECRET-ID has six colons of its own.
func (ref *DynamicReference) secret(key string) error {
	parts := strings.Split(key, ":")
	take := 1
	if parts[0] == "arn" {
		take = 7
	}
	if len(parts) < take || len(parts) > take+4 {
		return ref.malformed("Secrets Manager")
	}
	ref.SecretID = strings.Join(parts[:take], ":")
	var optional [4]string
	copy(optional[:], parts[take:])
	if ref.SecretID == "" || optional[0] != "" && optional[0] != "SecretString" {
		return ref.malformed("Secrets Manager")
	}
	ref.JSONKey, ref.VersionStage, ref.VersionID = optional[1], optional[2], optional[3]
	if ref.VersionStage != "" && ref.VersionID != "" {
		return ref.malformed("Secrets Manager")
	}
	return nil
}

// parameter reads NAME[:VERSION]. An ARN as NAME has five colons of its own.
func (ref *DynamicReference) parameter(key string) error {
	parts := strings.Split(key, ":")
	take := 1
	if parts[0] == "arn" {
		take = 6
	}
	if len(parts) < take || len(parts) > take+1 {
		return ref.malformed("SSM")
	}
	ref.Name = strings.Join(parts[:take], ":")
	if len(parts) > take {
		ref.Version = parts[take]
		if strings.Trim(ref.Version, "0123456789") != "" || ref.Version == "" {
			return ref.malformed("SSM")
		}
	}
	if ref.Name == "" {
		return ref.malformed("SSM")
	}
	return nil
}

func (ref *DynamicReference) malformed(kind string) error {
	return invalid("Incorrect format is used in the following %s reference: [%s]", kind, ref.Text)
}
