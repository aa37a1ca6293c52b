package report

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/stats"
)

// functionID identifies a function: names repeat across accounts and regions.
type functionID struct{ account, region, name string }

// groupID is what the totals of a function are kept by.
type groupID struct {
	version  string
	memoryMB string
	arch     string
	kind     string
}

type partID struct{ part, basis string }
type initID struct{ phase, demand, status string }

// group holds the totals over the range of one version at one memory size, or
// of several such groups added up.
type group struct {
	invocations    map[string]float64 // by thaw.start
	coldStarts     float64
	errors         map[string]float64 // by error.type
	timeouts       float64
	duration       map[string]stats.Histogram // by thaw.start, seconds
	init           map[string]stats.Histogram // by thaw.init.phase, seconds
	parts          map[partID]stats.Histogram
	memory         stats.Histogram // bytes
	billed         stats.Histogram
	overhead       stats.Histogram
	inits          map[initID]float64
	shutdowns      map[string]float64
	logLatency     map[string]stats.Histogram // by thaw.log.stage
	logLines       map[string]float64         // by thaw.log.frozen
	dropped        float64
	reportsMissing float64
	selfReady      stats.Histogram
	usage          usageTotals
	selfCPU        float64
	clusters       map[string]stats.Clusters // by thaw.quantity; N and S are not filled
	settled        settledFacts
	packages       map[packageID]stats.Histogram
	profiled       stats.Histogram
}

func newGroup() *group {
	return &group{
		invocations: map[string]float64{}, errors: map[string]float64{},
		duration: map[string]stats.Histogram{}, init: map[string]stats.Histogram{},
		parts: map[partID]stats.Histogram{}, inits: map[initID]float64{},
		shutdowns: map[string]float64{}, logLatency: map[string]stats.Histogram{},
		logLines: map[string]float64{}, clusters: map[string]stats.Clusters{},
		settled: newSettledFacts(),
	}
}

// facts is everything that the store knows of one function in the range.
type facts struct {
	id       functionID
	groups   map[groupID]*group
	runtimes map[string]bool
	aliases  map[string]bool
	// cpuUnenforced says that a local Lambda ran it without limiting its CPU:
	// its curve is drawn, and gives no finding.
	cpuUnenforced bool
	// times says when each size ran; nil of a function with one size.
	times *timeline
}

// put adds a total to the group that it belongs to.
type put func(g *group, label func(attribute string) string, s Sample)

// counters lists every metric that is summed, and where it goes.
func counters() map[string]put {
	type labels = func(string) string
	return settledCounters(map[string]put{
		metric.Invocations.Name: func(g *group, l labels, s Sample) { g.invocations[l(metric.LabelStart)] += s.Value },
		metric.ColdStarts.Name:  func(g *group, _ labels, s Sample) { g.coldStarts += s.Value },
		metric.Errors.Name:      func(g *group, l labels, s Sample) { g.errors[l(metric.LabelErrorType)] += s.Value },
		metric.Timeouts.Name:    func(g *group, _ labels, s Sample) { g.timeouts += s.Value },
		metric.InvokeDuration.Name: func(g *group, l labels, s Sample) {
			addTo(g.duration, l(metric.LabelStart), s)
		},
		metric.InitDuration.Name: func(g *group, l labels, s Sample) { addTo(g.init, l(metric.LabelPhase), s) },
		metric.InitPartDuration.Name: func(g *group, l labels, s Sample) {
			addTo(g.parts, partID{l(metric.LabelPart), l(metric.LabelBasis)}, s)
		},
		metric.MemUsage.Name:          func(g *group, _ labels, s Sample) { g.memory = plus(g.memory, s) },
		metric.BilledDuration.Name:    func(g *group, _ labels, s Sample) { g.billed = plus(g.billed, s) },
		metric.ExtensionOverhead.Name: func(g *group, _ labels, s Sample) { g.overhead = plus(g.overhead, s) },
		metric.Inits.Name: func(g *group, l labels, s Sample) {
			g.inits[initID{l(metric.LabelPhase), l(metric.LabelDemand), l(metric.LabelStatus)}] += s.Value
		},
		metric.Shutdowns.Name:       func(g *group, l labels, s Sample) { g.shutdowns[l(metric.LabelReason)] += s.Value },
		metric.LogLatency.Name:      func(g *group, l labels, s Sample) { addTo(g.logLatency, l(metric.LabelStage), s) },
		metric.LogLines.Name:        func(g *group, l labels, s Sample) { g.logLines[l(metric.LabelFrozen)] += s.Value },
		metric.PlatformDropped.Name: func(g *group, _ labels, s Sample) { g.dropped += s.Value },
		metric.ReportsMissing.Name:  func(g *group, _ labels, s Sample) { g.reportsMissing += s.Value },
		metric.SelfReady.Name:       func(g *group, _ labels, s Sample) { g.selfReady = plus(g.selfReady, s) },
		metric.InitPackageDuration.Name: func(g *group, l labels, s Sample) {
			addPackage(g, packageID{l(metric.LabelPackage), l(metric.LabelPackageVersion), l(metric.LabelPackageOrigin)}, s)
		},
		metric.InitProfiled.Name: func(g *group, _ labels, s Sample) { g.profiled = plus(g.profiled, s) },
		metric.SelfCPU.Name:      func(g *group, _ labels, s Sample) { g.selfCPU += s.Value },
		metric.Clusters.Name:     cluster(func(v float64) stats.Clusters { return stats.Clusters{K: v} }),
		metric.ClusterNN.Name:    cluster(func(v float64) stats.Clusters { return stats.Clusters{NN: v} }),
		metric.ClusterSS.Name:    cluster(func(v float64) stats.Clusters { return stats.Clusters{SS: v} }),
		metric.ClusterNS.Name:    cluster(func(v float64) stats.Clusters { return stats.Clusters{NS: v} }),
	})
}

