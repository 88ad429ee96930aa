package main

import "strings"

// service names what is generated of one model.
type service struct {
	// pkg is the Go package; folder and version find the model, which is our
	// own if folder is "".
	pkg, folder, version string
	operations           []string
	// openEnums are shapes whose enum is not checked: AWS adds values faster
	// than models age, and the operation answers in its own words.
	openEnums []string
	// secret are shapes, or members as STRUCTURE.MEMBER, that the model does not
	// call sensitive, but that events do not show.
	secret []string
}

// services lists what is generated. To serve more, add names.
func services() []service {
	return []service{
		{
			pkg: "secretsmanager", folder: "secretsmanager", version: "2017-10-17",
			operations: strings.Fields(`
				BatchGetSecretValue CancelRotateSecret CreateSecret DeleteResourcePolicy
				DeleteSecret DescribeSecret GetRandomPassword GetResourcePolicy GetSecretValue
				ListSecretVersionIds ListSecrets PutResourcePolicy PutSecretValue
				RemoveRegionsFromReplication ReplicateSecretToRegions RestoreSecret
				RotateSecret StopReplicationToReplica TagResource UntagResource UpdateSecret
				UpdateSecretVersionStage ValidateResourcePolicy`),
		},
		{
			pkg: "lambda", folder: "lambda", version: "2015-03-31",
			operations: strings.Fields(`
				AddPermission CreateAlias CreateFunction DeleteAlias DeleteFunction
				DeleteFunctionConcurrency DeleteFunctionEventInvokeConfig DeleteLayerVersion
				DeleteProvisionedConcurrencyConfig GetAccountSettings GetAlias GetFunction
				GetFunctionCodeSigningConfig GetFunctionConcurrency GetFunctionConfiguration
				GetFunctionEventInvokeConfig GetFunctionRecursionConfig GetLayerVersion
				GetLayerVersionByArn GetPolicy GetProvisionedConcurrencyConfig
				GetRuntimeManagementConfig Invoke ListAliases ListFunctions
				ListLayerVersions ListLayers ListProvisionedConcurrencyConfigs ListTags
				ListVersionsByFunction PublishLayerVersion PublishVersion
				PutFunctionConcurrency PutFunctionEventInvokeConfig
				PutProvisionedConcurrencyConfig PutRuntimeManagementConfig RemovePermission
				TagResource UntagResource UpdateAlias UpdateFunctionCode
				UpdateFunctionConfiguration UpdateFunctionEventInvokeConfig`),
			openEnums: []string{"Runtime"},
		},
		{
			pkg: "logs", folder: "logs", version: "2014-03-28",
			operations: strings.Fields(`
				AssociateKmsKey CreateLogGroup CreateLogStream DeleteLogGroup DeleteLogStream
				DeleteRetentionPolicy DescribeLogGroups DescribeLogStreams DisassociateKmsKey
				FilterLogEvents GetLogEvents ListTagsForResource ListTagsLogGroup PutLogEvents
				PutMetricFilter PutRetentionPolicy PutSubscriptionFilter TagLogGroup TagResource
				UntagLogGroup UntagResource`),
		},
		{
			pkg: "cloudtrail", folder: "cloudtrail", version: "2013-11-01",
			operations: []string{"LookupEvents"},
		},
		{
			pkg: "sts", folder: "sts", version: "2011-06-15",
			operations: strings.Fields(`
				AssumeRole AssumeRoleWithWebIdentity GetCallerIdentity
				GetSessionToken`),
			secret: []string{"tokenType"},
		},
		{
			pkg: "iam", folder: "iam", version: "2010-05-08",
			operations: strings.Fields(`
				AddClientIDToOpenIDConnectProvider AddUserToGroup AttachGroupPolicy AttachRolePolicy
				AttachUserPolicy CreateAccessKey CreateAccountAlias CreateGroup
				CreateOpenIDConnectProvider CreatePolicy CreatePolicyVersion CreateRole CreateUser
				DeleteAccessKey DeleteAccountAlias DeleteGroup DeleteGroupPolicy DeleteLoginProfile
				DeleteOpenIDConnectProvider DeletePolicy DeletePolicyVersion DeleteRole
				DeleteRolePermissionsBoundary DeleteRolePolicy DeleteUser
				DeleteUserPermissionsBoundary DeleteUserPolicy DetachGroupPolicy DetachRolePolicy
				DetachUserPolicy GetAccessKeyLastUsed GetAccountAuthorizationDetails GetAccountSummary
				GetContextKeysForCustomPolicy GetContextKeysForPrincipalPolicy GetGroup GetGroupPolicy
				GetLoginProfile GetOpenIDConnectProvider GetPolicy GetPolicyVersion GetRole
				GetRolePolicy GetUser GetUserPolicy ListAccessKeys ListAccountAliases
				ListAttachedGroupPolicies ListAttachedRolePolicies ListAttachedUserPolicies
				ListEntitiesForPolicy ListGroupPolicies ListGroups ListGroupsForUser
				ListInstanceProfilesForRole ListMFADevices ListOpenIDConnectProviders
				ListOpenIDConnectProviderTags ListPolicies ListPolicyTags ListPolicyVersions
				ListRolePolicies ListRoles ListRoleTags ListServiceSpecificCredentials
				ListSigningCertificates ListSSHPublicKeys ListUserPolicies ListUsers ListUserTags
				ListVirtualMFADevices PutGroupPolicy PutRolePermissionsBoundary PutRolePolicy
				PutUserPermissionsBoundary PutUserPolicy RemoveClientIDFromOpenIDConnectProvider
				RemoveUserFromGroup SetDefaultPolicyVersion SimulateCustomPolicy
				SimulatePrincipalPolicy TagOpenIDConnectProvider TagPolicy TagRole TagUser
				UntagOpenIDConnectProvider UntagPolicy UntagRole UntagUser UpdateAccessKey
				UpdateAssumeRolePolicy UpdateGroup UpdateOpenIDConnectProviderThumbprint UpdateRole
				UpdateRoleDescription UpdateUser`),
		},
		{
			pkg: "kms", folder: "kms", version: "2014-11-01",
			operations: strings.Fields(`
				CancelKeyDeletion CreateAlias CreateGrant CreateKey Decrypt DeleteAlias DescribeKey
				DisableKey DisableKeyRotation EnableKey EnableKeyRotation Encrypt GenerateDataKey
				GenerateDataKeyWithoutPlaintext GenerateRandom GetKeyPolicy GetKeyRotationStatus
				ListAliases ListGrants ListKeyPolicies ListKeyRotations ListKeys ListResourceTags
				ListRetirableGrants PutKeyPolicy ReEncrypt RetireGrant RevokeGrant RotateKeyOnDemand
				ScheduleKeyDeletion TagResource UntagResource UpdateAlias UpdateKeyDescription`),
			secret: []string{"CiphertextType", "GrantTokenType"},
		},
		{
			pkg: "cloudformation", folder: "cloudformation", version: "2010-05-15",
			operations: strings.Fields(`
				CancelUpdateStack ContinueUpdateRollback CreateChangeSet CreateStack DeleteChangeSet
				DeleteStack DescribeAccountLimits DescribeChangeSet DescribeStackEvents
				DescribeStackResource DescribeStackResources DescribeStacks ExecuteChangeSet
				GetStackPolicy GetTemplate GetTemplateSummary ListChangeSets ListExports ListImports
				ListStackResources ListStacks RollbackStack SetStackPolicy UpdateStack
				UpdateTerminationProtection ValidateTemplate`),
			secret: []string{"ParameterValue", "TemplateBody"},
		},
		{
			pkg: "serverlessrepo", folder: "serverlessrepo", version: "2017-09-08",
			operations: strings.Fields(`
				CreateCloudFormationChangeSet CreateCloudFormationTemplate GetApplication
				GetCloudFormationTemplate ListApplicationDependencies ListApplications
				ListApplicationVersions`),
			secret: []string{"ParameterValue.Value"},
		},
		{
			pkg: "ec2", folder: "ec2", version: "2016-11-15",
			operations: strings.Fields(`
				AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupEgress
				AuthorizeSecurityGroupIngress CreateInternetGateway CreateNatGateway CreateNetworkAcl
				CreateNetworkAclEntry CreateRoute CreateRouteTable CreateSecurityGroup CreateSubnet
				CreateTags CreateVpc CreateVpcEndpoint DeleteInternetGateway DeleteNatGateway
				DeleteNetworkAcl DeleteNetworkAclEntry DeleteRoute DeleteRouteTable
				DeleteSecurityGroup DeleteSubnet DeleteTags DeleteVpc DeleteVpcEndpoints
				DescribeAvailabilityZones DescribeInternetGateways DescribeNatGateways
				DescribeNetworkAcls DescribeNetworkInterfaces DescribePrefixLists DescribeRegions
				DescribeRouteTables DescribeSecurityGroupRules DescribeSecurityGroups DescribeSubnets
				DescribeTags DescribeVpcAttribute DescribeVpcEndpointServices DescribeVpcEndpoints
				DescribeVpcs DescribeVpnGateways DetachInternetGateway DisassociateRouteTable ModifySubnetAttribute
				ModifyVpcAttribute ModifyVpcEndpoint ReplaceNetworkAclAssociation
				ReplaceNetworkAclEntry ReplaceRoute ReplaceRouteTableAssociation
				RevokeSecurityGroupEgress RevokeSecurityGroupIngress`),
		},
		{
			pkg: "rds", folder: "rds", version: "2014-10-31",
			operations: strings.Fields(`
				AddTagsToResource CreateDBCluster CreateDBInstance CreateDBInstanceReadReplica
				CreateDBSubnetGroup
				DeleteDBCluster DeleteDBInstance DeleteDBSubnetGroup DescribeDBClusters
				DescribeDBInstances DescribeDBSubnetGroups ListTagsForResource ModifyDBCluster
				ModifyDBInstance RemoveTagsFromResource`),
		},
		{
			pkg: "keyturn",
			operations: strings.Fields(`
				CreateAccount CreateRootAccessKey DeleteRootAccessKey DescribeAccount
				DescribeRekey ListAccounts StartRekey`),
		},
	}
}

// translation is a pattern that Go's engine cannot take, by hand.
type translation struct{ match, not string }

// translations are the patterns with look-around, by the model's text.
func translations() map[string]translation {
	return map[string]translation{
		`(?!^[0-9]+$)([a-zA-Z0-9-_]+)`:              {`[a-zA-Z0-9\-_]+`, `[0-9]+`},
		`((?!^[0-9]+$)([a-zA-Z0-9-_]+))`:            {`[a-zA-Z0-9\-_]+`, `[0-9]+`},
		`[0-9A-Za-z\.\-_]*(?<!\.)`:                  {`[0-9A-Za-z.\-_]*`, `.*\.`},
		`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: {`[a-z0-9][a-z0-9\-]{1,61}[a-z0-9]`, `.*--.*`},
	}
}
