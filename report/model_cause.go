package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/stats"
)

// Concurrency is how many environments were busy at once, as arrivals found it.
type Concurrency struct {
	// Arrivals is the number of invocations that it stands on.
	Arrivals int64 `json:"arrivals"`
	// Peak is the largest number of busy environments, inits counted as busy.
	// Both are exact up to 45 and within 2.2 % above.
	Peak *float64 `json:"peak"`
	// Spill says what share of the arrivals a number of provisioned environments
	// would turn away: those that found at least as many busy, each in the lowest
	// that was free.
	Spill []SpillPoint `json:"spill"`
	// Late spans came when the watermark had passed them: they are in the counts,
	// and not in here.
	Late int64 `json:"late"`
}

// SpillPoint is one number of provisioned environments.
type SpillPoint struct {
	Environments int64   `json:"environments"`
	Share        float64 `json:"share"`
}

// Lives is how long environments lived and idled. It stands on those that were
// reclaimed in the range and could say so.
type Lives struct {
	Reclaimed int64 `json:"reclaimed"`
	// LifetimeS is from the last init to the end, InvocationsEach what was served
	// meanwhile.
	LifetimeS       Distribution `json:"lifetime_s"`
	InvocationsEach Distribution `json:"invocations_each"`
	// IdleReusedS ended with another invocation, IdleReclaimedS with the end of
	// the environment.
	IdleReusedS    Distribution `json:"idle_reused_s"`
	IdleReclaimedS Distribution `json:"idle_reclaimed_s"`
}

// Distribution is a number of values; null where there are too few.
type Distribution struct {
	Mean *float64 `json:"mean"`
	P50  *float64 `json:"p50"`
	P95  *float64 `json:"p95"`
	Max  *float64 `json:"max"`
	Have int64    `json:"have"`
}

// settledFacts are the totals of what the collector settles in event time.
type settledFacts struct {
	causes                                   map[string]float64
	slotRank, concurrency, lifetime, serving stats.Histogram
	idle                                     map[string]stats.Histogram
	late                                     float64
}

func newSettledFacts() settledFacts {
	return settledFacts{causes: map[string]float64{}, idle: map[string]stats.Histogram{}}
}

// settledCounters adds to the list of what is summed.
func settledCounters(list map[string]put) map[string]put {
	type labels = func(string) string
	list[metric.ColdStartCauses.Name] = func(g *group, l labels, s Sample) { g.settled.causes[l(metric.LabelCause)] += s.Value }
	list[metric.SlotRank.Name] = func(g *group, _ labels, s Sample) { g.settled.slotRank = plus(g.settled.slotRank, s) }
	list[metric.Concurrency.Name] = func(g *group, _ labels, s Sample) { g.settled.concurrency = plus(g.settled.concurrency, s) }
	list[metric.EnvironmentLifetime.Name] = func(g *group, _ labels, s Sample) { g.settled.lifetime = plus(g.settled.lifetime, s) }
	list[metric.EnvironmentInvocations.Name] = func(g *group, _ labels, s Sample) { g.settled.serving = plus(g.settled.serving, s) }
	list[metric.EnvironmentIdle.Name] = func(g *group, l labels, s Sample) { addTo(g.settled.idle, l(metric.LabelIdleOutcome), s) }
	list[metric.Late.Name] = func(g *group, _ labels, s Sample) { g.settled.late += s.Value }
	return list
}

func (s *settledFacts) add(o *settledFacts) {
	sum(s.causes, o.causes)
	merge(s.idle, o.idle)
	s.slotRank = s.slotRank.Add(o.slotRank)
	s.concurrency = s.concurrency.Add(o.concurrency)
	s.lifetime = s.lifetime.Add(o.lifetime)
	s.serving = s.serving.Add(o.serving)
	s.late += o.late
}

// settled fills what the collector settles in event time.
func settled(f *Function, s *settledFacts) {
	f.ColdStartCauses = tally(s.causes)
	f.Concurrency = Concurrency{Arrivals: count(s.slotRank.Count), Spill: spill(s.slotRank), Late: count(s.late)}
	if s.concurrency.Count > 0 {
		f.Concurrency.Peak = figure(wholeBelow(s.concurrency.Max()))
	}
	f.Environments = Lives{
		Reclaimed: count(s.lifetime.Count), LifetimeS: distribution(s.lifetime), InvocationsEach: distribution(s.serving),
		IdleReusedS: distribution(s.idle[metric.IdleReused]), IdleReclaimedS: distribution(s.idle[metric.IdleReclaimed]),
	}
}

