package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/arn"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/schedule"
)

func requestRules() []rule {
	return []rule{
		{"D26", "The secret is deleted, a replica or managed by a service", phaseRequest,
			[]string{"the secret is scheduled for deletion", "the call was made on a replica", "a service owns the secret and rotates it itself"},
			[]string{"restore the secret", "call the primary Region", "use the owning service"}, checkNotRotatable},
		{"D20", "Secrets Manager may not invoke the function", phaseRequest,
			[]string{"the function is deleted or misspelt", "its resource policy has no statement for Secrets Manager",
				"aws:SourceAccount or aws:SourceArn of the statement name something else", "the version or alias does not exist or has no policy"},
			[]string{"aws lambda add-permission for secretsmanager.amazonaws.com with the secret's account", "the right ARN of the function"}, checkCannotInvoke},
		{"D21", "No rotation function is named", phaseRequest,
			[]string{"rotation was never configured, and the call names no function"}, []string{"pass --rotation-lambda-arn"}, checkNoFunction},
		{"D22", "A previous rotation is not complete", phaseRequest,
			[]string{"AWSPENDING is on a version other than the current one, from a rotation that failed, was cancelled or is under way"},
			[]string{"wait for one that is under way", "mend the cause, take AWSPENDING off, rotate again"}, checkUnfinished},
		{"D23", "Who asked for the rotation may not", phaseRequest,
			[]string{"the caller lacks secretsmanager:RotateSecret", "or lambda:InvokeFunction on the function", "or what setting rotation up needs"},
			[]string{"grant both actions"}, checkCallerDenied},
		{"D24", "The schedule is not valid", phaseRequest,
			[]string{"minutes other than 0, a year, both or no day fields, less than four hours between rotations, a window past midnight"},
			[]string{"correct the expression"}, checkSchedule},
		{"D25", "Both a number of days and a schedule expression were sent", phaseRequest,
			[]string{"a tool sends back what DescribeSecret shows, which has both"}, []string{"send only one"}, checkBothSchedules},
		{"D27", "Rotation is due and did not begin", phaseRequest,
			[]string{"the function may not be invoked", "throttling", "the window has not come, or passed while the service was away"},
			[]string{"look for RotationStarted and for the function's log", "rotate now"}, checkNotBegun},
		{"D28", "The function has no log for the time of the rotation", phaseRequest,
			[]string{"throttling", "the permission to invoke it was removed", "the function is in a failed or inactive state",
				"the role may not write logs"},
			[]string{"as the cause wants"}, checkNoLog},
	}
}

func checkNotRotatable(c *Case) *Finding {
	s := &c.Secret
	switch {
	case !s.DeletedAt.IsZero():
		f := c.finding(Certain, fmt.Sprintf("%s is scheduled for deletion (%s): it cannot rotate.", c.secretName(), day(s.DeletedAt)))
		f.saw("DescribeSecret", "DeletedDate: %s", day(s.DeletedAt))
		return f.cure("Restore the secret, if it is still wanted; look at its labels and schedule afterwards.", "",
			c.aws("secretsmanager", "restore-secret", "--secret-id", c.secretID()))
	case c.symptom != notRotatable:
		return nil
	case s.OwningService != "":
		f := c.bySymptom(notRotatable, Certain, fmt.Sprintf("%s belongs to %s, which rotates it without a function.", c.secretName(), s.OwningService))
		f.saw("DescribeSecret", "OwningService: %s", s.OwningService)
		return f.cure("Change its rotation through "+s.OwningService+"; RotateSecret takes a schedule for it, and no function.", "")
	}
	f := c.bySymptom(notRotatable, Certain, c.secretName()+" is a replica, or is managed by a service: rotation runs only in the primary Region.")
	if s.PrimaryRegion != "" {
		f.saw("DescribeSecret", "PrimaryRegion: %s", s.PrimaryRegion)
		return f.cure("Rotate the primary secret; replicas follow it.", "",
			strings.Replace(c.rotateCommand(), "--region "+quote(c.Region), "--region "+quote(s.PrimaryRegion), 1))
	}
	return f.cure("Rotate the primary secret, or use the service that owns it.", "",
		c.aws("secretsmanager", "describe-secret", "--secret-id", c.secretID()))
}

