package report

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/features"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/stats"
)

// store is a real Prometheus store behind Prometheus's own API.
type store struct {
	t   testing.TB
	db  *tsdb.DB
	url string
}

func newStore(t testing.TB) *store {
	t.Helper()
	options := tsdb.DefaultOptions()
	options.RetentionDuration = int64(400 * 24 * time.Hour / time.Millisecond)
	options.OutOfOrderTimeWindow = int64(40 * 24 * time.Hour / time.Millisecond)
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions()
	s := &store{t: t, db: db}
	server := httptest.NewServer(s.api())
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *store) api() http.Handler {
	log := slog.New(slog.DiscardHandler)
	queries := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: log, MaxSamples: 50e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60000 }, Parser: queries,
	})
	s.t.Cleanup(func() { engine.Close() })
	api := apiv1.NewAPI(engine, s.db, nil, nil, nil, nil, nil, nil,
		func() config.Config { return config.DefaultConfig }, map[string]string{}, apiv1.GlobalURLOptions{},
		func(h http.HandlerFunc) http.HandlerFunc { return h },
		nil, "", false, false, 0, log, nil, 0, 1, 0, false, nil, nil,
		&apiv1.PrometheusVersion{}, nil, nil, nil, nil, nil,
		false, nil, false, false, false, false, 5*time.Minute, false, false, nil,
		features.NewRegistry(), apiv1.OpenAPIOptions{}, queries)
	router := route.New()
	api.Register(router.WithPrefix("/api/v1"))
	return router
}

// write writes, as a collector does, everything that sim has counted so
// far, and the heartbeat.
func (s *store) write(instance string, at time.Time, sims ...*simulated) {
	s.t.Helper()
	s.append(at, metric.Heartbeat.Prometheus(), map[string]string{metric.LabelInstance: instance}, Sample{Value: 1})
	for _, sim := range sims {
		for _, series := range sim.series() {
			series.labels[metric.LabelInstance] = instance
			s.append(at, series.name, series.labels, series.Sample)
		}
	}
}

func (s *store) append(at time.Time, name string, attributes map[string]string, value Sample) {
	s.t.Helper()
	pairs := []string{"__name__", name}
	for attribute, v := range attributes {
		pairs = append(pairs, metric.Label(attribute), v)
	}
	app := s.db.Appender(s.t.Context())
	var err error
	if value.Histogram != nil {
		_, err = app.AppendHistogram(0, labels.FromStrings(pairs...), at.UnixMilli(), nil, native(*value.Histogram))
	} else {
		_, err = app.Append(0, labels.FromStrings(pairs...), at.UnixMilli(), value.Value)
	}
	if err == nil {
		err = app.Commit()
	}
	if err != nil {
		s.t.Fatalf("%s %v: %v", name, attributes, err)
	}
}

// native turns a histogram into Prometheus's own.
func native(h stats.Histogram) *histogram.FloatHistogram {
	out := &histogram.FloatHistogram{Schema: int32(h.Scale), Count: h.Count, Sum: h.Sum, ZeroCount: h.Zero, ZeroThreshold: 1e-12}
	next := 0
	for i, index := range slices.Sorted(maps.Keys(h.Buckets)) {
		if i == 0 || index != next {
			offset := index
			if i > 0 {
				offset = index - next
			}
			out.PositiveSpans = append(out.PositiveSpans, histogram.Span{Offset: int32(offset)})
		}
		out.PositiveSpans[len(out.PositiveSpans)-1].Length++
		out.PositiveBuckets = append(out.PositiveBuckets, h.Buckets[index])
		next = index + 1
	}
	return out
}

// simulated is one version of a function at one memory size, whose counters
// grow as it is told what happened: the truth that reports are held against.
type simulated struct {
	// cpuUnenforced is as of a local Lambda that cannot limit the CPU.
	cpuUnenforced                              bool
	account, region, name, version, arch, kind string
	memoryMB                                   int64
	*group
	open map[string]map[string]stats.Clusters // quantity to environment-hour
	made int                                  // environments so far
}

func simulate(name, version string, memoryMB int64) *simulated {
	return &simulated{account: "123456789012", region: "us-east-1", name: name, version: version, arch: "amd64",
		kind: "on-demand", memoryMB: memoryMB, group: newGroup(), open: map[string]map[string]stats.Clusters{}}
}

// call is one invocation, in seconds.
type call struct {
	start            string
	environment      string
	duration, billed float64
	init             float64
	memoryMB         float64
	status           string
	lines            int
	latency          float64
	frozen           bool
}

func (s *simulated) invoke(c call) {
	s.invocations[c.start]++
	observe(s.duration, c.start, c.duration, 5)
	if c.start == "cold" {
		s.coldStarts++
	}
	if c.init > 0 {
		s.initDone(c.init, "on-path")
	}
	switch c.status {
	case "timeout":
		s.timeouts++
	case "":
	default:
		s.errors[c.status]++
	}
	s.group.memory.Scale, s.group.billed.Scale, s.overhead.Scale = 5, 5, 5
	s.group.memory.Observe(c.memoryMB*bytesPerMB, 1)
	s.group.billed.Observe(c.billed, 1)
	s.overhead.Observe(0.0004, 1)
	s.cluster(metric.QuantityBilled, c.environment, c.billed)
	if c.start == "warm" {
		s.cluster(metric.QuantityWarmDuration, c.environment, c.duration)
	}
	if c.lines > 0 {
		s.logLines[fmt.Sprint(c.frozen)] += float64(c.lines)
		h := s.logLatency[metric.StageArrival]
		h.Observe(c.latency, float64(c.lines))
		s.logLatency[metric.StageArrival] = h
		h = s.logLatency[metric.StageExport]
		h.Observe(c.latency/4, float64(c.lines))
		s.logLatency[metric.StageExport] = h
	}
}

