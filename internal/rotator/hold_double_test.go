package rotator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"
)

// trailDouble stands for Secrets Manager, STS and a CloudTrail that is as
// AWS's: events do not say which version was read, and may not be found by the
// secret. What Keyturn's trail says is tested with Keyturn.
type trailDouble struct {
	// events are newest first; byARN says that they are found by the secret.
	events []trailEvent
	byARN  bool
	denied bool
	// slow is how long a page takes. A page is one event.
	slow  time.Duration
	began time.Time
	asked []string
}

type trailEvent struct {
	name, principal, request string
	at                       time.Time
}

const heldARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-AbCdEf"

func (d *trailDouble) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var in map[string]any
	_ = json.NewDecoder(q.Body).Decode(&in)
	target := q.Header.Get("X-Amz-Target")
	epoch := func(t time.Time) float64 { return float64(t.Unix()) }
	var out any
	switch target[strings.LastIndexByte(target, '.')+1:] {
	case "DescribeSecret":
		out = map[string]any{"Name": "app/db", "LastRotatedDate": epoch(moment(50))}
	case "GetSecretValue":
		label := in["VersionStage"].(string)
		made := map[string]time.Time{"AWSPREVIOUS": moment(0), "AWSCURRENT": moment(40), "AWSPENDING": d.began}[label]
		out = map[string]any{"VersionId": label, "CreatedDate": epoch(made), "SecretString": `{"username":"app","password":"hidden"}`}
	case "LookupEvents":
		out = d.lookUp(w, in)
	default: // STS
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/rotate/fn</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		return
	}
	if out != nil {
		_ = json.NewEncoder(w).Encode(out)
	}
}

