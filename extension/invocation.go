package extension

import (
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// invocation is an invocation as far as it is known.
type invocation struct {
	lifecycle.Invocation
	invoked  time.Time // INVOKE; zero if it never came
	started  bool      // platform.start was seen: Start is its time
	done     bool      // platform.runtimeDone was seen
	reported bool      // platform.report was seen
	last     time.Time // the newest event
	lines    lineCounter
	usage    *lifecycle.Usage // nil if it was not measured
	gap      time.Duration    // since the invocation before
}

func (m *machine) add(requestID string, start time.Time) *invocation {
	inv := &invocation{}
	inv.RequestID, inv.Start = requestID, start
	if len(m.open) == maxOpen {
		m.part(m.open[0])
		m.open = m.open[1:]
	}
	m.open = append(m.open, inv)
	m.invocations++
	if m.firstServed == nil {
		m.firstServed = inv
	}
	return inv
}

// awaitingInvoke finds the invocation whose telemetry was faster than its
// INVOKE: a short one may even be done by then. A retry has the same request
// id, so one that had its INVOKE is another.
func (m *machine) awaitingInvoke(requestID string) *invocation {
	for _, inv := range m.open {
		if inv.RequestID == requestID && inv.invoked.IsZero() {
			return inv
		}
	}
	return nil
}

// settledBeforeInvoke recognises the INVOKE of an invocation that is complete
// already: when the runtime crashes, the platform reports at once, and an
// extension on a small share of a CPU may read all of that before the INVOKE.
func (m *machine) settledBeforeInvoke(requestID string) bool {
	for i := range m.settled {
		if s := &m.settled[i]; s.requestID == requestID && !s.invoked {
			s.invoked = true
			return true
		}
	}
	return false
}

func (m *machine) start(at time.Time, rec *lambdaapi.Start) {
	inv := m.awaitingStart(at, rec.RequestID)
	if inv == nil {
		return
	}
	inv.started, inv.Start, inv.last = true, at, at
	if inv.ARN == "" {
		inv.ARN = rec.FunctionARN
		m.identifyFunction(rec.FunctionARN)
	}
	if inv.Trace == "" && rec.Tracing != nil {
		inv.Trace = rec.Tracing.Value
	}
	if !m.managed() {
		m.takeEarly(inv)
	}
	m.current = inv
}

// awaitingStart finds or adds the invocation that a platform.start belongs to;
// nil if it was seen before.
func (m *machine) awaitingStart(at time.Time, requestID string) *invocation {
	if m.wasSettled(at, requestID) {
		return nil
	}
	for _, inv := range m.open {
		if inv.RequestID == requestID && !inv.started {
			return inv
		}
	}
	return m.add(requestID, at)
}

func (m *machine) runtimeDone(at time.Time, rec *lambdaapi.RuntimeDone) {
	var duration time.Duration
	if rec.Metrics != nil {
		duration = milliseconds(rec.Metrics.DurationMs)
	}
	inv := m.find(at, rec.RequestID, duration, func(inv *invocation) bool { return inv.done })
	if inv == nil {
		return
	}
	inv.done, inv.last = true, later(inv.last, at)
	inv.Status, inv.ErrorType = worse(inv.Status, inv.ErrorType, statusOf(rec.Status), rec.ErrorType)
	if duration == 0 {
		return // it could not be read
	}
	m.clock.ran(at, duration)
	inv.Run = &lifecycle.Run{Duration: duration, ProducedBytes: max(rec.Metrics.ProducedBytes, 0)}
	inv.Run.Parts = runParts(inv.Start, rec.Spans)
}

// runParts lays the parts of a run end to end: the platform states when each
// began only to the millisecond, and most last less.
func runParts(start time.Time, spans []lambdaapi.Span) []lifecycle.Part {
	names := []struct {
		span string
		part lifecycle.PartName
	}{
		{lambdaapi.SpanResponseLatency, lifecycle.PartResponseLatency},
		{lambdaapi.SpanResponseDuration, lifecycle.PartResponseDuration},
		{lambdaapi.SpanRuntimeOverhead, lifecycle.PartRuntimeOverhead},
	}
	var parts []lifecycle.Part
	for _, name := range names {
		if d, ok := spanDuration(spans, name.span); ok {
			parts = append(parts, lifecycle.Part{Name: name.part, Start: start, Duration: d, Basis: lifecycle.Measured})
			start = start.Add(d)
		}
	}
	return parts
}

func spanDuration(spans []lambdaapi.Span, name string) (time.Duration, bool) {
	for _, s := range spans {
		if s.Name == name {
			return milliseconds(s.DurationMs), true
		}
	}
	return 0, false
}

func (m *machine) report(at time.Time, rec *lambdaapi.Report) {
	duration := milliseconds(rec.Metrics.DurationMs)
	inv := m.find(at, rec.RequestID, duration, func(inv *invocation) bool { return inv.reported })
	if inv == nil {
		return
	}
	inv.reported, inv.last = true, later(inv.last, at)
	inv.Status, inv.ErrorType = worse(inv.Status, inv.ErrorType, statusOf(rec.Status), rec.ErrorType)
	if m.env.MemoryMB == 0 {
		m.env.MemoryMB = max(rec.Metrics.MemorySizeMB, 0)
	}
	m.clock.billed += time.Duration(max(rec.Metrics.BilledDurationMs, 0)) * time.Millisecond
	overhead, _ := spanDuration(rec.Spans, lambdaapi.SpanExtensionOverhead)
	inv.Report = &lifecycle.Report{
		Received:          true,
		Duration:          duration,
		Billed:            time.Duration(max(rec.Metrics.BilledDurationMs, 0)) * time.Millisecond,
		Init:              milliseconds(rec.Metrics.InitDurationMs),
		Restore:           milliseconds(rec.Metrics.RestoreDurationMs),
		BilledRestore:     time.Duration(max(rec.Metrics.BilledRestoreDurationMs, 0)) * time.Millisecond,
		ExtensionOverhead: overhead,
		MaxMemoryUsedMB:   max(rec.Metrics.MaxMemoryUsedMB, 0),
	}
	if m.managed() && inv.Run == nil && duration > 0 {
		// There is no platform.runtimeDone; the parts of the run are here.
		inv.Run = &lifecycle.Run{Duration: duration, Parts: runParts(inv.Start, rec.Spans)}
	}
}

// fault is for an invocation that the platform says nothing better about.
func (m *machine) fault(text fault) {
	for _, inv := range m.open {
		if inv.Status == "" && inv.RequestID != "" && strings.Contains(string(text), inv.RequestID) {
			inv.Status = lifecycle.Error
		}
	}
}

// find returns the invocation that a platform.runtimeDone or platform.report
// belongs to; nil if had says of all that qualify that they had it, as when an
// event is delivered twice. Of several attempts at one request the newest that
// had begun by then is meant.
func (m *machine) find(at time.Time, requestID string, duration time.Duration, had func(*invocation) bool) *invocation {
	var found *invocation
	seen := false
	for _, list := range [][]*invocation{m.late, m.open} {
		for _, inv := range list {
			if inv.RequestID != requestID || inv.started && at.Before(inv.Start) {
				continue
			}
			seen = true
			if had(inv) {
				continue
			}
			if found == nil || inv.started && at.After(inv.Start) {
				found = inv
			}
		}
	}
	if found != nil || seen || m.wasSettled(at, requestID) {
		return found
	}
	inv := m.add(requestID, at.Add(-duration))
	inv.last = at
	return inv
}

func (m *machine) wasSettled(at time.Time, requestID string) bool {
	for _, s := range m.settled {
		if s.requestID == requestID && !at.After(s.last) {
			return true
		}
	}
	return false
}

// settle sends what is complete, and what later events show to stay as it is:
// an invocation is held for its report until the next one has run.
func (m *machine) settle() {
	if m.managed() {
		m.settleManaged()
		return
	}
	for len(m.open) > 0 {
		inv := m.open[0]
		complete := inv.reported && inv.done
		if !complete && !m.superseded() || m.awaitsProfile() {
			break
		}
		m.open = m.open[1:]
		m.part(inv)
	}
	m.settleLate()
}

// settleManaged sends every invocation that has its report. They are not in any
// order, and one that takes long says nothing about the others.
func (m *machine) settleManaged() {
	if m.awaitsProfile() {
		return
	}
	open := m.open
	m.open = nil
	for _, inv := range open {
		if inv.reported {
			m.part(inv)
		} else {
			m.open = append(m.open, inv)
		}
	}
	m.settleLate()
}

// superseded says whether the oldest open invocation has nothing to wait for.
func (m *machine) superseded() bool {
	if len(m.open) < 2 {
		return false
	}
	if !m.telemetry {
		return true
	}
	for _, later := range m.open[1:] {
		if later.done || later.reported {
			return true
		}
	}
	return false
}

// part lets go of an invocation. Its report, if it is still to come, will be
// sent on its own.
func (m *machine) part(inv *invocation) {
	m.classify(inv)
	m.noteGap(inv)
	switch {
	case inv.reported:
		m.complete(inv)
	case !m.telemetry:
		m.close(inv)
	default:
		m.late = append(m.late, inv)
	}
	m.emit(inv)
}

func (m *machine) settleLate() {
	kept := m.late[:0]
	for _, inv := range m.late {
		if !inv.reported {
			kept = append(kept, inv)
			continue
		}
		m.complete(inv)
		m.emitReport(inv)
	}
	for len(kept) > maxLate {
		m.giveUp(kept[0])
		kept = kept[1:]
	}
	m.late = kept
}

// giveUp sends the absence of a report.
func (m *machine) giveUp(inv *invocation) {
	m.close(inv)
	m.emitReport(inv)
}

// close completes an invocation whose report does not come.
func (m *machine) close(inv *invocation) {
	if !inv.reported {
		inv.Report = &lifecycle.Report{}
		if inv.Run != nil {
			inv.Report.Duration = inv.Run.Duration
		}
		if m.telemetry {
			m.account.ReportsMissing++
		}
	}
	m.complete(inv)
}

// takeEarly charges inv with the lines that nobody could be charged with.
func (m *machine) takeEarly(inv *invocation) {
	m.forward.adopt(inv)
	inv.lines.merge(m.early)
	m.early = lineCounter{}
}

// complete adds to the report what is ours to say.
func (m *machine) complete(inv *invocation) {
	if m.managed() {
		m.takeEarly(inv)
	}
	inv.Report.Logs = inv.lines.summary
	inv.Report.Logs.Export = m.exported
	inv.Report.Usage = inv.usageOf()
	inv.Report.DroppedByPlatform, inv.Report.Loss = m.dropped, m.lost
	m.exported, m.dropped, m.lost = lifecycle.Latency{}, 0, lifecycle.Loss{}
	if m.current == inv {
		m.current = nil // lines that still come are the next one's
	}
	if !m.managed() { // which tells of no run's bytes
		inv.Suspected = inv.Suspect(m.env.MemoryMB)
	}
	m.settled = append(m.settled, settled{inv.RequestID, inv.Start, inv.last, !inv.invoked.IsZero()})
	if len(m.settled) > maxSettled {
		m.settled = m.settled[1:]
	}
}

func (m *machine) emit(inv *invocation) {
	out := inv.Invocation // inv goes on changing if its report is to come
	it := item{invocation: &out, ended: later(inv.Start, inv.last)}
	if inv.Report != nil {
		it.lines = inv.lines.times
	}
	m.out = append(m.out, it)
}

func (m *machine) emitReport(inv *invocation) {
	out := inv.Invocation
	m.out = append(m.out, item{report: &out, lines: inv.lines.times, ended: later(inv.Start, inv.last)})
}

// classify says what the invocation found when it arrived, and sends an init
// that was ready before it on its own.
func (m *machine) classify(inv *invocation) {
	inv.StartType = lifecycle.Warm
	if m.managed() && inv != m.firstServed {
		return // whoever came first is not the first to be done
	}
	in := m.served(inv)
	if in == nil {
		m.classifyBlind(inv)
		return
	}
	demand := in.demand(inv.Start)
	settled := in.settle(m, demand, inv.Start)
	m.firstSeen = true
	if demand == lifecycle.Proactive {
		inv.first()
		m.emitInit(settled)
		return
	}
	settled.RequestID = inv.RequestID
	inv.StartType, inv.Init = lifecycle.Cold, settled
	if in.Phase == lifecycle.PhaseInvoke && severity(in.Status) > severity(lifecycle.Success) {
		inv.Run = nil // there was none: what is told as such is the init again
	}
}

// first is for the first invocation of an environment that was ready, and
// frozen, before the request came.
func (inv *invocation) first() {
	inv.StartType = lifecycle.First
	inv.lines.summary.Frozen += inv.lines.frozenFirst
}

// classifyBlind does without any event of an init. The report of the first
// invocation of an on-demand environment still states how long it took.
func (m *machine) classifyBlind(inv *invocation) {
	if m.firstSeen {
		return
	}
	m.firstSeen = true
	switch {
	case inv.Report != nil && inv.Report.Init > 0:
		in := &lifecycle.Init{
			Kind: m.kind, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, RequestID: inv.RequestID,
			Start: inv.Start.Add(-inv.Report.Init), Duration: inv.Report.Init, Self: m.self,
		}
		in.Parts = lifecycle.FillParts(in.Start, in.Duration, nil)
		inv.StartType, inv.Init = lifecycle.Cold, in
	case inv.Report != nil && inv.Report.Restore > 0:
		in := &lifecycle.Init{
			Kind: lifecycle.SnapStart, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, RequestID: inv.RequestID,
			Start: inv.Start.Add(-inv.Report.Restore), Duration: inv.Report.Restore,
		}
		in.Parts = (&initState{restore: true}).parts(m, in.Start, in.Duration)
		inv.StartType, inv.Init = lifecycle.Cold, in
	case m.kind == lifecycle.SnapStart:
		inv.StartType = lifecycle.Cold // it waited for a restore that nobody told of
	case m.kind == lifecycle.ProvisionedConcurrency || m.managed() || m.ready.IsZero() || inv.Start.Sub(m.ready) > initLimit:
		inv.first()
	default:
		inv.StartType = lifecycle.Cold
	}
}

// initLimit is how long an on-demand init lasts at most: a first invocation
// that comes later did not wait for it.
const initLimit = 10 * time.Second

// endedBy is for an invocation that was running when the environment was shut
// down, and that the platform said nothing more about.
func (inv *invocation) endedBy(reason string) {
	if inv.done || inv.reported {
		return
	}
	switch strings.ToLower(reason) {
	case "timeout":
		inv.Status = lifecycle.Timeout
	case "failure":
		inv.Status = lifecycle.Error
	}
}

// statusOf reads a status. An unknown one is a failure: the platform has a
// word for success.
func statusOf(s string) lifecycle.Status {
	switch status := lifecycle.Status(strings.ToLower(s)); status {
	case "", lifecycle.Success, lifecycle.Error, lifecycle.Failure, lifecycle.Timeout:
		return status
	}
	return lifecycle.Failure
}

// worse returns the worse of two outcomes; of equals the one with a type.
func worse(a lifecycle.Status, aType string, b lifecycle.Status, bType string) (lifecycle.Status, string) {
	switch {
	case severity(b) > severity(a):
		return b, bType
	case severity(b) == severity(a) && aType == "":
		return b, bType
	}
	return a, aType
}

func severity(s lifecycle.Status) int {
	switch s {
	case "":
		return 0
	case lifecycle.Success:
		return 1
	case lifecycle.Error:
		return 2
	case lifecycle.Failure:
		return 3
	}
	return 4
}

// milliseconds reads a duration as the platform states it. What is negative or
// beyond a day is nothing that Lambda measures.
func milliseconds(ms float64) time.Duration {
	if !(ms > 0 && ms < 24*3600*1000) {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
