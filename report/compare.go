package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/internal/version"
	"github.com/thaw-lambda/thaw/report/stats"
)

// ComparisonVersion is the version of the comparison's JSON.
const ComparisonVersion = 1

// Side is one of the two things that are compared: what ran in a range of
// time, or of that one version or one architecture only.
type Side struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Version string    `json:"version,omitempty"`
	// Architecture is a value of host.arch: amd64 or arm64.
	Architecture string `json:"architecture,omitempty"`
}

func (s Side) validate(name string) error {
	if !s.Start.Before(s.End) {
		return fmt.Errorf("the range %s is empty: its start is not before its end", name)
	}
	return nil
}

// takes says whether a group belongs to the side.
func (s Side) takes(id groupID) bool {
	return (s.Version == "" || id.version == s.Version) && (s.Architecture == "" || id.arch == s.Architecture)
}

func (s Side) String() string {
	var parts []string
	if s.Version != "" {
		parts = append(parts, "version "+s.Version)
	}
	if s.Architecture != "" {
		parts = append(parts, s.Architecture)
	}
	return strings.Join(append(parts, rangeText(Range{Start: s.Start, End: s.End})), ", ")
}

// CompareOptions say what is compared with what.
type CompareOptions struct {
	Before, After Side
	// Functions are the names to compare; none is all.
	Functions []string
	// PriceRegion prices functions of regions that have no price.
	PriceRegion string
	// Prices is the price list; nil is the embedded one.
	Prices *pricing.Table
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Comparison says what changed between two sides.
type Comparison struct {
	SchemaVersion int                  `json:"schema_version"`
	GeneratedAt   time.Time            `json:"generated_at"`
	ThawVersion   string               `json:"thaw_version"`
	Before        Side                 `json:"before"`
	After         Side                 `json:"after"`
	Functions     []FunctionComparison `json:"functions"`
	Gaps          []Gap                `json:"gaps"`
}

// FunctionComparison is what changed about one function that ran on both sides.
type FunctionComparison struct {
	Name    string     `json:"name"`
	Account string     `json:"account"`
	Region  string     `json:"region"`
	Before  SideTotals `json:"before"`
	After   SideTotals `json:"after"`
	Changes []Change   `json:"changes"`
	// Deploys are the versions that ran after and not before, the newest last,
	// and when each was first seen.
	Deploys []Deploy `json:"deploys"`
	// Confounded names what else differs between the sides than what is
	// compared: a change may be due to any of it.
	Confounded []string `json:"confounded"`
}

// SideTotals is what ran on one side.
type SideTotals struct {
	Invocations   int64    `json:"invocations"`
	ColdStarts    int64    `json:"cold_starts"`
	Versions      []string `json:"versions"`
	MemorySizesMB []int64  `json:"memory_sizes_mb"`
	Architectures []string `json:"architectures"`
}

// Deploy is a version that is new.
type Deploy struct {
	Version   string    `json:"version"`
	FirstSeen time.Time `json:"first_seen"`
}

// Change is how one quantity differs. Values are null where the data does not
// support them: Have is the smaller number of values of the two sides.
type Change struct {
	Quantity string   `json:"quantity"`
	Unit     string   `json:"unit"`
	Before   *float64 `json:"before"`
	After    *float64 `json:"after"`
	// Difference is after less before, with its 95 % interval; Relative the
	// same as a share of before. An end is null where the values do not bound
	// it, as that of a 95th percentile of a few dozen.
	Difference   *float64 `json:"difference"`
	Low          *float64 `json:"low"`
	High         *float64 `json:"high"`
	Relative     *float64 `json:"relative"`
	RelativeLow  *float64 `json:"relative_low"`
	RelativeHigh *float64 `json:"relative_high"`
	// Significant says that chance is no good explanation, over all quantities
	// of all functions: at a false discovery rate of 5 %.
	Significant bool `json:"significant"`
	// Worse says which way it went, for a change that is significant.
	Worse bool  `json:"worse"`
	Have  int64 `json:"have"`
	Need  int64 `json:"need"`
	// Since is the version of the deploy from which on the quantity differs, if
	// one stands out.
	Since string `json:"since,omitempty"`

	p float64
}

// quantity is something that can be compared. All of them are better when they
// are smaller.
type quantity struct {
	name, unit string
	// of returns the value of a group with its interval, the number of values
	// behind it and how many it needs. Supported is false below that.
	of func(*sideFacts) measured
}

// measured is a value with its interval.
type measured struct {
	value      float64
	in         stats.Interval
	have, need float64
}

func (m measured) supported() bool { return m.have >= m.need && m.have > 0 }

// sideFacts is one function on one side.
type sideFacts struct {
	*group
	sizes map[sizeID]*group
	// price returns the price per second at a size, nil where it is not known.
	price func(sizeID) *pricing.Price
}

// quantities lists what is compared, in the order in which it is shown.
func quantities() []quantity {
	return []quantity{
		{"cold_start_rate", unitShare, func(s *sideFacts) measured { return rateOf(s.coldStarts, total(s.invocations)) }},
		{"init_p50_ms", unitMS, func(s *sideFacts) measured {
			return quantileOf(s.init[string(lifecycle.PhaseInit)], 0.5, stats.FloorMean)
		}},
		{"init_p95_ms", unitMS, func(s *sideFacts) measured {
			return quantileOf(s.init[string(lifecycle.PhaseInit)], 0.95, stats.FloorP95)
		}},
		{"cold_duration_p50_ms", unitMS, func(s *sideFacts) measured {
			return quantileOf(s.duration[string(lifecycle.Cold)], 0.5, stats.FloorMean)
		}},
		{"warm_mean_ms", unitMS, func(s *sideFacts) measured {
			return meanOf(s.quantity(metric.QuantityWarmDuration, s.duration[string(lifecycle.Warm)]), 1000)
		}},
		{"warm_p50_ms", unitMS, func(s *sideFacts) measured { return s.warmQuantile(0.5, stats.FloorCompare) }},
		{"warm_p95_ms", unitMS, func(s *sideFacts) measured { return s.warmQuantile(0.95, stats.FloorP95) }},
		{"error_rate", unitShare, func(s *sideFacts) measured { return rateOf(total(s.errors), total(s.invocations)) }},
		{"timeout_rate", unitShare, func(s *sideFacts) measured { return rateOf(s.timeouts, total(s.invocations)) }},
		{"cost_per_million_usd", unitPerMillion, costOf},
		{"log_latency_p95_ms", unitMS, func(s *sideFacts) measured {
			return quantileWith(s.logLatency[metric.StageArrival], 0.95, stats.FloorP95, s.lineEffect())
		}},
	}
}

// QuantityNames lists what a comparison compares.
func QuantityNames() []string {
	var out []string
	for _, q := range quantities() {
		out = append(out, q.name)
	}
	return out
}

func rateOf(k, n float64) measured {
	return measured{value: k / n, in: stats.Wilson(k, n), have: n, need: stats.FloorMean}
}

// warmQuantile is a quantile of warm durations, whose calls are correlated
// within their environments.
func (s *sideFacts) warmQuantile(q, need float64) measured {
	h := s.duration[string(lifecycle.Warm)]
	return quantileWith(h, q, need, s.warmEffect())
}

// quantileOf is a quantile in milliseconds of a histogram of seconds.
func quantileOf(h stats.Histogram, q, need float64) measured { return quantileWith(h, q, need, 1) }

func quantileWith(h stats.Histogram, q, need, effect float64) measured {
	m := measured{have: h.Count, need: need}
	if m.supported() {
		in := h.CorrelatedQuantileInterval(q, effect)
		m.value, m.in = 1000*h.Quantile(q), stats.Interval{Low: 1000 * in.Low, High: 1000 * in.High}
	}
	return m
}

func meanOf(c stats.Clusters, factor float64) measured {
	m := measured{have: c.K, need: stats.FloorCompareClusters}
	if m.supported() {
		in := c.MeanInterval()
		m.value, m.in = factor*c.Mean(), stats.Interval{Low: factor * in.Low, High: factor * in.High}
	}
	return m
}

// costOf is the cost of a million invocations of the mix of sizes that ran.
func costOf(s *sideFacts) measured {
	m := measured{need: stats.FloorCompareClusters}
	var usd, variance, k, n float64
	for size, g := range s.sizes {
		price := s.price(size)
		c := g.quantity(metric.QuantityBilled, g.billed)
		if price == nil {
			return m
		}
		if c.N == 0 {
			continue
		}
		perSecond := price.PerGBSecond * float64(size.memoryMB) / 1024
		usd += total(g.invocations)*price.PerRequest + perSecond*c.S
		variance += perSecond * perSecond * c.Variance() * c.N * c.N
		n += total(g.invocations)
		k += c.K
	}
	m.have = k
	if m.supported() && n > 0 {
		in := stats.SumInterval(usd, variance, k)
		m.value, m.in = 1e6*usd/n, stats.Interval{Low: 1e6 * max(0, in.Low) / n, High: 1e6 * in.High / n}
	}
	return m
}

// Compare asks the source for both sides and returns what changed.
func Compare(ctx context.Context, source Source, o CompareOptions) (*Comparison, error) {
	if err := errors.Join(o.Before.validate("before"), o.After.validate("after")); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Prices == nil {
		prices, err := pricing.Load()
		if err != nil {
			return nil, err
		}
		o.Prices = prices
	}
	out := &Comparison{
		SchemaVersion: ComparisonVersion,
		GeneratedAt:   o.Now().UTC().Truncate(time.Second),
		ThawVersion:   version.String(),
		Before:        o.Before, After: o.After,
		Functions: []FunctionComparison{}, Gaps: []Gap{},
	}
	before, gaps, err := factsOf(ctx, source, o.Before, o.Functions)
	if err != nil {
		return nil, fmt.Errorf("before: %w", err)
	}
	after, more, err := factsOf(ctx, source, o.After, o.Functions)
	if err != nil {
		return nil, fmt.Errorf("after: %w", err)
	}
	out.Gaps = append(append(out.Gaps, gaps...), more...)
	for id, f := range after {
		if before[id] == nil {
			continue
		}
		c := comparer{&o, o.builder(f), before[id], f}
		if got := c.function(); got != nil {
			out.Functions = append(out.Functions, *got)
		}
	}
	slices.SortFunc(out.Functions, func(a, b FunctionComparison) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region))
	})
	judge(out.Functions)
	if err := since(ctx, source, &o, out, before, after); err != nil {
		return nil, err
	}
	return out, nil
}

