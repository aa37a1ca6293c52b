package extension

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/spool"
)

func TestBudget(t *testing.T) {
	now := time.Unix(1767225600, 0)
	f := func(want time.Duration, f flusher, given load) {
		t.Helper()
		given.now = now
		if got := f.budget(given); got != want {
			t.Errorf("%s: budget %v, want %v", f.policy, got, want)
		}
	}
	sparse, busy := load{ended: now.Add(-time.Minute), billed: time.Hour}, load{ended: now.Add(-time.Millisecond), billed: time.Hour}
	f(0, flusher{policy: flushNext}, sparse)
	f(holdBudget, flusher{policy: flushEnd}, busy)
	f(holdBudget, flusher{policy: flushEnd}, load{})
	f(0, flusher{policy: flushEnd, breaker: breaker{time.Minute, now.Add(time.Second)}}, busy)
	f(holdBudget, flusher{policy: flushEnd, breaker: breaker{time.Minute, now}}, busy)
	f(holdBudget, flusher{policy: flushEnd, breaker: breaker{time.Minute, now.Add(time.Hour)}}, busy) // the clock was set back
	f(0, flusher{policy: flushInterval, interval: time.Second, last: now.Add(-time.Millisecond)}, sparse)
	f(holdBudget, flusher{policy: flushInterval, interval: time.Second, last: now.Add(-time.Second)}, busy)
	f(0, flusher{policy: flushAdaptive}, busy)
	f(holdBudget, flusher{policy: flushAdaptive}, sparse)
	f(0, flusher{policy: flushAdaptive, added: 36 * time.Second}, sparse) // 1 % of an hour is spent
	f(0, flusher{policy: flushAdaptive}, load{cold: true, billed: 2 * time.Second})
	f(40*time.Millisecond, flusher{policy: flushAdaptive}, load{cold: true, billed: 5 * time.Second})
	f(0, flusher{policy: flushAdaptive}, load{cold: false, billed: 5 * time.Second})
}

// TestLongRun: a run that is longer than it was waited for is no miss, but one
// of which the end was never told is.
func TestLongRun(t *testing.T) {
	now := time.Unix(1767225600, 0)
	f := flusher{policy: flushEnd, gaveUp: now.Add(-time.Minute)}
	if got := f.budget(load{now: now, ended: now.Add(-time.Second)}); got != holdBudget || f.added != 0 {
		t.Errorf("budget %v, added %v", got, f.added)
	}
	f.gaveUp = now.Add(-time.Minute)
	if got := f.budget(load{now: now, ended: now.Add(-time.Hour)}); got != 0 || f.added != holdBudget || f.held != 1 {
		t.Errorf("budget %v, added %v", got, f.added)
	}
}

// TestAdaptiveIsCheap: whatever the traffic, what waiting adds stays below 1 %
// of what is billed, if an invocation gets no more than its budget.
func TestAdaptiveIsCheap(t *testing.T) {
	for _, run := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 3 * time.Second, 5 * time.Minute} {
		f := flusher{policy: flushAdaptive}
		now, billed, held := time.Unix(1767225600, 0), time.Duration(0), 0
		for range 2000 {
			budget := f.budget(load{now: now, ended: now.Add(-time.Minute), billed: billed})
			if budget > 0 {
				held++
				f.waited(now, budget, true)
			}
			billed += run + budget
			if f.added*holdShare > billed {
				t.Fatalf("runs of %v: %v added to %v", run, f.added, billed)
			}
			now = now.Add(time.Minute + run)
		}
		if run >= 100*time.Millisecond && held == 0 {
			t.Errorf("runs of %v: it never waits", run)
		}
	}
}

func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Unix(1767225600, 0)
	var waits int
	for at := now; at.Before(now.Add(time.Hour)); at = at.Add(time.Second) {
		if b.allows(at) {
			waits++
			b.miss(at)
		}
	}
	if waits != 7 { // after 0, 1, 3, 7, 15, 31 and 47 minutes
		t.Errorf("%d budgets in an hour", waits)
	}
	if b.hit(); !b.allows(now) || b.period != 0 {
		t.Errorf("after a success: %+v", b)
	}
}

// TestPatience: time in which the process does not run is not counted.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := withPatience(t.Context(), 10*time.Second)
		defer cancel()
		<-ctx.Done()
		if took := time.Since(began); took != 10*time.Second || context.Cause(ctx) != context.DeadlineExceeded {
			t.Errorf("%v after %v", context.Cause(ctx), took)
		}
	})
}

