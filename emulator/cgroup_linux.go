package emulator

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	cgroupRoot = "/sys/fs/cgroup"

	// maxTasks is Lambda's limit of processes and threads.
	maxTasks = 1024

	// priority is the weight of all environments together against the rest of
	// the machine, in processes. Without one, a busy machine would give a
	// function less than its quota, and so measure the neighbours.
	priority = 8

	// killPatience bounds the wait for killed processes to be gone.
	killPatience = 2 * time.Second
)

// cgroupSupport is what control groups can do here, as tried out at Start.
type cgroupSupport struct {
	unified bool
	// why says for each controller why it cannot be used; "" means that it can.
	cpu, memory, freezer, pids string
	// parents are the directories below which each environment has its own.
	// The last element of all is the emulator's name.
	parents []string
	group   string // the path of the parent group, v2 only
}

// probeCgroups makes the emulator's own groups, each controller by itself, so
// that one that is not permitted does not take the others away.
func probeCgroups(name string) cgroupSupport {
	if cgroups.Mode() == cgroups.Unified {
		return probeCgroup2(name)
	}
	var s cgroupSupport
	path := cgroup1.NestedPath(name)
	probe := func(sub cgroup1.Subsystem) string {
		dir, err := cgroup1Dir(path, sub.Name())
		if err == nil {
			if _, err = os.Stat(filepath.Dir(dir)); err == nil {
				shares := uint64(1024 * priority)
				resources := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}}
				_, err = cgroup1.New(path, resources, cgroup1.WithHierarchy(only(sub)))
			}
		}
		if err != nil {
			return reason(err)
		}
		s.parents = append(s.parents, dir)
		return ""
	}
	s.cpu = probe(cgroup1.NewCpu(cgroupRoot))
	s.memory = probe(cgroup1.NewMemory(cgroupRoot))
	s.freezer = probe(cgroup1.NewFreezer(cgroupRoot))
	s.pids = probe(cgroup1.NewPids(cgroupRoot))
	return s
}

func only(subs ...cgroup1.Subsystem) cgroup1.Hierarchy {
	return func() ([]cgroup1.Subsystem, error) { return subs, nil }
}

// cgroup1Dir is the directory of a group in one hierarchy.
func cgroup1Dir(path cgroup1.Path, controller cgroup1.Name) (string, error) {
	p, err := path(controller)
	if err != nil {
		return "", err
	}
	return filepath.Join(cgroupRoot, string(controller), p), nil
}

// cgroup1Limits are limits by control groups, version 1. Where the freezer or
// the memory controller is missing, signals and /proc stand in.
type cgroup1Limits struct {
	signalLimits
	support  cgroupSupport
	group    cgroup1.Cgroup // but for the memory; nil if there is no other controller
	dirs     []string       // of group, each of which lists all processes
	memory   cgroup1.Cgroup // nil where memory is not limited
	shares   memoryShares
	memoryMB int
}

func newCgroup1Limits(s cgroupSupport, emulator, name string, memoryMB int) (l *cgroup1Limits, err error) {
	l = &cgroup1Limits{support: s, memoryMB: memoryMB}
	path := filepath.Join(emulator, name)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make control group %s: %w", name, err), l.close())
		}
	}()
	var subs []cgroup1.Subsystem
	for _, c := range []struct {
		missing string
		sub     cgroup1.Subsystem
	}{
		{s.cpu, cgroup1.NewCpu(cgroupRoot)}, {s.freezer, cgroup1.NewFreezer(cgroupRoot)}, {s.pids, cgroup1.NewPids(cgroupRoot)},
	} {
		if c.missing != "" {
			continue
		}
		dir, err := cgroup1Dir(cgroup1.NestedPath(path), c.sub.Name())
		if err != nil {
			return nil, err
		}
		l.dirs, subs = append(l.dirs, dir), append(subs, c.sub)
	}
	tasks := int64(maxTasks)
	if len(subs) > 0 {
		l.group, err = newCgroup1(path, &specs.LinuxResources{
			Pids: &specs.LinuxPids{Limit: &tasks},
			CPU:  cpuResources(-1), // init has the full CPU
		}, subs...)
	}
	if err == nil && s.memory == "" {
		err = l.limitMemory(path)
	}
	return l, err
}

