package report

// MemoryPrediction is what other memory sizes would do, of a function that ran
// at one. Its points are in the memory curve, with the basis predicted.
type MemoryPrediction struct {
	// SourceMB is the size that was measured.
	SourceMB int64 `json:"source_mb"`
	// Tier is run-delay, the better one, or cpu-time, where the run delay could
	// not be read.
	Tier string `json:"tier"`
	// CPUShare is how much of its duration at full speed the function computes.
	CPUShare *float64 `json:"cpu_share"`
	// Reason says why nothing is predicted, empty otherwise; Have and Need are
	// counts of invocations where more of them would help.
	Reason string `json:"reason"`
	Have   int64  `json:"have"`
	Need   int64  `json:"need"`
	// Refused are single sizes for which nothing is predicted.
	Refused []RefusedSize `json:"refused"`
	// Note says what a prediction is worth.
	Note string `json:"note"`
	// Experiment would settle it; absent when nothing seems to be gained.
	Experiment *Experiment `json:"experiment,omitempty"`
}

// RefusedSize is a size for which nothing is predicted, and why.
type RefusedSize struct {
	MemoryMB int64  `json:"memory_mb"`
	Reason   string `json:"reason"`
}

// Experiment is the cheapest measurement that tells whether another size is
// better.
type Experiment struct {
	MemoryMB    int64 `json:"memory_mb"`
	Invocations int64 `json:"invocations"`
	// AliasWeight is the share of the traffic to send there, from 0 to 1.
	AliasWeight float64 `json:"alias_weight"`
	// Hours is how long that takes at the traffic of the range.
	Hours *float64 `json:"hours"`
	// CostUSD is what it costs more than the same invocations at the size that
	// runs, at the far end of the prediction; below zero it saves. Null where
	// nothing is predicted or there is no price.
	CostUSD *float64 `json:"cost_usd"`
}

// predictionNote is in every format.
const predictionNote = "Predicted by a model that was evaluated in a local emulation; not yet checked on AWS. The range held about 90 % of the cases of that evaluation."
