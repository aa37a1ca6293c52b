package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/examples/priceapi"
)

func TestAll(t *testing.T) {
	names := map[string]bool{}
	for _, e := range examples.All() {
		t.Run(e.Name, func(t *testing.T) {
			if names[e.Name] {
				t.Error("listed twice")
			}
			names[e.Name] = true
			if !json.Valid(e.Event) {
				t.Errorf("event.json is no JSON: %q", e.Event)
			}
			if e.Shows == "" || e.Handler == "" || e.Timeout <= 0 {
				t.Errorf("incomplete: %+v", e)
			}
			if len(e.MemoryMB) == 0 || !slices.IsSorted(e.MemoryMB) || e.MemoryMB[0] < 128 {
				t.Errorf("memory sizes %v", e.MemoryMB)
			}
			if _, err := os.Stat(filepath.Join(e.Name, "README.md")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestThumbnail(t *testing.T) {
	r := launch(t, assemble(t, "thumbnail"))
	checkThumbnails(t, r)

	const invocations = 10
	cpu, wall := r.cpu(), time.Now()
	for range invocations {
		r.invoke(event(t, "thumbnail"))
	}
	cpu, elapsed := (r.cpu()-cpu)/invocations, time.Since(wall)/invocations
	t.Logf("%v CPU and %v elapsed per invocation, %d MB at most", cpu, elapsed, r.peakMB())

	// The shape of its memory curve depends on this: that an invocation takes
	// several of the 20 ms periods in which Lambda hands out CPU even with a
	// whole core, and that it computes on one thread, so that a second core
	// would not help.
	if cpu < 60*time.Millisecond {
		t.Errorf("%v CPU per invocation is too little to see a curve", cpu)
	}
	if cpu > elapsed*5/4 {
		t.Errorf("%v CPU in %v: it uses more than one core", cpu, elapsed)
	}
	if peak := r.peakMB(); peak > 100 {
		t.Errorf("%d MB do not fit into 128 MB", peak)
	}
}

func checkThumbnails(t *testing.T, r *runtimeAPI) {
	t.Helper()
	type thumbnail struct {
		Width, Height, Bytes int
		SHA256               string
		JPEG                 []byte
	}
	type thumbnails struct{ Thumbnails []thumbnail }
	first := response[thumbnails](r, event(t, "thumbnail"))
	again := response[thumbnails](r, event(t, "thumbnail"))
	want := []int{1280, 1024, 640, 320, 128}
	for i, thumb := range first.Thumbnails {
		if thumb.Width != want[i] || thumb.Height != want[i]*3/4 || thumb.Bytes == 0 {
			t.Errorf("thumbnail %d: %+v", i, thumb)
		}
		if thumb.SHA256 != again.Thumbnails[i].SHA256 {
			t.Errorf("thumbnail %d differs the second time", i)
		}
	}
	if len(first.Thumbnails) != len(want) {
		t.Fatalf("%d thumbnails", len(first.Thumbnails))
	}
	img, err := jpeg.Decode(bytes.NewReader(first.Thumbnails[len(want)-1].JPEG))
	if err != nil {
		t.Fatal(err)
	}
	// The sun is at the upper right, the darkest hill at the bottom.
	sun, _, _, _ := img.At(87, 28).RGBA()
	hill, _, _, _ := img.At(64, 92).RGBA()
	if sun>>8 < 240 || hill>>8 > 80 {
		t.Errorf("red is %d at the sun and %d at the hill", sun>>8, hill>>8)
	}
}

func TestThumbnailRefusesSizes(t *testing.T) {
	r := launch(t, assemble(t, "thumbnail"))
	for _, bad := range []string{`{}`, `{"sizes":[1000000]}`, `{"sizes":[-1]}`} {
		if got := r.invoke(bad); got.kind != "error" {
			t.Errorf("%s: %s %s", bad, got.kind, got.body)
		}
	}
}

func TestCatalogIndex(t *testing.T) {
	type found struct {
		Products, Found int
		Hits            []struct{ SKU, Name string }
		Built           bool
	}
	r := launch(t, assemble(t, "catalog-index"))
	small := response[found](r, `{"products": 5000, "query": "blue ceramic mug"}`)
	if !small.Built || small.Products != 5000 || small.Found < 5 || len(small.Hits) != 5 || small.Hits[0].Name != "blue ceramic mug" {
		t.Errorf("first: %+v", small)
	}
	peak := r.peakMB()
	if peak > 60 {
		t.Errorf("5000 products took %d MB", peak)
	}
	if warm := response[found](r, `{"products": 5000, "query": "blue ceramic mug"}`); warm.Built || warm.Found != small.Found {
		t.Errorf("second: %+v", warm)
	}
	if got := r.invoke(`{"products": 0}`); got.kind != "error" {
		t.Errorf("no products: %s", got.body)
	}
	cpu := r.cpu()
	large := response[found](r, event(t, "catalog-index"))
	t.Logf("sample event: %v CPU, %d MB at most", r.cpu()-cpu, r.peakMB())
	if !large.Built || large.Products != 220000 {
		t.Errorf("large: %+v", large)
	}
	// Well above 128 MB, well below 512 MB.
	if peak := r.peakMB(); peak < 160 || peak > 300 {
		t.Errorf("220000 products take %d MB", peak)
	}
}

func TestFlaky(t *testing.T) {
	f := assemble(t, "flaky")

	r := launch(t, f)
	type ok struct {
		Mode       string
		Invocation int
	}
	if got := response[ok](r, event(t, "flaky")); got != (ok{"ok", 1}) {
		t.Errorf("%+v", got)
	}
	if got := r.invoke(`{"mode":"error"}`); got.kind != "error" || got.failure(t).ErrorMessage != "out of stock" {
		t.Errorf("error: %s %s", got.kind, got.body)
	}
	if got := response[ok](r, `{"mode":"ok"}`); got != (ok{"ok", 3}) {
		t.Errorf("after a handled error: %+v", got)
	}
	if got := r.invoke(`{"mode":"no"}`); got.kind != "error" || !strings.Contains(got.failure(t).ErrorMessage, "unknown mode") {
		t.Errorf("unknown mode: %s %s", got.kind, got.body)
	}
	// There is no memory limit here, and it must stop by itself.
	if got := r.invoke(`{"mode":"oom"}`); got.kind != "error" || !strings.Contains(got.failure(t).ErrorMessage, "not enforced") {
		t.Errorf("oom: %s %s", got.kind, got.body)
	}
	if got := r.invoke(`{"mode":"panic"}`); got.kind != "error" || len(got.failure(t).StackTrace) == 0 {
		t.Errorf("panic: %s %s", got.kind, got.body)
	}
	if code := r.exitCode(); code == 0 {
		t.Error("it outlived a panic")
	}
}

func TestFlakyExits(t *testing.T) {
	r := launch(t, assemble(t, "flaky"))
	r.send(`{"mode":"exit"}`)
	if code := r.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if len(r.answers) > 0 {
		t.Errorf("it said something: %+v", <-r.answers)
	}
}

func TestFlakyComputesForever(t *testing.T) {
	r := launch(t, assemble(t, "flaky"))
	r.send(`{"mode":"timeout"}`)
	for begin := r.cpu(); r.cpu() < begin+300*time.Millisecond; {
		select {
		case got := <-r.answers:
			t.Fatalf("it answered: %s", got.body)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestFlakyInit(t *testing.T) {
	f := func(mode string, wantCode int) {
		t.Helper()
		r := launch(t, assemble(t, "flaky"), "FLAKY_INIT="+mode)
		if code := r.exitCode(); code != wantCode {
			t.Errorf("%s: exit code %d", mode, code)
		}
		if len(r.ready) > 0 {
			t.Errorf("%s: it asked for an event first", mode)
		}
	}
	f("exit", 1)
	f("panic", 2)
	f("nonsense", 1)
	f("oom", 1) // nothing kills it here
}

// client is a runtime client under which to run an interpreted function.
type client struct {
	name  string
	start func(*testing.T, function) function
}

func clients(t *testing.T, interpreter string) []client {
	own := client{"bootstrap", func(_ *testing.T, f function) function { return f }}
	if interpreter == "node" {
		return []client{own, {"aws-lambda-ric", underNodeRIC}}
	}
	return []client{own, {"awslambdaric", underPythonRIC}}
}

func TestCheckout(t *testing.T) {
	for _, c := range clients(t, "python3") {
		t.Run(c.name, func(t *testing.T) {
			prices := httptest.NewServer(priceapi.Handler())
			defer prices.Close()
			r := launch(t, c.start(t, assemble(t, "checkout")), examples.PriceAPIVariable+"="+prices.URL)
			t.Logf("init %v", r.initDuration())
			checkReceipt(t, r)

			const invocations = 5
			cpu, wall := r.cpu(), time.Now()
			for range invocations {
				r.invoke(event(t, "checkout"))
			}
			cpu, elapsed := (r.cpu()-cpu)/invocations, time.Since(wall)/invocations
			t.Logf("%v CPU and %v elapsed per invocation, %d MB at most", cpu, elapsed, r.peakMB())
			if elapsed < 2*priceapi.ThinkTime {
				t.Errorf("%v is less than two answers of the price service take", elapsed)
			}
			if cpu > elapsed/4 {
				t.Errorf("%v CPU in %v: it computes more than it waits", cpu, elapsed)
			}

			prices.CloseClientConnections() // as when the environment was frozen for long
			checkReceipt(t, r)
		})
	}
}

func checkReceipt(t *testing.T, r *runtimeAPI) {
	t.Helper()
	type receipt struct{ RequestID, Net, Tax, Total, Receipt string }
	got := response[receipt](r, event(t, "checkout"))
	if got.Net != "131.88" || got.Tax != "27.69" || got.Total != "159.57" {
		t.Errorf("amounts: %+v", got)
	}
	if !strings.Contains(got.Receipt, "  3 x TEA-01") || !strings.HasSuffix(got.Receipt, got.Total) {
		t.Errorf("receipt:\n%s", got.Receipt)
	}
	if !strings.HasSuffix(got.RequestID, "-0000-4000-8000-000000000000") {
		t.Errorf("request id %q", got.RequestID)
	}
}

func TestCheckoutFails(t *testing.T) {
	for _, c := range clients(t, "python3") {
		t.Run(c.name, func(t *testing.T) {
			prices := httptest.NewServer(priceapi.Handler())
			defer prices.Close()
			f := c.start(t, assemble(t, "checkout"))
			r := launch(t, f, examples.PriceAPIVariable+"="+prices.URL)
			got := r.invoke(`{"items":[{"sku":"TEA-01","quantity":1}],"country":"XX"}`)
			failure := got.failure(t)
			if got.kind != "error" || failure.ErrorType != "RuntimeError" || !strings.Contains(failure.ErrorMessage, `no tax rate for country "XX"`) {
				t.Errorf("unknown country: %s %s", got.kind, got.body)
			}
			if len(failure.StackTrace) == 0 {
				t.Errorf("no stack trace: %s", got.body)
			}
			checkReceipt(t, r) // and goes on

			r = launch(t, f) // without the service's address
			got = r.answer()
			if failure := got.failure(t); got.kind != "init/error" || !strings.Contains(failure.ErrorMessage, examples.PriceAPIVariable) {
				t.Errorf("init: %s %s", got.kind, got.body)
			}
			if r.exitCode() == 0 {
				t.Error("it exits with 0 after a failed init")
			}
		})
	}
}

func TestInvoice(t *testing.T) {
	for _, c := range clients(t, "node") {
		t.Run(c.name, func(t *testing.T) {
			r := launch(t, c.start(t, assemble(t, "invoice")))
			init, initCPU := r.initDuration(), r.cpu()
			type invoice struct {
				Document        string
				Net, Tax, Total int
			}
			got := response[invoice](r, event(t, "invoice"))
			if got.Net != 5770 || got.Total != got.Net+got.Tax {
				t.Errorf("amounts: %+v", got)
			}
			for _, want := range []string{"INVOICE 00000001 [de]\n", "5. März 2026\n", "  2 x Mug, hand-thrown: 37,00\u00a0€\n"} {
				if !strings.Contains(got.Document, want) {
					t.Errorf("no %q in\n%s", want, got.Document)
				}
			}
			begin := time.Now()
			const invocations = 10
			for range invocations {
				r.invoke(event(t, "invoice"))
			}
			warm := time.Since(begin) / invocations
			t.Logf("init %v (%v CPU), invocation %v, %d MB at most", init, initCPU, warm, r.peakMB())
			if init < 10*warm {
				t.Errorf("init takes %v, an invocation %v: that is not heavy", init, warm)
			}
			if peak := r.peakMB(); peak > 200 {
				t.Errorf("%d MB do not fit into 256 MB", peak)
			}
			if got := r.invoke(`{"language":"xx"}`); got.kind != "error" || got.failure(t).ErrorType != "RangeError" {
				t.Errorf("unknown language: %s %s", got.kind, got.body)
			}
		})
	}
}

func TestAuditLog(t *testing.T) {
	for _, c := range clients(t, "node") {
		t.Run(c.name, func(t *testing.T) {
			r := launch(t, c.start(t, assemble(t, "audit-log")))
			init, cpu := r.initDuration(), r.cpu()
			type counts struct{ Records, Info, Warn, Error, Malformed int }
			if got := response[counts](r, event(t, "audit-log")); got != (counts{200, 190, 8, 2, 0}) {
				t.Errorf("%+v", got)
			}
			logged := regexp.MustCompile(`(?m)^.*"requestId":"00000001-.*"position":\d+}$`)
			r.waitForOutput(func(output string) bool { return len(logged.FindAllString(output, -1)) == 200 })
			t.Logf("init %v, first invocation %v CPU, %d bytes logged, %d MB at most",
				init, r.cpu()-cpu, len(r.output.String()), r.peakMB())
			if got := response[counts](r, `{"records":["nonsense"]}`); got != (counts{1, 0, 0, 0, 1}) {
				t.Errorf("malformed: %+v", got)
			}
			got := r.invoke(`{}`)
			if failure := got.failure(t); got.kind != "error" || failure.ErrorType != "TypeError" || len(failure.Trace) < 2 {
				t.Errorf("no records: %s %s", got.kind, got.body)
			}
		})
	}
}

func TestAssembleIsReadableByAll(t *testing.T) {
	previous := syscall.Umask(0o077)
	defer syscall.Umask(previous)
	for _, e := range examples.All() {
		dir := t.TempDir()
		for range 2 { // a second time over the first
			if _, err := e.Assemble(t.Context(), dir, binaries(t)); err != nil {
				unavailable(t, err)
			}
		}
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o004)
			if entry.IsDir() || entry.Name() == "bootstrap" {
				want = 0o005
			}
			if info.Mode().Perm()&want != want {
				t.Errorf("%s: %s has mode %v", e.Name, path, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAssembleWithoutBinary(t *testing.T) {
	e, _ := examples.Find("thumbnail")
	_, err := e.Assemble(t.Context(), t.TempDir(), t.TempDir())
	var unavailable *examples.UnavailableError
	if !errors.As(err, &unavailable) || !strings.Contains(unavailable.Reason, "make build") {
		t.Errorf("%v", err)
	}
}

func TestAssembleCancelled(t *testing.T) {
	e, _ := examples.Find("invoice")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Assemble(ctx, t.TempDir(), ""); err == nil {
		t.Error("it did not notice")
	}
}
