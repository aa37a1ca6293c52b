// Command function is a custom runtime that does what the event says: it
// sleeps, then answers, exits or hangs.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		next, err := http.Get(base + "next")
		if err != nil {
			os.Exit(3)
		}
		var event struct {
			SleepMs int    `json:"sleepMs"`
			Do      string `json:"do"`
		}
		_ = json.NewDecoder(next.Body).Decode(&event)
		next.Body.Close()
		fmt.Println("an invocation")
		time.Sleep(time.Duration(event.SleepMs) * time.Millisecond)
		switch event.Do {
		case "exit":
			os.Exit(1)
		case "hang":
			time.Sleep(time.Hour)
		}
		answer, err := http.Post(base+next.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", strings.NewReader("{}"))
		if err != nil {
			os.Exit(4)
		}
		answer.Body.Close()
	}
}
