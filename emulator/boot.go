package emulator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// Words of the platform.
const (
	kindOnDemand    = "on-demand"
	kindProvisioned = "provisioned-concurrency"
	kindSnapStart   = "snap-start"
	kindManaged     = "lambda-managed-instances"

	phaseInit   = "init"
	phaseInvoke = "invoke" // an init that is run again inside an invocation

	statusSuccess = "success"
	statusError   = "error"
	statusFailure = "failure"
	statusTimeout = "timeout"

	reasonSpindown = "spindown"
	reasonFailure  = "failure"
	reasonTimeout  = "timeout"

	maxExtensions = 10
)

// errTimeout is the cause of a context that ends with an invocation's or an
// init's time.
var errTimeout = errors.New("timed out")

// fault is what made an init or an invocation fail. Only the first counts.
type fault struct {
	errorType string
	message   string
	body      []byte // what the runtime itself said, for the caller
}

func (f *fault) Error() string { return f.errorType + ": " + f.message }

// boot is what one init of an environment started: processes, registrations
// and subscriptions. A reset or a shutdown ends it as a whole.
//
// All state is behind one lock, and every change of it wakes all who wait in
// await: that is the whole synchronisation between the HTTP handlers that the
// processes call, the watchers of the processes, and the environment that
// drives the boot.
type boot struct {
	env   *environment
	phase string
	ahead bool // no invocation waits for its init
	relay *relay
	procs sync.WaitGroup // watchers and readers of processes

	mu            sync.Mutex
	changed       chan struct{} // closed and replaced on every change
	runtime       runtimeState
	extensions    []*extension
	windowClosed  bool // internal extensions cannot register any more
	extensionsOff bool // by the magic file in /opt
	fault         *fault
	ending        bool // processes are expected to exit
	inv           *invocation
	queue         []*invocation          // managed instances: not taken yet
	running       map[string]*invocation // managed instances: taken, by request
}

// runtimeState is the runtime process and its place in the Runtime API.
type runtimeState struct {
	proc  *process
	state string
}

// extension is an extension and its place in the Extensions API. An external
// one has a process; an internal one lives in the runtime's.
type extension struct {
	name      string
	id        uuid.UUID
	proc      *process
	state     string
	events    []string
	errorType string
	pending   *lambdaapi.NextEvent // to be delivered by its next call of next
	readyAt   time.Time
}

func (x *extension) external() bool { return x.proc != nil }

func (x *extension) wants(event string) bool {
	for _, e := range x.events {
		if e == event {
			return true
		}
	}
	return false
}

// newBoot prepares the processes of a boot, so that its init begins with
// nothing but exec.
func newBoot(env *environment, phase string) (*boot, error) {
	b := &boot{env: env, phase: phase, changed: make(chan struct{}), relay: newRelay(), running: map[string]*invocation{}}
	b.runtime.state = runtimeStarted
	if err := b.prepareExtensions(); err != nil {
		b.abandon()
		return nil, err
	}
	proc, err := env.prepareProcess(env.runtimeSpec(), func(line string) {
		env.logLine(b, lambdaapi.StreamFunction, line)
	})
	if err != nil {
		b.abandon()
		return nil, err
	}
	b.runtime.proc = proc
	return b, nil
}

// prepareExtensions finds /opt/extensions in lexical order, not recursively.
func (b *boot) prepareExtensions() error {
	opt := b.env.files.hostOpt
	if opt == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(opt, disableExtensions)); err == nil {
		b.extensionsOff = true
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(opt, "extensions")) // sorted
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read extensions: %w", err)
	}
	for _, entry := range entries {
		info, err := os.Stat(filepath.Join(opt, "extensions", entry.Name()))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		x, err := b.prepareExtension(entry.Name())
		if err != nil {
			return err
		}
		b.extensions = append(b.extensions, x)
	}
	return nil
}

func (b *boot) prepareExtension(name string) (*extension, error) {
	if len(b.extensions) >= maxExtensions {
		return &extension{name: name, state: stateLaunchError, errorType: "TooManyExtensions"}, nil
	}
	proc, err := b.env.prepareProcess(b.env.extensionSpec(name), func(line string) {
		b.env.logLine(b, lambdaapi.StreamExtension, line)
	})
	if err != nil {
		return nil, err
	}
	return &extension{name: name, id: uuid.New(), proc: proc, state: stateStarted}, nil
}

// bringUp is the init itself: extensions, then the runtime, then all are ready.
func (b *boot) bringUp(ctx context.Context) error {
	for _, x := range b.extensions {
		if err := b.startExtension(x); err != nil {
			return err
		}
	}
	if err := b.await(ctx, b.allRegistered); err != nil {
		return err
	}
	if err := b.env.limits.balance(); err != nil {
		return err
	}
	if err := b.startProcess(b.runtime.proc, b.runtimeExited); err != nil {
		return b.fail(&fault{errorType: "Runtime.InvalidEntrypoint", message: err.Error()})
	}
	return b.await(ctx, func() bool { return b.runtimeReady() && b.allReady() })
}

func (b *boot) startExtension(x *extension) error {
	if x.proc == nil {
		return b.fail(&fault{errorType: "Extension.LaunchError", message: "too many extensions"})
	}
	err := b.startProcess(x.proc, func(status string, _ bool) { b.extensionExited(x, status) })
	if err == nil {
		return nil
	}
	var launch *launchError
	known := errors.As(err, &launch)
	if known && launch.is(syscall.ENOEXEC) {
		// Recorded from Lambda: the wrong architecture is a crash.
		return b.fail(&fault{errorType: "Extension.Crash", message: err.Error()})
	}
	b.mu.Lock()
	x.state, x.errorType = stateLaunchError, "UnknownError"
	if known && launch.is(syscall.EACCES) {
		x.errorType = "PermissionDenied"
	}
	b.mu.Unlock()
	return b.fail(&fault{errorType: "Extension.LaunchError", message: err.Error()})
}

