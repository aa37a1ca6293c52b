package emulator

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

func TestSubscriptionValidation(t *testing.T) {
	const good = `{"schemaVersion":"2022-12-13","types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:4323/x"}}`
	for _, test := range []struct {
		name, from, to string // a change of good
		problem        string // empty: accepted
	}{
		{"good", "", "", ""},
		{"oldest schema", "2022-12-13", "2022-07-01", ""},
		{"newest schema", "2022-12-13", "2025-01-29", ""},
		{"unknown schema", "2022-12-13", "2021-01-01", `schemaVersion "2021-01-01" is not one of`},
		{"short name", "sandbox.localdomain", "sandbox", ""},
		{"other host", "sandbox.localdomain", "localhost", "URI host is not sandbox.localdomain"},
		{"no port", ":4323", "", "URI port is not provided"},
		{"reserved port", "4323", "9001", "URI port 9001 is reserved"},
		{"https", "http:", "https:", "URI scheme is not http"},
		{"protocol", `"HTTP"`, `"UDP"`, `destination protocol "UDP" is not HTTP or TCP`},
		{"tcp with port", `"HTTP","URI":"http://sandbox.localdomain:4323/x"`, `"TCP","port":4323`, ""},
		{"tcp without port", `"HTTP","URI":"http://sandbox.localdomain:4323/x"`, `"TCP"`, "destination port is not provided"},
		{"no types", `["platform"]`, `[]`, "types should not be empty"},
		{"unknown type", `["platform"]`, `["traces"]`, `type "traces" is unknown`},
		{"least buffering", `"types"`, `"buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},"types"`, ""},
		{"most buffering", `"types"`, `"buffering":{"maxItems":10000,"maxBytes":1048576,"timeoutMs":30000},"types"`, ""},
		{"few items", `"types"`, `"buffering":{"maxItems":999},"types"`, "buffering.maxItems of 999 is not between 1000 and 10000"},
		{"many bytes", `"types"`, `"buffering":{"maxBytes":1048577},"types"`, "buffering.maxBytes of 1048577 is not between 262144 and 1048576"},
		{"short timeout", `"types"`, `"buffering":{"timeoutMs":24},"types"`, "buffering.timeoutMs of 24 is not between 25 and 30000"},
		{"not JSON", "{", "", "invalid character"},
		{"two problems", `["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:4323/x"}`, `[],"destination":{"protocol":"HTTP","URI":"http://sandbox"}`, "types should not be empty; URI port is not provided"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, server := bareBoot(t)
			b.extensions[0].state = stateRegistered
			c := call{request: telemetry, header: identified, body: strings.Replace(good, test.from, test.to, 1)}
			status, body, _ := c.do(t, server.URL, b.extensions[0].id.String())
			if test.problem == "" {
				if status != 200 || body != `"OK"` {
					t.Errorf("%d %s", status, body)
				}
				return
			}
			var answer lambdaapi.ErrorBody
			_ = json.Unmarshal([]byte(body), &answer)
			if status != 400 || answer.ErrorType != "ValidationError" || !strings.Contains(answer.ErrorMessage, test.problem) {
				t.Errorf("%d %s, want %s", status, body, test.problem)
			}
		})
	}
}

func TestSubscriptionCloses(t *testing.T) {
	b, server := bareBoot(t)
	b.extensions[0].state = stateRegistered
	b.relay.closeSubscriptions()
	c := call{request: telemetry, header: identified, body: `{"schemaVersion":"2022-12-13","types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox:4323"}}`}
	status, body, _ := c.do(t, server.URL, b.extensions[0].id.String())
	if want := errorBody("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already"); status != 403 || body != want {
		t.Errorf("%d %s", status, body)
	}
}

