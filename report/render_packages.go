package report

import (
	"bufio"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile/export"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// profileWords are the functions of profile.html.
func profileWords() template.FuncMap {
	return template.FuncMap{
		"profiled": func(index int, f *Function) map[string]any { return map[string]any{"Index": index, "Function": f} },
		"kept":     func(p InitProfile) string { return strings.Join(p.Kept, ", ") },
		"heavy":    heavyPackages,
		"chain":    chainText,
		"clock":    clock,
		"signed":   signedMS,
		"versions": versionsText,
		"coded":    coded,
	}
}

// coded sets what stands between backticks as code.
func coded(s string) template.HTML {
	parts := strings.Split(s, "`")
	if len(parts)%2 == 0 {
		return template.HTML(template.HTMLEscapeString(s))
	}
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 {
			part = "<code>" + template.HTMLEscapeString(part) + "</code>"
		} else {
			part = template.HTMLEscapeString(part)
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}

// heavyPackages are those of a table: of at least a millisecond, at most 15.
func heavyPackages(all []ProfiledPackage) []ProfiledPackage {
	n := 0
	for n < len(all) && n < 15 && (all[n].SelfMS >= 1 || n < 3) {
		n++
	}
	return all[:n]
}

func chainText(chain []string) string {
	if len(chain) > 4 {
		chain = append(slices.Clone(chain[:2]), append([]string{"…"}, chain[len(chain)-2:]...)...)
	}
	return strings.Join(chain, " › ")
}

func signedMS(v float64) string {
	if v > 0 {
		return "+" + ms(v)
	}
	return "−" + ms(-v)
}

func versionsText(from, to string) string {
	switch {
	case from == to:
		return to
	case from == "":
		return "new, " + to
	case to == "":
		return from + ", gone"
	}
	return from + " to " + to
}

// packageRow is a package as every format tells it.
func packageName(name, version string) string { return strings.TrimSpace(name + " " + version) }

// markdownPackages writes what is known of the packages of a function.
func markdownPackages(w io.Writer, f *Function) {
	if len(f.Profiles) > 0 {
		p := f.Profiles[0]
		fmt.Fprintf(w, "\nInit by package, in the cold start of %s (version %s, %d MB, %s):\n\n", clock(p.Start), markdown(p.Version), p.MemoryMB, ms(p.InitMS))
		fmt.Fprint(w, "| Package | Own time | With what it loads | Modules | Imported by |\n| --- | ---: | ---: | ---: | --- |\n")
		for _, u := range heavyPackages(p.Packages) {
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", markdown(packageName(u.Name, u.Version)), ms(u.SelfMS), ms(u.TotalMS), thousands(u.Modules), markdown(chainText(u.ImportedBy)))
		}
		if p.Inside != "" {
			fmt.Fprintf(w, "\nThe init ended while it was loading %s.\n", markdown(p.Inside))
		}
	} else if len(f.Packages) > 0 {
		fmt.Fprint(w, "\n| Package | Share of init | Mean | n |\n| --- | ---: | ---: | ---: |\n")
		for _, u := range f.Packages {
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", markdown(packageName(u.Name, u.Version)), percent(u.Share), optional(u.InitMS.Mean, ms), thousands(u.InitMS.Have))
		}
	}
	for _, d := range f.ProfileDiffs {
		fmt.Fprintf(w, "\nFrom version %s to %s the init went from %s to %s:\n\n| Package | Change | Imported by |\n| --- | ---: | --- |\n", markdown(d.FromVersion), markdown(d.ToVersion), ms(d.FromMS), ms(d.ToMS))
		for _, c := range d.Changes {
			fmt.Fprintf(w, "| %s (%s) | %s | %s |\n", markdown(c.Name), markdown(versionsText(c.FromVersion, c.ToVersion)), signedMS(c.DeltaMS), markdown(chainText(c.ImportedBy)))
		}
	}
}

// packages writes the same on the terminal, shorter.
func (t *terminal) packages(f *Function) {
	if len(f.Profiles) == 0 {
		return
	}
	p := f.Profiles[0]
	t.wrap(plain, "  packages: ", fmt.Sprintf("the cold start of %s, version %s, %d MB, %s", clock(p.Start), printable(p.Version), p.MemoryMB, ms(p.InitMS)))
	table := table{{title: "  PACKAGE", max: 44}, {title: "OWN", right: true}, {title: "WITH WHAT IT LOADS", right: true}, {title: "MODULES", right: true}, {title: "IMPORTED BY", max: 60}}
	for _, u := range heavyPackages(p.Packages) {
		table.add("  "+printable(packageName(u.Name, u.Version)), ms(u.SelfMS), ms(u.TotalMS), thousands(u.Modules), printable(chainText(u.ImportedBy)))
	}
	t.table(table)
	if p.Inside != "" {
		t.wrap(red, "  inside: ", "the init ended while it was loading "+printable(p.Inside))
	}
	for _, d := range f.ProfileDiffs {
		for _, c := range d.Changes[:min(3, len(d.Changes))] {
			t.wrap(plain, "  deploy: ", fmt.Sprintf("version %s to %s: %s %s", printable(d.FromVersion), printable(d.ToVersion), signedMS(c.DeltaMS), printable(packageName(c.Name, c.ToVersion))))
		}
	}
}

// Export returns p for other tools, nil where the report was not built from
// evidence but read from JSON.
func (p *InitProfile) Export(function string) *export.Profile {
	if p.tree == nil {
		return nil
	}
	out := &export.Profile{
		Title: fmt.Sprintf("%s version %s, %d MB, cold start of %s", function, p.Version, p.MemoryMB, clock(p.Start)),
		Start: p.Start, Tree: p.tree,
	}
	modules := p.tree.Sum()
	for _, part := range p.Parts {
		d := time.Duration(part.MeanMS * float64(time.Millisecond))
		if part.Part == string(lifecycle.PartFunction) || part.Part == string(lifecycle.PartRuntimeFunction) {
			// The part holds the modules; what they do not explain stays.
			d -= modules
			part.Part += ", outside modules"
		}
		if d > 0 {
			out.Parts = append(out.Parts, export.Part{Name: part.Part, Duration: d})
		}
	}
	return out
}

// RenderProfile writes to a terminal where the cold starts of a report went, and
// what to change about that: the short form for `thaw run --profile`.
func RenderProfile(out io.Writer, r *Report, o TextOptions) error {
	t := &terminal{bufio.NewWriter(out), o.Color, o.Width}
	if t.width <= 0 {
		t.width = defaultWidth
	}
	for _, f := range r.Functions {
		fmt.Fprintf(t, "%s  init %s\n", t.paint(bold, printable(f.Name)), optional(f.InitMS.Mean, ms))
		for _, p := range f.InitParts {
			t.wrap(plain, "  ", fmt.Sprintf("%s %s (%s)", printable(p.Part), ms(p.MeanMS), p.Basis))
		}
		t.packages(f)
		fmt.Fprintln(t)
	}
	var found []Finding
	for _, f := range r.Findings {
		if slices.ContainsFunc(profileRules(), func(rule Rule) bool { return rule.ID == f.ID }) {
			found = append(found, f)
		}
	}
	t.findings(&Report{Findings: found})
	return t.Flush()
}
