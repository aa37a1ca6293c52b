package emulator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// serve takes one invocation from beginning to end, and leaves the
// environment ready for the next.
func (env *environment) serve(inv *invocation) {
	env.setInvocation(inv)
	inv.environment = env.id
	err := env.prepare()
	if err == nil {
		err = env.run(inv)
	}
	if err != nil {
		inv.answer(unhandled(inv, "Sandbox.Failure", err.Error()))
		env.platformLine("thaw: " + err.Error() + "\n")
	}
	env.setInvocation(nil)
	close(inv.done)
	if err != nil {
		env.fn.discard()
		env.shutdown(reasonFailure)
	} else if !env.fn.release(env) {
		env.shutdown(reasonSpindown)
	}
}

func (env *environment) prepare() error {
	if env.opened {
		return nil
	}
	return env.open()
}

// run initializes if necessary, delivers, waits and reports. Its error is one
// of the emulator, not of the function.
func (env *environment) run(inv *invocation) error {
	if err := env.makeReady(inv); err != nil {
		return err
	}
	if err := env.throttle(); err != nil {
		return err
	}
	if env.current() == nil {
		return env.runSuppressed(inv)
	}
	ctx, cancel := env.limitTime(inv)
	defer cancel()
	if err := errors.Join(env.limits.balance(), env.thaw()); err != nil {
		return err
	}
	env.announce(inv)
	failed := env.invoke(ctx, inv)
	return env.conclude(inv, inv.delivered, failed)
}

// makeReady is what has to be before an invocation can begin: an init, or a
// restore.
func (env *environment) makeReady(inv *invocation) error {
	if !env.inited && env.kind == kindSnapStart {
		// No snapshot was ready. On Lambda there always is one, so the time
		// that it takes is not the request's.
		env.snapshot = true
		if err := env.initAhead(); err != nil {
			return err
		}
	}
	if !env.inited {
		return env.firstInit(inv)
	}
	if env.snapshot {
		return env.restore(inv)
	}
	return nil
}

// runSuppressed is run for an environment whose init failed, or that was
// reset: init is a part of the invocation and of its time.
func (env *environment) runSuppressed(inv *invocation) error {
	inv.cold = true
	b, err := newBoot(env, phaseInvoke)
	if err != nil {
		return err
	}
	begin := time.Now()
	ctx, cancel := env.limitTime(inv)
	defer cancel()
	_, failed := env.initialize(ctx, b)
	env.announce(inv)
	if failed == nil {
		failed = env.invoke(ctx, inv)
	} else {
		env.emitRuntimeDone(inv, failed, begin)
	}
	return env.conclude(inv, begin, failed)
}

// limitTime starts the invocation's time.
func (env *environment) limitTime(inv *invocation) (context.Context, context.CancelFunc) {
	inv.deadline = time.Now().Add(env.fn.Timeout)
	return context.WithDeadlineCause(env.e.running, inv.deadline, errTimeout)
}

// throttle ends the full CPU that init has.
func (env *environment) throttle() error {
	if env.throttled {
		return nil
	}
	env.throttled = true
	return env.limits.throttle()
}

// firstInit is the init of an environment that is new. When it fails, the
// environment is reset and its first invocation tries again with a suppressed
// init. inv is who waits for it, or nil.
func (env *environment) firstInit(inv *invocation) error {
	env.inited = true
	if inv != nil {
		inv.cold = true
	}
	b, err := newBoot(env, phaseInit)
	if err != nil {
		return err
	}
	b.ahead = inv == nil
	ctx, cancel := context.WithTimeoutCause(env.e.running, env.initLimit(), errTimeout)
	defer cancel()
	duration, failed := env.initialize(ctx, b)
	if failed != nil {
		return env.reset(shutdownReason(failed), nil)
	}
	if inv != nil {
		inv.initMs = ms(duration)
	}
	return nil
}

