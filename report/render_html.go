package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

//go:embed assets/report.html assets/report.css assets/report.js assets/echarts.min.js assets/profile.html assets/profile.css assets/profile.js
var assets embed.FS

// document is what the template is given.
type document struct {
	Report *Report
	Policy string
	Style  template.CSS
	Charts template.JS
	Script template.JS
	// Profile draws the init profiles.
	Profile template.JS
	// Ranges are links to other ranges, on the live page only.
	Ranges []string
}

// writeHTML writes one file that needs nothing else: styles, scripts and data
// are in it, and its policy forbids every request.
func writeHTML(w io.Writer, r *Report) error { return writePage(w, r, nil) }

func writePage(w io.Writer, r *Report, ranges []string) error {
	p := document{Report: r, Ranges: ranges}
	var charts, script, style, profile, profileStyle string
	for name, into := range map[string]*string{"echarts.min.js": &charts, "report.js": &script, "report.css": &style, "profile.js": &profile, "profile.css": &profileStyle} {
		data, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return err
		}
		*into = string(data)
	}
	p.Policy = policy(charts, script, profile)
	p.Charts, p.Script, p.Style = template.JS(charts), template.JS(script), template.CSS(style+profileStyle)
	p.Profile = template.JS(profile)
	t, err := template.New("report.html").Funcs(words()).Funcs(profileWords()).ParseFS(assets, "assets/report.html", "assets/profile.html")
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// policy returns the Content-Security-Policy: nothing is loaded, and only the
// scripts that are hashed run. Styles are not hashed, because ECharts writes
// style attributes; with no source to load from they can do no harm.
func policy(scripts ...string) string {
	var hashes []string
	for _, s := range scripts {
		sum := sha256.Sum256([]byte(s))
		hashes = append(hashes, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'", strings.Join(hashes, " "))
}

// words are the functions of the template.
func words() template.FuncMap {
	// maybe writes a value that may be missing.
	maybe := func(write func(float64) string) func(any) string {
		return func(v any) string {
			if p, ok := v.(*float64); ok {
				return optional(p, write)
			}
			return write(v.(float64))
		}
	}
	return template.FuncMap{
		"rangeText": rangeText, "thousands": thousands, "coldRatio": coldRatio, "initText": initText,
		"importedPick": func(im Imported, p ImportedPoint) bool { return im.CheapestMB != nil && *im.CheapestMB == p.MemoryMB },
		"importedName": importedName, "importedText": importedText, "importedInit": importedInit,
		"causeText": causeText, "concurrencyLine": concurrencyLine, "livesLine": livesLine,
		"archNote": archNote, "insufficient": insufficientText, "demand": demandText, "sizes": sizesText,
		"percent": maybe(percent), "usd": maybe(usd), "ms": maybe(ms), "mb": maybe(megabytes),
		// A median has a floor of its own, below that of the other quantiles.
		"median":     func(v *float64, have int64) string { return supported(v, have, stats.FloorP50, ms) },
		"tail":       func(v *float64, have, need int64) string { return supported(v, have, need, ms) },
		"interval":   func(e Estimate) string { return intervalText(e, usd) },
		"intervalMS": func(e Estimate) string { return intervalText(e, ms) },
		"advice":     func(r Recommendation) string { return capital(adviceText(r)) },
		"effectValue": func(e Effect) string {
			return strings.TrimSuffix(effectText(Effect{Unit: e.Unit, Value: e.Value}), effectUnit(e.Unit))
		},
		"effectNote": effectNote, "money": moneyText, "toolName": toolName,
		"partClass": partClass,
		"width":     func(share float64) float64 { return 100 * share },
		"join":      func(list []string) string { return strings.Join(list[:min(8, len(list))], ", ") },
		"picked": func(f *Function, p CurvePoint) bool {
			return f.Recommendation.MemoryMB != nil && *f.Recommendation.MemoryMB == p.MemoryMB
		},
		"objectives": objectivesText, "predictedSizes": predictedText,
		"predicted": isPredicted, "calls": callsText, "prediction": func(f *Function) string { return strings.TrimPrefix(predictionText(f), "~ ") },
		"starts": namedStarts,
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// effectNote is what stands below the effect: its interval and its unit.
func effectNote(e Effect) string {
	note := strings.TrimSpace(effectUnit(e.Unit))
	if e.Low == nil || e.High == nil {
		return note
	}
	low := effectText(Effect{Unit: e.Unit, Value: e.Low})
	high := effectText(Effect{Unit: e.Unit, Value: e.High})
	unit := effectUnit(e.Unit)
	return strings.TrimSpace(fmt.Sprintf("%s to %s%s", strings.TrimSuffix(low, unit), strings.TrimSuffix(high, unit), unit))
}

// partClass names the colour of a part of the init.
func partClass(part string) string {
	switch lifecycle.PartName(part) {
	case lifecycle.PartExtensions, lifecycle.PartThaw, lifecycle.PartRuntime, lifecycle.PartFunction, lifecycle.PartRestore:
		return "part-" + part
	case lifecycle.PartRuntimeFunction:
		return "part-runtime-function"
	}
	return "part-other"
}

// named is a row of the table of starts.
type named struct {
	Name string
	Quantiles
}

func namedStarts(d StartDurations) []named {
	var rows []named
	for _, row := range []named{{"warm", d.Warm}, {"first", d.First}, {"cold", d.Cold}, {"all", d.All}} {
		if row.Have > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}
