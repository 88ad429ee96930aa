package application

// Files of package examples that hold functions in Python.
const (
	genericFile = "rotation-template/lambda_function.py"
	db2File     = "db2-python/lambda_function.py"
)

// Defaults of the parameter excludeCharacters (AWS docs). Connection strings
// of Db2 cannot hold further characters.
const (
	usualExclude = `:/@"'\`
	db2Exclude   = `/@"'\;{}`
)

// table lists the applications (AWS docs).
var table = slicesOf(
	databases("RDSMySQL", "MySQL or Aurora MySQL", "mysql", "rds"),
	databases("RDSMariaDB", "MariaDB", "mariadb", "rds"),
	databases("RDSPostgreSQL", "PostgreSQL or Aurora PostgreSQL", "postgres", "rds"),
	databases("RDSOracle", "Oracle", "oracle", "rds"),
	databases("RDSSQLServer", "Microsoft SQL Server", "sqlserver", "rds"),
	databases("Redshift", "Amazon Redshift", "redshift", "redshift"),
	databases("MongoDB", "MongoDB or Amazon DocumentDB", "mongo", ""),
	[]Application{
		{
			Name: "SecretsManagerRDSDb2RotationSingleUser", Description: "Rotates the password of one Db2 user, by a superuser.",
			Labels: labels("Db2", "single user"), Superuser: true, file: db2File, exclude: db2Exclude, strategy: "single", service: "rds",
		},
		{
			Name: "SecretsManagerRDSDb2RotationMultiUser", Description: "Rotates Db2 credentials between two users, by a superuser.",
			Labels: labels("Db2", "alternating users"), Superuser: true, file: db2File, exclude: db2Exclude, strategy: "alternating", service: "rds",
		},
		{
			Name: "SecretsManagerElasticacheUserRotation", Description: "Rotates the password of an Amazon ElastiCache user, who has two for a while.",
			Labels: labels("ElastiCache"), Rotator: "elasticache.overlap", exclude: usualExclude, service: "elasticache",
		},
		{
			Name: "SecretsManagerActiveDirectoryRotationSingleUser", Description: "Rotates the password of one user of AWS Directory Service.",
			Labels: labels("Active Directory", "single user"), Rotator: "directoryservice.single", exclude: usualExclude, service: "directoryservice",
		},
		{
			Name:        "SecretsManagerActiveDirectoryAndKeytabRotationSingleUser",
			Description: "Rotates the password of one user of AWS Directory Service and the keytabs that follow from it.",
			Labels:      labels("Active Directory", "keytab", "single user"), Rotator: "directoryservice.keytab", exclude: usualExclude, service: "directoryservice",
		},
		{
			Name: "SecretsManagerInfluxDBRotationSingleUser", Description: "Rotates the password of one InfluxDB user.",
			Labels: labels("InfluxDB", "single user"), Rotator: "influxdb.single", exclude: usualExclude, service: "influxdb",
		},
		{
			Name: "SecretsManagerInfluxDBRotationMultiUser", Description: "Rotates an InfluxDB token, by the administrator's.",
			Labels: labels("InfluxDB", "token"), Rotator: "influxdb.token", Superuser: true, exclude: usualExclude, service: "influxdb",
		},
		{
			Name:        "SecretsManagerRotationTemplate",
			Description: "A rotation function in Python to complete: it makes and stores passwords, and setSecret and testSecret are yours.",
			Labels:      labels("template"), file: genericFile, exclude: usualExclude,
		},
	},
)

func slicesOf(lists ...[]Application) (all []Application) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func labels(more ...string) []string { return append([]string{"Secrets Manager", "rotation"}, more...) }

// databases makes the two applications of an engine: name is how AWS has it
// in theirs, engine the built-in rotator's.
func databases(name, called, engine, service string) []Application {
	return []Application{
		{
			Name: "SecretsManager" + name + "RotationSingleUser", Description: "Rotates the password of one user of " + called + ".",
			Labels: labels(engine, "single user"), Rotator: engine + ".single", exclude: usualExclude,
		},
		{
			Name: "SecretsManager" + name + "RotationMultiUser", Description: "Rotates credentials of " + called + " between two users, by a superuser.",
			Labels: labels(engine, "alternating users"), Rotator: engine + ".alternating", Superuser: true, exclude: usualExclude, service: service,
		},
	}
}