// admission says whether the function's policy lets Secrets Manager invoke it
// for the secret.
type admission int

const (
	admissionUnknown admission = iota
	admitted
	noPolicy
	noStatement
	wrongCondition
	explicitDeny
)

func (c *Case) admission() admission {
	f := c.Function
	if f == nil || !f.PolicyKnown || !f.Found {
		return admissionUnknown
	}
	if f.Policy == "" {
		return noPolicy
	}
	policy, err := iam.CompileText(f.Policy, "policy")
	if err != nil {
		return admissionUnknown
	}
	account := ""
	if parts := strings.Split(c.functionARN(), ":"); len(parts) > 4 {
		account = parts[4]
	}
	ask := func(value func(key string) iam.Value) iam.Decision {
		request := iam.Request{
			Principal: iam.Principal{Type: iam.Service, InvokedBy: "secretsmanager.amazonaws.com"}, Action: "lambda:InvokeFunction",
			Resource: c.functionARN(), ResourceAccount: account, Context: value,
		}
		return iam.Evaluate(&request, &iam.Policies{Resource: policy})
	}
	known := map[string]iam.Value{"aws:sourcearn": iam.Text(c.Secret.ARN), "aws:sourceaccount": iam.Text(c.Account), "lambda:functionarn": iam.Text(c.functionARN())}
	decision := ask(func(key string) iam.Value { return known[key] })
	switch {
	case decision.Allowed():
		return admitted
	case decision.Effect == iam.ExplicitDeny:
		return explicitDeny
	}
	if strings.Contains(f.Policy, "secretsmanager.amazonaws.com") {
		return wrongCondition
	}
	return noStatement
}

func checkCannotInvoke(c *Case) *Finding {
	asked := c.symptom == cannotInvoke
	rotates := c.Secret.RotationEnabled != nil && *c.Secret.RotationEnabled
	if !asked && !rotates || c.functionARN() == "" && !asked || c.Secret.OwningService != "" {
		return nil
	}
	missing := c.Function != nil && !c.Function.Found
	why := c.admission()
	if !asked && !missing && (why == admissionUnknown || why == admitted) {
		return nil
	}
	f := c.finding(Certain, "")
	f.Step = ""
	if asked {
		f.fact(c.told.Fact)
	}
	if !asked && (!c.failing() || c.run != nil) {
		f.as(rankBroken)
	}
	switch {
	case missing:
		return c.functionGone(f)
	case why == admitted:
		f.Confidence = Likely
		f.Cause = fmt.Sprintf("Secrets Manager was not let into %s when it tried, although its policy admits it now: the permission came later.", c.functionName())
		return c.again(f, true)
	case why == admissionUnknown:
		f.Confidence = Likely
		f.Cause = fmt.Sprintf("Secrets Manager may not invoke %s: it does not exist, or its policy does not admit the service.", c.functionName())
		f.look("whether the function exists and what its policy says: %s", c.onFunction("get-policy", c.qualifierWords()...))
	case why == wrongCondition:
		f.Cause = fmt.Sprintf("The policy of %s names Secrets Manager, but not for this secret: a condition (aws:SourceAccount, aws:SourceArn) asks for another.", c.functionName())
		f.saw("GetPolicy", "%s", c.Function.Policy)
	default:
		f.Cause = fmt.Sprintf("The policy of %s has no statement that lets secretsmanager.amazonaws.com invoke it.", c.functionName())
		f.saw("GetPolicy", "%s", cmp.Or(c.Function.Policy, "the function has no resource policy"))
	}
	f.not("D44", "a throttled call is answered otherwise")
	if why == explicitDeny {
		f.Cause = fmt.Sprintf("The policy of %s denies Secrets Manager to invoke it. Somebody has wanted that.", c.functionName())
		f.saw("GetPolicy", "%s", c.Function.Policy)
		f.cure("Find out why it is denied; then take the Deny out of the policy.", "What the Deny is for is lost.", c.onFunction("get-policy", c.qualifierWords()...))
		return c.again(f, false)
	}
	f.cure("Let Secrets Manager invoke the function for this secret.",
		"", c.onFunction("add-permission", append([]string{"--statement-id", "SecretsManagerRotation-" + lastWord(c.secretName()), "--action", "lambda:InvokeFunction",
			"--principal", "secretsmanager.amazonaws.com", "--source-account", c.Account, "--source-arn", c.Secret.ARN}, c.qualifierWords()...)...))
	if rotates {
		f.act(Action{Kind: AddPermission, Secret: c.secretID(), Function: c.functionARN(), Rotates: true})
	}
	return c.again(f, rotates)
}

