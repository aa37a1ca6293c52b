package cloudwatchlog

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// Log is what a number of log events told.
type Log struct {
	tally    tally
	attempts []*attempt
	inits    []*initRecord
	spooled  []*Spooled
	records  [][]byte
	// missing names records of the spool that cannot be read back.
	missing []string
	// guessed says that some environments were inferred, undated that some
	// events have no time, and were laid one after the other.
	guessed, undated bool
}

// Finish returns what was told. The assembler must not be used any more.
func (a *Assembler) Finish() *Log {
	for _, env := range a.environments {
		a.dropInit(env)
	}
	l := &Log{records: a.records, tally: a.tally, attempts: a.attempts, inits: a.inits}
	l.date(a.known.Before)
	for _, at := range l.attempts {
		at.fill()
	}
	slices.SortStableFunc(l.attempts, func(x, y *attempt) int { return x.start.Compare(y.start) })
	l.infer()
	slices.SortStableFunc(l.attempts, func(x, y *attempt) int { return x.end.Compare(y.end) })
	a.finishSpool(l)
	l.reconcile()
	return l
}

// Empty says that there was nothing to read.
func (l *Log) Empty() bool { return l.tally.lines == 0 }

// Spool returns the records of the spool as they were to be sent: OTLP requests
// in protobuf.
func (l *Log) Spool() [][]byte { return l.records }

// date gives every attempt a beginning and an end. What has no time at all is
// laid one after the other, in the order of the input, before all that has one,
// or else up to the given time.
func (l *Log) date(before time.Time) {
	if before.IsZero() {
		before = time.Now()
	}
	var undated []*attempt
	var sum time.Duration
	for _, at := range l.attempts {
		d := at.duration()
		switch r := at.report; {
		case !at.start.IsZero():
		case r != nil && !r.Time.IsZero():
			at.start = r.Time.Add(-d)
		case !at.end.IsZero():
			at.start = at.end.Add(-d)
		default:
			undated = append(undated, at)
			sum += at.wait() + d + time.Millisecond
			continue
		}
		at.close(d)
		if at.start.Before(before) {
			before = at.start
		}
	}
	clock := before.Add(-sum)
	for _, at := range undated {
		l.undated = true
		at.start = clock.Add(at.wait())
		at.end = time.Time{}
		at.close(at.duration())
		clock = at.end.Add(time.Millisecond)
	}
}

// wait is how long the invocation waited for its init.
func (at *attempt) wait() time.Duration {
	if at.report == nil {
		return 0
	}
	return max(at.report.Init, at.report.Restore)
}

// duration is what is known of it: as reported, as the runtime took, or as long
// as the lines lie apart.
func (at *attempt) duration() time.Duration {
	switch {
	case at.report != nil:
		return at.report.Duration
	case at.run != nil:
		return at.run.Duration
	case at.limit > 0:
		return at.limit
	case !at.start.IsZero() && at.end.After(at.start):
		return at.end.Sub(at.start)
	}
	return 0
}

// close sets the end. The platform writes END a little after it.
func (at *attempt) close(d time.Duration) {
	if d > 0 || at.report != nil || at.end.Before(at.start) {
		at.end = at.start.Add(d)
	}
}

// fill adds what other lines of the environment told.
func (at *attempt) fill() {
	if at.status == "" && (at.report != nil || at.ended) {
		at.status = lifecycle.Success
	}
	at.version = first(at.version, at.env.version)
}

func (at *attempt) memoryMB() int64 {
	if at.report != nil && at.report.MemoryMB > 0 {
		return at.report.MemoryMB
	}
	return at.env.memoryMB
}

// kind is what the environment was made for.
func (at *attempt) kind() lifecycle.InitKind {
	if at.report != nil && at.report.Restore > 0 {
		return lifecycle.SnapStart
	}
	return at.env.kind
}

