package evaluate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/thaw-lambda/thaw/report/curve"
)

// Comparison is all models on the same curves.
type Comparison struct {
	// Models has the product first, then the product as it chooses its sizes
	// one after the other, as it is chosen without the group it is tried on,
	// and the models of others.
	Models []Summary `json:"models"`
	// Differences are those of the mean regret, the model's less the product's,
	// in the order of Models.
	Differences []Difference `json:"differences"`
	// Coverage is that of the product's 95 % intervals.
	Coverage Coverage `json:"coverage"`
}

// Difference is by how much the mean regret of a model is above the product's,
// with its 95 % interval by bootstrap over groups.
type Difference struct {
	Model string  `json:"model"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Compare runs all models.
func Compare(curves []Curve) Comparison {
	ours := Run(curves, Thaw())
	out := Comparison{Models: []Summary{ours, Sequential(curves, curve.Default()), HeldOut(curves)}}
	for _, m := range Others() {
		out.Models = append(out.Models, Run(curves, m))
	}
	for _, s := range out.Models[1:] {
		out.Differences = append(out.Differences, bootstrap(s, ours))
	}
	out.Coverage = Cover(curves)
	return out
}

// alternatives are the models among which [HeldOut] chooses.
func alternatives() []curve.Model {
	var out []curve.Model
	for _, credits := range [][]float64{{12}, {24}, {36}, {50}, {80}, {24, 36, 50, 80}} {
		for _, power := range []float64{0, 0.1, 0.3} {
			for _, pressure := range []float64{0, 0.2} {
				m := curve.Default()
				m.Credits, m.Power, m.Pressure = credits, power, pressure
				out = append(out, m)
			}
		}
	}
	return out
}

// HeldOut tries on each group of curves the model that does best on all other
// groups. Curves published together are alike: a curve that is held out alone
// would be known from its neighbours. What is left of the regret is what the
// choice of the model is worth on curves that had no part in it.
func HeldOut(curves []Curve) Summary {
	var runs []Summary
	for i, m := range alternatives() {
		runs = append(runs, Run(curves, product("", m)))
		if i > 0 && len(runs[i].Outcomes) != len(runs[0].Outcomes) {
			panic("evaluate: the same curves were not evaluated")
		}
	}
	var out []Outcome
	for i, o := range runs[0].Outcomes {
		best := slices.MinFunc(runs, func(a, b Summary) int {
			return cmp.Compare(a.without(o.Group), b.without(o.Group))
		})
		out = append(out, best.Outcomes[i])
	}
	return summarize("Thaw, chosen without the group", out)
}

// without returns the mean regret of all groups but one.
func (s Summary) without(group string) float64 {
	var rest []float64
	for _, o := range s.Outcomes {
		if o.Group != group {
			rest = append(rest, o.Regret)
		}
	}
	if len(rest) == 0 {
		return s.MeanRegret
	}
	return mean(rest)
}

// draws of the bootstrap.
const draws = 10000

// bootstrap compares two models on the same curves: curves are paired, and
// groups are drawn with replacement (B. Efron and R. J. Tibshirani, "An
// Introduction to the Bootstrap", 1993, section 8.4), with a fixed seed.
func bootstrap(s, ours Summary) Difference {
	sums := map[string]*[2]float64{}
	var groups []*[2]float64
	for i, o := range s.Outcomes {
		if sums[o.Group] == nil {
			sums[o.Group] = new([2]float64)
			groups = append(groups, sums[o.Group])
		}
		sums[o.Group][0] += o.Regret - ours.Outcomes[i].Regret
		sums[o.Group][1]++
	}
	d := Difference{Model: s.Model, Value: s.MeanRegret - ours.MeanRegret}
	if len(groups) == 0 {
		return d
	}
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, draws)
	for i := range values {
		var sum, n float64
		for range groups {
			g := groups[rng.IntN(len(groups))]
			sum, n = sum+g[0], n+g[1]
		}
		values[i] = sum / n
	}
	d.Low, d.High = quantile(values, 0.025), quantile(values, 0.975)
	return d
}

// Coverage is how often a duration that was not shown was within its interval.
type Coverage struct {
	// N durations were predicted, of which Inside were within their interval.
	N      int     `json:"n"`
	Inside int     `json:"inside"`
	Share  float64 `json:"share"`
	// MedianWidth is that of the intervals, upper end divided by lower one.
	MedianWidth float64 `json:"median_width"`
	// LeastGroup and MostGroup are the shares of the groups with the least and
	// the most.
	LeastGroup float64 `json:"least_group"`
	MostGroup  float64 `json:"most_group"`
	// HeldOut is the share where the width, for each group, is the one that is
	// best for all others.
	HeldOut float64 `json:"held_out"`
}

// predicted is one duration that was not shown: was it inside, and how wide was
// the interval?
type predicted struct {
	group  string
	inside bool
	width  float64
}

// Cover counts how often a duration that was not shown is within its 95 %
// interval.
func Cover(curves []Curve) Coverage {
	ours := intervals(curves, curve.Default())
	out := Coverage{N: len(ours), LeastGroup: 1}
	if out.N == 0 {
		return out
	}
	var widths []float64
	for _, p := range ours {
		widths = append(widths, p.width)
		if p.inside {
			out.Inside++
		}
		group := insideOf(ours, func(q predicted) bool { return q.group == p.group })
		out.LeastGroup, out.MostGroup = min(out.LeastGroup, group), max(out.MostGroup, group)
	}
	out.Share, out.MedianWidth = float64(out.Inside)/float64(out.N), quantile(widths, 0.5)
	out.HeldOut = heldOutCoverage(curves)
	return out
}

// heldOutCoverage chooses the spread for each group on all others.
func heldOutCoverage(curves []Curve) float64 {
	var runs [][]predicted
	for _, spread := range []float64{0.06, 0.08, 0.10, 0.12, 0.15, 0.20} {
		m := curve.Default()
		m.Spread = spread
		runs = append(runs, intervals(curves, m))
	}
	var out []predicted
	for i, p := range runs[0] {
		miss := func(run []predicted) float64 {
			return math.Abs(insideOf(run, func(q predicted) bool { return q.group != p.group }) - 0.95)
		}
		best := slices.MinFunc(runs, func(a, b []predicted) int { return cmp.Compare(miss(a), miss(b)) })
		out = append(out, best[i])
	}
	return insideOf(out, func(predicted) bool { return true })
}

func insideOf(all []predicted, of func(predicted) bool) float64 {
	var n, inside float64
	for _, p := range all {
		if of(p) {
			n++
			if p.inside {
				inside++
			}
		}
	}
	return inside / max(n, 1)
}

func intervals(curves []Curve, m curve.Model) []predicted {
	var out []predicted
	for _, c := range curves {
		n := len(c.MemoryMB)
		if n < minSizes {
			continue
		}
		shown := []int{0, n / 2, n - 1}
		fitted, err := m.Fit(points(c.pick(shown)))
		if err != nil {
			continue
		}
		for i, size := range c.MemoryMB {
			if e, ok := fitted.At(size); ok && !slices.Contains(shown, i) {
				out = append(out, predicted{c.Group, e.Low <= c.DurationMS[i] && c.DurationMS[i] <= e.High, e.High / e.Low})
			}
		}
	}
	return out
}
