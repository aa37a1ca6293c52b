package report

import (
	"fmt"
	"math"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/report/stats"
)

// ProvisionedPoint is what a number of provisioned environments would do, at
// the observed load and the size that runs.
type ProvisionedPoint struct {
	Environments int64 `json:"environments"`
	// Spill is the share of invocations that would find all of them busy and
	// start on demand.
	Spill float64 `json:"spill"`
	// Utilization is the share of their time in which they would be busy.
	Utilization float64 `json:"utilization"`
	// ExtraUSD is what it would cost a month beyond today's bill; below zero it
	// saves that much.
	ExtraUSD float64 `json:"extra_usd_per_month"`
	// Avoided is the number of cold starts that it would avoid a month, at
	// least: every invocation that spills is counted as if it started cold, up to
	// the number of today's.
	Avoided float64 `json:"avoided_cold_starts_per_month"`
	// USDPerAvoided is ExtraUSD over Avoided; null where nothing is avoided.
	USDPerAvoided *float64 `json:"usd_per_avoided_cold_start"`
}

// load is what a function does in a month at one memory size.
type load struct {
	invocations, coldStarts float64
	gb                      float64 // the memory size
	runSeconds, initSeconds float64 // of an invocation, of a cold start
}

const monthSeconds = hoursPerMonth * 3600

// provisioned returns what n provisioned environments would do with a load of
// which the share spill finds all of them busy. Prices are per GB-second: on
// demand, provisioned, and of the duration under it.
//
// The break-even without cold starts is a utilization of pc/(od-pcDuration), 60 %
// at AWS's prices.
func (l load) provisioned(n int64, spill float64, od, pc, pcDuration float64) ProvisionedPoint {
	served := 1 - spill
	gbSeconds := l.invocations * l.runSeconds * l.gb
	colds := min(l.coldStarts, spill*l.invocations)
	now := (gbSeconds + l.coldStarts*l.initSeconds*l.gb) * od
	then := float64(n)*l.gb*monthSeconds*pc + served*gbSeconds*pcDuration + spill*gbSeconds*od + colds*l.initSeconds*l.gb*od
	p := ProvisionedPoint{
		Environments: n, Spill: rounded(spill),
		Utilization: rounded(min(1, served*l.invocations*l.runSeconds/(float64(n)*monthSeconds))),
		ExtraUSD:    rounded(then - now),
		Avoided:     rounded(l.coldStarts - colds),
	}
	if p.Avoided > 0 {
		p.USDPerAvoided = figure(p.ExtraUSD / p.Avoided)
	}
	return p
}

// maxProvisioned bounds the points that are listed.
const maxProvisioned = 24

// provisioned fills in what provisioned concurrency would do. It stands on the
// slot ranks, and on the one size that most invocations ran at.
func (b *builder) provisioned(f *Function) {
	f.Provisioned = []ProvisionedPoint{}
	p := viewCurve(f).current
	if p == nil || f.Concurrency.Arrivals < stats.FloorMean || f.DurationMS.All.Mean == nil || !(f.months > 0) || !f.hasKind(lifecycle.OnDemand) {
		return
	}
	rates, err := b.rates(p.Architecture)
	if err != nil {
		return
	}
	od, err1 := rates.Price(0)
	pc, err2 := rates.Of(pricing.Provisioned)
	pcDuration, err3 := rates.Of(pricing.ProvisionedDuration)
	if err1 != nil || err2 != nil || err3 != nil {
		return // not guessed: see pricing
	}
	l := load{
		invocations: float64(f.Invocations) / f.months, coldStarts: float64(f.ColdStarts) / f.months,
		gb: float64(p.MemoryMB) / 1024, runSeconds: *f.DurationMS.All.Mean / 1000,
	}
	if f.InitMS.Mean != nil {
		l.initSeconds = *f.InitMS.Mean / 1000
	}
	every := max(1, (len(f.Concurrency.Spill)+maxProvisioned-1)/maxProvisioned)
	for i, point := range f.Concurrency.Spill {
		if i%every == 0 || i == len(f.Concurrency.Spill)-1 {
			f.Provisioned = append(f.Provisioned, l.provisioned(point.Environments, point.Share, od.PerGBSecond, pc, pcDuration))
		}
	}
}

// targetSpill is the share of invocations that may start on demand.
const targetSpill = 0.01

// breakEven is the utilization from which provisioned concurrency saves money:
// pc/(od-pcDuration) at AWS's prices, on both architectures.
const breakEven = 0.60

// provisionedAddRule: so many environments keep the spill at the target. It is
// a purchase of latency unless the utilization is above the break-even.
func provisionedAddRule(f *Function, _ *curveView) *Finding {
	r := f.ColdStartRate
	if f.hasKind(lifecycle.ProvisionedConcurrency) || r.Low == nil || r.N < stats.FloorMean || f.AWS != nil && len(f.AWS.Provisioned) > 0 {
		return nil
	}
	for _, p := range f.Provisioned {
		if p.Spill > targetSpill || p.Avoided <= 0 {
			continue
		}
		pays := p.ExtraUSD < 0
		if !pays && *r.Low <= 0.01 {
			return nil // too few to be worth money
		}
		return f.provisionedFinding(p, pays)
	}
	return nil
}

func (f *Function) provisionedFinding(p ProvisionedPoint, pays bool) *Finding {
	finding := &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Predicted), N: f.Concurrency.Arrivals, weight: coldShare(f),
		Claim: fmt.Sprintf("%s provisioned environments would serve all but %s of the invocations, and be busy %s of the time.",
			thousands(p.Environments), percent(p.Spill), percent(p.Utilization)),
		Effect:  Effect{Unit: unitColdStarts, Value: figure(p.Avoided)},
		Change:  fmt.Sprintf("If requests must not wait, provision %s on an alias; else shorten the init.", thousands(p.Environments)),
		Patches: provisionedPatches(f, f.alias(), p.Environments),
		Verify:  "The cold start rate falls below 1 %, and the spill-over in CloudWatch too.",
		Undo:    "aws lambda delete-provisioned-concurrency-config, or remove the setting.",
		Evidence: []string{
			fmt.Sprintf("From the ranks of %s arrivals: each takes the lowest free environment, so that the share above N is what N would turn away.", thousands(f.Concurrency.Arrivals)),
			fmt.Sprintf("It pays for itself only above a utilization of %s. Prices of the first tier; the range is taken for typical.", percent(breakEven)),
		},
		MonthlyUSD: Money{Value: figure(-p.ExtraUSD)},
	}
	if pays {
		finding.Severity = severityChange
		finding.Change = fmt.Sprintf("Provision %s on an alias.", thousands(p.Environments))
	} else if p.USDPerAvoided != nil {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("A cold start that is avoided costs %s, and saves its request %s of waiting.", usd(*p.USDPerAvoided), f.coldWait()))
	}
	return finding
}

// coldWait is what a cold start makes a request wait, in words.
func (f *Function) coldWait() string {
	wait := 0.0
	if f.InitMS.Mean != nil {
		wait += *f.InitMS.Mean
	}
	if f.FirstInvokePenalty.Mean != nil {
		wait += *f.FirstInvokePenalty.Mean
	}
	return ms(math.Max(0, wait))
}

// alias is the alias that the function is invoked by, or what one is usually
// called.
func (f *Function) alias() string {
	if len(f.Aliases) > 0 {
		return f.Aliases[0]
	}
	return "live"
}
