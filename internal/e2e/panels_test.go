package e2e

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"

	"github.com/thaw-lambda/thaw/dashboards"
	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// bucket is the width of a bucket of the histograms, as a ratio.
const bucket = 1.0219

// truth is what the ledger says of the functions that a dashboard shows.
type truth struct {
	invocations, inits, shutdowns []emulator.Entry
}

// truthOf reads the ledger of one function, or of all for an empty name.
func truthOf(ledger *emulator.Ledger, function string) truth {
	var out truth
	for _, e := range ledger.Entries() {
		if function != "" && e.Function != function {
			continue
		}
		switch e.Kind {
		case emulator.KindInvocationEnd:
			out.invocations = append(out.invocations, e)
		case emulator.KindInitEnd:
			out.inits = append(out.inits, e)
		case emulator.KindEnvironmentShutdown:
			out.shutdowns = append(out.shutdowns, e)
		}
	}
	return out
}

// only keeps the entries that a group of an answer is about.
func (t truth) only(labels model.Metric) truth {
	keep := func(e emulator.Entry) bool {
		for label, want := range map[string]string{metric.LabelName: e.Function, metric.LabelMemory: itoa(e.MemoryMB), metric.LabelVersion: e.Version} {
			if got, ok := labels[model.LabelName(metric.Label(label))]; ok && string(got) != want {
				return false
			}
		}
		return true
	}
	filter := func(list []emulator.Entry) []emulator.Entry {
		return slices.DeleteFunc(slices.Clone(list), func(e emulator.Entry) bool { return !keep(e) })
	}
	return truth{filter(t.invocations), filter(t.inits), filter(t.shutdowns)}
}

func number(list []emulator.Entry, f func(emulator.Entry) bool) float64 {
	n := 0.0
	for _, e := range list {
		if f(e) {
			n++
		}
	}
	return n
}

func values(list []emulator.Entry, f func(emulator.Entry) float64) []float64 {
	var out []float64
	for _, e := range list {
		out = append(out, f(e))
	}
	return out
}

func total(list []float64) float64 {
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return sum
}

func every(emulator.Entry) bool        { return true }
func cold(e emulator.Entry) bool       { return e.Cold }
func timedOut(e emulator.Entry) bool   { return e.Status == "timeout" }
func failed(e emulator.Entry) bool     { return e.Status == "error" || e.Status == "failure" }
func unfit(e emulator.Entry) bool      { return failed(e) || timedOut(e) }
func seconds(e emulator.Entry) float64 { return e.DurationMs / 1000 }
func billed(e emulator.Entry) float64  { return float64(e.BilledMs) / 1000 }
func memory(e emulator.Entry) float64  { return float64(e.MaxMemoryMB << 20) }
func gbSeconds(e emulator.Entry) float64 {
	return billed(e) * float64(e.MemoryMB) / 1024
}

// start is what an invocation found. The run makes no environment ahead of
// requests, so what is not cold is warm.
func start(e emulator.Entry) string {
	if e.Cold {
		return "cold"
	}
	return "warm"
}

// claim compares one number of an answer with the ledger's entries of its
// group. It returns what is wrong.
type claim func(got float64, t truth) string

// equals holds a number to the ledger's, exactly but for the rounding of sums.
func equals(f func(truth) float64) claim {
	return func(got float64, t truth) string {
		if want := f(t); math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
			return fmt.Sprintf("is %v, the ledger says %v", got, want)
		}
		return ""
	}
}

// near holds a mean to a millisecond.
func near(f func(truth) []float64) claim {
	return func(got float64, t truth) string {
		list := f(t)
		if want := total(list) / float64(len(list)); !(math.Abs(got-want) <= 0.001) {
			return fmt.Sprintf("is %v, the ledger says %v", got, want)
		}
		return ""
	}
}

// quantileOf holds a quantile to a bucket around the two values that it lies
// between.
func quantileOf(q float64, f func(truth) []float64) claim {
	return func(got float64, t truth) string {
		list := slices.Sorted(slices.Values(f(t)))
		if len(list) == 0 {
			return fmt.Sprintf("is %v, the ledger has no value", got)
		}
		rank := q * float64(len(list)-1)
		low, high := list[int(math.Floor(rank))], list[min(int(math.Ceil(rank))+1, len(list)-1)]
		if got < low/bucket || got > high*bucket {
			return fmt.Sprintf("is %v, between %v and %v in the ledger", got, low, high)
		}
		return ""
	}
}

// finite is for what the ledger does not know, and says why.
func finite(string) claim {
	return func(got float64, _ truth) string {
		if math.IsNaN(got) || math.IsInf(got, 0) {
			return fmt.Sprintf("is %v", got)
		}
		return ""
	}
}

