package kms_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/servicetest"
)

func tags(pairs ...string) (list []types.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, types.Tag{TagKey: &pairs[i], TagValue: &pairs[i+1]})
	}
	return list
}

func TestTags(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	tag := func(list []types.Tag) error {
		_, err := b.c.TagResource(ctx, &sdk.TagResourceInput{KeyId: &id, Tags: list})
		return err
	}
	list := func() (got []string) {
		t.Helper()
		for p := sdk.NewListResourceTagsPaginator(b.c, &sdk.ListResourceTagsInput{KeyId: &id, Limit: aws.Int32(2)}); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			b.must(err)
			for _, x := range page.Tags {
				got = append(got, *x.TagKey, *x.TagValue)
			}
		}
		return got
	}
	want := func(pairs ...string) {
		t.Helper()
		if diff := cmp.Diff(pairs, list()); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
	}
	want()
	b.must(tag(tags("a", "1", "b", "2", "c", "")))
	b.must(tag(tags("d", "4", "b", "new")))
	want("a", "1", "b", "new", "c", "", "d", "4")
	for _, tc := range []struct {
		what string
		list []types.Tag
		text string
	}{
		{"a key twice", tags("x", "1", "x", "2"), "Duplicate tag keys"},
		{"a key of AWS", tags("aws:x", "1"), "Tags beginning with aws: are reserved"},
		{"too many", func() (list []types.Tag) {
			for i := range 47 {
				list = append(list, tags(fmt.Sprint("k", i), "v")...)
			}
			return list
		}(), "Too many tags"},
	} {
		servicetest.WantError(t, tc.what, tag(tc.list), "TagException", 400, tc.text)
	}
	_, err := b.c.UntagResource(ctx, &sdk.UntagResourceInput{KeyId: &id, TagKeys: []string{"a", "none", "c"}})
	b.must(err)
	want("b", "new", "d", "4")
	_, err = b.c.UntagResource(ctx, &sdk.UntagResourceInput{KeyId: &id, TagKeys: []string{"aws:x"}})
	servicetest.WantError(t, "a tag of AWS", err, "TagException", 400, "Tags beginning with aws: are reserved")
	_, err = b.c.ListResourceTags(ctx, &sdk.ListResourceTagsInput{KeyId: &id, Marker: aws.String("none")})
	b.wantCode("a marker", err, "InvalidMarkerException")
}

func TestUpdateAlias(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	one, two := b.key(), b.key()
	b.must(b.alias("alias/app", one))
	update := func(name, target string) error {
		_, err := b.c.UpdateAlias(ctx, &sdk.UpdateAliasInput{AliasName: &name, TargetKeyId: &target})
		return err
	}
	b.must(update("alias/app", prefix+"key/"+two))
	if m, err := b.describe("alias/app"); err != nil || *m.KeyId != two {
		t.Errorf("the alias did not move: %v", err)
	}
	of, err := b.c.ListAliases(ctx, &sdk.ListAliasesInput{KeyId: &two})
	b.must(err)
	if a := of.Aliases[0]; !a.LastUpdatedDate.After(*a.CreationDate) {
		t.Errorf("moved at %v, made at %v", a.LastUpdatedDate, a.CreationDate)
	}
	if e := b.events("UpdateAlias"); len(e) != 1 || len(e[0]["resources"].([]any)) != 2 {
		t.Errorf("events %v", e)
	}
	for _, tc := range []struct{ name, target, code, text string }{
		{"alias/none", two, "NotFoundException", "Alias " + prefix + "alias/none is not found."},
		{"alias/app", absent, "NotFoundException", "Key '" + prefix + "key/" + absent + "' does not exist"},
		{"alias/app", "alias/app", "ValidationException", "Aliases must refer to keys. Not aliases"},
	} {
		servicetest.WantError(t, tc.name+" to "+tc.target, update(tc.name, tc.target), tc.code, 400, tc.text)
	}
	// The alias and both keys have to be allowed.
	b.known([]string{"app"}, nil)
	app := user(account, "app")
	aliases := allowing(prefix+"alias/*", "kms:*")
	for _, tc := range []struct {
		what     string
		policies []string
		want     string
	}{
		{"the alias alone", []string{aliases}, prefix + "key/" + two},
		{"the keys alone", []string{allowing(prefix+"key/*", "kms:*")}, prefix + "alias/app"},
		{"the old key", []string{aliases, allowing(prefix+"key/"+two, "kms:*")}, prefix + "key/" + one},
		{"the new key", []string{aliases, allowing(prefix+"key/"+one, "kms:*")}, prefix + "key/" + two},
	} {
		_, err := b.as(app, tc.policies...).UpdateAlias(ctx, &sdk.UpdateAliasInput{AliasName: aws.String("alias/app"), TargetKeyId: &one})
		servicetest.WantError(t, tc.what, err, "AccessDeniedException", 400, refusal(app, "kms:UpdateAlias", tc.want, "identity-based policy"))
	}
	remove := func() error {
		_, err := b.c.DeleteAlias(ctx, &sdk.DeleteAliasInput{AliasName: aws.String("alias/app")})
		return err
	}
	b.must(remove())
	servicetest.WantError(t, "removed twice", remove(), "NotFoundException", 400, "Alias "+prefix+"alias/app is not found.")
	if _, err := b.describe(two); err != nil {
		t.Errorf("the key went with its alias: %v", err)
	}
	if e := b.events("DeleteAlias"); len(e) != 1 || at(e[0], "requestParameters.aliasName") != "alias/app" {
		t.Errorf("events %v", e)
	}
}

func TestUpdateKeyDescription(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	id := b.key()
	_, err := b.c.UpdateKeyDescription(ctx, &sdk.UpdateKeyDescriptionInput{KeyId: &id, Description: aws.String("new")})
	b.must(err)
	if m, err := b.describe(id); err != nil || *m.Description != "new" {
		t.Errorf("described as %v, %v", m, err)
	}
	_, err = b.c.EnableKey(ctx, &sdk.EnableKeyInput{KeyId: aws.String("alias/x")})
	servicetest.WantError(t, "by an alias", err, "NotFoundException", 400, "Invalid keyId 'alias/x'")
}
