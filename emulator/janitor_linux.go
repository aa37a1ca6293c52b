package emulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// janitorFD is the janitor's end of the pipe that closes with the emulator.
const janitorFD = 3

// journalEntry is a line of a journal: what an emulator made, and what has to
// be undone when it is gone. The first line names the owner.
type journalEntry struct {
	Owner  int    `json:"owner,omitempty"`  // the emulator's pid
	Dir    string `json:"dir,omitempty"`    // a directory to remove
	Cgroup string `json:"cgroup,omitempty"` // a control group to kill and remove
	Group  int    `json:"group,omitempty"`  // a process group to kill
	// Start is when the owner's or the group's process began, in the kernel's
	// ticks: a pid alone can belong to someone else meanwhile.
	Start uint64 `json:"start,omitempty"`
}

// janitor is the process that cleans up after us, whatever becomes of us.
type janitor struct {
	cmd  *exec.Cmd
	pipe *os.File
	path string // of the journal

	mu      sync.Mutex
	journal *os.File
}

// startJanitor writes the first lines of a journal and starts the janitor over
// it, after cleaning up what emulators left whose janitor died too.
func startJanitor(name, dir string) (*janitor, error) {
	state, err := stateDir()
	if err != nil {
		return nil, fmt.Errorf("emulator: state directory: %w", err)
	}
	sweep(state)
	j := &janitor{path: filepath.Join(state, name+".journal")}
	if j.journal, err = os.OpenFile(j.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, fmt.Errorf("emulator: journal: %w", err)
	}
	j.note(journalEntry{Owner: os.Getpid(), Start: startTime(os.Getpid())})
	j.note(journalEntry{Dir: dir})
	if err := j.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("emulator: start janitor: %w", err), os.Remove(j.path))
	}
	return j, nil
}

func (j *janitor) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	j.pipe = w
	j.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{janitorName, j.path}, Env: []string{},
		ExtraFiles: []*os.File{r},
		// A session of its own, so that Ctrl-C is not for the janitor.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = j.cmd.Start()
	return errors.Join(err, r.Close())
}

// note adds to the journal. It is best effort: the emulator cleans up by
// itself, too.
func (j *janitor) note(entry journalEntry) {
	line, err := json.Marshal(entry)
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.journal.Write(append(line, '\n'))
}

func (j *janitor) noteGroup(pid int) { j.note(journalEntry{Group: pid, Start: startTime(pid)}) }

// close tells the janitor that we are done, and waits until it is.
func (j *janitor) close() error {
	_ = j.journal.Close()
	if err := errors.Join(j.pipe.Close(), j.cmd.Wait()); err != nil {
		return fmt.Errorf("emulator: janitor: %w", err)
	}
	return nil
}

// runJanitor is the janitor's main.
func runJanitor() {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	_, _ = io.Copy(io.Discard, os.NewFile(janitorFD, "emulator")) // ends with the emulator
	if len(os.Args) == 2 {
		cleanUp(os.Args[1])
	}
}

// stateDir is where the journals of all emulators of this user are. It must
// belong to us alone: what a journal names is killed and removed.
func stateDir() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("thaw-emulators-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is not a directory of ours alone", dir)
	}
	return dir, nil
}

// sweep cleans up after emulators that are dead.
func sweep(state string) {
	journals, _ := filepath.Glob(filepath.Join(state, "*.journal"))
	for _, path := range journals {
		entries, err := readJournal(path)
		if err != nil || len(entries) == 0 {
			continue
		}
		if owner := entries[0]; owner.Owner != 0 && startTime(owner.Owner) != owner.Start {
			cleanUp(path)
		}
	}
}

func readJournal(path string) (entries []journalEntry, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		var entry journalEntry
		if json.Unmarshal([]byte(line), &entry) == nil { // the last one may be cut off
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// cleanUp undoes all that a journal names, and removes it. The lock keeps a
// janitor and a sweep apart; whoever comes second finds nothing to do.
func cleanUp(path string) {
	lock, err := os.Open(path)
	if err != nil {
		return
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX) != nil {
		return
	}
	entries, err := readJournal(path)
	if err != nil {
		return
	}
	for _, entry := range entries { // all of them first: a frozen process does not die
		thawGroup(entry.Cgroup)
	}
	for _, entry := range entries {
		switch {
		case entry.Cgroup != "":
			removeGroup(entry.Cgroup)
		case entry.Group != 0 && startTime(entry.Group) == entry.Start:
			killGroup(entry.Group)
		}
	}
	for _, entry := range entries {
		if entry.Dir != "" {
			_ = os.RemoveAll(entry.Dir)
		}
	}
	_ = os.Remove(path)
}

// killGroup kills a process group and waits for the end of its leader.
func killGroup(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is gone
	}
	defer unix.Close(fd)
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(killPatience); ; {
		_, err := unix.Poll(ended, int(max(0, time.Until(deadline).Milliseconds())))
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// thawGroup thaws a control group and those below it, in either version.
func thawGroup(dir string) {
	for _, child := range subgroups(dir) {
		thawGroup(child)
	}
	for file, value := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
		if f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteString(value)
			_ = f.Close()
		}
	}
}

// removeGroup kills and removes a control group and those below it.
func removeGroup(dir string) {
	for _, child := range subgroups(dir) {
		removeGroup(child)
	}
	_ = killAll(dir)
	_ = os.Remove(dir)
}

func subgroups(dir string) (dirs []string) {
	if dir == "" {
		return nil
	}
	entries, _ := os.ReadDir(dir) // none, if it is gone
	for _, entry := range entries {
		if entry.IsDir() {
			dirs = append(dirs, filepath.Join(dir, entry.Name()))
		}
	}
	return dirs
}

// startTime is when a process began, in ticks since boot; 0 if there is none.
func startTime(pid int) uint64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	// The name, in parentheses, may contain anything; the fields after it not.
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	const startTimeField = 22 - 3 // counting from the state, the third
	if len(fields) <= startTimeField {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[startTimeField], 10, 64)
	return ticks
}
