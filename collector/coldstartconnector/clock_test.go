package coldstartconnector

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// What happened long ago is counted as if it were happening: every series is
// emitted often enough to be found, at times that the spans say, over a restart
// too.
func TestVirtualClock(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.VirtualClock = true
	begin := noon.Add(-48 * time.Hour)
	r := startConnector(t, cfg, nil)
	sink := r.sink
	for hour := range 6 {
		l := newLife(environment("thumbnail", "e"), begin.Add(time.Duration(hour)*time.Hour))
		l.n = hour * 10 // other requests
		l.warm(time.Second)
		r.consume(l)
		if hour == 3 {
			r.flush()
			if err := r.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			r = startConnector(t, cfg, sink)
		}
	}
	r.flush()
	times := emittedAt(sink, "faas.invocations")
	if n := len(times); n < 5*60/5 {
		t.Fatalf("it was emitted %d times in five hours", n)
	}
	for i, at := range times {
		if at.Before(begin) || at.After(begin.Add(5*time.Hour+time.Minute)) {
			t.Errorf("emitted at %v, before or after everything", at)
		}
		if i > 0 && (at.Sub(times[i-1]) > 5*time.Minute || !at.After(times[i-1])) {
			t.Errorf("emitted at %v and then at %v", times[i-1], at)
		}
	}
	if n := last(sink, "faas.invocations"); n != 6 {
		t.Errorf("%d invocations, want 6", n)
	}
}

func emittedAt(sink *consumertest.MetricsSink, name string) []time.Time {
	var out []time.Time
	for _, md := range sink.AllMetrics() {
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Name() == name && m.Type() == pmetric.MetricTypeSum {
				out = append(out, m.Sum().DataPoints().At(0).Timestamp().AsTime())
			}
		}
	}
	return out
}

// A directory is for one kind of clock: last month's logs do not become today's
// cold starts.
func TestClocksDoNotMix(t *testing.T) {
	cfg := testConfig(t.TempDir())
	r := startConnector(t, cfg, nil)
	if err := r.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	cfg.VirtualClock = true
	f := NewFactory()
	c, err := f.CreateTracesToMetrics(context.Background(), connectortest.NewNopSettings(f.Type()), cfg, new(consumertest.MetricsSink))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background(), componenttest.NewNopHost()); err == nil || !strings.Contains(err.Error(), "what a collector has counted") {
		t.Errorf("started with %v", err)
	}
}
