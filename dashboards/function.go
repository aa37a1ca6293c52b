package dashboards

import "github.com/thaw-lambda/thaw/internal/metric"

// function shows one function: how often it is cold, where its init goes, what
// another memory size would do, and what goes wrong.
func function() Dashboard {
	return dashboard("function.json", functionUID, "Thaw / Function",
		"One AWS Lambda function: how often it starts cold, which part of the init takes how long, what its memory size does to duration and cost, and what fails.",
		[]Link{toDashboard("All functions", fleetUID, "Where the cold starts are")},
		selectors(false),
		lay(functionTotals(), functionColdStarts(), functionInit(), functionDuration(), functionMemory(), functionFailures(), logs(oneFunction), self(oneFunction)))
}

func functionTotals() row {
	s := oneFunction
	return row{"The range in numbers", []Panel{
		stat(look{w: 3, title: "Invocations", unit: "short",
			text: "Attempts at requests, retries included." + countText},
			total("", s.of(metric.Invocations)), plain()),
		stat(look{w: 3, title: "Cold starts", unit: "short",
			text: "Invocations that had to wait for an init or a restore." + countText},
			orZero(total("", s.of(metric.ColdStarts)), total("", s.of(metric.Invocations))), plain()),
		stat(look{w: 3, title: "Cold start rate", unit: "percentunit",
			text: "Cold starts over invocations of the range." + countText},
			s.coldRate(total, ""), limits(0.01, 0.05)),
		stat(look{w: 3, title: "Init p50", unit: "s",
			text: "Half of the inits of the range were at most this long." + bucketText},
			quantile(0.5, total("", s.of(metric.InitDuration))), limits(1, 5)),
		stat(look{w: 3, title: "Init p95", unit: "s",
			text: "95 % of the inits of the range were at most this long." + bucketText},
			quantile(0.95, total("", s.of(metric.InitDuration))), limits(1, 5)),
		stat(look{w: 3, title: "Init share of billed time", unit: "percentunit",
			text: "Time of on-demand inits over the billed time of the range, from the sums of the two histograms. Inits that never served are in the first and not in the second, so this is at most." + countText},
			s.initShare(total, ""), limits(0.05, 0.2)),
		stat(look{w: 3, title: "Invocations per init", unit: "short",
			text: "How many requests an environment serves from one init to the next: invocations over inits of the range. Environments that began before the range or go on after it blur the number where the range is short." + countText},
			ratio(total("", s.of(metric.Invocations)), total("", s.of(metric.Inits))), plain()),
		stat(look{w: 3, title: "Cost", unit: "currencyUSD",
			text: "Billed GB-seconds and requests of the range." + priceText},
			s.cost(total, ""), plain()),
		table(look{w: 20, h: 6, title: "What runs", unit: "short",
			text: "Versions and configurations of which the collector knows now, with their runtime and alias, and the architecture and kind of their environments. From an info metric that is always 1."},
			"Version",
			column{name: "Version", label: metric.Label(metric.LabelVersion)},
			column{name: "Alias", label: metric.Label(metric.LabelAlias)},
			column{name: "Memory size", label: metric.Label(metric.LabelMemory), number: true, unit: "suffix: MB"},
			column{name: "Architecture", label: metric.Label(metric.LabelArch)},
			column{name: "Runtime", label: metric.Label(metric.LabelRuntime)},
			column{name: "Kind of init", label: metric.Label(metric.LabelKind)},
			column{name: "Collectors", expr: sum(by(metric.LabelVersion, metric.LabelAlias, metric.LabelMemory, metric.LabelArch, metric.LabelRuntime, metric.LabelKind),
				last(s.of(metric.FunctionInfo), ""))},
		),
		withHeight(coverageStat(), 6),
	}}
}

func withHeight(p Panel, h int) Panel {
	p.GridPos.H = h
	return p
}

