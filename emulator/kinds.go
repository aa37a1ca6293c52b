package emulator

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// longInitLimit is the least that an init may take that no request waits for.
const longInitLimit = 130 * time.Second

// kind is that of an environment that is made because a request needs one.
func (f *function) kind() string {
	switch {
	case f.SnapStart:
		return kindSnapStart
	case f.ManagedConcurrency > 0:
		return kindManaged
	default:
		return kindOnDemand // also the spill-over of provisioned concurrency
	}
}

// kinds counts the special kinds that a function asks for.
func (f Function) kinds() (n int) {
	for _, asked := range []bool{f.ProvisionedConcurrency > 0, f.SnapStart, f.ManagedConcurrency > 0} {
		if asked {
			n++
		}
	}
	return n
}

// makeReady makes what a function has in advance.
func (f *function) makeReady() {
	defer close(f.ready)
	switch {
	case f.ProvisionedConcurrency > 0:
		f.initialize(f.ProvisionedConcurrency, kindProvisioned)
	case f.SnapStart:
		f.makeSnapshot()
	case f.ManagedConcurrency > 0:
		f.addManaged()
	}
}

// Ready waits until what a function has in advance is there: the environments
// of provisioned concurrency, a snapshot, a managed instance.
func (e *Emulator) Ready(ctx context.Context, name, qualifier string) error {
	e.mu.Lock()
	f := e.find(name, qualifier)
	e.mu.Unlock()
	if f == nil {
		return fmt.Errorf("emulator: wait for %s: no such function", name)
	}
	select {
	case <-f.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("emulator: wait for %s: %w", name, ctx.Err())
	}
}

// Preinitialize makes n environments of a function that nobody has asked for,
// as Lambda does of its own accord (proactive initialization), and returns when
// they are ready and frozen.
func (e *Emulator) Preinitialize(ctx context.Context, name, qualifier string, n int) error {
	e.mu.Lock()
	f := e.find(name, qualifier)
	if f == nil || e.closed {
		e.mu.Unlock()
		return fmt.Errorf("emulator: initialize %s: no such function", name)
	}
	done := make(chan struct{})
	e.work.Go(func() { defer close(done); f.initialize(n, f.kind()) })
	e.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("emulator: initialize %s: %w", name, ctx.Err())
	}
}

// initialize makes n environments and lets them idle.
func (f *function) initialize(n int, kind string) {
	var wg sync.WaitGroup
	for range n {
		env := f.make()
		if env == nil {
			break
		}
		env.kind = kind
		wg.Go(func() {
			if err := env.initAhead(); err != nil {
				env.platformLine(fmt.Sprintf("thaw: initialize in advance: %v\n", err))
				env.shutdown(reasonFailure)
			} else if !f.admitIdle(env) {
				env.shutdown(reasonSpindown)
			}
		})
	}
	wg.Wait()
}

// make makes an environment for nobody, or nil when the function is not wanted
// any more.
func (f *function) make() *environment {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if f.retired || f.e.closed {
		return nil
	}
	return f.e.newEnvironment(f)
}

func (f *function) admitIdle(env *environment) bool {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return f.idles(env)
}

// create makes an environment for a request; the lock is held. A snapshot that
// is ready is taken, and another one made.
func (f *function) create() *environment {
	if len(f.ahead) == 0 {
		return f.e.newEnvironment(f)
	}
	env := f.ahead[0]
	f.ahead = f.ahead[1:]
	f.e.work.Go(f.makeSnapshot)
	return env
}

// takeAll takes everything away that does not serve; the lock is held.
func (f *function) takeAll() []*environment {
	all := append(f.takeIdle(), f.ahead...)
	f.ahead = nil
	return append(all, f.managed.takeIdle()...)
}

// replace makes anew what Lambda would not leave gone.
func (f *function) replace(gone []*environment) {
	provisioned := 0
	for _, env := range gone {
		switch env.kind {
		case kindProvisioned:
			provisioned++
		case kindManaged:
			f.addManaged()
		}
	}
	f.initialize(provisioned, kindProvisioned)
}

// initAhead is an init that no invocation waits for. One that fails leaves an
// environment whose first invocation has to try again.
func (env *environment) initAhead() error {
	if err := env.prepare(); err != nil {
		return err
	}
	if err := env.firstInit(nil); err != nil {
		return err
	}
	if env.current() == nil {
		return env.throttle()
	}
	if env.kind == kindSnapStart {
		return env.freeze() // a restore has the full CPU again
	}
	if err := env.throttle(); err != nil {
		return err
	}
	return env.freeze()
}

// initLimit is how long the first init may take.
func (env *environment) initLimit() time.Duration {
	if env.kind == kindOnDemand {
		return env.e.InitTimeout
	}
	return max(longInitLimit, env.fn.Timeout)
}
