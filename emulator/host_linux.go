package emulator

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstUID is the user of the first environment; each has its own.
const (
	firstUID = 61000
	countUID = 4000
	openMax  = 1024 // Lambda's limit of file descriptors
)

// sandboxKind is how much of a sandbox the kernel lets us build.
type sandboxKind int

const (
	sandboxNone  sandboxKind = iota // the host's file system, the same user
	sandboxUser                     // user and mount namespaces, the same user
	sandboxMount                    // a mount namespace, made by root, and another user
)

// host is what this machine can do, and what the emulator holds of it.
type host struct {
	enforcement Enforcement
	kind        sandboxKind
	sameUser    bool
	cgroups     cgroupSupport
	name        string // unique among all emulators
	dir         string
	janitor     *janitor
}

// newHost finds out what works by doing it.
func newHost(ctx context.Context, e *Emulator) (*host, error) {
	h := &host{dir: e.dir, name: filepath.Base(e.dir), sameUser: e.SameUser}
	var err error
	if h.janitor, err = startJanitor(h.name, e.dir); err != nil {
		return nil, err
	}
	h.cgroups = probeCgroups(h.name)
	if e.Unrestricted {
		h.cgroups.cpu, h.cgroups.memory = "switched off by the user", "switched off by the user"
	}
	for _, dir := range h.cgroups.parents {
		h.janitor.note(journalEntry{Cgroup: dir})
	}
	why, err := h.probeSandbox(ctx)
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	h.enforcement = h.describe(why)
	return h, nil
}

// probeSandbox settles on the strongest sandbox that can be built, and returns
// what was wrong with the others.
func (h *host) probeSandbox(ctx context.Context) (why string, err error) {
	kinds := []sandboxKind{sandboxUser, sandboxNone}
	if os.Geteuid() == 0 {
		kinds = []sandboxKind{sandboxMount, sandboxNone}
	}
	for _, h.kind = range kinds {
		if err = h.trySandbox(ctx); err == nil {
			return why, nil
		}
		why = reason(err)
	}
	return why, fmt.Errorf("emulator: start sandbox helper: %w", err)
}

// trySandbox builds a sandbox and abandons it before anything is executed.
func (h *host) trySandbox(ctx context.Context) error {
	dir := filepath.Join(h.dir, "probe")
	if err := errors.Join(os.MkdirAll(dir, 0o755), h.makeRoot(dir)); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	spec := h.sandboxSpec(dir, firstUID, dir, minMemoryMB)
	spec.Tmp, spec.Dir = dir, "/"
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	l, err := h.startHelper(spec, null)
	if err != nil {
		return err
	}
	l.abandon()
	return ctx.Err()
}

func (h *host) describe(why string) Enforcement {
	e := Enforcement{CPUs: runtime.NumCPU(), Kernel: kernelRelease()}
	e.CPU, e.CPUEnforced = enforced(h.cgroups.cpu, "cgroup v1 cpu.cfs_quota_us", "cgroup v2 cpu.max", h.cgroups.unified)
	e.Memory, e.MemoryEnforced = enforced(h.cgroups.memory, "cgroup v1 memory.limit_in_bytes", "cgroup v2 memory.max", h.cgroups.unified)
	e.Freeze, _ = enforced(h.cgroups.freezer, "cgroup v1 freezer", "cgroup v2 cgroup.freeze", h.cgroups.unified)
	if h.cgroups.freezer != "" {
		e.Freeze = "SIGSTOP of process groups (no cgroup freezer: " + h.cgroups.freezer + ")"
	}
	e.User, e.Namespaces = "same user (not root)", "none: "+why
	switch h.kind {
	case sandboxMount:
		e.Namespaces = "mount"
		e.User = fmt.Sprintf("uid %d and up", firstUID)
		if h.sameUser {
			e.User = "same user (as configured)"
		}
	case sandboxUser:
		e.Namespaces = "user, mount"
	case sandboxNone:
		if os.Geteuid() == 0 {
			e.User = "same user (no mount namespace: " + why + ")"
		}
	}
	return e
}