func (c *Case) qualifierWords() []string {
	if q := c.qualifier(); q != "" {
		return []string{"--qualifier", q}
	}
	return nil
}

func (c *Case) functionGone(f *Finding) *Finding {
	f.Cause = fmt.Sprintf("The rotation function %s does not exist: it was deleted, is misspelt, or is in another Region.", c.functionARN())
	f.saw("GetFunction", "%s was not found", c.functionARN())
	if q := c.qualifier(); q != "" {
		f.look("whether the function has the version or alias %s: %s", q, c.aws("lambda", "list-aliases", "--function-name", c.functionID()))
	}
	f.cure("Name a function that exists; --no-rotate-immediately only tests it.", "",
		c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(), "--rotation-lambda-arn", "FUNCTION_ARN", "--no-rotate-immediately"))
	if c.stuck() {
		f.Remedies[0].Text = "Take AWSPENDING off, then name a function that exists; --no-rotate-immediately only tests it."
		f.Remedies[0].Commands = append([]string{c.removePendingCommand()}, f.Remedies[0].Commands...)
		if !c.mayRemove() {
			f.Remedies[0].Risk = "If the database has the password of the pending version, that version's id still reads it."
		}
	}
	return f
}

func checkNoFunction(c *Case) *Finding {
	f := c.bySymptom(noFunction, Certain, fmt.Sprintf("Rotation of %s was never configured, and the call names no rotation function.", c.secretName()))
	if f == nil {
		return nil
	}
	return f.cure("Name the function. On Keyturn, keyturn function create makes one from a built-in rotator.", "",
		c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(), "--rotation-lambda-arn", "FUNCTION_ARN",
			"--rotation-rules", "AutomaticallyAfterDays=30", "--no-rotate-immediately"))
}

func checkUnfinished(c *Case) *Finding {
	if c.refusal.Text == "" {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("RotateSecret is refused, because AWSPENDING of %s is still on version %s.", c.secretName(), cmp.Or(c.pending, "another version")), c.refusal.Fact)
	f.as(rankConsequence)
	f.Step = ""
	if c.outcome == running || c.outcome == held {
		f.Cause = fmt.Sprintf("%s is rotating already (since %s): a second rotation has to wait.", c.secretName(), day(c.started))
		return f.as(rankCause).cure("Wait until it has ended.", "", c.aws("secretsmanager", "describe-secret", "--secret-id", c.secretID()))
	}
	if !c.stuck() {
		return f.as(rankCause).cure("Nothing is left of it: rotate again.", "", c.rotateCommand()).act(Action{Kind: Rotate, Secret: c.secretID(), Rotates: true})
	}
	return c.release(f)
}

