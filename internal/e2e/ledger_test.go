package e2e

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report"
)

// The report agrees with the local Lambda's ledger, whatever happens to the
// functions, and although the collector is killed in the middle.
func TestReportAgreesWithLedgerAcrossCollectorCrash(t *testing.T) {
	w := newWorld(t)
	w.deploy("flaky", 128)
	w.deploy("flaky", 256)
	w.deploy("checkout", 256)
	w.deploy("audit-log", 512)

	crash := func(memoryMB int) {
		for _, mode := range []string{"ok", "error", "panic", "ok", "exit", "ok", "oom", "oom", "ok", "timeout", "ok"} {
			failed := w.invoke("flaky", memoryMB, fmt.Sprintf(`{"mode":%q}`, mode))
			if want := mode != "ok"; failed != want {
				t.Errorf("flaky at %d MB in mode %s: failed %t", memoryMB, mode, failed)
			}
		}
	}
	steady := func(name string, memoryMB int, event string, n int) {
		for i := range n {
			if i == n/2 {
				w.recycle(name, memoryMB)
			}
			if w.invoke(name, memoryMB, event) {
				t.Errorf("%s at %d MB failed", name, memoryMB)
			}
		}
	}
	everything := func() {
		var wg sync.WaitGroup
		wg.Go(func() { crash(128) })
		wg.Go(func() { crash(256); steady("audit-log", 512, eventOf(t, "audit-log"), 30) })
		wg.Go(func() { steady("checkout", 256, eventOf(t, "checkout"), 30) })
		wg.Wait()
	}
	everything()
	w.collector.Kill()
	// While nobody listens, the extensions keep what they have.
	for range 3 {
		w.invoke("checkout", 256, eventOf(t, "checkout"))
		w.invoke("flaky", 128, `{"mode":"ok"}`)
		w.invoke("flaky", 256, `{"mode":"error"}`)
	}
	w.startCollector()
	everything()

	rep := w.drain()
	agree(t, rep, w.lambda.Ledger().Summary())
}

// agree fails the test where the report and the ledger differ: counts exactly,
// means by more than a millisecond, quantiles by more than one bucket.
func agree(t *testing.T, rep *report.Report, truth []emulator.Totals) {
	t.Helper()
	type key struct {
		name     string
		memoryMB int64
	}
	want := map[key]emulator.Totals{}
	for _, totals := range truth {
		k := key{totals.Function, int64(totals.MemoryMB)}
		sum := want[k]
		sum.Invocations += totals.Invocations
		sum.ColdStarts += totals.ColdStarts
		sum.Errors += totals.Errors
		sum.Timeouts += totals.Timeouts
		sum.DurationsMs = append(sum.DurationsMs, totals.DurationsMs...)
		want[k] = sum
	}
	points := 0
	for _, f := range rep.Functions {
		for _, p := range f.MemoryCurve {
			if p.Basis == string(lifecycle.Predicted) {
				continue // nothing ran there
			}
			points++
			k := key{f.Name, p.MemoryMB}
			truth, ok := want[k]
			if !ok {
				t.Errorf("the report has %v, which the ledger does not", k)
				continue
			}
			got := [4]int64{p.Invocations, p.ColdStarts, p.Errors, p.Timeouts}
			if wanted := [4]int64{int64(truth.Invocations), int64(truth.ColdStarts), int64(truth.Errors), int64(truth.Timeouts)}; got != wanted {
				t.Errorf("%v: invocations, cold starts, errors, timeouts are %v in the report, %v in the ledger", k, got, wanted)
			}
			agreeDurations(t, fmt.Sprint(k), p.DurationMS, truth.DurationsMs)
		}
	}
	if points != len(want) {
		t.Errorf("the report has %d functions and memory sizes, the ledger %d", points, len(want))
	}
}

func agreeDurations(t *testing.T, what string, got report.Quantiles, truth []float64) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(truth))
	sum := 0.0
	for _, d := range sorted {
		sum += d
	}
	mean := sum / float64(len(sorted))
	if got.Mean == nil || math.Abs(*got.Mean-mean) > 1 {
		t.Errorf("%s: mean duration is %s ms in the report, %.3f ms in the ledger", what, show(got.Mean), mean)
	}
	for _, q := range []struct {
		p     float64
		value *float64
		floor int
	}{{0.50, got.P50, 30}, {0.95, got.P95, 80}} {
		if q.value == nil {
			if len(sorted) >= q.floor {
				t.Errorf("%s: p%.0f is missing with %d values", what, 100*q.p, len(sorted))
			}
			continue
		}
		// The quantile lies between two neighbouring values; one bucket of
		// scale 5 is 2^(1/32) wide.
		rank := q.p * float64(len(sorted)-1)
		low, high := sorted[int(math.Floor(rank))], sorted[min(int(math.Ceil(rank))+1, len(sorted)-1)]
		const bucket = 1.0219
		if *q.value < low/bucket || *q.value > high*bucket {
			t.Errorf("%s: p%.0f is %.3f ms in the report, between %.3f and %.3f ms in the ledger", what, 100*q.p, *q.value, low, high)
		}
	}
}

func show(v *float64) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprintf("%.3f", *v)
}
