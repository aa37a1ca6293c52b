// Package stats holds the statistics that the report stands on: exponential
// histograms that can be subtracted and merged without loss, intervals for
// rates and for means over correlated calls, and the number of values below
// which a figure is not shown at all.
//
// Each formula names its source. Nothing here knows what a Lambda function is.
package stats

import "math"

// Interval is a two-sided 95 % confidence interval.
type Interval struct {
	Low, High float64
}

// z95 is the 0.975 quantile of the normal distribution.
const z95 = 1.959963984540054

// Wilson returns the score interval of a rate of k in n (E. B. Wilson,
// "Probable inference, the law of succession, and statistical inference",
// JASA 22, 1927). Unlike p ± 1.96 sqrt(p(1-p)/n) it stays within [0, 1] and
// keeps its coverage for rare events, which cold starts are.
func Wilson(k, n float64) Interval {
	if n <= 0 {
		return Interval{0, 1}
	}
	p := min(max(k/n, 0), 1)
	z2 := z95 * z95
	center := (p + z2/(2*n)) / (1 + z2/n)
	half := z95 / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	return Interval{max(0, center-half), min(1, center+half)}
}

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

// MeanInterval returns the interval of the ratio mean. The quantile is
// Student's, on the effective number of clusters less one: with few clusters,
// or very unequal ones, the normal quantile is too narrow.
func (c Clusters) MeanInterval() Interval {
	half := TQuantile975(c.Effective()-1) * math.Sqrt(c.Variance())
	return Interval{c.Mean() - half, c.Mean() + half}
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
	half := TQuantile975(df) * math.Sqrt(v)
	return Interval{d - half, d + half}
}

// TQuantile975 returns the 0.975 quantile of Student's t distribution, by the
// Cornish-Fisher expansion in 1/df (Abramowitz and Stegun 26.7.5) from 3
// degrees of freedom on, where it is right to 1 %, and exactly for 1 and 2.
func TQuantile975(df float64) float64 {
	switch {
	case math.IsNaN(df) || df < 1:
		return math.Inf(1)
	case df < 2:
		return 12.706204736
	case df < 3:
		return 4.30265273
	}
	z := z95
	z3, z5, z7 := math.Pow(z, 3), math.Pow(z, 5), math.Pow(z, 7)
	return z +
		(z3+z)/(4*df) +
		(5*z5+16*z3+3*z)/(96*df*df) +
		(3*z7+19*z5+17*z3-15*z)/(384*df*df*df)
}

// Floors: the number of values below which a figure is not shown.
const (
	// FloorP50 keeps the median from being one of a handful of values.
	FloorP50 = 10
	// FloorP95 is where a one-sided 95 % bound of the 95th percentile first
	// exists: 0.95^n <= 0.05 from n = 59 on. Rounded up.
	FloorP95 = 60
	// FloorP99 likewise: 0.99^n <= 0.05 from n = 299 on.
	FloorP99 = 299
	// FloorMean is where the mean of skewed real cold starts is known to
	// about 10 %.
	FloorMean = 30
	// FloorClusters is the number of environment-hours from which the interval
	// of a mean covers the truth close to 95 % of the time; see the simulation
	// in the tests.
	FloorClusters = 10
	// FloorCompare is the number of calls per memory size from which sizes are
	// compared.
	FloorCompare = 50
)

// SumInterval returns the interval of an estimate with a known variance that
// stands on k clusters.
func SumInterval(value, variance, k float64) Interval {
	half := TQuantile975(k-1) * math.Sqrt(variance)
	return Interval{value - half, value + half}
}
