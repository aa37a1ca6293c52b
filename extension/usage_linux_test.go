package extension

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// helper makes a copy of the test binary be a function's process: for each line
// on its standard input, which is a number of milliseconds, it uses about so
// much CPU time on one thread, and answers with what it used in nanoseconds.
const helperVariable = "THAW_TEST_BURN"

func init() {
	if os.Getenv(helperVariable) == "" {
		return
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		ms, _ := strconv.Atoi(lines.Text())
		before := cpuTime()
		for cpuTime()-before < time.Duration(ms)*time.Millisecond {
		}
		fmt.Println(int64(cpuTime() - before))
	}
	os.Exit(0)
}

type burner struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startBurner(t *testing.T, env ...string) *burner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &burner{t: t, cmd: exec.Command(self)}
	b.cmd.Env = append([]string{helperVariable + "=1", "GOMAXPROCS=1"}, env...)
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.out = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.end)
	b.burn(1) // it runs
	return b
}

// burn returns what it says that it used.
func (b *burner) burn(ms int) time.Duration {
	b.t.Helper()
	fmt.Fprintln(b.in, ms)
	line, err := b.out.ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return time.Duration(n)
}

func (b *burner) end() {
	b.in.Close()
	_ = b.cmd.Wait() // a second time says so
}

func testMeter(t *testing.T, api string) *meter {
	m := newMeter(func(name string) string {
		if name == "AWS_LAMBDA_RUNTIME_API" {
			return api
		}
		return ""
	})
	t.Cleanup(m.close)
	return m
}

// The meter sees the function's processes and no others: not those of another
// environment, not an extension, not ours.
func TestUsageOfRealProcesses(t *testing.T) {
	function := startBurner(t, "AWS_LAMBDA_RUNTIME_API=a", "_HANDLER=index.handler")
	child := startBurner(t, "AWS_LAMBDA_RUNTIME_API=a", "_HANDLER=index.handler")
	extension := startBurner(t, "AWS_LAMBDA_RUNTIME_API=a")
	neighbour := startBurner(t, "AWS_LAMBDA_RUNTIME_API=b", "_HANDLER=index.handler")
	m := testMeter(t, "a")
	// What the platform started is beside us; here it is below us.
	m.source.(*procSource).ppid = os.Getpid()
	m.lap()

	var errs []float64
	for range 9 {
		used := function.burn(20) + child.burn(5)
		extension.burn(10)
		neighbour.burn(10)
		u := m.lap()
		if !u.Knows(lifecycle.UsageCPU) || !u.Knows(lifecycle.UsageMemory) || u.PeakMemory < 1<<20 || u.Threads < 2 {
			t.Fatalf("%+v", u)
		}
		errs = append(errs, float64(u.CPU-used)/float64(used))
		if u.Knows(lifecycle.UsageRunDelay) && u.Busiest < 15*msec {
			t.Errorf("the busiest thread used %v of %v", u.Busiest, used)
		}
	}
	slices.Sort(errs)
	t.Logf("errors of the CPU time: %.4f", errs)
	if e := errs[len(errs)/2]; e < -0.02 || e > 0.05 {
		t.Errorf("median error of the CPU time: %.1f %%", 100*e)
	}

	function.end()
	if u := m.lap(); u.Knows(lifecycle.UsageCPU) {
		t.Errorf("the CPU time of a process that has ended is known: %+v", u)
	}
}

// A child that has ended counts, by the ticks of its parent.
func TestUsageOfEndedChildren(t *testing.T) {
	if got := endedChildren(os.Getpid()); got < 0 {
		t.Fatal(got)
	}
	before := endedChildren(os.Getpid())
	b := startBurner(t)
	b.burn(60)
	b.end()
	if got := endedChildren(os.Getpid()) - before; got < 40*msec || got > 400*msec {
		t.Errorf("a child that used 60 ms counts as %v", got)
	}
}

// While nothing is started, a reading opens no file, and none stays open when
// the meter is closed.
func TestUsageDescriptors(t *testing.T) {
	descriptors := func() int { return len(numbers("/proc/self/fd")) }
	before := descriptors()
	b := startBurner(t, "AWS_LAMBDA_RUNTIME_API=a", "_HANDLER=h")
	m := newMeter(func(string) string { return "a" })
	m.lap()
	held := descriptors()
	for range 100 {
		m.lap()
	}
	if got := descriptors(); got > held+4 { // threads may have been started
		t.Errorf("%d descriptors after 100 readings, %d after the first", got, held)
	}
	m.close()
	b.end()
	if got := descriptors(); got > before {
		t.Errorf("%d descriptors, %d before", got, before)
	}
}

func TestStatusField(t *testing.T) {
	status := []byte("Name:\tnode\nVmHWM:\t   12345 kB\nThreads:\t11\n")
	if n, ok := statusField(status, "VmHWM:"); !ok || n != 12345 {
		t.Error(n, ok)
	}
	if n, ok := statusField(status, "Threads:"); !ok || n != 11 {
		t.Error(n, ok)
	}
	if _, ok := statusField(status, "VmPeak:"); ok {
		t.Error("a field that is not there was found")
	}
}

func TestTraffic(t *testing.T) {
	dev := "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo: 1111       1    0    0    0     0          0         0  1111       1    0    0    0     0       0          0\n" +
		"vinternal_1:    700       5    0    0    0     0          0         0      300       4    0    0    0     0       0          0\n" +
		"  eth1: 50 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n"
	if received, sent := traffic([]byte(dev)); received != 750 || sent != 320 {
		t.Error(received, sent)
	}
}

// What one reading costs while nothing new is started, as in nearly every
// invocation.
func BenchmarkUsageReading(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{helperVariable + "=1", "AWS_LAMBDA_RUNTIME_API=a", "_HANDLER=h"}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	m := newMeter(func(string) string { return "a" })
	defer m.close()
	b.ReportAllocs()
	for b.Loop() {
		m.source.read()
	}
}

// TestBegunAt: when a process began, rounded down to a tick.
func TestBegunAt(t *testing.T) {
	before := time.Now()
	child := exec.Command("sleep", "10")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if got := begunAt(child.Process.Pid); got.Before(before.Add(-2*tick)) || got.After(after.Add(tick)) {
		t.Errorf("it began between %v and %v, not at %v", before, after, got)
	}
	if got := begunAt(1 << 30); !got.IsZero() {
		t.Errorf("a process that does not exist began at %v", got)
	}
}

// Files of /proc may be anything: the kernel of a sandbox need not be Linux's.
func FuzzProc(f *testing.F) {
	f.Add([]byte("Name:\tnode\nVmHWM:\t   12345 kB\nThreads:\t11\n"))
	f.Add([]byte("eth0: 1 2 3 4 5 6 7 8 9\n"))
	f.Add([]byte("A=b\x00_HANDLER=x\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		statusField(data, "VmHWM:")
		traffic(data)
		if value, ok := variable(data, "_HANDLER="); !ok && value != "" {
			t.Errorf("a variable that is not there is %q", value)
		}
		if n := number(data); len(data) < 18 && n < 0 {
			t.Errorf("%q is %d", data, n)
		}
	})
}
