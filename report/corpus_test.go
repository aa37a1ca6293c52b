package report

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/evidence"
	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// planted is a small function with one fault, and its twin without. Real
// Node.js and Python run both under the real hooks: the rule has to fire on the
// fault and must not on the twin.
type planted struct {
	rule        string
	runtime     string
	fault, twin map[string]string
	// faultEnv and twinEnv are added to the environment of one of them.
	faultEnv, twinEnv []string
	// prepare is run in the folder of the twin.
	prepare []string
}

// busy is JavaScript that computes for so many milliseconds.
func busy(ms int) string {
	return fmt.Sprintf("{const end = process.hrtime.bigint() + %d000000n; while (process.hrtime.bigint() < end);}\n", ms)
}

const nodeApp = "exports.handler = async () => ({ok: true});\n"

// node_ makes a function of Node.js: app.js and what it loads.
func node_(app string, more ...map[string]string) map[string]string {
	files := map[string]string{"app.js": app + nodeApp}
	for _, m := range more {
		maps.Copy(files, m)
	}
	return files
}

// many makes n files.
func many(n int, name, content string) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf(name, i)] = strings.ReplaceAll(content, "#", fmt.Sprint(i))
	}
	return files
}

// requires loads n files.
func requires(n int, name string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Object.assign(exports, require('"+name+"'));\n", i)
	}
	return b.String()
}

func npm(name, version, main string) map[string]string {
	return map[string]string{
		"node_modules/" + name + "/package.json": fmt.Sprintf(`{"name":%q,"version":%q,"main":"index.js"}`, name, version),
		"node_modules/" + name + "/index.js":     main,
	}
}

