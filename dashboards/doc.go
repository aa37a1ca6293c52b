// Package dashboards is Thaw's Grafana dashboards as code: fleet.json shows all
// functions, function.json shows one. The JSON is generated from this package,
// committed, and is what people import; a test fails when the two differ.
//
//	go generate ./dashboards            writes the JSON again
//	go test ./dashboards                checks it and every query in it
//
// # How it is made
//
// fleet.go and function.go say which panels there are, in which order, and in
// words what each number is. They are written with two small vocabularies:
//
//   - promql.go makes queries. Metrics come from [metric.Definition] and never
//     from a string, so that a renamed metric does not compile or does not pass.
//   - grafana.go is the part of Grafana's dashboard schema that we use, as Go
//     types, with one constructor a kind of panel.
//
// # How things are counted
//
// Thaw's counters and histograms never reset, and totals are exact: the last
// value at the end of the range less the last value at its start, zero where
// there was none, per series, then summed. See [total]. The same is done for
// every step of a chart over time, see [perStep]. PromQL's increase extrapolates
// and misses what a series begins with, which for a cold start is the whole
// point, and is not used.
//
// # For tests
//
// [All] returns the dashboards and [Dashboard.Queries] every query with its
// variables still in; [Interpolate] replaces them as Grafana would. So an
// end-to-end test can ask a real store everything that a dashboard asks.
package dashboards

//go:generate go run ./generate
