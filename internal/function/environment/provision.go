package environment

import (
	"time"

	"github.com/keyturn/keyturn/internal/function"
)

// provisionRetry is how long the pool waits after a provisioned environment
// could not be made.
const provisionRetry = 30 * time.Second

// provision is what is to be kept warm of one version.
type provision struct {
	spec    Spec
	runtime function.Runtime
	host    *host
	want    int
	err     error
	retry   time.Time
}

// ProvisionedStatus says how far provisioned concurrency has come.
type ProvisionedStatus struct {
	// Requested is what SetProvisioned asked for; Available how many
	// environments have finished their init.
	Requested, Available int
	// Err is why the last environment could not be made, or nil.
	Err error
}

// SetProvisioned keeps count environments of the version ready for events
// beside those made on demand; 0 ends that. It returns at once; Provisioned
// tells the progress.
func (p *Pool) SetProvisioned(spec Spec, count int) error {
	spec = spec.withDefaults()
	rt, err := served(spec.Runtime)
	if err != nil {
		return err
	}
	h, err := p.host()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return stopping().For(spec.FunctionARN)
	}
	v := spec.version()
	if count <= 0 {
		delete(p.warm, v)
	} else {
		p.warm[v] = &provision{spec: spec, runtime: rt, host: h, want: count}
	}
	kept := 0
	for e := range p.all {
		if !e.provisioned || e.spec.version() != v || p.all[e].doomed {
			continue
		}
		if e.spec.RevisionID == spec.RevisionID && kept < count {
			kept++
			continue
		}
		p.retire(e)
	}
	p.fill(v)
	return nil
}

// Provisioned returns the state of a version's provisioned concurrency; its
// Requested is 0 when there is none.
func (p *Pool) Provisioned(functionARN, number string) ProvisionedStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := version{functionARN, number}
	w := p.warm[v]
	if w == nil {
		return ProvisionedStatus{}
	}
	s := ProvisionedStatus{Requested: w.want, Err: w.err}
	for e, l := range p.all {
		if e.provisioned && e.spec.version() == v && l.ready && !l.doomed {
			s.Available++
		}
	}
	return s
}

// provisionedOf sums what is kept warm of all versions of a function.
func (p *Pool) provisionedOf(arn string) int {
	sum := 0
	for v, w := range p.warm {
		if v.arn == arn {
			sum += w.want
		}
	}
	return sum
}

// fill starts what is missing of a version's provisioned environments. The
// caller holds the lock.
func (p *Pool) fill(v version) {
	w := p.warm[v]
	if w == nil || p.closing || time.Now().Before(w.retry) {
		return
	}
	have := 0
	for e, l := range p.all {
		if e.provisioned && e.spec.version() == v && !l.doomed {
			have++
		}
	}
	for ; have < w.want && p.makeRoom(); have++ {
		p.begin(newEnvironment(p, w.host, w.spec, w.runtime, true), nil)
	}
}

// failed notes that an environment could not be made. On-demand failures are
// the invocation's answer; those of provisioned ones have nobody to tell.
func (p *Pool) failed(e *environment, err error) {
	p.cfg.Logger.Warn("an execution environment could not start", "function", e.spec.FunctionARN, "err", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.warm[e.spec.version()]; w != nil && e.provisioned {
		w.err, w.retry = err, time.Now().Add(provisionRetry)
	}
}