func invocationsWhere(f func(emulator.Entry) bool) claim {
	return equals(func(t truth) float64 { return number(t.invocations, f) })
}

func rateOf(f func(emulator.Entry) bool) claim {
	return equals(func(t truth) float64 { return number(t.invocations, f) / number(t.invocations, every) })
}

func durations(t truth) []float64 { return values(t.invocations, seconds) }
func initTimes(t truth) []float64 { return values(t.inits, seconds) }
func memories(t truth) []float64  { return values(t.invocations, memory) }
func billings(t truth) []float64  { return values(t.invocations, billed) }
func warmTimes(t truth) []float64 { return values(t.with(start, "warm").invocations, seconds) }

// with keeps the invocations of which f says value.
func (t truth) with(f func(emulator.Entry) string, value string) truth {
	t.invocations = slices.DeleteFunc(slices.Clone(t.invocations), func(e emulator.Entry) bool { return f(e) != value })
	return t
}

// by applies a claim to the invocations that a label of the answer names.
func by(f func(emulator.Entry) string, c claim) func(label string) claim {
	return func(label string) claim {
		return func(got float64, t truth) string { return c(got, t.with(f, label)) }
	}
}

// panel is what is claimed of the queries of a panel, in their order.
type panel []query

type query struct {
	claim claim
	// each makes the claim from the labels of an answer, instead of claim.
	each func(labels model.Metric) claim
	// sum is for charts: the points of a series add up to the number of the
	// range.
	sum bool
	// may be without an answer.
	empty bool
}

func one(c claim) query     { return query{claim: c} }
func charted(c claim) query { return query{claim: c, sum: true} }
func points(c claim) query  { return query{claim: c} }
func maybe(q query) query   { q.empty = true; return q }
func split(label string, each func(value string) claim, sum bool) query {
	return query{sum: sum, each: func(labels model.Metric) claim { return each(value(labels, label)) }}
}

func value(labels model.Metric, attribute string) string {
	return string(labels[model.LabelName(metric.Label(attribute))])
}

const (
	extensionsOwn  = "what the extension measures of itself"
	notInLedger    = "the ledger knows no log lines and no parts of inits"
	ofTheCollector = "what a collector says of itself"
)

