package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// bareBoot is a boot without processes, behind a server: one external
// extension, "outside", was started, and nothing has called yet.
func bareBoot(t *testing.T) (*boot, *httptest.Server) {
	t.Helper()
	e := &Emulator{}
	e.setDefaults()
	cfg := Function{Name: "f", Version: LatestVersion, Handler: "main.handler", MemoryMB: 128}
	env := &environment{e: e, fn: &function{Function: cfg, e: e, freed: make(chan struct{})}, id: "stream"}
	b := &boot{env: env, changed: make(chan struct{}), relay: newRelay()}
	b.runtime.state = runtimeStarted
	b.extensions = []*extension{{name: "outside", id: uuid.New(), proc: &process{}, state: stateStarted}}
	env.boot = b
	server := httptest.NewServer(env.apiHandler())
	t.Cleanup(func() { b.relay.close(); server.CloseClientConnections(); server.Close() })
	return b, server
}

// call is one request and what has to come back.
type call struct {
	request string // "METHOD /path"; {id} is the id from the last registration
	header  string // "Name: value", several separated by "; "
	body    string

	status int
	answer string // the whole body
}

func (c call) do(t *testing.T, base, id string) (status int, body string, header http.Header) {
	t.Helper()
	method, path, _ := strings.Cut(c.request, " ")
	request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.SplitSeq(c.header, "; ") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			request.Header.Set(name, strings.ReplaceAll(value, "{id}", id))
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(data), response.Header
}

const (
	register  = "POST /2020-01-01/extension/register"
	next      = "GET /2020-01-01/extension/event/next"
	initError = "POST /2020-01-01/extension/init/error"
	exitError = "POST /2020-01-01/extension/exit/error"
	telemetry = "PUT /2022-07-01/telemetry"

	named      = "Lambda-Extension-Name: outside"
	identified = "Lambda-Extension-Identifier: {id}"
	accepted   = `{"status":"OK"}`
)

func errorBody(errorType, message string) string {
	data, _ := json.Marshal(lambdaapi.ErrorBody{ErrorType: errorType, ErrorMessage: message})
	return string(data)
}

func TestExtensionsAPI(t *testing.T) {
	const unknownID = "8a3f7a6e-1b7e-4a30-9f2e-111111111111"
	registered := call{register, named, `{"events":["INVOKE","SHUTDOWN"]}`, 200, `{"functionName":"f","functionVersion":"$LATEST","handler":"main.handler"}`}
	for name, calls := range map[string][]call{
		"register":            {registered},
		"register twice":      {registered, {register, named, `{}`, 403, errorBody("Extension.InvalidExtensionState", "State transition from Registered to Registered failed for extension outside. Error: State transition is not allowed")}},
		"account id":          {{register, named + "; Lambda-Extension-Accept-Feature: other, accountId", `{}`, 200, `{"accountId":"012345678912","functionName":"f","functionVersion":"$LATEST","handler":"main.handler"}`}},
		"no name":             {{register, "", `{}`, 403, errorBody("Extension.InvalidExtensionName", "Empty extension name")}},
		"no body":             {{register, named, ``, 403, errorBody("InvalidRequestFormat", "EOF")}},
		"unknown event":       {{register, named, `{"events":["FREEZE"]}`, 403, errorBody("Extension.InvalidEventType", "FREEZE: ErrorInvalidEventType")}},
		"configuration keys":  {{register, named, `{"configurationKeys":["x"]}`, 403, errorBody("InvalidRequestFormat", "configurationKeys are not supported")}},
		"internal":            {{register, "Lambda-Extension-Name: inside", `{"events":["INVOKE"]}`, 200, registered.answer}},
		"internal shutdown":   {{register, "Lambda-Extension-Name: inside", `{"events":["SHUTDOWN"]}`, 403, errorBody("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension")}},
		"internal twice":      {{register, "Lambda-Extension-Name: inside", `{}`, 200, registered.answer}, {register, "Lambda-Extension-Name: inside", `{}`, 403, errorBody("Extension.InvalidExtensionState", "Extension with this name already registered")}},
		"next without id":     {{next, "", "", 403, errorBody("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")}},
		"next with bad id":    {{next, "Lambda-Extension-Identifier: x", "", 403, errorBody("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")}},
		"next with other id":  {{next, "Lambda-Extension-Identifier: " + unknownID, "", 403, errorBody("Extension.UnknownExtensionIdentifier", "Unknown extension "+unknownID)}},
		"init error":          {registered, {initError, identified + "; Lambda-Extension-Function-Error-Type: A.B", "", 202, accepted}, {initError, identified + "; Lambda-Extension-Function-Error-Type: A.C", "", 202, accepted}},
		"init error untyped":  {registered, {initError, identified, "", 403, errorBody("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")}},
		"init error other id": {{initError, "Lambda-Extension-Identifier: " + unknownID, "", 403, errorBody("Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier")}},
		"exit error":          {registered, {exitError, identified + "; Lambda-Extension-Function-Error-Type: A.B", "", 202, accepted}},
		"subscribe unknown":   {{telemetry, "Lambda-Extension-Identifier: " + unknownID, `{}`, 403, errorBody("Extension.UnknownExtensionIdentifier", "Unknown extension "+unknownID)}},
		"no such path":        {{"GET /2020-01-01/extension/none", "", "", 404, "404 page not found\n"}},
		"ping":                {{"GET /2018-06-01/ping", "", "", 200, "pong"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, server := bareBoot(t)
			for i, c := range calls {
				status, body, header := c.do(t, server.URL, b.extensions[0].id.String())
				if status != c.status || body != c.answer {
					t.Errorf("call %d: %d %s\nwant %d %s", i, status, body, c.status, c.answer)
				}
				if c.request == register && status == 200 && header.Get("Lambda-Extension-Identifier") == "" {
					t.Error("no identifier")
				}
			}
		})
	}
}

