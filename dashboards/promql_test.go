package dashboards

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// store is Prometheus's own, filled with the load command of its test language
// (promql/promqltest/README.md), one sample a minute.
type store struct {
	t       *testing.T
	storage *teststorage.TestStorage
	engine  *promql.Engine
}

func newStore(t *testing.T, lines ...string) store {
	t.Helper()
	return store{t, promqltest.LoadedStorage(t, "load 1m\n  "+strings.Join(lines, "\n  ")+"\n"),
		promqltest.NewTestEngine(t, false, 5*time.Minute, 50_000_000)}
}

// at answers an instant query at a minute after the epoch.
func (s store) at(minute int, expr string) promql.Vector {
	s.t.Helper()
	q, err := s.engine.NewInstantQuery(context.Background(), s.storage, nil, expr, time.Unix(0, 0).Add(time.Duration(minute)*time.Minute))
	if err != nil {
		s.t.Fatalf("%s: %v", expr, err)
	}
	res := q.Exec(context.Background())
	if warnings, _ := res.Warnings.AsStrings(expr, 5, 5); res.Err != nil || len(warnings) > 0 {
		s.t.Fatalf("%s: %v %v", expr, res.Err, warnings)
	}
	v, err := res.Vector()
	if err != nil {
		s.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// value is the answer to a query that has one.
func (s store) value(minute int, expr string) float64 {
	s.t.Helper()
	v := s.at(minute, expr)
	if len(v) != 1 {
		s.t.Fatalf("%s has %d answers", expr, len(v))
	}
	return v[0].F
}

// steps answers a query over time, at every step after from up to to.
func (s store) steps(from, to, step int, expr string) promql.Matrix {
	s.t.Helper()
	minute := func(m int) time.Time { return time.Unix(0, 0).Add(time.Duration(m) * time.Minute) }
	q, err := s.engine.NewRangeQuery(context.Background(), s.storage, nil, expr, minute(from+step), minute(to), time.Duration(step)*time.Minute)
	if err != nil {
		s.t.Fatalf("%s: %v", expr, err)
	}
	res := q.Exec(context.Background())
	if warnings, _ := res.Warnings.AsStrings(expr, 5, 5); res.Err != nil || len(warnings) > 0 {
		s.t.Fatalf("%s: %v %v", expr, res.Err, warnings)
	}
	m, err := res.Matrix()
	if err != nil {
		s.t.Fatalf("%s: %v", expr, err)
	}
	return m
}

// The counting rule, case by case: the range is the hour that ends at minute
// 120.
func TestTotal(t *testing.T) {
	f := func(want float64, series ...string) {
		t.Helper()
		s := newStore(t, series...)
		if got := s.value(120, Interpolate(total("", "x"), nil)); got != want {
			t.Errorf("total is %v, want %v", got, want)
		}
	}
	f(60, "x 0+1x120")
	// What a series begins with counts.
	f(8, "x _x100 8x20")
	// Nothing happened in the range.
	f(0, "x 100x120")
	// Two collectors, two versions.
	f(65, `x{v="1",service_instance_id="a"} 0+1x120`, `x{v="2",service_instance_id="b"} _x100 5x20`)
	// A collector that was taken out of service takes nothing from the others.
	f(60, `x{v="1"} 0+1x120`, `x{v="2"} 1000x80`)
	// Written only every 5 minutes, and a little late.
	// The first collector of all, and one that was there before.
	f(120, metric.Heartbeat.Prometheus()+" _x90 1x30", "x _x90 90+1x30")
	f(60, metric.Heartbeat.Prometheus()+" 1x120", "x 0+1x120")
	f(60, "x 60 _x5 60 _x46 60 _x5 60 _x51 120 _x5")
}

// Nothing is known of a range that starts in a gap.
func TestNoTotalInAGap(t *testing.T) {
	s := newStore(t, metric.Heartbeat.Prometheus()+" 1x40 _x39 1x40", "x 1000x40 _x39 1000+1x40")
	if got := s.at(120, Interpolate(total("", "x"), nil)); len(got) != 0 {
		t.Errorf("total is %v", got)
	}
}

func TestTotalOfHistograms(t *testing.T) {
	// Before the range 60 observations of at most 1 s, in it 60 of 2 to 4 s: the
	// quantiles are those of the range alone.
	slow := "{{schema:0 count:120 sum:240 buckets:[60 0 60]}}x60"
	s := newStore(t, "x {{schema:0 count:60 sum:60 buckets:[60]}}x60 "+slow, "y _x100 {{schema:0 count:4 sum:8 buckets:[4]}}x20")
	h := Interpolate(total("", "x"), nil)
	for expr, want := range map[string]float64{
		countOf(h): 60, sumOf(h): 180, mean(h): 3, largest(h): 4, quantile(0.5, h): 2 * math.Sqrt2,
		countOf(Interpolate(total("", "y"), nil)): 4,
	} {
		if got := s.value(120, expr); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s = %v, want %v", expr, got, want)
		}
	}
	if got := s.at(60, quantile(0.5, Interpolate(total("", "x"), map[string]string{"__range": "10m"}))); len(got) != 0 {
		t.Errorf("without observations the median is %v", got)
	}
}

// The bars of a chart add up to the total, and a gap in the store makes no bar.
func TestPerStep(t *testing.T) {
	f := func(want float64, series ...string) {
		t.Helper()
		s := newStore(t, series...)
		for _, step := range []int{1, 5, 30} {
			expr := Interpolate(perStep("", "x"), map[string]string{"__interval": fmt.Sprintf("%dm", step)})
			var got float64
			for _, series := range s.steps(60, 120, step, expr) {
				for _, p := range series.Floats {
					got += p.F
				}
			}
			if got != want {
				t.Errorf("bars of %d minutes add up to %v, want %v", step, got, want)
			}
		}
	}
	alive := metric.Heartbeat.Prometheus() + " 1x120"
	f(60, alive, "x 0+1x120")
	f(8, alive, "x _x100 8x20")
	f(8, metric.Heartbeat.Prometheus()+" _x100 1x20", "x _x100 8x20")
	f(68, alive, `x{v="1"} 0+1x120`, `x{v="2"} _x100 8x20`)
	f(60, alive, `x{v="1"} 0+1x120`, `x{v="2"} 1000x80`)
	// The collector was away from minute 30 to 89, and had counted 1000 before.
	f(30, metric.Heartbeat.Prometheus()+" 1x29 _x60 1x31", "x 1000x29 _x60 1000+1x30")
}

func TestCoverage(t *testing.T) {
	f := func(want float64, heartbeat string) {
		t.Helper()
		s := newStore(t, metric.Heartbeat.Prometheus()+" "+heartbeat)
		if got := s.value(120, Interpolate(coverage(), nil)); got != want {
			t.Errorf("coverage with %q is %v, want %v", heartbeat, got, want)
		}
	}
	f(2, "1x120")
	f(1, "_x90 1x30")
	f(0, "1x20 _x60 1x40")
}

// ledger is a store with every metric in it: two functions, one of them at two
// memory sizes and on two architectures. Each series grows by the same amount a
// minute, so that everything can be calculated by hand.
func ledger(t *testing.T) store {
	t.Helper()
	values := map[string][]string{
		metric.LabelStart:     {string(lifecycle.Cold), string(lifecycle.First), string(lifecycle.Warm)},
		metric.LabelErrorType: {"Runtime.ExitError", "Function.Error"},
		metric.LabelPhase:     {string(lifecycle.PhaseInit), string(lifecycle.PhaseInvoke)},
		metric.LabelDemand:    {string(lifecycle.OnPath), string(lifecycle.Uncertain), string(lifecycle.Proactive), string(lifecycle.Unused)},
		metric.LabelStatus:    {string(lifecycle.Success)},
		metric.LabelPart:      {string(lifecycle.PartExtensions), string(lifecycle.PartRuntimeFunction)},
		metric.LabelBasis:     {string(lifecycle.Derived)},
		metric.LabelStage:     {metric.StageArrival, metric.StageExport},
		metric.LabelFrozen:    {"true", "false"},
		metric.LabelReason:    {"spindown", "timeout"},
		metric.LabelQuantity:  {metric.QuantityWarmDuration, metric.QuantityBilled},
		metric.LabelRuntime:   {"nodejs:22.v1"},
		metric.LabelAlias:     {"live"},
		metric.LabelIdle:      {"true", "false"},

		metric.LabelCPUEnforced: {"false"},
		metric.LabelCause:       {"first", "scale-out"},
		metric.LabelIdleOutcome: {metric.IdleReused, metric.IdleReclaimed},

		metric.LabelPackage:        {"sharp", "(own code)"},
		metric.LabelPackageVersion: {"0.33.4"},
		metric.LabelPackageOrigin:  {"function"},
	}
	base := []string{
		set(metric.LabelName, "thumbnail", metric.LabelMemory, "512", metric.LabelArch, "amd64"),
		set(metric.LabelName, "thumbnail", metric.LabelMemory, "1024", metric.LabelArch, "arm64"),
		set(metric.LabelName, "catalog", metric.LabelMemory, "512", metric.LabelArch, "amd64"),
	}
	common := set(metric.LabelAccount, "123456789012", metric.LabelRegion, "us-east-1", metric.LabelVersion, "$LATEST", metric.LabelKind, "on-demand")
	var lines []string
	for _, d := range metric.All() {
		of := []string{set(metric.LabelInstance, "a")}
		if !d.PerCollector {
			for i := range base {
				of = append(of, base[i]+","+common)
			}
			of = of[1:]
		}
		for _, label := range d.Labels {
			if values[label] == nil {
				t.Fatalf("give the label %s values", label)
			}
			var longer []string
			for _, l := range of {
				for _, v := range values[label] {
					longer = append(longer, l+","+set(label, v))
				}
			}
			of = longer
		}
		for _, l := range of {
			samples := "0+5x120"
			switch {
			case d.Kind == metric.Gauge:
				samples = "1x120"
			case d.Kind == metric.Histogram && d.Unit == "By":
				// 200 to 256 MiB: 2^28 is bucket 28 of scale 0.
				samples = "{{schema:0 count:5 sum:1e9 offset:28 buckets:[5]}}+{{schema:0 count:5 sum:1e9 offset:28 buckets:[5]}}x120"
			case d.Kind == metric.Histogram:
				samples = "{{schema:0 count:5 sum:7.5 offset:1 buckets:[5]}}+{{schema:0 count:5 sum:7.5 offset:1 buckets:[5]}}x120"
			case d.Name == metric.BilledGBSeconds.Name && strings.Contains(l, `"1024"`):
				samples = "0+7.5x120"
			case d.Name == metric.BilledGBSeconds.Name:
				samples = "0+3.75x120"
			}
			lines = append(lines, d.Prometheus()+"{"+l+"} "+samples)
		}
	}
	return newStore(t, lines...)
}

func set(pairs ...string) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, matcher(pairs[i], "=", pairs[i+1]))
	}
	return strings.Join(out, ",")
}