// panels says of every panel what the ledger knows of it.
func panels() map[string]panel {
	// The defaults of the dashboards' variables: us-east-1, x86_64.
	const gbSecond, request = 0.0000166667, 0.20e-6
	cost := equals(func(t truth) float64 {
		return total(values(t.invocations, gbSeconds))*gbSecond + number(t.invocations, every)*request
	})
	perMillion := equals(func(t truth) float64 {
		return 1e6 * (total(values(t.invocations, gbSeconds))*gbSecond/number(t.invocations, every) + request)
	})
	initShare := equals(func(t truth) float64 { return total(initTimes(t)) / total(billings(t)) })
	memoryShare := func(got float64, t truth) string {
		return quantileOf(1, memories)(got*float64(t.invocations[0].MemoryMB<<20), t)
	}
	overTime := points(finite("quantiles of single minutes"))
	quantiles := panel{overTime, overTime, overTime}
	byStart := panel{split(metric.LabelStart, by(start, invocationsWhere(every)), true)}
	// The run makes no environment that a request did not wait for.
	byDemand := panel{split(metric.LabelDemand, func(demand string) claim {
		return equals(func(t truth) float64 {
			if demand != "on-path" {
				return 0
			}
			return float64(len(t.inits))
		})
	}, true)}
	logs := func(dashboard string) map[string]panel {
		return map[string]panel{
			dashboard + "/Log latency: to the extension":  quantiles,
			dashboard + "/Log latency: to the backend":    {maybe(overTime), maybe(overTime), maybe(overTime)},
			dashboard + "/Log lines":                      {charted(finite(notInLedger))},
			dashboard + "/Frozen share":                   {one(finite(notInLedger))},
			dashboard + "/Log latency p95":                {one(finite(notInLedger))},
			dashboard + "/Dropped by Lambda":              {one(equals(func(truth) float64 { return 0 }))},
			dashboard + "/Reports missing":                {one(equals(func(truth) float64 { return 0 }))},
			dashboard + "/Extension: exec to ready":       quantiles,
			dashboard + "/Overhead after the response":    quantiles,
			dashboard + "/CPU per environment":            {one(finite(extensionsOwn))},
			dashboard + "/Overhead, share of billed time": {one(finite(extensionsOwn))},
			dashboard + "/Start of the range":             {one(equals(func(truth) float64 { return 1 }))}, // the first collector began within it
		}
	}
	all := map[string]panel{
		"thaw-fleet/Invocations":               {one(invocationsWhere(every))},
		"thaw-fleet/Cold starts":               {one(invocationsWhere(cold))},
		"thaw-fleet/Cold start rate":           {one(rateOf(cold))},
		"thaw-fleet/Failure rate":              {one(rateOf(unfit))},
		"thaw-fleet/Init p95":                  {one(quantileOf(0.95, initTimes))},
		"thaw-fleet/Init share of billed time": {one(initShare)},
		"thaw-fleet/Cost":                      {one(cost)},
		"thaw-fleet/Functions": {
			one(invocationsWhere(every)), one(invocationsWhere(cold)), one(rateOf(cold)),
			one(quantileOf(0.5, initTimes)), one(quantileOf(0.95, initTimes)), one(initShare),
			one(quantileOf(0.5, durations)), one(quantileOf(0.95, durations)),
			one(invocationsWhere(failed)), one(invocationsWhere(timedOut)),
			one(quantileOf(1, memories)), one(memoryShare),
			one(equals(func(t truth) float64 { return total(values(t.invocations, gbSeconds)) })), one(cost),
		},
		"thaw-fleet/Slowest init":                        {one(quantileOf(1, initTimes))},
		"thaw-fleet/Most time in init":                   {one(equals(func(t truth) float64 { return total(initTimes(t)) }))},
		"thaw-fleet/Highest cold start rate":             {maybe(one(rateOf(cold)))}, // of functions with 100 invocations
		"thaw-fleet/Invocations by what they found":      byStart,
		"thaw-fleet/Cold starts by kind of init":         {charted(invocationsWhere(cold))},
		"thaw-fleet/Cold start rate over time":           {overTime},
		"thaw-fleet/Init share of billed time over time": {overTime},
		"thaw-fleet/Init durations":                      {{}}, // histograms as they are
		"thaw-fleet/Init duration":                       quantiles,
		"thaw-fleet/Inits by demand":                     byDemand,
		"thaw-fleet/Cost over time":                      {charted(cost)},
		"thaw-fleet/Collectors alive":                    {points(equals(func(truth) float64 { return 1 }))},
		"thaw-fleet/Spans received twice":                {maybe(charted(finite(ofTheCollector)))},
		"thaw-fleet/Spans rejected":                      {maybe(charted(equals(func(truth) float64 { return 0 })))},

		"thaw-function/Invocations":               {one(invocationsWhere(every))},
		"thaw-function/Cold starts":               {one(invocationsWhere(cold))},
		"thaw-function/Cold start rate":           {one(rateOf(cold))},
		"thaw-function/Init p50":                  {one(quantileOf(0.5, initTimes))},
		"thaw-function/Init p95":                  {one(quantileOf(0.95, initTimes))},
		"thaw-function/Init share of billed time": {one(initShare)},
		"thaw-function/Invocations per init": {one(equals(func(t truth) float64 {
			return float64(len(t.invocations)) / float64(len(t.inits))
		}))},
		"thaw-function/Cost":                           {one(cost)},
		"thaw-function/What runs":                      {one(equals(func(truth) float64 { return 1 }))},
		"thaw-function/Cold start rate by version":     {overTime},
		"thaw-function/Invocations by what they found": byStart,
		"thaw-function/Inits by demand":                byDemand,
		"thaw-function/What the last deploy changed": {
			one(invocationsWhere(every)), one(rateOf(cold)), one(rateOf(unfit)),
			one(quantileOf(0.5, initTimes)), one(quantileOf(0.95, initTimes)),
			one(quantileOf(0.5, warmTimes)), one(quantileOf(0.95, warmTimes)), one(perMillion),
		},
		"thaw-function/Init by part, mean": {overTime},
		"thaw-function/Parts of the init": {
			one(finite(notInLedger)), one(finite(notInLedger)), one(finite(notInLedger)),
			one(finite(notInLedger)), one(finite(notInLedger)), one(finite(notInLedger)),
		},
		"thaw-function/Init durations":                  {{}},
		"thaw-function/Init duration":                   quantiles,
		"thaw-function/Duration p50: cold, first, warm": {overTime},
		"thaw-function/Duration p95: cold, first, warm": {overTime},
		"thaw-function/Durations of warm invocations":   {{}},
		"thaw-function/Duration by what was found": {
			split(metric.LabelStart, by(start, invocationsWhere(every)), false),
			split(metric.LabelStart, by(start, near(durations)), false),
			split(metric.LabelStart, by(start, quantileOf(0.5, durations)), false),
			split(metric.LabelStart, by(start, quantileOf(0.95, durations)), false),
			split(metric.LabelStart, by(start, quantileOf(0.99, durations)), false),
			split(metric.LabelStart, by(start, quantileOf(1, durations)), false),
		},
		"thaw-function/First-invoke penalty": {
			one(finite("a difference of two quantiles, below")),
			one(invocationsWhere(cold)), one(quantileOf(0.5, warmTimes)),
		},
		"thaw-function/Memory curve: duration":                     {one(near(warmTimes)), one(quantileOf(0.95, warmTimes))},
		"thaw-function/Memory curve: cost per million invocations": {one(perMillion)},
		"thaw-function/Memory sizes": {
			one(invocationsWhere(every)), one(near(warmTimes)),
			one(quantileOf(0.5, warmTimes)), one(quantileOf(0.95, warmTimes)), one(near(billings)),
			one(quantileOf(0.5, initTimes)), one(quantileOf(1, memories)), one(memoryShare),
			one(equals(func(t truth) float64 { return total(values(t.invocations, gbSeconds)) })), one(perMillion),
		},
		"thaw-function/Memory used":                 {{}},
		"thaw-function/Memory used and memory size": quantiles,
		"thaw-function/Errors by type, and timeouts": {
			split(metric.LabelErrorType, by(func(e emulator.Entry) string { return e.ErrorType }, invocationsWhere(failed)), true),
			charted(invocationsWhere(timedOut)),
		},
		"thaw-function/Ends of environments, by reason": {split(metric.LabelReason, func(reason string) claim {
			return equals(func(t truth) float64 {
				return number(t.shutdowns, func(e emulator.Entry) bool { return e.Reason == reason })
			})
		}, true)},
		"thaw-function/Inits by phase and status": {{sum: true, each: func(labels model.Metric) claim {
			return equals(func(t truth) float64 {
				return number(t.inits, func(e emulator.Entry) bool {
					return e.Phase == value(labels, metric.LabelPhase) && e.Status == value(labels, metric.LabelStatus)
				})
			})
		}}},
		"thaw-function/Failure rate": {overTime},
		"thaw-function/Failures of the range": {
			split(metric.LabelErrorType, by(func(e emulator.Entry) string { return e.ErrorType }, invocationsWhere(failed)), false),
		},
	}
	for _, dashboard := range []string{"thaw-fleet", "thaw-function"} {
		for name, p := range logs(dashboard) {
			all[name] = p
		}
	}
	return all
}

