package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Defaults of the zero Emulator.
const (
	DefaultRegion      = "us-east-1"
	DefaultAccountID   = "012345678912" // the account of AWS's own emulator
	DefaultIdleTimeout = 10 * time.Minute
	DefaultPatience    = 500 * time.Millisecond
	DefaultInitTimeout = 10 * time.Second

	// closeGrace is how long Close lets running invocations go on.
	closeGrace = 5 * time.Second
)

// Emulator is a local Lambda. Set fields before Start, not after.
type Emulator struct {
	// Addr is the address the Invoke API listens on. Default 127.0.0.1:0.
	Addr string
	// Log receives what CloudWatch would: START, END and REPORT lines and the
	// output of functions and extensions. Nil discards it.
	Log io.Writer
	// Region and AccountID are part of ARNs and of the environment variables.
	Region, AccountID string
	// IdleTimeout is how long an environment may idle before it is shut down.
	IdleTimeout time.Duration
	// Patience is how long a request waits for an environment that has
	// answered but is not free yet, before it takes a new one. Negative: not
	// at all. Default 500 ms; see the package comment.
	Patience time.Duration
	// InitTimeout is how long an on-demand init may take, and a restore. It is
	// then run again inside the first invocation. Default 10 s, as on Lambda.
	InitTimeout time.Duration
	// WorkDir holds the environments' directories. Default: a new temporary
	// directory. Each Start makes its own directory inside.
	WorkDir string
	// Unrestricted turns the enforcement of CPU and memory off.
	Unrestricted bool
	// SameUser runs functions as the current user, although they could be run
	// as an unprivileged one. Needed when an interpreter lives in a directory
	// that only the current user can enter.
	SameUser bool

	ledger   Ledger
	log      *logWriter
	host     *host
	dir      string
	listener net.Listener
	server   *http.Server
	work     sync.WaitGroup // every goroutine that the emulator started

	mu        sync.Mutex
	started   bool
	closed    bool
	functions map[functionKey]*function
	layers    map[string]string // merged directories by the signature of their parts
	seq       int               // number of environments ever created

	// running is cancelled when Shutdown gives running invocations up.
	running context.Context
	giveUp  context.CancelCauseFunc
}

// Start begins to serve. ctx bounds the start only; Close ends what it began.
func (e *Emulator) Start(ctx context.Context) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started {
		return errors.New("emulator: started before")
	}
	e.setDefaults()
	if e.dir, err = e.makeDir(); err != nil {
		return err
	}
	if e.host, err = newHost(ctx, e); err != nil {
		return errors.Join(err, os.RemoveAll(e.dir))
	}
	var lc net.ListenConfig
	if e.listener, err = lc.Listen(ctx, "tcp", e.Addr); err != nil {
		return errors.Join(fmt.Errorf("emulator: listen: %w", err), e.host.close(), os.RemoveAll(e.dir))
	}
	e.server = &http.Server{Handler: e.invokeHandler(), ReadHeaderTimeout: 10 * time.Second}
	e.work.Go(func() { _ = e.server.Serve(e.listener) }) // returns when Close closes the server
	e.started = true
	return nil
}

func (e *Emulator) setDefaults() {
	setDefault(&e.Addr, "127.0.0.1:0")
	setDefault(&e.Region, DefaultRegion)
	setDefault(&e.AccountID, DefaultAccountID)
	setDefault(&e.IdleTimeout, DefaultIdleTimeout)
	setDefault(&e.Patience, DefaultPatience)
	if e.Log == nil {
		e.Log = io.Discard
	}
	e.log = &logWriter{w: e.Log}
	e.functions = map[functionKey]*function{}
	e.layers = map[string]string{}
	e.running, e.giveUp = context.WithCancelCause(context.Background())
	setDefault(&e.InitTimeout, DefaultInitTimeout)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// makeDir makes the directory of this emulator. It is opened to other users
// because functions run as one; what must stay private is not in it.
func (e *Emulator) makeDir() (string, error) {
	dir, err := os.MkdirTemp(e.WorkDir, "thaw-emulator-")
	if err != nil {
		return "", fmt.Errorf("emulator: make work directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("emulator: open work directory: %w", err)
	}
	return filepath.Abs(dir)
}

// URL is the endpoint for AWS clients, once started.
func (e *Emulator) URL() string {
	if e.listener == nil {
		return ""
	}
	return "http://" + e.listener.Addr().String()
}

// Ledger returns the record of what happened. It stays readable after Close.
func (e *Emulator) Ledger() *Ledger { return &e.ledger }

// Enforcement says which limits are real on this machine, once started.
func (e *Emulator) Enforcement() Enforcement {
	if e.host == nil {
		return Enforcement{}
	}
	return e.host.enforcement
}

// Close shuts every environment down with reason spindown and frees what the
// emulator holds. Running invocations get a few seconds to end.
func (e *Emulator) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	return e.Shutdown(ctx)
}

// Shutdown is Close with the grace for running invocations given by ctx.
func (e *Emulator) Shutdown(ctx context.Context) error {
	idle, ok := e.beginClose()
	if !ok {
		return nil
	}
	for _, env := range idle {
		e.work.Go(func() { env.shutdown(reasonSpindown) })
	}
	stop := context.AfterFunc(ctx, func() { e.giveUp(errNotServing) })
	err := e.server.Shutdown(ctx)
	if err != nil {
		err = e.server.Close()
	}
	e.work.Wait()
	stop()
	e.giveUp(errNotServing)
	return errors.Join(err, e.host.close(), os.RemoveAll(e.dir))
}

// beginClose refuses further work and takes all idle environments away.
func (e *Emulator) beginClose() (idle []*environment, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.started || e.closed {
		return nil, false
	}
	e.closed = true
	for _, f := range e.functions {
		idle = append(idle, f.takeAll()...)
	}
	return idle, true
}
