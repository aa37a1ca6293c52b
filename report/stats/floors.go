package stats

// Floors: the number of values below which a figure is not shown.
const (
	// FloorP50 keeps the median from being one of a handful of values.
	FloorP50 = 10
	// FloorP95 is where a one-sided 95 % bound of the 95th percentile first
	// exists: 0.95^n <= 0.05 from n = 59 on. Rounded up.
	FloorP95 = 60
	// FloorP99 likewise: 0.99^n <= 0.05 from n = 299 on.
	FloorP99 = 299
	// FloorMean is where the mean of skewed real cold starts is known to
	// about 10 %.
	FloorMean = 30
	// FloorClusters is the number of environment-hours from which the interval
	// of a mean is shown.
	FloorClusters = 40
	// FloorCompareClusters is the number of environment-hours per memory size,
	// version or architecture from which two of them are compared. Fewer suffice
	// than for a mean of its own, because advice asks for an effect beyond the
	// interval of the difference; that interval covers, see the tests.
	FloorCompareClusters = 10
	// FloorCompare is the number of calls per memory size from which sizes are
	// compared.
	FloorCompare = 50
)
