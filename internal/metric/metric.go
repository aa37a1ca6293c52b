// Package metric declares every metric that Thaw's collector derives from
// spans, once. The connector writes them, the report and the dashboards ask for
// them, and docs/telemetry.md is generated from them.
//
// Names are those of the OpenTelemetry semantic conventions for FaaS where
// there is one, and thaw.* otherwise. In Prometheus they become what the
// translation strategy UnderscoreEscapingWithSuffixes makes of them; see
// [Definition.Prometheus].
//
// All counters are cumulative and never reset: the collector keeps their state
// over restarts. A total over a range is therefore the last value at its end
// less the last value at its start, zero where there was none. PromQL's
// increase extrapolates and is not used for counts.
package metric

import (
	"slices"
	"strings"
)

// Labels of every data point of a function. Resource attributes are not labels
// in Prometheus, so they are repeated on the points.
const (
	LabelAccount = "cloud.account.id"
	LabelRegion  = "cloud.region"
	LabelName    = "faas.name"
	LabelVersion = "faas.version"
	// LabelMemory is the configured size in MB, as people write it. The spans
	// carry faas.max_memory in bytes, as the convention wants it; as a label
	// nobody could read that.
	LabelMemory = "thaw.memory_mb"
	LabelArch   = "host.arch"
	LabelKind   = "thaw.init.kind"
)

// Further labels, on the metrics that list them.
const (
	LabelStart     = "thaw.start"
	LabelErrorType = "error.type"
	LabelPhase     = "thaw.init.phase"
	LabelDemand    = "thaw.init.demand"
	LabelStatus    = "thaw.status"
	LabelPart      = "thaw.init.part"
	LabelBasis     = "thaw.basis"
	LabelStage     = "thaw.log.stage"
	LabelFrozen    = "thaw.log.frozen"
	LabelReason    = "thaw.shutdown.reason"
	LabelQuantity  = "thaw.quantity"
	LabelRuntime   = "thaw.runtime.version"
	LabelAlias     = "thaw.alias"
	// LabelCPUEnforced is "false" where a local Lambda could not limit the CPU,
	// else absent.
	LabelCPUEnforced = "thaw.cpu.enforced"
	// LabelInstance tells collectors apart: service.instance.id. Sum over it.
	LabelInstance = "service.instance.id"
)

// Values of LabelStage and LabelQuantity.
const (
	StageArrival = "arrival"
	StageExport  = "export"

	QuantityWarmDuration = "warm_duration"
	QuantityBilled       = "billed_duration"
)

// Common returns the labels of every data point of a function.
func Common() []string {
	return []string{LabelAccount, LabelRegion, LabelName, LabelVersion, LabelMemory, LabelArch, LabelKind}
}

// Kind is the type of a metric.
type Kind string

// Kinds. Histograms are exponential, which Prometheus calls native.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Definition declares one metric.
type Definition struct {
	Name string
	Kind Kind
	// Unit is in UCUM, as OpenTelemetry wants it.
	Unit string
	// Labels are those beyond [Common]. PerCollector metrics have none of the
	// common ones.
	Labels       []string
	PerCollector bool
	// Scale of a histogram: buckets are 2^(2^-Scale) wide.
	Scale int32
	Text  string
}

// scale of the histograms that the connector fills: 2.2 % wide buckets.
const scale = 5

