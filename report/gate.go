package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Gate is a condition on a comparison for which a build is to fail: a quantity
// rose by more than a share of what it was, and chance is no good explanation.
type Gate struct {
	Quantity string
	// Rise is the share by which it may rise: 0.10 is 10 %.
	Rise float64
}

// ParseGate reads a condition such as init_p95_ms>10%.
func ParseGate(s string) (Gate, error) {
	name, limit, found := strings.Cut(strings.ReplaceAll(s, " ", ""), ">")
	if !found || !slices.Contains(QuantityNames(), name) {
		return Gate{}, fmt.Errorf("%q is not a condition such as init_p95_ms>10%%; quantities are %s", s, strings.Join(QuantityNames(), ", "))
	}
	number, ok := strings.CutSuffix(limit, "%")
	rise, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || rise < 0 || rise > 1e6 {
		return Gate{}, fmt.Errorf("%q: the rise has to be a percentage such as 10%%", s)
	}
	return Gate{name, rise / 100}, nil
}

// Check returns what crosses the gate: a change whose interval lies above it as
// a whole.
func (g Gate) Check(c *Comparison) []string {
	var out []string
	for i := range c.Functions {
		f := &c.Functions[i]
		for _, change := range f.Changes {
			if change.Quantity != g.Quantity || !change.Significant || change.Difference == nil {
				continue
			}
			crossed := change.RelativeLow != nil && *change.RelativeLow > g.Rise
			if change.Relative == nil { // it was zero before
				crossed = change.Low != nil && *change.Low > 0
			}
			if crossed {
				out = append(out, fmt.Sprintf("%s: %s rose from %s to %s: %s; allowed is %s", f.Name, quantityText(g.Quantity),
					optional(change.Before, unitText(change.Unit)), optional(change.After, unitText(change.Unit)), changeText(change), percent(g.Rise)))
			}
		}
	}
	return out
}

// Budget is what functions may take, as a file holds it: the first entry whose
// pattern matches a function's name is the function's.
type Budget struct {
	Version int           `json:"version"`
	Budgets []BudgetEntry `json:"budgets"`
}

// BudgetEntry holds upper limits. A limit that is absent is none.
type BudgetEntry struct {
	// Function is a name, or a pattern as in a shell: *, checkout-*.
	Function          string   `json:"function"`
	ColdStartRate     *float64 `json:"cold_start_rate"`
	ErrorRate         *float64 `json:"error_rate"`
	TimeoutRate       *float64 `json:"timeout_rate"`
	InitP50MS         *float64 `json:"init_p50_ms"`
	InitP95MS         *float64 `json:"init_p95_ms"`
	WarmP95MS         *float64 `json:"warm_p95_ms"`
	CostPerMillionUSD *float64 `json:"cost_per_million_usd"`
	LogLatencyP95MS   *float64 `json:"log_latency_p95_ms"`
}

// BudgetLimits lists the limits that an entry can hold.
func BudgetLimits() []string {
	var out []string
	for _, l := range (&BudgetEntry{}).limits(&Function{}) {
		out = append(out, l.name)
	}
	return out
}

// maxBudget bounds the file.
const maxBudget = 16 << 20

// ReadBudget reads a budget. A name that is misspelt is an error: a limit that
// is silently none would be worse.
func ReadBudget(r io.Reader) (*Budget, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBudget))
	if err != nil {
		return nil, fmt.Errorf("read the budget: %w", err)
	}
	var b Budget
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return nil, fmt.Errorf("read the budget: %w", err)
	}
	if b.Version != 1 {
		return nil, fmt.Errorf("the budget is of version %d, this thaw reads version 1", b.Version)
	}
	for i, e := range b.Budgets {
		if _, err := path.Match(e.Function, ""); err != nil || e.Function == "" {
			return nil, fmt.Errorf("entry %d of the budget: %q is not a name or a pattern", i+1, e.Function)
		}
	}
	if len(b.Budgets) == 0 {
		return nil, errors.New("the budget has no entries")
	}
	return &b, nil
}

// limit is one limit of an entry on one function.
type limit struct {
	name  string
	most  *float64
	low   *float64 // the near end of the interval of the value
	value *float64
	unit  string
	have  int64
}

// Check returns what is over budget with 95 % confidence: the near end of the
// interval is above the limit. What the data does not support passes, and is
// among the notes.
func (b *Budget) Check(r *Report) (over, notes []string) {
	for _, f := range r.Functions {
		e := b.entry(f.Name)
		if e == nil {
			continue
		}
		for _, l := range e.limits(f) {
			switch {
			case l.most == nil:
			case l.value == nil || l.low == nil:
				notes = append(notes, fmt.Sprintf("%s: %s is not checked: not enough data, have %s", f.Name, quantityText(l.name), thousands(l.have)))
			case *l.low > *l.most:
				write := unitText(l.unit)
				over = append(over, fmt.Sprintf("%s: %s is %s, at least %s with 95 %% confidence; the budget is %s",
					f.Name, quantityText(l.name), write(*l.value), write(*l.low), write(*l.most)))
			}
		}
	}
	return over, notes
}

func (b *Budget) entry(name string) *BudgetEntry {
	for i := range b.Budgets {
		if ok, _ := path.Match(b.Budgets[i].Function, name); ok { // ReadBudget checked the pattern
			return &b.Budgets[i]
		}
	}
	return nil
}

func (e *BudgetEntry) limits(f *Function) []limit {
	rate := func(name string, most *float64, r Rate) limit {
		return limit{name, most, r.Low, r.Value, unitShare, r.N}
	}
	return []limit{
		rate("cold_start_rate", e.ColdStartRate, f.ColdStartRate),
		rate("error_rate", e.ErrorRate, f.ErrorRate),
		rate("timeout_rate", e.TimeoutRate, f.TimeoutRate),
		{"init_p50_ms", e.InitP50MS, f.InitMS.P50Low, f.InitMS.P50, unitMS, f.InitMS.Have},
		{"init_p95_ms", e.InitP95MS, f.InitMS.P95Low, f.InitMS.P95, unitMS, f.InitMS.Have},
		{"warm_p95_ms", e.WarmP95MS, f.DurationMS.Warm.P95Low, f.DurationMS.Warm.P95, unitMS, f.DurationMS.Warm.Have},
		{"cost_per_million_usd", e.CostPerMillionUSD, f.CostPerMillionUSD.Low, f.CostPerMillionUSD.Value, unitPerMillion, f.CostPerMillionUSD.Have},
		{"log_latency_p95_ms", e.LogLatencyP95MS, f.LogLatencyMS.P95Low, f.LogLatencyMS.P95, unitMS, f.LogLatencyMS.Have},
	}
}
