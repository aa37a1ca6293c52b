package report

import (
	"fmt"
	"math"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

const (
	unitPerMillion = "usd_per_million"
	unitMS         = "ms"
	unitShare      = "share"
	unitCount      = "invocations"
	// unitColdStarts is a number of cold starts in a month.
	unitColdStarts = "cold_starts_per_month"
)

// memoryRules are about the memory size. All of them stand on sizes that ran.
func memoryRules() []Rule {
	const powerTuning = "53 published memory curves: the cheapest size was above the smallest in 30 of them, so cost is measured, never derived from a + b/m."
	return []Rule{
		{ID: "memory-flat", Title: "A function that waits does not need its memory", find: memoryFlatRule,
			When:   "Two or more sizes were measured (50 warm invocations and 10 environment-hours each), the slowest is at most 10 % slower than the fastest, and the saving of the recommended size is surely above zero.",
			Guard:  "Never below the size of which 80 % was in use; never where the local Lambda could not limit the CPU; never where sizes and versions changed together.",
			Source: powerTuning},
		{ID: "memory-saturated", Title: "Above one CPU a single thread gets no faster", find: memorySaturatedRule,
			When:   "A size above 1,769 MB ran, is less than 3 % faster than the largest one below, and surely costs more than 5 % more.",
			Source: "1,769 MB are one vCPU (AWS, Lambda developer guide: memory)."},
		{ID: "memory-cheaper", Title: "Another measured size is cheaper", find: memoryCheaperRule,
			When:   "The near end of the interval of the saving is above 5 % of the cost, and the 95th percentile is at most 10 % slower.",
			Guard:  "As for memory-flat. In a tie the fastest size is named.",
			Source: powerTuning},
		{ID: "memory-faster-free", Title: "A larger size is faster for about the same money", find: memoryFasterRule,
			When:   "A larger measured size takes surely less time, and its cost differs by no more than 5 %, or than chance.",
			Source: "CPU comes in proportion to memory; AWS Lambda Power Tuning's own example: 2.4 s to 0.3 s at the same cost."},
		{ID: "memory-trade", Title: "A cheaper size would be slower", find: memoryTradeRule,
			When:   "A measured size is surely cheaper, and more than 10 % slower at the 95th percentile. Information only: what a millisecond is worth is for the owner to say.",
			Source: powerTuning},
		{ID: "memory-unused", Title: "Most of the memory is never used", find: memoryUnusedRule,
			When:   "At most 10 % of the current size was ever in use, over 299 invocations or more. Information only.",
			Guard:  "It never recommends a size: CPU comes with memory, so that what is not used as memory may well be used as CPU.",
			Source: "Datadog and AWS Trusted Advisor call this over-provisioned; on 28 public curves 1,024 MB against 128 MB was a median 3.7 times faster."},
	}
}

// unusedShare is the share of a size that a function may never exceed to be
// told so.
const unusedShare = 0.10

// memoryUnusedRule states that memory is not used as memory, and no more.
func memoryUnusedRule(_ *Function, v *curveView) *Finding {
	p := v.current
	if p == nil || p.MemoryUsed.P99 == nil || p.MemoryUsed.Max == nil || *p.MemoryUsed.Max > unusedShare*float64(p.MemoryMB) {
		return nil
	}
	return &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Measured), N: p.MemoryUsed.Have, weight: 0,
		Claim:    fmt.Sprintf("Of %d MB at most %s were ever in use.", p.MemoryMB, megabytes(*p.MemoryUsed.Max)),
		Effect:   Effect{Unit: unitShare, Value: figure(*p.MemoryUsed.Max / float64(p.MemoryMB))},
		Evidence: []string{"CPU comes in proportion to memory: a smaller size is slower if the function computes, and may cost more."},
		Change:   "Nothing because of this alone. Measure another size: a version of its own behind 5 to 10 % of an alias.",
		Verify:   verifyMemory, Undo: undoMemory(p),
	}
}

