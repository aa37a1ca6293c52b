package report

import (
	"fmt"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// predictionRules say what a function of one measured size should try. Their
// claims are predictions and say so; what each proposes is the experiment that
// would settle it. At most one of them speaks.
func predictionRules() []Rule {
	const source = "The burst-credit model of report/predict; docs/prediction.md has its errors, in a local emulation."
	const guard = "Not where the prediction is refused: fewer than 30 warm invocations with a CPU time, a CPU clock that fails its check, a size that is nearly full, 128 MB without the run delay or with many threads, a CPU that was not limited."
	return []Rule{
		{ID: "memory-lower-predicted", Title: "A smaller size is predicted to be cheaper and as fast", find: lowerPredictedRule,
			When:  "One size was measured. At the far ends of the prediction a smaller one costs at least 5 % less and is at most 10 % slower.",
			Guard: guard + " Never below the size of which 80 % was in use.", Source: source},
		{ID: "memory-faster-predicted", Title: "A larger size is predicted to be faster for about the same money", find: fasterPredictedRule,
			When:  "One size was measured. A larger one is predicted to cost at most 5 % more, and at the far end of the prediction to take at least 10 % less time.",
			Guard: guard, Source: source},
		{ID: "memory-unknown", Title: "Only one size was measured", find: unknownSizeRule,
			When:  "One size was measured, and another may be cheaper by more than 5 % and as fast, or faster for the same money, without the prediction being sure of it; or nothing can be predicted. No claim, only the experiment.",
			Guard: "Silent where the size that runs is predicted to be the right one, and where all it takes is more invocations.", Source: source},
	}
}

// prediction is a curve of one measured point and others that are predicted.
type prediction struct {
	from   *CurvePoint
	points []*CurvePoint
}

// predictionOf returns nil where nothing was predicted or priced.
func predictionOf(f *Function) *prediction {
	if f.MemoryPrediction == nil || f.MemoryPrediction.Reason != "" {
		return nil
	}
	var p prediction
	for i := range f.MemoryCurve {
		point := &f.MemoryCurve[i]
		switch {
		case point.CostPerMillionUSD == nil || point.WarmMeanMS.Value == nil:
			return nil
		case isPredicted(*point):
			p.points = append(p.points, point)
		default:
			p.from = point
		}
	}
	return &p
}

// lower is a smaller size that is cheaper, and as fast within what a saving may
// cost, at the far ends of the prediction; the cheapest of them.
func (p *prediction) lower() (to *CurvePoint) {
	for _, q := range p.points {
		cheaper := *q.CostInterval.High <= (1-minSaving)*p.from.cost()
		asFast := *q.WarmMeanMS.High <= maxSlower*p.from.warmMS()
		if q.MemoryMB < p.from.MemoryMB && cheaper && asFast && (to == nil || q.cost() < to.cost()) {
			to = q
		}
	}
	return to
}

// faster is a larger size that is faster by more than 10 % at the far end of the
// prediction and costs at most 5 % more by its value; the fastest of them.
func (p *prediction) faster() (to *CurvePoint) {
	for _, q := range p.points {
		faster := *q.WarmMeanMS.High <= 0.9*p.from.warmMS()
		asCheap := q.cost() <= (1+minSaving)*p.from.cost()
		if q.MemoryMB > p.from.MemoryMB && faster && asCheap && (to == nil || q.warmMS() < to.warmMS()) {
			to = q
		}
	}
	return to
}

// open is the size with most to gain that is neither, and how much that is, as a
// share of cost or time.
func (p *prediction) open() (to *CurvePoint, most float64) {
	most = minSaving
	for _, q := range p.points {
		if *q.WarmMeanMS.Low > maxSlower*p.from.warmMS() {
			continue // a saving that is paid with speed is for its owner to want
		}
		gain := 1 - q.cost()/p.from.cost()
		if q.MemoryMB > p.from.MemoryMB && q.cost() <= (1+minSaving)*p.from.cost() {
			gain = max(gain, 1-q.warmMS()/p.from.warmMS())
		}
		if gain > most {
			to, most = q, gain
		}
	}
	return to, most
}

// settle is the experiment as something to do.
func settle(e *Experiment) string {
	how := "all of the traffic"
	if e.AliasWeight < 1 {
		how = fmt.Sprintf("%.0f %% of the traffic by a weighted alias", 100*e.AliasWeight)
	}
	text := fmt.Sprintf("Publish a version at %d MB, send it %s until it has %s warm invocations", e.MemoryMB, how, thousands(e.Invocations))
	if e.Hours != nil {
		text += fmt.Sprintf(" (about %s at today's traffic)", hoursText(*e.Hours))
	}
	switch {
	case e.CostUSD == nil:
	case *e.CostUSD > 0:
		text += fmt.Sprintf("; that costs at most %s", usd(*e.CostUSD))
	default:
		text += "; that costs nothing extra"
	}
	return text + ", then run thaw report."
}

func hoursText(hours float64) string {
	switch {
	case hours < 1:
		return "an hour"
	case hours < 48:
		return fmt.Sprintf("%.0f hours", hours)
	}
	return fmt.Sprintf("%.0f days", hours/24)
}

// finding is what the predictions have in common.
func (p *prediction) finding(f *Function, severity string, to *CurvePoint) *Finding {
	from := p.from
	f.MemoryPrediction.Experiment = from.experiment(to.MemoryMB, to, perHour(f))
	return &Finding{
		Severity: severity, Basis: string(lifecycle.Predicted), N: from.WarmDurationMS.Have,
		Evidence: []string{
			fmt.Sprintf("Measured at %d MB: %s mean when warm, %s per million. Predicted at %d MB: %s, %s per million.", from.MemoryMB,
				ms(from.warmMS()), usd(from.cost()), to.MemoryMB, intervalText(to.WarmMeanMS, ms), intervalText(to.CostInterval, usd)),
			fmt.Sprintf("At full speed it computes %s of the time and waits for the rest.", percent(*f.MemoryPrediction.CPUShare)),
			predictionNote,
		},
		Change: settle(f.MemoryPrediction.Experiment),
		Verify: "With both sizes measured, the next report states the difference with its 95 % interval.",
		Undo:   undoMemory(from),
	}
}

// saves is the effect on the cost.
func (p *prediction) saves(to *CurvePoint) Effect {
	from := p.from.cost()
	return Effect{unitPerMillion, figure(from - to.cost()), figure(from - *to.CostInterval.High), figure(from - *to.CostInterval.Low)}
}

func lowerPredictedRule(f *Function, _ *curveView) *Finding {
	p := predictionOf(f)
	if p == nil || p.lower() == nil {
		return nil
	}
	to := p.lower()
	finding := p.finding(f, severityChange, to)
	finding.Claim = fmt.Sprintf("%d MB is predicted to cost %s less than %d MB and to be as fast: the function waits. Predicted in a local emulation; not yet checked on AWS.",
		to.MemoryMB, percent(1-to.cost()/p.from.cost()), p.from.MemoryMB)
	finding.weight = 1 - *to.CostInterval.High/p.from.cost()
	finding.Effect = p.saves(to)
	return finding
}

func fasterPredictedRule(f *Function, _ *curveView) *Finding {
	p := predictionOf(f)
	if p == nil || p.lower() != nil || p.faster() == nil {
		return nil
	}
	to, from := p.faster(), p.from.warmMS()
	finding := p.finding(f, severityChange, to)
	finding.Claim = fmt.Sprintf("%d MB is predicted to take %s instead of %s at %d MB for about the same money: the function computes. Predicted in a local emulation; not yet checked on AWS.",
		to.MemoryMB, ms(to.warmMS()), ms(from), p.from.MemoryMB)
	finding.weight = 1 - *to.WarmMeanMS.High/from
	finding.Effect = Effect{unitMS, figure(from - to.warmMS()), figure(from - *to.WarmMeanMS.High), figure(from - *to.WarmMeanMS.Low)}
	return finding
}

func unknownSizeRule(f *Function, _ *curveView) *Finding {
	p := predictionOf(f)
	if p == nil {
		return refusedRule(f)
	}
	to, gain := p.open()
	if p.lower() != nil || p.faster() != nil || to == nil {
		return nil // or the size that runs is predicted to be the right one
	}
	finding := p.finding(f, severityInfo, to)
	finding.Claim = fmt.Sprintf("Only %d MB has been measured. Of the others %d MB looks best: predicted %s and %s per million, in a local emulation; not yet checked on AWS.",
		p.from.MemoryMB, to.MemoryMB, intervalText(to.WarmMeanMS, ms), intervalText(to.CostInterval, usd))
	finding.weight = gain
	finding.Effect = p.saves(to)
	return finding
}

// refusedRule proposes to measure where nothing can be predicted, unless all it
// takes is more of the same.
func refusedRule(f *Function) *Finding {
	p := f.MemoryPrediction
	if p == nil || p.Reason == "" || p.Need > 0 || p.CPUShare == nil || f.MemoryCurve[0].CostPerMillionUSD == nil {
		return nil
	}
	from, largest := &f.MemoryCurve[0], predictedSizes[len(predictedSizes)-1]
	size := int64(512)
	switch {
	case from.MemoryMB > largest:
		size = 1769
	case from.MemoryMB >= 512:
		size = min(2*from.MemoryMB, largest)
	}
	if size == from.MemoryMB {
		return nil
	}
	p.Experiment = from.experiment(size, nil, perHour(f))
	return &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Measured), N: from.WarmDurationMS.Have,
		Claim:  fmt.Sprintf("Only %d MB has been measured, and nothing can be predicted from it: %s.", from.MemoryMB, p.Reason),
		Effect: Effect{Unit: unitPerMillion},
		Change: settle(p.Experiment),
		Verify: "With both sizes measured, the next report states the difference with its 95 % interval.",
		Undo:   undoMemory(from),
	}
}

// perHour is the traffic of the range.
func perHour(f *Function) float64 { return float64(f.Invocations) / (f.months * hoursPerMonth) }
