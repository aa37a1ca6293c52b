package report

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/report/stats"
)

// slower is a function whose warm calls take a share longer.
func slower(share float64) workload {
	return func(float64) (float64, float64) { return 0.120 * (1 + share), 60 }
}

// deployed is a store in which version 2 replaced version 1 after an hour.
func deployed(t *testing.T, share float64, seed uint64) *store {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(seed, 7))
	one, two := simulate("api", "1", 512), simulate("api", "2", 512)
	s.write("a", minutes(0), one)
	for m := 2.0; m <= 120; m += 2 {
		if m <= 60 {
			one.run(rng, slower(0), 3, 20)
		} else {
			two.run(rng, slower(share), 3, 20)
		}
		if m > 60 {
			s.write("a", minutes(m), one, two)
		} else {
			s.write("a", minutes(m), one)
		}
	}
	return s
}

func compared(t *testing.T, s *store, before, after Side) *Comparison {
	t.Helper()
	c, err := Compare(t.Context(), &Client{URL: s.url}, CompareOptions{Before: before, After: after, PriceRegion: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func changeOf(t *testing.T, c *Comparison, quantity string) Change {
	t.Helper()
	if len(c.Functions) != 1 {
		t.Fatalf("%d functions", len(c.Functions))
	}
	for _, change := range c.Functions[0].Changes {
		if change.Quantity == quantity {
			return change
		}
	}
	t.Fatalf("no %s", quantity)
	return Change{}
}

func TestCompareFindsTheDeploy(t *testing.T) {
	s := deployed(t, 0.20, 1)
	c := compared(t, s, Side{Start: minutes(0), End: minutes(60)}, Side{Start: minutes(60), End: minutes(120)})
	warm := changeOf(t, c, "warm_p50_ms")
	if !warm.Significant || !warm.Worse || warm.Since != "2" || *warm.RelativeLow > 0.20 || *warm.RelativeHigh < 0.20 {
		t.Errorf("warm p50: %+v", warm)
	}
	if cold := changeOf(t, c, "cold_start_rate"); cold.Significant || *cold.Before != 0.05 {
		t.Errorf("cold start rate, which did not change: %+v", cold)
	}
	if cost := changeOf(t, c, "cost_per_million_usd"); !cost.Significant || !cost.Worse {
		t.Errorf("cost: %+v", cost)
	}
	f := c.Functions[0]
	if len(f.Deploys) != 1 || f.Deploys[0].Version != "2" || f.Deploys[0].FirstSeen.Sub(minutes(60)) > 5*time.Minute {
		t.Errorf("deploys: %+v", f.Deploys)
	}
	if len(f.Confounded) != 0 {
		t.Errorf("confounded: %q", f.Confounded)
	}
	for _, gate := range []struct {
		condition string
		crossed   bool
	}{{"warm_p50_ms>10%", true}, {"warm_p50_ms > 15%", true}, {"warm_p50_ms>25%", false}, {"cold_start_rate>0%", false}} {
		g, err := ParseGate(gate.condition)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Check(c); (len(got) > 0) != gate.crossed {
			t.Errorf("%s: %q", gate.condition, got)
		}
	}
	for _, format := range []Format{Text, Markdown, JSON} {
		var out bytes.Buffer
		if err := RenderComparison(&out, c, format, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "api") || format != JSON && !strings.Contains(out.String(), "since version 2, first seen 2026-11-02 13:0") {
			t.Errorf("%s:\n%s", format, &out)
		}
	}
}

// Versions are compared within one range, however they overlap.
func TestCompareVersions(t *testing.T) {
	s := deployed(t, -0.10, 2)
	whole := Side{Start: minutes(0), End: minutes(120)}
	one, two := whole, whole
	one.Version, two.Version = "1", "2"
	c := compared(t, s, one, two)
	if warm := changeOf(t, c, "warm_mean_ms"); !warm.Significant || warm.Worse {
		t.Errorf("warm mean: %+v", warm)
	}
	f := c.Functions[0]
	if f.Before.Invocations != 30*60 || f.After.Invocations != 30*60 {
		t.Errorf("%d and %d invocations", f.Before.Invocations, f.After.Invocations)
	}
}

// Where nothing changed, next to nothing is called significant: at a false
// discovery rate of 5 %, in about one comparison of twenty.
func TestCompareIsSilentAboutNoise(t *testing.T) {
	const runs = 60
	false_ := 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 11))
		a, b := simulate("api", "1", 512), simulate("api", "2", 512)
		a.run(rng, slower(0), 40, 25)
		b.run(rng, slower(0), 40, 25)
		f := FunctionComparison{}
		for _, q := range quantities() {
			if q.name != "cost_per_million_usd" { // it needs a price table
				f.Changes = append(f.Changes, change(q, sideOf(a), sideOf(b)))
			}
		}
		all := []FunctionComparison{f}
		judge(all)
		for _, change := range all[0].Changes {
			if change.Significant {
				false_++
				break
			}
		}
	}
	if false_ > runs/8 {
		t.Errorf("%d of %d comparisons without a change call one significant", false_, runs)
	}
}

