package stats

import "math"

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
