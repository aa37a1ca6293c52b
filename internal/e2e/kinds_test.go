package e2e

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/layer"
)

// TestKindsAndPhases runs the extension as it ships through every kind of
// environment and every way to fail, and holds what it tells against the ledger:
// each invocation once, with its status, its cause, how it started and what it
// was billed; each init once, with its kind, phase, status and duration.
func TestKindsAndPhases(t *testing.T) {
	programs := buildPrograms(t)
	ok, second := `{"x":1}`, time.Second
	for _, test := range []struct {
		name   string
		init   time.Duration // the limit of an init
		change func(*emulator.Function)
		beside string // mode of an extension beside ours; none if empty
		do     func(*scene)
	}{
		{name: "on-demand", do: func(s *scene) {
			s.invoke(ok, `{"do":"error"}`, `{"do":"stream","text":"ab"}`)
			s.recycle()
			s.invoke(ok)
		}},
		{name: "proactive", do: func(s *scene) {
			s.ahead(1)
			time.Sleep(1100 * time.Millisecond)
			s.invoke(ok, ok)
			s.demand = lifecycle.Proactive
		}},
		{name: "uncertain", do: func(s *scene) {
			s.ahead(1)
			time.Sleep(300 * time.Millisecond)
			s.invoke(ok, ok)
			s.demand = lifecycle.Uncertain
		}},
		{name: "unused", do: func(s *scene) {
			s.ahead(1)
			s.demand = lifecycle.Unused
		}},
		{name: "provisioned concurrency", change: func(f *emulator.Function) { f.Version, f.ProvisionedConcurrency = "1", 1 }, do: func(s *scene) {
			s.ready()
			s.invoke(ok)
			s.together(`{"do":"sleep","n":200}`, `{"do":"sleep","n":200}`) // the second spills over
			s.invoke(`{"do":"exit","n":1}`, ok)
		}},
		{name: "SnapStart", change: func(f *emulator.Function) { f.Version, f.SnapStart, f.Env["RESTORE"] = "1", true, "yes" }, do: func(s *scene) {
			s.ready()
			time.Sleep(100 * time.Millisecond)
			s.invoke(ok, ok)
			s.recycle()
			s.invoke(ok)
		}},
		{name: "SnapStart without hooks", change: func(f *emulator.Function) { f.Version, f.SnapStart = "1", true }, do: func(s *scene) {
			s.ready()
			s.invoke(ok, `{"do":"exit","n":1}`, ok)
		}},
		{name: "SnapStart whose hook fails", change: func(f *emulator.Function) {
			f.Version, f.SnapStart, f.Env["RESTORE"], f.Timeout = "1", true, "error", 500*time.Millisecond
		}, do: func(s *scene) {
			s.ready()
			s.invoke(ok)
		}},
		{name: "managed instances", change: func(f *emulator.Function) { f.ManagedConcurrency = 3 }, do: func(s *scene) {
			s.ready()
			s.together(`{"do":"sleep","n":200}`, `{"do":"sleep","n":100}`, `{"do":"hang"}`)
			s.invoke(ok, `{"do":"log","n":3}`, `{"do":"error"}`, `{"do":"exit","n":1}`)
		}},
		{name: "failures", do: func(s *scene) {
			s.invoke(`{"do":"exit"}`, ok, `{"do":"exit","n":1}`, `{"do":"kill"}`, `{"do":"hang"}`, ok, ok, `{"do":"allocate","n":400}`, ok)
		}},
		{name: "another extension crashes in an invocation", beside: "late", do: func(s *scene) { s.invoke(`{"do":"hang"}`, ok) }},
		{name: "another extension gives up in an invocation", beside: "exiterror", do: func(s *scene) { s.invoke(`{"do":"hang"}`) }},
		{name: "another extension is slow", beside: "slow", do: func(s *scene) { s.invoke(ok, ok) }},
		{name: "another extension takes the whole time", beside: "never", do: func(s *scene) { s.invoke(ok) }},
		{name: "another extension crashes in the init", beside: "registered", do: func(s *scene) { s.invoke(ok, ok) }},
		{name: "another extension gives up in the init", beside: "initerror", do: func(s *scene) { s.invoke(ok) }},
		{name: "init crashes once", change: func(f *emulator.Function) { f.Env["INIT"] = "once-crash" }, do: func(s *scene) { s.invoke(ok, ok) }},
		{name: "init always crashes", change: func(f *emulator.Function) { f.Env["INIT"] = "crash" }, do: func(s *scene) { s.invoke(ok, ok) }},
		{name: "init error", change: func(f *emulator.Function) { f.Env["INIT"] = "error" }, do: func(s *scene) { s.invoke(ok) }},
		{name: "init takes too long once", init: 500 * time.Millisecond, change: func(f *emulator.Function) { f.Env["INIT"] = "once-hang" }, do: func(s *scene) { s.invoke(ok, ok) }},
		{name: "init always takes too long", init: 500 * time.Millisecond, change: func(f *emulator.Function) { f.Env["INIT"], f.Timeout = "hang", second }, do: func(s *scene) { s.invoke(ok) }},
		{name: "an old schema", change: func(f *emulator.Function) { f.Faults.TelemetrySchemas = []string{"2022-07-01"} }, do: func(s *scene) { s.invoke(ok, `{"do":"exit","n":1}`) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t, programs, test.init, test.beside, test.change)
			test.do(s)
			s.close()
			s.agree()
		})
	}
}

