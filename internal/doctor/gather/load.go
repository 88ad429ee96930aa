package gather

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	metrictypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/keyturn/keyturn/internal/doctor"
)

// dueTogether is how near the next rotations of two secrets are that may run
// at the same time.
const dueTogether = time.Hour

// load reads the account's concurrency, and how many secrets share the
// function.
func (l *look) load(ctx context.Context) {
	if l.e.Secret.FunctionARN == "" {
		return
	}
	load := &doctor.Load{}
	l.together(ctx, func(ctx context.Context) {
		out, err := l.lambda.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
		if !l.gap(err, "lambda:GetAccountSettings", "", "how many functions may run at once") && out.AccountLimit != nil {
			load.AccountLimit, load.Unreserved = out.AccountLimit.ConcurrentExecutions, aws.ToInt32(out.AccountLimit.UnreservedConcurrentExecutions)
		}
	}, func(ctx context.Context) { l.throttles(ctx, load) }, func(ctx context.Context) {
		list, err := l.rotating(ctx)
		if l.gap(err, "secretsmanager:ListSecrets", "", "how many secrets rotate by the same function") {
			return
		}
		for _, s := range list {
			if unqualified(aws.ToString(s.RotationLambdaARN)) != unqualified(l.e.Secret.FunctionARN) || !aws.ToBool(s.RotationEnabled) {
				continue
			}
			load.Secrets++
			own, next := l.e.Secret.NextRotationAt, aws.ToTime(s.NextRotationDate)
			if aws.ToString(s.ARN) != l.e.Secret.ARN && !own.IsZero() && !next.IsZero() && next.Sub(own).Abs() < dueTogether {
				load.Due++
			}
		}
	})
	l.note(func(e *doctor.Evidence) { e.Load = load })
}

// throttles sums CloudWatch's count of the function's throttled invocations
// over the last day. Keyturn has no CloudWatch: there the engine's reports
// tell of throttling.
func (l *look) throttles(ctx context.Context, load *doctor.Load) {
	name := functionName(l.e.Secret.FunctionARN)
	if l.e.Keyturn || name == "" {
		return
	}
	out, err := l.metrics.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String("AWS/Lambda"), MetricName: aws.String("Throttles"), Statistics: []metrictypes.Statistic{metrictypes.StatisticSum},
		Dimensions: []metrictypes.Dimension{{Name: aws.String("FunctionName"), Value: &name}}, Period: aws.Int32(int32(throttlePeriod.Seconds())),
		StartTime: aws.Time(l.e.At.Add(-24 * time.Hour)), EndTime: &l.e.At,
	})
	if l.gap(err, "cloudwatch:GetMetricStatistics", "", "whether Lambda throttled the function") {
		return
	}
	var sum float64
	for _, p := range out.Datapoints {
		sum += aws.ToFloat64(p.Sum)
	}
	load.Throttles = new(int64(sum))
}

// throttlePeriod is the length of CloudWatch's periods that are summed up.
const throttlePeriod = time.Hour

// summarize fills in what follows from the rest.
func (l *look) summarize() {
	e := l.e
	if e.Load != nil {
		e.Load.Peak, e.Load.MeanTook = peak(e.Invocations), meanTook(e.Invocations)
	}
	if e.Network != nil && e.Network.VPCID == "" {
		e.Network = nil
	}
}

// meanTook is the mean duration of the invocations that ended.
func meanTook(all []doctor.Invocation) time.Duration {
	var sum time.Duration
	n := 0
	for _, inv := range all {
		if inv.Complete {
			sum += inv.Took
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / time.Duration(n)
}

// peak is the greatest number of invocations that ran at once.
func peak(all []doctor.Invocation) int {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, inv := range all {
		end := inv.EndedAt
		if end.IsZero() {
			end = inv.StartedAt.Add(inv.Took)
		}
		changes = append(changes, change{inv.StartedAt, 1}, change{end, -1})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.by, b.by)) })
	most, now := 0, 0
	for _, c := range changes {
		now += c.by
		most = max(most, now)
	}
	return most
}
