"use strict";
// Records which module was loaded when, as layer/HOOKS.md says. The extension
// derives the rest.
//
// Everything here runs inside the init that it measures, mostly once and
// therefore interpreted: numbers go into typed arrays, text is made when it is
// written, and what is costly to load (perf_hooks, worker_threads, inspector) is
// not. Nothing here may throw into the function: a failure ends the recording.

const fs = process.getBuiltinModule ? process.getBuiltinModule("fs") : require("fs");
const Module = module.constructor; // require("module") would compile what is not needed

const VERSION = "node/1";
const MAX_RECORDS = 4096;
const MAX_BYTES = 512 * 1024;
const MAX_VOLUME = MAX_BYTES * 0.8; // the rest is for what is written early, and for sums
const MAX_SUMS = 1024;
const MAX_TEXT = 256;
const TICK = 100e3; // µs after which what is open is written
const LONG = 5000; // µs after which it matters how much of it was CPU
const SHORT = 50; // µs: a built-in module that takes less was loaded already

// Functions and objects that the user's code may replace later.
const { uptime, cpuUsage, env, pid } = process;
const { openSync, writeSync, closeSync, mkdirSync } = fs;
const { load, _compile } = Module.prototype;
const { _load } = Module;
const { apply } = Reflect;
const { setImmediate, Buffer } = globalThis;
const now = () => Math.round(uptime() * 1e6);

// Records, by id.
const starts = new Float64Array(MAX_RECORDS + 1);
const ends = new Float64Array(MAX_RECORDS + 1);
const sizes = new Float64Array(MAX_RECORDS + 1);
const parents = new Uint16Array(MAX_RECORDS + 1);
const written = new Uint8Array(MAX_RECORDS + 1); // 1: as open, 2: as it ended
const kinds = [""];
const flags = [""];
const names = [""];
const paths = [""];
const cpuBegins = new Map(); // of own modules: CPU time of the process
const cpuUsed = new Map(); // of those that took long
let count = 0;
let done = 0; // all ids up to this one are written as they ended

// What is being loaded: ids, and -1 for what is beyond the limits.
const stack = [];
let beyond; // packages beyond the limits, by kind and name
let beyondGrown = false;
const beyondStack = [];

const marks = { bootstrap: 0, hook: VERSION, esm: "off" };
const unseen = new Set(Module.builtinModules);
const packages = new Set();
let handler = ""; // the path of its module, up to the extension
let asked = ""; // what the running require() asked for
let off = false;
let invoked = false;
let asks = 0; // for an invocation
let fd = -1;
let origin = 0;
let bytes = 0; // written
let volume = 0; // of the records, about, once each is written
let writtenMarks = "";
let lastWrite = 0;
let cpuNow = 0;
let cpuRead = -1e9;
let cost = 0; // µs
let costWritten = 0;
const ended = []; // ids that are written as open and have ended since
let early = 0; // µs that writing early has cost, without opening the file
let earlyWrites = 0;
let hooks; // of ES modules
let native; // the runtime client's native part
let channels; // of http

function start(began) {
  marks.bootstrap = Math.round(began * 1e6);
  origin = Date.now() * 1000 - now();
  handler = handlerBase();
  if (env.LAMBDA_TASK_ROOT) marks.task_root = field(env.LAMBDA_TASK_ROOT, true);
  marks.compile_cache = env.NODE_COMPILE_CACHE ? "on" : "off";
  marks.source_maps = `${env.NODE_OPTIONS} ${process.execArgv}`.includes("--enable-source-maps") ? "on" : "off";
  Module.prototype.load = loadHook;
  Module.prototype._compile = compileHook;
  Module._load = requireHook;
  process.on("exit", flush);
  followES();
  delete Module._cache[__filename];
  cost = now() - marks.bootstrap;
}

// handlerBase is the file of _HANDLER without its extension.
function handlerBase() {
  const root = env.LAMBDA_TASK_ROOT;
  const name = env._HANDLER;
  if (!root || !name) return "";
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  const base = name.slice(0, dot < 0 ? name.length : dot);
  return base.startsWith("/") ? base : `${root}/${base}`;
}

