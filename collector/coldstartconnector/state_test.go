package coldstartconnector

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

func TestFamiliesAreAllMetrics(t *testing.T) {
	all := metric.All()
	if len(all) != len(families) {
		t.Fatalf("%d families, %d metrics", len(families), len(all))
	}
	for _, d := range all {
		f := familyOf(d.Name)
		if int(f) == len(families) {
			t.Errorf("%s is not written", d.Name)
			continue
		}
		if len(d.Labels) > maxLabels {
			t.Errorf("%s has %d labels, there is room for %d", d.Name, len(d.Labels), maxLabels)
		}
	}
}

// smallLife is a short life in which most things happen once.
func smallLife(t testing.TB) batch {
	l := newLife(environment("thumbnail", "e1"), noon.Add(-10*time.Minute))
	l.cold(1500*time.Millisecond, 250*time.Millisecond)
	l.warm(20 * time.Millisecond)
	l.warm(30 * time.Millisecond)

	failed := l.next(5 * time.Millisecond)
	failed.Status, failed.ErrorType = lifecycle.Error, "Runtime.ExitError"
	failed.Report = report(5 * time.Millisecond)
	failed.Report.Logs = lifecycle.LogSummary{Lines: 4, Bytes: 400, Frozen: 1}
	failed.Report.Logs.Arrival.ObserveN(40*time.Millisecond, 3)
	failed.Report.Logs.Arrival.Observe(70 * time.Second)
	failed.Report.Logs.Export.Observe(300 * time.Millisecond)
	failed.Report.DroppedByPlatform = 2
	l.encoder.Invocation(l.spans, failed)

	// The report of this one comes later, as a span of its own.
	late := l.next(3 * time.Second)
	late.Status = lifecycle.Timeout
	l.encoder.Invocation(l.spans, late)
	late.Report = report(3 * time.Second)
	l.encoder.Report(l.spans, late)

	l.encoder.Shutdown(l.spans, &lifecycle.Shutdown{Start: l.now, Reason: "timeout", CPU: 12500 * time.Microsecond})
	l.now = l.now.Add(time.Minute)
	l.encoder.Init(l.spans, &lifecycle.Init{
		Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInvoke, Demand: lifecycle.Unused, Start: l.now, Duration: 800 * time.Millisecond,
		Status: lifecycle.Error, Parts: []lifecycle.Part{{Name: lifecycle.PartUnattributed, Duration: 800 * time.Millisecond, Basis: lifecycle.Derived}},
	})

	// The report of the last one never came.
	last := l.next(40 * time.Millisecond)
	last.StartType = lifecycle.First
	last.Report = &lifecycle.Report{Duration: 40 * time.Millisecond}
	l.encoder.Invocation(l.spans, last)
	return decodeTraces(t, noon, l.cut())
}

// kindsLife is one environment of each kind but on-demand: restored from a
// snapshot, ready an hour before its request, and serving two at once.
func kindsLife(t testing.TB) batch {
	var tds []ptrace.Traces
	of := func(kind lifecycle.InitKind) *life {
		env := environment("thumbnail", string(kind))
		env.Kind = kind
		return newLife(env, noon.Add(-10*time.Minute))
	}
	restored := of(lifecycle.SnapStart)
	inv := restored.next(20 * time.Millisecond)
	inv.StartType, inv.Report = lifecycle.Cold, report(20*time.Millisecond)
	inv.Report.Restore, inv.Report.BilledRestore = 500*time.Millisecond, 53*time.Millisecond
	inv.Init = &lifecycle.Init{
		Kind: lifecycle.SnapStart, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Status: lifecycle.Success,
		Start: inv.Start.Add(-500 * time.Millisecond), Duration: 500 * time.Millisecond,
		Parts: []lifecycle.Part{{Name: lifecycle.PartRestore, Duration: 500 * time.Millisecond, Basis: lifecycle.Measured}},
	}
	restored.encoder.Invocation(restored.spans, inv)
	tds = append(tds, restored.cut())

	for _, kind := range []lifecycle.InitKind{lifecycle.ProvisionedConcurrency, lifecycle.ManagedInstances} {
		l := of(kind)
		inv := l.next(20 * time.Millisecond)
		inv.StartType, inv.Report = lifecycle.First, report(20*time.Millisecond)
		if kind == lifecycle.ManagedInstances {
			inv.Report = &lifecycle.Report{Received: true, Duration: 20 * time.Millisecond}
		}
		l.encoder.Init(l.spans, &lifecycle.Init{
			Kind: kind, Phase: lifecycle.PhaseInit, Demand: lifecycle.Proactive, Status: lifecycle.Success,
			Start: inv.Start.Add(-time.Hour), Duration: time.Second, Gap: time.Hour - time.Second,
			Parts: []lifecycle.Part{{Name: lifecycle.PartUnattributed, Duration: time.Second, Basis: lifecycle.Derived}},
		})
		l.encoder.Invocation(l.spans, inv)
		tds = append(tds, l.cut())
	}
	return decodeTraces(t, noon, tds...)
}

