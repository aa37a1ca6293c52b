package collectorproc

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/thaw-lambda/thaw/internal/spool"
)

// What is in the spool of a log reaches the collector once, however the log was
// cut into pieces.
func TestSpoolIsDelivered(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, "one request")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	log := append([]byte("START RequestId: 1\n"), spool.AppendRecord(nil, "s", 0, zipped.Bytes())...)
	log = append(log, "END RequestId: 1\n"...)
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.URL.Path+" "+string(body))
	}))
	defer server.Close()
	var s Spool
	for len(log) > 0 {
		n := min(7, len(log))
		if _, err := s.Write(log[:n]); err != nil {
			t.Fatal(err)
		}
		log = log[n:]
	}
	p := &Process{OTLP: server.URL}
	for range 2 {
		if err := p.Deliver(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || got[0] != "/v1/traces one request" {
		t.Errorf("the collector got %q", got)
	}
}