// The metrics.
var (
	Invocations = Definition{Name: "faas.invocations", Kind: Counter, Unit: "{invocation}", Labels: []string{LabelStart},
		Text: "Invocations: attempts at requests. thaw.start is cold, first (of an environment that was ready before the request) or warm."}
	ColdStarts = Definition{Name: "faas.coldstarts", Kind: Counter, Unit: "{coldstart}",
		Text: "Invocations that had to wait for an init or a restore."}
	Errors = Definition{Name: "faas.errors", Kind: Counter, Unit: "{error}", Labels: []string{LabelErrorType},
		Text: "Invocations that the platform reports as error or failure. Timeouts and handled exceptions are not among them."}
	Timeouts = Definition{Name: "faas.timeouts", Kind: Counter, Unit: "{timeout}",
		Text: "Invocations that ran into the function's timeout."}
	InvokeDuration = Definition{Name: "faas.invoke_duration", Kind: Histogram, Unit: "s", Scale: scale, Labels: []string{LabelStart},
		Text: "Duration of invocations as the platform reports it, init not included."}
	InitDuration = Definition{Name: "faas.init_duration", Kind: Histogram, Unit: "s", Scale: scale, Labels: []string{LabelPhase},
		Text: "Duration of inits as the platform reports it."}
	MemUsage = Definition{Name: "faas.mem_usage", Kind: Histogram, Unit: "By", Scale: scale,
		Text: "Largest memory used by the environment, as of each invocation."}
	BilledDuration = Definition{Name: "thaw.billed_duration", Kind: Histogram, Unit: "s", Scale: scale,
		Text: "Billed duration of invocations as the platform reports it, billed init included."}
	BilledGBSeconds = Definition{Name: "thaw.billed_gb_seconds", Kind: Counter, Unit: "{GB.s}",
		Text: "Billed duration of invocations times the configured memory size in GB of 1024 MB, as Lambda charges it. PromQL cannot multiply by a label."}
	InitPartDuration = Definition{Name: "thaw.init.part_duration", Kind: Histogram, Unit: "s", Scale: scale, Labels: []string{LabelPart, LabelBasis},
		Text: "Duration of the parts of inits; they add up to faas.init_duration."}
	ExtensionOverhead = Definition{Name: "thaw.extension_overhead", Kind: Histogram, Unit: "s", Scale: scale,
		Text: "What all extensions added to invocations after the runtime was done."}
	Inits = Definition{Name: "thaw.inits", Kind: Counter, Unit: "{init}", Labels: []string{LabelPhase, LabelDemand, LabelStatus},
		Text: "Inits, whether or not an invocation waited for them."}
	Shutdowns = Definition{Name: "thaw.shutdowns", Kind: Counter, Unit: "{shutdown}", Labels: []string{LabelReason},
		Text: "Shutdowns and resets of environments."}
	LogLatency = Definition{Name: "thaw.log.latency", Kind: Histogram, Unit: "s", Scale: 0, Labels: []string{LabelStage},
		Text: "Latency of log lines. arrival: record time to arrival at the extension; export: arrival to acknowledged export."}
	LogLines = Definition{Name: "thaw.log.lines", Kind: Counter, Unit: "{line}", Labels: []string{LabelFrozen},
		Text: "Log lines of functions; frozen ones were kept from arriving by a freeze."}
	PlatformDropped = Definition{Name: "thaw.log.platform_dropped", Kind: Counter, Unit: "{record}",
		Text: "Log records that the platform dropped (platform.logsDropped)."}
	ReportsMissing = Definition{Name: "thaw.reports_missing", Kind: Counter, Unit: "{report}",
		Text: "Invocations whose platform.report never came: nothing is known of their billing and memory."}
	SelfReady = Definition{Name: "thaw.self.ready_duration", Kind: Histogram, Unit: "s", Scale: scale,
		Text: "Thaw's own extension: exec to its first call of next."}
	SelfCPU = Definition{Name: "thaw.self.cpu_time", Kind: Counter, Unit: "s",
		Text: "CPU time of Thaw's own extension, counted when it shuts down."}

	// The running totals from which the variance of a ratio mean over
	// environments follows. A cluster is one environment in one clock hour; n is
	// its number of values and s their sum in seconds. The sums of n and of s
	// are the count and the sum of the histogram of the same quantity.
	Clusters = Definition{Name: "thaw.clusters", Kind: Counter, Unit: "{cluster}", Labels: []string{LabelQuantity},
		Text: "Environment-hours with at least one value of the quantity."}
	ClusterNN = Definition{Name: "thaw.cluster.nn", Kind: Counter, Unit: "1", Labels: []string{LabelQuantity},
		Text: "Sum over environment-hours of n squared."}
	ClusterSS = Definition{Name: "thaw.cluster.ss", Kind: Counter, Unit: "1", Labels: []string{LabelQuantity},
		Text: "Sum over environment-hours of s squared."}
	ClusterNS = Definition{Name: "thaw.cluster.ns", Kind: Counter, Unit: "1", Labels: []string{LabelQuantity},
		Text: "Sum over environment-hours of n times s."}

	FunctionInfo = Definition{Name: "thaw.function.info", Kind: Gauge, Unit: "{function}", Labels: []string{LabelRuntime, LabelAlias, LabelCPUEnforced},
		Text: "Always 1: what else is known of a function."}

	Heartbeat = Definition{Name: "thaw.collector.heartbeat", Kind: Gauge, Unit: "{collector}", PerCollector: true,
		Text: "Always 1 while a collector runs: shows gaps in the store."}
	Duplicates = Definition{Name: "thaw.collector.duplicates", Kind: Counter, Unit: "{span}", PerCollector: true,
		Text: "Spans that had been counted before, and were not counted again."}
	Rejected = Definition{Name: "thaw.collector.rejected", Kind: Counter, Unit: "{span}", PerCollector: true,
		Text: "Spans that claim to be Thaw's and could not be read."}
)

// All lists the metrics in the order of the documentation.
func All() []Definition {
	return slices.Concat([]Definition{
		Invocations, ColdStarts, Errors, Timeouts, InvokeDuration, InitDuration, MemUsage,
		BilledDuration, BilledGBSeconds, InitPartDuration, ExtensionOverhead, Inits, Shutdowns,
		LogLatency, LogLines, PlatformDropped, ReportsMissing, SelfReady, SelfCPU,
		Clusters, ClusterNN, ClusterSS, ClusterNS, FunctionInfo,
		Heartbeat, Duplicates, Rejected,
	}, EventTime(), Usage(), Packages())
}

// Prometheus returns the metric's name in PromQL.
func (d Definition) Prometheus() string {
	name := Label(d.Name)
	switch d.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if d.Kind == Counter {
		name += "_total"
	}
	return name
}

// Label returns the name of an attribute as a label in PromQL.
func Label(attribute string) string {
	return strings.NewReplacer(".", "_", "-", "_").Replace(attribute)
}
