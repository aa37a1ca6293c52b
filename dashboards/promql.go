package dashboards

import (
	"fmt"
	"strings"

	"github.com/thaw-lambda/thaw/internal/metric"
)

// Variables of Grafana that hold the range and the step.
const (
	wholeRange = "$__range"
	oneStep    = "$__interval"
)

// lookback is how old a sample may be to count as the value of now. The
// collector writes every live series at least every 5 minutes; twice that keeps
// one late write from looking like a gap.
const lookback = "10m"

// scope restricts queries to what the variables of a dashboard select.
type scope []string

// The scopes of the two dashboards. A function is one (account, region, name).
var (
	manyFunctions = scope{
		matcher(metric.LabelAccount, "=~", "$account"),
		matcher(metric.LabelRegion, "=~", "$region"),
		matcher(metric.LabelName, "=~", "$function"),
		matcher(metric.LabelVersion, "=~", "$version"),
		matcher(metric.LabelMemory, "=~", "$memory"),
	}
	oneFunction = scope{
		matcher(metric.LabelAccount, "=", "$account"),
		matcher(metric.LabelRegion, "=", "$region"),
		matcher(metric.LabelName, "=", "$function"),
		matcher(metric.LabelVersion, "=~", "$version"),
		matcher(metric.LabelMemory, "=~", "$memory"),
	}
	collectors = scope{}
)

func matcher(attribute, operator, value string) string {
	return fmt.Sprintf("%s%s%q", metric.Label(attribute), operator, value)
}

// of selects the series of a metric in the scope.
func (s scope) of(d metric.Definition, more ...string) string {
	matchers := strings.Join(append(append([]string{}, s...), more...), ",")
	if matchers == "" {
		return d.Prometheus()
	}
	return d.Prometheus() + "{" + matchers + "}"
}

// by lists attributes as labels to group by.
func by(attributes ...string) string {
	labels := make([]string, len(attributes))
	for i, a := range attributes {
		labels[i] = metric.Label(a)
	}
	return strings.Join(labels, ", ")
}

// eachFunction groups by what identifies a function.
var eachFunction = by(metric.LabelAccount, metric.LabelRegion, metric.LabelName)

// last is the value of a series now, or an offset ago.
func last(selector, offset string) string {
	if offset != "" {
		offset = " offset " + offset
	}
	return "last_over_time(" + selector + "[" + lookback + "]" + offset + ")"
}

// since is what each series of a counter or histogram grew by during a window
// that ends now: its last value less the one that it had a window ago.
//
// Where there was none a window ago, the series is new and counts from zero. But
// not if collectors had been running before and none was a window ago: then it
// comes back after a gap in the store, nobody knows how much of it belongs into
// the window, and it is left out. [coverage] says so.
func since(selector, window string) string {
	h := metric.Heartbeat.Prometheus()
	return last(selector, "") + " - " + last(selector, window) + " or " + last(selector, "") +
		" unless on () (last_over_time(" + h + "[" + before + "] offset " + window + ") unless on () " + last(h, window) + ")"
}

// before is how long ago a collector may have run for its absence to be a gap.
const before = "14d"

// total is what counters or histograms grew by over the range of the dashboard:
// the one rule by which Thaw counts. It belongs into instant queries, which
// Grafana asks at the end of the range.
//
// The difference is taken for each series before the sum. So a series that has
// ended, because a collector was taken out of service, takes nothing from the
// others.
func total(groups, selector string) string { return sum(groups, since(selector, wholeRange)) }

// perStep is what counters or histograms grew by during each step of a chart.
// The points of a chart add up to [total].
func perStep(groups, selector string) string { return sum(groups, since(selector, oneStep)) }

func sum(groups, expr string) string {
	if groups == "" {
		return "sum(" + expr + ")"
	}
	return "sum by (" + groups + ") (" + expr + ")"
}

// quantile of a native histogram. No observations have no quantile, rather
// than NaN.
func quantile(q float64, histogram string) string {
	return fmt.Sprintf("histogram_quantile(%g, %s) >= 0", q, histogram)
}

// largest is the upper bound of the highest bucket in use: at most 2.2 % above
// the largest value that was observed.
func largest(histogram string) string { return quantile(1, histogram) }

