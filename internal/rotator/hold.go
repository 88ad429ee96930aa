package rotator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// Held is the type of the Error of a step that waits for readers of the old
// version. Keyturn's engine takes it for a postponement, AWS for a failure
// that it tries again.
const Held = "RotationHeld"

// holdVariable is how long the pending user's old password is kept at most
// for those who read it and have not read the secret since: a duration such
// as 24h or 2d, from the beginning of the rotation.
const holdVariable = "KEYTURN_HOLD"

// lookback is how much of the trail is read again by the next look: AWS takes
// a quarter of an hour to write an event.
const lookback = 15 * time.Minute

// holdReserve is what a look leaves of the function's time to change the
// password.
const holdReserve = 8 * time.Second

// hold reads the variable of that name; 0 where it is missing.
func (s Settings) hold() (time.Duration, error) {
	d, err := ParseHold(s.Text(holdVariable, ""))
	if err != nil {
		return 0, Invalid("The environment variable %s %v", holdVariable, err)
	}
	return d, nil
}

// ParseHold reads how long to hold: a duration as Go writes them, which may
// begin with days, such as 36h or 2d12h; 0 for an empty text.
func ParseHold(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	total := time.Duration(0)
	rest := text
	if days, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errHold(text)
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, errHold(text)
		}
		total += d
	}
	return total, nil
}

func errHold(text string) error {
	return fmt.Errorf("must be a duration such as 24h or 2d, and is %q", text)
}

// hold keeps the pending user's old password, the one of the previous version,
// while somebody still needs it: its error is then of the type Held. It
// returns nil when all readers have moved on or the time is over.
func (r *Rotation) hold(ctx context.Context, user string) error {
	limit, err := r.Settings.hold()
	if limit == 0 || err != nil {
		return err
	}
	d, err := r.Previous(ctx)
	if err != nil || d == nil || d.Text("username") != user {
		return err // nobody has the password of a user that no version is of
	}
	w, err := r.watched(ctx)
	if err != nil {
		return err
	}
	end := w.began.Add(limit + time.Second - 1).UTC().Truncate(time.Second)
	over := !time.Now().Before(end)
	list, err := r.lookForStragglers(ctx, w)
	switch {
	case over && err != nil:
		r.Warnf("The hold of user %s is over. Who still uses the old password is not known: %v", user, err)
		return nil
	case over && len(list) > 0:
		r.Warnf("The hold of user %s is over. These have not read the secret since its password was replaced: %s", user, named(list))
		return nil
	case errors.Is(err, errTrailTooLong):
		return &Error{Type: Held, err: err, Text: fmt.Sprintf("The old password of user %s is kept until %s: %v", user, end.Format(time.RFC3339), err)}
	case err != nil || len(list) == 0:
		return err
	}
	return &Error{Type: Held, Text: fmt.Sprintf("The old password of user %s is kept until %s for readers of version %s that have not read the secret since: %s",
		user, end.Format(time.RFC3339), w.previous, named(list))}
}

// watch is what a hold is about.
type watch struct {
	generation
	// name is the secret's.
	name string
	// began is when the rotation began. The previous version was made at
	// previousMade, and the current one became it at currentSince.
	began, previousMade, currentSince time.Time
}

func (r *Rotation) watched(ctx context.Context) (watch, error) {
	d, err := r.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.SecretID})
	if err != nil {
		return watch{}, fmt.Errorf("describing secret %s: %w", r.SecretID, err)
	}
	w := watch{name: aws.ToString(d.Name)}
	var currentMade time.Time
	for _, v := range []struct {
		label string
		id    *string
		made  *time.Time
	}{{previous, &w.previous, &w.previousMade}, {current, &w.current, &currentMade}, {pending, new(string), &w.began}} {
		out, err := r.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &r.SecretID, VersionStage: &v.label})
		if err != nil {
			return watch{}, fmt.Errorf("reading the %s version of secret %s: %w", v.label, r.SecretID, err)
		}
		*v.id, *v.made = aws.ToString(out.VersionId), aws.ToTime(out.CreatedDate)
	}
	// A version made by a rotation becomes the current one at its end.
	w.currentSince = currentMade
	if rotated := aws.ToTime(d.LastRotatedDate); rotated.After(currentMade) {
		w.currentSince = rotated
	}
	return w, nil
}

// memory is what a function knows of its earlier looks at the trail, so that
// a hold of days does not read the days again each time. It is an aid: a
// fresh process reads anew.
type memory struct {
	self string
	// of is the secret and its versions that reads are of.
	of    string
	reads tally
	// through is up to when the trail has been read. While a look is under way
	// next is its next page, and began when it began.
	through, began time.Time
	next           *string
	// byName says that the trail does not find a secret's reads by its ARN.
	byName bool
}

// lookForStragglers asks the trail who has read the previous version and not
// the current one.
func (r *Rotation) lookForStragglers(ctx context.Context, w watch) ([]straggler, error) {
	m := r.memory
	if of := r.SecretID + " " + w.previous + " " + w.current; m.of != of {
		*m = memory{self: m.self, of: of, reads: tally{}, through: w.previousMade}
	}
	if err := r.identify(ctx, m); err != nil {
		return nil, err
	}
	client := cloudtrail.NewFromConfig(r.Config)
	if err := r.look(ctx, client, w, m); err != nil {
		return nil, r.lookFailed(err)
	}
	since := w.currentSince
	if m.reads.unsure() {
		var err error
		if since, err = moved(ctx, client, w); err != nil {
			return nil, r.lookFailed(err)
		}
	}
	own := func(s straggler) bool {
		return s.principal == m.self || strings.HasSuffix(m.self, "/") && strings.HasPrefix(s.principal, m.self)
	}
	return slices.DeleteFunc(m.reads.stragglers(w.generation, since), own), nil
}

