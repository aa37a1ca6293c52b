package node_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// same runs a function without and with the hook, and holds what a caller and a
// reader of its log can see of the second against the first. It returns what the
// hook wrote, nil if nothing.
func same(t *testing.T, bare, hooked hooktest.Command) []byte {
	t.Helper()
	want, _ := see(t, bare)
	got, profile := see(t, hooked)
	if got != want {
		t.Errorf("%s %s\nwith the hook    %s\nwithout the hook %s", hooked.Args[0], strings.Join(hooked.Env, " "), got, want)
	}
	return profile
}

// see invokes a function twice, where its init succeeds.
func see(t *testing.T, c hooktest.Command) (seen string, profile []byte) {
	t.Helper()
	f := hooktest.Start(t, c)
	var b strings.Builder
	if f.WaitNextOrExit() {
		for range 2 {
			answer := f.Invoke(`{}`)
			fmt.Fprintf(&b, "%s %s\n", answer.Kind, answer.Body)
		}
		f.WaitNext(3)
		f.Kill()
	} else {
		fmt.Fprintf(&b, "%v\n", f.WaitExit())
	}
	// While something is loaded the hook is in stack traces.
	b.WriteString(stackFrame.ReplaceAllString(f.Output(), ""))
	return b.String(), f.Profile()
}

var stackFrame = regexp.MustCompile(`(?m)^ +at .*\n`)

// same runs the function bare and hooked.
func (n node) same(t *testing.T, files map[string]string, env ...string) []byte {
	t.Helper()
	dir := write(t, files)
	bare := n.bare(t, dir)
	bare.Env = env
	return same(t, bare, n.hooked(t, dir, env...))
}

// What a function can see of the process it runs in.
const observe = `
const Module = require("module");
const seen = () => ({
  options: process.env.NODE_OPTIONS,
  thaw: Object.keys(process.env).filter((n) => n.startsWith("THAW") && n !== "THAW_PROFILE_DIR"),
  argv: process.execArgv,
  cache: Object.keys(require.cache),
  children: module.children.map((m) => m.id),
  globals: Object.getOwnPropertyNames(globalThis).sort(),
  symbols: Object.getOwnPropertySymbols(globalThis).map(String),
  paths: require.resolve.paths("x").length,
});
`

