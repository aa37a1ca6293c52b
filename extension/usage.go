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
// at the very ends of an invocation. It reads when it learns of an INVOKE, when
// it learns that the run is over (platform.runtimeDone, often only after the
// next thaw), and at the SHUTDOWN. What lies between the first and the next of
// these readings belongs to the invocation.
//
// The first reading is late by as long as the INVOKE takes to get here, while
// the function has been given its event already. What it used by then is
// missing from its invocation; where nothing was read at the end of the one
// before, that has it instead. Both are the same few hundred microseconds on a
// whole CPU, and about one quota (memory/1769 of 20 ms) on a small one, in
// which the function and we compete. For a series of like invocations they
// cancel out. extension/README.md has the measured error.
type meter struct {
	source usageSource
	open   bool
	from   reading
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

// lap ends the measurement that is open and begins the next with the same
// reading. What it returns is nil if none was open.
func (m *meter) lap() *lifecycle.Usage {
	if m == nil {
		return nil
	}
	now := m.source.read()
	usage := m.since(now)
	m.from, m.open = now, true
	return usage
}

// stop ends the measurement that is open.
func (m *meter) stop() *lifecycle.Usage {
	if m == nil || !m.open {
		return nil
	}
	usage := m.since(m.source.read())
	m.open = false
	return usage
}

func (m *meter) since(now reading) *lifecycle.Usage {
	if !m.open {
		return nil
	}
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
