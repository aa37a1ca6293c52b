package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/stats"
)

// since adds when new versions were first seen, and which of them a
// significant change came with.
func since(ctx context.Context, source Source, o *CompareOptions, out *Comparison, before, after map[functionID]*facts) error {
	for i := range out.Functions {
		f := &out.Functions[i]
		if !slices.ContainsFunc(f.Changes, func(c Change) bool { return c.Significant }) {
			continue
		}
		deploys, err := deploys(ctx, source, o, f)
		if err != nil {
			return fmt.Errorf("when the versions of %s were first seen: %w", f.Name, err)
		}
		f.Deploys = deploys
		id := functionID{f.Account, f.Region, f.Name}
		c := comparer{o, o.builder(after[id]), before[id], after[id]}
		for j := range f.Changes {
			if f.Changes[j].Significant {
				f.Changes[j].Since = c.since(f, f.Changes[j])
			}
		}
	}
	return nil
}

// deploySteps is into how many steps the ranges are divided to find when a
// version was first seen.
const deploySteps = 500

// deploys returns the versions that ran after and not before.
func deploys(ctx context.Context, source Source, o *CompareOptions, f *FunctionComparison) ([]Deploy, error) {
	out := []Deploy{}
	if slices.Equal(f.Before.Versions, f.After.Versions) {
		return out, nil
	}
	start, end := o.Before.Start, o.After.End
	if o.After.Start.Before(start) {
		start = o.After.Start
	}
	step := max(time.Minute, end.Sub(start)/deploySteps).Truncate(time.Second)
	query := fmt.Sprintf("sum by (%s) (%s{%s=%q,%s=%q,%s=%q})", metric.Label(metric.LabelVersion), metric.Invocations.Prometheus(),
		metric.Label(metric.LabelName), f.Name, metric.Label(metric.LabelAccount), f.Account, metric.Label(metric.LabelRegion), f.Region)
	seen, err := source.Times(ctx, query, metric.Label(metric.LabelVersion), start, end, step)
	if err != nil {
		return nil, err
	}
	for version, times := range seen {
		if slices.Contains(f.Before.Versions, version) || !slices.Contains(f.After.Versions, version) || len(times) == 0 {
			continue
		}
		out = append(out, Deploy{version, slices.MinFunc(times, time.Time.Compare).UTC()})
	}
	slices.SortFunc(out, func(a, b Deploy) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), compareVersions(a.Version, b.Version))
	})
	return out, nil
}

// since returns the first new version of which the quantity differs from
// before, in the direction of the change, by more than chance.
func (c *comparer) since(f *FunctionComparison, found Change) string {
	var q quantity
	for _, each := range quantities() {
		if each.name == found.Quantity {
			q = each
		}
	}
	a := q.of(c.side(c.before, c.options.Before))
	for _, d := range f.Deploys {
		side := c.options.After
		side.Version = d.Version
		b := q.of(c.side(c.after, side))
		if !b.supported() {
			continue
		}
		if _, in := stats.Difference(a.value, a.in, b.value, b.in); found.Worse && in.Low > 0 || !found.Worse && in.High < 0 {
			return d.Version
		}
	}
	return ""
}
