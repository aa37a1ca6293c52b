package report

import (
	"math"
	"slices"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/curve"
	"github.com/thaw-lambda/thaw/report/stats"
)

// ladder are the sizes that are predicted, where they are in reach.
func ladder() []int64 {
	return []int64{128, 192, 256, 384, 512, 768, 1024, 1280, 1536, 1769, 2048, 2560, 3008, 4096, 5120, 6144, 8192, 10240}
}

// fitted returns the model through the sizes with enough data, of which it needs
// two.
func (v *curveView) fitted() *curve.Curve {
	if len(v.supported) < 2 {
		return nil
	}
	var points []curve.Point
	for _, p := range v.supported {
		points = append(points, curve.Point{MemoryMB: float64(p.MemoryMB), MS: p.warmMS(), RelativeError: p.relativeError()})
	}
	c, err := curve.Fit(points)
	if err != nil {
		// A duration of zero: nothing can be said of other sizes.
		return nil
	}
	return c
}

// relativeError is the standard error of the mean warm duration.
func (p *CurvePoint) relativeError() float64 {
	e := math.Sqrt(p.clusters.warm.Variance()) / p.clusters.warm.Mean()
	if math.IsNaN(e) || math.IsInf(e, 0) {
		return 0
	}
	return e
}

// predicted fills in the sizes that did not run, and what follows from them.
func (v *curveView) predicted(f *Function, o *Options) {
	f.PredictedCurve, f.Recommendation.Objectives = []PredictedPoint{}, []Objective{}
	c := v.fitted()
	if c == nil {
		return
	}
	at := v.supported[0].clusters.price.PerGBSecond
	request := v.supported[0].clusters.price.PerRequest
	cost := func(memoryMB, ms float64) float64 {
		return 1e6 * (request + at*memoryMB/1024*(ms+0.5)/1000)
	}
	var known []curve.Estimate
	var open []float64
	for _, p := range v.permitted {
		e, _ := c.At(float64(p.MemoryMB))
		known = append(known, e)
	}
	for _, size := range ladder() {
		e, ok := c.At(float64(size))
		if !ok || e.Measured || !curve.Permits(float64(size), v.usedMB) || v.ran(size) {
			continue
		}
		known, open = append(known, e), append(open, float64(size))
		f.PredictedCurve = append(f.PredictedCurve, PredictedPoint{
			MemoryMB: size, Architecture: v.arch, Basis: string(lifecycle.Predicted), Method: MethodBetween,
			WarmMeanMS:  Figure{rounded(e.MS), rounded(e.Low), rounded(e.High)},
			WarmCostUSD: Figure{rounded(cost(e.MemoryMB, e.MS)), rounded(cost(e.MemoryMB, e.Low)), rounded(cost(e.MemoryMB, e.High))},
		})
	}
	if len(known) == 0 {
		return
	}
	f.Recommendation.Objectives = v.objectives(known, cost, o)
	v.next(f, c, open, cost)
}

// ran tells whether a size ran at all, be it too seldom to be supported.
func (v *curveView) ran(size int64) bool {
	return slices.ContainsFunc(v.measured, func(p *CurvePoint) bool { return p.MemoryMB == size })
}

func (v *curveView) objectives(known []curve.Estimate, cost curve.Cost, o *Options) []Objective {
	state := func(name string, e curve.Estimate) Objective {
		basis := lifecycle.Predicted
		if e.Measured {
			basis = lifecycle.Measured
		}
		return Objective{Name: name, MemoryMB: ptr(int64(e.MemoryMB)), Basis: string(basis), WarmMeanMS: figure(e.MS), WarmCostUSD: figure(cost(e.MemoryMB, e.MS))}
	}
	out := []Objective{
		state(ObjectiveCheapest, curve.Cheapest(known, cost)),
		state(ObjectiveFastest, curve.Fastest(known, cost)),
		state(ObjectiveKnee, curve.Knee(known, cost)),
	}
	if limit := o.P95Limit.Seconds() * 1000; limit > 0 {
		within := Objective{Name: ObjectiveWithin, Basis: string(lifecycle.Measured)}
		if scale, ok := v.p95Scale(); ok {
			if e, ok := curve.Within(known, cost, limit, scale); ok {
				within = state(ObjectiveWithin, e)
			}
		}
		out = append(out, within)
	}
	return out
}

// p95Scale is the 95th percentile divided by the mean, at the size that knows it
// from most values. Scaling the mean of another size by it was as good, in a local
// emulation, as to model every request: a median error of 8 % for both.
func (v *curveView) p95Scale() (float64, bool) {
	var scale, most float64
	for _, p := range v.supported {
		if p.WarmDurationMS.P95 != nil && float64(p.WarmDurationMS.Have) > most {
			most = float64(p.WarmDurationMS.Have)
			scale = *p.WarmDurationMS.P95 / p.warmMS()
		}
	}
	return scale, most > 0
}

// next says which size is most worth measuring, if one is.
func (v *curveView) next(f *Function, c *curve.Curve, open []float64, cost curve.Cost) {
	size, saving, ok := c.Next(open, cost)
	if !ok || saving < minSaving {
		return
	}
	e, _ := c.At(size)
	f.Recommendation.Next = &NextMeasurement{
		MemoryMB: int64(size), ExpectedSaving: rounded(saving),
		Invocations: stats.FloorCompare, EnvironmentHours: stats.FloorCompareClusters,
		CostUSD: rounded(cost(size, e.MS) * stats.FloorCompare / 1e6),
	}
}