// builder prices both sides alike, in the first tier: what is compared is the
// function, and not the volume of its account.
func (o *CompareOptions) builder(f *facts) *builder {
	return &builder{f, nil, &Options{PriceRegion: o.PriceRegion, Prices: o.Prices}}
}

// factsOf returns what the store knows of one side.
func factsOf(ctx context.Context, source Source, s Side, names []string) (map[functionID]*facts, []Gap, error) {
	w, err := newWindow(ctx, source, s.Start.UTC().Truncate(time.Millisecond), s.End.UTC().Truncate(time.Millisecond))
	if err != nil {
		return nil, nil, err
	}
	all, err := collect(ctx, source, w, names)
	return all, w.gaps, err
}

// comparer compares one function.
type comparer struct {
	options       *CompareOptions
	builder       *builder
	before, after *facts
}

func (c *comparer) function() *FunctionComparison {
	before, after := c.side(c.before, c.options.Before), c.side(c.after, c.options.After)
	if total(before.invocations) == 0 || total(after.invocations) == 0 {
		return nil
	}
	id := c.after.id
	out := &FunctionComparison{
		Name: id.name, Account: id.account, Region: id.region,
		Before: totals(c.before, c.options.Before), After: totals(c.after, c.options.After),
		Changes: []Change{}, Deploys: []Deploy{},
	}
	for _, q := range quantities() {
		out.Changes = append(out.Changes, change(q, before, after))
	}
	out.Confounded = confounded(out, c.options)
	return out
}

