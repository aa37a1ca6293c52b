package extension

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/goleak"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLambda plays the Extensions API and the Telemetry API over real sockets.
type fakeLambda struct {
	*httptest.Server
	t testing.TB

	// registerStatus and subscribeStatus answer in place of a success, one
	// after the other.
	mu              sync.Mutex
	registerStatus  []int
	registerError   string
	subscribeStatus []int
	nextStatus      []int

	registered    []lambdaapi.RegisterRequest
	names         []string
	subscriptions []lambdaapi.Subscription
	nexts         chan time.Time           // calls of next
	events        chan lambdaapi.NextEvent // answers
	closed        chan struct{}
}

const testID = "6f1c4f2e-0000-4000-8000-000000000001"

func newFakeLambda(t testing.TB) *fakeLambda {
	f := &fakeLambda{
		t: t, nexts: make(chan time.Time, 1024), events: make(chan lambdaapi.NextEvent, 16),
		closed: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+lambdaapi.PathExtensionRegister, f.register)
	mux.HandleFunc("GET "+lambdaapi.PathExtensionNext, f.next)
	mux.HandleFunc("PUT "+lambdaapi.PathTelemetry, f.subscribe)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(func() { close(f.closed); f.Server.Close() })
	return f
}

func (f *fakeLambda) address() string { return strings.TrimPrefix(f.URL, "http://") }

func (f *fakeLambda) pop(list *[]int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(*list) == 0 {
		return 0
	}
	status := (*list)[0]
	*list = (*list)[1:]
	return status
}

func (f *fakeLambda) register(w http.ResponseWriter, r *http.Request) {
	var req lambdaapi.RegisterRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		f.t.Errorf("register: %v", err)
	}
	f.mu.Lock()
	f.registered = append(f.registered, req)
	f.names = append(f.names, r.Header.Get(lambdaapi.HeaderExtensionName))
	f.mu.Unlock()
	if status := f.pop(&f.registerStatus); status != 0 {
		refuse(w, status, f.registerError)
		return
	}
	w.Header().Set(lambdaapi.HeaderExtensionIdentifier, testID)
	fmt.Fprint(w, `{"accountId":"123456789012","functionName":"thumbnail","functionVersion":"7","handler":"index.handler"}`)
}

func refuse(w http.ResponseWriter, status int, errorType string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(lambdaapi.ErrorBody{ErrorMessage: "no", ErrorType: errorType})
}

func (f *fakeLambda) subscribe(w http.ResponseWriter, r *http.Request) {
	var sub lambdaapi.Subscription
	if err := json.NewDecoder(r.Body).Decode(&sub); err != nil {
		f.t.Errorf("subscribe: %v", err)
	}
	if got := r.Header.Get(lambdaapi.HeaderExtensionIdentifier); got != testID {
		f.t.Errorf("subscribe with identifier %q", got)
	}
	f.mu.Lock()
	f.subscriptions = append(f.subscriptions, sub)
	f.mu.Unlock()
	if status := f.pop(&f.subscribeStatus); status != 0 {
		refuse(w, status, "Telemetry.NotSupported")
		return
	}
	fmt.Fprint(w, `"OK"`)
}

func (f *fakeLambda) next(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get(lambdaapi.HeaderExtensionIdentifier); got != testID {
		f.t.Errorf("next with identifier %q", got)
	}
	f.nexts <- time.Now()
	if status := f.pop(&f.nextStatus); status != 0 {
		refuse(w, status, "InternalServerError")
		return
	}
	select {
	case ev := <-f.events:
		json.NewEncoder(w).Encode(ev)
	case <-r.Context().Done():
	case <-f.closed:
	}
}

// awaitNext waits for a call of next.
func (f *fakeLambda) awaitNext() time.Time {
	f.t.Helper()
	select {
	case at := <-f.nexts:
		return at
	case <-time.After(5 * time.Second):
		f.t.Fatal("next was not called")
	}
	return time.Time{}
}

func (f *fakeLambda) invoke(requestID string) {
	f.events <- lambdaapi.NextEvent{
		EventType: "INVOKE", RequestID: requestID, DeadlineMs: time.Now().Add(3 * time.Second).UnixMilli(),
		InvokedFunctionARN: "arn:aws:lambda:eu-west-1:123456789012:function:thumbnail:live",
		Tracing:            &lambdaapi.Tracing{Type: "X-Amzn-Trace-Id", Value: "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1"},
	}
}

func (f *fakeLambda) shutdown(reason string) {
	f.events <- lambdaapi.NextEvent{EventType: "SHUTDOWN", ShutdownReason: reason, DeadlineMs: time.Now().Add(2 * time.Second).UnixMilli()}
}

// destination is where telemetry goes, with the name replaced that only Lambda
// resolves.
func (f *fakeLambda) destination() string {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subscriptions) == 0 {
		f.t.Fatal("no subscription")
	}
	u, err := url.Parse(f.subscriptions[len(f.subscriptions)-1].Destination.URI)
	if err != nil {
		f.t.Fatal(err)
	}
	return "http://" + net.JoinHostPort("127.0.0.1", u.Port()) + u.Path
}

// tell delivers a batch of telemetry.
func (f *fakeLambda) tell(events ...string) {
	f.t.Helper()
	body := "[" + strings.Join(events, ",") + "]"
	req, err := http.NewRequest(http.MethodPost, f.destination(), strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Host = sandboxHost
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if res.StatusCode != http.StatusOK {
		f.t.Errorf("telemetry was answered with %d", res.StatusCode)
	}
}

func stamp(at time.Time) string { return at.UTC().Format(lambdaapi.TimeLayout) }

func telemetryEvent(at time.Time, kind, record string) string {
	return fmt.Sprintf(`{"time":%q,"type":%q,"record":%s}`, stamp(at), kind, record)
}

// fakeBackend is an OTLP/HTTP endpoint that keeps what it is sent.
type fakeBackend struct {
	*httptest.Server
	t testing.TB
	// answer, if set, is asked first; it returns true when it has answered.
	answer func(n int, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests int
	headers  []http.Header
	peers    map[string]bool // one a connection
	batches  []ptrace.Traces
}

func newFakeBackend(t testing.TB) *fakeBackend {
	b := &fakeBackend{t: t, peers: map[string]bool{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Server.Close)
	return b
}

func (b *fakeBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	b.requests++
	b.peers[r.RemoteAddr] = true
	n := b.requests
	b.headers = append(b.headers, r.Header.Clone())
	b.mu.Unlock()
	if b.answer != nil && b.answer(n, w, r) {
		return
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			b.t.Errorf("gzip: %v", err)
			return
		}
		if body, err = io.ReadAll(zr); err != nil {
			b.t.Errorf("gzip: %v", err)
		}
	}
	var u ptrace.ProtoUnmarshaler
	traces, err := u.UnmarshalTraces(body)
	if err != nil {
		b.t.Errorf("unmarshal: %v", err)
	}
	b.mu.Lock()
	b.batches = append(b.batches, traces)
	b.mu.Unlock()
}

// observations decodes everything that was received.
func (b *fakeBackend) observations() []lifecycle.Observation {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []lifecycle.Observation
	for _, traces := range b.batches {
		for _, rs := range traces.ResourceSpans().All() {
			lifecycle.Decode(rs, func(o lifecycle.Observation) { out = append(out, o) }, func(err error) { b.t.Error(err) })
		}
	}
	return out
}

func (b *fakeBackend) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests
}

// eventually waits for something that happens in the background.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}
