// Package curve models what a Lambda function takes at a memory size, from the
// few sizes at which it was measured: the sizes between them, and at most twice
// beyond. It knows durations, sizes and prices per GB-second, and nothing else.
//
//	fit.go      [Fit]: measured points to a [Curve]
//	shape.go    the shapes that a curve may have, with their prior weights
//	isotonic.go measured durations, made to fall with the size
//	choose.go   which size to take, by objective
//	next.go     which size to measure next
//
// # The model
//
// A duration is waiting, W, and computing. A function that computes c
// milliseconds on a whole CPU gets the share v = size / 1769 MB of one. Were the
// share all, it would compute for c/v; but a request that comes after an idle
// gap starts with a full quota, so that its first part is not throttled. That
// credit is a constant κ of some tens of milliseconds. Neither κ, nor the number
// of threads, nor whether a small size makes the garbage collector work or the
// disk slow, can be told from three points. So none is chosen: the model is a
// mixture of shapes, each weighted by how well it explains what was measured,
// and a prediction is the mean over them, with the interval that they leave.
//
// A mixture errs less than its best member: where the shapes agree it is sure,
// and where they do not the size that costs least on average is the safe one.
// The weights before any measurement are round numbers, by mechanism and not
// fitted; `thaw evaluate` holds the result against published curves.
//
// # What it cannot do
//
// It says nothing about sizes more than twice beyond those measured, about
// functions that fail, or about memory that does not suffice. Those who call it
// keep such sizes away; see [Guard].
package curve
