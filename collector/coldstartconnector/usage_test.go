package coldstartconnector

import (
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// usageOf is what the state counts of one warm invocation with the usage.
func usageOf(t *testing.T, memoryMB int64, change func(*lifecycle.Invocation)) *function {
	t.Helper()
	env := environment("f", "e")
	env.MemoryMB = memoryMB
	l := newLife(env, noon)
	inv := l.next(101 * time.Millisecond)
	inv.Report = &lifecycle.Report{
		Received: true, Duration: 101 * time.Millisecond, Billed: 101 * time.Millisecond, ExtensionOverhead: time.Millisecond,
		Usage: &lifecycle.Usage{CPU: 30 * time.Millisecond, RunDelay: 40 * time.Millisecond, Busiest: 30 * time.Millisecond, IdleGap: time.Minute},
	}
	change(inv)
	l.encoder.Invocation(l.spans, inv)
	s := newTestState()
	s.apply(decodeTraces(t, noon, l.cut()))
	return s.functions[0]
}

func TestUsage(t *testing.T) {
	type want struct {
		idle, busy, fullSpeed, implausible float64 // ms of the histograms, a count
	}
	f := func(what string, memoryMB int64, change func(*lifecycle.Invocation), w want) {
		t.Helper()
		f := usageOf(t, memoryMB, change)
		sum := func(fam family, values ...string) float64 {
			key := seriesKey{family: fam}
			copy(key.values[:], values)
			switch s := f.byKey[key]; {
			case s == nil:
				return 0
			case s.histogram != nil:
				return 1000 * s.histogram.sum
			default:
				return s.value
			}
		}
		got := want{sum(cpuUsage, "true"), sum(cpuUsage, "false"), sum(fullSpeed), sum(implausibleCPU)}
		near := func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }
		if !near(got.idle, w.idle) || !near(got.busy, w.busy) || !near(got.fullSpeed, w.fullSpeed) || got.implausible != w.implausible {
			t.Errorf("%s: %+v, want %+v", what, got, w)
		}
	}
	f("throttled", 512, func(*lifecycle.Invocation) {}, want{30, 0, 60, 0})
	f("back to back", 512, func(inv *lifecycle.Invocation) { inv.Report.Usage.IdleGap = time.Millisecond }, want{0, 30, 60, 0})
	f("no run delay", 512, func(inv *lifecycle.Invocation) {
		inv.Report.Usage.Unreadable = []string{lifecycle.UsageRunDelay}
	}, want{30, 0, 0, 0})
	f("no CPU time", 512, func(inv *lifecycle.Invocation) {
		inv.Report.Usage.Unreadable = []string{lifecycle.UsageCPU}
	}, want{})
	f("not measured", 512, func(inv *lifecycle.Invocation) { inv.Report.Usage = nil }, want{})
	f("cold", 512, func(inv *lifecycle.Invocation) { inv.StartType = lifecycle.Cold }, want{})
	f("failed", 512, func(inv *lifecycle.Invocation) { inv.Status = lifecycle.Error }, want{})
	f("more CPU time than there was", 512, func(inv *lifecycle.Invocation) {
		inv.Report.Usage.CPU, inv.Report.Usage.Busiest = 80*time.Millisecond, 80*time.Millisecond
	}, want{80, 0, 60, 1})
	f("an unknown size", 0, func(*lifecycle.Invocation) {}, want{30, 0, 0, 0})
}
