package emulator

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// functionErrorUnhandled is the value of X-Amz-Function-Error.
const functionErrorUnhandled = "Unhandled"

// InvokeResult is what the Invoke API answers. A function that failed is an
// answer too: see FunctionError.
type InvokeResult struct {
	StatusCode      int
	Payload         []byte
	FunctionError   string // "Unhandled", or empty
	ExecutedVersion string
	RequestID       string
	LogTail         string // the last 4 KB of the log, if asked for
	Environment     string // the id of the environment that served it
}

// invocation is one attempt at one request.
type invocation struct {
	id            string
	arn           string
	trace         string
	segment       string // id of the segment that X-Ray would make
	clientContext string
	contentType   string
	payload       []byte
	stream        *stream // of who wants the response as it comes; or nil

	fn          *function
	environment string
	answered    chan struct{} // closed when result is there
	done        chan struct{} // closed when the report is written
	result      InvokeResult
	once        sync.Once // guards result
	log         tail

	// Set by the environment before the invocation is delivered.
	deadline time.Time
	cold     bool
	initMs   float64 // of the cold start before it, phase init
	// Of the restore before it.
	restoreMs       float64
	billedRestoreMs int64

	// What the runtime does with it; the boot's lock guards these.
	taken         bool
	state         string // of the worker that has it, on a managed instance
	delivered     time.Time
	responseStart time.Time
	responseEnd   time.Time
	runtimeNext   time.Time
	produced      int64
	handledError  bool
}

func newInvocation(fn *function, request invokeRequest) *invocation {
	inv := &invocation{
		id: uuid.NewString(), arn: fn.arn(request.qualifier), trace: request.trace,
		clientContext: request.clientContext, contentType: request.contentType, payload: request.payload,
		fn: fn, answered: make(chan struct{}), done: make(chan struct{}), segment: randomHex(8),
	}
	setDefault(&inv.contentType, "application/json")
	if inv.trace == "" {
		inv.trace = fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", time.Now().Unix(), randomHex(12), randomHex(8))
	}
	return inv
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// answer gives the caller its result; only the first counts.
func (inv *invocation) answer(res InvokeResult) {
	inv.once.Do(func() {
		res.StatusCode, res.RequestID, res.ExecutedVersion = 200, inv.id, inv.fn.Version
		res.Environment = inv.environment
		inv.result = res
		inv.fn.markAnswered()
		close(inv.answered)
	})
}

// unhandled is the result of an invocation that the platform has to answer.
func unhandled(inv *invocation, errorType, message string) InvokeResult {
	body, _ := json.Marshal(lambdaapi.ErrorBody{
		ErrorType: errorType, ErrorMessage: "RequestId: " + inv.id + " Error: " + message,
	})
	return InvokeResult{Payload: body, FunctionError: functionErrorUnhandled}
}

// tracing is the trace header as INVOKE events carry it.
func (inv *invocation) tracing() *lambdaapi.Tracing {
	return &lambdaapi.Tracing{Type: "X-Amzn-Trace-Id", Value: inv.trace}
}

// sampledTracing is what platform events carry: only a sampled invocation has
// a segment.
func (inv *invocation) sampledTracing() *lambdaapi.Tracing {
	if !parseTrace(inv.trace).sampled {
		return nil
	}
	t := inv.tracing()
	t.SpanID = inv.segment
	return t
}

// traceHeader is a parsed X-Amzn-Trace-Id.
type traceHeader struct {
	root    string
	sampled bool
}

func parseTrace(value string) (t traceHeader) {
	for field := range strings.SplitSeq(value, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch key {
		case "Root":
			t.root = value
		case "Sampled":
			t.sampled = value == "1"
		}
	}
	return t
}

// spans are the parts of a run that got an answer.
func (inv *invocation) spans() []lambdaapi.Span {
	if inv.responseStart.IsZero() || inv.runtimeNext.IsZero() {
		return nil
	}
	return []lambdaapi.Span{
		span(lambdaapi.SpanResponseLatency, inv.delivered, inv.responseStart),
		span(lambdaapi.SpanResponseDuration, inv.responseStart, inv.responseEnd),
		span(lambdaapi.SpanRuntimeOverhead, inv.responseEnd, inv.runtimeNext),
	}
}

func span(name string, from, to time.Time) lambdaapi.Span {
	return lambdaapi.Span{Name: name, Start: lambdaapi.Time{Time: from}, DurationMs: ms(to.Sub(from))}
}

// ceilMs is d in milliseconds as it is billed.
func ceilMs(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// ms is d in milliseconds with three decimals, as the platform reports it.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
