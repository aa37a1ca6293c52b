// Package replay lets the past happen again: it sends spans in the order of
// their time to a collector on a virtual clock, with a store of its own, and
// builds the report on that.
//
// The collector is the program thaw-collector, as in the demo, and not linked
// in: docs/adr/0006-import-drives-the-collector.md says why.
package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/collectorproc"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/version"
)

// retention is longer than CloudWatch keeps anything.
const retention = "175200h" // 20 years

// Collector is a collector that takes the time from what it is sent.
type Collector struct {
	process *collectorproc.Process
	// temporary is the folder to remove at the end.
	temporary   string
	batch       batch
	first, last time.Time
}

// Start starts a collector of the folder bin. Without a data folder it has a
// temporary one.
func Start(ctx context.Context, binary, dataDir string) (*Collector, error) {
	c := &Collector{batch: newBatch()}
	if dataDir == "" {
		dir, err := os.MkdirTemp("", "thaw-import-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary folder for the store: %w", err)
		}
		c.temporary, dataDir = dir, dir
	}
	process, err := collectorproc.Start(ctx, collectorproc.Config{
		Binary: binary, DataDir: dataDir,
		Env: []string{"THAW_VIRTUAL_CLOCK=true", "THAW_RETENTION=" + retention, "THAW_LOG_LEVEL=warn"},
	})
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	c.process = process
	return c, nil
}

// API is the base URL of the Prometheus API.
func (c *Collector) API() string { return c.process.API }

// Exited is closed when the collector has ended.
func (c *Collector) Exited() <-chan struct{} { return c.process.Exited() }

// Close stops the collector, and removes a temporary store.
func (c *Collector) Close() error { return errors.Join(c.process.Stop(), c.remove()) }

func (c *Collector) remove() error {
	if c.temporary == "" {
		return nil
	}
	return os.RemoveAll(c.temporary)
}

// Range is the time that what was sent spans.
func (c *Collector) Range() (start, end time.Time) { return c.first, c.last }

const (
	// batchSpans and batchTime bound a batch: the clock goes on by a batch.
	batchSpans = 2000
	batchTime  = 20 * time.Second
)

// batch is traces that are not sent yet.
type batch struct {
	traces ptrace.Traces
	spans  map[*lifecycle.Environment]ptrace.SpanSlice
	n      int
	begun  time.Time
}

func newBatch() batch {
	return batch{traces: ptrace.NewTraces(), spans: map[*lifecycle.Environment]ptrace.SpanSlice{}}
}

// Add sends what one encoder call writes, at a time that is not before that of
// the call before.
func (c *Collector) Add(ctx context.Context, env *lifecycle.Environment, at time.Time, encode func(*lifecycle.Encoder, ptrace.SpanSlice)) error {
	if err := c.room(ctx, at); err != nil {
		return err
	}
	e := &lifecycle.Encoder{Environment: env, ScopeVersion: version.String()}
	dst, ok := c.batch.spans[env]
	if !ok {
		dst = e.Scope(c.batch.traces)
		c.batch.spans[env] = dst
	}
	before := dst.Len()
	encode(e, dst)
	c.note(dst.Len()-before, spansBegin(dst, before), at)
	return nil
}

// AddSpan sends a span of others with its resource.
func (c *Collector) AddSpan(ctx context.Context, resource ptrace.ResourceSpans, scope ptrace.ScopeSpans, span ptrace.Span) error {
	at := span.EndTimestamp().AsTime()
	if err := c.room(ctx, at); err != nil {
		return err
	}
	rs := c.batch.traces.ResourceSpans().AppendEmpty()
	resource.Resource().CopyTo(rs.Resource())
	ss := rs.ScopeSpans().AppendEmpty()
	scope.Scope().CopyTo(ss.Scope())
	span.CopyTo(ss.Spans().AppendEmpty())
	c.note(1, span.StartTimestamp().AsTime(), at)
	return nil
}

// spansBegin is the earliest start of the spans from an index on.
func spansBegin(spans ptrace.SpanSlice, from int) time.Time {
	begin := time.Time{}
	for i := from; i < spans.Len(); i++ {
		if at := spans.At(i).StartTimestamp().AsTime(); begin.IsZero() || at.Before(begin) {
			begin = at
		}
	}
	return begin
}

func (c *Collector) room(ctx context.Context, at time.Time) error {
	if c.batch.n >= batchSpans || c.batch.n > 0 && at.Sub(c.batch.begun) > batchTime {
		return c.send(ctx)
	}
	return nil
}

func (c *Collector) note(n int, begin, at time.Time) {
	if c.batch.n == 0 {
		c.batch.begun = at
	}
	c.batch.n += n
	if c.first.IsZero() || begin.Before(c.first) {
		c.first = begin
	}
	if at.After(c.last) {
		c.last = at
	}
}

func (c *Collector) send(ctx context.Context) error {
	if c.batch.n == 0 {
		return nil
	}
	var m ptrace.ProtoMarshaler
	body, err := m.MarshalTraces(c.batch.traces)
	if err != nil {
		return fmt.Errorf("encode the spans: %w", err)
	}
	c.batch = newBatch()
	if err := collectorproc.Post(ctx, c.process.OTLP, body); err != nil {
		return fmt.Errorf("replay into the collector: %w\n%s", err, c.process.Log())
	}
	return nil
}

// Finish sends the rest and lets the collector settle everything.
func (c *Collector) Finish(ctx context.Context) error {
	if err := c.send(ctx); err != nil {
		return err
	}
	return c.process.Flush(ctx)
}
