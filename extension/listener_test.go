package extension

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// received counts what a listener passes on.
type received struct {
	mu        sync.Mutex
	events    []event
	malformed int64
}

func (r *received) observe(events []event, malformed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	r.malformed += malformed
}

func startListener(t *testing.T) (*listener, *received) {
	t.Helper()
	got := new(received)
	l, err := listen(context.Background(), zerolog.New(io.Discard), got.observe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l, got
}

func post(t *testing.T, l *listener, method, host string, body io.Reader) int {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/", l.port), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

func TestListener(t *testing.T) {
	good := `{"time":"2026-01-01T00:00:00.000Z","type":"platform.start","record":{"requestId":"r1"}}`
	tests := []struct {
		name, method, host, body  string
		status, events, malformed int
	}{
		{"a batch", "POST", "sandbox.localdomain:4323", "[" + good + "]", 200, 1, 0},
		{"the short name", "POST", "sandbox:4323", "[" + good + "]", 200, 1, 0},
		{"without a port", "POST", "127.0.0.1", "[" + good + "]", 200, 1, 0},
		{"the local name", "POST", "localhost:1", "[]", 200, 0, 0},
		{"another host", "POST", "evil.example:80", "[" + good + "]", 403, 0, 0},
		{"another method", "GET", "sandbox", "", 405, 0, 0},
		{"nothing", "POST", "sandbox", "", 200, 0, 0},
		{"not JSON", "POST", "sandbox", "hello", 200, 0, 1},
		{"an object", "POST", "sandbox", good, 200, 0, 1},
		{"cut short", "POST", "sandbox", "[" + good + `,{"time":"2026`, 200, 1, 1},
		{"a null among them", "POST", "sandbox", "[null," + good + "]", 200, 2, 1},
		{"a number among them", "POST", "sandbox", "[17," + good + "]", 200, 2, 1},
		{"too large", "POST", "sandbox", "[" + strings.Repeat(" ", maxBody) + "]", 200, 0, 1},
		{"deep", "POST", "sandbox", strings.Repeat("[", 100000), 200, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, got := startListener(t)
			if status := post(t, l, test.method, test.host, strings.NewReader(test.body)); status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if len(got.events) != test.events || got.malformed != int64(test.malformed) {
				t.Errorf("%d events and %d malformed, want %d and %d", len(got.events), got.malformed, test.events, test.malformed)
			}
		})
	}
}

// TestListenerRepeated: Lambda delivers a batch again whose answer it missed.
func TestListenerRepeated(t *testing.T) {
	l, got := startListener(t)
	for range 3 {
		post(t, l, "POST", "sandbox", strings.NewReader(`[{"time":"2026-01-01T00:00:00.000Z","type":"function","record":"hi\n"}]`))
	}
	if len(got.events) != 1 {
		t.Errorf("%d events", len(got.events))
	}
}

func TestListenerConcurrent(t *testing.T) {
	l, got := startListener(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 8 {
				body := fmt.Sprintf(`[{"time":"2026-01-01T00:00:00.000Z","type":"function","record":"%d %d"}]`, i, j)
				if status := post(t, l, "POST", "sandbox", strings.NewReader(body)); status != 200 {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	wg.Wait()
	if len(got.events) != 64 {
		t.Errorf("%d events", len(got.events))
	}
}

// TestListenerBrokenOff: a connection that ends in the middle of a batch, as
// one may that a freeze has held up.
func TestListenerBrokenOff(t *testing.T) {
	l, got := startListener(t)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 1000\r\n\r\n[{")
	conn.Close()
	post(t, l, "POST", "sandbox", strings.NewReader("[]"))
	if got.malformed != 0 || len(got.events) != 0 {
		t.Errorf("received %+v", got.events)
	}
}

func TestListenerNeverOnAllAddresses(t *testing.T) {
	ln, err := bind(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ip := ln.Addr().(*net.TCPAddr).IP; ip.IsUnspecified() {
		t.Errorf("listening on %v", ip)
	}
}

func TestLineSize(t *testing.T) {
	f := func(record string, want int64) {
		t.Helper()
		if got := lineSize([]byte(record)); got != want {
			t.Errorf("%s: %d, want %d", record, got, want)
		}
	}
	f(`"hello"`, 5)
	f(`"hello\n"`, 5)
	f(`"two\nlines\n"`, 9)
	f(`"ü"`, 2)
	f(`"\u00fc"`, 2)
	f(`{"level":"INFO"}`, 16)
	f(`null`, 4)
	f(``, 0)
	f(`""`, 0)
}

// FuzzDecode: whatever comes, nothing panics, and every event is either read
// or counted.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"time":"2026-01-01T00:00:00.000Z","type":"platform.report","record":{"requestId":"r1","metrics":{"durationMs":1e308}}}]`))
	f.Add([]byte(`[{"type":"platform.initStart","record":"x"},{"type":"function","record":"\ud800"},{"type":"platform.start","record":{}}]`))
	f.Add([]byte(`[{"time":5,"type":"platform.runtimeDone","record":{"requestId":7,"spans":[null]}}]`))
	f.Add([]byte(`[1,null,[],`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := newDecoder()
		events, malformed := d.decode(body)
		if malformed < 0 || malformed > int64(len(events)+1) {
			t.Errorf("%d malformed of %d", malformed, len(events))
		}
		p := newPlayer(t)
		p.machine.invoke(p.base, lambdaapi.NextEvent{RequestID: "r1"})
		p.machine.observe(p.base, events)
		p.machine.finish("timeout")
		p.out = bytes.Buffer{}
		p.describe(p.base)
	})
}
