package dashboards

import "github.com/thaw-lambda/thaw/internal/metric"

// fleet shows all functions: where the cold starts are, what they cost, and
// which function to look at first.
func fleet() Dashboard {
	return dashboard("fleet.json", fleetUID, "Thaw / Fleet",
		"Cold starts, inits, duration, memory and cost of all functions that Thaw watches. Click a function to see where its time goes.",
		[]Link{toDashboard("One function", functionUID, "Where the time of one function goes")},
		selectors(true),
		lay(fleetTotals(), fleetTable(), fleetWorst(), fleetOverTime(), logs(manyFunctions), self(manyFunctions), collectorHealth()))
}

func fleetTotals() row {
	s := manyFunctions
	return row{"The range in numbers", []Panel{
		stat(look{w: 3, title: "Invocations", unit: "short",
			text: "Attempts at requests, retries included." + countText},
			total("", s.of(metric.Invocations)), plain()),
		stat(look{w: 3, title: "Cold starts", unit: "short",
			text: "Invocations that had to wait for an init or a restore. Inits that Lambda made ahead of requests are not among them." + countText},
			orZero(total("", s.of(metric.ColdStarts)), total("", s.of(metric.Invocations))), plain()),
		stat(look{w: 3, title: "Cold start rate", unit: "percentunit",
			text: "Cold starts over invocations of the range." + countText},
			s.coldRate(total, ""), limits(0.01, 0.05)),
		stat(look{w: 3, title: "Failure rate", unit: "percentunit",
			text: "Errors, failures and timeouts over invocations of the range, as the platform reports them. An exception that the handler catches is a success here." + countText},
			s.failureRate(total, ""), limits(0.01, 0.05)),
		stat(look{w: 3, title: "Init p95", unit: "s",
			text: "95 % of the inits of the range were at most this long, over all functions." + bucketText},
			quantile(0.95, total("", s.of(metric.InitDuration))), limits(1, 5)),
		stat(look{w: 3, title: "Init share of billed time", unit: "percentunit",
			text: "Time of on-demand inits over the billed time of the range, from the sums of the two histograms. Init is billed; inits that never served are in the first and not in the second, so this is at most." + countText},
			s.initShare(total, ""), limits(0.05, 0.2)),
		stat(look{w: 3, title: "Cost", unit: "currencyUSD",
			text: "Billed GB-seconds and requests of the range." + priceText},
			s.cost(total, ""), plain()),
		withWidth(coverageStat(), 3),
	}}
}

func withWidth(p Panel, w int) Panel {
	p.GridPos.W = w
	return p
}

func fleetTable() row {
	s := manyFunctions
	g := by(metric.LabelAccount, metric.LabelRegion, metric.LabelName, metric.LabelMemory)
	inits, durations, memory := total(g, s.of(metric.InitDuration)), total(g, s.of(metric.InvokeDuration)), total(g, s.of(metric.MemUsage))
	invocations := total(g, s.of(metric.Invocations))
	link := toFunction("${__data.fields.Account}", "${__data.fields.Region}", "${__data.fields.Function}")
	return row{"By function", []Panel{
		table(look{w: 24, h: 14, title: "Functions", unit: "short",
			text: "One row for each function and memory size. Counts are exact: the last value at the end of the range less that at its start. Quantiles are of the same differences of native histograms, whose buckets are 2.2 % wide. Memory max is the upper bound of the highest bucket in use. Click a function to see where its time goes." + priceText},
			"Cold starts",
			column{name: "Function", label: metric.Label(metric.LabelName), links: link},
			column{name: "Memory size", label: metric.Label(metric.LabelMemory), number: true, unit: "suffix: MB"},
			column{name: "Invocations", expr: invocations},
			column{name: "Cold starts", expr: orZero(total(g, s.of(metric.ColdStarts)), invocations)},
			column{name: "Cold rate", expr: s.coldRate(total, g), unit: "percentunit", limits: limits(0.01, 0.05)},
			column{name: "Init p50", expr: quantile(0.5, inits), unit: "s", limits: limits(1, 5)},
			column{name: "Init p95", expr: quantile(0.95, inits), unit: "s", limits: limits(1, 5)},
			column{name: "Init share", expr: s.initShare(total, g), unit: "percentunit", limits: limits(0.05, 0.2)},
			column{name: "Duration p50", expr: quantile(0.5, durations), unit: "s"},
			column{name: "Duration p95", expr: quantile(0.95, durations), unit: "s"},
			column{name: "Errors", expr: orZero(total(g, s.of(metric.Errors)), invocations), limits: limits(1, 100)},
			column{name: "Timeouts", expr: orZero(total(g, s.of(metric.Timeouts)), invocations), limits: limits(1, 100)},
			column{name: "Memory max", expr: largest(memory), unit: "bytes"},
			column{name: "Memory max of size", expr: "(" + largest(memory) + ") / (" + s.memorySize(total, g) + ")", unit: "percentunit", limits: limits(0.8, 0.95)},
			column{name: "GB-seconds", expr: total(g, s.of(metric.BilledGBSeconds))},
			column{name: "Cost", expr: s.cost(total, g), unit: "currencyUSD"},
			column{name: "Region", label: metric.Label(metric.LabelRegion)},
			column{name: "Account", label: metric.Label(metric.LabelAccount)},
		),
	}}
}

