package archive

import (
	"slices"
	"strings"
)

// The strategies of the templates.
const (
	single      = "single"
	alternating = "alternating"
)

// engineEntry is a kind of database that there are templates for.
type engineEntry struct {
	engine   string   // what the secret has to say
	title    string   // what the template's name has for it
	database string   // how its log lines name the database
	drivers  []string // what it imports
}

var engines = []engineEntry{
	{"mysql", "RDSMySQL", "MySQL DB", []string{"pymysql"}},
	{"mariadb", "RDSMariaDB", "MariaDB DB", []string{"pymysql"}},
	{"postgres", "RDSPostgreSQL", "PostgreSQL DB", []string{"pgdb", "pg"}},
	{"oracle", "RDSOracle", "Oracle DB", []string{"oracledb", "cx_Oracle"}},
	{"sqlserver", "RDSSQLServer", "SQL Server DB", []string{"pymssql"}},
	{"db2", "RDSDb2", "Db2 DB", []string{"ibm_db"}},
	{"mongo", "MongoDB", "MongoDB", []string{"pymongo"}},
	{"redshift", "Redshift", "Redshift DB", []string{"pgdb", "pg", "redshift_connector"}},
}

const (
	templatePrefix = "SecretsManager"
	demandsEngine  = "Database engine must be set to"
)

// template tells which of AWS's published rotation templates the program is,
// by the functions that they have and the texts that they log (AWS: their
// sources). A program that was written from one and keeps its texts counts:
// what is told of the template holds for it as well.
func (p *program) template() (name, strategy string) {
	s := p.handler()
	if s == nil || !s.hasSteps() {
		return "", ""
	}
	texts := s.texts()
	switch {
	case has(texts, demandsEngine) && s.defines("get_secret_dict"):
		return p.databaseTemplate(s, texts)
	case has(texts, "did not reached the active status"):
		return templatePrefix + "ElasticacheUserRotation", ""
	case has(texts, "kinit failed"), has(texts, "DICT_KEY_DIRECTORY"):
		if has(texts, "keytab(s)") || has(texts, "DICT_KEY_KEYTAB_ARNS") {
			return templatePrefix + "ActiveDirectoryAndKeytabRotationSingleUser", single
		}
		return templatePrefix + "ActiveDirectoryRotationSingleUser", single
	case has(texts, "AUTHENTICATION_CREATION_ENABLED"):
		return templatePrefix + "InfluxDBRotationMultiUser", alternating
	case has(texts, "timestream-influxdb"):
		return templatePrefix + "InfluxDBRotationSingleUser", single
	case slices.Contains(p.unfinished(), "setSecret"):
		return templatePrefix + "RotationTemplate", ""
	}
	return "", ""
}

// handler is the module with the handler; nil if it could not be read.
func (p *program) handler() *source {
	if len(p.sources) == 0 {
		return nil
	}
	return p.sources[0]
}

func (p *program) databaseTemplate(s *source, texts []string) (name, strategy string) {
	strategy = single
	if has(texts, "Unable to clone user") || has(texts, "current user or clone") || slices.ContainsFunc(texts, func(t string) bool { return strings.EqualFold(t, "_clone") }) {
		strategy = alternating
	}
	title := ""
	for _, e := range engines {
		if has(texts, demandsEngine+" '"+e.engine) || has(texts, demandsEngine+` \'`+e.engine) {
			title = e.title
			break
		}
		drives := slices.ContainsFunc(e.drivers, func(d string) bool { return s.importsModule(d) })
		if title == "" && drives && has(texts, e.database) {
			title = e.title
		}
	}
	if title == "" {
		return "", ""
	}
	name = templatePrefix + title + "RotationSingleUser"
	if strategy == alternating {
		name = templatePrefix + title + "RotationMultiUser"
	}
	return name, strategy
}

// hasSteps tells whether there is a function for each step, as all templates
// have them.
func (s *source) hasSteps() bool {
	found := map[string]bool{}
	for _, f := range s.functions() {
		if step, ok := steps[strings.ToLower(f.name)]; ok {
			found[step] = true
		}
	}
	return len(found) == 4
}

// texts are all strings of a module.
func (s *source) texts() []string {
	var all []string
	for _, l := range s.lines {
		for _, t := range l.tokens {
			if t.kind == text {
				all = append(all, t.text)
			}
		}
	}
	return all
}

func has(texts []string, part string) bool {
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, part) })
}

func (s *source) importsModule(module string) bool {
	return slices.ContainsFunc(s.imports(), func(i imported) bool { return i.level == 0 && i.module == module })
}

// triesTLS tells for a database template whether it speaks of TLS at all: the
// ones from before 2021-12-20 do not. Redshift's leave it to their driver,
// which tries; Db2's never have.
func (p *program) triesTLS(template string) *bool {
	s := p.handler()
	switch {
	case s == nil, !slices.ContainsFunc(engines, func(e engineEntry) bool { return strings.HasPrefix(template, templatePrefix+e.title) }):
		return nil
	case strings.Contains(template, "Redshift"):
		return new(true)
	}
	for _, l := range s.lines {
		for i, t := range l.tokens {
			keyword := t.kind == name && i+1 < len(l.tokens) && l.tokens[i+1].op("=")
			word := strings.ToLower(t.text)
			if (keyword || t.kind == text) && slices.Contains([]string{"ssl", "sslmode", "ssl_ca", "tls", "use_ssl", "encryption"}, word) {
				return new(true)
			}
			if t.kind == text && (strings.Contains(word, "tcps") || strings.Contains(word, "sslmode") || strings.Contains(word, "security=ssl")) {
				return new(true)
			}
		}
	}
	return new(false)
}
