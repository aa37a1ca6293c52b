package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/report/stats"
)

// curveClusters are the totals behind the intervals of a point, in seconds;
// rules compare points with them.
type curveClusters struct {
	billed, warm stats.Clusters
	price        *pricing.Price
	// outOfMemory counts the invocations that ended for want of memory.
	outOfMemory float64
}

// sizeID is a point of the memory curve: versions and kinds are pooled.
type sizeID struct {
	memoryMB int64
	arch     string
}

func (b *builder) curve(f *Function) {
	sizes := map[sizeID]*group{}
	versions := map[sizeID]map[string]bool{}
	for _, id := range b.ids() {
		g := b.groups[id]
		if total(g.invocations) == 0 {
			continue
		}
		size := sizeID{number64(id.memoryMB), id.arch}
		if sizes[size] == nil {
			sizes[size], versions[size] = newGroup(), map[string]bool{}
		}
		sizes[size].add(g)
		note(versions[size], id.version)
	}
	f.MemoryCurve = []CurvePoint{}
	for size, g := range sizes {
		p := b.point(size, g)
		p.Versions = slices.SortedFunc(slices.Values(keys(versions[size])), compareVersions)
		f.MemoryCurve = append(f.MemoryCurve, p)
	}
	f.times = b.times
	slices.SortFunc(f.MemoryCurve, func(x, y CurvePoint) int {
		return cmp.Or(cmp.Compare(x.MemoryMB, y.MemoryMB), cmp.Compare(x.Architecture, y.Architecture))
	})
}

func (b *builder) point(size sizeID, g *group) CurvePoint {
	warm := g.duration[string(lifecycle.Warm)]
	p := CurvePoint{
		MemoryMB: size.memoryMB, Architecture: size.arch,
		Invocations:    count(total(g.invocations)),
		ColdStarts:     count(g.coldStarts),
		Errors:         count(total(g.errors)),
		Timeouts:       count(g.timeouts),
		DurationMS:     quantiles(all(g.duration), g.warmEffect()),
		WarmDurationMS: quantiles(warm, g.warmEffect()).meanOf(g.quantity(metric.QuantityWarmDuration, warm)),
		InitMS:         quantiles(g.init[string(lifecycle.PhaseInit)], 1),
		MemoryUsed:     memoryUsed(g.memory, g.warmEffect()),
		Basis:          string(lifecycle.Measured),
		CPUEnforced:    !b.cpuUnenforced,
	}
	p.clusters = curveClusters{
		billed:      g.quantity(metric.QuantityBilled, g.billed),
		warm:        g.quantity(metric.QuantityWarmDuration, warm),
		outOfMemory: outOfMemory(g.errors),
	}
	p.usage, p.warm, p.overhead = g.usage, warm, g.overhead
	p.WarmMeanMS = estimate(p.clusters.warm, 1000, 0)
	p.BilledMS = estimate(p.clusters.billed, 1000, 0)
	price, err := b.price(size.arch)
	if err != nil {
		p.CostInterval = Estimate{Reason: err.Error()}
		return p
	}
	p.clusters.price = &price
	p.CostInterval = estimate(p.clusters.billed, price.PerMillion(size.memoryMB, 1)-price.PerMillion(size.memoryMB, 0), price.PerMillion(size.memoryMB, 0))
	p.CostPerMillionUSD = p.CostInterval.Value
	return p
}

// estimate returns factor·mean + offset with its interval, the latter from
// [stats.FloorClusters] clusters on.
func estimate(c stats.Clusters, factor, offset float64) Estimate {
	e := Estimate{Have: count(c.K)}
	if c.N <= 0 {
		e.Need, e.Reason = stats.FloorClusters, "no values"
		return e
	}
	e.Value = figure(factor*c.Mean() + offset)
	if c.K < stats.FloorClusters {
		e.Need = stats.FloorClusters
		return e
	}
	in := c.MeanInterval()
	e.Low, e.High = figure(max(offset, factor*in.Low+offset)), figure(factor*in.High+offset)
	return e
}