// newHeld starts an extension of which the first invocation has just run.
type held struct {
	*fakeLambda
	backend *fakeBackend
	*running
	n int
}

func startHeld(t *testing.T, policy string, env ...string) *held {
	h := &held{fakeLambda: newFakeLambda(t), backend: newFakeBackend(t)}
	h.running = start(t, h.fakeLambda, append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+h.backend.URL, "THAW_FLUSH="+policy)...)
	h.awaitNext()
	coldStart(h.fakeLambda)
	return h
}

// invocation runs for a while, and says how long after its end next was called;
// negative if before.
func (h *held) invocation(run time.Duration) time.Duration {
	h.fakeLambda.t.Helper()
	h.n++
	id := fmt.Sprint("r", h.n)
	begun := time.Now()
	h.invoke(id)
	h.tell(startEvent(begun, id))
	time.Sleep(run)
	done := time.Now()
	h.tell(runtimeDoneEvent(done, id))
	called := h.awaitNext()
	h.tell(reportEvent(called, id))
	return called.Sub(done)
}

// TestEnd: the invocation itself has been sent when next is called.
func TestEnd(t *testing.T) {
	h := startHeld(t, "end")
	for i := range 3 {
		added := h.invocation(20 * time.Millisecond)
		if added < 0 {
			t.Errorf("next was called %v before the end of the run", -added)
		}
		if got := len(h.backend.observations()); got < i+1 {
			t.Errorf("invocation %d: only %d observations have arrived", i, got)
		}
	}
	h.shutdown("spindown")
	h.exits()
	invocations := map[string]int{}
	for _, o := range h.backend.observations() {
		if o.Type == lifecycle.SpanInvocation {
			invocations[o.Invocation.RequestID]++
		}
	}
	if len(invocations) != 3 || invocations["r1"] != 1 {
		t.Errorf("invocations %v", invocations)
	}
	if h.log.lines() != 0 {
		t.Errorf("log:\n%s", h.log)
	}
}

// TestHangingBackendCostsOneBudget: of many invocations one waits.
func TestHangingBackendCostsOneBudget(t *testing.T) {
	for _, policy := range []string{"end", "interval", "adaptive"} {
		h := startHeld(t, policy, "THAW_FLUSH_INTERVAL=1s")
		hang := make(chan struct{})
		h.backend.answer = func(int, http.ResponseWriter, *http.Request) bool { <-hang; return true }
		if policy == "interval" {
			time.Sleep(time.Second)
		}
		var waited int
		for range 10 {
			if h.invocation(5*time.Millisecond) > 50*time.Millisecond {
				waited++
			}
		}
		if want := map[string]int{"end": 1, "interval": 1}[policy]; waited != want {
			t.Errorf("%s: %d invocations waited, want %d", policy, waited, want)
		}
		close(hang)
		h.shutdown("spindown")
		h.exits()
	}
}

// TestHoldWithoutTelemetry: where the end of the run is not told, nothing waits
// for it: neither without a subscription, nor when nothing arrives.
func TestHoldWithoutTelemetry(t *testing.T) {
	f := newFakeLambda(t)
	f.subscribeStatus = []int{202}
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "THAW_FLUSH=end")
	f.awaitNext()
	asked := time.Now()
	f.invoke("a")
	if waited := f.awaitNext().Sub(asked); waited > 80*time.Millisecond {
		t.Errorf("without a subscription next was called after %v", waited)
	}
	f.shutdown("spindown")
	r.exits()

	h := startHeld(t, "end")
	for i := range 3 {
		asked := time.Now()
		h.invoke(fmt.Sprint("x", i))
		if waited := h.awaitNext().Sub(asked); i > 0 && waited > 80*time.Millisecond || waited > time.Second {
			t.Errorf("invocation %d, of which nothing is told: next was called after %v", i, waited)
		}
	}
	h.shutdown("spindown")
	h.exits()
}

