package report

import (
	"fmt"
	"strings"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// predictedText lists the sizes between measured ones, with their interval. Those
// beyond are for the objectives and for machines.
func predictedText(f *Function) string {
	var parts []string
	if len(f.MemorySizesMB) == 0 {
		return ""
	}
	low, high := f.MemorySizesMB[0], f.MemorySizesMB[len(f.MemorySizesMB)-1]
	for _, p := range f.PredictedCurve {
		if p.MemoryMB < low || p.MemoryMB > high {
			continue
		}
		parts = append(parts, fmt.Sprintf("%d MB %s (%s to %s)", p.MemoryMB, ms(p.WarmMeanMS.Value), ms(p.WarmMeanMS.Low), ms(p.WarmMeanMS.High)))
	}
	return strings.Join(parts, "; ")
}

// objectivesText says which size is best in which way.
func objectivesText(f *Function) string {
	var parts []string
	for _, o := range f.Recommendation.Objectives {
		if o.MemoryMB == nil {
			parts = append(parts, o.Name+": none")
			continue
		}
		text := fmt.Sprintf("%s: %d MB", o.Name, *o.MemoryMB)
		if o.Basis != string(lifecycle.Measured) {
			text += " (" + o.Basis + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
