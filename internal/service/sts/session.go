package sts

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/keyturn/keyturn/internal/api/sts"
	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Limits of session policies (AWS docs).
const (
	maxSessionPolicy = 2048 // characters
	maxSessionARNs   = 10
)

// sessionPolicies checks the syntax of session policies and puts them into
// what the session is given, without superfluous blanks.
func sessionPolicies(given *iam.Session, policy *string, arns []api.PolicyDescriptorType) error {
	if policy != nil {
		if len(*policy) > maxSessionPolicy {
			return fault.New(fault.Validation, "1 validation error detected: Value '%s' at 'policy' failed to satisfy constraint: "+
				"Member must have length less than or equal to %d", *policy, maxSessionPolicy)
		}
		d, err := iam.ParseDocument(*policy)
		if err == nil {
			err = d.CheckIdentity()
		}
		if err != nil {
			return err
		}
		var short bytes.Buffer
		if err := json.Compact(&short, []byte(*policy)); err != nil {
			return fault.Wrap(err, "shortening a session policy")
		}
		given.Policies = []string{short.String()}
	}
	if len(arns) > maxSessionARNs {
		return fault.New(fault.Validation, "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d", maxSessionARNs)
	}
	for _, a := range arns {
		if a.Arn != nil && !slices.Contains(given.PolicyARNs, *a.Arn) {
			given.PolicyARNs = append(given.PolicyARNs, *a.Arn)
		}
	}
	return nil
}

// sessionTags puts the tags of a request into what the session is given.
func sessionTags(given *iam.Session, tags []iam.Tag, transitive []string) error {
	for i, t := range tags {
		if hasTag(tags[:i], t.Key) {
			return fault.New(badTags, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return fault.New(badTags, "The tag key %s is reserved: it begins with aws:.", t.Key)
		}
	}
	for _, key := range transitive {
		if !hasTag(tags, key) {
			return fault.New(badTags, "The specified transitive tag key must be included in the requested tags.")
		}
	}
	given.Tags, given.Transitive = tags, transitive
	return nil
}

// inherit passes on to the next session of a chain what does not change in
// it: transitive tags, the source identity and the VPC that calls come from.
func inherit(given, from *iam.Session) error {
	if from == nil {
		return nil
	}
	for _, key := range from.Transitive {
		if hasTag(given.Tags, key) { // AWS: recorded
			return fault.New(badTags, "One of the specified transitive tag keys can't be set because it conflicts "+
				"with a transitive tag key from the calling session.")
		}
	}
	for _, key := range from.Transitive {
		i := slices.IndexFunc(from.Tags, func(t iam.Tag) bool { return strings.EqualFold(t.Key, key) })
		if i >= 0 {
			given.Tags, given.Transitive = append(given.Tags, from.Tags[i]), append(given.Transitive, key)
		}
	}
	if from.SourceVPC != "" {
		given.SourceVPC, given.VPCFunction = from.SourceVPC, cmp.Or(from.VPCFunction, from.SourceFunction)
	}
	switch {
	case from.SourceIdentity == "":
	case given.SourceIdentity == "":
		given.SourceIdentity = from.SourceIdentity
	case given.SourceIdentity != from.SourceIdentity: // AWS: recorded
		return fault.New(fault.Parameter, "The source identity is already set for this assume role session")
	}
	return nil
}

// assumed is a role that is being assumed, by its ARN: it may be missing.
type assumed struct {
	arn, account string
	role         *iam.Role
}

// find reads the role. That it is missing tells nobody anything: what has no
// trust policy lets nobody in.
func (a *assumed) find(tx *store.Tx) error {
	_, name, _ := iam.RoleNameFromARN(a.arn)
	role, err := tx.Role(a.account, name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	a.role = nil
	if err == nil && role.ARN() == a.arn {
		a.role = role
	}
	return nil
}

// resource is the role as policies see it. more has further condition keys,
// or is nil.
func (a *assumed) resource(more iam.Context) *authz.Resource {
	r := &authz.Resource{ARN: a.arn, Account: a.account, Kind: iam.RoleResource, Context: more}
	if a.role == nil {
		return r
	}
	r.Policy = a.role.TrustPolicy
	r.Context = func(key string) iam.Value {
		if v := iam.ResourceTags(key, a.role.Tags); !v.IsZero() || more == nil {
			return v
		}
		return more(key)
	}
	return r
}

// actions are those that the session needs in the role's trust policy, after
// that of the call.
func actions(given *iam.Session) []string {
	var list []string
	if len(given.Tags) > 0 {
		list = append(list, "sts:TagSession")
	}
	if given.SourceIdentity != "" {
		list = append(list, "sts:SetSourceIdentity")
	}
	return list
}

// made is a new session as answers show it.
type made struct {
	credentials *api.Credentials
	user        *api.AssumedRoleUser
	packed      *int64
	identity    *string
}

// issue makes the session of a role that the caller may assume.
func (s *Service) issue(ctx context.Context, call *wire.Call, a *assumed, name string, duration *int64, given *iam.Session) (*made, error) {
	life, err := sessionLife(call, a.role, duration)
	if err != nil {
		return nil, err
	}
	if err := s.checkARNs(ctx, a.account, given.PolicyARNs); err != nil {
		return nil, err
	}
	m := &made{user: &api.AssumedRoleUser{AssumedRoleId: new(a.role.ID + ":" + name), Arn: new(a.role.SessionARN(name))}}
	if m.packed, err = packedSize(given); err != nil {
		return nil, err
	}
	if given.SourceIdentity != "" {
		m.identity = &given.SourceIdentity
	}
	if isEmpty(given) {
		given = nil
	}
	c, err := s.Keyring.Issue(a.role, name, life, given)
	m.credentials = shown(&c)
	return m, err
}

func isEmpty(given *iam.Session) bool {
	return len(given.Policies)+len(given.PolicyARNs)+len(given.Tags)+len(given.SourceIdentity)+len(given.Provider)+len(given.SourceVPC) == 0
}

// checkARNs refuses session policies that do not exist (assumed).
func (s *Service) checkARNs(ctx context.Context, account string, arns []string) error {
	if len(arns) == 0 {
		return nil
	}
	return s.Store.View(ctx, func(tx *store.Tx) error {
		for _, policyARN := range arns {
			_, err := authz.ManagedPolicy(tx, account, policyARN)
			if fault.Is(err, fault.NotFound) {
				return fault.New(fault.Parameter, "The session policy %s does not exist in the account of the role.", policyARN)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// packedSize returns how full session policies and tags make the token, in
// percent; nil if there are none.
func packedSize(given *iam.Session) (*int64, error) {
	measured := iam.Session{Policies: given.Policies, PolicyARNs: given.PolicyARNs, Tags: given.Tags, Transitive: given.Transitive}
	if isEmpty(&measured) {
		return nil, nil
	}
	percent, err := authz.PackedSize(&measured)
	switch {
	case err != nil:
		return nil, fault.Wrap(err, "packing a session")
	case percent <= 100:
		return &percent, nil
	case len(given.Policies)+len(given.PolicyARNs) == 0: // AWS: recorded
		return nil, fault.New(packedTooLarge, "Packed size of session tags consumes %d%% of allotted space.", percent)
	}
	// AWS: reported.
	return nil, fault.New(packedTooLarge, "Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
}

func sessionLife(call *wire.Call, role *iam.Role, seconds *int64) (time.Duration, error) {
	if seconds == nil {
		return defaultLife, nil
	}
	life := time.Duration(*seconds) * time.Second
	switch {
	case life > role.MaxSession:
		return 0, fault.New(fault.Parameter, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case life > chainedLife && call.Principal.Type == iam.AssumedRole:
		return 0, fault.New(fault.Parameter, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	return life, nil
}

func requestTags(list []api.Tag) []iam.Tag {
	tags := make([]iam.Tag, len(list))
	for i, t := range list {
		tags[i] = iam.Tag{Key: *t.Key, Value: *t.Value}
	}
	return tags
}

func hasTag(tags []iam.Tag, key string) bool { return !iam.TagValue(tags, key).IsZero() }

func seconds(n *int64) iam.Value {
	if n == nil {
		return iam.Value{}
	}
	return iam.Text(strconv.FormatInt(*n, 10))
}
