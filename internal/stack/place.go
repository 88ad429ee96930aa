package stack

import (
	"slices"
	"strings"
)

// ssmSecurePlaces are the properties that admit {{resolve:ssm-secure:...}}
// (AWS docs).
var ssmSecurePlaces = []string{
	"AWS::IAM::User/Properties/LoginProfile/Password",
	"AWS::RDS::DBCluster/Properties/MasterUserPassword",
	"AWS::RDS::DBInstance/Properties/MasterUserPassword",
	"AWS::Redshift::Cluster/Properties/MasterUserPassword",
}

// dynamic checks the dynamic references: how many, how they are written, and
// where they stand.
func (c *checker) dynamic() error {
	p := &places{}
	for _, id := range c.t.ids {
		r := c.t.Resources[id]
		if err := p.visit(r.Type+"/Properties", r.Properties, false); err != nil {
			return err
		}
	}
	for _, o := range c.t.Outputs {
		for _, v := range []any{o.Value, o.Export} {
			if at, found := secureReference(v); found {
				return invalid("Dynamic references to %s are not supported in: [Outputs/%s]", at, o.Name)
			}
		}
	}
	if len(p.secure) > 0 {
		return invalid("SSM Secure reference is not supported in: [%s]", strings.Join(p.secure, ","))
	}
	if p.count > MaxDynamicReferences {
		return invalid("Template error: number of dynamic references, %d, is greater than maximum allowed, %d", p.count, MaxDynamicReferences)
	}
	return nil
}

// places counts references and gathers the places where ssm-secure may not
// stand.
type places struct {
	count  int
	secure []string
}

// listMark ends the path of what stands in a list.
const listMark = "/*"

// visit walks a property; what stands in a list is named by the list. Within
// a function's argument a string may be half a reference, so its syntax is
// looked at only outside.
func (p *places) visit(at string, v any, inCall bool) error {
	if s, ok := v.(string); ok {
		return p.text(at, s, inCall)
	}
	called := inCall || isCall(v)
	_, isList := v.([]any)
	for name, e := range children(v) {
		path := at
		if !isList && !called && !strings.HasSuffix(at, listMark) {
			path += "/" + name
		}
		if isList && !strings.HasSuffix(at, listMark) {
			path += listMark
		}
		if err := p.visit(path, e, called); err != nil {
			return err
		}
	}
	return nil
}

func (p *places) text(at, s string, inCall bool) error {
	at = strings.TrimSuffix(at, listMark)
	p.count += strings.Count(s, dynamicOpen)
	if strings.Contains(s, dynamicOpen+DynamicSSMSecure+":") && !slices.Contains(ssmSecurePlaces, at) {
		p.secure = append(p.secure, at)
	}
	if inCall {
		return nil
	}
	_, err := DynamicReferences(s)
	return err
}

// secureReference returns the service of a reference to a secret value
// anywhere in a tree.
func secureReference(v any) (string, bool) {
	if s, ok := v.(string); ok {
		for _, service := range []string{DynamicSecretsManager, DynamicSSMSecure} {
			if strings.Contains(s, dynamicOpen+service+":") {
				return service, true
			}
		}
		return "", false
	}
	for _, e := range children(v) {
		if service, found := secureReference(e); found {
			return service, true
		}
	}
	return "", false
}
