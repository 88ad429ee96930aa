package iam

import (
	"encoding/json"
	"strings"
	"testing"
)

// conditionMet compiles a Condition element and tells whether it holds for
// the values, given as a JSON object of lists.
func conditionMet(t *testing.T, element, context string) bool {
	t.Helper()
	return conditionMetBy(t, Version2012, element, &Request{Context: contextOf(t, context)})
}

func conditionMetBy(t *testing.T, version, element string, r *Request) bool {
	t.Helper()
	p := mustCompile(t, `{"Version":"`+version+`","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+element+`}}`, "p")
	return p.statements[0].met(r)
}

func contextOf(t *testing.T, object string) Context {
	t.Helper()
	if object == "" {
		return nil
	}
	var values map[string][]string
	if err := json.Unmarshal([]byte(object), &values); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return ContextOf(values)
}

func TestOperators(t *testing.T) {
	for _, tc := range []struct {
		operator, want, got string // want as JSON value, got as JSON list
		met                 bool
	}{
		{"StringEquals", `"a"`, `["a"]`, true},
		{"StringEquals", `"a"`, `["A"]`, false},
		{"StringEquals", `["b","a"]`, `["a"]`, true},
		{"StringEquals", `"a*"`, `["ab"]`, false},
		{"StringEquals", `"a*"`, `["a*"]`, true},
		{"StringEquals", `""`, `[""]`, true},
		{"StringNotEquals", `"a"`, `["b"]`, true},
		{"StringNotEquals", `["a","b"]`, `["b"]`, false},
		{"StringNotEquals", `["a","b"]`, `["c"]`, true},
		{"StringEqualsIgnoreCase", `"aÉ"`, `["Aé"]`, true},
		{"StringEqualsIgnoreCase", `"k"`, `["\u212a"]`, true},
		{"StringEqualsIgnoreCase", `"a"`, `["ab"]`, false},
		{"StringEqualsIgnoreCase", `""`, `[""]`, true},
		{"StringNotEqualsIgnoreCase", `"a"`, `["A"]`, false},
		{"StringNotEqualsIgnoreCase", `"a"`, `["b"]`, true},
		{"StringLike", `"a*"`, `["ab"]`, true},
		{"StringLike", `"a?c"`, `["aBc"]`, true},
		{"StringLike", `"a?c"`, `["Abc"]`, false},
		{"StringNotLike", `"a*"`, `["ab"]`, false},
		{"StringNotLike", `["a*","b*"]`, `["c"]`, true},
		{"NumericEquals", `"10"`, `["10.0"]`, true},
		{"NumericEquals", `10`, `["1e1"]`, true},
		{"NumericEquals", `10`, `["ten"]`, false},
		{"NumericEquals", `10`, `["inf"]`, false},
		{"NumericNotEquals", `10`, `["10"]`, false},
		{"NumericNotEquals", `[10,11]`, `["12"]`, true},
		{"NumericNotEquals", `10`, `["ten"]`, true},
		{"NumericLessThan", `10`, `["9.99"]`, true},
		{"NumericLessThan", `10`, `["10"]`, false},
		{"NumericLessThan", `[1,10]`, `["5"]`, true},
		{"NumericLessThanEquals", `10`, `["10"]`, true},
		{"NumericLessThanEquals", `10`, `["10.01"]`, false},
		{"NumericGreaterThan", `-1`, `["0"]`, true},
		{"NumericGreaterThan", `0`, `["0"]`, false},
		{"NumericGreaterThanEquals", `0`, `["0"]`, true},
		{"NumericGreaterThanEquals", `0`, `["-0.5"]`, false},
		{"DateEquals", `"2026-01-01T00:00:00Z"`, `["1767225600"]`, true},
		{"DateEquals", `"2026-01-01"`, `["2026-01-01T01:00:00+01:00"]`, true},
		{"DateEquals", `"20260101T000000Z"`, `["2026-01-01T00:00Z"]`, true},
		{"DateEquals", `1767225600`, `["2026-01"]`, true},
		{"DateEquals", `1767225600`, `["yesterday"]`, false},
		{"DateNotEquals", `"2026-01-01T00:00:00Z"`, `["2026-01-01T00:00:00.5Z"]`, true},
		{"DateNotEquals", `"2026-01-01T00:00:00Z"`, `["2026-01-01"]`, false},
		{"DateLessThan", `"2026-01-01T00:00:00Z"`, `["2025-12-31T23:59:59Z"]`, true},
		{"DateLessThan", `"2026-01-01T00:00:00Z"`, `["2026-01-01T00:00:00Z"]`, false},
		{"DateLessThanEquals", `"2026-01-01T00:00:00Z"`, `["2026-01-01T00:00:00Z"]`, true},
		{"DateGreaterThan", `"2026-01-01T00:00:00Z"`, `["2026-01-01T00:00:01Z"]`, true},
		{"DateGreaterThan", `"2026-01-01T00:00:00Z"`, `["2026-01-01T00:00:00Z"]`, false},
		{"DateGreaterThanEquals", `"2026-01-01T00:00:00Z"`, `["2026-01-01T00:00:00Z"]`, true},
		{"Bool", `true`, `["true"]`, true},
		{"Bool", `"true"`, `["TRUE"]`, true},
		{"Bool", `false`, `["true"]`, false},
		{"Bool", `"false"`, `["false"]`, true},
		{"Bool", `"false"`, `["0"]`, false},
		{"BinaryEquals", `"AQID"`, `["AQID"]`, true},
		{"BinaryEquals", `"AQID"`, `["AQIE"]`, false},
		{"IpAddress", `"192.0.2.0/24"`, `["192.0.2.255"]`, true},
		{"IpAddress", `"192.0.2.7/24"`, `["192.0.2.255"]`, true},
		{"IpAddress", `"192.0.2.0/24"`, `["192.0.3.0"]`, false},
		{"IpAddress", `"192.0.2.1"`, `["192.0.2.1"]`, true},
		{"IpAddress", `"192.0.2.1"`, `["::ffff:192.0.2.1"]`, true},
		{"IpAddress", `"192.0.2.1"`, `["192.0.2.01"]`, false},
		{"IpAddress", `"2001:db8::/32"`, `["2001:db8::1"]`, true},
		{"IpAddress", `"2001:db8::/32"`, `["192.0.2.1"]`, false},
		{"IpAddress", `"0.0.0.0/0"`, `["somewhere"]`, false},
		{"IpAddress", `"0.0.0.0/0"`, `["256.0.0.1"]`, false},
		{"NotIpAddress", `["192.0.2.0/24","198.51.100.0/24"]`, `["198.51.100.1"]`, false},
		{"NotIpAddress", `"192.0.2.0/24"`, `["198.51.100.1"]`, true},
		{"ArnEquals", `"arn:aws:iam::*:role/r"`, `["arn:aws:iam::111122223333:role/r"]`, true},
		{"ArnLike", `"arn:aws:iam::*:role/r*"`, `["arn:aws:iam::111122223333:role/r/s"]`, true},
		{"ArnLike", `"arn:aws:*:role/r"`, `["arn:aws:iam::111122223333:role/r"]`, false},
		{"ArnNotEquals", `"arn:aws:iam::*:role/r"`, `["arn:aws:iam::111122223333:role/r"]`, false},
		{"ArnNotLike", `"arn:aws:iam::*:role/r"`, `["arn:aws:iam::111122223333:role/s"]`, true},
	} {
		element := `{"` + tc.operator + `":{"aws:K":` + tc.want + `}}`
		if got := conditionMet(t, element, `{"AWS:k":`+tc.got+`}`); got != tc.met {
			t.Errorf("%s with %s: got %v, want %v", element, tc.got, got, tc.met)
		}
	}
}

func TestMissingKey(t *testing.T) {
	values := map[string]string{
		"Numeric": `1`, "Date": `"2026-01-01"`, "Bool": `true`, "Binary": `"AQID"`, "Ip": `"192.0.2.1"`, "NotIp": `"192.0.2.1"`,
	}
	for name, op := range operators {
		if name == "Null" {
			continue
		}
		value := `"a"`
		for prefix, v := range values {
			if strings.HasPrefix(name, prefix) {
				value = v
			}
		}
		for _, tc := range []struct {
			operator string
			want     bool
		}{
			{name, op.negated},
			{name + "IfExists", true},
			{"ForAllValues:" + name, true},
			{"ForAnyValue:" + name, false},
			{"ForAllValues:" + name + "IfExists", true},
			{"ForAnyValue:" + name + "IfExists", true},
		} {
			for _, context := range []string{"", `{"aws:k":[]}`} {
				if got := conditionMet(t, `{"`+tc.operator+`":{"aws:k":`+value+`}}`, context); got != tc.want {
					t.Errorf("%s without a key (%s): got %v, want %v", tc.operator, context, got, tc.want)
				}
			}
		}
	}
}

func TestIfExistsWithKey(t *testing.T) {
	const element = `{"StringEqualsIfExists":{"aws:k":"a"}}`
	if !conditionMet(t, element, `{"aws:k":["a"]}`) || conditionMet(t, element, `{"aws:k":["b"]}`) {
		t.Error("IfExists does not compare a key that is there")
	}
}

func TestNull(t *testing.T) {
	for _, tc := range []struct {
		want, context string
		met           bool
	}{
		{`true`, "", true},
		{`"true"`, `{"aws:k":["x"]}`, false},
		{`false`, "", false},
		{`"false"`, `{"aws:k":["x"]}`, true},
		{`true`, `{"aws:k":[]}`, true},
		{`[true,false]`, "", true},
		{`[true,false]`, `{"aws:k":["x"]}`, true},
	} {
		if got := conditionMet(t, `{"Null":{"aws:K":`+tc.want+`}}`, tc.context); got != tc.met {
			t.Errorf("Null %s with %s: got %v, want %v", tc.want, tc.context, got, tc.met)
		}
	}
}

func TestSeveralValues(t *testing.T) {
	for _, tc := range []struct {
		operator, want, got string
		met                 bool
	}{
		{"ForAllValues:StringEquals", `["a","b"]`, `["a","b","a"]`, true},
		{"ForAllValues:StringEquals", `["a","b"]`, `["a","c"]`, false},
		{"ForAnyValue:StringEquals", `["a","b"]`, `["c","b"]`, true},
		{"ForAnyValue:StringEquals", `["a","b"]`, `["c","d"]`, false},
		{"ForAllValues:StringNotEquals", `["a","b"]`, `["c","d"]`, true},
		{"ForAllValues:StringNotEquals", `["a","b"]`, `["c","a"]`, false},
		{"ForAnyValue:StringNotEquals", `["a","b"]`, `["c","a"]`, true},
		{"ForAnyValue:StringNotEquals", `["a","b"]`, `["b","a"]`, false},
		{"ForAllValues:StringLike", `"a*"`, `["ab","ac"]`, true},
		{"ForAnyValue:NumericGreaterThan", `5`, `["1","9"]`, true},
		{"StringEquals", `"a"`, `["b","a"]`, true},
		{"StringNotEquals", `"a"`, `["b","a"]`, false},
		{"StringNotEquals", `"a"`, `["b","c"]`, true},
	} {
		element := `{"` + tc.operator + `":{"aws:TagKeys":` + tc.want + `}}`
		if got := conditionMet(t, element, `{"aws:TagKeys":`+tc.got+`}`); got != tc.met {
			t.Errorf("%s with %s: got %v, want %v", element, tc.got, got, tc.met)
		}
	}
}

// TestBlock: operators and keys are joined by and.
func TestBlock(t *testing.T) {
	const element = `{"StringEquals":{"aws:a":"1","aws:b":"2"},"Bool":{"aws:c":true}}`
	for context, want := range map[string]bool{
		`{"aws:a":["1"],"aws:b":["2"],"aws:c":["true"]}`:  true,
		`{"aws:a":["1"],"aws:b":["2"],"aws:c":["false"]}`: false,
		`{"aws:a":["1"],"aws:b":["3"],"aws:c":["true"]}`:  false,
		`{"aws:a":["1"],"aws:c":["true"]}`:                false,
	} {
		if got := conditionMet(t, element, context); got != want {
			t.Errorf("%s: got %v, want %v", context, got, want)
		}
	}
	if !conditionMet(t, `{}`, "") {
		t.Error("an empty block does not hold")
	}
}

func TestOperatorNames(t *testing.T) {
	for name, want := range map[string]bool{
		"StringLike": true, "StringLikeIfExists": true, "ForAllValues:ArnLike": true, "ForAnyValue:DateEqualsIfExists": true, "Null": true,
		"stringlike": false, "StringLikeIfExist": false, "ForAllValues:": false, "ForEachValue:StringLike": false, "NullIfExists": false,
		"ForAnyValue:Null": false, "": false, "IfExists": false, "BinaryNotEquals": false, "ForAllValues:ForAnyValue:StringLike": false,
	} {
		if _, got := parseOperator(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestWrongValues(t *testing.T) {
	for operator, value := range map[string]string{
		"NumericEquals": `"ten"`, "NumericLessThan": `true`, "DateEquals": `"soon"`, "Bool": `"yes"`, "Null": `"maybe"`,
		"BinaryEquals": `"?"`, "IpAddress": `"192.0.2.0/33"`, "NotIpAddress": `"${aws:x}"`,
	} {
		text := oneStatement(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"` + operator + `":{"aws:k":` + value + `}}`)
		if p, err := CompileText(text, "p"); err == nil {
			t.Errorf("%s %s: got %+v, want an error", operator, value, p)
		}
	}
	d := &Document{Version: Version2012, Statements: []Statement{{Conditions: []Condition{{"Strings", "aws:k", []string{"a"}}}}}}
	if p, err := Compile(d, "p"); err == nil {
		t.Errorf("an unknown operator: got %+v, want an error", p)
	}
}
