package predicteval

import (
	"math"
	"testing"
)

// TestPredictionOnRealFunctions measures a few functions at three sizes and
// predicts each size from each other one: better than no model, and than the
// share of the CPU alone. Ratios only; docs/prediction.md has the figures.
func TestPredictionOnRealFunctions(t *testing.T) {
	w := newWorld(t)
	if e := w.lambda.Enforcement(); !e.CPUEnforced {
		t.Fatalf("CPU is %s: this machine cannot run the local Lambda's limits", e.CPU)
	}
	var requests []request
	for _, name := range []string{"go/compute", "node/mix", "python/compute"} {
		for _, size := range []int{512, 1024, 1769} {
			w.deploy(t, find(name), size)
			requests = append(requests, w.batch(t, find(name), size, 1, 32)...)
		}
	}
	cells, _, _ := cellsOf(requests, math.Inf(1))
	pairs, refused := pairsOf(cells)
	if refused > 0 || len(pairs) != 4*18 {
		t.Fatalf("%d predictions, %d pairs refused: %+v", len(pairs), refused, cells)
	}
	errorOf := map[string]float64{}
	for _, p := range pairs {
		errorOf[p.model] += math.Abs(math.Log(p.got/p.to.DurationMS)) / 18
		if p.model == "run delay" {
			t.Logf("%s: %d MB from %d MB: predicted %.1f ms (%.1f to %.1f), measured %.1f ms", p.from.Workload, p.to.MemoryMB, p.from.MemoryMB, p.got, p.low, p.high, p.to.DurationMS)
		}
	}
	t.Logf("mean error, as a logarithm: %v", errorOf)
	if errorOf["run delay"] > 0.5*errorOf["constant"] || errorOf["run delay"] > errorOf["CPU share"] {
		t.Errorf("the prediction is not better than its alternatives: %v", errorOf)
	}
}
