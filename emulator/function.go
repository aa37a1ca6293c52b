package emulator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Limits of a function's configuration.
const (
	LatestVersion = "$LATEST"

	minMemoryMB    = 128
	maxMemoryMB    = 10240
	maxTimeout     = 15 * time.Minute
	maxConcurrency = 1000 // of an account, unless AWS raised it
	maxLayers      = 5
)

// Function is the configuration of one version of a function. The same Name
// can be added several times with different Versions, for example once for
// each memory size, and is invoked by Version or Alias as the qualifier.
type Function struct {
	// Name is the function's name, without account or region.
	Name string
	// Version is "$LATEST" (default) or a number, as Lambda publishes them. It
	// identifies the function together with Name: adding the same pair again
	// is a deployment, which retires the environments of the former.
	Version string
	// Alias is another qualifier for this version, for example "512mb".
	Alias string
	// Handler is told to the runtime and to extensions.
	Handler string
	// Runtime is a label like "provided.al2023", "nodejs22.x" or "python3.12".
	// All but "provided..." get AWS_EXECUTION_ENV.
	Runtime string
	// Dir is the task root, /var/task.
	Dir string
	// Command is what to execute as the bootstrap. Paths inside Dir are
	// translated to /var/task, those inside a layer to /opt; a bare name is looked up in PATH. Default:
	// Dir/bootstrap, then /opt/bootstrap.
	Command []string
	// Layers are directories (unpacked layer zips), merged in order into /opt.
	Layers []string
	// MemoryMB is 128 (default) to 10240.
	MemoryMB int
	// Timeout bounds an invocation. Default 3 s, at most 15 min.
	Timeout time.Duration
	// Env are the customer's environment variables.
	Env map[string]string
	// Architecture is "x86_64" or "arm64". Default: the host's.
	Architecture string
	// MaxConcurrency is the reserved concurrency. Default 1000, the account's.
	MaxConcurrency int
	// ProvisionedConcurrency is how many environments are initialized in
	// advance. Requests that find none of them free go to on-demand ones.
	ProvisionedConcurrency int
	// SnapStart makes every environment restore a snapshot that was made in
	// advance; see the package comment for what that is here.
	SnapStart bool
	// ManagedConcurrency makes it run on a managed instance, which serves so
	// many invocations at once in one environment. 0: it does not.
	ManagedConcurrency int
	// Faults are for tests.
	Faults Faults
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)
var validQualifier = regexp.MustCompile(`^([a-zA-Z0-9-_]{1,128}|\$LATEST)$`)

// withDefaults returns a copy of f that is complete, or what is wrong with it.
func (f Function) withDefaults() (Function, error) {
	setDefault(&f.Version, LatestVersion)
	setDefault(&f.MemoryMB, minMemoryMB)
	setDefault(&f.Timeout, 3*time.Second)
	setDefault(&f.MaxConcurrency, maxConcurrency)
	setDefault(&f.Architecture, hostArchitecture())
	f.Command, f.Layers, f.Env = slices.Clone(f.Command), slices.Clone(f.Layers), maps.Clone(f.Env)
	if err := f.validate(); err != nil {
		return f, fmt.Errorf("function %q: %w", f.Name, err)
	}
	dir, err := filepath.Abs(f.Dir)
	if err != nil {
		return f, fmt.Errorf("function %q: task root: %w", f.Name, err)
	}
	f.Dir = dir
	return f, nil
}

func (f Function) validate() error {
	switch {
	case !validName.MatchString(f.Name):
		return fmt.Errorf("name does not match %s", validName)
	case !validQualifier.MatchString(f.Version):
		return fmt.Errorf("version %q does not match %s", f.Version, validQualifier)
	case f.Alias != "" && !validQualifier.MatchString(f.Alias):
		return fmt.Errorf("alias %q does not match %s", f.Alias, validQualifier)
	case f.MemoryMB < minMemoryMB || f.MemoryMB > maxMemoryMB:
		return fmt.Errorf("memory of %d MB is not between %d and %d", f.MemoryMB, minMemoryMB, maxMemoryMB)
	case f.Timeout < 0 || f.Timeout > maxTimeout:
		return fmt.Errorf("timeout of %v is not between 0 and %v", f.Timeout, maxTimeout)
	case f.MaxConcurrency < 0:
		return fmt.Errorf("reserved concurrency of %d is negative", f.MaxConcurrency)
	case (f.ProvisionedConcurrency > 0 || f.SnapStart) && f.Version == LatestVersion:
		return fmt.Errorf("provisioned concurrency and SnapStart need a published version, not %s", LatestVersion)
	case f.ProvisionedConcurrency < 0 || f.ManagedConcurrency < 0:
		return fmt.Errorf("a negative concurrency: %d provisioned, %d managed", f.ProvisionedConcurrency, f.ManagedConcurrency)
	case f.kinds() > 1:
		return fmt.Errorf("provisioned concurrency, SnapStart and managed instances exclude one another")
	case len(f.Layers) > maxLayers:
		return fmt.Errorf("%d layers are more than %d", len(f.Layers), maxLayers)
	case f.Dir == "":
		return fmt.Errorf("no task root: Dir is empty")
	}
	for _, dir := range append([]string{f.Dir}, f.Layers...) {
		if info, err := os.Stat(dir); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
	}
	for name := range f.Env {
		if slices.Contains(reservedVariables, name) {
			return fmt.Errorf("environment variable %s is reserved by Lambda", name)
		}
	}
	return nil
}