func TestFunctionSeesNothing(t *testing.T) {
	f := func(files map[string]string, env ...string) {
		t.Helper()
		for _, n := range nodes(t) {
			if n.same(t, files, env...) == nil {
				t.Errorf("%s: no profile", n.name)
			}
		}
	}
	// The patches are there during the init, and gone after the first invocation.
	f(map[string]string{"app.js": observe + `
const atInit = seen();
let invocations = 0;
exports.handler = async () => {
  const now = seen();
  if (++invocations === 2) Object.assign(now, {
    load: Module.prototype.load.name + Module.prototype.load.toString().length,
    compile: Module.prototype._compile.toString().length,
    _load: Module._load.toString().length,
    exit: process.listenerCount("exit"),
    fds: require("fs").readdirSync("/proc/self/fd").length,
  });
  return [atInit, now];
};`})

	// Errors are the same, thrown by whomever and whatever they are.
	f(map[string]string{"app.js": `
const errors = [];
for (const name of ["./throws", "./null", "./syntax", "./not-there", "./broken.json", "not-there", "", "./dir"]) {
  try { require(name); } catch (e) { errors.push(e === null ? "null" : [e.name, e.code, e.message, Object.keys(e)]); }
}
for (const name of [undefined, 1, Symbol("x"), {}]) {
  try { require(name); } catch (e) { errors.push([e.name, e.code, e.message]); }
}
exports.handler = async () => errors;`,
		"throws.js": `throw new RangeError("thrown");`, "null.js": `throw null;`, "syntax.js": `exports.x = (`,
		"broken.json": `{"a":`, "dir/x.js": ``})
	f(map[string]string{"app.js": `require("./a"); throw new TypeError("in the init");`, "a.js": ``})
	f(map[string]string{"app.js": `require("./a"); process.exit(7);`, "a.js": ``})
	f(map[string]string{"app.js": `process.on("exit", (code) => console.log("exit", code)); require("./a"); throw undefined;`, "a.js": ``})
	f(map[string]string{"app.js": `exports.nothing = 1;`})

	// A handler that changes how modules are loaded.
	f(map[string]string{"app.js": `
const Module = require("module");
const calls = [];
const { _load } = Module;
Module._load = function (request) { calls.push(request); return _load.apply(this, arguments); };
const { load, _compile } = Module.prototype;
Module.prototype.load = function (file) { calls.push("load"); return load.apply(this, arguments); };
Module.prototype._compile = function (code, file) { return _compile.call(this, code + "\nexports.patched = true;", file); };
require("./a");
Module._extensions[".txt"] = (module, file) => { module.exports = require("fs").readFileSync(file, "utf8"); };
calls.push(require("./note.txt"));
exports.handler = async () => { delete require.cache[require.resolve("./a")]; return [require("./a").patched, calls]; };`,
		"a.js": ``, "note.txt": "text"})
	f(map[string]string{"app.js": `
const Module = require("module");
Module._load = ((original) => (...args) => args[0] === "fake" ? "faked" : original(...args))(Module._load);
exports.handler = async () => require("fake");`})

	// Threads and processes: none of them is recorded, or knows.
	f(map[string]string{"app.js": `
const { Worker } = require("worker_threads");
const worker = new Promise((resolve) => new Worker(__dirname + "/worker.js").on("message", resolve));
exports.handler = async () => worker;`,
		"worker.js": `
require("./a");
require("worker_threads").parentPort.postMessage([process.env.NODE_OPTIONS, Object.keys(require.cache), process.listenerCount("exit")]);`,
		"a.js": ``}, "THAW_PROFILE_ESM=load")
	f(map[string]string{"app.js": `
const { fork, execFileSync } = require("child_process");
const out = execFileSync(process.execPath, ["-p", "[process.env.NODE_OPTIONS, Object.keys(require.cache)]"], { encoding: "utf8" });
const forked = new Promise((resolve) => fork(__dirname + "/child.js").on("message", resolve));
exports.handler = async () => [out, await forked];`,
		"child.js": `require("./a"); process.send([process.env.NODE_OPTIONS, process.execArgv, Object.keys(require.cache)]);`, "a.js": ``})
	f(map[string]string{"app.js": `
const cluster = require("cluster");
exports.handler = async () => new Promise((resolve) => {
  cluster.setupPrimary({ exec: __dirname + "/child.js" });
  cluster.fork().on("message", resolve);
});`, "child.js": `process.send([process.env.NODE_OPTIONS, Object.keys(require.cache)]);`})
}

