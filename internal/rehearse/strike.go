package rehearse

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/rehearse/descendant"
)

// serve handles one call of the function: it looks at what the step before
// has left, at the call itself, and lets the fault strike. A nil answer breaks
// the connection off.
func (t *trial) serve(ctx context.Context, c *call, forward func() *answer) *answer {
	if t.version() == "" || c.in.SecretID != "" && slices.Contains(t.former, c.in.SecretID) {
		return forward() // an earlier trial's
	}
	c.step, c.attempt, c.repeat = t.locate()
	first := !c.repeat && t.enter(c)
	t.inspect(c)
	if a, answered := t.strike(ctx, c, first); answered {
		return a
	}
	a := forward()
	if a == nil {
		return nil
	}
	t.observe(c, a)
	return t.strikeAfter(ctx, c, a)
}

// meets tells whether the fault is for the call.
func (t *trial) meets(c *call) bool {
	f := t.fault
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.disarmed && t.unable == "" && !c.repeat && c.step == f.step && (f.call == "" || f.call == c.op) && (t.struck == 0 || t.struckIn == c.attempt)
}

// hit counts that the fault struck; it is the first time when it answers 1.
func (t *trial) hit(attempt int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.struck++
	t.struckIn = attempt
	return t.struck
}

// strikeOnce lets a fault strike that strikes once. It tells whether it did
// now; one that could not has not struck, and is not tried again.
func (t *trial) strikeOnce(act func() error) bool {
	t.once.Lock()
	t.mu.Lock()
	done, attempt := t.struck > 0 || t.unable != "", t.attempt
	t.mu.Unlock()
	if done {
		t.once.Unlock()
		return false
	}
	t.hit(attempt)
	t.once.Unlock()
	if err := act(); err != nil {
		t.note("the fault could not strike: %v", err)
		t.mu.Lock()
		t.struck, t.unable = 0, err.Error()
		t.mu.Unlock()
		return false
	}
	return true
}

// throttled is how many calls in a row are throttled.
const throttled = 2

// strike lets the fault strike before a call is passed on.
func (t *trial) strike(ctx context.Context, c *call, first bool) (a *answer, answered bool) {
	if !t.meets(c) {
		return nil, false
	}
	switch f := t.fault; {
	case f.at == atBegin && !first, f.at != atBegin && f.at != before:
		return nil, false
	case f.act == actKill:
		return nil, t.strikeOnce(func() error { return t.kill(c.op + " is held") })
	case f.act == actFail:
		t.hit(c.attempt)
		t.note("%s  %s fails and is not applied", c.step, c.op)
		return failed(), true
	case f.act == actThrottle:
		if t.hit(c.attempt) > throttled {
			return nil, false
		}
		t.note("%s  %s is throttled", c.step, c.op)
		return fail(http.StatusBadRequest, "ThrottlingException", "Rate exceeded"), true
	case f.act == actHang:
		t.hit(c.attempt)
		t.note("%s  %s is held and not applied", c.step, c.op)
		t.hang(ctx)
		return nil, true
	default:
		t.strikeOnce(func() error { return t.interfere(c) })
		return nil, false
	}
}

// interfere does what others may do between two calls of the function.
func (t *trial) interfere(c *call) error {
	switch t.fault.act {
	case actRepeat:
		return t.repeat(t.fault.repeated())
	case actPut:
		return t.foreignPut(c.step)
	case actRotate:
		return t.foreignRotate(c.step)
	case actSpoil:
		return t.spoil()
	}
	return nil
}

// foreignRotate asks for a rotation as somebody else would, who is refused
// because one is under way.
func (t *trial) foreignRotate(step string) error {
	_, err := t.server.secrets.RotateSecret(t.ctx, &secretsmanager.RotateSecretInput{SecretId: &t.arn})
	if err == nil {
		return errors.New("a second rotation was accepted, so it did not meet the one that is rehearsed")
	}
	if _, underWay := errors.AsType[*smtypes.InvalidRequestException](err); !underWay {
		return fmt.Errorf("asking for a second rotation: %w", err)
	}
	t.note("%s  somebody else asks for a rotation: refused, because one is under way", step)
	return nil
}

