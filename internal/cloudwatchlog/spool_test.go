package cloudwatchlog

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/spool"
)

// spoolLines writes invocations as the extension does when no backend takes
// them, each in a record of its own.
func spoolLines(t *testing.T, invocations ...*lifecycle.Invocation) string {
	t.Helper()
	env := &lifecycle.Environment{
		Function: lifecycle.Function{AccountID: "123456789012", Region: "eu-west-1", Name: "checkout"},
		Version:  "$LATEST", ID: stream1, MemoryMB: 128, Arch: "arm64", Kind: lifecycle.OnDemand,
	}
	var lines []byte
	for i, inv := range invocations {
		td := ptrace.NewTraces()
		e := &lifecycle.Encoder{Environment: env}
		e.Invocation(e.Scope(td), inv)
		var m ptrace.ProtoMarshaler
		body, err := m.MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		lines = spool.AppendRecord(lines, "4f1d0c9ab8e27365", i, zipped.Bytes())
	}
	return string(spool.AppendEnd(lines, "4f1d0c9ab8e27365", len(invocations)))
}

func spooledInvocation(id string, second int, received bool) *lifecycle.Invocation {
	inv := &lifecycle.Invocation{
		RequestID: id, Start: time.Date(2026, 11, 24, 7, 0, second, 0, time.UTC), StartType: lifecycle.Warm, Status: lifecycle.Timeout,
		Run: &lifecycle.Run{Duration: time.Second},
	}
	if received {
		inv.Report = &lifecycle.Report{Received: true, Duration: time.Second, Billed: time.Second, MaxMemoryUsedMB: 40}
	}
	return inv
}

// What the extension wrote into the log is read back, and what the platform
// says of the same invocations is not counted again.
func TestSpool(t *testing.T) {
	f := func(what, input string, want counts, spans, byLines int) {
		t.Helper()
		l := read(t, "f.log", input)
		s := l.Summary()
		if got := countsOf(s); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		var gotSpans, gotLines int
		if err := l.Happenings("arm64", func(h Happening) error {
			if h.Span != nil {
				gotSpans++
			} else if h.Invocation != nil {
				gotLines++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if gotSpans != spans || gotLines != byLines {
			t.Errorf("%s: %d spans and %d invocations by lines are replayed, want %d and %d", what, gotSpans, gotLines, spans, byLines)
		}
		if s.ApplicationLines != 0 {
			t.Errorf("%s: %d lines are taken for the application's", what, s.ApplicationLines)
		}
	}
	whole1, whole2 := spooledInvocation(id1, 0, true), spooledInvocation(id2, 5, true)
	f("alone", spoolLines(t, whole1, whole2), counts{2, 0, 0, 2}, 2, 0)
	f("twice", spoolLines(t, whole1)+spoolLines(t, whole1), counts{1, 0, 0, 1}, 1, 0)
	f("with the platform's lines", at(stream1, whole(id1, timeout)+whole(id3, ""))+at(stream1, spoolLines(t, whole1)), counts{2, 0, 0, 1}, 1, 1)
	f("without the report, which was delivered", at(stream1, whole(id1, timeout))+at(stream1, spoolLines(t, spooledInvocation(id1, 0, false))), counts{1, 0, 0, 1}, 0, 1)

	lines := strings.SplitAfter(spoolLines(t, whole1, whole2), "\n")
	if s := read(t, "f.log", lines[1]+lines[2]).Summary(); len(s.SpoolMissing) != 1 || s.Invocations != 1 {
		t.Errorf("a record is missing: %v, %d invocations", s.SpoolMissing, s.Invocations)
	}
}
