package curve

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Point is what was measured at one memory size.
type Point struct {
	MemoryMB float64
	// MS is the mean duration in milliseconds.
	MS float64
	// RelativeError is the standard error of MS as a share of it; 0 where it is
	// not known.
	RelativeError float64
}

// Estimate is a duration in milliseconds with its 95 % interval.
type Estimate struct {
	MemoryMB      float64
	MS, Low, High float64
	// Measured tells a size that ran from one that was predicted.
	Measured bool
}

const (
	// tails are the degrees of freedom of the likelihood: some published points
	// are off by far more than the rest.
	tails = 4
	// reach is how far beyond the measured sizes a prediction is made.
	reach = 2
)

// Curve is what is known of a function's duration against its memory size.
type Curve struct {
	model  Model
	shapes []shape
	points []Point
	// smooth are the durations of points, made to fall with the size.
	smooth     []float64
	hypotheses []hypothesis
}

// hypothesis is one curve of the posterior, with its weight.
type hypothesis struct {
	shape          int
	waiting, cpuMS float64
	weight         float64
}

// Fit returns the curve of the default model through the points, of which there
// has to be one at least, at different sizes.
func Fit(points []Point) (*Curve, error) { return Default().Fit(points) }

// Fit returns the curve of a model.
func (m Model) Fit(points []Point) (*Curve, error) {
	c := &Curve{model: m, shapes: m.shapes(), points: slices.Clone(points)}
	slices.SortFunc(c.points, func(a, b Point) int { return cmp.Compare(a.MemoryMB, b.MemoryMB) })
	if err := check(c.points); err != nil {
		return nil, err
	}
	var v, w []float64
	for _, p := range c.points {
		sd := p.MS * c.error(p)
		v, w = append(v, p.MS), append(w, 1/(sd*sd))
	}
	c.smooth = isotonic(v, w)
	c.infer()
	return c, nil
}

func check(points []Point) error {
	if len(points) == 0 {
		return errors.New("memory curve: no measured size")
	}
	for i, p := range points {
		switch {
		case !(p.MemoryMB > 0) || math.IsInf(p.MemoryMB, 0):
			return fmt.Errorf("memory curve: %g MB is not a memory size", p.MemoryMB)
		case !(p.MS > 0) || math.IsInf(p.MS, 0):
			return fmt.Errorf("memory curve: %g ms at %g MB is not a duration", p.MS, p.MemoryMB)
		case !(p.RelativeError >= 0) || math.IsInf(p.RelativeError, 0):
			return fmt.Errorf("memory curve: the error at %g MB is %g", p.MemoryMB, p.RelativeError)
		case i > 0 && points[i-1].MemoryMB == p.MemoryMB:
			return fmt.Errorf("memory curve: %g MB is there twice", p.MemoryMB)
		}
	}
	return nil
}

// error is the standard deviation of the logarithm of a duration: what the
// measurement leaves and what the model cannot follow.
func (c *Curve) error(p Point) float64 { return math.Hypot(c.model.Discrepancy, p.RelativeError) }

// infer weighs, by Bayes's theorem, hypotheses on a grid: each shape, with each
// share of waiting, through each level about the point of the largest size.
func (c *Curve) infer() {
	const shares, levels = 40, 4
	last := len(c.points) - 1
	anchor := c.points[last]
	most := math.Inf(-1)
	for i, s := range c.shapes {
		sizes := make([]at, len(c.points))
		for j, p := range c.points {
			sizes[j] = s.at(p.MemoryMB)
		}
		for share := 0.0; share <= shares; share++ {
			for level := -levels; level <= levels; level++ {
				total := anchor.MS * math.Exp(0.5*float64(level)*c.error(anchor))
				h := hypothesis{shape: i, waiting: total * share / shares, weight: math.Log(s.weight)}
				h.cpuMS = sizes[last].cpu(total - h.waiting)
				for j, p := range c.points {
					h.weight += c.likelihood(p, h.waiting+sizes[j].time(h.cpuMS))
				}
				most = max(most, h.weight)
				c.hypotheses = append(c.hypotheses, h)
			}
		}
	}
	c.normalize(most)
}

