package report

import (
	"fmt"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

func isPredicted(p CurvePoint) bool { return p.Basis == string(lifecycle.Predicted) }

// sizeName is a memory size as a table of a curve has it. What is predicted is
// marked.
func sizeName(f *Function, p CurvePoint) string {
	name := fmt.Sprintf("%d MB%s", p.MemoryMB, archNote(f, p))
	if isPredicted(p) {
		return "~ " + name
	}
	return name
}

// callsText is a number of invocations; a predicted size has none.
func callsText(p CurvePoint, n int64) string {
	if isPredicted(p) {
		return none
	}
	return thousands(n)
}

// meanText is the mean of a measured size, and the warm mean of a predicted one
// with its range.
func meanText(p CurvePoint) string {
	if isPredicted(p) {
		return intervalText(p.WarmMeanMS, ms)
	}
	return optional(p.DurationMS.Mean, ms)
}

// medianText is the median of a measured size, or how much data it lacks.
func medianText(p CurvePoint) string {
	if isPredicted(p) {
		return none
	}
	return supported(p.DurationMS.P50, p.DurationMS.Have, stats.FloorP50, ms)
}

// predictionText says what the predicted sizes stand on, or why there are none.
func predictionText(f *Function) string {
	p := f.MemoryPrediction
	switch {
	case p == nil:
		return ""
	case p.Reason != "":
		return "Other sizes are not predicted: " + p.Reason + "."
	}
	basis := "CPU time and run delay"
	if p.Tier == "cpu-time" {
		basis = "CPU time alone, as the run delay cannot be read here"
	}
	text := fmt.Sprintf("~ From %d MB, by %s. %s", p.SourceMB, basis, predictionNote)
	for _, r := range p.Refused {
		text += fmt.Sprintf(" Not at %d MB: %s.", r.MemoryMB, r.Reason)
	}
	return text
}
