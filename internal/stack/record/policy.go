package record

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
)

// stackPolicy is the document of a stack policy (AWS docs).
type stackPolicy struct {
	Statement []policyStatement
}

type policyStatement struct {
	Effect                string
	Action, NotAction     texts
	Principal             any
	Resource, NotResource texts
	Condition             map[string]map[string]texts
}

// texts is a text or a list of texts.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = texts{one}
		return nil
	}
	var many []string
	err := json.Unmarshal(b, &many)
	*t = many
	return err
}

// ParsePolicy refuses what is no stack policy. The texts are AWS's.
func ParsePolicy(text string) error {
	_, err := parsePolicy(text)
	return err
}

func parsePolicy(text string) (*stackPolicy, error) {
	refused := func(why string) error {
		return fault.New(fault.Validation, "Error validating stack policy: %s", why)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var p stackPolicy
	if err := d.Decode(&p); err != nil {
		return nil, refused("Invalid stack policy").(*fault.Error).Because(err)
	}
	if len(p.Statement) == 0 {
		return nil, refused("Missing required field Statement")
	}
	for i := range p.Statement {
		st := &p.Statement[i]
		switch {
		case st.Effect != "Allow" && st.Effect != "Deny":
			return nil, refused("Invalid effect: " + st.Effect)
		case (st.Action == nil) == (st.NotAction == nil):
			return nil, refused("Statement must have either Action or NotAction")
		case (st.Resource == nil) == (st.NotResource == nil):
			return nil, refused("Statement must have either Resource or NotResource")
		case st.Principal != "*":
			return nil, refused("Principal must be *")
		case st.unknown() != "":
			return nil, refused("Invalid condition: " + st.unknown())
		}
		for _, action := range slices.Concat(st.Action, st.NotAction) {
			if !slices.Contains([]string{"Update:Modify", "Update:Replace", "Update:Delete", "Update:*"}, action) {
				return nil, refused("Invalid action: " + action)
			}
		}
	}
	return &p, nil
}

// unknown is an operator or a key of the condition that stack policies do not
// have (AWS docs), or "".
func (st *policyStatement) unknown() string {
	for operator, keys := range st.Condition {
		if operator != "StringEquals" && operator != "StringLike" {
			return operator
		}
		for key := range keys {
			if key != "ResourceType" {
				return key
			}
		}
	}
	return ""
}

// CheckPolicy refuses an action, such as Update:Modify, on a resource that a
// stack policy does not allow; "" allows everything. What no statement allows
// is denied (AWS docs).
func CheckPolicy(text, action, logicalID, kind string) error {
	if text == "" {
		return nil
	}
	p, err := parsePolicy(text)
	if err != nil {
		return err
	}
	allowed := false
	for i := range p.Statement {
		st := &p.Statement[i]
		if !st.covers(action, logicalID, kind) {
			continue
		}
		if st.Effect == "Deny" {
			return denied(fmt.Sprintf("Statement [#%d] does not allow", i+1), action, logicalID)
		}
		allowed = true
	}
	if !allowed {
		return denied("No statement allows", action, logicalID) // assumed
	}
	return nil
}

func denied(what, action, logicalID string) error {
	return fault.New(fault.Denied, "Action denied by stack policy: %s [%s] for resource [LogicalResourceId/%s]", what, action, logicalID)
}

func (st *policyStatement) covers(action, logicalID, kind string) bool {
	acts := func(list texts) bool { return slices.Contains(list, action) || slices.Contains(list, "Update:*") }
	names := func(list texts) bool {
		return slices.ContainsFunc(list, func(pattern string) bool { return matches(pattern, "LogicalResourceId/"+logicalID) })
	}
	switch {
	case st.Action != nil && !acts(st.Action), st.NotAction != nil && acts(st.NotAction):
		return false
	case st.Resource != nil && !names(st.Resource), st.NotResource != nil && names(st.NotResource):
		return false
	}
	for operator, keys := range st.Condition {
		for _, values := range keys { // those of ResourceType
			if !slices.ContainsFunc(values, func(v string) bool {
				return v == kind || operator == "StringLike" && matches(v, kind)
			}) {
				return false
			}
		}
	}
	return true
}

// matches compares with a pattern in which * stands for any characters.
func matches(pattern, s string) bool {
	if pattern == "*" {
		return true
	}
	// Logical IDs hold no slashes, so the last part alone has patterns.
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}
