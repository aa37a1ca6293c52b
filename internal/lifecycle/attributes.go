package lifecycle

// Resource attributes. All of them but those of thaw.* are of the
// OpenTelemetry semantic conventions (cloud, faas, host, service).
const (
	AttrCloudProvider  = "cloud.provider"
	AttrCloudPlatform  = "cloud.platform"
	AttrCloudRegion    = "cloud.region"
	AttrCloudAccountID = "cloud.account.id"
	AttrCloudResource  = "cloud.resource_id"
	AttrFaasName       = "faas.name"
	AttrFaasVersion    = "faas.version"
	AttrFaasInstance   = "faas.instance"
	AttrFaasMaxMemory  = "faas.max_memory"
	AttrHostArch       = "host.arch"
	AttrServiceName    = "service.name"
	AttrRuntimeVersion = "thaw.runtime.version"
	AttrCPUEnforced    = "thaw.cpu.enforced"
)

// Span attributes.
const (
	AttrSpanType = "thaw.span.type"

	AttrInvocationID = "faas.invocation_id"
	AttrColdStart    = "faas.coldstart"
	AttrInvokedARN   = "aws.lambda.invoked_arn"
	AttrErrorType    = "error.type"
	AttrStatus       = "thaw.status"
	AttrStart        = "thaw.start"
	AttrAlias        = "thaw.alias"
	AttrWait         = "thaw.wait_ms"

	AttrRunDuration      = "thaw.run.duration_ms"
	AttrResponseLatency  = "thaw.run.response_latency_ms"
	AttrResponseDuration = "thaw.run.response_duration_ms"
	AttrRuntimeOverhead  = "thaw.run.runtime_overhead_ms"
	AttrProducedBytes    = "thaw.run.produced_bytes"

	AttrReportReceived    = "thaw.report.received"
	AttrDuration          = "thaw.report.duration_ms"
	AttrBilled            = "thaw.report.billed_duration_ms"
	AttrReportInit        = "thaw.report.init_duration_ms"
	AttrReportRestore     = "thaw.report.restore_duration_ms"
	AttrExtensionOverhead = "thaw.report.extension_overhead_ms"
	AttrMemoryUsed        = "thaw.report.memory_used"
	AttrPlatformDropped   = "thaw.report.platform_dropped_records"

	AttrLogLines   = "thaw.log.lines"
	AttrLogBytes   = "thaw.log.bytes"
	AttrLogFrozen  = "thaw.log.frozen"
	attrLogArrival = "thaw.log.arrival"
	attrLogExport  = "thaw.log.export"

	AttrInitKind      = "thaw.init.kind"
	AttrInitPhase     = "thaw.init.phase"
	AttrInitDemand    = "thaw.init.demand"
	AttrInitDuration  = "thaw.init.duration_ms"
	attrInitPart      = "thaw.init.part."
	AttrBasis         = "thaw.basis"
	AttrReason        = "thaw.shutdown.reason"
	AttrInvocations   = "thaw.environment.invocations"
	AttrLifetime      = "thaw.environment.lifetime_ms"
	AttrReceived      = "thaw.account.events_received"
	AttrMalformed     = "thaw.account.events_malformed"
	AttrExported      = "thaw.account.spans_exported"
	AttrDropped       = "thaw.account.spans_dropped"
	AttrExportedBytes = "thaw.account.bytes_exported"
	AttrExportFailed  = "thaw.account.export_failures"
	AttrPlatformLost  = "thaw.account.platform_dropped_records"
	AttrMissing       = "thaw.account.reports_missing"
)

// SpanType says what a span of ours is. The types part and run repeat for the
// eye what other spans carry.
type SpanType string

// Types of span.
const (
	SpanInvocation SpanType = "invocation"
	SpanInit       SpanType = "init"
	SpanReport     SpanType = "report"
	SpanShutdown   SpanType = "shutdown"
	SpanRun        SpanType = "run"
	SpanPart       SpanType = "part"
)

