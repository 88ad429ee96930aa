package cloudtrail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/iam"
	service "github.com/keyturn/keyturn/internal/service/cloudtrail"
	"github.com/keyturn/keyturn/internal/servicetest"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// bench is a service with a client.
type bench struct {
	*servicetest.Parts
	*cloudtrail.Client
	ctx context.Context
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T) *bench {
	return benchOf(t, servicetest.NewParts(t))
}

func benchOf(t *testing.T, p *servicetest.Parts) *bench {
	s := service.New(service.Config{Store: p.Store, Guard: p.Guard, Recorder: p.Recorder, Sealer: p.Sealer})
	_, cfg := p.Serve(t, s.Wire())
	return &bench{p, cloudtrail.NewFromConfig(cfg), t.Context(), t, time.Now().UTC().Truncate(time.Second)}
}

// event makes an event of a time before now.
func (b *bench) event(name string, before time.Duration) trail.Event {
	return trail.Event{
		ID: "id-" + name, Time: b.now.Add(-before), Type: trail.APICall, Account: servicetest.Account, Region: servicetest.Region,
		Source: "secretsmanager.amazonaws.com", Name: name, Principal: b.Root(), RequestID: "r",
	}
}

func (b *bench) store(events ...trail.Event) {
	b.t.Helper()
	err := b.Store.Update(b.ctx, func(tx *store.Tx) error {
		for _, e := range events {
			if err := tx.Record(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) record(events ...trail.Event) {
	b.t.Helper()
	for i := range events {
		if err := b.Recorder.Record(&events[i]); err != nil {
			b.t.Fatal(err)
		}
	}
}

// names returns the names of all events found, over all pages, without
// LookupEvents itself.
func (b *bench) names(in cloudtrail.LookupEventsInput) string {
	b.t.Helper()
	var names []string
	pages := cloudtrail.NewLookupEventsPaginator(b.Client, &in)
	for pages.HasMorePages() {
		out, err := pages.NextPage(b.ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range out.Events {
			if *e.EventName != "LookupEvents" {
				names = append(names, *e.EventName)
			}
		}
	}
	return strings.Join(names, " ")
}

func by(key types.LookupAttributeKey, value string) []types.LookupAttribute {
	return []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}
}

func TestLookupByAttribute(t *testing.T) {
	b := newBench(t)
	const secretARN, roleARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a<b-AbCdEf", "arn:aws:iam::123456789012:role/r"
	session := iam.Principal{
		Type: iam.AssumedRole, Account: servicetest.Account, ARN: "arn:aws:sts::123456789012:assumed-role/r/fn", ID: "AROAX:fn",
		Name: "r", Session: "fn", RoleARN: roleARN, AccessKeyID: "ASIAX",
	}
	b.store(trail.SecretEvent("RotationFailed", secretARN, "r", "no"))
	put := b.event("PutSecretValue", time.Minute)
	put.Principal, put.Resources = session, []trail.Resource{{Type: "AWS::SecretsManager::Secret", Name: secretARN}}
	b.store(put)
	b.record(b.event("Ancient", 91*24*time.Hour))
	list := b.event("ListRoles", 3*time.Minute)
	list.ReadOnly, list.Source = true, "iam.amazonaws.com"
	b.record(list)
	get := b.event("GetSecretValue", 2*time.Minute)
	get.ReadOnly, get.Principal = true, session
	get.Resources = []trail.Resource{{Type: "AWS::KMS::Key", Name: "k"}, {Type: "AWS::SecretsManager::Secret", Name: secretARN}}
	b.record(get)
	elsewhere := b.event("Elsewhere", 0)
	elsewhere.Region = "eu-west-1"
	b.store(elsewhere)
	b.record(elsewhere)

	for _, tc := range []struct {
		key         types.LookupAttributeKey
		value, want string
	}{
		{types.LookupAttributeKeyEventId, "id-GetSecretValue", "GetSecretValue"},
		{types.LookupAttributeKeyEventName, "PutSecretValue", "PutSecretValue"},
		{types.LookupAttributeKeyEventName, "GetSecret", ""},
		{types.LookupAttributeKeyEventSource, "secretsmanager.amazonaws.com", "RotationFailed PutSecretValue GetSecretValue"},
		{types.LookupAttributeKeyEventSource, "iam.amazonaws.com", "ListRoles"},
		{types.LookupAttributeKeyReadOnly, "true", "GetSecretValue ListRoles"},
		{types.LookupAttributeKeyReadOnly, "false", "RotationFailed PutSecretValue"},
		{types.LookupAttributeKeyUsername, "fn", "PutSecretValue GetSecretValue"},
		{types.LookupAttributeKeyUsername, "root", "ListRoles"},
		{types.LookupAttributeKeyAccessKeyId, "ASIAX", "PutSecretValue GetSecretValue"},
		{types.LookupAttributeKeyResourceType, "AWS::SecretsManager::Secret", "PutSecretValue GetSecretValue"},
		{types.LookupAttributeKeyResourceName, secretARN, "PutSecretValue GetSecretValue"},
		{types.LookupAttributeKeyResourceName, "k", "GetSecretValue"},
	} {
		for _, size := range []int32{1, 50} {
			got := b.names(cloudtrail.LookupEventsInput{LookupAttributes: by(tc.key, tc.value), MaxResults: &size})
			if got != tc.want {
				t.Errorf("%s=%s by %d: got %q, want %q", tc.key, tc.value, size, got, tc.want)
			}
		}
	}
	if got, want := b.names(cloudtrail.LookupEventsInput{}), "RotationFailed PutSecretValue GetSecretValue ListRoles"; got != want {
		t.Errorf("all: got %q, want %q", got, want)
	}
	in := cloudtrail.LookupEventsInput{StartTime: aws.Time(b.now.Add(-2 * time.Minute)), EndTime: aws.Time(b.now.Add(-time.Minute))}
	if got, want := b.names(in), "PutSecretValue GetSecretValue"; got != want {
		t.Errorf("range, both ends in: got %q, want %q", got, want)
	}
	in = cloudtrail.LookupEventsInput{EventCategory: types.EventCategoryInsight}
	if got := b.names(in); got != "" {
		t.Errorf("insights: got %q, want none", got)
	}
}

func TestEventMembers(t *testing.T) {
	b := newBench(t)
	e := b.event("PutSecretValue", time.Minute)
	e.Resources = []trail.Resource{{Type: "AWS::SecretsManager::Secret", Name: "arn"}}
	b.store(e)
	failed := trail.SecretEvent("RotationFailed", "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf", "r", "no")
	failed.Time = b.now.Add(-time.Hour)
	b.store(failed)
	out, err := b.LookupEvents(b.ctx, &cloudtrail.LookupEventsInput{LookupAttributes: by(types.LookupAttributeKeyReadOnly, "false")})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := e.Record()
	if err != nil {
		t.Fatal(err)
	}
	want := []types.Event{
		{
			EventId: aws.String("id-PutSecretValue"), EventName: aws.String("PutSecretValue"), ReadOnly: aws.String("false"), EventTime: aws.Time(e.Time),
			EventSource: aws.String("secretsmanager.amazonaws.com"), Username: aws.String("root"), AccessKeyId: aws.String(b.Root().AccessKeyID),
			Resources:       []types.Resource{{ResourceType: aws.String("AWS::SecretsManager::Secret"), ResourceName: aws.String("arn")}},
			CloudTrailEvent: aws.String(string(rec.JSON)),
		},
		{
			EventName: aws.String("RotationFailed"), ReadOnly: aws.String("false"), EventTime: aws.Time(failed.Time),
			EventSource: aws.String("secretsmanager.amazonaws.com"), Resources: []types.Resource{},
		},
	}
	out.Events[1].EventId, out.Events[1].CloudTrailEvent = nil, nil
	if diff := cmp.Diff(want, out.Events, cmpopts.IgnoreUnexported(types.Event{}, types.Resource{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Pages over both sources, of any size, have every event once, newest first,
// and none that came after the first page.
func TestPagesMerge(t *testing.T) {
	b := newBench(t)
	random := rand.New(rand.NewPCG(5, 6))
	type placed struct {
		name string
		at   time.Time
	}
	var model []placed
	at := b.now.Add(-20 * time.Hour)
	for i := range 400 {
		at = at.Add(time.Duration(random.IntN(3)) * time.Second)
		e := b.event(strconv.Itoa(i), b.now.Sub(at))
		if random.IntN(3) == 0 {
			b.store(e)
		} else {
			b.record(e)
		}
		model = append(model, placed{e.Name, at})
	}
	times := map[string]time.Time{}
	for _, p := range model {
		times[p.name] = p.at
	}
	for _, size := range []int32{1, 7, 50} {
		var got []string
		in := cloudtrail.LookupEventsInput{MaxResults: &size, EndTime: aws.Time(b.now.Add(-time.Hour))}
		for page := 0; ; page++ {
			out, err := b.LookupEvents(b.ctx, &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Events {
				got = append(got, *e.EventName)
			}
			if page == 0 { // these come too late
				b.store(b.event("late", 2*time.Hour-time.Second))
				b.record(b.event("late", 2*time.Hour-time.Second))
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
		}
		got = slices.DeleteFunc(got, func(name string) bool { return name == "late" })
		if !slices.IsSortedFunc(got, func(x, y string) int { return times[y].Compare(times[x]) }) {
			t.Errorf("pages of %d are not newest first", size)
		}
		slices.Sort(got)
		var want []string
		for _, p := range model {
			want = append(want, p.name)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", size, diff)
		}
	}
}

// A call looks through a bounded part of the segments, and what is left in
// the store waits for its turn.
func TestLongWalkIsCut(t *testing.T) {
	dir := t.TempDir()
	p := servicetest.NewParts(t)
	b := benchOf(t, p)
	old, noise := b.event("Old", 10*time.Hour), b.event("Noise", 5*time.Hour)
	older, err := old.Record()
	if err != nil {
		t.Fatal(err)
	}
	line, err := noise.Record()
	if err != nil {
		t.Fatal(err)
	}
	text := append(older.JSON, '\n')
	text = append(text, bytes.Repeat(append(line.JSON, '\n'), 70<<20/len(line.JSON))...)
	name := b.now.Add(-10*time.Hour).Format("20060102T150405.000000000") + ".jsonl"
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.Recorder, err = trail.NewRecorder(dir); err != nil {
		t.Fatal(err)
	}
	b = benchOf(t, p)
	newer, oldest := b.event("Old", time.Hour), b.event("Old", 20*time.Hour)
	newer.ID, oldest.ID = "newer", "oldest"
	b.store(newer, oldest)
	var pages []string
	in := cloudtrail.LookupEventsInput{LookupAttributes: by(types.LookupAttributeKeyEventName, "Old")}
	for {
		out, err := b.LookupEvents(b.ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, e := range out.Events {
			ids = append(ids, *e.EventId)
		}
		pages = append(pages, fmt.Sprint(ids))
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if diff := cmp.Diff([]string{"[newer]", "[id-Old oldest]"}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestLookupErrors(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		b.store(b.event(strconv.Itoa(i), time.Minute))
	}
	page, err := b.LookupEvents(b.ctx, &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(1)})
	if err != nil || page.NextToken == nil {
		t.Fatalf("got error %v and token %v", err, page)
	}
	for _, tc := range []struct {
		name, code, message string
		in                  cloudtrail.LookupEventsInput
	}{
		{"two attributes", "InvalidLookupAttributesException", "Only one lookup attribute can be specified.",
			cloudtrail.LookupEventsInput{LookupAttributes: append(by(types.LookupAttributeKeyEventName, "a"), by(types.LookupAttributeKeyEventId, "b")...)}},
		{"read only", "InvalidLookupAttributesException", "The value of the lookup attribute ReadOnly must be true or false.",
			cloudtrail.LookupEventsInput{LookupAttributes: by(types.LookupAttributeKeyReadOnly, "True")}},
		{"range", "InvalidTimeRangeException", "Invalid time range: start time is after end time",
			cloudtrail.LookupEventsInput{StartTime: aws.Time(b.now), EndTime: aws.Time(b.now.Add(-time.Second))}},
		{"token", "InvalidNextTokenException", "Invalid token.", cloudtrail.LookupEventsInput{NextToken: aws.String("x")}},
		{"token of another question", "InvalidNextTokenException", "Invalid token.",
			cloudtrail.LookupEventsInput{NextToken: page.NextToken, LookupAttributes: by(types.LookupAttributeKeyEventName, "a")}},
		{"page size", "ValidationException", "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50",
			cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}},
	} {
		_, err := b.LookupEvents(b.ctx, &tc.in)
		e, ok := errors.AsType[smithy.APIError](err)
		if !ok || e.ErrorCode() != tc.code || e.ErrorMessage() != tc.message {
			t.Errorf("%s: got error %v, want %s: %s", tc.name, err, tc.code, tc.message)
		}
	}
	if got, err := b.LookupEvents(b.ctx, &cloudtrail.LookupEventsInput{NextToken: page.NextToken, MaxResults: aws.Int32(2)}); err != nil || len(got.Events) != 2 {
		t.Errorf("another page size: got error %v", err)
	}
}

// LookupEvents takes its permission, on no resource in particular.
func TestRefused(t *testing.T) {
	b := newBench(t)
	look := func(statements string) error {
		ann := cloudtrail.NewFromConfig(b.As(servicetest.User(t, servicetest.Account, "ann", statements)))
		_, err := ann.LookupEvents(b.ctx, &cloudtrail.LookupEventsInput{})
		return err
	}
	const refused = "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: cloudtrail:LookupEvents "
	servicetest.WantError(t, "without permission", look(`{"Effect":"Allow","Action":"cloudtrail:Lookup*","Resource":"arn:aws:cloudtrail:us-east-1:123456789012:trail/t"}`),
		"AccessDeniedException", 400, refused+"because no identity-based policy allows the cloudtrail:LookupEvents action")
	servicetest.WantError(t, "denied", look(`{"Effect":"Deny","Action":"cloudtrail:*","Resource":"*"}`),
		"AccessDeniedException", 400, refused+"with an explicit deny in an identity-based policy")
	if err := look(`{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}`); err != nil {
		t.Error(err)
	}
}

// The second page begins where the first ends, also when events came in
// between whose place is on the first.
func TestPagesWhileEventsCome(t *testing.T) {
	b := newBench(t)
	for i := range 10 { // the newest, so that the first page takes from both sources
		b.record(b.event("recorded-"+strconv.Itoa(i), time.Minute))
	}
	for i := range 40 {
		b.store(b.event("stored-"+strconv.Itoa(i), 2*time.Hour))
	}
	stop := make(chan struct{})
	var coming sync.WaitGroup
	coming.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.store(b.event("new-"+strconv.Itoa(i), time.Hour-time.Duration(i)*time.Millisecond))
			}
		}
	})
	defer coming.Wait()
	defer close(stop)
	for range 200 {
		seen := map[string]bool{}
		in := cloudtrail.LookupEventsInput{MaxResults: aws.Int32(20), EndTime: aws.Time(b.now)} // without LookupEvents itself
		for range 2 {
			out, err := b.LookupEvents(b.ctx, &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Events {
				if seen[*e.EventId] {
					t.Fatalf("%s came twice", *e.EventName)
				}
				seen[*e.EventId] = true
			}
			in.NextToken = out.NextToken
		}
	}
}
