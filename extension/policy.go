package extension

import (
	"errors"
	"time"
)

// policy is when telemetry is sent.
type policy string

// Policies. With all of them what is ready also goes out while an invocation
// runs, and at the shutdown; they differ in whether the extension waits after
// the run, which is billed, until the invocation itself has been sent too.
const (
	flushNext     policy = "next"     // never
	flushEnd      policy = "end"      // after every invocation
	flushInterval policy = "interval" // after one invocation per interval
	flushAdaptive policy = "adaptive" // after cold starts and in sparse traffic, for less than 1 % of what is billed
)

const (
	// holdBudget is what waiting after the run may add to an invocation, and
	// holdMargin what is kept of the time until the function times out.
	holdBudget = 100 * time.Millisecond
	holdMargin = 100 * time.Millisecond
	// holdMin is the least that waiting is good for: the platform tells of the
	// end of the run up to 25 ms late, and an export takes some more.
	holdMin = bufferTime + 5*time.Millisecond
	// holdShare is the part of the billed time that "adaptive" may add: 0.8 %, so
	// that a wait which the machine makes longer still leaves it below 1 %.
	holdShare = 125
	// sparseGap is how long an environment idles before its traffic is sparse:
	// what waits for the next invocation is that late.
	sparseGap = 5 * time.Second
)

// load is what a policy decides by.
type load struct {
	now time.Time
	// cold is whether this is the first invocation since the init.
	cold bool
	// ended is when the last run ended, as far as that was told.
	ended time.Time
	// billed is what has been billed so far, as well as that is known.
	billed time.Duration
}

func (t load) sparse() bool { return !t.ended.IsZero() && t.now.Sub(t.ended) >= sparseGap }

// flusher decides how long to wait after a run.
type flusher struct {
	policy   policy
	interval time.Duration

	breaker breaker
	// added is what waiting has added to the billed time so far, held counts
	// the invocations that were held up for it.
	added time.Duration
	held  int64
	last  time.Time // the end of the last wait
	// gaveUp is when a wait was given up because the run was longer than any
	// before; zero if it was not.
	gaveUp time.Time
}

// budget returns how long to wait after the run of an invocation that has just
// arrived, 0 for not at all.
func (f *flusher) budget(t load) time.Duration {
	if !f.gaveUp.IsZero() && t.ended.Before(f.gaveUp) {
		f.waited(t.now, holdBudget, false) // the end of that run was never told
	}
	f.gaveUp = time.Time{}
	if !f.breaker.allows(t.now) {
		return 0
	}
	switch f.policy {
	case flushEnd:
		return holdBudget
	case flushInterval:
		if t.now.Sub(f.last) >= f.interval {
			return holdBudget
		}
	case flushAdaptive:
		if budget := min(t.billed/holdShare-f.added, holdBudget); budget >= holdMin && (t.cold || t.sparse()) {
			return budget
		}
	}
	return 0
}

// waited records that an invocation was prolonged, and whether that was of use.
func (f *flusher) waited(now time.Time, added time.Duration, ok bool) {
	f.added += max(added, 0)
	f.held++
	f.last = now
	if ok {
		f.breaker.hit()
	} else {
		f.breaker.miss(now)
	}
}

const (
	breakerMin = time.Minute
	breakerMax = 16 * time.Minute
)

// breaker keeps a backend that does not answer in time from costing every
// invocation its budget: it costs one, then none for a period, which doubles.
type breaker struct {
	period    time.Duration
	notBefore time.Time
}

func (b *breaker) allows(now time.Time) bool {
	// A clock that was set back must not keep it open for longer than a period.
	return !now.Before(b.notBefore) || b.notBefore.Sub(now) > b.period
}

func (b *breaker) hit() { *b = breaker{} }

func (b *breaker) miss(now time.Time) {
	b.period = min(max(2*b.period, breakerMin), breakerMax)
	b.notBefore = now.Add(b.period)
}

func setFlush(c *config, value string) error {
	switch p := policy(value); p {
	case flushNext, flushEnd, flushInterval, flushAdaptive:
		c.flush = p
		return nil
	}
	return errors.New("not adaptive, next, end or interval; adaptive is used")
}
