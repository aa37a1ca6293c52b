package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The examples of Newcombe's table II, method 10, rounded to four digits there.
// He writes the first proportion less the second.
func TestProportionDifferenceAgainstNewcombe(t *testing.T) {
	f := func(k1, n1, k2, n2, low, high float64) {
		t.Helper()
		_, in := ProportionDifference(k2, n2, k1, n1)
		if math.Abs(in.Low-low) > 5e-5 || math.Abs(in.High-high) > 5e-5 {
			t.Errorf("%v/%v - %v/%v: %.4f to %.4f, want %.4f to %.4f", k1, n1, k2, n2, in.Low, in.High, low, high)
		}
	}
	f(56, 70, 48, 80, 0.0524, 0.3339)
	f(9, 10, 3, 10, 0.1705, 0.8090)
	f(6, 7, 2, 7, 0.0582, 0.8062)
	f(5, 56, 0, 29, -0.0381, 0.1926)
	f(0, 10, 0, 20, -0.1611, 0.2775)
	f(10, 10, 0, 10, 0.6075, 1)
}

func TestProportionDifferenceCovers(t *testing.T) {
	const runs = 2000
	rng := rand.New(rand.NewPCG(1, 2))
	binomial := func(n int, p float64) (k float64) {
		for range n {
			if rng.Float64() < p {
				k++
			}
		}
		return k
	}
	for _, c := range []struct {
		n1, n2 int
		p1, p2 float64
	}{{200, 300, 0.01, 0.03}, {1000, 500, 0.005, 0.005}, {60, 60, 0.3, 0.5}} {
		covered := 0
		for range runs {
			_, in := ProportionDifference(binomial(c.n1, c.p1), float64(c.n1), binomial(c.n2, c.p2), float64(c.n2))
			if d := c.p2 - c.p1; in.Low <= d && d <= in.High {
				covered++
			}
		}
		// 0.93 is four standard errors of the simulation below 0.95; the method
		// is conservative for rare events, so there is no upper end.
		if share := float64(covered) / runs; share < 0.93 {
			t.Errorf("%+v: the interval covers the truth in %.3f of the runs", c, share)
		}
	}
}

func TestPValue(t *testing.T) {
	f := func(d, low, high, want float64) {
		t.Helper()
		if got := PValue(d, Interval{low, high}); math.Abs(got-want) > 1e-6 {
			t.Errorf("difference %v (%v to %v): p %v, want %v", d, low, high, got, want)
		}
	}
	f(z95, 0, 2*z95, 0.05)
	f(-z95, -2*z95, 0, 0.05)
	f(2*z95, z95, 3*z95, math.Erfc(2*z95/math.Sqrt2))
	f(0, -1, 1, 1)
	f(1, math.Inf(-1), math.Inf(1), 1)
	// Asymmetric: the half that points to zero decides.
	f(1, 0.5, 9, math.Erfc(2*z95/math.Sqrt2))
}
