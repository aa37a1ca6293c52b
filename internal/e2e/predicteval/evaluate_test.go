package predicteval

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/cpushare"
	"github.com/thaw-lambda/thaw/internal/pricing"
	"github.com/thaw-lambda/thaw/report/predict"
)

var (
	fromFile = flag.String("from", "", "sum the requests of this `file` up into testdata/cells.json")
	update   = flag.Bool("update", false, "rewrite docs/prediction.md")
)

// recording is testdata/cells.json: what was measured last, and where.
type recording struct {
	Date     string `json:"date"`
	Kernel   string `json:"kernel"`
	HZ       string `json:"hz"`
	Cgroup   string `json:"cgroup"`
	CPUs     int    `json:"cpus"`
	Requests int    `json:"requests"`
	Batches  int    `json:"batches"`
	Dropped  int    `json:"dropped_batches"`
	Cells    []cell `json:"cells"`
}

// maxOthers is how many cores other work may use before a batch is dropped.
const maxOthers = 0.5

// pair is a prediction of one cell from another.
type pair struct {
	from, to cell
	model    string
	got      float64
	low      float64
	high     float64
}

func (p pair) err() float64   { return math.Abs(p.got/p.to.DurationMS - 1) }
func (p pair) covered() bool  { return p.low <= p.to.DurationMS && p.to.DurationMS <= p.high }
func (p pair) hasRange() bool { return p.high > 0 }

// models predict a cell from another; ok is false for what is refused.
var models = []struct {
	name string
	at   func(from cell, size int) (got, low, high float64, ok bool)
}{
	{"run delay", func(from cell, size int) (float64, float64, float64, bool) { return thaw(from, size, true) }},
	{"CPU time", func(from cell, size int) (float64, float64, float64, bool) { return thaw(from, size, false) }},
	{"CPU share", func(from cell, size int) (float64, float64, float64, bool) {
		// D((1-f) + f v/v'), f = C/(D v), one thread.
		share := func(size int) float64 { return min(cpushare.Share(float64(size)), 1) }
		f := min(from.CPUMS/(from.DurationMS*share(from.MemoryMB)), 1)
		return from.DurationMS * (1 - f + f*share(from.MemoryMB)/share(size)), 0, 0, true
	}},
	{"constant", func(from cell, _ int) (float64, float64, float64, bool) { return from.DurationMS, 0, 0, true }},
}

func thaw(from cell, size int, runDelay bool) (got, low, high float64, ok bool) {
	c := predict.Predict(from.source(runDelay), []int64{int64(size)})
	if c.Refused != "" || c.Points[0].Refused != "" {
		return 0, 0, 0, false
	}
	p := c.Points[0]
	return p.DurationMS, p.LowMS, p.HighMS, true
}

// pairsOf predicts every cell from every other one of its workload. The models
// are compared on what none of them refuses.
func pairsOf(cells []cell) (pairs []pair, refused int) {
	for _, from := range cells {
		for _, to := range cells {
			if from.Workload != to.Workload || from.MemoryMB == to.MemoryMB {
				continue
			}
			var of []pair
			for _, m := range models {
				if got, low, high, ok := m.at(from, to.MemoryMB); ok {
					of = append(of, pair{from, to, m.name, got, low, high})
				}
			}
			if len(of) == 0 || of[0].model != models[0].name {
				refused++
				continue
			}
			pairs = append(pairs, of...)
		}
	}
	return pairs, refused
}

// accuracy sums pairs up.
type accuracy struct {
	n           int
	median, p90 float64
	coverage    float64
}

func accuracyOf(pairs []pair, model string, keep func(pair) bool) accuracy {
	var errs []float64
	covered, ranges := 0, 0
	for _, p := range pairs {
		if p.model != model || !keep(p) {
			continue
		}
		errs = append(errs, p.err())
		if p.hasRange() {
			ranges++
			if p.covered() {
				covered++
			}
		}
	}
	return accuracy{len(errs), quantile(errs, .5), quantile(errs, .9), float64(covered) / float64(ranges)}
}

