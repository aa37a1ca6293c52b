package coldstartconnector

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// noon is when the tests happen.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var testLimits = limits{spanHours: 24, spans: 1000, functions: 10, clusters: 1000, expiryHours: 720}

func newTestState() *state { return newState(testLimits, "the-instance", noon.UnixMilli()) }

func environment(name, id string) *lifecycle.Environment {
	return &lifecycle.Environment{
		Function: lifecycle.Function{AccountID: "123456789012", Region: "eu-west-1", Name: name},
		Version:  "7", Kind: lifecycle.OnDemand, ID: id, MemoryMB: 512, Arch: "arm64",
		RuntimeVersion: "nodejs:22.v1", ServiceName: name,
	}
}

// life makes the traces of one environment, with the real encoder.
type life struct {
	encoder lifecycle.Encoder
	now     time.Time
	td      ptrace.Traces
	spans   ptrace.SpanSlice
	n       int
}

func newLife(env *lifecycle.Environment, at time.Time) *life {
	l := &life{encoder: lifecycle.Encoder{Environment: env, ScopeVersion: "test"}, now: at}
	l.cut()
	return l
}

// cut returns the traces so far and begins new ones.
func (l *life) cut() ptrace.Traces {
	td := l.td
	l.td = ptrace.NewTraces()
	l.spans = l.encoder.Scope(l.td)
	return td
}

// next returns a warm invocation, one second after the previous.
func (l *life) next(d time.Duration) *lifecycle.Invocation {
	l.n++
	l.now = l.now.Add(time.Second)
	return &lifecycle.Invocation{
		RequestID: fmt.Sprintf("request-%d", l.n), Start: l.now,
		ARN:       "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
		StartType: lifecycle.Warm, Status: lifecycle.Success,
		Run: &lifecycle.Run{Duration: d},
	}
}

func report(d time.Duration) *lifecycle.Report {
	return &lifecycle.Report{
		Received: true, Duration: d, Billed: d.Round(time.Millisecond), ExtensionOverhead: 200 * time.Microsecond, MaxMemoryUsedMB: 100,
		Usage: &lifecycle.Usage{CPU: d / 4, RunDelay: d / 3, Busiest: d / 4, IdleGap: time.Second},
	}
}

// warm adds a warm invocation with its report.
func (l *life) warm(d time.Duration) {
	inv := l.next(d)
	inv.Report = report(d)
	l.encoder.Invocation(l.spans, inv)
}

func (l *life) cold(initDuration, d time.Duration) {
	inv := l.next(d)
	inv.StartType = lifecycle.Cold
	start := inv.Start.Add(-initDuration)
	inv.Init = &lifecycle.Init{
		Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Start: start, Duration: initDuration,
		Status: lifecycle.Success, Self: lifecycle.SelfCost{Ready: 5 * time.Millisecond, CPU: 4 * time.Millisecond},
		Parts: lifecycle.FillParts(start, initDuration, []lifecycle.Part{
			{Name: lifecycle.PartExtensions, Duration: 10 * time.Millisecond, Basis: lifecycle.Derived},
			{Name: lifecycle.PartRuntimeFunction, Duration: initDuration / 2, Basis: lifecycle.Derived},
		}),
	}
	inv.Report = report(d)
	l.encoder.Invocation(l.spans, inv)
}

// decodeTraces makes a batch as ConsumeTraces does.
func decodeTraces(t testing.TB, at time.Time, tds ...ptrace.Traces) batch {
	t.Helper()
	b := batch{at: at.Unix()}
	for _, td := range tds {
		for _, rs := range td.ResourceSpans().All() {
			lifecycle.Decode(rs, func(o lifecycle.Observation) { b.observations = append(b.observations, o) }, func(err error) { t.Fatal(err) })
		}
	}
	return b
}

// dump writes metrics as lines, one a point, in order.
func dump(md pmetric.Metrics) string {
	var lines []string
	line := func(name string, attrs pcommon.Map, value string) {
		var labels []string
		for k, v := range attrs.All() {
			labels = append(labels, k+"="+v.AsString())
		}
		slices.Sort(labels)
		lines = append(lines, fmt.Sprintf("%s{%s} %s", name, strings.Join(labels, ", "), value))
	}
	number := func(name string, points pmetric.NumberDataPointSlice) {
		for _, p := range points.All() {
			if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
				line(name, p.Attributes(), fmt.Sprint(p.IntValue()))
			} else {
				line(name, p.Attributes(), fmt.Sprintf("%.9g", p.DoubleValue()))
			}
		}
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeSum:
					number(m.Name(), m.Sum().DataPoints())
				case pmetric.MetricTypeGauge:
					number(m.Name(), m.Gauge().DataPoints())
				case pmetric.MetricTypeExponentialHistogram:
					for _, p := range m.ExponentialHistogram().DataPoints().All() {
						line(m.Name(), p.Attributes(), fmt.Sprintf("count %d sum %.9g zero %d scale %d buckets %s",
							p.Count(), p.Sum(), p.ZeroCount(), p.Scale(), dumpBuckets(p.Positive())))
					}
				}
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func dumpBuckets(b pmetric.ExponentialHistogramDataPointBuckets) string {
	var parts []string
	for i, n := range b.BucketCounts().All() {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d:%d", int(b.Offset())+i, n))
		}
	}
	return strings.Join(parts, " ")
}

// everything dumps all that a state has counted.
func everything(s *state) string {
	for _, f := range append(slices.Clone(s.functions), s.self) {
		f.due = 0
	}
	return dump(s.collect(noon.UnixMilli()).metrics)
}
