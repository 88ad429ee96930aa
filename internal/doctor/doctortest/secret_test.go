package doctortest

import (
	"slices"
	"strings"
)

// puts gives the secret the value that it should have had.
func puts(p *patient) { p.put(p.value()) }

func valued(changes map[string]any) plan {
	return plan{value: func(p *patient) string { return p.with(changes) }}
}

// secretFaults are those of what is in the secret.
func secretFaults() []fault {
	return slices.Concat(valueFaults(), alternatingFaults())
}

func valueFaults() []fault {
	return []fault{
		{name: "the value has no host", code: "D05", plan: valued(map[string]any{"host": nil}), cure: puts},
		{name: "the value spells username with a capital", code: "D05", plan: valued(map[string]any{"username": nil, "Username": "app"}), cure: puts},
		{name: "the engine is postgresql, not postgres", code: "D06", plan: valued(map[string]any{"engine": "postgresql"}), cure: puts},
		{name: "the value is a bare password", code: "D07",
			plan: plan{value: func(p *patient) string { return p.user.Password }}, cure: puts},
		{name: "the value is a bare password", code: "D07", probe: true,
			plan: plan{value: func(p *patient) string { return p.user.Password }}, cure: puts},
		{name: "the value is binary", code: "D08", plan: plan{binary: true}, cure: puts},
		{name: "the secret has never had a value", code: "D09", plan: plan{without: true}, cure: puts},
		{name: "PASSWORD_LENGTH is too small", code: "D29",
			ill: func(p *patient) { p.variables("PASSWORD_LENGTH", "0") }, cure: func(p *patient) { p.variables() }},
		{name: "EXCLUDE_CHARACTERS leaves nothing", code: "D29",
			ill:  func(p *patient) { p.variables("EXCLUDE_CHARACTERS", everything()) },
			cure: func(p *patient) { p.variables() }},
	}
}

// everything is all that a password may be made of.
func everything() string {
	var b []byte
	for c := byte('!'); c <= '~'; c++ {
		b = append(b, c)
	}
	return string(b)
}

// alternating is a patient of the built-in rotator of alternating users, with
// a superuser's secret.
func alternating(change func(p *patient, value, master map[string]any)) plan {
	return plan{code: builtinCode("postgres.alternating"), value: func(p *patient) string {
		value := p.fields()
		master := p.fields()
		master["username"], master["password"] = "postgres", p.db.Password
		if change != nil {
			change(p, value, master)
		}
		p.master = p.store(p.name+"-superuser", object(master))
		if _, left := value["masterarn"]; !left {
			value["masterarn"] = p.master
		} else {
			delete(value, "masterarn")
		}
		return object(value)
	}}
}

// remaster gives the superuser's secret the value that it should have had.
func remaster(p *patient) {
	p.t.Helper()
	master := p.fields()
	master["username"], master["password"] = "postgres", p.db.Password
	p.putTo(p.master, object(master))
}

// putsWithMaster gives the user's secret the value that it should have had.
func putsWithMaster(p *patient) {
	value := p.fields()
	value["masterarn"] = p.master
	p.put(object(value))
}

func alternatingFaults() []fault {
	return []fault{
		{name: "the value names no superuser's secret", code: "D17",
			plan: alternating(func(_ *patient, value, _ map[string]any) { value["masterarn"] = nil }), cure: putsWithMaster},
		{name: "the role may not read the superuser's secret", code: "D17", plan: alternating(nil),
			ill: func(p *patient) {
				master := p.master
				p.master = ""
				p.give(p.rights()...)
				p.master = master
			},
			cure: (*patient).recover},
		{name: "the superuser's password is stale", code: "D16",
			plan: alternating(func(_ *patient, _, master map[string]any) { master["password"] = "stale-Password-0" }), cure: remaster},
		{name: "the superuser's secret is of another host", code: "D18",
			plan: alternating(func(_ *patient, _, master map[string]any) { master["host"] = "127.0.0.2" }), cure: remaster},
		{name: "the user's password was changed in the database (alternating)", code: "D15", plan: alternating(nil),
			ill:  func(p *patient) { p.exec("ALTER USER $USER PASSWORD 'changed-Password-2'") },
			cure: func(p *patient) { p.exec("ALTER USER $USER PASSWORD '" + p.user.Password + "'") }},
		{name: "the user's name leaves no room for _clone", code: "D19",
			plan: alternating(func(p *patient, value, _ map[string]any) {
				long := p.user.Name + strings.Repeat("x", 60-len(p.user.Name)) // of 63
				p.exec(`ALTER USER $USER RENAME TO "` + long + `"`)
				value["username"], p.user.Name = long, long
			}),
			cure: func(p *patient) {
				short := strings.TrimRight(p.user.Name, "x")
				p.exec(`ALTER USER $USER RENAME TO "` + short + `"`)
				p.user.Name = short
				putsWithMaster(p)
			}},
	}
}