// release adds how to get rid of an AWSPENDING that is stuck.
func (c *Case) release(f *Finding) *Finding {
	if c.live.why != "" {
		by := c.live.by
		f.fact(by)
	}
	c.again(f, true)
	last := &f.Remedies[len(f.Remedies)-1]
	last.Text = strings.TrimPrefix(last.Text, "Then ")
	last.Text = strings.ToUpper(last.Text[:1]) + last.Text[1:]
	if last.Action == nil {
		f.look("which password the database takes: keyturn doctor --probe %s", quote(c.secretID()))
	}
	return f
}

func checkCallerDenied(c *Case) *Finding {
	var shown Fact
	switch {
	case c.symptom == callerDenied:
		shown = c.told.Fact
	default:
		i := c.lastEvent(func(ev *Event) bool {
			return ev.Name == "RotateSecret" && strings.Contains(ev.ErrorCode, "AccessDenied") && !strings.Contains(ev.ErrorMessage, "cannot invoke") && !c.byFunction(ev)
		})
		if i < 0 || c.outcome != unknown || slices.ContainsFunc(c.Events[i+1:], func(ev Event) bool { return ev.Name == "RotateSecret" && ev.ErrorCode == "" }) {
			return nil
		}
		shown = eventFact(&c.Events[i])
	}
	action := "secretsmanager:RotateSecret"
	if m := deniedAction.FindStringSubmatch(shown.Text); m != nil {
		action = m[1]
	}
	f := c.finding(Certain, fmt.Sprintf("Who asked for the rotation of %s lacks %s.", c.secretName(), action), shown)
	f.not("D20", "the answer is about the caller, not about Secrets Manager and the function")
	kind, name, who := c.callerAs()
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:RotateSecret","Resource":"` + plain(c.secretID()) +
		`"},{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"` + plain(cmp.Or(c.functionARN(), "*")) + `"}]}`
	f.cure("Grant whoever rotates RotateSecret on the secret and InvokeFunction on the function. Setting rotation up by the console also needs "+
		"iam:CreateRole, iam:AttachRolePolicy, lambda:AddPermission and CloudFormation.", "It replaces an inline policy of the same name, should there be one.",
		c.aws("iam", "simulate-principal-policy", "--policy-source-arn", who, "--action-names", "secretsmanager:RotateSecret", "--resource-arns", c.secretID()),
		c.aws("iam", "put-"+kind+"-policy", "--"+kind+"-name", name, "--policy-name", "keyturn-doctor-D23", "--policy-document", document))
	return f
}

// callerAs says what the caller is, user or role, its name and its ARN, by
// which policies are put and simulated: a session's is its role's.
func (c *Case) callerAs() (kind, name, principal string) {
	a, ok := arn.Parse(c.Caller)
	parts := strings.Split(a.Resource, "/")
	switch {
	case ok && parts[0] == "assumed-role" && len(parts) > 2:
		return "role", parts[1], "arn:" + cmp.Or(c.Partition, "aws") + ":iam::" + a.Account + ":role/" + parts[1]
	case ok && parts[0] == "role" && len(parts) > 1:
		return "role", parts[len(parts)-1], c.Caller
	case ok && parts[0] == "user" && len(parts) > 1:
		return "user", parts[len(parts)-1], c.Caller
	}
	return "user", "USER_NAME", "PRINCIPAL_ARN"
}

// lastWord makes a policy's name of a secret's.
func lastWord(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:]
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
}

// lastEvent returns the index of the last event that matches, or -1.
func (c *Case) lastEvent(is func(*Event) bool) int {
	for i := len(c.Events) - 1; i >= 0; i-- {
		if is(&c.Events[i]) {
			return i
		}
	}
	return -1
}

// byFunction tells that a call was made by the function's role.
func (c *Case) byFunction(ev *Event) bool {
	role := c.roleName()
	return role != "" && (strings.Contains(ev.Principal, ":assumed-role/"+role+"/") || strings.HasSuffix(ev.Principal, ":role/"+role))
}