// volumeID is what the tiers of the duration price count together.
type volumeID struct{ account, region, arch string }

// month is what prices and savings are stated for.
const month = 30 * 24 * time.Hour

// monthlyVolumes returns the billed GB-seconds of a month, as the range has
// them.
func monthlyVolumes(all map[functionID]*facts, length time.Duration) map[volumeID]float64 {
	out := map[volumeID]float64{}
	for id, f := range all {
		for group, g := range f.groups {
			seconds := g.billed.Sum * float64(month) / float64(length)
			out[volumeID{id.account, id.region, group.arch}] += pricing.GBSeconds(float64(number64(group.memoryMB)), seconds)
		}
	}
	return out
}

// price returns the price in the function's region, or in the one that stands
// in for it, at the volume of its account.
func (b *builder) price(arch string) (pricing.Price, error) {
	volume := b.volumes[volumeID{b.id.account, b.id.region, arch}]
	rates, err := b.rates(arch)
	if err != nil {
		return pricing.Price{}, err
	}
	return rates.Price(volume)
}

func (b *builder) rates(arch string) (*pricing.Rates, error) {
	rates, err := b.options.Prices.Rates(b.id.region, arch)
	if err != nil && b.options.PriceRegion != "" {
		return b.options.Prices.Rates(b.options.PriceRegion, arch)
	}
	return rates, err
}

// cost adds up what the invocations of all sizes cost. Sizes are independent,
// so their variances add up.
func (b *builder) cost(f *Function) {
	var usd, variance, freedom, clusters, n float64
	for i := range f.MemoryCurve {
		p := &f.MemoryCurve[i]
		c := p.clusters
		f.BilledGBSeconds += c.billed.S * float64(p.MemoryMB) / 1024
		if c.price == nil {
			f.CostUSD = Estimate{Reason: p.CostInterval.Reason}
			f.CostPerMillionUSD, f.PriceBasis = f.CostUSD, ""
			return
		}
		f.PriceBasis = fmt.Sprintf("%s (%s, %s)", c.price.Basis, c.price.Region, c.price.Date)
		perSecond := c.price.PerGBSecond * float64(p.MemoryMB) / 1024
		usd += float64(p.Invocations)*c.price.PerRequest + perSecond*c.billed.S
		n += float64(p.Invocations)
		// The variance of the sum is that of the mean times N².
		v := perSecond * perSecond * c.billed.Variance() * c.billed.N * c.billed.N
		variance += v
		clusters += c.billed.Effective()
		freedom += v * v / (c.billed.Effective() - 1)
	}
	f.BilledGBSeconds = rounded(f.BilledGBSeconds)
	if n == 0 {
		return
	}
	// Welch's and Satterthwaite's number of clusters that the sum stands on.
	k := clusters
	if variance > 0 {
		k = variance*variance/freedom + 1
	}
	f.CostUSD = costEstimate(usd, variance, k, 1)
	f.CostPerMillionUSD = costEstimate(usd, variance, k, 1e6/n)
}

func costEstimate(usd, variance, k, factor float64) Estimate {
	e := Estimate{Value: figure(usd * factor)}
	if !math.IsNaN(k) {
		e.Have = int64(k)
	}
	if !(k >= stats.FloorClusters) {
		e.Need = stats.FloorClusters
		return e
	}
	in := stats.SumInterval(usd, variance, k)
	e.Low, e.High = figure(max(0, in.Low)*factor), figure(in.High*factor)
	return e
}

// outOfMemory counts the errors that say so. Lambda's own type is
// Runtime.OutOfMemory.
func outOfMemory(errors map[string]float64) float64 {
	var n float64
	for kind, count := range errors {
		if strings.Contains(strings.ToLower(kind), "outofmemory") {
			n += count
		}
	}
	return n
}
