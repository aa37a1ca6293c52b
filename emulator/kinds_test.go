package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// ready waits until what f has in advance is there.
func ready(t *testing.T, e *Emulator, version string) {
	t.Helper()
	if err := e.Ready(t.Context(), "f", version); err != nil {
		t.Fatal(err)
	}
}

// invokeVersion invokes a version of f and waits for its report.
func invokeVersion(t *testing.T, e *Emulator, version, payload string) InvokeResult {
	t.Helper()
	result, failure := e.invoke(t.Context(), invokeRequest{name: "f", qualifier: version, kind: typeRequestResponse, payload: []byte(payload), tail: true})
	if failure != nil {
		t.Fatal(failure)
	}
	return result
}

func TestProvisionedConcurrency(t *testing.T) {
	e := Emulator{IdleTimeout: time.Nanosecond} // which is not for them
	s := newSink(t)
	f := testFunction(t, "x")
	f.Version, f.ProvisionedConcurrency, f.Env["SINK"] = "1", 1, s.server.URL
	log := start(t, &e, f)
	ready(t, &e, "1")
	if got := entries(&e, KindInitEnd); len(got) != 1 || got[0].InitKind != kindProvisioned || !got[0].Ahead || got[0].Status != statusSuccess {
		t.Fatalf("inits %+v", got)
	}
	if len(entries(&e, KindFreeze)) != 1 {
		t.Error("it is not frozen")
	}
	payload := invokeVersion(t, &e, "1", `{"do":"facts"}`).Payload
	if !strings.Contains(string(payload), "AWS_LAMBDA_INITIALIZATION_TYPE=provisioned-concurrency") {
		t.Error("the function does not know what it was made for")
	}
	if got := entries(&e, KindInvocationEnd); len(got) != 1 || got[0].Cold || got[0].InitMs != 0 || got[0].InitKind != kindProvisioned {
		t.Errorf("invocations %+v", got)
	}
	if !strings.Contains(log.String(), "INIT_REPORT Init Duration: ") {
		t.Error("no INIT_REPORT")
	}

	// Two at once: the second spills over.
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { invokeVersion(t, &e, "1", `{"do":"sleep","n":300}`) })
	}
	wg.Wait()
	var kinds []string
	for _, end := range entries(&e, KindInvocationEnd)[1:] {
		kinds = append(kinds, fmt.Sprint(end.InitKind, " ", end.Cold))
	}
	slices.Sort(kinds)
	if want := []string{"on-demand true", "provisioned-concurrency false"}; !slices.Equal(kinds, want) {
		t.Errorf("two at once: %v, want %v", kinds, want)
	}

	// What is recycled is made anew, before any request comes.
	if err := e.Recycle(t.Context(), "f", "1"); err != nil {
		t.Fatal(err)
	}
	invokeVersion(t, &e, "1", `{}`)
	if end := entries(&e, KindInvocationEnd)[3]; end.Cold || end.InitKind != kindProvisioned {
		t.Errorf("after Recycle: %+v", end)
	}
}

func TestPreinitialize(t *testing.T) {
	var e Emulator
	start(t, &e, testFunction(t))
	if err := e.Preinitialize(t.Context(), "f", "", 2); err != nil {
		t.Fatal(err)
	}
	invoke(t, &e, `{}`)
	if got := entries(&e, KindInvocationEnd); len(got) != 1 || got[0].Cold || got[0].InitMs != 0 || got[0].InitKind != kindOnDemand {
		t.Errorf("invocations %+v", got)
	}
	if got := entries(&e, KindInitEnd); len(got) != 2 || !got[0].Ahead || got[0].InitKind != kindOnDemand {
		t.Errorf("inits %+v", got)
	}
}

// TestPreinitializeFails: the first invocation tries again.
func TestPreinitializeFails(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	f.Env["INIT"] = "once-crash"
	start(t, &e, f)
	if err := e.Preinitialize(t.Context(), "f", "", 1); err != nil {
		t.Fatal(err)
	}
	if got := string(invoke(t, &e, `{"z":1}`).Payload); got != `{"z":1}` {
		t.Errorf("payload %s", got)
	}
	if got := entries(&e, KindInitEnd); len(got) != 2 || got[0].Phase != phaseInit || got[1].Phase != phaseInvoke || !entries(&e, KindInvocationEnd)[0].Cold {
		t.Errorf("inits %+v", got)
	}
}

