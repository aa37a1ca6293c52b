package curve

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sizes are those that the tests ask about.
var sizes = []float64{128, 256, 512, 1024, 1769, 3008}

// truth is a function that waits and computes, with the credit of an idle gap.
func truth(waiting, cpu, kappa float64) func(memoryMB float64) float64 {
	s := shape{mechanism: credit, kappa: kappa, threads: 1}
	return func(m float64) float64 { return waiting + s.at(m).time(cpu) }
}

func fit(t testing.TB, f func(float64) float64, noise func() float64, at ...float64) *Curve {
	t.Helper()
	var points []Point
	for _, m := range at {
		points = append(points, Point{MemoryMB: m, MS: f(m) * noise()})
	}
	c, err := Fit(points)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func exactly() float64 { return 1 }

func all(c *Curve, at []float64) (out []Estimate) {
	for _, m := range at {
		if e, ok := c.At(m); ok {
			out = append(out, e)
		}
	}
	return out
}

// A curve that the model can follow is found again from three of its sizes.
func TestPredictsWhatFollowsTheModel(t *testing.T) {
	for name, f := range map[string]func(float64) float64{
		"computes": truth(0, 300, 36),
		"waits":    truth(120, 0, 36),
		"both":     truth(100, 40, 50),
		"parallel": func(m float64) float64 { return 10 + 4000/min(m/fullCPU, 2) },
	} {
		c := fit(t, f, exactly, 128, 1024, 3008)
		for _, m := range []float64{256, 512, 1536, 2048} {
			e, ok := c.At(m)
			if !ok || math.Abs(e.MS/f(m)-1) > 0.12 {
				t.Errorf("%s at %g MB: %.1f ms, the truth is %.1f", name, m, e.MS, f(m))
			}
			if e.Measured || !(e.Low <= f(m) && f(m) <= e.High) {
				t.Errorf("%s at %g MB: %.1f ms is not in %+v", name, m, f(m), e)
			}
		}
	}
}

// What was measured is not replaced by what the model thinks of it, except that
// more memory makes nothing slower.
func TestMeasuredFirst(t *testing.T) {
	c, err := Fit([]Point{{MemoryMB: 512, MS: 40}, {MemoryMB: 128, MS: 200, RelativeError: 0.02}, {MemoryMB: 1024, MS: 44}})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := c.At(128)
	if !e.Measured || e.MS != 200 || math.Abs(e.Low-200*math.Exp(-0.0392)) > 1e-9 {
		t.Errorf("128 MB: %+v", e)
	}
	a, _ := c.At(512)
	b, _ := c.At(1024)
	if a.MS != b.MS || a.MS <= 40 || a.MS >= 44 {
		t.Errorf("noise was not pooled: %+v, %+v", a, b)
	}
	between, _ := c.At(768)
	if between.Measured || math.Abs(between.MS-a.MS) > 1e-9 {
		t.Errorf("768 MB: %+v, between two sizes of %g ms", between, a.MS)
	}
}

func TestSaysNothingFarBeyond(t *testing.T) {
	c := fit(t, truth(10, 100, 36), exactly, 256, 512)
	for m, want := range map[float64]bool{127: false, 128: true, 1024: true, 1025: false} {
		if _, ok := c.At(m); ok != want {
			t.Errorf("%g MB: known %t, want %t", m, ok, want)
		}
	}
}

func TestRefusesWhatIsNoCurve(t *testing.T) {
	for _, points := range [][]Point{
		nil, {{128, 0, 0}}, {{0, 1, 0}}, {{128, math.NaN(), 0}}, {{128, math.Inf(1), 0}},
		{{128, 1, -1}}, {{128, 1, 0}, {128, 2, 0}}, {{math.Inf(1), 1, 0}},
	} {
		if _, err := Fit(points); err == nil {
			t.Errorf("%v is a curve", points)
		}
	}
}

// A function whose duration does not depend on memory is cheapest at the
// smallest size, in every one of 500 noisy runs: nobody is told to raise it.
func TestFlatIsNeverRaised(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		ms := math.Exp(7 * rng.Float64())
		c := fit(t, truth(ms, 0, 36), func() float64 { return math.Exp(0.03 * rng.NormFloat64()) }, 128, 512, 1024)
		var known []Estimate
		for _, m := range sizes {
			if v, measured, ok := c.MS(m); ok {
				known = append(known, Estimate{MemoryMB: m, MS: v, Measured: measured})
			}
		}
		if best := Cheapest(known, Duration); best.MemoryMB != 128 {
			t.Fatalf("a function that waits %.0f ms is advised %g MB", ms, best.MemoryMB)
		}
	}
}

// A memory cliff: below 512 MB the function thrashes. The size above it is
// chosen, although nobody measured it.
func TestCliff(t *testing.T) {
	c := fit(t, func(m float64) float64 { return 10 + 8*math.Pow(512/m, 2) }, exactly, 128, 1024, 2048)
	best := Cheapest(all(c, sizes), Duration)
	if best.MemoryMB != 512 && best.MemoryMB != 256 {
		t.Errorf("%g MB", best.MemoryMB)
	}
	if Permits(512, 0.81*512) || !Permits(512, 0.79*512) {
		t.Error("the guard of memory used is not at 80 %")
	}
}

