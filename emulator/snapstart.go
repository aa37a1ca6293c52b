package emulator

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// makeSnapshot initializes an environment and keeps it frozen, as what will be
// restored.
func (f *function) makeSnapshot() {
	env := f.make()
	if env == nil {
		return
	}
	env.snapshot = true
	if err := env.initAhead(); err != nil {
		env.platformLine(fmt.Sprintf("thaw: make a snapshot: %v\n", err))
		env.shutdown(reasonFailure)
		return
	}
	f.e.mu.Lock()
	wanted := !f.retired && !f.e.closed
	if wanted {
		f.ahead = append(f.ahead, env)
	}
	f.e.mu.Unlock()
	if !wanted {
		env.shutdown(reasonSpindown)
	}
}

// restore makes an environment of its own of a snapshot, for an invocation that
// waits for it. When it fails the environment is reset.
func (env *environment) restore(inv *invocation) error {
	env.snapshot = false
	env.mu.Lock()
	env.id = env.fn.newEnvironmentID()
	env.mu.Unlock()
	inv.environment, inv.cold = env.id, true
	b := env.current()
	if b == nil {
		return nil // the init has failed; it is run again
	}
	ctx, cancel := context.WithTimeoutCause(env.e.running, env.e.InitTimeout, errTimeout)
	defer cancel()
	begin := time.Now()
	env.record(Entry{Kind: KindRestoreStart, InitKind: env.kind, RequestID: inv.id})
	b.relay.emit(lambdaapi.TypeRestoreStart, lambdaapi.InitStart{
		FunctionName: env.fn.Name, FunctionVersion: env.fn.Version, InstanceID: env.id,
		InstanceMaxMemory: int64(env.fn.MemoryMB) << 20, RuntimeVersion: env.fn.Runtime,
	})
	env.platformLine(restoreStartLine(env.fn))
	if err := env.thaw(); err != nil {
		return err
	}
	resumed := time.Now()
	failed := b.resume(ctx)
	end := time.Now()
	b.drain()
	env.endRestore(b, inv, failed, end.Sub(begin))
	if failed != nil {
		return env.reset(shutdownReason(failed), nil)
	}
	inv.restoreMs, inv.billedRestoreMs = ms(end.Sub(begin)), ceilMs(end.Sub(resumed))
	return nil
}

func (env *environment) endRestore(b *boot, inv *invocation, failed error, duration time.Duration) {
	status, errorType := outcome(failed)
	done := lambdaapi.InitRuntimeDone{Status: status, ErrorType: errorType}
	if status == statusTimeout { // as the platform says it, here and only here
		done.Status, done.ErrorType = statusError, "Runtime.Unknown"
	}
	b.relay.emit(lambdaapi.TypeRestoreRuntimeDone, done)
	report := lambdaapi.InitReport{Status: status, ErrorType: errorType, Metrics: lambdaapi.DurationMetrics{DurationMs: ms(duration)}}
	b.relay.emit(lambdaapi.TypeRestoreReport, report)
	env.platformLine(restoreReportLine(report))
	env.record(Entry{
		Kind: KindRestoreEnd, InitKind: env.kind, RequestID: inv.id, Status: status, ErrorType: errorType, DurationMs: ms(duration),
	})
}

// resume lets a runtime go on that waits for its restore, and waits until its
// hooks have run. One that went straight to its first invocation has none.
func (b *boot) resume(ctx context.Context) error {
	b.mu.Lock()
	if b.runtime.state == runtimeRestoreReady {
		b.runtime.state = runtimeRestoring
		b.notify()
	}
	b.mu.Unlock()
	return b.await(ctx, func() bool { return b.runtime.state == runtimeReady })
}

// serveRestoreNext: the runtime is done with its init, and waits until a
// snapshot of it is restored.
func (b *boot) serveRestoreNext(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	if b.runtime.state != runtimeStarted {
		defer b.mu.Unlock()
		transitionError(w, b.runtime.state, runtimeRestoreReady)
		return
	}
	b.runtime.state, b.windowClosed = runtimeRestoreReady, true
	b.notify()
	b.mu.Unlock()
	_ = b.await(r.Context(), func() bool { return b.runtime.state == runtimeRestoring }) // else it is gone
}

// serveRestoreError: a hook has failed after the restore.
func (b *boot) serveRestoreError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runtime.state != runtimeRestoring {
		transitionError(w, b.runtime.state, runtimeRestoreError)
		return
	}
	b.runtime.state = runtimeRestoreError
	f := &fault{errorType: sanitizeErrorType(r.Header.Get(lambdaapi.HeaderFunctionErrorType)), message: "restore error"}
	if err == nil && len(body) > 0 {
		f.body = body
	}
	b.failLocked(f)
	writeAccepted(w)
}

// credentialsPath is where processes get their credentials after a restore.
const credentialsPath = "/2021-04-23/credentials"

// credentialsToken is what they have to show. It is no secret: nor are the
// credentials.
func credentialsToken() string { return rand.Text() }

func (b *boot) serveCredentials(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != b.env.token {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{
		"AccessKeyId": placeholder, "SecretAccessKey": placeholder, "Token": placeholder,
		"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	})
}
