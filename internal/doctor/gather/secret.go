package gather

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/doctor"
)

// secret describes the secret.
func (l *look) secret(ctx context.Context, id string) {
	l.tell("secret")
	out, err := l.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	l.gap(err, "secretsmanager:DescribeSecret", id, "everything: the secret could not be described")
	l.note(func(e *doctor.Evidence) {
		if err != nil {
			e.Secret = doctor.Secret{Name: id}
			if a, ok := arn.Parse(id); ok {
				e.Secret.ARN = id
				e.Account, e.Region, e.Partition = a.Account, a.Region, a.Partition
			}
			return
		}
		e.Secret = described(out)
		if a, ok := arn.Parse(e.Secret.ARN); ok {
			e.Account, e.Region, e.Partition = a.Account, a.Region, a.Partition
		}
	})
}

func described(out *secretsmanager.DescribeSecretOutput) doctor.Secret {
	s := doctor.Secret{
		ARN: aws.ToString(out.ARN), Name: aws.ToString(out.Name), Found: true, RotationEnabled: out.RotationEnabled,
		FunctionARN: aws.ToString(out.RotationLambdaARN), Rules: rules(out.RotationRules), CreatedAt: aws.ToTime(out.CreatedDate),
		LastRotatedAt: aws.ToTime(out.LastRotatedDate), LastChangedAt: aws.ToTime(out.LastChangedDate),
		NextRotationAt: aws.ToTime(out.NextRotationDate), DeletedAt: aws.ToTime(out.DeletedDate), PrimaryRegion: aws.ToString(out.PrimaryRegion),
		OwningService: aws.ToString(out.OwningService), KeyID: aws.ToString(out.KmsKeyId), Tags: tags(out.Tags), Labels: map[string]string{},
	}
	for version, labels := range out.VersionIdsToStages {
		for _, label := range labels {
			s.Labels[label] = version
		}
	}
	return s
}

func rules(r *smtypes.RotationRulesType) doctor.Rules {
	if r == nil {
		return doctor.Rules{}
	}
	return doctor.Rules{
		AfterDays: aws.ToInt64(r.AutomaticallyAfterDays), Duration: aws.ToString(r.Duration), Expression: aws.ToString(r.ScheduleExpression),
	}
}

