package gather

import (
	"maps"
	"slices"

	"github.com/keyturn/keyturn/internal/doctor"
	"github.com/keyturn/keyturn/internal/iam"
)

// evaluate answers questions by the role's policies as they were read, for a
// caller who may read them and not simulate. Where they are not known as a
// whole, or one does not parse, there is no answer.
func (l *look) evaluate(questions []question) []doctor.Decision {
	if l.statements == nil || l.e.Function == nil {
		return nil
	}
	var policies []*iam.Policy
	for _, name := range slices.Sorted(maps.Keys(l.statements)) {
		p, err := iam.CompileText(l.statements[name], name)
		if err != nil {
			return nil
		}
		policies = append(policies, p)
	}
	who := l.session(l.e.Function)
	var all []doctor.Decision
	for _, q := range questions {
		values := map[string][]string{}
		for k, v := range q.context {
			values[k] = []string{v}
		}
		for _, action := range q.actions {
			d := iam.Evaluate(&iam.Request{Principal: who, Action: action, Resource: q.resource, Context: iam.ContextOf(values)}, &iam.Policies{Identity: policies})
			all = append(all, decision(action, q.resource, d))
		}
	}
	return all
}

// decision is a verdict in the words of the simulation.
func decision(action, resource string, d iam.Decision) doctor.Decision {
	x := doctor.Decision{Action: action, Resource: resource, Decision: "implicitDeny"}
	if d.Allowed() {
		x.Decision = "allowed"
	} else if d.Statement.Policy != "" {
		x.Decision = "explicitDeny"
	}
	if d.Statement.Policy != "" {
		x.MatchedBy = []string{d.Statement.Policy}
	}
	return x
}
