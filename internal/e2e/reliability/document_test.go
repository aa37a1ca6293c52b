package reliability

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const documentFile = "../../../docs/reliability.md"

// document writes docs/reliability.md, or holds that it speaks of every cell.
func document(t *testing.T, cells []*cell, failed map[string][]float64) {
	t.Helper()
	text := render(cells, failed)
	if *update {
		if err := os.WriteFile(documentFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := heads(string(was)), heads(text); !slices.Equal(got, want) {
		t.Errorf("%s does not have the rows of this test: run it with -update\n%q\n%q", documentFile, got, want)
	}
}

// heads are the lines without what was measured.
func heads(text string) (out []string) {
	for line := range strings.Lines(text) {
		if fields := strings.Split(line, "|"); len(fields) > 2 {
			out = append(out, strings.TrimSpace(fields[1]))
		} else {
			out = append(out, strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }), "#"))
		}
	}
	return out
}

func render(cells []*cell, failed map[string][]float64) string {
	var b strings.Builder
	b.WriteString(`# Reliability

Written by the test in internal/e2e/reliability (` + "`go test ./internal/e2e/reliability -update`" + `). It runs the real extension in the local Lambda
against backends that fail in every way that they do, under each flush policy, and asserts: every invocation of the local Lambda's ledger is
at the backend or in the log, but for what the backend of partial success rejects, which is counted; a dead backend is waited for at most once in
the life of an environment. Time is asserted with room for a busy machine, so these bounds are wider than what is promised: ` + "`adaptive`" + ` adds at
most 1 % of what is billed and 30 ms; at most a tenth of a cell's invocations, or one, are prolonged by more than 160 ms; the median reset with a
dead backend takes at most twice that with a healthy one and 450 ms; at most 20 MB are resident. Times were taken with ` + fmt.Sprint(parallel) + ` to ` + fmt.Sprint(3*parallel) + `
environments side by side on a machine that did other things too: they are upper bounds, and it is their order that says something.

Each entry is: what the extension added to an invocation after its response, median and largest, in ms; invocations that waited, and how long
together; invocations at the backend + only in the log, of all; spans the backend got twice; largest resident memory of the extension, MB.
Spans that come twice have the same ids, and Thaw's collector counts them once.
`)
	for i := range scenarios {
		s := &scenarios[i]
		fmt.Fprintf(&b, "\n## %s: %s\n\n", s.name, s.about)
		if s.resets > 0 {
			fmt.Fprintf(&b, "The invocation that fails is answered after %.0f ms where there is no extension. The last figure of an entry is how many ms later that is with it:\nthe platform tells extensions of the shutdown and waits for them, 2 s at most.\n\n", median(failed[s.name]))
		}
		b.WriteString("| backend | " + strings.Join(policies, " | ") + " |\n| --- |" + strings.Repeat(" --- |", len(policies)) + "\n")
		for j := range faults {
			fmt.Fprintf(&b, "| %s |", faults[j].name)
			for _, c := range cells {
				if c.scenario == s && c.fault == &faults[j] {
					fmt.Fprintf(&b, " %s |", c.entry(median(failed[s.name])))
				}
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func (c *cell) entry(bareFailed float64) string {
	r := c.result
	onlyLogged := 0
	for id := range r.spooled {
		if !r.delivered[id] {
			onlyLogged++
		}
	}
	text := fmt.Sprintf("%.1f, %.1f; %d, %.0f; %d + %d of %d; %d; %.1f", median(r.overhead), slices.Max(r.overhead), r.held, ms(r.added),
		len(r.delivered), onlyLogged, r.invocations, r.duplicates, float64(r.maxRSS)/(1<<20))
	if c.failed > 0 {
		text += fmt.Sprintf("; %+.0f", ms(c.failed)-bareFailed)
	}
	return text
}
