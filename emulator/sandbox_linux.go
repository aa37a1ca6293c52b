package emulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names under which this binary executes itself.
const (
	sandboxName = "thaw-sandbox-init"
	janitorName = "thaw-janitor"
)

// File descriptors of the sandbox helper.
const (
	specFD   = 3 // its sandboxSpec, then one byte that means: execute
	statusFD = 4 // "ready", then nothing, or why it could not execute
)

const statusReady = "ready\n"

// init is the one place of this package that runs by itself. A mount namespace
// and dropped privileges are properties of a process, so a process has to be
// there before the function's program; the only program that is certainly at
// hand is this very binary, whichever it is: thaw, a test, a user's own. It
// has to be caught before its main.
func init() {
	switch os.Args[0] {
	case sandboxName:
		runtime.LockOSThread() // some of what follows applies to this thread only
		fmt.Fprint(os.NewFile(statusFD, "status"), runSandbox())
		syscall.Exit(1) // not os.Exit: under the race detector that takes a second
	case janitorName:
		runJanitor()
		syscall.Exit(0)
	}
}

// sandboxSpec tells the helper what to set up and to execute.
type sandboxSpec struct {
	Root  string // an empty directory to build the root file system in; "" keeps the host's
	Opt   string // what becomes /opt; may be empty
	Task  string // /var/task
	Tmp   string // /tmp
	Hosts string // /etc/hosts

	UID int // 0 stays who we are; the group has the same number

	Argv, Env []string
	Dir       string
	OOMScore  int
	CPUs      int // how many to see
	Files     uint64
}

// runSandbox executes the program and so does not return, or says why not.
func runSandbox() error {
	unix.CloseOnExec(specFD)
	unix.CloseOnExec(statusFD)
	in := bufio.NewReader(os.NewFile(specFD, "spec"))
	status := os.NewFile(statusFD, "status")
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	var spec sandboxSpec
	if err := json.Unmarshal(line, &spec); err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	if err := spec.setUp(); err != nil {
		return err
	}
	if _, err := status.WriteString(statusReady); err != nil {
		return err
	}
	if _, err := in.ReadByte(); err != nil {
		return errors.New("abandoned")
	}
	return spec.execute()
}

func (s *sandboxSpec) setUp() error {
	s.limit()
	if s.Root != "" {
		if err := s.buildRoot(); err != nil {
			return fmt.Errorf("build root file system: %w", err)
		}
	}
	if err := s.dropPrivileges(); err != nil {
		return fmt.Errorf("drop privileges: %w", err)
	}
	if err := os.Chdir(s.Dir); err != nil {
		return fmt.Errorf("enter working directory: %w", err)
	}
	return nil
}

// limit sets what a process may have by itself. All of it is best effort: it
// makes the environment more like Lambda's, but nothing depends on it.
func (s *sandboxSpec) limit() {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(s.OOMScore)), 0)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: s.Files, Max: s.Files})
	var have, want unix.CPUSet
	if unix.SchedGetaffinity(0, &have) != nil {
		return
	}
	for cpu := 0; want.Count() < min(s.CPUs, have.Count()); cpu++ {
		if have.IsSet(cpu) {
			want.Set(cpu)
		}
	}
	_ = unix.SchedSetaffinity(0, &want)
}

// buildRoot makes a root file system of its own: the host's, read-only, with
// Lambda's /opt, /tmp, /var/task and /etc/hosts. It is built from mounts in a
// tmpfs rather than over the host's directories, because those need not exist.
func (s *sandboxSpec) buildRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", s.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := s.mirror("/", "tmp", "opt", "var"); err != nil {
		return err
	}
	if err := s.mirror("/var", "task"); err != nil {
		return err
	}
	if err := s.bind(s.Task, "/var/task"); err != nil {
		return err
	}
	if err := s.bind(s.Opt, "/opt"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.Root, "etc/hosts")); err == nil {
		if err := s.bind(s.Hosts, "/etc/hosts"); err != nil {
			return err
		}
	}
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, s.Root, unix.AT_RECURSIVE, readOnly); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("make read-only: %w", err)
	}
	if err := s.bind(s.Tmp, "/tmp"); err != nil {
		return err
	}
	return s.enterRoot()
}

// mirror makes every entry of the host's dir appear in the new root.
func (s *sandboxSpec) mirror(dir string, except ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range append(except, "") {
		if err := os.MkdirAll(filepath.Join(s.Root, dir, name), 0o755); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		if slices.Contains(except, entry.Name()) {
			continue
		}
		if err := s.mirrorEntry(filepath.Join(dir, entry.Name()), entry); err != nil {
			return err
		}
	}
	return nil
}

func (s *sandboxSpec) mirrorEntry(path string, entry os.DirEntry) error {
	target := filepath.Join(s.Root, path)
	if entry.Type()&os.ModeSymlink != 0 {
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(link, target)
	}
	if entry.IsDir() {
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
	} else if err := os.WriteFile(target, nil, 0o644); err != nil {
		return err
	}
	if path == "/sys" {
		// Without what is mounted below it: control groups stay out of sight,
		// or runtimes would size their thread pools by our limits.
		if unix.Mount(path, target, "", unix.MS_BIND, "") == nil {
			return nil
		}
	}
	return s.bind(path, path)
}

// bind mounts source at target in the new root. An empty source is nothing.
func (s *sandboxSpec) bind(source, target string) error {
	if source == "" {
		return nil
	}
	if err := unix.Mount(source, filepath.Join(s.Root, target), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	return nil
}

// enterRoot makes the new root the root, and the old one disappear.
func (s *sandboxSpec) enterRoot() error {
	if err := os.Chdir(s.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount old root: %w", err)
	}
	return os.Chdir("/")
}

func (s *sandboxSpec) dropPrivileges() error {
	if s.UID != 0 {
		// These of package syscall apply to all threads.
		if err := syscall.Setgroups(nil); err != nil {
			return err
		}
		if err := syscall.Setgid(s.UID); err != nil {
			return err
		}
		if err := syscall.Setuid(s.UID); err != nil {
			return err
		}
	}
	// In a user namespace we have a capability to mount; it ends here.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// execute becomes the program. Its error is the bare reason of the system.
func (s *sandboxSpec) execute() error {
	return unix.Exec(s.lookUp(s.Argv[0]), s.Argv, s.Env)
}

// lookUp finds a bare name in the program's own PATH.
func (s *sandboxSpec) lookUp(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, variable := range s.Env {
		path, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			candidate := filepath.Join(dir, name)
			if unix.Access(candidate, unix.X_OK) == nil {
				return candidate
			}
		}
	}
	return name
}
