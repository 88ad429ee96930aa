package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/rotate"
)

// trial is one fault tried on one secret.
type trial struct {
	*worker
	fault  *fault
	result *Result
	ctx    context.Context
	over   chan struct{}
	began  time.Time
	arn    string
	// former are the secrets of the worker's trials before.
	former []string
	// initial is the first value, as the function reads it.
	initial value

	// entering is held while a step's begin is looked at.
	entering sync.Mutex
	// once makes a fault strike once where several calls could meet it.
	once sync.Mutex

	mu sync.Mutex
	progress
	// disarmed ends the fault.
	disarmed bool
	// struck counts how often it struck, struckIn is the attempt of the first.
	struck, struckIn int
	// repeating is the step that the rehearsal is invoking again.
	repeating string
	// foreign is the version that somebody else put, spoiled the password
	// that the database should have.
	foreign, spoiled string
	// lately is the value that logged in when it was last looked at.
	lately string
	// unable says why the fault could not strike, blind why the first look
	// that showed nothing did not.
	unable, blind string
	// proof is the RotationToken, once the function has passed it on.
	proof string
	// canaries are the secrets that the function must not show, hidden those
	// that only reports must not.
	canaries, hidden map[string]string
	found            []Finding
	events           []string
}

// progress is how far one rotation has come.
type progress struct {
	token string
	// seen is how many reports await has read.
	seen int
	// step is that of the last call, attempt the engine's.
	step    string
	attempt int
	// entered holds the steps of this attempt that made a call, ever those of
	// any; checked is how many steps have been looked at after their end.
	entered, ever map[string]bool
	checked       int
	// sound tells that the current version logged in when createSecret began.
	sound bool
	// pending is the value that createSecret stored.
	pending string
	// talked holds the steps in which the function spoke to the database.
	talked map[string]bool
	// failed is the engine's last report of a failed step.
	failed rotate.Report
}

// start forgets the rotation before.
func (t *trial) start(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = progress{token: token, attempt: 1, entered: map[string]bool{}, ever: map[string]bool{}, talked: map[string]bool{}}
}

// end ends what still holds a call.
func (t *trial) end() { close(t.over) }

func (t *trial) ended() <-chan struct{} { return t.over }

// version is the version of the rotation that is under way.
func (t *trial) version() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token
}

// run rotates with the fault, mends it, and demands what must hold then.
func (t *trial) run(ctx context.Context) error {
	if err := t.prepare(ctx); err != nil {
		return err
	}
	end, err := t.strikeWithin(ctx)
	if err != nil {
		return err
	}
	if whole, err := t.mend(ctx, end); err != nil || !whole {
		return err
	}
	if t.fault.at == never && end != rotate.Succeeded {
		t.result.stopped = true
		t.explainFailure(FailsPlain, "the rotation succeeds")
		return nil
	}
	good, err := t.converge(ctx, end)
	if err != nil || !good {
		return err
	}
	t.checkEnd()
	if t.fault.at == atEnd {
		t.strikeOnce(func() error { return t.repeat(finishSecret) })
	}
	if t.fault.at != never {
		return nil
	}
	return t.again(ctx)
}

// again rotates a second time.
func (t *trial) again(ctx context.Context) error {
	end, err := t.rotate(ctx)
	if err != nil {
		return err
	}
	if end != rotate.Succeeded {
		t.result.stopped = true
		t.explainFailure(FailsPlain, "a second rotation succeeds")
		return nil
	}
	t.checkEnd()
	return nil
}

// prepare makes the user and its secret.
func (t *trial) prepare(ctx context.Context) error {
	t.hideVariables()
	t.hideLive()
	password := ""
	if t.fault.act == actPunctuateCurrent {
		password = punctuated("", 0)
		t.struck++
	}
	secret, master, err := t.target.create(ctx, password)
	if err != nil {
		return err
	}
	t.watchValue(secret, "the first value")
	if t.needsSuperuser() {
		if master == nil {
			return errors.New("the strategy needs a superuser, and the service has none")
		}
		t.watchValue(master, "the superuser's secret")
		arn, err := t.store(ctx, "superuser", t.led(master))
		if err != nil {
			return err
		}
		secret = t.led(secret)
		secret["masterarn"] = arn
	}
	t.initial = t.led(secret)
	t.arn, err = t.store(ctx, "rehearsed", t.initial)
	return err
}

