package extension

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/version"
)

// Process is what the extension knows of the process it runs in.
type Process struct {
	// Name is the base name of the executable, by which Lambda knows it.
	Name string
	// Started is when the process began, as early as it could tell.
	Started time.Time
	// Environ is like os.Environ.
	Environ []string
	// Stdout goes to the function's log.
	Stdout io.Writer
}

// Run runs the extension. It returns when the environment is shut down, or when
// ctx is done; with an error only where it cannot be running in Lambda at all.
func Run(ctx context.Context, p Process) error {
	address := lookup(p.Environ)("AWS_LAMBDA_RUNTIME_API")
	if address == "" {
		return errors.New("AWS_LAMBDA_RUNTIME_API is not set: this program is an extension, which AWS Lambda or `thaw run` starts")
	}
	l := &life{
		process: p,
		kind:    lifecycle.InitKind(lookup(p.Environ)("AWS_LAMBDA_INITIALIZATION_TYPE")),
		log:     zerolog.New(p.Stdout).With().Str("extension", "thaw").Logger(),
		client:  newLambdaClient(address),
	}
	defer l.client.close()
	function, ok := l.register(ctx)
	if !ok {
		<-ctx.Done() // see the package's doc: blocking is the least bad thing to do
		return nil
	}
	l.prepare(ctx, function)
	l.loop(ctx)
	l.stop()
	return nil
}

// life is one life of the extension.
type life struct {
	process Process
	kind    lifecycle.InitKind
	log     zerolog.Logger
	client  *lambdaClient

	// What follows is nil while everything is off.
	recorder *recorder
	listener *listener
	exporter *exporter
	sender   *sender
	profiler *profiler
	flusher  flusher
	wait     time.Duration

	interrupt context.CancelFunc // breaks off an attempt of the sender
	stopping  chan struct{}
	sent      chan struct{} // closed when the sender has stopped
	read      chan struct{} // closed when the profiler has stopped
}

const (
	registerAttempts = 6
	registerPause    = 20 * time.Millisecond
)

// register makes us known to the platform.
func (l *life) register(ctx context.Context) (lambdaapi.RegisterResponse, bool) {
	events := []string{lambdaapi.EventInvoke, lambdaapi.EventShutdown}
	if l.kind == lifecycle.ManagedInstances {
		events = events[1:] // INVOKE would fail the init there
	}
	pause := registerPause
	for attempt := 1; ; attempt++ {
		res, err := l.client.register(ctx, l.process.Name, events...)
		if err == nil {
			return res, true
		}
		var refused *statusError
		if errors.As(err, &refused) && refused.status < 500 {
			if refused.body.ErrorType == "Extension.InvalidEventType" && len(events) > 0 {
				events = events[1:]
				if len(events) > 0 {
					l.kind = lifecycle.ManagedInstances // nowhere else INVOKE is refused
				}
				continue
			}
			attempt = registerAttempts
		}
		if attempt >= registerAttempts {
			l.log.Error().Err(err).Msg("the platform does not register the extension: nothing is observed")
			return res, false
		}
		if !sleep(ctx, pause) {
			return res, false
		}
		pause *= 2
	}
}

// prepare does what can be done while the runtime starts.
func (l *life) prepare(ctx context.Context, function lambdaapi.RegisterResponse) {
	registered := time.Now()
	defer func() {
		if p := recover(); p != nil {
			logPanic(l.log, "starting", p)
		}
	}()
	cfg, problems := readConfig(l.process.Environ)
	l.log = l.log.Level(cfg.logLevel)
	for _, problem := range problems {
		l.log.Warn().Msg(problem)
	}
	switch {
	case cfg.disabled:
		l.log.Info().Msg("disabled by a setting: nothing is observed")
		return
	case cfg.endpoint == nil:
		l.log.Warn().Msg("no endpoint: nothing is exported; set OTEL_EXPORTER_OTLP_ENDPOINT")
		return
	}
	l.wait = cfg.shutdownWait
	l.recorder = l.newRecorder(&cfg, function, registered)
	if err := l.subscribe(ctx); err != nil {
		observed := "the arrival of invocations"
		if l.kind == lifecycle.ManagedInstances {
			observed = "the shutdown"
		}
		l.log.Warn().Err(err).Msg("no telemetry from the platform: only " + observed + " is observed")
	}
	exporter, err := newExporter(&cfg, lookup(l.process.Environ))
	if err != nil {
		l.log.Warn().Msg(err.Error())
	}
	l.exporter = exporter
	l.startSender(&cfg)
	l.startProfiler(&cfg)
}

