package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/internal/version"
	"github.com/thaw-lambda/thaw/report/stats"
)

// Options are what a report can be asked for. The zero value is the last 24
// hours of all functions.
type Options struct {
	// Start and End are the range. A zero End is now; a zero Start is Since
	// before End.
	Start, End time.Time
	// Since is the length of the range when Start is zero; zero is 24 hours.
	Since time.Duration
	// Functions are the names to report; none is all.
	Functions []string
	// PriceRegion prices functions of regions that have no price, such as those
	// of a local Lambda. Empty: they have no cost.
	PriceRegion string
	// P95Limit asks for the cheapest size whose 95th percentile keeps it; zero
	// does not.
	P95Limit time.Duration
	// Prices is the price list; nil is the embedded one.
	Prices *pricing.Table
	// Account is what AWS says of the functions; nil where nobody asked. It
	// counts for functions of its account and region.
	Account *account.Account
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

func (o *Options) setDefaults() error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Since == 0 {
		o.Since = 24 * time.Hour
	}
	if o.End.IsZero() {
		o.End = o.Now()
	}
	if o.Start.IsZero() {
		o.Start = o.End.Add(-o.Since)
	}
	if o.Prices == nil {
		prices, err := pricing.Load()
		if err != nil {
			return err
		}
		o.Prices = prices
	}
	// The API counts in milliseconds.
	o.Start, o.End = o.Start.UTC().Truncate(time.Millisecond), o.End.UTC().Truncate(time.Millisecond)
	if !o.Start.Before(o.End) {
		return errors.New("the range is empty: its start is not before its end")
	}
	return nil
}

// Build asks the source and returns the report.
func Build(ctx context.Context, source Source, o Options) (*Report, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	w, err := newWindow(ctx, source, o.Start, o.End)
	if err != nil {
		return nil, err
	}
	all, err := collect(ctx, source, w, o.Functions)
	if err != nil {
		return nil, err
	}
	if err := timelines(ctx, source, &o, all); err != nil {
		return nil, err
	}
	r := &Report{
		SchemaVersion: SchemaVersion,
		GeneratedAt:   o.Now().UTC().Truncate(time.Second),
		ThawVersion:   version.String(),
		Range:         Range{o.Start, o.End, o.End.Sub(o.Start).Seconds()},
		Pricing: PricingInfo{Currency: "USD", Date: o.Prices.Date,
			Note: "On-demand list prices, by the tier that the account's volume reaches in a month, without free tier and savings plans; " + priceNote(o.PriceRegion)},
		Functions: []*Function{}, Findings: []Finding{}, Gaps: []Gap{},
	}
	if c, ok := source.(*Client); ok {
		r.Source = c.Redacted()
	}
	r.Gaps = append(r.Gaps, w.gaps...)
	volumes := monthlyVolumes(all, o.End.Sub(o.Start))
	for _, f := range all {
		if built := (&builder{f, volumes, &o}).function(); built != nil {
			r.Functions = append(r.Functions, built)
		}
	}
	slices.SortFunc(r.Functions, func(a, b *Function) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region))
	})
	if r.Collector, err = collectorTotals(ctx, source, w); err != nil {
		return nil, err
	}
	r.addAccount(o.Account)
	discount(r.Functions)
	if err := profiles(ctx, source, r, o.Functions); err != nil {
		return nil, err
	}
	for _, f := range r.Functions {
		predictCurve(f)
		f.Recommendation = recommend(f)
		viewCurve(f).predicted(f, &o)
		r.Findings = append(r.Findings, findings(f)...)
		r.Findings = append(r.Findings, packageFindings(f)...)
		f.Insufficient = insufficient(f)
	}
	rank(r.Findings)
	return r, nil
}

func priceNote(region string) string {
	if region == "" {
		return "a region without a known price has no cost."
	}
	return "a region without a known price is priced as " + region + "."
}

func collectorTotals(ctx context.Context, source Source, w *window) (CollectorTotals, error) {
	var out CollectorTotals
	for _, c := range []struct {
		metric metric.Definition
		into   *int64
	}{{metric.Duplicates, &out.Duplicates}, {metric.Rejected, &out.Rejected}} {
		totals, err := w.totals(ctx, source, c.metric.Prometheus())
		if err != nil {
			return out, err
		}
		for _, s := range totals {
			*c.into += count(s.Value)
		}
	}
	return out, nil
}

