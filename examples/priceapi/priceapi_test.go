package priceapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/examples/priceapi"
)

func TestHandler(t *testing.T) {
	server := httptest.NewServer(priceapi.Handler())
	defer server.Close()
	f := func(target string, wantStatus int, wantBody string) {
		t.Helper()
		begin := time.Now()
		resp, err := http.Get(server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != wantStatus || strings.TrimSpace(string(body)) != wantBody {
			t.Errorf("%s: %d %s", target, resp.StatusCode, body)
		}
		if elapsed := time.Since(begin); elapsed < priceapi.ThinkTime {
			t.Errorf("%s: answered after %v, without thinking", target, elapsed)
		}
	}
	f("/prices?sku=TEA-01&sku=MUG-07", 200, `{"MUG-07":"16.74","TEA-01":"17.23"}`)
	f("/prices", 400, "want 1 to 100 parameters sku, got 0")
	f("/prices?"+strings.Repeat("sku=A&", 101), 400, "want 1 to 100 parameters sku, got 101")
	f("/taxes?country=NL", 200, `{"country":"NL","rate":"0.21"}`)
	f("/taxes?country=XX", 404, `no tax rate for country "XX"`)
	f("/nothing", 404, "404 page not found")
}
