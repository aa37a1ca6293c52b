package report

// PredictedPoint is a memory size that did not run, as a model of those that did
// has it. It is for warm invocations: cold starts are not predicted.
type PredictedPoint struct {
	MemoryMB     int64  `json:"memory_mb"`
	Architecture string `json:"architecture"`
	// Basis is predicted. Method says how.
	Basis  string `json:"basis"`
	Method string `json:"method"`
	// WarmMeanMS is the mean duration of a warm invocation, and WarmCostUSD what
	// a million of them cost; both with an interval that holds the truth for 95 %
	// of functions.
	WarmMeanMS  Figure `json:"warm_mean_ms"`
	WarmCostUSD Figure `json:"warm_cost_per_million_usd"`
}

// Figure is a value with its 95 % interval.
type Figure struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// MethodBetween is the method of sizes between measured ones, and at most twice
// beyond: package curve.
const MethodBetween = "mixture of mechanisms over the measured sizes"

// Objective is the best size by one way to choose.
type Objective struct {
	// Name is cheapest, fastest, knee, or cheapest-within-p95 where a limit was
	// given.
	Name string `json:"name"`
	// MemoryMB is null where no size serves the objective.
	MemoryMB *int64 `json:"memory_mb"`
	// Basis is measured or predicted.
	Basis       string   `json:"basis"`
	WarmMeanMS  *float64 `json:"warm_mean_ms"`
	WarmCostUSD *float64 `json:"warm_cost_per_million_usd"`
}

// Names of objectives.
const (
	ObjectiveCheapest = "cheapest"
	ObjectiveFastest  = "fastest"
	ObjectiveKnee     = "knee"
	ObjectiveWithin   = "cheapest-within-p95"
)

// NextMeasurement is the size that is most worth measuring.
type NextMeasurement struct {
	MemoryMB int64 `json:"memory_mb"`
	// ExpectedSaving is the share of the least measured cost of warm invocations
	// that it is expected to save, counting only the cases in which it saves.
	ExpectedSaving float64 `json:"expected_saving"`
	// Invocations and EnvironmentHours are what it needs to be compared.
	Invocations      int64 `json:"invocations"`
	EnvironmentHours int64 `json:"environment_hours"`
	// CostUSD is what these invocations cost.
	CostUSD float64 `json:"cost_usd"`
}
