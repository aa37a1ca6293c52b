// Package stats holds the statistics that the report stands on, one method a
// file, each with its source:
//
//	histogram.go   exponential histograms, subtracted and merged without loss
//	quantile.go    intervals of quantiles, by order statistics
//	wilson.go      intervals of rates
//	clusters.go    intervals of means and costs over correlated calls
//	difference.go  intervals of differences, and their p-values
//	benjamini.go   many functions at once: the false discovery rate
//	student.go     the quantile of Student's t
//	floors.go      the number of values below which a figure is not shown
//
// Nothing here knows what a Lambda function is.
package stats

// Interval is a two-sided 95 % confidence interval.
type Interval struct {
	Low, High float64
}

// z95 is the 0.975 quantile of the normal distribution.
const z95 = 1.959963984540054
