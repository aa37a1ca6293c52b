package predict

import (
	"math"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/internal/cpushare"
)

var sizes = []int64{128, 256, 512, 768, 1024, 1536, 1769, 2048, 3008}

// truth is a made-up function: it waits and computes in turn.
func truth(size int64, wait, cpu, p float64) float64 {
	return wait + max(cpu/p, milliseconds(cpushare.Supply(duration(cpu), cpushare.Share(float64(size)), p, 1)))
}

func source(size int64, wait, cpu, p float64, tier Tier) Source {
	s := Source{MemoryMB: size, N: 100, DurationMS: truth(size, wait, cpu, p), CPUMS: cpu, Idle: 1, UsedMB: 60}
	if tier == TierRunDelay {
		s.FullSpeedMS = wait + cpu/p
	}
	return s
}

// A function that is as the model says is predicted exactly, from every size.
func TestPredictsWhatItAssumes(t *testing.T) {
	f := func(wait, cpu, p float64, tier Tier, tolerance float64, from ...int64) {
		t.Helper()
		for _, size := range from {
			c := Predict(source(size, wait, cpu, p, tier), sizes)
			if c.Refused != "" || c.Tier != tier {
				t.Fatalf("from %d MB: %q %v", size, c.Refused, c.Tier)
			}
			for _, q := range c.Points {
				want := truth(q.MemoryMB, wait, cpu, p)
				if q.Refused != "" || math.Abs(q.DurationMS/want-1) > tolerance {
					t.Errorf("wait %v ms, %v ms of CPU on %v: %d MB from %d MB: %.1f ms, want %.1f (%s)", wait, cpu, p, q.MemoryMB, size, q.DurationMS, want, q.Refused)
				}
			}
		}
	}
	f(0, 40, 1, TierRunDelay, .001, sizes...)
	f(60, 40, 1, TierRunDelay, .001, 128, 256, 512, 768)
	f(60, 40, 1, TierRunDelay, .10, sizes...) // unthrottled, the tie between coarse and fine is a guess
	f(0, 60, 2, TierRunDelay, .001, 256, 512, 1024, 1769, 3008)
	f(100, 2, 1, TierRunDelay, .2, 512, 1024, 3008)
	f(0, 40, 1, TierCPUTime, .001, sizes[1:]...)
	f(60, 40, 1, TierCPUTime, .001, sizes[1:]...)
}

// A function that waits is as fast at every size, surely.
func TestWaits(t *testing.T) {
	for _, tier := range []Tier{TierRunDelay, TierCPUTime} {
		c := Predict(source(512, 100, 1, 1, tier), sizes)
		for _, p := range c.Points {
			if math.Abs(p.DurationMS-101) > 1 || p.HighMS/p.LowMS > 1.12 {
				t.Errorf("%v: %+v", tier, p)
			}
		}
		if c.CPUShare > .02 {
			t.Errorf("%v: computes %v", tier, c.CPUShare)
		}
	}
}

func TestRefuses(t *testing.T) {
	f := func(what string, change func(*Source), want string) {
		t.Helper()
		s := source(512, 20, 30, 1, TierRunDelay)
		change(&s)
		c := Predict(s, sizes)
		if !strings.Contains(c.Refused, want) || len(c.Points) > 0 {
			t.Errorf("%s: %q, %d points", what, c.Refused, len(c.Points))
		}
	}
	f("few", func(s *Source) { s.N = 29 }, "have 29 warm invocations with a CPU time, need 30")
	f("no CPU time", func(s *Source) { s.CPUMS = 0 }, "not known")
	f("NaN", func(s *Source) { s.DurationMS = math.NaN() }, "not known")
	f("a clock that fails", func(s *Source) { s.Implausible = .021 }, "CPU clock")
	f("a full size", func(s *Source) { s.UsedMB = 440 }, "in use")
	f("a large size", func(s *Source) { s.MemoryMB = 4096 }, "two CPUs")
	f("128 MB without run delay", func(s *Source) { s.MemoryMB, s.FullSpeedMS = 128, 0 }, "cannot be told apart")
	f("128 MB with many threads", func(s *Source) { s.MemoryMB, s.ManyThreads = 128, true }, "threads")
}

func TestRefusesTargets(t *testing.T) {
	s := source(1024, 20, 30, 1, TierRunDelay)
	s.UsedMB = 210
	for _, p := range Predict(s, append(sizes, 4096)).Points {
		refused := p.MemoryMB <= 256 || p.MemoryMB > MaxMB
		if (p.Refused != "") != refused || refused && p.DurationMS != 0 {
			t.Errorf("%+v", p)
		}
	}
}

// Whatever is put in, what comes out is in order.
func FuzzPredict(f *testing.F) {
	f.Add(int64(512), 50.0, 20.0, 30.0, 1.0, 0.0, 60.0)
	f.Add(int64(3008), 1e9, 1e-9, 0.0, 0.5, 0.0, 0.0)
	f.Fuzz(func(t *testing.T, size int64, d, c, s, idle, implausible, used float64) {
		curve := Predict(Source{MemoryMB: size, N: 50, DurationMS: d, CPUMS: c, FullSpeedMS: s, Idle: idle, Implausible: implausible, UsedMB: used}, sizes)
		if !(d < 1e9 && c < 1e9 && s < 1e9 && idle >= 0 && idle <= 1) {
			return // a day and more
		}
		for _, p := range curve.Points {
			if p.Refused == "" && !(p.LowMS > 0 && p.LowMS <= p.DurationMS && p.DurationMS <= p.HighMS && !math.IsInf(p.HighMS, 0)) {
				t.Errorf("%+v", p)
			}
		}
	})
}