// sideOf makes a side of what was simulated.
func sideOf(s *simulated) *sideFacts {
	for quantity, environments := range s.open {
		var sums stats.Clusters
		for _, c := range environments {
			sums = sums.Add(stats.Clusters{K: 1, NN: c.N * c.N, SS: c.S * c.S, NS: c.N * c.S})
		}
		s.clusters[quantity] = sums
	}
	return &sideFacts{group: s.group, sizes: map[sizeID]*group{}}
}

func TestCompareSaysWhatIsConfounded(t *testing.T) {
	s := newStore(t)
	rng := rand.New(rand.NewPCG(5, 5))
	one, two := simulate("api", "1", 512), simulate("api", "2", 1024)
	for m := 0.0; m <= 120; m += 2 {
		if m <= 60 {
			one.run(rng, waits, 2, 20)
		} else {
			two.run(rng, waits, 2, 20)
		}
		s.write("a", minutes(m), one, two)
	}
	c := compared(t, s, Side{Start: minutes(0), End: minutes(60)}, Side{Start: minutes(60), End: minutes(120)})
	if got := c.Functions[0].Confounded; len(got) != 1 || !strings.Contains(got[0], "512 MB before, 1024 MB after") {
		t.Errorf("confounded: %q", got)
	}
}

func TestBudget(t *testing.T) {
	s := deployed(t, 0, 3)
	r, err := Build(t.Context(), &Client{URL: s.url}, Options{Start: minutes(0), End: minutes(120)})
	if err != nil {
		t.Fatal(err)
	}
	f := func(budget string, over, notes int) {
		t.Helper()
		b, err := ReadBudget(strings.NewReader(budget))
		if err != nil {
			t.Fatal(err)
		}
		gotOver, gotNotes := b.Check(r)
		if len(gotOver) != over || len(gotNotes) != notes {
			t.Errorf("%s: over %q, notes %q", budget, gotOver, gotNotes)
		}
	}
	f(`{"version":1,"budgets":[{"function":"*","cold_start_rate":0.02}]}`, 1, 0)
	f(`{"version":1,"budgets":[{"function":"*","cold_start_rate":0.05}]}`, 0, 0) // it is 5 %: not surely above
	f(`{"version":1,"budgets":[{"function":"a*","warm_p95_ms":50,"init_p95_ms":5000}]}`, 1, 0)
	f(`{"version":1,"budgets":[{"function":"other","warm_p95_ms":50}]}`, 0, 0)
	f(`{"version":1,"budgets":[{"function":"api"},{"function":"*","warm_p95_ms":50}]}`, 0, 0) // the first that matches

	wrong := func(budget, want string) {
		t.Helper()
		if _, err := ReadBudget(strings.NewReader(budget)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", budget, err, want)
		}
	}
	wrong(`{"version":1,"budgets":[{"function":"*","init_p95":5}]}`, `unknown field "init_p95"`)
	wrong(`{"version":2,"budgets":[{"function":"*"}]}`, "version 2")
	wrong(`{"version":1,"budgets":[{"function":"["}]}`, "not a name or a pattern")
	wrong(`{"version":1}`, "no entries")
}

func FuzzParseGate(f *testing.F) {
	f.Add("init_p95_ms>10%")
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := ParseGate(s); err == nil && (g.Rise < 0 || g.Quantity == "") {
			t.Errorf("%q: %+v", s, g)
		}
	})
}
