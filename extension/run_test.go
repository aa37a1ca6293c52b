package extension

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// running is an extension that runs in the test's process.
type running struct {
	t    *testing.T
	done chan error
	log  *logBuffer
}

// logBuffer is the function's log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) lines() int { return strings.Count(l.String(), "\n") }

func start(t *testing.T, f *fakeLambda, env ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, done: make(chan error, 1), log: new(logBuffer)}
	go func() {
		r.done <- Run(ctx, Process{
			Name: "thaw", Started: time.Now(), Stdout: r.log,
			Environ: append([]string{
				"AWS_LAMBDA_RUNTIME_API=" + f.address(), "AWS_REGION=eu-west-1",
				"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
			}, env...),
		})
		close(r.done)
	}()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// exits waits for the end of Run.
func (r *running) exits() {
	r.t.Helper()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(5 * time.Second):
		r.t.Fatal("the extension does not exit")
	}
}

// coldStart tells of an on-demand init that lasted 200 ms and has just ended.
func coldStart(f *fakeLambda) (initStart time.Time) {
	now := time.Now().Truncate(time.Millisecond)
	initStart = now.Add(-200 * time.Millisecond)
	f.tell(
		telemetryEvent(initStart, lambdaapi.TypeInitStart, `{"initializationType":"on-demand","phase":"init","runtimeVersion":"nodejs:22.v3","functionName":"thumbnail","functionVersion":"7","instanceId":"2026/11/23/[7]abc","instanceMaxMemory":536870912}`),
		telemetryEvent(now, lambdaapi.TypeInitRuntimeDone, `{"initializationType":"on-demand","phase":"init","status":"success"}`),
		telemetryEvent(now, lambdaapi.TypeInitReport, `{"initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":200.0}}`),
	)
	return initStart
}

func startEvent(at time.Time, id string) string {
	return telemetryEvent(at, lambdaapi.TypeStart, fmt.Sprintf(`{"requestId":%q,"version":"7"}`, id))
}

func runtimeDoneEvent(at time.Time, id string) string {
	return telemetryEvent(at, lambdaapi.TypeRuntimeDone, fmt.Sprintf(`{"requestId":%q,"status":"success","metrics":{"durationMs":12.5,"producedBytes":7},"spans":[{"name":"responseLatency","start":%q,"durationMs":10.5},{"name":"responseDuration","start":%q,"durationMs":0.5},{"name":"runtimeOverhead","start":%q,"durationMs":1.5}]}`, id, stamp(at), stamp(at), stamp(at)))
}

func reportEvent(at time.Time, id string) string {
	return telemetryEvent(at, lambdaapi.TypeReport, fmt.Sprintf(`{"requestId":%q,"status":"success","metrics":{"durationMs":13.1,"billedDurationMs":14,"memorySizeMB":512,"maxMemoryUsedMB":143},"spans":[{"name":"extensionOverhead","start":%q,"durationMs":0.2}]}`, id, stamp(at)))
}

