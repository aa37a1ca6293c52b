package metric

// Labels of the metrics that are settled in event time.
const (
	LabelCause = "thaw.cause"
	// LabelIdleOutcome says what ended an idle time: the next invocation, or the
	// end of the environment.
	LabelIdleOutcome = "thaw.idle.outcome"
)

// Values of LabelIdleOutcome.
const (
	IdleReused    = "reused"
	IdleReclaimed = "reclaimed"
)

// The metrics that are settled in event time: what they say follows from what
// happened before and beside an invocation, which is known only when all of
// that has arrived. They lag behind the others by the watermark.
var (
	ColdStartCauses = Definition{Name: "thaw.coldstart_causes", Kind: Counter, Unit: "{coldstart}", Labels: []string{LabelCause},
		Text: "Cold starts by cause: reset, deploy, first, scale-out, expired or unknown. Settled behind the watermark; then it adds up to faas.coldstarts."}
	SlotRank = Definition{Name: "thaw.slot_rank", Kind: Histogram, Unit: "{environment}", Scale: scale,
		Text: "Rank of the lowest free slot at the arrival of each invocation, from 1, inits not counted as busy: the share above N is what N provisioned environments would spill. Exact up to 45."}
	Concurrency = Definition{Name: "thaw.concurrency", Kind: Histogram, Unit: "{environment}", Scale: scale,
		Text: "Environments of the version and size that are busy when an invocation arrives, its own included, inits counted as busy. Exact up to 45."}
	EnvironmentLifetime = Definition{Name: "thaw.environment.lifetime", Kind: Histogram, Unit: "s", Scale: scale,
		Text: "From the last init to the shutdown of environments that were reclaimed."}
	EnvironmentIdle = Definition{Name: "thaw.environment.idle", Kind: Histogram, Unit: "s", Scale: scale, Labels: []string{LabelIdleOutcome},
		Text: "How long environments were idle, until the next invocation (reused) or until they were reclaimed."}
	EnvironmentInvocations = Definition{Name: "thaw.environment.invocations", Kind: Histogram, Unit: "{invocation}", Scale: scale,
		Text: "Invocations that an environment served between its last init and being reclaimed."}
	Late = Definition{Name: "thaw.late", Kind: Counter, Unit: "{span}",
		Text: "Spans that arrived when the watermark had passed them: counted like all others, but without a slot rank, and their cold starts are of unknown cause."}
)

// EventTime lists the metrics that are settled in event time.
func EventTime() []Definition {
	return []Definition{ColdStartCauses, SlotRank, Concurrency, EnvironmentLifetime, EnvironmentIdle, EnvironmentInvocations, Late}
}
