package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/report/stats"
)

// fullCPU is the memory size of one whole CPU. Above it there is more than
// one, of which a single thread has nothing.
const fullCPU = 1769

// Thresholds of advice on memory: a size is recommended when the end of the
// interval, not the value, is beyond them.
const (
	// minSaving is the share of the cost that a change must save.
	minSaving = 0.05
	// minFaster is the share of the duration that a dearer size in a tie must
	// save to be preferred.
	minFaster = 0.05
	// maxUsed is the share of a size that may be in use.
	maxUsed = 0.80
	// maxSlower is how much the 95th percentile may grow for a saving.
	maxSlower = 1.10
	// flatSpread is the largest ratio of the slowest to the fastest size of a
	// function that waits.
	flatSpread = 1.10
	// currentShare is the share of invocations from which a size is the
	// current one.
	currentShare = 0.60
)

// curveView is what recommendation and rules know of a memory curve: the sizes
// of one architecture that may be compared.
type curveView struct {
	arch string
	// measured are the sizes that ran, supported those with enough data, and
	// permitted those of them that the function's memory and errors allow.
	measured, supported, permitted []*CurvePoint
	current                        *CurvePoint
	usedMB                         float64
	enforced                       bool
	// replaced is a size with enough data that cannot be compared with the
	// others, because it ran before or after them, and not beside them.
	replaced *CurvePoint
	// chance is the number of functions among which the differences between the
	// sizes are no more than chance; 0 where they are more.
	chance int
}

// viewCurve looks at the architecture with the most invocations: between
// architectures nothing is compared.
func viewCurve(f *Function) *curveView {
	v := &curveView{arch: mainArchitecture(f), enforced: true}
	var n int64
	for i := range f.MemoryCurve {
		p := &f.MemoryCurve[i]
		if p.Architecture != v.arch || p.Basis == string(lifecycle.Predicted) {
			continue
		}
		v.measured = append(v.measured, p)
		v.enforced = v.enforced && p.CPUEnforced
		n += p.Invocations
		if p.MemoryUsed.Max != nil {
			v.usedMB = max(v.usedMB, *p.MemoryUsed.Max)
		}
	}
	for _, p := range v.measured {
		if float64(p.Invocations) >= currentShare*float64(n) {
			v.current = p
		}
		if p.comparable() {
			v.supported = append(v.supported, p)
		}
	}
	v.keepComparable(f.times)
	if f.chance {
		v.chance = f.tested
		v.supported = slices.DeleteFunc(v.supported, func(p *CurvePoint) bool { return p != v.reference() })
	}
	for _, p := range v.supported {
		if v.usedMB <= maxUsed*float64(p.MemoryMB) && !p.failing() {
			v.permitted = append(v.permitted, p)
		}
	}
	return v
}

// keepComparable drops the sizes that cannot be compared with the reference.
func (v *curveView) keepComparable(t *timeline) {
	reference := v.reference()
	if reference == nil || t == nil {
		return
	}
	v.supported = slices.DeleteFunc(v.supported, func(p *CurvePoint) bool {
		if p == reference || t.comparable(reference.id(), p.id()) {
			return false
		}
		v.replaced = p
		return true
	})
}

// reference is the size that others are compared with: the current one, or
// where none stands out that of the most invocations.
func (v *curveView) reference() *CurvePoint {
	if v.current != nil || len(v.supported) == 0 {
		return v.current
	}
	return slices.MaxFunc(v.supported, func(a, b *CurvePoint) int { return cmp.Compare(a.Invocations, b.Invocations) })
}

func (p *CurvePoint) id() sizeID { return sizeID{p.MemoryMB, p.Architecture} }

func mainArchitecture(f *Function) string {
	n := map[string]int64{}
	best := ""
	for _, p := range f.MemoryCurve {
		n[p.Architecture] += p.Invocations
		if n[p.Architecture] > n[best] {
			best = p.Architecture
		}
	}
	return best
}

// comparable tells whether the point has enough data to be compared.
func (p *CurvePoint) comparable() bool {
	return p.CPUEnforced && p.clusters.price != nil &&
		p.WarmDurationMS.Have >= stats.FloorCompare &&
		p.clusters.warm.K >= stats.FloorCompareClusters && p.clusters.billed.K >= stats.FloorCompareClusters
}

// failing tells whether more than 1 % of the invocations surely fail.
func (p *CurvePoint) failing() bool {
	return p.clusters.outOfMemory > 0 ||
		stats.Wilson(float64(p.Errors+p.Timeouts), float64(p.Invocations)).Low > 0.01
}