func (c *comparer) side(f *facts, s Side) *sideFacts {
	out := &sideFacts{group: newGroup(), sizes: map[sizeID]*group{}}
	for id, g := range f.groups {
		if !s.takes(id) {
			continue
		}
		out.add(g)
		size := sizeID{number64(id.memoryMB), id.arch}
		if out.sizes[size] == nil {
			out.sizes[size] = newGroup()
		}
		out.sizes[size].add(g)
	}
	out.price = func(size sizeID) *pricing.Price {
		price, err := c.builder.price(size.arch)
		if err != nil {
			return nil
		}
		return &price
	}
	return out
}

func totals(f *facts, s Side) SideTotals {
	versions, archs, sizes := map[string]bool{}, map[string]bool{}, map[int64]bool{}
	var out SideTotals
	for id, g := range f.groups {
		if !s.takes(id) || total(g.invocations) == 0 {
			continue
		}
		out.Invocations += count(total(g.invocations))
		out.ColdStarts += count(g.coldStarts)
		note(versions, id.version)
		note(archs, id.arch)
		sizes[number64(id.memoryMB)] = true
	}
	out.Versions = slices.SortedFunc(maps.Keys(versions), compareVersions)
	out.Architectures, out.MemorySizesMB = keys(archs), slices.Sorted(maps.Keys(sizes))
	return out
}