func cluster(of func(float64) stats.Clusters) put {
	return func(g *group, l func(string) string, s Sample) {
		quantity := l(metric.LabelQuantity)
		g.clusters[quantity] = g.clusters[quantity].Add(of(s.Value))
	}
}

func addTo[K comparable](m map[K]stats.Histogram, key K, s Sample) { m[key] = plus(m[key], s) }

func plus(h stats.Histogram, s Sample) stats.Histogram {
	if s.Histogram == nil {
		return h
	}
	return h.Add(*s.Histogram)
}

// add adds the totals of o to g.
func (g *group) add(o *group) {
	sum(g.invocations, o.invocations)
	sum(g.errors, o.errors)
	sum(g.inits, o.inits)
	sum(g.shutdowns, o.shutdowns)
	sum(g.logLines, o.logLines)
	merge(g.duration, o.duration)
	merge(g.init, o.init)
	merge(g.parts, o.parts)
	merge(g.logLatency, o.logLatency)
	for quantity, c := range o.clusters {
		g.clusters[quantity] = g.clusters[quantity].Add(c)
	}
	g.settled.add(&o.settled)
	g.coldStarts += o.coldStarts
	g.timeouts += o.timeouts
	g.dropped += o.dropped
	g.reportsMissing += o.reportsMissing
	g.selfCPU += o.selfCPU
	g.memory = g.memory.Add(o.memory)
	g.billed = g.billed.Add(o.billed)
	g.overhead = g.overhead.Add(o.overhead)
	g.selfReady = g.selfReady.Add(o.selfReady)
	g.usage.add(o.usage)
	if g.packages == nil && o.packages != nil {
		g.packages = map[packageID]stats.Histogram{}
	}
	merge(g.packages, o.packages)
	g.profiled = g.profiled.Add(o.profiled)
}

func sum[K comparable](into, from map[K]float64) {
	for key, v := range from {
		into[key] += v
	}
}

func merge[K comparable](into, from map[K]stats.Histogram) {
	for key, h := range from {
		into[key] = into[key].Add(h)
	}
}

// total adds up the values of a map.
func total[K comparable](m map[K]float64) float64 {
	var out float64
	for _, v := range m {
		out += v
	}
	return out
}

// all merges the histograms of a map.
func all[K comparable](m map[K]stats.Histogram) stats.Histogram {
	var out stats.Histogram
	for _, h := range m {
		out = out.Add(h)
	}
	return out
}

// quantity returns the clusters of a quantity, completed with the count and
// the sum of its histogram.
func (g *group) quantity(name string, h stats.Histogram) stats.Clusters {
	c := g.clusters[name]
	c.N, c.S = h.Count, h.Sum
	return c
}