func TestSnapStart(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "x")
	f.Version, f.SnapStart, f.Runtime, f.Env["SINK"], f.Env["RESTORE"] = "3", true, "java21", s.server.URL, "yes"
	log := start(t, &e, f)
	ready(t, &e, "3")
	made := entries(&e, KindInitEnd)[0]
	time.Sleep(50 * time.Millisecond) // the init is older than the restore
	first := invokeVersion(t, &e, "3", `{"do":"facts"}`)
	if err := e.Recycle(t.Context(), "f", "3"); err != nil {
		t.Fatal(err)
	}
	second := invokeVersion(t, &e, "3", `{}`)
	if first.Environment == made.Environment || first.Environment == second.Environment {
		t.Errorf("identities %q, %q of a snapshot in %q", first.Environment, second.Environment, made.Environment)
	}
	for _, want := range []string{"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:"} {
		if !strings.Contains(string(first.Payload), want) {
			t.Errorf("the function does not see %s", want)
		}
	}
	for _, unwanted := range []string{"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY_ID"} {
		if strings.Contains(string(first.Payload), unwanted) {
			t.Errorf("the function sees %s", unwanted)
		}
	}
	ends := entries(&e, KindInvocationEnd)
	for _, end := range ends {
		if !end.Cold || end.RestoreMs < 20 || end.InitMs != 0 || end.BilledMs < int64(end.DurationMs)+20 {
			t.Errorf("invocation %+v", end)
		}
	}
	if got := entries(&e, KindRestoreEnd); len(got) != 2 || got[0].Status != statusSuccess || got[0].RequestID != first.RequestID {
		t.Errorf("restores %+v", got)
	}
	if got := summary(t, &e); got.ColdStarts != 2 || len(got.InitMs) != 2 {
		t.Errorf("summary %+v", got)
	}
	for _, want := range []string{"RESTORE_START Runtime Version: java21\n", "RESTORE_REPORT Restore Duration: ", "\tBilled Restore Duration: "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log without %q", want)
		}
	}
	// The end of the init was not delivered before the snapshot: it comes after
	// the restore, with its old time.
	s.mu.Lock()
	defer s.mu.Unlock()
	var types []string
	var times []time.Time
	for _, event := range s.telemetry[:11] {
		types, times = append(types, event.Type), append(times, event.Time.Time)
	}
	i, j := slices.Index(types, lambdaapi.TypeInitReport), slices.Index(types, lambdaapi.TypeRestoreStart)
	if i < 0 || j < i || times[j].Sub(times[i]) < 50*time.Millisecond {
		t.Errorf("telemetry %v", types)
	}
	if want := `"instanceId":"` + first.Environment; !strings.Contains(string(s.telemetry[j].Record), want) {
		t.Errorf("restoreStart %s lacks %s", s.telemetry[j].Record, want)
	}
}

func TestRestoreFailures(t *testing.T) {
	for _, test := range []struct {
		mode, status, errorType string
	}{
		{"error", "error", "Runtime.AfterRestoreError"},
		{"hang", "timeout", ""},
	} {
		t.Run(test.mode, func(t *testing.T) {
			e := Emulator{InitTimeout: 300 * time.Millisecond}
			f := testFunction(t, "x")
			f.Version, f.SnapStart, f.Env["RESTORE"], f.Timeout = "3", true, test.mode, 400*time.Millisecond
			start(t, &e, f)
			ready(t, &e, "3")
			invokeVersion(t, &e, "3", `{}`)
			if got := entries(&e, KindRestoreEnd); len(got) != 1 || got[0].Status != test.status || got[0].ErrorType != test.errorType {
				t.Errorf("restores %+v", got)
			}
			// The suppressed init that follows waits for a restore that never
			// comes, which is how Lambda's runtimes would fail as well.
			if got := entries(&e, KindInitEnd); got[len(got)-1].Phase != phaseInvoke {
				t.Errorf("inits %+v", got)
			}
		})
	}
}

