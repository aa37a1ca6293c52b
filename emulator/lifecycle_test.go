package emulator

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// coldTelemetry is the telemetry of a cold start with one extension.
var coldTelemetry = []string{
	"platform.initStart", "platform.telemetrySubscription", "extension", "platform.initRuntimeDone",
	"platform.extension", "platform.initReport", "platform.start", "platform.runtimeDone", "platform.report",
}

func TestColdThenWarm(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "watcher")
	f.Env["SINK"] = s.server.URL
	log := start(t, &e, f)
	for range 3 {
		if got := string(invoke(t, &e, `{"x":1}`).Payload); got != `{"x":1}` {
			t.Fatalf("payload %q", got)
		}
	}
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	invoke(t, &e, `{}`)

	got := summary(t, &e)
	if got.Invocations != 4 || got.ColdStarts != 2 || got.Errors+got.Timeouts+got.HandledErrors != 0 || len(got.InitMs) != 2 {
		t.Errorf("summary %+v, want 4 invocations, 2 of them cold", got)
	}
	warm := coldTelemetry[len(coldTelemetry)-3:]
	if got, want := s.types(), slices.Concat(coldTelemetry, warm, warm); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		t.Errorf("telemetry\n%v, want\n%v", got, want)
	}
	for _, want := range []string{"EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n", "START RequestId: ", "END RequestId: ", "\tInit Duration: "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log without %q", want)
		}
	}
}

// TestReportComesLate: the report of an invocation exists only after all
// extensions are done, so it arrives after the next thaw.
func TestReportComesLate(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "watcher")
	f.Env["SINK"] = s.server.URL
	start(t, &e, f)
	invoke(t, &e, `{}`)
	if slices.Contains(s.types(), lambdaapi.TypeReport) {
		t.Error("the report came before the freeze")
	}
	invoke(t, &e, `{"do":"spin","n":300}`)
	if !slices.Contains(s.types(), lambdaapi.TypeReport) {
		t.Error("the report did not come after the thaw")
	}
}

func TestPlatformFailures(t *testing.T) {
	for _, test := range []struct {
		name       string
		extensions []string
		env        map[string]string
		payload    string
		timeout    time.Duration

		status    string // of the report
		errorType string
		answer    string // part of the payload
		reason    string // of the reset
		handled   bool
		answered  bool // the function's own answer comes through
	}{
		{name: "exit 0", payload: `{"do":"exit"}`, status: "error", errorType: "Runtime.ExitError", answer: "Runtime exited without providing a reason", reason: "failure"},
		{name: "exit 1", payload: `{"do":"exit","n":1}`, status: "error", errorType: "Runtime.ExitError", answer: "Runtime exited with error: exit status 1", reason: "failure"},
		{name: "signal", payload: `{"do":"kill"}`, status: "error", errorType: "Runtime.ExitError", answer: "Runtime exited with error: ", reason: "failure"},
		{name: "exit with extension", extensions: []string{"x"}, payload: `{"do":"exit","n":7}`, status: "error", errorType: "Runtime.ExitError", answer: "exit status 7", reason: "failure"},
		{name: "handled error", payload: `{"do":"error"}`, status: "success", answer: `{"errorMessage":"boom","errorType":"Error"}`, handled: true},
		{name: "timeout", payload: `{"do":"hang"}`, timeout: 300 * time.Millisecond, status: "timeout", answer: "Task timed out after 0.30 seconds", reason: "timeout"},
		{name: "timeout with extension", extensions: []string{"x"}, payload: `{"do":"hang"}`, timeout: 300 * time.Millisecond, status: "timeout", answer: `"errorType":"Sandbox.Timedout"`, reason: "timeout"},
		{name: "extension crash", extensions: []string{"x"}, env: map[string]string{"EXTENSION_X": "late"}, payload: `{"do":"hang"}`, status: "error", errorType: "Extension.Crash", answer: "exit status 2", reason: "failure"},
		{name: "extension exit error", extensions: []string{"x"}, env: map[string]string{"EXTENSION_X": "exiterror"}, payload: `{"do":"hang"}`, status: "error", errorType: "Extension.ExitError", reason: "failure"},
		{name: "extension never done", extensions: []string{"x"}, env: map[string]string{"EXTENSION_X": "never"}, payload: `{"y":2}`, timeout: 300 * time.Millisecond, status: "timeout", answer: `{"y":2}`, reason: "timeout", answered: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := Emulator{Patience: time.Minute} // also for the reset of an environment that has answered
			f := testFunction(t, test.extensions...)
			f.Timeout = test.timeout
			for name, value := range test.env {
				f.Env[name] = value
			}
			start(t, &e, f)
			result := invoke(t, &e, test.payload)
			if !strings.Contains(string(result.Payload), test.answer) {
				t.Errorf("payload %s, want %s in it", result.Payload, test.answer)
			}
			if failed := result.FunctionError != ""; failed == test.answered {
				t.Errorf("function error %q", result.FunctionError)
			}
			delete(f.Env, "EXTENSION_X")
			second := invoke(t, &e, `{"do":"facts"}`)
			if second.Environment != result.Environment {
				t.Errorf("environment %s was not kept, but replaced by %s", result.Environment, second.Environment)
			}
			ends := entries(&e, KindInvocationEnd)
			if got := ends[0]; got.Status != test.status || got.ErrorType != test.errorType || got.HandledError != test.handled || !got.Cold {
				t.Errorf("first invocation %+v", got)
			}
			inits := entries(&e, KindInitEnd)
			if test.reason == "" {
				if len(inits) != 1 || ends[1].Cold {
					t.Errorf("a reset that should not be: %+v", inits)
				}
				return
			}
			if len(inits) != 2 || inits[1].Phase != "invoke" || !ends[1].Cold || ends[1].InitMs != 0 {
				t.Errorf("no suppressed init: %+v, %+v", inits, ends)
			}
			if got := entries(&e, KindEnvironmentShutdown)[0]; got.Reason != test.reason {
				t.Errorf("reset for %s, want %s", got.Reason, test.reason)
			}
			if test.status == "timeout" && (ends[0].DurationMs != 300 || summary(t, &e).Timeouts == 0) {
				t.Errorf("timeout: %+v", ends[0])
			}
		})
	}
}

