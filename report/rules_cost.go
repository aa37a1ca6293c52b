package report

import (
	"fmt"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

// costRules are about what is paid for.
func costRules() []Rule {
	return []Rule{
		{ID: "init-billed", Title: "Much of the bill is init", find: initBilledRule,
			When:   "30 cold starts or more, and init is, at the lower end of the interval of their rate, more than 5 % of the billed time.",
			Source: "Init is billed for all functions since 2025-08-01 (AWS Compute Blog)."},
	}
}

// billedShare is the share of init in the billed time from which it is told.
const billedShare = 0.05

func initBilledRule(f *Function, _ *curveView) *Finding {
	if f.ColdStarts < stats.FloorMean || f.InitMS.Mean == nil || f.ColdStartRate.Low == nil || !f.hasKind(lifecycle.OnDemand) {
		return nil
	}
	var billedMS, usdPerInitMS float64 // of all invocations; of one init
	for i := range f.MemoryCurve {
		p := &f.MemoryCurve[i]
		if p.BilledMS.Value == nil || p.Basis != string(lifecycle.Measured) {
			continue
		}
		billedMS += *p.BilledMS.Value * float64(p.Invocations)
		if p.clusters.price != nil {
			usdPerInitMS += p.perSecond() / 1000 * float64(p.ColdStarts) / float64(f.ColdStarts)
		}
	}
	share := func(rate float64) float64 { return rate * float64(f.Invocations) * *f.InitMS.Mean / billedMS }
	low := share(*f.ColdStartRate.Low)
	if billedMS <= 0 || low <= billedShare {
		return nil
	}
	finding := &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Derived), N: f.ColdStarts, weight: low,
		Claim: fmt.Sprintf("%s of the billed time is init: %s cold starts of %s in the mean.",
			percent(min(1, share(*f.ColdStartRate.Value))), thousands(f.ColdStarts), ms(*f.InitMS.Mean)),
		Effect:   Effect{unitShare, figure(min(1, share(*f.ColdStartRate.Value))), figure(low), figure(min(1, share(*f.ColdStartRate.High)))},
		Evidence: []string{"Derived: cold starts times the mean init, over the billed time. Inits that nobody waited for are billed as well, and not in it."},
		Change:   "Shorten the init: every millisecond of it is billed at every cold start.",
		Verify:   "The share is lower in the next report.", Undo: "Deploy the previous version.",
	}
	if usdPerInitMS > 0 && f.months > 0 {
		perMonth := usdPerInitMS * *f.InitMS.Mean * float64(f.ColdStarts) / f.months
		finding.MonthlyUSD = Money{Value: figure(perMonth)}
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("All of it costs %s a month; halving the init saves half of that.", usd(perMonth)))
	} else {
		finding.MonthlyUSD.Reason = "no price is known for the region"
	}
	return finding
}