// strikeAfter lets the fault strike once a call was passed on.
func (t *trial) strikeAfter(ctx context.Context, c *call, a *answer) *answer {
	if t.fault.at != after || !t.meets(c) || a.status != http.StatusOK {
		return a
	}
	switch t.fault.act {
	case actKill:
		if t.strikeOnce(func() error { return t.kill(c.op + " was applied") }) {
			return nil
		}
	case actFail:
		t.hit(c.attempt)
		t.note("%s  %s was applied and fails", c.step, c.op)
		return failed()
	case actHang:
		t.hit(c.attempt)
		t.note("%s  %s was applied and is not answered", c.step, c.op)
		t.hang(ctx)
		return nil
	case actPunctuateNew:
		return t.punctuate(c, a)
	}
	return a
}

// failed is the answer of Secrets Manager for a failure of its own.
func failed() *answer {
	return fail(http.StatusInternalServerError, "InternalServiceError", "An error occurred on the server side.")
}

func (t *trial) kill(when string) error {
	n := descendant.Kill(t.server.cmd.Process.Pid, t.name)
	if n == 0 {
		return errors.New("the function's process was not found")
	}
	t.note("the function is killed (%d processes): %s", n, when)
	return nil
}

// hang waits until the function gives up or is ended.
func (t *trial) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-t.over:
	}
}

// connected tells what to do with a connection to the database.
func (t *trial) connected() action {
	if t.version() == "" {
		return actNothing // an earlier trial's
	}
	step, attempt, repeat := t.locate()
	t.mu.Lock()
	t.talked[step] = true
	t.mu.Unlock()
	if t.fault.at != connect || repeat || !t.meets(&call{step: step, attempt: attempt}) {
		return actNothing
	}
	if t.fault.act == actKill {
		if t.strikeOnce(func() error { return t.kill("it connects to the database in " + step) }) {
			return actKill
		}
		return actNothing
	}
	if t.hit(attempt) == 1 {
		t.note("%s  %s", step, t.fault.Title)
	}
	return t.fault.act
}

// speaks notes that the function sent something to the database.
func (t *trial) speaks() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.talked[t.step] = true
}

// takesEffect tells, of an answer of the database that is held, that the
// fault strikes now, because the pending value logs in.
func (t *trial) takesEffect() bool {
	t.mu.Lock()
	wanted := t.fault.at == effective && !t.disarmed && t.unable == "" && t.struck == 0 && t.step == t.fault.step && t.repeating == ""
	t.mu.Unlock()
	if !wanted {
		return false
	}
	pending := parse(t.versionValue(t.version()))
	if pending == nil {
		return false
	}
	if in, err := t.target.login(t.ctx, pending); err != nil || !in {
		return false
	}
	return t.strikeOnce(func() error {
		if t.fault.act == actKill {
			return t.kill("the database has the new password")
		}
		t.note("the connection is broken off: the database has the new password")
		return nil
	})
}

// repeat invokes a step again, with the same event, while the rotation waits.
func (t *trial) repeat(step string) error {
	t.mu.Lock()
	t.repeating = step
	token, proof := t.token, t.proof
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.repeating = ""
		t.mu.Unlock()
	}()
	if proof == "" {
		proof = uuid.NewString() // it is secret, and the function did not show it
	}
	event, err := json.Marshal(map[string]string{"Step": step, "SecretId": t.arn, "ClientRequestToken": token, "RotationToken": proof})
	if err != nil {
		return err
	}
	stored, labels := t.versionValue(token), t.labels()
	t.note("%s is invoked again", step)
	out, err := t.server.lambda.Invoke(t.ctx, &lambda.InvokeInput{FunctionName: &t.name, Payload: event})
	if err != nil {
		return fmt.Errorf("invoking %s again: %w", step, err)
	}
	t.searchText(string(out.Payload), "the error that "+step+" returned")
	if out.FunctionError != nil {
		t.add(Finding{Code: NotIdempotent, Step: step, At: step + " invoked again",
			Expected: "a step that had its effect succeeds when it is invoked again", Happened: "it failed: " + errorText(out.Payload)})
	}
	if t.versionValue(token) != stored {
		t.add(Finding{Code: NotIdempotent, Step: step, At: step + " invoked again",
			Expected: "the pending value stays as it was", Happened: "it is another value now"})
	}
	if changes := labelChanges(labels, t.labels()); changes != nil {
		t.add(Finding{Code: NotIdempotent, Step: step, At: step + " invoked again",
			Expected: "the versions keep their labels", Happened: "they changed", Evidence: changes})
	}
	t.look().someLogsIn("after " + step + " was invoked again")
	return nil
}

