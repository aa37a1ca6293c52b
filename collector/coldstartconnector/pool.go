package coldstartconnector

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// lineageKey is a function in all its versions and configurations.
type lineageKey struct{ account, region, name string }

// poolKey is what environments have in common that can serve the same requests.
// An environment that was provisioned serves the same ones as one on demand.
type poolKey struct {
	lineageKey
	version  string
	memoryMB int64
	arch     string
}

func (k functionKey) pool() poolKey {
	return poolKey{lineageKey{k.account, k.region, k.name}, k.version, k.memoryMB, k.arch}
}

// pool is the environments of one version and configuration, as of the
// watermark. Times are in microseconds since 1970.
type pool struct {
	key          poolKey
	environments map[string]*environmentState
	slots        slots
	busy         heap[int64] // ends of what is going on, inits included
	// appeared says that it has had an environment. credit is how many cold
	// starts are still the deploy's, until then.
	appeared    bool
	credit      int64
	creditUntil int64
	// used is when it last was, for forgetting it.
	used int64
}

// environmentState is one environment that has not been reclaimed, as far as is
// known.
type environmentState struct {
	// lastEnd is when its last init or invocation ended, served the number of
	// its invocations.
	lastEnd int64
	served  int64
	// reset says that it has to be initialized again.
	reset bool
	// ahead is the number of moments of it that are not settled yet: it will be
	// heard of again.
	ahead int64
}

func newPool(key poolKey) *pool {
	return &pool{
		key: key, environments: map[string]*environmentState{}, slots: newSlots(),
		busy: heap[int64]{less: func(a, b *int64) bool { return *a < *b }},
	}
}

// slots is a line of places, of which an arrival takes the first that is free:
// the environments that a provisioned concurrency would have, in the order in
// which it would be used.
type slots struct {
	taken heap[takenSlot]
	free  heap[int64]
	// n is the number of slots there have been; the next new one is n+1.
	n int64
}

type takenSlot struct{ until, slot int64 }

func newSlots() slots {
	return slots{
		taken: heap[takenSlot]{less: func(a, b *takenSlot) bool { return a.until < b.until }},
		free:  heap[int64]{less: func(a, b *int64) bool { return *a < *b }},
	}
}

// take returns the rank of the lowest free slot at the moment, from 1, and
// takes it until then.
func (s *slots) take(at, until int64) int64 {
	for s.taken.len() > 0 && s.taken.top().until <= at {
		s.free.push(s.taken.pop().slot)
	}
	if s.taken.len() == 0 { // all are free: begin anew, so that the heap stays small
		s.n, s.free.items = 0, s.free.items[:0]
	}
	var slot int64
	if s.free.len() > 0 {
		slot = s.free.pop()
	} else {
		s.n++
		slot = s.n
	}
	s.taken.push(takenSlot{until, slot})
	return slot
}

// concurrency notes that an environment is busy, and returns how many are.
func (p *pool) concurrency(at, until int64) int {
	for p.busy.len() > 0 && *p.busy.top() <= at {
		p.busy.pop()
	}
	p.busy.push(until)
	return p.busy.len()
}

func (p *pool) environment(id string) *environmentState {
	e := p.environments[id]
	if e == nil {
		e = &environmentState{}
		p.environments[id] = e
	}
	return e
}

// exists says whether an environment has been there before the moment, rather
// than only ahead of it.
func (e *environmentState) exists() bool { return e.served > 0 || e.lastEnd > 0 || e.reset }

const (
	// deployWindow is how long after its first environment a version's cold
	// starts are the deploy's, as many as environments were warm of the others.
	deployWindow = int64(15 * time.Minute / time.Microsecond)
	// idleAtLeast is how long an environment must have been idle to be taken for
	// reclaimed because a request did not get it.
	idleAtLeast = int64(time.Minute / time.Microsecond)
	// placement is how long before its init begins a request may have come: the
	// environment has to be made. One that was busy then, was busy for it.
	placement = int64(500 * time.Millisecond / time.Microsecond)
)

// cause says why an invocation in e started cold at the moment. others are the
// pools of the other versions and configurations of the function.
func (p *pool) cause(e *environmentState, at int64, others []*pool) lifecycle.Cause {
	switch {
	case e.exists():
		return lifecycle.CauseReset
	case !p.appeared:
		return p.appear(at, others)
	}
	var busy bool
	for _, other := range p.environments {
		switch {
		case !other.exists() || other == e:
		case other.lastEnd > at-placement:
			busy = true
		case other.ahead > 0 || at-other.lastEnd < idleAtLeast:
			// It was there, and the request did not get it.
			return lifecycle.CauseUnknown
		}
	}
	switch {
	case busy && p.credit > 0 && at <= p.creditUntil:
		p.credit-- // there would have been a warm one
		return lifecycle.CauseDeploy
	case busy:
		return lifecycle.CauseScaleOut
	}
	return lifecycle.CauseExpired
}

// appear is for the first environment of a pool. A deploy has to replace every
// environment that was warm.
func (p *pool) appear(at int64, others []*pool) lifecycle.Cause {
	p.appeared = true
	cause := lifecycle.CauseFirst
	for _, other := range others {
		if other == p || !other.appeared {
			continue
		}
		cause = lifecycle.CauseDeploy
		for _, e := range other.environments {
			if e.exists() && at-e.lastEnd < deployWindow {
				p.credit++
			}
		}
	}
	p.credit, p.creditUntil = max(p.credit-1, 0), at+deployWindow
	return cause
}
