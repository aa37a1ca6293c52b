package coldstartconnector

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
)

// forward passes traces on as they are. What the next pipeline refuses is
// logged and counted, and not the sender's concern: an acknowledgement means
// that the batch is counted, and a backend for traces that is down must not
// make functions wait, send again and pay for it.
type forward struct {
	log  *zap.Logger
	next consumer.Traces
	// dropped spans since the last line in the log, which was at lastLog.
	dropped, lastLog atomic.Int64
}

// forwardLogInterval bounds what a dead backend writes into the log.
const forwardLogInterval = time.Minute

// Start implements component.Component.
func (f *forward) Start(context.Context, component.Host) error { return nil }

// Shutdown implements component.Component.
func (f *forward) Shutdown(context.Context) error {
	if n := f.dropped.Swap(0); n > 0 {
		f.warn(n, nil)
	}
	return nil
}

// Capabilities says that traces are only read.
func (f *forward) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// ConsumeTraces never fails.
func (f *forward) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	err := f.next.ConsumeTraces(ctx, td)
	if err == nil {
		return nil
	}
	f.dropped.Add(int64(td.SpanCount()))
	now, last := time.Now().UnixNano(), f.lastLog.Load()
	if now-last >= int64(forwardLogInterval) && f.lastLog.CompareAndSwap(last, now) {
		f.warn(f.dropped.Swap(0), err)
	}
	return nil
}

func (f *forward) warn(n int64, err error) {
	f.log.Warn("Spans were counted, but could not be passed on", zap.Int64("spans", n), zap.Error(err))
}
