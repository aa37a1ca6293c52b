// Package python_test runs the Python hook in every Python that this machine
// has, under our small runtime client and under AWS's.
package python_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer"
	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// system is the Python that everything is installed for.
const system = "/usr/bin/python3"

// pythons returns the interpreters to test with, by version.
func pythons(t *testing.T) map[string]string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	dirs := filepath.SplitList(os.Getenv("PATH"))
	more, _ := filepath.Glob(filepath.Join(cmp.Or(os.Getenv("PYENV_ROOT"), filepath.Join(home, ".pyenv")), "versions", "*", "bin"))
	found := map[string]string{}
	for _, dir := range slices.Concat([]string{"/usr/bin"}, dirs, more) {
		for minor := 9; minor < 20; minor++ {
			version := fmt.Sprintf("3.%d", minor)
			file := filepath.Join(dir, "python"+version)
			// A launcher of a version manager may have nothing to launch.
			if found[version] == "" && exec.Command(file, "-c", "").Run() == nil {
				found[version] = file
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("no Python")
	}
	t.Logf("with %v", slices.Sorted(maps.Keys(found)))
	return found
}

// extremes runs a test with the oldest and the newest Python.
func extremes(t *testing.T, test func(t *testing.T, python string)) {
	found := pythons(t)
	versions := slices.SortedFunc(maps.Keys(found), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, version := range slices.Compact([]string{versions[0], versions[len(versions)-1]}) {
		t.Run(version, func(t *testing.T) { test(t, found[version]) })
	}
}

// each runs a test with every Python.
func each(t *testing.T, test func(t *testing.T, python string)) {
	for version, python := range pythons(t) {
		t.Run(version, func(t *testing.T) { test(t, python) })
	}
}

func atLeast(t *testing.T, python string, minor int) bool {
	t.Helper()
	return exec.Command(python, "-c", fmt.Sprintf("import sys; sys.exit(sys.version_info < (3, %d))", minor)).Run() == nil
}

func abs(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// here is the hook's folder, as it is in the layer.
func here(t testing.TB) string { return abs(t, ".") }

// small starts a function under our small client, with PYTHONPATH as given.
func small(t *testing.T, python, dir string, pythonPath ...string) hooktest.Command {
	c := hooktest.Command{
		Args: []string{python, abs(t, "../../examples/runtime/python/bootstrap.py")}, Dir: dir,
		Env: []string{"PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0"},
	}
	if len(pythonPath) > 0 {
		c.Env = append(c.Env, "PYTHONPATH="+strings.Join(pythonPath, ":"))
	}
	return c
}

// write writes files, given as name and content, and returns their folder.
func write(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// parse reads a profile and checks it.
func parse(t testing.TB, f *hooktest.Function) *hooktest.Profile {
	t.Helper()
	p, err := hooktest.Parse(f.Profile())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	return p
}

func mark(t testing.TB, p *hooktest.Profile, name string) int64 {
	t.Helper()
	value, err := strconv.ParseInt(p.Marks[name], 10, 64)
	if err != nil {
		t.Errorf("mark %s: %v", name, err)
	}
	return value
}

// find returns the record of a module.
func find(p *hooktest.Profile, name string) *hooktest.Record {
	for _, r := range p.Records {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func unavailable(t testing.TB, reason any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("in CI this must run: %v", reason)
	}
	t.Skipf("SKIPPED: %v", reason)
}

func TestVectors(t *testing.T) {
	each(t, func(t *testing.T, python string) {
		hooktest.Run(t, "../testdata/vectors", "python", func(dir string) hooktest.Command {
			return small(t, python, dir, here(t))
		})
	})
}

// What is committed in __pycache__ is what the sources are compiled to. Python
// does not look at the sources, so here we do.
func TestCompiledIsCurrent(t *testing.T) {
	if out, err := exec.Command("sha256sum", "--check", "__pycache__/sources").CombinedOutput(); err != nil {
		t.Errorf("run layer/python/compile.sh: %v\n%s", err, out)
	}
	each(t, func(t *testing.T, python string) {
		out, err := exec.Command(python, "-c", `
import importlib.util, marshal
for name in "sitecustomize", "thaw_profile", "thaw_coverage":
    source = name + ".py"
    try:
        data = open(importlib.util.cache_from_source(source), "rb").read()
    except FileNotFoundError:
        continue
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\1\0\0\0", "Python would look at the source"
    code = marshal.loads(data[16:])
    assert code == compile(open(source).read(), code.co_filename, "exec"), source + ": run layer/python/compile.sh"
    print(name, code.co_filename)
`).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
	})
}

// realClient starts a function under AWS's client, with boto3 at hand.
func realClient(t testing.TB, dir string, pythonPath ...string) hooktest.Command {
	t.Helper()
	client := installed(t, "../../examples/testdata/install-rics.sh", "awslambdaric ")
	boto3 := installed(t, "testdata/install-packages.sh", "")
	return hooktest.Command{
		Args: []string{system, "-m", "awslambdaric", "app.handler"}, Dir: dir,
		Env: []string{"PYTHONPATH=" + strings.Join(append(pythonPath, client, boto3), ":"), "PYTHONDONTWRITEBYTECODE=1"},
	}
}

func installed(t testing.TB, script, name string) string {
	t.Helper()
	out, err := exec.Command(script, "--check").CombinedOutput()
	if err != nil {
		unavailable(t, string(out))
	}
	for line := range strings.Lines(string(out)) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
			return dir
		}
	}
	t.Fatalf("%s says nothing of %s: %s", script, name, out)
	return ""
}

const withBoto3 = `
import _frozen_importlib, json, os, sys
import boto3

s3 = boto3.client("s3", region_name="us-east-1")
calls = 0

def handler(event, context):
    global calls
    calls += 1
    import xmlrpc.client  # late
    return {
        "hooked": _frozen_importlib._find_and_load.__module__ == "thaw_profile",
        "open": [f for f in map(os.readlink, filter(os.path.islink, ("/proc/self/fd/%s" % f for f in os.listdir("/proc/self/fd")))) if f.endswith(".tsv")],
        "path": os.environ.get("PYTHONPATH", ""),
    }
`

// The whole life under AWS's own client.
func TestRealClient(t *testing.T) {
	dir := write(t, "app.py", withBoto3)
	c := realClient(t, dir, here(t))
	f := hooktest.Start(t, c)
	f.WaitNext(1)
	f.WaitProfile("first_next")
	init := parse(t, f)
	if n := len(init.Records); n < 300 {
		t.Errorf("%d records for boto3", n)
	}
	last := int64(0)
	for _, name := range []string{"process_start", "bootstrap", "handler_begin", "handler_end", "first_next"} {
		if at := mark(t, init, name); name != "process_start" && at < last {
			t.Errorf("%s at %d, before %d", name, at, last)
		} else {
			last = at
		}
	}
	app := find(init, "app")
	if app == nil || app.Path != filepath.Join(dir, "app.py") || app.Parent != 0 || app.Start < mark(t, init, "handler_begin") || app.End != mark(t, init, "handler_end") {
		t.Errorf("the handler: %+v", app)
	}
	if r := find(init, "boto3"); r == nil || r.Parent != app.ID || r.End-r.Start < 1000 {
		t.Errorf("boto3: %+v", r)
	}
	if r := find(init, "_ssl"); r == nil || r.Kind != "native" || !strings.HasSuffix(r.Path, ".so") {
		t.Errorf("_ssl: %+v", r)
	}
	client := regexp.MustCompile(`^PYTHONPATH=[^:]*:(.*)$`).FindStringSubmatch(c.Env[0])[1]
	first := f.Invoke(`{}`)
	want := fmt.Sprintf(`{"hooked": true, "open": [%q], "path": %q}`, f.Profiles()[0], client)
	if first.Body != want {
		t.Errorf("first invocation: %s\nwant %s", first.Body, want)
	}
	f.WaitNext(2)
	whole := f.Profile()
	p := parse(t, f)
	if r := find(p, "xmlrpc.client"); r == nil || r.Flags != "l" || r.Start < mark(t, p, "first_next") {
		t.Errorf("a late import: %+v", r)
	}
	// The second invocation finds everything as Python made it.
	if got, want := f.Invoke(`{}`).Body, fmt.Sprintf(`{"hooked": false, "open": [], "path": %q}`, client); got != want {
		t.Errorf("second invocation: %s\nwant %s", got, want)
	}
	f.WaitNext(3)
	if string(f.Profile()) != string(whole) {
		t.Error("it went on writing after the first invocation")
	}
	if out := f.Output(); out != "" {
		t.Errorf("it printed %q", out)
	}
}

// Init errors reach Lambda as without the hook, and the file says where.
func TestRealClientThrows(t *testing.T) {
	dir := write(t, "app.py", "import json\nimport broken\n", "broken.py", "import decimal\nraise KeyError('TABLE')\n")
	run := func(path ...string) (*hooktest.Function, hooktest.Answer) {
		f := hooktest.Start(t, realClient(t, dir, path...))
		answer := f.Answer()
		if state := f.WaitExit(); state.ExitCode() != 1 {
			t.Errorf("exit code %d", state.ExitCode())
		}
		return f, answer
	}
	f, got := run(here(t))
	_, want := run()
	if got != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for name, flags := range map[string]string{"app": "e", "broken": "e", "decimal": "-"} {
		if r := find(parse(t, f), name); r == nil || r.Flags != flags || r.End == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A module that waits, for a server or a disk, is told from one that computes.
func TestWaitingIsNoComputing(t *testing.T) {
	dir := write(t, "app.py", "import waits, computes\ndef handler(event, context): pass\n",
		"waits.py", "import time\ntime.sleep(0.1)\n",
		"computes.py", "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n")
	each(t, func(t *testing.T, python string) {
		f := hooktest.Start(t, small(t, python, dir, here(t)))
		f.Invoke(`{}`)
		p := parse(t, f)
		waits, computes := p.CPU[find(p, "waits").ID], p.CPU[find(p, "computes").ID]
		if waits > 50_000 || computes < 100_000 {
			t.Errorf("CPU times are %d µs of waiting and %d µs of computing", waits, computes)
		}
		if all := mark(t, p, "cpu_end_us") - mark(t, p, "cpu_begin_us"); all < 100_000 {
			t.Errorf("the handler took %d µs of CPU", all)
		}
		if p.Marks["task_root"] != dir {
			t.Errorf("task root %q", p.Marks["task_root"])
		}
	})
}

// The layer, as it is packed, with its wrapper.
func TestThroughTheLayer(t *testing.T) {
	var zip bytes.Buffer
	if err := layer.Pack(&zip, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "layer.zip")
	if err := os.WriteFile(file, zip.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	opt := t.TempDir()
	if err := layer.Unpack(file, opt); err != nil {
		t.Fatal(err)
	}
	dir := write(t, "app.py", "import colorsys\n"+world)
	each(t, func(t *testing.T, python string) {
		c := small(t, python, dir)
		c.Args = append([]string{filepath.Join(opt, layer.HooksPath, "wrapper")}, c.Args...)
		got, f := live(t, c, false)
		want, _ := live(t, small(t, python, dir), false)
		if len(got.answers) != 2 || got.answers[0] != want.answers[0] || got.output != want.output {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if find(parse(t, f), "colorsys") == nil {
			t.Errorf("the profile is %s", f.Profile())
		}
	})
}

// Python's own -X importtime is the independent truth. It runs in the same
// process, and does not see import_module.
func TestAgreesWithImporttime(t *testing.T) {
	dir := write(t, "app.py", withBoto3+"import asyncio, http.server, sqlite3, unittest, xml.dom.minidom, email.mime.multipart\n",
		"main.py", "import importlib\nimportlib.import_module('app')\n")
	boto3 := installed(t, "testdata/install-packages.sh", "")
	profiles := filepath.Join(t.TempDir(), "profiles")
	cmd := exec.Command(system, "-X", "importtime", "main.py")
	cmd.Dir = dir
	cmd.Env = []string{"PYTHONPATH=" + here(t) + ":" + boto3, "THAW_PROFILE_DIR=" + profiles, "_HANDLER=app.handler", "PYTHONDONTWRITEBYTECODE=1"}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	files, _ := filepath.Glob(filepath.Join(profiles, "*"))
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := hooktest.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	truth := importtime(t, stderr.String())
	// Both list a module when its import is over. A name can occur twice.
	slices.SortStableFunc(p.Records, func(a, b *hooktest.Record) int { return cmp.Compare(a.End, b.End) })
	var errs []float64
	var unseen []string
	matched := 0
	for _, r := range slices.Backward(p.Records) {
		times := truth[r.Name]
		if len(times) == 0 {
			unseen = append(unseen, r.Name)
			continue
		}
		matched++
		want := times[len(times)-1]
		truth[r.Name] = times[:len(times)-1]
		if want >= 1000 {
			errs = append(errs, max(float64(r.End-r.Start)/want-1, 1-float64(r.End-r.Start)/want))
		}
	}
	slices.Sort(errs)
	slices.Sort(unseen)
	if len(errs) < 50 {
		t.Fatalf("%d modules of at least 1 ms to compare", len(errs))
	}
	median := errs[len(errs)/2]
	t.Logf("%d modules in both, %d of them of at least 1 ms: median error %.2f %%, p90 %.2f %%", matched, len(errs), 100*median, 100*errs[len(errs)*9/10])
	t.Logf("importtime does not see %v", unseen)
	if median > 0.01 {
		t.Errorf("the median error is %.2f %%", 100*median)
	}
	if !slices.Contains(unseen, "app") || len(unseen) > 10 {
		t.Errorf("seen by the hook alone: %v", unseen)
	}
	// What the hook does not see was imported before it.
	for name, times := range truth {
		first := map[string]bool{"_io": true, "zipimport": true, "encodings": true, "site": true, "sitecustomize": true, "thaw_profile": true}
		if len(times) > 0 && first[name] {
			delete(truth, name)
		}
		if len(times) > 0 && strings.HasPrefix(name, "boto") {
			t.Errorf("the hook misses %s", name)
		}
	}
	if len(truth) < 6 {
		t.Errorf("importtime lists %v only", slices.Sorted(maps.Keys(truth)))
	}
}

// importtime reads cumulative microseconds by name, in the order of completion.
func importtime(t *testing.T, text string) map[string][]float64 {
	t.Helper()
	line := regexp.MustCompile(`(?m)^import time: +(\d+) \| +(\d+) \| +(\S+)$`)
	times := map[string][]float64{}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		us, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		times[m[3]] = append(times[m[3]], us)
	}
	return times
}

// The promise: at most max(3 ms, 2 % of the init) by the hook's own accounting,
// median of 20 inits under AWS's client.
func BenchmarkCost(b *testing.B) {
	f := func(name, source string) {
		const runs = 20
		dir := write(b, "app.py", source)
		var costs, inits, over []float64
		for range runs {
			f := hooktest.Start(b, realClient(b, dir, here(b)))
			f.WaitNext(1)
			f.WaitProfile("first_next")
			f.WaitProfile("hook_us")
			f.Kill()
			p := parse(b, f)
			cost := float64(mark(b, p, "hook_us")) / 1000
			init := float64(mark(b, p, "first_next")-mark(b, p, "process_start")) / 1000
			costs, inits, over = append(costs, cost), append(inits, init), append(over, cost-max(3, 0.02*init))
		}
		slices.Sort(costs)
		slices.Sort(inits)
		slices.Sort(over)
		b.Logf("%s: the hook takes %.2f ms (%.2f to %.2f) of %.0f ms, medians of %d inits", name,
			costs[runs/2], costs[0], costs[runs-1], inits[runs/2], runs)
		if over[runs/2] > 0 {
			b.Errorf("%s: the median is %.2f ms above max(3 ms, 2 %%)", name, over[runs/2])
		}
	}
	f("boto3", withBoto3)
	f("the standard library", "import asyncio, http.server, sqlite3, unittest, xml.dom.minidom, decimal\ndef handler(event, context): pass\n")
}
