package extension

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/goinit"
	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// recorder is where the loop over next, the listener and the sender meet: the
// state machine and the queue behind one lock.
type recorder struct {
	log zerolog.Logger
	now func() time.Time
	// changed and told have a value whenever something has happened since they
	// were read: one is the sender's, the other is for waiting at a shutdown.
	changed, told chan struct{}
	// profile has a value when hooks may have written something.
	profile chan struct{}
	// goInits are the lines of Go's inittrace, where the function asks for them.
	goInits goinit.Trace

	mu      sync.Mutex
	machine machine
	meter   *meter
	queue   queue
	encoder lifecycle.Encoder
	account lifecycle.Account // what the sender knows
	invokes int64
	broken  bool
	// spill is what the queue had no room for.
	spill queue
	// flying is whether the sender has a batch in its hands, failing whether
	// the last attempt to send one has failed.
	flying, failing bool
	// released is whether everything is to be sent at once.
	released bool
}

func newRecorder(log zerolog.Logger) *recorder {
	return &recorder{log: log, now: time.Now, changed: make(chan struct{}, 1), told: make(chan struct{}, 1), profile: make(chan struct{}, 1)}
}

// do runs f, queues what it completed and wakes the sender. A panic in there is
// a defect of ours: from then on nothing is recorded, and nothing else happens.
func (r *recorder) do(f func(at time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.broken = true
			logPanic(r.log, "recording", p)
		}
	}()
	f(r.now())
	r.collect()
	signal(r.changed)
	signal(r.told)
	if r.machine.look || r.machine.wanted {
		r.machine.look = false
		signal(r.profile)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wanted returns the inits that wait for their profiles.
func (r *recorder) wanted() []profileRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.machine.wanted {
		return nil
	}
	r.machine.wanted = false
	var out []profileRequest
	for _, in := range r.machine.inits {
		if !in.looked {
			out = append(out, profileRequest{in, *in})
		}
	}
	return out
}

// wantProfiles asks for the profiles of all inits that are not sent yet.
func (r *recorder) wantProfiles() {
	r.do(func(time.Time) { r.machine.awaitsProfile() })
}

// collect encodes what the machine has completed. The encoding happens here,
// not in the sender, so that what waits is bounded even while the sender is
// held up by a backend.
func (r *recorder) collect() {
	for _, it := range r.machine.take() {
		r.machine.identify()
		r.encoder.Environment = &r.machine.env
		spans := ptrace.NewSpanSlice()
		switch {
		case it.invocation != nil:
			r.encoder.Invocation(spans, it.invocation)
		case it.report != nil:
			r.encoder.Report(spans, it.report)
		case it.init != nil:
			r.encoder.Init(spans, it.init)
		case it.shutdown != nil:
			r.encoder.Shutdown(spans, it.shutdown)
		}
		for _, e := range r.queue.push(entry{spans: spans, lines: it.lines, ended: it.ended}) {
			for _, lost := range r.spill.push(e) { // the sender is held up
				r.lost(int64(lost.spans.Len()), false)
			}
		}
	}
}

// lost accounts for spans that are given up, or are in the log.
func (r *recorder) lost(spans int64, spooled bool) {
	if spooled {
		r.account.SpansSpooled += spans
		r.machine.lost.Spooled += spans
	} else {
		r.account.SpansDropped += spans
		r.machine.lost.Dropped += spans
	}
}

func (r *recorder) subscribed() {
	r.do(func(at time.Time) { r.machine.subscribed = at })
}

func (r *recorder) ready(cpu time.Duration) {
	r.do(func(at time.Time) { r.machine.isReady(at, cpu) })
}

func (r *recorder) invoke(ev lambdaapi.NextEvent) {
	r.do(func(at time.Time) {
		r.machine.measure(r.meter.lap())
		r.machine.runtimeBegan(r.meter.began())
		r.invokes++
		r.machine.invoke(at, ev)
	})
}

func (r *recorder) observe(events []event, malformed int64) {
	for i := range events {
		if events[i].goInit != "" {
			r.goInits.Add(events[i].goInit, events[i].time)
		}
	}
	r.do(func(at time.Time) {
		if r.machine.measuredEnds(events) {
			r.machine.measure(r.meter.stop())
		}
		r.machine.account.EventsMalformed += malformed
		r.machine.observe(at, events)
	})
}

// thaw records that a SHUTDOWN has come.
func (r *recorder) thaw() {
	r.do(func(at time.Time) {
		r.machine.measure(r.meter.stop())
		r.machine.thaw(at)
	})
}

// close lets go of what is held open.
func (r *recorder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meter.close()
}

