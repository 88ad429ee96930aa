package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	api "github.com/keyturn/keyturn/internal/api/ec2"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

// gatewayServices have gateway endpoints (AWS docs).
var gatewayServices = []string{"dynamodb", "s3"}

// interfaceServices have interface endpoints: of AWS's, those that functions
// which rotate secrets call.
var interfaceServices = []string{
	"cloudformation", "cloudtrail", "docdb", "ec2", "elasticache", "events", "kms", "lambda", "logs", "monitoring", "rds", "rds-data", "redshift",
	"redshift-data", "s3", "secretsmanager", "sns", "sqs", "ssm", "sts",
}

// endpointService is a service that endpoints may lead to.
type endpointService struct {
	// name is the full name, short the one in host names.
	name, short            string
	interfaced, viaGateway bool
}

func (e endpointService) types() []string {
	var list []string
	if e.viaGateway {
		list = append(list, network.Gateway)
	}
	if e.interfaced {
		list = append(list, network.Interfaced)
	}
	return list
}

// endpointServices are those of a region by name.
func endpointServices(region string) []endpointService {
	var list []endpointService
	for _, short := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(gatewayServices, interfaceServices)))) {
		list = append(list, endpointService{
			network.ServiceName(region, short), short, slices.Contains(interfaceServices, short), slices.Contains(gatewayServices, short),
		})
	}
	return list
}

func findService(region, name string) (endpointService, bool) {
	list := endpointServices(region)
	i := slices.IndexFunc(list, func(e endpointService) bool { return e.name == name })
	if i < 0 {
		return endpointService{}, false
	}
	return list[i], true
}

// privateName is the host name of a service, given by its full name.
func privateName(region, service string) string {
	return network.RegionalHost(region, service[strings.LastIndexByte(service, '.')+1:])
}

func shownService(region string, e endpointService) api.ServiceDetail {
	sum := sha256.Sum256([]byte(e.name))
	zones := []string{}
	for _, z := range network.Zones(region) {
		zones = append(zones, z.Name)
	}
	types := []api.ServiceTypeDetail{}
	for _, t := range e.types() {
		types = append(types, api.ServiceTypeDetail{ServiceType: &t})
	}
	out := api.ServiceDetail{
		ServiceName: &e.name, ServiceId: new("vpce-svc-0" + hex.EncodeToString(sum[:8])), ServiceType: types, ServiceRegion: &region, AvailabilityZones: zones,
		Owner: new("amazon"), VpcEndpointPolicySupported: new(true), AcceptanceRequired: new(false), ManagesVpcEndpoints: new(false),
		Tags: []api.Tag{}, SupportedIpAddressTypes: []string{api.IpAddressTypeIpv4},
		BaseEndpointDnsNames: []string{network.RegionalHost(region, e.short)},
	}
	if e.interfaced {
		name := network.RegionalHost(region, e.short)
		out.BaseEndpointDnsNames = []string{strings.Replace(name, e.short+"."+region+".", e.short+"."+region+".vpce.", 1)}
		out.PrivateDnsName, out.PrivateDnsNames = &name, []api.PrivateDnsDetails{{PrivateDnsName: &name}}
		out.PrivateDnsNameVerificationState = new("verified")
	}
	return out
}

// DescribeVpcEndpointServices lists the services that endpoints may lead to.
func (s *Service) DescribeVpcEndpointServices(_ context.Context, call *wire.Call, in *api.DescribeVpcEndpointServicesRequest) (*api.DescribeVpcEndpointServicesResult, error) {
	if err := unauthorized(s.Guard.Action(call, "")); err != nil {
		return nil, err
	}
	if err := refuseDry(in.DryRun); err != nil {
		return nil, err
	}
	all := endpointServices(call.Region)
	for _, name := range in.ServiceNames {
		if _, ok := findService(call.Region, name); !ok {
			return nil, fault.New(invalidServiceName, "The Vpc Endpoint Service '%s' does not exist", name)
		}
	}
	chosen := []endpointService{}
	for _, e := range all {
		ok, err := passes(in.Filters, func(filter string) ([]string, bool) {
			switch filter {
			case "service-name":
				return one(e.name)
			case "service-type":
				return e.types(), true
			case "owner":
				return one("amazon")
			case "service-region":
				return one(call.Region)
			}
			return tagFields(nil, filter)
		})
		if err != nil {
			return nil, err
		}
		if ok && (len(in.ServiceNames) == 0 || slices.Contains(in.ServiceNames, e.name)) {
			chosen = append(chosen, e)
		}
	}
	part, next, err := page(chosen, func(e endpointService) string { return e.name }, in.MaxResults, in.NextToken)
	out := &api.DescribeVpcEndpointServicesResult{ServiceNames: []string{}, ServiceDetails: []api.ServiceDetail{}, NextToken: next}
	for _, e := range part {
		out.ServiceNames = append(out.ServiceNames, e.name)
		out.ServiceDetails = append(out.ServiceDetails, shownService(call.Region, e))
	}
	return out, err
}
