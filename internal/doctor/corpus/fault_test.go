package corpus

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/doctor"
)

const (
	single      = "postgres.single"
	alternating = "postgres.alternating"
)

// all is what a rotation function may do.
var allRights = []string{"secretsmanager:*", "kms:*", "logs:*", "sts:AssumeRole"}

// without are the rights but some.
func without(actions ...string) []string {
	rights := []string{"kms:*", "logs:*"}
	for _, a := range []string{"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage", "GetRandomPassword"} {
		if !strings.Contains(strings.Join(actions, " "), a) {
			rights = append(rights, "secretsmanager:"+a)
		}
	}
	return rights
}

func faults() []*fault {
	all := databaseFaults()
	all = append(all, valueFaults()...)
	all = append(all, superuserFaults()...)
	all = append(all, requestFaults()...)
	all = append(all, permissionFaults()...)
	return append(all, codeFaults()...)
}

// sqlFault is one that a statement makes and another mends; %q in them is the
// user.
func sqlFault(code, name, breaks, mends string) *fault {
	return &fault{code: code, name: name, rotator: single,
		make: func(p *patient) { p.sql(breaks, p.user) }, fix: func(p *patient) { p.sql(mends, p.user) }}
}

// memberFault is one of a member of the value; nil takes it away.
func memberFault(code, name, member string, value any) *fault {
	var right any
	return &fault{code: code, name: name, rotator: single,
		make: func(p *patient) {
			right = p.value[member]
			p.value[member] = value
			if value == nil {
				delete(p.value, member)
			}
			p.put(nil)
			p.put(nil) // so that AWSPREVIOUS is no better
		},
		fix: func(p *patient) { p.put(map[string]any{member: right}) }}
}

func databaseFaults() []*fault {
	changed := sqlFault("D11", "password changed in the database", "ALTER ROLE %q PASSWORD 'changed-by-hand'", "ALTER ROLE %q PASSWORD '"+firstPassword+"'")
	changed.short = true
	closed := memberFault("D10", "wrong port", "port", 1)
	closed.short = true
	return []*fault{
		changed,
		sqlFault("D11", "user gone", "ALTER ROLE %[1]q RENAME TO \"%[1]s_gone\"", "ALTER ROLE \"%[1]s_gone\" RENAME TO %[1]q"),
		sqlFault("D11", "user may not log in", "ALTER ROLE %q NOLOGIN", "ALTER ROLE %q LOGIN"),
		sqlFault("D11", "password expired", "ALTER ROLE %q VALID UNTIL '2001-01-01'", "ALTER ROLE %q VALID UNTIL 'infinity'"),
		sqlFault("K08", "no connection left for the user", "ALTER ROLE %q CONNECTION LIMIT 0", "ALTER ROLE %q CONNECTION LIMIT -1"),
		memberFault("K07", "no such database", "dbname", "nowhere"),
		closed,
		{code: "D10", name: "wrong port, AWSPREVIOUS right", rotator: single, make: func(p *patient) { p.put(map[string]any{"port": 1}) },
			fix: func(p *patient) { p.put(map[string]any{"port": p.db.Port}) }},
		memberFault("D10", "no such host", "host", "database.invalid"),
		{code: "D10", name: "a server that never answers", rotator: single, timeout: 8,
			make: func(p *patient) {
				silent, err := net.Listen("tcp", "127.0.0.1:0")
				p.must(err)
				p.t.Cleanup(func() { silent.Close() })
				p.put(map[string]any{"host": "127.0.0.1", "port": silent.Addr().(*net.TCPAddr).Port})
			},
			fix: func(p *patient) { p.put(map[string]any{"host": p.db.Host, "port": p.db.Port}) }},
		memberFault("D13", "TLS demanded, ssl false", "ssl", false),
		{code: "D14", name: "authority not trusted", rotator: single, short: true,
			make: func(p *patient) { p.variables(map[string]string{"KEYTURN_CA_BUNDLE": ""}) },
			fix: func(p *patient) {
				p.variables(map[string]string{"KEYTURN_CA_BUNDLE": bundle(p)})
			}},
		{code: "D30", name: "password too short for the server", rotator: single, env: map[string]string{"KEYTURN_PLAIN_PASSWORDS": "true", "PASSWORD_LENGTH": "7"},
			make: func(p *patient) { p.sql("ALTER ROLE %q SET session_preload_libraries = passwordcheck", p.user) },
			fix:  func(p *patient) { p.variables(map[string]string{"PASSWORD_LENGTH": "32"}) }},
		{code: "D46", name: "value edited by hand", rotator: single, probe: true, quiet: true,
			make: func(p *patient) { p.put(map[string]any{"password": "edited-By-Hand-1"}) }},
	}
}