// TestWithoutTelemetry: where the Telemetry API does not work, the function is
// not disturbed, and invocations are traced from INVOKE and SHUTDOWN alone.
func TestWithoutTelemetry(t *testing.T) {
	programs := buildPrograms(t)
	for _, faults := range []emulator.Faults{
		{TelemetryStatus: 202}, {TelemetryStatus: 403}, {TelemetryStatus: 404}, {TelemetryStatus: 500}, {TelemetryStatus: 503},
		{TelemetrySchemas: []string{}}, // 400, whatever is asked for
	} {
		t.Run(fmt.Sprintf("%+v", faults), func(t *testing.T) {
			s := newScene(t, programs, 0, "", func(f *emulator.Function) { f.Faults = faults })
			s.invoke(`{"x":1}`, `{"x":2}`, `{"do":"hang"}`)
			s.close()
			got := map[string]*lifecycle.Invocation{}
			for _, o := range s.receiver.observations() {
				if o.Invocation != nil {
					got[o.Invocation.RequestID] = o.Invocation
				}
			}
			for i, end := range s.entries(emulator.KindInvocationEnd) {
				inv := got[end.RequestID]
				if inv == nil {
					t.Errorf("invocation %d is not traced", i)
					continue
				}
				start, status := lifecycle.Warm, lifecycle.Status("")
				if i == 0 {
					start = lifecycle.Cold
				}
				if end.Status == "timeout" {
					status = lifecycle.Timeout // as the reason of the shutdown says
				}
				if inv.StartType != start || inv.Status != status || inv.Report == nil || inv.Report.Received {
					t.Errorf("invocation %d is %s %q with %+v", i, inv.StartType, inv.Status, inv.Report)
				}
				if end.Status == "success" && end.DurationMs > 1000 {
					t.Errorf("invocation %d took %v ms", i, end.DurationMs)
				}
			}
			if n := strings.Count(s.log.String(), "no telemetry from the platform"); n != len(s.entries(emulator.KindInitEnd)) {
				t.Errorf("%d lines say that there is no telemetry:\n%s", n, s.log)
			}
		})
	}
}

// programs are the test function and the test extension of the emulator.
type programs struct{ function, extension string }

func buildPrograms(t *testing.T) programs {
	t.Helper()
	dir := t.TempDir()
	p := programs{filepath.Join(dir, "function"), filepath.Join(dir, "extension")}
	for out, source := range map[string]string{p.function: "function", p.extension: "extension"} {
		build := exec.Command("go", "build", "-o", out, "../../emulator/testdata/src/"+source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", source, err, text)
		}
	}
	return p
}

// scene is a function with our extension in a local Lambda, and a backend that
// the extension sends to.
type scene struct {
	t        *testing.T
	lambda   emulator.Emulator
	function emulator.Function
	receiver *receiver
	log      *syncBuffer
	demand   lifecycle.Demand // of the inits that no request waited for
}

func newScene(t *testing.T, p programs, initTimeout time.Duration, beside string, change func(*emulator.Function)) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "thaw-e2e-") // functions run as another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &scene{t: t, receiver: newReceiver(t), log: &syncBuffer{}}
	ours := filepath.Join(dir, "layer")
	if err := layer.Unpack(layer.HostZip(bin(t)), ours); err != nil {
		t.Fatal(err)
	}
	s.function = emulator.Function{
		Name: "f", Handler: "main.handler", Dir: filepath.Join(dir, "task"), MemoryMB: 256, Timeout: 700 * time.Millisecond,
		Layers: []string{ours}, Env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": s.receiver.URL, "THAW_SHUTDOWN_WAIT": "1s"},
	}
	install(t, p.function, s.function.Dir, "bootstrap")
	if beside != "" {
		other := filepath.Join(dir, "other")
		install(t, p.extension, filepath.Join(other, "extensions"), "beside")
		s.function.Layers = append(s.function.Layers, other)
		s.function.Env["EXTENSION_BESIDE"] = beside
	}
	if change != nil {
		change(&s.function)
	}
	s.lambda.InitTimeout, s.lambda.Log, s.lambda.Patience = initTimeout, s.log, time.Minute
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.lambda.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := s.lambda.AddFunction(s.function); err != nil {
		t.Fatal(err)
	}
	return s
}

