package promapiextension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/features"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.uber.org/zap"

	"github.com/thaw-lambda/thaw/internal/version"
)

// prometheusVersion is the version whose API and PromQL this is; Grafana
// decides by it what it may ask for.
const prometheusVersion = "3.15.0"

// promapi is the component.
type promapi struct {
	cfg  *Config
	set  extension.Settings
	opts options

	store  *store
	engine *promql.Engine
	server *http.Server
	url    string
	conf   *confmap.Conf
	served sync.WaitGroup

	ready atomic.Bool

	mu      sync.Mutex
	flushes map[string]func(context.Context) error
	mounts  map[string]http.Handler
}

var (
	_ extension.Extension                         = (*promapi)(nil)
	_ extensioncapabilities.PipelineWatcher       = (*promapi)(nil)
	_ extensioncapabilities.ConfigSnapshotWatcher = (*promapi)(nil)
)

func newExtension(cfg *Config, set extension.Settings, opts options) *promapi {
	return &promapi{cfg: cfg, set: set, opts: opts, flushes: map[string]func(context.Context) error{}, mounts: map[string]http.Handler{}}
}

// Start opens the store and serves the API.
func (p *promapi) Start(_ context.Context, host component.Host) error {
	listener, err := net.Listen("tcp", p.cfg.Endpoint)
	if err != nil {
		return fmt.Errorf("promapi cannot serve at %s: %w: is another collector running? set another endpoint (THAW_HTTP_ENDPOINT in the default configuration)", p.cfg.Endpoint, err)
	}
	log := newSlog(p.set.Logger)
	if p.store, err = openStore(p.cfg, log); err != nil {
		return errors.Join(err, listener.Close())
	}
	p.engine = promql.NewEngine(promql.EngineOpts{
		Logger:               log,
		MaxSamples:           p.cfg.Query.MaxSamples,
		Timeout:              p.cfg.Query.Timeout,
		ActiveQueryTracker:   make(gate, p.cfg.Query.MaxConcurrency),
		LookbackDelta:        p.cfg.Query.LookbackDelta,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Minute.Milliseconds()
		},
		Parser: parser.NewParser(parser.Options{}),
	})
	p.url = "http://" + listener.Addr().String()
	p.server = &http.Server{
		Handler:           p.handler(listener.Addr()),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      p.cfg.Query.Timeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(p.set.Logger),
	}
	p.served.Go(func() {
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err))
		}
	})
	return nil
}

// AppenderV2 returns an appender into the store. Package tsdbexporter looks
// for an extension that has it.
func (p *promapi) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return p.store.AppenderV2(ctx)
}

// OnFlush registers what POST /-/flush calls, until the returned function is
// called. The connector looks for an extension that has it.
func (p *promapi) OnFlush(name string, flush func(context.Context) error) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushes[name] = flush
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.flushes, name)
	}
}

// Mount serves h at a path below /api/, and below that, until the returned
// function is called. The evidence exporter looks for an extension that has it.
func (p *promapi) Mount(path string, h http.Handler) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mounts[path] = h
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.mounts, path)
	}
}

// serveMounted passes a request on to what is mounted for its path.
func (p *promapi) serveMounted(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	var found http.Handler
	for path, h := range p.mounts {
		if r.URL.Path == path || strings.HasPrefix(r.URL.Path, path+"/") {
			found = h
		}
	}
	p.mu.Unlock()
	if found == nil {
		http.NotFound(w, r)
		return
	}
	found.ServeHTTP(w, r)
}

// NotifyConfigSnapshot keeps the configuration for [WithReady].
func (p *promapi) NotifyConfigSnapshot(_ context.Context, s extensioncapabilities.ConfigSnapshot) error {
	p.conf = s.Effective()
	return nil
}

// Ready is called when all pipelines run.
func (p *promapi) Ready() error {
	p.ready.Store(true)
	if p.opts.ready != nil {
		p.opts.ready(Ready{URL: p.url, Config: p.conf})
	}
	return nil
}

// NotReady is called before receivers stop.
func (p *promapi) NotReady() error {
	p.ready.Store(false)
	return nil
}

// closeTimeout bounds how long open queries may hold up a shutdown.
const closeTimeout = 5 * time.Second

// Shutdown stops serving and closes the store.
func (p *promapi) Shutdown(ctx context.Context) error {
	if p.server == nil {
		return nil // never started
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = p.server.Close()
	}
	p.served.Wait()
	return errors.Join(err, p.engine.Close(), p.store.Close())
}