func TestGolden(t *testing.T) {
	for name, b := range map[string]batch{"life": smallLife(t), "kinds": kindsLife(t)} {
		s := newTestState()
		s.apply(b)
		golden(t, name, everything(s))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, path+" (go test -update rewrites it)", got, string(want))
}

// diff reports the lines in which two dumps differ.
func diff(t *testing.T, what, got, want string) {
	t.Helper()
	for line := range strings.Lines(got) {
		if !strings.Contains(want, line) {
			t.Errorf("%s: + %s", what, line)
		}
	}
	for line := range strings.Lines(want) {
		if !strings.Contains(got, line) {
			t.Errorf("%s: - %s", what, line)
		}
	}
}

// f applies one invocation with a report that change spoils, and looks for
// lines in what was counted.
func TestSettle(t *testing.T) {
	f := func(name string, change func(*lifecycle.Invocation), want ...string) {
		t.Helper()
		l := newLife(environment("f", "e"), noon)
		inv := l.next(time.Second)
		inv.Report = report(time.Second)
		change(inv)
		l.encoder.Invocation(l.spans, inv)
		s := newTestState()
		s.apply(decodeTraces(t, noon, l.cut()))
		got := everything(s)
		for _, w := range want {
			name, value, _ := strings.Cut(w, " ")
			found := false
			for line := range strings.Lines(got) {
				found = found || strings.HasPrefix(line, name+"{") && strings.Contains(line, value)
			}
			if absent := value == "absent"; found == absent || absent && strings.Contains(got, name+"{") {
				t.Errorf("%s: want %s in\n%s", name, w, got)
			}
		}
	}
	f("success", func(*lifecycle.Invocation) {}, "faas.errors absent", "faas.timeouts absent", "thaw.billed_duration count 1 sum 1 ", "faas.mem_usage sum 104857600 ")
	f("timeout", func(i *lifecycle.Invocation) { i.Status = lifecycle.Timeout }, "faas.timeouts } 1", "faas.errors absent")
	f("failure without a type", func(i *lifecycle.Invocation) { i.Status = lifecycle.Failure }, "faas.errors error.type=failure", "faas.timeouts absent")
	f("error", func(i *lifecycle.Invocation) { i.Status, i.ErrorType = lifecycle.Error, "X" }, "faas.errors error.type=X")
	f("no report", func(i *lifecycle.Invocation) { i.Report.Received = false }, "thaw.reports_missing } 1",
		"faas.invoke_duration count 1 sum 1 ", "thaw.billed_duration absent", "faas.mem_usage absent", "thaw.extension_overhead absent")
	f("first", func(i *lifecycle.Invocation) { i.StartType = lifecycle.First }, "faas.invocations thaw.start=first", "faas.coldstarts absent",
		"thaw.clusters thaw.quantity=billed_duration")
	f("not settled", func(i *lifecycle.Invocation) { i.Report = nil }, "faas.invocations } 1", "faas.invoke_duration absent")
	f("broken label", func(i *lifecycle.Invocation) { i.Status, i.ErrorType = lifecycle.Error, "a\xffb" }, "faas.errors error.type=a?b")
}

