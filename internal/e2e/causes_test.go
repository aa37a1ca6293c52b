package e2e

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// Why each invocation started cold, as the report says it, is what the ledger
// shows: it saw every environment, and not only those that could send spans.
func TestCausesAgreeWithLedger(t *testing.T) {
	w := newWorld(t)
	w.deploy("flaky", 128)
	w.deploy("flaky", 256)
	w.deploy("checkout", 256)
	for _, mode := range []string{"ok", "ok", "exit", "ok", "timeout", "ok"} {
		w.invoke("flaky", 128, `{"mode":"`+mode+`"}`)
	}
	w.invoke("flaky", 256, `{"mode":"ok"}`) // another version: a deploy
	w.recycle("flaky", 256)
	w.invoke("flaky", 256, `{"mode":"ok"}`) // it had been reclaimed
	burst := func(n int) {
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { w.invoke("checkout", 256, eventOf(t, "checkout")) })
		}
		wg.Wait()
	}
	burst(3)
	burst(6) // from 3 to 6 at once, at most

	rep := w.drain()
	want := causesOf(w.lambda.Ledger().Entries())
	for _, f := range rep.Functions {
		got := map[lifecycle.Cause]int64{}
		for _, c := range f.ColdStartCauses {
			got[lifecycle.Cause(c.Name)] = c.Count
		}
		if !maps.Equal(got, want[f.Name]) {
			t.Errorf("%s: causes %v, by the ledger %v", f.Name, got, want[f.Name])
		}
		t.Logf("%s: %v, at most %v at once", f.Name, got, *f.Concurrency.Peak)
		if f.Concurrency.Late > 0 {
			t.Errorf("%s: %d spans came too late", f.Name, f.Concurrency.Late)
		}
	}
	if want["flaky"][lifecycle.CauseReset] == 0 || want["checkout"][lifecycle.CauseScaleOut] == 0 {
		t.Errorf("the functions did not do what this test is about: %v", want)
	}
}

// causesOf says why each cold start of the ledger happened, by name of function.
func causesOf(entries []emulator.Entry) map[string]map[lifecycle.Cause]int64 {
	l := ledgerCauses{lives: map[string]*ledgerLife{}}
	for _, e := range entries {
		l.take(e)
	}
	out := map[string]map[lifecycle.Cause]int64{}
	for _, life := range l.lives {
		for _, cold := range life.colds {
			if out[life.function] == nil {
				out[life.function] = map[lifecycle.Cause]int64{}
			}
			out[life.function][l.cause(life, cold)]++
		}
	}
	return out
}

// ledgerLife is an environment from beginning to end.
type ledgerLife struct {
	function, version, id string
	created, gone         time.Time
	inits                 []time.Time    // when they began
	colds                 []int          // which of them an invocation waited for
	idle                  [][2]time.Time // frozen
}

type ledgerCauses struct{ lives map[string]*ledgerLife }

func (l *ledgerCauses) take(e emulator.Entry) {
	life := l.lives[e.Environment]
	if life == nil {
		life = &ledgerLife{function: e.Function, version: e.Version, id: e.Environment, created: e.Time}
		l.lives[e.Environment] = life
	}
	switch e.Kind {
	case emulator.KindInitStart:
		life.inits = append(life.inits, e.Time)
	case emulator.KindFreeze:
		life.idle = append(life.idle, [2]time.Time{e.Time, e.Time.Add(time.Hour)})
	case emulator.KindThaw:
		if n := len(life.idle); n > 0 {
			life.idle[n-1][1] = e.Time
		}
	case emulator.KindInvocationEnd:
		if e.Cold {
			life.colds = append(life.colds, len(life.inits)-1)
		}
	case emulator.KindEnvironmentShutdown:
		if e.Reason == "spindown" {
			life.gone = e.Time
		}
	}
}

// idleFor is how long an environment has to stay idle to have been passed over.
const idleFor = 250 * time.Millisecond

func (l *ledgerCauses) cause(life *ledgerLife, init int) lifecycle.Cause {
	if init > 0 {
		return lifecycle.CauseReset
	}
	at := life.inits[init]
	var same, others []*ledgerLife
	for _, o := range l.lives {
		switch {
		case o == life || o.function != life.function || !o.created.Before(life.created):
		case o.version == life.version:
			same = append(same, o)
		default:
			others = append(others, o)
		}
	}
	switch {
	case len(same) == 0 && len(others) > 0:
		return lifecycle.CauseDeploy
	case len(same) == 0:
		return lifecycle.CauseFirst
	}
	alive := slices.DeleteFunc(same, func(o *ledgerLife) bool { return !o.gone.IsZero() && o.gone.Before(at) })
	if len(alive) == 0 {
		return lifecycle.CauseExpired
	}
	for _, o := range alive {
		// It is thawed a moment after the request that it is for has come.
		if slices.ContainsFunc(o.idle, func(b [2]time.Time) bool { return !at.Before(b[0]) && at.Add(idleFor).Before(b[1]) }) {
			return lifecycle.CauseUnknown
		}
	}
	return lifecycle.CauseScaleOut
}
