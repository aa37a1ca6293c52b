// Package lifecycle is the vocabulary of Thaw: what happens to one AWS Lambda
// execution environment, as types, and the one mapping of those types to
// OpenTelemetry spans and back.
//
// An [Environment] goes through one or more [Init]s, serves [Invocation]s and
// ends with a [Shutdown]. The extension observes them and encodes them with an
// [Encoder]; the collector decodes each span into an [Observation]. Nothing
// else in Thaw knows how a span of ours looks.
//
// # Shape of the spans
//
// A cold start is told in full, so that a person can read it in any trace
// viewer:
//
//	thumbnail                 SERVER; starts where the wait began, at the init
//	├── init                  the init, with its parts as attributes too
//	│   ├── extensions
//	│   └── runtime+function   with a hook in the runtime: runtime, and
//	│                          function, with the packages it loads below it
//	├── run                   what the runtime did, with its parts
//	│   ├── response latency
//	│   ├── response duration
//	│   └── runtime overhead
//	└── report                what the platform billed, and the log latency
//
// A warm invocation whose report is known when it is sent is a single span
// that carries all of that as attributes. A report that comes later is a child
// span of its own. Either way a number stands in exactly one attribute of
// exactly one span: spans of type init, invocation, report and shutdown carry
// data, spans of type part and run repeat it for the eye.
//
// Trace and span identifiers are derived from the identity of what they
// describe (see [Invocation.Identity]), so that a span that is sent twice is
// recognised, and one that is sent late joins its trace.
//
// Attribute names are those of the OpenTelemetry semantic conventions for FaaS
// and AWS Lambda where there is one, and thaw.* otherwise; [Attributes] lists
// them. Durations in attributes are milliseconds with a fraction, because that
// is how Lambda states them.
package lifecycle

import (
	"slices"
	"strings"
	"time"
)

// InitKind says what an init was made for. The values are Lambda's own
// (AWS_LAMBDA_INITIALIZATION_TYPE).
type InitKind string

// Kinds of init.
const (
	OnDemand               InitKind = "on-demand"
	ProvisionedConcurrency InitKind = "provisioned-concurrency"
	SnapStart              InitKind = "snap-start"
	ManagedInstances       InitKind = "lambda-managed-instances"
)

// InitPhase is where in the life of an environment an init ran.
type InitPhase string

// Phases. PhaseInvoke is a suppressed init: the environment was reset, and is
// initialized again inside an invocation, under its CPU and its timeout.
const (
	PhaseInit   InitPhase = "init"
	PhaseInvoke InitPhase = "invoke"
)

// Demand says whether a request was waiting for an init.
type Demand string

// Demands. See [DemandOf] for the thresholds.
const (
	OnPath    Demand = "on-path"
	Uncertain Demand = "uncertain"
	Proactive Demand = "proactive"
	Unused    Demand = "unused"
)

// DemandOf classifies an init by the gap between its end and the start of the
// first invocation it served. Lambda does not say whether a request was
// waiting; it does pre-initialize environments of its own accord. (That of
// provisioned concurrency and of managed instances is proactive by its nature.)
func DemandOf(gap time.Duration) Demand {
	switch {
	case gap > time.Second:
		return Proactive
	case gap > 100*time.Millisecond:
		return Uncertain
	}
	return OnPath
}

// Status is how an init or an invocation ended, as the platform reports it. A
// handled exception is a success here: the runtime survived it.
type Status string

// Statuses.
const (
	Success Status = "success"
	Error   Status = "error"
	Failure Status = "failure"
	Timeout Status = "timeout"
)

// Start says what an invocation found when it arrived.
type Start string

// Starts. First is the first invocation of an environment that was ready
// before the request: it waited for no init, but runs on cold caches.
const (
	Cold  Start = "cold"
	First Start = "first"
	Warm  Start = "warm"
)

// Basis says how a number was obtained.
type Basis string

// Bases.
const (
	Measured  Basis = "measured"
	Derived   Basis = "derived"
	Predicted Basis = "predicted"
)

// PartName names a part of an init or of a run.
type PartName string

// Parts of an init. Extensions is the start of extensions but for our own, which
// is Thaw. Without a hook in the runtime, its own start and the loading of the
// function cannot be told apart: that is RuntimeFunction. Unattributed is what
// the other parts do not explain.
const (
	PartExtensions      PartName = "extensions"
	PartThaw            PartName = "thaw"
	PartRuntime         PartName = "runtime"
	PartFunction        PartName = "function"
	PartRuntimeFunction PartName = "runtime+function"
	PartRestore         PartName = "restore"
	PartUnattributed    PartName = "unattributed"
)

// Parts of a run.
const (
	PartResponseLatency  PartName = "response latency"
	PartResponseDuration PartName = "response duration"
	PartRuntimeOverhead  PartName = "runtime overhead"
)

// Part is a contiguous part of an init or of a run.
type Part struct {
	Name     PartName
	Start    time.Time
	Duration time.Duration
	Basis    Basis
}

// Function identifies a function. Names repeat across accounts and regions.
type Function struct {
	AccountID string
	Region    string
	Name      string
}

