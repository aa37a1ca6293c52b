package main

import (
	"fmt"
	"io"
	"os"

	"github.com/thaw-lambda/thaw/report"
)

// gate reads --fail-on and --budget and returns what holds a report to them.
// Notes about what could not be checked go to w.
func (f *reportFlags) gate() (func(r *report.Report, w io.Writer) error, error) {
	severities := map[string]int{"": 0, "urgent": 1, "change": 2}
	worst, ok := severities[f.failOn]
	if !ok {
		return nil, fmt.Errorf("--fail-on %s: it is urgent or change", f.failOn)
	}
	budget, err := f.readBudget()
	if err != nil {
		return nil, err
	}
	return func(r *report.Report, w io.Writer) error {
		var crossed []string
		for _, finding := range r.Findings {
			if rank, known := severities[finding.Severity]; known && rank <= worst {
				crossed = append(crossed, fmt.Sprintf("%s: %s (%s): %s", finding.Function, finding.ID, finding.Severity, finding.Claim))
			}
		}
		if budget != nil {
			over, notes := budget.Check(r)
			for _, note := range notes {
				fmt.Fprintln(w, note)
			}
			crossed = append(crossed, over...)
		}
		if len(crossed) > 0 {
			return gateError{crossed}
		}
		return nil
	}, nil
}

func (f *reportFlags) readBudget() (*report.Budget, error) {
	if f.budget == "" {
		return nil, nil
	}
	file, err := os.Open(f.budget)
	if err != nil {
		return nil, fmt.Errorf("--budget: %w", err)
	}
	defer file.Close()
	budget, err := report.ReadBudget(file)
	if err != nil {
		return nil, fmt.Errorf("--budget %s: %w", f.budget, err)
	}
	return budget, nil
}
