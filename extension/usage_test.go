package extension

import (
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// counters is a source of readings made up beforehand.
type counters struct {
	readings []reading
	closed   bool
}

func (c *counters) read() reading {
	r := c.readings[0]
	c.readings = c.readings[1:]
	return r
}

func (c *counters) close() { c.closed = true }

const msec = time.Millisecond

func TestMeter(t *testing.T) {
	before := reading{
		processes: 1, cpu: 100 * msec, steal: 10 * msec, received: 1000, sent: 500,
		threads: []threadReading{{7, 80 * msec, 5 * msec}, {9, 20 * msec, msec}},
	}
	after := reading{
		processes: 1, cpu: 130 * msec, steal: 30 * msec, received: 1500, sent: 700, peakMemory: 9 << 20, threadCount: 3, tmp: 4096,
		threads: []threadReading{{7, 82 * msec, 9 * msec}, {9, 40 * msec, 4 * msec}, {11, 8 * msec, 6 * msec}},
	}
	f := func(name string, change func(from, to *reading), want lifecycle.Usage) {
		t.Helper()
		from, to := before, after
		change(&from, &to)
		m := meter{source: &counters{readings: []reading{from, to}}}
		if usage := m.lap(); usage != nil {
			t.Errorf("%s: the first lap measured %+v", name, usage)
		}
		if got := m.lap(); !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, *got, want)
		}
	}
	same := func(_, _ *reading) {}
	all := lifecycle.Usage{
		CPU: 30 * msec, RunDelay: 6 * msec, Busiest: 20 * msec, Steal: 20 * msec,
		PeakMemory: 9 << 20, Threads: 3, Tmp: 4096, Received: 500, Sent: 200,
	}
	f("everything", same, all)
	noDelay := all
	noDelay.RunDelay, noDelay.Busiest, noDelay.Unreadable = 0, 0, []string{lifecycle.UsageRunDelay}
	f("no schedstat", func(from, to *reading) {
		from.threads, to.threads, to.unreadable = nil, nil, []string{lifecycle.UsageRunDelay}
	}, noDelay)
	gone := lifecycle.Usage{
		Steal: 20 * msec, Tmp: 4096, Received: 500, Sent: 200,
		Unreadable: []string{lifecycle.UsageCPU, lifecycle.UsageRunDelay, lifecycle.UsageMemory, lifecycle.UsageThreads},
	}
	f("the process has ended", func(_, to *reading) { to.gone = true }, gone)
	f("there was none", func(from, _ *reading) { from.processes = 0 }, gone)
	reset := all
	reset.CPU, reset.Steal, reset.Received, reset.Sent = 0, 0, 0, 0
	f("counters that fell", func(from, _ *reading) {
		from.cpu, from.steal, from.received, from.sent = time.Hour, time.Hour, 1e9, 1e9
	}, reset)
}

// Each reading ends one measurement and begins the next, so that readings are
// few, and what is between two invocations is not lost.
func TestMeterStops(t *testing.T) {
	source := &counters{readings: []reading{
		{processes: 1, cpu: 10 * msec}, {processes: 1, cpu: 25 * msec}, {processes: 1, cpu: 95 * msec}, {processes: 1, cpu: 96 * msec},
	}}
	m := meter{source: source}
	m.lap()
	if got := m.stop(); got.CPU != 15*msec {
		t.Errorf("CPU %v", got.CPU)
	}
	if got := m.stop(); got != nil {
		t.Errorf("stopped twice: %+v", got)
	}
	if got := m.lap(); got != nil {
		t.Errorf("the invocation before was measured twice: %+v", got)
	}
	if got := m.lap(); got.CPU != 70*msec {
		t.Errorf("CPU %v", got.CPU)
	}
	if got := m.stop(); got.CPU != msec {
		t.Errorf("CPU %v", got.CPU)
	}
	if len(source.readings) != 0 {
		t.Errorf("%d readings were not made", len(source.readings))
	}
	var off *meter
	if off.lap() != nil || off.stop() != nil {
		t.Error("a meter that is off measures")
	}
	off.close()
}

// usageLife is a recorder whose meter reads made-up counters: 1 ms of CPU time
// more at each reading.
func usageLife(t *testing.T) (r *recorder, usages func() []*lifecycle.Usage) {
	t.Helper()
	source := &counters{}
	for i := range 100 {
		source.readings = append(source.readings, reading{processes: 1, cpu: time.Duration(i*(i+1)/2) * msec})
	}
	r = newRecorder(zerolog.Nop())
	r.machine.telemetry, r.machine.firstSeen = true, true
	r.meter = &meter{source: source}
	var out []*lifecycle.Usage
	return r, func() []*lifecycle.Usage {
		for _, it := range r.machine.take() {
			if it.invocation != nil && it.invocation.Report != nil {
				out = append(out, it.invocation.Report.Usage)
			}
		}
		return out
	}
}

