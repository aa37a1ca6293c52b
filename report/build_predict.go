package report

import (
	"math"
	"slices"
	"strings"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/predict"
	"github.com/thaw-lambda/thaw/report/stats"
)

// usageTotals are the totals of what warm invocations used, in seconds.
type usageTotals struct {
	cpu         map[string]stats.Histogram // by thaw.usage.idle
	fullSpeed   stats.Histogram
	implausible float64
}

func (u *usageTotals) add(o usageTotals) {
	if u.cpu == nil {
		u.cpu = map[string]stats.Histogram{}
	}
	merge(u.cpu, o.cpu)
	u.fullSpeed = u.fullSpeed.Add(o.fullSpeed)
	u.implausible += o.implausible
}

// usageCounters are those of counters that tell of usage.
func usageCounters() map[string]put {
	type labels = func(string) string
	return map[string]put{
		metric.CPUUsage.Name: func(g *group, l labels, s Sample) {
			if g.usage.cpu == nil {
				g.usage.cpu = map[string]stats.Histogram{}
			}
			addTo(g.usage.cpu, l(metric.LabelIdle), s)
		},
		metric.FullSpeedDuration.Name: func(g *group, _ labels, s Sample) { g.usage.fullSpeed = plus(g.usage.fullSpeed, s) },
		metric.ImplausibleCPU.Name:    func(g *group, _ labels, s Sample) { g.usage.implausible += s.Value },
	}
}

// predictedSizes are those that are predicted: what people choose from, up to
// two CPUs.
var predictedSizes = [...]int64{128, 256, 512, 768, 1024, 1536, 1769, 2048, 3008}

// runDelayShare is the share of invocations with a run delay from which that is
// what the prediction stands on.
const runDelayShare = 0.9

// predictCurve predicts other sizes of a function that ran at one. The rules for
// measured sizes pass over what it adds to the curve.
func predictCurve(f *Function) {
	from := onlySize(f)
	if from == nil {
		return
	}
	p := &MemoryPrediction{SourceMB: from.MemoryMB, Refused: []RefusedSize{}, Note: predictionNote}
	f.MemoryPrediction = p
	if !from.CPUEnforced {
		p.Reason = "the CPU was not limited where this ran"
		return
	}
	source, overhead := sourceOf(f, from)
	curve := predict.Predict(source, predictedSizes[:])
	p.Tier, p.Reason, p.Have, p.Need = string(curve.Tier), curve.Refused, curve.Have, curve.Need
	if source.CPUMS > 0 {
		p.CPUShare = figure(curve.CPUShare)
	}
	for _, q := range curve.Points {
		if q.Refused != "" {
			p.Refused = append(p.Refused, RefusedSize{q.MemoryMB, q.Refused})
			continue
		}
		f.MemoryCurve = append(f.MemoryCurve, from.predicted(q, source.DurationMS, overhead))
	}
	slices.SortStableFunc(f.MemoryCurve, func(a, b CurvePoint) int { return int(a.MemoryMB - b.MemoryMB) })
}

// onlySize returns the one point of a curve, nil if there are more or none.
func onlySize(f *Function) *CurvePoint {
	if len(f.MemoryCurve) != 1 {
		return nil
	}
	from := f.MemoryCurve[0] // a copy: the curve grows
	return &from
}

// sourceOf is what the prediction starts from. Extensions are not the
// function's: what they add after the run is the same at every size.
func sourceOf(f *Function, p *CurvePoint) (s predict.Source, overheadMS float64) {
	cpu := all(p.usage.cpu)
	if p.overhead.Count > 0 {
		overheadMS = 1000 * p.overhead.Quantile(0.5)
	}
	s = predict.Source{MemoryMB: p.MemoryMB, N: count(cpu.Count), ManyThreads: manyThreads(f.Runtimes)}
	if p.MemoryUsed.Max != nil {
		s.UsedMB = *p.MemoryUsed.Max
	}
	if p.warm.Count > 0 {
		s.DurationMS = max(1000*p.warm.Quantile(0.5)-overheadMS, 0)
	}
	if cpu.Count > 0 {
		s.CPUMS = 1000 * cpu.Quantile(0.5)
		s.Idle = p.usage.cpu["true"].Count / cpu.Count
		s.Implausible = p.usage.implausible / cpu.Count
	}
	if p.usage.fullSpeed.Count > 0 && p.usage.fullSpeed.Count >= runDelayShare*cpu.Count {
		s.FullSpeedMS = 1000 * p.usage.fullSpeed.Quantile(0.5)
	}
	return s, overheadMS
}

