// Package probe collects the evidence that needs the secret's values: their
// shapes, and whether they log in, from here or from inside the function.
//
// Values are in this process's memory only, and only while it runs. What goes
// into the evidence is who, where and whether, never a password: of those
// there is the length, and which versions have the same one.
package probe

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/builtin"
	core "github.com/keyturn/keyturn/internal/rotator/probe"
)

// Options say where from logins are tried.
type Options struct {
	// Here reads the values and tries them from where the program runs.
	Here bool
	// InFunction asks the rotation function, which has to be a built-in
	// rotator, to try them from where it runs.
	InFunction bool
	// CABundle is trusted for servers' certificates beside the system's
	// roots, as KEYTURN_CA_BUNDLE is: files, separated by commas, or
	// certificates in PEM form. "" takes that variable of the process, else
	// the function's where that holds certificates.
	CABundle string
}

// Run fills in the evidence's Values and Probes, and its Superuser where the
// secret names one. What could not be looked at becomes a gap. It takes up to
// about a minute where nothing answers. Each distinct password is tried once
// from each place that the options name. What is read here is replaced by
// asterisks wherever the evidence holds it: functions may log passwords.
func Run(ctx context.Context, cfg aws.Config, e *doctor.Evidence, o Options) {
	var known []string
	if o.Here {
		known = here(ctx, cfg, e, o)
	}
	if o.InFunction {
		askFunction(ctx, cfg, e)
	}
	hide(e, known)
}

// here reads and tries the values in this process. It returns the secrets in
// them.
func here(ctx context.Context, cfg aws.Config, e *doctor.Evidence, o Options) []string {
	client := secretsmanager.NewFromConfig(cfg)
	arn := cmp.Or(e.Secret.ARN, e.Secret.Name)
	s, err := core.Describe(ctx, client, arn)
	if err != nil {
		e.Gaps = append(e.Gaps, gap(err, "secretsmanager:DescribeSecret", arn, "which versions there are to log in with"))
		return nil
	}
	versions := s.Read(ctx, client)
	if arn := superuserARN(e, versions); arn != "" {
		v := core.ReadSuperuser(ctx, client, arn)
		note(e, arn, v)
		versions = append(versions, v)
	}
	for _, v := range versions {
		if v.Err != nil {
			e.Gaps = append(e.Gaps, gap(v.Err, "secretsmanager:GetSecretValue", arn, "whether the "+v.Label+" version logs in"))
		}
	}
	e.Values = shapes(versions)
	p := &core.Prober{Engines: builtin.Engines(), Engine: engine(e), Settings: settings(e, o), Config: cfg, From: core.FromHere}
	e.Probes = append(e.Probes, p.Run(ctx, versions)...)
	return secrets(versions)
}

// superuserARN is what the values say, or else what was found elsewhere.
func superuserARN(e *doctor.Evidence, versions []core.Version) string {
	if arn := core.SuperuserARN(versions); arn != "" || e.Superuser == nil {
		return arn
	}
	return e.Superuser.ARN
}

// note makes the superuser's secret known that the value names.
func note(e *doctor.Evidence, arn string, v core.Version) {
	if e.Superuser == nil {
		e.Superuser = &doctor.Superuser{ARN: arn, From: "the secret's value", Tags: v.Tags}
	}
	if v.Err == nil && !v.Missing {
		e.Superuser.Found = true
	}
}

// engine is that of the function, for secrets that do not say.
func engine(e *doctor.Evidence) string {
	if e.Function == nil {
		return ""
	}
	if e.Function.Rotator != "" {
		return builtin.EngineOf(e.Function.Rotator)
	}
	if e.Function.Code == nil {
		return ""
	}
	for _, known := range []struct{ part, engine string }{
		{"RDSMySQL", "mysql"}, {"RDSMariaDB", "mariadb"}, {"RDSPostgreSQL", "postgres"}, {"RDSOracle", "oracle"}, {"RDSSQLServer", "sqlserver"},
		{"MongoDB", "mongo"}, {"Redshift", "redshift"}, {"InfluxDB", "timestream-influxdb"},
	} {
		if strings.Contains(e.Function.Code.Template, known.part) {
			return known.engine
		}
	}
	return ""
}

// settings are what engines and TLS need.
func settings(e *doctor.Evidence, o Options) rotator.Settings {
	const variable = "KEYTURN_CA_BUNDLE"
	s := rotator.Environment()
	bundle := cmp.Or(o.CABundle, s.Text(variable, ""))
	if bundle == "" && e.Function != nil && strings.Contains(e.Function.Variables[variable], "-----BEGIN") {
		bundle = e.Function.Variables[variable]
	}
	only := rotator.Settings{}
	if bundle != "" {
		only[variable] = bundle
	}
	return only
}

// gap tells what a failed call leaves unknown.
func gap(err error, action, resource, missing string) doctor.Gap {
	g := doctor.Gap{Action: action, Resource: resource, Error: err.Error(), Missing: missing}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		g.Error = e.ErrorCode() + ": " + e.ErrorMessage()
		g.Denied = strings.HasPrefix(e.ErrorCode(), "AccessDenied")
	}
	return g
}

// askFunction lets the function try the logins.
func askFunction(ctx context.Context, cfg aws.Config, e *doctor.Evidence) {
	const action = "lambda:InvokeFunction"
	missing := "whether the versions log in from inside the function's network"
	arn := e.Secret.FunctionARN
	if e.Function == nil || e.Function.Rotator == "" {
		e.Gaps = append(e.Gaps, doctor.Gap{
			Action: action, Resource: arn, Missing: missing, Error: "the function is none of Keyturn's built-in rotators, and others do not know the question",
		})
		return
	}
	results, err := invoke(ctx, lambda.NewFromConfig(cfg), arn, e.Secret.ARN)
	if err != nil {
		e.Gaps = append(e.Gaps, gap(err, action, arn, missing))
		return
	}
	e.Probes = append(e.Probes, results...)
}