func fleetWorst() row {
	s := manyFunctions
	top := func(expr string) Target {
		return now(legend(metric.LabelName)+" "+legend(metric.LabelRegion)+" "+legend(metric.LabelAccount), "topk(10, "+expr+")")
	}
	return row{"Where to look first", []Panel{
		gauges(look{w: 8, title: "Slowest init", unit: "s",
			text: "The ten functions with the slowest single init of the range: the upper bound of the highest bucket in use, at most 2.2 % too high."},
			top(largest(total(eachFunction, s.of(metric.InitDuration)))), limits(1, 5), toFunctionOfSeries()...),
		gauges(look{w: 8, title: "Most time in init", unit: "s",
			text: "The ten functions that spent the most time in init over the range, from the sum of the histogram. An init that nobody waited for counts too." + countText},
			top(sumOf(total(eachFunction, s.of(metric.InitDuration)))), plain(), toFunctionOfSeries()...),
		gauges(look{w: 8, title: "Highest cold start rate", unit: "percentunit",
			text: "The ten functions with the highest share of invocations that waited for an init, of those with at least 100 invocations in the range: below that the rate says little." + countText},
			top("("+s.coldRate(total, eachFunction)+") and "+total(eachFunction, s.of(metric.Invocations))+" >= 100"), limits(0.01, 0.05), toFunctionOfSeries()...),
	}}
}

func fleetOverTime() row {
	s := manyFunctions
	return row{"Over time", []Panel{
		bars(look{title: "Invocations by what they found", unit: "short",
			text: "cold: waited for an init. first: the first of an environment that was ready before the request. warm: the rest." + stepText},
			over(legend(metric.LabelStart), perStep(by(metric.LabelStart), s.of(metric.Invocations)))).
			colour("cold", "blue", "first", "light-blue", "warm", "orange"),
		bars(look{title: "Cold starts by kind of init", unit: "short",
			text: "Invocations that had to wait, by what their environment was made for. Cold starts under provisioned-concurrency mean that load spills over it or that it was being allocated." + stepText},
			over(legend(metric.LabelKind), perStep(by(metric.LabelKind), s.of(metric.ColdStarts)))),
		lines(look{title: "Cold start rate over time", unit: "percentunit",
			text: "Cold starts over invocations." + stepText},
			over("cold start rate", s.coldRate(perStep, ""))).colour("cold start rate", "blue"),
		lines(look{title: "Init share of billed time over time", unit: "percentunit",
			text: "Time of on-demand inits over billed time. It can be above 100 % in a step where environments were prepared and not used." + stepText},
			over("init share", s.initShare(perStep, ""))).colour("init share", "blue"),
		heatmap(look{title: "Init durations", unit: "s",
			text: "How many inits took how long, over all functions: the buckets of the native histogram as they are. Needs a store with native histograms." + stepText},
			perStep("", s.of(metric.InitDuration))),
		quantiles(look{title: "Init duration", unit: "s",
			text: "Quantiles over the inits of all functions." + bucketText + stepText},
			s.of(metric.InitDuration)),
		bars(look{title: "Inits by demand", unit: "short",
			text: "on-path: a request was waiting. proactive: ready more than 1 s before its first request. uncertain: between 0.1 and 1 s. unused: shut down without a request. Lambda does not say which; the gap between init and invocation does." + stepText},
			over(legend(metric.LabelDemand), perStep(by(metric.LabelDemand), s.of(metric.Inits)))).
			colour("on-path", "blue", "uncertain", "yellow", "proactive", "green", "unused", "text"),
		bars(look{title: "Cost over time", unit: "currencyUSD",
			text: "Billed GB-seconds and requests." + priceText + stepText},
			over("cost", s.cost(perStep, ""))).colour("cost", "green"),
	}}
}

func collectorHealth() row {
	s := collectors
	return row{"Thaw's collectors", []Panel{
		lines(look{w: 8, title: "Collectors alive", unit: "short",
			text: "Collectors whose heartbeat is in the store. A hole here is a gap in every number of that time, and the step right after it is left out."},
			over("collectors", "count("+metric.Heartbeat.Prometheus()+")")).colour("collectors", "green"),
		bars(look{w: 8, title: "Spans received twice", unit: "short",
			text: "Spans that had been counted before and were not counted again. Senders repeat what was not acknowledged, so some are normal." + stepText},
			over("duplicates", perStep("", s.of(metric.Duplicates)))).colour("duplicates", "yellow"),
		bars(look{w: 8, title: "Spans rejected", unit: "short",
			text: "Spans that claim to be Thaw's and could not be read: a version that does not match, or something else's spans. They are in no number." + stepText},
			over("rejected", perStep("", s.of(metric.Rejected)))).colour("rejected", "red"),
	}}
}