// led is a secret whose service is reached over the wire.
func (t *trial) led(secret value) value {
	copied := value{}
	for k, v := range secret {
		copied[k] = v
	}
	if t.wire != nil {
		copied["host"], copied["port"] = t.wire.host, t.wire.port
	}
	return copied
}

// rotate rotates once and waits until the first attempt has ended.
func (t *trial) rotate(ctx context.Context) (rotate.Status, error) {
	token := uuid.NewString()
	t.start(token)
	_, err := t.server.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: &t.arn, ClientRequestToken: &token, RotationLambdaARN: &t.worker.arn,
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	if err != nil {
		return "", fmt.Errorf("starting a rotation in the private server: %w", err)
	}
	return t.await(ctx)
}

// strikeWithin rotates until the fault has struck, or the rotation has ended
// without. An attempt may fail before, on a machine that is busy.
func (t *trial) strikeWithin(ctx context.Context) (rotate.Status, error) {
	end, err := t.rotate(ctx)
	for range maxAttempts {
		if err != nil || end != rotate.Retrying || t.fault.at == never || t.hasStruck() {
			break
		}
		t.note("the step failed before the fault; the rotation is asked for again")
		if _, err := t.server.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &t.arn}); err == nil {
			break // the rotation had ended, and another has begun
		}
		end, err = t.await(ctx)
	}
	return end, err
}

// maxAttempts bounds how often a rotation is repeated after the fault.
const maxAttempts = 3

// converge repeats the rotation until it succeeds.
func (t *trial) converge(ctx context.Context, end rotate.Status) (bool, error) {
	for range maxAttempts {
		if end == rotate.Succeeded {
			return true, nil
		}
		t.note("the rotation is asked for again")
		out, err := t.server.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &t.arn})
		if _, underWay := errors.AsType[*smtypes.InvalidRequestException](err); err != nil && !underWay {
			return false, fmt.Errorf("asking for a rotation in the private server: %w", err)
		}
		if err == nil {
			t.start(aws.ToString(out.VersionId)) // the one before is over
		}
		if end, err = t.await(ctx); err != nil {
			return false, err
		}
	}
	if end == rotate.Succeeded {
		return true, nil
	}
	t.explainFailure(t.blame(), "the rotation succeeds when it is repeated without the fault")
	return false, nil
}

// blame is the finding for a rotation that does not succeed after the fault.
func (t *trial) blame() Code {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch f := t.fault; {
	case f.act == actPunctuateCurrent || f.act == actPunctuateNew:
		return Punctuation
	case (f.at == after || f.at == effective) && t.failed.Step == f.step && t.struck > 0:
		return NotIdempotent // the step does not find what it had done before it was cut off
	}
	return DoesNotConverge
}

// pause is between two looks at the engine's reports.
const pause = 100 * time.Millisecond

