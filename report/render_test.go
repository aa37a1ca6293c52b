package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// hostile is a name that no function can have, and that a store can hold.
const hostile = `<script>alert(1)</script>"';|` + "`\x1b[31m"

// example is the report of which the golden files are: a function that
// computes, one that waits, one of little data, one of a single size, and a
// hostile name.
func example(t *testing.T) *Report {
	t.Helper()
	s := newStore(t)
	sizes := []int64{128, 256, 512, 1024, 1769, 3008}
	all := append(sweep("thumbnail", computes, sizes...), sweep("checkout-api", waits, sizes...)...)
	rng := rand.New(rand.NewPCG(4, 2))
	rare := simulate("nightly-export", "7", 320)
	rare.run(rng, hoards, 4, 3)
	for range 3 {
		rare.invoke(call{start: "warm", environment: "1", duration: 3, billed: 3, memoryMB: 300, status: "timeout", lines: 40, latency: 90, frozen: true})
	}
	all = append(all, rare)
	evil := simulate(hostile, "1", 512)
	evil.region = "local"
	evil.run(rng, waits, 1, 12)
	evil.invoke(call{start: "warm", environment: "1", duration: .1, billed: .1, memoryMB: 60, status: "</script><img src=x onerror=alert(2)>"})
	all = append(all, evil)
	one := simulate("image-meta", "3", 512)
	one.run(rng, throttled(.050, .030), 45, 12)
	one.uses(.030, .080)
	all = append(all, one)
	s.write("collector-1", minutes(1))
	s.write("collector-1", minutes(4))
	s.write("collector-1", minutes(30))
	s.write("collector-1", minutes(59), all...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	r.Source = "http://127.0.0.1:8464"
	return r
}

func render(t *testing.T, r *Report, f Format, o TextOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, r, f, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test -update writes it anew\n%s", path, firstDifference(got, want))
	}
}

func firstDifference(got, want []byte) string {
	a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "got  " + a[i] + "\nwant " + b[i]
		}
	}
	return "one is longer"
}

func TestGoldenFiles(t *testing.T) {
	r := example(t)
	golden(t, "report.json", render(t, r, JSON, TextOptions{}))
	golden(t, "report.md", render(t, r, Markdown, TextOptions{}))
	golden(t, "report.txt", render(t, r, Text, TextOptions{}))
	golden(t, "report-width60-color.txt", render(t, r, Text, TextOptions{Color: true, Width: 60}))
}

func TestTextFitsItsWidth(t *testing.T) {
	for line := range strings.Lines(string(render(t, example(t), Text, TextOptions{Width: 80}))) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// No format may let a name become markup or move a cursor.
func TestHostileNames(t *testing.T) {
	r := example(t)
	if text := render(t, r, Text, TextOptions{}); bytes.ContainsRune(text, 0x1b) {
		t.Error("an escape sequence reached the terminal")
	}
	if md := render(t, r, Markdown, TextOptions{}); bytes.Contains(md, []byte("<script")) || bytes.Contains(md, []byte("<img")) {
		t.Error("markup reached the Markdown")
	}
	var back Report
	if err := json.Unmarshal(render(t, r, JSON, TextOptions{}), &back); err != nil || back.Functions[0].Name != hostile {
		t.Errorf("the name does not survive JSON: %v", err)
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := Render(&bytes.Buffer{}, &Report{}, "pdf", TextOptions{}); err == nil {
		t.Error("a PDF was written")
	}
}

// An empty store is a report too.
func TestEmptyReport(t *testing.T) {
	r := build(t, newStore(t), Options{})
	for _, f := range Formats() {
		if got := render(t, r, f, TextOptions{}); len(got) == 0 {
			t.Errorf("%s is empty", f)
		}
	}
	if len(r.Gaps) != 1 || r.Gaps[0].Kind != GapNoHeartbeat {
		t.Errorf("gaps = %v", r.Gaps)
	}
}