const isHandler = (path) => handler !== "" && path.startsWith(handler) && /^(\/index)?\.[cm]?[jt]s$/.test(path.slice(handler.length));

// The patches. Each is transparent once the hook is off.

function loadHook(filename) {
  if (off) return apply(load, this, arguments);
  const id = begin(kindOf(filename), asked, filename);
  let threw = true;
  try {
    const result = apply(load, this, arguments);
    threw = false;
    return result;
  } finally {
    end(id, threw);
    if (!threw) loaded(id, filename, this);
  }
}

function compileHook(content, filename, format) {
  if (!off) source(content, filename, format);
  return apply(_compile, this, arguments);
}

function requireHook(request) {
  if (off || typeof request !== "string") return apply(_load, this, arguments);
  asked = request;
  const name = request.startsWith("node:") ? request.slice(5) : request;
  if (!unseen.delete(name)) return apply(_load, this, arguments);
  const id = begin("builtin", name, "");
  let threw = true;
  try {
    const result = apply(_load, this, arguments);
    threw = false;
    return result;
  } finally {
    end(id, threw);
    dropShort(id);
    if (name === "http") followHTTP();
  }
}

function kindOf(path) {
  if (path.endsWith(".json")) return "json";
  if (path.endsWith(".node")) return "native";
  return path.endsWith(".mjs") ? "esm" : "cjs";
}

// guard makes a function of the hook's own that never throws.
function guard(f) {
  return function (a, b, c) {
    try {
      return f(a, b, c);
    } catch {
      stop();
      return 0;
    }
  };
}

function begin(kind, name, path) {
  try {
    return beginRecord(kind, name, path);
  } catch {
    stop();
    return 0;
  }
}

function end(id, threw) {
  try {
    if (!off) endRecord(id, threw);
  } catch {
    stop();
  }
}

function beginRecord(kind, name, path) {
  const t = now();
  const imported = asked === "" || asked === path;
  asked = "";
  if (count >= MAX_RECORDS || volume >= MAX_VOLUME) {
    beginBeyond(kind, name, path, t);
    cost += now() - t;
    return -1;
  }
  const id = ++count;
  volume += 48 + 2 * path.length;
  parents[id] = parentOf(path, imported);
  kinds[id] = kind;
  flags[id] = invoked ? "l" : "";
  names[id] = name || path;
  paths[id] = path;
  ends[id] = sizes[id] = written[id] = 0;
  stack.push(id);
  if (marks.handler_begin === undefined && path !== "" && isHandler(path)) {
    marks.handler_begin = t;
    marks.cpu_begin_us = cpuTime(t);
  }
  if (path !== "" && !path.includes("/node_modules/")) cpuBegins.set(id, cpuTime(t));
  starts[id] = t;
  if (t - lastWrite >= TICK) writeAll();
  else if (earlyWrites < 8 || early < t * 0.0015) announce(path);
  cost += now() - t;
  return id;
}

function endRecord(id, threw) {
  const t = now();
  if (id < 0) {
    endBeyond(t);
    cost += now() - t;
    return;
  }
  // Whatever has not been ended inside it never will be.
  let top;
  do top = stack.pop();
  while (top !== id && top !== undefined);
  ends[id] = t;
  if (t - starts[id] >= LONG && cpuBegins.has(id)) cpuUsed.set(id, cpuTime(t) - cpuBegins.get(id));
  if (written[id] === 1) ended.push(id);
  if (threw) flags[id] += "e";
  if (threw && stack.length === 0) flush();
  cost += now() - t;
}

// cpuTime is read at most once a millisecond: it is a system call, and matters
// where time was spent.
function cpuTime(t) {
  if (t - cpuRead >= 1000) {
    const { user, system } = cpuUsage();
    cpuNow = user + system;
    cpuRead = t;
  }
  return cpuNow;
}