func TestExtensionStates(t *testing.T) {
	b, server := bareBoot(t)
	x := b.extensions[0]
	x.state = stateReady
	c := call{request: next, header: identified}
	want := errorBody("Extension.InvalidExtensionState", fmt.Sprintf("State transition from Ready to Ready failed for extension %s. Error: State transition is not allowed", x.id))
	if status, body, _ := c.do(t, server.URL, x.id.String()); status != 403 || body != want {
		t.Errorf("two calls of next: %d %s", status, body)
	}
	b.windowClosed = true
	c = call{request: register, header: "Lambda-Extension-Name: inside", body: "{}"}
	if status, body, _ := c.do(t, server.URL, ""); status != 403 || body != errorBody("Extension.RegistrationClosed", "Extension registration closed already") {
		t.Errorf("late registration: %d %s", status, body)
	}
	b.windowClosed = false
	for i := len(b.extensions); i < maxExtensions; i++ {
		b.extensions = append(b.extensions, &extension{name: fmt.Sprint(i)})
	}
	if status, body, _ := c.do(t, server.URL, ""); status != 403 || body != errorBody("Extension.TooManyExtensions", "Extension limit (10) reached") {
		t.Errorf("eleventh: %d %s", status, body)
	}
	b.extensionsOff = true
	if status, body, _ := c.do(t, server.URL, ""); status != 404 || body != "" {
		t.Errorf("switched off: %d %s", status, body)
	}
}

// TestInvokeEvent: what INVOKE and the runtime's next carry.
func TestInvokeEvent(t *testing.T) {
	b, server := bareBoot(t)
	x := b.extensions[0]
	x.state, x.events = stateRegistered, []string{lambdaapi.EventInvoke}
	inv := newInvocation(b.env.fn, invokeRequest{qualifier: "live", trace: "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Sampled=1", payload: []byte(`{"k":1}`), clientContext: `{"c":1}`})
	b.deliver(inv)
	_, body, header := call{request: next, header: identified}.do(t, server.URL, x.id.String())
	want := fmt.Sprintf(`{"eventType":"INVOKE","deadlineMs":%d,"requestId":"%s","invokedFunctionArn":"arn:aws:lambda:us-east-1:012345678912:function:f:live","tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Sampled=1"}}`,
		inv.deadline.UnixMilli(), inv.id)
	if body != want || header.Get("Lambda-Extension-Event-Identifier") == "" {
		t.Errorf("INVOKE %s\nwant %s", body, want)
	}
	for range 2 { // asking again gives the same
		_, body, header = call{request: "GET /2018-06-01/runtime/invocation/next"}.do(t, server.URL, "")
		if body != `{"k":1}` || header.Get("Lambda-Runtime-Aws-Request-Id") != inv.id || header.Get("Lambda-Runtime-Client-Context") != `{"c":1}` ||
			header.Get("Lambda-Runtime-Trace-Id") != inv.trace || header.Get("Content-Type") != "application/json" ||
			!strings.HasSuffix(header.Get("Lambda-Runtime-Invoked-Function-Arn"), ":f:live") || header.Get("Lambda-Runtime-Cognito-Identity") != "" {
			t.Errorf("next %s %v", body, header)
		}
	}
}