// builder makes the report of one function from its facts.
type builder struct {
	*facts
	volumes map[volumeID]float64
	options *Options
}

// function returns nil for a function that did nothing in the range: its
// counters exist, and did not move.
func (b *builder) function() *Function {
	all := newGroup()
	for _, id := range b.ids() {
		all.add(b.groups[id])
	}
	if total(all.invocations) == 0 && total(all.inits) == 0 {
		return nil
	}
	f := &Function{
		Name: b.id.name, Account: b.id.account, Region: b.id.region,
		Aliases: keys(b.aliases), Runtimes: keys(b.runtimes),
	}
	b.dimensions(f)
	counts(f, all)
	inits(f, all)
	settled(f, &all.settled)
	f.DurationMS = durations(all)
	f.FirstInvokePenalty = b.penalty()
	f.MemoryUsed = memoryUsed(all.memory, all.warmEffect())
	f.LogLatencyMS = quantiles(all.logLatency[metric.StageArrival], all.lineEffect())
	f.LogExportMS = quantiles(all.logLatency[metric.StageExport], all.lineEffect())
	f.Logs = logs(all)
	f.ReportsMissing = count(all.reportsMissing)
	f.Overhead = Overhead{
		ReadyMS:         quantiles(all.selfReady, 1),
		CPUSeconds:      rounded(all.selfCPU),
		AllExtensionsMS: quantiles(all.overhead, all.warmEffect()),
	}
	packages(f, all)
	b.curve(f)
	b.cost(f)
	f.months = b.options.End.Sub(b.options.Start).Hours() / hoursPerMonth
	b.provisioned(f)
	f.storagePrice = b.storagePrice()
	return f
}

// ids returns the groups in a stable order, so that sums of floats are the
// same every time.
func (b *builder) ids() []groupID {
	return slices.SortedFunc(maps.Keys(b.groups), func(x, y groupID) int {
		return cmp.Or(cmp.Compare(number64(x.memoryMB), number64(y.memoryMB)), cmp.Compare(x.arch, y.arch),
			compareVersions(x.version, y.version), cmp.Compare(x.kind, y.kind))
	})
}

func (b *builder) dimensions(f *Function) {
	versions, archs, kinds, sizes := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[int64]bool{}
	for id, g := range b.groups {
		if total(g.invocations) == 0 && total(g.inits) == 0 {
			continue
		}
		note(versions, id.version)
		note(archs, id.arch)
		note(kinds, id.kind)
		sizes[number64(id.memoryMB)] = true
	}
	f.Versions = slices.SortedFunc(maps.Keys(versions), compareVersions)
	f.Architectures, f.Kinds = keys(archs), keys(kinds)
	f.MemorySizesMB = slices.Sorted(maps.Keys(sizes))
}

func counts(f *Function, g *group) {
	n := total(g.invocations)
	f.Invocations = count(n)
	f.ColdStarts = count(g.coldStarts)
	f.FirstStarts = count(g.invocations[string(lifecycle.First)])
	f.Errors = count(total(g.errors))
	f.Timeouts = count(g.timeouts)
	f.ErrorTypes = tally(g.errors)
	f.ColdStartRate = rate(g.coldStarts, n)
	f.ErrorRate = rate(total(g.errors), n)
	f.TimeoutRate = rate(g.timeouts, n)
	f.Shutdowns = tally(g.shutdowns)
}

func inits(f *Function, g *group) {
	f.InitMS = quantiles(g.init[string(lifecycle.PhaseInit)], 1)
	demands := map[string]float64{}
	for id, n := range g.inits {
		demands[id.demand] += n
		if id.phase == string(lifecycle.PhaseInvoke) {
			f.SuppressedInits += count(n)
		}
	}
	f.Inits = tally(demands)
	f.InitParts = initParts(g)
}

