package emulator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/google/uuid"
)

// maxEventPayload is the limit of an asynchronous invocation's request.
const maxEventPayload = 256 << 10

// Values of X-Amz-Invocation-Type.
const (
	typeRequestResponse = "RequestResponse"
	typeEvent           = "Event"
	typeDryRun          = "DryRun"
)

var errNotServing = errors.New("emulator: not started, or closed")

// apiError is an error answer of the Invoke API.
type apiError struct {
	status    int
	errorType string // of the X-Amzn-Errortype header
	fault     string // "User" or "Server"
	message   string
	reason    string
}

func (e *apiError) Error() string { return e.errorType + ": " + e.message }

func notFound(message string) *apiError {
	return &apiError{status: http.StatusNotFound, errorType: "ResourceNotFoundException", fault: "User", message: message}
}

func throttled() *apiError {
	return &apiError{
		status: http.StatusTooManyRequests, errorType: "TooManyRequestsException", fault: "User",
		message: "Rate Exceeded.", reason: "ReservedFunctionConcurrentInvocationLimitExceeded",
	}
}

func invalidContent(message string) *apiError {
	return &apiError{status: http.StatusBadRequest, errorType: "InvalidRequestContentException", fault: "User", message: message}
}

func invalidParameter(message string) *apiError {
	return &apiError{status: http.StatusBadRequest, errorType: "InvalidParameterValueException", fault: "User", message: message}
}

func tooLarge(size, limit int) *apiError {
	return &apiError{
		status: http.StatusRequestEntityTooLarge, errorType: "RequestTooLargeException", fault: "User",
		message: fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation, got %d", limit, size),
	}
}

func serviceError(err error) *apiError {
	return &apiError{
		status: http.StatusInternalServerError, errorType: "ServiceException", fault: "Server", message: err.Error(),
	}
}

func (e *apiError) write(w http.ResponseWriter) {
	body := map[string]string{"Type": e.fault, "Message": e.message}
	if e.reason != "" {
		body["Reason"] = e.reason
	}
	w.Header().Set("X-Amzn-Errortype", e.errorType)
	writeJSON(w, e.status, body)
}

// invokeRequest is a parsed request of the Invoke API.
type invokeRequest struct {
	name, qualifier string
	kind            string // X-Amz-Invocation-Type
	tail            bool
	trace           string
	clientContext   string
	contentType     string
	payload         []byte
}

// invokeHandler serves the Invoke API.
func (e *Emulator) invokeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", e.serveInvoke)
	mux.HandleFunc("POST /2021-11-15/functions/{name}/response-streaming-invocations", e.serveStream)
	return mux
}

func (e *Emulator) serveInvoke(w http.ResponseWriter, r *http.Request) {
	request, failure := parseInvoke(w, r)
	if failure == nil {
		failure = request.validate()
	}
	var result InvokeResult
	if failure == nil {
		result, failure = e.invoke(r.Context(), request)
	}
	if failure != nil {
		w.Header().Set("X-Amzn-RequestId", uuid.NewString())
		failure.write(w)
		return
	}
	result.write(w)
}

func (res InvokeResult) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("X-Amzn-RequestId", res.RequestID)
	if res.StatusCode != http.StatusOK {
		w.WriteHeader(res.StatusCode)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Amz-Executed-Version", res.ExecutedVersion)
	if res.FunctionError != "" {
		h.Set("X-Amz-Function-Error", res.FunctionError)
	}
	if res.LogTail != "" {
		h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(res.LogTail)))
	}
	h.Set("Content-Length", strconv.Itoa(len(res.Payload)))
	_, _ = w.Write(res.Payload) // the caller may have gone
}

// functionID matches what the API accepts as a function's name: a name, a
// partial or a full ARN, each with an optional qualifier.
var functionID = regexp.MustCompile(
	`^(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:|\d{12}:function:|function:)?([a-zA-Z0-9-_]+)(?::(\$LATEST|[a-zA-Z0-9-_]+))?$`)