func TestTelemetryFaults(t *testing.T) {
	for _, test := range []struct {
		faults Faults
		schema string
		status int
		answer string
	}{
		{Faults{TelemetryStatus: 202}, "2022-12-13", 202, errorBody("Telemetry.NotSupported", "Telemetry API is not supported")},
		{Faults{TelemetryStatus: 403}, "2022-12-13", 403, errorBody("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")},
		{Faults{TelemetryStatus: 404}, "2022-12-13", 404, "404 page not found\n"},
		{Faults{TelemetryStatus: 500}, "2022-12-13", 500, errorBody("InternalServerError", "Internal Server Error")},
		{Faults{TelemetrySchemas: schemas[:1]}, "2022-12-13", 400, errorBody("ValidationError", `schemaVersion "2022-12-13" is not one of 2022-07-01`)},
		{Faults{TelemetrySchemas: schemas[:1]}, "2022-07-01", 200, `"OK"`},
	} {
		b, server := bareBoot(t)
		b.env.fn.Faults = test.faults
		b.extensions[0].state = stateRegistered
		c := call{request: telemetry, header: identified, body: fmt.Sprintf(`{"schemaVersion":%q,"types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox:4323"}}`, test.schema)}
		status, body, _ := c.do(t, server.URL, b.extensions[0].id.String())
		if status != test.status || body != test.answer {
			t.Errorf("%+v, %s: %d %s, want %d %s", test.faults, test.schema, status, body, test.status, test.answer)
		}
	}
}

// consumer is a telemetry consumer that fails as often as it is told.
type consumer struct {
	*httptest.Server
	failures int
	batches  chan []lambdaapi.Event
	host     string
}