func corpus() []planted {
	barrel := many(40, "lib/m%d.js", busy(1)+"exports.f# = function f#() { return #; };\n")
	barrel["lib/index.js"] = requires(40, "./m%d")
	sdk := many(30, "node_modules/aws-sdk/clients/c%d.js", busy(1)+"exports.C# = class {};\n")
	sdk["node_modules/aws-sdk/package.json"] = `{"name":"aws-sdk","version":"2.1692.0","main":"lib/aws.js"}`
	sdk["node_modules/aws-sdk/lib/aws.js"] = requires(30, "../clients/c%d")
	sdk["node_modules/aws-sdk/clients/s3.js"] = busy(30) + "exports.S3 = class {};\n"
	small := many(240, "src/m%d.js", "exports.a# = #;\n")
	source := "exports.x = [" + strings.Repeat("function () { return 'a string that is long enough to be worth compiling'; },\n", 9000) + "];\n"
	python := map[string]string{"lib/__init__.py": ""}
	imports := ""
	for i := range 20 {
		python[fmt.Sprintf("lib/m%d.py", i)] = strings.Repeat(fmt.Sprintf("def f%d(a, b=[1, 2, 3], *c, **d):\n    return [x for x in a if x] + [y * 2 for y in b]\n\n\n", i), 150)
		imports += fmt.Sprintf("import lib.m%d\n", i)
	}
	py := func(app string, more ...map[string]string) map[string]string {
		files := map[string]string{"app.py": app + "\n\ndef handler(event, context):\n    return {'ok': True}\n"}
		for _, m := range more {
			maps.Copy(files, m)
		}
		return files
	}
	return []planted{
		{rule: "barrel-file", runtime: "nodejs",
			fault: node_("const {f1} = require('./lib');\n", barrel), twin: node_("const {f1} = require('./lib/m1');\n", barrel)},
		{rule: "whole-sdk", runtime: "nodejs",
			fault: node_("const AWS = require('aws-sdk');\n", sdk), twin: node_("const {S3} = require('aws-sdk/clients/s3');\n", sdk)},
		{rule: "duplicate-package", runtime: "nodejs",
			fault: node_("require('dup'); require('other');\n", npm("dup", "2.0.0", busy(15)), npm("other", "1.0.0", "require('dup');\n"), map[string]string{
				"node_modules/other/node_modules/dup/package.json": `{"name":"dup","version":"1.0.0","main":"index.js"}`, "node_modules/other/node_modules/dup/index.js": busy(15)}),
			twin: node_("require('dup'); require('other');\n", npm("dup", "2.0.0", busy(15)), npm("other", "1.0.0", "require('dup');\n"))},
		{rule: "dev-tooling", runtime: "nodejs",
			fault: node_("require('typescript');\n", npm("typescript", "5.5.2", busy(20))), twin: node_("require('typed-emitter');\n", npm("typed-emitter", "2.1.0", busy(20)))},
		{rule: "source-maps", runtime: "nodejs",
			fault: node_("require('./big');\n", map[string]string{"big.js": "exports.x = 1;\n//# sourceMappingURL=big.js.map\n", "big.js.map": `{"version":3,"sources":["a.ts"],"names":[],"mappings":"` + strings.Repeat("AAAA;", 400_000) + `"}`}),
			twin:  node_("require('./big');\n", map[string]string{"big.js": "exports.x = 1;\n", "big.js.map": `{"version":3,"sources":["a.ts"],"names":[],"mappings":"` + strings.Repeat("AAAA;", 400_000) + `"}`}), faultEnv: []string{"NODE_OPTIONS+=--enable-source-maps"}},
		{rule: "no-code-cache", runtime: "nodejs",
			fault: node_("require('./big');\n", map[string]string{"big.js": busy(40) + source}), twin: node_("require('./big');\n", map[string]string{"big.js": busy(40) + source}),
			twinEnv: []string{"NODE_COMPILE_CACHE=DIR/cache"}},
		{rule: "many-small-files", runtime: "nodejs",
			fault: node_(requires(240, "./src/m%d"), small), twin: node_("require('./bundle');\n", map[string]string{"bundle.js": strings.Repeat("exports.a = 1;\n", 240)})},
		{rule: "import-side-effect", runtime: "nodejs",
			fault: node_("require('./config');\n", map[string]string{"config.js": "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 90);\n"}),
			twin:  node_("require('./config');\n", map[string]string{"config.js": busy(90)})},
		{rule: "import-side-effect", runtime: "python",
			fault: py("import config", map[string]string{"config.py": "import time\ntime.sleep(0.09)\n"}),
			twin:  py("import config", map[string]string{"config.py": "import time\nend = time.perf_counter() + 0.09\nwhile time.perf_counter() < end:\n    pass\n"})},
		{rule: "no-bytecode", runtime: "python",
			fault: py(imports, python), twin: py(imports, python),
			prepare: []string{"/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."}},
		{rule: "dev-tooling", runtime: "python",
			fault: py("import pytest", map[string]string{"pytest/__init__.py": "import time\nend = time.perf_counter() + 0.02\nwhile time.perf_counter() < end:\n    pass\n", "pytest-8.2.0.dist-info/RECORD": "pytest/__init__.py,,\n"}),
			twin:  py("import attrs", map[string]string{"attrs/__init__.py": "import time\nend = time.perf_counter() + 0.02\nwhile time.perf_counter() < end:\n    pass\n", "attrs-23.2.0.dist-info/RECORD": "attrs/__init__.py,,\n"})},
	}
}

// disk are the files of this machine.
type disk struct{}

func (disk) Read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func (disk) List(name string, limit int) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