// labelChanges has a line for each version whose labels differ, in the order of
// the versions' IDs; nil when none do.
func labelChanges(before, after map[string][]string) (lines []string) {
	all := map[string][]string{}
	maps.Copy(all, before)
	maps.Copy(all, after)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if !slices.Equal(before[id], after[id]) {
			lines = append(lines, fmt.Sprintf("version %s: labels %v became %v", id, before[id], after[id]))
		}
	}
	return lines
}

// errorText is what an error payload says.
func errorText(payload []byte) string {
	var e struct{ ErrorType, ErrorMessage string }
	if json.Unmarshal(payload, &e) != nil {
		return "an error that is no JSON"
	}
	return strings.TrimPrefix(e.ErrorType+": "+e.ErrorMessage, ": ")
}

// foreignPut puts a value as an operator does: one that logs in now.
func (t *trial) foreignPut(step string) error {
	for _, text := range t.stored() {
		v := parse(text)
		if v == nil {
			continue
		}
		if in, err := t.target.login(t.ctx, v); err != nil || !in {
			continue
		}
		written, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		t.note("%s  somebody else puts a value that logs in", step)
		return t.putForeign(string(written))
	}
	return errors.New("no stored value logs in, so nobody could put one that does")
}

// putForeign puts a version that is not the rotation's.
func (t *trial) putForeign(written string) error {
	id := uuid.NewString()
	t.setForeign(id)
	_, err := t.server.secrets.PutSecretValue(t.ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &t.arn, ClientRequestToken: &id, SecretString: &written,
	})
	if err != nil {
		t.setForeign("")
		return fmt.Errorf("putting somebody else's value: %w", err)
	}
	return nil
}

func (t *trial) setForeign(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.foreign = id
}

// spoil takes the new password away from the database.
func (t *trial) spoil() error {
	pending := parse(t.versionValue(t.version()))
	password, ok := pending["password"].(string)
	if !ok {
		return errors.New("the pending value has no password that could be taken away")
	}
	if err := t.target.setPassword(t.ctx, pending, "Spoiled-"+rand.Text()); err != nil {
		return err
	}
	t.note("the database gets another password than the pending one")
	t.mu.Lock()
	t.spoiled = password
	t.mu.Unlock()
	return nil
}

// punctuate puts every punctuation character that the function allows into
// the password that it gets.
func (t *trial) punctuate(c *call, a *answer) *answer {
	if c.in.ExcludePunctuation || t.hasStruck() {
		return a
	}
	length := c.in.PasswordLength
	if length == 0 {
		length = len("aA1") + len(punctuation)
	}
	password := punctuated(c.in.ExcludeCharacters, length)
	t.hit(c.attempt)
	t.watch(password, "the new password")
	t.note("%s  the new password has every punctuation character that is not excluded", c.step)
	body, err := json.Marshal(map[string]string{"RandomPassword": password})
	if err != nil {
		return a
	}
	return &answer{status: a.status, header: a.header, body: body}
}

// hasStruck tells that the fault has struck.
func (t *trial) hasStruck() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.struck > 0
}

// punctuation is every character of ASCII's that is one.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// punctuated is a password with every punctuation character that is not
// excluded, and of the length if that is enough for them.
func punctuated(exclude string, length int) string {
	allowed := strings.Map(func(c rune) rune {
		if strings.ContainsRune(exclude, c) {
			return -1
		}
		return c
	}, punctuation)
	letters := rand.Text() + strings.ToLower(rand.Text()) + "234567"
	rest := max(length-3-len(allowed), 3)
	text := []byte("aZ7" + allowed + letters[:min(rest, len(letters))])
	for i := len(text) - 1; i > 0; i-- {
		j, err := rand.Int(rand.Reader, big.NewInt(int64(i+1)))
		if err != nil {
			panic(err) // the system's randomness does not fail
		}
		text[i], text[j.Int64()] = text[j.Int64()], text[i]
	}
	if length > 0 && len(text) > length {
		text = text[:length]
	}
	return string(text)
}
