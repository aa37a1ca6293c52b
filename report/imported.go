package report

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/version"
	"github.com/thaw-lambda/thaw/report/curve"
)

// Imported is a memory curve, or inits, that something else than Thaw measured:
// it is shown as it came, with what the sizes cost there.
type Imported struct {
	Name string `json:"name"`
	// Source is power-tuning, lambda-perf or curves.
	Source string `json:"source"`
	// Architecture and Package are told by lambda-perf only.
	Architecture string          `json:"architecture"`
	Package      string          `json:"package"`
	Points       []ImportedPoint `json:"points"`
	// CheapestMB and FastestMB are among the points; TieMB are sizes that cost at
	// most 5 % more than the cheapest.
	CheapestMB *int64  `json:"cheapest_mb"`
	FastestMB  *int64  `json:"fastest_mb"`
	TieMB      []int64 `json:"tie_mb"`
}

// ImportedPoint is one memory size.
type ImportedPoint struct {
	MemoryMB int64 `json:"memory_mb"`
	// DurationMS is a mean: Power Tuning's without the fifth of the values at
	// either end, lambda-perf's of first invocations.
	DurationMS        *float64 `json:"duration_ms"`
	CostPerMillionUSD *float64 `json:"cost_per_million_usd"`
	// InitMS is the median of the inits, of which there were Inits.
	InitMS       *float64 `json:"init_ms"`
	Inits        int64    `json:"inits"`
	MemoryUsedMB *float64 `json:"memory_used_mb"`
}

// maxImported bounds what is read of one file.
const maxImported = 64 << 20

// IsImported says whether the beginning of a file looks like one of
// [ReadImported].
func IsImported(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n\ufeff")
	if bytes.HasPrefix(head, []byte("http")) {
		return visualization(string(head)) != ""
	}
	for _, mark := range []string{`"runtimeData"`, `"curves"`, `"stateMachine"`, `"visualization"`} {
		if bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte(mark)) {
			return true
		}
	}
	return false
}

