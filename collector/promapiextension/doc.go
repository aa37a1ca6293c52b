// Package promapiextension is an OpenTelemetry Collector extension: an embedded
// Prometheus TSDB and the Prometheus HTTP API over it, so that Grafana and
// `thaw report` ask the default store of Thaw as they would ask any Prometheus.
//
// It owns the store, because extensions start before pipelines and end after
// them: package tsdbexporter finds it on the host and writes into it, and the
// last emission of a shutdown is stored before the store is closed.
//
// What it serves:
//
//	/api/v1/...     queries, series, labels, metadata, build information
//	/-/healthy      200 while the process runs
//	/-/ready        200 when all pipelines run, else 503
//	POST /-/flush   make what has been counted visible to queries, then 200
//	/               what [WithHandler] mounts, such as the report
//
// Nothing here changes what is stored: there is no remote write, no admin API.
// There is no authentication either, so it listens on loopback unless told
// otherwise, and then answers only requests that were meant for a loopback
// name, which keeps web pages from reaching it by rebinding their DNS.
package promapiextension
