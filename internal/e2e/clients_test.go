package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
)

// The functions that run under our small clients also run under those that
// Lambda itself uses, with the extension attached, and are observed alike.
func TestAWSRuntimeClients(t *testing.T) {
	dirs := awsClients(t)
	// They are installed in the cache of the user who runs the tests.
	w := newWorldWith(t, &emulator.Emulator{SameUser: true})
	w.deploy("audit-log", 512, func(f *emulator.Function) {
		f.Command = []string{
			filepath.Join(dirs["node"], "bin", "node"),
			filepath.Join(dirs["aws-lambda-ric"], "node_modules", "aws-lambda-ric", "index.mjs"),
			f.Handler,
		}
	})
	w.deploy("checkout", 512, func(f *emulator.Function) {
		python, err := examples.FindInterpreter(t.Context(), "python3")
		if err != nil {
			t.Fatal(err)
		}
		f.Command = []string{python.Path, "-m", "awslambdaric", f.Handler}
		f.Env["PYTHONPATH"] = dirs["awslambdaric"]
	})
	for _, name := range []string{"audit-log", "checkout"} {
		for i := range 6 {
			if i == 3 {
				w.recycle(name, 512)
			}
			if w.invoke(name, 512, eventOf(t, name)) {
				t.Errorf("%s failed under AWS's client", name)
			}
		}
	}
	rep := w.drain()
	agree(t, rep, w.lambda.Ledger().Summary())
	for _, f := range rep.Functions {
		if f.Invocations != 6 || f.ColdStarts != 2 {
			t.Errorf("%s: %d invocations, %d cold, expected 6 and 2", f.Name, f.Invocations, f.ColdStarts)
		}
		if f.Name == "audit-log" && f.Logs.Lines < 6*200 {
			t.Errorf("audit-log wrote %d lines, expected at least 1200", f.Logs.Lines)
		}
	}
}

// awsClients are the folders of AWS's runtime interface clients.
func awsClients(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.Command("../../examples/testdata/install-rics.sh", "--check")
	out, err := cmd.CombinedOutput()
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("AWS's runtime clients are not installed, run `make install`: %s", out)
	} else if err != nil {
		t.Fatalf("AWS's runtime clients are not installed: %v\n%s", err, out)
	}
	dirs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			dirs[name] = dir
		}
	}
	return dirs
}
