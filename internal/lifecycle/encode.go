package lifecycle

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// ScopeName is the instrumentation scope of every span of ours.
const ScopeName = "github.com/thaw-lambda/thaw/extension"

// Encoder turns what happened in one environment into spans. Its methods
// append to a span slice and keep nothing.
type Encoder struct {
	Environment *Environment
	// ScopeVersion is the version of the extension.
	ScopeVersion string
	// Internal makes invocations INTERNAL instead of SERVER spans, for
	// functions whose own SDK sends a SERVER span.
	Internal bool
	// XRayParent makes the X-Ray parent the parent of sampled invocations. Off
	// by default: in a backend that does not have X-Ray's spans it would leave
	// every trace without a root.
	XRayParent bool
}

// Scope appends the resource and the scope of the environment to td and
// returns the slice that the other methods append to.
func (e *Encoder) Scope(td ptrace.Traces) ptrace.SpanSlice {
	rs := td.ResourceSpans().AppendEmpty()
	e.resource(rs.Resource().Attributes())
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName(ScopeName)
	ss.Scope().SetVersion(e.ScopeVersion)
	return ss.Spans()
}

func (e *Encoder) resource(m pcommon.Map) {
	env := e.Environment
	m.EnsureCapacity(12 + len(env.Extra))
	for _, key := range slices.Sorted(maps.Keys(env.Extra)) {
		m.PutStr(key, env.Extra[key])
	}
	m.PutStr(AttrCloudProvider, "aws")
	m.PutStr(AttrCloudPlatform, "aws_lambda")
	putStr(m, AttrCloudRegion, env.Region)
	putStr(m, AttrCloudAccountID, env.AccountID)
	putStr(m, AttrCloudResource, env.ARN())
	putStr(m, AttrFaasName, env.Name)
	putStr(m, AttrFaasVersion, env.Version)
	putStr(m, AttrFaasInstance, env.ID)
	if env.MemoryMB > 0 {
		m.PutInt(AttrFaasMaxMemory, env.MemoryMB<<20)
	}
	putStr(m, AttrHostArch, env.Arch)
	putStr(m, AttrServiceName, env.ServiceName)
	putStr(m, AttrRuntimeVersion, env.RuntimeVersion)
	putStr(m, AttrInitKind, string(env.Kind))
	if env.CPUUnenforced {
		m.PutStr(AttrCPUEnforced, "false")
	}
}