// wholeBelow is the whole number that a bucket's upper bound stands for.
func wholeBelow(bound float64) float64 { return math.Floor(bound * (1 + 1e-9)) }

// spill turns the ranks of arrivals into the share above each rank that occurs.
func spill(h stats.Histogram) []SpillPoint {
	out := []SpillPoint{}
	if h.Count <= 0 {
		return out
	}
	indexes := make([]int, 0, len(h.Buckets))
	for i, n := range h.Buckets {
		if n > 0 {
			indexes = append(indexes, i)
		}
	}
	slices.Sort(indexes)
	rest := h.Count
	for _, i := range indexes {
		rest -= h.Buckets[i]
		bound := math.Exp2(float64(i) * math.Exp2(-float64(h.Scale)))
		out = append(out, SpillPoint{Environments: int64(wholeBelow(bound)), Share: rounded(max(rest, 0) / h.Count)})
	}
	return out
}

func distribution(h stats.Histogram) Distribution {
	d := Distribution{Have: count(h.Count)}
	if h.Count > 0 {
		d.Mean, d.Max = figure(h.Mean()), figure(h.Max())
	}
	if h.Count >= stats.FloorP50 {
		d.P50 = figure(h.Quantile(0.5))
	}
	if h.Count >= stats.FloorP95 {
		d.P95 = figure(h.Quantile(0.95))
	}
	return d
}

// causeTexts say a cause to somebody who meets the word for the first time.
var causeTexts = map[string]string{
	"reset":     "the environment had crashed, timed out or run out of memory",
	"deploy":    "a new version or configuration",
	"first":     "the function had no environment before",
	"scale-out": "all environments were busy",
	"expired":   "all environments had been reclaimed",
	"unknown":   "none of the other causes can be shown",
}

func causeText(cause string) string { return causeTexts[cause] }

// causesLine is the causes in one line.
func causesLine(f *Function) string {
	if f.ColdStarts == 0 {
		return "there was no cold start"
	}
	if len(f.ColdStartCauses) == 0 {
		return "not settled yet"
	}
	var parts []string
	for _, c := range f.ColdStartCauses {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(c.Count), c.Name))
	}
	return strings.Join(parts, ", ")
}

// concurrencyLine is the peak, and how many environments would take nearly all.
func concurrencyLine(f *Function) string {
	c := f.Concurrency
	if c.Peak == nil {
		return "not settled yet"
	}
	line := fmt.Sprintf("at most %.0f at once", *c.Peak)
	for _, p := range c.Spill {
		if p.Share <= 0.01 && p.Share > 0 {
			return line + fmt.Sprintf("; %d provisioned environments would turn away %s of the requests", p.Environments, percent(p.Share))
		}
	}
	return line
}

// livesLine is how long environments lived and idled.
func livesLine(f *Function) string {
	e := f.Environments
	if e.LifetimeS.Mean == nil || e.IdleReclaimedS.Mean == nil {
		return "no end of one was told"
	}
	return fmt.Sprintf("%s reclaimed, after %s on average, of which the last %s idle; %.1f requests each",
		thousands(e.Reclaimed), ms(1000**e.LifetimeS.Mean), ms(1000**e.IdleReclaimedS.Mean), *e.InvocationsEach.Mean)
}

// markdownCauses writes the table of causes.
func markdownCauses(w io.Writer, f *Function) {
	if len(f.ColdStartCauses) == 0 {
		return
	}
	fmt.Fprint(w, "\n| Why cold | Cold starts | |\n| --- | ---: | --- |\n")
	for _, c := range f.ColdStartCauses {
		fmt.Fprintf(w, "| %s | %s | %s |\n", markdown(c.Name), thousands(c.Count), causeText(c.Name))
	}
	fmt.Fprintf(w, "\nConcurrency: %s. Environments: %s.\n", concurrencyLine(f), livesLine(f))
}
