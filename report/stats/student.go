package stats

import "math"

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
