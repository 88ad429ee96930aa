package mysql

import (
	"slices"
	"strings"
)

// grant is one line of SHOW GRANTS without the grantee.
type grant struct {
	// privileges are what is granted on object, one by one: privileges of
	// single columns as "SELECT (`a`)". With object "" they are roles.
	privileges []string
	// object is what follows ON, as printed.
	object string
	// revoked is set for what MySQL takes from a global privilege: a partial
	// revoke.
	revoked bool
	// option says WITH GRANT OPTION, or for roles WITH ADMIN OPTION.
	option bool
}

// usage is the privilege that is none.
const usage = "USAGE"

// parseGrant reads a line of SHOW GRANTS for an account. It cuts by the last
// TO or FROM that is a word of the statement: names may hold anything. ok is
// false for lines that are no grants to the account.
func parseGrant(line string, to account) (g grant, ok bool) {
	all := tokens(line)
	if len(all) == 0 {
		return grant{}, false
	}
	cut, g := "TO", grant{}
	switch {
	case all[0].is("GRANT"):
	case all[0].is("REVOKE"):
		cut, g.revoked = "FROM", true
	default:
		return grant{}, false
	}
	at := lastWord(all, cut)
	if at < 2 || !grantee(all[at+1:], to) {
		return grant{}, false
	}
	body := all[1:at]
	if on := slices.IndexFunc(body, func(t token) bool { return t.is("ON") }); on >= 0 {
		if on+1 == len(body) {
			return grant{}, false
		}
		g.object = line[body[on+1].at:all[at-1].end()]
		body = body[:on]
	}
	g.privileges = privileges(line, body)
	g.option = withOption(all[at+1:])
	return g, len(g.privileges) > 0
}

func lastWord(all []token, word string) int {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].is(word) {
			return i
		}
	}
	return -1
}

// grantee tells whether the tokens begin with the account.
func grantee(all []token, a account) bool {
	return len(all) >= 3 && all[0].word() == a.name && all[1].is("@") && strings.EqualFold(all[2].word(), a.host)
}

// withOption looks for GRANT OPTION and ADMIN OPTION; the words between, and
// what MariaDB prints of passwords and limits, do not matter.
func withOption(all []token) bool {
	for i := 1; i < len(all); i++ {
		if all[i].is("OPTION") && (all[i-1].is("GRANT") || all[i-1].is("ADMIN")) {
			return true
		}
	}
	return false
}

// privileges splits the list at its commas, and lists of columns too.
func privileges(line string, body []token) []string {
	var all []string
	var columns []string
	name, begin, depth := "", 0, 0
	flush := func(end int) {
		if begin < end && depth == 0 && name == "" {
			name = line[body[begin].at:body[end-1].end()]
		}
		if len(columns) == 0 && name != "" {
			all = append(all, name)
		}
		for _, c := range columns {
			all = append(all, name+" ("+c+")")
		}
		name, columns = "", nil
	}
	for i, t := range body {
		switch {
		case t.is("("):
			name, depth = line[body[begin].at:body[max(begin, i-1)].end()], 1
		case t.is(")"):
			depth = 0
		case t.is(",") && depth == 0:
			flush(i)
			begin = i + 1
		case depth == 1 && !t.is(","):
			columns = append(columns, t.text)
		}
	}
	flush(len(body))
	return all
}

// empty tells that the line grants nothing.
func (g grant) empty() bool {
	return !g.option && len(g.privileges) == 1 && strings.EqualFold(g.privileges[0], usage)
}

// statement makes the line of another account's.
func (g grant) statement(to account) string {
	list := strings.Join(g.privileges, ", ")
	if g.revoked {
		return "REVOKE " + list + " ON " + g.object + " FROM " + to.String()
	}
	text := "GRANT " + list
	if g.object != "" {
		text += " ON " + g.object
	}
	text += " TO " + to.String()
	switch {
	case g.option && g.object == "":
		text += " WITH ADMIN OPTION"
	case g.option:
		text += " WITH GRANT OPTION"
	}
	return text
}

// ownOption tells whether the right to hand on belongs to each privilege
// alone: that of roles, of proxies, and of MySQL's dynamic privileges, whose
// names alone hold underscores. Elsewhere it is one for the whole object.
func (g grant) ownOption() bool {
	first := g.privileges[0]
	return g.object == "" || strings.EqualFold(first, "PROXY") || g.object == "*.*" && strings.Contains(first, "_")
}

// pair is one privilege on one object.
type pair struct{ privilege, object string }

// Privileges that stand for others: WITH GRANT OPTION, and all that there
// are.
const (
	grantOption   = "GRANT OPTION"
	allPrivileges = "ALL PRIVILEGES"
)

// pairs are the privileges one by one; those that a partial revoke takes are
// not among them.
func pairs(grants []grant) map[pair]bool {
	set := map[pair]bool{}
	for _, g := range grants {
		if g.revoked {
			continue
		}
		for _, p := range g.privileges {
			if !strings.EqualFold(p, usage) {
				set[pair{p, g.object}] = true
			}
		}
		if g.option && !g.ownOption() {
			set[pair{grantOption, g.object}] = true
		}
	}
	return set
}

// excess are the statements that take from an account what another one's
// grants do not have: privileges, and the right to hand them on. What is
// taken whole because of that right comes back by the grants that follow.
func excess(want, have []grant, from account) []string {
	wanted := pairs(want)
	var all []string
	for _, g := range have {
		if g.revoked {
			continue
		}
		for _, p := range g.privileges {
			kept := wanted[pair{p, g.object}] || wanted[pair{allPrivileges, g.object}] || strings.EqualFold(p, usage)
			if g.option && g.ownOption() && !handsOn(want, p, g.object) {
				kept = false
			}
			if !kept {
				all = append(all, revocation(p, g.object, from))
			}
		}
		if g.option && !g.ownOption() && !wanted[pair{grantOption, g.object}] {
			all = append(all, revocation(grantOption, g.object, from))
		}
	}
	return all
}

// handsOn tells whether the role or proxy right is granted with its option.
func handsOn(grants []grant, privilege, object string) bool {
	return slices.ContainsFunc(grants, func(g grant) bool {
		return g.option && g.object == object && slices.Contains(g.privileges, privilege)
	})
}

func revocation(privilege, object string, from account) string {
	if object == "" {
		return "REVOKE " + privilege + " FROM " + from.String()
	}
	return "REVOKE " + privilege + " ON " + object + " FROM " + from.String()
}

// missing are the grants of an account that another one does not have.
func missing(want, have []grant) []grant {
	return slices.DeleteFunc(slices.Clone(want), func(g grant) bool {
		return g.empty() || slices.ContainsFunc(have, g.equal)
	})
}

func (g grant) equal(o grant) bool {
	return g.object == o.object && g.revoked == o.revoked && g.option == o.option && slices.Equal(g.privileges, o.privileges)
}

// lifted are the statements that end an account's partial revokes that
// another one does not have: to grant on the database again does so.
func lifted(want, have []grant, to account) []string {
	kept := map[pair]bool{}
	for _, g := range want {
		for _, p := range g.privileges {
			kept[pair{p, g.object}] = kept[pair{p, g.object}] || g.revoked
		}
	}
	var all []string
	for _, g := range have {
		for _, p := range g.privileges {
			if g.revoked && !kept[pair{p, g.object}] {
				all = append(all, "GRANT "+p+" ON "+g.object+" TO "+to.String())
			}
		}
	}
	return all
}