// initialize brings a boot up, and emits the events of an init.
func (env *environment) initialize(ctx context.Context, b *boot) (duration time.Duration, failed error) {
	env.setBoot(b)
	f := env.fn
	begin := time.Now()
	env.record(Entry{Kind: KindInitStart, Phase: b.phase, InitKind: env.kind, Ahead: b.ahead})
	b.relay.emit(lambdaapi.TypeInitStart, lambdaapi.InitStart{
		InitializationType: env.kind, Phase: b.phase, FunctionName: f.Name, FunctionVersion: f.Version,
		InstanceID: env.id, InstanceMaxMemory: int64(f.MemoryMB) << 20, RuntimeVersion: f.Runtime,
	})
	env.platformLine(initStartLine(f))
	failed = b.bringUp(ctx)
	duration = time.Since(begin)
	b.drain()
	env.endInit(b, failed, duration)
	return duration, failed
}

// endInit emits the events at the end of an init, in the platform's order.
func (env *environment) endInit(b *boot, failed error, duration time.Duration) {
	status, errorType := outcome(failed)
	b.relay.emit(lambdaapi.TypeInitRuntimeDone, lambdaapi.InitRuntimeDone{
		InitializationType: env.kind, Phase: b.phase, Status: status, ErrorType: errorType,
	})
	for _, x := range b.extensionRecords() {
		b.relay.emit(lambdaapi.TypeExtension, x)
		env.platformLine(extensionLine(x))
	}
	report := lambdaapi.InitReport{
		InitializationType: env.kind, Phase: b.phase, Status: status, ErrorType: errorType,
		Metrics: lambdaapi.DurationMetrics{DurationMs: ms(duration)},
	}
	b.relay.emit(lambdaapi.TypeInitReport, report)
	if failed == nil {
		b.relay.closeSubscriptions()
	}
	if failed != nil || env.kind == kindSnapStart || env.kind == kindProvisioned {
		env.platformLine(initReportLine(report))
	}
	env.record(Entry{
		Kind: KindInitEnd, Phase: b.phase, InitKind: env.kind, Ahead: b.ahead,
		Status: status, ErrorType: errorType, DurationMs: ms(duration),
	})
}

// extensionRecords tell the state of all extensions.
func (b *boot) extensionRecords() (records []lambdaapi.Extension) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.extensions {
		records = append(records, lambdaapi.Extension{
			Name: x.name, State: x.state, Events: slices.Concat([]string{}, x.events), ErrorType: x.errorType,
		})
	}
	return records
}

// outcome is the status and error type of an init or invocation that ended
// with err.
func outcome(err error) (status, errorType string) {
	var f *fault
	switch {
	case err == nil:
		return statusSuccess, ""
	case errors.As(err, &f):
		return statusError, f.errorType
	case errors.Is(err, errTimeout):
		return statusTimeout, ""
	default:
		return statusFailure, "Sandbox.Failure"
	}
}

func shutdownReason(err error) string {
	switch {
	case errors.Is(err, errTimeout):
		return reasonTimeout
	case errors.Is(err, errNotServing):
		return reasonSpindown
	default:
		return reasonFailure
	}
}

// announce emits the beginning of an invocation.
func (env *environment) announce(inv *invocation) {
	env.record(Entry{Kind: KindInvocationStart, RequestID: inv.id, Cold: inv.cold, InitKind: env.kind})
	env.current().relay.emit(lambdaapi.TypeStart, lambdaapi.Start{
		RequestID: inv.id, Version: env.fn.Version, Tracing: inv.sampledTracing(),
	})
	env.platformLine(startLine(inv.id, env.fn.Version))
}

// invoke delivers the invocation, and waits until the runtime and then all
// extensions are done with it.
func (env *environment) invoke(ctx context.Context, inv *invocation) error {
	b := env.current()
	b.deliver(inv)
	err := b.await(ctx, b.runtimeDone)
	b.drain()
	env.emitRuntimeDone(inv, err, inv.delivered)
	if err == nil {
		err = b.await(ctx, b.invokeExtensionsReady)
	}
	return err
}

func (env *environment) emitRuntimeDone(inv *invocation, failed error, begin time.Time) {
	b := env.current()
	b.mu.Lock()
	end := inv.runtimeNext
	if end.IsZero() {
		end = time.Now()
	}
	record := lambdaapi.RuntimeDone{
		RequestID: inv.id, Tracing: inv.sampledTracing(), Spans: inv.spans(),
		Metrics: &lambdaapi.RuntimeDoneMetrics{DurationMs: ms(end.Sub(begin)), ProducedBytes: inv.produced},
	}
	b.mu.Unlock()
	record.Status, record.ErrorType = outcome(failed)
	b.relay.emit(lambdaapi.TypeRuntimeDone, record)
}

