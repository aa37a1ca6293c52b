package stats

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// Reference values: R 4, binom::binom.confint(k, n, methods = "wilson"), also
// in R. G. Newcombe, "Two-sided confidence intervals for the single
// proportion", 1998, table I (81/263, 15/148, 0/20, 1/29).
func TestWilsonAgainstReferenceValues(t *testing.T) {
	f := func(k, n, low, high float64) {
		t.Helper()
		got := Wilson(k, n)
		if math.Abs(got.Low-low) > 5e-5 || math.Abs(got.High-high) > 5e-5 {
			t.Errorf("Wilson(%g, %g) = %.4f to %.4f, want %.4f to %.4f", k, n, got.Low, got.High, low, high)
		}
	}
	f(81, 263, 0.2553, 0.3662)
	f(15, 148, 0.0624, 0.1605)
	f(0, 20, 0, 0.1611)
	f(1, 29, 0.0061, 0.1718)
	f(0, 0, 0, 1)
}

func TestTQuantileAgainstTables(t *testing.T) {
	f := func(df, want float64) {
		t.Helper()
		if got := TQuantile975(df); math.Abs(got/want-1) > 0.01 {
			t.Errorf("t quantile with %g degrees of freedom = %.4f, want %.4f", df, got, want)
		}
	}
	f(1, 12.7062)
	f(2, 4.3027)
	f(3, 3.1824)
	f(5, 2.5706)
	f(9, 2.2622)
	f(29, 2.0452)
	f(1e6, 1.95996)
}

// The floor of the 95th percentile is where the largest of n values is above
// it with a probability of at least 95 %.
func TestFloorsOfQuantiles(t *testing.T) {
	f := func(q float64, n int) {
		t.Helper()
		if math.Pow(q, float64(n)) > 0.05 || math.Pow(q, float64(n-1)) <= 0.05 {
			t.Errorf("%d is not the floor of quantile %g", n, q)
		}
	}
	f(0.95, 59)
	f(0.99, 299)
}

func TestQuantileIsWithinOneBucket(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	h := Histogram{Scale: 5}
	values := make([]float64, 5000)
	for i := range values {
		values[i] = math.Exp(rng.NormFloat64()) / 10
		h.Observe(values[i], 1)
	}
	sort.Float64s(values)
	for _, q := range []float64{0.1, 0.5, 0.9, 0.95, 0.99} {
		want := values[int(math.Ceil(q*5000))-1]
		if got := h.Quantile(q); math.Abs(got/want-1) > 0.023 {
			t.Errorf("quantile %g = %g, want %g", q, got, want)
		}
	}
	if got, want := h.Max(), values[4999]; got < want || got > want*1.023 {
		t.Errorf("Max = %g, the largest value is %g", got, want)
	}
}

func TestHistogramZeroAndEmpty(t *testing.T) {
	var h Histogram
	if !math.IsNaN(h.Quantile(0.5)) || h.Max() != 0 {
		t.Error("an empty histogram has a quantile")
	}
	h.Observe(-1, 3)
	h.Observe(4, 1)
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("median = %g, want 0", got)
	}
	if got := h.Quantile(1); got != 4 {
		t.Errorf("largest = %g, want 4", got)
	}
}

// Merging and subtracting commute with counting, at equal and unequal scales.
func FuzzHistogramAddSub(f *testing.F) {
	f.Add(uint64(1), uint8(5), uint8(5))
	f.Add(uint64(2), uint8(5), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, scaleA, scaleB uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		a, b := Histogram{Scale: int(scaleA % 9)}, Histogram{Scale: int(scaleB % 9)}
		both := Histogram{Scale: min(a.Scale, b.Scale)}
		for range 200 {
			v := math.Exp(4 * rng.NormFloat64())
			h := &a
			if rng.IntN(2) == 0 {
				h = &b
			}
			h.Observe(v, 1)
			both.Observe(v, 1)
		}
		sum := a.Add(b)
		if sum.Count != both.Count || len(sum.Buckets) != len(both.Buckets) {
			t.Fatalf("merged %v, want %v", sum, both)
		}
		for i, n := range both.Buckets {
			if sum.Buckets[i] != n {
				t.Fatalf("bucket %d = %g, want %g", i, sum.Buckets[i], n)
			}
		}
		left := sum.Sub(b)
		if left.Count != a.Count || math.Abs(left.Sum-a.Sum) > 1e-6*math.Abs(sum.Sum) {
			t.Fatalf("subtracted %v, want %v", left, a)
		}
	})
}