func install(t *testing.T, program, dir, name string) {
	t.Helper()
	data, err := os.ReadFile(program)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) close() {
	if err := s.lambda.Close(); err != nil {
		s.t.Errorf("close the local Lambda: %v", err)
	}
}

func (s *scene) invoke(events ...string) {
	s.t.Helper()
	for _, event := range events {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
		_, err := s.lambda.Invoke(ctx, s.function.Name, s.function.Version, []byte(event))
		cancel()
		if err != nil {
			s.t.Fatalf("invoke with %s: %v", event, err)
		}
	}
}

func (s *scene) together(events ...string) {
	s.t.Helper()
	var wg sync.WaitGroup
	for _, event := range events {
		wg.Go(func() {
			if _, err := s.lambda.Invoke(s.t.Context(), s.function.Name, s.function.Version, []byte(event)); err != nil {
				s.t.Errorf("invoke with %s: %v", event, err)
			}
		})
	}
	wg.Wait()
}

func (s *scene) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func (s *scene) recycle() {
	s.must("recycle", s.lambda.Recycle(s.t.Context(), s.function.Name, s.function.Version))
}

func (s *scene) ready() {
	s.must("make ready", s.lambda.Ready(s.t.Context(), s.function.Name, s.function.Version))
}

func (s *scene) ahead(n int) {
	s.must("initialize", s.lambda.Preinitialize(s.t.Context(), s.function.Name, s.function.Version, n))
}

func (s *scene) entries(kinds ...string) []emulator.Entry {
	return slices.DeleteFunc(s.lambda.Ledger().Entries(), func(e emulator.Entry) bool { return !slices.Contains(kinds, e.Kind) })
}

// agree holds everything that was told against everything that happened.
func (s *scene) agree() {
	s.t.Helper()
	s.agreeInvocations()
	s.agreeInits()
	s.agreeBills()
	for _, exit := range s.entries(emulator.KindProcessExit) {
		if exit.Role == "extension" && exit.Name == "thaw" && exit.ExitStatus != "exit status 0" {
			s.t.Errorf("the extension ended with %s", exit.ExitStatus)
		}
	}
	if s.t.Failed() {
		s.t.Logf("log:\n%s", s.log)
	}
}

// told is what was told of one invocation, by one span or by two.
type told struct {
	start     lifecycle.Start
	status    lifecycle.Status
	errorType string
	suspected lifecycle.Suspicion
	kind      lifecycle.InitKind
	env       string
	spans     map[pcommon.SpanID]bool
	billed    time.Duration
	duration  time.Duration
}

func (s *scene) told() map[string]*told {
	all := map[string]*told{}
	for _, o := range s.receiver.observations() {
		if o.Invocation == nil {
			continue
		}
		inv := o.Invocation
		if all[inv.RequestID] == nil {
			all[inv.RequestID] = &told{spans: map[pcommon.SpanID]bool{}}
		}
		a := all[inv.RequestID]
		if o.Type == lifecycle.SpanInvocation {
			a.spans[o.SpanID] = true
		}
		a.start, a.status, a.errorType = inv.StartType, inv.Status, inv.ErrorType
		a.kind, a.env, a.suspected = o.Environment.Kind, o.Environment.ID, inv.Suspected
		if inv.Report != nil {
			a.billed, a.duration = inv.Report.Billed, inv.Report.Duration
		}
	}
	return all
}

// atOnce is within what invocations count as having come at once: a managed
// instance is given several, and any of them may be told as its first.
const atOnce = 20 * time.Millisecond

