package report

import (
	"fmt"
	"io"
	"strings"
)

// Format names a renderer.
type Format string

// Formats.
const (
	HTML     Format = "html"
	Markdown Format = "md"
	JSON     Format = "json"
	Text     Format = "text"
)

// Formats lists them.
func Formats() []Format { return []Format{HTML, Markdown, JSON, Text} }

// TextOptions are for [Text] only.
type TextOptions struct {
	// Color writes terminal colours.
	Color bool
	// Width is that of the terminal; zero is 100 columns.
	Width int
}

// Render writes the report in one format.
func Render(w io.Writer, r *Report, f Format, o TextOptions) error {
	switch f {
	case HTML:
		return writeHTML(w, r)
	case Markdown:
		return writeMarkdown(w, r)
	case JSON:
		return writeJSON(w, r)
	case Text:
		return writeText(w, r, o)
	}
	return fmt.Errorf("%q is not a format: it is one of html, md, json and text", f)
}

// The words below are shared by the renderers, so that all formats say the
// same.

// none stands where the data does not support a value.
const none = "–"

func optional(v *float64, write func(float64) string) string {
	if v == nil {
		return none
	}
	return write(*v)
}

// supported writes a value, or how much data it lacks.
func supported(v *float64, have, need int64, write func(float64) string) string {
	if v == nil && need > have {
		return fmt.Sprintf("have %s, need %s", thousands(have), thousands(need))
	}
	return optional(v, write)
}

func rateText(r Rate) string {
	if r.Value == nil {
		return none
	}
	return fmt.Sprintf("%s (%s to %s)", percent(*r.Value), percent(*r.Low), percent(*r.High))
}

func intervalText(e Estimate, write func(float64) string) string {
	switch {
	case e.Value == nil:
		return none
	case e.Low == nil:
		return write(*e.Value)
	}
	return fmt.Sprintf("%s (%s to %s)", write(*e.Value), write(*e.Low), write(*e.High))
}

// initText says where the init goes, the largest part first.
func initText(f *Function) string {
	if len(f.InitParts) == 0 {
		return none
	}
	var parts []string
	for _, p := range f.InitParts {
		if p.Share >= 0.005 {
			parts = append(parts, fmt.Sprintf("%s %s", p.Part, percent(p.Share)))
		}
	}
	return strings.Join(parts, ", ")
}

// adviceText is the recommendation in a few words.
func adviceText(r Recommendation) string {
	switch r.Action {
	case actionKeep:
		return fmt.Sprintf("keep %d MB", *r.MemoryMB)
	case actionChange:
		return fmt.Sprintf("set %d MB", *r.MemoryMB)
	}
	return "no advice"
}

// effectText writes what a finding is worth.
func effectText(e Effect) string {
	if e.Value == nil {
		return none
	}
	write := map[string]func(float64) string{
		unitPerMillion: func(v float64) string { return usd(v) }, unitMS: ms, unitShare: percent,
	}[e.Unit]
	if write == nil {
		write = func(v float64) string { return thousands(count(v)) }
	}
	out := write(*e.Value)
	if e.Low != nil && e.High != nil {
		out += fmt.Sprintf(" (%s to %s)", write(*e.Low), write(*e.High))
	}
	return out + effectUnit(e.Unit)
}

func effectUnit(unit string) string {
	switch unit {
	case unitPerMillion:
		return " per million invocations"
	case unitCount:
		return " invocations"
	case unitColdStarts:
		return " cold starts a month"
	case "records":
		return " records"
	}
	return ""
}

func rangeText(r Range) string {
	return fmt.Sprintf("%s to %s UTC", r.Start.UTC().Format("2006-01-02 15:04"), r.End.UTC().Format("2006-01-02 15:04"))
}

// where tells functions of one name apart.
func where(f *Function) string { return f.Region + ", account " + f.Account }

// coldRatio says a rate of cold starts as people do: 1 in 25.
func coldRatio(f *Function) string {
	if f.ColdStarts == 0 {
		return fmt.Sprintf("none of %s", thousands(f.Invocations))
	}
	return fmt.Sprintf("%s of %s", thousands(f.ColdStarts), thousands(f.Invocations))
}

func insufficientText(i Insufficient) string {
	return fmt.Sprintf("%s: have %s %s, need %s", i.What, thousands(i.Have), i.Of, thousands(i.Need))
}
