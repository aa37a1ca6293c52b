package examples_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/examples/priceapi"
)

// startEmulator is a local Lambda, and what the examples need from outside.
func startEmulator(t *testing.T) (lambda *emulator.Emulator, environment map[string]string) {
	t.Helper()
	prices := httptest.NewServer(priceapi.Handler())
	t.Cleanup(prices.Close)
	lambda = &emulator.Emulator{}
	if err := lambda.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lambda.Close(); err != nil {
			t.Error(err)
		}
	})
	return lambda, map[string]string{examples.PriceAPIVariable: prices.URL}
}

// deploy adds an example at a memory size, under its name.
func deploy(t *testing.T, lambda *emulator.Emulator, name string, memoryMB int, environment map[string]string) {
	t.Helper()
	example, ok := examples.Find(name)
	if !ok {
		t.Fatalf("there is no example %s", name)
	}
	made, err := example.Assemble(t.Context(), t.TempDir(), binaries(t))
	if err != nil {
		unavailable(t, err)
	}
	env := map[string]string{}
	for _, variable := range example.Requires {
		env[variable] = environment[variable]
	}
	if err := lambda.AddFunction(emulator.Function{
		Name: name, Handler: example.Handler, Runtime: made.Runtime, Dir: made.Dir, Command: made.Command,
		MemoryMB: memoryMB, Timeout: example.Timeout, Env: env,
	}); err != nil {
		t.Fatal(err)
	}
}

// lastEnd is how the last invocation ended, by the emulator's own record.
func lastEnd(t *testing.T, lambda *emulator.Emulator, name string) emulator.Entry {
	t.Helper()
	// The answer is there before the environment is done.
	if err := lambda.Recycle(t.Context(), name, ""); err != nil {
		t.Fatal(err)
	}
	entries := lambda.Ledger().Entries()
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Kind == emulator.KindInvocationEnd && entries[i].Function == name {
			return entries[i]
		}
	}
	t.Fatalf("%s was never invoked", name)
	return emulator.Entry{}
}

// Every example works with its event at its smallest and at its largest size.
func TestInEmulator(t *testing.T) {
	lambda, environment := startEmulator(t)
	for _, example := range examples.All() {
		for _, memoryMB := range []int{example.MemoryMB[0], example.MemoryMB[len(example.MemoryMB)-1]} {
			deploy(t, lambda, example.Name, memoryMB, environment)
			for range 2 { // cold, warm
				result, err := lambda.Invoke(t.Context(), example.Name, "", example.Event)
				if err != nil {
					t.Fatal(err)
				}
				if result.FunctionError != "" {
					t.Errorf("%s at %d MB: %s %s", example.Name, memoryMB, result.FunctionError, result.Payload)
				}
			}
			end := lastEnd(t, lambda, example.Name)
			if end.Cold {
				t.Errorf("%s at %d MB: the second invocation was cold", example.Name, memoryMB)
			}
		}
	}
	for _, totals := range lambda.Ledger().Summary() {
		t.Logf("%-14s %5d MB: init %.0f ms, cold %.1f ms, warm %.1f ms",
			totals.Function, totals.MemoryMB, totals.InitMs[0], totals.DurationsMs[0], totals.DurationsMs[1])
	}
}

// What computes gets faster with memory, what waits hardly does.
func TestMemoryCurves(t *testing.T) {
	lambda, environment := startEmulator(t)
	if enforcement := lambda.Enforcement(); !enforcement.CPUEnforced {
		unavailable(t, "CPU is "+enforcement.CPU)
	}
	// Wide bounds: other tests share the cores. What computes would gain 4.
	gain := func(name string, small, large int) float64 {
		return warm(t, lambda, name, small, environment) / warm(t, lambda, name, large, environment)
	}
	if got := gain("thumbnail", 256, 1024); got < 2 || got > 8 {
		t.Errorf("thumbnail is %.1f times as fast with 4 times the memory", got)
	}
	if got := gain("checkout", 256, 1024); got < 0.6 || got > 1.5 {
		t.Errorf("checkout is %.1f times as fast with 4 times the memory", got)
	}
}

// warm is the shortest of some warm invocations, in ms.
func warm(t *testing.T, lambda *emulator.Emulator, name string, memoryMB int, environment map[string]string) float64 {
	t.Helper()
	deploy(t, lambda, name, memoryMB, environment)
	for range 5 {
		if _, err := lambda.Invoke(t.Context(), name, "", []byte(event(t, name))); err != nil {
			t.Fatal(err)
		}
	}
	lastEnd(t, lambda, name)
	for _, totals := range lambda.Ledger().Summary() {
		if totals.Function == name && totals.MemoryMB == memoryMB {
			t.Logf("%s at %d MB: %.1f ms", name, memoryMB, totals.DurationsMs)
			best := totals.DurationsMs[1]
			for _, ms := range totals.DurationsMs[1:] {
				best = min(best, ms)
			}
			return best
		}
	}
	t.Fatalf("%s at %d MB is not in the ledger", name, memoryMB)
	return 0
}

func TestFailuresInEmulator(t *testing.T) {
	lambda, environment := startEmulator(t)
	enforced := lambda.Enforcement().MemoryEnforced
	deploy(t, lambda, "flaky", 128, environment)
	deploy(t, lambda, "catalog-index", 128, environment)

	f := func(name, payload, wantPayload, wantStatus, wantType string) {
		t.Helper()
		begin := time.Now()
		result, err := lambda.Invoke(t.Context(), name, "", []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		end := lastEnd(t, lambda, name)
		t.Logf("%s %s: %v, %s %s, %d MB: %s", name, payload, time.Since(begin), end.Status, end.ErrorType, end.MaxMemoryMB, result.Payload)
		if end.Status != wantStatus || end.ErrorType != wantType || !strings.Contains(string(result.Payload), wantPayload) {
			t.Errorf("%s %s: %s %q, payload %s", name, payload, end.Status, end.ErrorType, result.Payload)
		}
	}
	f("flaky", `{"mode":"ok"}`, `"mode":"ok"`, "success", "")
	f("flaky", `{"mode":"error"}`, "out of stock", "success", "")
	f("flaky", `{"mode":"exit"}`, "Runtime.ExitError", "error", "Runtime.ExitError")
	f("flaky", `{"mode":"timeout"}`, "timed out after 3.00 seconds", "timeout", "")
	f("flaky", `{"mode":"panic"}`, "flaky was asked to panic", "error", "Runtime.ExitError")
	f("catalog-index", `{"products":5000,"query":"oak"}`, `"found"`, "success", "")
	if !enforced {
		unavailable(t, "memory is "+lambda.Enforcement().Memory)
	}
	f("flaky", `{"mode":"oom"}`, "signal: killed", "error", "Runtime.OutOfMemory")
	f("catalog-index", event(t, "catalog-index"), "signal: killed", "error", "Runtime.OutOfMemory")
}