func TestDuplicates(t *testing.T) {
	s := newTestState()
	b := smallLife(t)
	s.apply(b)
	once := everything(s)
	s.apply(b)
	want := strings.Replace(once, "duplicates{service.instance.id=the-instance} 0", fmt.Sprintf("duplicates{service.instance.id=the-instance} %d", len(b.observations)), 1)
	diff(t, "a batch that is repeated", everything(s), want)
}

// What has been forgotten counts again: the price of bounded memory.
func TestSeenForgets(t *testing.T) {
	s := newSeen()
	for id := range uint64(5000) {
		if !s.add(id+1, int64(id/1000)) {
			t.Fatalf("id %d is not new", id)
		}
	}
	if s.add(1, 4) {
		t.Error("an id is forgotten too early")
	}
	s.forget(1, 5000)
	if s.len() != 4000 || len(s.ids) != 4000 || s.add(1001, 4) || !s.add(1000, 4) {
		t.Errorf("after an hour: %d ids in order, %d known", s.len(), len(s.ids))
	}
	s.forget(0, 10)
	if s.len() != 10 || len(s.ids) != 10 || len(s.hours) != 1 || s.hours[0].n != 10 {
		t.Errorf("over the limit: %d ids in order, %d known, hours %v", s.len(), len(s.ids), s.hours)
	}
	// A clock that goes back must not break the order of hours.
	s.add(99999, 2)
	s.forget(4, 10)
	if s.len() != 10 {
		t.Errorf("%d ids after the clock went back", s.len())
	}
}

func TestErrorTypesAreBounded(t *testing.T) {
	l := newLife(environment("f", "e"), noon)
	for i := range 20 {
		inv := l.next(time.Millisecond)
		inv.Status, inv.ErrorType = lifecycle.Error, fmt.Sprintf("Error%d", i%10)
		inv.Report = report(time.Millisecond)
		l.encoder.Invocation(l.spans, inv)
	}
	s := newTestState()
	s.apply(decodeTraces(t, noon, l.cut()))
	f := s.functions[0]
	if got := f.count(errorCount); got != maxErrorTypes+1 {
		t.Errorf("%d series of errors, want %d", got, maxErrorTypes+1)
	}
	if got := f.get(errorCount, other).value; got != 10 {
		t.Errorf("%v errors of other types, want 10", got)
	}
}

// The sums over environment-hours are kept without the environment-hours.
func TestClusterSums(t *testing.T) {
	type key struct {
		environment string
		hour        int64
	}
	truth := map[key]cluster{}
	s := newTestState()
	r := rand.New(rand.NewPCG(3, 4))
	for e := range 7 {
		id := fmt.Sprint("e", e)
		l := newLife(environment("f", id), noon)
		for range 40 {
			d := time.Duration(r.IntN(1000)+1) * time.Millisecond
			l.warm(d)
			// The span ends when the invocation does.
			end := l.now.Add(d)
			c := truth[key{id, end.Unix() / 3600}]
			truth[key{id, end.Unix() / 3600}] = cluster{c.n + 1, c.s + d.Seconds()}
			l.now = l.now.Add(time.Duration(r.IntN(300)) * time.Second)
			s.apply(decodeTraces(t, l.now, l.cut()))
		}
	}
	var clusters, nn, ss, ns float64
	for _, c := range truth {
		n := float64(c.n)
		clusters++
		nn, ss, ns = nn+n*n, ss+c.s*c.s, ns+n*c.s
	}
	f := s.functions[0]
	for fam, want := range map[family]float64{clusterCount: clusters, clusterNN: nn, clusterSS: ss, clusterNS: ns} {
		for _, q := range []string{metric.QuantityBilled, metric.QuantityWarmDuration} {
			if got := f.get(fam, q).value; math.Abs(got-want) > 1e-9*want {
				t.Errorf("%s of %s = %v, want %v", families[fam].Name, q, got, want)
			}
		}
	}
	if h := f.get(invokeDuration, "warm").histogram; h.count != 280 {
		t.Errorf("%d durations, want 280", h.count)
	}
	s.apply(batch{at: noon.Add(100 * time.Hour).Unix()})
	if s.clusters.len != 0 || len(s.clusters.hours) != 0 {
		t.Errorf("%d clusters are kept for ever", s.clusters.len)
	}
}

