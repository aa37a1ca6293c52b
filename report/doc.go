// Package report answers what the metrics of Thaw say about each function: how
// often it starts cold and where that time goes, what each memory size costs,
// how late its logs are, and what to change.
//
// It works in four steps, each in files of its own:
//
//	source*.go   ask a Prometheus-compatible API, decode its answers
//	window.go    when were collectors writing; what is a gap
//	facts.go     totals over the range, per function, version and memory size
//	build*.go    facts to [Report], the one model, which also is the JSON
//	rules*.go    Report to findings: what to change, best first
//	render_*.go  Report to HTML, Markdown, JSON or text
//
// # Counts are exact
//
// A total over a range is the last value at its end less the last value at its
// start, zero where there was none, summed over collectors. PromQL's increase
// extrapolates at the edges and misses a series' first value; it is not used.
// That works because the collector's counters and histograms never reset and
// are written at least every five minutes. Where a collector did not write at
// an end of the range, the report says so in its gaps.
//
// # Not enough data is an answer
//
// Every figure has a floor: the number of values below which it is null, with
// how many there are and how many it needs beside it. The floors and intervals
// are in package stats. Findings stand on the end of an interval, never on a
// point value.
//
// The entry points are [Build], [Render], [Handler] and, for what can be set,
// [Options].
package report