func (d *trailDouble) lookUp(w http.ResponseWriter, in map[string]any) any {
	if d.denied {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"AccessDeniedException","Message":"User: x is not authorized"}`)
		return nil
	}
	time.Sleep(d.slow)
	attribute := in["LookupAttributes"].([]any)[0].(map[string]any)
	key, value := attribute["AttributeKey"].(string), attribute["AttributeValue"].(string)
	start := time.Unix(int64(in["StartTime"].(float64)), 0).UTC()
	n := 0
	if token, ok := in["NextToken"].(string); ok {
		_, _ = fmt.Sscan(token, &n)
	}
	d.asked = append(d.asked, fmt.Sprintf("%s from %s at %d", strings.TrimSuffix(key+" "+value, " "+heldARN), start.Format("15:04"), n))
	out := map[string]any{"Events": []any{}}
	for ; n < len(d.events); n++ {
		e := d.events[n]
		if e.at.Before(start) || key == "EventName" && value != e.name || key == "ResourceName" && !d.byARN {
			continue
		}
		record := fmt.Sprintf(`{"userIdentity":{"arn":%q},"eventTime":%q,"eventName":%q,"sourceIPAddress":"192.0.2.1","userAgent":"x","requestParameters":%s}`,
			e.principal, e.at.Format(time.RFC3339), e.name, e.request)
		out["Events"] = []any{map[string]any{"EventName": e.name, "EventTime": float64(e.at.Unix()), "CloudTrailEvent": record}}
		if n+1 < len(d.events) {
			out["NextToken"] = fmt.Sprint(n + 1)
		}
		break
	}
	return out
}

func (d *trailDouble) rotation(t *testing.T, hold string) (*Rotation, *strings.Builder) {
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	log := &strings.Builder{}
	cfg := aws.Config{
		Region: "eu-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}
	return &Rotation{
		SecretID: heldARN, Step: "setSecret", Settings: Settings{"KEYTURN_HOLD": hold}, Config: cfg, memory: &memory{},
		secrets: secretsmanager.NewFromConfig(cfg), journal: &journal{to: log},
	}, log
}

func read(minute int, principal, secret string) trailEvent {
	return trailEvent{"GetSecretValue", principal, fmt.Sprintf(`{"secretId":%q}`, secret), moment(minute)}
}

const own = "arn:aws:sts::123456789012:assumed-role/rotate/"

// Ann has read before the label moved, which the trail knows to have been
// later than the secret's own dates say, ben after it as well; the function
// itself and others do not count.
func trailOfAWS() []trailEvent {
	return []trailEvent{
		read(62, "ben", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db"),
		read(62, ann, "app/db2"),
		{"UpdateSecretVersionStage", "x", `{"versionStage":"AWSCURRENT","moveToVersionId":"another"}`, moment(61)},
		{"UpdateSecretVersionStage", "x", `{"versionStage":"AWSCURRENT","moveToVersionId":"AWSCURRENT"}`, moment(60)},
		read(55, ann, "app/db"), read(40, own+"a", heldARN), read(20, "ben", heldARN), read(10, own+"b", heldARN), read(10, ann, heldARN),
	}
}

func TestHoldByDouble(t *testing.T) {
	for _, byARN := range []bool{true, false} {
		d := &trailDouble{events: trailOfAWS(), byARN: byARN, began: time.Now().Add(-time.Minute)}
		r, log := d.rotation(t, "1h")
		err := r.hold(t.Context(), "app")
		e, ok := err.(*Error)
		if !ok || e.Type != "RotationHeld" {
			t.Fatalf("by ARN %v: got error %v, want a hold", byARN, err)
		}
		want := "The old password of user app is kept until " + d.began.Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339) +
			" for readers of version AWSPREVIOUS that have not read the secret since: " + ann + " (last read 2025-03-10T08:55:00Z, from 192.0.2.1, with x)"
		if e.Text != want {
			t.Errorf("by ARN %v:\ngot  %s\nwant %s", byARN, e.Text, want)
		}
		// The next look reads no more than it has to.
		asked := len(d.asked)
		d.events = append([]trailEvent{{read(0, "", "").name, ann, `{"secretId":"app/db"}`, time.Now().Add(-time.Minute)}}, d.events...)
		if err := r.hold(t.Context(), "app"); err != nil {
			t.Errorf("by ARN %v: after the read: got error %v", byARN, err)
		}
		looks := d.asked[asked:]
		if from := time.Now().Add(-15 * time.Minute).UTC().Format(" 15:04"); !strings.Contains(looks[0], from) && !strings.Contains(looks[0], time.Now().Add(-14*time.Minute).UTC().Format(" 15:04")) {
			t.Errorf("by ARN %v: got looks %q, want the last quarter of an hour alone", byARN, looks)
		}
		if log.Len() > 0 {
			t.Errorf("got log %s", log)
		}
	}
}

func TestHoldNotNeededByDouble(t *testing.T) {
	for name, tc := range map[string]struct{ hold, user string }{"not asked for": {"", "app"}, "the first rotation of the user": {"1h", "app_clone"}} {
		d := &trailDouble{events: trailOfAWS(), byARN: true, began: time.Now()}
		r, _ := d.rotation(t, tc.hold)
		if err := r.hold(t.Context(), tc.user); err != nil || len(d.asked) > 0 {
			t.Errorf("%s: got error %v and the looks %q", name, err, d.asked)
		}
	}
}

func TestHoldOverByDouble(t *testing.T) {
	for name, tc := range map[string]struct {
		denied bool
		want   string
	}{
		"with stragglers": {false, "[WARNING]\tsetSecret: The hold of user app is over. These have not read the secret since its password was replaced: " + ann + " (last read"},
		"not known":       {true, "[WARNING]\tsetSecret: The hold of user app is over. Who still uses the old password is not known: KEYTURN_HOLD needs to know"},
	} {
		d := &trailDouble{events: trailOfAWS(), byARN: true, denied: tc.denied, began: time.Now().Add(-time.Hour - time.Second)}
		r, log := d.rotation(t, "1h")
		if err := r.hold(t.Context(), "app"); err != nil {
			t.Errorf("%s: got error %v", name, err)
		}
		if got := strings.ReplaceAll(stamp.ReplaceAllString(log.String(), "]\t"), "\t\t", "\t"); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: got log %s\nwant %s", name, got, tc.want)
		}
	}
}

// A trail that takes longer than the function has is read on by the next
// step, and nothing changes before it has been read.
func TestLongTrailByDouble(t *testing.T) {
	d := &trailDouble{events: trailOfAWS(), byARN: true, began: time.Now(), slow: 250 * time.Millisecond}
	r, _ := d.rotation(t, "1h")
	var last *Error
	for range 9 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := r.hold(ctx, "app")
		cancel()
		if !errors.As(err, &last) || last.Type != Held {
			t.Fatalf("got error %v, want a hold", err)
		}
		if !errors.Is(err, errTrailTooLong) {
			break
		}
		if !strings.Contains(last.Text, "give the function a longer timeout") {
			t.Errorf("got %s", last.Text)
		}
	}
	if !strings.Contains(last.Text, ann) {
		t.Errorf("got %s, want the straggler in the end", last.Text)
	}
	var pages []string
	for _, a := range d.asked {
		if strings.HasPrefix(a, "ResourceName") {
			pages = append(pages, a[strings.LastIndexByte(a, ' ')+1:])
		}
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}
