package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBilledParts(t *testing.T) {
	us := time.Microsecond
	run := func(parts ...time.Duration) *Run {
		r := &Run{Duration: 71 * msec}
		for i, d := range parts {
			r.Parts = append(r.Parts, Part{Name: []PartName{PartResponseLatency, PartResponseDuration, PartRuntimeOverhead}[i], Duration: d})
		}
		return r
	}
	for _, test := range []struct {
		name string
		inv  Invocation
		want string // the parts in ms
	}{
		{"warm", Invocation{Run: run(64*msec, 3*msec, 4*msec), Report: &Report{Received: true, Billed: 72 * msec, ExtensionOverhead: 200 * us}},
			"response latency 64, response duration 3, runtime overhead 4, extension overhead 0.2, unattributed 0.8"},
		{"cold", Invocation{Run: run(64*msec, 3*msec, 4*msec), Init: coldInit(), Report: &Report{Received: true, Billed: 614 * msec, Init: 542 * msec, ExtensionOverhead: 200 * us}},
			"init 542, response latency 64, response duration 3, runtime overhead 4, extension overhead 0.2, unattributed 0.8"},
		{"restored", Invocation{Run: run(64 * msec), Report: &Report{Received: true, Billed: 118 * msec, Restore: 500 * msec, BilledRestore: 53 * msec}},
			"restore 53, response latency 64, unattributed 1"},
		{"suppressed init", Invocation{Run: run(), Init: &Init{Phase: PhaseInvoke, Duration: 150 * msec}, Report: &Report{Received: true, Billed: 222 * msec}},
			"init 150, run 71, unattributed 1"},
		{"proactive init", Invocation{Run: run(), Report: &Report{Received: true, Billed: 72 * msec}},
			"run 71, unattributed 1"},
		{"timeout", Invocation{Run: run(), Report: &Report{Received: true, Billed: 70 * msec}},
			"run 70"},
		{"init failed", Invocation{Init: &Init{Phase: PhaseInvoke, Duration: 20 * msec}, Report: &Report{Received: true, Billed: 21 * msec}},
			"init 20, unattributed 1"},
		{"nothing known", Invocation{Report: &Report{Received: true, Billed: 21 * msec}}, "unattributed 21"},
		{"no report", Invocation{Run: run(), Report: &Report{Duration: 71 * msec}}, ""},
		{"report to come", Invocation{Run: run()}, ""},
		{"managed instances", Invocation{Run: run(64 * msec), Report: &Report{Received: true, Duration: 71 * msec}}, ""},
	} {
		test.inv.Start = at(1000)
		parts := test.inv.BilledParts()
		var got []string
		for i, p := range parts {
			got = append(got, fmt.Sprintf("%s %v", p.Name, ms(p.Duration)))
			if i > 0 && p.Start != parts[i-1].Start.Add(parts[i-1].Duration) {
				t.Errorf("%s: there is a gap before %s", test.name, p.Name)
			}
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s: %s, want %s", test.name, text, test.want)
		}
	}
}

func TestSuspect(t *testing.T) {
	report := func(mb int64) *Report { return &Report{Received: true, MaxMemoryUsedMB: mb} }
	for _, test := range []struct {
		name string
		inv  Invocation
		want Suspicion
	}{
		{"a response", Invocation{Status: Success, Run: &Run{ProducedBytes: 1}, Report: report(100)}, ""},
		{"no response", Invocation{Status: Success, Run: &Run{}, Report: report(100)}, SuspectHandledError},
		{"the run is not known", Invocation{Status: Success, Report: report(512)}, ""},
		{"told", Invocation{Status: Error, ErrorType: "Runtime.OutOfMemory", Report: report(512)}, ""},
		{"timeout at the limit", Invocation{Status: Timeout, Report: report(512)}, SuspectOutOfMemory},
		{"killed at the limit", Invocation{Status: Error, ErrorType: "Runtime.ExitError", Report: report(512)}, SuspectOutOfMemory},
		{"killed below", Invocation{Status: Error, ErrorType: "Runtime.ExitError", Report: report(500)}, ""},
		{"no report", Invocation{Status: Timeout}, ""},
	} {
		if got := test.inv.Suspect(512); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