var thumbnail = map[string]string{"account": "123456789012", "region": "us-east-1", "function": "thumbnail"}

// Every query of every panel has an answer when every metric is in the store,
// and no answer is NaN.
func TestEveryQueryHasAnAnswer(t *testing.T) {
	s := ledger(t)
	for _, d := range All() {
		for _, q := range d.Queries() {
			vars := map[string]string{}
			if d.UID == functionUID {
				vars = thumbnail
			}
			expr := Interpolate(q.Expr, vars)
			var n int
			if q.Instant {
				for _, sample := range s.at(120, expr) {
					if n++; sample.H == nil && math.IsNaN(sample.F) {
						t.Errorf("%s: %s is NaN", q.Dashboard, q.Panel)
					}
				}
			} else {
				for _, series := range s.steps(60, 120, 1, expr) {
					n += len(series.Floats) + len(series.Histograms)
				}
			}
			if n == 0 {
				t.Errorf("%s: %s has no answer: %s", q.Dashboard, q.Panel, expr)
			}
		}
	}
}

// What the panels say is what the ledger says.
func TestPanelsAgreeWithTheLedger(t *testing.T) {
	s := ledger(t)
	const minutes = 60
	f := func(d Dashboard, panel string, want float64) {
		t.Helper()
		i := slices.IndexFunc(d.Queries(), func(q Query) bool { return q.Panel == panel })
		if i < 0 {
			t.Fatalf("%s has no panel %s", d.UID, panel)
		}
		if got := s.value(120, Interpolate(d.Queries()[i].Expr, thumbnail)); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s: %s is %v, want %v", d.UID, panel, got, want)
		}
	}
	// thumbnail has two configurations, each 5 a minute for every start.
	invocations := 2.0 * 3 * 5 * minutes
	cost := 3.75*minutes*0.0000166667 + 7.5*minutes*0.0000133334 + invocations*0.20/1e6
	for _, d := range All() {
		f(d, "Invocations", invocations)
		f(d, "Cold starts", 2*5*minutes)
		f(d, "Cold start rate", 1.0/3)
		f(d, "Cost", cost)
		f(d, "Init share of billed time", 2)
		f(d, "Frozen share", 0.5)
		f(d, "CPU per environment", 0.5)
		f(d, "Overhead, share of billed time", 1)
	}
	f(fleet(), "Failure rate", 1)
	f(function(), "Invocations per init", 3.0/8)

	// Billed 1.5 s each: at 512 MB 0.75 GB-s on x86_64, at 1024 MB 1.5 on arm64.
	perMillion := map[string]float64{"512": 0.2 + 1e6*0.75*0.0000166667, "1024": 0.2 + 1e6*1.5*0.0000133334}
	size := map[string]float64{"512": 512 << 20, "1024": 1024 << 20}
	for _, v := range s.at(120, Interpolate(oneFunction.costPerMillion(by(metric.LabelMemory)), thumbnail)) {
		check(t, "cost per million", v.Metric, v.F, perMillion)
	}
	for _, v := range s.at(120, Interpolate(oneFunction.memorySize(total, by(metric.LabelMemory)), thumbnail)) {
		check(t, "memory size", v.Metric, v.F, size)
	}
}

