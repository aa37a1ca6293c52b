package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

// accountRules stand on the account's data, and are silent without it.
func accountRules() []Rule {
	return []Rule{
		{ID: "throttled", Title: "Requests are throttled", find: throttledRule,
			When:   "CloudWatch counts throttles, and the lower end of the interval of their rate is above 0.1 %; urgent above 10 %.",
			Source: "An extension cannot see a throttle: nothing runs. CloudWatch's Throttles. Datadog warns at 10 %."},
		{ID: "reserved-tight", Title: "Reserved concurrency is too tight", find: reservedTightRule,
			When:   "Reserved concurrency was reached in an hour with throttles.",
			Source: "CloudWatch's ConcurrentExecutions and Throttles, hourly."},
		{ID: "provisioned-shrink", Title: "Provisioned concurrency is not used", find: provisionedShrinkRule,
			When:   "Over 7 days or more (168 hours with a value), the 95th percentile of the hourly maxima of its utilization is below 70 %.",
			Source: "Provisioned concurrency pays for itself from a utilization of 60 % on, by AWS's prices; Datadog warns below 60 %."},
		{ID: "provisioned-spill", Title: "Load spills over provisioned concurrency", find: provisionedSpillRule,
			When:   "The lower end of the interval of the share of invocations that spilled over is above 1 %.",
			Source: "CloudWatch's ProvisionedConcurrencySpilloverInvocations: those start on demand, and may start cold."},
		{ID: "iterator-age", Title: "A stream is not keeping up", find: iteratorAgeRule,
			When:   "The age of the last record of a batch reached 2 h.",
			Source: "CloudWatch's IteratorAge. Datadog warns at 2 h; records are lost when the stream's retention is over."},
		{ID: "async-lost", Title: "Asynchronous events were lost", find: asyncLostRule,
			When:   "Lambda dropped asynchronous events, or could not deliver them to a destination or a dead-letter queue.",
			Source: "CloudWatch's AsyncEventsDropped, DestinationDeliveryFailures and DeadLetterErrors."},
		{ID: "timeout-near", Title: "The timeout is near", find: timeoutNearRule,
			When:   "The 95th percentile of the duration of 60 invocations or more is above 80 % of the timeout.",
			Source: "Datadog warns when an invocation uses 95 % of its timeout."},
		{ID: "runtime-deprecated", Title: "The runtime is deprecated", find: deprecatedRule,
			When:   "The runtime is on AWS's list of deprecated ones, as this version of Thaw knows it.",
			Source: "AWS, Lambda runtimes: deprecated runtimes get no security patches, and can one day not be updated."},
	}
}

func (f *Function) metrics() *account.Metrics {
	if f.AWS == nil {
		return nil
	}
	return f.AWS.Metrics
}

func amount(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

func throttledRule(f *Function, _ *curveView) *Finding {
	m := f.metrics()
	if m == nil || amount(m.Throttles) == 0 {
		return nil
	}
	requests := amount(m.Invocations) + amount(m.Throttles)
	in := stats.Wilson(*m.Throttles, requests)
	if in.Low <= 0.001 {
		return nil
	}
	finding := &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: count(requests), weight: in.Low,
		Claim: fmt.Sprintf("%s of %s requests were throttled (%s; 95 %% interval %s to %s), in %d hours of the account's range.",
			thousands(count(*m.Throttles)), thousands(count(requests)), percent(*m.Throttles/requests), percent(in.Low), percent(in.High), m.ThrottledHours),
		Effect: Effect{unitShare, figure(*m.Throttles / requests), figure(in.Low), figure(in.High)},
		Change: "Find what limits it: its reserved concurrency, what other functions leave of the account's, or the rate at which Lambda adds environments (1,000 each 10 s for a function).",
		Verify: "No throttles in CloudWatch.", Undo: "Set the limit back.",
	}
	if in.Low > 0.10 {
		finding.Severity = severityUrgent
	}
	if f.limits != nil {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("The account's limit is %s concurrent executions, %s of them unreserved.",
			thousands(f.limits.ConcurrentExecutions), thousands(f.limits.UnreservedConcurrentExecutions)))
	}
	if m.ConcurrentExecutionsMax != nil {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("The function's own maximum was %s.", thousands(count(*m.ConcurrentExecutionsMax))))
	}
	return finding
}

