package report

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/thaw-lambda/thaw/internal/metric"
)

// BenchmarkReport asks a real store about 2,000 functions of one version and
// size each.
func BenchmarkReport(b *testing.B) {
	s := newStore(b)
	rng := rand.New(rand.NewPCG(1, 1))
	s.append(minutes(1), metric.Heartbeat.Prometheus(), map[string]string{metric.LabelInstance: "a"}, Sample{Value: 1})
	for i := range 2000 {
		sim := simulate(fmt.Sprintf("function-%04d", i), "1", 512)
		sim.run(rng, waits, 4, 25)
		s.write("a", minutes(2), sim)
		sim.run(rng, waits, 4, 25)
		for _, series := range sim.series() {
			series.labels[metric.LabelInstance] = "a"
			s.append(minutes(59), series.name, series.labels, series.Sample)
		}
	}
	s.write("a", minutes(59))
	b.ResetTimer()
	for b.Loop() {
		r, err := Build(b.Context(), &Client{URL: s.url}, Options{Start: minutes(3), End: minutes(60)})
		if err != nil {
			b.Fatal(err)
		}
		if len(r.Functions) != 2000 || r.Functions[7].Invocations != 100 {
			b.Fatalf("%d functions of %d invocations", len(r.Functions), r.Functions[7].Invocations)
		}
	}
}
