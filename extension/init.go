package extension

import (
	"strings"
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
	// looked says that its profile was looked for, and profile is what was
	// found.
	looked  bool
	profile *initProfile
}

func (m *machine) initStart(ev *event, rec *lambdaapi.InitStart) {
	restore := ev.kind == lambdaapi.TypeRestoreStart
	m.describe(rec)
	if in := m.initOf(ev, rec.Phase); in != nil && in.Start.IsZero() {
		in.Start, m.lifeStart = ev.time, ev.time
		return
	}
	if restore {
		m.restore(rec)
	} else if m.ofSnapshot(rec.Phase, rec.InitializationType) {
		return
	}
	in := m.addInit(restore, rec.Phase, rec.InitializationType)
	in.Start = ev.time
	m.lifeStart, m.invocations = ev.time, int64(len(m.open))
}

// restore begins the life of an environment that was restored from a snapshot.
// Its id is not the one before the snapshot, which all environments that are
// restored from it share. The init before the snapshot belongs to the
// published version, and every environment would tell of it again.
func (m *machine) restore(rec *lambdaapi.InitStart) {
	m.inits, m.restored = nil, true
	m.kind, m.env.Kind = lifecycle.SnapStart, lifecycle.SnapStart
	if rec.InstanceID != "" {
		m.env.ID = rec.InstanceID
	}
}

// ofSnapshot says whether an event tells of the init before the snapshot again,
// as those do that were not delivered when it was taken.
func (m *machine) ofSnapshot(phase, kind string) bool {
	return m.restored && phase != string(lifecycle.PhaseInvoke) &&
		(kind == "" || kind == string(lifecycle.SnapStart))
}

// describe takes over what the event says of the environment.
func (m *machine) describe(rec *lambdaapi.InitStart) {
	env := &m.env
	if kind := lifecycle.InitKind(rec.InitializationType); kind != "" {
		m.kind, env.Kind = kind, kind // which the variables of some emulators do not say
	}
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
	m.look = m.profiles
}

func (m *machine) initReport(ev *event, rec *lambdaapi.InitReport) {
	in := m.initFor(ev, rec.Phase, rec.InitializationType)
	if in == nil {
		return
	}
	in.reported = ev.time
	in.Duration = milliseconds(rec.Metrics.DurationMs)
	in.worsen(rec.Status, rec.ErrorType)
	in.FailedExtension = m.failedExtension(in.ErrorType)
}

// extension records the state of an extension at the end of an init.
func (m *machine) extension(rec *lambdaapi.Extension) {
	switch {
	case rec.ErrorType != "":
		m.accused = append(m.accused, rec.Name)
	case rec.State != "Ready":
		m.unready = append(m.unready, rec.Name)
	}
}

// failedExtension is the one extension that can have made an init fail: the one
// that has an error, or the only one that was not ready. When it fails early
// others are not ready either, and nobody can tell which it was.
func (m *machine) failedExtension(errorType string) string {
	names := m.accused
	if len(names) == 0 {
		names = m.unready
	}
	m.accused, m.unready = nil, nil
	if len(names) != 1 || !strings.HasPrefix(errorType, "Extension.") {
		return ""
	}
	return names[0]
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
	if m.firstSeen || !isRestore(ev.kind) && m.ofSnapshot(phase, kind) {
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
		m.emitUnused(in)
	}
	in := m.inits[last]
	m.inits = m.inits[last+1:]
	if in.beforeSnapshot() {
		return nil // and the restore was not told
	}
	return in
}

// beforeSnapshot says whether a snapshot was made of what the init had made.
func (in *initState) beforeSnapshot() bool {
	return !in.restore && in.Kind == lifecycle.SnapStart && in.Phase == lifecycle.PhaseInit && in.Status == lifecycle.Success
}

// emitUnused sends an init that served nobody.
func (m *machine) emitUnused(in *initState) {
	if !in.beforeSnapshot() {
		m.emitInit(in.settle(m, lifecycle.Unused, time.Time{}))
	}
}

// demand says whether a request was waiting for the init. Who has paid for
// environments that are ready before the requests come does not wait.
func (in *initState) demand(start time.Time) lifecycle.Demand {
	switch end := in.end(); {
	case in.Phase == lifecycle.PhaseInvoke:
		return lifecycle.OnPath
	case in.Kind == lifecycle.ProvisionedConcurrency || in.Kind == lifecycle.ManagedInstances:
		return lifecycle.Proactive
	case end.IsZero():
		return lifecycle.OnPath
	default:
		return lifecycle.DemandOf(start.Sub(end))
	}
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
	if !served.IsZero() {
		out.Gap = max(served.Sub(out.Start.Add(out.Duration)), 0)
	}
	out.Parts = in.parts(m, out.Start, out.Duration)
	if in.profile != nil {
		out.Profile = in.profile.InitProfile
	}
	if !in.restore {
		out.Self = m.self
	}
	return &out
}

// awaitsProfile says whether an init is not to be sent yet, because nobody has
// looked for its profile. It asks for that.
func (m *machine) awaitsProfile() bool {
	if !m.profiles {
		return false
	}
	for _, in := range m.inits {
		if !in.looked && !in.restore {
			m.wanted = true
			return true
		}
	}
	return false
}

// profiled gives the inits that were asked for their profiles, and goes on
// with what waited for that.
func (m *machine) profiled(wanted []profileRequest, found map[*initState]*initProfile) {
	m.wanted = false
	for _, w := range wanted {
		if !w.in.looked {
			w.in.looked, w.in.profile = true, found[w.in]
		}
	}
	m.settle()
}

// parts splits the init. The platform starts the runtime when every extension
// has registered. That is when we have, unless somebody saw the runtime begin
// later, because others were slower. Without a hook in the runtime, what comes
// then until it is done is one part. What we have on one clock only, our own
// start, is measured; what lies between the platform's and ours is derived. With
// a hook the beginning of the handler's code was measured.
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
	begun := later(registered, m.runtimeStart)
	parts := extensionParts(start, m.processStart, registered, begun)
	if measured := in.profile.parts(begun, in.runtimeDone); measured != nil {
		return lifecycle.FillParts(start, total, append(parts, measured...))
	}
	if in.runtimeDone.After(begun) {
		parts = append(parts, lifecycle.Part{
			Name: lifecycle.PartRuntimeFunction, Start: begun,
			Duration: in.runtimeDone.Sub(begun), Basis: lifecycle.Derived,
		})
	}
	return lifecycle.FillParts(start, total, parts)
}

// runtimeBegan takes over when somebody saw the runtime begin.
func (m *machine) runtimeBegan(at time.Time) {
	if m.runtimeStart.IsZero() {
		m.runtimeStart = at
	}
}

// extensionParts splits the time until the runtime begins into our own and that
// of the platform and of the others, some of which are before us and some
// after: told as one, before.
func extensionParts(start, exec, registered, begun time.Time) []lifecycle.Part {
	if exec.Before(start) || exec.After(registered) {
		return []lifecycle.Part{{Name: lifecycle.PartExtensions, Start: start, Duration: begun.Sub(start), Basis: lifecycle.Derived}}
	}
	own := registered.Sub(exec)
	others := begun.Sub(start) - own
	return []lifecycle.Part{
		{Name: lifecycle.PartExtensions, Start: start, Duration: others, Basis: lifecycle.Derived},
		{Name: lifecycle.PartThaw, Start: start.Add(others), Duration: own, Basis: lifecycle.Measured},
	}
}

func (m *machine) emitInit(in *lifecycle.Init) {
	m.out = append(m.out, item{init: in, ended: in.Start.Add(in.Duration)})
}