// TestLife is a whole life over real sockets: cold start, a warm invocation
// that carries the first one's report, shutdown with the last report on its way.
func TestLife(t *testing.T) {
	f, b := newFakeLambda(t), newFakeBackend(t)
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=0", "THAW_SHUTDOWN_WAIT=1s",
		"OTEL_EXPORTER_OTLP_HEADERS=x-key=s%20cret", "OTEL_RESOURCE_ATTRIBUTES=team=images")
	f.awaitNext()
	coldStart(f)
	f.invoke("a")
	f.awaitNext() // at once, not after the run
	now := time.Now()
	f.tell(startEvent(now, "a"), telemetryEvent(now, lambdaapi.TypeFunction, `"hello\n"`), runtimeDoneEvent(now.Add(13*time.Millisecond), "a"))
	f.invoke("b")
	f.awaitNext()
	f.tell(reportEvent(now.Add(14*time.Millisecond), "a"), startEvent(time.Now(), "b"))
	eventually(t, "the cold start is exported while the second invocation runs", func() bool { return len(b.observations()) > 0 })
	f.tell(runtimeDoneEvent(time.Now().Add(13*time.Millisecond), "b"))
	f.shutdown("spindown")
	time.Sleep(50 * time.Millisecond) // the report is on its way
	f.tell(reportEvent(time.Now().Add(14*time.Millisecond), "b"))
	r.exits()

	obs := b.observations()
	got := map[lifecycle.SpanType]int{}
	for _, o := range obs {
		got[o.Type]++
	}
	want := map[lifecycle.SpanType]int{lifecycle.SpanInvocation: 2, lifecycle.SpanInit: 1, lifecycle.SpanReport: 1, lifecycle.SpanShutdown: 1}
	for kind, n := range want {
		if got[kind] != n {
			t.Errorf("%d observations of type %s, want %d", got[kind], kind, n)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	env := obs[0].Environment
	if env.AccountID != "123456789012" || env.Region != "eu-west-1" || env.Name != "thumbnail" || env.Version != "7" ||
		env.ID != "2026/11/23/[7]abc" || env.MemoryMB != 512 || env.RuntimeVersion != "nodejs:22.v3" || env.ServiceName != "thumbnail" {
		t.Errorf("environment %+v", env)
	}
	last := obs[len(obs)-1].Shutdown
	if last == nil {
		t.Fatalf("the last observation is %s", obs[len(obs)-1].Type)
	}
	if last.Reason != "spindown" || last.Invocations != 2 || last.Account.EventsReceived != 10 ||
		last.Account.SpansDropped != 0 || last.Account.ReportsMissing != 0 || last.MaxRSS == 0 {
		t.Errorf("shutdown %+v", last)
	}
	for _, o := range obs {
		if o.Invocation != nil && o.Invocation.RequestID == "b" {
			if o.Invocation.StartType != lifecycle.Warm || o.Invocation.Report == nil || !o.Invocation.Report.Received {
				t.Errorf("the second invocation is %+v", o.Invocation)
			}
		}
	}
	if b.headers[0].Get("X-Key") != "s cret" || b.headers[0].Get("Content-Encoding") != "gzip" ||
		b.headers[0].Get("Content-Type") != "application/x-protobuf" || b.headers[0]["Idempotency-Key"] != nil {
		t.Errorf("headers %v", b.headers[0])
	}
	if team, _ := b.batches[0].ResourceSpans().At(0).Resource().Attributes().Get("team"); team.Str() != "images" {
		t.Error("OTEL_RESOURCE_ATTRIBUTES are not on the resource")
	}
	if r.log.lines() != 0 {
		t.Errorf("the log of a life without trouble is not empty:\n%s", r.log)
	}
	sub := f.subscriptions[0]
	if sub.SchemaVersion != "2022-12-13" || sub.Buffering.TimeoutMs != 25 || len(sub.Types) != 3 || f.names[0] != "thaw" {
		t.Errorf("subscribed with %+v as %s", sub, f.names[0])
	}
}

// TestUnused: an environment that was made and never served.
func TestUnused(t *testing.T) {
	f, b := newFakeLambda(t), newFakeBackend(t)
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_SHUTDOWN_WAIT=1s")
	f.awaitNext()
	coldStart(f)
	began := time.Now()
	f.shutdown("spindown")
	r.exits()
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("with no report to wait for the shutdown took %v", took)
	}
	obs := b.observations()
	if len(obs) != 2 || obs[0].Init == nil || obs[0].Init.Demand != lifecycle.Unused || obs[1].Shutdown == nil {
		t.Fatalf("observations %+v", obs)
	}
}

// TestWithoutTelemetry: local emulators, and AWS's own, have no Telemetry API.
func TestWithoutTelemetry(t *testing.T) {
	for _, status := range []int{202, 403, 404, 500, 501} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			f, b := newFakeLambda(t), newFakeBackend(t)
			f.subscribeStatus = []int{status, status, status}
			r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=0")
			f.awaitNext()
			f.invoke("a")
			f.awaitNext()
			f.invoke("b")
			f.awaitNext()
			eventually(t, "the first invocation is exported", func() bool { return len(b.observations()) > 0 })
			f.shutdown("TIMEOUT")
			r.exits()
			obs := b.observations()
			if len(obs) != 3 {
				t.Fatalf("%d observations", len(obs))
			}
			if a := obs[0].Invocation; a.StartType != lifecycle.Cold || a.Report == nil || a.Report.Received || a.Status != "" {
				t.Errorf("first invocation %+v", a)
			}
			if b := obs[1].Invocation; b.StartType != lifecycle.Warm || b.Status != lifecycle.Timeout {
				t.Errorf("second invocation %+v", b)
			}
			if s := obs[2].Shutdown; s.Reason != "timeout" || s.Invocations != 2 || s.Account.ReportsMissing != 0 {
				t.Errorf("shutdown %+v", s)
			}
			if r.log.lines() != 1 || !strings.Contains(r.log.String(), "no telemetry") {
				t.Errorf("log:\n%s", r.log)
			}
		})
	}
}

