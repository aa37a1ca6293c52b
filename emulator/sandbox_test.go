//go:build linux

package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// observed is what the test function sees of its environment.
type observed struct {
	Env                                                 []string
	UID, PID, CPUs                                      int
	Dir                                                 string
	Files                                               map[string]string
	CanWriteTask, CanWriteOpt, CanWriteTmp, CanWriteEtc bool
}

func facts(t *testing.T, e *Emulator) observed {
	t.Helper()
	payload := invoke(t, e, `{"do":"facts","paths":{"hosts":"/etc/hosts","layer":"/opt/layer.txt","task":"/var/task/task.txt",
		"groups":"/proc/self/mountinfo","files":"/proc/self/limits","status":"/proc/self/status"}}`).Payload
	var got observed
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatalf("%v: %s", err, payload)
	}
	return got
}

func TestSandbox(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	one, two := t.TempDir(), t.TempDir()
	write(t, one+"/layer.txt", "one")
	write(t, two+"/layer.txt", "two")
	write(t, f.Dir+"/task.txt", "task")
	if err := os.Chmod(f.Dir, 0o700); err != nil { // as os.MkdirTemp makes it
		t.Fatal(err)
	}
	f.Layers = []string{one, two}
	start(t, &e, f)
	if e.Enforcement().Namespaces != "mount" {
		t.Skipf("NOT TESTED: namespaces: %s", e.Enforcement().Namespaces)
	}
	got := facts(t, &e)
	if got.UID < firstUID || got.Dir != "/var/task" {
		t.Errorf("uid %d in %s", got.UID, got.Dir)
	}
	if !got.CanWriteTmp || got.CanWriteTask || got.CanWriteOpt || got.CanWriteEtc {
		t.Errorf("writable: tmp %v, task %v, opt %v, etc %v", got.CanWriteTmp, got.CanWriteTask, got.CanWriteOpt, got.CanWriteEtc)
	}
	for name, want := range map[string]string{
		"layer": "two", "task": "task", "hosts": "127.0.0.1 localhost sandbox sandbox.localdomain",
		"files": "Max open files            1024 ", "status": "NoNewPrivs:\t1",
	} {
		if !strings.Contains(got.Files[name], want) {
			t.Errorf("%s is %q, want %q in it", name, got.Files[name], want)
		}
	}
	if strings.Contains(got.Files["groups"], "cgroup") {
		t.Error("the function sees control groups")
	}
}

func TestMemoryLimit(t *testing.T) {
	var e Emulator
	f := testFunction(t, "x")
	f.Timeout = 2 * time.Minute // on a slow machine the kernel takes its time to give up
	start(t, &e, f)
	if !e.Enforcement().MemoryEnforced {
		t.Skipf("NOT TESTED: memory: %s", e.Enforcement().Memory)
	}
	small, large := invoke(t, &e, `{"do":"allocate","n":64}`), invoke(t, &e, `{"do":"allocate","n":400}`)
	if small.FunctionError != "" {
		t.Errorf("64 of 256 MB: %s", small.Payload)
	}
	if !strings.Contains(string(large.Payload), "Runtime.OutOfMemory") || !strings.Contains(string(large.Payload), "signal: killed") {
		t.Errorf("400 of 256 MB: %s", large.Payload)
	}
	ends := entries(&e, KindInvocationEnd)
	if got := ends[0].MaxMemoryMB; got < 64 || got > 200 {
		t.Errorf("64 MB used: reported as %d", got)
	}
	if got := ends[1]; got.MaxMemoryMB < 200 || got.Status != "error" || got.ErrorType != "Runtime.OutOfMemory" {
		t.Errorf("out of memory: %+v", got)
	}
	if got := summary(t, &e); got.OOMKills != 1 || got.Errors != 1 {
		t.Errorf("summary %+v", got)
	}
	for _, exit := range entries(&e, KindProcessExit) {
		if exit.Role == roleExtension && exit.OOMKill {
			t.Error("the extension was killed for want of memory")
		}
	}
}