// startType says what the invocation found, and which init it waited for.
func (at *attempt) startType() (lifecycle.Start, *lifecycle.Init) {
	in, r := at.init, at.report
	switch {
	case r != nil && r.Restore > 0:
		return at.found(lifecycle.SnapStart, lifecycle.PhaseInit, r.Restore)
	case r != nil && r.Init > 0:
		return at.found(at.env.kind, lifecycle.PhaseInit, r.Init)
	case in == nil:
		return lifecycle.Warm, nil
	case in.restore:
		return at.found(lifecycle.SnapStart, lifecycle.PhaseInit, in.duration)
	case in.phase == lifecycle.PhaseInvoke:
		return at.found(at.env.kind, lifecycle.PhaseInvoke, in.duration)
	case in.failed() || at.afterBad:
		// The init is run again, within the invocation: nothing says how long
		// that took.
		return lifecycle.Cold, nil
	case at.env.kind == lifecycle.ProvisionedConcurrency:
		return lifecycle.First, nil
	case in.reported:
		return at.found(at.env.kind, lifecycle.PhaseInit, in.duration)
	case r == nil && (in.start.IsZero() || at.start.Sub(in.start) < initLimit):
		return lifecycle.Cold, nil
	case at.env.known:
		return lifecycle.First, nil
	}
	return lifecycle.Warm, nil
}

// initLimit is how long an on-demand init lasts at most, with some margin.
const initLimit = 11 * time.Second

// found describes the init that an invocation met. One that was over for more
// than a second nobody waited for.
func (at *attempt) found(kind lifecycle.InitKind, phase lifecycle.InitPhase, d time.Duration) (lifecycle.Start, *lifecycle.Init) {
	out := &lifecycle.Init{
		Kind: kind, Phase: phase, Demand: lifecycle.OnPath, Start: at.start.Add(-d), Duration: d,
		Status: lifecycle.Success, RequestID: at.requestID,
	}
	if in := at.init; in != nil {
		if !in.start.IsZero() {
			out.Start = in.start
		}
		if in.status != "" {
			out.Status, out.ErrorType = in.status, in.errorType
		}
	}
	if phase == lifecycle.PhaseInit {
		out.Demand = lifecycle.DemandOf(at.start.Sub(out.Start.Add(d)))
	}
	out.Parts = parts(out)
	if d == 0 {
		out = nil
	}
	if out != nil && out.Demand == lifecycle.Proactive {
		out.RequestID = ""
		return lifecycle.First, out
	}
	return lifecycle.Cold, out
}

func parts(in *lifecycle.Init) []lifecycle.Part {
	var known []lifecycle.Part
	if in.Kind == lifecycle.SnapStart {
		known = []lifecycle.Part{{Name: lifecycle.PartRestore, Start: in.Start, Duration: in.Duration, Basis: lifecycle.Measured}}
	}
	return lifecycle.FillParts(in.Start, in.Duration, known)
}

// poolKey is what environments must have in common to serve the same requests.
type poolKey struct {
	account, region, name, version string
	memoryMB                       int64
}

// infer makes environments of inputs that do not name the log stream. Attempts
// are in order of their beginning.
func (l *Log) infer() {
	pools := map[poolKey]*guess{}
	for _, at := range l.attempts {
		if at.env.known {
			continue
		}
		l.guessed = true
		key := poolKey{at.env.account, at.env.region, at.env.name, at.version, at.memoryMB()}
		if pools[key] == nil {
			pools[key] = &guess{}
		}
		start, _ := at.startType()
		at.env = pools[key].take(at, start != lifecycle.Warm)
	}
}

// guess is the environments of one pool, with the end of their last invocation.
type guess struct {
	environments []*environment
	free         []time.Time
}

// take returns the environment that serves at: a new one if it is cold, else
// the one that was used last and is free.
func (g *guess) take(at *attempt, isNew bool) *environment {
	best := -1
	for i, free := range g.free {
		if !isNew && !free.After(at.start) && (best < 0 || free.After(g.free[best])) {
			best = i
		}
	}
	if best < 0 {
		env := *at.env
		env.version, env.memoryMB, env.kind = at.version, at.memoryMB(), at.kind()
		env.id = fmt.Sprintf("inferred/%s/%d", at.start.UTC().Format("2006/01/02/15:04:05.000"), len(g.environments)+1)
		g.environments, g.free = append(g.environments, &env), append(g.free, at.end)
		return &env
	}
	g.free[best] = at.end
	return g.environments[best]
}

// Happening is one thing that an extension would have observed, or has. Exactly
// one of Invocation, Init and Span is set; a Span comes without Environment.
type Happening struct {
	Environment *lifecycle.Environment
	// Time is when it was over.
	Time       time.Time
	Invocation *lifecycle.Invocation
	Init       *lifecycle.Init
	Span       *Spooled
}

// Happenings calls yield in the order of time.
func (l *Log) Happenings(arch string, yield func(Happening) error) error {
	t := teller{arch: arch, yield: yield, environments: map[environmentKey]*lifecycle.Environment{}}
	inits := slices.Clone(l.inits)
	slices.SortStableFunc(inits, func(x, y *initRecord) int { return x.end().Compare(y.end()) })
	spooled := l.spooled
	before := func(at time.Time) {
		for {
			switch {
			case len(inits) > 0 && !inits[0].end().After(at) && (len(spooled) == 0 || !spooled[0].time().Before(inits[0].end())):
				t.init(inits[0])
				inits = inits[1:]
			case len(spooled) > 0 && !spooled[0].time().After(at):
				t.tell(Happening{Time: spooled[0].time(), Span: spooled[0]})
				spooled = spooled[1:]
			default:
				return
			}
		}
	}
	for _, at := range l.attempts {
		if at.inSpool {
			continue
		}
		before(at.end)
		t.attempt(at)
		if t.err != nil {
			return t.err
		}
	}
	before(farFuture)
	return t.err
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// teller tells happenings until somebody does not want to hear more.
type teller struct {
	arch         string
	yield        func(Happening) error
	environments map[environmentKey]*lifecycle.Environment
	err          error
}

func (t *teller) tell(h Happening) {
	if h.Environment != nil {
		h.Environment.Arch = t.arch
	}
	if t.err == nil {
		t.err = t.yield(h)
	}
}

func (t *teller) init(in *initRecord) {
	if h, ok := in.happening(t.environments); ok {
		t.tell(h)
	}
}

func (t *teller) attempt(at *attempt) {
	env, inv := at.environment(t.environments), at.invocation()
	if inv.Init != nil && inv.StartType == lifecycle.First {
		proactive := inv.Init
		inv.Init = nil
		t.tell(Happening{Environment: env, Time: at.end, Init: proactive})
	}
	t.tell(Happening{Environment: env, Time: at.end, Invocation: inv})
}

func (in *initRecord) end() time.Time { return in.start.Add(in.duration) }

type environmentKey struct {
	env     *environment
	version string
	memory  int64
}

func (env *environment) lifecycle(known map[environmentKey]*lifecycle.Environment, version string, memoryMB int64, kind lifecycle.InitKind) *lifecycle.Environment {
	key := environmentKey{env, version, memoryMB}
	if known[key] == nil {
		known[key] = &lifecycle.Environment{
			Function: lifecycle.Function{AccountID: env.account, Region: env.region, Name: env.name},
			Version:  version, Kind: kind, ID: env.id, MemoryMB: memoryMB,
			RuntimeVersion: env.runtime, ServiceName: env.name,
		}
	}
	return known[key]
}

func (at *attempt) environment(known map[environmentKey]*lifecycle.Environment) *lifecycle.Environment {
	return at.env.lifecycle(known, first(at.version, "$LATEST"), at.memoryMB(), at.kind())
}

// happening of an init that no invocation was for: it failed, or was in vain.
func (in *initRecord) happening(known map[environmentKey]*lifecycle.Environment) (Happening, bool) {
	if in.start.IsZero() || in.duration <= 0 {
		return Happening{}, false
	}
	out := &lifecycle.Init{
		Kind: in.env.kind, Phase: cmp.Or(in.phase, lifecycle.PhaseInit), Demand: lifecycle.Unused, Start: in.start, Duration: in.duration,
		Status: cmp.Or(in.status, lifecycle.Success), ErrorType: in.errorType,
	}
	out.Parts = parts(out)
	env := in.env.lifecycle(known, first(in.env.version, "$LATEST"), in.env.memoryMB, in.env.kind)
	return Happening{Environment: env, Time: in.start.Add(in.duration), Init: out}, true
}

func (at *attempt) invocation() *lifecycle.Invocation {
	inv := &lifecycle.Invocation{
		RequestID: at.requestID, Start: at.start, Trace: at.trace, Status: at.status, ErrorType: at.errorType, Run: at.run,
	}
	inv.StartType, inv.Init = at.startType()
	switch {
	case at.report != nil:
		inv.Report = &lifecycle.Report{
			Received: true, Duration: at.report.Duration, Billed: at.report.Billed, Init: at.report.Init, Restore: at.report.Restore, BilledRestore: at.report.BilledRestore,
			ExtensionOverhead: at.report.ExtensionOverhead, MaxMemoryUsedMB: at.report.MaxMemoryMB, Logs: at.logs,
		}
	case at.duration() > 0 || at.bad():
		inv.Report = &lifecycle.Report{Duration: at.duration(), Logs: at.logs}
	}
	return inv
}