// await waits until an attempt has ended and returns how.
func (t *trial) await(ctx context.Context) (rotate.Status, error) {
	for {
		reports, err := t.reports(ctx)
		if err != nil {
			return "", err
		}
		for _, rep := range reports[min(t.seen, len(reports)):] {
			t.seen++
			t.noteReport(&rep)
			if rep.Step != "" {
				continue
			}
			switch rep.Status {
			case rotate.Succeeded, rotate.Failed, rotate.Abandoned, rotate.Cancelled, rotate.Retrying:
				return rep.Status, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for the rotation's end: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

func (t *trial) noteReport(rep *rotate.Report) {
	if rep.Step != "" && rep.Status == rotate.Failed {
		t.mu.Lock()
		t.failed = *rep
		t.mu.Unlock()
	}
	t.note("%s", rotate.Line{Time: time.Now(), Report: rep}.Text()[len("15:04:05.000  "):])
}

// reports are the engine's about the rotation, oldest first.
func (t *trial) reports(ctx context.Context) ([]rotate.Report, error) {
	token := t.version()
	out, err := t.server.logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String(rotate.EngineGroup), LogStreamNamePrefix: &token,
	})
	if _, missing := errors.AsType[*logtypes.ResourceNotFoundException](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the engine's reports: %w", err)
	}
	var reports []rotate.Report
	for _, e := range out.Events {
		var rep rotate.Report
		if json.Unmarshal([]byte(aws.ToString(e.Message)), &rep) == nil {
			reports = append(reports, rep)
		}
	}
	return reports, nil
}

// locate finds out which step is running.
func (t *trial) locate() (step string, attempt int, repeat bool) {
	reports, err := t.reports(t.ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.repeating != "" {
		return t.repeating, t.attempt, true
	}
	if err != nil {
		return t.step, t.attempt, false
	}
	for _, rep := range reports {
		if rep.Status == rotate.Started && rep.Step != "" {
			step, attempt = rep.Step, max(rep.Attempt, 1)
		}
	}
	t.step = step
	return step, attempt, false
}

// note adds a line to the trial's course.
func (t *trial) note(format string, args ...any) {
	line := fmt.Sprintf("%6.2f s  ", time.Since(t.began).Seconds()) + fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, line)
}

// mend ends the fault and looks at what it has left. It tells whether the
// rotation can be expected to succeed then.
func (t *trial) mend(ctx context.Context, end rotate.Status) (whole bool, err error) {
	t.mu.Lock()
	t.disarmed = true
	spoiled, foreign, failed := t.spoiled, t.foreign, t.failed
	t.spoiled = ""
	t.mu.Unlock()
	if spoiled != "" {
		pending := parse(t.versionValue(t.version()))
		if err := t.target.setPassword(ctx, pending, spoiled); err != nil {
			return false, err
		}
		t.note("the database has the new password again")
	}
	t.checkSwallowed(&failed)
	if foreign != "" {
		return t.checkForeign(foreign, end), nil
	}
	t.look().someLogsIn("after the first attempt")
	return true, nil
}

// saw keeps that something could not be looked at: what a trial did not see it
// must not call good.
func (t *trial) saw(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.blind == "" {
		t.blind = err.Error()
	}
}

func (t *trial) isBlind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.blind != ""
}

// parse reads a value; nil for what is no JSON object.
func parse(text string) value {
	var v value
	if json.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	return v
}

// get reads a version of the secret, "" if it has no value.
func (t *trial) get(in *secretsmanager.GetSecretValueInput) string {
	in.SecretId = &t.arn
	out, err := t.server.secrets.GetSecretValue(t.ctx, in)
	if err != nil {
		if _, none := errors.AsType[*smtypes.ResourceNotFoundException](err); !none {
			t.saw(fmt.Errorf("reading a version: %w", err))
		}
		return ""
	}
	return aws.ToString(out.SecretString)
}

func (t *trial) versionValue(id string) string {
	return t.get(&secretsmanager.GetSecretValueInput{VersionId: &id})
}

func (t *trial) labelValue(label string) string {
	return t.get(&secretsmanager.GetSecretValueInput{VersionStage: &label})
}

// labels maps the versions to their labels, sorted.
func (t *trial) labels() map[string][]string {
	out, err := t.server.secrets.DescribeSecret(t.ctx, &secretsmanager.DescribeSecretInput{SecretId: &t.arn})
	if err != nil {
		t.saw(fmt.Errorf("reading the labels: %w", err))
		return nil
	}
	for _, labels := range out.VersionIdsToStages {
		slices.Sort(labels)
	}
	return out.VersionIdsToStages
}

// has tells whether a version has a label.
func (t *trial) has(id, label string) bool { return slices.Contains(t.labels()[id], label) }
