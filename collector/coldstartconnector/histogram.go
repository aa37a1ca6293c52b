package coldstartconnector

import (
	"math"
	"slices"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// histogram is an exponential histogram of a fixed scale: bucket i counts the
// values in (base^i, base^(i+1)] with base = 2^(2^-scale). Few of the possible
// buckets are ever used (a function's durations cluster), so it is kept sparse.
//
// The scale never changes, because the range of indexes is bounded: PromQL can
// subtract two histograms of different scale only at the coarser one.
type histogram struct {
	count uint64
	zero  uint64
	sum   float64
	// indexes is sorted; counts[k] belongs to indexes[k].
	indexes []int16
	counts  []uint64
}

// The bounds of an index at scale 5: 1 µs, and 2^44 (16 TiB, or half a million
// years). Values outside are counted in the outermost bucket.
const (
	minIndex = -20 * buckets
	maxIndex = 44*buckets - 1
	// buckets per power of two at scale 5.
	buckets = 32
)

// bounds are the upper bounds of the buckets in [0.5, 1], as multiples of a
// power of two.
var bounds = func() (b [buckets + 1]float64) {
	for k := range b {
		b[k] = math.Exp2(float64(k)/buckets - 1)
	}
	return b
}()

// bucketIndex returns the index at scale 5 of v, which is above zero.
func bucketIndex(v float64) int {
	frac, exp := math.Frexp(v) // v = frac * 2^exp, frac in [0.5, 1)
	k, _ := slices.BinarySearch(bounds[:], frac)
	return min(max((exp-1)*buckets+k-1, minIndex), maxIndex)
}

// observe adds one value at scale 5.
func (h *histogram) observe(v float64) {
	h.count++
	if v <= 0 {
		h.zero++
		return
	}
	h.sum += v
	h.add(bucketIndex(v), 1)
}

// merge adds a distribution at scale 0, the only one at which lifecycle knows
// them.
func (h *histogram) merge(l lifecycle.Latency) {
	h.count += uint64(l.Count)
	h.zero += uint64(l.Zero)
	h.sum += l.Sum.Seconds()
	for i, n := range l.Buckets {
		if n > 0 {
			h.add(int(l.Offset)+i, uint64(n))
		}
	}
}

func (h *histogram) add(index int, n uint64) {
	k, found := slices.BinarySearch(h.indexes, int16(index))
	if !found {
		h.indexes = slices.Insert(h.indexes, k, int16(index))
		h.counts = slices.Insert(h.counts, k, 0)
	}
	h.counts[k] += n
}

// dense returns the buckets as OTLP has them: the index of the first, and the
// counts from there on.
func (h *histogram) dense() (offset int32, counts []uint64) {
	if len(h.indexes) == 0 {
		return 0, nil
	}
	first, last := int(h.indexes[0]), int(h.indexes[len(h.indexes)-1])
	counts = make([]uint64, last-first+1)
	for k, index := range h.indexes {
		counts[int(index)-first] = h.counts[k]
	}
	return int32(first), counts
}
