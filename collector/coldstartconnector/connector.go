package coldstartconnector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// maxJournal is the size of the journal at which a snapshot is due.
const maxJournal = 64 << 20

// coldstart is the component around the state: clock, files, pipeline.
type coldstart struct {
	cfg  *Config
	name string
	log  *zap.Logger
	next consumer.Metrics

	// mu guards state and store: what is in the journal and what is counted
	// never differ while it is free.
	mu    sync.Mutex
	state *state
	store *store
	// journaled says that the journal is not empty, failing that the last
	// batch could not be written to it.
	journaled, failing bool

	// encoders keeps *encoder between batches.
	encoders sync.Pool

	// emitting serialises emissions: a later one must not overtake.
	emitting sync.Mutex
	// snapshotting serialises snapshots likewise.
	snapshotting sync.Mutex

	stop       context.CancelFunc
	done       chan struct{}
	unregister func()
	// snapshotDue wakes the loop when the journal has grown too long.
	snapshotDue chan struct{}
}

func newConnector(cfg *Config, name string, log *zap.Logger, next consumer.Metrics) *coldstart {
	return &coldstart{
		cfg: cfg, name: name, log: log, next: next,
		encoders:    sync.Pool{New: func() any { return newEncoder() }},
		snapshotDue: make(chan struct{}, 1),
	}
}

// Capabilities says that traces are only read.
func (c *coldstart) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// flushRegistry is an extension that wants to make connectors emit now.
type flushRegistry interface {
	// OnFlush registers flush, which returns when everything that was counted
	// before the call has been accepted by the next consumer. The returned
	// function takes it back.
	OnFlush(name string, flush func(context.Context) error) (remove func())
}

// Start restores the state and begins to emit.
func (c *coldstart) Start(_ context.Context, host component.Host) error {
	if err := c.restore(); err != nil {
		return err
	}
	for _, ext := range host.GetExtensions() {
		if r, ok := ext.(flushRegistry); ok {
			c.unregister = r.OnFlush(c.name, c.flush)
			break
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop, c.done = cancel, make(chan struct{})
	go c.run(ctx)
	return nil
}

func (c *coldstart) restore() (err error) {
	store, err := openStore(c.cfg.Directory, c.cfg.Fsync)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.close())
		}
	}()
	began := time.Now()
	st, rec, err := store.load(func() *state {
		return newState(c.cfg.limits(), newInstance(), c.startMs(began))
	})
	if err != nil {
		return fmt.Errorf("restore what has been counted: %w", err)
	}
	if rec.Snapshot && st.virtual != c.cfg.VirtualClock {
		return fmt.Errorf("%s holds %s: set another directory, or virtual_clock: %t", c.cfg.Directory, clockName(st.virtual), st.virtual)
	}
	st.virtual = c.cfg.VirtualClock
	for _, w := range rec.Warnings {
		c.log.Warn("Could not restore everything", zap.String("what", w))
	}
	c.log.Info("Restored what has been counted",
		zap.String("directory", c.cfg.Directory),
		zap.String("service.instance.id", st.instance),
		zap.Int("functions", len(st.functions)),
		zap.Int("batches_replayed", rec.Batches),
		zap.Duration("took", time.Since(began)))
	c.mu.Lock()
	c.state, c.store, c.journaled = st, store, true
	c.mu.Unlock()
	if err := c.snapshot(); err != nil {
		return fmt.Errorf("write to data directory: %w", err)
	}
	return nil
}

// newInstance returns a random UUID.
func newInstance() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ConsumeTraces counts td. When it returns nil, that is in the journal.
func (c *coldstart) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	b := batch{at: time.Now().Unix()}
	var bad error
	var latest time.Time
	for _, rs := range td.ResourceSpans().All() {
		lifecycle.Decode(rs, func(o lifecycle.Observation) {
			b.observations = append(b.observations, o)
			if o.Time.After(latest) {
				latest = o.Time
			}
		}, func(err error) {
			b.rejected++
			bad = err
		})
	}
	if len(b.observations) == 0 && b.rejected == 0 {
		return nil
	}
	if bad != nil {
		c.log.Debug("Rejected spans", zap.Int64("spans", b.rejected), zap.NamedError("last", bad))
	}
	if c.cfg.VirtualClock {
		if err := c.advance(ctx, &b, latest); err != nil {
			return err
		}
	}
	return c.journal(&b)
}

// journal encodes a batch, and counts it.
func (c *coldstart) journal(b *batch) error {
	e := c.encoders.Get().(*encoder)
	defer c.encoders.Put(e)
	return c.count(b, encodeRecordTo(e, b, codeBatch))
}

