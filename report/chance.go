package report

import (
	"github.com/thaw-lambda/thaw/report/stats"
)

// falseDiscoveries is the share of the functions with advice on their memory
// size that may have it by chance.
const falseDiscoveries = 0.05

// discount marks the functions whose sizes differ by no more than chance, over
// all functions of the report: of a thousand functions whose sizes cost the
// same, fifty would differ at 95 % confidence.
func discount(functions []*Function) {
	var tested []*Function
	var p []float64
	for _, f := range functions {
		if v := viewCurve(f); len(v.supported) > 1 {
			tested, p = append(tested, f), append(p, v.pValue())
		}
	}
	for i, rejected := range stats.BenjaminiHochberg(p, falseDiscoveries) {
		tested[i].chance = !rejected
		tested[i].tested = len(tested)
	}
}

// pValue is that of the hypothesis that no size differs from the reference, in
// cost or in duration: the smallest of all comparisons, times their number
// (Bonferroni).
func (v *curveView) pValue() float64 {
	reference := v.reference()
	p, n := 1.0, 0.0
	for _, other := range v.supported {
		if other == reference {
			continue
		}
		cost := reference.costLess(other)
		time := reference.faster(other)
		p = min(p, pOf(cost), pOf(time))
		n += 2
	}
	return min(1, p*n)
}

func pOf(in stats.Interval) float64 { return stats.PValue((in.Low+in.High)/2, in) }