func hostArchitecture() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

// functionKey identifies a function's version.
type functionKey struct{ name, version string }

// function is an added Function with its environments. The Emulator's lock
// guards the placement below, which is one decision for all requests.
type function struct {
	Function
	e       *Emulator
	taskDir string // Dir, or a readable copy of it
	optDir  string // the merged layers; empty without layers

	idle     []*environment // the one that became idle last is at the end
	ahead    []*environment // snapshots that wait to be restored
	ready    chan struct{}  // closed when what is made in advance is there
	managed  managed
	inFlight int // invocations that hold an environment
	answered int // of these, those that wait only for the environment
	waiters  []chan *environment
	retired  bool          // a newer deployment replaced it
	freed    chan struct{} // closed and replaced whenever an environment became free
}

// AddFunction makes a version of a function invocable. Adding the same name
// and version again is a deployment: the environments of the former
// configuration are shut down as they become idle.
func (e *Emulator) AddFunction(cfg Function) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	f := &function{Function: cfg, e: e, freed: make(chan struct{}), ready: make(chan struct{})}
	if err := e.host.translateCommand(&f.Function); err != nil {
		return fmt.Errorf("emulator: function %q: %w", f.Name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.started || e.closed {
		return errNotServing
	}
	if other := e.find(f.Name, f.Alias); f.Alias != "" && other != nil && other.Version != f.Version {
		return fmt.Errorf("emulator: function %q: %s is a qualifier of version %s already", f.Name, f.Alias, other.Version)
	}
	if err := e.prepareFiles(f); err != nil {
		return fmt.Errorf("emulator: function %q: %w", f.Name, err)
	}
	key := functionKey{f.Name, f.Version}
	if old := e.functions[key]; old != nil {
		old.retired = true
		for _, env := range old.takeAll() {
			e.work.Go(func() { env.shutdown(reasonSpindown) })
		}
	}
	e.functions[key] = f
	e.work.Go(f.makeReady)
	return nil
}

// lookPath finds a bare command name in the host's PATH when the PATH of
// Lambda does not have it.
func lookPath(command string) string {
	if strings.Contains(command, "/") {
		return command
	}
	for _, dir := range filepath.SplitList(lambdaPath) {
		if info, err := os.Stat(filepath.Join(dir, command)); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, command)
		}
	}
	if path, err := exec.LookPath(command); err == nil {
		return path
	}
	return command
}

// find resolves a name and qualifier; the Emulator's lock is held. No qualifier
// means $LATEST, as in Lambda.
func (e *Emulator) find(name, qualifier string) *function {
	qualifier = cmp.Or(qualifier, LatestVersion)
	if f := e.functions[functionKey{name, qualifier}]; f != nil {
		return f
	}
	for _, f := range e.functions {
		if f.Name == name && f.Alias == qualifier {
			return f
		}
	}
	return nil
}

// arn is the ARN of the function as it was invoked.
func (f *function) arn(qualifier string) string {
	arn := fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", f.e.Region, f.e.AccountID, f.Name)
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}

// acquire returns a free environment for one invocation, a new one if need be.
func (e *Emulator) acquire(ctx context.Context, name, qualifier string) (*environment, *apiError) {
	e.mu.Lock()
	f := e.find(name, qualifier)
	if failure := e.admit(f, name, qualifier); failure != nil {
		e.mu.Unlock()
		return nil, failure
	}
	if f.ManagedConcurrency > 0 {
		e.mu.Unlock()
		return f.acquireManaged(ctx)
	}
	f.inFlight++
	e.work.Add(1) // for the goroutine that will serve; here, so that Close cannot miss it
	if env := f.pop(); env != nil {
		e.mu.Unlock()
		return env, nil
	}
	// Environments that have answered become free in a moment; each of them
	// is worth one request's patience.
	if e.Patience > 0 && len(f.waiters) < f.answered {
		waiter := make(chan *environment, 1)
		f.waiters = append(f.waiters, waiter)
		e.mu.Unlock()
		if env := f.await(ctx, waiter); env != nil {
			return env, nil
		}
		e.mu.Lock()
		if e.closed {
			f.inFlight--
			e.work.Done()
			e.mu.Unlock()
			return nil, serviceError(errNotServing)
		}
	}
	env := f.create()
	e.mu.Unlock()
	return env, nil
}