// ARN returns the unqualified ARN, or "" where a part of it is unknown.
func (f Function) ARN() string {
	if f.AccountID == "" || f.Region == "" || f.Name == "" {
		return ""
	}
	partition := "aws"
	switch {
	case strings.HasPrefix(f.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(f.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":lambda:" + f.Region + ":" + f.AccountID + ":function:" + f.Name
}

// HostArch returns the value of host.arch for this process. Go's names are
// those of the convention.
func HostArch() string { return runtime.GOARCH }

// Invocation appends the spans of inv: one if it is warm and its report is
// known, the whole tree otherwise, the report's own only when it is known.
func (e *Encoder) Invocation(dst ptrace.SpanSlice, inv *Invocation) {
	id := inv.Identity(e.Environment.ID)
	trace, xray := e.trace(inv, id)
	root := dst.AppendEmpty()
	root.SetTraceID(trace)
	root.SetSpanID(id.SpanID(string(SpanInvocation)))
	if e.XRayParent && xray.Sampled {
		root.SetParentSpanID(xray.Parent)
	}
	root.SetName(e.Environment.Name)
	root.SetKind(ptrace.SpanKindServer)
	if e.Internal {
		root.SetKind(ptrace.SpanKindInternal)
	}
	start, end := inv.interval()
	setTimes(root, start, end)
	m := root.Attributes()
	m.EnsureCapacity(24)
	m.PutStr(AttrSpanType, string(SpanInvocation))
	inv.putIdentity(root)
	putStr(m, AttrInvokedARN, inv.ARN)
	putStr(m, AttrAlias, inv.Alias())
	if inv.Init != nil {
		m.PutDouble(AttrWait, ms(inv.Start.Sub(start)))
	}
	inv.Run.put(m)
	if inv.Init == nil && inv.Report != nil {
		inv.putReport(m)
		return
	}
	child := func(role, name string, parent pcommon.SpanID, start time.Time, d time.Duration) ptrace.Span {
		return appendChild(dst, trace, parent, id.SpanID(role), name, start, start.Add(d))
	}
	rootID := root.SpanID()
	if inv.Init != nil {
		e.initSpan(dst, inv.Init, trace, rootID, id)
	}
	if inv.Run != nil {
		run := child(string(SpanRun), "run", rootID, inv.Start, inv.Run.Duration)
		run.Attributes().PutStr(AttrSpanType, string(SpanRun))
		for _, p := range inv.Run.Parts {
			part(child(string(p.Name), string(p.Name), run.SpanID(), p.Start, p.Duration), p)
		}
	}
	if inv.Report != nil {
		e.Report(dst, inv)
	}
}

// Report appends the report of inv as a child span of its own. It begins where
// the run ended and lasts as long as the extensions did.
func (e *Encoder) Report(dst ptrace.SpanSlice, inv *Invocation) {
	id := inv.Identity(e.Environment.ID)
	trace, _ := e.trace(inv, id)
	start := inv.Start
	if inv.Run != nil {
		start = start.Add(inv.Run.Duration)
	}
	end := start.Add(inv.Report.ExtensionOverhead)
	span := appendChild(dst, trace, id.SpanID(string(SpanInvocation)), id.SpanID(string(SpanReport)), "report", start, end)
	span.Attributes().EnsureCapacity(24)
	span.Attributes().PutStr(AttrSpanType, string(SpanReport))
	inv.putIdentity(span)
	inv.putReport(span.Attributes())
}

// Init appends an init that no invocation waited for, as a trace of its own.
func (e *Encoder) Init(dst ptrace.SpanSlice, in *Init) {
	id := Identity{"", e.Environment.ID, in.Start.UnixMilli()}
	e.initSpan(dst, in, id.TraceID(), pcommon.SpanID{}, id)
}

func (e *Encoder) initSpan(dst ptrace.SpanSlice, in *Init, trace pcommon.TraceID, parent pcommon.SpanID, id Identity) {
	span := appendChild(dst, trace, parent, id.SpanID(string(SpanInit)), "init", in.Start, in.Start.Add(in.Duration))
	m := span.Attributes()
	m.EnsureCapacity(16)
	m.PutStr(AttrSpanType, string(SpanInit))
	putStr(m, AttrInvocationID, in.RequestID)
	putStr(m, AttrInitKind, string(in.Kind))
	putStr(m, AttrInitPhase, string(in.Phase))
	putStr(m, AttrInitDemand, string(in.Demand))
	m.PutDouble(AttrInitDuration, ms(in.Duration))
	if in.Gap > 0 {
		m.PutDouble(AttrInitGap, ms(in.Gap))
	}
	putStr(m, AttrFailedExtension, in.FailedExtension)
	putStatus(span, in.Status, in.ErrorType)
	in.Self.put(m)
	in.Profile.put(m)
	spanID := span.SpanID()
	above := spanID
	for _, p := range in.Parts {
		m.PutDouble(partKey(p.Name)+"_ms", ms(p.Duration))
		m.PutStr(partKey(p.Name)+"_basis", string(p.Basis))
	}
	for _, p := range in.Parts {
		child := appendChild(dst, trace, spanID, id.SpanID("init "+string(p.Name)), string(p.Name), p.Start, p.Start.Add(p.Duration))
		part(child, p)
		if p.Name == PartFunction {
			above = child.SpanID()
		}
	}
	in.Profile.spans(dst, trace, above, id)
}

// Shutdown appends the end of the environment, as a trace of its own.
func (e *Encoder) Shutdown(dst ptrace.SpanSlice, s *Shutdown) {
	id := Identity{"shutdown", e.Environment.ID, s.Start.UnixMilli()}
	span := appendChild(dst, id.TraceID(), pcommon.SpanID{}, id.SpanID(string(SpanShutdown)), "shutdown", s.Start, s.Start.Add(s.Duration))
	m := span.Attributes()
	m.EnsureCapacity(16)
	m.PutStr(AttrSpanType, string(SpanShutdown))
	putStr(m, AttrReason, s.Reason)
	m.PutInt(AttrInvocations, s.Invocations)
	m.PutDouble(AttrLifetime, ms(s.Lifetime))
	m.PutInt(AttrReceived, s.Account.EventsReceived)
	m.PutInt(AttrMalformed, s.Account.EventsMalformed)
	m.PutInt(AttrExported, s.Account.SpansExported)
	m.PutInt(AttrDropped, s.Account.SpansDropped)
	m.PutInt(AttrSpooled, s.Account.SpansSpooled)
	if s.Account.LogsForwarded+s.Account.LogsDropped > 0 {
		m.PutInt(AttrLogsForwarded, s.Account.LogsForwarded)
		m.PutInt(AttrLogsDropped, s.Account.LogsDropped)
	}
	m.PutInt(AttrExportedBytes, s.Account.BytesExported)
	m.PutInt(AttrExportFailed, s.Account.ExportFailures)
	m.PutInt(AttrPlatformLost, s.Account.DroppedByPlatform)
	m.PutInt(AttrMissing, s.Account.ReportsMissing)
	m.PutDouble(AttrSelfCPU, ms(s.CPU))
	m.PutInt(AttrSelfMaxRSS, s.MaxRSS)
	s.Self.put(m)
}

func (e *Encoder) trace(inv *Invocation, id Identity) (pcommon.TraceID, XRay) {
	x := ParseXRay(inv.Trace)
	if x.TraceID.IsEmpty() {
		return id.TraceID(), x
	}
	return x.TraceID, x
}

// interval is the time the caller waited: from the init on a cold start.
func (i *Invocation) interval() (start, end time.Time) {
	start, end = i.Start, i.Start
	if i.Init != nil && i.Init.Start.Before(start) {
		start = i.Init.Start
	}
	if i.Run != nil {
		end = i.Start.Add(i.Run.Duration)
	}
	if i.Report != nil && i.Report.Duration > 0 {
		from := i.Start
		if i.Init != nil && i.Init.Phase == PhaseInvoke {
			from = start // the reported duration includes a suppressed init
		}
		end = later(end, from.Add(i.Report.Duration))
	}
	return start, end
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// putIdentity writes what the invocation's span and its report's share.
func (i *Invocation) putIdentity(span ptrace.Span) {
	m := span.Attributes()
	m.PutStr(AttrInvocationID, i.RequestID)
	m.PutBool(AttrColdStart, i.StartType == Cold)
	putStr(m, AttrStart, string(i.StartType))
	putStr(m, AttrSuspected, string(i.Suspected))
	putStatus(span, i.Status, i.ErrorType)
}

// putReport writes the report, and what it leaves unexplained of the bill.
func (i *Invocation) putReport(m pcommon.Map) {
	i.Report.put(m)
	if rest, ok := i.unattributed(); ok {
		m.PutDouble(AttrUnattributed, ms(rest))
	}
}

func (r *Run) put(m pcommon.Map) {
	if r == nil {
		return
	}
	m.PutDouble(AttrRunDuration, ms(r.Duration))
	m.PutInt(AttrProducedBytes, r.ProducedBytes)
	for _, p := range r.Parts {
		if key, ok := runPartKey(p.Name); ok {
			m.PutDouble(key, ms(p.Duration))
		}
	}
}

func (r *Report) put(m pcommon.Map) {
	m.PutBool(AttrReportReceived, r.Received)
	if r.Received || r.Duration > 0 {
		m.PutDouble(AttrDuration, ms(r.Duration))
	}
	if r.Received && r.Billed > 0 { // not of managed instances
		m.PutDouble(AttrBilled, ms(r.Billed))
		m.PutInt(AttrMemoryUsed, r.MaxMemoryUsedMB<<20)
		m.PutDouble(AttrExtensionOverhead, ms(r.ExtensionOverhead))
	}
	if r.Init > 0 {
		m.PutDouble(AttrReportInit, ms(r.Init))
	}
	if r.Restore > 0 {
		m.PutDouble(AttrReportRestore, ms(r.Restore))
	}
	if r.BilledRestore > 0 {
		m.PutDouble(AttrBilledRestore, ms(r.BilledRestore))
	}
	if r.DroppedByPlatform > 0 {
		m.PutInt(AttrPlatformDropped, r.DroppedByPlatform)
	}
	r.Loss.put(m)
	m.PutInt(AttrLogLines, r.Logs.Lines)
	if r.Logs.Lines > 0 {
		m.PutInt(AttrLogBytes, r.Logs.Bytes)
		m.PutInt(AttrLogFrozen, r.Logs.Frozen)
	}
	r.Logs.Arrival.put(m, attrLogArrival)
	r.Logs.Export.put(m, attrLogExport)
	r.Usage.put(m)
}

func (l *Latency) put(m pcommon.Map, prefix string) {
	if l.Count == 0 {
		return
	}
	m.PutInt(prefix+".count", l.Count)
	m.PutDouble(prefix+".sum_ms", ms(l.Sum))
	m.PutDouble(prefix+".max_ms", ms(l.Max))
	if l.Zero > 0 {
		m.PutInt(prefix+".zero_count", l.Zero)
	}
	if len(l.Buckets) == 0 {
		return
	}
	m.PutInt(prefix+".bucket_offset", int64(l.Offset))
	counts := m.PutEmptySlice(prefix + ".bucket_counts")
	counts.EnsureCapacity(len(l.Buckets))
	for _, n := range l.Buckets {
		counts.AppendEmpty().SetInt(n)
	}
}

func part(span ptrace.Span, p Part) {
	span.Attributes().PutStr(AttrSpanType, string(SpanPart))
	span.Attributes().PutStr(AttrBasis, string(p.Basis))
}

func partKey(name PartName) string {
	return attrInitPart + strings.ReplaceAll(string(name), "+", "_")
}

func runPartKey(name PartName) (string, bool) {
	switch name {
	case PartResponseLatency:
		return AttrResponseLatency, true
	case PartResponseDuration:
		return AttrResponseDuration, true
	case PartRuntimeOverhead:
		return AttrRuntimeOverhead, true
	}
	return "", false
}

func appendChild(dst ptrace.SpanSlice, trace pcommon.TraceID, parent, id pcommon.SpanID, name string, start, end time.Time) ptrace.Span {
	span := dst.AppendEmpty()
	span.SetTraceID(trace)
	span.SetParentSpanID(parent)
	span.SetSpanID(id)
	span.SetName(name)
	span.SetKind(ptrace.SpanKindInternal)
	setTimes(span, start, end)
	return span
}

func setTimes(span ptrace.Span, start, end time.Time) {
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
}

func putStatus(span ptrace.Span, status Status, errorType string) {
	putStr(span.Attributes(), AttrStatus, string(status))
	if status == "" || status == Success {
		return
	}
	if errorType == "" {
		errorType = string(status)
	}
	span.Attributes().PutStr(AttrErrorType, errorType)
	span.Status().SetCode(ptrace.StatusCodeError)
	span.Status().SetMessage(errorType)
}

func putStr(m pcommon.Map, key, value string) {
	if value != "" {
		m.PutStr(key, value)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
