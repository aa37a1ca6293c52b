package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/report"
)

func eventOf(t *testing.T, name string) string {
	t.Helper()
	ex, ok := examples.Find(name)
	if !ok {
		t.Fatalf("there is no example %s", name)
	}
	return string(ex.Event)
}

// demo runs `thaw demo` with results in a new folder. It returns that folder,
// what it printed and how it ended.
func demo(t *testing.T, prepare func(*exec.Cmd), args ...string) (out, stdout, stderr string, err error) {
	t.Helper()
	out = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin(t, "thaw"), append([]string{"demo", "--out", out}, args...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if prepare != nil {
		prepare(cmd)
	}
	err = cmd.Run()
	return out, o.String(), e.String(), err
}

// The whole demo, as a user runs it: it ends well, its report agrees with its
// ledger, the curves are those that Lambda would show, and nothing is left.
func TestDemo(t *testing.T) {
	out, stdout, stderr, err := demo(t, nil)
	if err != nil {
		t.Fatalf("thaw demo: %v\n%s%s", err, stdout, stderr)
	}
	noneLeft(t)
	rep := readReport(t, out)
	agree(t, rep, readLedger(t, out))
	if strings.Contains(stderr, "skipped:") {
		t.Errorf("the demo skipped something:\n%s", stderr)
	}
	for _, want := range []string{"agrees with the local Lambda's ledger", "thumbnail", "checkout"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the summary does not say %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stderr, "cpu         not enforced") {
		t.Skipf("CPU limits are not enforced on this machine, so there is no curve to check:\n%s", stderr)
	}
	curves(t, rep)
}

// curves checks what is physics: CPU-bound work takes 1/m of the time up to one
// vCPU and no less above it; a wait does not care.
func curves(t *testing.T, rep *report.Report) {
	warm := func(name string, mb int64) float64 {
		for _, f := range rep.Functions {
			for _, p := range f.MemoryCurve {
				if f.Name == name && p.MemoryMB == mb && p.WarmDurationMS.P50 != nil {
					return *p.WarmDurationMS.P50
				}
			}
		}
		t.Errorf("no warm p50 of %s at %d MB", name, mb)
		return 1
	}
	for _, c := range []struct {
		name      string
		from, to  int64
		low, high float64
	}{
		{"thumbnail", 128, 256, 1.6, 2.4},
		{"thumbnail", 256, 512, 1.6, 2.4},
		{"thumbnail", 512, 1024, 1.5, 2.5},
		{"thumbnail", 1024, 1769, 1.25, 2.3},
		{"thumbnail", 1769, 3008, 0.7, 1.4},
		{"checkout", 256, 1024, 0.7, 1.5},
	} {
		ratio := warm(c.name, c.from) / warm(c.name, c.to)
		t.Logf("%s: %d MB takes %.2f times as long as %d MB", c.name, c.from, ratio, c.to)
		if ratio < c.low || ratio > c.high {
			t.Errorf("%s: %d MB takes %.2f times as long as %d MB, expected %.2f to %.2f", c.name, c.from, ratio, c.to, c.low, c.high)
		}
	}
	for _, f := range rep.Functions {
		size := f.Recommendation.MemoryMB
		t.Logf("%s: recommended %v: %s", f.Name, deref(size), f.Recommendation.Reason)
		switch {
		case f.Name == "checkout" && (size == nil || *size > 256):
			t.Errorf("a function that waits is recommended %v MB: %s", deref(size), f.Recommendation.Reason)
		case f.Name == "thumbnail" && size != nil && *size > 1769:
			t.Errorf("a function with one thread is recommended %d MB: %s", *size, f.Recommendation.Reason)
		}
	}
}

func deref(v *int64) any {
	if v == nil {
		return "none"
	}
	return *v
}

// Two at once, one of them as an ordinary user. Neither disturbs the other.
func TestTwoDemosSideBySideOneAsOrdinaryUser(t *testing.T) {
	home := t.TempDir()
	var wg sync.WaitGroup
	for name, prepare := range map[string]func(*exec.Cmd){
		"as ourselves":     nil,
		"as ordinary user": func(cmd *exec.Cmd) { asOrdinaryUser(t, cmd, home) },
	} {
		wg.Go(func() {
			out, stdout, stderr, err := demo(t, prepare, "--quick")
			if err != nil {
				t.Errorf("%s: %v\n%s%s", name, err, stdout, stderr)
				return
			}
			t.Logf("%s:\n%s", name, stderr)
			agree(t, readReport(t, out), readLedger(t, out))
		})
	}
	wg.Wait()
	noneLeft(t)
}

// asOrdinaryUser makes cmd run as nobody, where we may decide that.
func asOrdinaryUser(t *testing.T, cmd *exec.Cmd, home string) {
	if os.Getuid() != 0 {
		return
	}
	// The binaries may lie where only root can go.
	copied := filepath.Join(home, "bin")
	if err := os.CopyFS(copied, os.DirFS(filepath.Dir(cmd.Path))); err != nil {
		t.Error(err)
	}
	const nobody = 65534
	folders := []string{home, cmd.Args[3]}
	for _, dir := range folders {
		for parent := dir; parent != "/" && parent != os.TempDir(); parent = filepath.Dir(parent) {
			if err := os.Chmod(parent, 0o755); err != nil {
				t.Error(err)
			}
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Error(err)
		}
	}
	cmd.Path = filepath.Join(copied, "thaw")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// Ctrl-C in the middle ends it soon, with a failure, and leaves nothing.
func TestDemoInterrupted(t *testing.T) {
	cmd := exec.Command(bin(t, "thaw"), "demo", "--quick", "--out", t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "invocations,") {
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted demo ended with success")
	}
	noneLeft(t)
}

// noneLeft fails the test if a process of a local Lambda or a collector of ours
// is still there.
func noneLeft(t *testing.T) {
	t.Helper()
	var left []string
	deadline := time.Now().Add(5 * time.Second)
	for {
		left = leftovers()
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, process := range left {
		t.Errorf("still running: %s", process)
	}
}

func leftovers() []string {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var left []string
	for _, dir := range dirs {
		if pid, _ := strconv.Atoi(filepath.Base(dir)); pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.Contains(environ, []byte("AWS_LAMBDA_RUNTIME_API=")) || bytes.Contains(environ, []byte("THAW_DATA_DIR=")) {
			cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			left = append(left, filepath.Base(dir)+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return left
}

func readReport(t *testing.T, dir string) *report.Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rep report.Report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"report.html", "report.md"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 1000 {
			t.Errorf("%s is missing or empty: %v", name, err)
		}
	}
	return &rep
}

// readLedger sums up a ledger file by itself, not by the code that wrote it.
func readLedger(t *testing.T, dir string) []emulator.Totals {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type key struct {
		name     string
		memoryMB int
	}
	sums := map[key]*emulator.Totals{}
	for dec := json.NewDecoder(f); dec.More(); {
		var e emulator.Entry
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != emulator.KindInvocationEnd {
			continue
		}
		k := key{e.Function, e.MemoryMB}
		if sums[k] == nil {
			sums[k] = &emulator.Totals{Function: e.Function, MemoryMB: e.MemoryMB}
		}
		sum := sums[k]
		sum.Invocations++
		sum.DurationsMs = append(sum.DurationsMs, e.DurationMs)
		if e.Cold {
			sum.ColdStarts++
		}
		switch e.Status {
		case "error", "failure":
			sum.Errors++
		case "timeout":
			sum.Timeouts++
		}
	}
	var out []emulator.Totals
	for _, sum := range sums {
		out = append(out, *sum)
	}
	return out
}