// ReadImported reads the output of AWS Lambda Power Tuning's state machine or
// the link to its picture, a file of maxday/lambda-perf, or memory curves as
// `thaw evaluate` reads them. The name stands for what has none of its own.
func ReadImported(r io.Reader, name string) ([]Imported, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxImported+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxImported {
		return nil, fmt.Errorf("it is larger than %d MB", maxImported>>20)
	}
	if link := visualization(strings.TrimSpace(string(data))); link != "" {
		return linkCurves(link, name)
	}
	var file struct {
		RuntimeData  []perfRun
		Curves       []namedCurve
		Stats        []tuningStat
		StateMachine struct{ Visualization string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	var out []Imported
	switch {
	case len(file.RuntimeData) > 0:
		out = perfImported(file.RuntimeData)
	case len(file.Curves) > 0:
		for _, c := range file.Curves {
			one, err := c.imported()
			if err != nil {
				return nil, fmt.Errorf("curve %q: %w", c.Name, err)
			}
			out = append(out, one)
		}
	case len(file.Stats) > 0:
		out = append(out, tuningImported(file.Stats, name))
	default:
		if link := visualization(file.StateMachine.Visualization); link != "" {
			return linkCurves(link, name)
		}
		return nil, errors.New("it has no curve: Power Tuning's output needs includeOutputResults, or its link (stateMachine.visualization)")
	}
	for i := range out {
		if err := out[i].finish(); err != nil {
			return nil, fmt.Errorf("%s: %w", out[i].Name, err)
		}
	}
	return out, nil
}

// visualization returns the data of a link to Power Tuning's picture.
func visualization(link string) string {
	link, _, _ = strings.Cut(strings.TrimSpace(link), "\n")
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || strings.Count(u.Fragment, ";") < 2 {
		return ""
	}
	return u.Fragment
}

// linkCurves decodes base64 of sizes (int16), durations and costs (float32),
// each in little-endian; three more for a second curve, and then their names.
func linkCurves(fragment, name string) ([]Imported, error) {
	parts := strings.Split(fragment, ";")
	var out []Imported
	for at := 0; at+2 < len(parts) && at <= 3; at += 3 {
		var sizes []int16
		var durations, costs []float32
		if err := errors.Join(decodeNumbers(parts[at], 2, &sizes), decodeNumbers(parts[at+1], 4, &durations), decodeNumbers(parts[at+2], 4, &costs)); err != nil {
			return nil, fmt.Errorf("the link of Power Tuning cannot be read: %w", err)
		}
		if len(sizes) == 0 || len(durations) != len(sizes) || len(costs) != len(sizes) {
			return nil, fmt.Errorf("the link of Power Tuning has %d sizes, %d durations and %d costs", len(sizes), len(durations), len(costs))
		}
		one := Imported{Name: name, Source: "power-tuning"}
		for i := range sizes {
			one.Points = append(one.Points, measuredPoint(int64(sizes[i]), float64(durations[i]), float64(costs[i])))
		}
		out = append(out, one)
	}
	if len(out) == 2 {
		for i := range out {
			out[i].Name += fmt.Sprintf(" (%d)", i+1)
			if 6+i < len(parts) && parts[6+i] != "" {
				out[i].Name = parts[6+i]
			}
		}
	}
	for i := range out {
		if err := out[i].finish(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func decodeNumbers[T int16 | float32](text string, width int, into *[]T) error {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	*into = make([]T, len(data)/width)
	return binary.Read(bytes.NewReader(data[:len(*into)*width]), binary.LittleEndian, *into)
}

func measuredPoint(memoryMB int64, ms, usd float64) ImportedPoint {
	p := ImportedPoint{MemoryMB: memoryMB, DurationMS: figure(ms)}
	if usd > 0 {
		p.CostPerMillionUSD = figure(1e6 * usd)
	}
	return p
}

// tuningStat is a size in Power Tuning's output, which writes numbers as it
// pleases.
type tuningStat struct {
	Value           json.Number `json:"value"`
	AverageDuration float64     `json:"averageDuration"`
	AveragePrice    float64     `json:"averagePrice"`
}

func tuningImported(stats []tuningStat, name string) Imported {
	out := Imported{Name: name, Source: "power-tuning"}
	for _, s := range stats {
		size, _ := strconv.ParseInt(string(s.Value), 10, 64)
		out.Points = append(out.Points, measuredPoint(size, s.AverageDuration, s.AveragePrice))
	}
	return out
}

// namedCurve is as in the files of `thaw evaluate`.
type namedCurve struct {
	Name       string    `json:"name"`
	MemoryMB   []float64 `json:"memory_mb"`
	DurationMS []float64 `json:"duration_ms"`
	CostUSD    []float64 `json:"cost_usd"`
}

func (c namedCurve) imported() (Imported, error) {
	out := Imported{Name: c.Name, Source: "curves"}
	if len(c.DurationMS) != len(c.MemoryMB) || len(c.CostUSD) != 0 && len(c.CostUSD) != len(c.MemoryMB) {
		return out, fmt.Errorf("it has %d sizes, %d durations and %d costs", len(c.MemoryMB), len(c.DurationMS), len(c.CostUSD))
	}
	for i := range c.MemoryMB {
		usd := 0.0
		if len(c.CostUSD) > 0 {
			usd = c.CostUSD[i]
		}
		out.Points = append(out.Points, measuredPoint(int64(c.MemoryMB[i]), c.DurationMS[i], usd))
	}
	return out, nil
}

// perfRun is a configuration in a file of lambda-perf: some cold starts of a
// function that does nothing.
type perfRun struct {
	Package  string    `json:"p"`
	Runtime  string    `json:"d"`
	InitMS   []float64 `json:"i"`
	MemoryMB int64     `json:"m"`
	Arch     string    `json:"a"`
	UsedMB   float64   `json:"mu"`
	FirstMS  float64   `json:"ad"`
}

func perfImported(runs []perfRun) []Imported {
	type key struct{ runtime, arch, pack string }
	byKey := map[key]*Imported{}
	var order []key
	for _, r := range runs {
		k := key{r.Runtime, r.Arch, r.Package}
		if byKey[k] == nil {
			byKey[k] = &Imported{Name: r.Runtime, Source: "lambda-perf", Architecture: r.Arch, Package: r.Package}
			order = append(order, k)
		}
		p := ImportedPoint{MemoryMB: r.MemoryMB, Inits: int64(len(r.InitMS))}
		if len(r.InitMS) > 0 {
			slices.Sort(r.InitMS)
			p.InitMS = figure((r.InitMS[(len(r.InitMS)-1)/2] + r.InitMS[len(r.InitMS)/2]) / 2)
		}
		if r.FirstMS > 0 {
			p.DurationMS = figure(r.FirstMS)
		}
		if r.UsedMB > 0 {
			p.MemoryUsedMB = figure(r.UsedMB)
		}
		byKey[k].Points = append(byKey[k].Points, p)
	}
	slices.SortFunc(order, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.runtime, b.runtime), cmp.Compare(a.arch, b.arch), cmp.Compare(a.pack, b.pack))
	})
	var out []Imported
	for _, k := range order {
		out = append(out, *byKey[k])
	}
	return out
}

// maxLambdaMB is the largest size of a function.
const maxLambdaMB = 10240

// finish checks the points, puts them in order, and says which size is which.
func (im *Imported) finish() error {
	slices.SortFunc(im.Points, func(a, b ImportedPoint) int { return cmp.Compare(a.MemoryMB, b.MemoryMB) })
	im.TieMB = []int64{}
	var sizes []curve.Estimate
	costs := map[float64]float64{}
	for i, p := range im.Points {
		switch {
		case p.MemoryMB <= 0 || p.MemoryMB > maxLambdaMB:
			return fmt.Errorf("%d MB is not a memory size", p.MemoryMB)
		case i > 0 && im.Points[i-1].MemoryMB == p.MemoryMB:
			return fmt.Errorf("%d MB is there twice", p.MemoryMB)
		case p.DurationMS != nil && !(*p.DurationMS > 0 && *p.DurationMS < math.MaxFloat32):
			return fmt.Errorf("%g ms at %d MB is not a duration", *p.DurationMS, p.MemoryMB)
		}
		if p.DurationMS == nil || im.Source == "lambda-perf" {
			continue // the first invocation of an empty function is no reason for a size
		}
		sizes = append(sizes, curve.Estimate{MemoryMB: float64(p.MemoryMB), MS: *p.DurationMS, Low: *p.DurationMS, High: *p.DurationMS, Measured: true})
		costs[float64(p.MemoryMB)] = float64(p.MemoryMB) * *p.DurationMS
		if p.CostPerMillionUSD != nil {
			costs[float64(p.MemoryMB)] = *p.CostPerMillionUSD
		}
	}
	if len(sizes) < 2 {
		return nil
	}
	cost := func(memoryMB, _ float64) float64 { return costs[memoryMB] }
	im.CheapestMB, im.FastestMB = ptr(int64(curve.Cheapest(sizes, cost).MemoryMB)), ptr(int64(curve.Fastest(sizes, cost).MemoryMB))
	for _, e := range sizes {
		if size := int64(e.MemoryMB); size != *im.CheapestMB && costs[e.MemoryMB] <= 1.05*costs[float64(*im.CheapestMB)] {
			im.TieMB = append(im.TieMB, size)
		}
	}
	return nil
}

// ImportedReport is a report on imported curves alone.
func ImportedReport(list []Imported, source string, now time.Time) *Report {
	now = now.UTC().Truncate(time.Second)
	return &Report{
		SchemaVersion: SchemaVersion, GeneratedAt: now, ThawVersion: version.String(), Source: source,
		Range: Range{Start: now, End: now}, Pricing: PricingInfo{Currency: "USD", Date: "the source", Note: "Costs are those of the source."},
		Functions: []*Function{}, Findings: []Finding{}, Gaps: []Gap{}, Imported: list,
	}
}

// importedText says what an imported curve shows.
func importedText(im Imported) string {
	if im.CheapestMB == nil {
		return "inits and first invocations of a function that does nothing"
	}
	line := fmt.Sprintf("cheapest %d MB, fastest %d MB", *im.CheapestMB, *im.FastestMB)
	if len(im.TieMB) > 0 {
		line += fmt.Sprintf("; %s MB within 5 %% of the cheapest", sizesText(im.TieMB))
	}
	return line
}

// importedName names what an imported curve is of.
func importedName(im Imported) string {
	return strings.Join(slices.DeleteFunc([]string{im.Name, im.Architecture, im.Package}, func(s string) bool { return s == "" }), ", ")
}

func markdownImported(w io.Writer, list []Imported) {
	if len(list) == 0 {
		return
	}
	fmt.Fprint(w, "## Imported measurements\n\n")
	for _, im := range list {
		fmt.Fprintf(w, "**%s** (%s): %s.\n\n", markdown(importedName(im)), im.Source, importedText(im))
		fmt.Fprint(w, "| Memory | Mean duration | Init p50 (n) | Memory used | $ per million |\n| ---: | ---: | ---: | ---: | ---: |\n")
		for _, p := range im.Points {
			fmt.Fprintf(w, "| %d MB | %s | %s | %s | %s |\n", p.MemoryMB, optional(p.DurationMS, ms), importedInit(p), optional(p.MemoryUsedMB, megabytes), optional(p.CostPerMillionUSD, usd))
		}
		fmt.Fprintln(w)
	}
}

func importedInit(p ImportedPoint) string {
	if p.InitMS == nil {
		return "–"
	}
	return fmt.Sprintf("%s (%d)", ms(*p.InitMS), p.Inits)
}

func (t *terminal) imported(list []Imported) {
	for _, im := range list {
		fmt.Fprintf(t, "%s  %s\n", t.paint(bold, printable(importedName(im))), t.paint(dim, im.Source+": "+importedText(im)))
		table := table{{title: "MEMORY", right: true}, {title: "MEAN", right: true}, {title: "INIT P50 (N)", right: true}, {title: "USED", right: true}, {title: "$/MILLION", right: true}}
		for _, p := range im.Points {
			table.add(fmt.Sprintf("%d MB", p.MemoryMB), optional(p.DurationMS, ms), importedInit(p), optional(p.MemoryUsedMB, megabytes), optional(p.CostPerMillionUSD, usd))
		}
		t.table(table)
		fmt.Fprintln(t)
	}
}