func (s *simulated) initDone(seconds float64, demand string) {
	observe(s.init, "init", seconds, 5)
	observe(s.parts, partID{"extensions", "derived"}, 0.1*seconds, 5)
	observe(s.parts, partID{"runtime+function", "derived"}, 0.9*seconds, 5)
	s.inits[initID{"init", demand, "success"}]++
	s.selfReady.Scale = 5
	s.selfReady.Observe(0.006, 1)
	s.selfCPU += 0.005
}

func observe[K comparable](m map[K]stats.Histogram, key K, v float64, scale int) {
	h := m[key]
	h.Scale = scale
	h.Observe(v, 1)
	m[key] = h
}

func (s *simulated) cluster(quantity, environment string, v float64) {
	if s.open[quantity] == nil {
		s.open[quantity] = map[string]stats.Clusters{}
	}
	c := s.open[quantity][environment]
	c.N, c.S = c.N+1, c.S+v
	s.open[quantity][environment] = c
}

type labelled struct {
	name   string
	labels map[string]string
	Sample
}

// series returns what a collector would write.
func (s *simulated) series() []labelled {
	var out []labelled
	add := func(d metric.Definition, v Sample, extra ...string) {
		l := map[string]string{
			metric.LabelAccount: s.account, metric.LabelRegion: s.region, metric.LabelName: s.name, metric.LabelVersion: s.version,
			metric.LabelMemory: fmt.Sprint(s.memoryMB), metric.LabelArch: s.arch, metric.LabelKind: s.kind,
		}
		for i := 0; i < len(extra); i += 2 {
			l[extra[i]] = extra[i+1]
		}
		out = append(out, labelled{d.Prometheus(), l, v})
	}
	num := func(v float64) Sample { return Sample{Value: v} }
	hist := func(h stats.Histogram) Sample { h = h.Clone(); return Sample{Histogram: &h} }
	for k, v := range s.invocations {
		add(metric.Invocations, num(v), metric.LabelStart, k)
	}
	if s.coldStarts > 0 {
		add(metric.ColdStarts, num(s.coldStarts))
	}
	for k, v := range s.errors {
		add(metric.Errors, num(v), metric.LabelErrorType, k)
	}
	if s.timeouts > 0 {
		add(metric.Timeouts, num(s.timeouts))
	}
	for k, h := range s.duration {
		add(metric.InvokeDuration, hist(h), metric.LabelStart, k)
	}
	for k, h := range s.init {
		add(metric.InitDuration, hist(h), metric.LabelPhase, k)
	}
	for k, h := range s.parts {
		add(metric.InitPartDuration, hist(h), metric.LabelPart, k.part, metric.LabelBasis, k.basis)
	}
	for k, v := range s.inits {
		add(metric.Inits, num(v), metric.LabelPhase, k.phase, metric.LabelDemand, k.demand, metric.LabelStatus, k.status)
	}
	for k, v := range s.shutdowns {
		add(metric.Shutdowns, num(v), metric.LabelReason, k)
	}
	for k, h := range s.logLatency {
		add(metric.LogLatency, hist(h), metric.LabelStage, k)
	}
	for k, v := range s.logLines {
		add(metric.LogLines, num(v), metric.LabelFrozen, k)
	}
	for k, h := range s.usage.cpu {
		add(metric.CPUUsage, hist(h), metric.LabelIdle, k)
	}
	if s.usage.fullSpeed.Count > 0 {
		add(metric.FullSpeedDuration, hist(s.usage.fullSpeed))
	}
	if s.usage.implausible > 0 {
		add(metric.ImplausibleCPU, num(s.usage.implausible))
	}
	for quantity, clusters := range s.open {
		var k, nn, ss, ns float64
		for _, environment := range slices.Sorted(maps.Keys(clusters)) {
			c := clusters[environment]
			k, nn, ss, ns = k+1, nn+c.N*c.N, ss+c.S*c.S, ns+c.N*c.S
		}
		add(metric.Clusters, num(k), metric.LabelQuantity, quantity)
		add(metric.ClusterNN, num(nn), metric.LabelQuantity, quantity)
		add(metric.ClusterSS, num(ss), metric.LabelQuantity, quantity)
		add(metric.ClusterNS, num(ns), metric.LabelQuantity, quantity)
	}
	s.settledSeries(func(d metric.Definition, v Sample, extra ...string) { add(d, v, extra...) })
	add(metric.MemUsage, hist(s.group.memory))
	add(metric.BilledDuration, hist(s.group.billed))
	add(metric.ExtensionOverhead, hist(s.overhead))
	add(metric.SelfReady, hist(s.selfReady))
	add(metric.SelfCPU, num(s.selfCPU))
	info := []string{metric.LabelRuntime, "nodejs:22.v38", metric.LabelAlias, "live"}
	if s.cpuUnenforced {
		info = append(info, metric.LabelCPUEnforced, "false")
	}
	add(metric.FunctionInfo, num(1), info...)
	return out
}
