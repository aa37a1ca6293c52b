package e2e

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/examples/priceapi"
	"github.com/thaw-lambda/thaw/internal/collectorproc"
	"github.com/thaw-lambda/thaw/layer"
	"github.com/thaw-lambda/thaw/report"
)

// bin returns the path of something that make build made.
func bin(t *testing.T, name ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", "..", "bin"}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return path
}

// world is a local Lambda and a collector, connected by the layer as it ships.
type world struct {
	t         *testing.T
	lambda    *emulator.Emulator
	collector *collectorproc.Process
	config    collectorproc.Config
	layer     string
	prices    string
	begun     time.Time
	dir       string
	// spool holds what extensions could not send in time, as in a reset.
	spool collectorproc.Spool
}

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	return newWorldWith(t, &emulator.Emulator{}, env...)
}

// newWorldWith is a world with a local Lambda that has settings. env is added
// to the environment of the collector.
func newWorldWith(t *testing.T, lambda *emulator.Emulator, env ...string) *world {
	t.Helper()
	// Functions run as another user, who has to be able to get there.
	dir, err := os.MkdirTemp("", "thaw-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, begun: time.Now().Add(-time.Second), layer: filepath.Join(dir, "layer")}
	if err := layer.Unpack(layer.HostZip(bin(t)), w.layer); err != nil {
		t.Fatal(err)
	}
	w.config = collectorproc.Config{
		Binary:   bin(t, "thaw-collector"),
		DataDir:  filepath.Join(dir, "collector"),
		OTLPAddr: freeAddr(t), GRPCAddr: freeAddr(t), HTTPAddr: freeAddr(t),
		Env: env,
	}
	w.startCollector()
	prices := httptest.NewServer(priceapi.Handler())
	t.Cleanup(prices.Close)
	w.prices = prices.URL
	w.lambda = lambda
	if lambda.Log == nil {
		lambda.Log = &w.spool
	}
	if err := w.lambda.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.lambda.Close(); err != nil {
			t.Errorf("close the local Lambda: %v", err)
		}
	})
	return w
}

func (w *world) startCollector() {
	w.t.Helper()
	p, err := collectorproc.Start(w.t.Context(), w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.collector = p
	w.t.Cleanup(p.Kill)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// deploy adds an example at a memory size, as the version of that number.
func (w *world) deploy(name string, memoryMB int, change ...func(*emulator.Function)) {
	w.t.Helper()
	ex, ok := examples.Find(name)
	if !ok {
		w.t.Fatalf("there is no example %s", name)
	}
	built, err := ex.Assemble(w.t.Context(), filepath.Join(w.dir, "functions", name), bin(w.t, "examples"))
	if err != nil {
		w.t.Fatal(err)
	}
	f := emulator.Function{
		Name: name, Version: itoa(memoryMB), Handler: ex.Handler,
		Runtime: built.Runtime, Dir: built.Dir, Command: built.Command,
		Layers: []string{w.layer}, MemoryMB: memoryMB, Timeout: ex.Timeout,
		Env: map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": w.collector.OTLP,
			examples.PriceAPIVariable:     w.prices,
		},
	}
	for _, c := range change {
		c(&f)
	}
	if err := w.lambda.AddFunction(f); err != nil {
		w.t.Fatal(err)
	}
}

// invoke invokes once and says whether the function failed.
func (w *world) invoke(name string, memoryMB int, event string) bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	result, err := w.lambda.Invoke(ctx, name, itoa(memoryMB), []byte(event))
	if err != nil {
		w.t.Fatalf("invoke %s at %d MB with %s: %v", name, memoryMB, event, err)
	}
	return result.FunctionError != ""
}

func (w *world) recycle(name string, memoryMB int) {
	w.t.Helper()
	if err := w.lambda.Recycle(w.t.Context(), name, itoa(memoryMB)); err != nil {
		w.t.Fatalf("recycle %s at %d MB: %v", name, memoryMB, err)
	}
}

// drain ends every environment, so that everything has been sent, and returns
// the report on all of it.
func (w *world) drain() *report.Report {
	w.t.Helper()
	if err := w.lambda.Close(); err != nil {
		w.t.Fatalf("close the local Lambda: %v", err)
	}
	if err := w.collector.Deliver(w.t.Context(), &w.spool); err != nil {
		w.t.Fatal(err)
	}
	if err := w.collector.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	rep, err := report.Build(w.t.Context(), &report.Client{URL: w.collector.API}, report.Options{Start: w.begun})
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

func itoa(memoryMB int) string { return strconv.Itoa(memoryMB) }

// command runs a binary that is expected to end by itself.
func command(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}