// verifyMemory is how any change of memory is checked.
const verifyMemory = "Publish a version at the new size, send it 5 to 10 % of the traffic by a weighted alias, and run thaw report until both sizes have enough data."

// undoMemory is how any change of memory is undone.
func undoMemory(from *CurvePoint) string {
	if from == nil {
		return "Point the alias back at the previous version."
	}
	return fmt.Sprintf("Set the memory size back to %d MB, or point the alias back at the previous version.", from.MemoryMB)
}

// outOfMemoryRule fires on any invocation that ended for want of memory.
func outOfMemoryRule(f *Function, v *curveView) *Finding {
	for _, p := range v.measured {
		if p.clusters.outOfMemory > 0 {
			share := p.clusters.outOfMemory / float64(p.Invocations)
			return &Finding{
				Severity: severityUrgent, Basis: string(lifecycle.Measured), N: p.Invocations, weight: 1 + share,
				Claim:  fmt.Sprintf("%s invocations at %d MB ran out of memory.", thousands(count(p.clusters.outOfMemory)), p.MemoryMB),
				Effect: Effect{Unit: unitCount, Value: figure(p.clusters.outOfMemory)},
				Change: "Raise the memory size by one step, or find what holds the memory.",
				Verify: "No out-of-memory error in the next report.", Undo: undoMemory(p),
			}
		}
	}
	return nil
}

// memoryPressureRule fires when the current size, or the smallest that ran, is
// nearly full: 95 % once, or 85 % at the 99th percentile.
func memoryPressureRule(f *Function, v *curveView) *Finding {
	p := v.current
	if p == nil && len(v.measured) > 0 {
		p = v.measured[0]
	}
	if p == nil || p.MemoryUsed.Max == nil {
		return nil
	}
	size := float64(p.MemoryMB)
	used := min(*p.MemoryUsed.Max, size)
	often := p.MemoryUsed.P99 != nil && *p.MemoryUsed.P99 >= 0.85*size
	if used < 0.95*size && !often {
		return nil
	}
	return &Finding{
		Severity: severityUrgent, Basis: string(lifecycle.Measured), N: p.MemoryUsed.Have, weight: used / size,
		Claim:    fmt.Sprintf("Memory is nearly full at %d MB: up to %s is used, %s.", p.MemoryMB, megabytes(used), percent(used/size)),
		Effect:   Effect{Unit: unitShare, Value: figure(used / size)},
		Evidence: []string{"A function that runs out of memory is killed, and its next request starts cold."},
		Change:   fmt.Sprintf("Raise the memory size to at least %.0f MB.", used/maxUsed),
		Patches:  memoryPatches(f, int64(math.Ceil(used/maxUsed))),
		Verify:   "Memory used is below 80 % of the size in the next report.", Undo: undoMemory(p),
	}
}

// baseline is what a saving is measured from: the current size, or where none
// stands out the mix of sizes that ran.
type baseline struct {
	text          string
	cost          float64
	low, high     float64 // of the saving
	n             int64
	from          *CurvePoint
	savedFraction float64 // at the near end
}

func (v *curveView) saving(to *CurvePoint) baseline {
	if v.current != nil {
		in := v.current.costLess(to)
		return baseline{fmt.Sprintf("%d MB", v.current.MemoryMB), v.current.cost(), in.Low, in.High,
			v.current.Invocations + to.Invocations, v.current, in.Low / v.current.cost()}
	}
	var n, cost, variance, k float64
	for _, p := range v.supported {
		w := float64(p.Invocations)
		n += w
		cost += w * p.cost()
		if p != to {
			variance += w * w * p.perSecond() * p.perSecond() * p.clusters.billed.Variance()
		}
		k += p.clusters.billed.K
	}
	cost /= n
	// The size itself is part of the mix: its share of the difference is less.
	rest := 1 - float64(to.Invocations)/n
	variance = variance/(n*n) + rest*rest*to.perSecond()*to.perSecond()*to.clusters.billed.Variance()
	in := stats.SumInterval(cost-to.cost(), variance, k)
	return baseline{"the mix of sizes that ran", cost, in.Low, in.High, int64(n), nil, in.Low / cost}
}

