package layer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer"
)

// unpacked is the layer as Lambda would have it in /opt.
func unpacked(t *testing.T) string {
	t.Helper()
	opt := filepath.Join(t.TempDir(), "opt")
	if err := layer.Unpack(pack(t, script), opt); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(opt, layer.HooksPath)
}

// shells are what /bin/sh may be; Lambda's is bash.
func shells(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"dash", "bash"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		t.Fatal("no shell")
	}
	return found
}

// TestWrapper starts a command through the wrapper and looks at what it gets.
func TestWrapper(t *testing.T) {
	thaw := unpacked(t)
	next := filepath.Join(t.TempDir(), "next wrapper")
	if err := os.WriteFile(next, []byte("#!/bin/sh\necho \"next: $THAW_NEXT_WRAPPER\"\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	hook := "--require " + thaw + "/node/thaw.cjs"
	f := func(want string, env ...string) {
		t.Helper()
		for _, shell := range shells(t) {
			cmd := exec.Command(shell, filepath.Join(thaw, "wrapper"), "sh", "-c", `echo "<$NODE_OPTIONS> $1 $#"`, "node", "an argument", "")
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != want+"\n" {
				t.Errorf("%s, %v: %v\ngot  %swant %s", shell, env, err, out, want)
			}
		}
	}
	const node = "AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x"
	f("<"+hook+"> an argument 2", node)
	f("<"+hook+" --no-warnings --require /x.js> an argument 2", node, "NODE_OPTIONS=--no-warnings --require /x.js")
	f("<> an argument 2", node, "THAW_PROFILE=off")
	f("<"+hook+"> an argument 2", node, "THAW_PROFILE=deep")
	f("<> an argument 2", "AWS_EXECUTION_ENV=AWS_Lambda_rust1.x")
	f("<> an argument 2")
	f("next: \n<"+hook+"> an argument 2", node, "THAW_NEXT_WRAPPER="+next)
	f("next: \n<> an argument 2", "THAW_NEXT_WRAPPER="+next)
	f("<"+hook+"> an argument 2", node, "THAW_NEXT_WRAPPER=/not/there")
}

// Without AWS_EXECUTION_ENV, in an image, the command tells the runtime.
func TestWrapperKnowsTheCommand(t *testing.T) {
	thaw := unpacked(t)
	node := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(node, []byte("#!/bin/sh\necho \"<$NODE_OPTIONS>\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(thaw, "wrapper"), node, "/var/runtime/index.mjs")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "<--require ") {
		t.Errorf("%v: %s", err, out)
	}
	// Even where the layer is broken the runtime starts.
	if err := os.RemoveAll(filepath.Join(thaw, "node")); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(filepath.Join(thaw, "wrapper"), node, "/var/runtime/index.mjs")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "<>\n" {
		t.Errorf("%v: %s", err, out)
	}
}
