package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/report"
)

// stamped puts the time before each line, as an export of CloudWatch's has it.
type stamped struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *stamped) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.WriteString(time.Now().UTC().Format("2006-01-02T15:04:05.000Z") + " ")
	s.buf.Write(b)
	return len(b), nil
}

// What real functions wrote into the log of the local Lambda says the same as
// its ledger: without a layer, through the whole command.
func TestImportAgreesWithLedger(t *testing.T) {
	log := &stamped{}
	w := newWorldWith(t, &emulator.Emulator{Log: log})
	w.deploy("flaky", 128, func(f *emulator.Function) { f.Layers = nil })
	for round := range 2 {
		for _, mode := range []string{"ok", "error", "ok", "exit", "ok", "timeout", "ok", "panic", "ok"} {
			w.invoke("flaky", 128, `{"mode":"`+mode+`"}`)
		}
		if round == 0 {
			w.recycle("flaky", 128)
		}
	}
	if err := w.lambda.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "flaky.log")
	if err := os.WriteFile(file, log.buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "report")
	printed, err := command(t, os.Environ(), bin(t, "thaw"), "import", "--json", "--out", out, "--price-region", "us-east-1", "--arch", "x86_64", file)
	if err != nil {
		t.Fatalf("thaw import: %v\n%s", err, printed)
	}
	var counts struct {
		Invocations int   `json:"invocations"`
		ColdStarts  int   `json:"cold_starts"`
		Errors      int   `json:"errors"`
		Timeouts    int   `json:"timeouts"`
		Unparsed    int   `json:"unparsed"`
		Lines       int64 `json:"lines"`
	}
	if err := json.Unmarshal([]byte(printed), &counts); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	truth := w.lambda.Ledger().Summary()[0]
	if counts.Invocations != truth.Invocations || counts.ColdStarts != truth.ColdStarts || counts.Errors != truth.Errors || counts.Timeouts != truth.Timeouts || counts.Unparsed != 0 {
		t.Errorf("read %+v, the ledger has %d invocations, %d cold starts, %d errors, %d timeouts\n%s",
			counts, truth.Invocations, truth.ColdStarts, truth.Errors, truth.Timeouts, log.buf.String())
	}
	var rep report.Report
	b, err := os.ReadFile(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	truth.Function = "flaky"
	agree(t, &rep, []emulator.Totals{truth})
	if rep.Functions[0].CostPerMillionUSD.Value == nil {
		t.Errorf("no cost: %s", rep.Functions[0].PriceBasis)
	}
	if html, err := os.ReadFile(filepath.Join(out, "report.html")); err != nil || !strings.Contains(string(html), "flaky") {
		t.Errorf("report.html: %v", err)
	}
}
