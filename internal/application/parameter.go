package application

import "slices"

// Parameter is one that an application takes.
type Parameter struct {
	Name, Type, Description string
	// Default is nil for a parameter that must be given.
	Default *string
	// ReferencedBy are the logical IDs of the resources that use it.
	ReferencedBy []string
}

// Types of parameters.
const (
	typeString = "String"
	typeList   = "CommaDelimitedList"
)

// DefaultRuntime is the runtime of functions in Python, where none is asked
// for.
const DefaultRuntime = "python3.12"

// Parameters returns the parameters by name. AWS: the names are recorded and
// documented; which applications take secretArn and userName is assumed.
func (a *Application) Parameters() []Parameter {
	function, role := a.Name, a.roleID()
	optional := func(name, text, value string, by ...string) Parameter {
		return Parameter{Name: name, Type: typeString, Description: text, Default: &value, ReferencedBy: by}
	}
	list := func(name, text string) Parameter {
		return Parameter{Name: name, Type: typeList, Description: text, Default: new(""), ReferencedBy: []string{function}}
	}
	all := []Parameter{
		{Name: "endpoint", Type: typeString, Description: "URL of Secrets Manager for the function.", ReferencedBy: []string{function}},
		{Name: "functionName", Type: typeString, Description: "Name of the function.", ReferencedBy: []string{permissionID, function, role}},
		optional("invokingServicePrincipal", "The service that may invoke the function.", "secretsmanager.amazonaws.com", permissionID),
		list("vpcSubnetIds", "Subnets from which the function reaches the database; none for outside of a VPC."),
		list("vpcSecurityGroupIds", "Security groups of the function in these subnets."),
		optional("excludeCharacters", "Characters that passwords do not have.", a.exclude, function),
		optional("kmsKeyArn", "KMS key of the secret, other than aws/secretsmanager.", "", role),
	}
	if a.Superuser {
		all = append(all,
			optional("masterSecretArn", "The superuser's secret, which masterarn names.", "", role),
			optional("masterSecretKmsKeyArn", "KMS key of the superuser's secret.", "", role),
			optional("superuserSecretArn", "Another name of masterSecretArn.", "", role),
			optional("superuserSecretKmsKeyArn", "Another name of masterSecretKmsKeyArn.", "", role))
	}
	if a.service == "elasticache" {
		all = append(all,
			optional("secretArn", "The secret that the function may rotate.", "", function),
			optional("userName", "The user that the function may change.", "", function))
	}
	if a.Rotator == "" {
		all = append(all, optional("runtime", "Runtime of the function.", DefaultRuntime, function))
	} else {
		// Templates for AWS give it; the rotator is no program in Python.
		all = append(all, optional("runtime", "Taken and not used: the function runs on a rotator that is built in.", ""))
	}
	slices.SortFunc(all, func(p, q Parameter) int {
		if p.Name < q.Name {
			return -1
		}
		return 1
	})
	return all
}

// Takes tells whether there is a parameter of the name.
func (a *Application) Takes(name string) bool {
	return slices.ContainsFunc(a.Parameters(), func(p Parameter) bool { return p.Name == name })
}

// BothSuperusers is the text for a superuser's secret that is named twice
// (AWS docs).
const BothSuperusers = "You can't specify both masterSecretArn and superuserSecretArn in the same Lambda rotation function."
