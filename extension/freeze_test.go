//go:build linux

package extension

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

const (
	manyInvocations = 10_000
	// maxResident is the promise.
	maxResident = 12 << 20
)

// manyOf are 10,000 invocations, each of which gets the report of the one
// before. Between is called between two of them.
func manyOf(t *testing.T, f *fakeLambda, between func()) {
	t.Helper()
	f.awaitNext()
	coldStart(f)
	report := ""
	for i := range manyInvocations {
		id := fmt.Sprint("r", i)
		f.invoke(id)
		f.awaitNext()
		now := time.Now()
		events := []string{startEvent(now, id), telemetryEvent(now, lambdaapi.TypeFunction, `"hello\n"`), runtimeDoneEvent(now.Add(time.Millisecond), id)}
		if report != "" {
			events = append([]string{report}, events...)
		}
		f.tell(events...)
		report = reportEvent(now.Add(2*time.Millisecond), id)
		between()
	}
	f.tell(report)
}

// checkMany holds what a backend has after them.
func checkMany(t *testing.T, b *fakeBackend) (shutdown *lifecycle.Shutdown) {
	t.Helper()
	seen := map[string]int{}
	for _, o := range b.observations() {
		switch o.Type {
		case lifecycle.SpanInvocation:
			seen[o.Invocation.RequestID]++
		case lifecycle.SpanShutdown:
			shutdown = o.Shutdown
		}
	}
	if len(seen) != manyInvocations {
		t.Errorf("%d invocations were delivered, not %d", len(seen), manyInvocations)
	}
	if shutdown == nil || shutdown.Invocations != manyInvocations || shutdown.Account.SpansDropped+shutdown.Account.SpansSpooled+shutdown.Account.ReportsMissing != 0 {
		t.Errorf("shutdown %+v", shutdown)
	}
	return shutdown
}

// TestTenThousandFreezes: the real program is stopped and continued after every
// invocation. Its memory, its threads and its files stay what they are, and
// nothing is lost.
func TestTenThousandFreezes(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	program := filepath.Join(t.TempDir(), "thaw")
	build := exec.Command("go", "build", buildTags, "-trimpath", "-ldflags=-s -w", "-o", program, "../cmd/thaw-extension")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, b := newFakeLambda(t), newFakeBackend(t)
	var log bytes.Buffer
	cmd := exec.Command(program)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + f.address(), "AWS_REGION=eu-west-1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand", "OTEL_EXPORTER_OTLP_ENDPOINT=" + b.URL, "THAW_BATCH_DELAY=100ms",
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	pid := cmd.Process.Pid
	freezes, early := 0, holdings{}
	manyOf(t, f, func() {
		freeze(t, pid)
		if freezes++; freezes == manyInvocations/10 {
			early = inspect(t, pid)
		}
	})
	late := inspect(t, pid)
	f.shutdown("spindown")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}
	shutdown := checkMany(t, b)
	if log.Len() != 0 {
		t.Errorf("log:\n%s", &log)
	}
	if len(b.peers) > 3 {
		t.Errorf("%d connections to the backend: they are to be used again", len(b.peers))
	}
	t.Logf("after %d freezes %+v, after %d %+v", manyInvocations/10, early, manyInvocations, late)
	if late.peak > maxResident || shutdown != nil && shutdown.MaxRSS > maxResident {
		t.Errorf("%d bytes resident at most, more than %d", late.peak, maxResident)
	}
	if late.files > early.files+4 || late.threads > early.threads+4 {
		t.Errorf("files or threads grow: %+v, %+v", early, late)
	}
}

// freeze stops the process, as Lambda does between invocations, and lets it
// go on.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, "T") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not stop")
		}
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// holdings are what a process holds.
type holdings struct {
	resident, peak int64 // bytes
	threads, files int64
}

func inspect(t *testing.T, pid int) (p holdings) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			p.resident = n << 10
		case "VmHWM":
			p.peak = n << 10
		case "Threads":
			p.threads = n
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	p.files = int64(len(files))
	return p
}

// TestTenThousandInvocations: in this process, where goroutines can be counted.
func TestTenThousandInvocations(t *testing.T) {
	if testing.Short() {
		t.Skip("ten seconds")
	}
	f, b := newFakeLambda(t), newFakeBackend(t)
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=50ms")
	n, early, most := 0, 0, 0
	manyOf(t, f, func() {
		if n++; n == manyInvocations/10 {
			early = runtime.NumGoroutine()
		} else if n > manyInvocations/10 {
			most = max(most, runtime.NumGoroutine())
		}
	})
	f.shutdown("spindown")
	r.exits()
	checkMany(t, b)
	// A request of the backend and one of the platform may be under way.
	if most > early+20 {
		t.Errorf("%d goroutines after %d invocations, up to %d later", early, manyInvocations/10, most)
	}
	if r.log.lines() != 0 {
		t.Errorf("log:\n%s", r.log)
	}
}