func functionColdStarts() row {
	s := oneFunction
	g := by(metric.LabelVersion)
	inits := total(g, s.of(metric.InitDuration))
	warm := total(g, s.of(metric.InvokeDuration, matcher(metric.LabelStart, "=", "warm")))
	invocations := total(g, s.of(metric.Invocations))
	return row{"How often, and since which version", []Panel{
		lines(look{title: "Cold start rate by version", unit: "percentunit",
			text: "Cold starts over invocations, for each version. A rise right after a deploy is the deploy itself: every environment of the old version is replaced." + stepText},
			over("version "+legend(metric.LabelVersion), s.coldRate(perStep, g))),
		bars(look{title: "Invocations by what they found", unit: "short",
			text: "cold: waited for an init. first: the first of an environment that was ready before the request. warm: the rest." + stepText},
			over(legend(metric.LabelStart), perStep(by(metric.LabelStart), s.of(metric.Invocations)))).
			colour("cold", "blue", "first", "light-blue", "warm", "orange"),
		bars(look{title: "Inits by demand", unit: "short",
			text: "on-path: a request was waiting. proactive: ready more than 1 s before its first request. uncertain: between 0.1 and 1 s. unused: shut down without a request. Lambda does not say which; the gap between init and invocation does." + stepText},
			over(legend(metric.LabelDemand), perStep(by(metric.LabelDemand), s.of(metric.Inits)))).
			colour("on-path", "blue", "uncertain", "yellow", "proactive", "green", "unused", "text"),
		table(look{title: "What the last deploy changed", unit: "short",
			text: "One row for each version in the range. Counts are exact differences of counters, quantiles of the same differences of native histograms, whose buckets are 2.2 % wide. Compare versions only where both have many invocations and the same memory size."},
			"Version",
			column{name: "Version", label: metric.Label(metric.LabelVersion)},
			column{name: "Invocations", expr: invocations},
			column{name: "Cold rate", expr: s.coldRate(total, g), unit: "percentunit", limits: limits(0.01, 0.05)},
			column{name: "Failure rate", expr: s.failureRate(total, g), unit: "percentunit", limits: limits(0.01, 0.05)},
			column{name: "Init p50", expr: quantile(0.5, inits), unit: "s"},
			column{name: "Init p95", expr: quantile(0.95, inits), unit: "s"},
			column{name: "Warm p50", expr: quantile(0.5, warm), unit: "s"},
			column{name: "Warm p95", expr: quantile(0.95, warm), unit: "s"},
			column{name: "USD per million", expr: s.costPerMillion(g), unit: "currencyUSD"},
		),
	}}
}

func functionInit() row {
	s := oneFunction
	parts, inits := s.of(metric.InitPartDuration), s.of(metric.InitDuration)
	perInit := func(count counting, groups string) string {
		return sumOf(count(groups, parts)) + " / on () group_left () (" + countOf(count("", inits)) + " > 0)"
	}
	g := by(metric.LabelPart, metric.LabelBasis)
	partText := " extensions: until the extensions were registered. runtime and function: as the hook in the runtime measured them; runtime+function where there is no hook, because nothing tells them apart. restore: of a SnapStart snapshot. unattributed: what the parts do not explain."
	return row{"Where the init goes", []Panel{
		bars(look{title: "Init by part, mean", unit: "s",
			text: "Time in each part over the number of inits, so that the stack is the mean init." + partText + " From the sums and counts of native histograms, so exact." + stepText},
			over(legend(metric.LabelPart), perInit(perStep, by(metric.LabelPart)))).
			colour("extensions", "purple", "thaw", "red", "runtime", "blue", "function", "orange", "runtime+function", "yellow", "restore", "green", "unattributed", "text"),
		table(look{title: "Parts of the init", unit: "s",
			text: "The same for the whole range. derived: a difference of two times that the platform reported, and not a measurement of its own. Share is of the time of all inits." + partText + bucketText},
			"Share",
			column{name: "Part", label: metric.Label(metric.LabelPart)},
			column{name: "Basis", label: metric.Label(metric.LabelBasis)},
			column{name: "Inits with it", expr: countOf(total(g, parts)), unit: "short"},
			column{name: "Mean of all inits", expr: perInit(total, g)},
			column{name: "p50", expr: quantile(0.5, total(g, parts))},
			column{name: "p95", expr: quantile(0.95, total(g, parts))},
			column{name: "Longest", expr: largest(total(g, parts))},
			column{name: "Share", expr: sumOf(total(g, parts)) + " / on () group_left () (" + sumOf(total("", inits)) + " > 0)", unit: "percentunit"},
		),
		heatmap(look{title: "Init durations", unit: "s",
			text: "How many inits took how long: the buckets of the native histogram as they are. Two bands are two populations: two versions, two memory sizes, or inits that hit a slow dependency. Needs a store with native histograms." + stepText},
			perStep("", inits)),
		quantiles(look{title: "Init duration", unit: "s",
			text: "Quantiles of inits as the platform reports them, those that were run again inside an invocation included." + bucketText + stepText},
			inits),
	}}
}

