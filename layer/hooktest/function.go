package hooktest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds what should take milliseconds on an idle machine.
const patience = 20 * time.Second

// Command is how a function is started.
type Command struct {
	Args []string
	Env  []string
	Dir  string // the function's folder
	// Handler is app.handler where it is empty.
	Handler string
	// Profiles is the folder of the profiles; a new one where it is empty.
	Profiles string
}

// Function is a process under a Runtime API of its own.
type Function struct {
	t        testing.TB
	cmd      *exec.Cmd
	profiles string
	output   *buffer
	events   chan string
	answers  chan Answer
	exited   chan struct{}

	mu      sync.Mutex
	next    int // how often it asked for an invocation
	started time.Time
	init    time.Duration // from its start to the first of these
}

// Answer is what a function posted.
type Answer struct {
	// Kind is "response", "error" or "init/error".
	Kind, Body string
}

// Start starts a function. It is killed at the end of the test.
func Start(t testing.TB, c Command) *Function {
	t.Helper()
	f := &Function{
		t: t, profiles: c.Profiles, output: new(buffer),
		events: make(chan string), answers: make(chan Answer, 16), exited: make(chan struct{}),
	}
	if f.profiles == "" {
		f.profiles = filepath.Join(t.TempDir(), "profiles")
	}
	if c.Handler == "" {
		c.Handler = "app.handler"
	}
	server := httptest.NewServer(f.api())
	t.Cleanup(server.Close)
	f.cmd = exec.Command(c.Args[0], c.Args[1:]...)
	f.cmd.Dir = c.Dir
	f.cmd.Env = append([]string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8", "TZ=:UTC",
		"AWS_LAMBDA_RUNTIME_API=" + server.Listener.Addr().String(), "_HANDLER=" + c.Handler, "LAMBDA_TASK_ROOT=" + c.Dir,
		"AWS_LAMBDA_FUNCTION_NAME=test", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/test", "AWS_LAMBDA_LOG_STREAM_NAME=stream", "AWS_REGION=us-east-1",
		"THAW_PROFILE_DIR=" + f.profiles,
	}, c.Env...)
	f.cmd.Stdout, f.cmd.Stderr = f.output, f.output
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	f.mu.Lock() // the function may ask before Start returns
	f.started = time.Now()
	f.mu.Unlock()
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = f.cmd.Wait() // how it ended is in ProcessState
		close(f.exited)
	}()
	t.Cleanup(func() {
		f.Kill()
		if t.Failed() && f.Output() != "" {
			t.Logf("the function said:\n%s", f.Output())
		}
	})
	return f
}

func (f *Function) api() http.Handler {
	mux := http.NewServeMux()
	const api = "/2018-06-01/runtime"
	mux.HandleFunc("GET "+api+"/invocation/next", f.serveNext)
	mux.HandleFunc("POST "+api+"/invocation/{id}/{kind}", func(w http.ResponseWriter, r *http.Request) {
		f.accept(w, r, r.PathValue("kind"))
	})
	mux.HandleFunc("POST "+api+"/init/error", func(w http.ResponseWriter, r *http.Request) { f.accept(w, r, "init/error") })
	return mux
}

func (f *Function) serveNext(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.next++; f.next == 1 {
		f.init = time.Since(f.started)
	}
	id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", f.next)
	f.mu.Unlock()
	select {
	case event := <-f.events:
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(30*time.Second).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:012345678912:function:test")
		w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, event)
	case <-r.Context().Done():
	}
}

func (f *Function) accept(w http.ResponseWriter, r *http.Request, kind string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.answers <- Answer{kind, string(body)}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

// Invoke sends an event and returns the answer.
func (f *Function) Invoke(event string) Answer {
	f.t.Helper()
	f.Send(event)
	return f.Answer()
}

// Send waits until the function has taken the event.
func (f *Function) Send(event string) {
	f.t.Helper()
	select {
	case f.events <- event:
	case got := <-f.answers:
		f.t.Fatalf("instead of asking for an event the function posted %s: %s", got.Kind, got.Body)
	case <-f.exited:
		f.t.Fatalf("the function did not take the event: %v", f.cmd.ProcessState)
	case <-time.After(patience):
		f.t.Fatal("the function never asked for an event")
	}
}

// Answer waits for what the function posts.
func (f *Function) Answer() Answer {
	f.t.Helper()
	select {
	case got := <-f.answers:
		return got
	case <-f.exited:
	case <-time.After(patience):
		f.t.Fatal("no answer")
	}
	select { // it may have answered and then exited
	case got := <-f.answers:
		return got
	default:
		f.t.Fatalf("the function ended without an answer: %v", f.cmd.ProcessState)
		return Answer{}
	}
}

// WaitNext waits until the function has asked for its n-th invocation.
func (f *Function) WaitNext(n int) {
	f.t.Helper()
	f.wait(fmt.Sprintf("request %d for an invocation", n), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.next >= n
	})
}

// Init is how long the init took, from the start of the process until it asked
// for an invocation.
func (f *Function) Init() time.Duration {
	f.t.Helper()
	f.WaitNext(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.init
}

// WaitNextOrExit waits until the init is over. It reports whether it succeeded.
func (f *Function) WaitNextOrExit() bool {
	f.t.Helper()
	asked := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.next > 0
	}
	f.wait("end of the init", func() bool { return asked() || f.hasExited() })
	return asked()
}

func (f *Function) hasExited() bool {
	select {
	case <-f.exited:
		return true
	default:
		return false
	}
}

// WaitProfile waits until the profile contains the text.
func (f *Function) WaitProfile(text string) {
	f.t.Helper()
	f.wait(fmt.Sprintf("%q in the profile", text), func() bool {
		return bytes.Contains(f.Profile(), []byte(text))
	})
}

func (f *Function) wait(what string, done func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("no %s", what)
		}
	}
}

// WaitExit waits until the process has ended, and returns how.
func (f *Function) WaitExit() *os.ProcessState {
	f.t.Helper()
	select {
	case <-f.exited:
	case <-time.After(patience):
		f.t.Fatal("the function does not end")
	}
	return f.cmd.ProcessState
}

// Kill ends the process and what it started, at once.
func (f *Function) Kill() {
	_ = syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL) // fails if it has gone already
	<-f.exited
}

// Output is what the function printed.
func (f *Function) Output() string { return f.output.String() }

// Profiles are the files that the function's processes wrote.
func (f *Function) Profiles() []string {
	files, err := filepath.Glob(filepath.Join(f.profiles, "init-*.tsv"))
	if err != nil {
		f.t.Fatal(err)
	}
	return files
}

// Profile is the content of the only profile, nil if there is none.
func (f *Function) Profile() []byte {
	f.t.Helper()
	files := f.Profiles()
	if len(files) == 0 {
		return nil
	}
	if len(files) > 1 {
		f.t.Fatalf("several profiles: %v", files)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		f.t.Fatal(err)
	}
	return content
}

// buffer is a bytes.Buffer for a process that writes while a test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// PID is the process's id, as a file is named by it.
func (f *Function) PID() string { return strconv.Itoa(f.cmd.Process.Pid) }