// admit says why an invocation cannot be accepted; the lock is held.
func (e *Emulator) admit(f *function, name, qualifier string) *apiError {
	switch {
	case e.closed:
		return serviceError(errNotServing)
	case f == nil:
		arn := (&function{Function: Function{Name: name}, e: e}).arn(qualifier)
		return notFound("Function not found: " + arn)
	case f.inFlight >= f.MaxConcurrency:
		return throttled()
	}
	return nil
}

// await waits for an environment that is about to become free, or nil.
func (f *function) await(ctx context.Context, waiter chan *environment) *environment {
	timer := time.NewTimer(f.e.Patience)
	defer timer.Stop()
	select {
	case env := <-waiter:
		return env
	case <-timer.C:
	case <-ctx.Done():
	}
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if i := slices.Index(f.waiters, waiter); i >= 0 {
		f.waiters = slices.Delete(f.waiters, i, i+1)
		return nil
	}
	return <-waiter // it was handed over just before
}

// pop takes the environment that became idle last; the lock is held.
func (f *function) pop() *environment {
	if len(f.idle) == 0 {
		return nil
	}
	env := f.idle[len(f.idle)-1]
	f.idle = f.idle[:len(f.idle)-1]
	env.stopIdling()
	return env
}

// stopIdling keeps env from being reclaimed.
func (env *environment) stopIdling() {
	if env.idleTimer != nil {
		env.idleTimer.Stop()
	}
}

// takeIdle takes all idle environments away; the lock is held.
func (f *function) takeIdle() []*environment {
	idle := f.idle
	f.idle = nil
	for _, env := range idle {
		env.stopIdling()
	}
	return idle
}

// markAnswered notes that env's caller has its answer.
func (f *function) markAnswered() {
	if f.ManagedConcurrency > 0 {
		return // which waits for nobody
	}
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	f.answered++
}

// release gives env back after an invocation that was answered. It reports
// false when the environment is not wanted any more, and must be shut down.
func (f *function) release(env *environment) bool {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	f.inFlight--
	f.answered--
	defer f.broadcastFreed()
	return f.idles(env)
}

// idles makes env wait for an invocation, unless one waits for it; the lock is
// held. It reports false when the environment is not wanted.
func (f *function) idles(env *environment) bool {
	if f.retired || f.e.closed {
		return false
	}
	if len(f.waiters) > 0 {
		waiter := f.waiters[0]
		f.waiters = f.waiters[1:]
		waiter <- env
		return true
	}
	f.idle = append(f.idle, env)
	if env.kind == kindProvisioned {
		return true // it is paid for
	}
	env.idleTimer = time.AfterFunc(f.e.IdleTimeout, func() { f.reclaim(env) })
	return true
}

// discard takes an environment that failed out of the count.
func (f *function) discard() {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	f.inFlight--
	f.answered--
	f.broadcastFreed()
}

func (f *function) broadcastFreed() {
	close(f.freed)
	f.freed = make(chan struct{})
}

// reclaim shuts env down if it is still idle.
func (f *function) reclaim(env *environment) {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	i := slices.Index(f.idle, env)
	if i < 0 || f.e.closed {
		return
	}
	f.idle = slices.Delete(f.idle, i, i+1)
	f.e.work.Go(func() { env.shutdown(reasonSpindown) })
}

// Recycle shuts all idle environments of a function down with reason spindown
// and waits until they are gone, so that the next invocation is a cold start.
// Environments that have answered but are not free yet are waited for;
// environments that still work on a request are left alone. Those of provisioned
// concurrency and managed instances are replaced at once, as Lambda does.
func (e *Emulator) Recycle(ctx context.Context, name, qualifier string) error {
	for {
		e.mu.Lock()
		f := e.find(name, qualifier)
		if f == nil || e.closed {
			e.mu.Unlock()
			return fmt.Errorf("emulator: recycle %s: no such function", name)
		}
		idle, busy, freed := append(f.takeIdle(), f.managed.takeIdle()...), f.answered > 0, f.freed
		done := make(chan struct{})
		e.work.Go(func() { defer close(done); shutdownAll(idle); f.replace(idle) })
		e.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("emulator: recycle %s: %w", name, ctx.Err())
		}
		if !busy {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("emulator: recycle %s: %w", name, ctx.Err())
		}
	}
}
