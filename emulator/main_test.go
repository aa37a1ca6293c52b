package emulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// binaries is where TestMain builds testdata/src: the function as bootstrap,
// the extension as extension, the function over AWS's client as aws.
var binaries string

func TestMain(m *testing.M) {
	if dir := os.Getenv("THAW_TEST_EMULATOR"); dir != "" {
		if err := runSubprocess(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "thaw-emulator-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	for name, source := range map[string]string{"bootstrap": "function", "extension": "extension", "aws": "awsfunction"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./testdata/src/"+source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", source, err, out)
			return 1
		}
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// install copies a built binary to dir under a name.
func install(t *testing.T, binary, dir, name string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(filepath.Join(dir, name), filepath.Join(binaries, binary)); err != nil {
		t.Fatal(err)
	}
}

// testFunction is a function of the test binary, with the named extensions.
func testFunction(t *testing.T, extensions ...string) Function {
	t.Helper()
	f := Function{Name: "f", Handler: "main.handler", Dir: t.TempDir(), MemoryMB: 256, Env: map[string]string{}}
	install(t, "bootstrap", f.Dir, "bootstrap")
	if len(extensions) > 0 {
		layer := t.TempDir()
		for _, name := range extensions {
			install(t, "extension", filepath.Join(layer, "extensions"), name)
		}
		f.Layers = []string{layer}
	}
	return f
}

// syncBuffer is a log that tests can read meanwhile.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start starts e with functions, and closes it at the end of the test.
func start(t *testing.T, e *Emulator, functions ...Function) *syncBuffer {
	t.Helper()
	log := &syncBuffer{}
	e.Log = log
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
			var ledger bytes.Buffer
			_, _ = e.Ledger().WriteTo(&ledger)
			t.Logf("ledger:\n%s", &ledger)
		}
	})
	for _, f := range functions {
		if err := e.AddFunction(f); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// invoke invokes f and returns its result, which may be a function error. It
// waits until the environment has reported, and is frozen or reset.
func invoke(t *testing.T, e *Emulator, payload string) InvokeResult {
	t.Helper()
	result, failure := e.invoke(t.Context(), invokeRequest{name: "f", kind: typeRequestResponse, payload: []byte(payload), tail: true})
	if failure != nil {
		t.Fatal(failure)
	}
	return result
}

// summary is the only line of the ledger's summary.
func summary(t *testing.T, e *Emulator) Totals {
	t.Helper()
	totals := e.Ledger().Summary()
	if len(totals) != 1 {
		t.Fatalf("summary has %d lines: %+v", len(totals), totals)
	}
	return totals[0]
}

// entries are the ledger's entries of one kind.
func entries(e *Emulator, kind string) []Entry {
	return slices.DeleteFunc(e.Ledger().Entries(), func(entry Entry) bool { return entry.Kind != kind })
}

// sink receives what the test extension forwards.
type sink struct {
	server *httptest.Server

	mu        sync.Mutex
	changed   chan struct{}
	events    []sinkEvent
	telemetry []lambdaapi.Event
	batches   int
}

// sinkEvent is an event that an extension got, and which.
type sinkEvent struct {
	Extension string
	lambdaapi.NextEvent
}

func newSink(t *testing.T) *sink {
	s := &sink{changed: make(chan struct{})}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/event":
		event := sinkEvent{Extension: r.Header.Get("Extension")}
		_ = json.Unmarshal(body, &event.NextEvent)
		s.events = append(s.events, event)
	case "/telemetry":
		var batch []lambdaapi.Event
		_ = json.Unmarshal(body, &batch)
		s.telemetry = append(s.telemetry, batch...)
		s.batches++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// types are the types of the telemetry that came.
func (s *sink) types() (types []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range s.telemetry {
		types = append(types, event.Type)
	}
	return types
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