func valueFaults() []*fault {
	plain := func(code, name string, broken func(p *patient)) *fault {
		return &fault{code: code, name: name, rotator: single, make: broken, fix: func(p *patient) { p.put(nil) }}
	}
	return []*fault{
		memberFault("D05", "no host in the secret", "host", nil),
		memberFault("D05", "no password in the secret", "password", nil),
		memberFault("D06", "engine misspelt", "engine", "postgresql-server"),
		plain("D07", "plain text", func(p *patient) { p.putText("only-a-password") }),
		plain("D07", "JSON cut off", func(p *patient) { p.putText(`{"username":"app","pass`) }),
		plain("D08", "binary secret", func(p *patient) {
			_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &p.arn, SecretBinary: []byte("x")})
			p.must(err)
		}),
		{code: "D09", name: "secret without a value", rotator: single,
			make: func(p *patient) {
				name := p.name + "/empty"
				out, err := p.Secrets.CreateSecret(p.t.Context(), &secretsmanager.CreateSecretInput{Name: &name})
				p.must(err)
				p.arn = *out.ARN
				p.configure()
			},
			fix: func(p *patient) { p.put(nil) }},
		{code: "D29", name: "every character excluded", rotator: single,
			make: func(p *patient) {
				p.variables(map[string]string{"EXCLUDE_NUMBERS": "true", "EXCLUDE_PUNCTUATION": "true", "EXCLUDE_UPPERCASE": "true", "EXCLUDE_LOWERCASE": "true"})
			},
			fix: func(p *patient) {
				p.variables(map[string]string{"EXCLUDE_LOWERCASE": "", "EXCLUDE_UPPERCASE": "", "EXCLUDE_PUNCTUATION": "", "EXCLUDE_NUMBERS": ""})
			}},
		{code: "D29", name: "password length no number", rotator: single,
			make: func(p *patient) { p.variables(map[string]string{"PASSWORD_LENGTH": "many"}) },
			fix:  func(p *patient) { p.variables(map[string]string{"PASSWORD_LENGTH": "32"}) }},
		{code: "D19", name: "user's name too long", rotator: alternating, user: strings.Repeat("long_", 12) + "x",
			make: func(*patient) {},
			fix: func(p *patient) {
				p.sql("ALTER ROLE %q RENAME TO %q", p.user, p.name+"_short")
				p.sql("ALTER ROLE %q PASSWORD '%s'", p.name+"_short", firstPassword)
				p.put(map[string]any{"username": p.name + "_short"})
			}},
	}
}

