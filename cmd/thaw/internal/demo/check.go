package demo

import (
	"fmt"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report"
)

// counts are what the report and the ledger must agree in, exactly.
type counts struct {
	Invocations, ColdStarts, Errors, Timeouts int
}

type countsKey struct {
	function string
	memoryMB int
}

// compare holds the report against the ledger, per function and memory size.
func compare(rep *report.Report, truth []emulator.Totals) []error {
	want := map[countsKey]counts{}
	for _, t := range truth {
		k := countsKey{t.Function, t.MemoryMB}
		want[k] = want[k].plus(t)
	}
	got := map[countsKey]counts{}
	for _, f := range rep.Functions {
		for _, p := range f.MemoryCurve {
			if p.Basis != string(lifecycle.Measured) {
				continue // nothing ran there
			}
			got[countsKey{f.Name, int(p.MemoryMB)}] = counts{int(p.Invocations), int(p.ColdStarts), int(p.Errors), int(p.Timeouts)}
		}
	}
	var differences []error
	for k, w := range want {
		if g := got[k]; g != w {
			differences = append(differences, fmt.Errorf("%s at %d MB: the report says %+v, the ledger %+v", k.function, k.memoryMB, g, w))
		}
		delete(got, k)
	}
	for k, g := range got {
		differences = append(differences, fmt.Errorf("%s at %d MB: the report says %+v, the ledger knows nothing of it", k.function, k.memoryMB, g))
	}
	return differences
}

func (c counts) plus(t emulator.Totals) counts {
	return counts{c.Invocations + t.Invocations, c.ColdStarts + t.ColdStarts, c.Errors + t.Errors, c.Timeouts + t.Timeouts}
}

func totals(truth []emulator.Totals) counts {
	var sum counts
	for _, t := range truth {
		sum = sum.plus(t)
	}
	return sum
}
