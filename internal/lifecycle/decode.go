package lifecycle

import (
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Observation is what one span of ours says. Exactly one of the pointers is
// set, but for a report, which comes with the invocation it belongs to, of
// which it knows the request id, how it started and how it ended.
type Observation struct {
	Environment *Environment
	// SpanID is derived from the identity of what was observed: the same
	// observation sent twice has the same one.
	SpanID pcommon.SpanID
	// Began and Time are when it began, for a cold start with the wait, and when
	// it ended.
	Began      time.Time
	Time       time.Time
	Type       SpanType
	Invocation *Invocation
	Init       *Init
	Shutdown   *Shutdown
}

// Decode calls yield for every span in rs that carries data of ours, and bad
// for every one that claims to but cannot be read. Spans of type run and part,
// and those of others, are passed over.
func Decode(rs ptrace.ResourceSpans, yield func(Observation), bad func(error)) {
	var env *Environment
	for _, ss := range rs.ScopeSpans().All() {
		for _, span := range ss.Spans().All() {
			kind := SpanType(str(span.Attributes(), AttrSpanType))
			switch kind {
			case SpanInvocation, SpanInit, SpanReport, SpanShutdown:
			default:
				continue
			}
			if env == nil {
				e := decodeEnvironment(rs.Resource().Attributes())
				env = &e
			}
			obs, err := decodeSpan(env, kind, span)
			if err != nil {
				bad(fmt.Errorf("decode span %q (%s) of %s: %w", span.Name(), span.SpanID(), env.Name, err))
				continue
			}
			yield(obs)
		}
	}
}

func decodeEnvironment(m pcommon.Map) Environment {
	return Environment{
		Function: Function{
			AccountID: str(m, AttrCloudAccountID),
			Region:    str(m, AttrCloudRegion),
			Name:      str(m, AttrFaasName),
		},
		Version:        str(m, AttrFaasVersion),
		Kind:           InitKind(str(m, AttrInitKind)),
		ID:             str(m, AttrFaasInstance),
		MemoryMB:       integer(m, AttrFaasMaxMemory) >> 20,
		Arch:           str(m, AttrHostArch),
		RuntimeVersion: str(m, AttrRuntimeVersion),
		CPUUnenforced:  str(m, AttrCPUEnforced) == "false",
		ServiceName:    str(m, AttrServiceName),
	}
}

func decodeSpan(env *Environment, kind SpanType, span ptrace.Span) (Observation, error) {
	d := decoder{m: span.Attributes()}
	obs := Observation{
		Environment: env,
		SpanID:      span.SpanID(),
		Time:        span.EndTimestamp().AsTime(),
		Type:        kind,
	}
	start := span.StartTimestamp().AsTime()
	obs.Began = start
	if env.Name == "" {
		d.fail("resource has no %s", AttrFaasName)
	}
	if span.SpanID().IsEmpty() {
		d.fail("it has no span id")
	}
	switch kind {
	case SpanInvocation:
		obs.Invocation = d.invocation()
		obs.Invocation.Start = start.Add(d.ms(AttrWait))
		obs.Invocation.ARN = d.str(AttrInvokedARN)
		obs.Invocation.Run = d.run()
		if d.has(AttrReportReceived) {
			obs.Invocation.Report = d.report()
		}
	case SpanReport:
		obs.Invocation = d.invocation()
		obs.Invocation.Report = d.report()
	case SpanInit:
		obs.Init = d.init(start)
	case SpanShutdown:
		obs.Shutdown = d.shutdown(start, span.EndTimestamp().AsTime())
	}
	return obs, d.err
}

// decoder reads attributes and remembers the first thing that was wrong. What
// is absent is zero: old senders and foreign processors may leave things out.
type decoder struct {
	m   pcommon.Map
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *decoder) has(key string) bool {
	_, ok := d.m.Get(key)
	return ok
}

func (d *decoder) str(key string) string { return str(d.m, key) }

func (d *decoder) int(key string) int64 {
	n := integer(d.m, key)
	if n < 0 {
		d.fail("%s is negative: %d", key, n)
	}
	return n
}

// ms reads a duration. A year is far more than anything in Lambda lasts, and
// far less than what overflows.
func (d *decoder) ms(key string) time.Duration {
	v, ok := d.m.Get(key)
	if !ok {
		return 0
	}
	var f float64
	switch v.Type() {
	case pcommon.ValueTypeDouble:
		f = v.Double()
	case pcommon.ValueTypeInt:
		f = float64(v.Int())
	default:
		d.fail("%s is a %s, not a number", key, v.Type())
	}
	if math.IsNaN(f) || f < 0 || f > maxMS {
		d.fail("%s is out of range: %v ms", key, f)
		return 0
	}
	return fromMS(f)
}

// maxMS is a year.
const maxMS = 365 * 24 * 3600 * 1000

func fromMS(f float64) time.Duration { return time.Duration(math.Round(f * float64(time.Millisecond))) }

func (d *decoder) invocation() *Invocation {
	inv := &Invocation{
		RequestID: d.str(AttrInvocationID),
		StartType: Start(d.str(AttrStart)),
		Status:    Status(d.str(AttrStatus)),
		ErrorType: d.str(AttrErrorType),
		Suspected: Suspicion(d.str(AttrSuspected)),
	}
	if inv.RequestID == "" {
		d.fail("it has no %s", AttrInvocationID)
	}
	switch inv.StartType {
	case Cold, First, Warm:
	default:
		d.fail("%s is %q, not cold, first or warm", AttrStart, inv.StartType)
	}
	d.status(inv.Status)
	return inv
}

func (d *decoder) status(s Status) {
	switch s {
	case "", Success, Error, Failure, Timeout:
	default:
		d.fail("%s is %q, not success, error, failure or timeout", AttrStatus, s)
	}
}

func (d *decoder) run() *Run {
	if !d.has(AttrRunDuration) {
		return nil
	}
	run := &Run{Duration: d.ms(AttrRunDuration), ProducedBytes: d.int(AttrProducedBytes)}
	for _, name := range []PartName{PartResponseLatency, PartResponseDuration, PartRuntimeOverhead} {
		if key, _ := runPartKey(name); d.has(key) {
			run.Parts = append(run.Parts, Part{Name: name, Duration: d.ms(key), Basis: Measured})
		}
	}
	return run
}

func (d *decoder) report() *Report {
	received, _ := d.m.Get(AttrReportReceived)
	return &Report{
		Received:          received.Type() == pcommon.ValueTypeBool && received.Bool(),
		Duration:          d.ms(AttrDuration),
		Billed:            d.ms(AttrBilled),
		Init:              d.ms(AttrReportInit),
		Restore:           d.ms(AttrReportRestore),
		BilledRestore:     d.ms(AttrBilledRestore),
		ExtensionOverhead: d.ms(AttrExtensionOverhead),
		MaxMemoryUsedMB:   d.int(AttrMemoryUsed) >> 20,
		DroppedByPlatform: d.int(AttrPlatformDropped),
		Loss:              d.loss(),
		Logs: LogSummary{
			Lines:   d.int(AttrLogLines),
			Bytes:   d.int(AttrLogBytes),
			Frozen:  d.int(AttrLogFrozen),
			Arrival: d.latency(attrLogArrival),
			Export:  d.latency(attrLogExport),
		},
		Usage: d.usage(),
	}
}

// maxBuckets bounds what a stranger can make us allocate: indexes of durations
// between a nanosecond and a year lie in [-30, 25).
const maxBuckets = 64

func (d *decoder) latency(prefix string) Latency {
	l := Latency{
		Count: d.int(prefix + ".count"),
		Sum:   d.ms(prefix + ".sum_ms"),
		Max:   d.ms(prefix + ".max_ms"),
		Zero:  d.int(prefix + ".zero_count"),
	}
	v, ok := d.m.Get(prefix + ".bucket_counts")
	if !ok || v.Type() != pcommon.ValueTypeSlice {
		if l.Count != l.Zero {
			d.fail("%s has %d values and no buckets", prefix, l.Count)
		}
		return l
	}
	offset := integer(d.m, prefix+".bucket_offset")
	if v.Slice().Len() > maxBuckets || offset < -maxBuckets || offset > maxBuckets {
		d.fail("%s has %d buckets from %d: out of range", prefix, v.Slice().Len(), offset)
		return Latency{}
	}
	l.Offset = int32(offset)
	sum := l.Zero
	for _, n := range v.Slice().All() {
		l.Buckets = append(l.Buckets, n.Int())
		if n.Int() < 0 {
			d.fail("%s has a negative bucket", prefix)
		}
		sum += n.Int()
	}
	if sum != l.Count {
		d.fail("%s: buckets hold %d of %d values", prefix, sum, l.Count)
	}
	return l
}

func (d *decoder) init(start time.Time) *Init {
	in := &Init{
		Kind:      InitKind(d.str(AttrInitKind)),
		Phase:     InitPhase(d.str(AttrInitPhase)),
		Demand:    Demand(d.str(AttrInitDemand)),
		Start:     start,
		Duration:  d.ms(AttrInitDuration),
		Status:    Status(d.str(AttrStatus)),
		ErrorType: d.str(AttrErrorType),
		RequestID: d.str(AttrInvocationID),
		Gap:       d.ms(AttrInitGap),
		Self:      d.selfCost(),
		Profile:   d.profile(),
	}
	in.FailedExtension = d.str(AttrFailedExtension)
	d.status(in.Status)
	for _, name := range []PartName{PartRestore, PartExtensions, PartThaw, PartRuntime, PartFunction, PartRuntimeFunction, PartUnattributed} {
		if key := partKey(name); d.has(key + "_ms") {
			p := Part{Name: name, Start: start, Duration: d.ms(key + "_ms"), Basis: Basis(d.str(key + "_basis"))}
			in.Parts = append(in.Parts, p)
			start = start.Add(p.Duration)
		}
	}
	return in
}

func (d *decoder) shutdown(start, end time.Time) *Shutdown {
	return &Shutdown{
		Start:       start,
		Duration:    end.Sub(start),
		Reason:      d.str(AttrReason),
		Invocations: d.int(AttrInvocations),
		Lifetime:    d.ms(AttrLifetime),
		CPU:         d.ms(AttrSelfCPU),
		MaxRSS:      d.int(AttrSelfMaxRSS),
		Self:        d.waiting(),
		Account: Account{
			EventsReceived:    d.int(AttrReceived),
			EventsMalformed:   d.int(AttrMalformed),
			SpansExported:     d.int(AttrExported),
			SpansDropped:      d.int(AttrDropped),
			SpansSpooled:      d.int(AttrSpooled),
			LogsForwarded:     d.int(AttrLogsForwarded),
			LogsDropped:       d.int(AttrLogsDropped),
			BytesExported:     d.int(AttrExportedBytes),
			ExportFailures:    d.int(AttrExportFailed),
			DroppedByPlatform: d.int(AttrPlatformLost),
			ReportsMissing:    d.int(AttrMissing),
		},
	}
}

func str(m pcommon.Map, key string) string {
	if v, ok := m.Get(key); ok && v.Type() == pcommon.ValueTypeStr {
		return v.Str()
	}
	return ""
}

func integer(m pcommon.Map, key string) int64 {
	if v, ok := m.Get(key); ok && v.Type() == pcommon.ValueTypeInt {
		return v.Int()
	}
	return 0
}