// dropShort forgets the last record if it was one of a module that had been
// loaded before, by Node.js itself.
const dropShort = guard((id) => {
  if (id === count && id > 0 && written[id] === 0 && ends[id] - starts[id] < SHORT) count--;
});

const source = guard((content, path, format) => {
  const id = stack[stack.length - 1];
  if (id === undefined) return;
  if (id < 0) {
    beyondStack[beyondStack.length - 1].bytes += content.length;
    return;
  }
  if (paths[id] !== path) return;
  sizes[id] += content.length;
  if (format === "module") kinds[id] = "esm";
});

const loaded = guard((id, path, module) => {
  if (path.endsWith("/rapid-client.node")) return followClient(module.exports);
  if (id > 0 && stack.length === 0 && marks.handler_end === undefined && isHandler(path)) {
    marks.handler_end = ends[id];
    marks.cpu_end_us = cpuTime(ends[id]);
    setImmediate(flush);
  }
});

// parentOf is the module that loads path: the ES module that imports it, or the
// one that is being loaded.
function parentOf(path, imported) {
  const importer = imported && importers !== undefined ? importers.get(path) : undefined;
  if (importer !== undefined) return importer.id;
  for (let i = stack.length - 1; i >= 0; i--) if (stack[i] > 0) return stack[i];
  return 0;
}

// isNews says whether this is the function's own file, or the first of its
// package.
function isNews(path) {
  if (path === "") return false; // built into Node.js
  const at = packageEnd(path);
  if (at < 0) return true;
  const name = path.slice(0, at);
  if (packages.has(name)) return false;
  packages.add(name);
  return true;
}

// packageEnd is where the folder of the package ends, -1 for own files.
function packageEnd(path) {
  let at = path.lastIndexOf("/node_modules/");
  if (at < 0) return -1;
  at += 14;
  const slash = path.indexOf("/", at);
  return path.charCodeAt(at) === 64 /* @ */ ? path.indexOf("/", slash + 1) : slash;
}

// Beyond the limits only sums are kept.

function beginBeyond(kind, name, path, t) {
  marks.truncated = 1;
  beyond = beyond || new Map();
  const at = packageEnd(path);
  const own = at < 0 ? path.slice(0, path.lastIndexOf("/")) : path.slice(path.lastIndexOf("/node_modules/") + 14, at);
  beyondStack.push({ kind, name: own || name, start: t, inner: 0, bytes: 0 });
  stack.push(-1);
}

function endBeyond(t) {
  while (stack.length > 0 && stack.pop() !== -1);
  const ended = beyondStack.pop();
  const whole = t - ended.start;
  if (beyondStack.length > 0) beyondStack[beyondStack.length - 1].inner += whole;
  const key = `${ended.kind}\t${ended.name}`;
  let sum = beyond.get(key);
  if (sum === undefined) {
    if (beyond.size >= MAX_RECORDS) return;
    beyond.set(key, (sum = { kind: ended.kind, name: ended.name, count: 0, self: 0, bytes: 0 }));
  }
  beyondGrown = true;
  sum.count++;
  sum.self += whole - ended.inner;
  sum.bytes += ended.bytes;
}

// Writing.

// announce writes what is open when a new package begins, so that an init that
// hangs in it says so. It costs a system call, so that it has a budget: eight
// times, and then 0.15 %.
function announce(path) {
  if (!isNews(path)) return;
  earlyWrites++;
  if (fd < 0) open();
  const from = now();
  let text = "";
  for (const id of stack) if (id > 0 && written[id] === 0) text += record(id);
  for (const id of ended) text += record(id);
  ended.length = 0;
  write(text + changedMarks());
  early += now() - from;
}

// flush writes everything that has not been written.
const flush = guard(() => {
  if (off) return;
  const t = now();
  settle();
  writeAll();
  if (beyondGrown) write(sums());
  beyondGrown = false;
  cost += now() - t;
  if (costWritten !== Math.round(cost)) write(hookCost());
});

function writeAll() {
  let text = "";
  for (let id = done + 1; id <= count; id++) {
    if (written[id] === 0 || (written[id] === 1 && ends[id] !== 0)) text += record(id);
  }
  ended.length = 0;
  while (done < count && written[done + 1] === 2) done++;
  write(text + changedMarks());
}

