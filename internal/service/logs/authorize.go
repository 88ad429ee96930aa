package logs

import (
	"strings"

	api "github.com/keyturn/keyturn/internal/api/logs"
	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
	"github.com/keyturn/keyturn/internal/wire"
)

// target is what a call is about: a log group by its name or by an
// identifier, which is a name or an ARN, and perhaps a stream of it.
type target struct {
	name, identifier *string
	stream           string
}

// address is a target resolved.
type address struct {
	account, region, group, stream string
	// missing says that the identifier names nothing here.
	missing bool
}

// resolve returns where the target is. Exactly one of name and identifier has
// to be given.
func (t target) resolve(call *wire.Call) (address, error) {
	if t.name != nil && t.identifier != nil {
		return address{}, fault.New(exclusive, "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	}
	if t.name == nil && t.identifier == nil {
		return address{}, fault.New(exclusive, "Either LogGroup name or LogGroup ARN must be specified.") // assumed
	}
	if t.identifier == nil {
		t.identifier = t.name
	}
	return resolve(call, *t.identifier, t.stream), nil
}

// resolve reads an identifier. One of another service, or malformed, counts as
// a group of that name, which cannot exist.
func resolve(call *wire.Call, identifier, stream string) address {
	at := address{call.Principal.Account, call.Region, identifier, stream, false}
	a, ok := arn.Parse(identifier)
	if !arn.IsARN(identifier) || !ok {
		return at
	}
	name, ok := strings.CutPrefix(a.Resource, "log-group:")
	at.account, at.region, at.group = a.Account, a.Region, strings.TrimSuffix(name, ":*")
	at.missing = !ok || a.Service != "logs" || a.Region != call.Region
	return at
}

// bareActions are those whose resource is the group's ARN as it is (AWS docs);
// that of the others ends with a stream, if only an empty one (AWS: recorded).
var bareActions = map[string]bool{"logs:TagResource": true, "logs:UntagResource": true, "logs:ListTagsForResource": true}

// resource is what an action is authorised on; g has the tags, and is nil for
// a group that does not exist.
func (at address) resource(action string, g *loggroup.Group) *authz.Resource {
	named := loggroup.Group{Account: at.account, Region: at.region, Name: at.group}
	r := &authz.Resource{ARN: named.StreamARN(at.stream), Account: at.account}
	if bareActions[action] {
		r.ARN = named.ARN()
	}
	if g != nil {
		r.Context = iam.TagContext("aws:resourcetag/", "", g.Tags)
	}
	return r
}

// authorize authorises an action, "" for the call's own.
func (s *Service) authorize(call *wire.Call, action string, at address, g *loggroup.Group) error {
	if action == "" {
		action = call.Action()
	}
	return s.Guard.On(call, action, at.resource(action, g))
}

// group returns the log group that a target names, authorised for the call.
// What does not exist is refused as what does.
func (s *Service) group(tx *store.Tx, call *wire.Call, t target) (*loggroup.Group, error) {
	at, err := t.resolve(call)
	if err != nil {
		return nil, err
	}
	var g *loggroup.Group
	if !at.missing {
		g, err = tx.LogGroup(at.account, at.region, at.group)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	if err := s.authorize(call, "", at, g); err != nil {
		return nil, err
	}
	if err := own(call, at); err != nil {
		return nil, err
	}
	if g == nil {
		return nil, errNoGroup.For(at.group)
	}
	call.Resources = []trail.Resource{{Type: groupType, Name: g.ARN()}}
	return g, nil
}

// writing are the actions that say what stands in a log group.
var writing = map[string]bool{"logs:CreateLogStream": true, "logs:DeleteLogStream": true, "logs:PutLogEvents": true}

// own refuses a call that would write where the server itself reports, such
// as of rotations: clients act on what stands there. AWS has no such groups.
func own(call *wire.Call, at address) error {
	if !loggroup.Reserved(at.group) || !writing[call.Action()] {
		return nil
	}
	return fault.New(refused, "Log groups whose names begin with /keyturn/ are written by the server alone.").For(at.group)
}

// groupType is what the trail calls a log group.
const groupType = "AWS::Logs::LogGroup"

// authorizeNew authorises the making of a group, with its tags: these take
// one of two further permissions (AWS docs).
func (s *Service) authorizeNew(call *wire.Call, in *api.CreateLogGroupRequest) error {
	at := resolve(call, *in.LogGroupName, "")
	if err := s.authorize(call, "", at, nil); err != nil {
		return err
	}
	if len(in.Tags) > 0 {
		err := s.authorize(call, "logs:TagResource", at, nil)
		if err != nil && s.authorize(call, "logs:TagLogGroup", at, nil) != nil {
			return err
		}
	}
	g := loggroup.Group{Account: at.account, Region: at.region, Name: at.group}
	call.Resources = []trail.Resource{{Type: groupType, Name: g.ARN()}}
	return nil
}

// conditions returns the condition keys that requests give.
func conditions(in wire.Input, key string) iam.Value {
	switch in := in.(type) {
	case *api.CreateLogGroupRequest:
		return requestTags(in.Tags)(key)
	case *api.TagResourceRequest:
		return requestTags(in.Tags)(key)
	case *api.TagLogGroupRequest:
		return requestTags(in.Tags)(key)
	case *api.UntagResourceRequest:
		return keysIf(key == allKeys, in.TagKeys)
	case *api.UntagLogGroupRequest:
		return keysIf(key == allKeys, in.Tags)
	}
	return iam.Value{}
}

// allKeys is the condition key of the keys of a request's tags.
const allKeys = "aws:tagkeys"

func requestTags(tags map[string]string) iam.Context {
	return iam.TagContext("aws:requesttag/", allKeys, tags)
}

func keysIf(asked bool, keys []string) iam.Value {
	if !asked {
		return iam.Value{}
	}
	return iam.List(keys)
}