// identify finds out under what name the function itself reads: all sessions
// of its role, or a user.
func (r *Rotation) identify(ctx context.Context, m *memory) error {
	if m.self != "" {
		return nil
	}
	out, err := sts.NewFromConfig(r.Config).GetCallerIdentity(ctx, nil)
	if err != nil {
		return fmt.Errorf("finding out the function's own identity: %w", err)
	}
	m.self = aws.ToString(out.Arn)
	if strings.Contains(m.self, ":assumed-role/") {
		m.self = m.self[:strings.LastIndexByte(m.self, '/')+1]
	}
	return nil
}

// look reads the part of the trail that has not been read yet.
func (r *Rotation) look(ctx context.Context, client *cloudtrail.Client, w watch, m *memory) error {
	if m.next == nil {
		m.began = time.Now()
	}
	found, err := r.pages(ctx, client, w, m)
	if err == nil && !found && !m.byName {
		// This function has read the secret itself: a trail that finds no
		// read at all does not know reads by the secret.
		m.byName = true
		_, err = r.pages(ctx, client, w, m)
	}
	switch {
	case err == nil:
		m.through = m.began.Add(-lookback)
	case !errors.Is(err, errTrailTooLong):
		m.next = nil // begin again
	}
	return err
}

// pages goes through the trail from its newest event backwards, and says
// whether there was any read.
func (r *Rotation) pages(ctx context.Context, client *cloudtrail.Client, w watch, m *memory) (found bool, err error) {
	in := &cloudtrail.LookupEventsInput{
		StartTime: new(m.through.Truncate(time.Second)), // events' times are in seconds
		EndTime:   &m.began, NextToken: m.next,
		LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyResourceName, AttributeValue: &r.SecretID}},
	}
	if m.byName {
		in.LookupAttributes = []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: aws.String("GetSecretValue")}}
	}
	found = in.NextToken != nil
	for stop := lookEnd(ctx); ; {
		if time.Now().After(stop) {
			return found, errTrailTooLong
		}
		page, err := client.LookupEvents(ctx, in)
		if err != nil {
			return found, err
		}
		for _, e := range page.Events {
			read, ok := parseReading(aws.ToString(e.CloudTrailEvent))
			if !ok || aws.ToString(e.EventName) != "GetSecretValue" || !r.names(read.secret, w.name) {
				continue
			}
			found = true
			m.reads.add(w.generation, read)
		}
		if in.NextToken, m.next = page.NextToken, page.NextToken; in.NextToken == nil {
			return found, nil
		}
	}
}

// lookEnd is when a look has to end.
func lookEnd(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Now().Add(time.Minute)
	}
	left := time.Until(deadline)
	return time.Now().Add(max(left-holdReserve, left/2))
}

// errTrailTooLong keeps the password: nobody knows yet who needs it.
var errTrailTooLong = errors.New("the trail of the secret's reads is longer than the function's time; give the function a longer timeout")

// names tells whether a request's SecretId is this secret: its ARN, without
// the random characters too, or its name.
func (r *Rotation) names(id, name string) bool {
	return id == r.SecretID || id == name || strings.HasPrefix(r.SecretID, id+"-") && strings.HasPrefix(id, "arn:")
}

// moved tells when the current version became it: at the last move of the
// label to it that the trail knows, else as the secret says.
func moved(ctx context.Context, client *cloudtrail.Client, w watch) (time.Time, error) {
	pages := cloudtrail.NewLookupEventsPaginator(client, &cloudtrail.LookupEventsInput{
		StartTime: new(w.currentSince.Truncate(time.Second)), LookupAttributes: []types.LookupAttribute{{
			AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: aws.String("UpdateSecretVersionStage"),
		}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return time.Time{}, err
		}
		for _, e := range page.Events {
			var move struct {
				Error   string `json:"errorCode"`
				Request struct {
					Label string `json:"versionStage"`
					To    string `json:"moveToVersionId"`
				} `json:"requestParameters"`
			}
			// An event without these members is of something else.
			_ = json.Unmarshal([]byte(aws.ToString(e.CloudTrailEvent)), &move)
			if move.Error == "" && move.Request.Label == current && move.Request.To == w.current {
				return aws.ToTime(e.EventTime).Add(time.Second), nil // it may be cut to seconds, as those of reads
			}
		}
	}
	return w.currentSince, nil
}

// lookFailed explains why the trail could not be read.
func (r *Rotation) lookFailed(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if ok && strings.HasPrefix(api.ErrorCode(), "AccessDenied") {
		return &Error{Type: api.ErrorCode(), err: err, Text: holdVariable + " needs to know who reads the secret, and the function's role may not look it up: " +
			`add the statement {"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"} to a policy of the role, or remove the variable. ` + api.ErrorMessage()}
	}
	return fmt.Errorf("looking up who reads secret %s: %w", r.SecretID, err)
}
