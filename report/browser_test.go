package report

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts Chromium on an empty profile.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := "/usr/bin/chromium"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("google-chrome"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("Chromium is not installed: apt-get install chromium")
			}
			t.Skip("NOT TESTED in a browser: Chromium is not installed (apt-get install chromium)")
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() { cancel(); stop() })
	return ctx
}

// visit opens a page and returns what it asked for and what it complained of.
type visit struct {
	mu         sync.Mutex
	requests   []string
	complaints []string
}

func (v *visit) listen(ctx context.Context) error {
	return chromedp.Listen(ctx, func(event any) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "data:") {
				v.requests = append(v.requests, e.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			v.complaints = append(v.complaints, fmt.Sprintf("%+v", *e.ExceptionDetails))
		case *runtime.EventConsoleAPICalled:
			v.complaints = append(v.complaints, fmt.Sprint(e.Type, e.Args))
		case *log.EventEntryAdded:
			v.complaints = append(v.complaints, e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			v.complaints = append(v.complaints, "dialog: "+e.Message)
		}
	})
}

// check fails on any request but that for the file itself, and on anything in
// the console.
func (v *visit) check(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.requests) != 1 || !strings.HasPrefix(v.requests[0], "file://") {
		t.Errorf("requests: %v", v.requests)
	}
	if len(v.complaints) > 0 {
		t.Errorf("the console says: %v", v.complaints)
	}
}

func watchNetwork() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		// Violations of the page's policy are told here.
		_, err := cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		return err
	})
}

func preferScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	})
}

// drawn is a chart as the page has it.
type drawn struct {
	Kind     string
	Function string
	Series   []struct {
		Name string
		Type string
		Data []any
	}
}

const readCharts = `window.thawCharts.map(c => ({kind: c.kind, function: c.function.name,
	series: c.option.series.map(s => ({name: s.name || '', type: s.type, data: s.data}))}))`

// The page opens without a request to anywhere and without a complaint, and its
// charts show what the JSON says.
func TestPageInBrowser(t *testing.T) {
	ctx := browser(t)
	r := example(t)
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, render(t, r, HTML, TextOptions{}), 0o600); err != nil {
		t.Fatal(err)
	}
	var v visit
	if err := v.listen(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, watchNetwork(), chromedp.EmulateViewport(1280, 900), chromedp.Navigate("file://"+file)); err != nil {
		t.Fatal(err)
	}
	charts, err := chromedp.Run(ctx, chromedp.Evaluate[[]drawn](readCharts))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := chromedp.Run(ctx, chromedp.Evaluate[int](`window.dispatchEvent(new Event('beforeprint')), document.querySelectorAll('.chart svg').length`))
	if err != nil {
		t.Fatal(err)
	}
	// What a chart asks for, it asks for when it is drawn.
	if err := chromedp.Do(ctx, chromedp.Sleep(200*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	v.check(t)
	if len(charts) != 3*len(r.Functions) || shown != len(charts) {
		t.Fatalf("%d charts, %d drawn", len(charts), shown)
	}
	byName := map[string]*Function{}
	for _, f := range r.Functions {
		byName[f.Name] = f
	}
	for _, c := range charts {
		checkChart(t, byName[c.Function], c)
	}
	if dir := os.Getenv("THAW_SCREENSHOTS"); dir != "" {
		screenshots(t, ctx, dir)
	}
}

// checkChart compares every point with the model.
func checkChart(t *testing.T, f *Function, c drawn) {
	t.Helper()
	want := map[string][]*float64{}
	switch c.Kind {
	case "curve":
		for _, p := range f.MemoryCurve {
			want["mean"] = append(want["mean"], p.DurationMS.Mean)
			want["median (p50)"] = append(want["median (p50)"], p.DurationMS.P50)
			want["slowest 5 % (p95)"] = append(want["slowest 5 % (p95)"], p.DurationMS.P95)
			if len(f.MemoryCurve) > 1 && f.MemoryPrediction != nil {
				low, high := p.WarmMeanMS.Value, p.WarmMeanMS.Value
				if isPredicted(p) {
					low, high = p.WarmMeanMS.Low, p.WarmMeanMS.High
				}
				want["predicted mean"] = append(want["predicted mean"], p.WarmMeanMS.Value)
				want["low"] = append(want["low"], low)
				want["range"] = append(want["range"], figure(*high-*low))
			}
			if f.CostUSD.Value != nil {
				want["cost per million"] = append(want["cost per million"], p.CostPerMillionUSD)
			}
		}
	case "init":
		for _, p := range f.InitParts {
			want[p.Part+" ("+p.Basis+")"] = []*float64{&p.MeanMS}
		}
	case "starts":
		for _, q := range []Quantiles{f.DurationMS.Warm, f.DurationMS.First, f.DurationMS.Cold} {
			if q.Have == 0 {
				continue
			}
			want["mean"] = append(want["mean"], q.Mean)
			want["median (p50)"] = append(want["median (p50)"], q.P50)
			want["slowest 5 % (p95)"] = append(want["slowest 5 % (p95)"], q.P95)
		}
	}
	seen := 0
	for _, s := range c.Series {
		if s.Type == "custom" {
			continue
		}
		seen++
		if len(s.Data) != len(want[s.Name]) {
			t.Errorf("%s %s %s: %v, want %d points", f.Name, c.Kind, s.Name, s.Data, len(want[s.Name]))
			continue
		}
		for i, value := range s.Data {
			if m, ok := value.(map[string]any); ok {
				value = m["value"]
			}
			switch w := want[s.Name][i]; {
			case w == nil:
				if value != nil {
					t.Errorf("%s %s %s[%d] = %v, want none", f.Name, c.Kind, s.Name, i, value)
				}
			case value == nil || math.Abs(value.(float64)-*w) > 1e-9:
				t.Errorf("%s %s %s[%d] = %v, want %g", f.Name, c.Kind, s.Name, i, value, *w)
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%s %s: %d series, want %d", f.Name, c.Kind, seen, len(want))
	}
}

// screenshots writes what a person should look at now and then:
// THAW_SCREENSHOTS=/tmp/shots go test -run Browser ./report
func screenshots(t *testing.T, ctx context.Context, dir string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			if err := chromedp.Do(ctx, preferScheme(scheme), chromedp.EmulateViewport(width, 900), chromedp.Sleep(300*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			for name, selector := range map[string]string{"summary": ".summary", "findings": ".findings", "curve": "#function-4", "predicted": "#function-2"} {
				png, err := chromedp.Run(ctx, chromedp.Screenshot(chromedp.CSS(selector)))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width)), png, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// The data in the page is the JSON format.
func TestPageHoldsTheJSON(t *testing.T) {
	r := example(t)
	html := string(render(t, r, HTML, TextOptions{}))
	_, rest, _ := strings.Cut(html, `id="thaw-report">`)
	data, _, _ := strings.Cut(rest, "</script>")
	var back, want Report
	if err := json.Unmarshal([]byte(data), &back); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(render(t, r, JSON, TextOptions{}), &want); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(back)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Error("the data of the page is not the JSON report")
	}
	for _, markup := range []string{"<script>alert", "<img src=x", "http://", "https://"} {
		// ECharts holds namespaces of SVG as URLs, which are not loaded.
		if strings.Contains(strings.Replace(html[:strings.Index(html, `id="thaw-report"`)], r.Source, "", -1), markup) {
			t.Errorf("the page holds %q", markup)
		}
	}
}
