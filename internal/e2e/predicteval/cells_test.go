package predicteval

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/thaw-lambda/thaw/report/predict"
)

type cellID struct {
	workload string
	memoryMB int
}

// cell is what a report would know of a workload at a size: medians, in
// milliseconds, and what goes with them.
type cell struct {
	Workload    string  `json:"workload"`
	MemoryMB    int     `json:"memory_mb"`
	N           int     `json:"n"`
	DurationMS  float64 `json:"duration_ms"`
	P95MS       float64 `json:"p95_ms"`
	MeanMS      float64 `json:"mean_ms"`
	CPUMS       float64 `json:"cpu_ms"`
	FullSpeedMS float64 `json:"full_speed_ms"`
	Idle        float64 `json:"idle"`
	Implausible float64 `json:"implausible"`
	UsedMB      float64 `json:"used_mb"`
	// Noise is the largest ratio between the medians of two batches.
	Noise float64 `json:"noise"`
	// Others is how many cores other work on the machine used meanwhile.
	Others float64 `json:"others"`
}

// source is what the prediction starts from.
func (c cell) source(runDelay bool) predict.Source {
	s := predict.Source{
		MemoryMB: int64(c.MemoryMB), N: int64(c.N), DurationMS: c.DurationMS, CPUMS: c.CPUMS, FullSpeedMS: c.FullSpeedMS,
		Idle: c.Idle, Implausible: c.Implausible, UsedMB: c.UsedMB, ManyThreads: find(c.Workload).manyThreads(),
	}
	if !runDelay {
		s.FullSpeedMS = 0
	}
	return s
}

// cellsOf sums requests up. Batches with much other work on the machine are
// dropped, the most disturbed first, as long as enough requests remain.
func cellsOf(requests []request, maxOthers float64) (cells []cell, dropped, batches int) {
	byCell := map[cellID]map[int64][]request{}
	for _, r := range requests {
		id := cellID{r.Workload, r.MemoryMB}
		if byCell[id] == nil {
			byCell[id] = map[int64][]request{}
		}
		byCell[id][r.Batch] = append(byCell[id][r.Batch], r)
	}
	for id, byBatch := range byCell {
		kept := maps.Clone(byBatch)
		n := 0
		for _, batch := range byBatch {
			n += len(batch)
		}
		loudest := slices.SortedFunc(maps.Keys(byBatch), func(a, b int64) int {
			return cmp.Compare(byBatch[b][0].Others, byBatch[a][0].Others)
		})
		for _, at := range loudest {
			if len(kept[at]) > 0 && kept[at][0].Others > maxOthers && n-len(kept[at]) >= predict.FloorInvocations {
				n -= len(kept[at])
				delete(kept, at)
			}
		}
		batches += len(byBatch)
		dropped += len(byBatch) - len(kept)
		cells = append(cells, sumUp(id, kept))
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.MemoryMB, b.MemoryMB))
	})
	return cells, dropped, batches
}

func sumUp(id cellID, batches map[int64][]request) cell {
	c := cell{Workload: id.workload, MemoryMB: id.memoryMB}
	var d, cpu, full, medians []float64
	for _, at := range slices.Sorted(maps.Keys(batches)) {
		var of []float64
		for _, r := range batches[at] {
			share := r.share()
			of = append(of, r.D)
			cpu = append(cpu, r.C)
			full = append(full, 1000*share.FullSpeed(float64(id.memoryMB)).Seconds())
			if share.Idle {
				c.Idle++
			}
			if !share.Plausible(float64(id.memoryMB)) {
				c.Implausible++
			}
			c.UsedMB = max(c.UsedMB, r.Peak)
			c.Others = max(c.Others, r.Others)
		}
		medians = append(medians, quantile(of, .5))
		d = append(d, of...)
	}
	c.N = len(d)
	c.Idle, c.Implausible = c.Idle/float64(c.N), c.Implausible/float64(c.N)
	c.DurationMS, c.P95MS, c.MeanMS = quantile(d, .5), quantile(d, .95), mean(d)
	c.CPUMS, c.FullSpeedMS = quantile(cpu, .5), quantile(full, .5)
	c.Noise = slices.Max(medians) / slices.Min(medians)
	for _, v := range []*float64{&c.DurationMS, &c.P95MS, &c.MeanMS, &c.CPUMS, &c.FullSpeedMS, &c.Noise, &c.Others, &c.Implausible} {
		*v = math.Round(*v*1000) / 1000
	}
	return c
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func readRequests(t *testing.T, path string) []request {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []request
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", path, err))
		}
		out = append(out, r)
	}
	return out
}