func TestClustersAreBounded(t *testing.T) {
	c := newClusters()
	f := newFunction(functionKey{})
	for hour := range int64(3) {
		for e := range 10 {
			c.add(hour, clusterKey{f, fmt.Sprint(e), warmDuration}, 1)
		}
	}
	c.prune(2, 25)
	if c.len != 20 || c.hours[0] != nil {
		t.Errorf("%d clusters, want the 20 of the last two hours", c.len)
	}
}

// The worst that a function is likely to show in one version and size: all
// starts, timeouts and what follows from them, two types of errors, logs.
func TestSeriesPerFunction(t *testing.T) {
	l := newLife(environment("f", "e"), noon)
	l.cold(time.Second, time.Second)
	l.warm(time.Second)
	for i, status := range []lifecycle.Status{lifecycle.Success, lifecycle.Timeout, lifecycle.Error} {
		inv := l.next(time.Second)
		if i == 0 {
			inv.StartType = lifecycle.First
		}
		inv.Status, inv.ErrorType = status, "Runtime.ExitError"
		inv.Report = report(time.Second)
		inv.Report.Logs = lifecycle.LogSummary{Lines: 4, Frozen: 1}
		inv.Report.Logs.Arrival.ObserveN(time.Second, 4)
		inv.Report.Logs.Export.ObserveN(time.Second, 4)
		l.encoder.Invocation(l.spans, inv)
	}
	for _, in := range []lifecycle.Init{
		{Phase: lifecycle.PhaseInit, Demand: lifecycle.Proactive},
		{Phase: lifecycle.PhaseInvoke, Demand: lifecycle.OnPath},
	} {
		in.Start, in.Status, in.Duration = l.now, lifecycle.Success, time.Second
		l.now = l.now.Add(time.Second)
		l.encoder.Init(l.spans, &in)
	}
	for _, reason := range []string{"spindown", "timeout"} {
		l.now = l.now.Add(time.Second)
		l.encoder.Shutdown(l.spans, &lifecycle.Shutdown{Start: l.now, Reason: reason, CPU: time.Second})
	}
	s := newTestState()
	s.apply(decodeTraces(t, noon, l.cut()))
	got := len(s.functions[0].series)
	t.Logf("%d series", got)
	if got > maxSeries {
		t.Errorf("%d series, want at most %d", got, maxSeries)
		for _, s := range s.functions[0].series {
			t.Log(families[s.key.family].Name, s.key.values)
		}
	}
}

// Whatever a stranger puts into the labels, a function has a limited number of
// series.
func TestSeriesAreBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	junk := func() string { return fmt.Sprint("junk", r.IntN(1000)) }
	s := newTestState()
	for range 3000 {
		env := environment("f", junk())
		env.RuntimeVersion = junk()
		l := newLife(env, noon.Add(time.Duration(r.IntN(1e6))*time.Second))
		inv := l.next(time.Duration(r.Int64N(1e12)))
		inv.RequestID, inv.ARN = junk(), "a:a:a:a:a:a:a:"+junk()
		inv.Status, inv.ErrorType = lifecycle.Error, junk()
		inv.Report = report(time.Second)
		inv.Init = &lifecycle.Init{Start: l.now, Phase: lifecycle.InitPhase(junk()), Demand: lifecycle.Demand(junk()), Parts: []lifecycle.Part{{Name: lifecycle.PartRuntime, Basis: lifecycle.Basis(junk())}}}
		l.encoder.Invocation(l.spans, inv)
		l.encoder.Shutdown(l.spans, &lifecycle.Shutdown{Start: l.now, Reason: junk()})
		s.apply(decodeTraces(t, l.now, l.cut()))
	}
	if got := len(s.functions[0].series); got > 50 {
		t.Errorf("%d series", got)
	}
}

