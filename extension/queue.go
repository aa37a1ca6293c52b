package extension

import (
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// queue holds what is to be sent, oldest first, within bounds. What does not
// fit drives out the oldest.
type queue struct {
	maxSpans, maxBytes int

	entries []entry
	spans   int
	bytes   int
}

// entry is an item as spans.
type entry struct {
	spans ptrace.SpanSlice
	bytes int
	lines []arrivals
	ended time.Time
}

// evictShare is the part of a full queue that is driven out at a time: what
// goes to the log goes there in one piece, which is smaller than its parts.
const evictShare = 8

// push adds an entry, and returns what it drove out.
func (q *queue) push(e entry) (evicted []entry) {
	var sizer ptrace.ProtoMarshaler
	for _, span := range e.spans.All() {
		e.bytes += sizer.SpanSize(span)
	}
	q.entries = append(q.entries, e)
	q.spans += e.spans.Len()
	q.bytes += e.bytes
	if q.spans <= q.maxSpans && q.bytes <= q.maxBytes {
		return nil
	}
	for len(q.entries) > 0 && (q.spans > q.maxSpans-q.maxSpans/evictShare || q.bytes > q.maxBytes-q.maxBytes/evictShare) {
		evicted = append(evicted, q.pop())
	}
	return evicted
}

func (q *queue) pop() entry {
	e := q.entries[0]
	q.entries[0] = entry{}
	q.entries = q.entries[1:]
	if len(q.entries) == 0 {
		q.entries = nil
	}
	q.spans -= e.spans.Len()
	q.bytes -= e.bytes
	return e
}

// take pops as much as fits into one request, one entry at least.
func (q *queue) take(maxSpans, maxBytes int) []entry {
	var out []entry
	spans, bytes := 0, 0
	for len(q.entries) > 0 {
		next := &q.entries[0]
		if len(out) > 0 && (spans+next.spans.Len() > maxSpans || bytes+next.bytes > maxBytes) {
			break
		}
		spans += next.spans.Len()
		bytes += next.bytes
		out = append(out, q.pop())
	}
	return out
}