// manyThreads says whether the work of a function moves between threads: not in
// Node.js, Python and Ruby, which run it on one.
func manyThreads(runtimes []string) bool {
	for _, runtime := range runtimes {
		one := slices.ContainsFunc([]string{"nodejs", "python", "ruby"}, func(name string) bool { return strings.HasPrefix(runtime, name) })
		if !one {
			return true
		}
	}
	return len(runtimes) == 0
}

// predicted is the point that a prediction adds to the curve of p. The median
// is what is predicted; the mean and what is billed change by the same factor,
// for the cold part of what is billed, which has the full CPU, not at all.
func (p *CurvePoint) predicted(q predict.Point, medianMS, overheadMS float64) CurvePoint {
	out := CurvePoint{
		MemoryMB: q.MemoryMB, Architecture: p.Architecture, Versions: p.Versions,
		Basis: string(lifecycle.Predicted), CPUEnforced: p.CPUEnforced,
	}
	if p.WarmMeanMS.Value == nil || p.BilledMS.Value == nil {
		return out
	}
	warm := *p.WarmMeanMS.Value
	at := func(durationMS float64) float64 {
		return (warm-overheadMS)*durationMS/medianMS + overheadMS
	}
	out.WarmMeanMS = Estimate{Value: figure(at(q.DurationMS)), Low: figure(at(q.LowMS)), High: figure(at(q.HighMS))}
	billed := func(durationMS float64) float64 { return max(*p.BilledMS.Value-warm+at(durationMS), 0) }
	out.BilledMS = Estimate{Value: figure(billed(q.DurationMS)), Low: figure(billed(q.LowMS)), High: figure(billed(q.HighMS))}
	if p.clusters.price == nil {
		out.CostInterval.Reason = p.CostInterval.Reason
		return out
	}
	cost := func(durationMS float64) *float64 {
		return figure(p.clusters.price.PerMillion(q.MemoryMB, billed(durationMS)/1000))
	}
	out.CostInterval = Estimate{Value: cost(q.DurationMS), Low: cost(q.LowMS), High: cost(q.HighMS)}
	out.CostPerMillionUSD = out.CostInterval.Value
	return out
}

// experimentPrecision is the half width, as a share of the mean, that an
// experiment is long enough for.
const experimentPrecision = 0.05

// experiment measures a size: as many invocations as the mean needs for its
// interval, taken from a small share of the traffic if that is done in a day.
func (p *CurvePoint) experiment(size int64, to *CurvePoint, perHour float64) *Experiment {
	e := &Experiment{MemoryMB: size, Invocations: stats.FloorCompare}
	if mean := p.warm.Mean(); p.warm.Count > 0 && mean > 0 {
		variation := math.Sqrt(max(p.warm.Variance(), 0)) / mean
		e.Invocations = max(e.Invocations, int64(math.Ceil(math.Pow(1.96*variation/experimentPrecision, 2))))
	}
	// A mean stands on environment-hours: one of them each hour at least.
	hours := func(weight float64) float64 { return float64(e.Invocations) / (weight * perHour) }
	e.AliasWeight = 1
	for _, weight := range []float64{0.05, 0.1, 0.25} {
		if hours(weight) <= 24 {
			e.AliasWeight = weight
			break
		}
	}
	if perHour > 0 {
		e.Hours = figure(hours(e.AliasWeight))
	}
	if to != nil && to.CostInterval.High != nil && p.CostPerMillionUSD != nil {
		e.CostUSD = figure(float64(e.Invocations) / 1e6 * (*to.CostInterval.High - *p.CostPerMillionUSD))
	}
	return e
}
