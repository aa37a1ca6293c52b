package report

import (
	"cmp"
	"fmt"
	"slices"
)

// Severities, the worst first.
const (
	severityUrgent = "urgent"
	severityChange = "change"
	severityInfo   = "info"
)

// rule returns what it finds about a function, or nil. Each stands on the end
// of an interval, and is silent below the floors of package stats; what it was
// silent about is among [Function.Insufficient].
type rule func(f *Function, v *curveView) *Finding

// rules in the order in which equals are listed.
func rules() []rule {
	return []rule{
		outOfMemoryRule, memoryPressureRule, timeoutsRule, errorsRule,
		memoryFlatRule, memorySaturatedRule, memoryCheaperRule, memoryFasterRule, memoryTradeRule,
		coldRateRule, initPartRule, extensionInitRule, firstInvokeRule,
		extensionOverheadRule, logLatencyRule, logsDroppedRule,
	}
}

// findings applies all rules to a function.
func findings(f *Function) []Finding {
	v := viewCurve(f)
	var out []Finding
	for _, rule := range rules() {
		finding := rule(f, v)
		if finding == nil {
			continue
		}
		finding.Function, finding.Account, finding.Region = f.Name, f.Account, f.Region
		if finding.Evidence == nil {
			finding.Evidence = []string{}
		}
		out = append(out, *finding)
	}
	return out
}

// rank sorts findings, the best first: by severity, then by weight, which is
// the share of cost, time or invocations that is at stake, at the near end of
// its interval.
func rank(all []Finding) {
	order := []string{severityUrgent, severityChange, severityInfo}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity)),
			cmp.Compare(b.weight, a.weight),
		)
	})
}

func percent(share float64) string {
	switch {
	case share == 0:
		return "0 %"
	case share > 0 && share < 0.001:
		return fmt.Sprintf("%.2g %%", 100*share)
	case share < 0.0995:
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// ms writes milliseconds with three digits, as seconds from ten of them on.
func ms(v float64) string {
	if v >= 10000 {
		return digits(v/1000) + " s"
	}
	return digits(v) + " ms"
}

// sizesText writes memory sizes as 128, 256 and 512.
func sizesText(sizes []int64) string {
	out := ""
	for i, size := range sizes {
		switch {
		case i > 0 && i == len(sizes)-1:
			out += " and "
		case i > 0:
			out += ", "
		}
		out += fmt.Sprint(size)
	}
	return out
}

// usd writes a price per million invocations.
func usd(v float64) string { return "$" + digits(v) }

func digits(v float64) string {
	abs := max(v, -v)
	switch {
	case abs >= 10000:
		return thousands(count(v))
	case abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	case abs >= 1:
		return fmt.Sprintf("%.2f", v)
	case abs == 0:
		return "0"
	}
	return fmt.Sprintf("%.3f", v)
}

// thousands writes an integer in groups of three digits.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func megabytes(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f MB", v)
	}
	return thousands(count(v)) + " MB"
}