// agreeFirst holds the first invocation of an environment that was ready before
// it came.
func (s *scene) agreeFirst(all map[string]*told, starts []emulator.Entry, first emulator.Entry) {
	s.t.Helper()
	want := lifecycle.First
	if s.demand == lifecycle.Uncertain {
		want = lifecycle.Cold // it may have been
	}
	var got []lifecycle.Start
	for _, start := range starts {
		told := all[start.RequestID]
		if told == nil || start.Environment != first.Environment || start.Time.Sub(first.Time) > atOnce {
			continue
		}
		got = append(got, told.start)
		if told.start == want {
			told.start = lifecycle.Warm // for what follows
			return
		}
	}
	if len(got) > 0 {
		s.t.Errorf("the first invocation of an environment that was ready is %s, not %s", got, want)
	}
}

func (s *scene) agreeInvocations() {
	s.t.Helper()
	all := s.told()
	ends := s.entries(emulator.KindInvocationEnd)
	served := map[string]bool{}
	starts := s.entries(emulator.KindInvocationStart)
	for _, start := range starts {
		if !served[start.Environment] && !start.Cold {
			s.agreeFirst(all, starts, start)
		}
		served[start.Environment] = true
	}
	for i, end := range ends {
		got := all[end.RequestID]
		if got == nil {
			s.t.Errorf("invocation %d (%s %s) is not told", i, end.Status, end.ErrorType)
			continue
		}
		errorType := end.ErrorType
		if errorType == "" && end.Status != "success" {
			errorType = end.Status
		}
		if string(got.status) != end.Status || got.errorType != errorType || (got.start == lifecycle.Cold) != end.Cold ||
			len(got.spans) != 1 || string(got.kind) != end.InitKind || got.env != end.Environment {
			s.t.Errorf("invocation %d is told %d times as %s %s %s of %s %s, the ledger has %+v",
				i, len(got.spans), got.start, got.status, got.errorType, got.kind, got.env, end)
		}
		if handled := end.HandledError && end.InitKind != string(lifecycle.ManagedInstances); (got.suspected == lifecycle.SuspectHandledError) != handled {
			s.t.Errorf("invocation %d is suspected of %q, the ledger has %+v", i, got.suspected, end)
		}
		if got.billed.Milliseconds() != end.BilledMs || math.Abs(got.duration.Seconds()*1000-end.DurationMs) > 0.01 {
			s.t.Errorf("invocation %d is told to be billed %v for %v, the ledger has %+v", i, got.billed, got.duration, end)
		}
	}
	if len(all) != len(ends) {
		s.t.Errorf("%d invocations are told, %d were", len(all), len(ends))
	}
}