// ES modules behave the same, whether or not they are followed.
func TestESModulesSeeNothing(t *testing.T) {
	files := map[string]string{
		"app.mjs": `
import { createRequire } from "node:module";
import data from "./data.json" with { type: "json" };
import def, { named } from "./lib/old.cjs";
import * as star from "./lib/old.cjs";
import { count, increment } from "./lib/live.mjs";
import { first } from "./lib/circle-a.mjs";
import fs, { readFileSync } from "node:fs";
const require = createRequire(import.meta.url);
const waited = await new Promise((resolve) => setTimeout(resolve, 5, "waited"));
const errors = [];
for (const name of ["./lib/throws.mjs", "./lib/syntax.mjs", "./not-there.mjs", "not-there", "./lib/no-export.mjs"]) {
  try { await import(name); } catch (e) { errors.push([e.name, e.code, e.message, String(e.stack).split("\n").filter((l) => l.includes("throws.mjs"))]); }
}
increment();
const again = await import("./lib/live.mjs?again");
export const handler = async () => ({
  data, def, named, star: Object.keys(star), count, first, waited, errors,
  same: fs.readFileSync === readFileSync, again: again.count,
  required: require("./lib/old.cjs") === def, cache: Object.keys(require.cache).filter((f) => !f.endsWith("bootstrap.cjs")),
  dir: import.meta.dirname, url: import.meta.url, resolved: import.meta.resolve("./lib/live.mjs"),
  late: (await import("./lib/late.mjs")).default,
  globals: Object.getOwnPropertyNames(globalThis).length,
});`,
		"data.json":            `{"n": 1}`,
		"lib/old.cjs":          `exports.named = "named"; exports.file = __filename; exports.parent = module.parent === undefined; exports.older = require("./older.cjs");`,
		"lib/older.cjs":        `module.exports = [require.main === undefined, typeof require.cache, this === module.exports];`,
		"lib/live.mjs":         `export let count = 0; export function increment() { count++; } // the last line is a comment`,
		"lib/circle-a.mjs":     `import { second } from "./circle-b.mjs"; export function first() { return 1; } export default second;`,
		"lib/circle-b.mjs":     `import { first } from "./circle-a.mjs"; export const second = first() + 1;`,
		"lib/throws.mjs":       "\n   throw new Error('at line 2');",
		"lib/syntax.mjs":       `export const x = );`,
		"lib/no-export.mjs":    `import { missing } from "./live.mjs";`,
		"lib/late.mjs":         "export default 'größe'; /* no line end",
		"lib/not-imported.mjs": ``,
	}
	files["lib/late.mjs"] += " */"
	for _, n := range nodes(t) {
		for _, mode := range []string{"", "off", "load", "eval", "nonsense"} {
			if n.same(t, files, "THAW_PROFILE_ESM="+mode) == nil {
				t.Errorf("%s %q: no profile", n.name, mode)
			}
		}
	}
	n := node22(t)
	dir := write(t, files)
	for _, mode := range []string{"", "eval"} {
		bare := underRIC(t, n.bare(t, dir))
		hooked := underRIC(t, n.hooked(t, dir, "THAW_PROFILE_ESM="+mode))
		bare.Env = []string{"THAW_PROFILE_ESM=" + mode}
		same(t, bare, hooked)
	}
}

// Where an ES module is loaded by require, and a .js is one by its package.json.
func TestRequiredESModules(t *testing.T) {
	files := map[string]string{
		"app.js":       `const { a } = require("./a.mjs"); exports.handler = async () => [a, (await import("./b.mjs")).b];`,
		"a.mjs":        `import { b } from "./b.mjs"; export const a = b + 1;`,
		"b.mjs":        `export const b = 1;`,
		"package.json": `{}`,
	}
	typed := map[string]string{
		"app.js":       `import { b } from "./b.js"; export const handler = async () => b;`,
		"b.js":         `export const b = 1;`,
		"package.json": `{"type": "module"}`,
	}
	for _, n := range nodes(t) {
		for _, mode := range []string{"", "load", "eval"} {
			n.same(t, files, "THAW_PROFILE_ESM="+mode)
			n.same(t, typed, "THAW_PROFILE_ESM="+mode)
		}
	}
	p := parse(t, node22(t).same(t, files))
	if tree := p.Tree(p.Marks["task_root"]); tree != "cjs - app.js\n  esm - a.mjs\n" {
		t.Errorf("got\n%s", tree)
	}
}

// Paths with what the format itself uses, and very long ones.
func TestHostilePaths(t *testing.T) {
	long := strings.Repeat("very-long-folder/", 30)
	names := []string{"ta\tb.js", "new\nline.js", "re\rturn.js", `back\slash.js`, "größe.js", "日本/語.js", "\U0001F980.js", long + "end.js", strings.Repeat("語/", 120) + "x.js", " .js"}
	files := map[string]string{}
	list, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	files["app.js"] = `exports.handler = async () => names; const names = ` + string(list) + `; for (const n of names) require("./" + n);`
	for _, name := range names {
		files[name] = ""
	}
	for _, n := range nodes(t) {
		p := parse(t, n.same(t, files))
		read := map[string]bool{}
		for _, r := range p.Records {
			read[strings.TrimPrefix(r.Path, p.Marks["task_root"]+"/")] = true
			if strings.HasSuffix(r.Path, "/end.js") && len(r.Path) != 256 {
				t.Errorf("%d bytes of a long path", len(r.Path))
			}
		}
		for _, name := range names {
			if len(name) < 100 && !read[name] {
				t.Errorf("%q is not in the profile: %v", name, read)
			}
		}
	}
}