// maxBody bounds a request: queries come as forms.
const maxBody = 1 << 20

func (p *promapi) handler(addr net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") })
	mux.HandleFunc("GET /-/ready", p.serveReady)
	mux.HandleFunc("POST /-/flush", p.serveFlush)
	api := p.api()
	for _, path := range []string{
		"query", "query_range", "query_exemplars", "format_query", "parse_query",
		"labels", "label/{name}/values", "series",
		"status/buildinfo", "status/runtimeinfo", "status/flags", "features",
	} {
		mux.Handle("/api/v1/"+path, api)
	}
	mux.Handle("GET /api/v1/metadata", &p.store.metadata)
	// Grafana asks for these of every Prometheus.
	mux.HandleFunc("GET /api/v1/rules", empty("groups"))
	mux.HandleFunc("GET /api/v1/alerts", empty("alerts"))
	mux.HandleFunc("/api/", p.serveMounted)
	mux.Handle("/", p.root(mux))
	return p.guard(addr, http.MaxBytesHandler(mux, maxBody))
}

func empty(key string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeData(w, map[string]any{key: []any{}}) }
}

// root is what was mounted, or a line that says where one is.
func (p *promapi) root(api http.Handler) http.Handler {
	if p.opts.mount != nil {
		return p.opts.mount(API{URL: p.url, Handler: api})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "thaw-collector %s: a Prometheus data source; ask %s/api/v1/query\n", version.String(), p.url)
	})
}

func (p *promapi) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !p.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (p *promapi) serveFlush(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	var flushes []func(context.Context) error
	for _, flush := range p.flushes {
		flushes = append(flushes, flush)
	}
	p.mu.Unlock()
	var err error
	for _, flush := range flushes {
		err = errors.Join(err, flush(r.Context()))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "flushed")
}

// guard answers only requests that were meant for us, when we are only for
// this machine: a page that lets its own name resolve to 127.0.0.1 is not.
func (p *promapi) guard(addr net.Addr, next http.Handler) http.Handler {
	if tcp, ok := addr.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return next
	}
	allowed := map[string]bool{"localhost": true, "": true}
	for _, h := range p.cfg.AllowedHosts {
		allowed[h] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(host); !allowed[host] && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this host name is not among allowed_hosts", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// api returns Prometheus's own handler. What it is not given, remote write and
// the admin API among it, is off; what it would look for in vain, such as
// targets, is not routed to it.
func (p *promapi) api() http.Handler {
	started := time.Now()
	log := newSlog(p.set.Logger)
	api := apiv1.NewAPI(
		p.engine,
		p.store.DB,
		nil, nil, // appendables
		p.store.DB,
		nil, nil, nil, // scrape pools, targets, alertmanagers
		func() config.Config { return config.DefaultConfig },
		map[string]string{},
		apiv1.GlobalURLOptions{ListenAddress: p.cfg.Endpoint, Host: p.cfg.Endpoint, Scheme: "http"},
		func(h http.HandlerFunc) http.HandlerFunc { return h },
		nil, p.cfg.Directory, // admin
		false, false, 0, // admin, search
		log,
		nil,     // rules
		0, 1, 0, // remote read
		false, // agent
		nil,   // CORS
		func() (apiv1.RuntimeInfo, error) {
			return apiv1.RuntimeInfo{
				StartTime:           started,
				ServerTime:          time.Now(),
				ReloadConfigSuccess: true,
				GoroutineCount:      runtime.NumGoroutine(),
				GOMAXPROCS:          runtime.GOMAXPROCS(0),
				StorageRetention:    p.cfg.Retention.String(),
			}, nil
		},
		&apiv1.PrometheusVersion{
			Version:   prometheusVersion,
			Revision:  "thaw-" + version.String(),
			GoVersion: runtime.Version(),
		},
		nil, nil, // notifications
		nil, nil, // gatherer, registerer
		nil,        // statistics
		false, nil, // remote write
		false, false, false, false, // OTLP
		p.cfg.Query.LookbackDelta,
		false, false, // type and unit labels, metadata
		nil,
		features.NewRegistry(),
		// The description of the API costs a quarter of a second to render,
		// and is not served: so none of it.
		apiv1.OpenAPIOptions{IncludePaths: []string{"/none"}},
		parser.NewParser(parser.Options{}),
	)
	router := route.New()
	api.Register(router.WithPrefix("/api/v1"))
	return router
}