// agreeInits: every init and every restore is told once, but for that before a
// snapshot, which is no cold start of anything.
func (s *scene) agreeInits() {
	s.t.Helper()
	describe := func(kind, phase, status, errorType string) string {
		return strings.Join([]string{kind, phase, status, errorType}, " ")
	}
	var got, want []string
	durations := map[string][]float64{}
	spans := map[pcommon.SpanID]bool{}
	for _, o := range s.receiver.observations() {
		if o.Init == nil || spans[o.SpanID] {
			continue
		}
		spans[o.SpanID] = true
		in := o.Init
		errorType := in.ErrorType
		if errorType == string(in.Status) {
			errorType = ""
		}
		line := describe(string(in.Kind), string(in.Phase), string(in.Status), errorType)
		got = append(got, line)
		durations[line] = append(durations[line], in.Duration.Seconds()*1000)
		s.agreeParts(o)
	}
	for _, end := range s.entries(emulator.KindInitEnd, emulator.KindRestoreEnd) {
		if end.Kind == emulator.KindInitEnd && end.InitKind == string(lifecycle.SnapStart) && end.Phase == "init" {
			continue
		}
		phase := end.Phase
		if phase == "" {
			phase = "init" // of a restore
		}
		line := describe(end.InitKind, phase, end.Status, end.ErrorType)
		want = append(want, line)
		if !slices.ContainsFunc(durations[line], func(d float64) bool { return math.Abs(d-end.DurationMs) < 0.01 }) {
			s.t.Errorf("no init (%s) of %v ms is told, but of %v", line, end.DurationMs, durations[line])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("inits %q are told, there were %q", got, want)
	}
}

// agreeParts: the parts of an init add up to it, and say how they were obtained.
func (s *scene) agreeParts(o lifecycle.Observation) {
	in := o.Init
	var sum time.Duration
	for _, part := range in.Parts {
		sum += part.Duration
		if part.Basis != lifecycle.Measured && part.Basis != lifecycle.Derived {
			s.t.Errorf("part %s of an init is %q", part.Name, part.Basis)
		}
	}
	if off := sum - in.Duration; off > time.Microsecond || off < -time.Microsecond {
		s.t.Errorf("the parts of an init add up to %v, not %v", sum, in.Duration)
	}
	has := func(name lifecycle.PartName) bool {
		return slices.ContainsFunc(in.Parts, func(p lifecycle.Part) bool { return p.Name == name })
	}
	restore := in.Kind == lifecycle.SnapStart && in.Phase == lifecycle.PhaseInit
	if has(lifecycle.PartRestore) != restore || has(lifecycle.PartThaw) == restore {
		s.t.Errorf("an init of kind %s, phase %s has the parts %+v", in.Kind, in.Phase, in.Parts)
	}
	if waited := in.RequestID != ""; waited == (in.Demand == lifecycle.Proactive || in.Demand == lifecycle.Unused) {
		s.t.Errorf("an init is %s, and %q waited for it", in.Demand, in.RequestID)
	}
	if s.demand != "" && in.Demand != s.demand {
		s.t.Errorf("the init is %s, not %s", in.Demand, s.demand)
	}
	if s.demand == lifecycle.Proactive && (in.Gap < 1100*time.Millisecond || in.Gap > 5*time.Second) {
		s.t.Errorf("the gap before the first invocation is %v", in.Gap)
	}
}

// agreeBills: what a bill is made of, as it stands in the attributes, adds up to
// it. On managed instances nothing is billed by duration, and nothing is told.
func (s *scene) agreeBills() {
	s.t.Helper()
	sums, bills := map[string]float64{}, map[string]float64{}
	add := func(m pcommon.Map, request, key string) {
		if v, ok := m.Get(key); ok {
			sums[request] += v.Double()
		}
	}
	seen := map[pcommon.SpanID]bool{}
	for _, span := range s.receiver.spans() {
		m := span.Attributes()
		id, ok := m.Get(lifecycle.AttrInvocationID)
		if !ok || seen[span.SpanID()] {
			continue
		}
		seen[span.SpanID()] = true
		request := id.Str()
		for _, key := range []string{
			lifecycle.AttrReportInit, lifecycle.AttrBilledRestore, lifecycle.AttrRunDuration, lifecycle.AttrExtensionOverhead, lifecycle.AttrUnattributed,
		} {
			add(m, request, key)
		}
		if phase, ok := m.Get(lifecycle.AttrInitPhase); ok && phase.Str() == "invoke" {
			add(m, request, lifecycle.AttrInitDuration)
		}
		if parts := runParts(m); parts > 0 { // what they do not explain of the run is in the rest
			run, _ := m.Get(lifecycle.AttrRunDuration)
			sums[request] -= run.Double() - parts
		}
		if v, ok := m.Get(lifecycle.AttrBilled); ok {
			bills[request] = v.Double()
		}
	}
	for _, end := range s.entries(emulator.KindInvocationEnd) {
		bill, ok := bills[end.RequestID]
		if managed := end.InitKind == string(lifecycle.ManagedInstances); ok == managed {
			s.t.Errorf("%s has a bill by duration: %t", end.InitKind, ok)
			continue
		}
		// A timeout is billed to its limit, and the run is told a little longer.
		sum := sums[end.RequestID]
		if ok && (sum < bill-1 || sum > bill+1 && end.Status != "timeout") {
			s.t.Errorf("the parts of a bill of %v ms (%s %s) add up to %v ms", bill, end.Status, end.ErrorType, sum)
		}
	}
}

func runParts(m pcommon.Map) (sum float64) {
	for _, key := range []string{lifecycle.AttrResponseLatency, lifecycle.AttrResponseDuration, lifecycle.AttrRuntimeOverhead} {
		if v, ok := m.Get(key); ok {
			sum += v.Double()
		}
	}
	return sum
}

// receiver is a backend that keeps what it gets.
type receiver struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	traces []ptrace.Traces
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := gzip.NewReader(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := io.ReadAll(body)
	export := ptraceotlp.NewExportRequest()
	if err == nil {
		err = export.UnmarshalProto(data)
	}
	if err != nil {
		r.t.Errorf("the extension sent what cannot be read: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traces = append(r.traces, export.Traces())
}

func (r *receiver) observations() (all []lifecycle.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, td := range r.traces {
		for _, rs := range td.ResourceSpans().All() {
			lifecycle.Decode(rs, func(o lifecycle.Observation) { all = append(all, o) }, func(err error) { r.t.Error(err) })
		}
	}
	return all
}

func (r *receiver) spans() (all []ptrace.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, td := range r.traces {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					all = append(all, span)
				}
			}
		}
	}
	return all
}

// syncBuffer is a log that is written and read by several.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
