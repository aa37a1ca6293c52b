package extension

import (
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// meter measures what the function's processes use between two moments. It is
// nil where that is switched off, and then does nothing.
//
// # Between which moments
//
// The extension is blocked in next while the function runs, so it cannot read
// at the very ends of an invocation. It reads when it learns that a run is over
// (platform.runtimeDone, often only after the next thaw) or of the next INVOKE,
// whichever comes first, and at the SHUTDOWN. Each reading ends one measurement
// and begins the next: nothing is counted twice, and nothing is lost.
//
// What is wrong by this has one direction. A reading comes late, by as long as
// the event takes to get here, and when that is after a thaw, the function has
// been given its next event meanwhile: what it used by then is counted with the
// invocation before, and missing from its own. For a series of like invocations
// that cancels out. What a function does after its run is over counts with the
// next invocation. extension/README.md has the measured error.
type meter struct {
	source usageSource
	from   reading
	// begun says that from was read, running that an invocation is measured.
	begun, running bool
}

// usageSource reads the counters of the function's processes, as they are now.
type usageSource interface {
	read() reading
	close()
}

// reading is a state of counters.
type reading struct {
	// processes counts those that are known; gone says that since the last
	// reading one of those that the platform started has ended.
	processes int
	gone      bool
	// begun is when the first of those that the platform started began, to a
	// clock tick, of which there are 100 a second.
	begun time.Time

	cpu     time.Duration
	threads []threadReading // sorted by id
	steal   time.Duration

	peakMemory, threadCount int64
	tmp, received, sent     int64
	unreadable              []string
}

// threadReading is what the scheduler knows of a thread.
type threadReading struct {
	id             int
	running, delay time.Duration
}

// newMeter returns nil where nothing can be measured.
func newMeter(env func(string) string) *meter {
	source := newUsageSource(env)
	if source == nil {
		return nil
	}
	return &meter{source: source}
}

// lap begins to measure an invocation. What it returns is the usage of the one
// before, nil if that was measured to its end or there was none.
func (m *meter) lap() *lifecycle.Usage {
	if m == nil {
		return nil
	}
	var usage *lifecycle.Usage
	if m.running || !m.begun {
		usage = m.next()
	}
	m.running = true
	return usage
}

// stop ends the measurement of an invocation; nil if there is none.
func (m *meter) stop() *lifecycle.Usage {
	if m == nil || !m.running {
		return nil
	}
	m.running = false
	return m.next()
}

// next reads, and returns what was used since the reading before.
func (m *meter) next() *lifecycle.Usage {
	now := m.source.read()
	defer func() { m.from, m.begun = now, true }()
	if !m.begun {
		return nil
	}
	return m.since(now)
}

// began is when the runtime began, as far as a reading tells.
func (m *meter) began() time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.from.begun
}

func (m *meter) since(now reading) *lifecycle.Usage {
	u := &lifecycle.Usage{
		CPU:        max(now.cpu-m.from.cpu, 0),
		Steal:      max(now.steal-m.from.steal, 0),
		PeakMemory: now.peakMemory,
		Threads:    now.threadCount,
		Tmp:        now.tmp,
		Received:   max(now.received-m.from.received, 0),
		Sent:       max(now.sent-m.from.sent, 0),
		Unreadable: now.unreadable,
	}
	for _, thread := range now.threads {
		before := threadReading{}
		if i, found := slices.BinarySearchFunc(m.from.threads, thread.id, func(t threadReading, id int) int { return t.id - id }); found {
			before = m.from.threads[i]
		}
		u.RunDelay = max(u.RunDelay, thread.delay-before.delay)
		u.Busiest = max(u.Busiest, thread.running-before.running)
	}
	if now.gone || now.processes == 0 || m.from.processes == 0 {
		// Its counters went with it: a crash, a timeout, an end for want of memory.
		u.CPU, u.RunDelay, u.Busiest, u.PeakMemory, u.Threads = 0, 0, 0, 0, 0
		u.Unreadable = withNames(u.Unreadable, lifecycle.UsageCPU, lifecycle.UsageRunDelay, lifecycle.UsageMemory, lifecycle.UsageThreads)
	}
	return u
}

func withNames(names []string, more ...string) []string {
	out := slices.Clone(names)
	for _, name := range more {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (m *meter) close() {
	if m != nil {
		m.source.close()
	}
}

// measure gives what was measured to the invocation that it was measured for.
func (m *machine) measure(usage *lifecycle.Usage) {
	if m.measured != nil && usage != nil {
		m.measured.usage = usage
		m.measured = nil
	}
}

// measuredEnds says whether one of the events tells of the end of the
// invocation that is being measured.
func (m *machine) measuredEnds(events []event) bool {
	if m.measured == nil {
		return false
	}
	for i := range events {
		if id, over := runOver(&events[i]); over && id == m.measured.RequestID && !events[i].time.Before(m.measured.Start) {
			return true
		}
	}
	return false
}

// noteGap works out the idle gap before an invocation. Invocations are told in
// the order of their time.
func (m *machine) noteGap(inv *invocation) {
	if !m.ended.IsZero() && inv.Start.After(m.ended) {
		inv.gap = inv.Start.Sub(m.ended)
	}
	end := inv.last
	if inv.Run != nil {
		end = inv.Start.Add(inv.Run.Duration)
	}
	m.ended = later(m.ended, end)
}

// usageOf is what the report of an invocation says of it; nil if nothing was
// measured.
func (inv *invocation) usageOf() *lifecycle.Usage {
	if inv.usage != nil {
		inv.usage.IdleGap = inv.gap
	}
	return inv.usage
}
