package coldstartconnector

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// family is a metric, as an index into families.
type family uint8

const (
	invocations family = iota
	coldStarts
	errorCount
	timeouts
	invokeDuration
	initDuration
	memUsage
	billed
	billedGBSeconds
	partDuration
	extensionOverhead
	inits
	shutdowns
	logLatency
	logLines
	platformDropped
	reportsMissing
	selfReady
	selfCPU
	clusterCount
	clusterNN
	clusterSS
	clusterNS
	functionInfo
	causes
	slotRank
	concurrency
	environmentLifetime
	environmentIdle
	environmentInvocations
	late
	cpuUsage
	fullSpeed
	implausibleCPU
	packageDuration
	initProfiled
	heartbeat
	duplicates
	rejected
)

var families = [...]metric.Definition{
	invocations:       metric.Invocations,
	coldStarts:        metric.ColdStarts,
	errorCount:        metric.Errors,
	timeouts:          metric.Timeouts,
	invokeDuration:    metric.InvokeDuration,
	initDuration:      metric.InitDuration,
	memUsage:          metric.MemUsage,
	billed:            metric.BilledDuration,
	billedGBSeconds:   metric.BilledGBSeconds,
	partDuration:      metric.InitPartDuration,
	extensionOverhead: metric.ExtensionOverhead,
	inits:             metric.Inits,
	shutdowns:         metric.Shutdowns,
	logLatency:        metric.LogLatency,
	logLines:          metric.LogLines,
	platformDropped:   metric.PlatformDropped,
	reportsMissing:    metric.ReportsMissing,
	selfReady:         metric.SelfReady,
	selfCPU:           metric.SelfCPU,
	clusterCount:      metric.Clusters,
	clusterNN:         metric.ClusterNN,
	clusterSS:         metric.ClusterSS,
	clusterNS:         metric.ClusterNS,
	functionInfo:      metric.FunctionInfo,

	causes:                 metric.ColdStartCauses,
	slotRank:               metric.SlotRank,
	concurrency:            metric.Concurrency,
	environmentLifetime:    metric.EnvironmentLifetime,
	environmentIdle:        metric.EnvironmentIdle,
	environmentInvocations: metric.EnvironmentInvocations,
	late:                   metric.Late,
	cpuUsage:               metric.CPUUsage,
	fullSpeed:              metric.FullSpeedDuration,
	implausibleCPU:         metric.ImplausibleCPU,

	packageDuration: metric.InitPackageDuration,
	initProfiled:    metric.InitProfiled,

	heartbeat:  metric.Heartbeat,
	duplicates: metric.Duplicates,
	rejected:   metric.Rejected,
}

// maxLabels is the largest number of labels that a metric has beyond the
// common ones.
const maxLabels = 3

// seriesKey tells the series of a function apart. The values are those of the
// family's Labels, in that order.
type seriesKey struct {
	family family
	values [maxLabels]string
}

// series is one time series.
type series struct {
	key seriesKey
	// value is that of a counter or gauge, histogram is nil then.
	value     float64
	histogram *histogram
	// changed since it was last emitted.
	changed bool
}

// functionKey is what the common labels are made of.
type functionKey struct {
	account, region, name, version string
	memoryMB                       int64
	arch, kind                     string
}

func keyOf(env *lifecycle.Environment) functionKey {
	return functionKey{
		account:  clean(env.AccountID),
		region:   clean(env.Region),
		name:     clean(env.Name),
		version:  clean(env.Version),
		memoryMB: env.MemoryMB,
		arch:     clean(env.Arch),
		kind:     clean(string(env.Kind)),
	}
}

// labels returns the values of metric.Common, in that order.
func (k functionKey) labels() []string {
	memory := ""
	if k.memoryMB > 0 {
		memory = strconv.FormatInt(k.memoryMB, 10)
	}
	return []string{k.account, k.region, k.name, k.version, memory, k.arch, k.kind}
}

// function is a function in one version, size, architecture and kind: the
// series that share the common labels.
type function struct {
	key    functionKey
	byKey  map[seriesKey]*series
	series []*series
	// plain are the series that have no further labels, and sums those of
	// cluster: both are looked up for every invocation.
	plain [len(families)]*series
	sums  [2]*clusterSums
	// noted is what the last info was taken from: it is nearly always the same.
	noted infoSource
	// hour of the last change, by arrival.
	hour int64
	// changed says that a series has; due is when all are emitted again.
	changed bool
	due     int64
}

// infoSource is what functionInfo is made of.
type infoSource struct {
	runtime, arn  string
	cpuUnenforced bool
}

func newFunction(key functionKey) *function {
	return &function{key: key, byKey: map[seriesKey]*series{}}
}

// clusterSums are the series of a quantity's clusters.
type clusterSums struct{ count, nn, ss, ns *series }

// clusterSums returns the series of q, which has the label.
func (f *function) clusterSums(q quantity, label string) *clusterSums {
	if f.sums[q] == nil {
		f.sums[q] = &clusterSums{
			f.get(clusterCount, label), f.get(clusterNN, label), f.get(clusterSS, label), f.get(clusterNS, label),
		}
	}
	return f.sums[q]
}

func (s *series) add(n float64) {
	s.value += n
	s.changed = true
}

// get returns a series, which is about to change.
func (f *function) get(fam family, values ...string) *series {
	f.changed = true
	if len(values) > 0 {
		return f.lookup(fam, values...)
	}
	if f.plain[fam] == nil {
		f.plain[fam] = f.lookup(fam)
	}
	f.plain[fam].changed = true
	return f.plain[fam]
}

