package ec2

import (
	"errors"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

// unauthorized puts EC2's own sentence before a refusal (AWS: recorded). AWS
// adds an encoded message, which nothing here could decode.
func unauthorized(err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != fault.Denied {
		return err
	}
	c := *e
	c.Message = "You are not authorized to perform this operation. " + e.Message
	return &c
}

// resource is an object as policies see it. o is nil for what does not
// exist, or does not exist yet: then id is "*" (AWS docs).
func (w *work) resource(kind network.Kind, id string, o network.Object, more iam.Context) *authz.Resource {
	r := &authz.Resource{ARN: network.ARN(w.Account, w.Region, kind, id), Account: w.Account}
	var tags map[string]string
	vpcID := ""
	if o != nil {
		tags, vpcID = o.Base().Tags, o.Base().VPCID
	}
	ours, theirs := iam.TagContext("aws:resourcetag/", "", tags), iam.TagContext("ec2:resourcetag/", "", tags)
	r.Context = func(key string) iam.Value {
		switch {
		case key == "ec2:vpc" && vpcID != "":
			return iam.Text(network.ARN(w.Account, w.Region, network.KindVPC, vpcID))
		case key == "ec2:region":
			return iam.Text(w.Region)
		case key == "ec2:resourceid" && o != nil:
			return iam.Text(id)
		case strings.HasPrefix(key, "aws:resourcetag/"):
			return ours(key)
		case strings.HasPrefix(key, "ec2:resourcetag/"):
			return theirs(key)
		case more != nil:
			return more(key)
		}
		return iam.Value{}
	}
	return r
}

// allow authorises the call on an object that may not exist.
func (w *work) allow(kind network.Kind, id string, o network.Object) error {
	return unauthorized(w.service.Guard.On(w.call, "", w.resource(kind, id, o, nil)))
}

// concerned are objects of one kind that a call names.
type concerned struct {
	kind network.Kind
	ids  []string
}

// allowAll is allow for objects of several kinds.
func (w *work) allowAll(all ...concerned) error {
	for _, of := range all {
		for _, id := range of.ids {
			if err := w.allow(of.kind, id, w.Object(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// allowNew authorises the call on something that it makes in a VPC, which is
// "" for something in none, and on the tags that it gets (AWS docs).
func (w *work) allowNew(kind network.Kind, vpcID string, tags []api.TagSpecification) error {
	made := network.NewObject(kind)
	if made == nil { // a rule
		made = &network.SecurityGroup{}
	}
	made.Base().VPCID = vpcID
	r := w.resource(kind, "*", made, nil)
	if err := unauthorized(w.service.Guard.On(w.call, "", r)); err != nil {
		return err
	}
	if len(tags) == 0 {
		return nil
	}
	tagging := w.resource(kind, "*", made, func(key string) iam.Value {
		if key == "ec2:createaction" {
			return iam.Text(w.call.Operation)
		}
		return iam.Value{}
	})
	return unauthorized(w.service.Guard.On(w.call, "ec2:CreateTags", tagging))
}

// get authorises the call on an object and returns it. Denied comes before
// not found.
func get[T network.Object](w *work, list []T, kind network.Kind, id string) (T, error) {
	var none T
	i := slices.IndexFunc(list, func(o T) bool { return o.Base().ID == id })
	if i < 0 {
		if err := w.allow(kind, id, nil); err != nil {
			return none, err
		}
		return none, missing(kind, id)
	}
	if err := w.allow(kind, id, list[i]); err != nil {
		return none, err
	}
	w.concerns(list[i])
	return list[i], nil
}

func (w *work) vpc(id string) (*network.VPC, error) { return get(w, w.VPCs, network.KindVPC, id) }

func (w *work) subnet(id string) (*network.Subnet, error) {
	return get(w, w.Subnets, network.KindSubnet, id)
}

func (w *work) group(id string) (*network.SecurityGroup, error) {
	if !strings.HasPrefix(id, network.PrefixGroup+"-") {
		return nil, fault.New(groupMalformed, `Invalid id: "%s" (expecting "sg-...")`, id)
	}
	return get(w, w.Groups, network.KindGroup, id)
}

func (w *work) acl(id string) (*network.ACL, error) { return get(w, w.ACLs, network.KindACL, id) }

func (w *work) routeTable(id string) (*network.RouteTable, error) {
	return get(w, w.RouteTables, network.KindRouteTable, id)
}

func (w *work) internetGateway(id string) (*network.InternetGateway, error) {
	return get(w, w.InternetGateways, network.KindInternetGateway, id)
}

// conditions returns what a request gives for a condition key in lower case
// (AWS docs).
func conditions(in wire.Input, key string) iam.Value {
	switch in := in.(type) {
	case *api.CreateTagsRequest:
		return requestTags(key, in.Tags)
	case *api.DeleteTagsRequest:
		return requestTags(key, in.Tags)
	case *api.CreateVpcEndpointRequest:
		if key == "ec2:vpceservicename" {
			return iam.Optional(in.ServiceName)
		}
	}
	for _, spec := range specifications(in) {
		if v := requestTags(key, spec.Tags); !v.IsZero() {
			return v
		}
	}
	return iam.Value{}
}

// requestTags are the condition keys of tags in a request.
func requestTags(key string, tags []api.Tag) iam.Value {
	given := map[string]string{}
	for _, t := range tags {
		given[text(t.Key)] = text(t.Value)
	}
	return iam.TagContext("aws:requesttag/", "aws:tagkeys", given)(key)
}

// specifications are the tags that a request gives to what it makes.
func specifications(in wire.Input) []api.TagSpecification {
	switch in := in.(type) {
	case *api.CreateVpcRequest:
		return in.TagSpecifications
	case *api.CreateSubnetRequest:
		return in.TagSpecifications
	case *api.CreateSecurityGroupRequest:
		return in.TagSpecifications
	case *api.AuthorizeSecurityGroupIngressRequest:
		return in.TagSpecifications
	case *api.AuthorizeSecurityGroupEgressRequest:
		return in.TagSpecifications
	case *api.CreateNetworkAclRequest:
		return in.TagSpecifications
	case *api.CreateRouteTableRequest:
		return in.TagSpecifications
	case *api.CreateInternetGatewayRequest:
		return in.TagSpecifications
	case *api.CreateNatGatewayRequest:
		return in.TagSpecifications
	case *api.CreateVpcEndpointRequest:
		return in.TagSpecifications
	}
	return nil
}
