package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// schemas are the known values of schemaVersion. Log lines can be objects from
// the second on.
var schemas = []string{"2022-07-01", "2022-12-13", "2025-01-29"}

// Buffering when a subscription does not say.
const (
	defaultMaxItems  = 10000
	defaultMaxBytes  = 262144
	defaultTimeoutMs = 1000
)

// serveSubscribe is PUT /telemetry.
func (b *boot) serveSubscribe(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxExtensionBody))
	if err != nil {
		writeError(w, http.StatusBadRequest, "ValidationError", err.Error())
		return
	}
	b.mu.Lock()
	x, refused := b.identify(r, unknownExtension)
	b.mu.Unlock()
	if refused != nil {
		refused.write(w)
		return
	}
	if b.env.fn.Faults.refuseTelemetry(w) {
		return
	}
	sub, problems := parseSubscription(body, b.env.fn.schemas())
	if len(problems) > 0 {
		writeError(w, http.StatusBadRequest, "ValidationError", strings.Join(problems, "; "))
		return
	}
	if !b.relay.subscribe(x.name, sub) {
		writeError(w, http.StatusForbidden, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
		return
	}
	record := lambdaapi.TelemetrySubscription{Name: x.name, State: "Subscribed", Types: sub.types}
	b.relay.emit(lambdaapi.TypeTelemetrySubscription, record)
	b.env.platformLine(telemetryLine(record))
	writeJSON(w, http.StatusOK, "OK")
}

// subscription is a valid subscription, with defaults filled in.
type subscription struct {
	schema    string
	types     []string
	maxItems  int
	maxBytes  int
	timeoutMs int
	protocol  string // "HTTP" or "TCP"
	url       string // where to post, on loopback
	host      string // as the subscription names it
	address   string // what to dial for TCP
}

// parseSubscription returns a valid subscription, or all that is wrong with it.
func parseSubscription(body []byte, schemas []string) (subscription, []string) {
	var request lambdaapi.Subscription
	if err := json.Unmarshal(body, &request); err != nil {
		return subscription{}, []string{err.Error()}
	}
	s := subscription{
		schema: request.SchemaVersion, types: request.Types,
		maxItems: defaultMaxItems, maxBytes: defaultMaxBytes, timeoutMs: defaultTimeoutMs,
		protocol: strings.ToUpper(request.Destination.Protocol),
	}
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if !slices.Contains(schemas, s.schema) {
		complain("schemaVersion %q is not one of %s", s.schema, strings.Join(schemas, ", "))
	}
	if len(s.types) == 0 {
		complain("types should not be empty")
	}
	for _, name := range s.types {
		if name != lambdaapi.StreamPlatform && name != lambdaapi.StreamFunction && name != lambdaapi.StreamExtension {
			complain("type %q is unknown", name)
		}
	}
	if buffering := request.Buffering; buffering != nil {
		bounded := func(name string, field *int, value, low, high int) {
			if value == 0 {
				return
			}
			if *field = value; value < low || value > high {
				complain("buffering.%s of %d is not between %d and %d", name, value, low, high)
			}
		}
		bounded("maxItems", &s.maxItems, buffering.MaxItems, 1000, 10000)
		bounded("maxBytes", &s.maxBytes, buffering.MaxBytes, 262144, 1048576)
		bounded("timeoutMs", &s.timeoutMs, buffering.TimeoutMs, 25, 30000)
	}
	if problem := s.setDestination(request.Destination); problem != "" {
		complain("%s", problem)
	}
	return s, problems
}

// reservedPort is that of Lambda's own Runtime API.
const reservedPort = 9001

// setDestination resolves a destination to loopback, without DNS.
func (s *subscription) setDestination(d lambdaapi.Destination) (problem string) {
	if s.protocol == "TCP" && d.URI == "" {
		if d.Port < 1 || d.Port > 65535 {
			return "destination port is not provided"
		}
		s.address = loopback(strconv.Itoa(d.Port))
		return ""
	}
	u, err := url.Parse(d.URI)
	switch {
	case s.protocol != "HTTP" && s.protocol != "TCP":
		return fmt.Sprintf("destination protocol %q is not HTTP or TCP", d.Protocol)
	case err != nil:
		return err.Error()
	case s.protocol == "HTTP" && u.Scheme != "http":
		return "URI scheme is not http"
	case u.Hostname() != "sandbox" && u.Hostname() != "sandbox.localdomain":
		return "URI host is not sandbox.localdomain"
	case u.Port() == "":
		return "URI port is not provided"
	case u.Port() == strconv.Itoa(reservedPort):
		return "URI port 9001 is reserved"
	}
	s.address, s.host = loopback(u.Port()), u.Host
	u.Host = s.address
	s.url = u.String()
	return ""
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }
