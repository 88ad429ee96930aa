package resource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
	identity "github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/invocation"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/rotation"
	ec2service "github.com/keyturn/keyturn/internal/service/ec2"
	iamservice "github.com/keyturn/keyturn/internal/service/iam"
	kmsservice "github.com/keyturn/keyturn/internal/service/kms"
	lambdaservice "github.com/keyturn/keyturn/internal/service/lambda"
	logsservice "github.com/keyturn/keyturn/internal/service/logs"
	rdsservice "github.com/keyturn/keyturn/internal/service/rds"
	secretsservice "github.com/keyturn/keyturn/internal/service/secretsmanager"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/stack/resource"
	"github.com/keyturn/keyturn/internal/wire"
)

func TestMain(m *testing.M) {
	environment.LaunchIfAsked()
	os.Exit(m.Run())
}

const (
	account = servicetest.Account
	region  = servicetest.Region
	roleARN = "arn:aws:iam::" + account + ":role/execution"
)

// place is the stack of the tests.
var place = resource.Identity{
	ID:   "arn:aws:cloudformation:" + region + ":" + account + ":stack/shop/2b2e3c1a-0000-4000-8000-000000000001",
	Name: "shop", Account: account, Region: region, Partition: "aws",
}

// kit is a server of all services that resources need, with its clients.
type kit struct {
	*servicetest.Parts
	*testing.T
	client  *resource.Client
	secrets *secretsmanager.Client
	lambda  *lambda.Client
	logs    *cloudwatchlogs.Client
	iam     *iam.Client
	kms     *kms.Client
	ec2     *ec2.Client
	rds     *rds.Client
}

// newKit starts a server that ends with the test.
func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{T: t, Parts: servicetest.NewParts(t)}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ring := key.NewRing(k.Keeper, 16)
	invoker := invocation.New(invocation.Config{
		Store: k.Store, Guard: k.Guard, Sealer: k.Sealer, Keys: ring, Node: "node", Concurrency: 1000, Logger: logger, Principal: k.Principal,
		Credentials: func(_ context.Context, role *identity.Role, session string, d time.Duration, given *identity.Session) (environment.Credentials, error) {
			c, err := k.Keyring.Issue(role, session, d, given)
			return environment.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expires}, err
		},
	})
	engine := rotation.New(rotation.Config{Store: k.Store, Invoke: invoker.Invoke, Sealer: k.Sealer, Node: "node", Grace: time.Second, Logger: logger})
	sm := secretsservice.New(secretsservice.Config{
		Store: k.Store, Guard: k.Guard, Keys: ring, Sealer: k.Sealer, Regions: []string{region, "eu-west-1", "ap-south-1"},
		CanInvoke: invocation.CanInvoke, Wake: engine.Wake, Logger: logger,
	})
	services := []*wire.Service{
		sm.Wire(),
		lambdaservice.New(lambdaservice.Config{
			Store: k.Store, Guard: k.Guard, Invoker: invoker, Concurrency: 1000, Logger: logger, CodeURL: func(sum string) string { return "https://code.example/" + sum },
		}).Wire(),
		logsservice.New(logsservice.Config{Store: k.Store, Guard: k.Guard}).Wire(),
		iamservice.New(iamservice.Config{Store: k.Store, Guard: k.Guard, Sealer: k.Sealer}).Wire(),
		kmsservice.New(kmsservice.Config{Store: k.Store, Guard: k.Guard, Keeper: k.Keeper, Keys: ring, Logger: logger}).Wire(),
		rdsservice.New(rdsservice.Config{Store: k.Store, Guard: k.Guard, Keys: ring, Sealer: k.Sealer, Wake: engine.Wake, Logger: logger}).Wire(),
		ec2service.New(ec2service.Config{Store: k.Store, Guard: k.Guard}).Wire(),
	}
	url, cfg := k.Serve(t, services...)
	pool, err := environment.New(environment.Config{
		Dir: t.TempDir() + "/functions", EndpointURL: url, Grace: time.Second, Credentials: invoker.Credentials, Logs: invoker.Logs, Logger: logger,
	})
	k.must(err)
	invoker.Use(pool)
	for _, run := range []func(context.Context) error{pool.Run, invoker.Run, sm.Replicator().Run, engine.Run} {
		k.goRun(run)
	}
	k.client = &resource.Client{Handler: k.Handler, Principal: k.Root(), Region: region}
	k.secrets, k.lambda, k.logs = secretsmanager.NewFromConfig(cfg), lambda.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)
	k.iam, k.kms, k.ec2, k.rds = iam.NewFromConfig(cfg), kms.NewFromConfig(cfg), ec2.NewFromConfig(cfg), rds.NewFromConfig(cfg)
	_, err = k.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: new("execution"), AssumeRolePolicyDocument: new(lambdaTrust)})
	k.must(err)
	return k
}

const lambdaTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// goRun runs a long-lived part until the test ends.
func (k *kit) goRun(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			k.Error(err)
		}
	})
	k.Cleanup(func() { cancel(); wg.Wait() })
}

// request makes the request for an operation on the resource Thing; the
// properties are JSON.
func (k *kit) request(properties string) *resource.Request {
	k.Helper()
	tags := resource.SystemTags(place, "Thing")
	return &resource.Request{
		Client: k.client, Stack: place, LogicalID: "Thing", Token: uuid.NewString(), Properties: k.tree(properties), Tags: tags, PreviousTags: tags,
	}
}

// tree reads JSON as templates are read.
func (k *kit) tree(text string) map[string]any {
	k.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var tree map[string]any
	if err := d.Decode(&tree); err != nil {
		k.Fatalf("reading %s: %v", text, err)
	}
	return tree
}

// users returns the tags that the user gave, once it is sure that those of
// the stack are there and no others that start with aws:.
func (k *kit) users(tags map[string]string) string {
	k.Helper()
	tags = maps.Clone(tags)
	for key, want := range resource.SystemTags(place, "Thing") {
		if tags[key] != want {
			k.Errorf("the tag %s is %q, want %q", key, tags[key], want)
		}
		delete(tags, key)
	}
	for key := range tags {
		if strings.HasPrefix(key, "aws:") {
			k.Errorf("the tag %s is left", key)
		}
	}
	return fmt.Sprint(tags)
}

// change is one update of a resource.
type change struct {
	name, properties, want string
}

// refusal is a creation that fails and leaves nothing.
type refusal struct {
	name, properties string
	code             resource.HandlerErrorCode
	text             string
}

// scenario is the life of one resource type.
type scenario struct {
	typ string
	// setup, which may be nil, makes what the resource needs and returns what
	// stands for ${NAME} in the texts below.
	setup func(*kit) map[string]string
	// properties are those of the creation; want is what look then sees, and
	// attributes what Ref and Fn::GetAtt give, or nil for no check.
	properties, want string
	attributes       map[string]string
	// look describes the resource by what the service's client sees.
	look    func(*kit, resource.Result) string
	updates []change
	refused []refusal
	// after is what look sees once the resource is deleted; gone if empty.
	after string
	// unchanging are properties whose update is not tried, because only other
	// operations show them.
	unchanging []string
}

// absent is what look returns for what does not exist.
const absent = "gone"

// seen returns what a look found, or absent for AWS's many ways to say so.
func seen(err error, text func() string) string {
	if err == nil {
		return text()
	}
	for _, part := range []string{"NotFound", "NoSuchEntity", "does not exist", "marked for deletion", "marked deleted"} {
		if strings.Contains(err.Error(), part) {
			return absent
		}
	}
	return err.Error()
}

func TestLife(t *testing.T) {
	tested := map[string]bool{}
	for _, s := range slices.Concat(secretScenarios(), functionScenarios(), identityScenarios(), keyScenarios(), networkScenarios(), databaseScenarios(), plainScenarios()) {
		tested[s.typ] = true
		t.Run(s.typ, func(t *testing.T) { s.run(newKit(t)) })
	}
	for _, typ := range resource.Types() {
		if !tested[typ] && !slices.Contains(elsewhere, typ) {
			t.Errorf("no scenario for %s", typ)
		}
	}
}

// elsewhere are the types whose tests need other services.
var elsewhere = []string{"AWS::CloudFormation::Stack", "AWS::IAM::AccessKey"}

// run takes a resource through its life, each operation twice, as after a
// crash.
func (s scenario) run(k *kit) {
	variables := map[string]string{}
	if s.setup != nil {
		variables = s.setup(k)
	}
	fill := func(text string) string {
		for name, value := range variables {
			text = strings.ReplaceAll(text, "${"+name+"}", value)
		}
		return text
	}
	h := resource.Lookup(s.typ)
	before := k.inventory()
	for _, f := range s.refused {
		k.Run(f.name, func(t *testing.T) { f.check(k, t, h, fill) })
		k.same("after a refused creation: "+f.name, before)
	}
	if s.want == "" {
		return
	}
	res := s.create(k, h, fill)
	old := fill(s.properties)
	for _, u := range s.updates {
		s.update(k, h, res, old, fill(u.properties), fill(u.want), u.name)
		old = fill(u.properties)
	}
	s.covers(k, h, fill)
	for _, resumed := range []bool{false, true} {
		r := k.request(old)
		r.PhysicalID, r.Resumed = res.PhysicalID, resumed
		if err := h.Delete(k.Context(), r); err != nil {
			k.Errorf("deleting, resumed %v: %v", resumed, err)
		}
		want := absent
		if s.after != "" {
			want = fill(s.after)
		}
		if got := s.look(k, res); got != want {
			k.Errorf("deleted, resumed %v:\ngot  %s\nwant %s", resumed, got, want)
		}
	}
	k.same("after the deletion", before)
}

func (f refusal) check(k *kit, t *testing.T, h *resource.Handler, fill func(string) string) {
	_, err := h.Create(t.Context(), k.request(fill(f.properties)))
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("got %v, want %s", err, f.code)
	}
	if code := resource.ErrorCode(err); code != f.code || e.Message != fill(f.text) {
		t.Errorf("\ngot  %s %s\nwant %s %s", code, e.Message, f.code, fill(f.text))
	}
}

// create creates the resource with a crash in the middle, and again once it is
// there.
func (s scenario) create(k *kit, h *resource.Handler, fill func(string) string) resource.Result {
	r := k.request(fill(s.properties))
	if err := h.Schema.Check(r.Properties); err != nil {
		k.Fatalf("the schema refuses the properties: %v", err)
	}
	if _, err := crash(k.Context(), h, r); err != nil {
		k.Fatalf("creating: %v", err)
	}
	told := ""
	r.Initiated = func(id string) error { told = id; return nil }
	r.Resumed = true
	res, err := h.Create(k.Context(), r)
	if err != nil {
		k.Fatalf("creating after a crash: %v", err)
	}
	if told != res.PhysicalID {
		k.Errorf("Initiated was told %q, want %q", told, res.PhysicalID)
	}
	s.check(k, h, res, fill(s.want), fill)
	r.PhysicalID = res.PhysicalID
	again, err := h.Create(k.Context(), r)
	if err != nil {
		k.Fatalf("creating again: %v", err)
	}
	if again.PhysicalID != res.PhysicalID {
		k.Errorf("created again: got %s, want %s", again.PhysicalID, res.PhysicalID)
	}
	s.check(k, h, again, fill(s.want), fill)
	return res
}

// crash creates a resource up to the moment when its physical ID is known.
func crash(ctx context.Context, h *resource.Handler, r *resource.Request) (id string, err error) {
	r = new(*r)
	r.Initiated = func(known string) error { id = known; panic("crash") }
	defer func() {
		if p := recover(); p != nil && p != "crash" {
			panic(p)
		}
	}()
	_, err = h.Create(ctx, r)
	return id, err
}

func (s scenario) check(k *kit, h *resource.Handler, res resource.Result, want string, fill func(string) string) {
	k.Helper()
	if got := s.look(k, res); got != want {
		k.Errorf("created:\ngot  %s\nwant %s", got, want)
	}
	for name, pattern := range s.attributes {
		got := res.RefValue()
		if name != "Ref" {
			got = fmt.Sprint(res.Attributes[name])
			if !h.Schema.HasAttribute(name) {
				k.Errorf("the schema has no attribute %s", name)
			}
		}
		if want := strings.ReplaceAll(fill(pattern), "$ID", res.PhysicalID); !like(got, want) {
			k.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for name := range res.Attributes {
		if !h.Schema.HasAttribute(name) {
			k.Errorf("the attribute %s is not in the schema", name)
		}
	}
}

// like matches a pattern with one *.
func like(s, pattern string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	if !wild {
		return s == pattern
	}
	return len(s) > len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
}

// update updates the resource, and again with the same token.
func (s scenario) update(k *kit, h *resource.Handler, res resource.Result, old, properties, want, name string) {
	r := k.request(properties)
	r.PhysicalID, r.Previous = res.PhysicalID, k.tree(old)
	changed, behaviour := h.Schema.Compare(r.Previous, r.Properties)
	if len(changed) == 0 || behaviour > 1 {
		k.Errorf("%s: %v changed with behaviour %v; this is no update in place", name, changed, behaviour)
	}
	for _, resumed := range []bool{false, true} {
		r.Resumed = resumed
		got, err := h.Update(k.Context(), r)
		if err != nil {
			k.Errorf("%s, resumed %v: %v", name, resumed, err)
			return
		}
		if got.PhysicalID != res.PhysicalID {
			k.Errorf("%s: got the physical ID %s, want %s", name, got.PhysicalID, res.PhysicalID)
		}
		if got := s.look(k, res); got != want {
			k.Errorf("%s, resumed %v:\ngot  %s\nwant %s", name, resumed, got, want)
		}
	}
}

// covers demands that every property that can be updated in place is updated
// in the scenario.
func (s scenario) covers(k *kit, h *resource.Handler, fill func(string) string) {
	touched := map[string]bool{}
	old := k.tree(fill(s.properties))
	for _, u := range s.updates {
		next := k.tree(fill(u.properties))
		changed, _ := h.Schema.Compare(old, next)
		for _, name := range changed {
			touched[name] = true
		}
		old = next
	}
	for name, p := range h.Schema.Properties {
		if p.Update < 2 && !touched[name] && !slices.Contains(s.unchanging, name) {
			k.Errorf("no update of %s is tried", name)
		}
	}
}

// same demands that the inventory is as it was.
func (k *kit) same(when string, before []string) {
	k.Helper()
	if now := k.inventory(); !slices.Equal(now, before) {
		k.Errorf("%s:\nnow    %v\nbefore %v", when, now, before)
	}
}

// inventory names everything that there is.
func (k *kit) inventory() []string {
	k.Helper()
	ctx := k.Context()
	list := k.objects()
	secrets, err := k.secrets.ListSecrets(ctx, &secretsmanager.ListSecretsInput{IncludePlannedDeletion: new(true)})
	k.must(err)
	for _, s := range secrets.SecretList {
		list = append(list, *s.ARN)
	}
	functions, err := k.lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{FunctionVersion: "ALL"})
	k.must(err)
	for _, f := range functions.Functions {
		list = append(list, *f.FunctionArn)
	}
	layers, err := k.lambda.ListLayers(ctx, &lambda.ListLayersInput{})
	k.must(err)
	for _, l := range layers.Layers {
		list = append(list, *l.LayerArn)
	}
	groups, err := k.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{})
	k.must(err)
	for _, g := range groups.LogGroups {
		if !strings.HasPrefix(*g.LogGroupName, "/keyturn/") { // which the server makes by itself
			list = append(list, *g.Arn)
		}
	}
	list = append(list, k.databases()...)
	list = append(list, k.identities()...)
	return append(list, k.keys()...)
}

func (k *kit) databases() (list []string) {
	instances, err := k.rds.DescribeDBInstances(k.Context(), &rds.DescribeDBInstancesInput{})
	k.must(err)
	for _, d := range instances.DBInstances {
		list = append(list, *d.DBInstanceArn)
	}
	clusters, err := k.rds.DescribeDBClusters(k.Context(), &rds.DescribeDBClustersInput{})
	k.must(err)
	for _, d := range clusters.DBClusters {
		list = append(list, *d.DBClusterArn)
	}
	groups, err := k.rds.DescribeDBSubnetGroups(k.Context(), &rds.DescribeDBSubnetGroupsInput{})
	k.must(err)
	for _, g := range groups.DBSubnetGroups {
		list = append(list, *g.DBSubnetGroupArn)
	}
	return list
}

func (k *kit) identities() (list []string) {
	ctx := k.Context()
	roles, err := k.iam.ListRoles(ctx, &iam.ListRolesInput{})
	k.must(err)
	for _, r := range roles.Roles {
		list = append(list, *r.Arn)
	}
	users, err := k.iam.ListUsers(ctx, &iam.ListUsersInput{})
	k.must(err)
	for _, u := range users.Users {
		list = append(list, *u.Arn)
	}
	groups, err := k.iam.ListGroups(ctx, &iam.ListGroupsInput{})
	k.must(err)
	for _, g := range groups.Groups {
		list = append(list, *g.Arn)
	}
	policies, err := k.iam.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal})
	k.must(err)
	for _, p := range policies.Policies {
		list = append(list, fmt.Sprint(*p.Arn, *p.AttachmentCount))
	}
	return list
}

func (k *kit) keys() (list []string) {
	keys, err := k.kms.ListKeys(k.Context(), &kms.ListKeysInput{})
	k.must(err)
	for _, key := range keys.Keys {
		d, err := k.kms.DescribeKey(k.Context(), &kms.DescribeKeyInput{KeyId: key.KeyId})
		k.must(err)
		if m := d.KeyMetadata; m.KeyManager == kmstypes.KeyManagerTypeCustomer && m.KeyState != kmstypes.KeyStatePendingDeletion {
			list = append(list, *m.Arn)
		}
	}
	aliases, err := k.kms.ListAliases(k.Context(), &kms.ListAliasesInput{})
	k.must(err)
	for _, a := range aliases.Aliases {
		if !strings.HasPrefix(*a.AliasName, "alias/aws/") {
			list = append(list, *a.AliasArn)
		}
	}
	return list
}

// objects names everything in VPCs.
func (k *kit) objects() (list []string) {
	ctx := k.Context()
	vpcs, err := k.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	k.must(err)
	for _, v := range vpcs.Vpcs {
		list = append(list, *v.VpcId)
	}
	subnets, err := k.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	k.must(err)
	for _, v := range subnets.Subnets {
		list = append(list, *v.SubnetId)
	}
	rules, err := k.ec2.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{})
	k.must(err)
	for _, v := range rules.SecurityGroupRules {
		list = append(list, *v.GroupId+" "+*v.SecurityGroupRuleId)
	}
	acls, err := k.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{})
	k.must(err)
	for _, v := range acls.NetworkAcls {
		list = append(list, fmt.Sprint(*v.NetworkAclId, len(v.Entries), len(v.Associations)))
	}
	tables, err := k.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})
	k.must(err)
	for _, v := range tables.RouteTables {
		list = append(list, fmt.Sprint(*v.RouteTableId, len(v.Routes), len(v.Associations)))
	}
	gateways, err := k.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{})
	k.must(err)
	for _, v := range gateways.InternetGateways {
		list = append(list, fmt.Sprint(*v.InternetGatewayId, len(v.Attachments)))
	}
	nats, err := k.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{})
	k.must(err)
	for _, v := range nats.NatGateways {
		if v.State != ec2types.NatGatewayStateDeleted {
			list = append(list, *v.NatGatewayId)
		}
	}
	endpoints, err := k.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{})
	k.must(err)
	for _, v := range endpoints.VpcEndpoints {
		list = append(list, *v.VpcEndpointId)
	}
	slices.Sort(list)
	return list
}