func change(q quantity, before, after *sideFacts) Change {
	a, b := q.of(before), q.of(after)
	out := Change{Quantity: q.name, Unit: q.unit, Have: count(min(a.have, b.have)), Need: count(max(a.need, b.need)), p: 1}
	if a.supported() {
		out.Before = figure(a.value)
	}
	if b.supported() {
		out.After = figure(b.value)
	}
	if !a.supported() || !b.supported() {
		return out
	}
	d, in := stats.Difference(a.value, a.in, b.value, b.in)
	out.Difference, out.Low, out.High = figure(d), finite(in.Low), finite(in.High)
	if a.value > 0 {
		out.Relative, out.RelativeLow, out.RelativeHigh = figure(d/a.value), finite(in.Low/a.value), finite(in.High/a.value)
	}
	out.Worse = d > 0
	out.p = stats.PValue(d, in)
	return out
}

// finite returns a figure, or nil for an end that is not there.
func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return figure(v)
}

// falseDiscoveryRate is the share of the changes called significant that may
// be chance.
const falseDiscoveryRate = 0.05

// judge says which changes are significant, over all functions at once: with
// ten thousand functions, one in twenty would be by chance alone.
func judge(all []FunctionComparison) {
	var p []float64
	var of []*Change
	for i := range all {
		for j := range all[i].Changes {
			if c := &all[i].Changes[j]; c.Difference != nil {
				p, of = append(p, c.p), append(of, c)
			}
		}
	}
	for i, discovery := range stats.BenjaminiHochberg(p, falseDiscoveryRate) {
		of[i].Significant = discovery
		of[i].Worse = of[i].Worse && discovery
	}
}

// confounded names what differs between the sides besides what is compared.
func confounded(f *FunctionComparison, o *CompareOptions) []string {
	out := []string{}
	if !slices.Equal(f.Before.MemorySizesMB, f.After.MemorySizesMB) {
		out = append(out, fmt.Sprintf("memory size: %s MB before, %s MB after", sizesText(f.Before.MemorySizesMB), sizesText(f.After.MemorySizesMB)))
	}
	if o.Before.Architecture == o.After.Architecture && !slices.Equal(f.Before.Architectures, f.After.Architectures) {
		out = append(out, fmt.Sprintf("architecture: %s before, %s after", strings.Join(f.Before.Architectures, ", "), strings.Join(f.After.Architectures, ", ")))
	}
	if o.Before.Architecture != o.After.Architecture && !slices.Equal(f.Before.Versions, f.After.Versions) {
		out = append(out, fmt.Sprintf("version: %s before, %s after", strings.Join(f.Before.Versions, ", "), strings.Join(f.After.Versions, ", ")))
	}
	return out
}
