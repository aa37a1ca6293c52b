package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// RenderComparison writes a comparison as text, Markdown or JSON.
func RenderComparison(w io.Writer, c *Comparison, f Format, o TextOptions) error {
	switch f {
	case JSON:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(c)
	case Markdown:
		return writeComparisonMarkdown(w, c)
	case Text:
		return writeComparisonText(w, c, o)
	}
	return fmt.Errorf("%q is not a format of a comparison: it is one of md, json and text", f)
}

// quantityText is a quantity in words.
func quantityText(name string) string {
	words := map[string]string{
		"cold_start_rate": "cold start rate", "init_p50_ms": "init p50", "init_p95_ms": "init p95",
		"cold_duration_p50_ms": "duration p50 of cold starts", "warm_mean_ms": "warm duration, mean",
		"warm_p50_ms": "warm duration p50", "warm_p95_ms": "warm duration p95", "error_rate": "error rate",
		"timeout_rate": "timeout rate", "cost_per_million_usd": "cost of a million invocations", "log_latency_p95_ms": "log latency p95",
	}
	if text, ok := words[name]; ok {
		return text
	}
	return name
}

func unitText(unit string) func(float64) string {
	switch unit {
	case unitShare:
		return percent
	case unitPerMillion:
		return usd
	}
	return ms
}

// signed writes a difference with its sign.
func signed(v float64, write func(float64) string) string {
	if v < 0 {
		return "−" + write(-v)
	}
	return "+" + write(v)
}

// changeText is the difference with its interval.
func changeText(c Change) string {
	if c.Difference == nil {
		return fmt.Sprintf("not enough data: have %s, need %s", thousands(c.Have), thousands(c.Need))
	}
	write := unitText(c.Unit)
	end := func(v *float64) string { return optional(v, func(v float64) string { return signed(v, write) }) }
	out := fmt.Sprintf("%s (%s to %s)", signed(*c.Difference, write), end(c.Low), end(c.High))
	if c.Relative != nil {
		out += ", " + signed(*c.Relative, percent)
	}
	return out
}

// verdict says what to think of a change.
func verdict(c Change) string {
	switch {
	case c.Difference == nil:
		return none
	case !c.Significant:
		return "no significant change"
	case c.Worse:
		return "worse"
	}
	return "better"
}

func sinceText(f *FunctionComparison, c Change) string {
	for _, d := range f.Deploys {
		if d.Version == c.Since {
			return fmt.Sprintf("since version %s, first seen %s UTC", d.Version, d.FirstSeen.UTC().Format("2006-01-02 15:04"))
		}
	}
	return ""
}

func sideText(t SideTotals) string {
	return fmt.Sprintf("%s invocations, %s cold starts, versions %s, %s MB", thousands(t.Invocations), thousands(t.ColdStarts),
		strings.Join(t.Versions[:min(8, len(t.Versions))], ", "), sizesText(t.MemorySizesMB))
}

func writeComparisonText(out io.Writer, c *Comparison, o TextOptions) error {
	t := &terminal{bufio.NewWriter(out), o.Color, o.Width}
	if t.width <= 0 {
		t.width = defaultWidth
	}
	fmt.Fprintln(t, t.paint(bold, "Thaw comparison"))
	t.wrap(dim, "before: ", printable(c.Before.String()))
	t.wrap(dim, "after:  ", printable(c.After.String()))
	for _, g := range c.Gaps {
		t.wrap(yellow, "gap: ", printable(g.Text))
	}
	if len(c.Functions) == 0 {
		fmt.Fprint(t, "\nNo function ran on both sides.\n")
		return t.Flush()
	}
	for i := range c.Functions {
		t.comparison(&c.Functions[i])
	}
	return t.Flush()
}

func (t *terminal) comparison(f *FunctionComparison) {
	fmt.Fprintf(t, "\n%s  %s\n", t.paint(bold, printable(f.Name)), t.paint(dim, printable(f.Region+", account "+f.Account)))
	t.wrap(dim, "  before: ", printable(sideText(f.Before)))
	t.wrap(dim, "  after:  ", printable(sideText(f.After)))
	for _, what := range f.Confounded {
		t.wrap(yellow, "  also differs: ", printable(what))
	}
	rows := table{{title: "QUANTITY"}, {title: "BEFORE", right: true}, {title: "AFTER", right: true}, {title: "CHANGE (95 %)"}, {title: ""}}
	for _, c := range f.Changes {
		rows.add(quantityText(c.Quantity), optional(c.Before, unitText(c.Unit)), optional(c.After, unitText(c.Unit)), changeText(c), verdict(c))
	}
	t.table(rows)
	for _, c := range f.Changes {
		if text := sinceText(f, c); text != "" {
			t.wrap(plain, "  "+quantityText(c.Quantity)+": ", printable(text))
		}
	}
}

func writeComparisonMarkdown(out io.Writer, c *Comparison) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "# Thaw comparison\n\nBefore: %s  \nAfter: %s\n", markdown(c.Before.String()), markdown(c.After.String()))
	if len(c.Functions) == 0 {
		fmt.Fprint(w, "\nNo function ran on both sides.\n")
	}
	for i := range c.Functions {
		f := &c.Functions[i]
		fmt.Fprintf(w, "\n## %s\n\n%s, account %s. Before: %s. After: %s.\n", markdown(f.Name), markdown(f.Region), markdown(f.Account),
			markdown(sideText(f.Before)), markdown(sideText(f.After)))
		for _, what := range f.Confounded {
			fmt.Fprintf(w, "\n> Also differs: %s. A change may be due to that.\n", markdown(what))
		}
		fmt.Fprint(w, "\n| quantity | before | after | change (95 %) | |\n| --- | ---: | ---: | --- | --- |\n")
		for _, c := range f.Changes {
			text := verdict(c)
			if since := sinceText(f, c); since != "" {
				text += " " + since
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", quantityText(c.Quantity), optional(c.Before, unitText(c.Unit)),
				optional(c.After, unitText(c.Unit)), changeText(c), markdown(text))
		}
	}
	return w.Flush()
}
