package lifecycle

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

var update = flag.Bool("update", false, "write the golden files")

var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }

const msec = time.Millisecond

func environment() *Environment {
	return &Environment{
		Function: Function{AccountID: "123456789012", Region: "eu-west-1", Name: "thumbnail"},
		Version:  "7", ID: "2026/01/01/[7]569c0c34", MemoryMB: 512, Arch: "arm64",
		RuntimeVersion: "nodejs:22.v3", CPUUnenforced: true, ServiceName: "images",
	}
}

func coldInit() *Init {
	return &Init{
		Kind: OnDemand, Phase: PhaseInit, Demand: OnPath, Start: at(0), Duration: 1843 * msec, Status: Success,
		RequestID: "r1", Gap: 7 * msec, Self: SelfCost{Registered: 3 * msec, Subscribed: 4 * msec, Ready: 5 * msec, CPU: 4500 * time.Microsecond},
		Parts: FillParts(at(0), 1843*msec, []Part{
			{PartExtensions, at(0), 9 * msec, Derived}, {PartThaw, at(9), 5 * msec, Measured}, {PartRuntimeFunction, at(14), 1800 * msec, Derived},
		}),
	}
}

func someRun(start time.Time) *Run {
	return &Run{Duration: 71 * msec, ProducedBytes: 50, Parts: []Part{
		{PartResponseLatency, start, 64 * msec, Measured},
		{PartResponseDuration, start.Add(64 * msec), 3 * msec, Measured},
		{PartRuntimeOverhead, start.Add(67 * msec), 4 * msec, Measured},
	}}
}

func someReport() *Report {
	r := &Report{
		Received: true, Duration: 71200 * time.Microsecond, Billed: 1915 * msec, ExtensionOverhead: 200 * time.Microsecond,
		MaxMemoryUsedMB: 143, DroppedByPlatform: 3, Loss: Loss{Dropped: 2, Spooled: 5},
	}
	r.Logs = LogSummary{Lines: 3, Bytes: 120, Frozen: 1}
	for _, d := range []time.Duration{31 * msec, 0, 3 * time.Second} {
		r.Logs.Arrival.Observe(d)
	}
	r.Logs.Export.ObserveN(time.Second, 2)
	r.Logs.Export.Observe(0)
	r.Usage = someUsage()
	return r
}

const trace = "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1"

func invocation(start Start) *Invocation {
	inv := &Invocation{
		RequestID: "r1", Start: at(1850), ARN: "arn:aws:lambda:eu-west-1:123456789012:function:thumbnail:live", Trace: trace,
		StartType: start, Status: Success, Run: someRun(at(1850)), Report: someReport(),
	}
	if start == Cold {
		inv.Init = coldInit()
		inv.Report.Init = 1843 * msec
	}
	return inv
}

func shutdown() *Shutdown {
	return &Shutdown{
		Start: at(90000), Duration: 50 * msec, Reason: "spindown", Invocations: 12, Lifetime: 90 * time.Second,
		CPU: 31 * msec, MaxRSS: 11 << 20, Self: Waiting{Held: 3, Added: 90 * msec},
		Account: Account{
			EventsReceived: 100, EventsMalformed: 1, SpansExported: 21, SpansDropped: 2, SpansSpooled: 7, LogsForwarded: 60, LogsDropped: 8, BytesExported: 4096, ExportFailures: 3,
			DroppedByPlatform: 4, ReportsMissing: 1,
		},
	}
}

