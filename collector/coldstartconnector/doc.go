// Package coldstartconnector is an OpenTelemetry Collector connector: traces of
// AWS Lambda execution environments in, metrics out.
//
// It counts what Thaw's extension observed: invocations, cold starts, inits and
// their parts, memory, log latency. Which metrics there are is declared in
// internal/metric, how a span is read in internal/lifecycle; this package only
// adds up.
//
// # What an acknowledgement means
//
// A batch that ConsumeTraces has accepted is counted, once, even if the
// collector is killed in the next instant. In order:
//
//  1. The spans are decoded into observations.
//  2. The observations are appended to a journal in the data directory. If that
//     fails, nothing is counted and the sender is told to try again.
//  3. They are applied to the [state], which recognises by its id a span that
//     it has counted before.
//
// After a restart the last snapshot of the state is loaded and the journal
// since then is applied by the same code as in step 3. That is why the state is
// pure: what it becomes depends on the batches alone.
//
// # Event time
//
// Counts are taken on arrival. Why an invocation started cold, and which rank it
// had among those that were going on, follows from what happened before and
// beside it: that is settled in the order of time, when a watermark has passed
// it and the rest should have arrived. It is part of the same state, so that it
// survives a restart and is not settled twice.
//
// An environment that was idle for a minute when a request did not get it, and
// that is not heard of again within the watermark, is taken to have been
// reclaimed: nobody may have told.
//
// # What is emitted
//
// Values are cumulative and never go back. An emission holds every series that
// changed since the last one, and each series at least every four minutes, so
// that the value at any point in time is found within Prometheus's look-back of
// five. What the next consumer refuses is emitted again later.
//
// # Passing traces on
//
// As a receiver of a traces pipeline the connector passes on what it is given.
// That is best effort: a backend that is down is no reason to refuse a batch.
//
// # Files
//
//	fold.go       what an observation adds to which series
//	state.go      the series, what is known of functions; emission
//	histogram.go  exponential histograms
//	settle.go     what is settled in event time, and when
//	pool.go       environments and slots of a version; causes
//	clusters.go   environment-hours, for honest confidence intervals
//	seen.go       ids of the spans that have been counted
//	codec.go      state and batches as bytes
//	store.go      journal, snapshots and lock in the data directory
//	clock.go      the virtual clock of an import
//	connector.go  the component: clock, goroutine, pipeline
//	forward.go    traces to traces, for passing them on
package coldstartconnector
