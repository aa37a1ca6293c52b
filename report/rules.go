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

// Rule is one piece of advice: what it looks at, when it speaks, and what it
// stands on. docs/rules.md is generated from the rules.
type Rule struct {
	// ID is that of its findings, which are stable.
	ID    string
	Title string
	// When says on what figures it fires, with the floors and thresholds.
	When string
	// Guard says what keeps it silent although the figures are there; it may be
	// empty.
	Guard string
	// Source is the evidence for the rule itself.
	Source string

	find finder
}

// finder returns what a rule finds about a function, or nil. Each stands on the
// end of an interval, and is silent below the floors of package stats; what it
// was silent about is among [Function.Insufficient].
type finder func(f *Function, v *curveView) *Finding

// Rules lists all rules, in the order in which equals are listed.
func Rules() []Rule {
	return slices.Concat(reliabilityRules(), memoryRules(), predictedRules(), predictionRules(), startRules(), runtimeRules(), costRules(), accountRules(), logRules(), profileRules())
}

// findings applies all rules to a function.
func findings(f *Function) []Finding {
	v := viewCurve(f)
	var out []Finding
	for _, rule := range Rules() {
		finding := rule.find(f, v)
		if finding == nil {
			continue
		}
		finding.ID = rule.ID
		finding.Function, finding.Account, finding.Region = f.Name, f.Account, f.Region
		if finding.Evidence == nil {
			finding.Evidence = []string{}
		}
		if finding.Patches == nil {
			finding.Patches = []Patch{}
		}
		finding.price(f)
		out = append(out, *finding)
	}
	return resolve(out)
}

// exclusive lists pieces of advice of which only the first that fires is given
// as a change: to follow the second as well would undo the first, or buy the
// same thing twice.
func exclusive() [][]string {
	return [][]string{
		{"provisioned-add", "snapstart-on"},
		{"reserved-tight", "provisioned-add"},
		{"memory-out", "memory-flat"}, {"memory-out", "memory-cheaper"}, {"memory-out", "memory-trade"},
		{"memory-pressure", "memory-flat"}, {"memory-pressure", "memory-cheaper"}, {"memory-pressure", "memory-trade"},
	}
}

// resolve turns advice that conflicts with better advice into evidence of the
// latter.
func resolve(all []Finding) []Finding {
	index := func(id string) int { return slices.IndexFunc(all, func(f Finding) bool { return f.ID == id }) }
	for _, pair := range exclusive() {
		first, second := index(pair[0]), index(pair[1])
		if first < 0 || second < 0 {
			continue
		}
		all[first].Evidence = append(all[first].Evidence, fmt.Sprintf("Not both: %s says %q, which does not go together with this.", pair[1], all[second].Change))
		all = slices.Delete(all, second, second+1)
	}
	return all
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
