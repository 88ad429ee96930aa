package network

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// The prefixes of IDs without their hyphen (AWS docs).
const (
	PrefixVPC              = "vpc"
	PrefixSubnet           = "subnet"
	PrefixGroup            = "sg"
	PrefixRule             = "sgr"
	PrefixACL              = "acl"
	PrefixACLAssociation   = "aclassoc"
	PrefixRouteTable       = "rtb"
	PrefixRouteAssociation = "rtbassoc"
	PrefixInternetGateway  = "igw"
	PrefixNATGateway       = "nat"
	PrefixEndpoint         = "vpce"
	PrefixInterface        = "eni"
	PrefixAttachment       = "eni-attach"
	PrefixAllocation       = "eipalloc"
)

// idDigits is how many hexadecimal digits follow the prefix of an ID.
const idDigits = 17

// NewID returns a random ID: the prefix and 0 with 16 hexadecimal digits, as
// AWS's own begin with 0 (AWS: recorded).
func NewID(prefix string) string {
	var b [8]byte
	rand.Read(b[:])
	return prefix + "-0" + hex.EncodeToString(b[:])
}

// IsID reports whether s has the form of an ID with the prefix: 17
// hexadecimal digits, or the 8 of old ones (AWS docs).
func IsID(prefix, s string) bool {
	digits, ok := strings.CutPrefix(s, prefix+"-")
	if !ok || len(digits) != idDigits && len(digits) != 8 {
		return false
	}
	return strings.Trim(digits, "0123456789abcdef") == ""
}

// kindPrefixes maps the prefixes of IDs to the kinds.
var kindPrefixes = map[string]Kind{
	PrefixVPC: KindVPC, PrefixSubnet: KindSubnet, PrefixGroup: KindGroup, PrefixRule: KindRule, PrefixACL: KindACL,
	PrefixRouteTable: KindRouteTable, PrefixInternetGateway: KindInternetGateway, PrefixNATGateway: KindNATGateway,
	PrefixEndpoint: KindEndpoint, PrefixInterface: KindInterface,
}

// KindOf returns the kind that an ID's prefix names; "" for another.
func KindOf(id string) Kind {
	prefix, _, ok := strings.Cut(id, "-")
	if !ok {
		return ""
	}
	return kindPrefixes[prefix]
}

// newMAC returns a locally administered hardware address, made from the
// interface's own address so that it is unique in its subnet.
func newMAC(a netip.Addr) string {
	if !a.Is4() {
		return ""
	}
	b := a.As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}
