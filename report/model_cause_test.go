package report

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report/stats"
)

// settle is what the collector would settle of an environment that served
// calls one after the other, and was then reclaimed.
func (s *simulated) settle(calls int) {
	cause := "expired"
	if s.made == 1 {
		cause = "first"
	}
	s.settled.causes[cause]++
	for _, h := range []*stats.Histogram{&s.settled.slotRank, &s.settled.concurrency, &s.settled.lifetime, &s.settled.serving} {
		h.Scale = 5
	}
	s.settled.slotRank.Observe(1, float64(calls))
	s.settled.concurrency.Observe(1, float64(calls))
	s.settled.lifetime.Observe(600, 1)
	s.settled.serving.Observe(float64(calls), 1)
	observe(s.settled.idle, metric.IdleReclaimed, 400, 5)
	if calls > 1 {
		observe(s.settled.idle, metric.IdleReused, 10, 5)
	}
}

func (s *simulated) settledSeries(add func(metric.Definition, Sample, ...string)) {
	for cause, n := range s.settled.causes {
		add(metric.ColdStartCauses, Sample{Value: n}, metric.LabelCause, cause)
	}
	for d, h := range map[*metric.Definition]stats.Histogram{
		&metric.SlotRank: s.settled.slotRank, &metric.Concurrency: s.settled.concurrency,
		&metric.EnvironmentLifetime: s.settled.lifetime, &metric.EnvironmentInvocations: s.settled.serving,
	} {
		if h.Count > 0 {
			h = h.Clone()
			add(*d, Sample{Histogram: &h})
		}
	}
	for outcome, h := range s.settled.idle {
		h = h.Clone()
		add(metric.EnvironmentIdle, Sample{Histogram: &h}, metric.LabelIdleOutcome, outcome)
	}
	if s.settled.late > 0 {
		add(metric.Late, Sample{Value: s.settled.late})
	}
}

// Causes, ranks and lives are totals over the range like all others.
func TestWhyCold(t *testing.T) {
	s := newStore(t)
	sim := simulate("api", "1", 512)
	sim.settled.causes["first"] = 5
	sim.settled.late = 1
	s.write("a", minutes(0), sim)
	sim.invocations["cold"], sim.coldStarts = 9, 9
	sim.settled.causes["scale-out"], sim.settled.causes["reset"] = 7, 2
	sim.settled.slotRank.Scale, sim.settled.concurrency.Scale = 5, 5
	for rank, n := range map[float64]float64{1: 60, 2: 30, 3: 9, 44: 1} {
		sim.settled.slotRank.Observe(rank, n)
		sim.settled.concurrency.Observe(rank+1, n)
	}
	sim.settled.late = 4
	s.write("a", minutes(60), sim)
	f := build(t, s, Options{Start: minutes(0), End: minutes(60)}).Functions[0]
	if got := causesLine(f); got != "7 scale-out, 2 reset" {
		t.Errorf("causes %s", got)
	}
	if f.Concurrency.Arrivals != 100 || f.Concurrency.Late != 3 || f.Concurrency.Peak == nil || *f.Concurrency.Peak != 45 {
		t.Errorf("concurrency %+v", f.Concurrency)
	}
	want := []SpillPoint{{1, 0.4}, {2, 0.1}, {3, 0.01}, {44, 0}}
	if len(f.Concurrency.Spill) != len(want) {
		t.Fatalf("spill %v, want %v", f.Concurrency.Spill, want)
	}
	for i, p := range f.Concurrency.Spill {
		if p.Environments != want[i].Environments || math.Abs(p.Share-want[i].Share) > 1e-9 {
			t.Errorf("spill %v, want %v", f.Concurrency.Spill, want)
		}
	}
	for _, format := range []Format{Text, Markdown, HTML} {
		var b strings.Builder
		if err := Render(&b, &Report{Functions: []*Function{f}, Range: Range{Start: epoch, End: epoch.Add(time.Hour)}}, format, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "scale-out") || !strings.Contains(b.String(), "at most 45 at once; 3 provisioned environments would turn away 1.0 %") {
			t.Errorf("%s does not say why:\n%s", format, b.String())
		}
	}
}
