package report

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/cpushare"
)

// throttled is a function that waits and computes in turn, in seconds, under
// Lambda's limit.
func throttled(wait, cpu float64) workload {
	return func(memoryMB float64) (float64, float64) {
		supply := cpushare.Supply(time.Duration(cpu*1e9), cpushare.Share(memoryMB), 1, 1).Seconds()
		return wait + max(cpu, supply), 60
	}
}

// uses adds what its warm invocations used, as the collector counts it.
func (s *simulated) uses(cpu, fullSpeed float64) {
	n := s.invocations["warm"]
	if s.usage.cpu == nil {
		s.usage.add(usageTotals{})
	}
	h := s.usage.cpu["true"]
	h.Scale = 5
	h.Observe(cpu, n)
	s.usage.cpu["true"] = h
	if fullSpeed > 0 {
		s.usage.fullSpeed.Scale = 5
		s.usage.fullSpeed.Observe(fullSpeed, n)
	}
}

// oneSize is the report on a function that ran at one size only.
func oneSize(t *testing.T, memoryMB int64, wait, cpu float64, change ...func(*simulated)) *Report {
	t.Helper()
	s := newStore(t)
	sim := simulate("f", "1", memoryMB)
	sim.run(rand.New(rand.NewPCG(1, 2)), throttled(wait, cpu), 60, 20)
	sim.uses(cpu, wait+cpu)
	for _, c := range change {
		c(sim)
	}
	s.write("collector-1", minutes(1))
	s.write("collector-1", minutes(59), sim)
	return build(t, s, Options{Start: minutes(0), End: minutes(60)})
}

func only(t *testing.T, r *Report, id string) *Finding {
	t.Helper()
	for i := range r.Findings {
		if r.Findings[i].ID == id {
			return &r.Findings[i]
		}
	}
	t.Fatalf("no finding %s among %+v", id, r.Findings)
	return nil
}

// The curve of one size is continued by predictions that a function as the
// model assumes keeps to.
func TestPredictedCurve(t *testing.T) {
	for _, c := range []struct{ wait, cpu float64 }{{0, .040}, {.050, .030}, {.120, .001}} {
		f := oneSize(t, 512, c.wait, c.cpu).Functions[0]
		if f.MemoryPrediction == nil || f.MemoryPrediction.Reason != "" || f.MemoryPrediction.Tier != "run-delay" {
			t.Fatalf("%+v", f.MemoryPrediction)
		}
		if len(f.MemoryCurve) != len(predictedSizes) {
			t.Errorf("%d points, want %d", len(f.MemoryCurve), len(predictedSizes))
		}
		for i, p := range f.MemoryCurve {
			if i > 0 && p.MemoryMB <= f.MemoryCurve[i-1].MemoryMB {
				t.Error("the curve is not in order")
			}
			if p.MemoryMB == 512 {
				if p.Basis != "measured" || p.Invocations == 0 {
					t.Errorf("%+v", p)
				}
				continue
			}
			want, _ := throttled(c.wait, c.cpu)(float64(p.MemoryMB))
			got := p.WarmMeanMS
			if p.Basis != "predicted" || p.Invocations != 0 || math.Abs(*got.Value/1000/want-1) > .06 {
				t.Errorf("wait %v s, CPU %v s: %d MB: %v ms, want %v (%s)", c.wait, c.cpu, p.MemoryMB, *got.Value, 1000*want, p.Basis)
			}
			if !(*got.Low < *got.Value && *got.Value < *got.High) || *p.CostInterval.Low > *p.CostPerMillionUSD || *p.CostInterval.High < *p.CostPerMillionUSD {
				t.Errorf("%+v", p)
			}
		}
		// A measured curve stays what it is.
		if f.Recommendation.Action != actionNone || f.Recommendation.MemoryMB != nil {
			t.Errorf("a prediction became advice on measured sizes: %+v", f.Recommendation)
		}
	}
}

func TestPredictionFindings(t *testing.T) {
	lower := only(t, oneSize(t, 1024, .120, .001), "memory-lower-predicted")
	if lower.Basis != "predicted" || *lower.Effect.Low <= 0 || !strings.Contains(lower.Claim, "128 MB") || !strings.Contains(lower.Claim, "not yet checked on AWS") ||
		!strings.Contains(lower.Change, "weighted alias") {
		t.Errorf("%+v", lower)
	}
	r := oneSize(t, 512, 0, .300)
	faster := only(t, r, "memory-faster-predicted")
	if *faster.Effect.Low <= 0 || !strings.Contains(faster.Claim, "computes") {
		t.Errorf("%+v", faster)
	}
	if e := r.Functions[0].MemoryPrediction.Experiment; e == nil || e.Invocations < 50 || e.AliasWeight <= 0 || e.AliasWeight > 1 || e.CostUSD == nil || e.Hours == nil {
		t.Errorf("%+v", e)
	}
	// At its best size there is nothing to say.
	for _, f := range oneSize(t, 128, .120, .001).Findings {
		if strings.HasPrefix(f.ID, "memory") {
			t.Errorf("a function that waits at the smallest size: %+v", f)
		}
	}
}

func TestPredictionRefused(t *testing.T) {
	f := func(what, want string, r *Report) *Function {
		t.Helper()
		p := r.Functions[0].MemoryPrediction
		if p == nil || !strings.Contains(p.Reason, want) || len(r.Functions[0].MemoryCurve) != 1 {
			t.Errorf("%s: %+v", what, p)
		}
		return r.Functions[0]
	}
	f("a clock that fails", "CPU clock", oneSize(t, 512, .02, .03, func(s *simulated) { s.usage.implausible = s.invocations["warm"] / 10 }))
	f("nothing measured", "have 0", oneSize(t, 512, .02, .03, func(s *simulated) { s.usage = usageTotals{} }))
	f("CPU not limited", "not limited", oneSize(t, 512, .02, .03, func(s *simulated) { s.cpuUnenforced = true }))
	r := oneSize(t, 128, .02, .03, func(s *simulated) { s.usage.fullSpeed.Count = 0; s.usage.fullSpeed.Buckets = nil })
	f("128 MB without run delay", "cannot be told apart", r)
	if got := only(t, r, "memory-unknown"); !strings.Contains(got.Change, "512 MB") || got.Effect.Value != nil {
		t.Errorf("%+v", got)
	}
	two := newStore(t)
	sims := sweep("f", computes, 512, 1024)
	two.write("collector-1", minutes(1))
	two.write("collector-1", minutes(59), sims...)
	if got := build(t, two, Options{Start: minutes(0), End: minutes(60)}).Functions[0]; got.MemoryPrediction != nil || len(got.MemoryCurve) != 2 {
		t.Errorf("two sizes were measured, and others predicted: %+v", got.MemoryPrediction)
	}
}

// Every format says what is predicted, and that it is.
func TestPredictionIsShown(t *testing.T) {
	r := oneSize(t, 512, .05, .03)
	for _, format := range []Format{Text, Markdown, HTML} {
		got := strings.Join(strings.Fields(string(render(t, r, format, TextOptions{Width: 200}))), " ")
		for _, want := range []string{"not yet checked on AWS", "1024 MB"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s does not say %q", format, want)
			}
		}
	}
	if got := render(t, r, JSON, TextOptions{}); !strings.Contains(string(got), `"basis": "predicted"`) {
		t.Error("the JSON has no predicted point")
	}
}