// cases are what the goldens, the round trip and the list of attributes share.
func cases() map[string]func(*Encoder, ptrace.SpanSlice) {
	with := func(inv *Invocation, change func(*Invocation)) func(*Encoder, ptrace.SpanSlice) {
		change(inv)
		return func(e *Encoder, dst ptrace.SpanSlice) { e.Invocation(dst, inv) }
	}
	return map[string]func(*Encoder, ptrace.SpanSlice){
		"cold":  with(invocation(Cold), func(*Invocation) {}),
		"warm":  with(invocation(Warm), func(*Invocation) {}),
		"first": with(invocation(First), func(*Invocation) {}),
		"cold-without-report": with(invocation(Cold), func(inv *Invocation) {
			inv.Report = nil
		}),
		"warm-without-report": with(invocation(Warm), func(inv *Invocation) {
			inv.Report = nil
		}),
		"late-report": func(e *Encoder, dst ptrace.SpanSlice) { e.Report(dst, invocation(Warm)) },
		"missing-report": func(e *Encoder, dst ptrace.SpanSlice) {
			inv := invocation(Warm)
			inv.Report = &Report{Duration: inv.Run.Duration}
			e.Report(dst, inv)
		},
		"timeout": with(invocation(Warm), func(inv *Invocation) {
			inv.Status = Timeout
			inv.Run.Parts = nil
		}),
		"suppressed-init": with(invocation(Cold), func(inv *Invocation) {
			inv.Init.Phase, inv.Trace = PhaseInvoke, ""
			inv.Status, inv.ErrorType = Error, "Runtime.ExitError"
			inv.Init.Status, inv.Init.ErrorType = Error, "Runtime.ExitError"
			inv.Report.Init, inv.Report.Duration = 0, 2*time.Second
		}),
		"restore": with(invocation(Cold), func(inv *Invocation) {
			inv.Init.Kind, inv.Init.Self = SnapStart, SelfCost{}
			inv.Init.Parts = FillParts(at(0), 1843*msec, []Part{{PartRestore, at(0), 1800 * msec, Measured}})
			inv.Report.Init, inv.Report.Restore, inv.Report.BilledRestore, inv.Report.Billed = 0, 1800*msec, 53*msec, 125*msec
		}),
		"handled-error": with(invocation(Warm), func(inv *Invocation) {
			inv.Run.ProducedBytes, inv.Report.Billed = 0, 72*msec
			inv.Suspected = inv.Suspect(512)
		}),
		"managed": func(e *Encoder, dst ptrace.SpanSlice) {
			inv := invocation(Warm)
			inv.Run.Parts = inv.Run.Parts[:2]
			inv.Report = &Report{Received: true, Duration: 71 * msec}
			e.Invocation(dst, inv)
		},
		"init-with-hook": func(e *Encoder, dst ptrace.SpanSlice) {
			in := coldInit()
			in.Demand, in.RequestID = Proactive, ""
			in.Parts = FillParts(at(0), 1843*msec, []Part{
				{PartExtensions, at(0), 14 * msec, Derived}, {PartRuntime, at(14), 102 * msec, Measured}, {PartFunction, at(116), 1727 * msec, Measured},
			})
			in.Profile = someProfile()
			e.Init(dst, in)
		},
		"init-inside": func(e *Encoder, dst ptrace.SpanSlice) {
			in := coldInit()
			in.Demand, in.RequestID, in.Status, in.ErrorType = Unused, "", Timeout, ""
			in.Profile = &InitProfile{Hook: "node/1", Inside: "app.js > slow.js"}
			e.Init(dst, in)
		},
		"unused": func(e *Encoder, dst ptrace.SpanSlice) {
			in := coldInit()
			in.Demand, in.RequestID = Unused, ""
			e.Init(dst, in)
		},
		"extension-crash": func(e *Encoder, dst ptrace.SpanSlice) {
			in := coldInit()
			in.Demand, in.RequestID, in.Status, in.ErrorType, in.FailedExtension = Unused, "", Error, "Extension.Crash", "other"
			e.Init(dst, in)
		},
		"shutdown": func(e *Encoder, dst ptrace.SpanSlice) { e.Shutdown(dst, shutdown()) },
	}
}

func encode(t *testing.T, f func(*Encoder, ptrace.SpanSlice)) ptrace.ResourceSpans {
	t.Helper()
	traces := ptrace.NewTraces()
	e := &Encoder{Environment: environment(), ScopeVersion: "0.1.0"}
	f(e, e.Scope(traces))
	// Over the wire, as it will be read.
	var m ptrace.ProtoMarshaler
	b, err := m.MarshalTraces(traces)
	if err != nil {
		t.Fatal(err)
	}
	var u ptrace.ProtoUnmarshaler
	if traces, err = u.UnmarshalTraces(b); err != nil {
		t.Fatal(err)
	}
	return traces.ResourceSpans().At(0)
}