// TestSchemas: which versions of the schema are asked for, and when again.
func TestSchemas(t *testing.T) {
	for _, test := range []struct {
		kind   string
		status []int
		want   string
		lines  int
	}{
		{"on-demand", nil, "2022-12-13", 0},
		{"on-demand", []int{400}, "2022-12-13 2022-07-01", 0},
		{"on-demand", []int{400, 400, 400}, "2022-12-13 2022-07-01 2025-01-29", 1},
		{"on-demand", []int{500, 503}, "2022-12-13 2022-12-13 2022-12-13", 0},
		{"on-demand", []int{500, 400}, "2022-12-13 2022-12-13 2022-07-01", 0},
		{"on-demand", []int{403}, "2022-12-13", 1},
		{"lambda-managed-instances", nil, "2025-01-29", 0},
		{"lambda-managed-instances", []int{400}, "2025-01-29 2022-12-13", 0},
	} {
		f, b := newFakeLambda(t), newFakeBackend(t)
		f.subscribeStatus = test.status
		r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "AWS_LAMBDA_INITIALIZATION_TYPE="+test.kind, "THAW_SHUTDOWN_WAIT=10ms")
		f.awaitNext()
		f.shutdown("spindown")
		r.exits()
		var got []string
		for _, s := range f.subscriptions {
			got = append(got, s.SchemaVersion)
		}
		if strings.Join(got, " ") != test.want || r.log.lines() != test.lines {
			t.Errorf("%s, answers %v: subscribed with %v, want %s; log:\n%s", test.kind, test.status, got, test.want, r.log)
		}
	}
}

// TestOff: what switches everything off costs one line and nothing else.
func TestOff(t *testing.T) {
	for name, env := range map[string]string{
		"no endpoint": "X=", "THAW_DISABLED": "THAW_DISABLED=true", "OTEL_SDK_DISABLED": "OTEL_SDK_DISABLED=true",
		"bad endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeLambda(t)
			r := start(t, f, env)
			f.awaitNext()
			f.invoke("a")
			f.awaitNext()
			f.shutdown("spindown")
			r.exits()
			if len(f.subscriptions) != 0 {
				t.Error("it subscribed")
			}
			if want := 1 + strings.Count(env, "collector"); r.log.lines() != want {
				t.Errorf("%d lines in the log, want %d:\n%s", r.log.lines(), want, r.log)
			}
		})
	}
}

func TestRegistrationIsRetried(t *testing.T) {
	f := newFakeLambda(t)
	f.registerStatus = []int{500, 503}
	r := start(t, f)
	f.awaitNext()
	f.shutdown("spindown")
	r.exits()
}

// TestRegistrationRefused: without an identifier there is nothing to do but to
// stay: leaving would be a crash of the environment.
func TestRegistrationRefused(t *testing.T) {
	f := newFakeLambda(t)
	f.registerStatus = []int{403}
	r := start(t, f)
	eventually(t, "a line in the log", func() bool { return r.log.lines() == 1 })
	select {
	case <-r.done:
		t.Error("it left")
	case <-time.After(50 * time.Millisecond):
	}
}

// TestEventsRefused: Managed Instances refuse INVOKE.
func TestEventsRefused(t *testing.T) {
	f := newFakeLambda(t)
	f.registerStatus, f.registerError = []int{403}, "Extension.InvalidEventType"
	r := start(t, f)
	f.awaitNext()
	f.shutdown("spindown")
	r.exits()
	if got := f.registered[1].Events; len(got) != 1 || got[0] != "SHUTDOWN" {
		t.Errorf("registered for %v", got)
	}
}

