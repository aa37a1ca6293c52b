package lifecycle

import (
	"math"
	"time"
)

// LogSummary says how late the log lines of an invocation were.
type LogSummary struct {
	Lines int64
	Bytes int64
	// Frozen counts the lines between whose writing and arrival the
	// environment was frozen.
	Frozen int64
	// Arrival is from the time of the record to its arrival at the extension.
	Arrival Latency
	// Export is from arrival to the acknowledged export of a span that counts
	// the line. The latencies of one export are known only after it, so they
	// travel with the next one.
	Export Latency
}

// Latency is a distribution of durations: an exponential histogram of scale 0,
// whose bucket i counts the values in (2^i, 2^(i+1)] seconds. The zero value
// is empty.
type Latency struct {
	Count int64
	Sum   time.Duration
	Max   time.Duration
	// Zero counts the values that are not above zero, as happens when the
	// clocks behind the two times disagree.
	Zero int64
	// Offset is the index of Buckets[0].
	Offset  int32
	Buckets []int64
}

// Observe adds one value.
func (l *Latency) Observe(d time.Duration) { l.ObserveN(d, 1) }

// ObserveN adds n values of d.
func (l *Latency) ObserveN(d time.Duration, n int64) {
	if n <= 0 {
		return
	}
	l.Count += n
	if d <= 0 {
		l.Zero += n
		return
	}
	l.Sum += d * time.Duration(n)
	l.Max = max(l.Max, d)
	l.add(bucketIndex(d), n)
}

// Merge adds the values of o.
func (l *Latency) Merge(o Latency) {
	l.Count += o.Count
	l.Sum += o.Sum
	l.Max = max(l.Max, o.Max)
	l.Zero += o.Zero
	for i, n := range o.Buckets {
		if n > 0 {
			l.add(o.Offset+int32(i), n)
		}
	}
}

// bucketIndex returns i with 2^i < d <= 2^(i+1), d in seconds.
func bucketIndex(d time.Duration) int32 {
	frac, exp := math.Frexp(d.Seconds()) // d = frac * 2^exp, frac in [0.5, 1)
	if frac == 0.5 {
		return int32(exp) - 2
	}
	return int32(exp) - 1
}

func (l *Latency) add(index int32, n int64) {
	switch {
	case len(l.Buckets) == 0:
		l.Offset, l.Buckets = index, []int64{n}
		return
	case index < l.Offset:
		grown := make([]int64, int(l.Offset-index)+len(l.Buckets))
		copy(grown[l.Offset-index:], l.Buckets)
		l.Offset, l.Buckets = index, grown
	}
	for int(index-l.Offset) >= len(l.Buckets) {
		l.Buckets = append(l.Buckets, 0)
	}
	l.Buckets[index-l.Offset] += n
}