function record(id) {
  written[id] = ends[id] === 0 ? 1 : 2;
  const path = paths[id];
  const name = names[id] === path ? "" : names[id];
  const cpu = cpuUsed.get(id);
  const more = cpu === undefined ? "" : `w\t${id}\t${cpu}\n`;
  return `r\t${id}\t${parents[id]}\t${kinds[id]}\t${starts[id]}\t${ends[id]}\t${sizes[id]}\t${flags[id] || "-"}\t${field(name || path, name === "")}\t${field(path, true)}\n${more}`;
}

function changedMarks() {
  let lines = "";
  for (const name in marks) lines += `m\t${name}\t${marks[name]}\n`;
  if (lines === writtenMarks) return "";
  writtenMarks = lines;
  return lines + hookCost();
}

function hookCost() {
  costWritten = Math.round(cost);
  return `m\thook_us\t${costWritten}\n`;
}

// sums are cut where the file is full: the largest come first.
function sums() {
  let lines = "";
  const largest = [...beyond.values()].sort((a, b) => b.self - a.self);
  for (const s of largest.slice(0, MAX_SUMS)) {
    if (bytes + lines.length > MAX_BYTES - 1024) break;
    lines += `p\t${s.kind}\t${s.count}\t${s.self}\t${s.bytes}\t${field(s.name, false)}\n`;
  }
  return lines;
}

const plain = /^[\x20-\x5b\x5d-\x7e]*$/;
const escapes = { "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" };

// field is s as a field, cut to its end or to its beginning.
function field(s, keepEnd) {
  if (s.length <= MAX_TEXT && plain.test(s)) return s;
  const characters = Array.from(s, (c) => escapes[c] || (c >= "\ud800" && c <= "\udfff" && c.length === 1 ? "\ufffd" : c));
  if (keepEnd) characters.reverse();
  const kept = [];
  let left = MAX_TEXT;
  for (const c of characters) {
    left -= Buffer.byteLength(c);
    if (left < 0) break;
    kept.push(c);
  }
  return (keepEnd ? kept.reverse() : kept).join("");
}

function write(text) {
  if (text === "") return;
  if (fd < 0) open();
  if (bytes === 0) text = `thaw-init\t1\tnodejs\t${process.version}\t${pid}\t${origin}\n${text}`;
  lastWrite = now();
  const length = Buffer.byteLength(text);
  if (bytes + length > MAX_BYTES) throw new Error("the file would be too large");
  bytes += length;
  // On a full disk a part may have been written: the rest must not follow it.
  if (writeSync(fd, text) !== length) throw new Error("the disk is full");
}

function open() {
  const dir = env.THAW_PROFILE_DIR || "/tmp/.thaw";
  const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = fs.constants;
  try {
    mkdirSync(dir, 0o700);
  } catch {
    // It is there already; or it cannot be made, and opening says so.
  }
  fd = openSync(`${dir}/init-${pid}-${Math.round(origin / 1000)}.tsv`, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0o600);
}

// The end. The runtime asks for an invocation when its init is over, and again
// when the first invocation is.

const askNext = guard(() => {
  asks++;
  if (asks === 1) {
    marks.first_next = now();
    if (marks.handler_end === undefined && marks.handler_begin !== undefined) marks.handler_end = marks.first_next;
    setImmediate(flush);
  } else if (!off) {
    flush();
    if (env.THAW_PROFILE === "deep") coverage();
    stop();
  }
});

function gotNext() {
  invoked = true;
}

// followClient follows AWS's runtime client, which asks in native code.
function followClient(client) {
  const { next } = client;
  if (typeof next !== "function") return;
  native = {
    client,
    next,
    hook() {
      askNext();
      const result = apply(next, this, arguments);
      if (result instanceof Promise) result.then(gotNext, gotNext);
      else gotNext();
      return result;
    },
  };
  client.next = native.hook;
}

