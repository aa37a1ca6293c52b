package evaluate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Curve is a published memory curve.
type Curve struct {
	Name       string    `json:"name"`
	Group      string    `json:"group"`
	Kind       string    `json:"kind"`
	MemoryMB   []float64 `json:"memory_mb"`
	DurationMS []float64 `json:"duration_ms"`
	CostUSD    []float64 `json:"cost_usd"`
}

// File is what is in a file.
type File struct {
	Curves []Curve `json:"curves"`
	// Ratios are what a lambda-perf file says about inits and first invocations.
	Ratios []Ratio `json:"ratios,omitempty"`
}

// maxFile bounds what is read of one file.
const maxFile = 256 << 20

// Read reads a file of memory curves, {"curves": [...]}, or one of
// maxday/lambda-perf, {"runtimeData": [...]}, whose first invocations at several
// sizes are curves too.
func Read(r io.Reader) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("the file is larger than %d MB", maxFile>>20)
	}
	var file struct {
		Curves      []Curve
		RuntimeData []perfEntry
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("not a JSON file of memory curves: %w", err)
	}
	out := &File{Curves: file.Curves}
	if len(file.RuntimeData) > 0 {
		out.Curves = append(out.Curves, perfCurves(file.RuntimeData)...)
		out.Ratios = perfRatios(file.RuntimeData)
	}
	if len(out.Curves) == 0 && len(out.Ratios) == 0 {
		return nil, errors.New(`no memory curve in the file: it has neither "curves" nor "runtimeData"`)
	}
	for i := range out.Curves {
		if err := out.Curves[i].normalize(); err != nil {
			return nil, fmt.Errorf("curve %d (%q): %w", i+1, out.Curves[i].Name, err)
		}
	}
	return out, nil
}

// normalize checks a curve, puts its sizes in order, and prices it where the
// file does not.
func (c *Curve) normalize() error {
	n := len(c.MemoryMB)
	if n == 0 || len(c.DurationMS) != n {
		return fmt.Errorf("it has %d memory sizes and %d durations", n, len(c.DurationMS))
	}
	if len(c.CostUSD) == 0 {
		for i := range n {
			c.CostUSD = append(c.CostUSD, cost(c.MemoryMB[i], c.DurationMS[i]))
		}
	}
	if len(c.CostUSD) != n {
		return fmt.Errorf("it has %d memory sizes and %d costs", n, len(c.CostUSD))
	}
	type row struct{ memory, duration, cost float64 }
	var rows []row
	for i := range n {
		rows = append(rows, row{c.MemoryMB[i], c.DurationMS[i], c.CostUSD[i]})
		for _, v := range []float64{c.MemoryMB[i], c.DurationMS[i], c.CostUSD[i]} {
			if !(v > 0) || math.IsInf(v, 1) {
				return fmt.Errorf("%g is not above zero", v)
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.memory, b.memory) })
	c.MemoryMB, c.DurationMS, c.CostUSD = nil, nil, nil
	for i, r := range rows {
		if i > 0 && rows[i-1].memory == r.memory {
			return fmt.Errorf("%g MB is there twice", r.memory)
		}
		c.MemoryMB, c.DurationMS, c.CostUSD = append(c.MemoryMB, r.memory), append(c.DurationMS, r.duration), append(c.CostUSD, r.cost)
	}
	if c.Group == "" {
		c.Group = c.Name
	}
	return nil
}

// perGBSecond is the price that costs are made of where a file has none. Regret
// does not depend on it.
const perGBSecond = 1.66667e-05

// cost is what a mean duration costs, rounded up to whole milliseconds as
// published costs are.
func cost(memoryMB, ms float64) float64 {
	return math.Ceil(ms) / 1000 * memoryMB / 1024 * perGBSecond
}
