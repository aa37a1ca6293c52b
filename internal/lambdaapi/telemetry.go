package lambdaapi

import (
	"encoding/json"
	"time"
)

// TimeLayout is the layout of every time of the Telemetry API: UTC with
// millisecond precision. Convert to UTC before formatting with it.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Types of telemetry events. Consumers tolerate others.
const (
	TypeInitStart             = "platform.initStart"
	TypeInitRuntimeDone       = "platform.initRuntimeDone"
	TypeInitReport            = "platform.initReport"
	TypeRestoreStart          = "platform.restoreStart"
	TypeRestoreRuntimeDone    = "platform.restoreRuntimeDone"
	TypeRestoreReport         = "platform.restoreReport"
	TypeStart                 = "platform.start"
	TypeRuntimeDone           = "platform.runtimeDone"
	TypeReport                = "platform.report"
	TypeExtension             = "platform.extension"
	TypeTelemetrySubscription = "platform.telemetrySubscription"
	TypeLogsDropped           = "platform.logsDropped"
	TypeFault                 = "platform.fault"
	TypeEnd                   = "platform.end"              // of the Logs API
	TypeLogsSubscription      = "platform.logsSubscription" // of the Logs API
	TypeFunction              = "function"
	TypeExtensionLog          = "extension"
)

// Streams of a subscription.
const (
	StreamPlatform  = "platform"
	StreamFunction  = "function"
	StreamExtension = "extension"
)

// Names of the spans that runtimeDone and report carry.
const (
	SpanResponseLatency   = "responseLatency"
	SpanResponseDuration  = "responseDuration"
	SpanRuntimeOverhead   = "runtimeOverhead"
	SpanExtensionOverhead = "extensionOverhead"
)

// Event is the envelope of one telemetry event. Record is an object for
// platform events and a string or an object for log lines; it may also be
// empty, or of the other kind than documented.
type Event struct {
	Time   Time            `json:"time"`
	Type   string          `json:"type"`
	Record json.RawMessage `json:"record"`
}

// Time is a time in TimeLayout. Reading accepts any RFC 3339 time, and turns
// what it cannot read into the zero time: one bad field must not cost a batch.
type Time struct{ time.Time }

// MarshalJSON writes t in TimeLayout.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat([]byte{'"'}, TimeLayout+`"`), nil
}

// UnmarshalJSON never fails; see Time.
func (t *Time) UnmarshalJSON(b []byte) error {
	*t = Time{}
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return nil
	}
	if v, err := time.Parse(time.RFC3339Nano, string(b[1:len(b)-1])); err == nil {
		t.Time = v.UTC()
	}
	return nil
}

// Span is a part of an invocation, as the platform measured it.
type Span struct {
	Name       string  `json:"name"`
	Start      Time    `json:"start"`
	DurationMs float64 `json:"durationMs"`
}

// InitStart is the record of platform.initStart and platform.restoreStart
// (which has neither InitializationType nor Phase). InstanceMaxMemory is in
// bytes. InstanceID is the name of the log stream on default Lambda.
type InitStart struct {
	InitializationType string   `json:"initializationType,omitempty"`
	Phase              string   `json:"phase,omitempty"`
	FunctionName       string   `json:"functionName,omitempty"`
	FunctionVersion    string   `json:"functionVersion,omitempty"`
	InstanceID         string   `json:"instanceId,omitempty"`
	InstanceMaxMemory  int64    `json:"instanceMaxMemory,omitempty"`
	RuntimeVersion     string   `json:"runtimeVersion,omitempty"`
	RuntimeVersionARN  string   `json:"runtimeVersionArn,omitempty"`
	Tracing            *Tracing `json:"tracing,omitempty"`
}

// InitRuntimeDone is the record of platform.initRuntimeDone and
// platform.restoreRuntimeDone.
type InitRuntimeDone struct {
	InitializationType string   `json:"initializationType,omitempty"`
	Phase              string   `json:"phase,omitempty"`
	Status             string   `json:"status,omitempty"`
	ErrorType          string   `json:"errorType,omitempty"`
	Spans              []Span   `json:"spans,omitempty"`
	Tracing            *Tracing `json:"tracing,omitempty"`
}

