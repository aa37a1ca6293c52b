package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuantileIntervalCoversTheTruth(t *testing.T) {
	const runs = 2000
	rng := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		name  string
		n     int
		q     float64
		draw  func() float64
		truth float64
	}{
		{"exponential median", 50, 0.5, rng.ExpFloat64, math.Ln2},
		{"exponential p95", 200, 0.95, rng.ExpFloat64, -math.Log(0.05)},
		{"log-normal p95", 500, 0.95, func() float64 { return math.Exp(rng.NormFloat64()) }, math.Exp(1.6448536)},
		{"log-normal p99", 1000, 0.99, func() float64 { return math.Exp(rng.NormFloat64()) }, math.Exp(2.3263479)},
	} {
		covered, width := 0, 0.0
		for range runs {
			h := Histogram{Scale: 5}
			for range c.n {
				h.Observe(c.draw(), 1)
			}
			in := h.QuantileInterval(c.q)
			if in.Low <= c.truth && c.truth <= in.High {
				covered++
			}
			width += math.Min(in.High, 100) - in.Low
		}
		share := float64(covered) / runs
		t.Logf("%s, n = %d: %.3f, mean width %.3f of %.3f", c.name, c.n, share, width/runs, c.truth)
		if share < 0.94 || share > 0.995 {
			t.Errorf("%s: the interval covers the truth in %.3f of the runs", c.name, share)
		}
	}
}

// With fewer than 59 values nothing bounds the 95th percentile from above.
func TestQuantileIntervalHasNoEndWithoutValues(t *testing.T) {
	h := Histogram{Scale: 5}
	if in := h.QuantileInterval(0.5); in != (Interval{0, math.Inf(1)}) {
		t.Errorf("empty: %v", in)
	}
	for i := range 40 {
		h.Observe(float64(i+1), 1)
	}
	if in := h.QuantileInterval(0.95); !math.IsInf(in.High, 1) || in.Low < 30 {
		t.Errorf("p95 of 40 values: %v", in)
	}
	if in := h.QuantileInterval(0.5); in.Low > 14 || in.High < 27 || in.High > 29 {
		t.Errorf("median of 1 to 40: %v", in)
	}
}

// The example of Benjamini and Hochberg's paper: of fifteen p-values the four
// smallest are rejected at 5 %.
func TestBenjaminiHochberg(t *testing.T) {
	p := []float64{0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1}
	rejected := func(list []bool) (n int) {
		for _, r := range list {
			if r {
				n++
			}
		}
		return n
	}
	if got := BenjaminiHochberg(p, 0.05); rejected(got) != 4 || !got[3] || got[4] {
		t.Errorf("rejected %v", got)
	}
	slices.Reverse(p)
	if got := BenjaminiHochberg(p, 0.05); rejected(got) != 4 || !got[14] {
		t.Errorf("in another order: %v", got)
	}
	if got := BenjaminiHochberg(nil, 0.05); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}
