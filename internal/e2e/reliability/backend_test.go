package reliability

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// fault is one way in which a backend behaves.
type fault struct {
	name string
	// dead: nothing is ever acknowledged, so everything has to be in the log.
	dead bool
	// start returns the endpoint.
	start func(*testing.T, *backend) string
	// between is called after every invocation.
	between func(*backend)
}

var faults = []fault{
	{name: "healthy", start: answering(func(b *backend, w http.ResponseWriter, n int) bool { return true })},
	{name: "slow 300 ms", start: answering(func(b *backend, w http.ResponseWriter, n int) bool {
		time.Sleep(300 * time.Millisecond)
		return true
	})},
	{name: "503", dead: true, start: answering(func(_ *backend, w http.ResponseWriter, _ int) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	})},
	{name: "429 with Retry-After", start: answering(func(_ *backend, w http.ResponseWriter, n int) bool {
		if n > 2 {
			return true
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return false
	})},
	{name: "4xx", dead: true, start: answering(func(_ *backend, w http.ResponseWriter, _ int) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return false
	})},
	{name: "refused", dead: true, start: func(*testing.T, *backend) string { return "http://127.0.0.1:1" }},
	{name: "hang after connect", dead: true, start: silent("http://")},
	{name: "hang in TLS", dead: true, start: silent("https://")},
	{name: "DNS failure", dead: true, start: func(*testing.T, *backend) string { return "http://collector.invalid:4318" }},
	{name: "reset after freeze", start: answering(func(*backend, http.ResponseWriter, int) bool {
		time.Sleep(10 * time.Millisecond)
		return true
	}), between: (*backend).reset},
	{name: "partial success", start: answering(func(b *backend, w http.ResponseWriter, _ int) bool {
		b.mu.Lock()
		b.rejected++
		b.mu.Unlock()
		w.Write([]byte("\x0a\x08\x08\x01\x12\x04full")) // one span rejected
		return true
	})},
}

// backend keeps what it has acknowledged.
type backend struct {
	t *testing.T

	mu       sync.Mutex
	requests int
	rejected int
	traces   []ptrace.Traces
	conns    map[net.Conn]bool
}

// answering starts a server. Answer says whether it takes the request, and may
// answer itself.
func answering(answer func(b *backend, w http.ResponseWriter, n int) bool) func(*testing.T, *backend) string {
	return func(t *testing.T, b *backend) string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			traces, err := read(r)
			if err != nil {
				return // the connection was cut
			}
			b.mu.Lock()
			b.requests++
			n := b.requests
			b.mu.Unlock()
			if answer(b, w, n) && r.Context().Err() == nil {
				b.mu.Lock()
				b.traces = append(b.traces, traces)
				b.mu.Unlock()
			}
		}))
		server.Config.ConnState = b.track
		server.Start()
		t.Cleanup(server.Close)
		return server.URL
	}
}

func read(r *http.Request) (ptrace.Traces, error) {
	zipped, err := gzip.NewReader(r.Body)
	if err != nil {
		return ptrace.Traces{}, err
	}
	body, err := io.ReadAll(zipped)
	if err != nil {
		return ptrace.Traces{}, err
	}
	return unmarshal(body)
}

func unmarshal(body []byte) (ptrace.Traces, error) {
	var u ptrace.ProtoUnmarshaler
	return u.UnmarshalTraces(bytes.Clone(body))
}

func (b *backend) track(conn net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch state {
	case http.StateNew:
		if b.conns == nil {
			b.conns = map[net.Conn]bool{}
		}
		b.conns[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(b.conns, conn)
	}
}

// reset cuts every connection with a RST.
func (b *backend) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// silent accepts connections, and never says a word.
func silent(scheme string) func(*testing.T, *backend) string {
	return func(t *testing.T, _ *backend) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		return scheme + listener.Addr().String()
	}
}
