package coldstartconnector

import (
	"context"
	"time"
)

// An import replays what happened last month. On the clock of today that would
// be today's cold starts, and all at once; so the clock is that of the spans:
// it stands still until a later one comes, and what is emitted bears its time.

// virtualStep is how often is emitted on the virtual clock: often enough for
// every series to be found within the look-back of a query.
const virtualStep = time.Minute

// now is the time of the clock that the connector goes by.
func (c *coldstart) now() time.Time {
	if !c.cfg.VirtualClock {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(c.state.clock, 0)
}

// startMs is when counting begins: 0 is with the first batch.
func (c *coldstart) startMs(now time.Time) int64 {
	if c.cfg.VirtualClock {
		return 0
	}
	return now.UnixMilli()
}

// advance puts the virtual clock to the latest time in a batch, and emits what
// would have been on the way there.
func (c *coldstart) advance(ctx context.Context, b *batch, latest time.Time) error {
	c.mu.Lock()
	clock, emitted := c.state.clock, max(c.state.emittedMs, c.state.startMs)
	c.mu.Unlock()
	b.at = clock
	if !latest.IsZero() {
		b.at = max(b.at, latest.Unix())
	}
	if emitted == 0 {
		return nil
	}
	for at := time.UnixMilli(emitted).Truncate(virtualStep).Add(virtualStep); at.Unix() <= b.at; at = at.Add(virtualStep) {
		if err := c.emitAt(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

func clockName(virtual bool) string {
	if virtual {
		return "what an import has replayed"
	}
	return "what a collector has counted"
}
