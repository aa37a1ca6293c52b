package report

import (
	"fmt"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// predictedRules stand on the model of the measured sizes.
func predictedRules() []Rule {
	return []Rule{{
		ID: "memory-next", Title: "A size that nobody measured is worth measuring", find: memoryNextRule,
		When:   "Two or more sizes can be compared, and the model of them (docs/evaluation.md) expects another one, between them or at most twice beyond, to save more than 5 % of the cost of warm invocations. Information only, and predicted.",
		Guard:  "As for memory-flat. Never below the size of which 80 % was in use.",
		Source: "docs/evaluation.md: three sizes chosen in this way cost 0.3 % more than the cheapest, on 34 published curves.",
	}}
}

// memoryNextRule names a size that nobody has measured, and that is worth it. It
// promises nothing: what the model says is marked as predicted.
func memoryNextRule(f *Function, _ *curveView) *Finding {
	next := f.Recommendation.Next
	if next == nil {
		return nil
	}
	var p PredictedPoint
	for _, each := range f.PredictedCurve {
		if each.MemoryMB == next.MemoryMB {
			p = each
		}
	}
	return &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Predicted), N: f.Invocations, weight: next.ExpectedSaving,
		Claim: fmt.Sprintf("%d MB has not been measured, and may be cheaper than every size that has: predicted %s a warm invocation (%s to %s).",
			p.MemoryMB, ms(p.WarmMeanMS.Value), ms(p.WarmMeanMS.Low), ms(p.WarmMeanMS.High)),
		Effect: Effect{Unit: unitShare, Value: figure(next.ExpectedSaving)},
		Evidence: []string{
			fmt.Sprintf("A million warm invocations would cost %s (%s to %s), by a model of the measured sizes.", usd(p.WarmCostUSD.Value), usd(p.WarmCostUSD.Low), usd(p.WarmCostUSD.High)),
		},
		Patches: memoryPatches(f, p.MemoryMB),
		Change: fmt.Sprintf("Measure it: a version at %d MB behind 5 to 10 %% of an alias, until it has %d warm invocations in %d environment-hours (about %s).",
			p.MemoryMB, next.Invocations, next.EnvironmentHours, usd(next.CostUSD)),
		Verify: "The size is among the measured ones in the next report.", Undo: "Set the weight of the alias back to zero.",
	}
}
