//go:build linux

package emulator

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// subprocessVariable makes the test binary an emulator of its own; its value
// is the directory of a function.
const subprocessVariable = "THAW_TEST_EMULATOR"

// subprocessReport is what such an emulator prints once it has served.
type subprocessReport struct {
	Enforcement string
	Payload     string
	Dir         string
	Journal     string
	Groups      []string
	PIDs        []int
	Janitor     int
}

// runSubprocess is the main of an emulator in a process of its own. It serves
// one invocation and then waits until its standard input ends.
func runSubprocess(dir string) error {
	e := Emulator{WorkDir: os.Getenv("THAW_TEST_WORKDIR")}
	if err := e.Start(context.Background()); err != nil {
		return err
	}
	f := Function{Name: "f", Dir: filepath.Join(dir, "task"), MemoryMB: 256}
	if layer := filepath.Join(dir, "layer"); exists(layer) {
		f.Layers = []string{layer}
	}
	if err := e.AddFunction(f); err != nil {
		return err
	}
	result, err := e.Invoke(context.Background(), "f", "", []byte(os.Getenv("THAW_TEST_PAYLOAD")))
	if err != nil {
		return err
	}
	report := subprocessReport{
		Enforcement: e.Enforcement().String(), Payload: string(result.Payload), Dir: e.dir,
		Groups: e.host.cgroups.parents, Journal: e.host.janitor.path, Janitor: e.host.janitor.cmd.Process.Pid,
	}
	for _, entry := range entries(&e, KindProcessStart) {
		report.PIDs = append(report.PIDs, entry.PID)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return e.Close()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// subprocess is an emulator in a process of its own.
type subprocess struct {
	*exec.Cmd
	stdin  io.WriteCloser
	report subprocessReport
}

func startSubprocess(t *testing.T, payload string, attr *syscall.SysProcAttr) *subprocess {
	t.Helper()
	dir, err := os.MkdirTemp("", "thaw-emulator-subprocess-") // unlike TempDir, passable for others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	work := filepath.Join(dir, "work")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(work, 0o755)); err != nil {
		t.Fatal(err)
	}
	if attr != nil {
		if err := os.Chown(work, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	install(t, "bootstrap", filepath.Join(dir, "task"), "bootstrap")
	install(t, "extension", filepath.Join(dir, "layer", "extensions"), "x")
	binary := filepath.Join(dir, "emulator.test") // where an ordinary user can execute it
	if err := copyFile(binary, "/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
	s := &subprocess{Cmd: exec.Command(binary)}
	s.Env = append(os.Environ(), subprocessVariable+"="+dir, "THAW_TEST_WORKDIR="+work, "THAW_TEST_PAYLOAD="+payload, "TMPDIR="+work)
	s.SysProcAttr, s.Stderr = attr, os.Stderr
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.stdin, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if err := json.Unmarshal([]byte(line), &s.report); err != nil {
		_ = s.Process.Kill()
		_ = s.Wait()
		t.Fatalf("subprocess says %q: %v", line, err)
	}
	return s
}

// kill is kill -9.
func (s *subprocess) kill() {
	_ = s.Process.Kill()
	_ = s.Wait()
}

// awaitEnd waits for a process that is not our child.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for { // readable when it has ended
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}

// assertGone checks that nothing of a subprocess's emulator remains.
func (s *subprocess) assertGone(t *testing.T) {
	t.Helper()
	for _, pid := range s.report.PIDs {
		if alive(pid) {
			t.Errorf("process %d remains", pid)
		}
	}
	for _, path := range append(s.report.Groups, s.report.Dir, s.report.Journal) {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s remains: %v", path, err)
		}
	}
}

func TestKilledEmulatorLeavesNothing(t *testing.T) {
	for _, payload := range []string{`{}`, `{"do":"child"}`} {
		s := startSubprocess(t, payload, nil)
		if len(s.report.PIDs) != 2 {
			t.Fatalf("report %+v", s.report)
		}
		var child int
		if _, err := fmt.Sscan(s.report.Payload, &child); err == nil && len(s.report.Groups) > 0 {
			s.report.PIDs = append(s.report.PIDs, child)
		}
		s.kill()
		awaitEnd(t, s.report.Janitor)
		s.assertGone(t)
	}
}

// TestSweep: when the janitor was killed too, the next emulator cleans up. One
// that lives is left alone.
func TestSweep(t *testing.T) {
	dead, living := startSubprocess(t, `{}`, nil), startSubprocess(t, `{}`, nil)
	if err := syscall.Kill(dead.report.Janitor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, dead.report.Janitor)
	dead.kill()
	sweep(filepath.Dir(dead.report.Journal))
	sweep(filepath.Dir(living.report.Journal))
	dead.assertGone(t)
	for _, pid := range living.report.PIDs {
		if !alive(pid) {
			t.Errorf("process %d of another emulator is gone", pid)
		}
	}
	_ = living.stdin.Close()
	if err := living.Wait(); err != nil {
		t.Error(err)
	}
	living.assertGone(t)
}

// TestOrdinaryUser: without root there are user namespaces, or at least the
// function runs.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: needs root to become someone else")
	}
	const nobody = 65534
	s := startSubprocess(t, `{"do":"facts","paths":{"hosts":"/etc/hosts"}}`, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	t.Logf("enforcement:\n%s", s.report.Enforcement)
	var got observed
	if err := json.Unmarshal([]byte(s.report.Payload), &got); err != nil {
		t.Fatalf("%v: %s", err, s.report.Payload)
	}
	if got.UID != nobody {
		t.Errorf("uid %d", got.UID)
	}
	if strings.Contains(s.report.Enforcement, "user, mount") && (got.Dir != "/var/task" || !got.CanWriteTmp || got.CanWriteTask || !strings.Contains(got.Files["hosts"], "sandbox")) {
		t.Errorf("sandbox by user namespace: %+v", got)
	}
	s.kill()
	awaitEnd(t, s.report.Janitor)
	s.assertGone(t)
}

// TestNoNamespaces: as where the kernel permits none.
func TestNoNamespaces(t *testing.T) {
	var e Emulator
	f := testFunction(t, "x")
	start(t, &e)
	e.host.kind = sandboxNone
	if err := e.AddFunction(f); err != nil {
		t.Fatal(err)
	}
	got := facts(t, &e)
	if got.Dir != f.Dir {
		t.Errorf("directory %s, want %s", got.Dir, f.Dir)
	}
	for _, variable := range got.Env {
		if dir, ok := strings.CutPrefix(variable, "TMPDIR="); ok && strings.HasPrefix(dir, e.dir) {
			return
		}
	}
	t.Errorf("no TMPDIR in %q", got.Env)
}
