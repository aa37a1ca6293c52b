package report

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The flame graph shows every module, is as wide as the init, can be zoomed
// with mouse and keyboard, and searched.
func TestFlameGraphInBrowser(t *testing.T) {
	ctx := browser(t)
	r := profiledReport(t)
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
	ask := func(js string) string {
		t.Helper()
		out, err := chromedp.Run(ctx, chromedp.Evaluate[string](js))
		if err != nil {
			t.Fatal(js, err)
		}
		return out
	}
	const names = `[...document.querySelectorAll('.flame div')].map(e => e.textContent).join('|')`
	want := "init 480 ms|src/index.js 440 ms|sharp/index.js 235 ms|sharp/<img src=x onerror=alert(1)>.js 5.0 ms|@aws-sdk/client-s3/index.js 150 ms|node:https 20.0 ms|runtime 40.0 ms"
	if got := ask(names); got != want {
		t.Errorf("shown:\n%s\nwant\n%s", got, want)
	}
	width := `(i => { const g = document.querySelector('.flame').getBoundingClientRect(), e = document.querySelectorAll('.flame div')[i].getBoundingClientRect(); return (e.width / g.width).toFixed(2) })`
	if got := ask(width + "(2)"); got != "0.49" { // 235 of 480
		t.Errorf("sharp is %s wide", got)
	}
	// A click zooms in, what is above stays; Escape goes back.
	ask(`document.querySelectorAll('.flame div')[4].click(), ''`)
	if got := ask(names); !strings.HasPrefix(got, "init 480 ms|src/index.js 440 ms|@aws-sdk/client-s3/index.js 150 ms|node:https") || ask(width+"(2)") != "1.00" {
		t.Errorf("after a click: %s", got)
	}
	if note := ask(`document.querySelector('.flame-note').textContent`); !strings.Contains(note, "150 ms in all, 130 ms of its own") || !strings.Contains(note, "Imported by src/index.js") {
		t.Errorf("note: %s", note)
	}
	ask(`document.querySelector('.flame').dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true})), ''`)
	if got := ask(`window.thawFlames[0].focus().name`); got != "src/index.js" {
		t.Errorf("Escape went to %s", got)
	}
	ask(`(e => { e.value = 'SHARP'; e.dispatchEvent(new Event('input')) })(document.querySelector('[data-flame=search]')), ''`)
	if got := ask(`document.querySelector('[data-flame=found]').textContent`); got != "2 modules, 235 ms (49.0 % of the init)" {
		t.Errorf("found %q", got)
	}
	if got := ask(`String(document.querySelectorAll('.flame .hit').length)`); got != "2" {
		t.Errorf("%s are marked", got)
	}
	ask(`(e => { e.value = ''; e.dispatchEvent(new Event('input')) })(document.querySelector('[data-flame=search]')), ''`)
	// The slowest is the one that timed out: what was open has another colour.
	ask(`(e => { e.value = '2'; e.dispatchEvent(new Event('change')) })(document.querySelector('[data-flame=pick]')), ''`)
	if got := ask(`[...document.querySelectorAll('.flame .open')].map(e => e.textContent).join('|')`); !strings.Contains(got, "src/slow.js") {
		t.Errorf("open are %s", got)
	}
	v.check(t)
	if dir := os.Getenv("THAW_SCREENSHOTS"); dir != "" {
		ask(`(e => { e.value = '0'; e.dispatchEvent(new Event('change')) })(document.querySelector('[data-flame=pick]')), ''`)
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				if err := chromedp.Do(ctx, preferScheme(scheme), chromedp.EmulateViewport(width, 900), chromedp.Sleep(200*time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				png, err := chromedp.Run(ctx, chromedp.Screenshot(chromedp.CSS(".profile")))
				if err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(dir, "profile-"+scheme+"-"+map[int64]string{1280: "wide", 390: "narrow"}[width]+".png")
				if err := os.WriteFile(name, png, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
