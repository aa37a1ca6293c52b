package coldstartconnector

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// settler looks at what happened in the order in which it happened, and not in
// which it was heard of: behind a watermark, when the rest should have arrived.
// It is part of the state, and like it depends on the batches alone.
type settler struct {
	pending  heap[moment]
	pools    map[poolKey]*pool
	lineages map[lineageKey][]*pool
	// settled is the time up to which everything is: what is older is late.
	settled int64
	// environments is the number in all pools; swept is the hour of the last
	// sweep.
	environments int
	swept        int64
}

func newSettler() *settler {
	return &settler{
		pending: heap[moment]{less: (*moment).before},
		pools:   map[poolKey]*pool{}, lineages: map[lineageKey][]*pool{},
	}
}

// momentKind is in the order in which moments of the same time are settled.
type momentKind uint8

const (
	// readied is an environment that is there without having served: its init
	// was proactive, or in vain, or is run again.
	readied momentKind = iota
	invoked
	gone
)

// moment is something that is settled in event time. Times are in microseconds
// since 1970.
type moment struct {
	// at is when it began, for an invocation when the request came; until is
	// when it was over.
	at, until int64
	// run is how long the invocation itself took, without the wait.
	run         int64
	function    *function
	environment string
	kind        momentKind
	// cold and reset: what the invocation found, and what the init was.
	cold, reset bool
	// invocations and lifetime of an environment that is gone.
	invocations, lifetime int64
}

func (m *moment) before(o *moment) bool {
	if m.at != o.at {
		return m.at < o.at
	}
	if m.kind != o.kind {
		return m.kind < o.kind
	}
	// Whatever the order of arrival, the same is settled first.
	return m.environment < o.environment
}

// momentOf returns what of an observation is settled in event time.
func momentOf(f *function, o *lifecycle.Observation) (m moment, ok bool) {
	m = moment{function: f, environment: clean(o.Environment.ID), at: o.Began.UnixMicro(), until: o.Time.UnixMicro()}
	switch {
	case o.Type == lifecycle.SpanInvocation && o.Invocation != nil:
		m.kind, m.cold = invoked, o.Invocation.StartType == lifecycle.Cold
		m.run = m.until - max(o.Invocation.Start.UnixMicro(), m.at)
		return m, true
	case o.Init != nil && (o.Init.Phase == lifecycle.PhaseInvoke || o.Init.Demand == lifecycle.Proactive || o.Init.Demand == lifecycle.Unused):
		m.kind, m.reset = readied, o.Init.Phase == lifecycle.PhaseInvoke
		return m, true
	case o.Shutdown != nil && o.Shutdown.Reason == "spindown":
		m.kind, m.invocations, m.lifetime = gone, o.Shutdown.Invocations, o.Shutdown.Lifetime.Microseconds()
		return m, true
	}
	return m, false
}

// longest is more than what an invocation with its init can last: what a
// stranger's clock may claim.
const longest = int64(time.Hour / time.Microsecond)

// note takes a moment that arrived at now, in seconds.
func (s *settler) note(m moment, now int64) {
	m.at = min(m.at, (now+1)*1e6) // a clock that is ahead
	m.until = min(max(m.until, m.at), m.at+longest)
	m.run = min(max(m.run, 0), m.until-m.at)
	if m.at < s.settled {
		m.function.add(late, 1)
		s.late(m)
		return
	}
	s.environment(s.pool(m.function), m.environment).ahead++
	s.pending.push(m)
}

func (s *settler) pool(f *function) *pool {
	key := f.key.pool()
	p := s.pools[key]
	if p == nil {
		p = newPool(key)
		s.insert(p)
	}
	return p
}

func (s *settler) insert(p *pool) {
	s.pools[p.key] = p
	s.lineages[p.key.lineageKey] = append(s.lineages[p.key.lineageKey], p)
	s.environments += len(p.environments)
}

func (s *settler) environment(p *pool, id string) *environmentState {
	before := len(p.environments)
	e := p.environment(id)
	s.environments += len(p.environments) - before
	return e
}

func (s *settler) remove(p *pool, id string) {
	if p.environments[id] != nil {
		delete(p.environments, id)
		s.environments--
	}
}

// due says whether something is pending from before the time.
func (s *settler) due(before int64) bool {
	return s.pending.len() > 0 && s.pending.top().at < before
}

// settle settles what happened before the time, and the oldest beyond limit.
func (s *settler) settle(before int64, limit int) {
	for s.pending.len() > 0 && (s.pending.top().at < before || s.pending.len() > limit) {
		m := s.pending.pop()
		s.settled = max(s.settled, m.at)
		s.take(m)
	}
	s.settled = max(s.settled, before)
}