// followHTTP follows clients that ask with node:http, through its diagnostics
// channels.
const followHTTP = guard(() => {
  if (channels !== undefined || native !== undefined) return;
  const { channel } = apply(_load, Module, ["diagnostics_channel", module, false]);
  const isNext = ({ request }) => request.method === "GET" && request.path.endsWith("/runtime/invocation/next");
  const isAnswer = ({ request }) => request.method === "POST" && request.path.includes("/runtime/invocation/");
  const began = guard((m) => (isNext(m) ? askNext() : invoked && isAnswer(m) && flush()));
  const got = guard((m) => isNext(m) && gotNext());
  channels = [
    [channel("http.client.request.start"), began],
    [channel("http.client.response.finish"), got],
  ];
  for (const [c, f] of channels) c.subscribe(f);
});

function stop() {
  if (off) return;
  off = true;
  try {
    if (Module.prototype.load === loadHook) Module.prototype.load = load;
    if (Module.prototype._compile === compileHook) Module.prototype._compile = _compile;
    if (Module._load === requireHook) Module._load = _load;
    process.removeListener("exit", flush);
    if (native !== undefined && native.client.next === native.hook) native.client.next = native.next;
    if (channels !== undefined) for (const [c, f] of channels) c.unsubscribe(f);
    if (hooks !== undefined) hooks.deregister();
    delete globalThis[EVALUATED];
    if (fd >= 0) closeSync(fd);
  } catch {
    // Each of them is transparent when it is off.
  }
}

// ES modules. They are read one after the other, breadth first, linked, and then
// evaluated in post order. Reading is seen by a load hook. Evaluating is seen by
// nothing: in the mode "eval" a call is appended to each source, on a line of its
// own, so that lines and columns stay what they are.

let importers; // path: id and specifier of the first module that imports it
let modules; // url: id
let edges; // by id, in the mode "eval": ids or urls of what it imports
let evaluated; // by id: when its body was done

const EVALUATED = Symbol.for("thaw.evaluated");

function followES() {
  const mode = env.THAW_PROFILE_ESM || (handlerIsES() ? "load" : "off");
  if (typeof Module.registerHooks !== "function" || (mode !== "load" && mode !== "eval")) return;
  marks.esm = mode;
  importers = new Map();
  modules = new Map();
  if (mode === "eval") {
    edges = [];
    evaluated = [];
    const value = (id) => {
      if (!off) evaluated[id] = now();
    };
    Object.defineProperty(globalThis, EVALUATED, { value, configurable: true });
  }
  hooks = Module.registerHooks({ resolve: resolveHook, load: readHook });
}

// handlerIsES guesses: with hooks for ES modules even require() takes another
// way through Node.js, which functions without ES modules are spared.
function handlerIsES() {
  if (handler === "") return false;
  if (!fs.existsSync(`${handler}.js`)) return fs.existsSync(`${handler}.mjs`);
  const dirs = [handler.slice(0, handler.lastIndexOf("/")), env.LAMBDA_TASK_ROOT];
  for (const dir of dirs) {
    const file = `${dir}/package.json`;
    if (fs.existsSync(file)) return /"type"\s*:\s*"module"/.test(fs.readFileSync(file, "utf8"));
  }
  return false;
}

function resolveHook(specifier, context, next) {
  const result = next(specifier, context);
  if (!off) imported(specifier, context.parentURL, result.url);
  return result;
}

function readHook(url, context, next) {
  if (off) return next(url, context);
  const t = now();
  const result = next(url, context);
  if (result.format !== "module" || off) return result;
  return reading(url, result, t) || result;
}

const imported = guard((specifier, parent, url) => {
  const id = modules.get(parent);
  if (id === undefined) return;
  const path = pathOf(url);
  if (path !== "" && !importers.has(path)) importers.set(path, { id, specifier });
  if (edges !== undefined) edges[id].push(url);
});

