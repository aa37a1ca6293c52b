package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// From the processes of a real function to the report: what they used is
// measured by the extension, counted by the collector, and continues the curve of
// the one size that ran.
func TestPredictionFromOneSize(t *testing.T) {
	w := newWorld(t)
	w.deploy("checkout", 512)
	for range 36 {
		if w.invoke("checkout", 512, eventOf(t, "checkout")) {
			t.Fatal("the function failed")
		}
		time.Sleep(25 * time.Millisecond) // an idle gap
	}
	rep := w.drain()
	f := rep.Functions[0]
	p := f.MemoryPrediction
	if p == nil || p.Reason != "" || p.Tier != "run-delay" || p.SourceMB != 512 || p.CPUShare == nil {
		t.Fatalf("%+v", p)
	}
	t.Logf("computes %.0f %% of the time", 100**p.CPUShare)
	predicted := 0
	for _, point := range f.MemoryCurve {
		if point.Basis != string(lifecycle.Predicted) {
			continue
		}
		predicted++
		t.Logf("%d MB: %.1f ms (%.1f to %.1f)", point.MemoryMB, *point.WarmMeanMS.Value, *point.WarmMeanMS.Low, *point.WarmMeanMS.High)
	}
	if predicted < 5 || !strings.Contains(p.Note, "not yet checked on AWS") {
		t.Errorf("%d sizes are predicted: %+v", predicted, p)
	}
}
