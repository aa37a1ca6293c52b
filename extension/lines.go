package extension

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// maxArrivals bounds what is remembered of one invocation's log lines.
const maxArrivals = 64

// arrivals are log lines that came together.
type arrivals struct {
	at time.Time
	n  int64
}

// lineCounter sums up log lines.
type lineCounter struct {
	summary lifecycle.LogSummary
	// frozenFirst counts the lines that the first INVOKE of an environment
	// lies before: whether that ended a freeze shows later.
	frozenFirst int64
	// times is kept for the latency of the export.
	times []arrivals
}

func (c *lineCounter) add(at, written time.Time, size int64) {
	c.summary.Lines++
	c.summary.Bytes += size
	if written.IsZero() {
		written = at // nothing is known: count it as not late
	}
	c.summary.Arrival.Observe(at.Sub(written))
	c.arrived(arrivals{at, 1})
}

// arrived merges neighbours once there are many, to the later of their times:
// a latency that is told too small is better than one that never happened.
func (c *lineCounter) arrived(a arrivals) {
	if n := len(c.times); n > 0 && (c.times[n-1].at.Equal(a.at) || n >= maxArrivals) {
		c.times[n-1].at = a.at
		c.times[n-1].n += a.n
		return
	}
	c.times = append(c.times, a)
}

func (c *lineCounter) merge(o lineCounter) {
	c.summary.Lines += o.summary.Lines
	c.summary.Bytes += o.summary.Bytes
	c.summary.Frozen += o.summary.Frozen
	c.frozenFirst += o.frozenFirst
	c.summary.Arrival.Merge(o.summary.Arrival)
	for _, a := range o.times {
		c.arrived(a)
	}
}
