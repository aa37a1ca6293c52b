package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// epoch is when the simulated time of tests begins.
var epoch = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func minutes(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Minute))) }

func build(t *testing.T, s *store, o Options) *Report {
	t.Helper()
	o.Now = func() time.Time { return minutes(90) }
	r, err := Build(t.Context(), &Client{URL: s.url}, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// workload is what a function does at a memory size, in seconds.
type workload func(memoryMB float64) (duration, usedMB float64)

func computes(memoryMB float64) (float64, float64) { return 60 / min(memoryMB, 1769), 60 }
func waits(float64) (float64, float64)             { return 0.120, 60 }
func hoards(memoryMB float64) (float64, float64)   { return 0.080 + 30/min(memoryMB, 1769), 300 }

// run simulates environments that each start cold once and serve calls.
func (s *simulated) run(rng *rand.Rand, w workload, environments, calls int) {
	mean, used := w(float64(s.memoryMB))
	for range environments {
		s.made++
		level := mean * (1 + 0.02*rng.NormFloat64())
		for i := range calls {
			d := level * (1 + 0.03*rng.NormFloat64())
			c := call{start: "warm", environment: fmt.Sprint(s.made), duration: d, billed: math.Ceil(1000*d) / 1000,
				memoryMB: used, lines: 2, latency: 0.02 + 0.05*rng.Float64()}
			if i == 0 {
				c.start, c.init, c.duration = "cold", 0.25+0.05*rng.Float64(), d+0.1
				c.billed = math.Ceil(1000*(c.duration+c.init)) / 1000
			}
			s.invoke(c)
		}
		s.shutdowns["spindown"]++
		s.settle(calls)
	}
}

// sweep runs a workload at each size, as its own version.
func sweep(name string, w workload, sizes ...int64) []*simulated {
	rng := rand.New(rand.NewPCG(1, uint64(len(name))))
	var out []*simulated
	for i, size := range sizes {
		s := simulate(name, fmt.Sprint(i+1), size)
		s.run(rng, w, 12, 25)
		out = append(out, s)
	}
	return out
}

// What was counted before the range must not be in it, what was counted in it
// must be in full, over two collectors and a series that begins in the range.
func TestTotalsAreExact(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(3, 3))
	one, two := simulate("api", "1", 512), simulate("api", "1", 512)
	one.run(rng, waits, 3, 20)
	s.write("a", minutes(0), one)
	s.write("b", minutes(0))
	for m := 1.0; m <= 59; m += 2 {
		one.run(rng, waits, 1, 7)
		if m > 30 {
			two.run(rng, waits, 2, 5)
		}
		s.write("a", minutes(m), one)
		if m > 30 {
			s.write("b", minutes(m), two)
		} else {
			s.write("b", minutes(m))
		}
	}
	r := build(t, s, Options{Start: minutes(0.5), End: minutes(60)})
	if len(r.Functions) != 1 || len(r.Gaps) != 0 {
		t.Fatalf("functions %v, gaps %v", r.Functions, r.Gaps)
	}
	f := r.Functions[0]
	if f.Invocations != 30*7+15*10 || f.ColdStarts != 30+30 || f.InitMS.Have != 60 {
		t.Errorf("%d invocations, %d cold starts, %d inits", f.Invocations, f.ColdStarts, f.InitMS.Have)
	}
	if got := *f.DurationMS.Warm.P50; math.Abs(got/120-1) > 0.03 {
		t.Errorf("warm p50 = %g ms, want about 120", got)
	}
	if f.MemoryCurve[0].BilledMS.Have != 30+30 {
		t.Errorf("%d clusters", f.MemoryCurve[0].BilledMS.Have)
	}
	// The penalty that run adds to first invocations is 100 ms.
	if got := *f.FirstInvokePenalty.Mean; math.Abs(got-100) > 3 {
		t.Errorf("first-invoke penalty = %g ms, want about 100", got)
	}
	if got := *f.MemoryUsed.Max; got < 60 || got > 62 {
		t.Errorf("memory used = %g MB", got)
	}
}

func TestNothingHappenedInTheRange(t *testing.T) {
	s := newStore(t)
	one := simulate("idle", "1", 512)
	one.run(rand.New(rand.NewPCG(3, 3)), waits, 3, 20)
	for m := 0.0; m <= 60; m += 2 {
		s.write("a", minutes(m), one)
	}
	if r := build(t, s, Options{Start: minutes(10), End: minutes(60)}); len(r.Functions) != 0 {
		t.Errorf("a function without invocations is in the report: %+v", r.Functions[0])
	}
	if r := build(t, s, Options{Start: minutes(-10), End: minutes(60), Functions: []string{"other.*"}}); len(r.Functions) != 0 {
		t.Errorf("the filter is not exact")
	}
	if r := build(t, s, Options{Start: minutes(-10), End: minutes(60), Functions: []string{"idle"}}); len(r.Functions) != 1 || r.Functions[0].Invocations != 60 {
		t.Errorf("functions = %v", r.Functions)
	}
}

// A collector that was down at the start of the range, inside it, or at its
// end: the report counts what it can and says so.
func TestGapsAreStated(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(3, 3))
	f := simulate("api", "1", 512)
	for _, m := range []float64{0, 2, 4, 30, 32, 34, 50, 52} {
		f.run(rng, waits, 1, 10)
		s.write("a", minutes(m), f)
	}
	r := build(t, s, Options{Start: minutes(20), End: minutes(80)})
	var kinds []GapKind
	for _, g := range r.Gaps {
		kinds = append(kinds, g.Kind)
	}
	if fmt.Sprint(kinds) != "[start inside end]" {
		t.Errorf("gaps = %v", r.Gaps)
	}
	if got := r.Functions[0].Invocations; got != 50 {
		t.Errorf("%d invocations, want the 50 after minute 4", got)
	}
}