func TestInitFailures(t *testing.T) {
	for _, test := range []struct {
		name       string
		extensions []string
		env        map[string]string
		remove     string // a file of the package
		limit      time.Duration

		first, second string // status and type of the inits of phase init and invoke
		answer        string
	}{
		{name: "crash", env: map[string]string{"INIT": "crash"}, first: "error Runtime.ExitError", second: "error Runtime.ExitError", answer: "exit status 1"},
		{name: "crash once", env: map[string]string{"INIT": "once-crash"}, first: "error Runtime.ExitError", second: "success ", answer: `{"z":3}`},
		{name: "error", env: map[string]string{"INIT": "error"}, first: "error Runtime.ImportModuleError", second: "error Runtime.ImportModuleError", answer: `"errorMessage":"no module"`},
		{name: "timeout once", env: map[string]string{"INIT": "once-hang"}, limit: 300 * time.Millisecond, first: "timeout ", second: "success ", answer: `{"z":3}`},
		{name: "no bootstrap", remove: "bootstrap", first: "error Runtime.InvalidEntrypoint", second: "error Runtime.InvalidEntrypoint", answer: "no such file"},
		{name: "extension crash", extensions: []string{"x"}, env: map[string]string{"EXTENSION_X": "crash"}, first: "error Extension.Crash", second: "error Extension.Crash", answer: "exit status 2"},
		{name: "extension error", extensions: []string{"x"}, env: map[string]string{"EXTENSION_X": "initerror"}, first: "error Extension.InitError", second: "error Extension.InitError", answer: "Extension.InitError"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := Emulator{InitTimeout: test.limit}
			f := testFunction(t, test.extensions...)
			for name, value := range test.env {
				f.Env[name] = value
			}
			if test.remove != "" {
				remove(t, f.Dir, test.remove)
			}
			log := start(t, &e, f)
			result := invoke(t, &e, `{"z":3}`)
			if !strings.Contains(string(result.Payload), test.answer) {
				t.Errorf("payload %s, want %s in it", result.Payload, test.answer)
			}
			if err := e.Recycle(t.Context(), "f", ""); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, init := range entries(&e, KindInitEnd) {
				got = append(got, init.Phase+" "+init.Status+" "+init.ErrorType)
			}
			if want := []string{"init " + test.first, "invoke " + test.second}; !slices.Equal(got, want) {
				t.Errorf("inits %q, want %q", got, want)
			}
			if end := entries(&e, KindInvocationEnd); len(end) != 1 || !end[0].Cold || end[0].InitMs != 0 || !strings.HasPrefix(test.second, end[0].Status) {
				t.Errorf("invocation %+v", end)
			}
			if !strings.Contains(log.String(), "INIT_REPORT Init Duration: ") || !strings.Contains(log.String(), "\tPhase: init\tStatus: ") {
				t.Error("no INIT_REPORT line")
			}
		})
	}
}

