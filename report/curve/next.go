package curve

import (
	"math"
	"slices"
)

// Next returns the size of the candidates that is worth most to measure next,
// with the share of today's least measured cost that it is expected to save:
// the expected improvement of J. Mockus, "On Bayesian methods for seeking the
// extremum", 1975. There is none when all within reach are measured.
func (c *Curve) Next(candidates []float64, cost Cost) (memoryMB, saving float64, ok bool) {
	best := math.Inf(1)
	for i, p := range c.points {
		best = min(best, cost(p.MemoryMB, c.smooth[i]))
	}
	for _, m := range candidates {
		if _, measured, known := c.MS(m); !known || measured {
			continue
		}
		var gain float64
		for i, ms := range c.durations(m) {
			gain += c.hypotheses[i].weight * max(0, best-cost(m, ms))
		}
		if !ok || gain/best > saving {
			memoryMB, saving, ok = m, gain/best, true
		}
	}
	return memoryMB, saving, ok
}

// First returns the size to begin with when nothing is measured: that nearest to
// 512 MB on a logarithmic scale. Smaller ones say little about the waiting,
// larger ones little about the computing.
func First(candidates []float64) float64 {
	distance := func(m float64) float64 { return math.Abs(math.Log(m / 512)) }
	return slices.MinFunc(candidates, func(a, b float64) int {
		switch {
		case distance(a) < distance(b):
			return -1
		case distance(a) > distance(b):
			return 1
		}
		return 0
	})
}
