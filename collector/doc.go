// Package collector assembles Thaw's distribution of the OpenTelemetry
// Collector. Its parts are ordinary components that can be built into anybody
// else's:
//
//		              +-- otlp_http exporter (optional) --> Tempo, Jaeger, any backend
//		              |
//		otlp receiver +-- coldstart connector -- metrics --> tsdb exporter
//		                        |                                 |
//		                  data directory                    promapi extension
//		                  journal, snapshots          embedded TSDB, Prometheus API
//		                                                 ^            ^
//		                                              Grafana     thaw report
//
//	  - Package coldstartconnector counts what the spans of Thaw's extension say.
//	    What it has acknowledged is counted once, whatever happens to the process.
//	  - Package tsdbexporter writes metrics into the embedded store.
//	  - Package evidenceexporter keeps the traces of the slowest and the newest
//	    cold starts in files, which the promapi extension serves.
//	  - Package promapiextension holds that store and answers PromQL.
//
// Everything from the receiver to the connector is synchronous: no batch
// processor and no queue stands before it, since those acknowledge what they
// may yet lose.
//
// The metrics are declared in internal/metric, the shape of spans in
// internal/lifecycle.
package collector