// recommended returns the point that the recommendation names, if it is a
// change.
func (v *curveView) recommended(f *Function) *CurvePoint {
	r := f.Recommendation
	if r.Action != actionChange {
		return nil
	}
	for _, p := range v.supported {
		if p.MemoryMB == *r.MemoryMB {
			return p
		}
	}
	return nil
}

// memoryFlatRule: a function that waits needs no CPU. It is told as its own
// finding because the remedy is certain: the smallest size that its memory
// permits.
func memoryFlatRule(f *Function, v *curveView) *Finding {
	to := v.recommended(f)
	if to == nil || !v.flat() {
		return nil
	}
	saved := v.saving(to)
	if saved.savedFraction <= 0 {
		return nil
	}
	first, last := v.supported[0], v.supported[len(v.supported)-1]
	finding := costFinding(f, to, saved)
	finding.Claim = fmt.Sprintf("The duration does not depend on memory (%s at %d MB, %s at %d MB): the function waits. %d MB costs %s less than %s.",
		ms(first.warmMS()), first.MemoryMB, ms(last.warmMS()), last.MemoryMB, to.MemoryMB, percent((saved.cost-to.cost())/saved.cost), saved.text)
	return finding
}

// memorySaturatedRule: above one CPU a single thread gets no faster.
func memorySaturatedRule(f *Function, v *curveView) *Finding {
	to := v.recommended(f)
	from := v.current
	if from == nil && len(v.supported) > 0 {
		from = v.supported[len(v.supported)-1]
	}
	if to == nil || from == nil || from.MemoryMB <= fullCPU || !from.comparable() || v.flat() {
		return nil
	}
	knee := v.largestBelowFullCPU()
	if knee == nil || knee.MemoryMB > fullCPU || from.warmMS() < 0.97*knee.warmMS() {
		return nil
	}
	extra := from.costLess(knee)
	if extra.Low <= minSaving*from.cost() {
		return nil
	}
	change := fmt.Sprintf("Go back to at most %d MB.", fullCPU)
	if v.current == nil {
		change = fmt.Sprintf("Do not go above %d MB.", fullCPU)
	}
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: from.Invocations + knee.Invocations,
		weight: extra.Low / from.cost(),
		Claim: fmt.Sprintf("%d MB is not faster than %d MB (%s and %s) and costs %s more: above %d MB there is more than one CPU, which it does not use.",
			from.MemoryMB, knee.MemoryMB, ms(from.warmMS()), ms(knee.warmMS()), percent(from.cost()/knee.cost()-1), fullCPU),
		Effect: Effect{unitPerMillion, figure(from.cost() - knee.cost()), figure(extra.Low), figure(extra.High)},
		Change: change, Patches: memoryPatches(f, knee.MemoryMB), Verify: verifyMemory, Undo: undoMemory(from),
	}
}

func (v *curveView) largestBelowFullCPU() *CurvePoint {
	var knee *CurvePoint
	for _, p := range v.permitted {
		if p.MemoryMB <= fullCPU {
			knee = p
		}
	}
	return knee
}

// memoryCheaperRule: another measured size is cheaper, by more than 5 % at the
// near end of the interval, and as fast.
func memoryCheaperRule(f *Function, v *curveView) *Finding {
	to := v.recommended(f)
	if to == nil || v.flat() {
		return nil
	}
	saved := v.saving(to)
	if saved.savedFraction <= minSaving {
		return nil
	}
	finding := costFinding(f, to, saved)
	finding.Claim = fmt.Sprintf("%d MB costs %s per million invocations, %s less than %s.",
		to.MemoryMB, usd(to.cost()), percent((saved.cost-to.cost())/saved.cost), saved.text)
	if len(f.Recommendation.TieMB) > 1 {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("A tie: the costs of %s MB differ by no more than %.0f %%, or than chance; %d MB is the one to take.",
			sizesText(f.Recommendation.TieMB), 100*minSaving, to.MemoryMB))
	}
	return finding
}

