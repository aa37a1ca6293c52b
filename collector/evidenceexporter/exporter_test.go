package evidenceexporter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/goleak"

	"github.com/thaw-lambda/thaw/internal/evidence"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// host has an extension that serves what is mounted, and flushes.
type host struct {
	mounted http.Handler
	flush   func(context.Context) error
}

func (h *host) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("web"): h}
}
func (h *host) Start(context.Context, component.Host) error { return nil }
func (h *host) Shutdown(context.Context) error              { return nil }
func (h *host) Mount(_ string, m http.Handler) func() {
	h.mounted = m
	return func() { h.mounted = nil }
}
func (h *host) OnFlush(_ string, f func(context.Context) error) func() {
	h.flush = f
	return func() { h.flush = nil }
}

type running struct {
	exporter.Traces
	*host
	t *testing.T
}

func start(t *testing.T, dir string, change ...func(*Config)) *running {
	t.Helper()
	f := NewFactory()
	cfg := f.CreateDefaultConfig().(*Config)
	cfg.Directory = dir
	for _, c := range change {
		c(cfg)
	}
	exp, err := f.CreateTraces(t.Context(), exportertest.NewNopSettings(f.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{exp, &host{}, t}
	if err := exp.Start(t.Context(), r.host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exp.Shutdown(context.Background()) })
	return r
}

func environment(function, version string) *lifecycle.Environment {
	return &lifecycle.Environment{Function: lifecycle.Function{AccountID: "123456789012", Region: "eu-west-1", Name: function},
		Version: version, ID: "env", MemoryMB: 512, Arch: "arm64", RuntimeVersion: "nodejs:22.v3"}
}

// coldStart is the trace of a cold start n seconds after base, whose init took
// initMS.
func coldStart(env *lifecycle.Environment, n, initMS int, report bool) ptrace.Traces {
	td := ptrace.NewTraces()
	e := &lifecycle.Encoder{Environment: env}
	e.Invocation(e.Scope(td), invocation(n, initMS, report))
	return td
}

func invocation(n, initMS int, report bool) *lifecycle.Invocation {
	at := base.Add(time.Duration(n) * time.Second)
	took := time.Duration(initMS) * time.Millisecond
	inv := &lifecycle.Invocation{RequestID: fmt.Sprint("r", n), Start: at.Add(took), StartType: lifecycle.Cold, Status: lifecycle.Success,
		Init: &lifecycle.Init{Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Start: at, Duration: took, Status: lifecycle.Success,
			Profile: &lifecycle.InitProfile{Hook: "node/1", Tree: []byte("tree")}},
		Run: &lifecycle.Run{Duration: time.Second}}
	if report {
		inv.Report = &lifecycle.Report{Received: true, Duration: time.Second}
	}
	return inv
}

func (r *running) consume(td ptrace.Traces) {
	r.t.Helper()
	if err := r.ConsumeTraces(r.t.Context(), td); err != nil {
		r.t.Fatal(err)
	}
	if err := r.flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) get(target string) (int, []byte) {
	w := httptest.NewRecorder()
	r.mounted.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, body
}

func (r *running) list(query string) []evidence.ColdStart {
	r.t.Helper()
	code, body := r.get(evidence.Path + query)
	var list evidence.List
	if err := json.Unmarshal(body, &list); err != nil || code != 200 {
		r.t.Fatalf("%d %s: %v", code, body, err)
	}
	return list.ColdStarts
}

func inits(list []evidence.ColdStart) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprint(c.InitMS))
	}
	return strings.Join(out, " ")
}

