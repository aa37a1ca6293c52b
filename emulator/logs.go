package emulator

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// logWriter is the one writer that all environments log to, a line at a time.
type logWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *logWriter) write(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A log that cannot be written must not fail a function.
	_, _ = io.WriteString(l.w, line)
}

// tailSize is how much of the log an invocation with X-Amz-Log-Type: Tail gets.
const tailSize = 4096

// tail keeps the end of an invocation's log.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) write(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, line...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// The lines below are CloudWatch's text format, tabs included.

func initStartLine(f *function) string {
	if f.Runtime == "" {
		return ""
	}
	return fmt.Sprintf("INIT_START Runtime Version: %s\n", f.Runtime)
}

func initReportLine(r lambdaapi.InitReport) string {
	return fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: %s%s\n",
		r.Metrics.DurationMs, r.Phase, statusSuffix(r.Status, r.ErrorType))
}

func restoreStartLine(f *function) string {
	if f.Runtime == "" {
		return ""
	}
	return fmt.Sprintf("RESTORE_START Runtime Version: %s\n", f.Runtime)
}

func restoreReportLine(r lambdaapi.InitReport) string {
	return fmt.Sprintf("RESTORE_REPORT Restore Duration: %.2f ms%s\n", r.Metrics.DurationMs, statusSuffix(r.Status, r.ErrorType))
}

func startLine(requestID, version string) string {
	return fmt.Sprintf("START RequestId: %s Version: %s\n", requestID, version)
}

func endLine(requestID string) string { return fmt.Sprintf("END RequestId: %s\n", requestID) }

func reportLine(r lambdaapi.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\t",
		r.RequestID, r.Metrics.DurationMs, r.Metrics.BilledDurationMs, r.Metrics.MemorySizeMB)
	if r.Metrics.MaxMemoryUsedMB > 0 {
		fmt.Fprintf(&b, "Max Memory Used: %d MB\t", r.Metrics.MaxMemoryUsedMB)
	}
	if r.Metrics.InitDurationMs > 0 {
		fmt.Fprintf(&b, "Init Duration: %.2f ms\t", r.Metrics.InitDurationMs)
	}
	if r.Metrics.RestoreDurationMs > 0 {
		fmt.Fprintf(&b, "Restore Duration: %.2f ms\tBilled Restore Duration: %d ms\t", r.Metrics.RestoreDurationMs, r.Metrics.BilledRestoreDurationMs)
	}
	line := b.String()
	if suffix := statusSuffix(r.Status, r.ErrorType); suffix != "" {
		line = strings.TrimSuffix(line, "\t") + suffix
	}
	return line + "\n" + xrayLine(r.Tracing)
}

// xrayLine is a second line of the REPORT event, for sampled invocations only.
func xrayLine(tracing *lambdaapi.Tracing) string {
	if tracing == nil {
		return ""
	}
	trace := parseTrace(tracing.Value)
	return fmt.Sprintf("XRAY TraceId: %s\tSegmentId: %s\tSampled: true\t\n", trace.root, tracing.SpanID)
}

func statusSuffix(status, errorType string) string {
	switch {
	case status == statusSuccess || status == "":
		return ""
	case errorType == "":
		return "\tStatus: " + status
	default:
		return "\tStatus: " + status + "\tError Type: " + errorType
	}
}

func extensionLine(x lambdaapi.Extension) string {
	line := fmt.Sprintf("EXTENSION\tName: %s\tState: %s\tEvents: [%s]", x.Name, x.State, strings.Join(x.Events, ","))
	if x.ErrorType != "" {
		line += "\tError Type: " + x.ErrorType
	}
	return line + "\n"
}

func telemetryLine(s lambdaapi.TelemetrySubscription) string {
	names := make([]string, len(s.Types))
	for i, name := range s.Types {
		names[i] = strings.ToUpper(name[:1]) + name[1:]
	}
	return fmt.Sprintf("TELEMETRY\tName: %s\tState: %s\tTypes: [%s]\n", s.Name, s.State, strings.Join(names, ", "))
}
