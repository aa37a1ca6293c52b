package extension

import (
	"context"
	"sync"
	"time"
)

// patienceTicks is into how many ticks a patience is cut.
const patienceTicks = 20

// withPatience is context.WithTimeout for a process that is frozen at times: a
// freeze, however long, counts for one tick. After a thaw a timeout of wall time
// would be over although the answer has long been there, and would break off
// what only has to be read.
func withPatience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	tick := max(d/patienceTicks, time.Millisecond)
	var (
		mu    sync.Mutex
		timer *time.Timer
		ticks = max(int(d/tick), 1)
	)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(tick, func() {
		mu.Lock()
		defer mu.Unlock()
		if ticks--; ticks > 0 && ctx.Err() == nil {
			timer.Reset(tick)
			return
		}
		cancel(context.DeadlineExceeded)
	})
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}
