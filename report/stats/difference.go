package stats

import "math"

// ProportionDifference returns the difference of two independent proportions
// k2/n2 - k1/n1 with its interval, by the square-and-add method on Wilson's
// intervals (R. G. Newcombe, "Interval estimation for the difference between
// independent proportions", Statistics in Medicine 17, 1998, method 10).
func ProportionDifference(k1, n1, k2, n2 float64) (difference float64, in Interval) {
	return Difference(k1/n1, Wilson(k1, n1), k2/n2, Wilson(k2, n2))
}

// Difference returns b - a with its interval, from the intervals of two
// independent estimates, which need not be symmetric: the method of variance
// estimates recovery (G. Zou and A. Donner, "Construction of confidence limits
// about effect measures", Statistics in Medicine 27, 2008).
func Difference(a float64, ia Interval, b float64, ib Interval) (difference float64, in Interval) {
	d := b - a
	return d, Interval{
		Low:  d - math.Hypot(b-ib.Low, ia.High-a),
		High: d + math.Hypot(ib.High-b, a-ia.Low),
	}
}

// PValue returns the two-sided p-value of the hypothesis that a difference is
// zero, from its 95 % interval: it is below 0.05 exactly where the interval
// leaves out zero. The half of the interval that points to zero is taken for
// 1.96 standard errors (D. G. Altman and J. M. Bland, "How to obtain the P value
// from a confidence interval", BMJ 343, 2011).
func PValue(difference float64, in Interval) float64 {
	half := difference - in.Low
	if difference < 0 {
		half = in.High - difference
	}
	switch {
	case math.IsNaN(half) || math.IsInf(half, 0) || difference == 0:
		return 1
	case half <= 0:
		return 0
	}
	z := math.Abs(difference) / half * z95
	return math.Erfc(z / math.Sqrt2)
}
