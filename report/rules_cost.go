package report

import (
	"fmt"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/report/stats"
)

// costRules are about what is paid for.
func costRules() []Rule {
	return []Rule{
		{ID: "init-billed", Title: "Much of the bill is init", find: initBilledRule,
			When:   "30 cold starts or more, and init is, at the lower end of the interval of their rate, more than 5 % of the billed time.",
			Source: "Init is billed for all functions since 2025-08-01 (AWS Compute Blog)."},
		{ID: "provisioned-add", Title: "Provisioned concurrency would take the cold starts away", find: provisionedAddRule,
			When:   "The smallest number of environments of which the slot ranks say that at most 1 % of the invocations would spill over it; and the lower end of the interval of the cold start rate is above 1 %, or it would save money. Information, unless it saves money.",
			Guard:  "Only at one memory size that most invocations run at, in regions whose prices are known, and where there is none yet.",
			Source: "AWS's prices: it pays for itself from a utilization of 60 % on. Busy environments at arrival would overstate the spill 1.2 to 4.5 times; slot ranks agree with Erlang B."},
		{ID: "storage-paid", Title: "More than 512 MB of /tmp is paid for", find: storagePaidRule,
			When:   "The account's data has more than 512 MB of ephemeral storage, and what is above costs more than $1 a month.",
			Source: "AWS's price list: ephemeral storage above 512 MB by GB-second of billed time."},
	}
}

// storagePaidRule states what ephemeral storage costs. How much of it is used
// is not in the metrics.
func storagePaidRule(f *Function, _ *curveView) *Finding {
	if f.AWS == nil || f.AWS.EphemeralStorageMB <= 512 || f.storagePrice == 0 || !(f.months > 0) {
		return nil
	}
	var seconds float64
	for i := range f.MemoryCurve {
		if p := &f.MemoryCurve[i]; p.BilledMS.Value != nil && p.Basis == string(lifecycle.Measured) {
			seconds += *p.BilledMS.Value / 1000 * float64(p.Invocations)
		}
	}
	perMonth := pricing.StorageGBSeconds(float64(f.AWS.EphemeralStorageMB), seconds) * f.storagePrice / f.months
	if perMonth < minMonthlyUSD {
		return nil
	}
	return &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Derived), N: f.Invocations,
		Claim:      fmt.Sprintf("%s MB of /tmp are configured; what is above 512 MB costs %s a month.", thousands(f.AWS.EphemeralStorageMB), usd(perMonth)),
		Effect:     Effect{Unit: unitCount, Value: figure(float64(f.Invocations))},
		Change:     "Set it to 512 MB, which are free, unless the function writes more than that.",
		Patches:    storagePatches(f, 512),
		Verify:     "No \"no space left on device\" in the function's log.",
		Undo:       fmt.Sprintf("Set it to %s MB again.", thousands(f.AWS.EphemeralStorageMB)),
		MonthlyUSD: Money{Value: figure(perMonth)},
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

// storagePrice is that of a GB-second of ephemeral storage, 0 where it is not
// known.
func (b *builder) storagePrice() float64 {
	for id := range b.groups {
		if rates, err := b.rates(id.arch); err == nil {
			if price, err := rates.Of(pricing.Storage); err == nil {
				return price
			}
		}
	}
	return 0
}
