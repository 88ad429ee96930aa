// Package arn parses and builds Amazon Resource Names and applies the rules
// by which a caller's SecretId or KeyId finds a resource.
package arn

import "strings"

// ARN is a resource name split at its first five colons. Resource keeps any
// further colons.
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// Parse splits s; ok is false when s does not start with "arn:" or has fewer
// than six parts.
func Parse(s string) (a ARN, ok bool) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" {
		return ARN{}, false
	}
	return ARN{parts[1], parts[2], parts[3], parts[4], parts[5]}, true
}

// String joins the parts again.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// IsARN reports whether s starts like an ARN. AWS tests this before anything
// else, because names cannot hold a colon.
func IsARN(s string) bool { return strings.HasPrefix(s, "arn:") }

// New builds an ARN in the partition of the region.
func New(service, region, account, resource string) ARN {
	return ARN{Partition(region), service, region, account, resource}
}

// Partition returns the partition of a region: aws-cn for China, aws-us-gov
// for GovCloud, else aws (AWS docs). Global services pass "".
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// Secret returns the ARN of a secret: its name and its six-character suffix.
func Secret(region, account, name, suffix string) string {
	return "arn:" + Partition(region) + ":secretsmanager:" + region + ":" + account + ":secret:" + name + "-" + suffix
}

// SuffixLen is the length of the random part of a secret's ARN, without its
// hyphen (AWS docs).
const SuffixLen = 6

// LooksComplete reports whether the resource part of a secret ARN (the text
// after ":secret:") ends in a hyphen and six ASCII alphanumerics. AWS reads
// such an ARN as complete, so a name that itself ends so is not found by
// partial ARN (AWS: recorded).
func LooksComplete(resource string) bool {
	i := len(resource) - SuffixLen - 1
	if i < 0 || resource[i] != '-' {
		return false
	}
	for _, c := range []byte(resource[i+1:]) {
		if !isAlnum(c) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// SecretRef says how a SecretId is to be looked up in one region: by exact
// ARN first when ARN is set, then by Name when Name is set.
type SecretRef struct {
	// ARN is the identifier as given when it is an ARN of a secret.
	ARN string
	// Name is the secret's name: the identifier itself, or the resource part
	// of a partial ARN.
	Name string
	// Account is the account named by the ARN, or "" for a bare name.
	Account string
	// Region is the region named by the ARN, or "" for a bare name.
	Region string
}

// ParseSecretRef applies the lookup rule (AWS: recorded): an ARN matches
// exactly or, if it does not look complete, by the name in it; anything else
// is a name. An ARN that is not a secret's gives a ref that finds nothing.
func ParseSecretRef(id string) SecretRef {
	if !IsARN(id) {
		return SecretRef{Name: id}
	}
	a, ok := Parse(id)
	name, isSecret := strings.CutPrefix(a.Resource, "secret:")
	if !ok || !isSecret || a.Service != "secretsmanager" {
		return SecretRef{ARN: id}
	}
	ref := SecretRef{ARN: id, Account: a.Account, Region: a.Region}
	if !LooksComplete(name) {
		ref.Name = name
	}
	return ref
}

// KeyRef is what a KeyId names: a KMS key, by its ID or by an alias.
type KeyRef struct {
	Account, Region string
	// ID is "" where there is an alias.
	ID string
	// Alias begins with "alias/", or is "".
	Alias string
}

// ParseKeyRef reads a key ID, a key ARN, an alias or an alias ARN; what is no
// ARN is one of the given region and account. IDs are not checked. ok is false
// for an ARN that is not KMS's.
func ParseKeyRef(id, region, account string) (r KeyRef, ok bool) {
	r = KeyRef{Account: account, Region: region, ID: id}
	if IsARN(id) {
		a, ok := Parse(id)
		if !ok || a.Service != "kms" {
			return KeyRef{}, false
		}
		r = KeyRef{Account: a.Account, Region: a.Region, ID: strings.TrimPrefix(a.Resource, "key/")}
	}
	if strings.HasPrefix(r.ID, "alias/") {
		r.ID, r.Alias = "", r.ID
	}
	return r, true
}

// ARN is the address of what is named.
func (r KeyRef) ARN() string {
	if r.Alias != "" {
		return New("kms", r.Region, r.Account, r.Alias).String()
	}
	return New("kms", r.Region, r.Account, "key/"+r.ID).String()
}