func TestRuntimeAPI(t *testing.T) {
	const base = "/2018-06-01/runtime"
	transition := func(from, to string) string {
		return errorBody("InvalidStateTransition", "State transition from "+from+" to "+to+" failed for runtime. Error: State transition is not allowed")
	}
	invalidID := errorBody("InvalidRequestID", "Invalid request ID")
	for name, calls := range map[string][]call{
		"response":               {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "", "1", 202, accepted}},
		"response twice":         {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "", "1", 202, accepted}, {"POST " + base + "/invocation/{id}/response", "", "1", 403, transition("RuntimeResponseSentState", "InvocationResponse")}},
		"error":                  {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/error", "", "{}", 202, accepted}},
		"error after response":   {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "", "1", 202, accepted}, {"POST " + base + "/invocation/{id}/error", "", "1", 403, transition("RuntimeResponseSentState", "InvocationErrorResponse")}},
		"response before next":   {{"POST " + base + "/invocation/{id}/response", "", "1", 403, transition("Started", "InvocationResponse")}},
		"response to another":    {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/x/response", "", "1", 400, invalidID}},
		"error to another":       {{"POST " + base + "/invocation/x/error", "", "1", 400, invalidID}},
		"too large":              {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "", strings.Repeat("x", maxPayload+1), 413, errorBody("RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291556 bytes).")}},
		"largest":                {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "", strings.Repeat("x", maxPayload), 202, accepted}},
		"bad mode":               {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "Lambda-Runtime-Function-Response-Mode: odd", "1", 400, errorBody("InvalidFunctionResponseMode", "Invalid function response mode")}},
		"streamed":               {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/invocation/{id}/response", "Lambda-Runtime-Function-Response-Mode: streaming", strings.Repeat("x", maxPayload+1), 202, accepted}},
		"init error":             {{"POST " + base + "/init/error", "Lambda-Runtime-Function-Error-Type: Runtime.X", "{}", 202, accepted}, {"POST " + base + "/init/error", "", "{}", 403, transition("InitError", "InitError")}},
		"init error after next":  {{"GET " + base + "/invocation/next", "", "", 200, "{}"}, {"POST " + base + "/init/error", "", "{}", 403, transition("Running", "InitError")}},
		"next after init error":  {{"POST " + base + "/init/error", "", "{}", 202, accepted}, {"GET " + base + "/invocation/next", "", "", 403, transition("InitError", "Ready")}},
		"restore is not offered": {{"GET " + base + "/restore/next", "", "", 404, "404 page not found\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, server := bareBoot(t)
			inv := newInvocation(b.env.fn, invokeRequest{payload: []byte("{}")})
			b.deliver(inv)
			for i, c := range calls {
				c.request = strings.ReplaceAll(c.request, "{id}", inv.id)
				if status, body, _ := c.do(t, server.URL, ""); status != c.status || body != c.answer {
					t.Errorf("call %d: %d %s\nwant %d %s", i, status, body, c.status, c.answer)
				}
			}
		})
	}
}

func TestSanitizeErrorType(t *testing.T) {
	for said, want := range map[string]string{
		"Runtime.ImportModuleError": "Runtime.ImportModuleError", "Function.Odd": "Function.Odd",
		"Function.odd": "Function.Unknown", "ValueError": "Runtime.Unknown", "": "Runtime.Unknown",
	} {
		if got := sanitizeErrorType(said); got != want {
			t.Errorf("%q becomes %q, want %q", said, got, want)
		}
	}
}