func TestRecommendations(t *testing.T) {
	s := newStore(t)
	sizes := []int64{128, 256, 512, 1024, 1769, 3008}
	var all []*simulated
	for name, w := range map[string]workload{"computes": computes, "waits": waits, "hoards": hoards} {
		all = append(all, sweep(name, w, sizes...)...)
	}
	all = append(all, unlimited(sweep("unlimited", waits, sizes...))...)
	one := sweep("single", waits, 512)
	few := simulate("few", "1", 128)
	few.run(rand.New(rand.NewPCG(9, 9)), waits, 2, 20)
	other := simulate("few", "2", 256)
	other.run(rand.New(rand.NewPCG(9, 9)), waits, 2, 20)
	all = append(append(all, one...), few, other)
	s.write("a", minutes(1))
	s.write("a", minutes(59), all...)
	f := func(o Options, name, action string, sizes ...int64) {
		t.Helper()
		o.Start, o.End, o.Functions = minutes(0), minutes(60), []string{name}
		r := build(t, s, o).Functions[0].Recommendation
		if r.Action != action {
			t.Errorf("%s: %s, want %s: %s", name, r.Action, action, r.Reason)
			return
		}
		if action == actionNone {
			if r.MemoryMB != nil || r.Reason == "" {
				t.Errorf("%s: %+v", name, r)
			}
			return
		}
		for _, size := range sizes {
			if *r.MemoryMB == size {
				return
			}
		}
		t.Errorf("%s: %d MB, want one of %v: %s", name, *r.MemoryMB, sizes, r.Reason)
	}
	f(Options{}, "waits", actionChange, 128)
	// The init is billed at every size, so the fastest size is a little dearer.
	f(Options{}, "computes", actionChange, 256, 512, 1024, 1769)
	// 300 MB of used memory are 80 % of 375 MB.
	f(Options{}, "hoards", actionChange, 512)
	f(Options{}, "single", actionNone)
	f(Options{}, "few", actionNone)
	f(Options{}, "unlimited", actionNone)
}

// unlimited makes a sweep one of a local Lambda that cannot limit the CPU.
func unlimited(sweep []*simulated) []*simulated {
	for _, s := range sweep {
		s.cpuUnenforced = true
	}
	return sweep
}

func TestFindingsOfCurves(t *testing.T) {
	s := newStore(t)
	sizes := []int64{128, 256, 512, 1024, 1769, 3008}
	s.write("a", minutes(1))
	all := append(sweep("computes", computes, sizes...), sweep("waits", waits, sizes...)...)
	all = append(all, unlimited(sweep("unlimited", computes, sizes...))...)
	s.write("a", minutes(59), append(all, sweep("hoards", hoards, 320, 512)...)...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	got := map[string]Finding{}
	for _, f := range r.Findings {
		got[f.Function+"/"+f.ID] = f
		if f.Claim == "" || f.Change == "" || f.Verify == "" || f.Undo == "" || f.Basis == "" || f.N == 0 {
			t.Errorf("incomplete finding: %+v", f)
		}
	}
	for _, want := range []string{"waits/memory-flat", "computes/memory-faster-free", "computes/memory-saturated", "waits/cold-rate", "waits/init-part"} {
		if _, ok := got[want]; !ok {
			t.Errorf("no finding %s", want)
		}
	}
	for _, never := range []string{"waits/memory-faster-free", "waits/memory-saturated", "computes/memory-flat", "hoards/memory-cheaper"} {
		if f, ok := got[never]; ok {
			t.Errorf("finding %s: %s", never, f.Claim)
		}
	}
	if f, ok := got["hoards/memory-pressure"]; !ok || f.Severity != severityUrgent {
		t.Errorf("300 of 320 MB in use: %+v", f)
	}
	for id, f := range got {
		if strings.HasPrefix(id, "unlimited/memory-") {
			t.Errorf("a finding without an enforced CPU: %s", f.Claim)
		}
	}
}

// A price must never be guessed.
func TestUnknownRegionHasNoCost(t *testing.T) {
	s := newStore(t)
	one := simulate("here", "1", 512)
	one.region = "local"
	one.run(rand.New(rand.NewPCG(1, 4)), waits, 50, 5)
	s.write("a", minutes(1))
	s.write("a", minutes(59), one)
	f := build(t, s, Options{Start: minutes(0), End: minutes(60)}).Functions[0]
	if f.CostUSD.Value != nil || f.CostUSD.Reason == "" || f.MemoryCurve[0].CostPerMillionUSD != nil {
		t.Errorf("cost = %+v", f.CostUSD)
	}
	f = build(t, s, Options{Start: minutes(0), End: minutes(60), PriceRegion: "us-east-1"}).Functions[0]
	if f.CostUSD.Value == nil || f.CostUSD.Low == nil {
		t.Errorf("cost = %+v", f.CostUSD)
	}
}
