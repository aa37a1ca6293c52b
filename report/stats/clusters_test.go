package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// covers holds a simulated coverage against 95 % by an exact binomial test: it
// is an error if an interval that covers 95 % would do so badly in one run of a
// thousand. An interval may cover more, as those over few clusters do.
func covers(t *testing.T, name string, covered, runs int) {
	t.Helper()
	share := float64(covered) / float64(runs)
	t.Logf("%s: %d of %d, %.3f", name, covered, runs, share)
	if p := binomialAtMost(covered, runs, 0.95); p < 0.001 {
		t.Errorf("%s: the interval covers the truth in %.3f of the runs, p = %.2g", name, share, p)
	}
}

// binomialAtMost returns the probability of at most k successes in n.
func binomialAtMost(k, n int, p float64) float64 {
	var sum float64
	lgamma := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
	for i := range k + 1 {
		sum += math.Exp(lgamma(n) - lgamma(i) - lgamma(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

// P(X <= 1) of three tosses at 0.5, and R's pbinom(1880, 2000, 0.95).
func TestBinomial(t *testing.T) {
	if got := binomialAtMost(1, 3, 0.5); math.Abs(got-0.5) > 1e-12 {
		t.Errorf("P = %g", got)
	}
	if got := binomialAtMost(1880, 2000, 0.95); got < 0.02 || got > 0.03 {
		t.Errorf("P = %g", got)
	}
}

// The interval of a mean over calls that are correlated within their
// environment, and of unequal number. Environments whose levels are as skewed
// as an exponential distribution are a hard case.
func TestMeanIntervalCovers(t *testing.T) {
	const runs = 2000
	for name, level := range map[string]levels{"symmetric": normalLevels, "skewed": skewedLevels, "log-normal": logLevels} {
		for _, clusters := range []int{FloorCompareClusters, 20, FloorClusters, 100, 200} {
			rng := rand.New(rand.NewPCG(7, uint64(clusters)))
			covered := 0
			for range runs {
				in := simulate(rng, clusters, level).MeanInterval()
				if in.Low <= 100 && 100 <= in.High {
					covered++
				}
			}
			covers(t, name, covered, runs)
			if clusters >= FloorClusters && covered > 0.985*runs {
				t.Errorf("%s, %d clusters: the interval is too wide, it covers %.3f", name, clusters, float64(covered)/runs)
			}
		}
	}
}

// Taking the same calls as independent must fail: otherwise the simulation
// shows nothing.
func TestIndependentIntervalDoesNotCover(t *testing.T) {
	const runs = 500
	rng := rand.New(rand.NewPCG(11, 3))
	covered := 0
	for range runs {
		c := simulate(rng, 50, skewedLevels)
		// Within-cluster spread is 10, between clusters 20; n values.
		half := z95 * math.Sqrt(500/c.N)
		if math.Abs(c.Mean()-100) <= half {
			covered++
		}
	}
	if got := float64(covered) / runs; got > 0.6 {
		t.Errorf("independent interval covers %.2f: the simulated calls are not correlated", got)
	}
}

// The sum of what three sizes cost, each on clusters of its own.
func TestSumIntervalCovers(t *testing.T) {
	const runs = 2000
	rng := rand.New(rand.NewPCG(5, 9))
	covered := 0
	for range runs {
		var sum, variance, k float64
		for _, clusters := range []int{40, 60, 200} {
			c := simulate(rng, clusters, skewedLevels)
			sum, variance, k = sum+c.Mean(), variance+c.Variance(), k+c.Effective()
		}
		if in := SumInterval(sum, variance, k); in.Low <= 300 && 300 <= in.High {
			covered++
		}
	}
	covers(t, "a sum", covered, runs)
}

// The interval of a difference has to cover as well, for findings stand on it.
func TestDifferenceIntervalCovers(t *testing.T) {
	const runs = 2000
	rng := rand.New(rand.NewPCG(5, 8))
	for name, level := range map[string]levels{"symmetric": normalLevels, "skewed": skewedLevels} {
		covered := 0
		for range runs {
			a, b := simulate(rng, FloorCompareClusters, level), simulate(rng, 40, level)
			in := DifferenceInterval(a, 2, b, 1)
			if in.Low <= 100 && 100 <= in.High {
				covered++
			}
		}
		covers(t, "a difference, "+name, covered, runs)
	}
}

// Quantiles of calls that share the level of their environment: as independent
// values they are not covered, with the design effect they are.
func TestCorrelatedQuantileIntervalCovers(t *testing.T) {
	const runs, clusters, calls = 2000, 60, 40
	rng := rand.New(rand.NewPCG(6, 8))
	// Levels and calls are log-normal, so that all calls together are.
	const between, within = 0.3, 0.3
	sigma := math.Hypot(between, within)
	for q, z := range map[float64]float64{0.5: 0, 0.95: 1.6448536} {
		truth := math.Exp(sigma * z)
		covered, naive := 0, 0
		for range runs {
			h := Histogram{Scale: 5}
			var c Clusters
			for range clusters {
				level, s := between*rng.NormFloat64(), 0.0
				for range calls {
					v := math.Exp(level + within*rng.NormFloat64())
					s += v
					h.Observe(v, 1)
				}
				c = c.Add(Clusters{1, calls, s, calls * calls, s * s, calls * s})
			}
			if in := h.CorrelatedQuantileInterval(q, c.DesignEffect(h)); in.Low <= truth && truth <= in.High {
				covered++
			}
			if in := h.QuantileInterval(q); in.Low <= truth && truth <= in.High {
				naive++
			}
		}
		covers(t, "a correlated quantile", covered, runs)
		if naive > 0.8*runs {
			t.Errorf("quantile %g: independent intervals cover %.3f, the simulated calls are not correlated", q, float64(naive)/runs)
		}
	}
}

func TestDesignEffect(t *testing.T) {
	h := Histogram{Scale: 5}
	var c Clusters
	for i := range 20 {
		v := float64(1 + i%2)
		h.Observe(v, 10)
		s := 10 * v
		c = c.Add(Clusters{1, 10, s, 100, s * s, 10 * s})
	}
	// All values of a cluster are the same: ten of them are worth one.
	if got := c.DesignEffect(h); math.Abs(got/10-1) > 0.1 {
		t.Errorf("design effect = %g, want about 10", got)
	}
	if got := (Clusters{}).DesignEffect(h); got != 200 {
		t.Errorf("of nothing known = %g, want 200", got)
	}
}

// levels draws the mean duration of one environment; its own mean is 100.
type levels func(*rand.Rand) float64

func normalLevels(rng *rand.Rand) float64 { return 100 + 20*rng.NormFloat64() }
func skewedLevels(rng *rand.Rand) float64 { return 80 + 20*rng.ExpFloat64() }

// simulate draws clusters of 1 to 100 calls around their own level.
func simulate(rng *rand.Rand, clusters int, level levels) Clusters {
	var c Clusters
	for range clusters {
		n := float64(1 + rng.IntN(100))
		s := n*level(rng) + math.Sqrt(n)*10*rng.NormFloat64()
		c = c.Add(Clusters{1, n, s, n * n, s * s, n * s})
	}
	return c
}

func logLevels(rng *rand.Rand) float64 { return 100 * math.Exp(0.5*rng.NormFloat64()-0.125) }