func newCgroup1(path string, resources *specs.LinuxResources, subs ...cgroup1.Subsystem) (cgroup1.Cgroup, error) {
	return cgroup1.New(cgroup1.NestedPath(path), resources, cgroup1.WithHierarchy(only(subs...)), func(c *cgroup1.InitConfig) error {
		c.InitCheck = cgroup1.AllowAny
		return nil
	})
}

// limitMemory makes the groups of memoryShares.
func (l *cgroup1Limits) limitMemory(path string) (err error) {
	memory := cgroup1.NewMemory(cgroupRoot, cgroup1.OptionalSwap())
	dir, err := cgroup1Dir(cgroup1.NestedPath(path), memory.Name())
	if err != nil {
		return err
	}
	if l.memory, err = newCgroup1(path, &specs.LinuxResources{}, memory); err != nil {
		return err
	}
	l.shares = memoryShares{
		dir: dir, total: int64(l.memoryMB) << 20, usage: "memory.usage_in_bytes", oom: "memory.oom_control",
		cache: []string{"inactive_file", "active_file"}, groups: map[string]memoryGroup{},
	}
	for _, role := range []string{roleRuntime, roleExtension} {
		share, err := newCgroup1(filepath.Join(path, role), cgroup1Memory(l.shares.total), memory)
		if err != nil {
			return err
		}
		l.shares.groups[role] = memoryGroup{
			add:    func(pid int) error { return share.AddProc(uint64(pid)) },
			limit:  func(bytes int64) error { return limitCgroup1(filepath.Join(dir, role), bytes) },
			delete: share.Delete,
		}
	}
	return nil
}

// limitCgroup1 changes a limit that is there already. Memory and swap together
// must never be less than memory alone, so the order depends on the direction;
// the library's does not.
func limitCgroup1(dir string, limit int64) error {
	files := []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}
	if old, _ := readInt(filepath.Join(dir, files[0])); limit > old {
		slices.Reverse(files)
	}
	for _, file := range files {
		err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // no swap, no file
			return err
		}
	}
	return nil
}

// cgroup1Memory limits memory, and memory and swap together.
func cgroup1Memory(limit int64) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}
}

// cpuResources is a quota in microseconds a period; -1 is none.
func cpuResources(quota int64) *specs.LinuxCPU {
	period := uint64(cpuPeriod.Microseconds())
	return &specs.LinuxCPU{Quota: &quota, Period: &period}
}

func (l *cgroup1Limits) add(pid int, role string) error {
	if err := l.signalLimits.add(pid, role); err != nil {
		return err
	}
	if l.group != nil {
		if err := l.group.AddProc(uint64(pid)); err != nil {
			return fmt.Errorf("add process to control group: %w", err)
		}
	}
	if err := l.shares.add(pid, role); err != nil {
		return err
	}
	// What our own helper needed until here is not the function's memory.
	if l.memory != nil {
		_ = os.WriteFile(filepath.Join(l.shares.dir, "memory.max_usage_in_bytes"), []byte("0"), 0) // best effort
	}
	return nil
}

func (l *cgroup1Limits) balance() error { return l.shares.balance() }

func (l *cgroup1Limits) throttle() error {
	if l.support.cpu != "" {
		return nil
	}
	return l.group.Update(&specs.LinuxResources{CPU: cpuResources(cpuQuota(l.memoryMB).Microseconds())})
}

func (l *cgroup1Limits) freeze() error {
	if l.support.freezer != "" {
		return l.signalLimits.freeze()
	}
	return l.group.Freeze()
}

