// Package application holds the rotation applications of AWS's Serverless
// Application Repository under their published names: what they are called,
// which parameters they take, and the CloudFormation template that each one
// is.
//
// Applications of databases and directories deploy a function on a rotator
// that is built into this program. SecretsManagerRotationTemplate and the
// applications for Db2 deploy Python functions. Code and templates are made
// here, so nothing is fetched from anywhere.
package application

import (
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
)

// Application is one rotation application. Its members say what it deploys.
type Application struct {
	// Name is the published name, such as SecretsManagerRDSMySQLRotationSingleUser.
	Name        string
	Description string
	Labels      []string
	// Rotator names the built-in rotator, such as mysql.single; "" for a
	// function in Python.
	Rotator string
	// Superuser says that the function works by a superuser, whose secret the
	// application takes as a parameter.
	Superuser bool

	file     string // of a function in Python, in package examples
	exclude  string // default of the parameter excludeCharacters
	strategy string // of the function in Python that knows several
	service  string // of AWS, which the function calls too
}

// Author is the author of every application.
const Author = "Keyturn"

// Capabilities are what every application requires to be acknowledged (AWS
// docs): it makes a role and a policy of a function.
func Capabilities() []string { return []string{"CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY"} }

// publishers are the accounts and regions of the applications in each
// partition (AWS docs).
var publishers = map[string]struct{ region, account string }{
	"aws":        {"us-east-1", "297356227824"},
	"aws-cn":     {"cn-north-1", "193023089310"},
	"aws-us-gov": {"us-gov-west-1", "023102451235"},
}

// All returns every application in alphabetical order.
func All() []*Application {
	list := make([]*Application, len(table))
	for i := range table {
		list[i] = &table[i]
	}
	slices.SortFunc(list, func(a, b *Application) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Lookup finds an application by its published name.
func Lookup(name string) (*Application, bool) {
	for i := range table {
		if table[i].Name == name {
			return &table[i], true
		}
	}
	return nil, false
}

// Find finds an application by its ARN, in any partition.
func Find(id string) (*Application, bool) {
	a, ok := arn.Parse(id)
	by := publishers[a.Partition]
	name, isApplication := strings.CutPrefix(a.Resource, "applications/")
	if !ok || !isApplication || a.Service != "serverlessrepo" || by.region == "" || a.Region != by.region || a.Account != by.account {
		return nil, false
	}
	return Lookup(name)
}

// ARN is the application's address for callers in a region.
func (a *Application) ARN(region string) string {
	partition := arn.Partition(region)
	by := publishers[partition]
	return arn.ARN{
		Partition: partition, Service: "serverlessrepo", Region: by.region, Account: by.account, Resource: "applications/" + a.Name,
	}.String()
}

var versionPattern = regexp.MustCompile(`^[0-9]{1,7}\.[0-9]{1,7}\.[0-9]{1,7}$`)

// Versions returns the application's semantic versions, the latest first:
// those that AWS's tools have pinned (AWS: read in the CDK). There is one
// template, which all of them name.
func (a *Application) Versions() []string {
	if a.file == db2File {
		return []string{"1.1.272", "1.1.271"}
	}
	return []string{"1.1.671", "1.1.670", "1.1.618", "1.1.440", "1.1.397", "1.1.367", "1.1.225", "1.1.60"}
}

// Latest is the newest semantic version.
func (a *Application) Latest() string { return a.Versions()[0] }

// Has tells whether a semantic version can be asked for. Every version of the
// same major and minor number can: tools pin versions that are newer than
// this program.
func (a *Application) Has(version string) bool {
	return versionPattern.MatchString(version) && strings.HasPrefix(version, "1.1.")
}
