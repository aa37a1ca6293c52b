package stats

import "math"

// QuantileInterval returns the interval of the q quantile by order statistics:
// the values of rank n·q ± 1.96·sqrt(n·q·(1-q)), whatever the distribution is
// (W. J. Conover, "Practical Nonparametric Statistics", 3rd ed. 1999, section
// 3.2). The ranks are rounded outwards, and their values are the bounds of
// their buckets, so that the interval is never too narrow by the width of one.
//
// A rank beyond the last value has no upper end: the interval then is infinite,
// as it is for the 95th percentile of fewer than 59 values.
func (h Histogram) QuantileInterval(q float64) Interval { return h.CorrelatedQuantileInterval(q, 1) }

// CorrelatedQuantileInterval returns the same for values that are worth only
// n/effect independent ones; see [Clusters.DesignEffect]. The number of values
// below the quantile then varies by the root of the effect more (J. N. K. Rao and
// A. J. Scott, "A simple method for the analysis of clustered binary data",
// Biometrics 48, 1992).
func (h Histogram) CorrelatedQuantileInterval(q, effect float64) Interval {
	n := h.Count
	if n <= 0 {
		return Interval{0, math.Inf(1)}
	}
	half := z95 * math.Sqrt(n*q*(1-q)*max(1, effect))
	low, high := math.Floor(n*q-half), math.Ceil(n*q+half)+1
	in := Interval{0, math.Inf(1)}
	if low >= 1 {
		in.Low = h.lowerBoundOf(low)
	}
	if high <= n {
		in.High = h.upperBoundOf(high)
	}
	return in
}

// upperBoundOf returns the upper bound of the bucket that holds the value of a
// rank, counted from 1.
func (h Histogram) upperBoundOf(rank float64) float64 {
	_, high := h.bucketOf(rank)
	return high
}

func (h Histogram) lowerBoundOf(rank float64) float64 {
	low, _ := h.bucketOf(rank)
	return low
}

func (h Histogram) bucketOf(rank float64) (low, high float64) {
	seen := h.Zero
	if rank <= seen {
		return 0, 0
	}
	for _, i := range h.indexes() {
		if seen += h.Buckets[i]; seen >= rank {
			return UpperBound(i-1, h.Scale), UpperBound(i, h.Scale)
		}
	}
	return h.Max(), h.Max()
}