// compare holds the answers of every query of a panel to what is claimed of it.
func (d *asker) compare(dashboard dashboards.Dashboard, claims map[string]panel, t truth) {
	d.t.Helper()
	index := map[string]int{}
	for _, q := range dashboard.Queries() {
		name := q.Dashboard + "/" + q.Panel
		i := index[name]
		index[name]++
		p, known := claims[name]
		if !known || i >= len(p) {
			d.t.Errorf("%s: nothing is claimed of query %d: say what the ledger knows of it", name, i)
			continue
		}
		d.hold(fmt.Sprintf("%s, query %d", name, i), p[i], d.ask(q), t)
	}
}

func (d *asker) hold(name string, q query, answer model.Value, t truth) {
	d.t.Helper()
	series := 0
	check := func(labels model.Metric, got float64) {
		series++
		c := q.claim
		if q.each != nil {
			c = q.each(labels)
		}
		if c == nil {
			return
		}
		if wrong := c(got, t.only(labels)); wrong != "" {
			d.t.Errorf("%s: %s %s", name, labels, wrong)
		}
	}
	switch answer := answer.(type) {
	case model.Vector:
		for _, s := range answer {
			check(s.Metric, float64(s.Value))
		}
	case model.Matrix:
		for _, s := range answer {
			if len(s.Histograms) > 0 {
				series++
				continue
			}
			sum := 0.0
			for _, v := range s.Values {
				sum += float64(v.Value)
				if !q.sum {
					check(s.Metric, float64(v.Value))
				}
			}
			if q.sum {
				check(s.Metric, sum)
			}
		}
	default:
		d.t.Errorf("%s: answers with %T", name, answer)
	}
	if series == 0 && !q.empty {
		d.t.Errorf("%s has no answer", name)
	}
}

// Every panel is claimed of, and nothing is claimed of panels that are gone.
func TestPanelsAreKnown(t *testing.T) {
	there := map[string]bool{}
	for _, dashboard := range dashboards.All() {
		for _, q := range dashboard.Queries() {
			there[q.Dashboard+"/"+q.Panel] = true
		}
	}
	for name := range panels() {
		if !there[name] {
			t.Errorf("%s is claimed of, and is in no dashboard (there are %s)", name, strings.Join(slices.Sorted(maps.Keys(there)), "; "))
		}
	}
}