func (l *cgroup1Limits) thaw() error {
	if l.support.freezer != "" {
		return l.signalLimits.thaw()
	}
	return l.group.Thaw()
}

func (l *cgroup1Limits) kill() error {
	// A frozen process of version 1 dies only when it is thawed.
	err := errors.Join(l.thaw(), killAll(l.lists()...))
	l.forget()
	return err
}

// lists are directories that together list the environment's processes.
func (l *cgroup1Limits) lists() []string {
	if len(l.dirs) > 0 {
		return l.dirs[:1]
	}
	return l.shares.dirs()
}

// peakMemory: see [largerPeak].
func (l *cgroup1Limits) peakMemory() (int64, bool) {
	if l.memory == nil {
		return l.signalLimits.peakMemory()
	}
	return largerPeak(filepath.Join(l.shares.dir, "memory.max_usage_in_bytes"), l.lists())
}

// largerPeak is the larger of two figures, each of which misses something. The
// control group's maximum knows processes that have ended, but is not charged
// for pages of program files that somebody on this machine had read before;
// on Lambda, where the machine is the environment's own, these count. The sum
// of the resident peaks of the processes that live counts them, and memory
// shared between processes more than once.
func largerPeak(file string, lists []string) (int64, bool) {
	charged, ok := readInt(file)
	pids, err := groupPIDs(lists...)
	if err != nil {
		return charged, ok
	}
	resident, known := peakOfGroups(pids)
	return max(charged, resident), ok || known
}

func (l *cgroup1Limits) oomKills() int { return l.shares.oomKills() }

func (l *cgroup1Limits) close() error {
	err := l.shares.close()
	for _, group := range []cgroup1.Cgroup{l.memory, l.group} {
		if group != nil {
			err = errors.Join(err, group.Delete())
		}
	}
	return err
}

// probeCgroup2 finds a place where groups can have controllers. A group that
// has processes of its own cannot hand controllers down, so besides our own
// group its parents are tried.
func probeCgroup2(name string) cgroupSupport {
	_, own, err := cgroups.ParseCgroupFileUnified("/proc/self/cgroup")
	if err != nil {
		return noCgroups(reason(err))
	}
	failure := "no control group is writable"
	for parent := own; ; parent = filepath.Dir(parent) {
		group := filepath.Join(parent, name)
		dir := filepath.Join(cgroupRoot, group)
		resources := cgroup2Resources(maxMemoryMB, -1)
		resources.Memory.Max, resources.Pids.Max = nil, 0 // the environments have their own
		weight := uint64(100 * priority)
		resources.CPU.Weight = &weight
		_, err := cgroup2.NewManager(cgroupRoot, group, resources)
		if err == nil {
			return cgroupSupport{unified: true, group: group, parents: []string{dir}}
		}
		_ = os.Remove(dir)
		failure = reason(err)
		if parent == "/" || parent == "." {
			return noCgroups(failure)
		}
	}
}

func noCgroups(why string) cgroupSupport {
	return cgroupSupport{cpu: why, memory: why, freezer: why, pids: why}
}

func cgroup2Resources(memoryMB int, quota int64) *cgroup2.Resources {
	limit := int64(memoryMB) << 20
	return &cgroup2.Resources{
		CPU:    &cgroup2.CPU{Max: cgroup2CPU(quota)},
		Memory: &cgroup2.Memory{Max: &limit},
		Pids:   &cgroup2.Pids{Max: maxTasks},
	}
}

func cgroup2CPU(quota int64) cgroup2.CPUMax {
	period := uint64(cpuPeriod.Microseconds())
	if quota < 0 {
		return cgroup2.NewCPUMax(nil, &period)
	}
	return cgroup2.NewCPUMax(&quota, &period)
}

// cgroup2Limits are limits by control groups, version 2: CPU, processes and the
// freezer on the environment's group, memory on the two below it. The
// processes are in those, because a group that hands a controller down must
// not have any of its own.
type cgroup2Limits struct {
	group    *cgroup2.Manager
	dir      string
	shares   memoryShares
	memoryMB int
}