func TestKeepsTheSlowestAndTheNewest(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	env := environment("thumbnail", "7")
	for i, ms := range []int{500, 900, 100, 800, 110, 120, 130, 700, 140, 150, 160} {
		r.consume(coldStart(env, i, ms, true))
		r.consume(coldStart(env, i, ms, true)) // sent again
	}
	if got, want := inits(r.list("?function=thumbnail")), "160 150 140 700 800 900"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	one := r.list("?limit=1")[0]
	want := evidence.ColdStart{ID: one.ID, Account: "123456789012", Region: "eu-west-1", Function: "thumbnail", Version: "7", MemoryMB: 512,
		Architecture: "arm64", Runtime: "nodejs:22.v3", Start: base.Add(10 * time.Second), InitMS: 160, Kind: "on-demand", Phase: "init", Demand: "on-path",
		Status: "success", Profiled: true}
	if one != want {
		t.Errorf("got %+v\nwant %+v", one, want)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 6 {
		t.Errorf("%d files, want 6", len(files))
	}
	// A restart knows them all.
	if err := r.Traces.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.consume(coldStart(env, 100, 1, true))
	if got, want := inits(r.list("")), "1 160 150 700 800 900"; got != want {
		t.Errorf("after a restart %s, want %s", got, want)
	}
}

func TestTrace(t *testing.T) {
	r := start(t, t.TempDir())
	env := environment("thumbnail", "7")
	td := coldStart(env, 1, 100, false)
	// A warm invocation that came in the same batch is of another trace.
	warm := invocation(9, 1, true)
	warm.Init, warm.StartType = nil, lifecycle.Warm
	e := &lifecycle.Encoder{Environment: env}
	e.Invocation(td.ResourceSpans().At(0).ScopeSpans().At(0).Spans(), warm)
	r.consume(td)
	// Its report comes later.
	late := ptrace.NewTraces()
	e.Report(e.Scope(late), invocation(1, 100, true))
	r.consume(late)

	id := r.list("")[0].ID
	code, body := r.get(evidence.Path + "/" + id)
	var u ptrace.ProtoUnmarshaler
	back, err := u.UnmarshalTraces(body)
	if err != nil || code != 200 {
		t.Fatalf("%d: %v", code, err)
	}
	types := map[string]int{}
	for _, rs := range back.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				kind, _ := span.Attributes().Get(lifecycle.AttrSpanType)
				types[kind.Str()]++
				if span.TraceID().String() != traceOf(id) {
					t.Errorf("%s is of another trace", span.Name())
				}
			}
		}
	}
	if types["invocation"] != 1 || types["init"] != 1 || types["report"] != 1 || types["run"] != 1 {
		t.Errorf("the trace has %v", types)
	}
	if code, body := r.get(evidence.Path + "/" + id + "?format=json"); code != 200 || !json.Valid(body) || !strings.Contains(string(body), "faas.name") {
		t.Errorf("%d %.100s", code, body)
	}
	for target, want := range map[string]int{
		"/nothing": 400, "/..%2f..%2fetc%2fpasswd": 400, "/" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16): 404, "?limit=0": 400, "?limit=x": 400,
	} {
		if code, body := r.get(evidence.Path + target); code != want {
			t.Errorf("%s: %d %s, want %d", target, code, body, want)
		}
	}
}

func TestVersionsAreBounded(t *testing.T) {
	r := start(t, t.TempDir(), func(c *Config) { c.Versions = 2 })
	for i, v := range []string{"1", "2", "3", "1", "4"} {
		r.consume(coldStart(environment("f", v), i, 100+i, true))
	}
	var versions []string
	for _, c := range r.list("") {
		versions = append(versions, c.Version)
	}
	if got := strings.Join(versions, " "); got != "4 1" {
		t.Errorf("versions %s, want 4 1", got)
	}
}

func TestSpaceIsBounded(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, func(c *Config) { c.MaxBytes = 1 << 20 })
	for i := range 600 {
		r.consume(coldStart(environment(fmt.Sprint("f", i), "1"), i, 100, true))
	}
	list := r.list("?limit=1000")
	if n := len(list); n > 256 || n < 200 || list[0].Function != "f599" {
		t.Errorf("%d are kept, the newest of %s", n, list[0].Function)
	}
	if files, _ := os.ReadDir(dir); len(files) != len(list) {
		t.Errorf("%d files of %d that are kept", len(files), len(list))
	}
}

// What is in the folder and cannot be read is nobody's evidence.
func TestBrokenFiles(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	r.consume(coldStart(environment("f", "1"), 1, 100, true))
	id := r.list("")[0].ID
	if err := r.Traces.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, id+suffix))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16)
	torn := strings.Repeat("c", 32) + "-" + strings.Repeat("d", 16)
	for name, data := range map[string][]byte{other + suffix: good, torn + suffix: good[:len(good)/2], id + suffix + ".tmp": good, "notes.txt": []byte("mine")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = start(t, dir)
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.list(""); len(got) != 1 || got[0].ID != id {
		t.Errorf("kept %+v", got)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("left are %v, want the good one and what is not ours", left)
	}
}

func TestConfig(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*Config{
		"evidence":     {Directory: "/var/lib/thaw/evidence", Slowest: 3, Newest: 3, Versions: 4, MaxBytes: 256 << 20},
		"evidence/all": {Directory: "/var/lib/thaw/evidence", Slowest: 5, Newest: 6, Versions: 7, MaxBytes: 1 << 20},
	}
	for name, w := range want {
		sub, err := conf.Sub(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := createDefaultConfig().(*Config)
		if err := sub.Unmarshal(cfg); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(cfg, w) || cfg.Validate() != nil {
			t.Errorf("%s: %+v, %v", name, cfg, cfg.Validate())
		}
	}
	for field, spoil := range map[string]func(*Config){
		"directory": func(c *Config) { c.Directory = "" }, "slowest": func(c *Config) { c.Slowest = -1 }, "newest": func(c *Config) { c.Newest = 0 },
		"versions": func(c *Config) { c.Versions = 0 }, "max_bytes": func(c *Config) { c.MaxBytes = 1 },
	} {
		cfg := createDefaultConfig().(*Config)
		cfg.Directory = "x"
		spoil(cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
