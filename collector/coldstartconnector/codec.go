package coldstartconnector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// The journal and the snapshots are private to one version of this package and
// can be thrown away at the price of what they counted. Hence a plain format:
// varints, and strings of which each is written once. One description of each
// type serves for writing and reading, so that the two cannot drift apart.

// codec either writes what it is given and returns that, or returns what it
// reads. Values and not pointers: those would escape to the heap.
type codec interface {
	uint(uint64) uint64
	fixed(uint64) uint64
	str(string) string
	// length of a list or map: n when writing, what was written when reading.
	// each is the least number of bytes that an element takes.
	length(n, each int) int
	// ok is false once something could not be read.
	ok() bool
	fail(error)
	reading() bool
}

func codeInt(c codec, v *int64) {
	u := c.uint(uint64(*v<<1) ^ uint64(*v>>63))
	*v = int64(u>>1) ^ -int64(u&1)
}

func codeFloat(c codec, v *float64) {
	*v = math.Float64frombits(c.fixed(math.Float64bits(*v)))
}

func codeDuration(c codec, v *time.Duration) { codeInt(c, (*int64)(v)) }

func codeBool(c codec, v *bool) {
	var u uint64
	if *v {
		u = 1
	}
	*v = c.uint(u) == 1
}

func codeString[T ~string](c codec, v *T) {
	*v = T(c.str(string(*v)))
}

// codePointer codes whether there is a T, and then that.
func codePointer[T any](c codec, v **T, code func(codec, *T)) {
	present := *v != nil
	codeBool(c, &present)
	if !present || !c.ok() {
		return
	}
	if c.reading() {
		*v = new(T)
	}
	code(c, *v)
}

func codeSlice[T any](c codec, v *[]T, each int, code func(codec, *T)) {
	n := c.length(len(*v), each)
	if c.reading() && n > 0 {
		*v = make([]T, n)
	}
	for i := range *v {
		if !c.ok() {
			return
		}
		code(c, &(*v)[i])
	}
}

// codeBatch codes what apply uses of a batch; the rest is not kept.
func codeBatch(c codec, b *batch) {
	codeInt(c, &b.at)
	codeInt(c, &b.rejected)
	codeBool(c, &b.drain)
	var env *lifecycle.Environment
	codeSlice(c, &b.observations, 10, func(c codec, o *lifecycle.Observation) {
		same := env != nil && o.Environment == env
		codeBool(c, &same)
		if !same {
			if c.reading() {
				env = &lifecycle.Environment{}
			} else {
				env = o.Environment
			}
			codeEnvironment(c, env)
		}
		if env == nil {
			c.fail(errors.New("an observation has no environment"))
		}
		o.Environment = env
		codeObservation(c, o)
	})
}

func codeEnvironment(c codec, e *lifecycle.Environment) {
	e.AccountID = c.str(e.AccountID)
	e.Region = c.str(e.Region)
	e.Name = c.str(e.Name)
	e.Version = c.str(e.Version)
	codeString(c, &e.Kind)
	e.ID = c.str(e.ID)
	codeInt(c, &e.MemoryMB)
	e.Arch = c.str(e.Arch)
	e.RuntimeVersion = c.str(e.RuntimeVersion)
}

func codeObservation(c codec, o *lifecycle.Observation) {
	id := c.fixed(spanID(o.SpanID))
	if c.reading() {
		binary.BigEndian.PutUint64(o.SpanID[:], id)
	}
	codeTime(c, &o.Time)
	codeSince(c, &o.Began, o.Time)
	codeString(c, &o.Type)
	codePointer(c, &o.Invocation, func(c codec, i *lifecycle.Invocation) {
		codeInvocation(c, i)
		codeSince(c, &i.Start, o.Time)
	})
	codePointer(c, &o.Init, codeInit)
	codePointer(c, &o.Shutdown, codeShutdown)
}

// codeTime codes a time to the microsecond, codeSince one that is close to
// another.
func codeTime(c codec, t *time.Time) {
	us := t.UnixMicro()
	codeInt(c, &us)
	if c.reading() {
		*t = time.UnixMicro(us)
	}
}

func codeSince(c codec, t *time.Time, other time.Time) {
	us := other.UnixMicro() - t.UnixMicro()
	codeInt(c, &us)
	if c.reading() {
		*t = time.UnixMicro(other.UnixMicro() - us)
	}
}

func codeInvocation(c codec, i *lifecycle.Invocation) {
	i.ARN = c.str(i.ARN)
	codeString(c, &i.StartType)
	codeString(c, &i.Status)
	i.ErrorType = c.str(i.ErrorType)
	codePointer(c, &i.Report, codeReport)
}

func codeReport(c codec, r *lifecycle.Report) {
	codeBool(c, &r.Received)
	codeDuration(c, &r.Duration)
	codeDuration(c, &r.Billed)
	codeDuration(c, &r.ExtensionOverhead)
	codeInt(c, &r.MaxMemoryUsedMB)
	codeInt(c, &r.DroppedByPlatform)
	codeInt(c, &r.Logs.Lines)
	codeInt(c, &r.Logs.Frozen)
	codeLatency(c, &r.Logs.Arrival)
	codeLatency(c, &r.Logs.Export)
	codePointer(c, &r.Usage, codeUsage)
}