func TestObjectives(t *testing.T) {
	estimates := []Estimate{
		{128, 800, 780, 820, true}, {256, 380, 370, 390, true}, {512, 205, 185, 225, true},
		{1024, 104, 100, 108, true}, {2048, 100, 97, 103, true},
	}
	if got := Cheapest(estimates, Duration).MemoryMB; got != 256 {
		t.Errorf("cheapest = %g MB", got)
	}
	if got := Fastest(estimates, Duration).MemoryMB; got != 2048 {
		t.Errorf("fastest = %g MB", got)
	}
	flat := []Estimate{{128, 100, 95, 105, true}, {512, 99, 95, 103, true}, {1024, 98.5, 95, 103, true}}
	if got := Fastest(flat, Duration).MemoryMB; got != 128 {
		t.Errorf("fastest of a function that waits = %g MB", got)
	}
	if got := Knee(estimates, Duration).MemoryMB; got != 1024 {
		t.Errorf("knee = %g MB", got)
	}
	var tie []float64
	for _, e := range Tie(estimates, Duration, 0.10) {
		tie = append(tie, e.MemoryMB)
	}
	if !slices.Equal(tie, []float64{256, 512}) {
		t.Errorf("tie = %v", tie)
	}
	if got, ok := Within(estimates, Duration, 300, 1.4); !ok || got.MemoryMB != 512 {
		t.Errorf("within 300 ms at p95 = %+v", got)
	}
	if got, ok := Within(estimates, Duration, 50, 1); ok {
		t.Errorf("within 50 ms = %+v", got)
	}
}

func TestNextIsWorthMeasuring(t *testing.T) {
	c := fit(t, truth(0, 100, 36), exactly, 256)
	m, saving, ok := c.Next(sizes, Duration)
	if !ok || m == 256 || !(saving > 0 && saving < 1) {
		t.Errorf("next = %g MB, saving %g", m, saving)
	}
	c = fit(t, truth(100, 0, 36), exactly, 128, 256, 512)
	if _, saving, _ := c.Next(sizes, Duration); saving > 0.01 {
		t.Errorf("a function that waits is expected to save %.0f %% at a larger size", 100*saving)
	}
	if _, _, ok := c.Next([]float64{128, 512, 10240}, Duration); ok {
		t.Error("a size that is measured or out of reach is next")
	}
	if First([]float64{128, 320, 640, 3008}) != 640 {
		t.Error("the first size is not that nearest to 512 MB")
	}
}

// Pool adjacent violators against values worked out by hand, and its defining
// property.
func TestIsotonic(t *testing.T) {
	one := []float64{1, 1, 1, 1, 1}
	for _, c := range [][3][]float64{
		{{5, 4, 3}, one, {5, 4, 3}},
		{{1, 3}, one, {2, 2}},
		{{1, 3}, {3, 1}, {1.5, 1.5}},
		{{9, 2, 4, 6, 1}, one, {9, 4, 4, 4, 1}},
	} {
		got := isotonic(c[0], c[1][:len(c[0])])
		if !slices.Equal(got, c[2]) {
			t.Errorf("isotonic(%v) = %v, want %v", c[0], got, c[2])
		}
	}
}

// The two directions of a shape are inverse, and neither rises with the size.
func TestShapes(t *testing.T) {
	for _, s := range Default().shapes() {
		last := math.Inf(1)
		for _, m := range sizes {
			a := s.at(m)
			if got := a.cpu(a.time(70)); math.Abs(got-70) > 1e-9 {
				t.Errorf("%+v at %g MB: %g ms of CPU come back as %g", s, m, 70.0, got)
			}
			if a.time(70) > last+1e-9 {
				t.Errorf("%+v is slower at %g MB than below", s, m)
			}
			last = a.time(70)
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add(128.0, 100.0, 512.0, 30.0, 1024.0, 28.0)
	f.Add(128.0, 1e-9, 10240.0, 1e9, 129.0, 5.0)
	f.Fuzz(func(t *testing.T, m1, d1, m2, d2, m3, d3 float64) {
		c, err := Fit([]Point{{m1, d1, 0}, {m2, d2, 0}, {m3, d3, 0.1}})
		if err != nil {
			return
		}
		low, high := c.Range()
		for _, m := range []float64{low, math.Sqrt(low) * math.Sqrt(high), high} {
			if e, ok := c.At(m); ok && !(e.MS >= 0 && e.Low <= e.MS && e.MS <= e.High) {
				t.Errorf("%g MB: %+v", m, e)
			}
		}
	})
}

func BenchmarkFitAndPredict(b *testing.B) {
	points := []Point{{128, 693, 0}, {1024, 88.8, 0}, {3008, 72.5, 0}}
	for b.Loop() {
		c, err := Fit(points)
		if err != nil {
			b.Fatal(err)
		}
		all(c, sizes)
	}
}
