// Package evaluate holds the memory model of package curve to published curves:
// it shows a model three sizes of each, asks which size is the cheapest, and
// looks up what that size really cost.
//
//	read.go      [Read]: files of memory curves
//	perf.go      what a file of lambda-perf says
//	write.go     the results as text
//	models.go    the models of others, as they describe them
//	run.go       [Run] shows three sizes, [Sequential] lets the model choose them
//	compare.go   [Compare]: all models in one table, groups held out, bootstrap
//
// Regret is the true cost of the size that was chosen, divided by the true cost
// of the cheapest: 1 is perfect, 1.05 is five per cent too dear.
package evaluate