func functionDuration() row {
	s := oneFunction
	durations := func(operator, starts string) string {
		return s.of(metric.InvokeDuration, matcher(metric.LabelStart, operator, starts))
	}
	line := func(q float64) []Target {
		h := perStep(by(metric.LabelStart), s.of(metric.InvokeDuration))
		return []Target{over(legend(metric.LabelStart), quantile(q, h))}
	}
	g := by(metric.LabelStart)
	pair := by(metric.LabelVersion, metric.LabelMemory)
	h := total(g, s.of(metric.InvokeDuration))
	return row{"How long invocations take", []Panel{
		lines(look{w: 8, title: "Duration p50: cold, first, warm", unit: "s",
			text: "Median duration of invocations, init not included, by what they found. That a cold one is slower even without its init is the first-invoke penalty." + bucketText + stepText}, line(0.5)...).
			colour("cold", "blue", "first", "light-blue", "warm", "orange"),
		lines(look{w: 8, title: "Duration p95: cold, first, warm", unit: "s",
			text: "95 % of the invocations took at most this long, init not included." + bucketText + stepText}, line(0.95)...).
			colour("cold", "blue", "first", "light-blue", "warm", "orange"),
		heatmap(look{w: 8, title: "Durations of warm invocations", unit: "s",
			text: "How many warm invocations took how long: the buckets of the native histogram as they are. Needs a store with native histograms." + stepText},
			perStep("", durations("=", "warm"))),
		table(look{title: "Duration by what was found", unit: "s",
			text: "Durations of the range as the platform reports them, init not included. Counts and means are exact." + bucketText},
			"Invocations",
			column{name: "Start", label: metric.Label(metric.LabelStart)},
			column{name: "Invocations", expr: countOf(h), unit: "short"},
			column{name: "Mean", expr: mean(h)},
			column{name: "p50", expr: quantile(0.5, h)},
			column{name: "p95", expr: quantile(0.95, h)},
			column{name: "p99", expr: quantile(0.99, h)},
			column{name: "Longest", expr: largest(h)},
		),
		table(look{title: "First-invoke penalty", unit: "s",
			text: "Median duration of the first invocation of an environment, cold or not, less the warm median of the same version and memory size. It is the work that every environment does on its first request: connections, caches, lazy imports. What of it can move into init no longer makes a request wait where init is ahead of demand." + bucketText},
			"Penalty",
			column{name: "Version", label: metric.Label(metric.LabelVersion)},
			column{name: "Memory size", label: metric.Label(metric.LabelMemory), number: true, unit: "suffix: MB"},
			column{name: "Penalty", expr: s.penalty(pair), limits: limits(0.1, 1)},
			column{name: "First invocations", expr: countOf(total(pair, durations("=~", "cold|first"))), unit: "short"},
			column{name: "Warm p50", expr: quantile(0.5, total(pair, durations("=", "warm")))},
		),
	}}
}