// rotateEvent returns a RotateSecret of the trail that was refused with a
// text, and that nothing came after.
func (c *Case) rotateEvent(has string) (Fact, bool) {
	i := c.lastEvent(func(ev *Event) bool { return ev.Name == "RotateSecret" })
	if i < 0 || c.Events[i].ErrorCode == "" || !strings.Contains(c.Events[i].ErrorMessage, has) {
		return Fact{}, false
	}
	return eventFact(&c.Events[i]), true
}

func checkSchedule(c *Case) *Finding {
	shown := c.told.Fact
	if c.symptom != badSchedule {
		found := false
		for _, s := range []string{"Invalid schedule expression", "Rate in ", "Duration ", "Starting hour and duration"} {
			if shown, found = c.rotateEvent(s); found {
				break
			}
		}
		if !found {
			return nil
		}
	}
	f := c.finding(Certain, fmt.Sprintf("The schedule for %s was refused: %s", c.secretName(), afterCode(shown.Text)), shown)
	f.Step = ""
	r := c.Secret.Rules
	if r.Expression != "" {
		if _, err := schedule.Parse(schedule.Rules{Expression: r.Expression, Duration: r.Duration}); err != nil {
			f.saw("DescribeSecret", "%s %s: %s", r.Expression, r.Duration, fault.KindOf(err))
		}
	}
	return f.cure("Correct the expression: cron(0 H D M W *) with minutes 0, year *, exactly one of the day fields ?, at least four hours between rotations; "+
		"rate(4 to 23 hours) or rate(1 to 999 days); the window (Duration) ends before midnight UTC.", "",
		c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(), "--rotation-rules",
			`{"ScheduleExpression":"cron(0 2 ? * SUN *)","Duration":"3h"}`, "--no-rotate-immediately"))
}

func afterCode(s string) string {
	if _, text, ok := strings.Cut(s, ": "); ok {
		return text
	}
	return s
}

func checkBothSchedules(c *Case) *Finding {
	shown, found := c.told.Fact, c.symptom == bothSchedules
	if !found {
		if shown, found = c.rotateEvent("both rotation frequency and schedule expression"); !found {
			return nil
		}
	}
	f := c.finding(Certain, "The call sent AutomaticallyAfterDays together with ScheduleExpression. DescribeSecret shows both, because the one is computed from the other; a request takes one.", shown)
	f.Step = ""
	rules := `{"AutomaticallyAfterDays":30}`
	if e := c.Secret.Rules.Expression; e != "" {
		rules = `{"ScheduleExpression":"` + plain(strings.ReplaceAll(e, `"`, "")) + `"}`
	}
	return f.cure("Send only one of the two.", "", c.aws("secretsmanager", "rotate-secret", "--secret-id", c.secretID(), "--rotation-rules", rules, "--no-rotate-immediately"))
}

func checkNotBegun(c *Case) *Finding {
	if c.failing() || c.stuck() || !c.isOverdue() || c.outcome == running || c.outcome == held || !c.Secret.DeletedAt.IsZero() {
		return nil
	}
	f := c.finding(Likely, fmt.Sprintf("%s was to rotate by %s, and no rotation has begun since.", c.secretName(), day(c.Secret.NextRotationAt))).as(rankBroken)
	f.Step = ""
	f.saw("DescribeSecret", "NextRotationDate %s, LastRotatedDate %s", day(c.Secret.NextRotationAt), day(c.Secret.LastRotatedAt))
	if g := c.gap("cloudtrail:"); g != nil {
		f.Confidence = Possible
		f.look("the events of the secret (RotationStarted, RotationFailed), which could not be read: %s", g.Error)
	} else {
		f.saw("LookupEvents", "no RotationStarted since")
	}
	if c.admission() == admitted {
		f.not("D20", "the function's policy admits Secrets Manager")
	}
	return f.cure("Rotate now, and see what happens.", "", c.rotateCommand()).act(Action{Kind: Rotate, Secret: c.secretID(), Rotates: true})
}