// initParts returns the mean init, part by part in order of time. The mean is
// over all inits, so that the parts add up to it.
func initParts(g *group) []InitPart {
	n := all(g.init).Count
	sum := all(g.parts).Sum
	out := []InitPart{}
	if n == 0 || sum <= 0 {
		return out
	}
	for id, h := range g.parts {
		if h.Sum <= 0 {
			continue
		}
		out = append(out, InitPart{Part: id.part, Basis: id.basis,
			MeanMS: rounded(1000 * h.Sum / n), Share: rounded(h.Sum / sum), N: count(h.Count)})
	}
	slices.SortFunc(out, func(x, y InitPart) int {
		return cmp.Or(cmp.Compare(partOrder(x.Part), partOrder(y.Part)), cmp.Compare(x.Part, y.Part), cmp.Compare(x.Basis, y.Basis))
	})
	return out
}

// partOrder is the order of time; a part of some later Thaw comes last.
func partOrder(part string) int {
	order := []lifecycle.PartName{
		lifecycle.PartRestore, lifecycle.PartExtensions, lifecycle.PartThaw, lifecycle.PartRuntime,
		lifecycle.PartRuntimeFunction, lifecycle.PartFunction, lifecycle.PartUnattributed,
	}
	if i := slices.Index(order, lifecycle.PartName(part)); i >= 0 {
		return i
	}
	return len(order)
}

func durations(g *group) StartDurations {
	warm := g.duration[string(lifecycle.Warm)]
	return StartDurations{
		All:   quantiles(all(g.duration), g.warmEffect()),
		Cold:  quantiles(g.duration[string(lifecycle.Cold)], 1),
		First: quantiles(g.duration[string(lifecycle.First)], 1),
		Warm:  quantiles(warm, g.warmEffect()).meanOf(g.quantity(metric.QuantityWarmDuration, warm)),
	}
}

// penalty compares first invocations with the warm median of the same version
// and memory size, and weights the differences by their number. Across sizes
// nothing is compared: a size that starts cold more often would look slow.
func (b *builder) penalty() Penalty {
	var n, mean, p50 float64
	for _, id := range b.ids() {
		d := b.groups[id].duration
		first := d[string(lifecycle.Cold)].Add(d[string(lifecycle.First)])
		warm := d[string(lifecycle.Warm)]
		if first.Count == 0 || warm.Count < stats.FloorP50 {
			continue
		}
		n += first.Count
		mean += first.Count * (first.Mean() - warm.Quantile(0.5))
		p50 += first.Count * (first.Quantile(0.5) - warm.Quantile(0.5))
	}
	out := Penalty{Have: count(n)}
	if n < stats.FloorP50 {
		out.Need = stats.FloorP50
		return out
	}
	out.Mean, out.P50 = figure(1000*mean/n), figure(1000*p50/n)
	return out
}

func logs(g *group) Logs {
	lines := total(g.logLines)
	frozen := g.logLines["true"]
	return Logs{Lines: count(lines), Frozen: count(frozen), FrozenShare: rate(frozen, lines), PlatformDropped: count(g.dropped)}
}

// quantiles turns a histogram of seconds into milliseconds, as far as its
// number of values allows. They are worth n/effect independent ones: 1 for what
// happens once in an environment, as an init does.
func quantiles(h stats.Histogram, effect float64) Quantiles {
	q := Quantiles{Have: count(h.Count)}
	if h.Count > 0 {
		q.Mean = figure(1000 * h.Mean())
	}
	if h.Count >= stats.FloorP50 {
		q.P50 = figure(1000 * h.Quantile(0.5))
		q.P50Low, q.P50High = ends(h.CorrelatedQuantileInterval(0.5, effect), 1000)
	}
	if h.Count >= stats.FloorP95 {
		q.P95 = figure(1000 * h.Quantile(0.95))
		q.P95Low, q.P95High = ends(h.CorrelatedQuantileInterval(0.95, effect), 1000)
	} else {
		q.Need = stats.FloorP95
	}
	return q
}

// meanOf adds the interval of the mean from its clusters.
func (q Quantiles) meanOf(c stats.Clusters) Quantiles {
	if e := estimate(c, 1000, 0); e.Low != nil {
		q.MeanLow, q.MeanHigh = e.Low, e.High
	}
	return q
}

