// Package internal is where the parts of Thaw meet. The extension, the
// collector, the report and the emulator never import one another; what two of
// them have to agree on is declared here, once:
//
//	lifecycle      the vocabulary, and how it is written into OTLP spans
//	metric         every metric that the collector derives and others ask for
//	lambdaapi      the wire of the Runtime, Extensions and Telemetry APIs
//	pricing        what Lambda costs
//	spool          telemetry that waits in a function's log, and its format
//	version        which Thaw this is
//	collectorproc  a collector as a child process, for the demo and the tests
//
// Two packages hold nothing but tests: repotest the rules of the repository,
// e2e what only shows when everything runs together; in e2e/reliability that is
// a backend that fails.
package internal