// Environment is one execution environment (sandbox) of a function.
type Environment struct {
	Function
	Version string
	// Kind is what the environment was made for.
	Kind InitKind
	// ID is the name of the log stream, which survives a reset of the
	// environment, or a random one where the platform names none.
	ID       string
	MemoryMB int64
	// Arch is a value of host.arch: amd64 or arm64.
	Arch           string
	RuntimeVersion string
	// CPUUnenforced is set where a local Lambda could not limit the CPU. It
	// says so by a resource attribute (OTEL_RESOURCE_ATTRIBUTES).
	CPUUnenforced bool
	// ServiceName is OTEL_SERVICE_NAME, or the function's name.
	ServiceName string
	// Extra are the user's OTEL_RESOURCE_ATTRIBUTES.
	Extra map[string]string
}

// Init is one initialization of an environment.
type Init struct {
	Kind      InitKind
	Phase     InitPhase
	Demand    Demand
	Start     time.Time
	Duration  time.Duration
	Status    Status
	ErrorType string
	// Parts add up to Duration; see [FillParts].
	Parts []Part
	// RequestID is the request that waited for it, if one did.
	RequestID string
	// Gap is the time between its end and the platform.start of the first
	// invocation it served.
	Gap time.Duration
	// FailedExtension names the extension that made it fail, where it is known.
	FailedExtension string
	// Self is what Thaw's own extension added to it.
	Self SelfCost
	// Profile is what a hook in the runtime told of it, nil without one.
	Profile *InitProfile
}

// Run is what the runtime did with an invocation.
type Run struct {
	// Duration runs from the delivery of the event until the runtime asks for
	// the next one.
	Duration      time.Duration
	Parts         []Part
	ProducedBytes int64
}

// Report is what is known when everything about an invocation is over.
type Report struct {
	// Received is false when the platform's report never came; Duration is
	// then that of the run, and nothing is known of billing and memory.
	Received bool
	Duration time.Duration
	Billed   time.Duration
	Init     time.Duration
	Restore  time.Duration
	// BilledRestore is the share of the restore that is billed.
	BilledRestore     time.Duration
	ExtensionOverhead time.Duration
	MaxMemoryUsedMB   int64
	Logs              LogSummary
	// DroppedByPlatform counts log records that the platform threw away since
	// the previous report (platform.logsDropped).
	DroppedByPlatform int64
	// Usage is what the function's processes used; nil if not measured.
	Usage *Usage
	Loss  Loss
}

// Invocation is one attempt at one request.
type Invocation struct {
	RequestID string
	// Start is the time of platform.start.
	Start time.Time
	// ARN is the function's, as invoked: it may carry an alias.
	ARN string
	// Trace is the X-Ray trace header, empty if there was none.
	Trace     string
	StartType Start
	Status    Status
	ErrorType string
	// Suspected is what the platform does not tell, and what its figures suggest.
	Suspected Suspicion
	// Init is the init that the invocation waited for; nil when warm.
	Init *Init
	// Run is nil when the platform never reported the end of the run.
	Run *Run
	// Report is nil as long as it may still come.
	Report *Report
}

// Identity tells invocations apart. A retry has the same request id, and may
// meet the same environment, but not at the same time.
type Identity struct {
	RequestID   string
	Environment string
	StartUnixMs int64
}

// Identity returns the identity of i in the environment with the given id.
func (i *Invocation) Identity(environment string) Identity {
	return Identity{i.RequestID, environment, i.Start.UnixMilli()}
}

// Alias returns the qualifier of the invoked ARN where it is neither a version
// number nor $LATEST, else "".
func (i *Invocation) Alias() string {
	parts := strings.Split(i.ARN, ":")
	if len(parts) != 8 || parts[7] == "$LATEST" {
		return ""
	}
	if strings.Trim(parts[7], "0123456789") == "" {
		return ""
	}
	return parts[7]
}

// Shutdown is the end of an environment, or of one life of it: after a reset
// it is initialized again.
type Shutdown struct {
	Start    time.Time
	Duration time.Duration
	// Reason is spindown, timeout or failure, in lower case.
	Reason      string
	Invocations int64
	// Lifetime is the time since the init started.
	Lifetime time.Duration
	Account  Account
	// CPU and MaxRSS are the extension's own, over its whole life. MaxRSS is
	// in bytes.
	CPU    time.Duration
	MaxRSS int64
	Self   Waiting
}

// Account states what became of what the extension was told.
type Account struct {
	EventsReceived    int64
	EventsMalformed   int64
	SpansExported     int64
	SpansDropped      int64
	SpansSpooled      int64
	LogsForwarded     int64
	LogsDropped       int64
	BytesExported     int64
	ExportFailures    int64
	DroppedByPlatform int64
	ReportsMissing    int64
}

// FillParts adds what is missing to total as an unattributed part at the end,
// and shortens what is too long, so that the parts add up to total. Parts must
// be in order of time.
func FillParts(start time.Time, total time.Duration, parts []Part) []Part {
	out := slices.Clone(parts)
	total = max(total, 0)
	var sum time.Duration
	for i := range out {
		out[i].Duration = min(max(out[i].Duration, 0), total-sum)
		sum += out[i].Duration
	}
	if rest := total - sum; rest > 0 {
		out = append(out, Part{PartUnattributed, start.Add(sum), rest, Derived})
	}
	return out
}
