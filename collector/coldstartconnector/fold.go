package coldstartconnector

import (
	"strings"
	"unicode/utf8"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// other stands for label values that are too many or unknown.
const other = "other"

// maxErrorTypes and maxInfos bound what a function may add to the number of
// its own series.
const (
	maxErrorTypes = 5
	maxInfos      = 3
	maxInits      = 8
)

// fold adds one observation to the series of its function.
type fold struct {
	state    *state
	function *function
	*lifecycle.Observation
	// hour of arrival.
	hour int64
}

func (f fold) observation() {
	switch {
	case f.Type == lifecycle.SpanInvocation && f.Invocation != nil:
		f.invocation(f.Invocation)
		if f.Invocation.Report != nil {
			f.settle(f.Invocation, f.Invocation.Report)
		}
	case f.Type == lifecycle.SpanReport && f.Invocation != nil && f.Invocation.Report != nil:
		f.settle(f.Invocation, f.Invocation.Report)
	case f.Init != nil:
		f.init(f.Init)
	case f.Shutdown != nil:
		f.function.add(shutdowns, 1, oneOf(f.Shutdown.Reason, "spindown", "timeout", "failure"))
		f.function.add(selfCPU, f.Shutdown.CPU.Seconds())
	}
}

func (f fold) invocation(inv *lifecycle.Invocation) {
	f.function.add(invocations, 1, string(inv.StartType))
	if inv.StartType == lifecycle.Cold {
		f.function.add(coldStarts, 1)
	}
	f.info(inv)
}

// info notes the runtime version and the alias, the first few.
func (f fold) info(inv *lifecycle.Invocation) {
	from := infoSource{f.Environment.RuntimeVersion, inv.ARN, f.Environment.CPUUnenforced}
	if f.function.noted == from {
		return
	}
	f.function.noted = from
	runtime, alias, enforced := clean(from.runtime), clean(inv.Alias()), ""
	if from.cpuUnenforced {
		enforced = "false"
	}
	key := seriesKey{functionInfo, [maxLabels]string{runtime, alias, enforced}}
	if f.function.byKey[key] == nil && f.function.count(functionInfo) < maxInfos {
		f.function.get(functionInfo, runtime, alias, enforced).value = 1
	}
}

// settle counts what is known only when an invocation is over.
func (f fold) settle(inv *lifecycle.Invocation, r *lifecycle.Report) {
	switch inv.Status {
	case lifecycle.Timeout:
		f.function.add(timeouts, 1)
	case lifecycle.Error, lifecycle.Failure:
		f.function.add(errorCount, 1, f.errorType(inv))
	}
	duration := r.Duration.Seconds()
	f.function.observe(invokeDuration, duration, string(inv.StartType))
	if inv.StartType == lifecycle.Warm {
		f.cluster(warmDuration, metric.QuantityWarmDuration, duration)
	}
	switch {
	case !r.Received:
		f.function.add(reportsMissing, 1)
	case f.Environment.Kind == lifecycle.ManagedInstances:
		// Neither billed by duration, nor told how much memory it used.
	default:
		f.function.observe(billed, r.Billed.Seconds())
		f.cluster(billedDuration, metric.QuantityBilled, r.Billed.Seconds())
		f.function.add(billedGBSeconds, r.Billed.Seconds()*float64(f.Environment.MemoryMB)/1024)
		f.function.observe(memUsage, float64(r.MaxMemoryUsedMB<<20))
		f.function.observe(extensionOverhead, r.ExtensionOverhead.Seconds())
	}
	f.usage(inv, r)
	f.logs(&r.Logs)
	if r.DroppedByPlatform > 0 {
		f.function.add(platformDropped, float64(r.DroppedByPlatform))
	}
}

func (f fold) logs(l *lifecycle.LogSummary) {
	frozen := min(l.Frozen, l.Lines)
	if n := l.Lines - frozen; n > 0 {
		f.function.add(logLines, float64(n), "false")
	}
	if frozen > 0 {
		f.function.add(logLines, float64(frozen), "true")
	}
	if l.Arrival.Count > 0 {
		f.function.get(logLatency, metric.StageArrival).histogram.merge(l.Arrival)
	}
	if l.Export.Count > 0 {
		f.function.get(logLatency, metric.StageExport).histogram.merge(l.Export)
	}
}

// errorType returns the label for an error: its type, if it is among the first
// few of the function.
func (f fold) errorType(inv *lifecycle.Invocation) string {
	t := clean(inv.ErrorType)
	if t == "" {
		t = string(inv.Status)
	}
	known := f.function.byKey[seriesKey{errorCount, [maxLabels]string{t}}] != nil
	if !known && f.function.count(errorCount) >= maxErrorTypes {
		return other
	}
	return t
}

// count returns the number of series of a family.
func (f *function) count(fam family) int {
	n := 0
	for _, s := range f.series {
		if s.key.family == fam {
			n++
		}
	}
	return n
}

func (f fold) init(in *lifecycle.Init) {
	phase := oneOf(string(in.Phase), string(lifecycle.PhaseInit), string(lifecycle.PhaseInvoke))
	demand := oneOf(string(in.Demand), string(lifecycle.OnPath), string(lifecycle.Uncertain), string(lifecycle.Proactive), string(lifecycle.Unused))
	status := oneOf(string(in.Status), string(lifecycle.Success), string(lifecycle.Error), string(lifecycle.Failure), string(lifecycle.Timeout))
	if f.function.byKey[seriesKey{inits, [maxLabels]string{phase, demand, status}}] == nil && f.function.count(inits) >= maxInits {
		phase, demand, status = other, other, other
	}
	f.function.add(inits, 1, phase, demand, status)
	phase = oneOf(string(in.Phase), string(lifecycle.PhaseInit), string(lifecycle.PhaseInvoke))
	f.function.observe(initDuration, in.Duration.Seconds(), phase)
	for _, p := range in.Parts {
		basis := oneOf(string(p.Basis), string(lifecycle.Measured), string(lifecycle.Derived))
		f.function.observe(partDuration, p.Duration.Seconds(), string(p.Name), basis)
	}
	if in.Self.Ready > 0 {
		f.function.observe(selfReady, in.Self.Ready.Seconds())
	}
	f.packages(in)
}

// cluster adds a value to the environment-hour it happened in, and keeps the
// sums over all of them.
func (f fold) cluster(q quantity, label string, value float64) {
	// A clock that is ahead must not make clusters that are never dropped.
	hour := min(f.Time.Unix()/3600, f.hour)
	b := f.state.clusters.add(hour, clusterKey{f.function, clean(f.Environment.ID), q}, value)
	sums, n := f.function.clusterSums(q, label), float64(b.n)
	if b.n == 0 {
		sums.count.add(1)
	}
	sums.nn.add(2*n + 1)
	sums.ss.add(value * (2*b.s + value))
	sums.ns.add((n+1)*value + b.s)
}

// oneOf returns value if it is one of those known.
func oneOf(value string, known ...string) string {
	for _, k := range known {
		if value == k {
			return value
		}
	}
	return other
}

// maxLabelBytes bounds a label value.
const maxLabelBytes = 200

// clean makes a stranger's string fit for a label.
func clean(s string) string {
	if len(s) > maxLabelBytes {
		s = s[:maxLabelBytes]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	return s
}