func superuserFaults() []*fault {
	return []*fault{
		{code: "D15", name: "AWSCURRENT wrong, alternating users", rotator: alternating, short: true,
			make: func(p *patient) { p.sql("ALTER ROLE %q PASSWORD 'changed-by-hand'", p.user) },
			fix:  func(p *patient) { p.sql("ALTER ROLE %q PASSWORD '%s'", p.user, firstPassword) }},
		{code: "D16", name: "superuser's password stale", rotator: alternating,
			make: func(p *patient) { p.sql("ALTER ROLE %q PASSWORD 'changed-by-hand'", p.name+"_admin") },
			fix:  func(p *patient) { p.sql("ALTER ROLE %q PASSWORD '%s'", p.name+"_admin", firstPassword) }},
		{code: "D34", name: "superuser is none", rotator: alternating,
			make: func(p *patient) { p.sql("ALTER ROLE %q NOSUPERUSER", p.name+"_admin") },
			fix:  func(p *patient) { p.sql("ALTER ROLE %q SUPERUSER", p.name+"_admin") }},
		{code: "D17", name: "no masterarn", rotator: alternating,
			make: func(p *patient) { delete(p.value, "masterarn"); p.put(nil) },
			fix:  func(p *patient) { p.put(map[string]any{"masterarn": p.super}) }},
		{code: "D17", name: "superuser's secret may not be read", rotator: alternating,
			make: func(p *patient) {
				_, err := p.IAM.PutRolePolicy(p.t.Context(), &iam.PutRolePolicyInput{RoleName: &p.role, PolicyName: aws.String("but"),
					PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"secretsmanager:GetSecretValue","Resource":"` + p.super + `"}}`)})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.IAM.DeleteRolePolicy(p.t.Context(), &iam.DeleteRolePolicyInput{RoleName: &p.role, PolicyName: aws.String("but")})
				p.must(err)
			}},
		{code: "D18", name: "superuser of another host", rotator: alternating,
			make: func(p *patient) { p.superuser(map[string]any{"host": "elsewhere.example.com"}) },
			fix:  func(p *patient) { p.superuser(nil) }},
		{code: "D05", name: "superuser's secret without host", rotator: alternating,
			make: func(p *patient) { p.superuser(map[string]any{"host": nil}) },
			fix:  func(p *patient) { p.superuser(nil) }},
		{code: "D07", name: "superuser's secret no JSON", rotator: alternating,
			make: func(p *patient) {
				_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &p.super, SecretString: aws.String("plain")})
				p.must(err)
			},
			fix: func(p *patient) { p.superuser(nil) }},
	}
}

// superuser stores the superuser's secret with changes.
func (p *patient) superuser(changes map[string]any) {
	p.t.Helper()
	value := p.login(p.name+"_admin", firstPassword)
	for k, v := range changes {
		if v == nil {
			delete(value, k)
		} else {
			value[k] = v
		}
	}
	_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &p.super, SecretString: aws.String(text(value))})
	p.must(err)
}

func requestFaults() []*fault {
	rules := func(r smtypes.RotationRulesType) func(p *patient) *doctor.Request {
		return func(p *patient) *doctor.Request {
			return refuse(p, &secretsmanager.RotateSecretInput{RotationRules: &r}, p.Secrets)
		}
	}
	plainly := func(p *patient) *doctor.Request {
		return refuse(p, &secretsmanager.RotateSecretInput{}, p.Secrets)
	}
	return []*fault{
		{code: "D20", name: "permission of the function removed", rotator: single, short: true, act: plainly, make: (*patient).shut},
		{code: "D20", name: "permission removed, nobody asked", rotator: single, quiet: true, make: (*patient).shut},
		{code: "D20", name: "permission for another account", rotator: single, act: plainly, make: func(p *patient) {
			p.shut()
			_, err := p.Lambda.AddPermission(p.t.Context(), &lambda.AddPermissionInput{FunctionName: &p.name, StatementId: aws.String("other"), Action: aws.String("lambda:InvokeFunction"),
				Principal: aws.String("secretsmanager.amazonaws.com"), SourceAccount: aws.String("999999999999")})
			p.must(err)
		}},
		{code: "D20", name: "function deleted", rotator: single, act: plainly,
			make: func(p *patient) {
				_, err := p.Lambda.DeleteFunction(p.t.Context(), &lambda.DeleteFunctionInput{FunctionName: &p.name})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.IAM.DeleteRolePolicy(p.t.Context(), &iam.DeleteRolePolicyInput{RoleName: &p.role, PolicyName: aws.String("rights")})
				p.must(err)
				_, err = p.IAM.DeleteRole(p.t.Context(), &iam.DeleteRoleInput{RoleName: &p.role})
				p.must(err)
				p.makeFunction()
			}},
		{code: "D21", name: "no function named", rotator: single, act: plainly,
			make: func(p *patient) { p.arn = p.store(p.name+"/plain", p.value) }, fix: (*patient).configure},
		{code: "D22", name: "AWSPENDING put by hand", rotator: single, act: plainly, probe: true, make: func(p *patient) {
			_, err := p.Secrets.PutSecretValue(p.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &p.arn,
				SecretString: aws.String(text(p.login(p.user, "never-Set-1"))), VersionStages: []string{"AWSPENDING"}})
			p.must(err)
		}},
		{code: "D23", name: "caller may not rotate", rotator: single, act: func(p *patient) *doctor.Request {
			return refuse(p, &secretsmanager.RotateSecretInput{}, secretsmanager.NewFromConfig(p.NewUser(p.t, p.name+"-user")))
		}, make: func(*patient) {}},
		{code: "D24", name: "schedule with minutes", rotator: single, make: func(*patient) {}, act: rules(smtypes.RotationRulesType{ScheduleExpression: aws.String("cron(30 10 * * ? *)")})},
		{code: "D24", name: "every three hours", rotator: single, make: func(*patient) {}, act: rules(smtypes.RotationRulesType{ScheduleExpression: aws.String("rate(3 hours)")})},
		{code: "D25", name: "days and an expression", rotator: single, make: func(*patient) {},
			act: rules(smtypes.RotationRulesType{ScheduleExpression: aws.String("rate(10 days)"), AutomaticallyAfterDays: aws.Int64(10)})},
		{code: "D26", name: "secret deleted", rotator: single, act: plainly,
			make: func(p *patient) {
				_, err := p.Secrets.DeleteSecret(p.t.Context(), &secretsmanager.DeleteSecretInput{SecretId: &p.arn})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.Secrets.RestoreSecret(p.t.Context(), &secretsmanager.RestoreSecretInput{SecretId: &p.arn})
				p.must(err)
				p.configure()
			}},
	}
}

func permissionFaults() []*fault {
	denied := func(code, name string, action string) *fault {
		return &fault{code: code, name: name, rotator: single, make: func(p *patient) { p.rights(without(action)...) }, fix: func(p *patient) { p.rights(allRights...) }}
	}
	encrypted := func(p *patient) {
		out, err := p.KMS.CreateKey(p.t.Context(), &kms.CreateKeyInput{})
		p.must(err)
		p.key = *out.KeyMetadata.KeyId
		_, err = p.Secrets.UpdateSecret(p.t.Context(), &secretsmanager.UpdateSecretInput{SecretId: &p.arn, KmsKeyId: &p.key})
		p.must(err)
	}
	return []*fault{
		{code: "D03", name: "key disabled", rotator: single,
			make: func(p *patient) {
				encrypted(p)
				_, err := p.KMS.DisableKey(p.t.Context(), &kms.DisableKeyInput{KeyId: &p.key})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.KMS.EnableKey(p.t.Context(), &kms.EnableKeyInput{KeyId: &p.key})
				p.must(err)
			}},
		{code: "D03", name: "role may not use the key", rotator: single, make: func(p *patient) { encrypted(p); p.rights("secretsmanager:*", "logs:*") },
			fix: func(p *patient) { p.rights(allRights...) }},
		denied("D04", "role may not read the value", "GetSecretValue"),
		denied("D04", "role may not store the value", "PutSecretValue"),
		denied("D04", "role may not make passwords", "GetRandomPassword"),
		denied("D39", "role may not move labels", "UpdateSecretVersionStage"),
		{code: "D04", name: "secret's policy denies", rotator: single,
			make: func(p *patient) {
				_, err := p.Secrets.PutResourcePolicy(p.t.Context(), &secretsmanager.PutResourcePolicyInput{SecretId: &p.arn, ResourcePolicy: aws.String(
					fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::%s:role/%s"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}}`, apitest.Account, p.role))})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.Secrets.DeleteResourcePolicy(p.t.Context(), &secretsmanager.DeleteResourcePolicyInput{SecretId: &p.arn})
				p.must(err)
			}},
		{code: "D44", name: "reserved concurrency 0", rotator: single, short: true, make: func(p *patient) {
			_, err := p.Lambda.PutFunctionConcurrency(p.t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &p.name, ReservedConcurrentExecutions: aws.Int32(0)})
			p.must(err)
		}},
		{code: "D01", name: "endpoint variable of nobody", rotator: single,
			make: func(p *patient) {
				p.variables(map[string]string{"SECRETS_MANAGER_ENDPOINT": "http://127.0.0.1:1"})
			},
			fix: func(p *patient) { p.variables(map[string]string{"SECRETS_MANAGER_ENDPOINT": ""}) }},
		{code: "K06", name: "role deleted", rotator: single,
			make: func(p *patient) {
				_, err := p.IAM.DeleteRolePolicy(p.t.Context(), &iam.DeleteRolePolicyInput{RoleName: &p.role, PolicyName: aws.String("rights")})
				p.must(err)
				_, err = p.IAM.DeleteRole(p.t.Context(), &iam.DeleteRoleInput{RoleName: &p.role})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.IAM.CreateRole(p.t.Context(), &iam.CreateRoleInput{RoleName: &p.role, AssumeRolePolicyDocument: aws.String(apitest.TrustPolicy)})
				p.must(err)
				p.rights(allRights...)
			}},
		{code: "K11", name: "key of the variables disabled", rotator: single,
			make: func(p *patient) {
				out, err := p.KMS.CreateKey(p.t.Context(), &kms.CreateKeyInput{})
				p.must(err)
				p.key = *out.KeyMetadata.KeyId
				p.reconfigure(func(in *lambda.UpdateFunctionConfigurationInput) { in.KMSKeyArn = out.KeyMetadata.Arn })
				_, err = p.KMS.DisableKey(p.t.Context(), &kms.DisableKeyInput{KeyId: &p.key})
				p.must(err)
			},
			fix: func(p *patient) {
				_, err := p.KMS.EnableKey(p.t.Context(), &kms.EnableKeyInput{KeyId: &p.key})
				p.must(err)
			}},
		{code: "D43", name: "value written during the rotation", python: sleepy, timeout: 10, make: func(*patient) {}, act: func(p *patient) *doctor.Request {
			p.during(func() { p.put(nil) })
			return nil
		}},
		{code: "D41", name: "cancelled during the rotation", python: sleepy, timeout: 10, probe: true, make: func(*patient) {}, act: func(p *patient) *doctor.Request {
			p.during(func() {
				_, err := p.Secrets.CancelRotateSecret(p.t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &p.arn})
				p.must(err)
			})
			return nil
		}},
		{code: "D50", name: "Python 3.8", python: good, quiet: true, risk: true, make: runtime(lambdatypes.RuntimePython38), fix: own},
		{code: "D51", name: "Python 3.9", python: good, quiet: true, risk: true, make: runtime(lambdatypes.RuntimePython39), fix: own},
	}
}

func runtime(r lambdatypes.Runtime) func(*patient) {
	return func(p *patient) {
		p.reconfigure(func(in *lambda.UpdateFunctionConfigurationInput) { in.Runtime = r })
	}
}

// own gives the function the runtime of the host back.
func own(p *patient) {
	name, _ := apitest.Python(p.t)
	runtime(lambdatypes.Runtime(name))(p)
}

// during does something while the first step of a rotation sleeps, and waits
// until the rotation is over.
func (p *patient) during(do func()) {
	p.t.Helper()
	out, err := p.Secrets.RotateSecret(p.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &p.arn})
	p.must(err)
	p.token = *out.VersionId
	p.eventually("the step has begun", func() bool {
		_, err := p.Secrets.GetSecretValue(p.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &p.arn, VersionId: &p.token})
		return err == nil
	})
	do()
	time.Sleep(3 * time.Second) // for the step to end
}

func bundle(p *patient) string { return pem(p.t, p.db.CAFile) }