func TestTmpIsKeptOverAReset(t *testing.T) {
	var e Emulator
	start(t, &e, testFunction(t))
	facts := func() (files map[string]string) {
		var out struct{ Files map[string]string }
		payload := invoke(t, &e, `{"do":"facts","paths":{"mark":"/tmp/x"}}`).Payload
		if err := json.Unmarshal(payload, &out); err != nil {
			t.Fatalf("%v: %s", err, payload)
		}
		return out.Files
	}
	if got := facts()["mark"]; !strings.HasPrefix(got, "error:") {
		t.Fatalf("/tmp is not fresh: %s", got)
	}
	invoke(t, &e, `{"do":"exit","n":1}`)
	if got := facts()["mark"]; got != "x" {
		t.Errorf("after a reset /tmp/x is %q", got)
	}
}

// TestShutdownOrder: the runtime gets SIGTERM and ends, then extensions get
// the rest of the telemetry and SHUTDOWN.
func TestShutdownOrder(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "a", "b")
	f.Env["SINK"], f.Env["CATCH_SIGTERM"], f.Env["EXTENSION_B"] = s.server.URL, "1", "quiet"
	log := start(t, &e, f)
	invoke(t, &e, `{}`)
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var told []string
	for _, event := range s.events {
		if event.EventType == lambdaapi.EventShutdown {
			told = append(told, event.Extension+" "+event.ShutdownReason)
		}
	}
	slices.Sort(told)
	if want := []string{"a spindown", "b spindown"}; !slices.Equal(told, want) {
		t.Errorf("SHUTDOWN went to %v, want %v", told, want)
	}
	last := s.telemetry[len(s.telemetry)-1]
	if !strings.Contains(string(last.Record), "runtime got SIGTERM") {
		t.Errorf("the last telemetry is %s %s, want the runtime's last words", last.Type, last.Record)
	}
	var exits []string
	for _, exit := range entries(&e, KindProcessExit) {
		exits = append(exits, exit.Role+" "+exit.ExitStatus)
	}
	if want := []string{"runtime exit status 0", "extension exit status 0", "extension exit status 0"}; !slices.Equal(exits, want) {
		t.Errorf("exits %q, want %q\n%s", exits, want, log)
	}
}

// TestShutdownWithoutExtensions: nobody is asked, all is killed.
func TestShutdownWithoutExtensions(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	f.Env["CATCH_SIGTERM"] = "1"
	log := start(t, &e, f)
	invoke(t, &e, `{}`)
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	if exit := entries(&e, KindProcessExit); len(exit) != 1 || exit[0].ExitStatus != "signal: killed" || exit[0].OOMKill {
		t.Errorf("exits %+v", exit)
	}
	if strings.Contains(log.String(), "SIGTERM") {
		t.Error("the runtime got SIGTERM")
	}
}

func TestScaleOutAndThrottle(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	f.MaxConcurrency = 2
	start(t, &e, f)
	type answer struct {
		result InvokeResult
		err    error
	}
	answers := make(chan answer)
	for range 3 {
		go func() {
			result, err := e.Invoke(t.Context(), "f", "", []byte(`{"do":"spin","n":300}`))
			answers <- answer{result, err}
		}()
	}
	environments := map[string]bool{}
	refused := 0
	for range 3 {
		if a := <-answers; a.err != nil {
			refused++
			if !strings.Contains(a.err.Error(), "TooManyRequestsException") {
				t.Error(a.err)
			}
		} else {
			environments[a.result.Environment] = true
		}
	}
	if refused != 1 || len(environments) != 2 {
		t.Errorf("%d refused, environments %v; want 1 and 2", refused, environments)
	}
}

func TestIdleReclaim(t *testing.T) {
	e := Emulator{IdleTimeout: time.Nanosecond}
	start(t, &e, testFunction(t))
	first := invoke(t, &e, `{}`)
	if err := e.Recycle(t.Context(), "f", ""); err != nil { // waits until it was idle
		t.Fatal(err)
	}
	if second := invoke(t, &e, `{}`); second.Environment == first.Environment {
		t.Error("the environment was not reclaimed")
	}
}

func TestDeploymentRetiresEnvironments(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	start(t, &e, f)
	first := invoke(t, &e, `{}`)
	f.MemoryMB = 512
	if err := e.AddFunction(f); err != nil {
		t.Fatal(err)
	}
	if second := invoke(t, &e, `{}`); second.Environment == first.Environment {
		t.Error("the environment of the former deployment served")
	}
}