// regretOf is how much dearer the size is that a model would choose from one
// size than the true cheapest, as a ratio of costs: in the mean, and at the 90th
// percentile. Sizes that the model refuses are not chosen.
func regretOf(t *testing.T, cells []cell, model int, keep func(cell) bool) (mean90 [2]float64, n int) {
	t.Helper()
	rates, err := pricing.Load()
	if err != nil {
		t.Fatal(err)
	}
	price, err := rates.OnDemand("us-east-1", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	cost := func(size int, ms float64) float64 { return price.PerMillion(int64(size), math.Ceil(ms)/1000) }
	var regrets []float64
	for _, from := range cells {
		if !keep(from) {
			continue
		}
		best, chosen, predicted := math.Inf(1), from, cost(from.MemoryMB, from.DurationMS)
		any := false
		for _, to := range cells {
			if to.Workload != from.Workload {
				continue
			}
			best = min(best, cost(to.MemoryMB, to.DurationMS))
			if to.MemoryMB == from.MemoryMB {
				continue
			}
			if got, _, _, ok := models[model].at(from, to.MemoryMB); ok {
				any = true
				if c := cost(to.MemoryMB, got); c < predicted {
					chosen, predicted = to, c
				}
			}
		}
		if any {
			regrets = append(regrets, cost(chosen.MemoryMB, chosen.DurationMS)/best)
		}
	}
	return [2]float64{mean(regrets), quantile(regrets, .9)}, len(regrets)
}

func readRecording(t *testing.T) recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "cells.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// record sums up what was measured, on the machine that measured it.
func record(t *testing.T) {
	t.Helper()
	requests := readRequests(t, *fromFile)
	cells, dropped, batches := cellsOf(requests, maxOthers)
	r := recording{
		Date: time.Now().UTC().Format("2006-01-02"), Kernel: kernel(), HZ: hz(), Cgroup: "v1", CPUs: runtime.NumCPU(),
		Requests: len(requests), Batches: batches, Dropped: dropped, Cells: cells,
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		r.Cgroup = "v2"
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "cells.json"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func kernel() string {
	var name syscall.Utsname
	if syscall.Uname(&name) != nil {
		return "unknown"
	}
	var out []byte
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	version, _, _ := strings.Cut(string(out), "-")
	return "Linux " + version
}

// hz is the rate of the kernel's tick, where the kernel says so.
func hz() string {
	out, err := exec.Command("sh", "-c", "zcat /proc/config.gz 2>/dev/null || cat /boot/config-$(uname -r)").Output()
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(out)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "CONFIG_HZ="); ok {
			return value
		}
	}
	return "unknown"
}

// TestRecordedCells evaluates what was measured last, and holds
// docs/prediction.md and the promise in it.
func TestRecordedCells(t *testing.T) {
	if *fromFile != "" {
		record(t)
	}
	r := readRecording(t)
	got := document(t, r)
	path := filepath.Join("..", "..", "..", "docs", "prediction.md")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/prediction.md is not what testdata/cells.json says; go test -update writes it")
	}

	kinds := map[string]bool{}
	for _, c := range r.Cells {
		kinds[c.Workload] = true
	}
	if len(kinds) < 10 {
		t.Errorf("%d workloads, want ten at least", len(kinds))
	}
	pairs, _ := pairsOf(r.Cells)
	large := func(p pair) bool { return p.from.MemoryMB >= 512 }
	ours := accuracyOf(pairs, "run delay", large)
	if ours.n < 100 {
		t.Fatalf("%d pairs", ours.n)
	}
	if ours.median > .08 {
		t.Errorf("from 512 MB and above the median error is %.1f %%, promised are 8 %%", 100*ours.median)
	}
	for _, other := range []string{"CPU share", "constant"} {
		if theirs := accuracyOf(pairs, other, large); ours.median > 0.8*theirs.median || ours.p90 > theirs.p90 {
			t.Errorf("%.1f and %.1f %% are not better than those of %s, %.1f and %.1f %%", 100*ours.median, 100*ours.p90, other, 100*theirs.median, 100*theirs.p90)
		}
	}
}

