package coldstartconnector

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/internal/version"
)

// scopeName is the instrumentation scope of the metrics.
const scopeName = "github.com/thaw-lambda/thaw/collector/coldstartconnector"

// emission is one batch of metrics with one timestamp.
type emission struct {
	metrics pmetric.Metrics
	touched []touched
}

type touched struct {
	function *function
	series   *series
}

// refused marks what an emission held as not emitted.
func (e *emission) refused() {
	for _, t := range e.touched {
		t.series.changed, t.function.changed = true, true
	}
}

// writer builds an emission.
type writer struct {
	*emission
	instance  string
	start, ts pcommon.Timestamp
	slice     pmetric.MetricSlice
	families  [len(families)]pmetric.Metric
	began     [len(families)]bool
}

func newWriter(instance string, startMs, tsMs int64) *writer {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "thaw-collector")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(scopeName)
	sm.Scope().SetVersion(version.String())
	return &writer{
		emission: &emission{metrics: md},
		instance: instance,
		start:    pcommon.Timestamp(startMs * 1e6),
		ts:       pcommon.Timestamp(tsMs * 1e6),
		slice:    sm.Metrics(),
	}
}

// function writes the series of f that changed, and all of them when it is
// refreshMs since that was last done.
func (w *writer) function(f *function, refreshMs int64) {
	nowMs := int64(w.ts / 1e6)
	all := nowMs >= f.due
	if all {
		f.due = nowMs + refreshMs
	}
	if !all && !f.changed {
		return
	}
	f.changed = false
	common := f.key.labels()
	for _, s := range f.series {
		if all || s.changed {
			w.point(s, common)
			s.changed = false
			w.touched = append(w.touched, touched{f, s})
		}
	}
}

func (w *writer) point(s *series, common []string) {
	m := w.metric(s.key.family)
	def := &families[s.key.family]
	if def.Kind == metric.Histogram {
		p := m.ExponentialHistogram().DataPoints().AppendEmpty()
		p.SetStartTimestamp(w.start)
		p.SetTimestamp(w.ts)
		p.SetScale(def.Scale)
		p.SetCount(s.histogram.count)
		p.SetSum(s.histogram.sum)
		p.SetZeroCount(s.histogram.zero)
		offset, counts := s.histogram.dense()
		p.Positive().SetOffset(offset)
		p.Positive().BucketCounts().FromRaw(counts)
		w.attributes(p.Attributes(), s, common)
		return
	}
	points := pmetric.NumberDataPointSlice{}
	if def.Kind == metric.Gauge {
		points = m.Gauge().DataPoints()
	} else {
		points = m.Sum().DataPoints()
	}
	p := points.AppendEmpty()
	p.SetTimestamp(w.ts)
	if def.Kind == metric.Counter {
		p.SetStartTimestamp(w.start)
	}
	if fractional(s.key.family) {
		p.SetDoubleValue(s.value)
	} else {
		p.SetIntValue(int64(s.value))
	}
	w.attributes(p.Attributes(), s, common)
}

// fractional says which counters do not count things.
func fractional(f family) bool {
	return f == selfCPU || f == clusterSS || f == clusterNS || f == billedGBSeconds
}

func (w *writer) attributes(m pcommon.Map, s *series, common []string) {
	def := &families[s.key.family]
	m.EnsureCapacity(len(common) + len(def.Labels) + 1)
	if !def.PerCollector {
		for i, name := range metric.Common() {
			put(m, name, common[i])
		}
	}
	for i, name := range def.Labels {
		put(m, name, s.key.values[i])
	}
	m.PutStr(metric.LabelInstance, w.instance)
}

func put(m pcommon.Map, name, value string) {
	if value != "" {
		m.PutStr(name, value)
	}
}

// metric returns the metric of a family, which it begins where there is none.
func (w *writer) metric(f family) pmetric.Metric {
	if w.began[f] {
		return w.families[f]
	}
	def := &families[f]
	m := w.slice.AppendEmpty()
	m.SetName(def.Name)
	m.SetUnit(def.Unit)
	m.SetDescription(def.Text)
	switch def.Kind {
	case metric.Counter:
		m.SetEmptySum().SetIsMonotonic(true)
		m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	case metric.Gauge:
		m.SetEmptyGauge()
	case metric.Histogram:
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	}
	w.families[f], w.began[f] = m, true
	return m
}
