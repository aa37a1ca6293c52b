package python_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// life is what one function says in its life.
type life struct {
	answers []hooktest.Answer
	exit    int
	output  string
}

// withoutOurFrame takes out what Python up to 3.10 shows of the hook in the
// traceback of an import_module that fails: one more frame like its neighbour.
func (l life) withoutOurFrame() life {
	frame := regexp.MustCompile(`( *File \\?"<frozen importlib._bootstrap>\\?", line \d+, in _find_and_load(\n|\\n", "|\\n))+`)
	l.output = frame.ReplaceAllString(l.output, "")
	l.answers = slices.Clone(l.answers)
	for i := range l.answers {
		l.answers[i].Body = frame.ReplaceAllString(l.answers[i].Body, "")
	}
	return l
}

// live starts a function and invokes it twice, or waits for its end if its init
// is to fail.
func live(t *testing.T, c hooktest.Command, fails bool) (life, *hooktest.Function) {
	t.Helper()
	f := hooktest.Start(t, c)
	var l life
	if fails {
		l.answers = append(l.answers, f.Answer())
		l.exit = f.WaitExit().ExitCode()
	} else {
		l.answers = append(l.answers, f.Invoke(`{}`), f.Invoke(`{}`))
		f.WaitNext(3)
		f.Kill()
	}
	l.output = f.Output()
	return l, f
}

// same runs a function with the hook and without, and wants no difference. It
// returns the function with the hook.
func same(t *testing.T, python, dir string, fails bool, others ...string) *hooktest.Function {
	t.Helper()
	want, _ := live(t, small(t, python, dir, others...), fails)
	got, f := live(t, small(t, python, dir, append([]string{here(t)}, others...)...), fails)
	if !atLeast(t, python, 11) {
		want, got = want.withoutOurFrame(), got.withoutOurFrame()
	}
	if got.output != want.output || got.exit != want.exit || len(got.answers) != len(want.answers) {
		t.Errorf("with the hook exit code %d:\n%s\nwithout exit code %d:\n%s", got.exit, got.output, want.exit, want.output)
		return f
	}
	for i := range got.answers {
		if got.answers[i] != want.answers[i] {
			t.Errorf("with the hook: %v\nwithout: %v", got.answers[i], want.answers[i])
		}
	}
	return f
}

// What a function can see of the process it is in, and hand on to children.
const world = `
import os, subprocess, sys

def handler(event, context):
    ours = "THAW_PROFILE_DIR", "AWS_LAMBDA_RUNTIME_API", "PWD"  # shells set the last one
    return {
        "environment": {k: v for k, v in sorted(os.environ.items()) if k not in ours},
        "path": sys.path,
        "modules": sorted(m for m in sys.modules if m != "atexit"),
        "child": subprocess.run([sys.executable, "-c", "import sys; print(sys.path, 'sitecustomize' in sys.modules)"],
            capture_output=True, text=True).stdout,
    }
`

func TestLeavesNoTrace(t *testing.T) {
	each(t, func(t *testing.T, python string) {
		f := func(others ...string) {
			t.Helper()
			same(t, python, write(t, "app.py", world), false, others...)
		}
		f()
		f(t.TempDir())
		// The next sitecustomize runs, whatever it does.
		f(write(t, "sitecustomize.py", "import sys, os\nprint('hello from', __file__, __name__)\nsys.path.append('/extra')\nos.environ['SEEN'] = '1'\n"))
		f(write(t, "sitecustomize.py", "raise ValueError('not today')\n"))
		f(write(t, "sitecustomize.py", "import not_there\n"))
	})
}

// fails are functions whose init fails; Python's own words about it must not change.
func TestFailuresReadTheSame(t *testing.T) {
	each(t, func(t *testing.T, python string) {
		f := func(files ...string) {
			t.Helper()
			same(t, python, write(t, files...), true)
		}
		f("app.py", "import broken\n", "broken.py", "import deeper\n", "deeper.py", "1 / 0\n")
		f("app.py", "import not_there\n")
		f("app.py", "from lib import a\n", "lib/__init__.py", "", "lib/a.py", "from . import b\n", "lib/b.py", "from .a import nothing\n")
		f("app.py", "import broken\n", "broken.py", "def (\n")
		f("app.py", "import importlib\nimportlib.import_module('broken')\n", "broken.py", "raise KeyError('TABLE')\n")
	})
}

