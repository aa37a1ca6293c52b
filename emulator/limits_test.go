package emulator

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

func TestShareOfCPU(t *testing.T) {
	for memoryMB, want := range map[int]struct {
		quota time.Duration
		cpus  int
	}{
		128:   {1447145 * time.Nanosecond, 2},
		1769:  {20 * time.Millisecond, 2},
		3008:  {34007914 * time.Nanosecond, 2},
		3009:  {34019219 * time.Nanosecond, 3},
		5308:  {60011305 * time.Nanosecond, 4},
		10240: {115771622 * time.Nanosecond, 6},
	} {
		if got := cpuQuota(memoryMB); got != want.quota {
			t.Errorf("%d MB: quota %v, want %v", memoryMB, got, want.quota)
		}
		if got := visibleCPUs(memoryMB); got != want.cpus {
			t.Errorf("%d MB: %d CPUs, want %d", memoryMB, got, want.cpus)
		}
	}
}

func TestReportLine(t *testing.T) {
	metrics := lambdaapi.ReportMetrics{DurationMs: 3.1, BilledDurationMs: 546, MemorySizeMB: 2048, MaxMemoryUsedMB: 95, InitDurationMs: 542.01}
	for want, report := range map[string]lambdaapi.Report{
		"REPORT RequestId: r\tDuration: 3.10 ms\tBilled Duration: 546 ms\tMemory Size: 2048 MB\tMax Memory Used: 95 MB\tInit Duration: 542.01 ms\t\n":                                             {RequestID: "r", Status: "success", Metrics: metrics},
		"REPORT RequestId: r\tDuration: 3.10 ms\tBilled Duration: 546 ms\tMemory Size: 2048 MB\tMax Memory Used: 95 MB\tInit Duration: 542.01 ms\tStatus: timeout\n":                              {RequestID: "r", Status: "timeout", Metrics: metrics},
		"REPORT RequestId: r\tDuration: 3.10 ms\tBilled Duration: 546 ms\tMemory Size: 2048 MB\tMax Memory Used: 95 MB\tInit Duration: 542.01 ms\tStatus: error\tError Type: Runtime.ExitError\n": {RequestID: "r", Status: "error", ErrorType: "Runtime.ExitError", Metrics: metrics},
		"REPORT RequestId: r\tDuration: 0.00 ms\tBilled Duration: 0 ms\tMemory Size: 0 MB\t\nXRAY TraceId: 1-2-3\tSegmentId: s\tSampled: true\t\n":                                                {RequestID: "r", Tracing: &lambdaapi.Tracing{SpanID: "s", Value: "Root=1-2-3;Sampled=1"}},
	} {
		if got := reportLine(report); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}

func TestLedgerSumsAndWrites(t *testing.T) {
	var l Ledger
	l.add(Entry{Kind: KindInitEnd, Function: "f", Version: "1", MemoryMB: 128, Phase: phaseInit, Status: statusSuccess, DurationMs: 5})
	l.add(Entry{Kind: KindInvocationEnd, Function: "f", Version: "1", MemoryMB: 128, Cold: true, Status: statusSuccess, DurationMs: 1, BilledMs: 6, HandledError: true})
	l.add(Entry{Kind: KindInvocationEnd, Function: "f", Version: "1", MemoryMB: 128, Status: statusTimeout, DurationMs: 3000, BilledMs: 3000})
	l.add(Entry{Kind: KindInvocationEnd, Function: "f", Version: "1", MemoryMB: 128, Status: statusError, DurationMs: 2, BilledMs: 2})
	l.add(Entry{Kind: KindProcessExit, Function: "f", Version: "1", MemoryMB: 128, OOMKill: true})
	l.add(Entry{Kind: KindInvocationEnd, Function: "e", Version: "1", MemoryMB: 128, Status: statusFailure})
	got := l.Summary()
	if len(got) != 2 || got[0].Function != "e" || got[0].Errors != 1 {
		t.Fatalf("summary %+v", got)
	}
	f := got[1]
	if f.Invocations != 3 || f.ColdStarts != 1 || f.Errors != 1 || f.Timeouts != 1 || f.HandledErrors != 1 || f.OOMKills != 1 || f.BilledMs != 3008 || len(f.DurationsMs) != 3 || len(f.InitMs) != 1 {
		t.Errorf("summary %+v", f)
	}
	var out bytes.Buffer
	n, err := l.WriteTo(&out)
	if err != nil || n != int64(out.Len()) || strings.Count(out.String(), "\n") != 6 {
		t.Fatalf("%d bytes, %v:\n%s", n, err, &out)
	}
	var first Entry
	if err := json.NewDecoder(&out).Decode(&first); err != nil || first != l.Entries()[0] || first.Time.Location() != time.UTC {
		t.Errorf("%+v, %v", first, err)
	}
}