// TestGolden writes the spans of each case as a person would read them.
func TestGolden(t *testing.T) {
	for name, f := range cases() {
		t.Run(name, func(t *testing.T) {
			got := render(encode(t, f))
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func render(rs ptrace.ResourceSpans) string {
	var b strings.Builder
	spans := rs.ScopeSpans().At(0).Spans()
	ids := map[pcommon.SpanID]bool{}
	for _, s := range spans.All() {
		ids[s.SpanID()] = true
	}
	var tree func(parent pcommon.SpanID, indent string)
	one := func(s ptrace.Span, indent string) {
		fmt.Fprintf(&b, "%s%s %s at %v for %v", indent, s.Name(), strings.ToUpper(s.Kind().String()), s.StartTimestamp().AsTime().Sub(base), s.EndTimestamp().AsTime().Sub(s.StartTimestamp().AsTime()))
		if s.Status().Code() == ptrace.StatusCodeError {
			fmt.Fprintf(&b, " ERROR %s", s.Status().Message())
		}
		fmt.Fprintf(&b, "\n%s  id %s of %s parent %s\n", indent, s.SpanID(), s.TraceID(), s.ParentSpanID())
		attributes := s.Attributes().AsRaw()
		for _, key := range slices.Sorted(maps.Keys(attributes)) {
			fmt.Fprintf(&b, "%s  %s=%v\n", indent, key, attributes[key])
		}
		tree(s.SpanID(), indent+"    ")
	}
	tree = func(parent pcommon.SpanID, indent string) {
		for _, s := range spans.All() {
			if s.ParentSpanID() == parent && !s.SpanID().IsEmpty() {
				one(s, indent)
			}
		}
	}
	for _, s := range spans.All() {
		if !ids[s.ParentSpanID()] {
			one(s, "")
		}
	}
	return b.String()
}

func decodeAll(t *testing.T, rs ptrace.ResourceSpans) []Observation {
	t.Helper()
	var out []Observation
	Decode(rs, func(o Observation) { out = append(out, o) }, func(err error) { t.Error(err) })
	return out
}

// TestRoundTrip: what is written can be read, and says the same.
func TestRoundTrip(t *testing.T) {
	obs := decodeAll(t, encode(t, cases()["cold"]))
	if len(obs) != 3 {
		t.Fatalf("%d observations", len(obs))
	}
	want := invocation(Cold)
	env := environment()
	if got := obs[0].Environment; fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *env) {
		t.Errorf("environment %+v", got)
	}
	inv, in, report := obs[0].Invocation, obs[1].Init, obs[2].Invocation
	if inv.RequestID != "r1" || !inv.Start.Equal(want.Start) || inv.ARN != want.ARN || inv.StartType != Cold || inv.Status != Success || inv.Report != nil {
		t.Errorf("invocation %+v", inv)
	}
	equal(t, "run", stripStarts(inv.Run), stripStarts(want.Run))
	equal(t, "init", in, want.Init)
	equalReports(t, "report", report.Report, want.Report)
	if id := want.Identity(env.ID).SpanID(string(SpanInvocation)); obs[0].SpanID != id {
		t.Errorf("span id %v, want %v", obs[0].SpanID, id)
	}

	warm := decodeAll(t, encode(t, cases()["warm"]))
	if len(warm) != 1 {
		t.Fatalf("%d observations", len(warm))
	}
	equalReports(t, "report of a warm invocation", warm[0].Invocation.Report, invocation(Warm).Report)
	equal(t, "run of a warm invocation", stripStarts(warm[0].Invocation.Run), stripStarts(someRun(at(0))))

	gone := decodeAll(t, encode(t, cases()["shutdown"]))
	equal(t, "shutdown", gone[0].Shutdown, shutdown())
	for name, f := range cases() {
		if len(decodeAll(t, encode(t, f))) == 0 {
			t.Errorf("%s: nothing", name)
		}
	}
}

func stripStarts(r *Run) *Run {
	out := *r
	out.Parts = slices.Clone(r.Parts)
	for i := range out.Parts {
		out.Parts[i].Start = time.Time{}
	}
	return &out
}

func equal[T any](t *testing.T, what string, got, want *T) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *want); g != w {
		t.Errorf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}

// equalReports compares what a report points to, too.
func equalReports(t *testing.T, what string, got, want *Report) {
	t.Helper()
	g, w := *got, *want
	equal(t, what+"'s usage", g.Usage, w.Usage)
	g.Usage, w.Usage = nil, nil
	equal(t, what, &g, &w)
}

// TestAttributes holds the list against what is written, both ways.
func TestAttributes(t *testing.T) {
	types := map[string]string{}
	for _, a := range Attributes() {
		if _, twice := types[a.Name]; twice || a.On == "" || a.Text == "" {
			t.Errorf("attribute %+v", a)
		}
		types[a.Name] = a.Type
	}
	seen := map[string]bool{}
	check := func(m pcommon.Map) {
		for key, value := range m.All() {
			seen[key] = true
			want, ok := types[key]
			names := map[pcommon.ValueType]string{
				pcommon.ValueTypeStr: "string", pcommon.ValueTypeInt: "int", pcommon.ValueTypeDouble: "double",
				pcommon.ValueTypeBool: "bool", pcommon.ValueTypeBytes: "bytes",
			}
			got := names[value.Type()]
			if value.Type() == pcommon.ValueTypeSlice {
				got = names[value.Slice().At(0).Type()] + "[]"
			}
			if !ok || got != want {
				t.Errorf("%s is a %s, listed as %q", key, got, want)
			}
		}
	}
	for _, f := range cases() {
		rs := encode(t, f)
		check(rs.Resource().Attributes())
		for _, s := range rs.ScopeSpans().At(0).Spans().All() {
			check(s.Attributes())
		}
	}
	for name := range types {
		if !seen[name] {
			t.Errorf("%s is listed and never written", name)
		}
	}
}

func TestExtraAttributesDoNotHideOurs(t *testing.T) {
	traces := ptrace.NewTraces()
	env := environment()
	env.Extra = map[string]string{"team": "images", AttrFaasName: "mine"}
	e := &Encoder{Environment: env}
	e.Scope(traces)
	m := traces.ResourceSpans().At(0).Resource().Attributes()
	if str(m, "team") != "images" || str(m, AttrFaasName) != "thumbnail" {
		t.Errorf("resource %v", m.AsRaw())
	}
}

func TestParents(t *testing.T) {
	root := func(e *Encoder, header string) ptrace.Span {
		inv := invocation(Warm)
		inv.Trace = header
		dst := ptrace.NewSpanSlice()
		e.Environment = environment()
		e.Invocation(dst, inv)
		return dst.At(0)
	}
	if s := root(&Encoder{}, trace); !s.ParentSpanID().IsEmpty() || s.Kind() != ptrace.SpanKindServer {
		t.Errorf("parent %v of kind %v", s.ParentSpanID(), s.Kind())
	}
	if s := root(&Encoder{XRayParent: true, Internal: true}, trace); s.ParentSpanID().String() != "2be948a625588e32" || s.Kind() != ptrace.SpanKindInternal {
		t.Errorf("parent %v of kind %v", s.ParentSpanID(), s.Kind())
	}
	if s := root(&Encoder{XRayParent: true}, strings.Replace(trace, "Sampled=1", "Sampled=0", 1)); !s.ParentSpanID().IsEmpty() {
		t.Errorf("parent %v of an unsampled invocation", s.ParentSpanID())
	}
	if s := root(&Encoder{}, ""); s.TraceID().IsEmpty() {
		t.Error("no trace id without a header")
	}
}

func TestParseXRay(t *testing.T) {
	f := func(header, traceID, parent string, sampled bool) {
		t.Helper()
		x := ParseXRay(header)
		if x.TraceID.String() != traceID || x.Parent.String() != parent || x.Sampled != sampled {
			t.Errorf("%q: %+v", header, x)
		}
	}
	const id = "5f35ae120c0fec141ab77a00bc047aa2"
	f(trace, id, "2be948a625588e32", true)
	f("Root=1-5f35ae12-0c0fec141ab77a00bc047aa2", id, "", false)
	f("Sampled=0; Parent=2be948a625588e32 ;Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Lineage=a:1|b:2", id, "2be948a625588e32", false)
	f("Self=1-5f35ae12-0c0fec141ab77a00bc047aa3;"+trace, id, "2be948a625588e32", true)
	f("Root=1-5F35AE12-0C0FEC141AB77A00BC047AA2;Sampled=?", id, "", false)
	f("", "", "", false)
	f("Root=2-5f35ae12-0c0fec141ab77a00bc047aa2", "", "", false)
	f("Root=1-5f35ae12-0c0fec141ab77a00bc047aa", "", "", false)
	f("Root=1-5f35ae12-0c0fec141ab77a00bc047aag", "", "", false)
	f("Parent=2be948a6;Sampled=true", "", "", false)
	f(";;=;Root;Root=", "", "", false)
}

func TestLatency(t *testing.T) {
	f := func(d time.Duration, index int32) {
		t.Helper()
		var l Latency
		l.Observe(d)
		if l.Offset != index || len(l.Buckets) != 1 || l.Sum != d || l.Max != d {
			t.Errorf("%v: %+v", d, l)
		}
	}
	f(time.Second, -1) // (0.5, 1]
	f(time.Second+1, 0)
	f(2*time.Second, 0)
	f(3*time.Second, 1)
	f(500*msec, -2)
	f(time.Nanosecond, -30)
	f(time.Hour, 11)

	var l Latency
	l.Observe(-time.Second)
	l.Observe(0)
	l.ObserveN(time.Second, 0)
	if l.Count != 2 || l.Zero != 2 || l.Buckets != nil || l.Sum != 0 {
		t.Errorf("%+v", l)
	}
	for _, d := range []time.Duration{time.Second, 8 * time.Second, 10 * msec} {
		l.Observe(d)
	}
	var sum Latency
	sum.Observe(100 * time.Second)
	sum.Merge(l)
	sum.Merge(Latency{})
	var n int64
	for _, b := range sum.Buckets {
		n += b
	}
	if sum.Count != 6 || n+sum.Zero != 6 || sum.Max != 100*time.Second || sum.Sum != 109010*msec || sum.Offset != -7 {
		t.Errorf("%+v", sum)
	}
}

func TestFillParts(t *testing.T) {
	f := func(total time.Duration, durations []time.Duration, want string) {
		t.Helper()
		var parts []Part
		for _, d := range durations {
			parts = append(parts, Part{PartFunction, at(0), d, Measured})
		}
		var got []string
		var sum time.Duration
		for _, p := range FillParts(at(0), total, parts) {
			got = append(got, fmt.Sprintf("%s %v", p.Name, p.Duration))
			sum += p.Duration
		}
		if s := strings.Join(got, ", "); s != want || sum != max(total, 0) {
			t.Errorf("%v: %s, sum %v", durations, s, sum)
		}
	}
	f(10, []time.Duration{4, 6}, "function 4ns, function 6ns")
	f(10, []time.Duration{4}, "function 4ns, unattributed 6ns")
	f(10, nil, "unattributed 10ns")
	f(10, []time.Duration{4, 20, 3}, "function 4ns, function 6ns, function 0s")
	f(10, []time.Duration{-4, 3}, "function 0s, function 3ns, unattributed 7ns")
	f(0, []time.Duration{4}, "function 0s")
	f(-5, []time.Duration{4}, "function 0s")
}

func TestDemandOf(t *testing.T) {
	f := func(gap time.Duration, want Demand) {
		t.Helper()
		if got := DemandOf(gap); got != want {
			t.Errorf("%v: %s", gap, got)
		}
	}
	f(-time.Second, OnPath)
	f(100*msec, OnPath)
	f(101*msec, Uncertain)
	f(time.Second, Uncertain)
	f(1001*msec, Proactive)
}

func TestAlias(t *testing.T) {
	f := func(qualifier, want string) {
		t.Helper()
		inv := Invocation{ARN: "arn:aws:lambda:eu-west-1:123456789012:function:thumbnail" + qualifier}
		if got := inv.Alias(); got != want {
			t.Errorf("%q: %q", qualifier, got)
		}
	}
	f("", "")
	f(":live", "live")
	f(":7", "")
	f(":$LATEST", "")
	f(":v7", "v7")
}

// TestIdentity: a retry is another invocation, the same one sent twice is not.
func TestIdentity(t *testing.T) {
	a := Identity{"r1", "env", 1}
	for _, b := range []Identity{{"r1", "env", 2}, {"r2", "env", 1}, {"r1", "other", 1}} {
		if a.SpanID("report") == b.SpanID("report") || a.TraceID() == b.TraceID() {
			t.Errorf("%+v has the ids of %+v", b, a)
		}
	}
	again := Identity{"r1", "env", 1}
	if a.SpanID("report") != again.SpanID("report") || a.SpanID("report") == a.SpanID("run") {
		t.Error("span ids are not derived from identity and role")
	}
}

// TestDecodeRefuses: spans that claim to be ours and are not.
func TestDecodeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(ptrace.ResourceSpans, ptrace.Span){
		"no function":     func(rs ptrace.ResourceSpans, _ ptrace.Span) { rs.Resource().Attributes().Remove(AttrFaasName) },
		"no request":      func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().Remove(AttrInvocationID) },
		"no span id":      func(_ ptrace.ResourceSpans, s ptrace.Span) { s.SetSpanID(pcommon.SpanID{}) },
		"unknown start":   func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutStr(AttrStart, "lukewarm") },
		"unknown status":  func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutStr(AttrStatus, "fine") },
		"negative":        func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutDouble(AttrDuration, -1) },
		"too long":        func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutDouble(AttrDuration, 1e300) },
		"not a number":    func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutStr(AttrDuration, "12") },
		"counts that lie": func(_ ptrace.ResourceSpans, s ptrace.Span) { s.Attributes().PutInt(attrLogArrival+".count", 99) },
		"far buckets": func(_ ptrace.ResourceSpans, s ptrace.Span) {
			s.Attributes().PutInt(attrLogArrival+".bucket_offset", 1<<40)
		},
	} {
		rs := encode(t, cases()["warm"])
		spoil(rs, rs.ScopeSpans().At(0).Spans().At(0))
		var errs []error
		Decode(rs, func(Observation) { t.Errorf("%s: accepted", name) }, func(err error) { errs = append(errs, err) })
		if len(errs) != 1 {
			t.Errorf("%s: errors %v", name, errs)
		}
	}
}

// FuzzDecode: a stranger's spans may be nonsense, but nothing panics, and what
// is accepted is sane.
func FuzzDecode(f *testing.F) {
	var m ptrace.ProtoMarshaler
	for _, c := range cases() {
		traces := ptrace.NewTraces()
		e := &Encoder{Environment: environment()}
		c(e, e.Scope(traces))
		b, err := m.MarshalTraces(traces)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var u ptrace.ProtoUnmarshaler
		traces, err := u.UnmarshalTraces(b)
		if err != nil {
			return
		}
		for _, rs := range traces.ResourceSpans().All() {
			Decode(rs, func(o Observation) {
				if o.Environment.Name == "" || o.SpanID.IsEmpty() {
					t.Errorf("accepted %+v", o)
				}
				if o.Invocation != nil && o.Invocation.Report != nil && o.Invocation.Report.Duration < 0 {
					t.Errorf("accepted %+v", o.Invocation.Report)
				}
			}, func(error) {})
		}
	})
}
