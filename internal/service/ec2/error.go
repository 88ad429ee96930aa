package ec2

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/wire"
)

// EC2 has a code for nearly every refusal, so the kinds of its errors are
// their codes (AWS docs).
const (
	dryRun               fault.Kind = "DryRunOperation"
	invalidValue         fault.Kind = "InvalidParameterValue"
	invalidParameter     fault.Kind = "InvalidParameter"
	invalidCombination   fault.Kind = "InvalidParameterCombination"
	missingParameter     fault.Kind = "MissingParameter"
	invalidID            fault.Kind = "InvalidID"
	invalidToken         fault.Kind = "InvalidPaginationToken"
	tokenMismatch        fault.Kind = "IdempotentParameterMismatch"
	dependency           fault.Kind = "DependencyViolation"
	tooManyTags          fault.Kind = "TagLimitExceeded"
	vpcRange             fault.Kind = "InvalidVpc.Range"
	noDefaultVPC         fault.Kind = "VPCIdNotSpecified"
	subnetRange          fault.Kind = "InvalidSubnet.Range"
	subnetConflict       fault.Kind = "InvalidSubnet.Conflict"
	noFreeAddress        fault.Kind = "InsufficientFreeAddressesInSubnet"
	groupDuplicate       fault.Kind = "InvalidGroup.Duplicate"
	groupMalformed       fault.Kind = "InvalidGroupId.Malformed"
	cannotDelete         fault.Kind = "CannotDelete"
	ruleDuplicate        fault.Kind = "InvalidPermission.Duplicate"
	ruleMissing          fault.Kind = "InvalidPermission.NotFound"
	tooManyRules         fault.Kind = "RulesPerSecurityGroupLimitExceeded"
	entryExists          fault.Kind = "NetworkAclEntryAlreadyExists"
	entryMissing         fault.Kind = "InvalidNetworkAclEntry.NotFound"
	associationMissing   fault.Kind = "InvalidAssociationID.NotFound"
	alreadyAssociated    fault.Kind = "Resource.AlreadyAssociated"
	routeExists          fault.Kind = "RouteAlreadyExists"
	routeMissing         fault.Kind = "InvalidRoute.NotFound"
	gatewayMissing       fault.Kind = "InvalidGatewayID.NotFound"
	natTargetMissing     fault.Kind = "InvalidNatGatewayID.NotFound"
	prefixListMissing    fault.Kind = "InvalidPrefixListId.NotFound"
	notAttached          fault.Kind = "Gateway.NotAttached"
	invalidServiceName   fault.Kind = "InvalidServiceName"
	invalidPolicy        fault.Kind = "InvalidPolicyDocument"
	duplicateZone        fault.Kind = "DuplicateSubnetsInSameZone"
	endpointVPCMissing   fault.Kind = "InvalidVpcId.NotFound"
	endpointNetMissing   fault.Kind = "InvalidSubnetId.NotFound"
	endpointGroupMissing fault.Kind = "InvalidSecurityGroupId.NotFound"
	endpointTableMissing fault.Kind = "InvalidRouteTableId.NotFound"
	allocationMissing    fault.Kind = "InvalidAllocationID.NotFound"
	tooManyEntries       fault.Kind = "NetworkAclEntryLimitExceeded"
	tooManyRoutes        fault.Kind = "RouteLimitExceeded"
	vpnMissing           fault.Kind = "InvalidVpnGatewayID.NotFound"
)

// statuses are those that are not 400 (AWS docs).
var statuses = map[fault.Kind]int{dryRun: 412}

// codes maps every kind to the code of its name.
func codes() map[fault.Kind]wire.Code {
	list := []fault.Kind{
		dryRun, invalidValue, invalidParameter, invalidCombination, missingParameter, invalidID, invalidToken, tokenMismatch, dependency,
		tooManyTags, vpcRange, noDefaultVPC, subnetRange, subnetConflict, noFreeAddress, groupDuplicate, groupMalformed, cannotDelete,
		ruleDuplicate, ruleMissing, tooManyRules, entryExists, entryMissing, associationMissing, alreadyAssociated, routeExists, routeMissing,
		gatewayMissing, natTargetMissing, prefixListMissing, notAttached, invalidServiceName, invalidPolicy, duplicateZone,
		endpointVPCMissing, endpointNetMissing, endpointGroupMissing, endpointTableMissing,
		allocationMissing, vpnMissing, tooManyEntries, tooManyRoutes,
	}
	for _, a := range absences {
		list = append(list, a.kind)
	}
	table := map[fault.Kind]wire.Code{}
	for _, k := range list {
		table[k] = wire.Code{Name: string(k), Status: max(400, statuses[k])}
	}
	return table
}

// absence is how EC2 says that something does not exist.
type absence struct {
	kind fault.Kind
	// text takes the IDs; several has the plural forms of AWS, or is "".
	text, several string
}

// absences of the kinds of objects (AWS: recorded; plurals and the code of
// rules assumed).
var absences = map[network.Kind]absence{
	network.KindVPC:             {"InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", "The vpc IDs '%s' do not exist"},
	network.KindSubnet:          {"InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", "The subnet IDs '%s' do not exist"},
	network.KindGroup:           {"InvalidGroup.NotFound", "The security group '%s' does not exist", "The security groups '%s' do not exist"},
	network.KindRule:            {"InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", ""},
	network.KindACL:             {"InvalidNetworkAclID.NotFound", "The networkAcl ID '%s' does not exist", "The networkAcl IDs '%s' do not exist"},
	network.KindRouteTable:      {"InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist", "The routeTable IDs '%s' do not exist"},
	network.KindInternetGateway: {"InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist", "The internetGateway IDs '%s' do not exist"},
	network.KindNATGateway:      {"NatGatewayNotFound", "NatGateway %s was not found", ""},
	network.KindEndpoint:        {"InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", "The Vpc Endpoint Ids '%s' do not exist"},
	network.KindInterface:       {"InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", "The networkInterface IDs '%s' do not exist"},
}

// missing says that objects of a kind do not exist.
func missing(kind network.Kind, ids ...string) error {
	a := absences[kind]
	if len(ids) > 1 && a.several != "" {
		return fault.New(a.kind, a.several, strings.Join(ids, ", "))
	}
	return fault.New(a.kind, a.text, strings.Join(ids, ", "))
}

// lacks says that a request lacks a parameter (AWS: recorded).
func lacks(parameter string) error {
	return fault.New(missingParameter, "The request must contain the parameter %s", parameter)
}

// invalid says that a parameter's value does not do, and why (AWS: recorded).
func invalid(value any, parameter, why string, args ...any) error {
	return fault.New(invalidValue, "Value (%v) for parameter %s is invalid. %s", value, parameter, fmt.Sprintf(why, args...))
}

// dependent refuses to delete what others need (AWS: recorded).
func dependent(noun, id string) error {
	return fault.New(dependency, "The %s '%s' has dependencies and cannot be deleted.", noun, id)
}