func (f *function) lookup(fam family, values ...string) *series {
	key := seriesKey{family: fam}
	copy(key.values[:], values)
	s := f.byKey[key]
	if s == nil {
		s = &series{key: key}
		if families[fam].Kind == metric.Histogram {
			s.histogram = &histogram{}
		}
		f.byKey[key] = s
		f.series = append(f.series, s)
	}
	s.changed = true
	return s
}

func (f *function) add(fam family, n float64, values ...string) {
	f.get(fam, values...).value += n
}

func (f *function) observe(fam family, v float64, values ...string) {
	f.get(fam, values...).histogram.observe(v)
}

// limits bound what strangers can make the state hold.
type limits struct {
	// spanHours is how long, and spans how many ids are remembered.
	spanHours int64
	spans     int
	functions int
	clusters  int
	// expiryHours is after how many idle hours a function is forgotten.
	expiryHours int64
	// watermark is how long after it happened something is settled, in
	// microseconds.
	watermark int64
}

// state is everything that has been counted. It knows no clock and does no
// input or output: it is a function of the batches that were applied to it.
type state struct {
	limits limits
	// instance is service.instance.id: whoever starts from zero is another one.
	instance string
	// startMs is when counting began, emittedMs the timestamp of the last
	// emission, both in milliseconds since 1970.
	startMs, emittedMs int64
	// clock is when the last batch arrived, in seconds since 1970. It is virtual
	// when the spans themselves say what time it is.
	clock   int64
	virtual bool

	byKey     map[functionKey]*function
	functions []*function
	// self has the series that are per collector.
	self     *function
	seen     *seen
	clusters *clusters
	settler  *settler
}

func newState(l limits, instance string, startMs int64) *state {
	s := &state{
		limits:   l,
		instance: instance,
		startMs:  startMs,
		byKey:    map[functionKey]*function{},
		self:     newFunction(functionKey{}),
		seen:     newSeen(),
		clusters: newClusters(),
		settler:  newSettler(),
	}
	s.self.get(heartbeat).value = 1
	s.self.get(duplicates)
	s.self.get(rejected)
	return s
}

// batch is what one call of ConsumeTraces brought. One without observations
// only says that time went by.
type batch struct {
	// at is when it arrived, in seconds since 1970.
	at           int64
	rejected     int64
	observations []lifecycle.Observation
	// drain asks for everything to be settled that has arrived.
	drain bool
}

// apply counts a batch.
func (s *state) apply(b batch) {
	hour := b.at / 3600
	s.clock = max(s.clock, b.at)
	if s.startMs == 0 {
		s.startMs = b.at * 1000
	}
	s.seen.forget(hour-s.limits.spanHours, s.limits.spans)
	s.clusters.prune(hour, s.limits.clusters)
	bad := b.rejected
	var env *lifecycle.Environment
	var f *function
	for i := range b.observations {
		o := &b.observations[i]
		if !s.seen.add(spanID(o.SpanID), hour) {
			s.self.add(duplicates, 1)
			continue
		}
		if o.Environment != env || f == nil {
			env, f = o.Environment, s.function(keyOf(o.Environment), hour)
		}
		if f == nil {
			bad++
			continue
		}
		fold{s, f, o, hour}.observation()
		if m, ok := momentOf(f, o); ok {
			s.settler.note(m, b.at)
		}
	}
	s.settler.settle(b.at*1e6-s.limits.watermark, maxPending)
	if b.drain {
		s.settler.drain()
	}
	s.settler.sweep(hour, s.limits.expiryHours, maxEnvironments)
	if bad > 0 {
		s.self.add(rejected, float64(bad))
	}
}

func spanID(id pcommon.SpanID) uint64 {
	var n uint64
	for _, b := range id {
		n = n<<8 | uint64(b)
	}
	return n
}

// function returns the function with the key; nil if there are too many. One
// that has expired begins anew. That is decided here, at the arrival of a
// batch, so that a replay of the journal decides the same.
func (s *state) function(key functionKey, hour int64) *function {
	f := s.byKey[key]
	if f != nil && s.expired(f, hour) {
		s.expire(hour)
		f = nil
	}
	if f == nil {
		if len(s.functions) >= s.limits.functions {
			if s.expire(hour); len(s.functions) >= s.limits.functions {
				return nil
			}
		}
		f = newFunction(key)
		s.insert(f)
	}
	f.hour = max(f.hour, hour)
	return f
}

func (s *state) insert(f *function) {
	s.byKey[f.key] = f
	s.functions = append(s.functions, f)
}

func (s *state) expired(f *function, hour int64) bool {
	return hour-f.hour > s.limits.expiryHours
}

// expire forgets the functions that have been idle for too long.
func (s *state) expire(hour int64) {
	kept := s.functions[:0]
	for _, f := range s.functions {
		if s.expired(f, hour) {
			delete(s.byKey, f.key)
			continue
		}
		kept = append(kept, f)
	}
	clear(s.functions[len(kept):])
	s.functions = kept
}

// Intervals after which series are emitted though they have not changed. The
// look-back of PromQL is five minutes. Functions are spread over a minute so
// that after a restart not all of them are written in the same instant.
const (
	refreshMs          = 4 * 60 * 1000
	refreshSpreadMs    = 60 * 1000
	refreshHeartbeatMs = 60 * 1000
)

// collect returns what has to be emitted at nowMs. The timestamp is nowMs, or
// later if that would not be after the last one: a store keeps the first value
// of two at one timestamp.
func (s *state) collect(nowMs int64) *emission {
	ts := max(nowMs, s.emittedMs+1)
	s.emittedMs = ts
	s.expire(nowMs / 3600000)

	w := newWriter(s.instance, s.startMs, ts)
	w.function(s.self, refreshHeartbeatMs)
	for i, f := range s.functions {
		w.function(f, refreshMs-int64(i)*7919%refreshSpreadMs)
	}
	return w.emission
}
