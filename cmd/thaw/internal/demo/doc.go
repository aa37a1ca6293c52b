// Package demo is `thaw demo`: the main job from end to end, on real
// functions, with no setting to make.
//
// It starts a collector and a local Lambda, attaches the layer as it is
// shipped (the unpacked zip) to the example functions, runs each of them cold
// and warm at several memory sizes, drains everything, asks the collector for
// the report, and compares the report's counts with the local Lambda's ledger.
// Whatever did not work makes it fail.
//
//	assets.go    what it needs and where it is: binaries, layer, examples
//	plan.go      which function runs how often at which size
//	run.go       the order of things, and that everything ends
//	work.go      invoking the plan without asking more CPU than there is
//	check.go     the report against the ledger
//	progress.go  what a person sees meanwhile
package demo