func (l *life) newRecorder(cfg *config, function lambdaapi.RegisterResponse, registered time.Time) *recorder {
	env := lookup(l.process.Environ)
	kind := cmp.Or(l.kind, lifecycle.OnDemand)
	memory, _ := strconv.ParseInt(env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), 10, 64) // else initStart tells
	r := newRecorder(l.log)
	r.queue = queue{maxSpans: cfg.queueSpans, maxBytes: cfg.queueBytes}
	if !cfg.usageOff {
		r.meter = newMeter(env)
	}
	r.spill = r.queue
	r.machine = machine{
		env: lifecycle.Environment{
			Function: lifecycle.Function{
				AccountID: function.AccountID,
				Region:    cmp.Or(env("AWS_REGION"), env("AWS_DEFAULT_REGION")),
				Name:      cmp.Or(function.FunctionName, env("AWS_LAMBDA_FUNCTION_NAME")),
			},
			Kind:     kind,
			Version:  cmp.Or(function.FunctionVersion, env("AWS_LAMBDA_FUNCTION_VERSION")),
			MemoryMB: max(memory, 0),
			Arch:     lifecycle.HostArch(),
			Extra:    cfg.attributes,
		},
		newID:        rand.Text,
		kind:         kind,
		telemetry:    true,
		forward:      forwarding{on: cfg.forward && cfg.logsURL() != ""},
		processStart: l.process.Started,
		registered:   registered,
	}
	r.machine.env.ServiceName = cmp.Or(cfg.serviceName, r.machine.env.Name)
	r.encoder = lifecycle.Encoder{
		Environment:  &r.machine.env,
		ScopeVersion: version.String(),
		Internal:     cfg.internal,
		XRayParent:   cfg.xrayParent,
	}
	return r
}

// schemas are the versions of the telemetry's schema that we ask for, the best
// first. Managed instances know only the newest, which is asked for elsewhere
// only when nothing else is left: what differs there is not documented.
func (l *life) schemas() []string {
	const oldest, usual, newest = "2022-07-01", "2022-12-13", "2025-01-29"
	if l.kind == lifecycle.ManagedInstances {
		return []string{newest, usual, oldest}
	}
	return []string{usual, oldest, newest}
}

const (
	// subscribeTimeout bounds what the subscription may add to the init.
	subscribeTimeout  = time.Second
	subscribeAttempts = 3 // of what may pass
	subscribePause    = 20 * time.Millisecond
)

// subscribe listens for telemetry and asks for it. Without it we go on: 202 and
// 404 come from local emulators that have none, 403 means that it is too late.
func (l *life) subscribe(ctx context.Context) error {
	listener, err := listen(ctx, l.log, l.recorder.observe)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
		defer cancel()
		if err = l.askForTelemetry(ctx, listener.uri()); err == nil {
			l.listener = listener
			l.recorder.subscribed()
			return nil
		}
		listener.close()
	}
	l.recorder.blind()
	return err
}

// askForTelemetry tries an older schema where one is refused, and once more
// where the service is in trouble.
func (l *life) askForTelemetry(ctx context.Context, uri string) (err error) {
	schemas, pause := l.schemas(), subscribePause
	for attempt := 1; len(schemas) > 0; {
		err = l.client.subscribe(ctx, schemas[0], uri)
		var answer *statusError
		switch {
		case err == nil || !errors.As(err, &answer):
			return err
		case answer.status == 400:
			schemas = schemas[1:]
		case answer.status < 500 || answer.status == 501 || attempt == subscribeAttempts || !sleep(ctx, pause):
			return err
		default:
			attempt, pause = attempt+1, 2*pause
		}
	}
	return err
}

func (l *life) startSender(cfg *config) {
	ctx, cancel := context.WithCancel(context.Background())
	l.interrupt = cancel
	l.stopping, l.sent = make(chan struct{}), make(chan struct{})
	l.flusher = flusher{policy: cfg.flush, interval: cfg.flushInterval, last: l.process.Started}
	l.sender = &sender{
		log: l.log, rec: l.recorder, exporter: l.exporter, delay: cfg.batchDelay,
		spool: &spooler{out: l.process.Stdout, max: cfg.spoolBytes},
	}
	go func() {
		defer close(l.sent)
		defer func() {
			if p := recover(); p != nil {
				logPanic(l.log, "sending", p)
			}
		}()
		l.sender.run(ctx, l.stopping)
	}()
}

// startProfiler looks for what hooks in the runtime write.
func (l *life) startProfiler(cfg *config) {
	if cfg.profileOff {
		return
	}
	l.recorder.awaitProfiles()
	l.read = make(chan struct{})
	l.profiler = newProfiler(l.log, l.recorder, l.process.Environ, cfg.treeBytes)
	go func() {
		defer close(l.read)
		l.profiler.run(l.stopping)
	}()
}

const (
	nextPauseMin = 50 * time.Millisecond
	nextPauseMax = 5 * time.Second
)