func codeLatency(c codec, l *lifecycle.Latency) {
	codeInt(c, &l.Count)
	if l.Count == 0 {
		return
	}
	codeDuration(c, &l.Sum)
	codeInt(c, &l.Zero)
	offset := int64(l.Offset)
	codeInt(c, &offset)
	codeSlice(c, &l.Buckets, 1, codeInt)
	if offset < minIndex || offset > maxIndex || len(l.Buckets) > buckets*64 {
		c.fail(errors.New("a latency is out of range"))
	}
	l.Offset = int32(offset)
}

func codeInit(c codec, i *lifecycle.Init) {
	codeString(c, &i.Phase)
	codeString(c, &i.Demand)
	i.RequestID = c.str(i.RequestID)
	codeString(c, &i.Status)
	codeDuration(c, &i.Duration)
	codeDuration(c, &i.Self.Ready)
	codeSlice(c, &i.Parts, 3, func(c codec, p *lifecycle.Part) {
		codeString(c, &p.Name)
		codeString(c, &p.Basis)
		codeDuration(c, &p.Duration)
	})
	codePointer(c, &i.Profile, codeProfile)
}

func codeShutdown(c codec, s *lifecycle.Shutdown) {
	s.Reason = c.str(s.Reason)
	codeDuration(c, &s.CPU)
	codeInt(c, &s.Invocations)
	codeDuration(c, &s.Lifetime)
}

// codeState codes everything but the limits.
func codeState(c codec, s *state) {
	s.instance = c.str(s.instance)
	codeInt(c, &s.startMs)
	codeInt(c, &s.emittedMs)
	codeInt(c, &s.clock)
	codeBool(c, &s.virtual)
	codeFunction(c, s.self)
	codeFunctions(c, s)
	codeSeen(c, s.seen)
	codeClusters(c, s)
	codeSettler(c, s)
}

func codeFunctions(c codec, s *state) {
	codeSlice(c, &s.functions, 8, func(c codec, f **function) {
		if c.reading() {
			*f = newFunction(functionKey{})
		}
		codeFunction(c, *f)
		s.byKey[(*f).key] = *f
	})
}

func codeFunction(c codec, f *function) {
	if c.reading() {
		*f = *newFunction(functionKey{})
	}
	k := &f.key
	for _, s := range []*string{&k.account, &k.region, &k.name, &k.version, &k.arch, &k.kind} {
		*s = c.str(*s)
	}
	codeInt(c, &k.memoryMB)
	codeInt(c, &f.hour)
	codeSlice(c, &f.series, 3, func(c codec, s **series) {
		if c.reading() {
			*s = &series{changed: true}
		}
		codeSeries(c, *s)
		f.byKey[(*s).key] = *s
	})
	f.changed = f.changed || c.reading()
}

// codeSeries writes the name of the metric, so that the order of families may
// change from one version to the next.
func codeSeries(c codec, s *series) {
	name := c.str(families[s.key.family].Name)
	if c.reading() {
		s.key.family = familyOf(name)
	}
	if int(s.key.family) >= len(families) {
		s.key.family = 0
		c.fail(fmt.Errorf("metric %q is unknown", name))
		return
	}
	for i := range families[s.key.family].Labels {
		s.key.values[i] = c.str(s.key.values[i])
	}
	if families[s.key.family].Kind != metric.Histogram {
		codeFloat(c, &s.value)
		return
	}
	if c.reading() {
		s.histogram = &histogram{}
	}
	codeHistogram(c, s.histogram)
}

func familyOf(name string) family {
	for f := range families {
		if families[f].Name == name {
			return family(f)
		}
	}
	return family(len(families))
}

func codeHistogram(c codec, h *histogram) {
	h.count = c.uint(h.count)
	h.zero = c.uint(h.zero)
	codeFloat(c, &h.sum)
	last := int64(minIndex - 1)
	codeSlice(c, &h.indexes, 2, func(c codec, index *int16) {
		delta := int64(*index) - last
		codeInt(c, &delta)
		last += delta
		if delta < 1 || last > maxIndex {
			c.fail(errors.New("the buckets of a histogram are out of order"))
			return
		}
		*index = int16(last)
	})
	if c.reading() {
		h.counts = make([]uint64, len(h.indexes))
	}
	for i := range h.counts {
		h.counts[i] = c.uint(h.counts[i])
	}
}

func codeSeen(c codec, s *seen) {
	if !c.reading() {
		s.compact()
	}
	codeSlice(c, &s.queue, 8, func(c codec, id *uint64) { *id = c.fixed(*id) })
	codeSlice(c, &s.hours, 2, func(c codec, h *hourCount) {
		codeInt(c, &h.hour)
		h.n = c.uint(h.n)
		if h.n == 0 {
			c.fail(errors.New("an hour without span ids"))
		}
	})
	if !c.reading() {
		return
	}
	var n uint64
	for _, h := range s.hours {
		n += h.n
	}
	if n != uint64(len(s.queue)) {
		c.fail(fmt.Errorf("%d span ids, of which %d have an hour", len(s.queue), n))
	}
	for _, id := range s.queue {
		s.ids[id] = struct{}{}
	}
}