// mean of the observations in a native histogram.
func mean(histogram string) string { return "histogram_avg(" + histogram + ") >= 0" }

func sumOf(histogram string) string   { return "histogram_sum(" + histogram + ")" }
func countOf(histogram string) string { return "histogram_count(" + histogram + ")" }

// ratio divides, and is absent rather than NaN where there is nothing to divide
// by.
func ratio(a, b string) string { return "(" + a + ") / (" + b + " > 0)" }

// orZero is a, and zero where only b is there: no series of errors means no
// errors, as long as there were invocations.
func orZero(a, b string) string { return "(" + a + " or 0 * " + b + ")" }

// total and perStep have the same form, and so have the formulas made of them.
type counting func(groups, selector string) string

// coldRate is the share of invocations that had to wait for an init.
func (s scope) coldRate(count counting, groups string) string {
	invocations := count(groups, s.of(metric.Invocations))
	return ratio(orZero(count(groups, s.of(metric.ColdStarts)), invocations), invocations)
}

// failureRate is the share of invocations that failed or timed out.
func (s scope) failureRate(count counting, groups string) string {
	invocations := count(groups, s.of(metric.Invocations))
	return ratio(orZero(count(groups, s.of(metric.Errors)), invocations)+" + "+
		orZero(count(groups, s.of(metric.Timeouts)), invocations), invocations)
}

// initShare is the time of on-demand inits over all billed time.
func (s scope) initShare(count counting, groups string) string {
	billed := sumOf(count(groups, s.of(metric.BilledDuration)))
	inits := sumOf(count(groups, s.of(metric.InitDuration, matcher(metric.LabelKind, "=", "on-demand"))))
	return ratio(orZero(inits, billed), billed)
}

// gbSecondsCost is what the billed GB-seconds cost, at the prices that the
// dashboard's variables hold.
func (s scope) gbSecondsCost(count counting, groups string) string {
	arch := by(metric.LabelArch)
	if groups != "" && !strings.Contains(groups, arch) {
		arch = groups + ", " + arch
	} else if groups != "" {
		arch = groups
	}
	seconds := func(operator string) string {
		return count(arch, s.of(metric.BilledGBSeconds, matcher(metric.LabelArch, operator, "arm64")))
	}
	return sum(groups, "$price_x86 * "+seconds("!=")+" or $price_arm * "+seconds("="))
}

// cost is that and the price of the requests.
func (s scope) cost(count counting, groups string) string {
	invocations := count(groups, s.of(metric.Invocations))
	return orZero(s.gbSecondsCost(count, groups), invocations) + " + $price_requests / 1e6 * " + invocations
}

// costPerMillion is what a million invocations like those that were billed
// would cost.
func (s scope) costPerMillion(groups string) string {
	billed := countOf(total(groups, s.of(metric.BilledDuration)))
	return "$price_requests + 1e6 * " + ratio(s.gbSecondsCost(total, groups), billed)
}

// memorySize is the configured size in bytes. As a label it is text, with which
// PromQL cannot calculate; but a function is billed for it every second.
func (s scope) memorySize(count counting, groups string) string {
	return "1024 ^ 3 * " + ratio(count(groups, s.of(metric.BilledGBSeconds)),
		sumOf(count(groups, s.of(metric.BilledDuration))))
}

// penalty is the first-invoke penalty: the median duration of first invocations
// of environments less that of warm ones.
func (s scope) penalty(groups string) string {
	median := func(operator, starts string) string {
		return "(" + quantile(0.5, total(groups, s.of(metric.InvokeDuration, matcher(metric.LabelStart, operator, starts)))) + ")"
	}
	return median("=~", "cold|first") + " - " + median("=", "warm")
}

// coverage says whether the store holds what a total needs: 2 when a collector
// was running at the start of the range, 1 when the first of all started after
// it, 0 when the start falls into a gap, and totals are left out.
func coverage() string {
	h := metric.Heartbeat.Prometheus()
	return "0 * count(" + last(h, wholeRange) + ") + 2 or 0 * count(last_over_time(" + h + "[" + before + "] offset " + wholeRange + ")) or vector(1)"
}