func tags(list []smtypes.Tag) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, t := range list {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// maxVersionPages bounds how many versions are listed: 100 a page.
const maxVersionPages = 5

// versions lists the versions, and adds those that have a label and no value.
func (l *look) versions(ctx context.Context) {
	var all []doctor.Version
	pages := secretsmanager.NewListSecretVersionIdsPaginator(l.secrets, &secretsmanager.ListSecretVersionIdsInput{
		SecretId: &l.e.Secret.ARN, IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(100),
	})
	for n := 0; pages.HasMorePages() && n < maxVersionPages; n++ {
		page, err := pages.NextPage(ctx)
		if l.gap(err, "secretsmanager:ListSecretVersionIds", l.e.Secret.ARN, "which versions have a value, and since when") {
			return // without it nothing can be said of values
		}
		for _, v := range page.Versions {
			all = append(all, doctor.Version{
				ID: aws.ToString(v.VersionId), Labels: slices.Sorted(slices.Values(v.VersionStages)), HasValue: len(v.KmsKeyIds) > 0,
				CreatedAt: aws.ToTime(v.CreatedDate), LastAccessedAt: aws.ToTime(v.LastAccessedDate), KeyIDs: v.KmsKeyIds,
			})
		}
	}
	// A version without value has no key, where keys are told at all: the
	// current one always has a value.
	if slices.ContainsFunc(all, func(v doctor.Version) bool { return !v.HasValue && slices.Contains(v.Labels, "AWSCURRENT") }) {
		for i := range all {
			all[i].HasValue = true
		}
	}
	slices.SortStableFunc(all, func(a, b doctor.Version) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	l.note(func(e *doctor.Evidence) { e.Versions = append(withoutValue(e.Secret.Labels, all), all...) })
}

// withoutValue are the labelled versions that are not listed: those that a
// rotation began and put nothing in.
func withoutValue(labels map[string]string, listed []doctor.Version) []doctor.Version {
	var empty []doctor.Version
	for label, id := range labels {
		if slices.ContainsFunc(listed, func(v doctor.Version) bool { return v.ID == id }) {
			continue
		}
		i := slices.IndexFunc(empty, func(v doctor.Version) bool { return v.ID == id })
		if i < 0 {
			empty = append(empty, doctor.Version{ID: id})
			i = len(empty) - 1
		}
		empty[i].Labels = append(empty[i].Labels, label)
		slices.Sort(empty[i].Labels)
	}
	slices.SortFunc(empty, func(a, b doctor.Version) int { return strings.Compare(a.ID, b.ID) })
	return empty
}

// resourcePolicy reads the secret's policy.
func (l *look) resourcePolicy(ctx context.Context) {
	out, err := l.secrets.GetResourcePolicy(ctx, &secretsmanager.GetResourcePolicyInput{SecretId: &l.e.Secret.ARN})
	if l.gap(err, "secretsmanager:GetResourcePolicy", l.e.Secret.ARN, "whether the secret's own policy denies the function") {
		return
	}
	l.note(func(e *doctor.Evidence) { e.Secret.Policy = aws.ToString(out.ResourcePolicy) })
}

// key describes the KMS key that encrypts the secret. Of AWS's own key there
// is nothing to know: nobody can spoil it.
func (l *look) key(ctx context.Context) {
	if id := l.e.Secret.KeyID; id != "" {
		k := l.keyOf(ctx, id)
		l.note(func(e *doctor.Evidence) { e.Key = k })
	}
}

// keyOf describes a key, by its ID, ARN or alias.
func (l *look) keyOf(ctx context.Context, id string) *doctor.Key {
	k := &doctor.Key{ID: id}
	out, err := l.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if is(err, "NotFoundException") {
		return k
	}
	if l.gap(err, "kms:DescribeKey", l.keyARN(id), "whether the secret's key is enabled and fit for secrets") || out.KeyMetadata == nil {
		return nil
	}
	m := out.KeyMetadata
	k.Found, k.ID = true, aws.ToString(m.Arn)
	k.State, k.Spec, k.Usage, k.Manager, k.Account = string(m.KeyState), string(m.KeySpec), string(m.KeyUsage), string(m.KeyManager), aws.ToString(m.AWSAccountId)
	policy, err := l.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: m.Arn})
	if !l.gap(err, "kms:GetKeyPolicy", k.ID, "whether the key's policy lets the function use it") {
		k.Policy = aws.ToString(policy.Policy)
	}
	return k
}

// keyARN is a key's ARN where that can be told from how a secret names it.
func (l *look) keyARN(id string) string {
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	kind := "key/"
	if strings.HasPrefix(id, "alias/") {
		kind = ""
	}
	return "arn:" + l.e.Partition + ":kms:" + l.e.Region + ":" + l.e.Account + ":" + kind + id
}

// All lists the ARNs of the secrets that rotate or did, except those that are
// deleted.
func (g *Gatherer) All(ctx context.Context) ([]string, error) {
	list, err := g.rotating(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = aws.ToString(list[i].ARN)
	}
	return ids, nil
}

// rotating lists the secrets with a rotation, also a cancelled one.
func (g *Gatherer) rotating(ctx context.Context) ([]smtypes.SecretListEntry, error) {
	var list []smtypes.SecretListEntry
	pages := secretsmanager.NewListSecretsPaginator(g.secrets, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.SecretList {
			if s.DeletedDate == nil && (s.RotationLambdaARN != nil || aws.ToBool(s.RotationEnabled)) {
				list = append(list, s)
			}
		}
	}
	return list, nil
}

// trailKeeps is how far back CloudTrail looks up events (AWS docs).
const trailKeeps = 90 * 24 * time.Hour

// since is the moment from which the trail and logs are read: far enough back
// to see the last rotation that succeeded.
func (l *look) since() time.Time {
	from := l.e.At.Add(-l.options.Since)
	for _, t := range []time.Time{l.e.Secret.LastRotatedAt, l.e.Secret.LastChangedAt} {
		if !t.IsZero() && t.Before(from) {
			from = t
		}
	}
	from = from.Add(-clockSkew)
	if oldest := l.e.At.Add(-trailKeeps + time.Minute); from.Before(oldest) {
		return oldest
	}
	return from
}

// clockSkew is how far clocks may differ, and how long before its first event
// a rotation may have begun.
const clockSkew = 5 * time.Minute
