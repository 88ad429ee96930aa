package stack

import (
	"cmp"

	"github.com/keyturn/keyturn/internal/arn"
)

// KnownAfterApply stands for a value that only the operation will make known.
// It is AWS's own placeholder in change sets.
const KnownAfterApply = "{{changeSet:KNOWN_AFTER_APPLY}}"

// Scope is what a template's expressions are resolved against. Functions that
// are nil know nothing.
type Scope struct {
	Account, Region string
	// Partition and URLSuffix are the region's where they are "".
	Partition, URLSuffix string
	StackID, StackName   string
	NotificationARNs     []string
	// Zones are the region's availability zones; nil for a, b and c.
	Zones []string
	// Arguments are the parameters' values.
	Arguments Arguments
	// Conditions is what Evaluate returned.
	Conditions map[string]bool
	// Ref returns what Ref of a resource gives; false while that is unknown.
	Ref func(logicalID string) (any, bool)
	// GetAtt returns a resource's attribute. Its errors come back from
	// Resolve as they are.
	GetAtt func(logicalID, attribute string) (any, error)
	// Import returns the value of an export, with the text for one that does
	// not exist.
	Import func(name string) (string, error)
	// Dynamic returns the value of a dynamic reference. With nil, dynamic
	// references stay as they are written.
	Dynamic func(reference DynamicReference) (string, error)
	// Preview makes unknown what Ref, GetAtt and Import cannot tell:
	// KnownAfterApply stands in its place, and so does a value computed from
	// it.
	Preview bool
}

// pseudo returns the value of a pseudo parameter.
func (s *Scope) pseudo(name string) (any, bool) {
	switch name {
	case "AWS::AccountId":
		return s.Account, true
	case "AWS::Region":
		return s.Region, true
	case "AWS::Partition":
		return cmp.Or(s.Partition, arn.Partition(s.Region)), true
	case "AWS::URLSuffix":
		return cmp.Or(s.URLSuffix, urlSuffix(s.Region)), true
	case "AWS::StackId":
		return s.StackID, true
	case "AWS::StackName":
		return s.StackName, true
	case "AWS::NotificationARNs":
		list := []any{}
		for _, topic := range s.NotificationARNs {
			list = append(list, topic)
		}
		return list, true
	case "AWS::NoValue":
		return noValue{}, true
	default:
		return nil, false
	}
}

// urlSuffix is the domain of a region's services (AWS docs).
func urlSuffix(region string) string {
	if arn.Partition(region) == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// isPseudo reports whether a name is a pseudo parameter's.
func isPseudo(name string) bool {
	_, ok := (&Scope{}).pseudo(name)
	return ok
}

// zones returns the availability zones of a region; "" is the stack's own.
func (s *Scope) zones(region string) []any {
	list := []any{}
	if region == "" || region == s.Region {
		region = s.Region
		for _, zone := range s.Zones {
			list = append(list, zone)
		}
	}
	if len(list) == 0 {
		list = append(list, region+"a", region+"b", region+"c")
	}
	return list
}
