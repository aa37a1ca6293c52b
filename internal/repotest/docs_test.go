package repotest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/collector"
	"github.com/thaw-lambda/thaw/extension"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
	"github.com/thaw-lambda/thaw/report"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// TestDocs holds the documents that list what the code declares against the
// code.
func TestDocs(t *testing.T) {
	for name, want := range map[string]string{
		"docs/telemetry.md": telemetry(),
		"docs/config.md":    config(),
		"docs/rules.md":     rules(),
	} {
		if *update {
			if err := os.WriteFile(filepath.Join(root, name), []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, name); got != want {
			t.Errorf("%s is not what the code says; run `make generate`", name)
		}
	}
}

func rules() string {
	var b bytes.Buffer
	b.WriteString(`# Rules

Generated from package report by ` + "`make generate`" + `; a test holds it against the code.

A finding is what a rule says about one function. Each carries its claim, the number of values that it stands on, whether it was measured,
derived or predicted, its effect with a 95 % interval where there is one, what it is worth a month at the observed volume, how to check it and
how to undo it, and the change as code. Rules fire on the near end of an interval, not on a value; below the floors they are silent, and the report says what it lacks.
Of advice that conflicts only the better is given.

`)
	for _, r := range report.Rules() {
		fmt.Fprintf(&b, "## %s\n\n%s.\n\n- **When:** %s\n", r.ID, r.Title, r.When)
		if r.Guard != "" {
			fmt.Fprintf(&b, "- **Guard:** %s\n", r.Guard)
		}
		fmt.Fprintf(&b, "- **Evidence:** %s\n\n", r.Source)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func telemetry() string {
	var b bytes.Buffer
	b.WriteString(`# Telemetry

Generated from internal/lifecycle and internal/metric by ` + "`make generate`" + `; a test holds it against them.

## Spans

The extension sends one trace for each invocation. Its id is that of the X-Ray header, where there is one.

| span | type | when | what it says |
| --- | --- | --- | --- |
| the function's name | invocation | every invocation | SERVER span from the beginning of the wait to the end; carries the run, and when warm the report too |
| init | init | every init | child of the invocation that waited for it, else a trace of its own |
| extensions, runtime+function, restore, unattributed | part | cold starts | the parts of the init; with a hook in the runtime, runtime and function apart |
| a package and its version | part | cold starts with a hook | what the function loads: below function, or below the package that loads it |
| run | run | cold starts | what the runtime did |
| response latency, response duration, runtime overhead | part | cold starts | the parts of the run |
| report | report | cold starts, and reports that come late | what the platform billed, and the log latency |
| shutdown | shutdown | every shutdown and reset | its reason, and the account of what was sent and lost; a trace of its own |

## Attributes

Durations are milliseconds with a fraction, as Lambda states them.

| attribute | on | type | unit | meaning |
| --- | --- | --- | --- | --- |
`)
	for _, a := range lifecycle.Attributes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", a.Name, a.On, a.Type, code(a.Unit), a.Text)
	}
	b.WriteString(`
## Metrics

Counters are cumulative and never reset: a total over a range is the last value at its end less the last value at its start, zero where
there was none. Histograms are exponential (native in Prometheus). Labels of every metric of a function: ` + list(metric.Common()) + `; every
series also has ` + code(metric.LabelInstance) + `, the collector that wrote it: sum over it. In PromQL, dots become underscores.

| metric | in PromQL | type | unit | further labels | meaning |
| --- | --- | --- | --- | --- | --- |
`)
	for _, d := range metric.All() {
		kind := string(d.Kind)
		if d.Kind == metric.Histogram {
			kind = fmt.Sprintf("histogram, scale %d", d.Scale)
		}
		labels := list(d.Labels)
		if d.PerCollector {
			labels = "only " + code(metric.LabelInstance)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", d.Name, d.Prometheus(), kind, code(d.Unit), labels, d.Text)
	}
	return b.String()
}

func config() string {
	var b bytes.Buffer
	b.WriteString(`# Configuration

Generated from the code by ` + "`make generate`" + `; a test holds it against the code.

## The extension

Environment variables of the function. A value that cannot be used is told in one line of the log, and the default is used: nothing here can
fail a function.

| variable | default | meaning |
| --- | --- | --- |
`)
	for _, s := range extension.Settings() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, code(s.Default), s.Text)
	}
	b.WriteString(`
## The collector

Environment variables of ` + "`thaw-collector`" + ` when it runs without ` + "`--config`" + `. With a configuration file of your own everything is as in any
OpenTelemetry Collector; the settings of our components are in their README files, and
[the built-in configuration](../cmd/thaw-collector/config.yaml) is a commented example.

| variable | default | meaning |
| --- | --- | --- |
`)
	for _, s := range collector.Settings() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, code(s.Default), s.Text)
	}
	b.WriteString(`
## The command line

` + "`thaw --help`" + ` and ` + "`thaw COMMAND --help`" + ` list every flag. Nothing else is read, but ` + "`NO_COLOR`" + `.

The exit code is 0 when everything worked, 1 when something did not, 2 when a condition of ` + "`--fail-on`" + ` or a budget was crossed, and 64
when the command line is wrong.

## The budget file

` + "`thaw report --budget FILE`" + ` exits with 2 when a function is over a limit with 95 % confidence: when the near end of the interval is. What
the data does not support is not checked, and said. The first entry whose pattern matches the name of a function is the function's.

` + "```json" + `
{
  "version": 1,
  "budgets": [
    { "function": "checkout-*", "cold_start_rate": 0.02, "init_p95_ms": 800, "warm_p95_ms": 120 },
    { "function": "*", "error_rate": 0.01, "cost_per_million_usd": 5 }
  ]
}
` + "```" + `

` + "Limits are `" + strings.Join(report.BudgetLimits(), "`, `") + "`. Rates are shares, 0.02 is 2 %.\n")
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = code(n)
	}
	return strings.Join(quoted, ", ")
}