func (disk) Size(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// node22 is the Node.js that .ci/install installs.
func node22(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("../examples/testdata/install-rics.sh", "--check").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if name, dir, _ := strings.Cut(strings.TrimSpace(line), " "); name == "node" && err == nil {
			return filepath.Join(dir, "bin", "node")
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no Node.js: %s", out)
	}
	t.Skipf("NOT TESTED: examples/testdata/install-rics.sh has not installed Node.js: %s", out)
	return ""
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// found runs a function cold and returns what the rules say.
func (p *planted) found(t *testing.T, files map[string]string, env, prepare []string) []Finding {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	(&hooktest.Case{Files: files}).Write(t, dir)
	if len(prepare) > 0 {
		cmd := exec.Command(prepare[0], prepare[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", prepare, err, out)
		}
	}
	c := hooktest.Command{Dir: dir, Env: []string{"THAW_PROFILE=deep"}}
	switch p.runtime {
	case "nodejs":
		options := "--require " + absolute(t, "../layer/node/thaw.cjs")
		for _, e := range env {
			if more, ok := strings.CutPrefix(e, "NODE_OPTIONS+="); ok {
				options += " " + more
				continue
			}
			c.Env = append(c.Env, strings.ReplaceAll(e, "DIR", dir))
		}
		c.Env = append(c.Env, "NODE_OPTIONS="+options)
		c.Args = []string{node22(t), absolute(t, "../examples/runtime/node/bootstrap.cjs")}
	case "python":
		c.Env = append(c.Env, "PYTHONPATH="+absolute(t, "../layer/python"), "PYTHONDONTWRITEBYTECODE=1")
		c.Args = []string{"/usr/bin/python3", absolute(t, "../examples/runtime/python/bootstrap.py")}
	}
	began := time.Now()
	f := hooktest.Start(t, c)
	f.Invoke("{}")
	f.WaitNext(2)
	f.Invoke("{}")
	f.WaitNext(3)
	profile, err := initprofile.Parse(f.Profile())
	if err != nil {
		t.Fatal(err)
	}
	profile.Facts[initprofile.FactTaskRoot] = dir
	profile.Resolve(disk{})
	in := &lifecycle.Init{Start: began, Duration: profile.Ended(), Status: lifecycle.Success, Profile: &lifecycle.InitProfile{}}
	one := newProfile(profile, in, evidence.ColdStart{InitMS: milli(profile.Ended()), Status: string(lifecycle.Success), Version: "1", MemoryMB: 512, Start: began})
	return packageFindings(&Function{Name: "f", profiles: []*InitProfile{one}})
}

func TestCorpus(t *testing.T) {
	for _, p := range corpus() {
		t.Run(p.rule+"/"+p.runtime, func(t *testing.T) {
			fault := p.found(t, p.fault, p.faultEnv, nil)
			at := slices.IndexFunc(fault, func(f Finding) bool { return f.ID == p.rule })
			if at < 0 {
				t.Errorf("the fault is not found, but %v", ids(fault))
			} else {
				f := fault[at]
				t.Logf("%s\n%s\n%s %s", f.Claim, f.Change, effectText(f.Effect), f.Basis)
				if f.Effect.Value == nil || *f.Effect.Value <= 0 || f.Change == "" || f.Verify == "" {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if twin := p.found(t, p.twin, p.twinEnv, p.prepare); slices.ContainsFunc(twin, func(f Finding) bool { return f.ID == p.rule }) {
				t.Errorf("it is found where there is none: %v", ids(twin))
			}
		})
	}
}

// Every rule about packages has a fault in the corpus, or one that is not a
// function's: what the store and the platform say.
func TestCorpusIsComplete(t *testing.T) {
	tested := map[string]bool{
		"init-inside": true, "deploy-packages": true, // TestDeployAndInsideFindings
		// TestUnusedPackage: V8's best-effort coverage lists a package in some runs
		// only, so a real run proves nothing either way.
		"unused-package": true,
	}
	for _, p := range corpus() {
		tested[p.rule] = true
	}
	for _, rule := range profileRules() {
		if !tested[rule.ID] {
			t.Errorf("%s has no fault in the corpus", rule.ID)
		}
	}
}

func TestUnusedPackage(t *testing.T) {
	const file = "thaw-init\t1\tnodejs\t22\t7\t1790000000000000\nr\t1\t0\tcjs\t1000\t201000\t500\t-\tapp\t/var/task/app.js\n" +
		"r\t2\t1\tcjs\t2000\t152000\t9000\t-\theavy\t/var/task/node_modules/heavy/index.js\nm\thandler_end\t201000\n"
	for coverage, want := range map[string]int{"c\t0\t12\t/var/task/node_modules/heavy/index.js\n": 1, "c\t1\t12\t/var/task/node_modules/heavy/index.js\n": 0, "": 0} {
		p, err := initprofile.Parse([]byte(file + coverage))
		if err != nil {
			t.Fatal(err)
		}
		if found := unusedRule(newProfile(p, &lifecycle.Init{Status: lifecycle.Success, Profile: &lifecycle.InitProfile{}}, evidence.ColdStart{InitMS: 200})); len(found) != want {
			t.Errorf("%q: %v", coverage, ids(found))
		}
	}
}

func ids(findings []Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.ID+": "+f.Claim)
	}
	return out
}