func TestInvokeAPI(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	f.Alias = "live"
	log := start(t, &e, f)
	const path = "/2015-03-31/functions/"
	for _, test := range []struct {
		name, function, header, payload string

		status    int
		body      string // in the answer
		errorType string
	}{
		{"name", "f", "", `{"a":1}`, 200, `{"a":1}`, ""},
		{"no payload", "f", "", ``, 200, `{}`, ""},
		{"alias", "f:live", "", `1`, 200, `1`, ""},
		{"latest", "f:$LATEST", "", `1`, 200, `1`, ""},
		{"qualifier", "f/invocations?Qualifier=live", "", `1`, 200, `1`, ""},
		{"arn", "arn:aws:lambda:us-east-1:012345678912:function:f", "", `1`, 200, `1`, ""},
		{"escaped arn", "arn%3Aaws%3Alambda%3Aus-east-1%3A012345678912%3Afunction%3Af%3Alive", "", `1`, 200, `1`, ""},
		{"partial arn", "012345678912:function:f", "", `1`, 200, `1`, ""},
		{"unknown", "g", "", `1`, 404, `Function not found: arn:aws:lambda:us-east-1:012345678912:function:g`, "ResourceNotFoundException"},
		{"unknown qualifier", "f:9", "", `1`, 404, `function:f:9`, "ResourceNotFoundException"},
		{"bad name", "f!", "", `1`, 400, `is not a function name`, "InvalidParameterValueException"},
		{"not JSON", "f", "", `{`, 400, `Could not parse request body into json`, "InvalidRequestContentException"},
		{"too large", "f", "", `"` + strings.Repeat("x", maxPayload) + `"`, 413, `Request must be smaller than 6291556 bytes`, "RequestTooLargeException"},
		{"dry run", "f", "X-Amz-Invocation-Type: DryRun", ``, 204, ``, ""},
		{"dry run of nothing", "g", "X-Amz-Invocation-Type: DryRun", ``, 404, `Function not found`, "ResourceNotFoundException"},
		{"event", "f", "X-Amz-Invocation-Type: Event", `{"do":"log","n":1}`, 202, ``, ""},
		{"event too large", "f", "X-Amz-Invocation-Type: Event", `"` + strings.Repeat("x", 256<<10) + `"`, 413, `262144 bytes`, "RequestTooLargeException"},
		{"odd type", "f", "X-Amz-Invocation-Type: Odd", ``, 400, `Unknown invocation type`, "InvalidParameterValueException"},
		{"function error", "f", "", `{"do":"error"}`, 200, `{"errorMessage":"boom","errorType":"Error"}`, ""},
		{"large response", "f", "", fmt.Sprintf(`{"do":"large","n":%d}`, maxPayload), 200, `Response payload size (6291558 bytes) exceeded maximum allowed payload size (6291556 bytes).`, ""},
		{"streamed response", "f", "", `{"do":"stream","text":"ab"}`, 200, `abab`, ""},
		{"path", "../x", "", ``, 404, ``, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := test.function
			if !strings.Contains(target, "/") {
				target += "/invocations"
			}
			c := call{request: "POST " + path + target, header: test.header, body: test.payload}
			status, body, header := c.do(t, e.URL(), "")
			if status != test.status || !strings.Contains(body, test.body) || header.Get("X-Amzn-Errortype") != test.errorType {
				t.Errorf("%d %s %.200s\nwant %d %s %s", status, header.Get("X-Amzn-Errortype"), body, test.status, test.errorType, test.body)
			}
			if status == 200 && (header.Get("X-Amz-Executed-Version") != "$LATEST" || header.Get("X-Amzn-Requestid") == "") {
				t.Errorf("header %v", header)
			}
			if failed := header.Get("X-Amz-Function-Error") == "Unhandled"; failed != (test.name == "function error" || test.name == "large response") {
				t.Errorf("function error %v", failed)
			}
			if test.errorType != "" && !strings.Contains(body, `"Type":"User"`) {
				t.Errorf("error body %s", body)
			}
		})
	}
	_ = log
}

func TestLogTail(t *testing.T) {
	var e Emulator
	start(t, &e, testFunction(t))
	tail := invoke(t, &e, `{"do":"log","n":1000}`).LogTail
	if len(tail) != tailSize || !strings.Contains(tail, "line 999\nEND RequestId: ") || !strings.Contains(tail, "REPORT RequestId: ") {
		t.Errorf("%d bytes of log tail:\n%s", len(tail), tail)
	}
	tail = invoke(t, &e, `{}`).LogTail
	if !strings.HasPrefix(tail, "START RequestId: ") || strings.Contains(tail, "line") {
		t.Errorf("log tail has more than its invocation:\n%s", tail)
	}
}

func TestRejectedFunctions(t *testing.T) {
	var e Emulator
	start(t, &e)
	good := testFunction(t)
	for name, change := range map[string]func(*Function){
		"name":            func(f *Function) { f.Name = "a b" },
		"between 128":     func(f *Function) { f.MemoryMB = 64 },
		"between 0":       func(f *Function) { f.Timeout = maxTimeout + 1 },
		"no task root":    func(f *Function) { f.Dir = "" },
		"no such file":    func(f *Function) { f.Dir = "/does/not/exist" },
		"reserved":        func(f *Function) { f.Env["AWS_REGION"] = "x" },
		"layers":          func(f *Function) { f.Layers = make([]string, 6) },
		"is negative":     func(f *Function) { f.MaxConcurrency = -1 },
		"version \"a b\"": func(f *Function) { f.Version = "a b" },
	} {
		f := good
		f.Env = map[string]string{}
		change(&f)
		if err := e.AddFunction(f); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
