package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/examples"
	"github.com/keyturn/keyturn/internal/arn"
)

// names are what policies are about.
type names = examples.Names

// trustPolicy lets Lambda assume a role.
const trustPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" }
  ]
}`

// document is a policy.
type document struct {
	Version   string
	Statement []json.RawMessage
}

// statement is one that rotators need beyond examples/policies/rotation-function.json.
type statement struct {
	Sid, Effect string
	Action      []string
	Resource    any
	Condition   any `json:",omitempty"`
}

// policy is what the function's role may do, and nothing else: of secrets,
// only those that name the function.
func (s *Spec) policy(n names) (string, error) {
	text, err := examples.Policy("rotation-function", n)
	if err != nil {
		return "", err
	}
	text = strings.ReplaceAll(text, `"arn:aws:`, `"arn:`+partition(n.Region)+":")
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return "", fmt.Errorf("reading the policy of rotation functions: %w", err)
	}
	for _, more := range s.statements(n) {
		more.Effect = "Allow"
		raw, err := json.Marshal(more)
		if err != nil {
			return "", err
		}
		d.Statement = append(d.Statement, raw)
	}
	return indented(d)
}

// statements are those that depend on the rotator and its options.
func (s *Spec) statements(n names) []statement {
	var list []statement
	superusers := s.Superusers
	if defaults := s.Environment["KEYTURN_SUPERUSER_DEFAULTS"]; defaults != "" {
		superusers = append(slices.Clone(superusers), defaults)
	}
	if len(superusers) > 0 {
		list = append(list, statement{
			Sid: "ReadSuperuser", Action: []string{"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"}, Resource: superusers,
		})
	}
	if len(s.Keytabs) > 0 {
		list = append(list, statement{
			Sid: "WriteKeytabs", Resource: s.Keytabs,
			Action: []string{"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"},
		})
	}
	if len(s.Keys) > 0 {
		list = append(list, statement{
			Sid: "UseKeysForSecrets", Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: s.Keys,
			Condition: map[string]any{"StringEquals": map[string]string{"kms:ViaService": "secretsmanager." + n.Region + ".amazonaws.com"}},
		})
	}
	if s.Hold != "" {
		list = append(list, statement{Sid: "SeeWhoReads", Action: []string{"cloudtrail:LookupEvents"}, Resource: "*"})
	}
	if s.ManagedSuperuser {
		list = append(list, statement{Sid: "FindManagedServers", Action: managedServers(s.engine()), Resource: "*"})
	}
	if more, ok := engineActions[s.engine()]; ok {
		list = append(list, statement{Sid: "UseService", Action: more, Resource: "*"})
	}
	return list
}

func (s *Spec) engine() string {
	engine, _, _ := strings.Cut(s.Rotator, ".")
	return engine
}

// managedServers are the calls that say where the server of a managed
// superuser's secret is.
func managedServers(engine string) []string {
	if engine == "redshift" {
		return []string{"redshift:DescribeClusters", "redshift-serverless:ListNamespaces", "redshift-serverless:ListWorkgroups"}
	}
	return []string{"rds:DescribeDBInstances", "rds:DescribeDBClusters"}
}

// partition of the region, which may be one that CloudFormation fills in.
func partition(region string) string {
	if region == templateRegion {
		return "${AWS::Partition}"
	}
	return arn.Partition(region)
}

// engineActions are what rotators of AWS's own services call (AWS: the
// policies of the templates).
var engineActions = map[string][]string{
	"directoryservice": {"ds:DescribeDirectories", "ds:ResetUserPassword"},
	"influxdb":         {"timestream-influxdb:GetDbInstance"},
}

// PolicyText is the policy of the function's role with the words REGION,
// ACCOUNT and SUPERUSER_SECRET_ARN in place of what is not known before it is
// deployed.
func (s *Spec) PolicyText() (string, error) {
	return s.withSuperuser("SUPERUSER_SECRET_ARN").policy(names{Region: "REGION", Account: "ACCOUNT", Function: s.Name})
}

// withSuperuser has a word in place of the superuser's secret where the
// rotator needs one that has not been named.
func (s *Spec) withSuperuser(word string) *Spec {
	named := *s
	if NeedsSuperuser(s.Rotator) && len(s.Superusers) == 0 && !s.ManagedSuperuser {
		named.Superusers = []string{word}
	}
	return &named
}

// indented is JSON for people.
func indented(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.String(), err
}

// same tells whether two JSON texts say the same.
func same(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	p, _ := json.Marshal(x) // it was just JSON
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}
