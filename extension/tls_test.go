package extension

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestHTTPS: an endpoint whose certificate the user names is trusted, and no
// other is.
func TestHTTPS(t *testing.T) {
	b := newFakeBackend(t)
	server := httptest.NewTLSServer(http.HandlerFunc(b.ServeHTTP))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = discard()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env  []string
		want int
	}{{nil, 0}, {[]string{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + file}, 2}} {
		f := newFakeLambda(t)
		r := start(t, f, append(test.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL)...)
		f.awaitNext()
		coldStart(f)
		f.shutdown("spindown")
		r.exits()
		if got := len(b.observations()); got != test.want {
			t.Errorf("%v: %d observations, want %d; log:\n%s", test.env, got, test.want, r.log)
		}
	}
}
