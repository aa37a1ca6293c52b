package emulator

import (
	"math"
	"time"
)

// CPU as Lambda gives it: one core at 1769 MB, in CFS periods of 20 ms.
const (
	memoryPerCPU = 1769
	cpuPeriod    = 20 * time.Millisecond
)

// cpuQuota is the CPU time that a function of that size gets in each period.
func cpuQuota(memoryMB int) time.Duration {
	return cpuPeriod * time.Duration(memoryMB) / memoryPerCPU
}

// visibleCPUs is the number of CPUs that a function of that size sees: 2 up to
// 3008 MB, then 3, and one more for each further 1769 MB.
func visibleCPUs(memoryMB int) int {
	if memoryMB <= 3008 {
		return 2
	}
	return max(3, int(math.Ceil(float64(memoryMB)/memoryPerCPU)))
}

// limits hold one environment's processes: what they may use, whether they
// run, and how to be rid of them. There is one implementation for each kind of
// control group, and one with signals alone.
type limits interface {
	// add puts a process that has not begun to execute under the limits.
	add(pid int, role string) error
	// balance divides the memory between the roles anew. It is called when one
	// of them has grown, and before the other may.
	balance() error
	// throttle applies the CPU quota, which init is free of.
	throttle() error
	freeze() error
	thaw() error
	// kill ends all processes, also those that the function left behind.
	kill() error
	// peakMemory is the most memory that the processes of the boot used, in
	// bytes, and false if that is not known.
	peakMemory() (int64, bool)
	// oomKills counts the processes killed for want of memory.
	oomKills() int
	// close frees the limits, once all processes are gone.
	close() error
}