// Whatever the order in which INVOKE, the end of the run and the report come,
// each invocation has the usage that lies behind its own INVOKE.
func TestUsageBelongsToItsInvocation(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	id := func(i int) string { return string(rune('a' + i)) }
	start := func(i int) time.Time { return base.Add(time.Duration(i) * time.Second) }
	done := func(i int) []event {
		return []event{
			{kind: lambdaapi.TypeRuntimeDone, time: start(i).Add(100 * msec), digest: uint64(10*i + 1), record: &lambdaapi.RuntimeDone{RequestID: id(i), Status: "success", Metrics: &lambdaapi.RuntimeDoneMetrics{DurationMs: 100}}},
			{kind: lambdaapi.TypeReport, time: start(i).Add(101 * msec), digest: uint64(10*i + 2), record: &lambdaapi.Report{RequestID: id(i), Metrics: lambdaapi.ReportMetrics{DurationMs: 101}}},
		}
	}
	begun := func(i int) []event {
		return []event{{kind: lambdaapi.TypeStart, time: start(i), digest: uint64(10*i + 3), record: &lambdaapi.Start{RequestID: id(i)}}}
	}
	invoke := func(r *recorder, i int) {
		r.machine.measure(r.meter.lap())
		r.machine.invoke(start(i).Add(msec), lambdaapi.NextEvent{RequestID: id(i)})
	}
	observe := func(r *recorder, i int, events []event) {
		if r.machine.measuredEnds(events) {
			r.machine.measure(r.meter.stop())
		}
		r.machine.observe(start(i), events)
	}

	t.Run("the end arrives before the next INVOKE", func(t *testing.T) {
		r, usages := usageLife(t)
		for i := range 3 {
			invoke(r, i)
			observe(r, i, begun(i))
			observe(r, i, done(i))
		}
		checkUsages(t, usages(), []time.Duration{1 * msec, 2 * msec, 3 * msec}, []time.Duration{0, 900 * msec, 900 * msec})
	})
	t.Run("the end arrives after the next INVOKE", func(t *testing.T) {
		r, usages := usageLife(t)
		for i := range 3 {
			invoke(r, i)
			if i > 0 {
				observe(r, i, done(i-1))
			}
			observe(r, i, begun(i))
		}
		observe(r, 2, done(2))
		checkUsages(t, usages(), []time.Duration{1 * msec, 2 * msec, 3 * msec}, []time.Duration{0, 900 * msec, 900 * msec})
	})
	t.Run("nothing comes but INVOKE", func(t *testing.T) {
		r, usages := usageLife(t)
		r.machine.telemetry = false
		for i := range 3 {
			invoke(r, i)
		}
		r.machine.measure(r.meter.stop())
		r.machine.finish("spindown")
		checkUsages(t, usages(), []time.Duration{1 * msec, 2 * msec, 3 * msec}, nil)
	})
}

func checkUsages(t *testing.T, got []*lifecycle.Usage, cpu, gaps []time.Duration) {
	t.Helper()
	if len(got) != len(cpu) {
		t.Fatalf("%d usages, want %d", len(got), len(cpu))
	}
	for i, u := range got {
		if u == nil || u.CPU != cpu[i] || gaps != nil && u.IdleGap != gaps[i] {
			t.Errorf("invocation %d: %+v, want CPU %v", i, u, cpu[i])
		}
	}
}

func TestUsageOff(t *testing.T) {
	f := func(value string, on bool) {
		t.Helper()
		environ := []string{"AWS_LAMBDA_RUNTIME_API=a", "THAW_USAGE=" + value}
		cfg, _ := readConfig(environ)
		l := &life{process: Process{Environ: environ}, log: zerolog.Nop()}
		r := l.newRecorder(&cfg, lambdaapi.RegisterResponse{}, time.Now())
		defer r.close()
		if supported := newMeter(lookup(environ)) != nil; (r.meter != nil) != (on && supported) {
			t.Errorf("THAW_USAGE=%s: the meter is on: %v", value, r.meter != nil)
		}
	}
	f("", true)
	f("on", true)
	f("off", false)
}
