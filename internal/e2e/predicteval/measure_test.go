package predicteval

import (
	"bufio"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/cpushare"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

var (
	measureFile = flag.String("measure", "", "measure every workload at every size, and append the requests to this `file`")
	measurePart = flag.String("part", "0/1", "`i/n`: only every nth workload, from the ith on")
)

// sizes are where the workloads are measured.
var sizes = []int{128, 256, 512, 1024, 1769, 3008}

const (
	// batchRequests are measured in a row, after warmRequests that are not.
	batchRequests = 16
	warmRequests  = 2
)

// request is one measured invocation. Times are in milliseconds.
type request struct {
	Workload string  `json:"workload"`
	MemoryMB int     `json:"memory_mb"`
	Batch    int64   `json:"batch"`
	D        float64 `json:"d"`
	C        float64 `json:"c"`
	Delay    float64 `json:"delay"`
	Busiest  float64 `json:"busiest"`
	Gap      float64 `json:"gap"`
	Peak     float64 `json:"peak_mb"`
	// Others is how many cores other work on the machine used meanwhile.
	Others float64 `json:"others"`
}

func requestOf(load workload, memoryMB int, inv *lifecycle.Invocation) (request, bool) {
	u := inv.Report.Usage
	if !inv.Report.Received || !u.Knows(lifecycle.UsageCPU) || inv.StartType != lifecycle.Warm {
		return request{}, false
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return request{
		Workload: load.name, MemoryMB: memoryMB,
		D: ms(inv.Report.Duration - inv.Report.ExtensionOverhead), C: ms(u.CPU), Delay: ms(u.RunDelay), Busiest: ms(u.Busiest),
		Gap: ms(u.IdleGap), Peak: float64(inv.Report.MaxMemoryUsedMB),
	}, true
}

func (r request) share() cpushare.Request {
	d := func(ms float64) time.Duration { return time.Duration(ms * 1e6) }
	return cpushare.Request{Duration: d(r.D), CPU: d(r.C), RunDelay: d(r.Delay), Busiest: d(r.Busiest), Idle: d(r.Gap) >= cpushare.Period}
}

// TestMeasure measures one batch of each workload at each size, in random
// order, so that what disturbs one size for a while disturbs the others too.
func TestMeasure(t *testing.T) {
	if *measureFile == "" {
		return // 15 minutes of machine time, to be asked for
	}
	index, of, _ := strings.Cut(*measurePart, "/")
	i, err := strconv.Atoi(index)
	n, err2 := strconv.Atoi(of)
	if err != nil || err2 != nil || n < 1 {
		t.Fatalf("-part %s is not i/n", *measurePart)
	}
	out, err := os.OpenFile(*measureFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := newWorld(t)
	if !w.lambda.Enforcement().CPUEnforced {
		t.Fatalf("CPU is %s: nothing can be measured", w.lambda.Enforcement().CPU)
	}
	var cells []cellID
	for k, load := range workloads {
		for _, size := range sizes {
			if k%n == i {
				cells = append(cells, cellID{load.name, size})
			}
		}
	}
	rand.Shuffle(len(cells), func(a, b int) { cells[a], cells[b] = cells[b], cells[a] })
	for _, id := range cells {
		load := find(id.workload)
		w.deploy(t, load, id.memoryMB)
		for _, r := range w.batch(t, load, id.memoryMB, warmRequests, batchRequests) {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Write(append(line, '\n')); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func find(name string) workload {
	for _, w := range workloads {
		if w.name == name {
			return w
		}
	}
	return workload{}
}

// batch measures requests in a row, each after an idle gap of at least a period
// of the quota, at a random phase of it. Then it ends the environment, which so
// tells of the last.
func (w *world) batch(t *testing.T, load workload, memoryMB, warm, n int) []request {
	t.Helper()
	for range warm + 1 { // the first is cold
		w.invoke(t, load, memoryMB)
	}
	var ids []string
	busy, own, began := machineBusy(), ownCPU(), time.Now()
	for range n {
		time.Sleep(cpushare.Period + time.Duration(rand.Int64N(int64(25*time.Millisecond))))
		id, _ := w.invoke(t, load, memoryMB)
		ids = append(ids, id)
	}
	wall := time.Since(began).Seconds()
	others := machineBusy() - busy - (ownCPU() - own)
	if err := w.lambda.Recycle(t.Context(), load.function(), strconv.Itoa(memoryMB)); err != nil {
		t.Fatal(err)
	}
	var out []request
	for _, id := range ids {
		inv := w.receiver.report(id, 2*time.Second)
		if inv == nil {
			t.Errorf("%s at %d MB: request %s was not told of", load.name, memoryMB, id)
			continue
		}
		if r, ok := requestOf(load, memoryMB, inv); ok {
			r.Batch = began.UnixMilli()
			others -= r.C / 1000
			out = append(out, r)
		}
	}
	for i := range out {
		out[i].Others = max(others, 0) / wall
	}
	return out
}

// machineBusy is the CPU time that everything on the machine has used, in
// seconds.
func machineBusy() float64 {
	stat, err := os.Open("/proc/stat")
	if err != nil {
		return 0
	}
	defer stat.Close()
	line, _ := bufio.NewReader(stat).ReadString('\n')
	fields := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	var ticks float64
	for i, field := range fields {
		if i == 0 || i == 4 || i == 5 || i > 7 {
			continue
		}
		n, _ := strconv.ParseFloat(field, 64)
		ticks += n
	}
	return ticks / 100
}

// ownCPU is the CPU time of this process, in seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it has no way to fail
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
