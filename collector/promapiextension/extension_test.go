package promapiextension

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(t *testing.T) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoint = "127.0.0.1:0"
	cfg.Directory = t.TempDir()
	return cfg
}

func newTest(t *testing.T, cfg *Config, opts ...Option) *promapi {
	t.Helper()
	f := NewFactory(opts...)
	ext, err := f.Create(context.Background(), extensiontest.NewNopSettings(f.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ext.(*promapi)
}

func startTest(t *testing.T, cfg *Config, opts ...Option) *promapi {
	t.Helper()
	p := newTest(t, cfg, opts...)
	if err := p.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// ask returns the status and the body of an answer.
func (p *promapi) ask(method, target string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:1"
	p.server.Handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestMount(t *testing.T) {
	p := startTest(t, testConfig(t))
	remove := p.Mount("/api/things", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	for target, want := range map[string]int{"/api/things": 200, "/api/things/1": 200, "/api/thingsandmore": 404, "/api/v1/nothing": 404, "/api/v1/query?query=1": 200} {
		if code, body := p.ask(http.MethodGet, target); code != want {
			t.Errorf("%s: %d %s, want %d", target, code, body, want)
		}
	}
	remove()
	if code, _ := p.ask(http.MethodGet, "/api/things"); code != 404 {
		t.Errorf("what was taken back is served: %d", code)
	}
}

func (p *promapi) append(t *testing.T, at time.Time, name string, v float64) {
	t.Helper()
	app := p.AppenderV2(context.Background())
	_, err := app.Append(0, labels.FromStrings("__name__", name, "a", "b"), 0, at.UnixMilli(), v, nil, nil, storage.AppendV2Options{
		MetricFamilyName: name, Metadata: metadata.Metadata{Type: "counter", Help: "what it is"},
	})
	if err := errors.Join(err, app.Commit()); err != nil {
		t.Fatal(err)
	}
}

func TestQuery(t *testing.T) {
	cfg := testConfig(t)
	p := startTest(t, cfg)
	p.append(t, time.Now(), "m_total", 42)
	f := func(target string, wantCode int, want string) {
		t.Helper()
		if code, body := p.ask("GET", target); code != wantCode || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d %s\nwant %d %s", target, code, body, wantCode, want)
		}
	}
	f("/api/v1/query?query=m_total", 200, `"42"`)
	f("/api/v1/query?query=m_total%20%40%201%20offset%20-1s", 200, `"result":[]`)
	f("/api/v1/query?query=", 400, "bad_data")
	f("/api/v1/labels", 200, `"a"`)
	f("/api/v1/metadata", 200, `"m_total":[{"type":"counter","help":"what it is","unit":""}]`)
	f("/api/v1/metadata?metric=other", 200, `"data":{}`)
	f("/api/v1/metadata?limit=0", 200, `"data":{}`)
	f("/api/v1/metadata?limit=x", 400, "bad_data")
	f("/api/v1/status/buildinfo", 200, prometheusVersion)
	f("/api/v1/status/runtimeinfo", 200, "360h")
	f("/", 200, "data source")
	f("/api/v1/query?query="+strings.Repeat("1%2B", 1000)+"1", 200, "success")
	if code, _ := p.ask("POST", "/api/v1/admin/tsdb/delete_series?match[]=m_total"); code != 404 {
		t.Errorf("the admin API answers %d", code)
	}
}

func TestQueryLimits(t *testing.T) {
	cfg := testConfig(t)
	cfg.Query.MaxSamples = 3
	p := startTest(t, cfg)
	for i := range 10 {
		p.append(t, time.Now().Add(time.Duration(i-10)*time.Second), "m", 1)
	}
	if code, body := p.ask("GET", "/api/v1/query?query=count_over_time(m[1m])"); code != 422 || !strings.Contains(body, "too many samples") {
		t.Errorf("%d %s", code, body)
	}
	// A body that is too large.
	resp, err := http.Post(p.url+"/api/v1/query", "application/x-www-form-urlencoded", strings.NewReader("query="+strings.Repeat("1", maxBody)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("a body of more than %d bytes: %s", maxBody, resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestGate(t *testing.T) {
	g := make(gate, 1)
	if _, err := g.Insert(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Insert(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a second query: %v", err)
	}
	g.Delete(0)
	if _, err := g.Insert(context.Background(), ""); err != nil || g.GetMaxConcurrent() != 1 {
		t.Error("the first query is still counted")
	}
}

func TestReadyAndFlush(t *testing.T) {
	var ready Ready
	p := startTest(t, testConfig(t), WithReady(func(r Ready) { ready = r }))
	f := func(method, target string, want int) {
		t.Helper()
		if code, body := p.ask(method, target); code != want {
			t.Errorf("%s %s: %d %s, want %d", method, target, code, body, want)
		}
	}
	f("GET", "/-/ready", 503)
	p.Ready()
	f("GET", "/-/ready", 200)
	if ready.URL != p.url || strings.HasSuffix(p.url, ":0") {
		t.Errorf("ready %+v, serving at %s", ready, p.url)
	}
	p.NotReady()
	f("GET", "/-/ready", 503)

	flushed, err := 0, error(nil)
	remove := p.OnFlush("c", func(context.Context) error { flushed++; return err })
	f("POST", "/-/flush", 200)
	err = errors.New("no")
	f("POST", "/-/flush", 500)
	remove()
	f("POST", "/-/flush", 200)
	f("GET", "/-/flush", 404)
	if flushed != 2 {
		t.Errorf("flushed %d times, want 2", flushed)
	}
}

func TestWithHandler(t *testing.T) {
	p := startTest(t, testConfig(t), WithHandler(func(api API) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "report over "+api.URL) })
	}))
	if _, body := p.ask("GET", "/any/page"); body != "report over "+p.url {
		t.Errorf("GET /any/page: %s", body)
	}
	if code, _ := p.ask("GET", "/-/healthy"); code != 200 {
		t.Errorf("what is mounted hides our own routes: %d", code)
	}
}

func TestForeignHosts(t *testing.T) {
	cfg := testConfig(t)
	cfg.AllowedHosts = []string{"thaw.example.com"}
	p := startTest(t, cfg)
	for host, want := range map[string]int{
		"localhost:8464": 200, "127.0.0.1": 200, "[::1]:1": 200, "thaw.example.com": 200,
		"evil.example": 403, "10.0.0.1:8464": 403,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/-/healthy", nil)
		r.Host = host
		if p.server.Handler.ServeHTTP(w, r); w.Code != want {
			t.Errorf("Host: %s: %d, want %d", host, w.Code, want)
		}
	}
}

func TestStartErrors(t *testing.T) {
	cfg := testConfig(t)
	p := startTest(t, cfg)
	other := testConfig(t)
	other.Endpoint = strings.TrimPrefix(p.url, "http://")
	q := newTest(t, other)
	if err := q.Start(context.Background(), componenttest.NewNopHost()); err == nil || !strings.Contains(err.Error(), "THAW_HTTP_ENDPOINT") {
		t.Errorf("a port in use: %v", err)
	}
	if err := q.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	other = testConfig(t)
	other.Directory = cfg.Directory
	if err := newTest(t, other).Start(context.Background(), componenttest.NewNopHost()); err == nil || !strings.Contains(err.Error(), "in use by another collector") {
		t.Errorf("a store in use: %v", err)
	}
}

func TestConfig(t *testing.T) {
	if err := componenttest.CheckConfigStruct(createDefaultConfig()); err != nil {
		t.Error(err)
	}
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) *Config {
		t.Helper()
		sub, err := conf.Sub(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := createDefaultConfig().(*Config)
		if err := sub.Unmarshal(cfg); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	minimal := createDefaultConfig().(*Config)
	minimal.Directory = "/var/lib/thaw/tsdb"
	full := &Config{
		Endpoint: "0.0.0.0:9090", AllowedHosts: []string{"thaw.example.com"}, Directory: "/data", Retention: 24 * time.Hour, MaxBytes: 1_000_000,
		Query: QueryConfig{Timeout: 10 * time.Second, MaxConcurrency: 2, MaxSamples: 1000, LookbackDelta: 6 * time.Minute},
	}
	for name, want := range map[string]*Config{"promapi": minimal, "promapi/full": full} {
		got := load(name)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if err := confmap.Validate(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := func(what string, change func(*Config)) {
		t.Helper()
		cfg := load("promapi")
		change(cfg)
		if confmap.Validate(cfg) == nil {
			t.Errorf("%s is valid", what)
		}
	}
	f("no port", func(c *Config) { c.Endpoint = "localhost" })
	f("no directory", func(c *Config) { c.Directory = "" })
	f("a short retention", func(c *Config) { c.Retention = time.Minute })
	f("negative max_bytes", func(c *Config) { c.MaxBytes = -1 })
	f("no timeout", func(c *Config) { c.Query.Timeout = 0 })
	f("no concurrency", func(c *Config) { c.Query.MaxConcurrency = 0 })
	f("no samples", func(c *Config) { c.Query.MaxSamples = 0 })
	f("a look-back that leaves gaps", func(c *Config) { c.Query.LookbackDelta = time.Minute })
}