// Nowhere to write, or no room: the function does not notice.
func TestNowhereToWrite(t *testing.T) {
	files := map[string]string{"app.js": `for (let i = 0; i < 50; i++) require("./m" + i); exports.handler = async () => require("./late");`, "late.js": `module.exports = 1`}
	for i := range 50 {
		files[fmt.Sprintf("m%d.js", i)] = ""
	}
	notFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notFolder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes(t) {
		for _, dir := range []string{"/proc/thaw", notFolder, filepath.Join(notFolder, "below"), "/not/there", "relative"} {
			// The folder is the last variable of that name.
			if n.same(t, files, "THAW_PROFILE_DIR="+dir) != nil {
				t.Errorf("a profile in %s", dir)
			}
		}
		// A disk that is full after 1 KiB: files may not grow further.
		dir := write(t, files)
		hooked := n.hooked(t, dir)
		hooked.Args = append([]string{"/bin/bash", "-c", `trap "" XFSZ; ulimit -f 1; exec "$@"`, "bash"}, hooked.Args...)
		content := same(t, n.bare(t, dir), hooked)
		if len(content) == 0 || len(content) > 1024 {
			t.Errorf("%d bytes on a disk of 1024", len(content))
		}
		// The ends of modules that did not fit are missing.
		if _, err := hooktest.Parse(content); err != nil {
			t.Error(err)
		}
	}
}

// Somebody else's code, loaded before the hook, has broken what the hook uses.
func TestSabotage(t *testing.T) {
	f := func(preload string) {
		t.Helper()
		for _, n := range nodes(t) {
			dir := write(t, map[string]string{"app.js": `require("./a"); require("dgram"); exports.handler = async () => require("./b");`, "a.js": "", "b.js": "module.exports = 2", "preload.cjs": preload})
			first := "--require " + dir + "/preload.cjs"
			bare := n.bare(t, dir)
			bare.Env = []string{"NODE_OPTIONS=" + first}
			hooked := n.hooked(t, dir)
			hooked.Env = []string{"NODE_OPTIONS=" + first + " --require " + abs(t, "thaw.cjs")}
			same(t, bare, hooked)
		}
	}
	f(`require("fs").openSync = () => { throw new Error("no"); };`)
	f(`require("fs").writeSync = () => { throw new Error("no"); };`)
	f(`require("fs").writeSync = () => 1;`)
	f(`process.uptime = () => { throw new Error("no"); };`)
	f(`process.uptime = () => NaN;`)
	f(`let n = 0; process.uptime = () => { if (++n > 20) throw new Error("no"); return n; };`)
	f(`process.cpuUsage = undefined;`)
	f(`Date.now = () => "yesterday";`)
	f(`globalThis.setImmediate = undefined; `)
	f(`delete require("module").builtinModules;`)
	f(`const m = require("module"); m.registerHooks = () => { throw new Error("no"); }; process.env.THAW_PROFILE_ESM = "load";`)
	f(`Object.freeze(require("module").prototype);`)
	f(`Object.defineProperty(process, "getBuiltinModule", { value: () => undefined });`)
	f(`process.on = () => { throw new Error("no"); };`)
}

// A Node.js from before everything that the hook is written for.
func TestOldNode(t *testing.T) {
	n := node{name: "node16", path: filepath.Join(installed(t)["16"], "bin", "node")}
	n.same(t, map[string]string{
		"app.js": `require("./a"); exports.handler = async () => [process.version, process.env.NODE_OPTIONS];`,
		"a.js":   "",
	})
}

