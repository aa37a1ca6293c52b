package emulator

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Enforcement says which properties of a Lambda environment this machine lets
// the emulator enforce, and by what. What is not enforced says why.
type Enforcement struct {
	CPU        string // "cgroup v1 cpu.cfs_quota_us", or "not enforced: ..."
	Memory     string // "cgroup v1 memory.limit_in_bytes", or "not enforced: ..."
	Freeze     string // "cgroup v1 freezer", "cgroup v2 cgroup.freeze" or "SIGSTOP ..."
	User       string // "uid 61000 and up", or "same user ..."
	Namespaces string // "mount", "user, mount", or "none: ..."
	Kernel     string
	CPUs       int // of this machine; a function cannot get more

	CPUEnforced    bool
	MemoryEnforced bool
}

// String is a plain statement for humans.
func (e Enforcement) String() string {
	var b strings.Builder
	for _, line := range [][2]string{
		{"cpu", e.CPU}, {"memory", e.Memory}, {"freeze", e.Freeze},
		{"user", e.User}, {"namespaces", e.Namespaces}, {"kernel", e.Kernel},
	} {
		fmt.Fprintf(&b, "%-11s %s\n", line[0], line[1])
	}
	if limit := e.largestSizeMB(); limit < maxMemoryMB {
		fmt.Fprintf(&b, "%-11s this machine has %d CPUs: sizes above %d MB get less CPU than on Lambda\n", "note", e.CPUs, limit)
	}
	return b.String()
}

// largestSizeMB is the memory size whose share of CPU is the whole machine.
func (e Enforcement) largestSizeMB() int { return min(e.CPUs*memoryPerCPU, maxMemoryMB) }

// reason is an error for humans, without the path that only confuses.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
