package tsdbexporter

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/goleak"

	"github.com/thaw-lambda/thaw/collector/promapiextension"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

// bench is an exporter with its store.
type bench struct {
	t        *testing.T
	exporter exporter.Metrics
	api      http.Handler
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t}
	ctx := context.Background()
	ef := promapiextension.NewFactory(promapiextension.WithHandler(func(api promapiextension.API) http.Handler {
		b.api = api.Handler
		return http.NotFoundHandler()
	}))
	cfg := ef.CreateDefaultConfig().(*promapiextension.Config)
	cfg.Endpoint, cfg.Directory = "127.0.0.1:0", t.TempDir()
	ext, err := ef.Create(ctx, extensiontest.NewNopSettings(ef.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := ext.Start(ctx, componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ext.Shutdown(ctx) })
	f := NewFactory()
	if b.exporter, err = f.CreateMetrics(ctx, exportertest.NewNopSettings(f.Type()), f.CreateDefaultConfig()); err != nil {
		t.Fatal(err)
	}
	if err := b.exporter.Start(ctx, host{component.MustNewID("promapi"): ext}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.exporter.Shutdown(ctx) })
	return b
}

func (b *bench) query(promql string, at time.Time) float64 {
	b.t.Helper()
	w := httptest.NewRecorder()
	form := url.Values{"query": {promql}, "time": {fmt.Sprintf("%.3f", float64(at.UnixMilli())/1000)}}
	b.api.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/query?"+form.Encode(), nil))
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		b.t.Fatal(err)
	}
	if answer.Error != "" || len(answer.Data.Result) != 1 {
		b.t.Fatalf("%s: %s", promql, w.Body)
	}
	v, err := strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// counter makes metrics with one point for each name.
func counter(at time.Time, v int64, names ...string) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "thaw-collector")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("scope")
	for _, name := range names {
		m := sm.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit("{thing}")
		m.SetEmptySum().SetIsMonotonic(true)
		m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := m.Sum().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(at))
		p.SetIntValue(v)
		p.Attributes().PutStr("service.instance.id", "me")
	}
	return md
}

func TestNamesAndLabels(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	if err := b.exporter.ConsumeMetrics(context.Background(), counter(now, 5, "thaw.some.thing")); err != nil {
		t.Fatal(err)
	}
	if got := b.query(`thaw_some_thing_total{service_instance_id="me", otel_scope_name="", job="thaw-collector"}`, now); got != 5 {
		t.Errorf("value %v, want 5", got)
	}
	// Of everything that is stored, there is only this.
	if got := b.query(`count({__name__=~".+"})`, now); got != 1 {
		t.Errorf("%v series, want 1: target_info is not wanted", got)
	}
}

// What cannot be stored is an error, and does not keep the rest from being
// stored.
func TestOutOfOrder(t *testing.T) {
	b := newBench(t)
	ctx, now := context.Background(), time.Now()
	if err := b.exporter.ConsumeMetrics(ctx, counter(now, 5, "a", "b")); err != nil {
		t.Fatal(err)
	}
	early := counter(now.Add(-time.Second), 4, "a")
	counter(now.Add(time.Second), 6, "b", "c").ResourceMetrics().MoveAndAppendTo(early.ResourceMetrics())
	err := b.exporter.ConsumeMetrics(ctx, early)
	if err == nil || !strings.Contains(err.Error(), "1 of 3 samples") || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("out of order: %v", err)
	}
	later := now.Add(2 * time.Second)
	for name, want := range map[string]float64{"a_total": 5, "b_total": 6, "c_total": 6} {
		if got := b.query(name, later); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	// Another value at the same time.
	if err := b.exporter.ConsumeMetrics(ctx, counter(now.Add(time.Second), 7, "b")); err == nil {
		t.Error("a second value at one timestamp is accepted")
	}
}

func TestCancelled(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.exporter.ConsumeMetrics(ctx, counter(time.Now(), 1, "a")); err == nil {
		t.Error("a batch is accepted after the end of its context")
	}
}

// The difference of two cumulative histograms is the histogram of what lies
// between, and its quantiles are right within a bucket.
func TestHistograms(t *testing.T) {
	b := newBench(t)
	const scale, width = 5, 1.0219 // 2^(2^-5)
	r := rand.New(rand.NewPCG(7, 8))
	counts := map[int]uint64{}
	var all []float64
	sum := 0.0
	observe := func(n int) {
		for range n {
			v := math.Exp(r.NormFloat64()*1.5 - 2)
			all = append(all, v)
			sum += v
			counts[int(math.Ceil(math.Log2(v)*32))-1]++
		}
	}
	send := func(at time.Time) {
		t.Helper()
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("h")
		m.SetUnit("s")
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := m.ExponentialHistogram().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(at))
		p.SetScale(scale)
		p.SetCount(uint64(len(all)))
		p.SetSum(sum)
		first, last := math.MaxInt, math.MinInt
		for i := range counts {
			first, last = min(first, i), max(last, i)
		}
		p.Positive().SetOffset(int32(first))
		for i := first; i <= last; i++ {
			p.Positive().BucketCounts().Append(counts[i])
		}
		if err := b.exporter.ConsumeMetrics(context.Background(), md); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().Truncate(time.Second)
	observe(500)
	send(now)
	before := len(all)
	sumBefore := sum
	observe(2000)
	send(now.Add(time.Second))
	between := slices.Sorted(slices.Values(all[before:]))

	total := func(start, end time.Time) string {
		return fmt.Sprintf("((h_seconds @ %d - h_seconds @ %d) or h_seconds @ %d)", end.Unix(), start.Unix(), end.Unix())
	}
	end := now.Add(time.Second)
	near := func(promql string, want, factor float64) {
		t.Helper()
		if got := b.query(promql, end); got < want/factor || got > want*factor {
			t.Errorf("%s = %v, want %v", promql, got, want)
		}
	}
	near("histogram_count("+total(now, end)+")", 2000, 1)
	near("histogram_sum("+total(now, end)+")", sum-sumBefore, 1+1e-9)
	near("histogram_count("+total(now.Add(-time.Hour), end)+")", 2500, 1)
	for _, q := range []float64{0.05, 0.5, 0.95, 0.99} {
		want := between[int(q*float64(len(between)))]
		near(fmt.Sprintf("histogram_quantile(%v, %s)", q, total(now, end)), want, width)
	}
}

func TestStoreIsMissing(t *testing.T) {
	f := NewFactory()
	e, err := f.CreateMetrics(context.Background(), exportertest.NewNopSettings(f.Type()), f.CreateDefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background(), host{}); err == nil || !strings.Contains(err.Error(), "service::extensions") {
		t.Errorf("without the extension: %v", err)
	}
	if err := e.Start(context.Background(), host{component.MustNewID("promapi"): nil}); err == nil || !strings.Contains(err.Error(), "holds no store") {
		t.Errorf("with another extension: %v", err)
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
	for name, want := range map[string]string{"tsdb": "promapi", "tsdb/other": "promapi/other"} {
		sub, err := conf.Sub(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := createDefaultConfig().(*Config)
		if err := sub.Unmarshal(cfg); err != nil {
			t.Fatal(err)
		}
		if cfg.Store.String() != want || confmap.Validate(cfg) != nil {
			t.Errorf("%s: store %s, want %s", name, cfg.Store, want)
		}
	}
	if confmap.Validate(&Config{}) == nil {
		t.Error("no store is valid")
	}
}