// TestHoldIsOverInTime: close to the function's timeout, or when the platform
// says that it drops records, nothing waits any longer.
func TestHoldIsOverInTime(t *testing.T) {
	h := startHeld(t, "end")
	begun := time.Now()
	h.events <- lambdaapi.NextEvent{EventType: "INVOKE", RequestID: "a", DeadlineMs: begun.Add(300 * time.Millisecond).UnixMilli()}
	h.tell(startEvent(begun, "a"))
	if at := h.awaitNext().Sub(begun); at < 150*time.Millisecond || at > 290*time.Millisecond {
		t.Errorf("next was called after %v of 300 ms", at)
	}
	h.shutdown("timeout")
	h.exits()

	h = startHeld(t, "end")
	begun = time.Now()
	h.invoke("a")
	time.Sleep(100 * time.Millisecond) // it is held by now
	h.tell(startEvent(begun, "a"), telemetryEvent(begun, lambdaapi.TypeLogsDropped, `{"droppedRecords":3,"droppedBytes":9,"reason":"slow"}`))
	if at := h.awaitNext().Sub(begun); at > time.Second {
		t.Errorf("records were dropped, and next was called after %v", at)
	}
	h.shutdown("spindown")
	h.exits()
}

// spooled reads back what is in a log.
func spooled(t *testing.T, log string) (observations []lifecycle.Observation, report spool.Report) {
	t.Helper()
	var d spool.Decoder
	err := d.Decode(strings.NewReader(log), func(r spool.Record) error {
		var u ptrace.ProtoUnmarshaler
		traces, err := u.UnmarshalTraces(r.Payload)
		if err != nil {
			return err
		}
		for _, rs := range traces.ResourceSpans().All() {
			lifecycle.Decode(rs, func(o lifecycle.Observation) { observations = append(observations, o) }, func(err error) { t.Error(err) })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return observations, d.Report()
}

// TestDeadBackendIsSpooled: what is never delivered is in the log, all of it,
// and the account says so.
func TestDeadBackendIsSpooled(t *testing.T) {
	for _, env := range [][]string{nil, {"OTEL_EXPORTER_OTLP_COMPRESSION=none"}, {"THAW_QUEUE_SPANS=64"}} {
		h := startHeld(t, "next", append(env, "THAW_BATCH_DELAY=0")...)
		h.backend.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		const n = 200
		for range n {
			h.invocation(0)
		}
		h.shutdown("spindown")
		h.exits()
		got, report := spooled(t, h.log.String())
		invocations := map[string]bool{}
		var account *lifecycle.Account
		var told lifecycle.Loss
		for _, o := range got {
			switch {
			case o.Type == lifecycle.SpanInvocation:
				invocations[o.Invocation.RequestID] = true
			case o.Shutdown != nil:
				account = &o.Shutdown.Account
			}
			if o.Invocation != nil && o.Invocation.Report != nil {
				told.Spooled += o.Invocation.Report.Loss.Spooled
			}
		}
		if len(invocations) != n || report.Missing != nil || report.Open != 0 || report.Damaged != 0 {
			t.Errorf("%v: %d invocations in the log, %+v", env, len(invocations), report)
		}
		if account == nil || account.SpansDropped != 0 || account.SpansSpooled == 0 || account.SpansExported != 0 {
			t.Errorf("%v: account %+v", env, account)
		}
		if overflow := len(env) == 1 && strings.Contains(env[0], "QUEUE"); overflow != (told.Spooled > 0) {
			t.Errorf("%v: the reports tell of %+v", env, told)
		}
	}
}

// TestSpoolIsBounded: in bytes, in bytes a second, and with a reserve for the end.
func TestSpoolIsBounded(t *testing.T) {
	var out bytes.Buffer
	s := &spooler{out: &out, max: 1 << 20}
	now := time.Unix(1767225600, 0)
	record := bytes.Repeat([]byte{1}, 10_000)
	write := func(last bool) (n int) {
		for s.write(now, record, last) {
			n++
		}
		return n
	}
	if n := write(false); n*len(record) > spoolBurst || n < 10 {
		t.Errorf("%d records at once", n)
	}
	now = now.Add(10 * time.Second)
	if n := write(false); n < 5 || n > 6 {
		t.Errorf("%d records after 10 s", n)
	}
	now = now.Add(time.Hour)
	write(false)
	now = now.Add(time.Hour)
	write(false)
	if got := out.Len(); got > 512<<10 || got < 400<<10 {
		t.Errorf("%d bytes before the shutdown", got)
	}
	if write(true); out.Len() > 1<<20 || out.Len() < 1000<<10 {
		t.Errorf("%d bytes in all", out.Len())
	}
	s.end()
	var d spool.Decoder
	d.Line(out.Bytes())
	if r := d.Report(); r.Missing != nil && r.Corrupt == 0 || r.Open != 0 || r.Sources != 1 {
		t.Errorf("report %+v", r)
	}
	off := &spooler{out: &out}
	if off.write(now, record, true) {
		t.Error("it is off, and writes")
	}
}
