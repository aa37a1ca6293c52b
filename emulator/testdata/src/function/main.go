// Command function is the function that the emulator's tests invoke: a custom
// runtime over the bare Runtime API, whose behaviour comes from the event and,
// for its init, from environment variables.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// event says what to do, one word and its arguments.
type event struct {
	Do    string            `json:"do"`
	N     int               `json:"n"`
	Text  string            `json:"text"`
	Paths map[string]string `json:"paths"`
}

var base = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime"

func main() {
	if os.Getenv("CATCH_SIGTERM") != "" {
		catchSIGTERM()
	}
	initialize()
	if os.Getenv("RESTORE") != "" {
		restore(os.Getenv("RESTORE"))
	}
	workers, _ := strconv.Atoi(os.Getenv("AWS_LAMBDA_MAX_CONCURRENCY"))
	for range workers - 1 {
		go work()
	}
	work()
}

// restore waits for a snapshot to be restored, and then does what hooks do.
func restore(mode string) {
	response, err := http.Get(base + "/restore/next")
	if err != nil || response.StatusCode != http.StatusOK {
		os.Exit(5)
	}
	response.Body.Close()
	switch mode {
	case "error":
		post("/restore/error", "Runtime.AfterRestoreError", `{"errorMessage":"no socket","errorType":"Runtime.AfterRestoreError"}`)
		os.Exit(1)
	case "hang":
		time.Sleep(time.Hour)
	default:
		time.Sleep(20 * time.Millisecond)
	}
}

// work serves invocations, one after the other.
func work() {
	for {
		next, err := http.Get(base + "/invocation/next")
		if err != nil {
			os.Exit(3)
		}
		payload, _ := io.ReadAll(next.Body)
		next.Body.Close()
		serve(next.Header.Get("Lambda-Runtime-Aws-Request-Id"), next.Header, payload)
	}
}

// initialize misbehaves as INIT says; "once" only if /tmp has no mark of it.
func initialize() {
	mode := os.Getenv("INIT")
	if once, ok := strings.CutPrefix(mode, "once-"); ok {
		if _, err := os.Stat("/tmp/once"); err == nil {
			return
		}
		_ = os.WriteFile("/tmp/once", nil, 0o600)
		mode = once
	}
	switch mode {
	case "crash":
		os.Exit(1)
	case "hang":
		time.Sleep(time.Hour)
	case "error":
		post("/init/error", "Runtime.ImportModuleError", `{"errorMessage":"no module","errorType":"Runtime.ImportModuleError"}`)
		os.Exit(1)
	}
}

func catchSIGTERM() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Println("runtime got SIGTERM")
		os.Exit(0)
	}()
}

func post(path, errorType, body string) *http.Response {
	request, _ := http.NewRequest(http.MethodPost, base+path, strings.NewReader(body))
	request.Header.Set("Lambda-Runtime-Function-Error-Type", errorType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		os.Exit(4)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response
}

func serve(id string, header http.Header, payload []byte) {
	var e event
	_ = json.Unmarshal(payload, &e)
	answer := func(v any) {
		body, _ := json.Marshal(v)
		post("/invocation/"+id+"/response", "", string(body))
	}
	switch e.Do {
	case "exit":
		os.Exit(e.N)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Hour)
	case "hang":
		time.Sleep(time.Hour)
	case "sleep":
		time.Sleep(time.Duration(e.N) * time.Millisecond)
		answer("slept")
	case "error":
		post("/invocation/"+id+"/error", "", `{"errorMessage":"boom","errorType":"Error"}`)
	case "allocate":
		answer(allocate(e.N))
	case "log":
		for i := range e.N {
			fmt.Printf("line %d\n", i)
		}
		answer("logged")
	case "spin":
		answer(spin(time.Duration(e.N) * time.Millisecond))
	case "large":
		answer(strings.Repeat("x", e.N))
	case "raw": // post a body to a path below invocation, and tell the status
		path := strings.ReplaceAll(e.Text, "{id}", id)
		first := post(path, "", "x").StatusCode
		answer(map[string]int{"status": first})
	case "facts":
		answer(facts(header, e))
	case "child": // leave a process behind
		child, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
		if err != nil {
			answer(err.Error())
			return
		}
		answer(child.Pid)
	case "tick":
		go tick(e.Text)
		answer("ticking")
	case "stream":
		stream(id, e.Text)
	case "slowstream":
		slowStream(id, e.Text, time.Duration(e.N)*time.Millisecond, "")
	case "brokenstream":
		slowStream(id, e.Text, 0, `{"errorMessage":"midway","errorType":"Error"}`)
	default:
		post("/invocation/"+id+"/response", "", string(payload))
	}
}

func stream(id, text string) {
	request, _ := http.NewRequest(http.MethodPost, base+"/invocation/"+id+"/response", io.MultiReader(strings.NewReader(text), strings.NewReader(text)))
	request.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
}

// slowStream streams text, and once more after a pause; failure ends it with
// the trailers of one.
func slowStream(id, text string, pause time.Duration, failure string) {
	reader, writer := io.Pipe()
	go func() {
		_, _ = io.WriteString(writer, text)
		time.Sleep(pause)
		_, _ = io.WriteString(writer, text)
		writer.Close()
	}()
	request, _ := http.NewRequest(http.MethodPost, base+"/invocation/"+id+"/response", reader)
	request.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	if failure != "" {
		request.Trailer = http.Header{
			"Lambda-Runtime-Function-Error-Type": {"Error"},
			"Lambda-Runtime-Function-Error-Body": {base64.StdEncoding.EncodeToString([]byte(failure))},
		}
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
}

// tick posts to url without end.
func tick(url string) {
	for i := 0; ; i++ {
		if response, err := http.Post(url, "text/plain", strings.NewReader(strconv.Itoa(i))); err == nil {
			response.Body.Close()
		}
		time.Sleep(time.Millisecond)
	}
}

func allocate(mb int) int {
	hog := make([][]byte, 0, mb)
	for range mb {
		hog = append(hog, bytes.Repeat([]byte{1}, 1<<20))
	}
	return len(hog)
}

// spin works for a while and returns how many milliseconds of CPU it got.
func spin(d time.Duration) int64 {
	before := cpuTime()
	for until := time.Now().Add(d); time.Now().Before(until); {
		for i := range 1000 {
			_ = strconv.Itoa(i)
		}
	}
	return (cpuTime() - before).Milliseconds()
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// facts tell what the function sees of its environment.
func facts(header http.Header, e event) map[string]any {
	files := map[string]string{}
	for name, path := range e.Paths {
		data, err := os.ReadFile(path)
		files[name] = string(data)
		if err != nil {
			files[name] = "error: " + err.Error()
		}
	}
	written := func(path string) bool { return os.WriteFile(path, []byte("x"), 0o600) == nil }
	dir, _ := os.Getwd()
	return map[string]any{
		"env": os.Environ(), "uid": os.Getuid(), "dir": dir, "files": files, "header": header, "cpus": runtime.NumCPU(),
		"canWriteTask": written("/var/task/x"), "canWriteOpt": written("/opt/x"), "canWriteTmp": written("/tmp/x"),
		"canWriteEtc": written("/etc/x"), "pid": os.Getpid(),
	}
}