// ends returns the ends of an interval, where it has them.
func ends(in stats.Interval, factor float64) (low, high *float64) {
	if in.Low > 0 {
		low = figure(factor * in.Low)
	}
	if !math.IsInf(in.High, 1) {
		high = figure(factor * in.High)
	}
	return low, high
}

// warmEffect is the design effect of warm durations, which is taken for that of
// whatever is recorded at each invocation.
func (g *group) warmEffect() float64 {
	warm := g.duration[string(lifecycle.Warm)]
	return g.quantity(metric.QuantityWarmDuration, warm).DesignEffect(warm)
}

// lineEffect is that of log lines: those of an invocation come together.
func (g *group) lineEffect() float64 {
	return g.warmEffect() * max(1, total(g.logLines)/max(1, total(g.invocations)))
}

const bytesPerMB = 1 << 20

func memoryUsed(h stats.Histogram, effect float64) MemoryUsed {
	m := MemoryUsed{Have: count(h.Count)}
	if h.Count > 0 {
		m.Max = figure(h.Max() / bytesPerMB)
	}
	if h.Count >= stats.FloorP99 {
		m.P99 = figure(h.Quantile(0.99) / bytesPerMB)
		m.P99Low, m.P99High = ends(h.CorrelatedQuantileInterval(0.99, effect), 1.0/bytesPerMB)
	} else {
		m.Need = stats.FloorP99
	}
	return m
}

func rate(k, n float64) Rate {
	r := Rate{N: count(n)}
	if n > 0 {
		in := stats.Wilson(k, n)
		r.Value, r.Low, r.High = figure(k/n), figure(in.Low), figure(in.High)
	}
	return r
}

// tally returns counts above zero, the largest first.
func tally(m map[string]float64) []Count {
	out := []Count{}
	for name, n := range m {
		if n > 0 {
			out = append(out, Count{name, count(n)})
		}
	}
	slices.SortFunc(out, func(x, y Count) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// insufficient lists the nulls of a function with their floors, for people.
func insufficient(f *Function) []Insufficient {
	out := []Insufficient{}
	add := func(what string, have, need int64, of string) {
		if have < need {
			out = append(out, Insufficient{what, have, need, of})
		}
	}
	add("cold start and error rates", f.Invocations, stats.FloorMean, "invocations")
	add("init p95", f.InitMS.Have, f.InitMS.Need, "inits")
	add("warm duration p95", f.DurationMS.Warm.Have, f.DurationMS.Warm.Need, "warm invocations")
	add("cold start duration p95", f.DurationMS.Cold.Have, f.DurationMS.Cold.Need, "cold starts")
	add("first-invoke penalty", f.FirstInvokePenalty.Have, f.FirstInvokePenalty.Need, "first invocations")
	add("log latency p95", f.LogLatencyMS.Have, f.LogLatencyMS.Need, "log lines")
	for _, p := range f.MemoryCurve {
		at := fmt.Sprintf(" at %d MB", p.MemoryMB)
		if len(f.Architectures) > 1 {
			at += " on " + p.Architecture
		}
		add("duration p95"+at, p.DurationMS.Have, p.DurationMS.Need, "invocations")
		add("interval of the mean"+at, p.WarmMeanMS.Have, p.WarmMeanMS.Need, "environment-hours")
	}
	if r := f.Recommendation; r.Action == actionNone && r.Need > 0 {
		add("a memory recommendation", r.Have, r.Need, "memory sizes with enough data")
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// figure returns a value of the report, in nine digits: more mean nothing, and
// sums of floats in another order would differ in the last of sixteen.
func figure(v float64) *float64 {
	v = rounded(v)
	return &v
}

func rounded(v float64) float64 {
	out, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 9, 64), 64)
	if err != nil {
		return v
	}
	return out
}

// count turns a sum of floats that are whole into an integer.
func count(v float64) int64 { return int64(math.Round(v)) }

func keys(set map[string]bool) []string {
	out := slices.Sorted(maps.Keys(set))
	if out == nil {
		return []string{}
	}
	return out
}

func number64(s string) int64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return int64(v)
}

// compareVersions puts $LATEST last and numbers in their order.
func compareVersions(a, b string) int {
	value := func(s string) int64 {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		return math.MaxInt64
	}
	return cmp.Or(cmp.Compare(value(a), value(b)), cmp.Compare(a, b))
}