func costFinding(f *Function, to *CurvePoint, saved baseline) *Finding {
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: saved.n, weight: saved.savedFraction,
		Effect: Effect{unitPerMillion, figure(saved.cost - to.cost()), figure(saved.low), figure(saved.high)},
		Evidence: []string{
			fmt.Sprintf("Measured at %d MB: %s mean and %s warm, %s per million; %s: %s per million.", to.MemoryMB,
				ms(to.warmMS()), p95Text(to), usd(to.cost()), saved.text, usd(saved.cost)),
		},
		Change:  fmt.Sprintf("Set the memory size to %d MB.", to.MemoryMB),
		Patches: memoryPatches(f, to.MemoryMB),
		Verify:  verifyMemory, Undo: undoMemory(saved.from),
	}
}

func p95Text(p *CurvePoint) string {
	if p.WarmDurationMS.P95 == nil {
		return "no p95 yet"
	}
	return ms(*p.WarmDurationMS.P95) + " at p95"
}

// memoryFasterRule: a CPU-bound function gets faster at about the same cost,
// because it is billed for as much less time as it has more memory.
func memoryFasterRule(f *Function, v *curveView) *Finding {
	if len(v.permitted) < 2 || v.flat() {
		return nil
	}
	from := v.current
	if from == nil {
		from = v.permitted[0]
	}
	if !from.comparable() {
		return nil
	}
	var to *CurvePoint
	for _, p := range v.permitted {
		if p.MemoryMB > from.MemoryMB && v.fasterForFree(from, p) && (to == nil || to.warmMS() > p.warmMS()) {
			to = p
		}
	}
	if to == nil {
		return nil
	}
	severity, change := severityChange, "Set the memory size to %d MB."
	if to != v.recommended(f) {
		// The recommendation saves money instead. Both cannot be had.
		severity, change = severityInfo, "Set the memory size to %d MB if speed is worth more than the saving."
	}
	gain := from.faster(to)
	return &Finding{
		Severity: severity, Basis: string(lifecycle.Measured), N: from.Invocations + to.Invocations,
		weight: gain.Low / from.warmMS(),
		Claim: fmt.Sprintf("%d MB takes %s instead of %s at %d MB, %s less time, for about the same money: %s and %s per million.",
			to.MemoryMB, ms(to.warmMS()), ms(from.warmMS()), from.MemoryMB, percent(1-to.warmMS()/from.warmMS()), usd(to.cost()), usd(from.cost())),
		Effect:   Effect{unitMS, figure(from.warmMS() - to.warmMS()), figure(gain.Low), figure(gain.High)},
		Evidence: []string{"CPU comes in proportion to memory, up to one whole CPU at 1,769 MB: the function computes."},
		Change:   fmt.Sprintf(change, to.MemoryMB), Patches: memoryPatches(f, to.MemoryMB), Verify: verifyMemory, Undo: undoMemory(from),
	}
}

// memoryTradeRule states a saving that would cost speed. It is information:
// only the owner knows what a millisecond is worth.
func memoryTradeRule(f *Function, v *curveView) *Finding {
	if v.current == nil || len(v.permitted) < 2 || !v.current.comparable() {
		return nil
	}
	to := choose(v.permitted).cheapest
	if v.keepsPace(to) || !v.surelyCheaper(to) {
		return nil
	}
	saved := v.saving(to)
	finding := costFinding(f, to, saved)
	finding.Severity = severityInfo
	finding.Claim = fmt.Sprintf("%d MB would cost %s less than %s, and be slower: %s instead of %s.",
		to.MemoryMB, percent((saved.cost-to.cost())/saved.cost), saved.text, ms(to.warmMS()), ms(v.current.warmMS()))
	finding.Change = fmt.Sprintf("Set the memory size to %d MB if nobody waits for it.", to.MemoryMB)
	return finding
}
