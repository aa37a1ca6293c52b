package cloudwatchlog

import (
	"hash/maphash"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/spool"
)

// Known is what the user says of logs that do not say it themselves.
type Known struct {
	Function, Account, Region string
	// Arch is a value of host.arch. No log tells it.
	Arch string
	// Before is when a log without any times ended; the zero time is now.
	Before time.Time
}

// Assembler makes invocations of log events, which may come from several files,
// twice, and with their streams interleaved.
type Assembler struct {
	known Known
	tally tally

	environments map[streamKey]*environment
	// byRequest holds the attempts at a request: a retry carries the same id.
	byRequest map[string][]*attempt
	attempts  []*attempt
	inits     []*initRecord

	// seen are hashes of the platform's lines: exports overlap.
	seen map[uint64]struct{}
	seed maphash.Seed

	spool   spool.Decoder
	records [][]byte
}

// tally counts what became of the lines.
type tally struct {
	lines, application, platform, duplicates, unparsed int64
	dropped, spool                                     int64
	broken                                             []Broken
	firstTime, lastTime                                time.Time
}

// Broken is a line that claims to be the platform's and cannot be read.
type Broken struct {
	Input string `json:"input"`
	Line  int    `json:"line"`
	// Text is the beginning of the line, Reason what is wrong with it.
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

// maxBroken is how many of them are kept.
const maxBroken = 10

// NewAssembler returns an empty one.
func NewAssembler(known Known) *Assembler {
	return &Assembler{
		known: known, environments: map[streamKey]*environment{}, byRequest: map[string][]*attempt{},
		seen: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
	}
}

// streamKey tells environments apart: a log stream has one. Without the name of
// the stream, all of an input are thrown together.
type streamKey struct{ account, group, stream, input string }

// environment is a log stream, or an input whose streams are unknown.
type environment struct {
	known                              bool // the name of the stream
	account, region, name, version, id string
	kind                               lifecycle.InitKind
	runtime                            string
	memoryMB                           int64
	// init is what has begun since the last invocation did.
	init *initRecord
	last *attempt
	// logs are of lines that came before any invocation.
	logs lifecycle.LogSummary
}

// initRecord is an init or a restore.
type initRecord struct {
	env       *environment
	start     time.Time
	duration  time.Duration
	reported  bool
	restore   bool
	phase     lifecycle.InitPhase
	kind      lifecycle.InitKind
	status    lifecycle.Status
	errorType string
}

func (in *initRecord) failed() bool {
	return in.status != "" && in.status != lifecycle.Success
}

// attempt is one attempt at one request, as far as the log tells it.
type attempt struct {
	env       *environment
	requestID string
	version   string
	trace     string

	started, ended bool
	start, end     time.Time // of START and of END, where known
	run            *lifecycle.Run

	report *Event // nil as long as none was seen

	status    lifecycle.Status
	errorType string
	limit     time.Duration // the timeout it ran into, from an old-style line
	init      *initRecord
	afterBad  bool // the environment's previous invocation ended badly
	logs      lifecycle.LogSummary
	inSpool   bool // the spool tells more of it
}

// Add takes one log event.
func (a *Assembler) Add(l Line) {
	a.tally.lines++
	a.tally.span(l.Time)
	env := a.environment(l)
	if l.damaged {
		a.tally.add(l, "", l.Message)
		return
	}
	if a.spooled(l) {
		return
	}
	e, err := Parse(l.Message)
	switch {
	case err != nil:
		a.tally.platform++
		a.tally.add(l, l.Message, strings.TrimPrefix(err.Error(), errBroken.Error()+": "))
		return
	case e.Kind == Application:
		a.tally.application++
		env.note(l, true)
		return
	}
	a.tally.platform++
	if e.Time.IsZero() {
		e.Time = l.Time
	}
	a.tally.span(e.Time)
	if a.repeated(env, l, &e) {
		a.tally.duplicates++
		return
	}
	a.event(env, &e)
	env.note(l, false)
}

func (t *tally) span(at time.Time) {
	if at.IsZero() {
		return
	}
	if t.firstTime.IsZero() || at.Before(t.firstTime) {
		t.firstTime = at
	}
	if at.After(t.lastTime) {
		t.lastTime = at
	}
}

func (t *tally) add(l Line, text, reason string) {
	t.unparsed++
	if len(t.broken) < maxBroken {
		t.broken = append(t.broken, Broken{Input: l.Input, Line: l.Number, Text: cut(text), Reason: cut(reason)})
	}
}

// environment returns the one of the line's log stream.
func (a *Assembler) environment(l Line) *environment {
	key := streamKey{account: l.Account, group: l.Group, stream: l.Stream}
	if l.Stream == "" {
		key.input = l.Input
	}
	env := a.environments[key]
	if env == nil {
		l.Account, l.Group, l.Stream = strings.Clone(l.Account), strings.Clone(l.Group), strings.Clone(l.Stream)
		key.account, key.group, key.stream = l.Account, l.Group, l.Stream
		env = &environment{
			known: l.Stream != "", id: l.Stream, kind: lifecycle.OnDemand, version: streamVersion(l.Stream),
			account: first(a.known.Account, l.Account), region: a.known.Region,
			name: first(a.known.Function, functionOf(l.Group), functionOf(l.Input), "unknown"),
		}
		a.environments[key] = env
	}
	return env
}

// functionOf takes the last part of a log group, or of a path, for the name of
// the function.
func functionOf(group string) string {
	name := filepath.Base(filepath.ToSlash(group))
	for {
		switch ext := filepath.Ext(name); ext {
		case ".gz", ".log", ".txt", ".json", ".jsonl", ".ndjson":
			name = strings.TrimSuffix(name, ext)
		default:
			if name == "." || name == "/" {
				return ""
			}
			return name
		}
	}
}

var streamName = regexp.MustCompile(`^\d{4}/\d\d/\d\d/(.*)\[(\d+|\$LATEST)\][0-9A-Za-z-]+$`)

// streamVersion is the version in the name of a log stream.
func streamVersion(stream string) string {
	if m := streamName.FindStringSubmatch(stream); m != nil {
		return m[2]
	}
	return ""
}

// repeated says whether this very line was there before. Without a time, or
// without anything that is its own, a line is not recognised.
func (a *Assembler) repeated(env *environment, l Line, e *Event) bool {
	if e.Time.IsZero() || !env.known && e.RequestID == "" {
		return false
	}
	var h maphash.Hash
	h.SetSeed(a.seed)
	for _, part := range []string{l.Account, l.Group, l.Stream, e.Time.UTC().Format(time.RFC3339Nano), strings.TrimSpace(l.Message)} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	sum := h.Sum64()
	_, ok := a.seen[sum]
	a.seen[sum] = struct{}{}
	return ok
}

// note counts a log event, and how long it took into CloudWatch, to the
// invocation that is going on.
func (env *environment) note(l Line, application bool) {
	logs := &env.logs
	if env.last != nil {
		logs = &env.last.logs
	}
	if application {
		logs.Lines++
		logs.Bytes += int64(len(l.Message))
	}
	if !l.Ingested.IsZero() && !l.Time.IsZero() {
		logs.Arrival.Observe(l.Ingested.Sub(l.Time))
	}
}

func (a *Assembler) event(env *environment, e *Event) {
	env.learn(e)
	switch e.Kind {
	case InitStart, RestoreStart:
		a.beginInit(env, e)
	case InitReport, RestoreReport:
		a.endInit(env, e)
	case Start:
		a.start(env, e)
	case RuntimeDone, End:
		a.end(env, e)
	case Report:
		a.report(env, e)
	case Outcome:
		a.outcome(env, e)
	case LogsDropped:
		a.tally.dropped += e.Dropped
	}
}

func (env *environment) learn(e *Event) {
	env.runtime = first(strings.Clone(e.RuntimeVersion), env.runtime)
	env.region = first(env.region, strings.Clone(e.Region))
	if e.InitKind != "" {
		env.kind = e.InitKind
	}
	if e.FunctionName != "" && env.known {
		env.name = strings.Clone(e.FunctionName)
	}
	if e.Version != "" && e.Version != env.version {
		env.version = strings.Clone(e.Version)
	}
	if n := max(e.MemoryMB, e.InstanceMemoryMB); n > 0 {
		env.memoryMB = n
	}
}

func (a *Assembler) beginInit(env *environment, e *Event) {
	a.dropInit(env)
	env.init = &initRecord{env: env, start: e.Time, restore: e.Kind == RestoreStart, phase: e.Phase, kind: e.InitKind}
}

func (a *Assembler) endInit(env *environment, e *Event) {
	d := e.Init
	if e.Kind == RestoreReport {
		d = e.Restore
	}
	if env.init != nil && env.init.reported {
		a.dropInit(env)
	}
	if env.init == nil {
		env.init = &initRecord{env: env, restore: e.Kind == RestoreReport, kind: e.InitKind}
		if !e.Time.IsZero() {
			env.init.start = e.Time.Add(-d)
		}
	}
	in := env.init
	in.duration, in.reported, in.status, in.errorType = d, true, e.Status, e.ErrorType
	if e.Phase != "" {
		in.phase = e.Phase
	}
}

// dropInit keeps an init that no invocation was for.
func (a *Assembler) dropInit(env *environment) {
	if env.init != nil && env.init.reported {
		a.inits = append(a.inits, env.init)
	}
	env.init = nil
}

// candidates are the attempts at a request that may be meant by a line of the
// environment: those of the same log stream, where both are known.
func (a *Assembler) candidates(env *environment, requestID string) []*attempt {
	var out []*attempt
	for _, at := range a.byRequest[requestID] {
		if at.env == env || !at.env.known || !env.known {
			out = append(out, at)
		}
	}
	return out
}

// newAttempt begins one.
func (a *Assembler) newAttempt(env *environment, e *Event) *attempt {
	// Copies: what is cut out of a line would keep all of it in memory.
	id := strings.Clone(e.RequestID)
	at := &attempt{env: env, requestID: id, version: env.version, init: env.init}
	if e.Version != "" && e.Version != env.version {
		at.version = strings.Clone(e.Version)
	}
	at.afterBad = env.last != nil && env.last.bad()
	if env.last == nil {
		at.logs, env.logs = env.logs, lifecycle.LogSummary{}
	}
	env.init, env.last = nil, at
	a.attempts = append(a.attempts, at)
	a.byRequest[id] = append(a.byRequest[id], at)
	return at
}

// bad says whether the environment was reset after the attempt.
func (at *attempt) bad() bool {
	return at.status != "" && at.status != lifecycle.Success
}

func (a *Assembler) start(env *environment, e *Event) {
	same := a.candidates(env, e.RequestID)
	for i := len(same) - 1; i >= 0; i-- {
		at := same[i]
		switch {
		case !at.started && (e.Time.IsZero() || at.lastTime().IsZero() || !e.Time.After(at.lastTime())):
			// Its later lines came first.
			at.started, at.start = true, e.Time
			at.version = first(strings.Clone(e.Version), at.version)
			return
		case at.started && at.start.Equal(e.Time) && !e.Time.IsZero(),
			at.started && e.Time.IsZero() && !at.ended && at.report == nil:
			a.tally.duplicates++
			return
		}
	}
	at := a.newAttempt(env, e)
	at.started, at.start, at.trace = true, e.Time, strings.Clone(e.TraceID)
}

// lastTime is the latest that is known of an attempt.
func (at *attempt) lastTime() time.Time {
	t := at.end
	if at.report != nil && at.report.Time.After(t) {
		t = at.report.Time
	}
	return t
}

func (a *Assembler) end(env *environment, e *Event) {
	at := a.latest(env, e, func(at *attempt) bool { return !at.ended })
	if at == nil {
		if len(a.candidates(env, e.RequestID)) == 0 {
			at = a.newAttempt(env, e)
		} else if e.Kind == End {
			return // a runtimeDone and then an END, or an END twice
		} else if at = a.latest(env, e, func(at *attempt) bool { return at.run == nil }); at == nil {
			return
		}
	}
	at.ended = true
	if at.end.IsZero() {
		at.end = e.Time
	}
	if e.Run != nil {
		at.run = e.Run
	}
	at.settle(e)
}

// latest is the last attempt that began before the event and lacks something.
func (a *Assembler) latest(env *environment, e *Event, lacks func(*attempt) bool) *attempt {
	same := a.candidates(env, e.RequestID)
	for i := len(same) - 1; i >= 0; i-- {
		at := same[i]
		if lacks(at) && (e.Time.IsZero() || at.start.IsZero() || !at.start.After(e.Time)) {
			return at
		}
	}
	return nil
}

func (a *Assembler) report(env *environment, e *Event) {
	if a.repeatedReport(env, e) {
		a.tally.duplicates++
		return
	}
	at := a.latest(env, e, func(at *attempt) bool { return at.report == nil })
	if at == nil {
		at = a.newAttempt(env, e)
	}
	at.report = e
	at.trace = first(at.trace, strings.Clone(e.TraceID))
	e.Status, e.ErrorType = lifecycle.Status(strings.Clone(string(e.Status))), strings.Clone(e.ErrorType)
	at.settle(e)
	e.RequestID, e.TraceID, e.Version = at.requestID, at.trace, at.version
}

// repeatedReport recognises a report that was read before in another form: an
// attempt with the same figures, and not at another time. Without times, a
// retry that was started again is believed only if it ran into the timeout:
// then its figures are the same.
func (a *Assembler) repeatedReport(env *environment, e *Event) bool {
	same := a.candidates(env, e.RequestID)
	for _, at := range same {
		r := at.report
		if r == nil || r.Duration != e.Duration || r.Billed != e.Billed || r.MaxMemoryMB != e.MaxMemoryMB || r.Init != e.Init {
			continue
		}
		if !r.Time.IsZero() && !e.Time.IsZero() {
			if r.Time.Sub(e.Time).Abs() <= time.Second {
				return true
			}
			continue
		}
		open := a.latest(env, e, func(at *attempt) bool { return at.report == nil })
		if open == nil {
			return true
		}
		if e.Status != lifecycle.Timeout && at.status != lifecycle.Timeout {
			a.forget(open)
			return true
		}
	}
	return false
}

// forget takes back an attempt that turned out to be a repetition.
func (a *Assembler) forget(at *attempt) {
	a.attempts = remove(a.attempts, at)
	a.byRequest[at.requestID] = remove(a.byRequest[at.requestID], at)
	if at.env.last == at {
		at.env.last = nil
	}
}

func remove(list []*attempt, at *attempt) []*attempt {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == at {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

func (a *Assembler) outcome(env *environment, e *Event) {
	at := a.latest(env, e, func(at *attempt) bool { return at.status == "" || at.status == lifecycle.Success })
	if at == nil {
		if len(a.candidates(env, e.RequestID)) > 0 {
			return // said before
		}
		at = a.newAttempt(env, e)
	}
	at.limit = e.Duration
	if at.end.IsZero() {
		at.end = e.Time
	}
	at.settle(e)
}

// settle notes how it ended. What is worse than success stays.
func (at *attempt) settle(e *Event) {
	if e.Status == "" || e.Status == lifecycle.Success && at.status != "" {
		return
	}
	if at.bad() && e.Kind == Outcome {
		return
	}
	at.status, at.errorType = lifecycle.Status(strings.Clone(string(e.Status))), first(strings.Clone(e.ErrorType), at.errorType)
}