func (r *recorder) finish(reason string) {
	r.do(func(time.Time) {
		r.machine.finish(reason)
		r.machine.forward.all = true
	})
}

func (r *recorder) shutdown(start time.Time, reason string, waiting lifecycle.Waiting) {
	cpu, rss := cpuTime(), maxRSS()
	r.do(func(at time.Time) {
		r.account.LogsDropped = r.machine.forward.dropped
		r.machine.shutdown(start, at, reason, r.account, cpu, rss, waiting)
	})
}

func (r *recorder) outstanding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.broken && r.machine.outstanding()
}

// view is what the sender decides by.
type view struct {
	running  bool
	released bool
	invokes  int64
	waiting  int       // spans and log lines
	oldest   time.Time // end of the oldest thing in the queue
}

func (r *recorder) view() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.machine.forward.ready()
	v := view{running: r.machine.running(), released: r.released, invokes: r.invokes, waiting: r.queue.spans + lines}
	if lines > 0 {
		v.oldest = r.machine.forward.lines[0].received
	}
	if r.queue.spans > 0 && (lines == 0 || r.queue.entries[0].ended.Before(v.oldest)) {
		v.oldest = r.queue.entries[0].ended
	}
	return v
}

// batch is one request.
type batch struct {
	payload []byte // OTLP protobuf
	spans   int64
	lines   []arrivals
	// logLines is how many lines of the function's log it holds, in place of
	// spans.
	logLines int64
	// encoded is the payload as it is sent, once it has been.
	encoded []byte
}

// next takes a batch from the queue, nil if that is empty.
func (r *recorder) next() *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.marshal(r.queue.take(maxBatchSpans, maxBatchBytes))
	if b == nil {
		b = r.nextLogs()
	}
	r.flying = b != nil
	return b
}

// evicted takes a batch of what the queue had no room for, nil if there is
// nothing.
func (r *recorder) evicted() *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.marshal(r.spill.take(maxBatchSpans, maxBatchBytes))
}

func (r *recorder) marshal(entries []entry) *batch {
	if len(entries) == 0 {
		return nil
	}
	b := &batch{}
	traces := ptrace.NewTraces()
	dst := r.encoder.Scope(traces)
	for _, e := range entries {
		b.spans += int64(e.spans.Len())
		b.lines = append(b.lines, e.lines...)
		e.spans.MoveAndAppendTo(dst)
	}
	var marshaler ptrace.ProtoMarshaler
	payload, err := marshaler.MarshalTraces(traces)
	if err != nil { // it has no way to fail
		r.lost(b.spans, false)
		return nil
	}
	b.payload = payload
	return b
}

// The limits of one request: far below those of any backend.
const (
	maxBatchSpans = 512
	maxBatchBytes = 256 << 10
)

// sent records that a backend acknowledged a batch, but for what it rejected.
func (r *recorder) sent(b *batch, rejected, size int64) {
	r.do(func(at time.Time) {
		r.flying, r.failing = false, false
		if b.logLines > 0 {
			rejected = min(max(rejected, 0), b.logLines)
			r.account.LogsForwarded += b.logLines - rejected
			r.machine.forward.dropped += rejected
			r.account.BytesExported += size
			return
		}
		rejected = min(max(rejected, 0), b.spans)
		r.account.SpansExported += b.spans - rejected
		r.account.BytesExported += size
		r.lost(rejected, false)
		r.machine.acknowledged(at, b.lines)
	})
}

// gaveUp records that a batch will not be sent, and whether it is in the log.
func (r *recorder) gaveUp(b *batch, spooled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying = false
	r.machine.forward.dropped += b.logLines
	r.lost(b.spans, spooled)
}

// exportFailed counts an attempt that failed. Trouble is whether that says
// something about the backend.
func (r *recorder) exportFailed(trouble bool) {
	r.do(func(time.Time) {
		r.account.ExportFailures++
		r.failing = r.failing || trouble
	})
}

// undelivered counts the spans that no backend has, and of those what is not in
// the log either.
func (r *recorder) undelivered() (all, lost int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.account.SpansDropped + r.account.SpansSpooled, r.account.SpansDropped
}

func logPanic(log zerolog.Logger, doing string, p any) {
	log.Error().Str("doing", doing).Interface("panic", p).Bytes("stack", debug.Stack()).
		Msg("a defect in thaw: that part of it stops, the function goes on")
}

// blind says that no telemetry will come.
func (r *recorder) blind() {
	r.do(func(time.Time) { r.machine.telemetry = false })
}

// awaitProfiles says that somebody will look for profiles.
func (r *recorder) awaitProfiles() {
	r.do(func(time.Time) { r.machine.profiles = true })
}