const pathOf = (url) => {
  if (!url.startsWith("file://")) return "";
  const path = url.slice(7).replace(/[?#].*$/, "");
  return path.includes("%") ? decodeURIComponent(path) : path;
};

// reading records that a module was read between t and now.
const reading = guard((url, result, t) => {
  const path = pathOf(url);
  const importer = importers.get(path);
  asked = "";
  const id = begin("esm", importer === undefined ? path : importer.specifier, path);
  stack.pop();
  if (id <= 0) {
    if (id < 0) beyondStack.pop();
    return undefined;
  }
  flags[id] += "a";
  starts[id] = t;
  ends[id] = now();
  sizes[id] = result.source.length;
  modules.set(url, id);
  if (edges === undefined) return undefined;
  edges[id] = [];
  return { ...result, source: `${Buffer.from(result.source)}\n;globalThis[Symbol.for("thaw.evaluated")]?.(${id});` };
});

// settle turns the times of reading into times of evaluating: a module begins
// where the one evaluated before the first of its imports was done.
function settle() {
  if (evaluated === undefined) return;
  const roots = [];
  const imports = new Set();
  evaluated.forEach((at, id) => {
    for (const url of edges[id]) {
      const child = modules.get(url);
      // What is done after its importer was imported dynamically, or in a circle.
      if (evaluated[child] <= at) imports.add(child);
    }
  });
  evaluated.forEach((_, id) => imports.has(id) || roots.push(id));
  const visited = new Set();
  for (const root of roots) settleRoot(root, visited);
  evaluated = [];
}

function settleRoot(root, visited) {
  const order = [];
  const collect = (id) => {
    visited.add(id);
    const children = edges[id].map((url) => modules.get(url)).filter((c) => evaluated[c] <= evaluated[id]);
    for (const child of children) {
      if (visited.has(child)) continue;
      parents[child] = id;
      collect(child);
    }
    order.push(id);
  };
  collect(root);
  let read = Infinity;
  let link = 0;
  for (const id of order) {
    read = Math.min(read, starts[id]);
    link = Math.max(link, ends[id]);
  }
  step("(read ES modules)", root, read, link);
  step("(link ES modules)", root, link, evaluated[order[0]]);
  // In post order the ones before a module are its descendants or are done
  // before the first of them.
  let last = evaluated[order[0]];
  const inside = new Map(); // start of the earliest descendant
  for (const id of order) {
    starts[id] = inside.get(id) || last;
    ends[id] = Math.max(evaluated[id], starts[id]);
    // Top-level await lets others run in between: then times do not nest.
    flags[id] = id !== root && last <= evaluated[id] ? flags[id].replace("a", "") : flags[id];
    last = ends[id];
    written[id] = 0;
    done = Math.min(done, id - 1);
    if (id !== root && !inside.has(parents[id])) inside.set(parents[id], starts[id]);
  }
}

// step records what Node.js did with a whole graph of modules.
function step(name, root, from, to) {
  if (to - from < 1000 || count >= MAX_RECORDS) return;
  const id = ++count;
  kinds[id] = "esm";
  names[id] = name;
  paths[id] = "";
  parents[id] = parents[root];
  flags[id] = "a";
  starts[id] = from;
  ends[id] = to;
  sizes[id] = written[id] = 0;
}

// In the mode "deep": how many of the functions of what was loaded have been
// executed. It takes some 30 ms, after the first response and before the runtime
// asks for the next invocation.
function coverage() {
  const { Session } = apply(_load, Module, ["inspector", module, false]);
  const session = new Session();
  session.connect();
  let lines = "";
  session.post("Profiler.getBestEffortCoverage", (err, found) => {
    for (const script of err ? [] : found.result) lines += coverageOf(script);
  });
  session.disconnect();
  write(lines);
}

function coverageOf({ url, functions }) {
  const path = url.startsWith("/") ? url : pathOf(url);
  if (path === "" || path.startsWith(__dirname)) return "";
  // The first is the top level, which loading executes.
  let executed = 0;
  for (let i = 1; i < functions.length; i++) if (functions[i].ranges[0].count > 0) executed++;
  return `c\t${executed}\t${functions.length - 1}\t${field(path, true)}\n`;
}

module.exports = start;