func TestVersionsAreDistinct(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	f.Version, f.Alias = "1", "small"
	g := f
	g.Version, g.Alias, g.MemoryMB = "2", "large", 512
	start(t, &e, f, g)
	for qualifier, version := range map[string]string{"1": "1", "small": "1", "2": "2", "large": "2"} {
		result, err := e.Invoke(t.Context(), "f", qualifier, nil)
		if err != nil || result.ExecutedVersion != version {
			t.Errorf("qualifier %s executed %q, %v", qualifier, result.ExecutedVersion, err)
		}
	}
	if got := e.Ledger().Summary(); len(got) != 2 || got[0].MemoryMB != 256 || got[1].MemoryMB != 512 {
		t.Errorf("summary %+v", got)
	}
}

func TestStubbornExtensionIsKilled(t *testing.T) {
	var e Emulator
	f := testFunction(t, "x")
	f.Env["EXTENSION_X"] = "stubborn"
	start(t, &e, f)
	invoke(t, &e, `{}`)
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	exits := entries(&e, KindProcessExit)
	if last := exits[len(exits)-1]; last.Role != "extension" || last.ExitStatus != "signal: killed" {
		t.Errorf("exits %+v", exits)
	}
}

// TestRuntimeClient runs AWS's own runtime client against the emulator. Its
// internal extension entitles the runtime to SIGTERM and 500 ms.
func TestRuntimeClient(t *testing.T) {
	var e Emulator
	f := testFunction(t)
	install(t, "aws", f.Dir, "bootstrap")
	log := start(t, &e, f)
	result := invoke(t, &e, `{"k":"v"}`)
	var got struct {
		Event                                 map[string]string
		RequestID, ARN, Name, Version, Stream string
		HasDeadline                           bool
		Memory                                int
	}
	if err := json.Unmarshal(result.Payload, &got); err != nil {
		t.Fatalf("%v: %s", err, result.Payload)
	}
	if got.Event["k"] != "v" || got.RequestID != result.RequestID || got.ARN != "arn:aws:lambda:us-east-1:012345678912:function:f" ||
		got.Name != "f" || got.Version != "$LATEST" || got.Memory != 256 || !got.HasDeadline || got.Stream != result.Environment {
		t.Errorf("the function sees %+v", got)
	}
	failed := invoke(t, &e, `{"fail":1}`)
	if failed.FunctionError != "Unhandled" || !strings.Contains(string(failed.Payload), `"errorMessage":"failed as told"`) {
		t.Errorf("handled error: %+v", failed)
	}
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "handler got SIGTERM\n") || !strings.Contains(log.String(), "EXTENSION\tName: GoLangEnableSIGTERM\tState: Ready\tEvents: []\n") {
		t.Errorf("log:\n%s", log)
	}
	if got := summary(t, &e); got.HandledErrors != 1 || got.Errors != 0 || got.ColdStarts != 1 {
		t.Errorf("summary %+v", got)
	}
}

func TestExtensionsThatCannotStart(t *testing.T) {
	var e Emulator
	f := testFunction(t, "a")
	write(t, f.Layers[0]+"/extensions/b", "not executable")
	log := start(t, &e, f)
	result := invoke(t, &e, `{}`)
	if !strings.Contains(string(result.Payload), `"errorType":"Extension.LaunchError"`) || !strings.Contains(string(result.Payload), "permission denied") {
		t.Errorf("payload %s", result.Payload)
	}
	if want := "EXTENSION\tName: b\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n"; !strings.Contains(log.String(), want) {
		t.Errorf("log without %q", want)
	}
}