func reservedTightRule(f *Function, _ *curveView) *Finding {
	m := f.metrics()
	if m == nil || f.AWS.ReservedConcurrency == nil || amount(m.Throttles) == 0 || m.ConcurrentExecutionsMax == nil {
		return nil
	}
	reserved := *f.AWS.ReservedConcurrency
	if *m.ConcurrentExecutionsMax < float64(reserved) {
		return nil
	}
	// What was refused would have run as well: by how much more is not known,
	// so this is a first step and not a size.
	step := reserved + max(1, (reserved+9)/10)
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: count(amount(m.Invocations)), weight: amount(m.Throttles) / max(1, amount(m.Invocations)+amount(m.Throttles)),
		Claim: fmt.Sprintf("Its reserved concurrency of %s was reached, and %s requests were throttled.",
			thousands(reserved), thousands(count(*m.Throttles))),
		Effect:   Effect{Unit: unitCount, Value: m.Throttles},
		Evidence: []string{"How many more would have run at once cannot be seen from requests that were refused: raise it step by step."},
		Change:   fmt.Sprintf("Reserve %s, and look again. It takes from what is left for other functions.", thousands(step)),
		Patches:  reservedPatches(f, step),
		Verify:   "No throttles in CloudWatch.", Undo: fmt.Sprintf("Reserve %s again.", thousands(reserved)),
	}
}

// enoughHours of provisioned concurrency are a week.
const enoughHours = 7 * 24

func provisionedShrinkRule(f *Function, _ *curveView) *Finding {
	if f.AWS == nil {
		return nil
	}
	for _, p := range f.AWS.Provisioned {
		if len(p.Utilization) < enoughHours || p.Requested < 2 {
			continue
		}
		hours := slices.Sorted(slices.Values(p.Utilization))
		p95 := hours[int(math.Ceil(0.95*float64(len(hours))))-1]
		if p95 >= 0.70 {
			continue
		}
		// The busiest hour still has to fit, with a tenth to spare.
		least := int64(math.Ceil(hours[len(hours)-1] * float64(p.Requested) * 1.1))
		if least = max(1, least); least >= p.Requested {
			continue
		}
		return &Finding{
			Severity: severityChange, Basis: string(lifecycle.Measured), N: int64(len(hours)), weight: 1 - p95,
			Claim: fmt.Sprintf("Of %s provisioned environments of %s, %s were in use in the busiest hour, and %s at the 95th percentile of %s hours.",
				thousands(p.Requested), p.Qualifier, percent(hours[len(hours)-1]), percent(p95), thousands(int64(len(hours)))),
			Effect:  Effect{Unit: unitShare, Value: figure(p95)},
			Change:  fmt.Sprintf("Provision %s, or by a schedule. What spills over starts on demand.", thousands(least)),
			Patches: provisionedPatches(f, p.Qualifier, least),
			Verify:  "The utilization is above 60 %, and spill-over stays below 1 %.", Undo: fmt.Sprintf("Provision %s again.", thousands(p.Requested)),
		}
	}
	return nil
}

func provisionedSpillRule(f *Function, _ *curveView) *Finding {
	if f.AWS == nil {
		return nil
	}
	for _, p := range f.AWS.Provisioned {
		spilled := amount(p.Spillover)
		all := spilled + amount(p.Invocations)
		if all < stats.FloorMean {
			continue
		}
		in := stats.Wilson(spilled, all)
		if in.Low <= 0.01 {
			continue
		}
		return &Finding{
			Severity: severityChange, Basis: string(lifecycle.Measured), N: count(all), weight: in.Low,
			Claim: fmt.Sprintf("%s of the invocations of %s spill over its %s provisioned environments (95 %% interval %s to %s).",
				percent(spilled/all), p.Qualifier, thousands(p.Requested), percent(in.Low), percent(in.High)),
			Effect: Effect{unitShare, figure(spilled / all), figure(in.Low), figure(in.High)},
			Change: "Provision more, or scale earlier: a target utilization of 0.7 leaves time to allocate.",
			Verify: "Spill-over is below 1 %.", Undo: fmt.Sprintf("Provision %s again.", thousands(p.Requested)),
		}
	}
	return nil
}

// oldIterator is the age of records that is told.
const oldIterator = 2 * time.Hour