// Functions that do unusual things to imports get what they would get without.
func TestUnusualFunctions(t *testing.T) {
	each(t, func(t *testing.T, python string) {
		f := func(app string, files ...string) *hooktest.Function {
			t.Helper()
			return same(t, python, write(t, append([]string{"app.py", app}, files...)...), false)
		}
		const nothing = "\ndef handler(event, context):\n    return result\n"
		// builtins.__import__ is replaced.
		replaced := f(`
import builtins
result, theirs = [], builtins.__import__
def ours(name, *args, **kwargs):
    result.append(name)
    return theirs(name, *args, **kwargs)
builtins.__import__ = ours
import lib.a, colorsys
`+nothing, "lib/__init__.py", "", "lib/a.py", "import this_one", "this_one.py", "")
		if r := find(parse(t, replaced), "this_one"); r == nil || r.Parent == 0 {
			t.Errorf("behind a replaced __import__: %+v", r)
		}
		// The function replaces what the hook replaced, and keeps it.
		f(`
import _frozen_importlib
theirs = _frozen_importlib._find_and_load
result = []
def ours(name, import_):
    result.append(name)
    return theirs(name, import_)
_frozen_importlib._find_and_load = ours
import colorsys
def handler(event, context):
    import chunk_of_this
    return result, _frozen_importlib._find_and_load is ours
`, "chunk_of_this.py", "")
		// Warnings name who called, by its place on the stack.
		f("import warnings\nwarnings.simplefilter('always')\nimport old\nresult = 1"+nothing, "old.py", "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n")
		// Lazy modules stay lazy, and modules may replace and remove themselves.
		f(`
import importlib.util, sys
spec = importlib.util.find_spec("heavy")
module = importlib.util.module_from_spec(spec)
loader = importlib.util.LazyLoader(spec.loader)
sys.modules["heavy"] = module
loader.exec_module(module)
import changes, vanishes
result = [repr(changes), "vanishes" in sys.modules, type(module).__name__]
`+nothing, "heavy.py", "raise SystemExit('loaded')", "changes.py", "import sys\nsys.modules[__name__] = 42\n",
			"vanishes.py", "import sys\nme = sys.modules[__name__]\nclass Back:\n    pass\nsys.modules[__name__] = Back\n")
		f("import importlib, json\nresult = [importlib.reload(json).__name__, importlib.import_module('json').__name__]\n" +
			"try:\n    importlib.import_module(7)\nexcept Exception as e:\n    result.append(type(e).__name__)\n" + nothing)
		// Threads import too, and fork may happen anywhere.
		threads := f(`
import threading
def work():
    import xml.dom.minidom
    result.append(xml.dom.minidom.__name__)
result = []
t = [threading.Thread(target=work) for _ in range(8)]
[x.start() for x in t]
import email.mime.text
[x.join() for x in t]
` + nothing)
		if parse(t, threads); find(parse(t, threads), "xml.dom.minidom") != nil {
			t.Error("it recorded another thread")
		}
		fork := f(`
import os, sys, colorsys
result = []
for how in os._exit, sys.exit:
    pid = os.fork()
    if pid == 0:
        import wave
        how(7)
    result.append(os.waitpid(pid, 0)[1])
` + nothing)
		if p := parse(t, fork); find(p, "wave") != nil || find(p, "colorsys") == nil {
			t.Error("a child wrote into its parent's profile")
		}
	})
}

func TestManyModules(t *testing.T) {
	extremes(t, func(t *testing.T, python string) {
		dir := write(t, "app.py", `
import importlib.abc, importlib.machinery, importlib, sys
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.startswith("m"):
            return importlib.machinery.ModuleSpec(name, self, origin="/var/task/%s.py" % name)
    def create_module(self, spec): return None
    def exec_module(self, module): pass
sys.meta_path.insert(0, Finder())
for i in range(50_000):
    importlib.import_module("m%d_%d" % (i % 500, i) if i % 2 else "m%d_%d" % (i, i))
result = sum(m.startswith("m") and "_" in m for m in sys.modules)
def handler(event, context):
    return result
`)
		f := same(t, python, dir, false)
		p := parse(t, f)
		var sum int
		for _, rest := range p.Packages {
			sum += rest.Count
		}
		if len(p.Records)+sum < 50_000 || len(p.Records) > hooktest.MaxRecords || p.Marks["truncated"] != "1" || len(p.Packages) > 257 {
			t.Errorf("%d records, %d in %d packages, truncated %q", len(p.Records), sum, len(p.Packages), p.Marks["truncated"])
		}
		if size := len(f.Profile()); size > hooktest.MaxBytes+64<<10 {
			t.Errorf("%d bytes", size)
		}
	})
}

