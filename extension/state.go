package extension

import (
	"slices"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

const (
	// maxOpen bounds the invocations that are not sent yet. Usually one runs and
	// one waits for its report, but of a function that runs for a millisecond
	// dozens are over before the first batch of telemetry is.
	maxOpen = 256
	// maxInits bounds the inits that are not sent yet.
	maxInits = 8
	// maxLate bounds the invocations that were sent and may still get a report.
	maxLate = 16
	// maxSettled bounds the memory for invocations that are complete.
	maxSettled = 32
	// maxDigests bounds the memory for events that are delivered again.
	maxDigests = 128
)

// machine turns the events of the Extensions API and of the Telemetry API into
// what happened: inits, invocations and the shutdown. It does no I/O and has no
// clock: every method takes the time at which it was called.
//
// Events may come late, twice, in another order, or never. What is complete
// appears in the result of take; what stays incomplete does so when later
// events show that nothing more will come.
type machine struct {
	env lifecycle.Environment
	// newID names the environment where the platform does not. It is called
	// late, because a random number drawn before a snapshot is the same in
	// every environment restored from it.
	newID func() string
	// kind is the kind of init as the environment variables have it, for
	// when no event says so.
	kind lifecycle.InitKind
	// telemetry is whether events of the Telemetry API are to be expected.
	telemetry bool
	// profiles is whether hooks in the runtime may have written profiles. Then
	// an init is not sent before somebody has looked, see [machine.profiled].
	profiles bool

	processStart time.Time
	registered   time.Time
	subscribed   time.Time
	// runtimeStart is when the process of the runtime began, where somebody
	// who looks at processes told.
	runtimeStart time.Time
	ready        time.Time
	self         lifecycle.SelfCost

	inits   []*initState  // not served yet, oldest first
	accused []string      // extensions that platform.extension gives an error
	unready []string      // and those that it calls other than ready
	open    []*invocation // not sent yet, oldest first
	late    []*invocation // sent without their report, oldest first
	settled []settled     // complete: nothing more is expected of them
	seen    []uint64      // digests of platform events
	current *invocation   // the last platform.start seen: log lines are its
	// measured is the invocation whose use of resources is being measured.
	measured *invocation
	// ended is when the last invocation that was told was over.
	ended time.Time

	thawed      time.Time // the last event of next: before it, there was a freeze
	thaws       int
	firstSeen   bool // the first invocation of this life is classified
	restored    bool // from a snapshot, in this life
	invocations int64
	lifeStart   time.Time
	firstServed *invocation // on managed instances: the first that was started
	// early are the log lines that no invocation can be charged with yet.
	early   lineCounter
	forward forwarding
	dropped int64 // by the platform, since the last report
	// exported are latencies of exports, waiting for a report to travel with,
	// as are the losses.
	exported lifecycle.Latency
	lost     lifecycle.Loss
	clock    clock

	// look asks for a copy of what the hooks have written so far, wanted for the
	// profiles of all inits.
	look, wanted bool

	account lifecycle.Account
	out     []item
}

// item is something to be sent. Exactly one of the pointers is set.
type item struct {
	invocation *lifecycle.Invocation
	report     *lifecycle.Invocation // only the report of it
	init       *lifecycle.Init
	shutdown   *lifecycle.Shutdown
	// lines are the log lines it counts.
	lines []arrivals
	// ended is when what it describes was over.
	ended time.Time
}

// settled remembers a complete invocation.
type settled struct {
	requestID   string
	start, last time.Time
	invoked     bool // its INVOKE was seen
}

// isReady records the first call of next.
func (m *machine) isReady(at time.Time, cpu time.Duration) {
	m.ready = at
	m.self = lifecycle.SelfCost{Registered: m.registered.Sub(m.processStart), Ready: at.Sub(m.processStart), CPU: cpu}
	if !m.subscribed.IsZero() {
		m.self.Subscribed = m.subscribed.Sub(m.processStart)
	}
}

// invoke records an INVOKE.
func (m *machine) invoke(at time.Time, ev lambdaapi.NextEvent) {
	m.thaw(at)
	m.identifyFunction(ev.InvokedFunctionARN)
	if m.settledBeforeInvoke(ev.RequestID) {
		return
	}
	inv := m.awaitingInvoke(ev.RequestID)
	if inv == nil {
		inv = m.add(ev.RequestID, at)
	}
	inv.invoked = at
	m.measured = inv
	inv.ARN = ev.InvokedFunctionARN
	if ev.Tracing != nil && ev.Tracing.Value != "" {
		inv.Trace = ev.Tracing.Value
	}
	m.settle()
}

// identifyFunction fills in what only the ARN tells where the platform left
// out the account id.
func (m *machine) identifyFunction(arn string) {
	fields := strings.Split(arn, ":")
	if len(fields) < 7 {
		return
	}
	if m.env.Region == "" {
		m.env.Region = fields[3]
	}
	if m.env.AccountID == "" {
		m.env.AccountID = fields[4]
	}
}

// observe records a batch of telemetry events.
func (m *machine) observe(at time.Time, events []event) {
	for i := range events {
		m.account.EventsReceived++
		if !m.repeated(&events[i]) {
			m.event(at, &events[i])
		}
	}
	m.settle()
}

// repeated says whether a platform event was delivered before. Lines of a log
// may well be alike; the listener recognises them by their batch.
func (m *machine) repeated(ev *event) bool {
	if ev.digest == 0 {
		return false
	}
	if slices.Contains(m.seen, ev.digest) {
		return true
	}
	if len(m.seen) == maxDigests {
		m.seen = slices.Delete(m.seen, 0, maxDigests/2)
	}
	m.seen = append(m.seen, ev.digest)
	return false
}

func (m *machine) event(at time.Time, ev *event) {
	switch rec := ev.record.(type) {
	case *lambdaapi.InitStart:
		m.initStart(ev, rec)
	case *lambdaapi.InitRuntimeDone:
		m.initRuntimeDone(ev, rec)
	case *lambdaapi.InitReport:
		m.initReport(ev, rec)
	case *lambdaapi.Start:
		m.start(ev.time, rec)
	case *lambdaapi.RuntimeDone:
		m.runtimeDone(ev.time, rec)
	case *lambdaapi.Report:
		m.report(ev.time, rec)
	case *lambdaapi.Extension:
		m.extension(rec)
	case fault:
		m.fault(rec)
	case *lambdaapi.LogsDropped:
		m.dropped += max(rec.DroppedRecords, 0)
		m.account.DroppedByPlatform += max(rec.DroppedRecords, 0)
	case line:
		m.line(at, ev.time, int64(rec))
		m.forwardLine(at, ev)
	}
}

// line counts a line of the function's log for the invocation that runs. On
// managed instances several do, and the line is told with whichever is over next.
func (m *machine) line(at, written time.Time, size int64) {
	counter := &m.early
	if m.current != nil && !m.managed() {
		counter = &m.current.lines
	}
	counter.add(at, written, size)
	if !m.thawedSince(written) {
		return
	}
	if m.thaws > 1 {
		counter.summary.Frozen++
	} else {
		counter.frozenFirst++
	}
}

// thaw records an event that may have ended a freeze: an INVOKE, or the
// SHUTDOWN.
func (m *machine) thaw(at time.Time) {
	m.thawed = at
	m.thaws++
}

// thawedSince says whether a freeze has ended since a line was written. Times
// of records are cut to milliseconds.
func (m *machine) thawedSince(written time.Time) bool {
	return m.thaws > 0 && !written.IsZero() && written.Before(m.thawed.Truncate(time.Millisecond))
}

// managed says whether this is a managed instance: there are many invocations at
// once, nobody announces them, and nothing is ever frozen.
func (m *machine) managed() bool { return m.kind == lifecycle.ManagedInstances }

// running says whether an invocation is believed to run, or whether it does not
// matter.
func (m *machine) running() bool {
	if m.managed() {
		return true
	}
	if len(m.open) == 0 {
		return false
	}
	last := m.open[len(m.open)-1]
	return !last.done && !last.reported
}

// outstanding says whether a report may still come: of an invocation, or of an
// init that took the environment down before we were told of it.
func (m *machine) outstanding() bool {
	if !m.telemetry {
		return false
	}
	if len(m.open) > 0 {
		return slices.ContainsFunc(m.open, func(inv *invocation) bool { return !inv.reported })
	}
	if m.firstSeen {
		return false
	}
	if len(m.inits) == 0 {
		return !m.restored // there was one
	}
	last := m.inits[len(m.inits)-1]
	// One that failed inside an invocation makes that fail: its start and its
	// report follow.
	return last.reported.IsZero() || last.Phase == lifecycle.PhaseInvoke && last.Status != lifecycle.Success
}

// finish ends everything: what has not come will not come.
func (m *machine) finish(reason string) {
	for i, inv := range m.open {
		if i == len(m.open)-1 {
			inv.endedBy(reason)
			inv.lines.merge(m.early)
		}
		m.classify(inv)
		m.noteGap(inv)
		m.close(inv)
		m.emit(inv)
	}
	m.open = nil
	for _, inv := range m.late {
		m.giveUp(inv)
	}
	m.late = nil
	for _, in := range m.inits {
		m.emitUnused(in)
	}
	m.inits = nil
}

// shutdown adds the shutdown itself. The account is a's, with what the machine
// knows added.
func (m *machine) shutdown(start, end time.Time, reason string, a lifecycle.Account, cpu time.Duration, maxRSS int64, waiting lifecycle.Waiting) {
	a.EventsReceived = m.account.EventsReceived
	a.EventsMalformed = m.account.EventsMalformed
	a.DroppedByPlatform = m.account.DroppedByPlatform
	a.ReportsMissing = m.account.ReportsMissing
	life := m.lifeStart
	if life.IsZero() {
		life = m.processStart
	}
	m.out = append(m.out, item{ended: end, shutdown: &lifecycle.Shutdown{
		Start:       start,
		Duration:    end.Sub(start),
		Reason:      strings.ToLower(reason),
		Invocations: m.invocations,
		Lifetime:    max(start.Sub(life), 0),
		Account:     a,
		CPU:         cpu,
		MaxRSS:      maxRSS,
		Self:        waiting,
	}})
}

// take returns what is to be sent, and forgets it.
func (m *machine) take() []item {
	out := m.out
	m.out = nil
	return out
}

// acknowledged records that the lines counted by an item have been exported.
func (m *machine) acknowledged(at time.Time, lines []arrivals) {
	for _, l := range lines {
		m.exported.ObserveN(at.Sub(l.at), l.n)
	}
}

// identify makes sure that the environment has an id, which every span id is
// derived from: from now on it does not change.
func (m *machine) identify() {
	if m.env.ID == "" {
		m.env.ID = m.newID()
	}
}
