package stats

import (
	"cmp"
	"slices"
)

// BenjaminiHochberg says which of many hypotheses to reject so that of those
// rejected at most the share rate is rejected by chance (Y. Benjamini and Y.
// Hochberg, "Controlling the false discovery rate", JRSS B 57, 1995). It holds
// for independent tests and for positively dependent ones.
func BenjaminiHochberg(p []float64, rate float64) []bool {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	last := -1
	for rank, i := range order {
		if p[i] <= rate*float64(rank+1)/float64(len(p)) {
			last = rank
		}
	}
	out := make([]bool, len(p))
	for _, i := range order[:last+1] {
		out[i] = true
	}
	return out
}
