package coldstartconnector

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resum corrects the checksum of a record that has been changed.
func resum(record []byte) []byte {
	binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(record[recordHeader:], castagnoli))
	return record
}

func testConfig(dir string) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = dir
	cfg.FlushInterval = time.Minute // tests flush by hand
	return cfg
}

// running is a connector under test.
type running struct {
	connector.Traces
	t    *testing.T
	sink *consumertest.MetricsSink
	host *flushHost
}

// flushHost has an extension that can flush, as promapi can.
type flushHost struct {
	mu    sync.Mutex
	flush func(context.Context) error
}

func (h *flushHost) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("flusher"): h}
}
func (h *flushHost) Start(context.Context, component.Host) error { return nil }
func (h *flushHost) Shutdown(context.Context) error              { return nil }
func (h *flushHost) OnFlush(_ string, flush func(context.Context) error) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flush = flush
	return func() { h.flush = nil }
}

func startConnector(t *testing.T, cfg *Config, next consumer.Metrics) *running {
	t.Helper()
	r := &running{t: t, sink: &consumertest.MetricsSink{}, host: &flushHost{}}
	if next == nil {
		next = r.sink
	}
	f := NewFactory()
	c, err := f.CreateTracesToMetrics(context.Background(), connectortest.NewNopSettings(f.Type()), cfg, next)
	if err != nil {
		t.Fatal(err)
	}
	r.Traces = c
	if err := c.Start(context.Background(), r.host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Shutdown(context.Background()) })
	return r
}

func (r *running) flush() {
	r.t.Helper()
	if err := r.host.flush(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) consume(l *life) {
	r.t.Helper()
	if err := r.ConsumeTraces(context.Background(), l.cut()); err != nil {
		r.t.Fatal(err)
	}
}

// last returns the last emitted value of a counter, summed over its series.
func last(sink *consumertest.MetricsSink, name string) int64 {
	byLabels := map[string]int64{}
	for _, md := range sink.AllMetrics() {
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Name() == name {
				for _, p := range m.Sum().DataPoints().All() {
					start := ""
					if v, ok := p.Attributes().Get("thaw.start"); ok {
						start = v.Str()
					}
					byLabels[start] = p.IntValue()
				}
			}
		}
	}
	var sum int64
	for _, n := range byLabels {
		sum += n
	}
	return sum
}

func TestConnectorLifecycle(t *testing.T) {
	r := startConnector(t, testConfig(t.TempDir()), nil)
	l := newLife(environment("f", "e"), noon)
	l.cold(time.Second, time.Second)
	l.warm(time.Second)
	r.consume(l)
	r.flush()
	if got := last(r.sink, "faas.invocations"); got != 2 {
		t.Errorf("%d invocations, want 2", got)
	}
	l.warm(time.Second)
	r.consume(l)
	if err := r.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := last(r.sink, "faas.invocations"); got != 3 {
		t.Errorf("%d invocations after the final emission, want 3", got)
	}
	if err := r.ConsumeTraces(context.Background(), l.cut()); err != nil {
		t.Errorf("nothing to count after the shutdown: %v", err)
	}
	l.warm(time.Second)
	if err := r.ConsumeTraces(context.Background(), l.cut()); err == nil {
		t.Error("a batch after the shutdown is acknowledged")
	}
}