func TestTooManyExtensions(t *testing.T) {
	var e Emulator
	f := testFunction(t, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k")
	log := start(t, &e, f)
	if result := invoke(t, &e, `{}`); !strings.Contains(string(result.Payload), `"errorType":"Extension.LaunchError"`) {
		t.Errorf("payload %s", result.Payload)
	}
	if want := "EXTENSION\tName: k\tState: LaunchError\tEvents: []\tError Type: TooManyExtensions\n"; !strings.Contains(log.String(), want) {
		t.Errorf("log without %q", want)
	}
}

func TestExtensionsSwitchedOff(t *testing.T) {
	var e Emulator
	f := testFunction(t, "a")
	write(t, f.Layers[0]+"/"+disableExtensions, "")
	start(t, &e, f)
	if result := invoke(t, &e, `{"v":1}`); string(result.Payload) != `{"v":1}` {
		t.Errorf("payload %s", result.Payload)
	}
	if starts := entries(&e, KindProcessStart); len(starts) != 1 || starts[0].Role != roleRuntime {
		t.Errorf("processes %+v", starts)
	}
}

// TestSlowExtension: the answer does not wait for extensions, the report and
// the environment do.
func TestSlowExtension(t *testing.T) {
	var e Emulator
	f := testFunction(t, "x")
	f.Env["EXTENSION_X"] = "slow"
	start(t, &e, f)
	begin := time.Now()
	if _, err := e.Invoke(t.Context(), "f", "", nil); err != nil {
		t.Fatal(err)
	}
	answered := time.Since(begin)
	second := invoke(t, &e, `{}`) // waits for the same environment
	if ends := entries(&e, KindInvocationEnd); len(ends) != 2 || ends[0].DurationMs < 150 || ends[1].Cold {
		t.Errorf("invocations %+v", ends)
	}
	if starts := entries(&e, KindEnvironmentCreated); len(starts) != 1 || starts[0].Environment != second.Environment {
		t.Errorf("environments %+v", starts)
	}
	if end := entries(&e, KindInvocationEnd)[0]; answered.Seconds()*1000 >= end.InitMs+end.DurationMs+1000 {
		t.Errorf("answered after %v, reported %v ms", answered, end.DurationMs)
	}
}

// TestEvents: what only a look at the records tells.
func TestEvents(t *testing.T) {
	var e Emulator
	s := newSink(t)
	f := testFunction(t, "a")
	f.Runtime, f.Env["SINK"] = "provided.al2023", s.server.URL
	start(t, &e, f)
	request := invokeRequest{name: "f", kind: typeRequestResponse, tail: true, trace: "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1", payload: []byte(`{"do":"log","n":1}`)}
	result, failure := e.invoke(t.Context(), request)
	if failure != nil {
		t.Fatal(failure)
	}
	if !strings.Contains(result.LogTail, "XRAY TraceId: 1-5f35ae12-0c0fec141ab77a00bc047aa2\tSegmentId: ") {
		t.Errorf("no XRAY line in %s", result.LogTail)
	}
	if err := e.Recycle(t.Context(), "f", ""); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range s.telemetry {
		record := string(event.Record)
		var want []string
		switch event.Type {
		case lambdaapi.TypeInitStart:
			want = []string{`"initializationType":"on-demand","phase":"init","functionName":"f","functionVersion":"$LATEST"`, `"instanceMaxMemory":268435456`, `"runtimeVersion":"provided.al2023"`}
		case lambdaapi.TypeInitRuntimeDone, lambdaapi.TypeInitReport:
			want = []string{`"initializationType":"on-demand","phase":"init","status":"success"`}
		case lambdaapi.TypeStart:
			want = []string{`"requestId":"` + result.RequestID + `","version":"$LATEST","tracing":{"spanId":"`}
		case lambdaapi.TypeRuntimeDone:
			want = []string{`"status":"success"`, `"producedBytes":8`, `"responseLatency"`, `"responseDuration"`, `"runtimeOverhead"`}
		case lambdaapi.TypeReport:
			want = []string{`"status":"success"`, `"billedDurationMs":`, `"memorySizeMB":256`, `"maxMemoryUsedMB":`, `"initDurationMs":`, `"name":"extensionOverhead"`}
		case lambdaapi.TypeFunction:
			want = []string{`"line 0\n"`}
		}
		for _, part := range want {
			if !strings.Contains(record, part) {
				t.Errorf("%s %s lacks %s", event.Type, record, part)
			}
		}
	}
}

// TestCloseWhileBusy: running invocations are given up, and nothing hangs.
func TestCloseWhileBusy(t *testing.T) {
	var e Emulator
	f := testFunction(t, "x")
	f.Timeout = time.Minute
	start(t, &e, f)
	answers := make(chan InvokeResult, 1)
	go func() {
		result, err := e.Invoke(t.Context(), "f", "", []byte(`{"do":"hang"}`))
		if err != nil {
			t.Error(err)
		}
		answers <- result
	}()
	for len(entries(&e, KindInvocationStart)) == 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; !strings.Contains(string(got.Payload), "Sandbox.Failure") {
		t.Errorf("payload %s", got.Payload)
	}
	if _, err := e.Invoke(t.Context(), "f", "", nil); err == nil {
		t.Error("a closed emulator invokes")
	}
}