func parseInvoke(w http.ResponseWriter, r *http.Request) (invokeRequest, *apiError) {
	request := invokeRequest{
		kind:        r.Header.Get("X-Amz-Invocation-Type"),
		tail:        r.Header.Get("X-Amz-Log-Type") == "Tail",
		trace:       r.Header.Get("X-Amzn-Trace-Id"),
		contentType: r.Header.Get("Content-Type"),
	}
	setDefault(&request.kind, typeRequestResponse)
	match := functionID.FindStringSubmatch(r.PathValue("name"))
	if match == nil {
		return request, invalidParameter(fmt.Sprintf("Value %q at 'functionName' is not a function name", r.PathValue("name")))
	}
	request.name, request.qualifier = match[1], match[2]
	if qualifier := r.URL.Query().Get("Qualifier"); qualifier != "" {
		if request.qualifier != "" && request.qualifier != qualifier {
			return request, invalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
		}
		request.qualifier = qualifier
	}
	if text := r.Header.Get("X-Amz-Client-Context"); text != "" {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return request, invalidContent("Client context must be a valid Base64-encoded JSON object.")
		}
		request.clientContext = string(decoded)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return request, tooLarge(int(r.ContentLength), maxPayload)
	case err != nil:
		return request, invalidContent("Could not read request body: " + err.Error())
	}
	request.payload = body
	return request, nil
}

// validate checks what HTTP and in-process callers have in common.
func (r *invokeRequest) validate() *apiError {
	limit := maxPayload
	switch r.kind {
	case typeRequestResponse, typeDryRun:
	case typeEvent:
		limit = maxEventPayload
	default:
		return invalidParameter("Unknown invocation type " + r.kind)
	}
	if len(r.payload) > limit {
		return tooLarge(len(r.payload), limit)
	}
	if len(r.payload) == 0 {
		r.payload = []byte("{}")
	}
	if !json.Valid(r.payload) {
		return invalidContent("Could not parse request body into json: the payload is not valid JSON")
	}
	return nil
}

// Invoke invokes a function and waits for its answer, on the same path as an
// HTTP request. A function that fails is a result, not an error. An empty
// qualifier means $LATEST.
func (e *Emulator) Invoke(ctx context.Context, name, qualifier string, payload []byte) (InvokeResult, error) {
	request := invokeRequest{name: name, qualifier: qualifier, kind: typeRequestResponse, payload: payload}
	if failure := request.validate(); failure != nil {
		return InvokeResult{}, fmt.Errorf("emulator: invoke %s: %w", name, failure)
	}
	result, failure := e.invoke(ctx, request)
	if failure != nil {
		return result, fmt.Errorf("emulator: invoke %s: %w", name, failure)
	}
	return result, nil
}

func (e *Emulator) invoke(ctx context.Context, request invokeRequest) (InvokeResult, *apiError) {
	if request.kind == typeDryRun {
		return e.dryRun(request)
	}
	if request.kind == typeEvent {
		ctx = context.WithoutCancel(ctx) // it outlives its request
	}
	inv, failure := e.begin(ctx, request, nil)
	if failure != nil {
		return InvokeResult{}, failure
	}
	if request.kind == typeEvent {
		return InvokeResult{StatusCode: http.StatusAccepted, RequestID: inv.id}, nil
	}
	return inv.wait(ctx, request.tail)
}

// begin finds an environment for a request and lets it serve. The response goes
// to s as it comes, if s is not nil.
func (e *Emulator) begin(ctx context.Context, request invokeRequest, s *stream) (*invocation, *apiError) {
	env, failure := e.acquire(ctx, request.name, request.qualifier)
	if failure != nil {
		return nil, failure
	}
	inv := newInvocation(env.fn, request)
	inv.stream = s
	go func() {
		defer e.work.Done() // acquire added it
		if env.kind == kindManaged {
			env.serveManaged(inv)
		} else {
			env.serve(inv)
		}
	}()
	return inv, nil
}

// wait returns the answer, with tail once the log is complete.
func (inv *invocation) wait(ctx context.Context, tail bool) (InvokeResult, *apiError) {
	ready := inv.answered
	if tail {
		ready = inv.done
	}
	select {
	case <-ready:
	case <-ctx.Done(): // the caller has gone; the invocation goes on
		return InvokeResult{}, serviceError(ctx.Err())
	}
	result := inv.result
	if tail {
		result.LogTail = inv.log.String()
	}
	return result, nil
}

// dryRun checks that the function exists.
func (e *Emulator) dryRun(request invokeRequest) (InvokeResult, *apiError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.find(request.name, request.qualifier)
	if f == nil {
		return InvokeResult{}, notFound("Function not found: " + request.name)
	}
	return InvokeResult{StatusCode: http.StatusNoContent, RequestID: uuid.NewString(), ExecutedVersion: f.Version}, nil
}
