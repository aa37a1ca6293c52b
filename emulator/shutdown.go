package emulator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// How long a shutdown takes at most, by who is registered. The runtime gets
// its share first.
const (
	shutdownExternal = 2 * time.Second
	shutdownInternal = 500 * time.Millisecond
	runtimeShare     = 300 * time.Millisecond
	flushShare       = time.Second
)

// reset ends the processes after a failure. The environment remains. report,
// if any, is written while extensions can still get it.
func (env *environment) reset(reason string, report func()) error {
	err := env.endBoot(reason, report)
	env.record(Entry{Kind: KindEnvironmentShutdown, Reason: reason})
	return err
}

// shutdown ends the environment.
func (env *environment) shutdown(reason string) {
	if !env.opened {
		return
	}
	err := env.thaw()
	if env.current() != nil {
		err = errors.Join(err, env.endBoot(reason, nil))
	}
	if err != nil {
		env.platformLine(fmt.Sprintf("thaw: shut environment down: %v\n", err))
	}
	env.record(Entry{Kind: KindEnvironmentShutdown, Reason: reason})
	env.close()
}

// shutdownAll shuts environments down side by side.
func shutdownAll(envs []*environment) {
	var wg sync.WaitGroup
	for _, env := range envs {
		wg.Go(func() { env.shutdown(reasonSpindown) })
	}
	wg.Wait()
}

// endBoot is the platform's shutdown sequence: SIGTERM for the runtime, the
// rest of the telemetry, SHUTDOWN for the extensions, SIGKILL for all.
func (env *environment) endBoot(reason string, report func()) error {
	b := env.current()
	total := b.beginEnd()
	deadline := time.Now().Add(total)
	var err error
	if total > 0 {
		b.stopRuntime(total)
		err = env.forgiveCPU()
	}
	if report != nil {
		report()
	}
	if total == shutdownExternal {
		b.stopExtensions(reason, deadline)
	}
	err = errors.Join(err, env.limits.kill())
	b.finish()
	env.setBoot(nil)
	return err
}

// forgiveCPU clears the debt of CPU time by setting the quota again. Linux
// throttles a process when it returns from the kernel, so one that runs out of
// memory takes time in there without bound, and what is left of the environment
// pays for it at a few percent of a core: after an out-of-memory kill the
// extensions would stand still for seconds, and miss their shutdown.
func (env *environment) forgiveCPU() error {
	if !env.throttled {
		return nil
	}
	return env.limits.throttle()
}

// beginEnd makes exits expected, and returns how long the end may take.
func (b *boot) beginEnd() time.Duration {
	b.mu.Lock()
	b.ending = true
	b.windowClosed = true
	b.notify()
	b.mu.Unlock()
	some, external := b.hasExtensions()
	switch {
	case external:
		return shutdownExternal
	case some:
		return shutdownInternal
	default:
		return 0 // nobody could do anything with it
	}
}

// stopRuntime asks the runtime to end, and makes it.
func (b *boot) stopRuntime(total time.Duration) {
	p := b.runtime.proc
	if !p.running {
		return
	}
	share := runtimeShare
	if total == shutdownInternal {
		share = total
	}
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(share)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.signal(syscall.SIGKILL)
	}
}

// stopExtensions flushes telemetry and sends SHUTDOWN to who wants it; it
// returns when these have ended, or at the deadline.
func (b *boot) stopExtensions(reason string, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	flush, cancelFlush := context.WithTimeout(ctx, flushShare)
	defer cancelFlush()
	b.relay.flush(flush)
	for _, p := range b.sendShutdown(reason, deadline) {
		select {
		case <-p.exited:
		case <-ctx.Done():
			return
		}
	}
}

// sendShutdown returns the processes that SHUTDOWN was sent to. Extensions
// that did not ask for it are killed at once.
func (b *boot) sendShutdown(reason string, deadline time.Time) (told []*process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.extensions {
		if x.proc == nil || !x.proc.running {
			continue
		}
		if !x.wants(lambdaapi.EventShutdown) {
			x.proc.signal(syscall.SIGKILL)
			continue
		}
		x.pending = &lambdaapi.NextEvent{
			EventType: lambdaapi.EventShutdown, DeadlineMs: deadline.UnixMilli(), ShutdownReason: reason,
		}
		told = append(told, x.proc)
	}
	b.notify()
	return told
}

// finish waits for all that the boot started; its processes were killed.
func (b *boot) finish() {
	for _, p := range b.processes() {
		if !p.running {
			p.abandon()
			continue
		}
		<-p.exited
		_ = p.out.close() // what a process that escaped holds open, too
	}
	b.procs.Wait()
	b.relay.close()
}
