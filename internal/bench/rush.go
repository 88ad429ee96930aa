package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"
)

const (
	// rushLimit is the reserved concurrency of the rush: as many connections
	// the database may see.
	rushLimit = 8
	// maxConnections leaves room for superusers, who are three, and for a
	// server process that has not ended when its client has.
	maxConnections = rushLimit + 3 + rushLimit
)

// rush makes many secrets due at once on one node, by a function of a
// limited concurrency, and checks that each is rotated, once, and that the
// database sees no more connections than that.
func (b *rotationBench) rush(ctx context.Context, many int) error {
	if err := b.limit(ctx, builtinFunction, rushLimit); err != nil {
		return err
	}
	// Events are told apart by whole seconds: what was before is over.
	time.Sleep(1100 * time.Millisecond)
	began := time.Now()
	watching, stop := context.WithCancel(ctx)
	seen := make(chan watched, 1)
	go func() { seen <- b.watchConnections(watching) }()
	tokens, err := b.beginAll(ctx, builtinFunction, many)
	asked := time.Since(began)
	if err == nil {
		err = b.finish(ctx, tokens)
	}
	took := time.Since(began)
	stop()
	w := <-seen
	if err := errors.Join(err, w.err); err != nil {
		return err
	}
	fmt.Printf("%d secrets due at once, one node, reserved concurrency %d, max_connections %d\n", many, rushLimit, maxConnections)
	fmt.Printf("  all asked for after %s, all done after %s: %.1f/s\n", asked.Round(time.Millisecond), took.Round(time.Millisecond), float64(many)/took.Seconds())
	fmt.Printf("  connections of rotators at most %d, in %d looks\n", w.most, w.looks)
	return b.proveRush(ctx, tokens, began)
}

// finish waits until every token is its secret's current version.
func (b *rotationBench) finish(ctx context.Context, tokens []string) error {
	for i, token := range tokens {
		for {
			done, err := b.done(ctx, userName(i), token)
			if err != nil {
				return err
			}
			if done {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// watched is what was seen of the database's connections.
type watched struct {
	most, looks int
	err         error
}

// watchConnections counts the rotators' connections over and over.
func (b *rotationBench) watchConnections(ctx context.Context) (w watched) {
	conn, err := pgx.Connect(ctx, b.db.AdminURL())
	if err != nil {
		return watched{err: err}
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		var n int
		const count = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'app\\_%'"
		if err := conn.QueryRow(ctx, count).Scan(&n); err != nil {
			if ctx.Err() == nil {
				w.err = err
			}
			return w
		}
		w.most, w.looks = max(w.most, n), w.looks+1
		time.Sleep(3 * time.Millisecond)
	}
	return w
}

// proveRush checks by the trail that each secret was rotated once, and by
// logins that the passwords are those of the database.
func (b *rotationBench) proveRush(ctx context.Context, tokens []string, began time.Time) error {
	count := map[string]int{}
	for _, event := range []string{"RotationStarted", "RotationSucceeded", "RotationFailed"} {
		pages := cloudtrail.NewLookupEventsPaginator(cloudtrail.NewFromConfig(b.cfg), &cloudtrail.LookupEventsInput{
			StartTime: aws.Time(began.Truncate(time.Second)), MaxResults: aws.Int32(50),
			LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: trailtypes.LookupAttributeKeyEventName, AttributeValue: aws.String(event)}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, e := range page.Events {
				if !e.EventTime.Before(began.Truncate(time.Second)) {
					count[event]++
				}
			}
		}
	}
	logins := 0
	for i := range tokens {
		out, err := b.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(userName(i))})
		if err != nil {
			return err
		}
		if *out.VersionId != tokens[i] {
			return fmt.Errorf("%s has been rotated again", userName(i))
		}
		if err := b.logsIn(ctx, userName(i)); err != nil {
			return err
		}
		logins++
	}
	fmt.Printf("  trail: %d started, %d succeeded, %d failed attempts; %d of %d new passwords log in\n",
		count["RotationStarted"], count["RotationSucceeded"], count["RotationFailed"], logins, len(tokens))
	if count["RotationSucceeded"] != len(tokens) || count["RotationStarted"]-count["RotationFailed"] != len(tokens) {
		return errors.New("not every secret was rotated once")
	}
	return nil
}
