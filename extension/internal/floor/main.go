// Command floor is the least that an extension in Go with net/http can do:
// register, listen, subscribe to telemetry, and call next until the shutdown.
// What Thaw's own extension costs is stated as a ratio to it, taken in the same
// run on the same machine.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run() error {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	register, err := call(http.MethodPost, base+"/2020-01-01/extension/register", `{"events":["INVOKE","SHUTDOWN"]}`,
		"Lambda-Extension-Name", filepath.Base(os.Args[0]))
	if err != nil {
		return err
	}
	drain(register)
	id := register.Header.Get("Lambda-Extension-Identifier")
	ln, err := net.Listen("tcp", "sandbox.localdomain:0")
	if err != nil { // not in Lambda
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	go http.Serve(ln, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	subscription := fmt.Sprintf(`{"schemaVersion":"2022-12-13","types":["platform","function","extension"],`+
		`"buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},`+
		`"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d/"}}`, ln.Addr().(*net.TCPAddr).Port)
	subscribe, err := call(http.MethodPut, base+"/2022-07-01/telemetry", subscription, "Lambda-Extension-Identifier", id)
	if err != nil {
		return err
	}
	drain(subscribe)
	for {
		next, err := call(http.MethodGet, base+"/2020-01-01/extension/event/next", "", "Lambda-Extension-Identifier", id)
		if err != nil {
			return err
		}
		var event struct {
			EventType string `json:"eventType"`
		}
		err = json.NewDecoder(next.Body).Decode(&event)
		next.Body.Close()
		if err != nil {
			return err
		}
		if event.EventType == "SHUTDOWN" {
			return nil
		}
	}
}

func call(method, url, body, name, value string) (*http.Response, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(name, value)
	return http.DefaultClient.Do(req)
}

// drain reads an answer to its end, without which its connection is not used
// again.
func drain(res *http.Response) {
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
}