func enforced(missing, v1, v2 string, unified bool) (string, bool) {
	switch {
	case missing != "":
		return "not enforced: " + missing, false
	case unified:
		return v2, true
	default:
		return v1, true
	}
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "unknown"
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}

// otherUser reports whether functions run as a user that is not us.
func (h *host) otherUser() bool { return h.kind == sandboxMount && !h.sameUser }

// isolated reports whether functions see Lambda's paths.
func (h *host) isolated() bool { return h.kind != sandboxNone }

// close lets the janitor remove what is left, and waits for it.
func (h *host) close() error { return h.janitor.close() }

// makeRoot makes what the helper needs in an environment's directory.
func (h *host) makeRoot(dir string) error {
	hosts := "127.0.0.1 localhost sandbox sandbox.localdomain\n::1 localhost\n"
	return errors.Join(
		os.MkdirAll(filepath.Join(dir, "root"), 0o755),
		os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644),
	)
}

// paths says where an environment's processes find their files.
func (h *host) paths(f *function, tmp string) files {
	if !h.isolated() {
		return files{task: f.taskDir, opt: f.optDir, tmp: tmp, hostOpt: f.optDir}
	}
	return files{task: "/var/task", opt: "/opt", tmp: "/tmp", hostOpt: f.optDir}
}

// translateCommand turns the host's paths in a command into those that the
// function will see, and finds bare names.
func (h *host) translateCommand(f *Function) error {
	if len(f.Command) == 0 {
		return nil
	}
	f.Command[0] = lookPath(f.Command[0])
	if !h.isolated() {
		return nil
	}
	for i, arg := range f.Command {
		if rel, ok := strings.CutPrefix(arg, f.Dir+"/"); ok {
			f.Command[i] = "/var/task/" + rel
		}
		for _, layer := range f.Layers {
			if rel, ok := strings.CutPrefix(arg, layer+"/"); ok {
				f.Command[i] = "/opt/" + rel
			}
		}
	}
	for _, hidden := range []string{"/tmp/"} {
		if strings.HasPrefix(f.Command[0], hidden) {
			return fmt.Errorf("command %s is not below the task root %s, and the function cannot see the host's %s", f.Command[0], f.Dir, hidden)
		}
	}
	return nil
}

func (h *host) sandboxSpec(dir string, uid int, task string, memoryMB int) sandboxSpec {
	spec := sandboxSpec{CPUs: visibleCPUs(memoryMB), Files: openMax}
	if h.otherUser() {
		spec.UID = uid
	}
	if h.isolated() {
		spec.Root, spec.Hosts = filepath.Join(dir, "root"), filepath.Join(dir, "hosts")
		spec.Task, spec.Tmp = task, filepath.Join(dir, "tmp")
	}
	return spec
}

// launch prepares a process of env in its sandbox and under its limits.
func (h *host) launch(env *environment, p processSpec, out *os.File) (launch, error) {
	spec := h.sandboxSpec(env.dir, firstUID+env.seq%countUID, env.fn.taskDir, env.fn.MemoryMB)
	spec.Argv, spec.Env, spec.Dir, spec.OOMScore = p.argv, p.vars.list(), p.dir, p.oomScore
	if h.isolated() {
		spec.Opt = env.fn.optDir
	}
	l, err := h.startHelper(spec, out)
	if err != nil {
		return launch{}, err
	}
	h.janitor.noteGroup(l.cmd.Process.Pid)
	if err := env.limits.add(l.cmd.Process.Pid, p.role); err != nil {
		l.abandon()
		return launch{}, err
	}
	return l, nil
}