// silent tells that the failing step left nothing in a log that could be
// read.
func (c *Case) silent() bool {
	return c.outcome == failed && c.run == nil && c.Function != nil && c.Function.Found && c.gap("logs:") == nil && c.Secret.OwningService == ""
}

func checkNoLog(c *Case) *Finding {
	fn := c.Function
	if fn == nil || !fn.Found {
		return nil
	}
	if fn.State == "Failed" || fn.State == "Inactive" || fn.LastUpdateStatus == "Failed" {
		f := c.finding(Certain, fmt.Sprintf("%s cannot run: its state is %s (last update %s). %s", c.functionName(), cmp.Or(fn.State, "unknown"), cmp.Or(fn.LastUpdateStatus, "unknown"), fn.StateReason))
		f.saw("GetFunctionConfiguration", "State %s, LastUpdateStatus %s, %s", fn.State, fn.LastUpdateStatus, fn.StateReason)
		if !c.failing() {
			f.as(rankBroken)
		}
		if fn.State == "Inactive" {
			f.Confidence = Possible // it wakes up when it is invoked
			if !c.silent() {
				return nil
			}
		}
		f.cure("Wake the function up or mend what its state names; it must be Active.", "", c.onFunction("get-function-configuration"),
			c.aws("lambda", "wait", "function-active-v2", "--function-name", c.functionID()))
		return c.again(f, false)
	}
	if !c.silent() || c.symptom != stepFailed && c.symptom != noSymptom {
		return nil
	}
	f := c.finding(Possible, fmt.Sprintf("%s failed, and %s wrote nothing to its log at that time: it did not run, or may not write.", cmp.Or(c.step, "The rotation"), c.functionName()))
	f.fact(Fact{Source: "event", At: c.ended, Where: c.source.Where, Text: c.message})
	f.saw("FilterLogEvents", "no invocation in the log between %s and %s", day(c.started), day(c.ended))
	if d := c.refused("logs:", ""); d != nil {
		f.Confidence, f.Cause = Likely, fmt.Sprintf("The role of %s may not write logs (%s), so that nothing of it can be read.", c.functionName(), d.Action)
		f.fact(decisionFact(d))
		f.cure("Let the role write logs.", "", c.aws("iam", "attach-role-policy", "--role-name", c.roleName(),
			"--policy-arn", "arn:"+cmp.Or(c.Partition, "aws")+":iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"))
		return c.again(f, true)
	}
	if c.admission() == admitted {
		f.not("D20", "the function's policy admits Secrets Manager")
	}
	f.look("whether the function was throttled (CloudWatch, metric Throttles), which also leaves no log")
	f.look("whether it runs at all: aws secretsmanager rotate-secret with --no-rotate-immediately invokes testSecret alone")
	f.cure("Look at the function's state, its concurrency and its role's rights to write logs.", "", c.onFunction("get-function"))
	return c.again(f, false)
}

// refused returns the simulation's refusal of an action; resource "" for any.
func (c *Case) refused(action, resource string) *Decision {
	if c.Role == nil {
		return nil
	}
	for i := range c.Role.Decisions {
		d := &c.Role.Decisions[i]
		if strings.HasPrefix(d.Action, action) && d.Decision != "allowed" && d.Decision != "" && (resource == "" || d.Resource == resource) {
			return d
		}
	}
	return nil
}

func decisionFact(d *Decision) Fact {
	said := d.Action + " on " + d.Resource + ": " + d.Decision
	if d.Boundary {
		said += " (the permissions boundary)"
	}
	if len(d.MatchedBy) > 0 {
		said += " by " + strings.Join(d.MatchedBy, ", ")
	}
	return Fact{Source: "api", Where: "SimulatePrincipalPolicy", Text: said}
}