func check(t *testing.T, what string, l labels.Labels, got float64, want map[string]float64) {
	t.Helper()
	memory := l.Get(metric.Label(metric.LabelMemory))
	if w := want[memory]; math.Abs(got-w) > 1e-9*w {
		t.Errorf("%s at %s MB is %v, want %v", what, memory, got, w)
	}
}

// The stack of the parts is as high as the mean init, also where a part is not
// in every init.
func TestPartsStackUpToTheMeanInit(t *testing.T) {
	s := newStore(t,
		metric.Heartbeat.Prometheus()+" 1x120",
		`faas_init_duration_seconds{a="1"} {{schema:0 count:4 sum:10 buckets:[4]}}+{{schema:0 count:4 sum:10 buckets:[4]}}x120`,
		`thaw_init_part_duration_seconds{thaw_init_part="extensions"} {{schema:0 count:4 sum:2 buckets:[4]}}+{{schema:0 count:4 sum:2 buckets:[4]}}x120`,
		`thaw_init_part_duration_seconds{thaw_init_part="restore"} {{schema:0 count:1 sum:8 buckets:[1]}}+{{schema:0 count:1 sum:8 buckets:[1]}}x120`)
	parts := map[string]float64{}
	vars := map[string]string{"account": "", "region": "", "function": ""}
	for _, q := range function().Queries() {
		if q.Panel == "Init by part, mean" {
			for _, series := range s.steps(119, 120, 1, Interpolate(q.Expr, vars)) {
				parts[series.Metric.Get("thaw_init_part")] = series.Floats[0].F
			}
		}
	}
	if len(parts) != 2 || parts["extensions"] != 0.5 || parts["restore"] != 2 {
		t.Errorf("parts are %v, want 0.5 and 2 of a mean of 2.5", parts)
	}
}