// startProcess executes p and watches it. onExit learns how it ended, and
// whether it was killed for want of memory.
func (b *boot) startProcess(p *process, onExit func(status string, oom bool)) error {
	if err := p.execute(); err != nil {
		return err
	}
	entry := Entry{Kind: KindProcessStart, PID: p.pid(), Role: p.spec.role, Name: p.spec.name}
	b.env.record(entry)
	p.watch(&b.procs, func() {
		entry.Kind, entry.ExitStatus, entry.OOMKill = KindProcessExit, p.status, b.oomKilled(p)
		b.env.record(entry)
		onExit(p.status, entry.OOMKill)
	})
	return nil
}

// oomKilled reports whether p was killed for want of memory. Who is killed
// while the boot ends was killed by us.
func (b *boot) oomKilled(p *process) bool {
	b.mu.Lock()
	ending := b.ending
	b.mu.Unlock()
	return !ending && p.status == statusKilled && b.env.claimOOMKill()
}

func (b *boot) runtimeExited(status string, oom bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending {
		return
	}
	f := &fault{errorType: "Runtime.ExitError", message: "Runtime exited with error: " + status}
	if status == statusExit0 {
		f.message = "Runtime exited without providing a reason"
	}
	if oom {
		f.errorType = "Runtime.OutOfMemory"
	}
	b.failLocked(f)
}

func (b *boot) extensionExited(x *extension, status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending {
		x.state = stateExited
		if status != statusExit0 {
			x.state = stateShutdownFailed
		}
		return
	}
	if status == statusExit0 {
		status = "exit code 0" // as the platform words it
	}
	b.failLocked(&fault{errorType: "Extension.Crash", message: status})
}

// fail notes a fault and returns the one that counts, the first.
func (b *boot) fail(f *fault) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failLocked(f)
	return b.fault
}

func (b *boot) failLocked(f *fault) {
	if b.fault == nil {
		b.fault = f
	}
	b.notify()
}

// notify wakes all who wait in await; the lock is held.
func (b *boot) notify() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// await waits until ready says so, under the lock. It returns the boot's fault
// if there is one, and otherwise the cause of ctx's end.
func (b *boot) await(ctx context.Context, ready func() bool) error {
	b.mu.Lock()
	for {
		if b.fault != nil {
			defer b.mu.Unlock()
			return b.fault
		}
		if ready() {
			b.mu.Unlock()
			return nil
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b.mu.Lock()
	}
}

// The conditions below are called with the lock held.

// runtimeReady: it waits for an invocation, or for the snapshot.
func (b *boot) runtimeReady() bool {
	return b.runtime.state == runtimeReady || b.runtime.state == runtimeRestoreReady
}

func (b *boot) allRegistered() bool {
	for _, x := range b.extensions {
		if x.state == stateStarted {
			return false
		}
	}
	return true
}

func (b *boot) allReady() bool {
	for _, x := range b.extensions {
		if x.state != stateReady {
			return false
		}
	}
	return true
}

// invokeExtensionsReady: all who were given the invocation are done with it.
func (b *boot) invokeExtensionsReady() bool {
	for _, x := range b.extensions {
		if x.wants(lambdaapi.EventInvoke) && (x.pending != nil || x.state != stateReady) {
			return false
		}
	}
	return true
}

// runtimeDone: the runtime has answered the invocation and asked for the next.
func (b *boot) runtimeDone() bool { return !b.inv.runtimeNext.IsZero() }

// deliver releases an invocation to all extensions that want it, and to the
// runtime.
func (b *boot) deliver(inv *invocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	inv.delivered = time.Now()
	b.inv = inv
	for _, x := range b.extensions {
		if x.wants(lambdaapi.EventInvoke) {
			x.pending = &lambdaapi.NextEvent{
				EventType: lambdaapi.EventInvoke, DeadlineMs: inv.deadline.UnixMilli(), RequestID: inv.id,
				InvokedFunctionARN: inv.arn, Tracing: inv.tracing(),
			}
		}
	}
	b.notify()
}

// lastReady is when the last of the extensions was done, or zero.
func (b *boot) lastReady() (last time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.extensions {
		if x.wants(lambdaapi.EventInvoke) && x.readyAt.After(last) {
			last = x.readyAt
		}
	}
	return last
}

// hasExtensions reports whether any are registered, and any external ones.
func (b *boot) hasExtensions() (some, external bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.extensions {
		some = true
		external = external || x.external()
	}
	return some, external
}

// processes are all that the boot has, executed or not.
func (b *boot) processes() (procs []*process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.extensions {
		if x.proc != nil {
			procs = append(procs, x.proc)
		}
	}
	if b.runtime.proc != nil {
		procs = append(procs, b.runtime.proc)
	}
	return procs
}

// drain reads what the processes wrote until now.
func (b *boot) drain() {
	for _, p := range b.processes() {
		if p.running {
			p.out.drain()
		}
	}
}

// abandon gives up a boot that never began.
func (b *boot) abandon() {
	for _, p := range b.processes() {
		p.abandon()
	}
	b.relay.close()
}
