package influxdb

import (
	"cmp"
	"regexp"
	"slices"

	"github.com/keyturn/keyturn/internal/rotator"
)

// permission lets a token do something.
type permission struct {
	Action   string   `json:"action"`
	Resource resource `json:"resource"`
}

// resource is one resource, those of an organization, or all of a type.
type resource struct {
	Type  string `json:"type"`
	ID    string `json:"id,omitempty"`
	OrgID string `json:"orgID,omitempty"`
}

// resourceTypes are those that a token for everything in an organization is
// given (InfluxDB 2.7: what an owner may).
var resourceTypes = []string{
	"authorizations", "buckets", "dashboards", "orgs", "sources", "tasks", "telegrafs", "users", "variables", "scrapers", "secrets",
	"labels", "views", "documents", "notificationRules", "notificationEndpoints", "checks", "dbrp", "notebooks", "annotations",
	"remotes", "replications",
}

// spelling is a permission in the secret's member: action and type. AWS's
// template takes lower case only, which leaves out some types.
var spelling = regexp.MustCompile(`^(read|write)-([a-zA-Z]+)$`)

// wanted are the permissions of a token that is made from nothing.
func wanted(d *rotator.Document, orgID string) ([]permission, error) {
	if d.Text("type") == allAccess {
		var all []permission
		for _, t := range resourceTypes {
			all = append(all, permission{"read", inOrg(t, orgID)}, permission{"write", inOrg(t, orgID)})
		}
		return all, nil
	}
	var list []permission
	for action, member := range map[string]string{"read": "readBuckets", "write": "writeBuckets"} {
		var ids []string
		if err := d.Decode(member, &ids); err != nil {
			return nil, err
		}
		for _, id := range ids {
			list = append(list, permission{action, resource{Type: "buckets", ID: id, OrgID: orgID}})
		}
	}
	var words []string
	if err := d.Decode("permissions", &words); err != nil {
		return nil, err
	}
	for _, word := range words {
		parts := spelling.FindStringSubmatch(word)
		if parts == nil {
			return nil, rotator.Invalid("%q is not a permission: it must be read- or write- and a type of resource, as in read-buckets", word)
		}
		list = append(list, permission{parts[1], inOrg(parts[2], orgID)})
	}
	if len(list) == 0 {
		return nil, rotator.Invalid("No permissions were set for token creation.")
	}
	return sorted(list), nil
}

// inOrg is all of a type in an organization, or that itself.
func inOrg(t, orgID string) resource {
	if t == "orgs" {
		return resource{Type: t, ID: orgID}
	}
	return resource{Type: t, OrgID: orgID}
}

func sorted(list []permission) []permission {
	return slices.SortedFunc(slices.Values(list), func(a, b permission) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource.Type, b.Resource.Type),
			cmp.Compare(a.Resource.ID, b.Resource.ID), cmp.Compare(a.Resource.OrgID, b.Resource.OrgID))
	})
}

func samePermissions(a, b []permission) bool { return slices.Equal(sorted(a), sorted(b)) }