// conclude reports, and freezes. After a failure it resets instead, and then
// answers the caller if the runtime did not: the time of a reset comes on top.
func (env *environment) conclude(inv *invocation, begin time.Time, failed error) error {
	b := env.current()
	end := time.Now()
	if failed == nil {
		end = later(inv.runtimeNext, b.lastReady())
	}
	report := env.makeReport(inv, failed, end.Sub(begin))
	write := func() { env.emitReport(b, inv, report) }
	if failed == nil {
		write()
		return env.freeze()
	}
	err := env.reset(shutdownReason(failed), write)
	inv.answer(env.failureResult(inv, failed))
	return err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// failureResult is what the caller gets from an invocation without an answer.
func (env *environment) failureResult(inv *invocation, failed error) InvokeResult {
	var f *fault
	switch {
	case errors.As(failed, &f) && f.body != nil:
		return InvokeResult{Payload: f.body, FunctionError: functionErrorUnhandled}
	case errors.As(failed, &f):
		return unhandled(inv, f.errorType, f.message)
	case errors.Is(failed, errTimeout):
		return unhandled(inv, "Sandbox.Timedout",
			fmt.Sprintf("Task timed out after %.2f seconds", env.fn.Timeout.Seconds()))
	default:
		return unhandled(inv, "Sandbox.Failure", "the emulator was closed")
	}
}

func (env *environment) makeReport(inv *invocation, failed error, duration time.Duration) lambdaapi.Report {
	status, errorType := outcome(failed)
	if status == statusTimeout {
		duration = env.fn.Timeout
	}
	report := lambdaapi.Report{
		RequestID: inv.id, Status: status, ErrorType: errorType, Tracing: inv.sampledTracing(),
		Metrics: lambdaapi.ReportMetrics{
			DurationMs: ms(duration), InitDurationMs: inv.initMs,
			RestoreDurationMs: inv.restoreMs, BilledRestoreDurationMs: inv.billedRestoreMs,
			BilledDurationMs: int64(math.Ceil(ms(duration)+inv.initMs)) + inv.billedRestoreMs,
			MemorySizeMB:     int64(env.fn.MemoryMB), MaxMemoryUsedMB: env.maxMemoryMB(),
		},
	}
	if some, _ := env.current().hasExtensions(); some && failed == nil {
		from := inv.runtimeNext
		report.Spans = []lambdaapi.Span{span(lambdaapi.SpanExtensionOverhead, from, later(from, env.current().lastReady()))}
	}
	return report
}

// maxMemoryMB is the most memory that was used, 0 if unknown.
func (env *environment) maxMemoryMB() int64 {
	peak, ok := env.limits.peakMemory()
	if !ok {
		return 0
	}
	return min((peak+1<<20-1)>>20, int64(env.fn.MemoryMB))
}

func (env *environment) emitReport(b *boot, inv *invocation, report lambdaapi.Report) {
	env.platformLine(endLine(inv.id))
	b.relay.emit(lambdaapi.TypeReport, report)
	env.platformLine(reportLine(report))
	var overhead float64
	if len(report.Spans) > 0 {
		overhead = report.Spans[0].DurationMs
	}
	env.record(Entry{
		Kind: KindInvocationEnd, RequestID: inv.id, Cold: inv.cold, HandledError: inv.handledError,
		Status: report.Status, ErrorType: report.ErrorType, DurationMs: report.Metrics.DurationMs,
		BilledMs: report.Metrics.BilledDurationMs, InitMs: inv.initMs, MaxMemoryMB: report.Metrics.MaxMemoryUsedMB,
		InitKind: env.kind, RestoreMs: inv.restoreMs,
		OverheadMs: overhead,
	})
}

// freeze stops everything, the delivery of telemetry first.
func (env *environment) freeze() error {
	env.current().relay.setPaused(true)
	if err := env.limits.freeze(); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	env.frozen = true
	env.record(Entry{Kind: KindFreeze})
	return nil
}

func (env *environment) thaw() error {
	if !env.frozen {
		return nil
	}
	env.frozen = false
	env.record(Entry{Kind: KindThaw})
	if err := env.limits.thaw(); err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	env.current().relay.setPaused(false)
	return nil
}
