package evaluate

import (
	"math"

	"github.com/thaw-lambda/thaw/report/curve"
)

// Prediction returns the duration at a memory size.
type Prediction func(memoryMB float64) float64

// Model predicts durations from measured ones. Fit returns nil for a model that
// predicts nothing, and chooses among what was measured.
type Model struct {
	Name string
	Fit  func(memoryMB, ms []float64) Prediction
}

// Thaw is the model of the product.
func Thaw() Model { return product("Thaw", curve.Default()) }

func product(name string, m curve.Model) Model {
	return Model{name, func(memoryMB, ms []float64) Prediction {
		c, err := m.Fit(points(memoryMB, ms))
		if err != nil {
			return nil
		}
		return func(q float64) float64 {
			ms, _, known := c.MS(q)
			if !known {
				return math.Inf(1)
			}
			return ms
		}
	}}
}

func points(memoryMB, ms []float64) []curve.Point {
	out := make([]curve.Point, len(ms))
	for i := range ms {
		out[i] = curve.Point{MemoryMB: memoryMB[i], MS: ms[i]}
	}
	return out
}

// PowerLaw is a + b/m^g with g from 0.3 to 2.
func PowerLaw() Model {
	return Model{"a + b/m^g", func(memoryMB, ms []float64) Prediction {
		var exponents []float64
		for g := 0.30; g < 2.001; g += 0.05 {
			exponents = append(exponents, g)
		}
		return bestOf(memoryMB, ms, exponents, func(m, g float64) float64 { return math.Pow(128/m, g) })
	}}
}

// Others are the models of others: what AWS Lambda Power Tuning does, which
// knows only what it measured; Parrotfish's exponential (SoCC 2023); and the
// plain share of a CPU.
func Others() []Model {
	return []Model{
		PowerLaw(),
		{"Parrotfish: a + b exp(-m/c)", func(memoryMB, ms []float64) Prediction {
			var scales []float64
			for c := 30.0; c < 8000; c *= 1.05 {
				scales = append(scales, c)
			}
			return bestOf(memoryMB, ms, scales, func(m, c float64) float64 { return math.Exp(-m / c) })
		}},
		{"a + b/m", func(memoryMB, ms []float64) Prediction {
			return bestOf(memoryMB, ms, []float64{1}, func(m, _ float64) float64 { return 128 / m })
		}},
		{"Power Tuning: measured only", func([]float64, []float64) Prediction { return nil }},
	}
}

// bestOf fits a + b·basis(m, p), with a and b not below zero, for each p by
// least squares of the relative error, and returns the best.
func bestOf(memoryMB, ms, parameters []float64, basis func(m, p float64) float64) Prediction {
	best := math.Inf(1)
	var a, b, parameter float64
	for _, p := range parameters {
		x := make([]float64, len(ms))
		for i, m := range memoryMB {
			x[i] = basis(m, p)
		}
		if pa, pb, rest := line(x, ms); rest < best-1e-12 {
			best, a, b, parameter = rest, pa, pb, p
		}
	}
	return func(m float64) float64 { return a + b*basis(m, parameter) }
}

// line fits y = a + b·x, neither below zero, by least squares of the relative
// error, and returns the sum of the squares that is left.
func line(x, y []float64) (a, b, rest float64) {
	var s1, sx, sxx, ty, txy float64 // weights are 1/y²
	for i := range y {
		w := 1 / (y[i] * y[i])
		s1, sx, sxx = s1+w, sx+w*x[i], sxx+w*x[i]*x[i]
		ty, txy = ty+w*y[i], txy+w*x[i]*y[i]
	}
	square := func(a, b float64) (sum float64) {
		for i := range y {
			r := (a+b*x[i])/y[i] - 1
			sum += r * r
		}
		return sum
	}
	if det := s1*sxx - sx*sx; det > 0 {
		a, b = (ty*sxx-txy*sx)/det, (s1*txy-sx*ty)/det
		if a >= 0 && b >= 0 {
			return a, b, square(a, b)
		}
	}
	flat, steep := max(0, ty/s1), max(0, txy/sxx)
	if square(flat, 0) <= square(0, steep) {
		return flat, 0, square(flat, 0)
	}
	return 0, steep, square(0, steep)
}
