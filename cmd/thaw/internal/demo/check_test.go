package demo

import (
	"testing"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/report"
)

// compare finds every way in which the report can be wrong.
func TestCompare(t *testing.T) {
	truth := []emulator.Totals{
		{Function: "a", Version: "1", MemoryMB: 128, Invocations: 10, ColdStarts: 2, Errors: 1, Timeouts: 1},
		{Function: "a", Version: "2", MemoryMB: 128, Invocations: 5, ColdStarts: 1},
	}
	rep := func(points ...report.CurvePoint) *report.Report {
		return &report.Report{Functions: []*report.Function{{Name: "a", MemoryCurve: points}}}
	}
	right := report.CurvePoint{Basis: "measured", MemoryMB: 128, Invocations: 15, ColdStarts: 3, Errors: 1, Timeouts: 1}
	f := func(differences int, r *report.Report) {
		t.Helper()
		if got := compare(r, truth); len(got) != differences {
			t.Errorf("%d differences, want %d: %v", len(got), differences, got)
		}
	}
	f(0, rep(right))
	f(1, rep())
	f(1, rep(right, report.CurvePoint{Basis: "measured", MemoryMB: 256, Invocations: 1}))
	f(0, rep(right, report.CurvePoint{Basis: "predicted", MemoryMB: 256}))
	for _, change := range []func(*report.CurvePoint){
		func(p *report.CurvePoint) { p.Invocations++ },
		func(p *report.CurvePoint) { p.ColdStarts-- },
		func(p *report.CurvePoint) { p.Errors++ },
		func(p *report.CurvePoint) { p.Timeouts-- },
	} {
		wrong := right
		change(&wrong)
		f(1, rep(wrong))
	}
}