func document(t *testing.T, r recording) string {
	t.Helper()
	pairs, refused := pairsOf(r.Cells)
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	workloadsMeasured, sizesMeasured := map[string]bool{}, map[int]bool{}
	var noise, others []float64
	for _, c := range r.Cells {
		workloadsMeasured[c.Workload] = true
		sizesMeasured[c.MemoryMB] = true
		if c.Noise > 0 {
			noise = append(noise, c.Noise-1)
		}
		others = append(others, c.Others)
	}
	p("# Predicting other memory sizes from one")
	p("")
	p("How well [report/predict](../report/predict) does on real functions. **In a local emulation of Lambda's CPU limit; not yet checked on AWS.**")
	p("Generated by `go test ./internal/e2e/predicteval -run TestRecordedCells -update`, which also holds the figures; how to measure anew is in that")
	p("package's documentation. The model and its formulas are in the documentation of report/predict.")
	p("")
	p("## What was measured")
	p("")
	p("%d workloads at %d memory sizes in the local Lambda (`emulator`), with the layer as it ships: durations are those of platform.report, CPU time and run", len(workloadsMeasured), len(sizesMeasured))
	p("delay those of the extension, %s requests in %d batches. Every request comes after an idle gap of 20 to 45 ms, at a random phase of the quota. Sizes and", thousands(r.Requests), r.Batches)
	p("workloads were in random order. Measured %s on %d cores, kernel %s, HZ=%s, control groups %s, period 20 ms.", r.Date, r.CPUs, r.Kernel, r.HZ, r.Cgroup)
	p("")
	p("**The machine was shared.** Of %d batches %d were dropped because other work used more than %.1f cores and enough quieter ones of the same cell were there; in the rest", r.Batches, r.Dropped, maxOthers)
	p("other work used %.1f cores in the median, %.1f at the 90th percentile. Two batches of one cell differ by %.0f %% in the median of cells, %.0f %% at the 90th percentile:", quantile(others, .5), quantile(others, .9), 100*quantile(noise, .5), 100*quantile(noise, .9))
	p("so much of every error below is noise of the measurement.")
	p("")
	p("## Errors, coverage, regret")
	p("")
	p("Each size is predicted from each other one. *error*: of the median duration, median / 90th percentile of pairs. *coverage*: share of pairs inside the 90 %% range.")
	p("*regret*: cost of the size that looks cheapest over that of the truly cheapest, mean / 90th percentile, x86_64 in us-east-1; choosing nothing is to stay.")
	p("*run delay* and *CPU time* are the two tiers of the model, *CPU share* is D((1-f) + f v/v') with f = C/(D v), *constant* is no model.")
	p("%d pairs that the model refuses are in no row: 128 MB with many threads or, for the second tier, without run delay; too little or too much memory.", refused)
	p("Two constants of the first tier, how fast the correction fades and the Q of its range, were chosen on these data; the others are of an earlier measurement of")
	p("other workloads. Q chosen without a workload covers 89 %% of that workload's pairs.")
	p("")
	p("| source | pairs | run delay: error, coverage, regret | CPU time: error, coverage, regret | CPU share: error, regret | constant: error, regret |")
	p("| --- | ---: | --- | --- | --- | --- |")
	row := func(name string, from func(cell) bool) {
		var columns []string
		n := 0
		for i, m := range models {
			a := accuracyOf(pairs, m.name, func(p pair) bool { return from(p.from) })
			if i == 0 {
				n = a.n
			}
			if a.n == 0 {
				columns = append(columns, "refused")
				continue
			}
			regret, _ := regretOf(t, r.Cells, i, from)
			text := fmt.Sprintf("%.1f / %.0f %%", 100*a.median, 100*a.p90)
			if i < 2 {
				text += fmt.Sprintf(", %.0f %%", 100*a.coverage)
			}
			columns = append(columns, text+fmt.Sprintf(", %.3f / %.2f", regret[0], regret[1]))
		}
		p("| %s | %d | %s |", name, n, strings.Join(columns, " | "))
	}
	row("all", func(cell) bool { return true })
	row("**512 MB and above**", func(c cell) bool { return c.MemoryMB >= 512 })
	for _, size := range sizes {
		row(fmt.Sprintf("%d MB", size), func(c cell) bool { return c.MemoryMB == size })
	}
	p("")
	p("## By workload, from 512 MB and above")
	p("")
	p("| workload | what it does | CPU time | pairs | run delay: error, coverage | CPU time: error, coverage | CPU share | constant |")
	p("| --- | --- | ---: | ---: | --- | --- | --- | --- |")
	for _, w := range workloads {
		if !workloadsMeasured[w.name] {
			continue
		}
		of := func(model string) accuracy {
			return accuracyOf(pairs, model, func(p pair) bool { return p.from.Workload == w.name && p.from.MemoryMB >= 512 })
		}
		i := slices.IndexFunc(r.Cells, func(c cell) bool { return c.Workload == w.name && c.MemoryMB == 1024 })
		if of("run delay").n == 0 || i < 0 {
			continue
		}
		ours, second, share, constant := of("run delay"), of("CPU time"), of("CPU share"), of("constant")
		p("| %s | %s | %.1f ms | %d | %.1f / %.0f %%, %.0f %% | %.1f / %.0f %%, %.0f %% | %.0f / %.0f %% | %.0f / %.0f %% |", w.name, w.kind, r.Cells[i].CPUMS, ours.n,
			100*ours.median, 100*ours.p90, 100*ours.coverage, 100*second.median, 100*second.p90, 100*second.coverage,
			100*share.median, 100*share.p90, 100*constant.median, 100*constant.p90)
	}
	p("")
	p("## What this does not show")
	p("")
	p("- AWS. The first real step: five functions at five sizes, 50 calls each. Whether Lambda's machines show the run delay (`/proc/PID/task/*/schedstat`) is not known;")
	p("  without it the second tier is used, and the report says so. Whether the CPU clock there counts what the limit takes away is checked for every invocation")
	p("  (`thaw.usage.implausible`), and the prediction refused if it does.")
	p("- Requests without an idle gap (the credit is then scaled by their share), arm64, more than two CPUs, the JVM and .NET, cold starts, the share of the network by size.")
	p("- Functions near their memory limit: collectors of garbage work harder there. The model refuses above 85 %% of the size that ran and 80 %% of the size predicted.")
	return b.String()
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
