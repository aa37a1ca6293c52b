package dashboards

import "github.com/thaw-lambda/thaw/internal/metric"

// The uids are part of URLs that people keep. They never change.
const (
	fleetUID    = "thaw-fleet"
	functionUID = "thaw-function"
)

// Prices of us-east-1, first tier, from the AWS Price List API as of September
// 2026. They are what the dashboards start with; whoever has others types them
// in at the head of the dashboard.
const (
	priceX86      = "0.0000166667"
	priceARM      = "0.0000133334"
	priceRequests = "0.20"
)

const priceText = " Estimated at the prices at the head of the dashboard, which start as those of us-east-1 in the first tier (x86_64 $0.0000166667 and arm64 $0.0000133334 a GB-second, $0.20 a million requests): no free tier, no savings plan, provisioned concurrency as if on demand, no SnapStart, no /tmp over 512 MB."

const countText = " Counted exactly: the last value of the counter at the end of the range less that at its start, nothing extrapolated."

const bucketText = " From a native histogram with buckets 2.2 % wide; as coarse as its buckets if the store keeps classic ones."

const stepText = " Each bar or point is what happened in the step that ends there."

// All returns the dashboards.
func All() []Dashboard { return []Dashboard{fleet(), function()} }

// dashboard is what both have in common.
func dashboard(file, uid, title, description string, links []Link, variables []Variable, panels []Panel) Dashboard {
	return Dashboard{
		File: file, UID: uid, Title: title, Description: description,
		Tags: []string{"thaw", "aws-lambda", "cold-start"}, SchemaVersion: schemaVersion, Version: 1,
		Editable: true, GraphTooltip: 1, Timezone: "utc", Refresh: "1m",
		Time: Object{"from": "now-24h", "to": "now"},
		Templating: Templating{List: append(append([]Variable{{
			Name: "datasource", Label: "Data source", Description: "A Prometheus-compatible store with Thaw's metrics: the collector itself, Prometheus 3, Mimir.",
			Type: "datasource", Query: "prometheus", Refresh: 1, Current: Object{}, Options: []Object{},
		}}, variables...),
			entry("price_x86", "USD per GB-s, x86_64", "Price of a billed GB-second on x86_64.", priceX86),
			entry("price_arm", "USD per GB-s, arm64", "Price of a billed GB-second on arm64.", priceARM),
			entry("price_requests", "USD per million requests", "Price of a million requests.", priceRequests),
		)},
		Annotations: Object{"list": []Object{{
			"builtIn": 1, "datasource": Object{"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
			"iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
		}}},
		Links: links, Panels: panels,
	}
}

// selectors are the variables that choose functions, each restricted by those
// before it.
func selectors(many bool) []Variable {
	operator := "="
	if many {
		operator = "=~"
	}
	var chosen scope
	next := func(name, label, text, attribute string, multi bool) Variable {
		query := "label_values(" + chosen.of(metric.Invocations) + ", " + metric.Label(attribute) + ")"
		chosen = append(chosen, matcher(attribute, operator, "$"+name))
		return choice(name, label, text, query, multi)
	}
	list := []Variable{
		next("account", "Account", "AWS account of the function.", metric.LabelAccount, many),
		next("region", "Region", "AWS region of the function.", metric.LabelRegion, many),
		next("function", "Function", "Name of the function. Names repeat across accounts and regions.", metric.LabelName, many),
	}
	operator = "=~"
	version := next("version", "Version", "Version that runs: a number or $LATEST.", metric.LabelVersion, true)
	version.Sort = 4
	memory := next("memory", "Memory (MB)", "Configured memory size.", metric.LabelMemory, true)
	memory.Sort = 3
	return append(list, version, memory)
}

// toFunction is a link to the dashboard of one function, whose labels the three
// expressions give in Grafana's language of links.
func toFunction(account, region, name string) []Link {
	return []Link{{
		Title: "Show this function",
		URL: "/d/" + functionUID + "?var-account=" + account + "&var-region=" + region + "&var-function=" + name +
			"&${version:queryparam}&${memory:queryparam}&${datasource:queryparam}" +
			"&${price_x86:queryparam}&${price_arm:queryparam}&${price_requests:queryparam}&${__url_time_range}",
	}}
}

// toFunctionOfSeries links from a series that has the labels of a function.
func toFunctionOfSeries() []Link {
	field := func(attribute string) string { return "${__field.labels." + metric.Label(attribute) + "}" }
	return toFunction(field(metric.LabelAccount), field(metric.LabelRegion), field(metric.LabelName))
}

// toDashboard is a link at the head of a dashboard.
func toDashboard(title, uid, tooltip string) Link {
	return Link{Title: title, URL: "/d/" + uid, Type: "link", Icon: "dashboard", Tooltip: tooltip, Tags: []string{}, KeepTime: true}
}

// legend makes the legend of a series from one of its labels.
func legend(attribute string) string { return "{{" + metric.Label(attribute) + "}}" }

// quantiles draws three quantiles of a native histogram over time.
func quantiles(l look, selector string) Panel {
	h := perStep("", selector)
	return lines(l, over("p50", quantile(0.5, h)), over("p95", quantile(0.95, h)), over("p99", quantile(0.99, h))).
		colour("p50", "green", "p95", "orange", "p99", "red")
}

// coverageStat warns of totals that cannot be right.
func coverageStat() Panel {
	p := stat(look{w: 4, title: "Start of the range",
		text: "Whether the totals here can be known, from the heartbeat that a collector writes while it runs. covered: one was running when the range starts. new: the first of all started later, and everything counts from zero. GAP: collectors ran in the 14 days before, but none when the range starts; how much was counted in the range cannot be known, and totals are left out: move the start of the range.",
		unit: "none"}, coverage(), Object{"mode": "absolute", "steps": []Object{
		{"color": "red", "value": nil}, {"color": "blue", "value": 1}, {"color": "green", "value": 2},
	}})
	p.FieldConfig.Defaults.Mappings = []Object{{"type": "value", "options": Object{
		"0": Object{"text": "GAP", "index": 0}, "1": Object{"text": "new", "index": 1}, "2": Object{"text": "covered", "index": 2},
	}}}
	return p
}

// logs are the panels about log lines, the same on both dashboards.
func logs(s scope) row {
	latency := func(stage string) string { return s.of(metric.LogLatency, matcher(metric.LabelStage, "=", stage)) }
	scaleText := " From a native histogram of scale 0: a quantile is known to a factor of two."
	return row{"How late logs are, and what is lost", []Panel{
		quantiles(look{title: "Log latency: to the extension", unit: "s",
			text: "From the time of a log record to its arrival at the extension. Late ones mostly wait for the next invocation, because the environment is frozen." + scaleText + stepText},
			latency(metric.StageArrival)),
		quantiles(look{title: "Log latency: to the backend", unit: "s",
			text: "From the arrival of a batch at the extension to its acknowledged export. What could not be sent before the freeze goes out with the next invocation." + scaleText + stepText},
			latency(metric.StageExport)),
		bars(look{w: 8, title: "Log lines", unit: "short",
			text: "Log lines of functions. frozen=true: a freeze of the environment kept the line from arriving." + stepText},
			over("frozen="+legend(metric.LabelFrozen), perStep(by(metric.LabelFrozen), s.of(metric.LogLines)))),
		stat(look{w: 4, h: 8, title: "Frozen share", unit: "percentunit",
			text: "Log lines that a freeze kept from arriving, over all log lines of the range." + countText},
			ratio(orZero(total("", s.of(metric.LogLines, matcher(metric.LabelFrozen, "=", "true"))), total("", s.of(metric.LogLines))), total("", s.of(metric.LogLines))),
			limits(0.2, 0.5)),
		stat(look{w: 4, h: 8, title: "Log latency p95", unit: "s",
			text: "95 % of the log lines of the range arrived at the extension within this time of being written." + scaleText},
			quantile(0.95, total("", latency(metric.StageArrival))), limits(10, 60)),
		stat(look{w: 4, h: 8, title: "Dropped by Lambda", unit: "short",
			text: "Log records that the platform itself dropped (platform.logsDropped), because a subscriber was too slow." + countText},
			orZero(total("", s.of(metric.PlatformDropped)), total("", s.of(metric.Invocations))), limits(1, 100)),
		stat(look{w: 4, h: 8, title: "Reports missing", unit: "percentunit",
			text: "Invocations whose platform.report never came, over all invocations of the range: nothing is known of their billing and memory, so GB-seconds and cost are too low by about as much." + countText},
			ratio(orZero(total("", s.of(metric.ReportsMissing)), total("", s.of(metric.Invocations))), total("", s.of(metric.Invocations))), limits(0.01, 0.05)),
	}}
}

// self are the panels about Thaw's own cost, the same on both dashboards.
func self(s scope) row {
	return row{"What Thaw itself costs", []Panel{
		quantiles(look{w: 8, title: "Extension: exec to ready", unit: "s",
			text: "Thaw's own extension, in each init: from its exec to its first call of next, by its own clock. Extensions start beside the runtime, so this is an upper bound of what it adds to a cold start." + bucketText + stepText},
			s.of(metric.SelfReady)),
		quantiles(look{w: 8, title: "Overhead after the response", unit: "s",
			text: "What all extensions, not only Thaw's, added to an invocation after the runtime was done, as the platform reports it (extensionOverhead). It is billed." + bucketText + stepText},
			s.of(metric.ExtensionOverhead)),
		stat(look{w: 4, h: 8, title: "CPU per environment", unit: "s",
			text: "CPU time of Thaw's own extension, which it states when its environment shuts down, over the shutdowns of the range. Environments that are killed without notice are in neither." + countText},
			ratio(total("", s.of(metric.SelfCPU)), total("", s.of(metric.Shutdowns))), limits(0.5, 2)),
		stat(look{w: 4, h: 8, title: "Overhead, share of billed time", unit: "percentunit",
			text: "Time that all extensions added after the response, over the billed time of the range, from the sums of the two histograms." + countText},
			ratio(orZero(sumOf(total("", s.of(metric.ExtensionOverhead))), sumOf(total("", s.of(metric.BilledDuration)))), sumOf(total("", s.of(metric.BilledDuration)))),
			limits(0.01, 0.05)),
	}}
}