func TestStrangeNames(t *testing.T) {
	long := strings.Repeat("lang-", 40)
	strange := []string{"tab\there", "line\nend", "back\\slash", "größe", "not\xffutf8", long + "/" + long}
	files := []string{"app.py", "import sys, os\n" +
		"for name in sorted(os.listdir('.')):\n    if os.path.isdir(name):\n        sys.path[0:0] = [os.path.abspath(p) for p, _, f in os.walk(name) if f]\n" +
		"import in0, in1, in2, in3, in4, in5\ndef handler(event, context):\n    return [m for m in sys.modules if m.startswith('in')]\n"}
	for i, dir := range strange {
		files = append(files, dir+"/in"+strconv.Itoa(i)+".py", "")
	}
	dir := write(t, files...)
	each(t, func(t *testing.T, python string) {
		p := parse(t, same(t, python, dir, false))
		for i, want := range []string{"/tab\there/in0.py", "/line\nend/in1.py", `/back\slash/in2.py`, "/größe/in3.py", "/not\ufffdutf8/in4.py", "g-/in5.py"} {
			if r := find(p, "in"+strconv.Itoa(i)); r == nil || !strings.HasSuffix(r.Path, want) {
				t.Errorf("%q: %+v", want, r)
			}
		}
	})
}

// Where nothing can be written the function runs all the same.
func TestNoRoom(t *testing.T) {
	const app = "import json, decimal, lib\ndef handler(event, context):\n    import colorsys\n    return 'fine'\n"
	each(t, func(t *testing.T, python string) {
		dir := write(t, "app.py", app, "lib.py", "")
		f := func(name string, change func(c *hooktest.Command)) {
			t.Helper()
			c := small(t, python, dir, here(t))
			change(&c)
			got, fn := live(t, c, false)
			for _, answer := range got.answers {
				if answer.Body != `"fine"` || got.output != "" {
					t.Errorf("%s: %s\n%s", name, answer.Body, got.output)
				}
			}
			for _, file := range fn.Profiles() {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if len(content) > 1024 {
					t.Errorf("%s: %d bytes", name, len(content))
				}
			}
		}
		elsewhere := func(folder string) func(c *hooktest.Command) {
			return func(c *hooktest.Command) { c.Env = append(c.Env, "THAW_PROFILE_DIR="+folder) }
		}
		f("read-only", elsewhere("/proc/thaw"))
		f("not there", elsewhere(filepath.Join(t.TempDir(), "a", "b")))
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f("a file", elsewhere(file))
		target := t.TempDir()
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		f("a link", elsewhere(link))
		if entries, err := os.ReadDir(target); err != nil || len(entries) > 0 {
			t.Errorf("it followed a link: %v, %v", entries, err)
		}
		f("full", func(c *hooktest.Command) {
			c.Args = append([]string{"sh", "-c", `ulimit -f 1 && exec "$@"`, "sh"}, c.Args...)
		})
	})
}

// A hook that is itself damaged says nothing and stops nothing.
func TestBrokenHook(t *testing.T) {
	source, err := os.ReadFile("sitecustomize.py")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, python string) {
		for _, broken := range []string{"def (", "raise RuntimeError", "", "def start(began):\n    raise OSError"} {
			hook := write(t, "sitecustomize.py", string(source), "thaw_profile.py", broken)
			got, _ := live(t, small(t, python, write(t, "app.py", world), hook), false)
			want, _ := live(t, small(t, python, write(t, "app.py", world)), false)
			if got.output != want.output {
				t.Errorf("%q: %s", broken, got.output)
			}
		}
	})
}

// Deep mode tells what the first invocation executed. The second one ends the
// process here, because our small client does not say when it asks again.
func TestDeep(t *testing.T) {
	dir := write(t, "app.py", `
import sys, used, unused
used.at_init()
def handler(event, context):
    return used.now(event) if event else sys.exit()
`, "used.py", "def at_init(): pass\ndef now(e): return list(map(lambda x: x, [1]))\ndef never(): pass\nclass C:\n    def method(self): pass\n",
		"unused.py", "def one(): pass\ntwo = lambda: 1\n")
	followed := false
	each(t, func(t *testing.T, python string) {
		c := small(t, python, dir, here(t))
		c.Env = append(c.Env, "THAW_PROFILE=deep")
		f := hooktest.Start(t, c)
		f.Invoke(`{"go": "on"}`)
		f.WaitNext(2)
		f.Send(`{}`)
		f.WaitExit()
		p := parse(t, f)
		if r := find(p, "used"); r == nil || r.Bytes == 0 {
			t.Errorf("used: %+v", r)
		}
		got := map[string]string{}
		for _, c := range p.Coverage {
			if name, ok := strings.CutPrefix(c.Path, dir+"/"); ok {
				got[name] = fmt.Sprintf("%d of %d", c.Executed, c.Functions)
			}
		}
		want := map[string]string{}
		if atLeast(t, python, 12) {
			followed = true
			want = map[string]string{"app.py": "1 of 1", "used.py": "2 of 5", "unused.py": "0 of 2"}
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
	if !followed {
		t.Skip("SKIPPED: no Python 3.12 or later: what an invocation executes was not followed")
	}
}