// flush settles and emits everything that has arrived.
func (c *coldstart) flush(ctx context.Context) error {
	if err := c.journal(&batch{at: c.now().Unix(), drain: true}); err != nil {
		return err
	}
	return c.emit(ctx)
}

// settleDue lets time go by for what waits for the watermark while nothing
// arrives.
func (c *coldstart) settleDue() {
	now := c.now()
	c.mu.Lock()
	due := c.state.settler.due(now.UnixMicro() - c.state.limits.watermark)
	c.mu.Unlock()
	if !due {
		return
	}
	if err := c.journal(&batch{at: now.Unix()}); err != nil {
		c.log.Warn("Could not settle what is due; it will be tried again", zap.Error(err))
	}
}

// count writes a batch to the journal and applies it.
func (c *coldstart) count(b *batch, record []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store == nil {
		return errors.New("the connector is not running")
	}
	err := c.store.append(record)
	c.noteJournal(err)
	if err != nil {
		// Not permanent: the sender is to try again.
		return fmt.Errorf("write to the journal: %w", err)
	}
	c.journaled = true
	c.state.apply(*b)
	if c.store.size > maxJournal {
		select {
		case c.snapshotDue <- struct{}{}:
		default:
		}
	}
	return nil
}

// noteJournal logs when the journal ceases to be writable, and when it is again.
func (c *coldstart) noteJournal(err error) {
	failing := err != nil
	if failing == c.failing {
		return
	}
	c.failing = failing
	if failing {
		c.log.Error("The journal cannot be written: senders are told to try again", zap.Error(err))
	} else {
		c.log.Info("The journal can be written again")
	}
}

// run emits and takes snapshots until ctx ends.
func (c *coldstart) run(ctx context.Context) {
	defer close(c.done)
	flush := time.NewTicker(c.cfg.FlushInterval)
	defer flush.Stop()
	snapshot := time.NewTicker(c.cfg.SnapshotInterval)
	defer snapshot.Stop()
	if c.cfg.VirtualClock {
		flush.Stop() // time goes by with what arrives
	} else {
		c.tryEmit(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			c.settleDue()
			c.tryEmit(ctx)
		case <-snapshot.C:
			c.trySnapshot()
		case <-c.snapshotDue:
			c.trySnapshot()
		}
	}
}

func (c *coldstart) tryEmit(ctx context.Context) {
	if err := c.emit(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("Metrics were refused and will be emitted again", zap.Error(err))
	}
}

func (c *coldstart) trySnapshot() {
	if err := c.snapshot(); err != nil {
		c.log.Error("Could not write a snapshot; the journal grows until it can be", zap.Error(err))
	}
}

// emit passes what changed to the next consumer.
func (c *coldstart) emit(ctx context.Context) error {
	return c.emitAt(ctx, c.now())
}

func (c *coldstart) emitAt(ctx context.Context, at time.Time) error {
	c.emitting.Lock()
	defer c.emitting.Unlock()
	c.mu.Lock()
	e := c.state.collect(at.UnixMilli())
	c.mu.Unlock()
	if len(e.touched) == 0 {
		return nil
	}
	err := c.next.ConsumeMetrics(ctx, e.metrics)
	if err != nil {
		c.mu.Lock()
		e.refused()
		c.mu.Unlock()
	}
	return err
}

// snapshot writes the state as a whole and begins a new segment of the
// journal. Only its encoding holds up the counting.
func (c *coldstart) snapshot() error {
	c.snapshotting.Lock()
	defer c.snapshotting.Unlock()
	n, record, err := c.cut()
	if err != nil || record == nil {
		return err
	}
	if err := c.store.snapshot(n, record); err != nil {
		c.mu.Lock()
		c.journaled = true
		c.mu.Unlock()
		return err
	}
	return nil
}

// cut begins a new segment and returns the state before it; nothing if that
// has not changed.
func (c *coldstart) cut() (segment int, record []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.journaled {
		return 0, nil, nil
	}
	if segment, err = c.store.rotate(); err != nil {
		return 0, nil, err
	}
	c.journaled = false
	return segment, encodeRecord(c.state, codeState), nil
}

// Shutdown emits what has not been, writes a snapshot and lets go of the data
// directory.
func (c *coldstart) Shutdown(ctx context.Context) error {
	if c.done == nil {
		return nil // never started
	}
	c.stop()
	<-c.done
	c.done = nil
	if c.unregister != nil {
		c.unregister()
	}
	err := errors.Join(c.emit(ctx), c.snapshot())
	c.mu.Lock()
	defer c.mu.Unlock()
	err = errors.Join(err, c.store.close())
	c.store = nil
	return err
}
