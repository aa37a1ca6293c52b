package cloudwatchlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// Kind is what a line of the platform tells.
type Kind uint8

// Kinds.
const (
	// Application is everything that is not the platform's.
	Application Kind = iota
	InitStart
	InitReport
	RestoreStart
	RestoreReport
	Start
	RuntimeDone
	End
	Report
	// Outcome is an old-style line that says how an invocation ended.
	Outcome
	// Notice is a line of the platform that adds nothing here: EXTENSION,
	// TELEMETRY, XRAY, and events that are unknown.
	Notice
	// LogsDropped says that the platform dropped log records.
	LogsDropped
)

// Event is what a line of the platform says. What it does not say is zero.
type Event struct {
	Kind Kind
	// Time is the time in the line itself, where there is one.
	Time      time.Time
	RequestID string
	Version   string
	Status    lifecycle.Status
	ErrorType string

	Duration, Billed, Init, Restore time.Duration
	BilledRestore                   time.Duration
	MemoryMB, MaxMemoryMB           int64
	ExtensionOverhead               time.Duration
	// Run is what a runtimeDone says of the run.
	Run *lifecycle.Run

	Phase          lifecycle.InitPhase
	InitKind       lifecycle.InitKind
	RuntimeVersion string
	Region         string
	// FunctionName, Instance and InstanceMemoryMB are told by platform.initStart.
	FunctionName, Instance string
	InstanceMemoryMB       int64
	TraceID                string
	Dropped                int64
}

// errBroken is wrapped by every error of Parse.
var errBroken = errors.New("a line of the platform that cannot be read")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBroken, fmt.Sprintf(format, args...))
}

// Parse reads the message of one log event. An error says that it claims to be
// the platform's and cannot be read. Only the beginning of a message is looked
// at: an application may print such lines too.
func Parse(message string) (Event, error) {
	message = strings.TrimLeft(message, " \t\r\n\ufeff")
	if message == "" {
		return Event{}, nil
	}
	if message[0] == '{' {
		return parseJSON(message)
	}
	first, rest, _ := strings.Cut(message, "\n")
	first = strings.TrimRight(first, " \t\r")
	for _, p := range textParsers {
		if strings.HasPrefix(first, p.prefix) {
			return p.parse(first, rest)
		}
	}
	return parseOutcome(first, rest)
}

// textParsers are tried in order.
var textParsers = []struct {
	prefix string
	parse  func(first, rest string) (Event, error)
}{
	{"START RequestId:", parseStart},
	{"END RequestId:", parseEnd},
	{"REPORT RequestId:", parseReport},
	{"INIT_START", parseInitStart},
	{"INIT_REPORT", parseInitReport},
	{"RESTORE_START", parseRestoreStart},
	{"RESTORE_REPORT", parseRestoreReport},
	{"EXTENSION\tName:", notice},
	{"TELEMETRY\tName:", notice},
	{"LOGS\tName:", notice},
	{"XRAY TraceId:", notice},
	{"RequestId:", parseRequestOutcome},
}

func notice(string, string) (Event, error) { return Event{Kind: Notice}, nil }

// fieldKey finds the names of fields. Between fields there is a tab, or what a
// terminal or an editor made of it.
var fieldKey = regexp.MustCompile(`(?:^|[ \t])(RequestId|Version|Billed Restore Duration|Billed Duration|Restore Duration|Init Duration|Duration|` +
	`Memory Size|Max Memory Used|Status|Error Type|Phase|Runtime Version ARN|Runtime Version|XRAY TraceId|TraceId|SegmentId|Sampled):`)

// fields splits a line into its "Key: value" parts. The first value of a key
// counts.
func fields(line string) map[string]string {
	at := fieldKey.FindAllStringSubmatchIndex(line, -1)
	out := make(map[string]string, len(at))
	for i, m := range at {
		end := len(line)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		key := line[m[2]:m[3]]
		if _, ok := out[key]; !ok {
			out[key] = strings.TrimSpace(line[m[1]:end])
		}
	}
	return out
}

// requestID accepts what can be one: a UUID, or what a local Lambda makes up.
var requestID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)

func (e *Event) setRequest(f map[string]string) error {
	e.RequestID = f["RequestId"]
	if !requestID.MatchString(e.RequestID) {
		return broken("it has no request id")
	}
	return nil
}

