package extension

import (
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// clock is what the machine remembers for the flush policy.
type clock struct {
	billed  time.Duration // as the reports have it
	longest time.Duration // run
	ended   time.Time     // the end of the last run
}

func (c *clock) ran(at time.Time, duration time.Duration) {
	c.ended = later(c.ended, at)
	c.longest = max(c.longest, duration)
}

// billedSoFar adds what has run and was not reported yet, and before the first
// report the init, which lasted until now if somebody waited for it.
func (m *machine) billedSoFar(now time.Time) time.Duration {
	billed := m.clock.billed
	for _, inv := range slices.Concat(m.late, m.open) {
		if inv.Run != nil && !inv.reported {
			billed += inv.Run.Duration
		}
	}
	if init := now.Sub(m.processStart); m.clock.billed == 0 && m.kind == lifecycle.OnDemand && init < initLimit {
		billed += max(init, 0)
	}
	return billed
}

// run is what is known of the run of an invocation.
type run struct {
	started, done, failed bool
	at                    time.Time // its end
	dropped               int64     // records that the platform threw away so far
}

func (m *machine) runOf(requestID string) run {
	r := run{dropped: m.account.DroppedByPlatform}
	for i := len(m.open) - 1; i >= 0; i-- {
		if inv := m.open[i]; inv.RequestID == requestID {
			r.started, r.done, r.at = inv.started, inv.done || inv.reported, inv.last
			r.failed = severity(inv.Status) > severity(lifecycle.Success)
			return r
		}
	}
	// It is complete already, which is so only where it failed.
	r.started, r.done, r.failed = true, true, true
	return r
}

// letGo sends the invocations that have run without waiting for their reports,
// which are made only when we are done.
func (m *machine) letGo() {
	kept := m.open[:0]
	for _, inv := range m.open {
		if inv.done {
			m.part(inv)
		} else {
			kept = append(kept, inv)
		}
	}
	m.open = kept
}

// load is what the flush policy decides by, for the invocation that has just
// arrived; false where its end would not be told.
func (r *recorder) load(now time.Time) (load, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken || r.failing || !r.machine.telemetry {
		return load{}, false
	}
	return load{now: now, cold: r.invokes == 1, ended: r.machine.clock.ended, billed: r.machine.billedSoFar(now)}, true
}

func (r *recorder) run(requestID string) run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.machine.runOf(requestID)
}

func (r *recorder) longestRun() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.machine.clock.longest
}

// release makes everything that is known be sent at once, whatever runs.
func (r *recorder) release(on bool) {
	r.do(func(time.Time) {
		r.released = on
		if on {
			r.machine.letGo()
		}
	})
}

// drained says whether nothing is left to be sent.
func (r *recorder) drained() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken || r.queue.spans == 0 && r.machine.forward.ready() == 0 && !r.flying
}

// inTrouble says whether the last attempt to send has failed.
func (r *recorder) inTrouble() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing
}
