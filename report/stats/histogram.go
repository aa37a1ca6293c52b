package stats

import (
	"maps"
	"math"
	"slices"
)

// Histogram is an exponential histogram: bucket i counts the values in
// (2^((i-1)/2^Scale), 2^(i/2^Scale)]. Merging and subtracting two of them is
// exact; where the scales differ, the finer one is made coarser, which is exact
// too. The zero value is empty.
type Histogram struct {
	Scale   int
	Count   float64
	Sum     float64
	Zero    float64
	Buckets map[int]float64
}

// Clone returns a copy that shares nothing with h.
func (h Histogram) Clone() Histogram {
	h.Buckets = maps.Clone(h.Buckets)
	return h
}

// Add returns h and o merged.
func (h Histogram) Add(o Histogram) Histogram { return combine(h, o, 1) }

// Sub returns what came to h after it was o. A bucket that would fall below
// zero becomes empty: the counts of the collector never fall, so that can only
// be a rounding error.
func (h Histogram) Sub(o Histogram) Histogram { return combine(h, o, -1) }

func combine(h, o Histogram, sign float64) Histogram {
	if h.empty() {
		h.Scale = o.Scale
	}
	if o.empty() {
		o.Scale = h.Scale
	}
	scale := min(h.Scale, o.Scale)
	out := h.Clone().downscale(scale)
	if out.Buckets == nil {
		out.Buckets = map[int]float64{}
	}
	for i, n := range o.Clone().downscale(scale).Buckets {
		left := out.Buckets[i] + sign*n
		if left <= 0 {
			delete(out.Buckets, i)
			continue
		}
		out.Buckets[i] = left
	}
	out.Count = max(0, out.Count+sign*o.Count)
	out.Sum += sign * o.Sum
	out.Zero = max(0, out.Zero+sign*o.Zero)
	return out
}

func (h Histogram) empty() bool { return len(h.Buckets) == 0 }

// downscale halves the number of buckets until h has the given scale.
func (h Histogram) downscale(scale int) Histogram {
	shift := h.Scale - scale
	if shift <= 0 {
		return h
	}
	coarse := make(map[int]float64, len(h.Buckets))
	for i, n := range h.Buckets {
		// Upper bounds are inclusive, so i goes to ceil(i / 2^shift).
		coarse[-(-i >> shift)] += n
	}
	h.Scale, h.Buckets = scale, coarse
	return h
}

// Observe adds n values of v. Tests and simulations fill histograms with it.
func (h *Histogram) Observe(v, n float64) {
	if h.Buckets == nil {
		h.Buckets = map[int]float64{}
	}
	h.Count += n
	h.Sum += v * n
	if v <= 0 {
		h.Zero += n
		return
	}
	h.Buckets[IndexOf(v, h.Scale)] += n
}

// IndexOf returns the bucket that counts v, which must be above zero.
func IndexOf(v float64, scale int) int {
	return int(math.Ceil(math.Log2(v) * math.Ldexp(1, scale)))
}

// UpperBound returns the upper bound of bucket i.
func UpperBound(i, scale int) float64 {
	return math.Exp2(math.Ldexp(float64(i), -scale))
}

// Mean returns the mean of the values: exact, for it does not come from the
// buckets.
func (h Histogram) Mean() float64 { return h.Sum / h.Count }

// Variance returns the variance of the values, each taken for the middle of its
// bucket on the logarithmic scale: right to the square of half its width, 0.01 %
// at scale 5.
func (h Histogram) Variance() float64 {
	var n, mean, m2 float64
	// Weighted updating, which does not cancel (D. H. D. West, "Updating mean and
	// variance estimates", CACM 22, 1979).
	add := func(v, w float64) {
		n += w
		d := v - mean
		mean += d * w / n
		m2 += w * d * (v - mean)
	}
	if h.Zero > 0 {
		add(0, h.Zero)
	}
	for _, i := range h.indexes() {
		add(math.Exp2(math.Ldexp(float64(i)-0.5, -h.Scale)), h.Buckets[i])
	}
	if n <= 1 {
		return 0
	}
	return m2 / (n - 1)
}

// Quantile returns the q quantile, interpolated within its bucket on the
// logarithmic scale of the buckets, as Prometheus does for native histograms.
// It is off by at most the width of the bucket: 2.2 % at scale 5.
func (h Histogram) Quantile(q float64) float64 {
	if h.Count <= 0 {
		return math.NaN()
	}
	rank := q * h.Count
	seen := h.Zero
	if rank <= seen {
		return 0
	}
	last := 0.0
	for _, i := range h.indexes() {
		n := h.Buckets[i]
		last = UpperBound(i, h.Scale)
		if seen+n >= rank {
			within := (rank - seen) / n
			return math.Exp2(math.Ldexp(float64(i-1)+within, -h.Scale))
		}
		seen += n
	}
	return last
}

// indexes returns the buckets in use, in order.
func (h Histogram) indexes() []int { return slices.Sorted(maps.Keys(h.Buckets)) }

// Max returns an upper bound of the largest value, at most one bucket above
// it.
func (h Histogram) Max() float64 {
	if h.empty() {
		return 0
	}
	return UpperBound(slices.Max(slices.Collect(maps.Keys(h.Buckets))), h.Scale)
}
