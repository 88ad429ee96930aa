package server

import (
	"context"
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyturn/keyturn/internal/release"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/trail"
)

// gauges are the metrics that are looked up when somebody asks, not counted
// along the way.
type gauges struct {
	server *Server
	build  []string

	// A scrape asks the database at most every backlogAge.
	mu      sync.Mutex
	backlog store.Backlog
	at      time.Time
	err     error

	events, lost atomic.Uint64
}

// backlogAge is how old what is shown of the backlog may be; backlogLimit is
// how long a look at it may take.
const (
	backlogAge   = 10 * time.Second
	backlogLimit = 3 * time.Second
)

// gauge describes one of them, and finds its value.
type gauge struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*look) float64
}

// look is what one scrape sees.
type look struct {
	store    store.Stat
	backlog  store.Backlog
	failed   bool
	segments int
	bytes    int64
	events   uint64
	lost     uint64
}

// gaugeList are the gauges, but for the build's.
func gaugeList() []gauge {
	const counter, value = prometheus.CounterValue, prometheus.GaugeValue
	return []gauge{
		{"keyturn_secrets_overdue", "Secrets whose rotation is due for more than a minute and that no node has started.", value,
			func(l *look) float64 { return float64(l.backlog.Due) }},
		{"keyturn_rotation_delay_seconds", "How long the rotation that is overdue for longest has been due.", value,
			func(l *look) float64 { return since(l.backlog.OldestDue) }},
		{"keyturn_rotations_running", "Rotations under way on all nodes.", value,
			func(l *look) float64 { return float64(l.backlog.Running) }},
		{"keyturn_rotations_retrying", "Rotations under way whose first attempt failed.", value,
			func(l *look) float64 { return float64(l.backlog.Retrying) }},
		{"keyturn_cache_hits_total", "Reads of secrets that were answered from memory.", counter,
			func(l *look) float64 { return float64(l.store.CacheHits) }},
		{"keyturn_cache_misses_total", "Reads of secrets that asked the database.", counter,
			func(l *look) float64 { return float64(l.store.CacheMisses) }},
		{"keyturn_cache_bytes", "What cached records take.", value,
			func(l *look) float64 { return float64(l.store.CacheBytes) }},
		{"keyturn_cache_limit_bytes", "What cached records may take.", value,
			func(l *look) float64 { return float64(l.store.CacheLimit) }},
		{"keyturn_store_up", "1 if the last look at the database succeeded.", value,
			func(l *look) float64 { return number(!l.failed) }},
		{"keyturn_store_updates_total", "Transactions that were to change something.", counter,
			func(l *look) float64 { return float64(l.store.Updates) }},
		{"keyturn_store_failed_updates_total", "Transactions that were to change something and ended with an error, refusals included.", counter,
			func(l *look) float64 { return float64(l.store.FailedUpdates) }},
		{"keyturn_store_update_seconds_total", "What those transactions took together.", counter,
			func(l *look) float64 { return l.store.UpdateTime.Seconds() }},
		{"keyturn_feed_current", "1 if the changes of other nodes reach this one, so that its caches give answers.", value,
			func(l *look) float64 { return number(l.store.Current) }},
		{"keyturn_feed_age_seconds", "Age of the last proof that they do; 0 with SQLite.", value,
			func(l *look) float64 { return l.store.Proof.Seconds() }},
		{"keyturn_trail_events_total", "Events that this node wrote to its trail segments.", counter,
			func(l *look) float64 { return float64(l.events) }},
		{"keyturn_trail_lost_events_total", "Events that could not be written; their calls failed.", counter,
			func(l *look) float64 { return float64(l.lost) }},
		{"keyturn_trail_segments", "Trail segments on this node's disk.", value,
			func(l *look) float64 { return float64(l.segments) }},
		{"keyturn_trail_bytes", "What they take.", value,
			func(l *look) float64 { return float64(l.bytes) }},
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func since(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return time.Since(t).Seconds()
}

func newGauges(s *Server) *gauges {
	b := release.Read()
	return &gauges{server: s, build: []string{b.Version, b.Commit, b.Go, strconv.Itoa(store.Schema())}}
}

// buildInfo describes the metric that tells versions apart.
func buildInfo() *prometheus.Desc {
	return prometheus.NewDesc("keyturn_build_info", "Always 1; its labels say what runs here.", []string{"version", "commit", "go", "schema"}, nil)
}

func (g *gauge) desc() *prometheus.Desc { return prometheus.NewDesc(g.name, g.help, nil, nil) }

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	to <- buildInfo()
	for _, one := range gaugeList() {
		to <- one.desc()
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(buildInfo(), prometheus.GaugeValue, 1, g.build...)
	l := &look{store: g.server.store.Stat(), events: g.events.Load(), lost: g.lost.Load()}
	l.backlog, l.failed = g.backlogNow()
	l.segments, l.bytes = folderSize(filepath.Join(g.server.cfg.Dir, "trail"))
	for _, one := range gaugeList() {
		to <- prometheus.MustNewConstMetric(one.desc(), one.kind, one.value(l))
	}
}

// backlogNow returns what is to be rotated, and whether the look failed: then
// what was seen last.
func (g *gauges) backlogNow() (store.Backlog, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) < backlogAge {
		return g.backlog, g.err != nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), backlogLimit)
	defer cancel()
	b, err := g.server.store.Backlog(ctx)
	if g.at, g.err = time.Now(), err; err == nil {
		g.backlog = b
	}
	return g.backlog, err != nil
}

// record is the recorder's Record, counted.
func (g *gauges) record(events ...*trail.Event) error {
	err := g.server.recorder.Record(events...)
	if err != nil {
		g.lost.Add(uint64(len(events)))
	} else {
		g.events.Add(uint64(len(events)))
	}
	return err
}

// folderSize returns how many files a folder holds and what they take.
func folderSize(dir string) (files int, size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what went away meanwhile does not count
		}
		if info, err := d.Info(); err == nil {
			files, size = files+1, size+info.Size()
		}
		return nil
	})
	return files, size
}
