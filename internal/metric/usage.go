package metric

// What functions use, of successful warm invocations: the first of an
// environment is another thing. From these the report predicts other memory
// sizes. A function has few series for it, because it has few to give away.

// LabelIdle says whether the environment had been idle, for one period of the
// CPU limit at least, when the invocation came: "true" or "false".
const LabelIdle = "thaw.usage.idle"

// The metrics of usage.
var (
	CPUUsage = Definition{Name: "faas.cpu_usage", Kind: Histogram, Unit: "s", Scale: scale, Labels: []string{LabelIdle},
		Text: "CPU time of the function's processes in successful warm invocations. thaw.usage.idle is whether the environment was idle before, so that it had a full CPU quota."}
	FullSpeedDuration = Definition{Name: "thaw.usage.full_speed_duration", Kind: Histogram, Unit: "s", Scale: scale,
		Text: "How long the same invocations would have lasted without CPU limit: the duration less the run delay that the limit can have caused. Its mean is less than that of faas.invoke_duration by the mean run delay."}
	ImplausibleCPU = Definition{Name: "thaw.usage.implausible", Kind: Counter, Unit: "{invocation}",
		Text: "Of the same invocations those with more CPU time than their memory size gives: the CPU clock, or the assumed share of a CPU, is wrong here."}
)

// Usage lists the metrics above.
func Usage() []Definition {
	return []Definition{CPUUsage, FullSpeedDuration, ImplausibleCPU}
}
