package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// BenchmarkCollector sends warm invocations to the real process, ten in a
// request, from two thousand environments, and reports what it used:
//
//	go test -run - -bench Collector -benchtime 200000x ./cmd/thaw-collector
func BenchmarkCollector(b *testing.B) {
	const perRequest, environments = 10, 2000
	p := start(b, b.TempDir(), "THAW_LOG_LEVEL=warn")
	requests := make(chan []byte, 64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for body := range requests {
				resp, err := http.Post("http://"+p.otlp+"/v1/traces", "application/x-protobuf", bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	worlds := make([]*world, environments)
	for i := range worlds {
		worlds[i] = newWorld(fmt.Sprint("f", i%20))
		worlds[i].encoder.Environment.ID = fmt.Sprint("e", i)
		worlds[i].n = 1 // no cold start
	}
	before := p.cpu()
	b.ResetTimer()
	sent := 0
	for i := 0; sent < b.N; i++ {
		w := worlds[i%environments]
		td := ptrace.NewTraces()
		for range perRequest {
			one := w.invocation(time.Duration(i%300+1) * time.Millisecond)
			if td.ResourceSpans().Len() == 0 {
				one.MoveTo(td)
				continue
			}
			one.ResourceSpans().At(0).ScopeSpans().At(0).Spans().MoveAndAppendTo(td.ResourceSpans().At(0).ScopeSpans().At(0).Spans())
		}
		body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
		if err != nil {
			b.Fatal(err)
		}
		requests <- body
		sent += perRequest
	}
	close(requests)
	wg.Wait()
	p.flush()
	b.StopTimer()
	if got := p.query("sum(faas_invocations_total)", time.Now()); got != float64(sent) {
		b.Errorf("%v of %d are counted", got, sent)
	}
	b.ReportMetric((p.cpu()-before).Seconds()*1e6/float64(sent), "cpu-µs/invocation")
	b.ReportMetric(p.resident(), "MB-resident")
}

// cpu is the time that the process has used.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skip(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	var ticks time.Duration
	for _, s := range fields[12:14] {
		n, _ := strconv.ParseInt(s, 10, 64)
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// resident is the memory of the process, in MB.
func (p *process) resident() float64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}