// loop calls next until the environment is shut down. It is always in that call
// and never waits for anything else: see the package's doc. An error is no
// reason to leave: a process that exits is a crash of the environment.
func (l *life) loop(ctx context.Context) {
	if l.recorder != nil {
		l.recorder.ready(cpuTime())
	}
	pause := nextPauseMin
	for {
		ev, err := l.client.next(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && strings.EqualFold(ev.EventType, lambdaapi.EventInvoke):
			if l.recorder != nil {
				l.recorder.invoke(ev)
				l.hold(ev)
			}
			pause = nextPauseMin
			continue
		case err == nil && strings.EqualFold(ev.EventType, lambdaapi.EventShutdown):
			l.shutdown(ev)
			return
		case err == nil:
			err = errors.New("next: an event of unknown type")
		}
		if pause == nextPauseMin {
			l.log.Warn().Err(err).Msg("waiting for the next event failed; it is tried again")
		}
		sleep(ctx, pause)
		pause = min(2*pause, nextPauseMax)
	}
}

const (
	// shutdownBudget is what a shutdown may take of the 2 s that Lambda gives
	// to runtime and extensions together, and shutdownMargin what is kept of
	// the time until we are killed.
	shutdownBudget = 1500 * time.Millisecond
	shutdownMargin = 300 * time.Millisecond
	// shutdownMin is for a deadline that is almost over, or a clock that is off.
	shutdownMin = 100 * time.Millisecond
	// resetBudget is for a shutdown that a caller waits for: after a crash or a
	// timeout the environment begins anew.
	resetBudget = 350 * time.Millisecond
	resetWait   = 150 * time.Millisecond // of it for the last report
	// troubleBudget is for a backend that did not take the last batch either.
	// What is left goes to the log.
	troubleBudget = 100 * time.Millisecond
	// accountBudget is what is kept for the account of it all.
	accountBudget = 200 * time.Millisecond
)

// shutdown waits for the last report, if one is still to come, and sends what
// is left, the account of it all last.
func (l *life) shutdown(ev lambdaapi.NextEvent) {
	if l.sender == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			logPanic(l.log, "shutting down", p)
		}
	}()
	start := time.Now()
	l.recorder.thaw()
	end := start.Add(shutdownTime(start, ev))
	if isReset(ev) {
		l.wait = min(l.wait, resetWait)
	}
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()

	// An attempt in flight, which may hang since before the last freeze, has as
	// long as the report may take.
	close(l.stopping)
	defer time.AfterFunc(l.wait, l.interrupt).Stop()
	l.awaitReport(ctx)
	<-l.sent
	if l.profiler != nil {
		<-l.read
		l.recorder.wantProfiles()
		l.profiler.work()
	}

	l.recorder.finish(ev.ShutdownReason)
	l.finish(end.Add(-accountBudget))
	l.recorder.shutdown(start, ev.ShutdownReason, lifecycle.Waiting{Held: l.flusher.held, Added: l.flusher.added})
	l.finish(end)
	l.sender.spool.end()
	if all, lost := l.recorder.undelivered(); all > 0 {
		l.log.Warn().Int64("spans", all).Int64("in_the_log", all-lost).Msg("spans were not delivered; `thaw import` reads those in the log")
	}
}

func isReset(ev lambdaapi.NextEvent) bool { return !strings.EqualFold(ev.ShutdownReason, "spindown") }

// shutdownTime is how long a shutdown may take.
func shutdownTime(now time.Time, ev lambdaapi.NextEvent) time.Duration {
	budget := shutdownBudget
	if isReset(ev) {
		budget = resetBudget
	}
	if ev.DeadlineMs > 0 {
		budget = min(budget, time.UnixMilli(ev.DeadlineMs).Add(-shutdownMargin).Sub(now))
	}
	return max(budget, shutdownMin)
}

// finish sends until then at most.
func (l *life) finish(until time.Time) {
	if trouble := time.Now().Add(troubleBudget); l.recorder.inTrouble() && trouble.Before(until) {
		until = trouble
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	l.sender.finish(ctx)
}

// awaitReport waits until no report is outstanding, for as long as the settings
// allow.
func (l *life) awaitReport(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	for l.recorder.outstanding() {
		select {
		case <-ctx.Done():
			return
		case <-l.recorder.told:
		}
	}
}

// stop ends what prepare started, and waits for it.
func (l *life) stop() {
	if l.sender != nil {
		l.interrupt()
		select {
		case <-l.stopping: // a shutdown closed it
		default:
			close(l.stopping)
		}
		<-l.sent
		if l.sender.flight != nil {
			<-l.sender.flight
		}
	}
	if l.profiler != nil {
		<-l.read
	}
	if l.listener != nil {
		l.listener.close()
	}
	if l.exporter != nil {
		l.exporter.close()
	}
	if l.recorder != nil {
		l.recorder.close()
	}
}