// clusterRecord is a cluster as it is written; function is an index.
type clusterRecord struct {
	function    uint64
	environment string
	quantity    uint64
	cluster     cluster
}

func codeClusters(c codec, s *state) {
	codeInt(c, &s.clusters.pruned)
	type hourRecord struct {
		hour    int64
		records []clusterRecord
	}
	var hours []hourRecord
	if !c.reading() {
		index := make(map[*function]uint64, len(s.functions))
		for i, f := range s.functions {
			index[f] = uint64(i)
		}
		for hour, m := range s.clusters.hours {
			h := hourRecord{hour: hour}
			for key, v := range m {
				if i, ok := index[key.function]; ok {
					h.records = append(h.records, clusterRecord{i, key.environment, uint64(key.quantity), v})
				}
			}
			hours = append(hours, h)
		}
	}
	codeSlice(c, &hours, 2, func(c codec, h *hourRecord) {
		codeInt(c, &h.hour)
		codeSlice(c, &h.records, 12, func(c codec, r *clusterRecord) {
			r.function = c.uint(r.function)
			r.environment = c.str(r.environment)
			r.quantity = c.uint(r.quantity)
			codeInt(c, &r.cluster.n)
			codeFloat(c, &r.cluster.s)
		})
	})
	if !c.reading() || !c.ok() {
		return
	}
	for _, h := range hours {
		m := make(map[clusterKey]cluster, len(h.records))
		for _, r := range h.records {
			if r.function >= uint64(len(s.functions)) {
				c.fail(errors.New("a cluster belongs to no function"))
				return
			}
			m[clusterKey{s.functions[r.function], r.environment, quantity(r.quantity)}] = r.cluster
		}
		s.clusters.hours[h.hour] = m
		s.clusters.len += len(m)
	}
}

// encoder is a codec that writes.
type encoder struct {
	buf     []byte
	strings map[string]uint64
}

func newEncoder() *encoder { return &encoder{strings: map[string]uint64{}} }

func (e *encoder) ok() bool      { return true }
func (e *encoder) fail(error)    {}
func (e *encoder) reading() bool { return false }

func (e *encoder) uint(v uint64) uint64 {
	e.buf = binary.AppendUvarint(e.buf, v)
	return v
}

func (e *encoder) fixed(v uint64) uint64 {
	e.buf = binary.LittleEndian.AppendUint64(e.buf, v)
	return v
}

func (e *encoder) length(n, _ int) int {
	e.buf = binary.AppendUvarint(e.buf, uint64(n))
	return n
}

// str writes the number of a string that was written before, or 0, its length
// and the string.
func (e *encoder) str(s string) string {
	if n, ok := e.strings[s]; ok {
		e.buf = binary.AppendUvarint(e.buf, n)
		return s
	}
	e.strings[s] = uint64(len(e.strings)) + 1
	e.buf = append(e.buf, 0)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
	return s
}

func (e *encoder) reset() {
	e.buf = e.buf[:0]
	clear(e.strings)
}

// decoder is a codec that reads. What cannot be read is zero from there on.
type decoder struct {
	buf     []byte
	strings []string
	err     error
}

func (d *decoder) ok() bool      { return d.err == nil }
func (d *decoder) reading() bool { return true }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.buf = nil
}

var errTruncated = errors.New("the data ends too early")

func (d *decoder) uint(uint64) uint64 {
	u, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.fail(errTruncated)
		return 0
	}
	d.buf = d.buf[n:]
	return u
}

func (d *decoder) fixed(uint64) uint64 {
	if len(d.buf) < 8 {
		d.fail(errTruncated)
		return 0
	}
	u := binary.LittleEndian.Uint64(d.buf)
	d.buf = d.buf[8:]
	return u
}

// length refuses what the rest of the data cannot hold, so that nobody makes
// us allocate.
func (d *decoder) length(_, each int) int {
	n := d.uint(0)
	if n > uint64(len(d.buf)/each) {
		d.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (d *decoder) str(string) string {
	ref := d.uint(0)
	switch {
	case !d.ok():
		return ""
	case ref > uint64(len(d.strings)):
		d.fail(errors.New("a string was never written"))
		return ""
	case ref > 0:
		return d.strings[ref-1]
	}
	n := d.length(0, 1)
	s := string(d.buf[:n])
	d.buf = d.buf[n:]
	d.strings = append(d.strings, s)
	return s
}

// decode reads all of data with code.
func decode[T any](data []byte, v *T, code func(codec, *T)) error {
	d := &decoder{buf: data}
	code(d, v)
	if d.err == nil && len(d.buf) > 0 {
		return fmt.Errorf("%d bytes too many", len(d.buf))
	}
	return d.err
}
