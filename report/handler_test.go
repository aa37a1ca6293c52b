package report

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	s := newStore(t)
	s.write("a", minutes(1))
	s.write("a", minutes(59), sweep("api", waits, 512)...)
	now := func() time.Time { return minutes(60) }
	server := httptest.NewServer(Handler(func() Source { return &Client{URL: s.url} }, Options{Now: now}))
	defer server.Close()
	f := func(query string, status int, contentType, holds string) {
		t.Helper()
		response, err := http.Get(server.URL + "/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != status || !strings.HasPrefix(response.Header.Get("Content-Type"), contentType) || !strings.Contains(string(body), holds) {
			t.Errorf("%q: %s, %s: %.200s", query, response.Status, response.Header.Get("Content-Type"), body)
		}
	}
	f("", 200, "text/html", `href="?since=1h"`)
	f("since=1h&format=json", 200, "application/json", `"schema_version": 1`)
	f("since=1h&format=md", 200, "text/plain", "# Thaw report")
	f("function=other", 200, "text/html", "No function was invoked")
	f("format=pdf", 400, "text/plain", "format is one of")
	f("since=-1h", 400, "text/plain", "24h")
	f("start=yesterday", 400, "text/plain", "2026")
	s.url = "http://127.0.0.1:1"
	f("", 502, "text/plain", "no answer from")
}

func TestClientErrors(t *testing.T) {
	answer := ""
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	defer server.Close()
	f := func(url, body string, code int, want string) {
		t.Helper()
		answer, status = body, code
		_, err := Build(t.Context(), &Client{URL: url}, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %q: %v", url, body, err)
		}
	}
	f(server.URL, "<html>", 200, "not the JSON of a Prometheus API")
	f(server.URL, `{"status":"error","error":"too many samples"}`, 422, "too many samples")
	f(server.URL, `{"status":"success","data":{"resultType":"scalar","result":[]}}`, 200, "scalar")
	f("http://user:secret@127.0.0.1:1/x", "", 200, "no answer from http://127.0.0.1:1/x")
	f("127.0.0.1:8464", "", 200, "URL")
	var unreachable *UnreachableError
	if _, err := Build(t.Context(), &Client{URL: "http://127.0.0.1:1"}, Options{}); !errors.As(err, &unreachable) {
		t.Errorf("%v is not an UnreachableError", err)
	}
	if _, err := Build(t.Context(), &Client{}, Options{Start: minutes(1), End: minutes(0)}); err == nil {
		t.Error("a range that ends before it starts")
	}
}

// What a store answers must never crash the report, and what it holds must be
// numbers that JSON can carry.
func FuzzParseVector(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"faas_name":"a"},"value":[1.5,"3"]}]}}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"3","sum":"1e-3","buckets":[[3,"-1e-128","1e-128","1"],[0,"0.5","0.5109485743270583","2"]]}]}]}}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"NaN","sum":"Inf","buckets":[[0,"1","1","2"]]}]}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		samples, err := parseVector(body)
		if err != nil {
			return
		}
		for _, s := range samples {
			if s.Histogram == nil {
				continue
			}
			sum := s.Histogram.Add(*s.Histogram)
			if _, err := json.Marshal(quantiles(sum, 1)); err != nil {
				t.Fatalf("%v: %v", s.Histogram, err)
			}
		}
	})
}

func FuzzParseTimes(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"service_instance_id":"a"},"values":[[1.5,"3"],[2,"1"]]}]}}`))
	f.Fuzz(func(_ *testing.T, body []byte) { _, _ = parseTimes(body, "service_instance_id") })
}
