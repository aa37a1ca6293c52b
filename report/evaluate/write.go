package evaluate

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Write writes a summary for people.
func (s Summary) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s: three sizes shown of each of %d curves, recommended is the cheapest of all sizes\n\n", s.Model, s.Curves)
	fmt.Fprintf(w, "cost of the recommended size against the true cheapest: mean %.3f, p90 %.3f (1 is perfect); the cheapest itself for %s of the curves\n",
		s.MeanRegret, s.P90Regret, percent(s.Exact))
	fmt.Fprintf(w, "error of the durations that were not shown: median %s, p90 %s\n\n", optional(s.MedianError), optional(s.P90Error))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CURVE\tGROUP\tSHOWN (MB)\tRECOMMENDED\tCHEAPEST\tCOST RATIO")
	for _, o := range s.Outcomes {
		shown := strings.Trim(fmt.Sprint(o.ShownMB), "[]")
		fmt.Fprintf(table, "%s\t%s\t%s\t%g MB\t%g MB\t%.3f\n", o.Name, o.Group, shown, o.ChosenMB, o.CheapestMB, o.Regret)
	}
	return table.Flush()
}

// Write writes the comparison as Markdown, which reads as well on a terminal.
func (c Comparison) Write(w io.Writer) error {
	table := [][]string{{"model", "cost regret, mean", "p90", "cheapest chosen", "median error", "p90 error", "mean regret above Thaw's (95 %)"}}
	for i, s := range c.Models {
		difference := ""
		if i > 0 {
			d := c.Differences[i-1]
			difference = fmt.Sprintf("%+.3f (%+.3f to %+.3f)", d.Value, d.Low, d.High)
		}
		table = append(table, []string{s.Model, fmt.Sprintf("%.3f", s.MeanRegret), fmt.Sprintf("%.3f", s.P90Regret),
			percent(s.Exact), optional(s.MedianError), optional(s.P90Error), difference})
	}
	writeTable(w, table)
	v := c.Coverage
	_, err := fmt.Fprintf(w, "\n%d curves. Of %d durations that were not shown, %d (%s) are within their 95 %% interval, whose median width is a factor of %.2f; by group from %s to %s. With the width chosen without the group: %s.\n",
		c.Models[0].Curves, v.N, v.Inside, percent(v.Share), v.MedianWidth, percent(v.LeastGroup), percent(v.MostGroup), percent(v.HeldOut))
	return err
}

// WriteRatios writes what a lambda-perf file says, as Markdown.
func WriteRatios(w io.Writer, ratios []Ratio) {
	table := [][]string{{"ratio", "median", "p10", "p90", "pairs"}}
	for _, r := range ratios {
		table = append(table, []string{r.What, fmt.Sprintf("%.3f", r.Median), fmt.Sprintf("%.3f", r.P10), fmt.Sprintf("%.3f", r.P90), fmt.Sprint(r.N)})
	}
	writeTable(w, table)
}

// writeTable writes rows, the first being the head, as a Markdown table with
// aligned columns: text to the left, numbers to the right.
func writeTable(w io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(w, "| %-*s |", width[i], cell)
			} else {
				fmt.Fprintf(w, " %*s |", width[i], cell)
			}
		}
		fmt.Fprintln(w)
		if n == 0 {
			for i := range row {
				if i == 0 {
					fmt.Fprintf(w, "| %s |", strings.Repeat("-", width[i]))
				} else {
					fmt.Fprintf(w, " %s: |", strings.Repeat("-", width[i]-1))
				}
			}
			fmt.Fprintln(w)
		}
	}
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func optional(v *float64) string {
	if v == nil {
		return "-"
	}
	return percent(*v)
}
