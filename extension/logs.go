package extension

import (
	"encoding/json"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// The bounds of log lines that wait to be forwarded. What is beyond them is in
// the function's own log all the same, and is counted.
const (
	maxLogLines      = 4096
	maxLogBytes      = 512 << 10
	maxLogBatchLines = 1024
)

// logLine is a line of the function that is to be forwarded.
type logLine struct {
	record            json.RawMessage
	written, received time.Time
	of                *invocation // nil until one has started
}

// forwarding keeps the lines of the function's log if they are to be sent as
// OTLP too. Lines of extensions are not among them: ours would make more of
// themselves.
type forwarding struct {
	on      bool
	lines   []logLine
	bytes   int
	dropped int64
	all     bool // also lines before any invocation: none will come
}

func (m *machine) forwardLine(at time.Time, ev *event) {
	f := &m.forward
	switch {
	case !f.on:
	case len(f.lines) >= maxLogLines || f.bytes+len(ev.text) > maxLogBytes:
		f.dropped++
	default:
		f.lines = append(f.lines, logLine{ev.text, ev.time, at, m.current})
		f.bytes += len(ev.text)
	}
}

// adopt gives the lines that came before any invocation to the first.
func (f *forwarding) adopt(inv *invocation) {
	for i := range f.lines {
		if f.lines[i].of == nil {
			f.lines[i].of = inv
		}
	}
}

// ready counts the lines that can be sent. Those without an invocation are the
// last ones.
func (f *forwarding) ready() int {
	n := len(f.lines)
	for !f.all && n > 0 && f.lines[n-1].of == nil {
		n--
	}
	return n
}

// take takes as many as fit into one request.
func (f *forwarding) take() []logLine {
	ready, bytes, n := f.ready(), 0, 0
	for n < ready && n < maxLogBatchLines && (n == 0 || bytes+len(f.lines[n].record) <= maxBatchBytes) {
		bytes += len(f.lines[n].record)
		n++
	}
	out := f.lines[:n:n]
	f.lines = f.lines[n:]
	f.bytes -= bytes
	if len(f.lines) == 0 {
		f.lines = nil
	}
	return out
}

// nextLogs takes a batch of log lines, nil if there are none.
func (r *recorder) nextLogs() *batch {
	lines := r.machine.forward.take()
	if len(lines) == 0 {
		return nil
	}
	r.machine.identify()
	r.encoder.Environment = &r.machine.env
	logs := plog.NewLogs()
	dst := r.encoder.LogScope(logs)
	for _, l := range lines {
		line := lifecycle.LogLine{Record: l.record, Written: l.written, Received: l.received}
		if l.of != nil {
			line.Invocation = &l.of.Invocation
		}
		r.encoder.LogLine(dst, line)
	}
	payload, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
	if err != nil { // it has no way to fail
		r.machine.forward.dropped += int64(len(lines))
		return nil
	}
	return &batch{payload: payload, logLines: int64(len(lines))}
}
