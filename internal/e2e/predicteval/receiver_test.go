package predicteval

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// receiver takes what the extensions send, and keeps the reports.
type receiver struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	reports map[string]*lifecycle.Invocation // with a report, by request id
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, reports: map[string]*lifecycle.Invocation{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return // broken off by a freeze: it comes again
	}
	var unmarshaler ptrace.ProtoUnmarshaler
	traces, err := unmarshaler.UnmarshalTraces(data)
	if err != nil {
		r.t.Errorf("traces of an extension: %v", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range traces.ResourceSpans().All() {
		lifecycle.Decode(rs, func(o lifecycle.Observation) {
			if o.Invocation != nil && o.Invocation.Report != nil {
				r.reports[o.Invocation.RequestID] = o.Invocation
			}
		}, func(err error) { r.t.Error(err) })
	}
}

// report waits for what is known of a request; nil if it does not come.
func (r *receiver) report(requestID string, patience time.Duration) *lifecycle.Invocation {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		inv := r.reports[requestID]
		r.mu.Unlock()
		if inv != nil || time.Now().After(deadline) {
			return inv
		}
	}
}
