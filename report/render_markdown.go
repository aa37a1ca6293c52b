package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// writeMarkdown writes what fits a comment on a pull request: one table of all
// functions, the findings, and the curves folded away.
func writeMarkdown(out io.Writer, r *Report) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "# Thaw report\n\n%s · prices of %s · Thaw %s\n\n", rangeText(r.Range), r.Pricing.Date, r.ThawVersion)
	for _, g := range r.Gaps {
		fmt.Fprintf(w, "> **Gap.** %s\n\n", markdown(g.Text))
	}
	markdownImported(w, r.Imported)
	if len(r.Functions) == 0 && len(r.Imported) > 0 {
		return w.Flush()
	}
	if len(r.Functions) == 0 {
		fmt.Fprint(w, "No function was invoked in this range.\n")
		return w.Flush()
	}
	markdownSummary(w, r)
	markdownFindings(w, r)
	for _, f := range r.Functions {
		markdownFunction(w, f)
	}
	return w.Flush()
}

func markdownSummary(w io.Writer, r *Report) {
	fmt.Fprint(w, "| Function | Invocations | Cold starts (95 % interval) | Init p50 | Where init goes | $ per million | Memory |\n")
	fmt.Fprint(w, "| --- | ---: | ---: | ---: | --- | ---: | --- |\n")
	for _, f := range r.Functions {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", markdown(f.Name), thousands(f.Invocations),
			rateText(f.ColdStartRate), supported(f.InitMS.P50, f.InitMS.Have, 10, ms),
			markdown(initText(f)), optional(f.CostPerMillionUSD.Value, usd), adviceText(f.Recommendation))
	}
	fmt.Fprintln(w)
}

func markdownFindings(w io.Writer, r *Report) {
	if len(r.Findings) == 0 {
		fmt.Fprint(w, "No findings.\n\n")
		return
	}
	fmt.Fprint(w, "## Findings\n\n")
	for i, f := range r.Findings {
		fmt.Fprintf(w, "%d. **%s** (%s): %s\n   %s\n   <sub>%s · %s, n = %s · check: %s · undo: %s</sub>\n",
			i+1, markdown(f.Function), f.ID, markdown(f.Claim), markdown(f.Change),
			strings.Join(append(moneyWords(f), "effect "+effectText(f.Effect)), " · "), f.Basis, thousands(f.N), markdown(f.Verify), markdown(f.Undo))
		markdownPatches(w, f.Patches)
	}
	fmt.Fprintln(w)
}

// markdownPatches folds the code away below its finding.
func markdownPatches(w io.Writer, patches []Patch) {
	if len(patches) == 0 {
		return
	}
	fmt.Fprint(w, "   <details><summary>As code</summary>\n\n")
	for _, p := range patches {
		language := map[string]string{toolSAM: "yaml", toolCDK: "ts", toolTerraform: "hcl", toolCLI: "sh"}[p.Tool]
		fmt.Fprintf(w, "   %s\n\n   ```%s\n   %s\n   ```\n\n", toolName(p.Tool), language, strings.ReplaceAll(p.Text, "\n", "\n   "))
	}
	fmt.Fprint(w, "   </details>\n")
}

func markdownFunction(w io.Writer, f *Function) {
	fmt.Fprintf(w, "<details><summary>%s: memory curve and figures</summary>\n\n", markdown(f.Name))
	fmt.Fprint(w, "| Memory | Invocations | Cold | Mean | p50 | p95 | $ per million (95 % interval) |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, p := range f.MemoryCurve {
		d := p.DurationMS
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", markdown(sizeName(f, p)), callsText(p, p.Invocations), callsText(p, p.ColdStarts),
			meanText(p), medianText(p), supported(d.P95, d.Have, d.Need, ms), intervalText(p.CostInterval, usd))
	}
	markdownCauses(w, f)
	markdownPackages(w, f)
	fmt.Fprintf(w, "\nMemory advice: %s. %s\n", adviceText(f.Recommendation), markdown(f.Recommendation.Reason))
	if text := predictionText(f); text != "" {
		fmt.Fprintf(w, "\n%s\n", markdown(text))
	}
	if text := objectivesText(f); text != "" {
		fmt.Fprintf(w, "- warm invocations, %s\n", text)
	}
	if text := predictedText(f); text != "" {
		fmt.Fprintf(w, "- predicted, not measured: %s\n", text)
	}
	for _, i := range f.Insufficient {
		fmt.Fprintf(w, "- not enough data for %s\n", markdown(insufficientText(i)))
	}
	fmt.Fprint(w, "\n</details>\n\n")
}

// archNote names the architecture where a function ran on more than one.
func archNote(f *Function, p CurvePoint) string {
	if len(f.Architectures) < 2 {
		return ""
	}
	return " " + p.Architecture
}

// markdown escapes what Markdown or the HTML in it would take for markup. The
// names of functions and errors are other people's.
func markdown(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '&':
			b.WriteString("&amp;")
		case c == '<':
			b.WriteString("&lt;")
		case c == '>':
			b.WriteString("&gt;")
		case strings.ContainsRune("\\`*_[]|#~@", c):
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
