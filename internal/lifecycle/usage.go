package lifecycle

import (
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Attributes of what an invocation used. A value of zero is left out.
const (
	AttrUsageCPU        = "thaw.usage.cpu_ms"
	AttrUsageRunDelay   = "thaw.usage.run_delay_ms"
	AttrUsageBusiest    = "thaw.usage.busiest_thread_ms"
	AttrUsageSteal      = "thaw.usage.steal_ms"
	AttrUsageIdleGap    = "thaw.usage.idle_gap_ms"
	AttrUsagePeakMemory = "thaw.usage.peak_memory"
	AttrUsageThreads    = "thaw.usage.threads"
	AttrUsageTmp        = "thaw.usage.tmp"
	AttrUsageReceived   = "thaw.usage.network_received"
	AttrUsageSent       = "thaw.usage.network_sent"
	AttrUsageUnreadable = "thaw.usage.unreadable"
)

// Names in [Usage.Unreadable].
const (
	UsageCPU      = "cpu"
	UsageRunDelay = "run_delay"
	UsageSteal    = "steal"
	UsageMemory   = "peak_memory"
	UsageThreads  = "threads"
	UsageTmp      = "tmp"
	UsageNetwork  = "network"
)

// Usage is what the function's processes used in one invocation, as the
// extension saw it from beside them. The package doc of extension says between
// which moments.
type Usage struct {
	// CPU is by the clocks of the processes, in nanoseconds and not in ticks.
	CPU time.Duration
	// RunDelay is how long the thread that waited longest stood ready to run
	// and was not running; Busiest is the CPU time of the thread that used most.
	RunDelay, Busiest time.Duration
	// Steal is the time that the machine did not get from its host, in ticks of
	// 10 ms, summed over CPUs.
	Steal time.Duration
	// IdleGap is from the end of the environment's previous invocation, 0 for
	// its first.
	IdleGap time.Duration
	// PeakMemory is the sum of the largest resident sets of the processes that
	// live, in bytes, over the whole life of the environment.
	PeakMemory int64
	Threads    int64
	// Tmp is how many bytes of /tmp are in use, Received and Sent what went
	// over the environment's network interfaces, ours and the platform's own
	// traffic included, loopback not.
	Tmp, Received, Sent int64
	// Unreadable names what could not be read. Such a field is zero.
	Unreadable []string
}

// Knows says whether something of the usage could be read.
func (u *Usage) Knows(name string) bool {
	if u == nil {
		return false
	}
	for _, unreadable := range u.Unreadable {
		if unreadable == name {
			return false
		}
	}
	return true
}

func (u *Usage) put(m pcommon.Map) {
	if u == nil {
		return
	}
	// The CPU time stands for the whole: it is there even when zero.
	if u.Knows(UsageCPU) {
		m.PutDouble(AttrUsageCPU, ms(u.CPU))
	}
	putMS(m, AttrUsageRunDelay, u.RunDelay)
	putMS(m, AttrUsageBusiest, u.Busiest)
	putMS(m, AttrUsageSteal, u.Steal)
	putMS(m, AttrUsageIdleGap, u.IdleGap)
	putPositive(m, AttrUsagePeakMemory, u.PeakMemory)
	putPositive(m, AttrUsageThreads, u.Threads)
	putPositive(m, AttrUsageTmp, u.Tmp)
	putPositive(m, AttrUsageReceived, u.Received)
	putPositive(m, AttrUsageSent, u.Sent)
	putStr(m, AttrUsageUnreadable, strings.Join(u.Unreadable, ","))
}

func putMS(m pcommon.Map, key string, d time.Duration) {
	if d > 0 {
		m.PutDouble(key, ms(d))
	}
}

func putPositive(m pcommon.Map, key string, n int64) {
	if n > 0 {
		m.PutInt(key, n)
	}
}

// maxUnreadable bounds what a stranger can make us split.
const maxUnreadable = 256

// usage is nil where nothing was measured.
func (d *decoder) usage() *Usage {
	if !d.has(AttrUsageCPU) && !d.has(AttrUsageUnreadable) {
		return nil
	}
	u := &Usage{
		CPU:        d.ms(AttrUsageCPU),
		RunDelay:   d.ms(AttrUsageRunDelay),
		Busiest:    d.ms(AttrUsageBusiest),
		Steal:      d.ms(AttrUsageSteal),
		IdleGap:    d.ms(AttrUsageIdleGap),
		PeakMemory: d.int(AttrUsagePeakMemory),
		Threads:    d.int(AttrUsageThreads),
		Tmp:        d.int(AttrUsageTmp),
		Received:   d.int(AttrUsageReceived),
		Sent:       d.int(AttrUsageSent),
	}
	names := d.str(AttrUsageUnreadable)
	if len(names) > maxUnreadable {
		d.fail("%s has %d bytes", AttrUsageUnreadable, len(names))
		return nil
	}
	if names != "" {
		u.Unreadable = strings.Split(names, ",")
	}
	return u
}

// usageAttributes documents the attributes above.
func usageAttributes() []Attribute {
	on := "invocation, report"
	return []Attribute{
		{AttrUsageCPU, on, "double", "ms", "CPU time of the function's processes, by their clocks; absent where it could not be read"},
		{AttrUsageRunDelay, on, "double", "ms", "time that the thread which waited longest stood ready to run and was not running"},
		{AttrUsageBusiest, on, "double", "ms", "CPU time of the thread that used most"},
		{AttrUsageSteal, on, "double", "ms", "time that the machine did not get from its host, in ticks of 10 ms, summed over CPUs"},
		{AttrUsageIdleGap, on, "double", "ms", "since the end of the environment's previous invocation; absent for its first"},
		{AttrUsagePeakMemory, on, "int", "By", "largest resident sets of the function's processes so far, added up"},
		{AttrUsageThreads, on, "int", "{thread}", "threads of the function's processes at the end"},
		{AttrUsageTmp, on, "int", "By", "bytes of /tmp in use at the end"},
		{AttrUsageReceived, on, "int", "By", "received over the network by the whole environment, loopback not counted"},
		{AttrUsageSent, on, "int", "By", "sent over the network by the whole environment, Thaw's own exports included"},
		{AttrUsageUnreadable, on, "string", "", "what of cpu, run_delay, steal, peak_memory, threads, tmp and network could not be read here"},
	}
}
