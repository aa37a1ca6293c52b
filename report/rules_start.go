package report

import (
	"fmt"
	"slices"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

// startRules are about cold starts.
func startRules() []Rule {
	return []Rule{
		{ID: "cold-rate", Title: "Many requests start cold", find: coldRateRule,
			When:   "The lower end of the Wilson interval of the cold start rate is above 1 %, with 30 invocations or more. A cold start is an invocation that waited; environments made ahead of demand are not.",
			Source: "Datadog warns at 1 %; AWS calls less than 1 % typical."},
		{ID: "init-part", Title: "One part is more than half of the init", find: initPartRule,
			When:   "30 inits or more, the part is at least half of the mean init and at least 100 ms.",
			Source: "The parts are measured or derived as the report says; they add up to Lambda's own init duration."},
		{ID: "init-extensions", Title: "Extensions take much of the init", find: extensionInitRule,
			When:   "30 inits or more, starting extensions is more than 20 % of the mean init and at least 20 ms.",
			Source: "The runtime starts only when every extension has registered (AWS, Lambda Extensions API)."},
		{ID: "first-invoke", Title: "The first request does work that belongs in the init", find: firstInvokeRule,
			When:   "30 first invocations or more take, at the median, at least 50 ms and at least a warm median longer than warm ones of the same version and size.",
			Source: "620 hello-world configurations: the first invocation scales at least as 1/memory, the init does not, because it runs on a whole CPU."},
	}
}

// coldRateRule: more than 1 % of the requests surely start cold.
func coldRateRule(f *Function, _ *curveView) *Finding {
	r := f.ColdStartRate
	if r.N < stats.FloorMean || *r.Low <= 0.01 {
		return nil
	}
	finding := &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: r.N, weight: *r.Low,
		Claim: fmt.Sprintf("%s of the invocations start cold (%s of %s; 95 %% interval %s to %s).",
			percent(*r.Value), thousands(f.ColdStarts), thousands(f.Invocations), percent(*r.Low), percent(*r.High)),
		Effect: Effect{unitShare, r.Value, r.Low, r.High},
		Change: "Shorten the init first. If requests come in waves, provisioned concurrency removes the wait; it pays for itself only when 60 % of it is in use.",
		Verify: "The upper end of the interval is below 1 % in the next report.",
		Undo:   "Remove the provisioned concurrency.",
	}
	if f.InitMS.Mean != nil {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("A mean init takes %s (n = %s).", ms(*f.InitMS.Mean), thousands(f.InitMS.Have)))
	}
	for _, demand := range f.Inits {
		finding.Evidence = append(finding.Evidence, fmt.Sprintf("%s inits %s.", thousands(demand.Count), demandText(demand.Name)))
	}
	return finding
}

func demandText(demand string) string {
	switch lifecycle.Demand(demand) {
	case lifecycle.OnPath:
		return "had a request waiting"
	case lifecycle.Proactive:
		return "were made before any request came"
	case lifecycle.Unused:
		return "never served a request"
	case lifecycle.Uncertain:
		return "ended 0.1 to 1 s before the first request: a wait is uncertain"
	}
	return demand
}

// initPartRule: one part is more than half of an init that is worth
// shortening.
func initPartRule(f *Function, _ *curveView) *Finding {
	if f.InitMS.Have < stats.FloorMean || len(f.InitParts) == 0 {
		return nil
	}
	p := slices.MaxFunc(f.InitParts, func(a, b InitPart) int { return compareFloat(a.Share, b.Share) })
	if p.Share < 0.5 || p.MeanMS < 100 {
		return nil
	}
	change, ok := partChange(p.Part)
	if !ok {
		return nil
	}
	return &Finding{
		Severity: severityChange, Basis: p.Basis, N: p.N, weight: p.Share * coldShare(f),
		Claim:  fmt.Sprintf("%s is %s of the init: %s of %s.", partText(p.Part), percent(p.Share), ms(p.MeanMS), ms(p.MeanMS/p.Share)),
		Effect: Effect{Unit: unitMS, Value: figure(p.MeanMS)},
		Change: change,
		Verify: "The part is shorter in the next report.", Undo: "Deploy the previous version.",
	}
}