func parseStart(first, _ string) (Event, error) {
	f := fields(first)
	e := Event{Kind: Start, Version: f["Version"]}
	return e, e.setRequest(f)
}

func parseEnd(first, _ string) (Event, error) {
	e := Event{Kind: End}
	return e, e.setRequest(fields(first))
}

func parseReport(first, rest string) (Event, error) {
	f := fields(first)
	e := Event{Kind: Report}
	if err := e.setRequest(f); err != nil {
		return e, err
	}
	r := fieldReader{f: f}
	e.Duration = r.ms("Duration", true)
	e.Billed = r.ms("Billed Duration", true)
	e.MemoryMB = r.mb("Memory Size", true)
	e.MaxMemoryMB = r.mb("Max Memory Used", false)
	e.Init = r.ms("Init Duration", false)
	e.Restore = r.ms("Restore Duration", false)
	e.BilledRestore = r.ms("Billed Restore Duration", false)
	e.status(&r)
	// The trace is a second line of the same log event; copied from a terminal
	// it may have come onto the first.
	e.TraceID = f["XRAY TraceId"]
	if e.TraceID == "" && strings.HasPrefix(rest, "XRAY TraceId:") {
		e.TraceID = fields(rest)["XRAY TraceId"]
	}
	return e, r.err
}

func parseInitStart(first, _ string) (Event, error) {
	f := fields(first)
	return Event{Kind: InitStart, RuntimeVersion: f["Runtime Version"], Region: region(f["Runtime Version ARN"])}, nil
}

func parseRestoreStart(first, _ string) (Event, error) {
	f := fields(first)
	return Event{Kind: RestoreStart, InitKind: lifecycle.SnapStart, RuntimeVersion: f["Runtime Version"], Region: region(f["Runtime Version ARN"])}, nil
}

func parseInitReport(first, _ string) (Event, error) {
	r := fieldReader{f: fields(first)}
	e := Event{Kind: InitReport, Init: r.ms("Init Duration", true), Phase: lifecycle.InitPhase(r.f["Phase"])}
	e.status(&r)
	return e, r.err
}

func parseRestoreReport(first, _ string) (Event, error) {
	r := fieldReader{f: fields(first)}
	e := Event{Kind: RestoreReport, InitKind: lifecycle.SnapStart, Restore: r.ms("Restore Duration", true)}
	e.status(&r)
	return e, r.err
}

func (e *Event) status(r *fieldReader) {
	e.Status, e.ErrorType = lifecycle.Status(r.f["Status"]), r.f["Error Type"]
	if !knownStatus(e.Status) {
		r.fail("Status is %q", cut(string(e.Status)))
	}
}

func knownStatus(s lifecycle.Status) bool {
	switch s {
	case "", lifecycle.Success, lifecycle.Error, lifecycle.Failure, lifecycle.Timeout:
		return true
	}
	return false
}

// region of an ARN.
func region(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	return parts[3]
}

// fieldReader reads values and remembers the first that could not be read.
type fieldReader struct {
	f   map[string]string
	err error
}

func (r *fieldReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = broken(format, args...)
	}
}

// number reads "3.10 ms". Durations above a year and sizes above 1 TB are not
// Lambda's.
func (r *fieldReader) number(key, unit string, required bool) float64 {
	text, ok := r.f[key]
	if !ok {
		if required {
			r.fail("it has no %s", key)
		}
		return 0
	}
	digits, found := strings.CutSuffix(text, " "+unit)
	v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !found || err != nil || !(v >= 0 && v <= 365*24*3600*1000) {
		r.fail("%s is %q", key, cut(text))
		return 0
	}
	return v
}

func (r *fieldReader) ms(key string, required bool) time.Duration {
	return milliseconds(r.number(key, "ms", required))
}

func (r *fieldReader) mb(key string, required bool) int64 {
	return int64(r.number(key, "MB", required))
}

func milliseconds(ms float64) time.Duration {
	return time.Duration(math.Round(ms * float64(time.Millisecond)))
}