func newCgroup2Limits(s cgroupSupport, name string, memoryMB int) (l *cgroup2Limits, err error) {
	group := filepath.Join(s.group, name)
	dir := filepath.Join(cgroupRoot, group)
	l = &cgroup2Limits{dir: dir, memoryMB: memoryMB, shares: memoryShares{
		dir: dir, total: int64(memoryMB) << 20, usage: "memory.current", oom: "memory.events",
		cache: []string{"inactive_file", "active_file"}, groups: map[string]memoryGroup{},
	}}
	resources := cgroup2Resources(memoryMB, -1)
	resources.Memory.Max = nil
	if l.group, err = cgroup2.NewManager(cgroupRoot, group, resources); err != nil {
		return nil, fmt.Errorf("make control group %s: %w", name, err)
	}
	for _, role := range []string{roleRuntime, roleExtension} {
		share, err := cgroup2.NewManager(cgroupRoot, filepath.Join(group, role), cgroup2Memory(l.shares.total))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make control group %s of %s: %w", role, name, err), l.close())
		}
		// Not part of the resources, because a kernel without swap has no such file.
		_ = os.WriteFile(filepath.Join(dir, role, "memory.swap.max"), []byte("0"), 0)
		l.shares.groups[role] = memoryGroup{
			add:    func(pid int) error { return share.AddProc(uint64(pid)) },
			limit:  func(bytes int64) error { return share.Update(cgroup2Memory(bytes)) },
			delete: share.Delete,
		}
	}
	return l, nil
}

func cgroup2Memory(limit int64) *cgroup2.Resources {
	return &cgroup2.Resources{Memory: &cgroup2.Memory{Max: &limit}}
}

func (l *cgroup2Limits) add(pid int, role string) error { return l.shares.add(pid, role) }
func (l *cgroup2Limits) balance() error                 { return l.shares.balance() }

func (l *cgroup2Limits) throttle() error {
	return l.group.Update(&cgroup2.Resources{CPU: &cgroup2.CPU{Max: cgroup2CPU(cpuQuota(l.memoryMB).Microseconds())}})
}

// freeze waits until all processes are stopped, which the library does not.
func (l *cgroup2Limits) freeze() error {
	if err := l.group.Freeze(); err != nil {
		return err
	}
	for deadline := time.Now().Add(killPatience); readKey(filepath.Join(l.dir, "cgroup.events"), "frozen") == 0; {
		if time.Now().After(deadline) {
			return fmt.Errorf("control group %s does not freeze", l.dir)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil
}

func (l *cgroup2Limits) thaw() error   { return l.group.Thaw() }
func (l *cgroup2Limits) kill() error   { return errors.Join(l.thaw(), killAll(l.shares.dirs()...)) }
func (l *cgroup2Limits) oomKills() int { return l.shares.oomKills() }
func (l *cgroup2Limits) close() error  { return errors.Join(l.shares.close(), l.group.Delete()) }

func (l *cgroup2Limits) peakMemory() (int64, bool) {
	return readInt(filepath.Join(l.dir, "memory.peak"))
}

// killAll kills all processes of some groups until there are none. A process
// can start another between our reading and our killing, and there is no event
// to wait for in version 1, hence the repetition.
func killAll(dirs ...string) error {
	if len(dirs) == 0 {
		return nil
	}
	for deadline := time.Now().Add(killPatience); ; {
		pids, err := groupPIDs(dirs...)
		if err != nil || len(pids) == 0 {
			return nil // none, or the group itself is gone
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("control groups %s: processes %v cannot be killed", strings.Join(dirs, ", "), pids)
		}
		time.Sleep(time.Millisecond)
	}
}

func groupPIDs(dirs ...string) (pids []int, err error) {
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

func readInt(path string) (int64, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}

// readKey reads one value of a file of keys and values, 0 if it is not there.
func readKey(path, key string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), " "); name == key {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}
