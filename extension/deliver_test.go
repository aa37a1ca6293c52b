package extension

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// delivery is a sender with a recorder in which an invocation runs.
type delivery struct {
	*sender
	rec *recorder
	log *logBuffer
}

func newDelivery(t *testing.T, endpoint string, env ...string) *delivery {
	t.Helper()
	cfg, problems := readConfig(append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint))
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	d := &delivery{log: new(logBuffer)}
	log := zerolog.New(d.log)
	d.rec = newRecorder(log)
	d.rec.queue = queue{maxSpans: cfg.queueSpans, maxBytes: cfg.queueBytes}
	d.rec.machine.newID = func() string { return "random" }
	d.rec.machine.env.Name = "thumbnail"
	d.rec.encoder.Environment = &d.rec.machine.env
	exporter, err := newExporter(&cfg, lookup(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exporter.close)
	d.sender = &sender{log: log, rec: d.rec, exporter: exporter}
	d.invoke(2)
	return d
}

// invoke adds n invocations, of which the last goes on running.
func (d *delivery) invoke(n int) {
	for range n {
		d.rec.invoke(lambdaapi.NextEvent{RequestID: fmt.Sprint("r", d.rec.invokes)})
	}
}

func TestSent(t *testing.T) {
	b := newFakeBackend(t)
	d := newDelivery(t, b.URL)
	settled, _ := d.attempt(context.Background())
	if a := d.rec.account; !settled || a.SpansExported != 1 || a.BytesExported == 0 || a.ExportFailures != 0 || len(b.observations()) != 1 {
		t.Errorf("account %+v", a)
	}
}

func TestConnectionIsReused(t *testing.T) {
	b := newFakeBackend(t)
	d := newDelivery(t, b.URL)
	for range 5 {
		d.invoke(1)
		d.attempt(context.Background())
	}
	if b.count() != 5 || len(b.peers) != 1 {
		t.Errorf("%d requests over %d connections", b.count(), len(b.peers))
	}
}

// TestStaleConnection: the backend closed the connection while the environment
// was frozen.
func TestStaleConnection(t *testing.T) {
	b := newFakeBackend(t)
	d := newDelivery(t, b.URL)
	d.attempt(context.Background())
	b.CloseClientConnections()
	d.invoke(1)
	if settled, _ := d.attempt(context.Background()); !settled {
		// The connection was still believed good, which costs one attempt.
		if settled, _ := d.attempt(context.Background()); !settled {
			t.Error("not delivered")
		}
	}
	if len(b.observations()) != 2 {
		t.Errorf("%d observations", len(b.observations()))
	}
}

func TestRetried(t *testing.T) {
	for _, test := range []struct {
		status     int
		retryAfter string
		want       time.Duration
	}{
		{429, "7", 7 * time.Second}, {502, "", 0}, {503, "100000", maxRetryAfter}, {504, "-5", 0}, {503, "nonsense", 0},
		{503, "Thu, 01 Jan 1970 00:00:00 GMT", 0},
	} {
		b := newFakeBackend(t)
		b.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Retry-After", test.retryAfter)
			w.WriteHeader(test.status)
			return true
		}
		d := newDelivery(t, b.URL)
		settled, after := d.attempt(context.Background())
		if settled || after != test.want || d.flying == nil {
			t.Errorf("%d %q: settled %v, after %v", test.status, test.retryAfter, settled, after)
		}
		if wait, ok := d.due(time.Now()); !ok || wait < max(test.want, backoffMin)-time.Second/2 {
			t.Errorf("%d %q: due in %v", test.status, test.retryAfter, wait)
		}
		if settled, _ := d.attempt(context.Background()); !settled || d.rec.account.SpansExported != 1 || d.rec.account.ExportFailures != 1 {
			t.Errorf("%d: account %+v", test.status, d.rec.account)
		}
		if d.log.lines() != 1 {
			t.Errorf("log:\n%s", d.log)
		}
	}
}

