package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/examples"
)

// patience bounds what should take milliseconds on an idle machine.
const patience = time.Minute

const traceID = "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1"

// answer is what a function posted to the Runtime API.
type answer struct {
	kind      string // "response", "error" or "init/error"
	requestID string
	errorType string // the header
	body      []byte
}

// functionError is the body of an error. Node.js calls its stack "trace".
type functionError struct {
	ErrorMessage string
	ErrorType    string
	StackTrace   []any
	Trace        []string
}

// runtimeAPI is Lambda's Runtime API for one function process, and that process.
type runtimeAPI struct {
	t       *testing.T
	cmd     *exec.Cmd
	started time.Time
	ready   chan time.Time // the first next
	events  chan []byte
	answers chan answer
	exited  chan struct{} // closed after cmd.Wait
	output  *lockedBuffer

	mu          sync.Mutex
	connections int
	sequence    int
}

// launch starts a function with a Runtime API of its own. env comes on top of
// what Lambda sets.
func launch(t *testing.T, f function, env ...string) *runtimeAPI {
	t.Helper()
	r := &runtimeAPI{
		t:       t,
		ready:   make(chan time.Time, 1),
		events:  make(chan []byte),
		answers: make(chan answer, 1),
		exited:  make(chan struct{}),
		output:  new(lockedBuffer),
	}
	server := httptest.NewUnstartedServer(r.handler())
	server.Config.ConnState = r.countConnections
	server.Start()
	t.Cleanup(server.Close)
	r.start(f, server.Listener.Addr().String(), env)
	t.Cleanup(r.stop)
	return r
}

func (r *runtimeAPI) start(f function, addr string, env []string) {
	r.t.Helper()
	r.cmd = exec.Command(f.command[0], f.command[1:]...)
	r.cmd.Dir = f.dir
	r.cmd.Env = append([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8", "TZ=:UTC",
		"AWS_LAMBDA_RUNTIME_API=" + addr, "_HANDLER=" + f.handler, "LAMBDA_TASK_ROOT=" + f.dir,
		"AWS_LAMBDA_FUNCTION_NAME=" + f.name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + f.name, "AWS_LAMBDA_LOG_STREAM_NAME=stream",
		"AWS_REGION=us-east-1",
	}, append(f.env, env...)...)
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	r.started = time.Now()
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait() // how it ended is in ProcessState
		close(r.exited)
	}()
}

// stop ends the process, as Lambda does when it needs the room.
func (r *runtimeAPI) stop() {
	_ = r.cmd.Process.Kill() // fails if it has gone already
	<-r.exited
	if r.t.Failed() {
		r.t.Logf("output of the function:\n%s", r.output)
	}
}

func (r *runtimeAPI) countConnections(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		r.mu.Lock()
		r.connections++
		r.mu.Unlock()
	}
}

func (r *runtimeAPI) handler() http.Handler {
	mux := http.NewServeMux()
	const api = "/2018-06-01/runtime"
	mux.HandleFunc("GET "+api+"/invocation/next", r.next)
	mux.HandleFunc("POST "+api+"/invocation/{id}/{kind}", func(w http.ResponseWriter, req *http.Request) {
		r.accept(w, req, req.PathValue("kind"))
	})
	mux.HandleFunc("POST "+api+"/init/error", func(w http.ResponseWriter, req *http.Request) {
		r.accept(w, req, "init/error")
	})
	// aws-lambda-go registers an extension to be told of SIGTERM.
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})
	return mux
}

func (r *runtimeAPI) next(w http.ResponseWriter, req *http.Request) {
	select {
	case r.ready <- time.Now():
	default:
	}
	select {
	case event := <-r.events:
		r.mu.Lock()
		r.sequence++
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", r.sequence)
		r.mu.Unlock()
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(30*time.Second).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:012345678912:function:test")
		w.Header().Set("Lambda-Runtime-Trace-Id", traceID)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(event)
	case <-req.Context().Done():
	}
}

func (r *runtimeAPI) accept(w http.ResponseWriter, req *http.Request, kind string) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
	r.answers <- answer{kind, req.PathValue("id"), req.Header.Get("Lambda-Runtime-Function-Error-Type"), body}
}

// invoke sends an event and waits for what comes back.
func (r *runtimeAPI) invoke(event string) answer {
	r.t.Helper()
	r.send(event)
	return r.answer()
}

