package curve

import (
	"cmp"
	"math"
	"slices"
)

// Guard is the largest share of a memory size that may be in use.
const Guard = 0.80

// Permits tells whether a function that uses usedMB at most may run at a size.
// That does not hold for what expands into the memory it gets, as heaps with
// garbage collection do; there it errs on the safe side.
func Permits(memoryMB, usedMB float64) bool { return usedMB <= Guard*memoryMB }

// Cost is what an invocation costs, in any currency, that takes ms on average.
type Cost func(memoryMB, ms float64) float64

// Duration is the cost of the duration alone, in units of the price of one
// MB for one millisecond. Each invocation is rounded up to whole milliseconds,
// which adds half of one on average.
func Duration(memoryMB, ms float64) float64 { return memoryMB * (ms + 0.5) }

// Cheapest returns the estimate that costs least. There has to be one.
func Cheapest(sizes []Estimate, cost Cost) Estimate {
	return slices.MinFunc(sizes, func(a, b Estimate) int { return cmp.Compare(cost(a.MemoryMB, a.MS), cost(b.MemoryMB, b.MS)) })
}

// saturated is the share of the time by which a faster size is no faster: the
// next run would differ by as much.
const saturated = 0.02

// Fastest returns the estimate that takes the least time; of those that take
// hardly more, the cheapest. Where a curve is saturated that is where it began to
// be.
func Fastest(sizes []Estimate, cost Cost) Estimate {
	least := math.Inf(1)
	for _, e := range sizes {
		least = min(least, e.MS)
	}
	return Cheapest(slices.DeleteFunc(slices.Clone(sizes), func(e Estimate) bool { return e.MS > (1+saturated)*least }), cost)
}

// Within returns the cheapest estimate whose duration, times scale, keeps the
// limit in milliseconds. The scale makes a quantile of a mean: p95/mean of the
// size that is known best.
func Within(sizes []Estimate, cost Cost, limitMS, scale float64) (Estimate, bool) {
	kept := slices.DeleteFunc(slices.Clone(sizes), func(e Estimate) bool { return e.MS*scale > limitMS })
	if len(kept) == 0 {
		return Estimate{}, false
	}
	return Cheapest(kept, cost), true
}

// Knee returns the size up to which each step saves a larger share of the time
// than it adds to the cost: the least product of the two. It is the energy-delay
// product of M. Horowitz et al., "Low-power digital design", 1994, with money in
// the place of energy, and depends on no unit and on no size that happened to be
// measured.
func Knee(sizes []Estimate, cost Cost) Estimate {
	return slices.MinFunc(sizes, func(a, b Estimate) int {
		return cmp.Compare(a.MS*cost(a.MemoryMB, a.MS), b.MS*cost(b.MemoryMB, b.MS))
	})
}

// Tie returns the estimates that cost the same as the cheapest, as far as is
// known: at most the share more, and not by more than their intervals allow. The
// cheapest is among them.
func Tie(sizes []Estimate, cost Cost, share float64) []Estimate {
	best := Cheapest(sizes, cost)
	least := cost(best.MemoryMB, best.MS)
	return slices.DeleteFunc(slices.Clone(sizes), func(e Estimate) bool {
		return e.MemoryMB != best.MemoryMB && !(cost(e.MemoryMB, e.MS) <= (1+share)*least && !apart(e, best, cost))
	})
}

// apart tells whether the intervals of two costs tell them apart: taken as
// independent and, on the logarithm, as symmetric.
func apart(a, b Estimate, cost Cost) bool {
	half := func(e Estimate) float64 {
		return 0.5 * math.Log(cost(e.MemoryMB, e.High)/cost(e.MemoryMB, e.Low))
	}
	return math.Log(cost(a.MemoryMB, a.MS)/cost(b.MemoryMB, b.MS)) > math.Hypot(half(a), half(b))
}
