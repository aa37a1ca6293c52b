package extension

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// FuzzMachine: whatever happens, in whichever order and how often, nothing
// panics, nothing grows without bound, parts add up, every invocation is told
// once and its report at most once, and each that was announced is told.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x10\x23\x24\x25"), uint8(0))
	f.Add([]byte("\x10\x25\x24\x23\x22\x10\x11\x34\x35"), uint8(1))
	f.Add([]byte("\x06\x00\x07\x08\x10\x23\x24\x25\x26"), uint8(2))
	f.Add([]byte("\x00\x02\x23\x33\x43\x45\x25\x35"), uint8(3))
	f.Fuzz(func(t *testing.T, script []byte, kind uint8) {
		if len(script) > 1000 {
			return
		}
		p := newPlayer(t)
		m := &p.machine
		kinds := []lifecycle.InitKind{lifecycle.OnDemand, lifecycle.ProvisionedConcurrency, lifecycle.SnapStart, lifecycle.ManagedInstances}
		m.kind = kinds[int(kind)%len(kinds)]
		check := newChecker(t, p)
		now := p.base
		for _, b := range script {
			now = now.Add(time.Duration(b) * time.Millisecond)
			id := fmt.Sprint("r", b>>4&7)
			if what := b & 15; what == 0xf {
				check.announced[id] = true
				m.invoke(now, lambdaapi.NextEvent{RequestID: id})
			} else {
				events, malformed := p.decoder.decode([]byte("[" + fuzzEvent(what, now, id) + "]"))
				if malformed != 0 {
					t.Fatalf("%d of our own events cannot be read", malformed)
				}
				m.observe(now, events)
			}
			check.items(m.take())
		}
		m.finish("failure")
		check.items(m.take())
		check.end()
	})
}

// fuzzEvent is one of the events of an environment's life.
func fuzzEvent(what byte, now time.Time, id string) string {
	kind := `"initializationType":"on-demand","phase":"init"`
	if what == 9 || what == 10 {
		kind = strings.ReplaceAll(kind, `"init"`, `"invoke"`)
	}
	events := []struct{ kind, record string }{
		{lambdaapi.TypeInitStart, `{` + kind + `,"instanceId":"i"}`},
		{lambdaapi.TypeInitRuntimeDone, `{` + kind + `,"status":"success"}`},
		{lambdaapi.TypeInitReport, `{` + kind + `,"status":"error","errorType":"Extension.Crash","metrics":{"durationMs":20.5}}`},
		{lambdaapi.TypeStart, `{"requestId":"` + id + `"}`},
		{lambdaapi.TypeRuntimeDone, `{"requestId":"` + id + `","status":"success","metrics":{"durationMs":9.5},"spans":[{"name":"responseLatency","durationMs":7}]}`},
		{lambdaapi.TypeReport, `{"requestId":"` + id + `","status":"timeout","metrics":{"durationMs":10.5,"billedDurationMs":11,"initDurationMs":3}}`},
		{lambdaapi.TypeRestoreStart, `{"instanceId":"other"}`},
		{lambdaapi.TypeRestoreRuntimeDone, `{"status":"error","errorType":"Runtime.Unknown"}`},
		{lambdaapi.TypeRestoreReport, `{"status":"success","metrics":{"durationMs":500.5}}`},
		{lambdaapi.TypeInitStart, `{` + kind + `}`},
		{lambdaapi.TypeInitReport, `{` + kind + `,"status":"success","metrics":{"durationMs":5}}`},
		{lambdaapi.TypeFunction, `"a line\n"`},
		{lambdaapi.TypeFault, `"RequestId: ` + id + ` Process exited"`},
		{lambdaapi.TypeExtension, `{"name":"other","state":"Registered"}`},
		{lambdaapi.TypeLogsDropped, `{"droppedRecords":3}`},
	}
	return telemetryEvent(now, events[what].kind, events[what].record)
}

// checker holds what a machine tells against what must be true of it.
type checker struct {
	t         *testing.T
	p         *player
	announced map[string]bool
	told      map[lifecycle.Identity]int
	reports   map[lifecycle.Identity]int
}

func newChecker(t *testing.T, p *player) *checker {
	return &checker{t, p, map[string]bool{}, map[lifecycle.Identity]int{}, map[lifecycle.Identity]int{}}
}

func (c *checker) items(items []item) {
	for _, it := range items {
		switch {
		case it.invocation != nil:
			id := it.invocation.Identity("")
			c.told[id]++
			if it.invocation.Report != nil {
				c.reports[id]++
			}
			c.invocation(it.invocation)
		case it.report != nil:
			id := it.report.Identity("")
			c.reports[id]++
			if c.told[id] == 0 {
				c.t.Errorf("the report of %v is told before the invocation", id)
			}
		case it.init != nil:
			c.init(it.init)
		}
	}
	m := &c.p.machine
	if len(m.open) > maxOpen || len(m.late) > maxLate || len(m.inits) > maxInits || len(m.settled) > maxSettled || len(m.seen) > maxDigests {
		c.t.Errorf("something grows: %d open, %d late, %d inits, %d settled, %d seen", len(m.open), len(m.late), len(m.inits), len(m.settled), len(m.seen))
	}
}

func (c *checker) invocation(inv *lifecycle.Invocation) {
	if (inv.StartType == lifecycle.Cold) != (inv.Init != nil) && !c.p.machine.ready.IsZero() {
		c.t.Errorf("%s is %s with init %v", inv.RequestID, inv.StartType, inv.Init)
	}
	if inv.Init != nil {
		c.init(inv.Init)
	}
	if parts := inv.BilledParts(); parts != nil {
		c.sum("bill", inv.Report.Billed, parts)
	}
}

func (c *checker) init(in *lifecycle.Init) { c.sum("init", in.Duration, in.Parts) }

func (c *checker) sum(what string, total time.Duration, parts []lifecycle.Part) {
	var sum time.Duration
	for _, part := range parts {
		if part.Duration < 0 {
			c.t.Errorf("part %s of the %s is negative", part.Name, what)
		}
		sum += part.Duration
	}
	if sum != total {
		c.t.Errorf("the parts of the %s add up to %v, not %v", what, sum, total)
	}
}

func (c *checker) end() {
	seen := map[string]bool{}
	for id, n := range c.told {
		seen[id.RequestID] = true
		if n > 1 || c.reports[id] > 1 {
			c.t.Errorf("%v is told %d times, its report %d times", id, n, c.reports[id])
		}
	}
	for id := range c.announced {
		if !seen[id] {
			c.t.Errorf("%s was announced by INVOKE and is never told", id)
		}
	}
}
