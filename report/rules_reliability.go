package report

import (
	"fmt"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

// reliabilityRules are about what fails. They come first among equals.
func reliabilityRules() []Rule {
	return []Rule{
		{ID: "memory-out", Title: "Invocations ran out of memory", find: outOfMemoryRule,
			When:   "Any invocation ended for want of memory.",
			Source: "The platform's error type Runtime.OutOfMemory."},
		{ID: "memory-pressure", Title: "Memory is nearly full", find: memoryPressureRule,
			When:   "95 % of the size was in use once, or 85 % at the 99th percentile.",
			Source: "Datadog warns at 95 %. The same figure guards every advice to take less memory."},
		{ID: "timeouts", Title: "Invocations run into the timeout", find: timeoutsRule,
			When:   "Any timeout; urgent when the lower end of the interval of their rate is above 1 %.",
			Source: "A timeout is billed in full, answers nobody and resets the environment (AWS, execution environment)."},
		{ID: "errors", Title: "Invocations fail", find: errorsRule,
			When:   "The lower end of the Wilson interval of the error rate is above 1 %, with 30 invocations or more. Handled exceptions are successes for the platform, and not among them.",
			Source: "Datadog warns at 1 %, AWS Trusted Advisor at 10 % a day."},
	}
}

// logRules are about logs and what extensions add.
func logRules() []Rule {
	return []Rule{
		{ID: "extension-overhead", Title: "Extensions prolong invocations", find: extensionOverheadRule,
			When:   "What all extensions add after the response is, at the 95th percentile, more than 1 ms and more than 10 % of the mean duration. Thaw's own is among them.",
			Source: "CloudWatch's PostRuntimeExtensionsDuration; the time is billed."},
		{ID: "log-latency", Title: "Logs arrive late", find: logLatencyRule,
			When:   "Log lines are more than 5 s late at the 95th percentile, or a freeze held back surely more than 5 % of them.",
			Source: "What is not delivered when an environment freezes waits for its next request, for minutes."},
		{ID: "logs-dropped", Title: "Lambda dropped log records", find: logsDroppedRule,
			When:   "Any platform.logsDropped.",
			Source: "Lambda's own account of what a subscriber was too slow to take."},
	}
}

// timeoutsRule fires on any timeout: each is a request that was billed in full
// and not answered, and a reset of its environment.
func timeoutsRule(f *Function, _ *curveView) *Finding {
	if f.Timeouts == 0 {
		return nil
	}
	r := f.TimeoutRate
	finding := &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Measured), N: r.N, weight: *r.Low,
		Claim: fmt.Sprintf("%s of %s invocations ran into the timeout (%s; 95 %% interval %s to %s).",
			thousands(f.Timeouts), thousands(f.Invocations), percent(*r.Value), percent(*r.Low), percent(*r.High)),
		Effect:   Effect{unitShare, r.Value, r.Low, r.High},
		Evidence: []string{"A timeout resets the environment: its next request runs the init again, inside the invocation."},
		Change:   "Give calls to others a deadline shorter than the function's, or raise the timeout if the work needs it.",
		Verify:   "No timeout in the next report.", Undo: "Set the timeout back.",
	}
	if r.N >= stats.FloorMean && *r.Low > 0.01 {
		finding.Severity = severityUrgent
	}
	return finding
}

// errorsRule fires when more than 1 % of the invocations surely fail.
func errorsRule(f *Function, _ *curveView) *Finding {
	r := f.ErrorRate
	if r.N < stats.FloorMean || *r.Low <= 0.01 {
		return nil
	}
	finding := &Finding{
		Severity: severityUrgent, Basis: string(lifecycle.Measured), N: r.N, weight: *r.Low,
		Claim: fmt.Sprintf("%s of the invocations fail (%s of %s; 95 %% interval %s to %s).",
			percent(*r.Value), thousands(f.Errors), thousands(f.Invocations), percent(*r.Low), percent(*r.High)),
		Effect: Effect{unitShare, r.Value, r.Low, r.High},
		Change: "Read the log of a failed invocation. Failures of the runtime reset the environment, so some of the cold starts are theirs.",
		Verify: "The upper end of the interval is below 1 % in the next report.", Undo: "Deploy the previous version.",
	}
	for _, kind := range f.ErrorTypes[:min(5, len(f.ErrorTypes))] {
		name := kind.Name
		if name == "" {
			name = "no type given"
		}
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("%s: %s.", name, thousands(kind.Count)))
	}
	return finding
}

// extensionOverheadRule: after the response, extensions add more than a tenth
// to what is billed.
func extensionOverheadRule(f *Function, _ *curveView) *Finding {
	p95, mean := f.Overhead.AllExtensionsMS.P95, f.DurationMS.All.Mean
	if p95 == nil || mean == nil || *p95 <= max(1, 0.10**mean) {
		return nil
	}
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: f.Overhead.AllExtensionsMS.Have,
		weight: min(1, *f.Overhead.AllExtensionsMS.Mean / *mean),
		Claim:  fmt.Sprintf("Extensions add up to %s to an invocation (p95) of %s on average.", ms(*p95), ms(*mean)),
		Effect: Effect{Unit: unitMS, Value: p95},
		Change: "Let extensions send while the next invocation runs, as Thaw's own does by default (THAW_FLUSH=next), or remove those that are not needed.",
		Verify: "The overhead is lower in the next report.", Undo: "Add the layer again.",
	}
}

// logLatencyRule: logs are late, or a freeze keeps them back.
func logLatencyRule(f *Function, _ *curveView) *Finding {
	late := f.LogLatencyMS.P95 != nil && *f.LogLatencyMS.P95 > 5000
	frozen := f.Logs.FrozenShare.Low != nil && *f.Logs.FrozenShare.Low > 0.05
	if !late && !frozen {
		return nil
	}
	finding := &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Measured), N: f.Logs.Lines,
		Change: "Nothing is lost: the lines arrive with the next request or at shutdown. Read recent logs where Lambda itself writes them if that is too late.",
		Verify: "The share of frozen lines is lower in the next report, as it is when requests come more often.", Undo: "Nothing to undo.",
	}
	if frozen {
		r := f.Logs.FrozenShare
		finding.weight = *r.Low
		finding.Claim = fmt.Sprintf("%s of the log lines arrived only after a freeze (95 %% interval %s to %s): as late as the next request.", percent(*r.Value), percent(*r.Low), percent(*r.High))
		finding.Effect = Effect{unitShare, r.Value, r.Low, r.High}
		return finding
	}
	finding.Claim = fmt.Sprintf("5 %% of the log lines arrive more than %s after they were written.", ms(*f.LogLatencyMS.P95))
	finding.Effect = Effect{Unit: unitMS, Value: f.LogLatencyMS.P95}
	return finding
}

// logsDroppedRule: the platform threw log records away, and nobody has them.
func logsDroppedRule(f *Function, _ *curveView) *Finding {
	n := f.Logs.PlatformDropped
	if n == 0 {
		return nil
	}
	return &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Measured), N: f.Logs.Lines + n,
		weight: float64(n) / float64(f.Logs.Lines+n),
		Claim:  fmt.Sprintf("Lambda dropped %s log records before any extension saw them.", thousands(n)),
		Effect: Effect{Unit: "records", Value: figure(float64(n))},
		Change: "Log less per invocation: the platform's buffer was full.",
		Verify: "No dropped record in the next report.", Undo: "Log as before.",
	}
}
