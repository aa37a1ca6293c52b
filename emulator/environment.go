package emulator

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// environment is one execution environment, from its first init to its
// shutdown. It serves one invocation at a time, in the goroutine of that
// invocation, which owns everything here but the boot.
type environment struct {
	e   *Emulator
	fn  *function
	id  string // the name of its log stream; a restore gives it a new one, under mu
	seq int    // its number among all of this emulator

	kind string // of its first init

	dir    string
	files  files
	limits limits
	server *http.Server
	listen net.Listener
	serveW sync.WaitGroup

	opened    bool
	inited    bool // the on-demand init was tried
	throttled bool
	frozen    bool
	snapshot  bool   // it is one, and has to be restored before it can serve
	token     string // for its credentials, SnapStart only

	idleTimer *time.Timer // of an idle one; the Emulator's lock guards it
	slots     slots       // on a managed instance

	mu    sync.Mutex
	boot  *boot       // nil between a reset and the next init
	inv   *invocation // whose log the lines belong to
	oomed int         // out-of-memory kills that are accounted for
}

// newEnvironment registers an environment; open makes it real. The Emulator's
// lock is held.
func (e *Emulator) newEnvironment(fn *function) *environment {
	e.seq++
	return &environment{e: e, fn: fn, seq: e.seq, kind: fn.kind(), id: fn.newEnvironmentID(), token: credentialsToken()}
}

// newEnvironmentID is the name of a log stream.
func (f *function) newEnvironmentID() string {
	return fmt.Sprintf("%s/[%s]%s", time.Now().UTC().Format("2006/01/02"), f.Version, randomHex(16))
}

// open makes the environment's directory, limits and API.
func (env *environment) open() (err error) {
	env.opened = true
	env.dir = filepath.Join(env.e.dir, fmt.Sprintf("environment-%d", env.seq))
	if err := env.makeDirs(); err != nil {
		return fmt.Errorf("open environment: %w", err)
	}
	if env.limits, err = env.e.host.newLimits(env); err != nil {
		return fmt.Errorf("open environment: %w", err)
	}
	if env.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("open environment: %w", err)
	}
	env.server = &http.Server{Handler: env.apiHandler(), ErrorLog: log.New(io.Discard, "", 0)}
	env.serveW.Go(func() { _ = env.server.Serve(env.listen) })
	env.record(Entry{Kind: KindEnvironmentCreated})
	return nil
}

func (env *environment) makeDirs() error {
	tmp := filepath.Join(env.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o1777); err != nil {
		return err
	}
	env.files = env.e.host.paths(env.fn, tmp)
	return env.e.host.makeRoot(env.dir)
}

// close frees what open made, once all processes are gone.
func (env *environment) close() {
	if env.server != nil {
		_ = env.server.Close()
		env.serveW.Wait()
	}
	if env.limits != nil {
		if err := env.limits.close(); err != nil {
			env.platformLine(fmt.Sprintf("thaw: %v\n", err))
		}
	}
	_ = os.RemoveAll(env.dir)
}

func (env *environment) addr() string { return env.listen.Addr().String() }

func (env *environment) current() *boot {
	env.mu.Lock()
	defer env.mu.Unlock()
	return env.boot
}

func (env *environment) setBoot(b *boot) {
	env.mu.Lock()
	defer env.mu.Unlock()
	env.boot = b
}

func (env *environment) setInvocation(inv *invocation) {
	env.mu.Lock()
	defer env.mu.Unlock()
	env.inv = inv
}

// claimOOMKill reports whether a process was killed for want of memory that is
// not accounted for yet.
func (env *environment) claimOOMKill() bool {
	env.mu.Lock()
	defer env.mu.Unlock()
	if env.limits.oomKills() <= env.oomed {
		return false
	}
	env.oomed++
	return true
}

// record writes to the ledger what happened here.
func (env *environment) record(entry Entry) {
	entry.Function, entry.Version, entry.MemoryMB = env.fn.Name, env.fn.Version, env.fn.MemoryMB
	env.mu.Lock()
	entry.Environment = env.id
	env.mu.Unlock()
	env.e.ledger.add(entry)
}

// platformLine writes a line of the platform to the log.
func (env *environment) platformLine(line string) {
	if line == "" {
		return
	}
	env.e.log.write(line)
	env.mu.Lock()
	defer env.mu.Unlock()
	if env.inv != nil {
		env.inv.log.write(line)
	}
}

// logLine is a line that a process of b wrote.
func (env *environment) logLine(b *boot, stream, line string) {
	env.platformLine(line)
	b.relay.emitLine(stream, line)
}

func (env *environment) runtimeSpec() processSpec {
	return processSpec{
		role: roleRuntime, name: "bootstrap", argv: withRuntimeFlags(env.bootstrap(), env.fn.Runtime, env.fn.MemoryMB), vars: env.runtimeVariables(),
		dir: env.files.task, oomScore: 1000,
	}
}

// bootstrap is what to execute: the function's command, or the bootstrap that
// the package or a layer brings.
func (env *environment) bootstrap() []string {
	if len(env.fn.Command) > 0 {
		return env.fn.Command
	}
	inTask := filepath.Join(env.files.task, "bootstrap")
	if _, err := os.Stat(filepath.Join(env.fn.taskDir, "bootstrap")); err == nil || env.files.hostOpt == "" {
		return []string{inTask}
	}
	if _, err := os.Stat(filepath.Join(env.files.hostOpt, "bootstrap")); err == nil {
		return []string{filepath.Join(env.files.opt, "bootstrap")}
	}
	return []string{inTask}
}

func (env *environment) extensionSpec(name string) processSpec {
	return processSpec{
		role: roleExtension, name: name,
		argv: []string{filepath.Join(env.files.opt, "extensions", name)},
		vars: env.extensionVariables(), dir: "/", oomScore: 500,
	}
}