// TestRefused: what will never be accepted is given up, counted, and said once.
func TestRefused(t *testing.T) {
	for _, status := range []int{301, 307, 400, 401, 403, 404, 413, 500} {
		b := newFakeBackend(t)
		b.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "http://127.0.0.1:1/stolen")
			w.WriteHeader(status)
			return true
		}
		d := newDelivery(t, b.URL, "OTEL_EXPORTER_OTLP_HEADERS=x=secret")
		for range 3 {
			if settled, _ := d.attempt(context.Background()); !settled || d.flying != nil {
				t.Errorf("%d: not given up", status)
			}
			d.invoke(1)
		}
		if a := d.rec.account; a.SpansDropped != 3 || a.ExportFailures != 3 || d.log.lines() != 1 || strings.Contains(d.log.String(), "secret") {
			t.Errorf("%d: account %+v, log:\n%s", status, a, d.log)
		}
	}
}

func TestPartialSuccess(t *testing.T) {
	b := newFakeBackend(t)
	b.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Write([]byte("\x0a\x08\x08\x03\x12\x04full"))
		return true
	}
	d := newDelivery(t, b.URL)
	d.invoke(4)
	d.attempt(context.Background())
	if a := d.rec.account; a.SpansExported != 2 || a.SpansDropped != 3 || !strings.Contains(d.log.String(), "full") {
		t.Errorf("account %+v, log:\n%s", a, d.log)
	}
}

func TestPartialSuccessBytes(t *testing.T) {
	f := func(answer string, rejected int64, message string) {
		t.Helper()
		if r, m := partialSuccess([]byte(answer)); r != rejected || m != message {
			t.Errorf("%q: %d %q", answer, r, m)
		}
	}
	f("", 0, "")
	f("{}", 0, "")
	f("\x0a\x00", 0, "")
	f("\x0a\x02\x08\x05", 5, "")
	f("\x10\x01\x0a\x06\x12\x02no\x08\x07", 7, "no")
	f("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, "") // -1
	f("\x0a\x7f\x08", 0, "")
	f("\x0d\x01\x02\x03\x04\x0a\x02\x08\x01", 1, "")
	f("\x0b", 0, "")
}

func FuzzPartialSuccess(f *testing.F) {
	f.Add([]byte("\x0a\x08\x08\x03\x12\x04full"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if rejected, _ := partialSuccess(answer); rejected < 0 {
			t.Errorf("%d", rejected)
		}
	})
}

// TestConnectionFailures: refused, reset, hanging, and an answer that never
// ends: all are tried again, none takes longer than the timeout.
func TestConnectionFailures(t *testing.T) {
	release := make(chan struct{})
	handlers := map[string]http.HandlerFunc{
		"hang": func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-release },
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		},
		"half an answer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
	}
	urls := map[string]string{"refused": "http://127.0.0.1:1", "no such host": "http://collector.invalid:4318"}
	for name, handler := range handlers {
		server := httptest.NewServer(handler)
		defer server.Close()
		defer server.CloseClientConnections()
		urls[name] = server.URL
	}
	defer close(release) // before the servers, which wait for their handlers
	for name, endpoint := range urls {
		t.Run(name, func(t *testing.T) {
			d := newDelivery(t, endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT=100")
			began := time.Now()
			settled, _ := d.attempt(context.Background())
			if took := time.Since(began); settled || took > 5*time.Second {
				t.Errorf("settled %v after %v", settled, took)
			}
			if d.rec.account.ExportFailures != 1 || d.log.lines() != 1 {
				t.Errorf("account %+v, log:\n%s", d.rec.account, d.log)
			}
		})
	}
}

// TestFrozenAttempt: an attempt that a freeze has broken is made again at once,
// and is no trouble worth a line.
func TestFrozenAttempt(t *testing.T) {
	b := newFakeBackend(t)
	d := newDelivery(t, b.URL)
	b.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			return false
		}
		d.invoke(1)
		panic(http.ErrAbortHandler)
	}
	if settled, _ := d.attempt(context.Background()); settled || d.log.lines() != 0 {
		t.Errorf("settled %v, log:\n%s", settled, d.log)
	}
	if wait, ok := d.due(time.Now()); !ok || wait > 0 {
		t.Errorf("due in %v", wait)
	}
}