// TestManagedInstances: no INVOKE, several invocations at once, and what is
// ready is sent while nothing runs, because nothing is ever frozen.
func TestManagedInstances(t *testing.T) {
	for _, registered := range []string{"by the environment", "by a refusal"} {
		t.Run(registered, func(t *testing.T) {
			f, b := newFakeLambda(t), newFakeBackend(t)
			env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + b.URL, "THAW_BATCH_DELAY=0", "THAW_SHUTDOWN_WAIT=1s"}
			if registered == "by a refusal" {
				f.registerStatus, f.registerError = []int{403}, "Extension.InvalidEventType"
			} else {
				env = append(env, "AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances")
			}
			r := start(t, f, env...)
			f.awaitNext()
			now := time.Now()
			kind := `"initializationType":"lambda-managed-instances","phase":"init","status":"success"`
			report := func(id string, ms float64) string {
				return telemetryEvent(time.Now(), lambdaapi.TypeReport, fmt.Sprintf(`{"requestId":%q,"status":"success","metrics":{"durationMs":%v}}`, id, ms))
			}
			f.tell(
				telemetryEvent(now.Add(-200*time.Millisecond), lambdaapi.TypeInitStart, `{`+kind+`,"functionName":"thumbnail","functionVersion":"7","instanceId":"i"}`),
				telemetryEvent(now, lambdaapi.TypeInitReport, `{`+kind+`,"metrics":{"durationMs":200.0}}`),
				startEvent(now, "a"), startEvent(now.Add(time.Millisecond), "b"), report("b", 5),
			)
			eventually(t, "the second is exported while the first runs", func() bool { return len(b.observations()) > 0 })
			f.tell(report("a", 50))
			eventually(t, "the first is exported while nothing runs", func() bool { return len(b.observations()) > 2 })
			f.shutdown("spindown")
			r.exits()
			got := map[string]lifecycle.Start{}
			for _, o := range b.observations() {
				switch {
				case o.Init != nil:
					got["init "+string(o.Init.Demand)] = lifecycle.Start(o.Init.Kind)
				case o.Invocation != nil:
					got[o.Invocation.RequestID] = o.Invocation.StartType
					if o.Invocation.Report != nil && len(o.Invocation.BilledParts()) > 0 {
						t.Errorf("%+v has a bill by duration", o.Invocation)
					}
				}
			}
			want := map[string]lifecycle.Start{"init proactive": "lambda-managed-instances", "a": lifecycle.First, "b": lifecycle.Warm}
			if !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if events := f.registered[len(f.registered)-1].Events; len(events) != 1 || events[0] != "SHUTDOWN" || r.log.lines() != 0 {
				t.Errorf("registered for %v, log:\n%s", events, r.log)
			}
		})
	}
}

// TestNextFails: an error of the platform is no reason to leave.
func TestNextFails(t *testing.T) {
	f := newFakeLambda(t)
	f.nextStatus = []int{500, 403}
	r := start(t, f, "THAW_DISABLED=true")
	for range 3 {
		f.awaitNext()
	}
	f.shutdown("spindown")
	r.exits()
	if r.log.lines() != 2 {
		t.Errorf("log:\n%s", r.log)
	}
}

// TestHangingBackend: whatever the backend does, next is called at once, and
// the shutdown ends in time.
func TestHangingBackend(t *testing.T) {
	f, b := newFakeLambda(t), newFakeBackend(t)
	hang := make(chan struct{})
	defer close(hang)
	b.answer = func(int, http.ResponseWriter, *http.Request) bool { <-hang; return true }
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=0") // an export hangs for 10 s
	f.awaitNext()
	coldStart(f)
	for i := range 20 {
		id := fmt.Sprint("r", i)
		asked := time.Now()
		f.invoke(id)
		if waited := f.awaitNext().Sub(asked); waited > 3*time.Second {
			t.Errorf("next was called %v after the invocation came", waited)
		}
		now := time.Now()
		f.tell(startEvent(now, id), runtimeDoneEvent(now.Add(time.Millisecond), id), reportEvent(now.Add(time.Millisecond), id))
	}
	f.invoke("last")
	f.awaitNext()
	eventually(t, "an export hangs", func() bool { return b.count() > 0 })
	began := time.Now()
	f.shutdown("spindown")
	r.exits()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
	if !strings.Contains(r.log.String(), "not delivered") {
		t.Errorf("log:\n%s", r.log)
	}
}

// TestBackendRecovers: what a backend refused for a while arrives later, once.
func TestBackendRecovers(t *testing.T) {
	f, b := newFakeLambda(t), newFakeBackend(t)
	b.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 2 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL)
	f.awaitNext()
	coldStart(f)
	f.shutdown("spindown")
	r.exits()
	obs := b.observations()
	if len(obs) != 2 {
		t.Fatalf("%d observations", len(obs))
	}
	if a := obs[1].Shutdown.Account; a.ExportFailures != 2 || a.SpansDropped != 0 || a.SpansExported == 0 {
		t.Errorf("account %+v", a)
	}
}

func TestOutsideLambda(t *testing.T) {
	if err := Run(context.Background(), Process{}); err == nil || !strings.Contains(err.Error(), "AWS_LAMBDA_RUNTIME_API") {
		t.Errorf("error %v", err)
	}
}
