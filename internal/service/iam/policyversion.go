package iam

import (
	"context"
	"slices"
	"strconv"
	"time"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxVersions is how many versions a managed policy may have (AWS docs).
const maxVersions = 5

func noVersion(p *iam.CustomerPolicy, id string) error {
	return fault.New(fault.NotFound, "Policy %s version %s does not exist or is not attachable.", p.ARN(), id)
}

// CreatePolicyVersion adds a version to a managed policy and, if wanted, puts
// it in force.
func (s *Service) CreatePolicyVersion(ctx context.Context, call *wire.Call, in *api.CreatePolicyVersionRequest) (*api.CreatePolicyVersionResponse, error) {
	out := &api.CreatePolicyVersionResponse{}
	return out, s.policies.change(ctx, call, *in.PolicyArn, out, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		if err := checkManaged(*in.PolicyDocument); err != nil {
			return err
		}
		if len(p.Versions) >= maxVersions {
			return fault.New(fault.Limit, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		now := call.Time.UTC().Truncate(time.Second)
		v := iam.PolicyVersion{ID: "v" + strconv.Itoa(p.NextVersion), Document: *in.PolicyDocument, CreatedAt: now}
		p.Versions, p.NextVersion, p.UpdatedAt = append(p.Versions, v), p.NextVersion+1, now
		if in.SetAsDefault != nil && *in.SetAsDefault {
			p.Default = v.ID
		}
		out.PolicyVersion = shownVersion(p, &v, false)
		return nil
	})
}

// shownVersion is a version of a policy as answers have it; only
// GetPolicyVersion shows the document (AWS docs).
func shownVersion(p *iam.CustomerPolicy, v *iam.PolicyVersion, whole bool) *api.PolicyVersion {
	out := &api.PolicyVersion{VersionId: &v.ID, IsDefaultVersion: new(v.ID == p.Default), CreateDate: &v.CreatedAt}
	if whole {
		out.Document = encode(v.Document)
	}
	return out
}

// GetPolicyVersion shows a version with its document.
func (s *Service) GetPolicyVersion(ctx context.Context, call *wire.Call, in *api.GetPolicyVersionRequest) (*api.GetPolicyVersionResponse, error) {
	out := &api.GetPolicyVersionResponse{}
	return out, s.policies.view(ctx, call, *in.PolicyArn, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		v := p.Version(*in.VersionId)
		if v == nil {
			return noVersion(p, *in.VersionId)
		}
		out.PolicyVersion = shownVersion(p, v, true)
		return nil
	})
}

// ListPolicyVersions lists a policy's versions, newest first.
func (s *Service) ListPolicyVersions(ctx context.Context, call *wire.Call, in *api.ListPolicyVersionsRequest) (*api.ListPolicyVersionsResponse, error) {
	out := &api.ListPolicyVersionsResponse{}
	return out, s.policies.view(ctx, call, *in.PolicyArn, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		versions := slices.Clone(p.Versions)
		slices.Reverse(versions)
		// A policy has few versions: their places are single digits.
		place := func(v iam.PolicyVersion) string {
			return strconv.Itoa(slices.IndexFunc(versions, func(o iam.PolicyVersion) bool { return o.ID == v.ID }))
		}
		part, next := page(versions, place, in.Marker, in.MaxItems)
		out.Versions, out.Marker, out.IsTruncated = []api.PolicyVersion{}, next, new(next != nil)
		for i := range part {
			out.Versions = append(out.Versions, *shownVersion(p, &part[i], false))
		}
		return nil
	})
}

// SetDefaultPolicyVersion puts a version in force.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, call *wire.Call, in *api.SetDefaultPolicyVersionRequest) (*api.SetDefaultPolicyVersionResponse, error) {
	out := &api.SetDefaultPolicyVersionResponse{}
	return out, s.policies.change(ctx, call, *in.PolicyArn, out, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		if p.Version(*in.VersionId) == nil {
			return noVersion(p, *in.VersionId)
		}
		p.Default, p.UpdatedAt = *in.VersionId, call.Time.UTC().Truncate(time.Second)
		return nil
	})
}

// DeletePolicyVersion removes a version that is not in force.
func (s *Service) DeletePolicyVersion(ctx context.Context, call *wire.Call, in *api.DeletePolicyVersionRequest) (*api.DeletePolicyVersionResponse, error) {
	out := &api.DeletePolicyVersionResponse{}
	return out, s.policies.change(ctx, call, *in.PolicyArn, out, func(_ *store.Tx, p *iam.CustomerPolicy) error {
		switch {
		case p.Version(*in.VersionId) == nil:
			return noVersion(p, *in.VersionId)
		case p.Default == *in.VersionId:
			return fault.New(inUse, "Cannot delete the default version of a policy.")
		}
		p.Versions = slices.DeleteFunc(p.Versions, func(v iam.PolicyVersion) bool { return v.ID == *in.VersionId })
		return nil
	})
}