func iteratorAgeRule(f *Function, _ *curveView) *Finding {
	m := f.metrics()
	if m == nil || amount(m.IteratorAgeMaxMS) < float64(oldIterator.Milliseconds()) {
		return nil
	}
	finding := &Finding{
		Severity: severityUrgent, Basis: string(lifecycle.Measured), N: count(amount(m.Invocations)), weight: 1,
		Claim:  fmt.Sprintf("Records of a stream were up to %.1f h old when they were read.", *m.IteratorAgeMaxMS/3.6e6),
		Effect: Effect{Unit: unitMS, Value: m.IteratorAgeMaxMS},
		Change: "Read faster: a larger batch, a parallelization factor, more shards, or a faster function. A batch that fails again and again stops its shard: bisect it, and send what fails to a destination.",
		Verify: "The iterator age stays below a minute.", Undo: "Set the mapping back.",
	}
	for _, s := range f.AWS.Sources {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("%s: batches of up to %s records, %s.", s.ARN, thousands(s.BatchSize), s.State))
	}
	return finding
}

func asyncLostRule(f *Function, _ *curveView) *Finding {
	m := f.metrics()
	if m == nil {
		return nil
	}
	lost := amount(m.AsyncEventsDropped) + amount(m.DestinationDeliveryFailures) + amount(m.DeadLetterErrors)
	if lost == 0 {
		return nil
	}
	return &Finding{
		Severity: severityUrgent, Basis: string(lifecycle.Measured), N: count(amount(m.AsyncEventsReceived)), weight: 1,
		Claim: fmt.Sprintf("%s asynchronous events were dropped, %s could not be delivered to a destination and %s not to a dead-letter queue.",
			thousands(count(amount(m.AsyncEventsDropped))), thousands(count(amount(m.DestinationDeliveryFailures))), thousands(count(amount(m.DeadLetterErrors)))),
		Effect: Effect{Unit: unitCount, Value: figure(lost)},
		Change: "Send events that fail to a destination, and check its permissions and its queue's size limit.",
		Verify: "None of the three in CloudWatch.", Undo: "Remove the destination.",
	}
}

// nearTimeout is the share of the timeout that a duration may reach.
const nearTimeout = 0.80

func timeoutNearRule(f *Function, _ *curveView) *Finding {
	if f.AWS == nil || f.AWS.TimeoutSeconds == 0 || f.DurationMS.All.P95 == nil {
		return nil
	}
	timeout := float64(f.AWS.TimeoutSeconds) * 1000
	p95 := *f.DurationMS.All.P95
	if p95 <= nearTimeout*timeout {
		return nil
	}
	seconds := min(900, int64(math.Ceil(2*p95/1000)))
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: f.DurationMS.All.Have, weight: p95 / timeout,
		Claim:   fmt.Sprintf("5 %% of the invocations take longer than %s, of a timeout of %s.", ms(p95), ms(timeout)),
		Effect:  Effect{Unit: unitShare, Value: figure(p95 / timeout)},
		Change:  fmt.Sprintf("Raise the timeout to %d s, twice the 95th percentile, if the work needs it; else give its calls a shorter deadline.", seconds),
		Patches: timeoutPatches(f, seconds),
		Verify:  "No timeouts in the next report.", Undo: fmt.Sprintf("Set the timeout back to %d s.", f.AWS.TimeoutSeconds),
	}
}

// deprecatedRuntimes are those that AWS had deprecated by the end of 2025. What
// came later is not known here, and not guessed.
func deprecatedRuntimes() []string {
	return []string{
		"nodejs", "nodejs4.3", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs16.x", "nodejs18.x",
		"python2.7", "python3.6", "python3.7", "python3.8", "ruby2.5", "ruby2.7", "java8", "go1.x", "provided",
		"dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "dotnet5.0", "dotnet6", "dotnet7",
	}
}

func deprecatedRule(f *Function, _ *curveView) *Finding {
	if f.AWS == nil || !slices.Contains(deprecatedRuntimes(), f.AWS.Runtime) {
		return nil
	}
	return &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Measured), N: f.Invocations, weight: 0,
		Claim:  fmt.Sprintf("%s is deprecated: it gets no security patches.", f.AWS.Runtime),
		Effect: Effect{Unit: unitCount, Value: figure(float64(f.Invocations))},
		Change: "Move to a supported version of the runtime, and compare: thaw compare --versions OLD,NEW.",
		Verify: "The account's data names another runtime.", Undo: "Deploy the previous version, as long as AWS permits it.",
	}
}
