package coldstartconnector

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// values has random ones and those at the boundaries of buckets, where an
// implementation goes wrong.
func values() []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	var vs []float64
	for range 2000 {
		vs = append(vs, math.Exp2(r.Float64()*36-19))
	}
	for k := -18; k < 20; k++ {
		exact := math.Ldexp(1, k)
		vs = append(vs, exact, math.Nextafter(exact, 0), math.Nextafter(exact, math.Inf(1)))
	}
	return append(vs, 0.001, 0.1, 1, 3, 900, 3600, 128<<20)
}

// Prometheus puts the same values into the same buckets: its bucket i+1 is
// OpenTelemetry's i.
func TestBucketsAreThoseOfPrometheus(t *testing.T) {
	for _, v := range values() {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{NativeHistogramBucketFactor: math.Exp2(1. / buckets)})
		h.Observe(v)
		var m dto.Metric
		if err := h.Write(&m); err != nil {
			t.Fatal(err)
		}
		if m.Histogram.GetSchema() != 5 {
			t.Fatalf("schema %d, want 5", m.Histogram.GetSchema())
		}
		if got, want := bucketIndex(v), int(m.Histogram.PositiveSpan[0].GetOffset())-1; got != want {
			t.Errorf("bucketIndex(%b) = %d, Prometheus says %d", v, got, want)
		}
	}
}

func TestBucketsAreThoseOfOpenTelemetry(t *testing.T) {
	reader := metric.NewManualReader(metric.WithAggregationSelector(func(metric.InstrumentKind) metric.Aggregation {
		return metric.AggregationBase2ExponentialHistogram{MaxScale: 5, MaxSize: 10_000, NoMinMax: true}
	}))
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	reference, err := provider.Meter("test").Float64Histogram("h")
	if err != nil {
		t.Fatal(err)
	}
	var h histogram
	for _, v := range values() {
		// At the boundaries within a power of two the SDK's logarithm may be
		// one off; those are not among the values.
		h.observe(v)
		reference.Record(context.Background(), v)
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	p := rm.ScopeMetrics[0].Metrics[0].Data.(metricdata.ExponentialHistogram[float64]).DataPoints[0]
	if p.Scale != 5 {
		t.Fatalf("scale %d, want 5", p.Scale)
	}
	offset, counts := h.dense()
	first := slices.IndexFunc(p.PositiveBucket.Counts, func(n uint64) bool { return n > 0 })
	want := p.PositiveBucket.Counts[first:]
	for len(want) > 0 && want[len(want)-1] == 0 {
		want = want[:len(want)-1]
	}
	if offset != p.PositiveBucket.Offset+int32(first) || !slices.Equal(counts, want) {
		t.Errorf("buckets differ from those of the SDK: offset %d, want %d", offset, p.PositiveBucket.Offset+int32(first))
	}
	if h.count != p.Count || math.Abs(h.sum-p.Sum) > 1e-6*p.Sum {
		t.Errorf("count %d, sum %v; want %d, %v", h.count, h.sum, p.Count, p.Sum)
	}
}

func TestHistogramRange(t *testing.T) {
	f := func(v float64, wantZero uint64, wantIndex int16) {
		t.Helper()
		var h histogram
		h.observe(v)
		if h.count != 1 || h.zero != wantZero || wantZero == 0 && h.indexes[0] != wantIndex {
			t.Errorf("observe(%v): %+v", v, h)
		}
	}
	f(0, 1, 0)
	f(-1, 1, 0)
	f(1, 0, -1)
	f(math.Nextafter(1, 2), 0, 0)
	f(1e-12, 0, minIndex)
	f(math.MaxFloat64, 0, maxIndex)
}

func TestHistogramMerge(t *testing.T) {
	var l lifecycle.Latency
	for _, d := range []time.Duration{0, 3 * time.Second, 2 * time.Second, 10 * time.Millisecond} {
		l.Observe(d)
	}
	var h histogram
	h.merge(l)
	h.merge(l)
	offset, counts := h.dense()
	if h.count != 8 || h.zero != 2 || math.Abs(h.sum-10.02) > 1e-9 {
		t.Errorf("count %d, zero %d, sum %v; want 8, 2, 10.02", h.count, h.zero, h.sum)
	}
	// 10 ms is in (2^-7, 2^-6], 2 s in (1, 2], 3 s in (2, 4].
	if offset != -7 || !slices.Equal(counts, []uint64{2, 0, 0, 0, 0, 0, 0, 2, 2}) {
		t.Errorf("buckets %d %v", offset, counts)
	}
}