// Old-style outcomes.
var (
	timedOut = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT[0-9:.]+Z)?\s*([0-9a-f]{8}-[0-9a-f-]{27}) Task timed out after ([0-9.]+) seconds`)
	exited   = regexp.MustCompile(`^RequestId: ([0-9A-Za-z_-]+) (Error: (.*)|Process exited before completing request.*)$`)
)

// parseRequestOutcome reads "RequestId: ID Error: Runtime exited ...", whose
// next line names the type of the error.
func parseRequestOutcome(first, rest string) (Event, error) {
	m := exited.FindStringSubmatch(first)
	if m == nil {
		return Event{}, nil // an application may begin a line like that
	}
	e := Event{Kind: Outcome, RequestID: m[1], Status: lifecycle.Error, ErrorType: errorType(rest)}
	switch {
	case strings.HasPrefix(m[3], "Task timed out"):
		e.Status, e.ErrorType = lifecycle.Timeout, ""
	case e.ErrorType == "":
		e.ErrorType = "Runtime.ExitError"
	}
	return e, nil
}

// errorType takes a line for the type of an error if it looks like one.
func errorType(line string) string {
	line, _, _ = strings.Cut(line, "\n")
	line = strings.TrimSpace(line)
	if platformError.MatchString(line) {
		return line
	}
	return ""
}

var platformError = regexp.MustCompile(`^(Runtime|Extension|Function|Sandbox)\.[A-Z][A-Za-z]+$`)

func parseOutcome(first, _ string) (Event, error) {
	if !strings.Contains(first, " Task timed out after ") {
		return Event{}, nil
	}
	m := timedOut.FindStringSubmatch(first)
	if m == nil {
		return Event{}, nil
	}
	e := Event{Kind: Outcome, RequestID: m[2], Status: lifecycle.Timeout}
	if seconds, err := strconv.ParseFloat(m[3], 64); err == nil && seconds <= 900 {
		e.Duration = milliseconds(1000 * seconds)
	}
	if t, err := time.Parse(time.RFC3339Nano, m[1]); err == nil {
		e.Time = plausible(t)
	}
	return e, nil
}

// platformType recognises a JSON line of the platform, also a torn one.
var platformType = regexp.MustCompile(`^\{[^{]{0,120}"type"\s*:\s*"platform\.`)

func parseJSON(message string) (Event, error) {
	if !platformType.MatchString(message) {
		return Event{}, nil
	}
	var raw lambdaapi.Event
	if err := json.Unmarshal([]byte(message), &raw); err != nil {
		return Event{}, broken("it is not JSON: %v", err)
	}
	return FromTelemetry(raw)
}

// FromTelemetry reads an event of the Telemetry API, which is what Lambda writes
// into a log in JSON format.
func FromTelemetry(raw lambdaapi.Event) (Event, error) {
	e := Event{Kind: Notice, Time: plausible(raw.Time.Time)}
	decode := func(record any) error {
		if err := json.Unmarshal(raw.Record, record); err != nil {
			return broken("the record of %s cannot be read", raw.Type)
		}
		return nil
	}
	var err error
	switch raw.Type {
	case lambdaapi.TypeInitStart, lambdaapi.TypeRestoreStart:
		err = e.initStart(raw.Type, decode)
	case lambdaapi.TypeInitReport, lambdaapi.TypeRestoreReport:
		err = e.initReport(raw.Type, decode)
	case lambdaapi.TypeStart:
		err = e.start(decode)
	case lambdaapi.TypeRuntimeDone:
		err = e.runtimeDone(decode)
	case lambdaapi.TypeReport:
		err = e.report(decode)
	case lambdaapi.TypeFault:
		return e.fault(raw.Record)
	case lambdaapi.TypeLogsDropped:
		var r lambdaapi.LogsDropped
		err = decode(&r)
		e.Kind, e.Dropped = LogsDropped, max(r.DroppedRecords, 0)
	}
	if err == nil && !knownStatus(e.Status) {
		err = broken("status is %q", cut(string(e.Status)))
	}
	return e, err
}

func (e *Event) initStart(kind string, decode func(any) error) error {
	var r lambdaapi.InitStart
	err := decode(&r)
	e.Kind, e.InitKind = InitStart, lifecycle.InitKind(r.InitializationType)
	if kind == lambdaapi.TypeRestoreStart {
		e.Kind, e.InitKind = RestoreStart, lifecycle.SnapStart
	}
	e.Phase, e.FunctionName, e.Version, e.Instance = lifecycle.InitPhase(r.Phase), r.FunctionName, r.FunctionVersion, r.InstanceID
	e.RuntimeVersion, e.Region = r.RuntimeVersion, region(r.RuntimeVersionARN)
	// Observed in bytes; the documentation's example is in MB.
	if e.InstanceMemoryMB = r.InstanceMaxMemory; e.InstanceMemoryMB > 1<<20 {
		e.InstanceMemoryMB >>= 20
	}
	return err
}

func (e *Event) initReport(kind string, decode func(any) error) error {
	var r lambdaapi.InitReport
	err := decode(&r)
	e.Kind, e.InitKind, e.Init = InitReport, lifecycle.InitKind(r.InitializationType), milliseconds(r.Metrics.DurationMs)
	if kind == lambdaapi.TypeRestoreReport {
		e.Kind, e.InitKind, e.Restore, e.Init = RestoreReport, lifecycle.SnapStart, e.Init, 0
	}
	e.Phase, e.Status, e.ErrorType = lifecycle.InitPhase(r.Phase), lifecycle.Status(r.Status), r.ErrorType
	return err
}

func (e *Event) start(decode func(any) error) error {
	var r lambdaapi.Start
	if err := decode(&r); err != nil {
		return err
	}
	e.Kind, e.RequestID, e.Version = Start, r.RequestID, r.Version
	if r.Tracing != nil {
		e.TraceID = r.Tracing.Value
	}
	return e.needRequest()
}

func (e *Event) needRequest() error {
	if !requestID.MatchString(e.RequestID) {
		return broken("it has no request id")
	}
	return nil
}

func (e *Event) runtimeDone(decode func(any) error) error {
	var r lambdaapi.RuntimeDone
	if err := decode(&r); err != nil {
		return err
	}
	e.Kind, e.RequestID, e.Status, e.ErrorType = RuntimeDone, r.RequestID, lifecycle.Status(r.Status), r.ErrorType
	if r.Metrics != nil {
		e.Run = &lifecycle.Run{Duration: milliseconds(r.Metrics.DurationMs), ProducedBytes: max(r.Metrics.ProducedBytes, 0)}
	}
	return e.needRequest()
}

func (e *Event) report(decode func(any) error) error {
	var r lambdaapi.Report
	if err := decode(&r); err != nil {
		return err
	}
	m := r.Metrics
	e.Kind, e.RequestID, e.Status, e.ErrorType = Report, r.RequestID, lifecycle.Status(r.Status), r.ErrorType
	e.Duration, e.Billed = milliseconds(m.DurationMs), time.Duration(m.BilledDurationMs)*time.Millisecond
	e.MemoryMB, e.MaxMemoryMB = m.MemorySizeMB, m.MaxMemoryUsedMB
	e.Init, e.Restore = milliseconds(m.InitDurationMs), milliseconds(m.RestoreDurationMs)
	e.BilledRestore = time.Duration(max(m.BilledRestoreDurationMs, 0)) * time.Millisecond
	for _, s := range r.Spans {
		if s.Name == lambdaapi.SpanExtensionOverhead {
			e.ExtensionOverhead = milliseconds(s.DurationMs)
		}
	}
	if m.DurationMs < 0 || m.BilledDurationMs < 0 || m.MemorySizeMB < 0 || m.MaxMemoryUsedMB < 0 {
		return broken("a metric is negative")
	}
	return e.needRequest()
}

// fault reads platform.fault, whose record is a string like an old-style
// outcome, or an object that holds one.
func (e *Event) fault(record json.RawMessage) (Event, error) {
	var text string
	if json.Unmarshal(record, &text) != nil {
		var object struct{ Fault string }
		if err := json.Unmarshal(record, &object); err != nil {
			return *e, broken("the record of platform.fault cannot be read")
		}
		text = object.Fault
	}
	first, rest, _ := strings.Cut(text, "\n")
	out, err := parseRequestOutcome(strings.TrimSpace(first), rest)
	out.Time = e.Time
	if out.Kind == Application {
		out.Kind = Notice
	}
	return out, err
}

// cut makes a stranger's text fit to be shown.
func cut(s string) string {
	const most = 120
	s = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s[:min(len(s), 4*most)])
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}