func functionMemory() row {
	s := oneFunction
	g := by(metric.LabelMemory, metric.LabelArch)
	size := by(metric.LabelMemory)
	warm := func(groups string) string {
		return total(groups, s.of(metric.InvokeDuration, matcher(metric.LabelStart, "=", "warm")))
	}
	x := column{name: "Memory size", label: metric.Label(metric.LabelMemory), number: true, unit: "suffix: MB"}
	measured := " Only sizes that ran are here: nothing is predicted. `thaw tune` measures others, `thaw report` predicts them and says how sure it is. Sizes that ran at different times saw different load."
	memory := perStep("", s.of(metric.MemUsage))
	return row{"Which memory size", []Panel{
		chart(look{title: "Memory curve: duration", unit: "s",
			text: "Duration of warm invocations of the range at each memory size that ran. The mean is exact." + bucketText + measured},
			x,
			column{name: "Mean", expr: mean(warm(size))},
			column{name: "p95", expr: quantile(0.95, warm(size))},
		).colour("Mean", "orange", "p95", "red"),
		chart(look{title: "Memory curve: cost per million invocations", unit: "currencyUSD",
			text: "What a million invocations like those of the range would cost at each memory size that ran, billed init and the price of the requests included: billed GB-seconds over billed invocations." + priceText + measured},
			x,
			column{name: "USD per million", expr: s.costPerMillion(size)},
		).colour("USD per million", "green"),
		table(look{w: 24, h: 7, title: "Memory sizes", unit: "s",
			text: "Each memory size and architecture that ran in the range. Durations are of warm invocations; billed is of all, billed init included. Memory max is the upper bound of the highest bucket in use, at most 2.2 % too high; it never shrinks in the life of an environment." + bucketText + priceText + measured},
			"Invocations",
			x,
			column{name: "Architecture", label: metric.Label(metric.LabelArch)},
			column{name: "Invocations", expr: total(g, s.of(metric.Invocations)), unit: "short"},
			column{name: "Warm mean", expr: mean(warm(g))},
			column{name: "Warm p50", expr: quantile(0.5, warm(g))},
			column{name: "Warm p95", expr: quantile(0.95, warm(g))},
			column{name: "Billed mean", expr: mean(total(g, s.of(metric.BilledDuration)))},
			column{name: "Init p50", expr: quantile(0.5, total(g, s.of(metric.InitDuration)))},
			column{name: "Memory max", expr: largest(total(g, s.of(metric.MemUsage))), unit: "bytes"},
			column{name: "Memory max of size", expr: "(" + largest(total(g, s.of(metric.MemUsage))) + ") / (" + s.memorySize(total, g) + ")", unit: "percentunit", limits: limits(0.8, 0.95)},
			column{name: "GB-seconds", expr: total(g, s.of(metric.BilledGBSeconds)), unit: "short"},
			column{name: "USD per million", expr: s.costPerMillion(g), unit: "currencyUSD"},
		),
		heatmap(look{title: "Memory used", unit: "bytes",
			text: "The largest memory that an environment had used so far, as of each invocation: the buckets of the native histogram as they are. A band that climbs is a leak, or a cache. Needs a store with native histograms." + stepText},
			memory),
		lines(look{title: "Memory used and memory size", unit: "bytes",
			text: "Quantiles of the memory used against the configured size, which follows from billed GB-seconds over billed seconds; with several sizes at once it is their mean by billed time." + bucketText + stepText},
			over("p50", quantile(0.5, memory)), over("max", largest(memory)), over("size", s.memorySize(perStep, ""))).
			colour("p50", "green", "max", "orange", "size", "red"),
	}}
}

func functionFailures() row {
	s := oneFunction
	return row{"What goes wrong", []Panel{
		bars(look{w: 8, title: "Errors by type, and timeouts", unit: "short",
			text: "Invocations that the platform reports as error or failure, by its error type, and those that ran into the function's timeout. An exception that the handler catches is a success here." + stepText},
			over(legend(metric.LabelErrorType), perStep(by(metric.LabelErrorType), s.of(metric.Errors))),
			over("timeout", perStep("", s.of(metric.Timeouts)))).colour("timeout", "red"),
		bars(look{w: 8, title: "Ends of environments, by reason", unit: "short",
			text: "spindown: Lambda reclaimed the environment. timeout and failure: it was reset, and its next request waits for another init, inside the invocation." + stepText},
			over(legend(metric.LabelReason), perStep(by(metric.LabelReason), s.of(metric.Shutdowns)))).
			colour("spindown", "green", "timeout", "red", "failure", "orange"),
		bars(look{w: 8, title: "Inits by phase and status", unit: "short",
			text: "init: the ordinary phase. invoke: an init that failed or was suppressed and was run again inside an invocation, under its CPU and its timeout." + stepText},
			over(legend(metric.LabelPhase)+" "+legend(metric.LabelStatus), perStep(by(metric.LabelPhase, metric.LabelStatus), s.of(metric.Inits)))),
		lines(look{title: "Failure rate", unit: "percentunit",
			text: "Errors, failures and timeouts over invocations." + stepText},
			over("failure rate", s.failureRate(perStep, ""))).colour("failure rate", "red"),
		table(look{title: "Failures of the range", unit: "short",
			text: "Invocations that the platform reports as error or failure, by its error type and the version. Timeouts are a number of their own, above." + countText},
			"Invocations",
			column{name: "Error type", label: metric.Label(metric.LabelErrorType)},
			column{name: "Version", label: metric.Label(metric.LabelVersion)},
			column{name: "Invocations", expr: total(by(metric.LabelErrorType, metric.LabelVersion), s.of(metric.Errors)) + " > 0"},
		),
	}}
}
