package emulator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// maxPayload is the limit of a request and of a buffered response.
const maxPayload = 6<<20 + 100

// maxStream is the limit of a streamed response.
const maxStream = 200 << 20

// States of the runtime, as error messages name them.
const (
	runtimeStarted         = "Started"
	runtimeInitError       = "InitError"
	runtimeReady           = "Ready"
	runtimeRunning         = "Running"
	runtimeInvokeResponse  = "InvocationResponse"
	runtimeInvokeErrorResp = "InvocationErrorResponse"
	runtimeResponseSent    = "RuntimeResponseSentState"
	runtimeRestoreReady    = "RestoreReady"
	runtimeRestoring       = "Restoring"
	runtimeRestoreError    = "RestoreError"
)

// apiHandler serves the three APIs of the execution environment to its own
// processes. Which boot a call belongs to is decided when it comes in.
func (env *environment) apiHandler() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, handle func(*boot, http.ResponseWriter, *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if b := env.current(); b != nil {
				handle(b, w, r)
				return
			}
			writeError(w, http.StatusInternalServerError, "InternalServerError", "Internal Server Error")
		})
	}
	on("GET /2018-06-01/ping", func(_ *boot, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong") })
	if env.kind == kindSnapStart {
		on("GET "+lambdaapi.PathRuntime+"/restore/next", (*boot).serveRestoreNext)
		on("POST "+lambdaapi.PathRuntime+"/restore/error", (*boot).serveRestoreError)
		on("GET "+credentialsPath, (*boot).serveCredentials)
	}
	next := (*boot).serveRuntimeNext
	if env.kind == kindManaged {
		next = (*boot).serveManagedNext
	}
	on("GET "+lambdaapi.PathRuntimeNext, next)
	on("POST "+lambdaapi.PathRuntime+"/invocation/{id}/response", (*boot).serveResponse)
	on("POST "+lambdaapi.PathRuntime+"/invocation/{id}/error", (*boot).serveInvocationError)
	on("POST "+lambdaapi.PathRuntimeInitError, (*boot).serveRuntimeInitError)
	on("POST "+lambdaapi.PathExtensionRegister, withExtensions((*boot).serveRegister))
	on("GET "+lambdaapi.PathExtensionNext, withExtensions((*boot).serveExtensionNext))
	on("POST "+lambdaapi.PathExtensionInitError, withExtensions((*boot).serveExtensionInitError))
	on("POST "+lambdaapi.PathExtensionExitError, withExtensions((*boot).serveExtensionExitError))
	on("PUT "+lambdaapi.PathTelemetry, withExtensions((*boot).serveSubscribe))
	return mux
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the process may have gone meanwhile
}

func writeError(w http.ResponseWriter, status int, errorType, message string) {
	writeJSON(w, status, lambdaapi.ErrorBody{ErrorType: errorType, ErrorMessage: message})
}

func writeAccepted(w http.ResponseWriter) {
	writeJSON(w, http.StatusAccepted, lambdaapi.StatusOK{Status: "OK"})
}

// transitionError is the answer to a call in the wrong order.
func transitionError(w http.ResponseWriter, from, to string) {
	writeError(w, http.StatusForbidden, "InvalidStateTransition", fmt.Sprintf(
		"State transition from %s to %s failed for runtime. Error: State transition is not allowed", from, to))
}

// serveRuntimeNext: the runtime is done with its init or its invocation, and
// waits for the next one.
func (b *boot) serveRuntimeNext(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	switch b.runtime.state {
	case runtimeStarted, runtimeResponseSent, runtimeRestoring:
		b.runtimeReadyLocked()
	case runtimeRunning: // it asks again for the invocation that it has
		inv := b.inv
		b.mu.Unlock()
		writeInvocation(w, inv)
		return
	default:
		from := b.runtime.state
		b.mu.Unlock()
		transitionError(w, from, runtimeReady)
		return
	}
	b.mu.Unlock()

	var inv *invocation
	err := b.await(r.Context(), func() bool {
		if b.inv == nil || b.inv.taken {
			return false
		}
		inv = b.inv
		inv.taken, b.runtime.state = true, runtimeRunning
		return true
	})
	if err == nil {
		writeInvocation(w, inv)
	}
}

// runtimeReadyLocked notes that the runtime asked for the next invocation;
// from then on internal extensions cannot register.
func (b *boot) runtimeReadyLocked() {
	b.runtime.state = runtimeReady
	b.windowClosed = true
	if b.inv != nil && b.inv.runtimeNext.IsZero() {
		b.inv.runtimeNext = time.Now()
	}
	b.notify()
}

func writeInvocation(w http.ResponseWriter, inv *invocation) {
	h := w.Header()
	h.Set("Content-Type", inv.contentType)
	for name, value := range map[string]string{
		lambdaapi.HeaderRequestID:          inv.id,
		lambdaapi.HeaderDeadlineMs:         strconv.FormatInt(inv.deadline.UnixMilli(), 10),
		lambdaapi.HeaderInvokedFunctionARN: inv.arn,
		lambdaapi.HeaderTraceID:            inv.trace,
		lambdaapi.HeaderClientContext:      inv.clientContext,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	_, _ = w.Write(inv.payload)
}

// beginAnswer checks that the runtime may answer this invocation now, and
// moves it to the given state.
func (b *boot) beginAnswer(w http.ResponseWriter, r *http.Request, state string) *invocation {
	b.mu.Lock()
	defer b.mu.Unlock()
	inv, current := b.inFlight(r.PathValue("id"))
	if inv == nil {
		writeError(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return nil
	}
	if *current != runtimeRunning {
		transitionError(w, *current, state)
		return nil
	}
	*current = state
	inv.responseStart = time.Now()
	return inv
}

// setState moves who answers inv to a state; the lock is held. On a managed
// instance the invocation may be over meanwhile.
func (b *boot) setState(inv *invocation, state string) {
	if _, current := b.inFlight(inv.id); current != nil {
		*current = state
	}
}

// endAnswer gives the caller its answer. The invocation is not over yet: that
// takes the runtime's and the extensions' next calls.
func (b *boot) endAnswer(inv *invocation, res InvokeResult, produced int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setState(inv, runtimeResponseSent)
	inv.responseEnd = time.Now()
	inv.produced = int64(produced)
	inv.handledError = res.FunctionError != ""
	inv.answer(res) // under the lock: before anyone can see that the runtime is done
	b.notify()
}

// truncated undoes beginAnswer when the body did not come through.
func (b *boot) truncated(w http.ResponseWriter, inv *invocation) {
	b.mu.Lock()
	b.setState(inv, runtimeRunning)
	b.mu.Unlock()
	writeError(w, http.StatusBadRequest, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}

func (b *boot) serveResponse(w http.ResponseWriter, r *http.Request) {
	inv := b.beginAnswer(w, r, runtimeInvokeResponse)
	if inv == nil {
		return
	}
	limit := int64(maxPayload)
	switch mode := r.Header.Get(lambdaapi.HeaderResponseMode); mode {
	case "":
	case "streaming":
		limit = maxStream
	default:
		const errorType = "Runtime.InvalidResponseModeHeader"
		b.endAnswer(inv, unhandled(inv, errorType, "Invalid response mode header: "+mode), 0)
		writeError(w, http.StatusBadRequest, "InvalidFunctionResponseMode", "Invalid function response mode")
		return
	}
	source := io.Reader(http.MaxBytesReader(w, r.Body, limit))
	if limit == maxStream && inv.stream != nil {
		source = io.TeeReader(source, inv.stream)
	}
	body, err := io.ReadAll(source)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		b.tooLarge(w, r, inv)
	case err != nil:
		b.truncated(w, inv)
	default:
		b.endAnswer(inv, streamedResult(r, body), len(body))
		writeAccepted(w)
	}
}

// tooLarge tells both sides that a response exceeds the limit.
func (b *boot) tooLarge(w http.ResponseWriter, r *http.Request, inv *invocation) {
	size := "unknown"
	if r.ContentLength >= 0 {
		size = strconv.FormatInt(r.ContentLength, 10)
	}
	b.endAnswer(inv, unhandled(inv, "Function.ResponseSizeTooLarge", fmt.Sprintf(
		"Response payload size (%s bytes) exceeded maximum allowed payload size (%d bytes).", size, maxPayload)), 0)
	writeError(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge",
		fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", maxPayload))
}

// streamedResult is a response whose trailers may say that it failed midway.
func streamedResult(r *http.Request, body []byte) InvokeResult {
	res := InvokeResult{Payload: body}
	if r.Trailer.Get(lambdaapi.HeaderFunctionErrorType) == "" {
		return res
	}
	res.FunctionError = functionErrorUnhandled
	if text, err := base64.StdEncoding.DecodeString(r.Trailer.Get(lambdaapi.HeaderFunctionErrorBody)); err == nil && len(text) > 0 {
		res.Payload = text
	}
	return res
}

// serveInvocationError: the handler failed and the runtime lives. What it says
// goes to the caller as it is.
func (b *boot) serveInvocationError(w http.ResponseWriter, r *http.Request) {
	inv := b.beginAnswer(w, r, runtimeInvokeErrorResp)
	if inv == nil {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	if err != nil {
		b.truncated(w, inv)
		return
	}
	b.endAnswer(inv, InvokeResult{Payload: body, FunctionError: functionErrorUnhandled}, 0)
	writeAccepted(w)
}

func (b *boot) serveRuntimeInitError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runtime.state != runtimeStarted {
		transitionError(w, b.runtime.state, runtimeInitError)
		return
	}
	b.runtime.state = runtimeInitError
	f := &fault{errorType: sanitizeErrorType(r.Header.Get(lambdaapi.HeaderFunctionErrorType)), message: "init error"}
	if err == nil && len(body) > 0 {
		f.body = body
	}
	b.failLocked(f)
	writeAccepted(w)
}

var knownErrorType = regexp.MustCompile(`(Runtime|Function)\.[A-Z][a-zA-Z]+`)

// sanitizeErrorType keeps what looks like a type of the platform.
func sanitizeErrorType(errorType string) string {
	switch {
	case knownErrorType.MatchString(errorType):
		return errorType
	case strings.HasPrefix(errorType, "Function."):
		return "Function.Unknown"
	default:
		return "Runtime.Unknown"
	}
}
