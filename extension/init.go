package extension

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// initState is an init, or a restore, as far as it is known.
type initState struct {
	lifecycle.Init
	// restore is whether a snapshot was restored rather than an init run.
	restore     bool
	runtimeDone time.Time
	reported    time.Time
}

func (m *machine) initStart(ev *event, rec *lambdaapi.InitStart) {
	restore := ev.kind == lambdaapi.TypeRestoreStart
	m.describe(rec)
	if in := m.initOf(ev, rec.Phase); in != nil && in.Start.IsZero() {
		in.Start, m.lifeStart = ev.time, ev.time
		return
	}
	if restore {
		// The init before the snapshot belongs to the published version, and
		// every environment restored from it would tell of it again.
		m.inits = nil
	}
	in := m.addInit(restore, rec.Phase, rec.InitializationType)
	in.Start = ev.time
	m.lifeStart, m.invocations = ev.time, int64(len(m.open))
}

// describe takes over what the event says of the environment.
func (m *machine) describe(rec *lambdaapi.InitStart) {
	env := &m.env
	if env.ID == "" {
		env.ID = rec.InstanceID
	}
	if rec.RuntimeVersion != "" {
		env.RuntimeVersion = rec.RuntimeVersion
	}
	if env.Name == "" {
		env.Name = rec.FunctionName
	}
	if env.Version == "" {
		env.Version = rec.FunctionVersion
	}
	// The documentation's example says 256; what is observed are bytes.
	if env.MemoryMB == 0 && rec.InstanceMaxMemory >= 1<<20 {
		env.MemoryMB = rec.InstanceMaxMemory >> 20
	}
}

func (m *machine) initRuntimeDone(ev *event, rec *lambdaapi.InitRuntimeDone) {
	in := m.initFor(ev, rec.Phase, rec.InitializationType)
	if in == nil {
		return
	}
	in.runtimeDone = ev.time
	in.worsen(rec.Status, rec.ErrorType)
}

func (m *machine) initReport(ev *event, rec *lambdaapi.InitReport) {
	in := m.initFor(ev, rec.Phase, rec.InitializationType)
	if in == nil {
		return
	}
	in.reported = ev.time
	in.Duration = milliseconds(rec.Metrics.DurationMs)
	in.worsen(rec.Status, rec.ErrorType)
}

func (in *initState) worsen(status, errorType string) {
	in.Status, in.ErrorType = worse(in.Status, in.ErrorType, statusOf(status), errorType)
}

// initFor returns the init that an event tells about, a new one if its start
// was not seen yet, nil if it has been sent already.
func (m *machine) initFor(ev *event, phase, kind string) *initState {
	if in := m.initOf(ev, phase); in != nil {
		return in
	}
	if m.firstSeen {
		return nil
	}
	return m.addInit(isRestore(ev.kind), phase, kind)
}

// initOf returns the newest init that has the phase of an event.
func (m *machine) initOf(ev *event, phase string) *initState {
	for i := len(m.inits) - 1; i >= 0; i-- {
		in := m.inits[i]
		started := in.Start.IsZero() || !in.Start.After(ev.time)
		fresh := !isStart(ev.kind) || in.Start.IsZero()
		if in.restore == isRestore(ev.kind) && started && fresh && (phase == "" || string(in.Phase) == phase) {
			return in
		}
	}
	return nil
}

func (m *machine) addInit(restore bool, phase, kind string) *initState {
	in := &initState{restore: restore}
	in.Phase, in.Kind = lifecycle.PhaseInit, m.kind
	if phase == string(lifecycle.PhaseInvoke) {
		in.Phase = lifecycle.PhaseInvoke
	}
	switch {
	case restore:
		in.Kind = lifecycle.SnapStart
	case kind != "":
		in.Kind = lifecycle.InitKind(kind)
	}
	if len(m.inits) == maxInits {
		m.inits = m.inits[1:]
	}
	m.inits = append(m.inits, in)
	return in
}

func isRestore(kind string) bool {
	switch kind {
	case lambdaapi.TypeRestoreStart, lambdaapi.TypeRestoreRuntimeDone, lambdaapi.TypeRestoreReport:
		return true
	}
	return false
}

func isStart(kind string) bool {
	return kind == lambdaapi.TypeInitStart || kind == lambdaapi.TypeRestoreStart
}

// served returns the init that inv is the first to profit from, nil if there
// is none. Inits before that one served nobody, and are sent as such.
func (m *machine) served(inv *invocation) *initState {
	last := -1
	for i, in := range m.inits {
		if !in.begin().After(inv.Start) {
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	for _, in := range m.inits[:last] {
		m.emitInit(in.settle(m, lifecycle.Unused, time.Time{}))
	}
	in := m.inits[last]
	m.inits = m.inits[last+1:]
	return in
}

// begin is when the init started, as well as that is known.
func (in *initState) begin() time.Time {
	switch {
	case !in.Start.IsZero():
		return in.Start
	case !in.reported.IsZero():
		return in.reported.Add(-in.Duration)
	}
	return in.runtimeDone
}

// end is when the init was over, the zero time if that is not known.
func (in *initState) end() time.Time {
	switch {
	case !in.reported.IsZero() && in.Duration > 0:
		return in.begin().Add(in.Duration)
	case !in.reported.IsZero():
		return in.reported
	}
	return in.runtimeDone
}

// settle completes the init. Where its end was not told it lasted at most
// until the invocation that it served.
func (in *initState) settle(m *machine, demand lifecycle.Demand, served time.Time) *lifecycle.Init {
	out := in.Init
	out.Demand = demand
	out.Start = in.begin()
	end := in.end()
	if end.IsZero() {
		end = served
	}
	if out.Duration == 0 {
		out.Duration = max(end.Sub(out.Start), 0)
	}
	out.Parts = in.parts(m, out.Start, out.Duration)
	if !in.restore {
		out.Self = m.self
	}
	return &out
}

// parts splits the init. The platform starts the runtime when every extension
// has registered; without a hook in the runtime, what comes then until it is
// done is one part. Both are derived from two clocks' readings.
func (in *initState) parts(m *machine, start time.Time, total time.Duration) []lifecycle.Part {
	if in.restore {
		return lifecycle.FillParts(start, total, []lifecycle.Part{
			{Name: lifecycle.PartRestore, Start: start, Duration: total, Basis: lifecycle.Measured},
		})
	}
	registered := m.registered
	if registered.IsZero() || registered.Before(start) {
		return lifecycle.FillParts(start, total, nil)
	}
	parts := []lifecycle.Part{
		{Name: lifecycle.PartExtensions, Start: start, Duration: registered.Sub(start), Basis: lifecycle.Derived},
	}
	if in.runtimeDone.After(registered) {
		parts = append(parts, lifecycle.Part{
			Name: lifecycle.PartRuntimeFunction, Start: registered,
			Duration: in.runtimeDone.Sub(registered), Basis: lifecycle.Derived,
		})
	}
	return lifecycle.FillParts(start, total, parts)
}

func (m *machine) emitInit(in *lifecycle.Init) {
	m.out = append(m.out, item{init: in, ended: in.Start.Add(in.Duration)})
}