// likelihood is the logarithm of the density of Student's t at the point's
// distance from a curve, but for a constant.
func (c *Curve) likelihood(p Point, ms float64) float64 {
	r := math.Log(max(ms, 1e-9)/p.MS) / c.error(p)
	return -(tails + 1) / 2.0 * math.Log1p(r*r/tails)
}

// normalize turns logarithms into weights of sum one, and lets go of what has
// none to speak of.
func (c *Curve) normalize(most float64) {
	c.hypotheses = slices.DeleteFunc(c.hypotheses, func(h hypothesis) bool { return h.weight < most-9 })
	var sum float64
	for i, h := range c.hypotheses {
		c.hypotheses[i].weight = math.Exp(h.weight - most)
		sum += c.hypotheses[i].weight
	}
	for i := range c.hypotheses {
		c.hypotheses[i].weight /= sum
	}
}

// Range returns the smallest and the largest size at which the curve speaks.
func (c *Curve) Range() (low, high float64) {
	return c.points[0].MemoryMB / reach, c.points[len(c.points)-1].MemoryMB * reach
}

// MS returns the duration at a memory size: what was measured, where it was,
// and else what the model predicts. Beyond [Curve.Range] it says nothing.
func (c *Curve) MS(memoryMB float64) (ms float64, measured, ok bool) {
	if low, high := c.Range(); !(memoryMB >= low && memoryMB <= high) {
		return 0, false, false
	}
	i, measured := c.find(memoryMB)
	if measured {
		return c.smooth[i], true, true
	}
	return c.between(i, c.mean(c.durations(memoryMB))), false, true
}

// At returns the same with its 95 % interval.
func (c *Curve) At(memoryMB float64) (Estimate, bool) {
	ms, measured, ok := c.MS(memoryMB)
	if !ok {
		return Estimate{}, false
	}
	e := Estimate{memoryMB, ms, ms, ms, measured}
	if measured {
		i, _ := c.find(memoryMB)
		z := 1.96 * c.points[i].RelativeError
		e.Low, e.High = ms*math.Exp(-z), ms*math.Exp(z)
		return e, true
	}
	all := c.durations(memoryMB)
	e.Low, e.High = min(ms, c.quantile(all, 0.025)), max(ms, c.quantile(all, 0.975))
	return e, true
}

// find returns the index of a measured size, or that of the next larger one.
func (c *Curve) find(memoryMB float64) (int, bool) {
	return slices.BinarySearchFunc(c.points, memoryMB, func(p Point, m float64) int { return cmp.Compare(p.MemoryMB, m) })
}

// between keeps a prediction between its measured neighbours, of which the next
// larger one is at i.
func (c *Curve) between(i int, ms float64) float64 {
	if i > 0 {
		ms = min(ms, c.smooth[i-1])
	}
	if i < len(c.smooth) {
		ms = max(ms, c.smooth[i])
	}
	return ms
}

func (c *Curve) mean(ms []float64) float64 {
	var mean float64
	for i, h := range c.hypotheses {
		mean += h.weight * ms[i]
	}
	return mean
}

// durations returns what each hypothesis says about a size.
func (c *Curve) durations(memoryMB float64) []float64 {
	var sizes []at
	for _, s := range c.shapes {
		sizes = append(sizes, s.at(memoryMB))
	}
	out := make([]float64, len(c.hypotheses))
	for i, h := range c.hypotheses {
		out[i] = h.waiting + sizes[h.shape].time(h.cpuMS)
	}
	return out
}

// quantile returns that of the predictive distribution: the hypotheses, each
// with the spread about it. They are gathered in bins of the logarithm that are
// narrow against the spread.
func (c *Curve) quantile(ms []float64, q float64) float64 {
	spread := c.model.Spread
	width := spread / 10
	bins := map[int]float64{}
	for i, v := range ms {
		bins[int(math.Round(math.Log(max(v, 1e-9))/width))] += c.hypotheses[i].weight
	}
	order := slices.Sorted(maps.Keys(bins))
	low, high := float64(order[0])*width-5*spread, float64(order[len(order)-1])*width+5*spread
	for high-low > 1e-4 {
		middle := (low + high) / 2
		var below float64
		for _, bin := range order {
			below += bins[bin] * normal((middle-float64(bin)*width)/spread)
		}
		if below < q {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp((low + high) / 2)
}

func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }
