package curve

import (
	"math"
	"slices"
)

// fullCPU is the memory size, in MB, that has one whole CPU.
const fullCPU = 1769

// creditExponent is how the credit fades as the share of a CPU grows to the
// whole: κ(1-v)^0.85, measured in a local emulation of the CFS quota.
const creditExponent = 0.85

// mechanism says how computing depends on the memory size.
type mechanism int

const (
	// credit: throttled to the share of the size, less the constant κ.
	credit mechanism = iota
	// power: b/m^g, for what is neither: disks, networks, caches.
	power
	// pressure: credit, and more work where memory is scarce.
	pressure
)

// shape is one form that a curve may have, but for its scale and its share of
// waiting.
type shape struct {
	mechanism mechanism
	// kappa is the credit in milliseconds.
	kappa float64
	// threads is how many CPUs the computing can use.
	threads float64
	// exponent of a power.
	exponent float64
	// scarceMB is the size at which scarce memory doubles the work.
	scarceMB float64
	weight   float64
}

// Model is what the shapes weigh before anything is measured. [Default] is the
// one that the product uses; others are for its evaluation.
type Model struct {
	// Credits are the values of κ, in milliseconds, that are equally likely.
	Credits []float64
	// Parallel, Power and Pressure are the weights of functions that use two or
	// four CPUs, of powers, and of scarce memory. What is left to one is that of
	// functions which use one CPU at a time.
	Parallel, Power, Pressure float64
	// Discrepancy is by how much, as a share, a mean that is measured differs
	// from the model at its best: other hosts, other neighbours, other inputs.
	Discrepancy float64
	// Spread is the same at a size that is predicted. It sets the width of the
	// intervals.
	Spread float64
}

// Default returns the model of the product. Credits of 24 to 80 ms fit published
// curves about equally well, and none of them fits best everywhere. Most
// functions use one CPU at a time.
func Default() Model {
	return Model{Credits: []float64{24, 36, 50, 80}, Parallel: 0.14, Power: 0.10, Pressure: 0.20, Discrepancy: 0.05, Spread: 0.12}
}

// shapes returns the prior.
func (m Model) shapes() []shape {
	var out []shape
	add := func(weight float64, all ...shape) {
		for _, s := range all {
			s.weight = weight / float64(len(all))
			if s.weight > 0 {
				out = append(out, s)
			}
		}
	}
	credits := func(threads, scarceMB float64) (all []shape) {
		for _, kappa := range m.Credits {
			s := shape{mechanism: credit, kappa: kappa, threads: threads}
			if scarceMB > 0 {
				s.mechanism, s.scarceMB = pressure, scarceMB
			}
			all = append(all, s)
		}
		return all
	}
	var powers []shape
	for _, g := range []float64{0.4, 0.6, 0.8, 1.2, 1.4, 1.7, 2} {
		powers = append(powers, shape{mechanism: power, exponent: g, threads: 1})
	}
	add(1-m.Parallel-m.Power-m.Pressure, credits(1, 0)...)
	add(m.Parallel, slices.Concat(credits(2, 0), credits(4, 0))...)
	add(m.Power, powers...)
	add(m.Pressure, slices.Concat(credits(1, 100), credits(1, 170), credits(1, 250))...)
	return out
}

// at is a shape at one memory size, where the time to compute c milliseconds of
// CPU is max(floor·c, slope·c - less).
type at struct{ floor, slope, less float64 }

func (s shape) at(memoryMB float64) at {
	v := memoryMB / fullCPU
	if s.mechanism == power {
		return at{floor: math.Pow(1/min(v, s.threads), s.exponent)}
	}
	work := 1.0
	if s.mechanism == pressure {
		work += math.Pow(s.scarceMB/memoryMB, 3)
	}
	if v >= s.threads {
		return at{floor: work / s.threads}
	}
	return at{work / s.threads, work / v, s.kappa * math.Pow(1-v/s.threads, creditExponent)}
}

// time returns how long c milliseconds of CPU take.
func (a at) time(c float64) float64 { return max(a.floor*c, a.slope*c-a.less) }

// cpu is the inverse of time.
func (a at) cpu(t float64) float64 {
	c := t / a.floor
	if a.slope > 0 {
		c = min(c, (t+a.less)/a.slope)
	}
	return c
}
