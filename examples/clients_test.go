package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/examples"
)

// underNodeRIC is f started by AWS's client for Node.js, as Lambda's runtime does.
func underNodeRIC(t *testing.T, f function) function {
	dirs := realClients(t)
	f.command = []string{
		filepath.Join(dirs["node"], "bin", "node"),
		filepath.Join(dirs["aws-lambda-ric"], "node_modules", "aws-lambda-ric", "index.mjs"),
		f.handler,
	}
	return f
}

// underPythonRIC is f started by AWS's client for Python.
func underPythonRIC(t *testing.T, f function) function {
	dirs := realClients(t)
	f.command = []string{f.command[0], "-m", "awslambdaric", f.handler}
	f.env = append(f.env, "PYTHONPATH="+dirs["awslambdaric"])
	return f
}

// realClients are the directories of what testdata/install-rics.sh installed.
func realClients(t *testing.T) map[string]string {
	t.Helper()
	output, err := exec.Command("testdata/install-rics.sh", "--check").CombinedOutput()
	if err != nil {
		unavailable(t, string(output))
	}
	dirs := map[string]string{}
	for line := range strings.Lines(string(output)) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		dirs[name] = dir
	}
	return dirs
}

// own is a function from a source text, under our client.
func own(t *testing.T, interpreter, file, source, handler string) function {
	t.Helper()
	found, err := examples.FindInterpreter(t.Context(), interpreter)
	if err != nil {
		unavailable(t, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	script := map[string]string{"node": "runtime/node/bootstrap.cjs", "python3": "runtime/python/bootstrap.py"}[interpreter]
	script, err = filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	return function{name: "own", handler: handler, dir: dir, command: []string{found.Path, script}}
}

// ownWith adds a file to a function's directory.
func ownWith(t *testing.T, file, text string, f function) function {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

const nodeEcho = `
exports.handler = async (event, context) => ({
  event,
  trace: process.env._X_AMZN_TRACE_ID,
  name: context.functionName,
  version: context.functionVersion,
  memory: context.memoryLimitInMB,
  arn: context.invokedFunctionArn,
  stream: context.logStreamName,
  remaining: context.getRemainingTimeInMillis(),
});
exports.nothing = async () => {};
exports.plain = (event) => { throw "a string"; };
`

const pythonEcho = `
import os
def handler(event, context):
    return {
        "event": event,
        "trace": os.environ["_X_AMZN_TRACE_ID"],
        "name": context.function_name,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "arn": context.invoked_function_arn,
        "stream": context.log_stream_name,
        "remaining": context.get_remaining_time_in_millis(),
    }
def nothing(event, context):
    pass
def unserialisable(event, context):
    return object()
`

func TestClientsGiveContext(t *testing.T) {
	f := func(fn function) {
		t.Helper()
		type echo struct {
			Event                                     any
			Trace, Name, Version, Memory, ARN, Stream string
			Remaining                                 int
		}
		r := launch(t, fn)
		var got echo
		for range 3 {
			got = response[echo](r, `{"größe":[1,2]}`)
		}
		if got.Remaining <= 0 || got.Remaining > 30_000 {
			t.Errorf("%d ms remain of 30 s", got.Remaining)
		}
		event, _ := got.Event.(map[string]any)
		if len(event) != 1 || event["größe"] == nil {
			t.Errorf("event %v", got.Event)
		}
		got.Event, got.Remaining = nil, 0
		want := echo{
			Trace: traceID, Name: "own", Version: "$LATEST", Memory: "128", Stream: "stream",
			ARN: "arn:aws:lambda:us-east-1:012345678912:function:test",
		}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.connections != 1 {
			t.Errorf("%d connections for 3 invocations", r.connections)
		}
	}
	f(own(t, "node", "index.js", nodeEcho, "index.handler"))
	f(own(t, "python3", "app.py", pythonEcho, "app.handler"))
}

func TestClientsHandlerKinds(t *testing.T) {
	f := func(want string, fn function) {
		t.Helper()
		if got := launch(t, fn).invoke(`{}`); got.kind != "response" || string(got.body) != want {
			t.Errorf("%s: %s %s", fn.handler, got.kind, got.body)
		}
	}
	f("null", own(t, "node", "index.js", nodeEcho, "index.nothing"))
	f("null", own(t, "python3", "app.py", pythonEcho, "app.nothing"))
	f(`"esm"`, own(t, "node", "index.mjs", `await 0; export const handler = async () => "esm";`, "index.handler"))
	f(`"type"`, ownWith(t, "package.json", `{"type":"module"}`,
		own(t, "node", "index.js", `await 0; export const handler = async () => "type";`, "index.handler")))
	f(`"sync"`, own(t, "node", "index.cjs", `exports.handler = () => "sync";`, "index.handler"))
}

func TestClientsReportErrors(t *testing.T) {
	f := func(kind, errorType, message string, fn function) {
		t.Helper()
		r := launch(t, fn)
		var got answer
		if kind == "init/error" {
			got = r.answer()
		} else {
			got = r.invoke(`{}`)
		}
		failure := got.failure(t)
		if got.kind != kind || failure.ErrorType != errorType || got.errorType != errorType || !strings.Contains(failure.ErrorMessage, message) {
			t.Errorf("%s %s, header %q", got.kind, got.body, got.errorType)
		}
		if kind == "init/error" && r.exitCode() != 1 {
			t.Errorf("exit code %d", r.exitCode())
		}
	}
	f("error", "Error", "a string", own(t, "node", "index.js", nodeEcho, "index.plain"))
	f("error", "TypeError", "circular", own(t, "node", "index.js", `exports.handler = async () => { const a = {}; a.a = a; return a; };`, "index.handler"))
	f("error", "TypeError", "not JSON serializable", own(t, "python3", "app.py", pythonEcho, "app.unserialisable"))

	f("init/error", "Runtime.HandlerNotFound", "index.missing", own(t, "node", "index.js", nodeEcho, "index.missing"))
	f("init/error", "Runtime.ImportModuleError", "other", own(t, "node", "index.js", nodeEcho, "other.handler"))
	f("init/error", "Runtime.ImportModuleError", "not-there", own(t, "node", "index.js", `require("not-there")`, "index.handler"))
	f("init/error", "Runtime.UserCodeSyntaxError", "", own(t, "node", "index.js", `exports.handler = (`, "index.handler"))
	f("init/error", "Error", "no table", own(t, "node", "index.js", `throw new Error("no table")`, "index.handler"))

	f("init/error", "Runtime.HandlerNotFound", "missing", own(t, "python3", "app.py", pythonEcho, "app.missing"))
	f("init/error", "Runtime.ImportModuleError", "other", own(t, "python3", "app.py", pythonEcho, "other.handler"))
	f("init/error", "Runtime.UserCodeSyntaxError", "", own(t, "python3", "app.py", "def (", "app.handler"))
	f("init/error", "KeyError", "TABLE", own(t, "python3", "app.py", `import os; os.environ["TABLE"]`, "app.handler"))
}