// Attribute documents one attribute: docs/telemetry.md is generated from the
// list, and a test holds it against what is written.
type Attribute struct {
	Name string
	On   string
	Type string
	Unit string
	Text string
}

// Attributes lists every attribute that Thaw writes on a resource or a span.
func Attributes() []Attribute {
	latency := func(prefix, text string) []Attribute {
		on := "invocation, report"
		return []Attribute{
			{prefix + ".count", on, "int", "{line}", "lines " + text},
			{prefix + ".sum_ms", on, "double", "ms", "sum over lines"},
			{prefix + ".max_ms", on, "double", "ms", "largest value"},
			{prefix + ".zero_count", on, "int", "{line}", "lines whose two clocks say zero or less"},
			{prefix + ".bucket_offset", on, "int", "1", "index i of the first bucket"},
			{prefix + ".bucket_counts", on, "int[]", "{line}", "exponential histogram of scale 0: bucket i counts the values in (2^i, 2^(i+1)] seconds"},
		}
	}
	part := func(name PartName, text string) []Attribute {
		return []Attribute{
			{partKey(name) + "_ms", "init", "double", "ms", text},
			{partKey(name) + "_basis", "init", "string", "", "measured or derived"},
		}
	}
	list := []Attribute{
		{AttrCloudProvider, "resource", "string", "", "aws"},
		{AttrCloudPlatform, "resource", "string", "", "aws_lambda"},
		{AttrCloudRegion, "resource", "string", "", "region of the function"},
		{AttrCloudAccountID, "resource", "string", "", "account of the function"},
		{AttrCloudResource, "resource", "string", "", "the function's unqualified ARN"},
		{AttrFaasName, "resource", "string", "", "name of the function"},
		{AttrFaasVersion, "resource", "string", "", "version that runs: a number or $LATEST"},
		{AttrFaasInstance, "resource", "string", "", "the execution environment: the name of its log stream"},
		{AttrFaasMaxMemory, "resource", "int", "By", "configured memory size"},
		{AttrHostArch, "resource", "string", "", "amd64 or arm64"},
		{AttrServiceName, "resource", "string", "", "OTEL_SERVICE_NAME, or the name of the function"},
		{AttrRuntimeVersion, "resource", "string", "", "runtime version as platform.initStart names it"},
		{AttrCPUEnforced, "resource", "string", "", "false where a local Lambda could not limit the CPU: durations then say nothing about memory sizes"},
		{AttrInitKind, "resource, init", "string", "", "on-demand, provisioned-concurrency, snap-start or lambda-managed-instances"},

		{AttrSpanType, "every span", "string", "", "invocation, init, report and shutdown carry data; run and part repeat it for the eye"},
		{AttrInvocationID, "invocation, report, init", "string", "", "request id; on an init that of the request which waited for it"},
		{AttrColdStart, "invocation, report", "bool", "", "the invocation had to wait for an init or a restore"},
		{AttrInvokedARN, "invocation", "string", "", "ARN as invoked: may carry an alias"},
		{AttrErrorType, "invocation, report, init", "string", "", "the platform's error type, timeout for a timeout"},
		{AttrStatus, "invocation, report, init", "string", "", "success, error, failure or timeout, as the platform reports it"},
		{AttrStart, "invocation, report", "string", "", "cold; first (first invocation of an environment that was ready before the request); warm"},
		{AttrAlias, "invocation", "string", "", "alias by which the function was invoked"},
		{AttrWait, "invocation", "double", "ms", "from the start of the span to platform.start: the wait for the init"},

		{AttrRunDuration, "invocation", "double", "ms", "event delivered to the runtime until it asks for the next one"},
		{AttrResponseLatency, "invocation", "double", "ms", "event delivered until the runtime begins to respond"},
		{AttrResponseDuration, "invocation", "double", "ms", "begin to end of the response"},
		{AttrRuntimeOverhead, "invocation", "double", "ms", "end of the response until the runtime asks for the next event"},
		{AttrProducedBytes, "invocation", "int", "By", "size of the response"},

		{AttrReportReceived, "invocation, report", "bool", "", "false: the platform's report never came, the duration is that of the run"},
		{AttrDuration, "invocation, report", "double", "ms", "duration as reported: runtime and extensions"},
		{AttrBilled, "invocation, report", "double", "ms", "billed duration as reported"},
		{AttrReportInit, "invocation, report", "double", "ms", "init duration as reported; only on the invocation that an on-demand cold start was for"},
		{AttrReportRestore, "invocation, report", "double", "ms", "restore duration as reported (SnapStart)"},
		{AttrExtensionOverhead, "invocation, report", "double", "ms", "the runtime asked for the next event until the last extension did"},
		{AttrMemoryUsed, "invocation, report", "int", "By", "largest memory used by the environment so far"},
		{AttrPlatformDropped, "invocation, report", "int", "{record}", "log records that the platform dropped since the previous report"},

		{AttrLogLines, "invocation, report", "int", "{line}", "log lines of the function"},
		{AttrLogBytes, "invocation, report", "int", "By", "their size"},
		{AttrLogFrozen, "invocation, report", "int", "{line}", "lines that a freeze kept from arriving"},
	}
	list = append(list, lossAttributes()...)
	list = append(list, selfAttributes()...)
	list = append(list, latency(attrLogArrival, "from the time of the record to its arrival at the extension")...)
	list = append(list, latency(attrLogExport, "from arrival to the acknowledged export; those of the previous export")...)
	list = append(list, usageAttributes()...)
	list = append(list,
		Attribute{AttrInitPhase, "init", "string", "", "init, or invoke for an init that is run again inside an invocation"},
		Attribute{AttrInitDemand, "init", "string", "", "on-path; uncertain (0.1 to 1 s before platform.start); proactive (more than 1 s before, and always with provisioned concurrency and managed instances); unused"},
		Attribute{AttrInitDuration, "init", "double", "ms", "duration of the init as reported"},
	)
	list = append(list, phaseAttributes()...)
	list = append(list, part(PartExtensions, "start of the init until extensions were registered, but for Thaw's own")...)
	list = append(list, part(PartThaw, "Thaw's own extension: exec until registered")...)
	list = append(list, part(PartRuntime, "start of the runtime")...)
	list = append(list, part(PartFunction, "loading of the function")...)
	list = append(list, part(PartRuntimeFunction, "runtime and function together, where no hook tells them apart")...)
	list = append(list, part(PartRestore, "restore of a snapshot")...)
	list = append(list, part(PartUnattributed, "what the other parts do not explain")...)
	list = append(list, profileAttributes()...)
	return append(list,
		Attribute{AttrBasis, "part", "string", "", "measured or derived"},
		Attribute{AttrReason, "shutdown", "string", "", "spindown, timeout or failure"},
		Attribute{AttrInvocations, "shutdown", "int", "{invocation}", "invocations since the last init"},
		Attribute{AttrLifetime, "shutdown", "double", "ms", "time since the last init began"},
		Attribute{AttrReceived, "shutdown", "int", "{event}", "telemetry events received"},
		Attribute{AttrMalformed, "shutdown", "int", "{event}", "telemetry events that could not be read"},
		Attribute{AttrExported, "shutdown", "int", "{span}", "spans that a backend acknowledged, this one not counted"},
		Attribute{AttrDropped, "shutdown", "int", "{span}", "spans given up"},
		Attribute{AttrExportedBytes, "shutdown", "int", "By", "bytes sent and acknowledged, compressed"},
		Attribute{AttrExportFailed, "shutdown", "int", "{export}", "exports that failed, retries counted each"},
		Attribute{AttrPlatformLost, "shutdown", "int", "{record}", "log records that the platform dropped"},
		Attribute{AttrMissing, "shutdown", "int", "{report}", "reports that never came"},
	)
}