// perSecond is the cost of a million invocations per billed second.
func (p *CurvePoint) perSecond() float64 {
	return 1e6 * p.clusters.price.PerGBSecond * float64(p.MemoryMB) / 1024
}

// costLess returns the interval of what a million invocations cost less at q
// than at p, in USD. Requests cost the same at both.
func (p *CurvePoint) costLess(q *CurvePoint) stats.Interval {
	return stats.DifferenceInterval(p.clusters.billed, p.perSecond(), q.clusters.billed, q.perSecond())
}

// faster returns the interval of the time that a mean warm invocation takes
// less at q than at p, in milliseconds.
func (p *CurvePoint) faster(q *CurvePoint) stats.Interval {
	return stats.DifferenceInterval(p.clusters.warm, 1000, q.clusters.warm, 1000)
}

func (p *CurvePoint) cost() float64   { return *p.CostPerMillionUSD }
func (p *CurvePoint) warmMS() float64 { return *p.WarmMeanMS.Value }

// warmCost is what a million warm invocations would cost: half a millisecond
// is what rounding up to whole ones adds on average.
func (p *CurvePoint) warmCost() float64 {
	return price(p).PerMillion(p.MemoryMB, p.warmMS()/1000+0.0005)
}

func price(p *CurvePoint) pricing.Price { return *p.clusters.price }

func (v *curveView) invocations() (n int64) {
	for _, p := range v.measured {
		n += p.Invocations
	}
	return n
}

// flat tells whether the function waits: its duration does not depend on the
// memory size.
func (v *curveView) flat() bool {
	if len(v.supported) < 2 {
		return false
	}
	low, high := math.Inf(1), 0.0
	for _, p := range v.supported {
		low, high = min(low, p.warmMS()), max(high, p.warmMS())
	}
	return high <= flatSpread*low
}

// keepsPace tells whether p is as fast as the current size, within what a
// saving may cost. Without a current size there is nothing to keep.
func (v *curveView) keepsPace(p *CurvePoint) bool {
	if v.current == nil || p == v.current {
		return true
	}
	a, b := p.WarmDurationMS.P95, v.current.WarmDurationMS.P95
	if a == nil || b == nil {
		a, b = p.WarmDurationMS.Mean, v.current.WarmDurationMS.Mean
	}
	return a != nil && b != nil && *a <= maxSlower**b
}

// choice is what a curve leads to.
type choice struct {
	pick, cheapest *CurvePoint
	tie            []*CurvePoint
}

// choose ranks sizes by measured cost. Of those that the data does not tell
// apart from the cheapest, or that surely cost at most 5 % more, it takes the
// fastest, if it is faster by more than chance.
func choose(points []*CurvePoint) choice {
	c := choice{cheapest: slices.MinFunc(points, func(a, b *CurvePoint) int {
		if a.cost() < b.cost() {
			return -1
		}
		return 1
	})}
	for _, p := range points {
		extra := p.costLess(c.cheapest)
		near := p.cost() <= (1+minSaving)*c.cheapest.cost()
		if p == c.cheapest || (near && extra.Low <= 0) || extra.High <= minSaving*c.cheapest.cost() {
			c.tie = append(c.tie, p)
		}
	}
	c.pick = c.cheapest
	for _, p := range c.tie {
		if p.warmMS() <= (1-minFaster)*c.pick.warmMS() && c.pick.faster(p).Low > 0 {
			c.pick = p
		}
	}
	return c
}

const (
	actionChange = "change"
	actionKeep   = "keep"
	actionNone   = "none"
)

// recommend returns the one memory size, or the reason why there is none.
func recommend(f *Function) Recommendation {
	v := viewCurve(f)
	r := Recommendation{Action: actionNone, Basis: string(lifecycle.Measured), TieMB: []int64{}}
	if v.current != nil {
		r.CurrentMB = ptr(v.current.MemoryMB)
	}
	if reason, have, need := v.obstacle(); reason != "" {
		r.Reason, r.Have, r.Need = reason, have, need
		if p := f.MemoryPrediction; p != nil && p.Reason == "" && len(v.measured) == 1 {
			r.Reason = fmt.Sprintf("Only %d MB has been measured: what other sizes would do is predicted, and a prediction is no advice.", p.SourceMB)
		}
		return r
	}
	c := choose(slices.DeleteFunc(slices.Clone(v.permitted), func(p *CurvePoint) bool { return !v.keepsPace(p) }))
	if v.confounded(c) {
		r.Reason = "The sizes started cold at different rates, and without cold starts another size is the cheapest: measure them side by side."
		return r
	}
	for _, p := range c.tie {
		r.TieMB = append(r.TieMB, p.MemoryMB)
	}
	slices.Sort(r.TieMB)
	pick := c.pick
	r.Action, r.Reason = actionChange, reasonFor(v, c)
	if v.current != nil && !v.improves(pick) {
		pick = v.current
		r.Action = actionKeep
		r.Reason = fmt.Sprintf("No measured size that is as fast is cheaper by more than %.0f %% and the interval, and none is faster at the same cost.", 100*minSaving)
	}
	r.MemoryMB = ptr(pick.MemoryMB)
	if len(r.TieMB) < 2 {
		r.TieMB = []int64{}
	}
	return r
}

