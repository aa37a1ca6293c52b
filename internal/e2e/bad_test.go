package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
)

// Functions that cannot even start: the caller gets a clear error, and the
// report counts what the ledger counts, also where the runtime ends at once or
// cannot be executed: that is before the extension has subscribed to anything.
func TestFunctionsThatDoNotStart(t *testing.T) {
	w := newWorld(t)
	w.deploy("checkout", 128, func(f *emulator.Function) { f.Handler = "app.missing" })
	w.deploy("checkout", 256, func(f *emulator.Function) { f.Handler = "nowhere.handler" })
	w.deploy("flaky", 128, func(f *emulator.Function) { f.Env["FLAKY_INIT"] = "exit" })
	w.deploy("flaky", 256, func(f *emulator.Function) { f.Command = []string{filepath.Join(f.Dir, "missing")} })
	for _, c := range []struct {
		name      string
		memoryMB  int
		errorType string
	}{
		{"checkout", 128, "Runtime.HandlerNotFound"},
		{"checkout", 256, "Runtime.ImportModuleError"},
		{"flaky", 128, "Runtime.ExitError"},
		{"flaky", 256, "Runtime.InvalidEntrypoint"},
	} {
		for range 2 {
			result, err := w.lambda.Invoke(t.Context(), c.name, itoa(c.memoryMB), []byte(`{"mode":"ok"}`))
			if err != nil {
				t.Fatal(err)
			}
			var answer struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal(result.Payload, &answer); err != nil {
				t.Errorf("%s at %d MB answered %q: %v", c.name, c.memoryMB, result.Payload, err)
			}
			if result.FunctionError == "" || answer.ErrorType != c.errorType || answer.ErrorMessage == "" {
				t.Errorf("%s at %d MB: %+v (function error %q), expected a message and %s", c.name, c.memoryMB, answer, result.FunctionError, c.errorType)
			}
		}
	}
	rep, truth := w.drain(), w.lambda.Ledger().Summary()
	agree(t, rep, truth)
}

// An endpoint that cannot be reached, and one that accepts and never answers,
// change nothing for the function: not its answers, and not what it is billed.
func TestUnreachableEndpoint(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w := newWorld(t)
	endpoints := map[int]string{
		128: w.collector.OTLP,
		256: "http://127.0.0.1:1",
		512: "http://" + silent.Addr().String(),
	}
	for mb, endpoint := range endpoints {
		w.deploy("flaky", mb, func(f *emulator.Function) {
			f.Env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
		})
	}
	const n = 20
	for mb := range endpoints {
		for range n {
			if w.invoke("flaky", mb, `{"mode":"ok"}`) {
				t.Errorf("flaky at %d MB failed", mb)
			}
		}
	}
	begun := time.Now()
	if err := w.lambda.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("shutting down took %s: the platform gives 2 s", took)
	}
	for _, totals := range w.lambda.Ledger().Summary() {
		if totals.Invocations != n || totals.Errors != 0 || totals.Timeouts != 0 {
			t.Errorf("%d MB: %+v", totals.MemoryMB, totals)
		}
	}
	for _, e := range w.lambda.Ledger().Entries() {
		if e.Kind == emulator.KindProcessExit && e.Role == "extension" && e.ExitStatus != "exit status 0" && e.ExitStatus != "exit code 0" {
			t.Errorf("at %d MB the extension ended with %q: it has to be done before the platform kills it", e.MemoryMB, e.ExitStatus)
		}
	}
}

// A port that is taken is a clear error of the collector, and nothing hangs.
func TestCollectorPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, variable := range []string{"THAW_OTLP_HTTP_ENDPOINT", "THAW_HTTP_ENDPOINT"} {
		env := append(os.Environ(), "THAW_DATA_DIR="+t.TempDir(),
			"THAW_OTLP_HTTP_ENDPOINT="+freeAddr(t), "THAW_OTLP_GRPC_ENDPOINT="+freeAddr(t), "THAW_HTTP_ENDPOINT="+freeAddr(t),
			variable+"="+taken.Addr().String())
		out, err := command(t, env, bin(t, "thaw-collector"))
		if err == nil {
			t.Errorf("%s: the collector ended with success", variable)
		}
		if !strings.Contains(out, taken.Addr().String()) || !strings.Contains(out, "address already in use") {
			t.Errorf("%s: it does not say which address is in use:\n%s", variable, out)
		}
	}
}