// InitReport is the record of platform.initReport and platform.restoreReport.
type InitReport struct {
	InitializationType string          `json:"initializationType,omitempty"`
	Phase              string          `json:"phase,omitempty"`
	Status             string          `json:"status,omitempty"`
	ErrorType          string          `json:"errorType,omitempty"`
	Metrics            DurationMetrics `json:"metrics"`
	Spans              []Span          `json:"spans,omitempty"`
	Tracing            *Tracing        `json:"tracing,omitempty"`
}

// DurationMetrics are the metrics of an init or restore report.
type DurationMetrics struct {
	DurationMs float64 `json:"durationMs"`
}

// Start is the record of platform.start.
type Start struct {
	RequestID   string   `json:"requestId"`
	Version     string   `json:"version,omitempty"`
	FunctionARN string   `json:"functionArn,omitempty"`
	TenantID    string   `json:"tenantId,omitempty"`
	Tracing     *Tracing `json:"tracing,omitempty"`
}

// RuntimeDone is the record of platform.runtimeDone.
type RuntimeDone struct {
	RequestID string              `json:"requestId"`
	Status    string              `json:"status,omitempty"`
	ErrorType string              `json:"errorType,omitempty"`
	Metrics   *RuntimeDoneMetrics `json:"metrics,omitempty"`
	Spans     []Span              `json:"spans,omitempty"`
	TenantID  string              `json:"tenantId,omitempty"`
	Tracing   *Tracing            `json:"tracing,omitempty"`
}

// RuntimeDoneMetrics: DurationMs runs from the delivery of the invocation to
// the runtime until the runtime asks for the next one. ProducedBytes is 0 when
// there was no response, and after a handled error.
type RuntimeDoneMetrics struct {
	DurationMs    float64 `json:"durationMs"`
	ProducedBytes int64   `json:"producedBytes"`
}

// Report is the record of platform.report.
type Report struct {
	RequestID string        `json:"requestId"`
	Status    string        `json:"status,omitempty"`
	ErrorType string        `json:"errorType,omitempty"`
	Metrics   ReportMetrics `json:"metrics"`
	Spans     []Span        `json:"spans,omitempty"`
	TenantID  string        `json:"tenantId,omitempty"`
	Tracing   *Tracing      `json:"tracing,omitempty"`
}

// ReportMetrics are what an invocation is billed by. InitDurationMs is present
// only on the invocation that an on-demand cold start was for.
type ReportMetrics struct {
	DurationMs              float64 `json:"durationMs"`
	BilledDurationMs        int64   `json:"billedDurationMs,omitempty"`
	MemorySizeMB            int64   `json:"memorySizeMB,omitempty"`
	MaxMemoryUsedMB         int64   `json:"maxMemoryUsedMB,omitempty"`
	InitDurationMs          float64 `json:"initDurationMs,omitempty"`
	RestoreDurationMs       float64 `json:"restoreDurationMs,omitempty"`
	BilledRestoreDurationMs int64   `json:"billedRestoreDurationMs,omitempty"`
}

// Extension is the record of platform.extension.
type Extension struct {
	Name      string   `json:"name"`
	State     string   `json:"state"`
	Events    []string `json:"events"`
	ErrorType string   `json:"errorType,omitempty"`
}

// TelemetrySubscription is the record of platform.telemetrySubscription.
type TelemetrySubscription struct {
	Name  string   `json:"name"`
	State string   `json:"state"`
	Types []string `json:"types"`
}

// LogsDropped is the record of platform.logsDropped: what the platform threw
// away because its consumer was too slow.
type LogsDropped struct {
	Reason         string `json:"reason"`
	DroppedRecords int64  `json:"droppedRecords"`
	DroppedBytes   int64  `json:"droppedBytes"`
}
