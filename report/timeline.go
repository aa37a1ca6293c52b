package report

import (
	"context"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/stats"
)

// slicesOfRange is into how many slices of time a range is divided to tell
// sizes that ran side by side from those that followed one another.
const slicesOfRange = 16

// sideBySideShare is the share of its invocations that a size has to have in
// slices in which the other ran as well.
const sideBySideShare = 0.25

// sweepLength is the time within which several sizes are an experiment, and not
// one deployment after the other.
const sweepLength = 20 * time.Minute

// timeline says how many invocations of each size there were in each slice of
// the range.
type timeline struct {
	slice time.Duration
	times map[sizeID]*sizeTimes
}

type sizeTimes struct {
	invocations [slicesOfRange]float64
}

// maxNamed bounds the names in one query, which has to fit a URL.
const maxNamed = 50

// timelines asks when the sizes of functions ran that have several. Most have
// one, and nothing is asked.
func timelines(ctx context.Context, source Source, o *Options, all map[functionID]*facts) error {
	var names []string
	for id, f := range all {
		if f.severalSizes() {
			f.times = &timeline{o.End.Sub(o.Start) / slicesOfRange, map[sizeID]*sizeTimes{}}
			names = append(names, id.name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > maxNamed {
		names = o.Functions
	}
	query := selector(metric.Invocations, names)
	last := map[string]float64{}
	for i := range slicesOfRange + 1 {
		at := o.Start.Add(o.End.Sub(o.Start) * time.Duration(i) / slicesOfRange)
		samples, err := source.Instant(ctx, query, at)
		if err != nil {
			return err
		}
		for _, s := range samples {
			key := fingerprint(s.Labels)
			if i > 0 {
				placeTime(all, s, i-1, max(0, s.Value-last[key]))
			}
			last[key] = s.Value
		}
	}
	return nil
}

// placeTime adds what came to a series in a slice to the timeline of its function.
func placeTime(all map[functionID]*facts, s Sample, slice int, n float64) {
	label := func(attribute string) string { return s.Labels[metric.Label(attribute)] }
	f := all[functionID{label(metric.LabelAccount), label(metric.LabelRegion), label(metric.LabelName)}]
	if f == nil || f.times == nil || n == 0 {
		return
	}
	size := sizeID{number64(label(metric.LabelMemory)), label(metric.LabelArch)}
	if f.times.times[size] == nil {
		f.times.times[size] = &sizeTimes{}
	}
	f.times.times[size].invocations[slice] += n
}

func (f *facts) severalSizes() bool {
	sizes := map[string]bool{}
	for id, g := range f.groups {
		if total(g.invocations) > 0 {
			note(sizes, id.memoryMB)
		}
	}
	return len(sizes) > 1
}

// comparable tells whether two sizes can be compared although each may have had
// code of its own. They can if they ran side by side, as behind a weighted alias,
// or one after the other in a sweep: three or more sizes, or all within minutes.
// Where one size replaced the other, and with it perhaps the code, nothing here
// tells the two apart.
func (t timeline) comparable(a, b sizeID) bool {
	x, y := t.times[a], t.times[b]
	if x == nil || y == nil {
		return false
	}
	if x.shared(y) >= sideBySideShare && y.shared(x) >= sideBySideShare {
		return true
	}
	sizes := 0
	for size, s := range t.times {
		if size.arch == a.arch && s.total() >= stats.FloorCompare {
			sizes++
		}
	}
	return sizes >= 3 || t.span() <= sweepLength
}

// span is the time from the first slice with an invocation to the last.
func (t timeline) span() time.Duration {
	first, last := slicesOfRange, -1
	for _, s := range t.times {
		for i, n := range s.invocations {
			if n > 0 {
				first, last = min(first, i), max(last, i)
			}
		}
	}
	return time.Duration(last-first+1) * t.slice
}

func (s *sizeTimes) total() (n float64) {
	for _, slice := range s.invocations {
		n += slice
	}
	return n
}

// shared is the share of the invocations in slices in which the other ran.
func (s *sizeTimes) shared(other *sizeTimes) float64 {
	var both float64
	for i, n := range s.invocations {
		if other.invocations[i] > 0 {
			both += n
		}
	}
	return both / max(1, s.total())
}