// obstacle says why a curve allows no recommendation, with how many sizes it
// has and needs.
func (v *curveView) obstacle() (reason string, have, need int64) {
	switch {
	case len(v.measured) == 0:
		return "No invocation has been seen.", 0, 2
	case !v.enforced:
		return "The CPU was not limited where this ran: the curve says nothing about Lambda.", 0, 0
	case v.measured[0].clusters.price == nil:
		return "No price: " + v.measured[0].CostInterval.Reason + ".", 0, 0
	case len(v.measured) == 1:
		return fmt.Sprintf("Only %d MB has been measured: what another size would do is not known.", v.measured[0].MemoryMB), 1, 2
	case v.chance > 0:
		return fmt.Sprintf("The sizes cost and take the same, as far as %d invocations tell: among %d compared functions, differences like theirs come by chance.",
			v.invocations(), v.chance), 0, 0
	case len(v.supported) < 2 && v.replaced != nil:
		return fmt.Sprintf("The size changed together with the version: whether the memory or the code made the difference to %d MB cannot be told. Run both sizes of the same code side by side.",
			v.replaced.MemoryMB), int64(len(v.supported)), 2
	case len(v.supported) < 2:
		return fmt.Sprintf("Not enough data: %d of %d sizes have %d warm invocations in %d environment-hours, need 2.",
			len(v.supported), len(v.measured), stats.FloorCompare, stats.FloorCompareClusters), int64(len(v.supported)), 2
	case len(v.permitted) == 0:
		return fmt.Sprintf("No measured size is left: the function uses up to %.0f MB, which has to be at most %.0f %% of its size, and must not fail.", v.usedMB, 100*maxUsed), 0, 0
	case v.current != nil && !slices.Contains(v.supported, v.current):
		return fmt.Sprintf("Not enough data at %d MB, the size that most invocations run at.", v.current.MemoryMB), 0, 0
	case !slices.ContainsFunc(v.permitted, v.keepsPace):
		return "No permitted size is as fast as the current one.", 0, 0
	}
	return "", 0, 0
}

// confounded tells whether the choice would be another one without cold
// starts, and the sizes surely started cold at different rates. A change of
// size is a deployment, which starts cold by itself.
func (v *curveView) confounded(c choice) bool {
	best := slices.MinFunc(v.permitted, func(a, b *CurvePoint) int {
		if a.warmCost() < b.warmCost() {
			return -1
		}
		return 1
	})
	if c.cheapest.warmCost() <= (1+minSaving)*best.warmCost() {
		return false
	}
	a := stats.Wilson(float64(c.cheapest.ColdStarts), float64(c.cheapest.Invocations))
	b := stats.Wilson(float64(best.ColdStarts), float64(best.Invocations))
	return a.High < b.Low || b.High < a.Low
}

// improves tells whether a size is surely cheaper than the current one, or
// surely faster and surely not dearer.
func (v *curveView) improves(p *CurvePoint) bool {
	return p != v.current && (v.surelyCheaper(p) || v.fasterForFree(v.current, p))
}

func (v *curveView) surelyCheaper(p *CurvePoint) bool {
	return v.current.costLess(p).Low > minSaving*v.current.cost()
}

// fasterForFree tells whether p is faster than from by more than 10 %, and
// costs at most 5 % more, both at the far end of their intervals.
func (v *curveView) fasterForFree(from, p *CurvePoint) bool {
	return from.faster(p).Low > 0.10*from.warmMS() && p.costLess(from).High <= minSaving*from.cost()
}

func reasonFor(v *curveView, c choice) string {
	switch {
	case v.flat():
		return fmt.Sprintf("The duration does not depend on the memory size, and %d MB is the smallest measured one that the memory used (%.0f MB) permits.", c.pick.MemoryMB, v.usedMB)
	case c.pick != c.cheapest:
		return fmt.Sprintf("A tie on cost: of the sizes whose cost the data does not tell apart, or that cost at most %.0f %% more, this one is the fastest.", 100*minSaving)
	case len(c.tie) > 1:
		return "The cheapest measured size. Others cost the same within their intervals, and none of them is faster."
	}
	return "The cheapest measured size."
}
