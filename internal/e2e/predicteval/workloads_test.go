package predicteval

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/examples/priceapi"
	"github.com/thaw-lambda/thaw/layer"
)

// workload is a function of the evaluation.
type workload struct {
	// name is LANGUAGE/WORK.
	name, kind string
}

// workloads are real work of every kind that the model knows or does not know.
var workloads = []workload{
	{"go/compute", "CPU"}, {"go/medium", "CPU"}, {"go/small", "CPU, less than a quota"},
	{"go/resize", "CPU"}, {"go/compress", "CPU"}, {"go/template", "CPU, allocates"}, {"go/index", "CPU, allocates"},
	{"go/parallel", "two threads"}, {"go/amdahl", "one and two threads"},
	{"go/wait", "network"}, {"go/fanout", "network, eight at once"},
	{"go/mix", "network and CPU in turn"}, {"go/overlap", "network and CPU at once"},
	{"go/garbage", "garbage collection"},
	{"node/json", "CPU, allocates"}, {"node/mix", "network and CPU in turn"}, {"node/overlap", "network and CPU at once"}, {"node/objects", "garbage collection"},
	{"python/compute", "CPU"}, {"python/mix", "network and CPU in turn"}, {"python/sqlite", "CPU"},
	{"example/thumbnail", "CPU, the example"}, {"example/checkout", "network, the example"},
}

func (w workload) language() string { before, _, _ := strings.Cut(w.name, "/"); return before }
func (w workload) work() string     { _, after, _ := strings.Cut(w.name, "/"); return after }

// function is the name that it is deployed by.
func (w workload) function() string { return strings.ReplaceAll(w.name, "/", "-") }

func (w workload) manyThreads() bool { return w.language() == "go" || w.work() == "thumbnail" }

// world is a local Lambda whose functions have the layer as it ships, and what
// they need and report to.
type world struct {
	lambda   *emulator.Emulator
	receiver *receiver
	dir      string
	layer    string
	env      map[string]string
	event    map[string][]byte // by function
	built    map[string]examples.Assembled
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "thaw-predicteval-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // functions run as another user
		t.Fatal(err)
	}
	w := &world{
		lambda: &emulator.Emulator{IdleTimeout: time.Hour}, receiver: newReceiver(t), dir: dir, layer: filepath.Join(dir, "layer"),
		event: map[string][]byte{}, built: map[string]examples.Assembled{},
	}
	if err := layer.Unpack(layer.HostZip(filepath.Join("..", "..", "..", "bin")), w.layer); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	service := httptest.NewServer(http.HandlerFunc(slowly))
	t.Cleanup(service.Close)
	prices := httptest.NewServer(priceapi.Handler())
	t.Cleanup(prices.Close)
	w.env = map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": w.receiver.url, "THAW_LOG_LEVEL": "warn",
		"SERVICE_URL": service.URL, examples.PriceAPIVariable: prices.URL,
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

// slowly is the network service: it takes as long as it is asked to.
func slowly(rw http.ResponseWriter, r *http.Request) {
	ms, _ := strconv.Atoi(r.URL.Query().Get("ms")) // none is no wait
	time.Sleep(time.Duration(ms) * time.Millisecond)
	fmt.Fprint(rw, "[")
	for i := range 40 {
		fmt.Fprintf(rw, `{"id":%d,"name":"item %d","price":%d.5},`, i, i, i)
	}
	fmt.Fprint(rw, `{}]`)
}

// deploy adds a workload at a size, as the version of that number.
func (w *world) deploy(t *testing.T, load workload, memoryMB int) {
	t.Helper()
	name := load.function()
	built, ok := w.built[name]
	if !ok {
		built = w.build(t, load)
		w.built[name] = built
	}
	handler := map[string]string{"node": "index.handler", "python": "app.handler", "go": "bootstrap"}[load.language()]
	w.event[name] = fmt.Appendf(nil, `{"do":%q}`, load.work())
	if load.language() == "example" {
		example, _ := examples.Find(load.work())
		handler, w.event[name] = example.Handler, example.Event
	}
	if err := w.lambda.AddFunction(emulator.Function{
		Name: name, Version: strconv.Itoa(memoryMB), Handler: handler, Runtime: built.Runtime, Dir: built.Dir, Command: built.Command,
		Layers: []string{w.layer}, MemoryMB: memoryMB, Timeout: 30 * time.Second, Env: w.env,
	}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) build(t *testing.T, load workload) examples.Assembled {
	t.Helper()
	dir := filepath.Join(w.dir, load.function())
	var err error
	var built examples.Assembled
	switch load.language() {
	case "example":
		example, ok := examples.Find(load.work())
		if !ok {
			t.Fatalf("there is no example %s", load.work())
		}
		built, err = example.Assemble(t.Context(), dir, filepath.Join("..", "..", "..", "bin", "examples"))
	case "go":
		built = examples.Assembled{Dir: dir, Command: []string{filepath.Join(dir, "bootstrap")}, Runtime: "provided.al2023"}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "bootstrap"), "./workload")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, buildErr := cmd.CombinedOutput(); buildErr != nil {
			err = fmt.Errorf("%w\n%s", buildErr, out)
		}
	default:
		built, err = interpreted(t.Context(), load.language(), dir)
	}
	if err != nil {
		t.Fatalf("build %s: %v", load.name, err)
	}
	return built
}

// interpreted assembles a function of testdata with the examples' runtime client.
func interpreted(ctx context.Context, language, dir string) (examples.Assembled, error) {
	interpreter, err := examples.FindInterpreter(ctx, map[string]string{"node": "node", "python": "python3"}[language])
	if err != nil {
		return examples.Assembled{}, err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", language))); err != nil {
		return examples.Assembled{}, err
	}
	client, err := examples.WriteRuntimeClient(map[string]string{"node": "node", "python": "python3"}[language], filepath.Join(dir, "runtime"))
	if err != nil {
		return examples.Assembled{}, err
	}
	return examples.Assembled{Dir: dir, Command: []string{interpreter.Path, client}, Runtime: interpreter.Runtime()}, os.Chmod(dir, 0o755)
}

// invoke invokes once and returns the request id and the answer.
func (w *world) invoke(t *testing.T, load workload, memoryMB int) (requestID string, payload []byte) {
	t.Helper()
	name := load.function()
	result, err := w.lambda.Invoke(t.Context(), name, strconv.Itoa(memoryMB), w.event[name])
	if err != nil {
		t.Fatal(err)
	}
	if result.FunctionError != "" {
		t.Fatalf("%s at %d MB: %s %s", load.name, memoryMB, result.FunctionError, result.Payload)
	}
	return result.RequestID, result.Payload
}
