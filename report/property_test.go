package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/curve"
)

// raisesMemory tells whether anything in a report says to raise the memory size,
// or that a larger one than the smallest is the better one.
func raisesMemory(r *Report, f *Function) string {
	if rec := f.Recommendation; rec.Action == actionChange && rec.CurrentMB != nil && *rec.MemoryMB > *rec.CurrentMB {
		return "recommendation: " + rec.Reason
	}
	for _, finding := range r.Findings {
		if finding.Function != f.Name || !strings.HasPrefix(finding.ID, "memory-") {
			continue
		}
		smaller := f.Recommendation.Next != nil && f.Recommendation.Next.MemoryMB < f.MemorySizesMB[0]
		if finding.ID == "memory-faster-free" || finding.ID == "memory-next" && !smaller {
			return finding.ID + ": " + finding.Claim
		}
	}
	return ""
}

// 150 functions whose duration does not depend on memory, at sizes, volumes and
// noise of all kinds: none is told to raise it, and none to measure a larger
// size. It goes through the store and the report's own code.
func TestFlatFunctionsAreNeverRaised(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(21, 12))
	sizes := []int64{128, 256, 512, 1024, 1769, 3008}
	var all []*simulated
	for i := range 150 {
		seconds := math.Exp(rng.Float64()*6 - 4)
		noise := 0.02 + 0.10*rng.Float64()
		flat := func(float64) (float64, float64) { return seconds, 40 }
		first := rng.IntN(4)
		for j, size := range sizes[first : first+2+rng.IntN(2)] {
			one := simulate(fmt.Sprintf("flat-%03d", i), fmt.Sprint(j+1), size)
			one.noisy(rng, flat, 10+rng.IntN(20), 6+rng.IntN(10), noise)
			all = append(all, one)
		}
	}
	s.write("a", minutes(1))
	s.write("a", minutes(59), all...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	advised := 0
	for _, f := range r.Functions {
		if text := raisesMemory(r, f); text != "" {
			t.Errorf("%s is to be raised: %s", f.Name, text)
		}
		if f.Recommendation.Action == actionChange {
			advised++
			if *f.Recommendation.MemoryMB != f.MemorySizesMB[0] {
				t.Errorf("%s: %d MB of %v", f.Name, *f.Recommendation.MemoryMB, f.MemorySizesMB)
			}
		}
		for _, o := range f.Recommendation.Objectives {
			if o.Name == ObjectiveCheapest && *o.MemoryMB > f.MemorySizesMB[0] {
				t.Errorf("%s: the cheapest of %v is %d MB", f.Name, f.MemorySizesMB, *o.MemoryMB)
			}
		}
	}
	if len(r.Functions) != 150 || advised < 110 {
		t.Errorf("of %d functions %d are advised: the test says nothing", len(r.Functions), advised)
	}
}

// noisy is run with the noise of levels and calls given.
func (s *simulated) noisy(rng *rand.Rand, w workload, environments, calls int, noise float64) {
	mean, used := w(float64(s.memoryMB))
	for range environments {
		s.made++
		level := mean * math.Exp(noise*rng.NormFloat64())
		for i := range calls {
			d := level * math.Exp(noise*rng.NormFloat64())
			c := call{start: "warm", environment: fmt.Sprint(s.made), duration: d, billed: math.Ceil(1000*d) / 1000, memoryMB: used}
			if i == 0 {
				c.start, c.init = "cold", 0.2+0.1*rng.Float64()
				c.billed = math.Ceil(1000*(c.duration+c.init)) / 1000
			}
			s.invoke(c)
		}
	}
}

// Below the floors there is no advice on memory at all, whatever the figures
// are: too few invocations, or too few environments.
func TestNoAdviceBelowTheFloors(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(2, 7))
	var all []*simulated
	for i := range 20 {
		for j, size := range []int64{256, 1024} {
			calls := simulate(fmt.Sprintf("calls-%02d", i), fmt.Sprint(j), size)
			calls.noisy(rng, computes, 12, 4, 0.05) // 36 warm calls
			few := simulate(fmt.Sprintf("environments-%02d", i), fmt.Sprint(j), size)
			few.noisy(rng, computes, 9, 40, 0.05)
			one := simulate(fmt.Sprintf("size-%02d", i), "1", 1024)
			if j == 0 {
				one.noisy(rng, waits, 40, 20, 0.05)
				all = append(all, one)
			}
			all = append(all, calls, few)
		}
	}
	s.write("a", minutes(1))
	s.write("a", minutes(59), all...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	if len(r.Functions) != 60 {
		t.Fatalf("%d functions", len(r.Functions))
	}
	for _, f := range r.Functions {
		if f.Recommendation.Action != actionNone || f.Recommendation.Reason == "" || len(f.PredictedCurve) > 0 {
			t.Errorf("%s: %+v", f.Name, f.Recommendation)
		}
	}
	for _, finding := range r.Findings {
		if strings.HasPrefix(finding.ID, "memory-") && finding.ID != "memory-unused" {
			t.Errorf("%s: %s", finding.Function, finding.Claim)
		}
	}
}

