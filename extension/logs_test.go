package extension

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// logBackend takes log lines, and traces as a fakeBackend does.
type logBackend struct {
	*fakeBackend
	server *httptest.Server
	status int

	mu   sync.Mutex
	logs []plog.Logs
}

func newLogBackend(t *testing.T) *logBackend {
	b := &logBackend{fakeBackend: newFakeBackend(t)}
	mux := http.NewServeMux()
	mux.Handle("/v1/traces", b.fakeBackend)
	mux.HandleFunc("/v1/logs", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		logs, err := new(plog.ProtoUnmarshaler).UnmarshalLogs(inflate(t, body))
		if err != nil {
			t.Error(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.status != 0 {
			w.WriteHeader(b.status)
			return
		}
		b.logs = append(b.logs, logs)
	})
	b.server = httptest.NewServer(mux)
	t.Cleanup(b.server.Close)
	return b
}

func (b *logBackend) records() (out []plog.LogRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, logs := range b.logs {
		for _, rl := range logs.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, record := range sl.LogRecords().All() {
					out = append(out, record)
				}
			}
		}
	}
	return out
}

// someLines is a life with a cold start and its log.
func someLines(f *fakeLambda) {
	now := time.Now()
	coldStart(f)
	f.tell(telemetryEvent(now, lambdaapi.TypeFunction, `"while loading\n"`))
	f.invoke("a")
	f.awaitNext()
	f.tell(startEvent(now, "a"), telemetryEvent(now, lambdaapi.TypeFunction, `"hello\n"`),
		telemetryEvent(now, lambdaapi.TypeFunction, `{"level":"WARN","message":"full","n":3}`),
		telemetryEvent(now, "extension", `"thaw: sent\n"`), telemetryEvent(now, lambdaapi.TypeFunction, `7`),
		runtimeDoneEvent(now.Add(10*time.Millisecond), "a"), reportEvent(now.Add(12*time.Millisecond), "a"))
	f.shutdown("spindown")
}

// TestForward: lines arrive as parts of their invocation's trace, those of
// extensions do not, and nothing of it unless it is asked for.
func TestForward(t *testing.T) {
	for _, mode := range []string{"count", "forward"} {
		f, b := newFakeLambda(t), newLogBackend(t)
		r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.server.URL, "THAW_LOGS="+mode)
		f.awaitNext()
		someLines(f)
		r.exits()
		var trace, span string
		var account lifecycle.Account
		for _, traces := range b.batches {
			for _, rs := range traces.ResourceSpans().All() {
				for _, s := range rs.ScopeSpans().At(0).Spans().All() {
					if kind, _ := s.Attributes().Get(lifecycle.AttrSpanType); kind.Str() == string(lifecycle.SpanInvocation) {
						trace, span = s.TraceID().String(), s.SpanID().String()
					}
				}
			}
		}
		for _, o := range b.observations() {
			if o.Shutdown != nil {
				account = o.Shutdown.Account
			}
		}
		records := b.records()
		if mode == "count" {
			if len(records) != 0 || account.LogsForwarded+account.LogsDropped != 0 {
				t.Errorf("%d lines were forwarded, account %+v", len(records), account)
			}
			continue
		}
		var texts []string
		for _, record := range records {
			texts = append(texts, record.Body().AsString())
			if record.TraceID().String() != trace || record.SpanID().String() != span || trace == "" {
				t.Errorf("line %q is of trace %s, span %s; the invocation's are %s and %s", record.Body().AsString(), record.TraceID(), record.SpanID(), trace, span)
			}
			if id, _ := record.Attributes().Get(lifecycle.AttrInvocationID); id.Str() != "a" || record.Timestamp() == 0 || record.ObservedTimestamp() < record.Timestamp() {
				t.Errorf("line %q: request %q, times %v and %v", record.Body().AsString(), id.Str(), record.Timestamp(), record.ObservedTimestamp())
			}
		}
		if got, want := strings.Join(texts, "|"), `while loading|hello|{"level":"WARN","message":"full","n":3}|7`; got != want {
			t.Errorf("lines %s, want %s", got, want)
		}
		if n := records[2].SeverityNumber(); n != plog.SeverityNumberWarn || records[2].SeverityText() != "WARN" {
			t.Errorf("severity %v %s", n, records[2].SeverityText())
		}
		if account.LogsForwarded != 4 || account.LogsDropped != 0 || r.log.lines() != 0 {
			t.Errorf("account %+v, log:\n%s", account, r.log)
		}
	}
}

// TestForwardRefused: a backend that takes no logs costs nothing but them.
func TestForwardRefused(t *testing.T) {
	f, b := newFakeLambda(t), newLogBackend(t)
	b.status = http.StatusNotFound
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.server.URL, "THAW_LOGS=forward")
	f.awaitNext()
	someLines(f)
	r.exits()
	var account lifecycle.Account
	observations := b.observations()
	logged, _ := spooled(t, r.log.String())
	for _, o := range append(observations, logged...) {
		if o.Shutdown != nil {
			account = o.Shutdown.Account
		}
	}
	if account.LogsDropped != 4 || account.SpansDropped != 0 || account.SpansExported == 0 {
		t.Errorf("account %+v, log:\n%s", account, r.log)
	}
}

// TestForwardIsBounded: of a flood the newest lines are counted, not kept.
func TestForwardIsBounded(t *testing.T) {
	m := machine{forward: forwarding{on: true}}
	text := []byte(`"` + strings.Repeat("x", 1000) + `"`)
	for range 3000 {
		m.forwardLine(time.Now(), &event{text: text})
	}
	f := &m.forward
	if f.bytes > maxLogBytes || len(f.lines)+int(f.dropped) != 3000 || f.ready() != 0 {
		t.Errorf("%d bytes, %d lines, %d dropped, %d ready", f.bytes, len(f.lines), f.dropped, f.ready())
	}
	f.adopt(&invocation{})
	for f.ready() > 0 {
		batch := f.take()
		if len(batch) > maxLogBatchLines || len(batch)*len(text) > maxBatchBytes {
			t.Errorf("a batch of %d lines", len(batch))
		}
	}
	if f.bytes != 0 || len(f.lines) != 0 {
		t.Errorf("%d bytes, %d lines are left", f.bytes, len(f.lines))
	}
}

func TestLogsEndpoint(t *testing.T) {
	f := func(want string, environ ...string) {
		t.Helper()
		cfg, _ := readConfig(append(environ, "THAW_LOGS=forward"))
		if got := cfg.logsURL(); got != want {
			t.Errorf("%v: %q", environ, got)
		}
	}
	f("http://a:1/x/v1/logs", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1/x")
	f("http://b/l", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://b/l")
	f("", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1/in")
	if _, problems := readConfig([]string{"THAW_LOGS=forward", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1/in"}); len(problems) != 1 {
		t.Errorf("problems %q", problems)
	}
}