func TestManagedInstance(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "x")
	f.ManagedConcurrency, f.Env["SINK"], f.Env["EXTENSION_X"], f.Timeout = 3, s.server.URL, "managed", 700*time.Millisecond
	start(t, &e, f)
	ready(t, &e, "")
	answers := make(chan InvokeResult, 3)
	begin := time.Now()
	for _, payload := range []string{`{"do":"sleep","n":300}`, `{"do":"sleep","n":300}`, `{"do":"hang"}`} {
		go func() { answers <- invoke(t, &e, payload) }()
	}
	var failed []string
	environments := map[string]bool{}
	for range 3 {
		answer := <-answers
		environments[answer.Environment] = true
		if answer.FunctionError != "" {
			failed = append(failed, string(answer.Payload))
		}
	}
	if took := time.Since(begin); took > 1500*time.Millisecond || len(environments) != 1 {
		t.Errorf("three at once took %v in environments %v", took, environments)
	}
	if len(failed) != 1 || !strings.Contains(failed[0], "Sandbox.Timedout") {
		t.Errorf("failed: %v, want one timeout", failed)
	}
	// The one that timed out harms no other, and nothing is frozen.
	if got := invoke(t, &e, `{"do":"sleep","n":1}`); got.FunctionError != "" || !environments[got.Environment] {
		t.Errorf("after a timeout: %+v", got)
	}
	if got := entries(&e, KindFreeze); len(got) != 0 {
		t.Errorf("frozen: %+v", got)
	}
	// A crash ends it for good.
	if got := invoke(t, &e, `{"do":"exit","n":1}`); !strings.Contains(string(got.Payload), "Runtime.ExitError") {
		t.Errorf("a crash answers %s", got.Payload)
	}
	for len(entries(&e, KindEnvironmentShutdown)) == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := entries(&e, KindEnvironmentShutdown); len(got) != 1 || got[0].Reason != reasonFailure {
		t.Errorf("shutdowns %+v", got)
	}
	want := []string{"error Runtime.ExitError", "success ", "success ", "success ", "timeout "}
	var got []string
	for _, end := range entries(&e, KindInvocationEnd) {
		got = append(got, end.Status+" "+end.ErrorType)
		if end.Cold || end.InitKind != kindManaged || end.BilledMs != 0 {
			t.Errorf("invocation %+v", end)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("invocations %q, want %q", got, want)
	}
	types := s.types()
	if slices.Contains(types, lambdaapi.TypeRuntimeDone) || !slices.Contains(types, lambdaapi.TypeReport) {
		t.Errorf("telemetry %v", types)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range s.events {
		if event.EventType == lambdaapi.EventInvoke {
			t.Error("an extension got INVOKE")
		}
	}
}

// TestResponseStream: who asks for a stream gets each part when it comes.
func TestResponseStream(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "x")
	f.Env["SINK"] = s.server.URL
	start(t, &e, f)
	stream := func(payload string) (chunks []string, times []time.Time, end map[string]string) {
		response, err := http.Post(e.URL()+"/2021-11-15/functions/f/response-streaming-invocations", "application/json", strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got := response.Header.Get("Content-Type"); got != "application/vnd.amazon.eventstream" || response.Header.Get("X-Amz-Executed-Version") != "$LATEST" {
			t.Errorf("headers %v", response.Header)
		}
		decoder := eventstream.NewDecoder()
		for {
			message, err := decoder.Decode(response.Body, nil)
			if err != nil {
				t.Fatalf("after %d chunks: %v", len(chunks), err)
			}
			if message.Headers.Get(":event-type").String() == "InvokeComplete" {
				if err := json.Unmarshal(message.Payload, &end); err != nil {
					t.Fatal(err)
				}
				return chunks, times, end
			}
			chunks, times = append(chunks, string(message.Payload)), append(times, time.Now())
		}
	}
	chunks, times, end := stream(`{"do":"slowstream","text":"part","n":200}`)
	if strings.Join(chunks, "|") != "part|part" || times[1].Sub(times[0]) < 100*time.Millisecond || end["ErrorCode"] != "" {
		t.Errorf("chunks %q, the second %v after the first, end %v", chunks, times[1].Sub(times[0]), end)
	}
	if chunks, _, end := stream(`{"x":1}`); strings.Join(chunks, "|") != `{"x":1}` || end["ErrorCode"] != "" {
		t.Errorf("not streamed: chunks %q, end %v", chunks, end)
	}
	if _, _, end := stream(`{"do":"brokenstream","text":"part"}`); end["ErrorCode"] != "Unhandled" || !strings.Contains(end["ErrorDetails"], "midway") {
		t.Errorf("failed midway: end %v", end)
	}
	if _, _, end := stream(`{"do":"exit","n":1}`); end["ErrorCode"] != "Unhandled" || !strings.Contains(end["ErrorDetails"], "Runtime.ExitError") {
		t.Errorf("crashed: end %v", end)
	}
	// The time of the stream is the duration of the response.
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range s.telemetry {
		var record lambdaapi.RuntimeDone
		if event.Type == lambdaapi.TypeRuntimeDone {
			if err := json.Unmarshal(event.Record, &record); err != nil {
				t.Fatal(err)
			}
			if len(record.Spans) != 3 || record.Spans[1].DurationMs < 150 || record.Spans[0].DurationMs > 150 || record.Metrics.ProducedBytes != 8 {
				t.Errorf("the run of the stream is %s", event.Record)
			}
			break
		}
	}
}

func TestManagedRegistration(t *testing.T) {
	b, server := bareBoot(t)
	b.env.kind = kindManaged
	for _, test := range []struct {
		name, events string
		status       int
		answer       string
	}{
		{b.extensions[0].name, `["INVOKE","SHUTDOWN"]`, 403, errorBody("Extension.InvalidEventType", "INVOKE: ErrorInvalidEventType")},
		{"inside", `["INVOKE"]`, 403, errorBody("Extension.InvalidEventType", "No events allowed for internal extensions")},
		{b.extensions[0].name, `["SHUTDOWN"]`, 200, ""},
		{"inside", `[]`, 200, ""},
	} {
		c := call{request: register, header: lambdaapi.HeaderExtensionName + ": " + test.name, body: `{"events":` + test.events + `}`}
		status, body, _ := c.do(t, server.URL, "")
		if status != test.status || test.answer != "" && body != test.answer {
			t.Errorf("%s registers for %s: %d %s", test.name, test.events, status, body)
		}
	}
}

func TestRejectedKinds(t *testing.T) {
	var e Emulator
	start(t, &e)
	for _, change := range []func(*Function){
		func(f *Function) { f.SnapStart = true }, // of $LATEST
		func(f *Function) { f.ProvisionedConcurrency = 1 },
		func(f *Function) { f.Version, f.SnapStart, f.ManagedConcurrency = "1", true, 2 },
		func(f *Function) { f.ManagedConcurrency = -1 },
	} {
		f := testFunction(t)
		change(&f)
		if err := e.AddFunction(f); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
}
