package emulator

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
)

// memoryShares hold an environment's memory limit. The limit is one for the
// runtime and the extensions together, but a single group would let the kernel
// choose whom to kill when it is reached: usually it takes the runtime, and
// when that is slow to die the extensions as well. On Lambda it is the runtime
// that dies, and the extensions live to tell. So the runtime and the extensions
// have a group each, below one that counts both, and each may use what the
// other leaves. The kernel cannot express that, so [memoryShares.balance] states
// it again before each phase. Whoever grows in a phase is stopped at the total
// exactly; if both grow at once, the total can be exceeded by the smaller growth.
type memoryShares struct {
	dir    string // of the group that counts both
	total  int64
	usage  string   // the file with a group's usage
	cache  []string // the keys of memory.stat that can be reclaimed
	oom    string   // the file with the number of kills
	groups map[string]memoryGroup
}

// memoryGroup is the control group of one role.
type memoryGroup struct {
	add    func(pid int) error
	limit  func(bytes int64) error
	delete func() error
}

func (m *memoryShares) add(pid int, role string) error {
	group, ok := m.groups[role]
	if !ok {
		return nil // memory is not limited
	}
	if err := group.add(pid); err != nil {
		return fmt.Errorf("add process to control group of memory: %w", err)
	}
	return nil
}

// balance gives each group what the other does not use.
func (m *memoryShares) balance() error {
	var errs []error
	for role, group := range m.groups {
		other := roleRuntime
		if role == roleRuntime {
			other = roleExtension
		}
		// Never less than what is used already: that would kill at once in
		// version 2 and fail in version 1.
		limit := max(m.total-m.used(other), m.used(role)+slack)
		// EBUSY: more was charged meanwhile than version 1 can make room for.
		// What the group may use stays as it was.
		if err := group.limit(min(limit, m.total)); err != nil && !errors.Is(err, syscall.EBUSY) {
			errs = append(errs, fmt.Errorf("limit the memory of %s: %w", role, err))
		}
	}
	return errors.Join(errs...)
}

// slack covers what is charged while we calculate.
const slack = 1 << 20

// used is what a role uses, but for what the kernel would give up for others.
func (m *memoryShares) used(role string) int64 {
	dir := filepath.Join(m.dir, role)
	used, _ := readInt(filepath.Join(dir, m.usage))
	for _, key := range m.cache {
		used -= int64(readKey(filepath.Join(dir, "memory.stat"), key))
	}
	return max(used, 0)
}

func (m *memoryShares) oomKills() (n int) {
	for _, dir := range m.dirs() {
		n += readKey(filepath.Join(dir, m.oom), "oom_kill")
	}
	return n
}

func (m *memoryShares) dirs() (dirs []string) {
	for role := range m.groups {
		dirs = append(dirs, filepath.Join(m.dir, role))
	}
	return dirs
}

func (m *memoryShares) close() (err error) {
	for _, group := range m.groups {
		err = errors.Join(err, group.delete())
	}
	return err
}
