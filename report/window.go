package report

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/thaw-lambda/thaw/internal/metric"
)

// lookback is how long the store shows a series after its last sample.
const lookback = 5 * time.Minute

// lookbehind is how far before the range a collector that was down at its
// start is looked for.
const lookbehind = 7 * 24 * time.Hour

// seriesExpiry is the collector's series_expiry, unless somebody sets it.
const seriesExpiry = 30 * 24 * time.Hour

// maxSteps bounds the points of a range query; Prometheus refuses 11,000.
const maxSteps = 10000

// window says, per collector, between which two moments its counters are
// subtracted. Mostly these are the ends of the range.
type window struct {
	start, end time.Time
	// from and to hold the collectors that did not write at the start or the
	// end of the range, and when they last did before.
	from, to map[string]time.Time
	gaps     []Gap
}

// newWindow asks the collectors' heartbeats when they were writing.
func newWindow(ctx context.Context, source Source, start, end time.Time) (*window, error) {
	w := &window{start: start, end: end, from: map[string]time.Time{}, to: map[string]time.Time{}}
	before := start.Add(-lookbehind)
	step := max(time.Minute, end.Sub(before)/maxSteps).Truncate(time.Second)
	heartbeat := metric.Heartbeat.Prometheus()
	label := metric.Label(metric.LabelInstance)
	seen, err := source.Times(ctx, heartbeat, label, before, end, step)
	if err != nil {
		return nil, err
	}
	for _, at := range []time.Time{start, end} {
		now, err := source.Instant(ctx, heartbeat, at)
		if err != nil {
			return nil, err
		}
		for _, s := range now {
			instance := s.Labels[label]
			seen[instance] = append(seen[instance], at)
		}
	}
	for instance, times := range seen {
		slices.SortFunc(times, time.Time.Compare)
		w.collector(instance, slices.CompactFunc(times, time.Time.Equal), step)
	}
	if len(seen) == 0 {
		w.gaps = append(w.gaps, Gap{Kind: GapNoHeartbeat, Start: start, End: end,
			Text: "The store has no heartbeat of a collector: whether one was down in this time cannot be told."})
	}
	if end.Sub(start) > seriesExpiry {
		w.gaps = append(w.gaps, Gap{Kind: GapExpiry, Start: start, End: end,
			Text: "The range is longer than 30 days: a function that was idle for that long has been forgotten by the collector, and is not counted before its return."})
	}
	sort.Slice(w.gaps, func(i, j int) bool { return w.gaps[i].Start.Before(w.gaps[j].Start) })
	return w, nil
}

// collector finds the gaps of one collector in the moments at which it was
// seen, which are in order.
func (w *window) collector(instance string, seen []time.Time, step time.Duration) {
	inside, _ := slices.BinarySearchFunc(seen, w.start, time.Time.Compare)
	if inside == len(seen) {
		// It stopped before the range: nothing of it is in it.
		w.from[instance], w.to[instance] = w.start, w.start
		return
	}
	if inside > 0 && seen[inside].After(w.start) {
		last := seen[inside-1]
		w.from[instance] = last
		w.gaps = append(w.gaps, Gap{Kind: GapStart, Collector: instance, Start: last, End: seen[inside],
			Text: fmt.Sprintf("Collector %s was not writing when the range began: totals of it start from its last values, of %s.", instance, clock(last))})
	}
	for i := inside + 1; i < len(seen); i++ {
		if seen[i].Sub(seen[i-1]) > step+lookback {
			w.gaps = append(w.gaps, Gap{Kind: GapInside, Collector: instance, Start: seen[i-1], End: seen[i],
				Text: fmt.Sprintf("Collector %s was not writing from %s to %s. Totals include what reached it later.", instance, clock(seen[i-1]), clock(seen[i]))})
		}
	}
	if last := seen[len(seen)-1]; last.Before(w.end) {
		w.to[instance] = last
		w.gaps = append(w.gaps, Gap{Kind: GapEnd, Collector: instance, Start: last, End: w.end,
			Text: fmt.Sprintf("Collector %s stopped writing at %s, before the range ended: what came later is not in this report.", instance, clock(last))})
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
