package report

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/report/stats"
)

// SchemaVersion is the version of the JSON: a number that rises when a field
// changes its meaning or goes away. Fields may be added without it rising.
const SchemaVersion = 1

// Report is what is known of the functions in a range of time. It is the one
// model of all formats, and its JSON is stable; schema.json describes it.
//
// Units are in the names. A pointer that is nil is null in JSON: the data does
// not support the value, and have and need beside it say by how much.
type Report struct {
	SchemaVersion int             `json:"schema_version"`
	GeneratedAt   time.Time       `json:"generated_at"`
	ThawVersion   string          `json:"thaw_version"`
	Range         Range           `json:"range"`
	Source        string          `json:"source"`
	Pricing       PricingInfo     `json:"pricing"`
	Functions     []*Function     `json:"functions"`
	Findings      []Finding       `json:"findings"`
	Gaps          []Gap           `json:"gaps"`
	Collector     CollectorTotals `json:"collector"`
	// Imported is what something else measured; see `thaw import`.
	Imported []Imported `json:"imported,omitempty"`
	// Account says where the account's data is from; absent without it.
	Account *AccountInfo `json:"account,omitempty"`
}

// AccountInfo says what the account's data is, and what is missing in it.
type AccountInfo struct {
	CollectedAt time.Time       `json:"collected_at"`
	Start       time.Time       `json:"start"`
	End         time.Time       `json:"end"`
	AccountID   string          `json:"account_id"`
	Region      string          `json:"region"`
	Limits      *account.Limits `json:"limits"`
	Refused     []string        `json:"refused"`
}

// Range is a range of time, of which both ends are moments at which counters
// are read.
type Range struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Seconds float64   `json:"seconds"`
}

// PricingInfo says on which prices the costs stand.
type PricingInfo struct {
	Currency string `json:"currency"`
	Date     string `json:"date"`
	Note     string `json:"note"`
}

// CollectorTotals is what the collectors did with what reached them.
type CollectorTotals struct {
	Duplicates int64 `json:"duplicates"`
	Rejected   int64 `json:"rejected"`
}

// GapKind tells gaps apart.
type GapKind string

// Kinds of gap.
const (
	GapStart       GapKind = "start"
	GapInside      GapKind = "inside"
	GapEnd         GapKind = "end"
	GapNoHeartbeat GapKind = "no-heartbeat"
	GapExpiry      GapKind = "expiry"
)

// Gap is a time in which a collector did not write. It is stated, not bridged.
type Gap struct {
	Kind      GapKind   `json:"kind"`
	Collector string    `json:"collector"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Text      string    `json:"text"`
}

// Function is what is known of one function: (account, region, name).
type Function struct {
	Name          string   `json:"name"`
	Account       string   `json:"account"`
	Region        string   `json:"region"`
	Versions      []string `json:"versions"`
	Aliases       []string `json:"aliases"`
	Runtimes      []string `json:"runtimes"`
	Architectures []string `json:"architectures"`
	Kinds         []string `json:"kinds"`
	MemorySizesMB []int64  `json:"memory_sizes_mb"`

	Invocations int64 `json:"invocations"`
	ColdStarts  int64 `json:"cold_starts"`
	// FirstStarts are first invocations of environments that were ready before
	// the request.
	FirstStarts int64 `json:"first_starts"`
	// Errors are those that the platform reports as error or failure. Timeouts
	// are not among them.
	Errors   int64 `json:"errors"`
	Timeouts int64 `json:"timeouts"`
	// ErrorTypes splits Errors.
	ErrorTypes []Count `json:"error_types"`

	// ColdStartCauses says why. It lags behind ColdStarts by the collector's
	// watermark.
	ColdStartCauses []Count     `json:"cold_start_causes"`
	Concurrency     Concurrency `json:"concurrency"`
	// Provisioned is what numbers of provisioned environments would do; empty
	// where ranks or prices are not known, or several sizes ran.
	Provisioned  []ProvisionedPoint `json:"provisioned"`
	Environments Lives              `json:"environments"`

	ColdStartRate Rate `json:"cold_start_rate"`
	ErrorRate     Rate `json:"error_rate"`
	TimeoutRate   Rate `json:"timeout_rate"`

	// InitMS is over the inits of phase init, whether or not a request waited
	// for them.
	InitMS Quantiles `json:"init_ms"`
	// InitParts add up to the mean of all inits.
	InitParts []InitPart `json:"init_parts"`
	Inits     []Count    `json:"inits"`
	// SuppressedInits were run again inside an invocation, after a reset.
	SuppressedInits int64   `json:"suppressed_inits"`
	Shutdowns       []Count `json:"shutdowns"`

	// DurationMS is as the platform reports it, init not included.
	DurationMS         StartDurations `json:"duration_ms"`
	FirstInvokePenalty Penalty        `json:"first_invoke_penalty_ms"`

	MemoryCurve []CurvePoint `json:"memory_curve"`
	// PredictedCurve are sizes that did not run, of a function with two or more
	// that can be compared.
	PredictedCurve []PredictedPoint `json:"predicted_curve"`
	// MemoryPrediction is absent of a function that ran at more than one size.
	MemoryPrediction *MemoryPrediction `json:"memory_prediction,omitempty"`
	MemoryUsed       MemoryUsed        `json:"memory_used_mb"`

	BilledGBSeconds   float64  `json:"billed_gb_seconds"`
	CostUSD           Estimate `json:"cost_usd"`
	CostPerMillionUSD Estimate `json:"cost_per_million_usd"`
	PriceBasis        string   `json:"price_basis"`

	// LogLatencyMS is from the time of a log record to its arrival at the
	// extension, LogExportMS from there to its acknowledged export.
	LogLatencyMS Quantiles `json:"log_latency_ms"`
	LogExportMS  Quantiles `json:"log_export_ms"`
	Logs         Logs      `json:"logs"`

	// ReportsMissing are invocations of whose billing and memory nothing is
	// known.
	ReportsMissing int64    `json:"reports_missing"`
	Overhead       Overhead `json:"thaw_overhead"`

	// AWS is what the account's data says of the function; absent without it.
	AWS *account.Function `json:"aws,omitempty"`

	// Packages are what inits spend their time on, the heaviest first; Profiles
	// some cold starts in full, and ProfileDiffs what the last deploy changed, one
	// at most. All need a hook in the runtime.
	Packages     []PackageUse  `json:"packages"`
	Profiles     []InitProfile `json:"profiles"`
	ProfileDiffs []ProfileDiff `json:"profile_diffs"`

	Recommendation Recommendation `json:"recommendation"`
	// Insufficient lists what the data does not support.
	Insufficient []Insufficient `json:"insufficient"`

	// months is how many months of 30 days the range is; limits are those of
	// the account, nil where they are not known.
	months float64
	limits *account.Limits
	// times says when each memory size ran, for a function with several.
	times *timeline
	// chance says that its sizes differ no more than by chance, among tested
	// functions.
	chance bool
	tested int

	profiles []*InitProfile
	// storagePrice is that of a GB-second of ephemeral storage, 0 where it is
	// not known.
	storagePrice float64
}

// Count is how often something happened.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Rate is a share with its Wilson 95 % interval.
type Rate struct {
	Value *float64 `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
	N     int64    `json:"n"`
}