func newConsumer(t *testing.T, failures int) *consumer {
	c := &consumer{failures: failures, batches: make(chan []lambdaapi.Event, 1000)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.host = r.Host
		if c.failures > 0 {
			c.failures--
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var batch []lambdaapi.Event
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Error(err)
		}
		c.batches <- batch
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) port() string {
	u, _ := url.Parse(c.URL)
	return u.Port()
}

// subscription returns a valid one to the consumer.
func (c *consumer) subscription(t *testing.T, schema, types string) subscription {
	t.Helper()
	s, problems := parseSubscription(fmt.Appendf(nil,
		`{"schemaVersion":%q,"types":[%s],"buffering":{"timeoutMs":25,"maxItems":1000},"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%s/"}}`, schema, types, c.port()), schemas)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

func newTestRelay(t *testing.T) *relay {
	r := newRelay()
	t.Cleanup(r.close)
	return r
}

const allTypes = `"platform","function","extension"`

func TestReplayAndOrder(t *testing.T) {
	r, c := newTestRelay(t), newConsumer(t, 0)
	r.emit(lambdaapi.TypeInitStart, lambdaapi.InitStart{Phase: phaseInit})
	r.emitLine(lambdaapi.StreamFunction, "early\n")
	for range 2 { // a repeated subscription changes nothing
		if !r.subscribe("x", c.subscription(t, "2022-12-13", allTypes)) {
			t.Fatal("subscription refused")
		}
	}
	r.emitLine(lambdaapi.StreamExtension, "late\n")
	r.flush(t.Context())
	var got []string
	for len(got) < 3 {
		for _, e := range <-c.batches {
			got = append(got, e.Type+" "+string(e.Record))
		}
	}
	want := []string{`platform.initStart {"phase":"init"}`, `function "early\n"`, `extension "late\n"`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if c.host != "sandbox.localdomain:"+c.port() {
		t.Errorf("host %s", c.host)
	}
}

func TestObjectLines(t *testing.T) {
	for schema, want := range map[string]string{"2022-07-01": `"{\"a\":1}\n"`, "2022-12-13": `{"a":1}`} {
		r, c := newTestRelay(t), newConsumer(t, 0)
		r.subscribe("x", c.subscription(t, schema, `"function"`))
		r.emit(lambdaapi.TypeStart, lambdaapi.Start{}) // not subscribed
		r.emitLine(lambdaapi.StreamFunction, "{\"a\":1}\n")
		if batch := <-c.batches; len(batch) != 1 || string(batch[0].Record) != want {
			t.Errorf("schema %s: %+v", schema, batch)
		}
	}
}

func TestBatchesByItems(t *testing.T) {
	r, c := newTestRelay(t), newConsumer(t, 0)
	r.setPaused(true)
	r.subscribe("x", c.subscription(t, "2022-12-13", `"function"`))
	for range 2500 {
		r.emitLine(lambdaapi.StreamFunction, "x\n")
	}
	if len(c.batches) != 0 {
		t.Error("a batch came while frozen")
	}
	r.setPaused(false)
	r.flush(t.Context())
	if a, b, d := <-c.batches, <-c.batches, <-c.batches; len(a) != 1000 || len(b) != 1000 || len(d) != 500 {
		t.Errorf("batches of %d, %d and %d", len(a), len(b), len(d))
	}
}

func TestRedelivery(t *testing.T) {
	r, c := newTestRelay(t), newConsumer(t, 2)
	r.subscribe("x", c.subscription(t, "2022-12-13", `"function"`))
	r.emitLine(lambdaapi.StreamFunction, "x\n")
	r.flush(t.Context())
	if batch := <-c.batches; len(batch) != 1 {
		t.Errorf("%+v", batch)
	}
}

func TestLogsDropped(t *testing.T) {
	r, c := newTestRelay(t), newConsumer(t, 0)
	r.setPaused(true)
	r.subscribe("x", c.subscription(t, "2022-12-13", allTypes))
	line := strings.Repeat("x", 200<<10)
	for range 10 { // more than the queue takes
		r.emitLine(lambdaapi.StreamFunction, line)
	}
	r.setPaused(false)
	lines := 0
	for {
		for _, e := range <-c.batches {
			var record lambdaapi.LogsDropped
			switch e.Type {
			case lambdaapi.TypeFunction:
				lines++
			case lambdaapi.TypeLogsDropped:
				if err := json.Unmarshal(e.Record, &record); err != nil || int(record.DroppedRecords)+lines != 10 || record.DroppedBytes == 0 || record.Reason == "" {
					t.Errorf("%d lines came, and %s", lines, e.Record)
				}
				return
			}
		}
	}
}

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := newTestRelay(t)
	s, problems := parseSubscription(fmt.Appendf(nil,
		`{"schemaVersion":"2022-12-13","types":["function"],"buffering":{"timeoutMs":25},"destination":{"protocol":"TCP","port":%d}}`, listener.Addr().(*net.TCPAddr).Port), schemas)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r.subscribe("x", s)
	r.emitLine(lambdaapi.StreamFunction, "one")
	r.emitLine(lambdaapi.StreamFunction, "two")
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var e lambdaapi.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Type != "function" {
			t.Errorf("%s: %v", lines.Bytes(), err)
		}
		if string(e.Record) == `"two"` {
			return
		}
	}
	t.Error("the connection ended early")
}

// TestFlushEnds: a consumer that never answers does not hold a shutdown.
func TestFlushEnds(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	c := &consumer{Server: server}
	r := newRelay()
	r.subscribe("x", c.subscription(t, "2022-12-13", `"function"`))
	r.emitLine(lambdaapi.StreamFunction, "x\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.flush(ctx)
	r.close()
}

// FuzzParseSubscription: what is accepted is within the limits, and goes to
// loopback.
func FuzzParseSubscription(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":"2022-12-13","types":["platform"],"destination":{"protocol":"HTTP","URI":"http://sandbox:4323/x"}}`))
	f.Add([]byte(`{"schemaVersion":"2025-01-29","types":["function"],"buffering":{"maxItems":1000,"timeoutMs":25},"destination":{"protocol":"TCP","port":4323}}`))
	f.Add([]byte(`{"schemaVersion":"2022-07-01","types":["extension"],"destination":{"protocol":"http","URI":"http://[::1]:80"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, problems := parseSubscription(body, schemas)
		if len(problems) > 0 {
			return
		}
		if host, _, err := net.SplitHostPort(s.address); err != nil || host != "127.0.0.1" {
			t.Errorf("%s goes to %s", body, s.address)
		}
		if s.maxItems < 1000 || s.maxItems > 10000 || s.maxBytes < 262144 || s.maxBytes > 1048576 || s.timeoutMs < 25 || s.timeoutMs > 30000 || len(s.types) == 0 {
			t.Errorf("%s is accepted as %+v", body, s)
		}
	})
}