// TestMemoryIsShared: what an extension uses, the function cannot; and the
// extension outlives a function that runs out of memory, every time.
func TestMemoryIsShared(t *testing.T) {
	var e Emulator
	f := testFunction(t, "x")
	f.Timeout, f.Env["EXTENSION_X"] = 2*time.Minute, "hog"
	start(t, &e, f)
	if !e.Enforcement().MemoryEnforced {
		t.Skipf("NOT TESTED: memory: %s", e.Enforcement().Memory)
	}
	for _, test := range []struct {
		mb int
		ok bool
	}{{64, true}, {180, false}, {64, true}, {300, false}, {300, false}} {
		result := invoke(t, &e, fmt.Sprintf(`{"do":"allocate","n":%d}`, test.mb))
		if ok := result.FunctionError == ""; ok != test.ok {
			t.Errorf("%d of 256 MB beside an extension with 100: %s", test.mb, result.Payload)
		}
	}
	if got := summary(t, &e); got.OOMKills != 3 || got.Errors != 3 {
		t.Errorf("summary %+v", got)
	}
	for _, exit := range entries(&e, KindProcessExit) {
		if exit.Role == roleExtension && exit.ExitStatus != statusExit0 {
			t.Errorf("the extension ended with %s", exit.ExitStatus)
		}
	}
}

// TestCPUQuota compares the CPU time that two sizes get in the same time.
func TestCPUQuota(t *testing.T) {
	var e Emulator
	small := testFunction(t)
	small.Version, small.MemoryMB = "1", 256
	large := small
	large.Version, large.MemoryMB = "2", memoryPerCPU
	start(t, &e, small, large)
	if !e.Enforcement().CPUEnforced {
		t.Skipf("NOT TESTED: cpu: %s", e.Enforcement().CPU)
	}
	const wallMs = 1000
	cpu := func(version string) (ms float64) {
		result, err := e.Invoke(t.Context(), "f", version, fmt.Appendf(nil, `{"do":"spin","n":%d}`, wallMs))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(result.Payload), &ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	// The share of the small size holds on a busy machine too; the large one
	// may get less than it is entitled to, when others need the machine.
	one, two := cpu("1"), cpu("2")
	if share, want := one/wallMs, 256.0/memoryPerCPU; share < want/1.5 || share > want*1.5 {
		t.Errorf("256 MB get %.3f of a CPU, want about %.3f", share, want)
	}
	if two < 2*one {
		t.Errorf("1769 MB get %.1f times the CPU of 256 MB, want about 6.9", two/one)
	}
	t.Logf("256 MB: %.0f ms, 1769 MB: %.0f ms of CPU in %d ms", one, two, wallMs)
}

// TestFreeze: a function that works in the background stops between
// invocations, and goes on in the next.
func TestFreeze(t *testing.T) {
	for _, signals := range []bool{false, true} {
		t.Run(fmt.Sprintf("signals=%v", signals), func(t *testing.T) {
			var ticks atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				ticks.Add(1)
			}))
			defer server.Close()
			var e Emulator
			start(t, &e)
			if signals {
				e.host.cgroups.freezer = "switched off by the test"
			}
			if err := e.AddFunction(testFunction(t)); err != nil {
				t.Fatal(err)
			}
			invoke(t, &e, fmt.Sprintf(`{"do":"tick","text":%q}`, server.URL))
			// What was on its way at the freeze comes through; then another
			// environment works for a while and this one must not.
			settled := ticks.Load()
			other := testFunction(t)
			other.Name = "other"
			if err := e.AddFunction(other); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Invoke(t.Context(), "other", "", []byte(`{"do":"spin","n":200}`)); err != nil {
				t.Fatal(err)
			}
			if got := ticks.Load(); got > settled+1 {
				t.Errorf("%d ticks while frozen", got-settled)
			}
			frozen := ticks.Load()
			invoke(t, &e, `{"do":"spin","n":200}`)
			if got := ticks.Load(); got < frozen+5 {
				t.Errorf("%d ticks after the thaw", got-frozen)
			}
		})
	}
}

// TestLeftoverProcess: what a function leaves behind ends with it.
func TestLeftoverProcess(t *testing.T) {
	var e Emulator
	start(t, &e, testFunction(t))
	if !strings.HasPrefix(e.Enforcement().Freeze, "cgroup") {
		t.Skipf("NOT TESTED: %s", e.Enforcement().Freeze)
	}
	var pid int
	if _, err := fmt.Sscan(string(invoke(t, &e, `{"do":"child"}`).Payload), &pid); err != nil {
		t.Fatal(err)
	}
	if startTime(pid) == 0 {
		t.Fatalf("no process %d to begin with", pid)
	}
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
}

// alive reports whether a process exists and is more than a zombie.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(data), "State:\tZ")
}
