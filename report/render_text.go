package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// defaultWidth is that of a terminal of which nothing is known.
const defaultWidth = 100

// terminal writes aligned text. Colours are for eyes only: without them
// nothing is lost.
type terminal struct {
	*bufio.Writer
	color bool
	width int
}

type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func (t *terminal) paint(s style, text string) string {
	if !t.color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func writeText(out io.Writer, r *Report, o TextOptions) error {
	t := &terminal{bufio.NewWriter(out), o.Color, o.Width}
	if t.width <= 0 {
		t.width = defaultWidth
	}
	fmt.Fprintf(t, "%s  %s\n", t.paint(bold, "Thaw report"), rangeText(r.Range))
	t.wrap(dim, "", fmt.Sprintf("%s, prices of %s, Thaw %s", printable(r.Source), r.Pricing.Date, r.ThawVersion))
	fmt.Fprintln(t)
	for _, g := range r.Gaps {
		t.wrap(yellow, "gap: ", printable(g.Text))
	}
	t.imported(r.Imported)
	if len(r.Functions) == 0 && len(r.Imported) > 0 {
		return t.Flush()
	}
	if len(r.Functions) == 0 {
		fmt.Fprintln(t, "No function was invoked in this range.")
		return t.Flush()
	}
	t.summary(r)
	t.findings(r)
	for _, f := range r.Functions {
		t.function(f)
	}
	return t.Flush()
}

func (t *terminal) summary(r *Report) {
	table := table{{title: "FUNCTION", max: 28}, {title: "INVOCATIONS", right: true}, {title: "COLD STARTS (95 %)", right: true},
		{title: "INIT P50", right: true}, {title: "MEMORY"}, {title: "$/MILLION", right: true}, {title: "WHERE INIT GOES"}}
	for _, f := range r.Functions {
		table.add(printable(f.Name), thousands(f.Invocations), rateText(f.ColdStartRate), optional(f.InitMS.P50, ms),
			adviceText(f.Recommendation), optional(f.CostPerMillionUSD.Value, usd), printable(initText(f)))
	}
	t.table(table)
	fmt.Fprintln(t)
}

func (t *terminal) findings(r *Report) {
	if len(r.Findings) == 0 {
		fmt.Fprint(t, "No findings.\n\n")
		return
	}
	fmt.Fprintln(t, t.paint(bold, "Findings, the best first"))
	for i, f := range r.Findings {
		color := map[string]style{severityUrgent: red, severityChange: green, severityInfo: plain}[f.Severity]
		fmt.Fprintf(t, "%2d. %s %s\n", i+1, t.paint(bold, printable(f.Function)), t.paint(color, f.ID))
		t.wrap(plain, "    ", printable(f.Claim))
		t.wrap(plain, "    do: ", printable(f.Change))
		t.wrap(dim, "    ", strings.Join(append(moneyWords(f), fmt.Sprintf("effect %s; %s, n = %s", effectText(f.Effect), f.Basis, thousands(f.N))), "; "))
	}
	fmt.Fprintln(t)
}

func (t *terminal) function(f *Function) {
	fmt.Fprintf(t, "%s  %s\n", t.paint(bold, printable(f.Name)), t.paint(dim, printable(where(f))))
	table := table{{title: "MEMORY", right: true}, {title: "CALLS", right: true}, {title: "COLD", right: true}, {title: "MEAN", right: true},
		{title: "P50", right: true}, {title: "P95", right: true}, {title: "WARM MEAN", right: true}, {title: "$/MILLION (95 %)", right: true}}
	for _, p := range f.MemoryCurve {
		table.add(sizeName(f, p), callsText(p, p.Invocations), callsText(p, p.ColdStarts), meanText(p),
			optional(p.DurationMS.P50, ms), optional(p.DurationMS.P95, ms), optional(p.WarmMeanMS.Value, ms), intervalText(p.CostInterval, usd))
	}
	t.table(table)
	t.packages(f)
	t.wrap(plain, "  memory: ", adviceText(f.Recommendation)+". "+printable(f.Recommendation.Reason))
	if text := predictionText(f); text != "" {
		t.wrap(dim, "  ", text)
	}
	if text := objectivesText(f); text != "" {
		t.wrap(plain, "  warm invocations: ", text)
	}
	if text := predictedText(f); text != "" {
		t.wrap(dim, "  predicted, not measured: ", text)
	}
	t.wrap(plain, "  init: ", fmt.Sprintf("p50 %s, p95 %s (n = %s); %s", optional(f.InitMS.P50, ms), optional(f.InitMS.P95, ms), thousands(f.InitMS.Have), printable(initText(f))))
	t.wrap(plain, "  why cold: ", printable(causesLine(f)))
	t.wrap(plain, "  concurrency: ", concurrencyLine(f))
	t.wrap(plain, "  environments: ", livesLine(f))
	t.wrap(plain, "  first request: ", fmt.Sprintf("%s longer than a warm one (n = %s)", optional(f.FirstInvokePenalty.Mean, ms), thousands(f.FirstInvokePenalty.Have)))
	t.wrap(plain, "  logs: ", fmt.Sprintf("p50 %s, p95 %s late at the extension; %s lines, %s kept by a freeze", optional(f.LogLatencyMS.P50, ms),
		optional(f.LogLatencyMS.P95, ms), thousands(f.Logs.Lines), optional(f.Logs.FrozenShare.Value, percent)))
	t.wrap(plain, "  trouble: ", fmt.Sprintf("errors %s, timeouts %s, reports missing %s", thousands(f.Errors), thousands(f.Timeouts), thousands(f.ReportsMissing)))
	for _, i := range f.Insufficient {
		t.wrap(dim, "  not enough data: ", insufficientText(i))
	}
	fmt.Fprintln(t)
}

// column is one column of a table with its cells.
type column struct {
	title string
	right bool
	max   int
	cells []string
}

type table []column

func (t table) add(cells ...string) {
	for i, cell := range cells {
		if limit := t[i].max; limit > 0 && utf8.RuneCountInString(cell) > limit {
			cell = string([]rune(cell)[:limit-1]) + "…"
		}
		t[i].cells = append(t[i].cells, cell)
	}
}

func (c column) width() int {
	w := utf8.RuneCountInString(c.title)
	for _, cell := range c.cells {
		w = max(w, utf8.RuneCountInString(cell))
	}
	return w
}

// table writes as many columns, from the left, as the terminal has room for.
func (t *terminal) table(columns table) {
	used, fit := 0, 0
	for _, c := range columns {
		used += 2 + c.width()
		if used > t.width && fit > 0 {
			break
		}
		fit++
	}
	columns = columns[:fit]
	t.row(columns, dim, func(c column) string { return c.title })
	for i := range columns[0].cells {
		t.row(columns, plain, func(c column) string { return c.cells[i] })
	}
}

func (t *terminal) row(columns table, s style, cell func(column) string) {
	var b strings.Builder
	for _, c := range columns {
		text := cell(c)
		pad := strings.Repeat(" ", c.width()-utf8.RuneCountInString(text))
		if c.right {
			text = pad + text
		} else {
			text += pad
		}
		b.WriteString("  " + text)
	}
	fmt.Fprintln(t, t.paint(s, strings.TrimRight(b.String(), " ")))
}

// wrap writes text in lines of the terminal's width, the first with a prefix
// and the others below it.
func (t *terminal) wrap(s style, prefix, text string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(prefix)-utf8.RuneCountInString(strings.TrimLeft(prefix, " "))+2)
	line := prefix
	for i, word := range strings.Fields(text) {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > t.width {
			fmt.Fprintln(t, t.paint(s, line))
			line = indent + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(t, t.paint(s, line))
}

// printable keeps a function's name from moving the cursor.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '�'
		}
		return c
	}, s)
}