// 50,000 modules, of which most are beyond the limits.
func TestManyModules(t *testing.T) {
	const packages, rounds = 500, 100
	files := map[string]string{"app.js": fmt.Sprintf(`
let sum = 0;
for (let round = 0; round < %d; round++) {
  for (let i = 0; i < %d; i++) {
    const file = require.resolve("p" + i);
    delete require.cache[file];
    sum += require(file);
    module.children.length = 0;
  }
}
exports.handler = async () => sum;`, rounds, packages)}
	for i := range packages {
		files[fmt.Sprintf("node_modules/p%d/index.js", i)] = fmt.Sprintf("module.exports = %d;", i)
	}
	content := node22(t).same(t, files)
	if len(content) > hooktest.MaxBytes {
		t.Errorf("%d bytes", len(content))
	}
	p := parse(t, content)
	loaded, bytes := 0, int64(0)
	for _, r := range p.Records {
		if strings.Contains(r.Path, "/node_modules/") {
			loaded++
		}
	}
	for _, sum := range p.Packages {
		loaded += sum.Count
		bytes += sum.Bytes
	}
	if loaded != packages*rounds || p.Marks["truncated"] != "1" {
		t.Errorf("%d modules of %d, truncated %q", loaded, packages*rounds, p.Marks["truncated"])
	}
	if len(p.Packages) != packages || bytes < 45_000*19 {
		t.Errorf("%d packages with %d bytes are beyond the limits", len(p.Packages), bytes)
	}
}

// What is chained stays, and what is restored is what was there.
func TestOptionsAreChained(t *testing.T) {
	f := func(options, want string) {
		t.Helper()
		for _, n := range nodes(t) {
			dir := write(t, map[string]string{
				"app.js":    `exports.handler = async () => [process.env.NODE_OPTIONS ?? null, globalThis.other ?? null];`,
				"other.cjs": `globalThis.other = true`,
			})
			c := n.hooked(t, dir)
			c.Env = []string{"NODE_OPTIONS=" + strings.NewReplacer("HOOK", abs(t, "thaw.cjs"), "DIR", dir).Replace(options)}
			fn := hooktest.Start(t, c)
			if got := strings.ReplaceAll(fn.Invoke(`{}`).Body, dir, "DIR"); got != want {
				t.Errorf("%s %s: got %s, want %s", n.name, options, got, want)
			}
			if len(fn.Profiles()) != 1 {
				t.Errorf("%s %s: %d profiles", n.name, options, len(fn.Profiles()))
			}
		}
	}
	f("--require HOOK", `[null,null]`)
	f("--require=HOOK", `[null,null]`)
	f("-r HOOK", `[null,null]`)
	f(`--require "HOOK"`, `[null,null]`)
	f("--require HOOK --no-warnings", `["--no-warnings",null]`)
	f("--no-warnings  --require DIR/other.cjs  --require HOOK --max-old-space-size=300", `["--no-warnings  --require DIR/other.cjs --max-old-space-size=300",true]`)
	f("--require HOOK --require HOOK", `[null,null]`)
	f("--require HOOK --require DIR/other.cjs", `["--require DIR/other.cjs",true]`)
}

// The file is for nobody else, and not where a link leads.
func TestFileModes(t *testing.T) {
	dir := write(t, map[string]string{"app.js": `exports.handler = async () => 1;`})
	previous := syscall.Umask(0)
	defer syscall.Umask(previous)
	c := node22(t).hooked(t, dir)
	c.Profiles = filepath.Join(t.TempDir(), "profiles")
	f := hooktest.Start(t, c)
	f.Invoke(`{}`)
	for _, name := range append(f.Profiles(), c.Profiles) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// Deep mode says what was not used, and only after the first invocation.
func TestDeep(t *testing.T) {
	files := map[string]string{
		"app.js": `
const { used } = require("./lib");
exports.handler = async () => { used(); return 1; };`,
		"lib.js": `
exports.used = function () { return 1; };
exports.unused = function () { return 2; };
exports.alsoUnused = function () { return 3; };`,
	}
	for _, n := range nodes(t) {
		content := n.same(t, files, "THAW_PROFILE=deep")
		p := parse(t, content)
		found := false
		for _, c := range p.Coverage {
			if strings.HasSuffix(c.Path, "/lib.js") {
				found = true
				if c.Executed != 1 || c.Functions != 3 {
					t.Errorf("%s: %+v", n.name, c)
				}
			}
			if strings.HasSuffix(c.Path, "/hook.cjs") {
				t.Errorf("it tells of itself: %+v", c)
			}
		}
		if !found {
			t.Errorf("%s: no coverage in\n%s", n.name, content)
		}
	}
}