// Quantiles is a distribution in milliseconds. The mean is exact from the first
// value on; a quantile is null below its floor. Have is the number of values,
// Need the number that every null here waits for.
//
// Low and high are the ends of 95 % intervals, null where the data has no such
// end: that of a mean below its floor of environment-hours, and where they are
// not counted for the quantity; the upper one of a quantile near its floor.
type Quantiles struct {
	Mean     *float64 `json:"mean"`
	MeanLow  *float64 `json:"mean_low"`
	MeanHigh *float64 `json:"mean_high"`
	P50      *float64 `json:"p50"`
	P50Low   *float64 `json:"p50_low"`
	P50High  *float64 `json:"p50_high"`
	P95      *float64 `json:"p95"`
	P95Low   *float64 `json:"p95_low"`
	P95High  *float64 `json:"p95_high"`
	Have     int64    `json:"have"`
	Need     int64    `json:"need"`
}

// Estimate is a value with its 95 % interval over environment-hours. Low and
// High are null below the floor: Have environment-hours are there, Need are
// needed. Reason says why Value is null.
type Estimate struct {
	Value  *float64 `json:"value"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	Have   int64    `json:"have"`
	Need   int64    `json:"need"`
	Reason string   `json:"reason,omitempty"`
}

// InitPart is a part of the mean init.
type InitPart struct {
	Part   string  `json:"part"`
	Basis  string  `json:"basis"`
	MeanMS float64 `json:"mean_ms"`
	// Share is that of the sum of all parts, from 0 to 1.
	Share float64 `json:"share"`
	N     int64   `json:"n"`
}

// StartDurations are durations by what the invocation found.
type StartDurations struct {
	All   Quantiles `json:"all"`
	Cold  Quantiles `json:"cold"`
	First Quantiles `json:"first"`
	Warm  Quantiles `json:"warm"`
}

// Penalty is the duration of an environment's first invocation less the warm
// median of the same version and memory size, cold and first starts together.
type Penalty struct {
	Mean *float64 `json:"mean"`
	P50  *float64 `json:"p50"`
	// Have counts first invocations in groups with a warm median.
	Have int64 `json:"have"`
	Need int64 `json:"need"`
}

// CurvePoint is one memory size on one architecture, over versions.
type CurvePoint struct {
	MemoryMB     int64    `json:"memory_mb"`
	Architecture string   `json:"architecture"`
	Versions     []string `json:"versions"`
	Invocations  int64    `json:"invocations"`
	ColdStarts   int64    `json:"cold_starts"`
	Errors       int64    `json:"errors"`
	Timeouts     int64    `json:"timeouts"`
	// DurationMS is over all invocations, WarmDurationMS over warm ones.
	DurationMS     Quantiles `json:"duration_ms"`
	WarmDurationMS Quantiles `json:"warm_duration_ms"`
	// WarmMeanMS is the mean of the warm durations with its interval.
	WarmMeanMS Estimate   `json:"warm_mean_ms"`
	InitMS     Quantiles  `json:"init_ms"`
	MemoryUsed MemoryUsed `json:"memory_used_mb"`
	BilledMS   Estimate   `json:"billed_ms"`
	// CostPerMillionUSD counts requests and billed duration, init included
	// where it was billed. The interval is in CostInterval.
	CostPerMillionUSD *float64 `json:"cost_per_million_usd"`
	CostInterval      Estimate `json:"cost_per_million_usd_interval"`
	Basis             string   `json:"basis"`
	// CPUEnforced is false where a local Lambda ran it without limiting its
	// CPU: such a point says nothing about Lambda and gives no finding.
	CPUEnforced bool `json:"cpu_enforced"`

	clusters curveClusters
	// What a prediction starts from.
	usage          usageTotals
	warm, overhead stats.Histogram
}

// MemoryUsed is the largest memory used by environments.
type MemoryUsed struct {
	P99     *float64 `json:"p99"`
	P99Low  *float64 `json:"p99_low"`
	P99High *float64 `json:"p99_high"`
	Max     *float64 `json:"max"`
	Have    int64    `json:"have"`
	Need    int64    `json:"need"`
}

// Logs is what became of log lines.
type Logs struct {
	Lines           int64 `json:"lines"`
	Frozen          int64 `json:"frozen"`
	FrozenShare     Rate  `json:"frozen_share"`
	PlatformDropped int64 `json:"platform_dropped_records"`
}

// Overhead is what Thaw itself and extensions in general cost.
type Overhead struct {
	// ReadyMS is from the exec of Thaw's extension to its first call of next.
	ReadyMS Quantiles `json:"ready_ms"`
	// CPUSeconds is the CPU time of those of Thaw's extensions that shut down
	// in the range.
	CPUSeconds float64 `json:"cpu_seconds"`
	// AllExtensionsMS is what all extensions added to invocations.
	AllExtensionsMS Quantiles `json:"all_extensions_ms"`
}

// Recommendation is the one memory size for a function, or why there is none.
type Recommendation struct {
	MemoryMB *int64 `json:"memory_mb"`
	// Action is change, keep or none.
	Action string `json:"action"`
	Reason string `json:"reason"`
	Basis  string `json:"basis"`
	// CurrentMB is the size that most invocations ran at; null when no size
	// stands out, as in a sweep.
	CurrentMB *int64 `json:"current_mb"`
	// TieMB are the sizes whose costs the data does not tell apart.
	TieMB []int64 `json:"tie_mb"`
	Have  int64   `json:"have"`
	Need  int64   `json:"need"`
	// Objectives are the best sizes by other ways to choose, among measured and
	// predicted ones; none without two comparable sizes.
	Objectives []Objective `json:"objectives"`
	// Next is the size that is most worth measuring; absent when none is.
	Next *NextMeasurement `json:"next,omitempty"`
}

// Insufficient names a figure that the data does not support.
type Insufficient struct {
	What string `json:"what"`
	Have int64  `json:"have"`
	Need int64  `json:"need"`
	// Of says what is counted.
	Of string `json:"of"`
}

// Finding says what to change about one function.
type Finding struct {
	ID string `json:"id"`
	// Function is the function's name; Account and Region tell it apart.
	Function string `json:"function"`
	Account  string `json:"account"`
	Region   string `json:"region"`
	Severity string `json:"severity"`
	Claim    string `json:"claim"`
	// Basis is measured, derived or predicted.
	Basis string `json:"basis"`
	// N is the number of values that the claim stands on.
	N      int64  `json:"n"`
	Effect Effect `json:"effect"`
	// Evidence are the figures behind the claim.
	Evidence []string `json:"evidence"`
	Change   string   `json:"change"`
	// Patches are the change as code, ready to paste; none where it is not a
	// setting.
	Patches []Patch `json:"patches"`
	Verify  string  `json:"verify"`
	Undo    string  `json:"undo"`
	// MonthlyUSD is what the change saves in 30 days at the observed volume and
	// the prices of the region; below zero it costs that much. Null with the
	// reason where it is not known.
	MonthlyUSD Money `json:"monthly_usd"`

	// weight ranks findings of one severity.
	weight float64
}

// Patch is a change in the words of one tool.
type Patch struct {
	// Tool is sam, cdk, terraform or cli.
	Tool string `json:"tool"`
	Text string `json:"text"`
}

// Money is an amount with its 95 % interval.
type Money struct {
	Value  *float64 `json:"value"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	Reason string   `json:"reason,omitempty"`
}

// Effect is how much a finding is worth, with its 95 % interval where there is
// one.
type Effect struct {
	Unit  string   `json:"unit"`
	Value *float64 `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}