// A deployment that changed the code and the memory size together says nothing
// about either; the same sizes side by side do.
func TestConfoundedChangeGivesNoAdvice(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(5, 5))
	slow := func(float64) (float64, float64) { return 0.4, 60 }
	fast := func(float64) (float64, float64) { return 0.05, 60 }
	before, after := simulate("deployed", "1", 512), simulate("deployed", "2", 1024)
	stays, beside := simulate("canary", "1", 512), simulate("canary", "2", 1024)
	for m := 0.0; m <= 180; m += 2 {
		if m < 90 {
			before.run(rng, slow, 1, 10)
		} else {
			after.run(rng, fast, 1, 10)
		}
		if m > 4 {
			stays.run(rng, slow, 1, 10)
			beside.run(rng, fast, 1, 3)
		}
		s.write("a", minutes(m), before, after, stays, beside)
	}
	r := build(t, s, Options{Start: minutes(1), End: minutes(179)})
	canary, deployed := r.Functions[0], r.Functions[1]
	if rec := deployed.Recommendation; rec.Action != actionNone || !strings.Contains(rec.Reason, "version") {
		t.Errorf("deployed: %+v", rec)
	}
	if rec := canary.Recommendation; rec.Action != actionChange || *rec.MemoryMB != 1024 {
		t.Errorf("canary: %+v", rec)
	}
	for _, finding := range r.Findings {
		if finding.Function == "deployed" && strings.HasPrefix(finding.ID, "memory-") {
			t.Errorf("%s: %s", finding.ID, finding.Claim)
		}
	}
}

// Functions whose two sizes cost and take the same, but for noise, as
// a price list with equal prices would have it: with 95 % intervals alone one in twenty
// would get advice.
func TestChanceIsDiscounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 3))
	const functions = 120
	var all []*simulated
	// The duration falls exactly as the memory grows, so that the cost is the
	// same; both sizes are large enough for the rounding to be nothing.
	same := func(memoryMB float64) (float64, float64) { return 2000 / memoryMB, 40 }
	for i := range functions {
		for j, size := range []int64{1024, 1088} {
			one := simulate(fmt.Sprintf("same-%03d", i), fmt.Sprint(j+1), size)
			one.noisy(rng, same, 12, 8, 0.20)
			all = append(all, one)
		}
	}
	s := newStore(t)
	s.write("a", minutes(1))
	s.write("a", minutes(59), all...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	changed, chance := 0, 0
	for _, f := range r.Functions {
		if f.Recommendation.Action == actionChange {
			changed++
		}
		if strings.Contains(f.Recommendation.Reason, "by chance") {
			chance++
		}
	}
	if changed > 2 || chance < functions*9/10 {
		t.Errorf("%d of %d functions are advised, %d discounted", changed, functions, chance)
	}
}

// The report's predictions are those of package curve, marked as predicted, and
// within reach of what was measured.
func TestPredictedSizes(t *testing.T) {
	s := newStore(t)
	s.write("a", minutes(1))
	s.write("a", minutes(59), append(sweep("computes", computes, 256, 1024, 1769), sweep("hoards", hoards, 512, 1024, 1769)...)...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60), P95Limit: 100e6})
	for _, f := range r.Functions {
		if len(f.PredictedCurve) < 4 {
			t.Fatalf("%s: %+v", f.Name, f.PredictedCurve)
		}
		truth := map[string]workload{"computes": computes, "hoards": hoards}[f.Name]
		for _, p := range f.PredictedCurve {
			want, used := truth(float64(p.MemoryMB))
			if p.Basis != string(lifecycle.Predicted) || p.MemoryMB < 128 || p.MemoryMB > 2*1769 || !curve.Permits(float64(p.MemoryMB), used) {
				t.Errorf("%s: %+v", f.Name, p)
			}
			if ms := 1000 * want; p.WarmMeanMS.Low > ms || p.WarmMeanMS.High < ms {
				t.Errorf("%s at %d MB: %.1f ms is not in %+v", f.Name, p.MemoryMB, ms, p.WarmMeanMS)
			}
			for _, m := range f.MemoryCurve {
				if m.MemoryMB == p.MemoryMB {
					t.Errorf("%s: %d MB is measured and predicted", f.Name, p.MemoryMB)
				}
			}
		}
		names := []string{}
		for _, o := range f.Recommendation.Objectives {
			names = append(names, o.Name)
		}
		if fmt.Sprint(names) != "[cheapest fastest knee cheapest-within-p95]" {
			t.Errorf("%s: objectives %v", f.Name, names)
		}
	}
	// 60 ms·1024/m with a 95th percentile about a tenth above: 100 ms need 660 MB.
	within := r.Functions[0].Recommendation.Objectives[3]
	if within.MemoryMB == nil || *within.MemoryMB < 660 || *within.MemoryMB > 768 {
		t.Errorf("within 100 ms: %+v", within)
	}
}
