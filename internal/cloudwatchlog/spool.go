package cloudwatchlog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/spool"
)

// Spooled is a span of Thaw's extension that no backend took, and that it wrote
// into the log instead.
type Spooled struct {
	Resource ptrace.ResourceSpans
	Scope    ptrace.ScopeSpans
	Span     ptrace.Span

	observation lifecycle.Observation
}

// spooled takes the lines of the spool in a message.
func (a *Assembler) spooled(l Line) bool {
	if !strings.Contains(l.Message, spool.Marker) {
		return false
	}
	for line := range strings.Lines(l.Message) {
		for _, r := range a.spool.Line([]byte(line)) {
			a.records = append(a.records, r.Payload)
		}
	}
	a.tally.spool++
	return true
}

// finishSpool decodes what the records hold. A span that was written twice
// counts once.
func (a *Assembler) finishSpool(l *Log) {
	r := a.spool.Report()
	for _, m := range r.Missing {
		l.missing = append(l.missing, m.String())
	}
	l.tally.unparsed += r.Damaged + r.Newer + r.Corrupt
	if n := r.Damaged + r.Newer + r.Corrupt; n > 0 && len(l.tally.broken) < maxBroken {
		l.tally.broken = append(l.tally.broken, Broken{Text: strings.TrimSpace(spool.Marker),
			Reason: fmt.Sprintf("lines of the extension's spool: %d damaged, %d of a newer version, %d with unreadable content", r.Damaged, r.Newer, r.Corrupt)})
	}
	seen := map[[8]byte]bool{}
	for _, payload := range a.records {
		var u ptrace.ProtoUnmarshaler
		td, err := u.UnmarshalTraces(payload)
		if err != nil {
			l.tally.unparsed++
			continue
		}
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					if id := [8]byte(span.SpanID()); !seen[id] {
						seen[id] = true
						l.keep(rs, ss, span)
					}
				}
			}
		}
	}
	slices.SortStableFunc(l.spooled, func(x, y *Spooled) int { return x.observation.Time.Compare(y.observation.Time) })
}

// keep takes a span that carries data of ours.
func (l *Log) keep(rs ptrace.ResourceSpans, ss ptrace.ScopeSpans, span ptrace.Span) {
	one := ptrace.NewTraces().ResourceSpans().AppendEmpty()
	rs.Resource().CopyTo(one.Resource())
	span.CopyTo(one.ScopeSpans().AppendEmpty().Spans().AppendEmpty())
	lifecycle.Decode(one, func(o lifecycle.Observation) {
		l.spooled = append(l.spooled, &Spooled{rs, ss, span, o})
	}, func(error) { l.tally.unparsed++ })
}

// requestKey is a request in an environment.
type requestKey struct{ environment, requestID string }

// reconcile decides what is told of an invocation of which there are both the
// platform's lines and spans in the spool. The spans say more; but if some of
// them were delivered elsewhere, the lines do.
func (l *Log) reconcile() {
	invocations, reports := map[requestKey]bool{}, map[requestKey]bool{}
	for _, s := range l.spooled {
		o := &s.observation
		if o.Invocation == nil {
			continue
		}
		key := requestKey{o.Environment.ID, o.Invocation.RequestID}
		invocations[key] = invocations[key] || o.Type == lifecycle.SpanInvocation
		reports[key] = reports[key] || o.Invocation.Report != nil
	}
	told := map[requestKey]bool{}
	byLines := map[string]bool{}
	for _, at := range l.attempts {
		key := requestKey{at.env.id, at.requestID}
		if at.inSpool = invocations[key] && reports[key]; !at.inSpool {
			told[key] = true
			byLines[at.requestID] = true
		}
	}
	l.spooled = slices.DeleteFunc(l.spooled, func(s *Spooled) bool {
		o := &s.observation
		switch {
		case o.Invocation != nil:
			return told[requestKey{o.Environment.ID, o.Invocation.RequestID}]
		case o.Init != nil && o.Init.RequestID != "":
			return byLines[o.Init.RequestID]
		}
		return false
	})
}

// onlySpooled calls yield for the invocations of which there are no lines of
// the platform, with their status where it is known.
func (l *Log) onlySpooled(yield func(*lifecycle.Environment, *lifecycle.Invocation)) {
	lines := map[requestKey]bool{}
	for _, at := range l.attempts {
		lines[requestKey{at.env.id, at.requestID}] = true
	}
	settled := map[requestKey]*lifecycle.Invocation{}
	for _, s := range l.spooled {
		if inv := s.observation.Invocation; inv != nil && inv.Report != nil {
			settled[requestKey{s.observation.Environment.ID, inv.RequestID}] = inv
		}
	}
	for _, s := range l.spooled {
		o := &s.observation
		if o.Type != lifecycle.SpanInvocation || o.Invocation == nil {
			continue
		}
		key := requestKey{o.Environment.ID, o.Invocation.RequestID}
		if lines[key] {
			continue
		}
		inv := *o.Invocation
		if r := settled[key]; r != nil {
			inv.Report, inv.Status, inv.ErrorType = r.Report, r.Status, r.ErrorType
		}
		yield(o.Environment, &inv)
	}
}

func (s *Spooled) time() time.Time { return s.observation.Time }