// collect asks for every metric, and returns the facts of each function.
func collect(ctx context.Context, source Source, w *window, names []string) (map[functionID]*facts, error) {
	definitions := map[string]metric.Definition{}
	for _, d := range metric.All() {
		definitions[d.Name] = d
	}
	puts := counters()
	maps.Copy(puts, usageCounters())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu  sync.Mutex
		out = map[functionID]*facts{}
		wg  sync.WaitGroup
		// A store answers a few queries at once gladly, and many at once badly.
		slots = make(chan struct{}, 4)
	)
	for name, put := range puts {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			totals, err := w.totals(ctx, source, selector(definitions[name], names))
			if err != nil {
				cancel(fmt.Errorf("%s: %w", name, err))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, s := range totals {
				place(out, s, put)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return out, describe(ctx, source, w, names, out)
}

// place adds one total to the facts of its function.
func place(out map[functionID]*facts, s Sample, put put) {
	label := func(attribute string) string { return s.Labels[metric.Label(attribute)] }
	id := functionID{label(metric.LabelAccount), label(metric.LabelRegion), label(metric.LabelName)}
	f := out[id]
	if f == nil {
		f = &facts{id: id, groups: map[groupID]*group{}, runtimes: map[string]bool{}, aliases: map[string]bool{}}
		out[id] = f
	}
	key := groupID{label(metric.LabelVersion), label(metric.LabelMemory), label(metric.LabelArch), label(metric.LabelKind)}
	g := f.groups[key]
	if g == nil {
		g = newGroup()
		f.groups[key] = g
	}
	put(g, label, s)
}

// describe adds what the info metric knows: runtimes and aliases.
func describe(ctx context.Context, source Source, w *window, names []string, out map[functionID]*facts) error {
	infos, err := w.at(ctx, source, selector(metric.FunctionInfo, names), w.end, w.to)
	if err != nil {
		return err
	}
	for _, s := range infos {
		label := func(attribute string) string { return s.Labels[metric.Label(attribute)] }
		f := out[functionID{label(metric.LabelAccount), label(metric.LabelRegion), label(metric.LabelName)}]
		if f == nil {
			continue
		}
		note(f.runtimes, label(metric.LabelRuntime))
		note(f.aliases, label(metric.LabelAlias))
		f.cpuUnenforced = f.cpuUnenforced || label(metric.LabelCPUEnforced) == "false"
	}
	return nil
}

func note(set map[string]bool, value string) {
	if value != "" {
		set[value] = true
	}
}

// selector returns the PromQL selector of a metric, of the named functions
// only if there are names.
func selector(d metric.Definition, names []string) string {
	if len(names) == 0 {
		return d.Prometheus()
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	return fmt.Sprintf("%s{%s=~%q}", d.Prometheus(), metric.Label(metric.LabelName), strings.Join(quoted, "|"))
}

// totals returns what came to each series within the window.
func (w *window) totals(ctx context.Context, source Source, query string) ([]Sample, error) {
	ends, err := w.at(ctx, source, query, w.end, w.to)
	if err != nil || len(ends) == 0 {
		return nil, err
	}
	starts, err := w.at(ctx, source, query, w.start, w.from)
	if err != nil {
		return nil, err
	}
	before := make(map[string]Sample, len(starts))
	for _, s := range starts {
		before[fingerprint(s.Labels)] = s
	}
	for i, s := range ends {
		ends[i] = subtract(s, before[fingerprint(s.Labels)])
	}
	return ends, nil
}

// subtract returns what came to a series since an earlier value of it. A
// counter that fell was reset, which ours are not unless somebody throws away
// a collector's data: what it has counted since is then all that is known.
func subtract(now, before Sample) Sample {
	switch {
	case now.Histogram == nil:
		if now.Value >= before.Value {
			now.Value -= before.Value
		}
	case before.Histogram != nil && now.Histogram.Count >= before.Histogram.Count:
		rest := now.Histogram.Sub(*before.Histogram)
		now.Histogram = &rest
	}
	return now
}

// at returns the values at a moment, and for the collectors that did not write
// then those at the moments given for them instead.
func (w *window) at(ctx context.Context, source Source, query string, moment time.Time, others map[string]time.Time) ([]Sample, error) {
	samples, err := source.Instant(ctx, query, moment)
	if err != nil {
		return nil, err
	}
	label := metric.Label(metric.LabelInstance)
	samples = slices.DeleteFunc(samples, func(s Sample) bool {
		_, other := others[s.Labels[label]]
		return other
	})
	for _, instance := range slices.Sorted(maps.Keys(others)) {
		more, err := source.Instant(ctx, restrict(query, label, instance), others[instance])
		if err != nil {
			return nil, err
		}
		samples = append(samples, more...)
	}
	return samples, nil
}

// restrict adds a matcher to a selector.
func restrict(query, label, value string) string {
	name, matchers, found := strings.Cut(query, "{")
	if !found {
		return fmt.Sprintf("%s{%s=%q}", name, label, value)
	}
	return fmt.Sprintf("%s{%s=%q,%s", name, label, value, matchers)
}

// fingerprint returns a string that two label sets share only if they are
// equal.
func fingerprint(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(name)
		b.WriteByte(0xff)
		b.WriteString(labels[name])
		b.WriteByte(0xff)
	}
	return b.String()
}
