package resource

import (
	"context"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/rds"
	"github.com/keyturn/keyturn/internal/stack"
)

// maxSubnetGroup is the longest name of a subnet group (AWS docs).
const maxSubnetGroup = 255

// subnetGroupProperties are those of AWS::RDS::DBSubnetGroup.
type subnetGroupProperties struct {
	DBSubnetGroupName        *string
	DBSubnetGroupDescription string
	SubnetIds                []string
	Tags                     tags
}

// subnetGroupHandler handles AWS::RDS::DBSubnetGroup.
func subnetGroupHandler() *Handler {
	return typed[subnetGroupProperties]{
		schema: &stack.Schema{
			Type: "AWS::RDS::DBSubnetGroup", Taggable: "Tags",
			Properties: properties{
				"DBSubnetGroupName": fixed(text()), "DBSubnetGroupDescription": fixed(required(text())), "SubnetIds": fixed(required(texts())),
				"Tags": optionalTags(),
			},
		},
		create: createSubnetGroup, update: updateSubnetGroup,
		delete: func(ctx context.Context, r *Request, _ *subnetGroupProperties) error {
			return r.Client.without(ctx, step{rdsService, "DeleteDBSubnetGroup", &api.DeleteDBSubnetGroupMessage{DBSubnetGroupName: &r.PhysicalID}})
		},
	}.handler()
}

func (r *Request) subnetGroupARN(name string) string {
	return "arn:" + r.Stack.Partition + ":rds:" + r.Stack.Region + ":" + r.Stack.Account + ":subgrp:" + name
}

func createSubnetGroup(ctx context.Context, r *Request, p *subnetGroupProperties) (Result, error) {
	name, _ := r.nameOr(p.DBSubnetGroupName, maxSubnetGroup)
	name = strings.ToLower(name)
	err := r.Client.do(ctx, rdsService, "CreateDBSubnetGroup", &api.CreateDBSubnetGroupMessage{
		DBSubnetGroupName: &name, DBSubnetGroupDescription: &p.DBSubnetGroupDescription, SubnetIds: p.SubnetIds, Tags: rdsTags(p.Tags.with(r.Tags)),
	})
	if exists(err) && r.Resumed {
		out, failed := call[api.TagListMessage](ctx, r.Client, rdsService, "ListTagsForResource",
			&api.ListTagsForResourceMessage{ResourceName: new(r.subnetGroupARN(name))})
		if failed == nil && r.ours(name, rdsTag(out.TagList)) {
			err = nil
		}
	}
	if err != nil {
		return Result{}, err
	}
	return Result{PhysicalID: name}, r.initiated(name)
}

func updateSubnetGroup(ctx context.Context, r *Request, old, p *subnetGroupProperties) (Result, error) {
	steps := r.retagDatabase(r.subnetGroupARN(r.PhysicalID), old.Tags, p.Tags)
	return Result{PhysicalID: r.PhysicalID}, r.Client.each(ctx, steps...)
}
