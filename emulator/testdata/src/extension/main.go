// Command extension is the external extension of the emulator's tests. It
// subscribes to telemetry and forwards all that it gets to $SINK, a server of
// the test: events of the Extensions API to /event, telemetry to /telemetry.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var (
	base   = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	sink   = os.Getenv("SINK")
	name   = filepath.Base(os.Args[0])
	mode   = os.Getenv("EXTENSION_" + strings.ToUpper(name))
	schema = "2022-12-13"
	hog    []byte // memory that the function cannot use
)

func main() {
	if mode == "crash" {
		os.Exit(2)
	}
	events := `{"events":["INVOKE","SHUTDOWN"]}`
	if mode == "noshutdown" {
		events = `{"events":["INVOKE"]}`
	}
	if mode == "managed" {
		events, schema = `{"events":["SHUTDOWN"]}`, "2025-01-29"
	}
	if mode == "idle" {
		events = `{"events":[]}`
	}
	id := call(http.MethodPost, "/2020-01-01/extension/register", map[string]string{"Lambda-Extension-Name": name}, events).
		Header.Get("Lambda-Extension-Identifier")
	header := map[string]string{"Lambda-Extension-Identifier": id}
	if sink != "" && mode != "quiet" {
		subscribe(header)
	}
	if mode == "registered" { // crash in the init, when the others have registered
		time.Sleep(50 * time.Millisecond)
		os.Exit(2)
	}
	if mode == "initerror" {
		time.Sleep(50 * time.Millisecond) // as above
		header["Lambda-Extension-Function-Error-Type"] = "Extension.Test"
		call(http.MethodPost, "/2020-01-01/extension/init/error", header, "{}")
		os.Exit(1)
	}
	if mode == "hog" {
		hog = bytes.Repeat([]byte{1}, 100<<20)
	}
	fmt.Println(name + " is ready")
	for {
		loop(header)
	}
}

func loop(header map[string]string) {
	response := call(http.MethodGet, "/2020-01-01/extension/event/next", header, "")
	body, _ := io.ReadAll(response.Body)
	var event struct{ EventType, ShutdownReason string }
	_ = json.Unmarshal(body, &event)
	report("/event", body)
	switch {
	case event.EventType == "SHUTDOWN" && mode == "stubborn":
		time.Sleep(time.Hour)
	case event.EventType == "SHUTDOWN":
		os.Exit(0)
	case mode == "late": // crash in the invocation
		os.Exit(2)
	case mode == "slow":
		time.Sleep(150 * time.Millisecond)
	case mode == "never":
		time.Sleep(time.Hour)
	case mode == "exiterror":
		header["Lambda-Extension-Function-Error-Type"] = "Extension.Test"
		call(http.MethodPost, "/2020-01-01/extension/exit/error", header, "{}")
		os.Exit(1)
	}
}

func subscribe(header map[string]string) {
	listener, err := net.Listen("tcp", "sandbox.localdomain:0")
	if err != nil {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			os.Exit(5)
		}
	}
	failures := 0
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mode == "flaky" && failures < 2 { // the batch has to come again
			failures++
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		body, _ := io.ReadAll(r.Body)
		report("/telemetry", body)
	}))
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	body := fmt.Sprintf(`{"schemaVersion":"`+schema+`","types":["platform","function","extension"],
		"buffering":{"timeoutMs":25,"maxItems":1000,"maxBytes":262144},
		"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%s/"}}`, port)
	call(http.MethodPut, "/2022-07-01/telemetry", header, body)
}

func call(method, path string, header map[string]string, body string) *http.Response {
	request, _ := http.NewRequest(method, base+path, strings.NewReader(body))
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode > 299 {
		fmt.Println(name, method, path, err, response)
		os.Exit(6)
	}
	return response
}

func report(path string, body []byte) {
	if sink == "" {
		return
	}
	request, _ := http.NewRequest(http.MethodPost, sink+path, bytes.NewReader(body))
	request.Header.Set("Extension", name)
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
}
