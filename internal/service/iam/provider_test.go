package iam_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/servicetest"
)

func TestProvider(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	const thumbprint = "0123456789012345678901234567890123456789"
	create := func(url string) (*string, error) {
		out, err := b.c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{
			Url: &url, ClientIDList: []string{"sts.amazonaws.com", "sts.amazonaws.com"}, ThumbprintList: []string{thumbprint},
			Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}},
		})
		if err != nil {
			return nil, err
		}
		return out.OpenIDConnectProviderArn, nil
	}
	arn, err := create("https://k8s.example/id/1")
	b.must(err)
	if *arn != "arn:aws:iam::123456789012:oidc-provider/k8s.example/id/1" {
		t.Errorf("got %s", *arn)
	}
	_, err = create("https://k8s.example/id/1")
	servicetest.WantError(t, "taken", err, "EntityAlreadyExists", 409, "Provider with url https://k8s.example/id/1 already exists.")
	for _, url := range []string{"http://k8s.example", "k8s.example", "https://k8s.example?a", "https://", "https://:8443"} {
		_, err = create(url)
		servicetest.WantError(t, url, err, "ValidationError", 400, "Invalid Open ID Connect Provider URL")
	}
	get := func() *sdk.GetOpenIDConnectProviderOutput {
		t.Helper()
		out, err := b.c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		b.must(err)
		return out
	}
	if p := get(); *p.Url != "k8s.example/id/1" || len(p.ClientIDList) != 1 || p.ThumbprintList[0] != thumbprint || p.CreateDate == nil || len(p.Tags) != 1 {
		t.Errorf("got %+v", p)
	}

	for _, id := range []string{"b", "b"} {
		_, err = b.c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: &id})
		b.must(err)
	}
	for _, id := range []string{"sts.amazonaws.com", "none"} {
		_, err = b.c.RemoveClientIDFromOpenIDConnectProvider(ctx, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: &id})
		b.must(err)
	}
	thumbprints := func(n int) error {
		in := &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn}
		for i := range n {
			in.ThumbprintList = append(in.ThumbprintList, thumbprint[1:]+fmt.Sprint(i))
		}
		_, err := b.c.UpdateOpenIDConnectProviderThumbprint(ctx, in)
		return err
	}
	b.must(thumbprints(5))
	servicetest.WantError(t, "six thumbprints", thumbprints(6), "InvalidInput", 400, "Thumbprint list must contain fewer than 6 entries.")
	_, err = b.c.TagOpenIDConnectProvider(ctx, &sdk.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}})
	b.must(err)
	_, err = b.c.UntagOpenIDConnectProvider(ctx, &sdk.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"a"}})
	b.must(err)
	tags, err := b.c.ListOpenIDConnectProviderTags(ctx, &sdk.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn})
	b.must(err)
	if p := get(); len(p.ThumbprintList) != 5 || !cmp.Equal(p.ClientIDList, []string{"b"}) || len(p.Tags) != 1 || len(tags.Tags) != 1 || *tags.Tags[0].Key != "b" {
		t.Errorf("got %+v", p)
	}

	_, err = create("https://k8s.example")
	b.must(err)
	list, err := b.c.ListOpenIDConnectProviders(ctx, &sdk.ListOpenIDConnectProvidersInput{})
	b.must(err)
	if len(list.OpenIDConnectProviderList) != 2 || *list.OpenIDConnectProviderList[1].Arn != *arn {
		t.Errorf("got %v", list.OpenIDConnectProviderList)
	}
	for range 2 { // what is gone can be deleted
		_, err = b.c.DeleteOpenIDConnectProvider(ctx, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		b.must(err)
	}
	_, err = b.c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	servicetest.WantError(t, "a deleted provider", err, "NoSuchEntity", 404, "OpenIDConnect Provider not found for arn "+*arn)
}