// TestDue is the policy "next".
func TestDue(t *testing.T) {
	d := newDelivery(t, "http://127.0.0.1:1")
	d.delay = time.Second
	now := time.Now()
	if wait, ok := d.due(now); !ok || wait <= 0 || wait > time.Second {
		t.Errorf("a young invocation is due in %v, %v", wait, ok)
	}
	if wait, ok := d.due(now.Add(2 * time.Second)); !ok || wait > 0 {
		t.Errorf("an old invocation is due in %v, %v", wait, ok)
	}
	d.rec.machine.open[0].done = true
	if _, ok := d.due(now.Add(2 * time.Second)); ok {
		t.Error("something is due while no invocation runs")
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	d := newDelivery(t, "http://user:secret@127.0.0.1:1/secret")
	d.attempt(context.Background())
	if d.log.lines() != 1 || strings.Contains(d.log.String(), "secret") || strings.Contains(d.log.String(), "user") {
		t.Errorf("log:\n%s", d.log)
	}
	err := withoutURL(fmt.Errorf("x: %w", &url.Error{URL: "http://secret", Err: errors.New("y")}))
	if err.Error() != "y" {
		t.Errorf("error %v", err)
	}
}

func TestCertificate(t *testing.T) {
	d, problems := readConfig([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE=/does/not/exist"})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if e, err := newExporter(&d, lookup(nil)); e == nil || err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_CERTIFICATE") {
		t.Errorf("error %v", err)
	}
}

// TestQueueIsBounded: the oldest go, and are counted.
func TestQueueIsBounded(t *testing.T) {
	entryOf := func(name string, spans int) entry {
		e := entry{spans: ptrace.NewSpanSlice()}
		for range spans {
			e.spans.AppendEmpty().SetName(name)
		}
		return e
	}
	evicted := 0
	push := func(q *queue, e entry) {
		for _, e := range q.push(e) {
			evicted += e.spans.Len()
		}
	}
	q := queue{maxSpans: 10, maxBytes: 1 << 20}
	for i := range 8 {
		push(&q, entryOf(fmt.Sprint(i), 3))
	}
	if q.spans != 9 || evicted != 15 || q.entries[0].spans.At(0).Name() != "5" {
		t.Errorf("%d spans, %d evicted, oldest %s", q.spans, evicted, q.entries[0].spans.At(0).Name())
	}
	push(&q, entryOf("too large", 11))
	if q.spans != 0 || q.bytes != 0 || evicted != 35 {
		t.Errorf("%d spans, %d bytes, %d evicted", q.spans, q.bytes, evicted)
	}
	q, evicted = queue{maxSpans: 100, maxBytes: 200}, 0
	for range 10 {
		push(&q, entryOf(strings.Repeat("x", 50), 1))
	}
	if q.bytes > 200 || q.spans+evicted != 10 {
		t.Errorf("%d spans, %d bytes, %d evicted", q.spans, q.bytes, evicted)
	}
	// What goes, goes in one piece.
	q = queue{maxSpans: 80, maxBytes: 1 << 20}
	for i := range 81 {
		if got := q.push(entryOf("x", 1)); len(got) != 0 && (i != 80 || len(got) != 11) {
			t.Errorf("push %d drove out %d", i, len(got))
		}
	}
	if got := q.take(2, 1<<20); len(got) != 2 {
		t.Errorf("took %d", len(got))
	}
	if got := q.take(0, 0); len(got) != 1 {
		t.Errorf("took %d, not one at least", len(got))
	}
}

// TestPanicStopsRecordingOnly: a defect of ours is told once and ends there.
func TestPanicStopsRecordingOnly(t *testing.T) {
	log := new(logBuffer)
	rec := newRecorder(zerolog.New(log))
	for range 3 {
		rec.do(func(time.Time) { panic("defect") })
	}
	rec.invoke(lambdaapi.NextEvent{})
	if log.lines() != 1 || rec.outstanding() {
		t.Errorf("log:\n%s", log)
	}
}
