package main

import (
	"bytes"
	"context"
	"testing"
)

// A build tells a crossed condition from a wrong command line by the code.
func TestExitCodes(t *testing.T) {
	f := func(want int, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := run(context.Background(), args, &stdout, &stderr); got != want {
			t.Errorf("thaw %v exits with %d, want %d\n%s", args, got, want, &stderr)
		}
	}
	f(0, "version")
	f(64, "frobnicate")
	f(64, "compare", "--format", "html")
	f(64, "compare", "--versions", "1")
	f(64, "compare", "--before", "yesterday", "--after", "today")
	f(64, "compare", "--fail-on", "init_p95_ms>a lot")
	f(64, "report", "--fail-on", "everything")
	f(64, "report", "--budget", "no-such-file")
	f(1, "compare", "--url", "http://127.0.0.1:1")
}
