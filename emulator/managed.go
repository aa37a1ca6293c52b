package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// A managed instance differs from other environments in all that concerns an
// invocation: there are several at once, extensions are not told of any, nothing
// is frozen in between, the end of one is the end of its response, one that
// times out harms no other, and a crash ends the environment for good.

// managed are the managed instances of a function; the Emulator's lock guards it.
type managed struct {
	environments []*environment
	full         bool // one more is being made
}

// slots of an environment on a managed instance; the Emulator's lock guards it.
type slots struct {
	busy  int
	ended bool // it takes no more
}

// takeIdle takes the environments away that serve nothing; the others take
// nothing more, and end with what they serve.
func (m *managed) takeIdle() (idle []*environment) {
	for _, env := range m.environments {
		env.slots.ended = true
		if env.slots.busy == 0 {
			idle = append(idle, env)
		}
	}
	m.environments = nil
	return idle
}

// addManaged makes one more environment.
func (f *function) addManaged() {
	env := f.make()
	if env == nil {
		return
	}
	err := env.prepare()
	if err == nil {
		err = env.firstInit(nil)
	}
	if err == nil {
		err = env.throttle()
	}
	if err != nil {
		env.platformLine(fmt.Sprintf("thaw: start a managed instance: %v\n", err))
	}
	f.e.mu.Lock()
	f.managed.full = false
	wanted := err == nil && env.current() != nil && !f.retired && !f.e.closed
	if wanted {
		f.managed.environments = append(f.managed.environments, env)
	}
	f.e.mu.Unlock()
	if !wanted {
		env.shutdown(reasonSpindown)
	}
}

// acquireManaged returns an environment with a free slot. When there is none,
// the request is refused and capacity is added, for those that come later.
func (f *function) acquireManaged(ctx context.Context) (*environment, *apiError) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, serviceError(ctx.Err())
	}
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if f.e.closed {
		return nil, serviceError(errNotServing)
	}
	for _, env := range f.managed.environments {
		if env.slots.busy < f.ManagedConcurrency {
			env.slots.busy++
			f.e.work.Add(1)
			return env, nil
		}
	}
	if !f.managed.full {
		f.managed.full = true
		f.e.work.Go(f.addManaged)
	}
	return nil, throttled()
}

// serveManaged takes one of an environment's invocations from beginning to end.
func (env *environment) serveManaged(inv *invocation) {
	inv.environment = env.id
	b := env.current()
	ctx, cancel := env.limitTime(inv)
	defer cancel()
	env.record(Entry{Kind: KindInvocationStart, RequestID: inv.id, InitKind: env.kind})
	env.e.log.write(startLine(inv.id, env.fn.Version))
	b.relay.emit(lambdaapi.TypeStart, lambdaapi.Start{
		RequestID: inv.id, Version: env.fn.Version, FunctionARN: inv.arn, Tracing: inv.sampledTracing(),
	})
	b.enqueue(inv)
	failed := b.await(ctx, func() bool { return !inv.responseEnd.IsZero() })
	b.drain()
	env.concludeManaged(b, inv, failed)
	close(inv.done)
	if env.releaseSlot(failed) {
		var f *fault
		reason := reasonSpindown
		if errors.As(failed, &f) {
			reason = reasonFailure
		}
		env.shutdown(reason)
	}
}

// enqueue hands an invocation to whichever worker of the runtime asks next.
func (b *boot) enqueue(inv *invocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	inv.delivered = time.Now()
	b.queue = append(b.queue, inv)
	b.notify()
}

func (env *environment) concludeManaged(b *boot, inv *invocation, failed error) {
	b.mu.Lock()
	b.queue = slices.DeleteFunc(b.queue, func(other *invocation) bool { return other == inv })
	delete(b.running, inv.id) // a response that still comes is too late
	end := inv.responseEnd
	if end.IsZero() {
		end = time.Now()
	}
	report := lambdaapi.Report{
		RequestID: inv.id, Tracing: inv.sampledTracing(),
		Metrics: lambdaapi.ReportMetrics{DurationMs: ms(end.Sub(inv.delivered))},
	}
	if !inv.responseEnd.IsZero() {
		report.Spans = []lambdaapi.Span{
			span(lambdaapi.SpanResponseLatency, inv.delivered, inv.responseStart),
			span(lambdaapi.SpanResponseDuration, inv.responseStart, inv.responseEnd),
		}
	}
	b.mu.Unlock()
	report.Status, report.ErrorType = outcome(failed)
	if failed != nil {
		inv.answer(env.failureResult(inv, failed))
	}
	env.e.log.write(endLine(inv.id))
	b.relay.emit(lambdaapi.TypeReport, report)
	env.e.log.write(fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms%s\n", inv.id, report.Metrics.DurationMs, statusSuffix(report.Status, report.ErrorType)))
	env.record(Entry{
		Kind: KindInvocationEnd, RequestID: inv.id, HandledError: inv.handledError, InitKind: env.kind,
		Status: report.Status, ErrorType: report.ErrorType, DurationMs: report.Metrics.DurationMs,
	})
}

// releaseSlot reports whether the environment has to be shut down: it serves
// nothing more and nobody wants it. After a crash another one takes its place.
func (env *environment) releaseSlot(failed error) (end bool) {
	f := env.fn
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	env.slots.busy--
	f.broadcastFreed()
	var crash *fault
	if errors.As(failed, &crash) && !env.slots.ended {
		env.slots.ended = true
		f.managed.environments = slices.DeleteFunc(f.managed.environments, func(other *environment) bool { return other == env })
		if !f.retired && !f.e.closed {
			f.e.work.Go(f.addManaged)
		}
	}
	if f.e.closed || f.retired {
		env.slots.ended = true
	}
	return env.slots.ended && env.slots.busy == 0
}

// serveManagedNext: a worker of the runtime waits for an invocation.
func (b *boot) serveManagedNext(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	if b.runtime.state == runtimeInitError {
		defer b.mu.Unlock()
		transitionError(w, b.runtime.state, runtimeReady)
		return
	}
	b.runtime.state, b.windowClosed = runtimeReady, true
	b.notify()
	b.mu.Unlock()
	var inv *invocation
	err := b.await(r.Context(), func() bool {
		if len(b.queue) == 0 || r.Context().Err() != nil {
			return false
		}
		inv, b.queue = b.queue[0], b.queue[1:]
		inv.state = runtimeRunning
		b.running[inv.id] = inv
		return true
	})
	if err == nil {
		writeInvocation(w, inv)
	}
}

// inFlight is the invocation that the runtime names, and where its state is: the
// runtime's own state, or on a managed instance that of the invocation. The
// lock is held.
func (b *boot) inFlight(id string) (inv *invocation, state *string) {
	if b.env.kind == kindManaged {
		if inv = b.running[id]; inv == nil {
			return nil, nil
		}
		return inv, &inv.state
	}
	if b.inv == nil || id != b.inv.id {
		return nil, nil
	}
	return b.inv, &b.runtime.state
}

// refuseEvents says what extensions cannot register for on a managed instance.
func refuseEvents(events []string, external bool) *refusal {
	switch {
	case external && slices.Contains(events, lambdaapi.EventInvoke):
		return &refusal{"Extension.InvalidEventType", "INVOKE: ErrorInvalidEventType"}
	case !external && len(events) > 0:
		return &refusal{"Extension.InvalidEventType", "No events allowed for internal extensions"}
	}
	return nil
}
