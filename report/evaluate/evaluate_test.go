package evaluate

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/report/curve"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/evaluation.md")

func load(t testing.TB, name string) *File {
	t.Helper()
	in, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	f, err := Read(in)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The promise: a mean regret of at most 1.05 from three sizes, not above that of
// a + b/m^g, and less when the sizes are chosen one after the other.
func TestPromise(t *testing.T) {
	c := Compare(load(t, "memory-curves.json").Curves)
	ours, chosen, heldOut, power := c.Models[0], c.Models[1], c.Models[2], c.Models[3]
	if ours.Curves != 34 || power.Model != "a + b/m^g" {
		t.Fatalf("%d curves, %s", ours.Curves, power.Model)
	}
	for _, s := range []Summary{ours, heldOut} {
		if s.MeanRegret > 1.05 || s.MeanRegret > power.MeanRegret {
			t.Errorf("%s: mean regret %.4f; a + b/m^g has %.4f", s.Model, s.MeanRegret, power.MeanRegret)
		}
	}
	if chosen.MeanRegret >= ours.MeanRegret {
		t.Errorf("one after the other: mean regret %.4f, not below %.4f", chosen.MeanRegret, ours.MeanRegret)
	}
	if d := c.Differences[2]; d.High < 0 {
		t.Errorf("%s is better by the bootstrap: %+v", d.Model, d)
	}
	// An exact binomial test does not reject 95 %.
	if p := binomialTest(c.Coverage.Inside, c.Coverage.N, 0.95); p < 0.05 {
		t.Errorf("coverage %+v, p = %.4f", c.Coverage, p)
	}
}

// binomialTest returns the two-sided p value of k in n: the probability of all
// outcomes that are no likelier.
func binomialTest(k, n int, p float64) float64 {
	density := func(k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
	var sum float64
	for i := range n + 1 {
		if d := density(i); d <= density(k)*(1+1e-9) {
			sum += d
		}
	}
	return sum
}

// Curves made from mechanisms that the published file may not have, so that the
// model is not one of 35 curves: for none of them it is worse than a + b/m^g,
// which is the truth of none.
func TestMadeCurves(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for _, family := range []struct {
		name string
		make func() func(m float64) float64
	}{
		{"credit", func() func(float64) float64 { return throttled(rng, 1, 15+45*rng.Float64(), 0) }},
		{"no credit", func() func(float64) float64 { return throttled(rng, 1, 0, 0) }},
		{"parallel", func() func(float64) float64 { return throttled(rng, []float64{1.5, 2, 4}[rng.IntN(3)], 30, 0) }},
		{"scarce memory", func() func(float64) float64 { return throttled(rng, 1, 30, 64+192*rng.Float64()) }},
		{"flat", func() func(float64) float64 { return func(float64) float64 { return 80 } }},
	} {
		var curves []Curve
		for range 60 {
			f := family.make()
			c := Curve{Name: family.name, MemoryMB: []float64{128, 256, 512, 1024, 1536, 2048, 3008}}
			for _, m := range c.MemoryMB {
				c.DurationMS = append(c.DurationMS, f(m)*math.Exp(0.05*rng.NormFloat64()))
			}
			if err := c.normalize(); err != nil {
				t.Fatal(err)
			}
			curves = append(curves, c)
		}
		ours, power, chosen := Run(curves, Thaw()), Run(curves, PowerLaw()), Sequential(curves, curve.Default())
		t.Logf("%-14s regret %.4f, a + b/m^g %.4f, one after the other %.4f", family.name, ours.MeanRegret, power.MeanRegret, chosen.MeanRegret)
		if ours.MeanRegret > power.MeanRegret+0.015 || chosen.MeanRegret > ours.MeanRegret+0.01 {
			t.Errorf("%s: regret %.4f, a + b/m^g %.4f, one after the other %.4f", family.name, ours.MeanRegret, power.MeanRegret, chosen.MeanRegret)
		}
	}
}

// throttled is a function that waits and computes on threads CPUs, with the
// credit kappa, and more work where memory is scarce.
func throttled(rng *rand.Rand, threads, kappa, scarceMB float64) func(m float64) float64 {
	cpu := math.Exp(7.5 * rng.Float64())
	waiting := cpu * math.Exp(4*rng.Float64()-2)
	return func(m float64) float64 {
		v := m / 1769
		c := cpu * (1 + math.Pow(scarceMB/m, 3))
		d := c / threads
		if v < threads {
			d = max(d, c/v-kappa*math.Pow(1-v/threads, 0.85))
		}
		return waiting + d
	}
}

// A model that knows the truth has no regret, and one that is told nothing has
// that of the sizes it was shown.
func TestRegret(t *testing.T) {
	c := Curve{Name: "x", MemoryMB: []float64{512, 128, 1024, 256}, DurationMS: []float64{20, 100, 18, 30}}
	if err := c.normalize(); err != nil {
		t.Fatal(err)
	}
	oracle := Model{"oracle", func(_, _ []float64) Prediction {
		return func(m float64) float64 { return map[float64]float64{128: 100, 256: 30, 512: 20, 1024: 18}[m] }
	}}
	if s := Run([]Curve{c}, oracle); s.MeanRegret != 1 || *s.MedianError != 0 || s.Exact != 1 {
		t.Errorf("oracle: %+v", s)
	}
	blind := Model{"blind", func(_, _ []float64) Prediction { return nil }}
	s := Run([]Curve{c}, blind)
	// Shown are 128, 512 and 1024 MB; 512·20 against 256·30.
	if want := 512.0 * 20 / (256 * 30); math.Abs(s.MeanRegret-want) > 1e-12 || s.MedianError != nil {
		t.Errorf("blind: regret %g, want %g", s.MeanRegret, want)
	}
	if s := Run([]Curve{{MemoryMB: []float64{1, 2, 3}}}, blind); s.Curves != 0 || s.MeanRegret != 0 {
		t.Errorf("three sizes were evaluated: %+v", s)
	}
}

// Fits against closed forms.
func TestModelsFindTheirOwnCurves(t *testing.T) {
	memory := []float64{128, 512, 2048}
	for i, f := range []func(m float64) float64{
		func(m float64) float64 { return 5 + 90*math.Pow(128/m, 0.7) },
		func(m float64) float64 { return 5 + 90*math.Exp(-m/(30*math.Pow(1.05, 60))) },
		func(m float64) float64 { return 5 + 90*128/m },
	} {
		var ms []float64
		for _, m := range memory {
			ms = append(ms, f(m))
		}
		model := Others()[i]
		if got, want := model.Fit(memory, ms)(256), f(256); math.Abs(got/want-1) > 1e-6 {
			t.Errorf("%s: %g ms at 256 MB, want %g", model.Name, got, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{
		"", "[]", "{}", `{"curves":[{"name":"a"}]}`, `{"curves":[{"memory_mb":[128],"duration_ms":[1,2]}]}`,
		`{"curves":[{"memory_mb":[128,128],"duration_ms":[1,2]}]}`, `{"curves":[{"memory_mb":[128],"duration_ms":[0]}]}`,
		`{"curves":[{"memory_mb":[128],"duration_ms":[3],"cost_usd":[1,2]}]}`,
	} {
		if f, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read: %+v", text, f)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"curves":[{"name":"a","memory_mb":[128,256,512,1024],"duration_ms":[9,5,3,2]}]}`)
	f.Add(`{"runtimeData":[{"d":"go","p":"zip","i":[1,2],"m":128,"a":"arm64","ad":30},{"d":"go","p":"zip","i":[1],"m":1024,"a":"arm64","ad":3}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Read(strings.NewReader(text))
		if err == nil && len(file.Curves) < 4 {
			Run(file.Curves, PowerLaw())
		}
	})
}

// The tables in docs/evaluation.md are what `thaw evaluate --compare` prints.
func TestDocument(t *testing.T) {
	const path = "../../docs/evaluation.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, name := range []string{"memory-curves.json", "lambda-perf-2025-06-01.json"} {
		file := load(t, name)
		var b strings.Builder
		if len(file.Ratios) > 0 {
			WriteRatios(&b, file.Ratios)
			b.WriteString("\n")
		}
		if err := Compare(file.Curves).Write(&b); err != nil {
			t.Fatal(err)
		}
		open, end := "<!-- thaw evaluate --compare "+name+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(text, open)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no table of %s", path, name)
		}
		text = before + open + b.String() + end + after
	}
	if text == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the models say now; run go test ./report/evaluate -update", path)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