func partText(part string) string {
	switch lifecycle.PartName(part) {
	case lifecycle.PartRuntimeFunction:
		return "Starting the runtime and loading the function"
	case lifecycle.PartFunction:
		return "Loading the function"
	case lifecycle.PartRuntime:
		return "Starting the runtime"
	case lifecycle.PartRestore:
		return "Restoring the snapshot"
	case lifecycle.PartExtensions:
		return "Starting extensions"
	case lifecycle.PartThaw:
		return "Starting Thaw's own extension"
	}
	return "The part " + part
}

// partChange says what can be done about a part. About what is unattributed
// nothing can be said.
func partChange(part string) (string, bool) {
	switch lifecycle.PartName(part) {
	case lifecycle.PartRuntimeFunction, lifecycle.PartFunction:
		return "Load less before the first request: fewer and smaller packages, bundling, lazy imports of what few requests use.", true
	case lifecycle.PartRestore:
		return "Do less in after-restore hooks, and keep network calls out of them.", true
	}
	return "", false
}

// noticeableMS is the least mean time in an init that is worth a change: a
// fifth of a fast init is still nothing that anybody waits for.
const noticeableMS = 20

// extensionInitRule: extensions take more than a fifth of the init, our own
// first.
func extensionInitRule(f *Function, _ *curveView) *Finding {
	if f.InitMS.Have < stats.FloorMean {
		return nil
	}
	for _, p := range f.InitParts {
		if lifecycle.PartName(p.Part) != lifecycle.PartExtensions || p.Share <= 0.20 || p.MeanMS < noticeableMS {
			continue
		}
		finding := &Finding{
			Severity: severityChange, Basis: p.Basis, N: p.N, weight: p.Share * coldShare(f),
			Claim:  fmt.Sprintf("Starting extensions is %s of the init: %s of %s.", percent(p.Share), ms(p.MeanMS), ms(p.MeanMS/p.Share)),
			Effect: Effect{Unit: unitMS, Value: figure(p.MeanMS)},
			Change: "Remove the layers whose extensions are not needed. They are started one after the other with the runtime waiting.",
			Verify: "The part is shorter in the next report.", Undo: "Add the layer again.",
		}
		if own := f.Overhead.ReadyMS.Mean; own != nil {
			finding.Evidence = append(finding.Evidence, fmt.Sprintf("Thaw's own extension is not in it: it is ready after %s (mean, n = %s).", ms(*own), thousands(f.Overhead.ReadyMS.Have)))
		}
		return finding
	}
	return nil
}

// firstInvokeRule: the first request of an environment takes far longer than
// the others, init aside.
func firstInvokeRule(f *Function, _ *curveView) *Finding {
	p, warm := f.FirstInvokePenalty, f.DurationMS.Warm.P50
	if p.Mean == nil || warm == nil || p.Have < stats.FloorMean || *p.P50 < max(50, *warm) {
		return nil
	}
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: p.Have, weight: coldShare(f),
		Claim:  fmt.Sprintf("The first request of an environment takes %s longer than a warm one of %s, init not counted.", ms(*p.Mean), ms(*warm)),
		Effect: Effect{Unit: unitMS, Value: p.Mean},
		Change: "Do in the init what the first request does once: clients, connections, configuration. The init has a whole CPU at every memory size, a request has not.",
		Verify: "The penalty is lower in the next report, and the init longer by less.", Undo: "Deploy the previous version.",
	}
}

// coldShare is the share of invocations that a change of cold starts concerns.
func coldShare(f *Function) float64 {
	if f.Invocations == 0 {
		return 0
	}
	return float64(f.ColdStarts+f.FirstStarts) / float64(f.Invocations)
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