func TestNeverStarted(t *testing.T) {
	f := NewFactory()
	c, err := f.CreateTracesToMetrics(context.Background(), connectortest.NewNopSettings(f.Type()), testConfig(t.TempDir()), consumertest.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestRestart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	l := newLife(environment("f", "e"), noon)
	total := int64(0)
	for range 3 {
		r := startConnector(t, cfg, nil)
		for range 5 {
			l.warm(time.Second)
			r.consume(l)
		}
		total += 5
		r.flush()
		if got := last(r.sink, "faas.invocations"); got != total {
			t.Errorf("%d invocations, want %d", got, total)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// When the journal cannot be written, the sender has to try again and nothing
// is counted.
func TestJournalFailure(t *testing.T) {
	r := startConnector(t, testConfig(t.TempDir()), nil)
	c := r.Traces.(*coldstart)
	c.mu.Lock()
	file := c.store.file
	readonly, err := os.Open(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	c.store.file = readonly
	c.mu.Unlock()
	l := newLife(environment("f", "e"), noon)
	l.warm(time.Second)
	td := l.cut()
	if err := c.ConsumeTraces(context.Background(), td); err == nil || consumererror.IsPermanent(err) {
		t.Errorf("without a journal: %v, want an error that is not permanent", err)
	}
	c.mu.Lock()
	c.store.file = file
	c.mu.Unlock()
	readonly.Close()
	if err := c.ConsumeTraces(context.Background(), td); err != nil {
		t.Fatal(err)
	}
	r.flush()
	if got, dup := last(r.sink, "faas.invocations"), last(r.sink, "thaw.collector.duplicates"); got != 1 || dup != 0 {
		t.Errorf("%d invocations, %d duplicates; want 1, 0", got, dup)
	}
}

// refusing refuses until it is told not to.
type refusing struct {
	consumertest.MetricsSink
	mu  sync.Mutex
	err error
}

func (r *refusing) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return r.MetricsSink.ConsumeMetrics(ctx, md)
}

func TestRefusedIsEmittedAgain(t *testing.T) {
	next := &refusing{err: errors.New("not now")}
	r := startConnector(t, testConfig(t.TempDir()), next)
	l := newLife(environment("f", "e"), noon)
	l.warm(time.Second)
	r.consume(l)
	if err := r.host.flush(context.Background()); !errors.Is(err, next.err) {
		t.Errorf("flush: %v", err)
	}
	next.mu.Lock()
	next.err = nil
	next.mu.Unlock()
	r.flush()
	if got := last(&next.MetricsSink, "faas.invocations"); got != 1 {
		t.Errorf("%d invocations, want 1", got)
	}
}

// Senders, flushes and snapshots at the same time: nothing is lost, timestamps
// increase.
func TestConcurrency(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.FlushInterval = 10 * time.Millisecond
	r := startConnector(t, cfg, nil)
	c := r.Traces.(*coldstart)
	var wg sync.WaitGroup
	for e := range 8 {
		wg.Go(func() {
			l := newLife(environment("f", string(rune('a'+e))), noon)
			for range 50 {
				l.warm(time.Second)
				if err := c.ConsumeTraces(context.Background(), l.cut()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			for range 5 {
				if err := errors.Join(c.snapshot(), c.emit(context.Background())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.flush()
	if got := last(r.sink, "faas.invocations"); got != 400 {
		t.Errorf("%d invocations, want 400", got)
	}
	before := int64(0)
	for _, md := range r.sink.AllMetrics() {
		m := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
		var ts int64
		switch m.Type() {
		case pmetric.MetricTypeGauge:
			ts = int64(m.Gauge().DataPoints().At(0).Timestamp())
		case pmetric.MetricTypeSum:
			ts = int64(m.Sum().DataPoints().At(0).Timestamp())
		default:
			continue
		}
		if ts <= before {
			t.Fatalf("timestamp %d after %d", ts, before)
		}
		before = ts
	}
}

// Passing on changes nothing and never fails.
func TestForward(t *testing.T) {
	f := NewFactory()
	var sink consumertest.TracesSink
	for err, next := range map[error]consumer.Traces{nil: &sink, errors.New("down"): consumertest.NewErr(errors.New("down"))} {
		c, createErr := f.CreateTracesToTraces(context.Background(), connectortest.NewNopSettings(f.Type()), createDefaultConfig(), next)
		if createErr != nil {
			t.Fatal(createErr)
		}
		if err := c.Start(context.Background(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		l := newLife(environment("f", "e"), noon)
		l.cold(time.Second, time.Second)
		td := l.cut()
		if got := c.ConsumeTraces(context.Background(), td); got != nil {
			t.Errorf("when the next says %v: %v", err, got)
		}
		if err == nil && (sink.SpanCount() != td.SpanCount() || td.SpanCount() < 4) {
			t.Errorf("%d of %d spans are passed on", sink.SpanCount(), td.SpanCount())
		}
		if err := c.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := componenttest.CheckConfigStruct(createDefaultConfig()); err != nil {
		t.Error(err)
	}
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) *Config {
		t.Helper()
		sub, err := conf.Sub(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := createDefaultConfig().(*Config)
		if err := sub.Unmarshal(cfg); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	minimal := createDefaultConfig().(*Config)
	minimal.Directory = "/var/lib/thaw/connector"
	full := &Config{
		Directory: "/data", FlushInterval: time.Second, SnapshotInterval: time.Minute, Fsync: true,
		SpanMemory: 2 * time.Hour, MaxSpans: 2000, MaxFunctions: 100, SeriesExpiry: 48 * time.Hour,
		Watermark: time.Hour, VirtualClock: true,
	}
	for name, want := range map[string]*Config{"coldstart": minimal, "coldstart/full": full} {
		got := load(name)
		if *got != *want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if err := confmap.Validate(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := func(what string, change func(*Config)) {
		t.Helper()
		cfg := load("coldstart")
		change(cfg)
		if confmap.Validate(cfg) == nil {
			t.Errorf("%s is valid", what)
		}
	}
	f("no directory", func(c *Config) { c.Directory = "" })
	f("no flush interval", func(c *Config) { c.FlushInterval = 0 })
	f("a flush interval that leaves gaps", func(c *Config) { c.FlushInterval = 10 * time.Minute })
	f("no snapshot interval", func(c *Config) { c.SnapshotInterval = 0 })
	f("a short memory", func(c *Config) { c.SpanMemory = time.Minute })
	f("no spans", func(c *Config) { c.MaxSpans = 0 })
	f("no functions", func(c *Config) { c.MaxFunctions = 0 })
	f("a short expiry", func(c *Config) { c.SeriesExpiry = time.Hour })
}

// One batch is what an extension sends: a few warm invocations with reports.
func BenchmarkConsumeTraces(b *testing.B) {
	cfg := testConfig(b.TempDir())
	f := NewFactory()
	c, err := f.CreateTracesToMetrics(context.Background(), connectortest.NewNopSettings(f.Type()), cfg, consumertest.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		b.Fatal(err)
	}
	defer c.Shutdown(context.Background())
	const spans, pool = 10, 10_000
	l := newLife(environment("f", "e"), noon)
	var batches []ptrace.Traces
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%pool == 0 {
			b.StopTimer()
			batches = batches[:0]
			for range min(pool, b.N-i) {
				for range spans {
					l.warm(time.Duration(l.n%200) * time.Millisecond)
				}
				batches = append(batches, l.cut())
			}
			b.StartTimer()
		}
		if err := c.ConsumeTraces(context.Background(), batches[i%pool]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/spans, "ns/span")
}