// send waits until the function has taken the event.
func (r *runtimeAPI) send(event string) {
	r.t.Helper()
	select {
	case r.events <- []byte(event):
	case got := <-r.answers:
		r.t.Fatalf("instead of asking for an event the function posted %s: %s", got.kind, got.body)
	case <-r.exited:
		r.t.Fatalf("the function did not take the event: %v", r.cmd.ProcessState)
	case <-time.After(patience):
		r.t.Fatal("the function never asked for an event")
	}
}

func (r *runtimeAPI) answer() answer {
	r.t.Helper()
	select {
	case got := <-r.answers:
		return got
	case <-r.exited:
	case <-time.After(patience):
		r.t.Fatal("no answer")
	}
	select { // it may have answered and then exited
	case got := <-r.answers:
		return got
	default:
		r.t.Fatalf("no answer: %v", r.cmd.ProcessState)
		return answer{}
	}
}

// response is invoke for an event that must succeed.
func response[T any](r *runtimeAPI, event string) T {
	r.t.Helper()
	got := r.invoke(event)
	if got.kind != "response" {
		r.t.Fatalf("%s: %s", got.kind, got.body)
	}
	var value T
	if err := json.Unmarshal(got.body, &value); err != nil {
		r.t.Fatalf("response %q: %v", got.body, err)
	}
	return value
}

// failure reads the body of an error.
func (a answer) failure(t *testing.T) functionError {
	t.Helper()
	var failure functionError
	if err := json.Unmarshal(a.body, &failure); err != nil {
		t.Fatalf("%s %q: %v", a.kind, a.body, err)
	}
	return failure
}

// initDuration is the time from exec to the first next.
func (r *runtimeAPI) initDuration() time.Duration {
	r.t.Helper()
	select {
	case at := <-r.ready:
		return at.Sub(r.started)
	case <-r.exited:
		r.t.Fatalf("it ended before it was ready: %v", r.cmd.ProcessState)
	case <-time.After(patience):
		r.t.Fatal("it never got ready")
	}
	return 0
}

func (r *runtimeAPI) exitCode() int {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Fatal("the process did not exit")
	}
	return r.cmd.ProcessState.ExitCode()
}

// waitForOutput waits until what the function has logged is as it should be:
// it logs before it answers, but the pipe may be read after that.
func (r *runtimeAPI) waitForOutput(complete func(string) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !complete(r.output.String()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("the output never was complete")
		}
	}
}

// cpu is what the process has used until now, to 10 ms.
func (r *runtimeAPI) cpu() time.Duration {
	r.t.Helper()
	const userHertz = 100 // of /proc, on every Linux
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	// The fields are counted from behind the name, which may contain blanks.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, userErr := strconv.Atoi(fields[11])
	system, systemErr := strconv.Atoi(fields[12])
	if userErr != nil || systemErr != nil {
		r.t.Fatalf("/proc/pid/stat: %s", stat)
	}
	return time.Duration(user+system) * time.Second / userHertz
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMB is the largest resident size that the process has had.
func (r *runtimeAPI) peakMB() int {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	match := peakLine.FindSubmatch(status)
	if match == nil {
		r.t.Fatalf("/proc/pid/status has no VmHWM")
	}
	kilobytes, err := strconv.Atoi(string(match[1]))
	if err != nil {
		r.t.Fatal(err)
	}
	return kilobytes / 1024
}

// function is a function and one way to start it.
type function struct {
	name, handler, dir string
	command, env       []string
}

// assemble makes an example's directory, or skips the test.
func assemble(t *testing.T, name string) function {
	t.Helper()
	example, ok := examples.Find(name)
	if !ok {
		t.Fatalf("there is no example %s", name)
	}
	made, err := example.Assemble(t.Context(), t.TempDir(), binaries(t))
	if err != nil {
		unavailable(t, err)
	}
	return function{name: name, handler: example.Handler, dir: made.Dir, command: made.Command}
}

// event is an example's sample event.
func event(t *testing.T, name string) string {
	t.Helper()
	example, ok := examples.Find(name)
	if !ok {
		t.Fatalf("there is no example %s", name)
	}
	return string(example.Event)
}

// unavailable skips a test for what the machine lacks; in CI nothing may lack.
func unavailable(t *testing.T, reason any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("in CI this must run: %v", reason)
	}
	t.Skipf("SKIPPED: %v", reason)
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
