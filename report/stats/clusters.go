package stats

import "math"

// Clusters are running totals over clusters of correlated values, here the
// calls of one environment in one hour: K clusters; N values of sum S; and the
// sums over clusters of n², s² and n·s.
type Clusters struct {
	K, N, S, NN, SS, NS float64
}

// Add returns the totals of both.
func (c Clusters) Add(o Clusters) Clusters {
	return Clusters{c.K + o.K, c.N + o.N, c.S + o.S, c.NN + o.NN, c.SS + o.SS, c.NS + o.NS}
}

// Mean returns the ratio mean S/N.
func (c Clusters) Mean() float64 { return c.S / c.N }

// Variance returns the variance of the ratio mean r = S/N by the delta method
// over clusters (W. G. Cochran, "Sampling Techniques", 3rd ed. 1977, section
// 2.11; it is the variance that single-stage cluster sampling uses):
//
//	var(r) = k/(k-1) · Σ(sᵢ - r·nᵢ)² / N²
//	Σ(sᵢ - r·nᵢ)² = Σs² - 2r·Σns + r²·Σn²
//
// Calls of one environment share its caches, its neighbours and its luck.
// Taken as independent, their interval covers the truth a third of the time
// instead of 95 %.
func (c Clusters) Variance() float64 {
	if c.K < 2 || c.N <= 0 {
		return math.Inf(1)
	}
	r := c.Mean()
	residual := max(0, c.SS-2*r*c.NS+r*r*c.NN)
	return c.K / (c.K - 1) * residual / (c.N * c.N)
}

// Effective returns the number of clusters of equal size that carry as much
// information: N²/Σn² (L. Kish, "Survey Sampling", 1965). One environment that
// served nearly all calls counts as one, however many served a call or two.
func (c Clusters) Effective() float64 {
	if c.NN <= 0 {
		return 0
	}
	return min(c.K, c.N*c.N/c.NN)
}

// fewClusters widens intervals of means over few or unequal clusters, beyond
// what Student's quantile does: by 1 + 4/k for k effective ones. The levels of
// environments are skewed to the right, so that a small sample knows too little
// of its variance. Four was found by simulation, as the smallest whole number
// with which intervals cover 95 % at 10, 40 and 100 clusters whose levels are
// distributed exponentially; see the tests. At 200 it is 2 %.
const fewClusters = 4

// MeanInterval returns the interval of the ratio mean. The quantile is
// Student's, on the effective number of clusters less one.
func (c Clusters) MeanInterval() Interval {
	half := halfWidth(c.Variance(), c.Effective())
	return Interval{c.Mean() - half, c.Mean() + half}
}

func halfWidth(variance, k float64) float64 {
	return TQuantile975(k-1) * math.Sqrt(variance) * (1 + fewClusters/max(1, k))
}

// SumInterval returns the interval of an estimate with a known variance that
// stands on k clusters.
func SumInterval(value, variance, k float64) Interval {
	half := halfWidth(variance, k)
	return Interval{value - half, value + half}
}

// DesignEffect returns by which factor the variance of the mean of h is above
// that of as many independent values, at least 1 (L. Kish, "Survey Sampling",
// 1965). Where nothing is known of it, all values count as one.
func (c Clusters) DesignEffect(h Histogram) float64 {
	v := c.Variance()
	if math.IsInf(v, 1) || h.Count <= 0 {
		return max(1, h.Count)
	}
	independent := h.Variance() / h.Count
	if independent <= 0 {
		return 1
	}
	return min(max(1, v/independent), h.Count)
}

// DifferenceInterval returns the interval of fa·a - fb·b for the means of two
// independent sets of clusters, on Welch's degrees of freedom (B. L. Welch,
// "The generalization of Student's problem", Biometrika 34, 1947). The factors
// make costs of durations.
func DifferenceInterval(a Clusters, fa float64, b Clusters, fb float64) Interval {
	va, vb := fa*fa*a.Variance(), fb*fb*b.Variance()
	d, v := fa*a.Mean()-fb*b.Mean(), va+vb
	if v == 0 {
		return Interval{d, d}
	}
	df := v * v / (va*va/(a.Effective()-1) + vb*vb/(b.Effective()-1))
	half := halfWidth(v, df+1)
	return Interval{d - half, d + half}
}