func TestFunctionsAreBoundedAndExpire(t *testing.T) {
	s := newTestState()
	apply := func(at time.Time, name string) {
		l := newLife(environment(name, name), at)
		l.warm(time.Millisecond)
		s.apply(decodeTraces(t, at, l.cut()))
	}
	for i := range 12 {
		apply(noon, fmt.Sprint("f", i))
	}
	if got := s.self.get(rejected).value; len(s.functions) != 10 || got != 2 {
		t.Errorf("%d functions, %v rejected; want 10, 2", len(s.functions), got)
	}
	later := noon.Add(time.Duration(testLimits.expiryHours+1) * time.Hour)
	apply(later, "f1")
	if len(s.functions) != 1 || s.functions[0].get(invocations, "warm").value != 1 {
		t.Errorf("%d functions after the others have expired", len(s.functions))
	}
}

// points returns how many data points an emission has, heartbeat and the like
// not counted.
func points(e *emission, s *state) int {
	n := 0
	for _, t := range e.touched {
		if t.function != s.self {
			n++
		}
	}
	return n
}

func TestEmission(t *testing.T) {
	s := newTestState()
	now := noon.UnixMilli()
	l := newLife(environment("f", "e"), noon)
	l.warm(time.Second)
	s.apply(decodeTraces(t, noon, l.cut()))
	all := len(s.functions[0].series)
	f := func(what string, want int, e *emission) {
		t.Helper()
		if got := points(e, s); got != want {
			t.Errorf("%s: %d points, want %d", what, got, want)
		}
	}
	f("first", all, s.collect(now))
	f("nothing new", 0, s.collect(now+1000))
	l.encoder.Shutdown(l.spans, &lifecycle.Shutdown{Start: l.now, Reason: "spindown"})
	s.apply(decodeTraces(t, noon, l.cut()))
	e := s.collect(now + 2000)
	f("two new series", 2, e)
	e.refused()
	f("after a refusal", 2, s.collect(now+3000))
	f("before the refresh", 0, s.collect(now+refreshMs-1))
	f("refresh", all+2, s.collect(now+refreshMs))
	if got := len(s.collect(now + refreshMs + 30_000).touched); got != 0 {
		t.Errorf("%d points of the collector within a minute, want 0", got)
	}

	// Timestamps increase, whatever the clock does.
	last := s.emittedMs
	for _, clock := range []int64{now + refreshMs + 30_000, now - 5000, now - 5000, now + 2*refreshMs} {
		s.collect(clock)
		if s.emittedMs <= last {
			t.Errorf("timestamp %d after %d", s.emittedMs, last)
		}
		last = s.emittedMs
	}
}

// No series is silent for longer than PromQL looks back.
func TestRefreshIsWithinLookback(t *testing.T) {
	s := newState(limits{spanHours: 24, spans: 10_000, functions: 1000, clusters: 1000, expiryHours: 720}, "i", 0)
	for i := range 300 {
		l := newLife(environment(fmt.Sprint("f", i), fmt.Sprint("e", i)), noon)
		l.warm(time.Second)
		s.apply(decodeTraces(t, noon, l.cut()))
	}
	last := map[*series]int64{}
	for now := noon.UnixMilli(); now < noon.Add(time.Hour).UnixMilli(); now += 5000 {
		for _, x := range s.collect(now).touched {
			if before, ok := last[x.series]; ok && now-before > 5*60*1000-5000 {
				t.Fatalf("%d s between two values", (now-before)/1000)
			}
			last[x.series] = now
		}
	}
	for x, at := range last {
		if at < noon.Add(55*time.Minute).UnixMilli() {
			t.Fatalf("%v is no longer emitted", x.key)
		}
	}
}
