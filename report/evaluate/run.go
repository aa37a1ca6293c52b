package evaluate

import (
	"cmp"
	"math"
	"slices"

	"github.com/thaw-lambda/thaw/report/curve"
)

// minSizes is the number of sizes from which a curve has one to hide.
const minSizes = 4

// Outcome is what a model made of one curve.
type Outcome struct {
	Name  string `json:"name"`
	Group string `json:"group"`
	// ShownMB are the sizes that the model was shown, in the order in which it
	// was.
	ShownMB    []float64 `json:"shown_mb"`
	ChosenMB   float64   `json:"chosen_mb"`
	CheapestMB float64   `json:"cheapest_mb"`
	// Regret is the cost at ChosenMB divided by that at CheapestMB.
	Regret float64 `json:"cost_regret"`
	// Errors are the relative errors of the durations that were not shown.
	Errors []float64 `json:"errors"`
}

// Summary is what a model made of all curves.
type Summary struct {
	Model string `json:"model"`
	// Curves are those with enough sizes.
	Curves int `json:"curves"`
	// MeanRegret and P90Regret are of the cost, 1 being perfect.
	MeanRegret float64 `json:"mean_cost_regret"`
	P90Regret  float64 `json:"p90_cost_regret"`
	// Exact is the share of curves whose cheapest size was chosen.
	Exact float64 `json:"exact"`
	// MedianError and P90Error are of the durations that were not shown, as a
	// share; null for a model that predicts none.
	MedianError *float64  `json:"median_error"`
	P90Error    *float64  `json:"p90_error"`
	Outcomes    []Outcome `json:"outcomes"`
}

// Run shows a model the first, the middle and the last size of each curve.
func Run(curves []Curve, m Model) Summary {
	var out []Outcome
	for _, c := range curves {
		if n := len(c.MemoryMB); n >= minSizes {
			out = append(out, c.outcome(m, []int{0, n / 2, n - 1}))
		}
	}
	return summarize(m.Name, out)
}

// Sequential lets the product choose its three sizes one after the other.
func Sequential(curves []Curve, m curve.Model) Summary {
	var out []Outcome
	for _, c := range curves {
		if len(c.MemoryMB) >= minSizes {
			out = append(out, c.outcome(product("", m), c.explore(m)))
		}
	}
	return summarize("Thaw, one after the other", out)
}

// explore returns the indices of the three sizes, in the order in which the
// product asks for them.
func (c *Curve) explore(m curve.Model) []int {
	shown := []int{slices.Index(c.MemoryMB, curve.First(c.MemoryMB))}
	for len(shown) < 3 {
		memory, ms := c.pick(shown)
		fitted, err := m.Fit(points(memory, ms))
		if err != nil {
			return shown
		}
		next, _, ok := fitted.Next(c.MemoryMB, curve.Duration)
		if !ok {
			return shown
		}
		shown = append(shown, slices.Index(c.MemoryMB, next))
	}
	return shown
}

func (c *Curve) pick(indices []int) (memory, ms []float64) {
	for _, i := range indices {
		memory, ms = append(memory, c.MemoryMB[i]), append(ms, c.DurationMS[i])
	}
	return memory, ms
}

// outcome shows a model some sizes of a curve. What was measured is not
// predicted again, whatever the model.
func (c *Curve) outcome(m Model, shown []int) Outcome {
	memory, ms := c.pick(shown)
	predict := m.Fit(memory, ms)
	o := Outcome{Name: c.Name, Group: c.Group, ShownMB: memory, Errors: []float64{}}
	chosen, least := shown[0], math.Inf(1)
	for i, size := range c.MemoryMB {
		d := math.Inf(1)
		switch {
		case slices.Contains(shown, i):
			d = c.DurationMS[i]
		case predict != nil:
			d = predict(size)
			if !math.IsInf(d, 1) {
				o.Errors = append(o.Errors, d/c.DurationMS[i]-1)
			}
		}
		if v := curve.Duration(size, d); v < least {
			chosen, least = i, v
		}
	}
	cheapest := 0
	for i, v := range c.CostUSD {
		if v < c.CostUSD[cheapest] {
			cheapest = i
		}
	}
	o.ChosenMB, o.CheapestMB = c.MemoryMB[chosen], c.MemoryMB[cheapest]
	o.Regret = c.CostUSD[chosen] / c.CostUSD[cheapest]
	return o
}

func summarize(name string, outcomes []Outcome) Summary {
	s := Summary{Model: name, Curves: len(outcomes), Outcomes: outcomes}
	var regrets, errors []float64
	for _, o := range outcomes {
		regrets = append(regrets, o.Regret)
		if o.Regret == 1 {
			s.Exact += 1 / float64(len(outcomes))
		}
		for _, e := range o.Errors {
			errors = append(errors, math.Abs(e))
		}
	}
	if len(regrets) == 0 {
		return s
	}
	s.MeanRegret, s.P90Regret = mean(regrets), quantile(regrets, 0.9)
	if len(errors) > 0 {
		median, p90 := quantile(errors, 0.5), quantile(errors, 0.9)
		s.MedianError, s.P90Error = &median, &p90
	}
	return s
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// quantile interpolates between order statistics (R. J. Hyndman and Y. Fan,
// "Sample quantiles in statistical packages", 1996, definition 7).
func quantile(v []float64, q float64) float64 {
	sorted := slices.SortedFunc(slices.Values(v), cmp.Compare[float64])
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