// startHelper starts the sandbox helper and waits until all is set up.
func (h *host) startHelper(spec sandboxSpec, out *os.File) (launch, error) {
	specR, specW, err := os.Pipe()
	if err != nil {
		return launch{}, err
	}
	statusR, statusW, err := os.Pipe()
	if err != nil {
		return launch{}, errors.Join(err, specR.Close(), specW.Close())
	}
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{sandboxName},
		Env:    []string{"GOMAXPROCS=1", "GOGC=off"}, // fewer threads to end when it executes
		Stdout: out, Stderr: out, ExtraFiles: []*os.File{specR, statusW},
		SysProcAttr: h.attributes(),
	}
	err = cmd.Start()
	_ = specR.Close()
	_ = statusW.Close()
	if err != nil {
		return launch{}, errors.Join(err, specW.Close(), statusR.Close())
	}
	status := bufio.NewReader(statusR)
	l := launch{
		cmd: cmd,
		execute: func() error {
			defer statusR.Close()
			return executeHelper(specW, status)
		},
		abandon: func() {
			_ = specW.Close()
			_ = statusR.Close()
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		},
	}
	if err := awaitReady(spec, specW, status); err != nil {
		l.abandon()
		return launch{}, err
	}
	return l, nil
}

// awaitReady hands the specification over and waits for the set-up.
func awaitReady(spec sandboxSpec, w io.Writer, status *bufio.Reader) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("hand over specification: %w", err)
	}
	answer, err := status.ReadString('\n')
	if answer == statusReady {
		return nil
	}
	if answer == "" && err != nil {
		return fmt.Errorf("sandbox helper died: %w", err)
	}
	return errors.New(answer)
}

// executeHelper says the word. The status pipe closes when the program has
// taken the helper's place.
func executeHelper(specW io.WriteCloser, status io.Reader) error {
	_, err := specW.Write([]byte{1})
	if err = errors.Join(err, specW.Close()); err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	answer, err := io.ReadAll(status)
	if err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	if len(answer) > 0 {
		return &launchError{text: string(answer)}
	}
	return nil
}

// attributes of the helper: its own process group, and namespaces.
func (h *host) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	switch h.kind {
	case sandboxNone:
	case sandboxMount:
		attr.Cloneflags = syscall.CLONE_NEWNS
	case sandboxUser:
		attr.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER
		// The same numbers inside as outside; so the capability to mount has
		// to be kept over the execution of the helper explicitly.
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	return attr
}

// newLimits makes the limits of one environment.
func (h *host) newLimits(env *environment) (limits, error) {
	signals := signalLimits{peak: peakOfGroups, stopped: stopped}
	name := fmt.Sprintf("environment-%d", env.seq)
	s := h.cgroups
	switch {
	case s.cpu != "" && s.memory != "" && s.freezer != "" && s.pids != "":
		return &signals, nil
	case s.unified:
		return newCgroup2Limits(s, name, env.fn.MemoryMB)
	default:
		l, err := newCgroup1Limits(s, h.name, name, env.fn.MemoryMB)
		if err != nil {
			return nil, err
		}
		l.peak, l.stopped = signals.peak, signals.stopped
		return l, nil
	}
}

// peakOfGroups sums the resident peaks of all processes that lead a group. It
// misses children of theirs, and counts memory that they share twice.
func peakOfGroups(groups []int) (sum int64, ok bool) {
	for _, pid := range groups {
		kb := readStatus(pid, "VmHWM")
		sum += kb << 10
		ok = ok || kb > 0
	}
	return sum, ok
}

// stopped reports whether a process does not run: stopped, ended or gone.
func stopped(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	state := bytes.TrimSpace(data[bytes.LastIndexByte(data, ')')+1:])
	return len(state) > 0 && bytes.IndexByte([]byte("TtZX"), state[0]) >= 0
}

// readStatus reads a size in kB from /proc/pid/status, 0 if it is not there.
func readStatus(pid int, field string) (kb int64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			_, _ = fmt.Sscanf(strings.TrimSpace(value), "%d kB", &kb)
			return kb
		}
	}
	return 0
}