// drain settles everything that has arrived.
func (s *settler) drain() { s.settle(s.settled, 0) }

func (s *settler) take(m moment) {
	p := s.pool(m.function)
	e := s.environment(p, m.environment)
	e.ahead = max(e.ahead-1, 0)
	p.used = max(p.used, m.until)
	switch m.kind {
	case readied:
		p.ready(e, m, s.lineages[p.key.lineageKey])
	case invoked:
		p.invoke(e, m, s.lineages[p.key.lineageKey])
	case gone:
		observeGone(e, m)
		s.remove(p, m.environment)
	}
}

// late takes what can still be said of a moment that came too late.
func (s *settler) late(m moment) {
	p := s.pool(m.function)
	e := s.environment(p, m.environment)
	switch m.kind {
	case readied:
		e.reset = e.reset || m.reset && !e.exists()
	case invoked:
		if m.cold {
			m.function.add(causes, 1, string(lifecycle.CauseUnknown))
		}
		p.appeared = true
		e.served++
	case gone:
		observeGone(e, m)
		if e.lastEnd <= m.at {
			s.remove(p, m.environment)
			return
		}
	}
	e.lastEnd = max(e.lastEnd, m.until)
}

// ready notes an environment that is there before its first invocation.
func (p *pool) ready(e *environmentState, m moment, lineage []*pool) {
	if !p.appeared {
		p.appear(m.at, lineage)
	}
	e.reset = e.reset || m.reset
	e.lastEnd = max(e.lastEnd, m.until)
}

func (p *pool) invoke(e *environmentState, m moment, lineage []*pool) {
	f := m.function
	switch {
	case m.cold:
		f.add(causes, 1, string(p.cause(e, m.at, lineage)))
	case e.served > 0 && m.at >= e.lastEnd:
		f.observe(environmentIdle, seconds(m.at-e.lastEnd), metric.IdleReused)
	}
	p.appeared = true
	f.observe(slotRank, float64(p.slots.take(m.at, m.at+m.run)))
	f.observe(concurrency, float64(p.concurrency(m.at, m.until)))
	e.lastEnd, e.reset = max(e.lastEnd, m.until), false
	e.served++
}

func observeGone(e *environmentState, m moment) {
	f := m.function
	f.observe(environmentLifetime, seconds(m.lifetime))
	f.observe(environmentInvocations, float64(m.invocations))
	if e.served > 0 && m.at >= e.lastEnd {
		f.observe(environmentIdle, seconds(m.at-e.lastEnd), metric.IdleReclaimed)
	}
}

func seconds(us int64) float64 { return float64(us) / 1e6 }

const (
	// environmentHours is how long an environment that is not heard of is
	// remembered: Lambda itself reclaims every one within hours.
	environmentHours = 12
	// maxPending and maxEnvironments bound what is remembered. A moment takes
	// about 100 bytes, an environment about 200.
	maxPending      = 1_000_000
	maxEnvironments = 200_000
)

// sweep forgets environments and pools that have not been heard of, once an
// hour, and sooner if there are too many.
func (s *settler) sweep(hour, expiryHours int64, limit int) {
	if hour > s.swept {
		s.swept = hour
		s.forget((hour-environmentHours)*3600e6, (hour-expiryHours)*3600e6)
	}
	if s.environments <= limit {
		return
	}
	// More than is needed, so that not every batch looks at all of them.
	for keep := int64(environmentHours * 3600e6 / 2); s.environments > limit*3/4 && keep > 1e6; keep /= 2 {
		s.forget(s.settled-keep, (hour-expiryHours)*3600e6)
	}
}

// forget drops environments that were not used since a time and of which
// nothing is pending, and pools likewise.
func (s *settler) forget(environments, pools int64) {
	for key, p := range s.pools {
		for id, e := range p.environments {
			if e.lastEnd < environments && e.ahead == 0 {
				s.remove(p, id)
			}
		}
		if len(p.environments) == 0 && p.used < pools {
			delete(s.pools, key)
			s.dropLineage(p)
		}
	}
}

func (s *settler) dropLineage(p *pool) {
	key := p.key.lineageKey
	var kept []*pool
	for _, other := range s.lineages[key] {
		if other != p {
			kept = append(kept, other)
		}
	}
	if s.lineages[key] = kept; len(kept) == 0 {
		delete(s.lineages, key)
	}
}
