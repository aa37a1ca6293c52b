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
const EARLY = 4; // times that what is open is written whatever that costs
const TICK = 100e3; // µs after which what is open is written
const LONG = 20e3; // µs after which it matters how much of it was CPU
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
const cpuBegins = new Float64Array(MAX_RECORDS + 1); // of own modules: CPU time of the process
const cpuUsed = new Map(); // of those that took long
let count = 0;
let done = 0; // all ids up to this one are written as they ended

// What is being loaded: ids, and -1 for what is beyond the limits.
const stack = [];
const beyond = new Map(); // packages beyond the limits, by kind and name
let beyondGrown = false;
const beyondStack = [];

const marks = {};
const unseen = new Set(Module.builtinModules);
const packages = new Set();
let handler = ""; // the path of its module, up to the extension
let asked = ""; // what the running require() asked for
let off = false;
let invoked = false;
let asks = 0; // for an invocation
let requires = 0;
let fd = -1;
let origin = 0;
let bytes = 0; // written
let volume = 0; // characters of paths
let unwritten = ""; // marks
let lastWrite = 0;
let cpuNow = 0;
let cpuRead = -1e9;
let cost = 0; // µs
let unusual = false; // something that is not done for every module
let costWritten = 0;
const ended = []; // ids that are written as open and have ended since
let early = 0; // µs that writing early has cost, without opening the file
let earlyWrites = 0;
let es; // what es.cjs exports, where ES modules are followed
let native; // the runtime client's native part
let channels; // of http

function start(began) {
  set("bootstrap", Math.round(began * 1e6));
  set("hook", VERSION);
  set("esm", "off");
  origin = Date.now() * 1000 - now();
  handler = handlerBase();
  if (env.LAMBDA_TASK_ROOT) set("task_root", field(env.LAMBDA_TASK_ROOT, true));
  set("compile_cache", env.NODE_COMPILE_CACHE ? "on" : "off");
  set("source_maps", `${env.NODE_OPTIONS} ${process.execArgv}`.includes("--enable-source-maps") ? "on" : "off");
  Module.prototype.load = loadHook;
  Module.prototype._compile = compileHook;
  Module._load = requireHook;
  process.on("exit", flush);
  followES();
  cost = now() - marks.bootstrap;
}

// part loads another file of the hook, outside Node.js's cache of modules.
function part(name) {
  const file = `${__dirname}/${name}`;
  const loaded = new Module(file, null);
  apply(_compile, loaded, [fs.readFileSync(file, "utf8"), file, "commonjs"]);
  return loaded.exports;
}

// followES follows ES modules where Node.js can, if they are wanted.
function followES() {
  if (typeof Module.registerHooks !== "function") return;
  const mode = env.THAW_PROFILE_ESM || (handlerIsES() ? "load" : "off");
  if (mode !== "load" && mode !== "eval") return;
  es = part("es.cjs");
  es.follow(Module, mode, { starts, ends, parents, flags, now, guard, add, changed, spent, isOff: () => off });
  set("esm", mode);
}

// handlerIsES guesses: with hooks for ES modules even require() takes another
// way through Node.js, which functions without ES modules are spared.
function handlerIsES() {
  if (handler === "") return false;
  if (!fs.existsSync(`${handler}.js`)) return fs.existsSync(`${handler}.mjs`);
  for (const dir of [handler.slice(0, handler.lastIndexOf("/")), env.LAMBDA_TASK_ROOT]) {
    const file = `${dir}/package.json`;
    if (fs.existsSync(file)) return /"type"\s*:\s*"module"/.test(fs.readFileSync(file, "utf8"));
  }
  return false;
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
  const id = off ? 0 : stack[stack.length - 1];
  if (id > 0 && paths[id] === filename) {
    sizes[id] = content.length;
    if (format === "module") kinds[id] = "esm";
  } else if (id < 0) {
    beyondStack[beyondStack.length - 1].bytes += content.length;
  }
  return apply(_compile, this, arguments);
}

function requireHook(request) {
  if (off || typeof request !== "string") return apply(_load, this, arguments);
  // Most are of what is there already: one in sixteen is measured, less what
  // reading the clock takes.
  const sampled = (++requires & 15) === 0;
  const t0 = sampled ? uptime() : 0;
  const t = sampled ? uptime() : 0;
  asked = request;
  const c = request.charCodeAt(0);
  if (c !== 46 /* . */ && c !== 47 /* / */) {
    const name = request.startsWith("node:") ? request.slice(5) : request;
    if (unseen.delete(name)) return loadBuiltin(name, this, arguments);
  }
  if (sampled) cost += 16e6 * (uptime() - t - (t - t0));
  return apply(_load, this, arguments);
}

function loadBuiltin(name, self, args) {
  const id = begin("builtin", name, "");
  let threw = true;
  try {
    const result = apply(_load, self, args);
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
  if (isFull()) {
    beginBeyond(kind, packageOf(name, path), t);
    cost += now() - t;
    return -1;
  }
  const id = ++count;
  fill(id, kind, name, path, parentOf(path, imported));
  stack.push(id);
  const at = packageEnd(path);
  if (at < 0 && path !== "") {
    cpuBegins[id] = cpuTime(t);
    if (marks.handler_begin === undefined && isHandler(path)) {
      set("handler_begin", t);
      set("cpu_begin_us", cpuNow);
    }
  }
  starts[id] = t;
  if (t - lastWrite >= TICK) writeAll();
  else if (earlyWrites < EARLY || early < t * 0.001) announce(path, at);
  account(id, t);
  return id;
}

// account adds what has been spent since t. Reading the clock is a good part of
// it, so that only every fourth module is measured, and those where more was done
// than usual.
function account(id, t) {
  if (unusual) cost += now() - t;
  else if ((id & 3) === 0) cost += 4 * (now() - t);
  unusual = false;
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
  if (t - starts[id] >= LONG && cpuBegins[id] !== 0) cpuUsed.set(id, cpuTime(t) - cpuBegins[id]);
  if (written[id] === 1) ended.push(id);
  if (threw) flags[id] += "e";
  account(id, t);
  if (threw && stack.length === 0) flush();
}

// add records what was loaded without being on the stack, from t until now or to.
// It returns 0 when there is no room.
function add(kind, name, path, parent, t, size, to) {
  const end = to || now();
  if (isFull()) {
    sumUp(kind, packageOf(name, path), end - t, size);
    return 0;
  }
  const id = ++count;
  fill(id, kind, name, path, parent);
  flags[id] += "a";
  starts[id] = t;
  ends[id] = end;
  sizes[id] = size;
  if (marks.handler_begin === undefined && path !== "" && isHandler(path)) set("handler_begin", t);
  if (end - lastWrite >= TICK) writeAll();
  return id;
}

// spent adds to the cost what has passed since t.
function spent(t) {
  cost += now() - t;
}

// changed has a record written again.
function changed(id) {
  written[id] = 0;
  done = Math.min(done, id - 1);
}

const isFull = () => count >= MAX_RECORDS || 2 * volume + 48 * count >= MAX_VOLUME;

function fill(id, kind, name, path, parent) {
  volume += path.length;
  parents[id] = parent;
  kinds[id] = kind;
  names[id] = name || path;
  paths[id] = path;
  flags[id] = invoked ? "l" : "";
}

// cpuTime is read at most once in 5 ms: it is a system call, and matters
// where time was spent.
function cpuTime(t) {
  if (t - cpuRead >= 5000) {
    const { user, system } = cpuUsage();
    cpuNow = user + system;
    cpuRead = t;
    unusual = true;
  }
  return cpuNow;
}

// dropShort forgets the last record if it was one of a module that had been
// loaded before, by Node.js itself.
const dropShort = guard((id) => {
  if (id !== count || id <= 0 || written[id] !== 0 || ends[id] - starts[id] >= SHORT) return;
  ends[id] = 0;
  count--;
});

const loaded = guard((id, path, module) => {
  if (path.endsWith("/rapid-client.node")) return followClient(module.exports);
  if (id > 0 && stack.length === 0 && marks.handler_end === undefined && isHandler(path)) {
    set("handler_end", ends[id]);
    set("cpu_end_us", cpuTime(ends[id]));
    setImmediate(flush);
  }
});

// parentOf is the module that loads path: the ES module that imports it, or the
// one that is being loaded.
function parentOf(path, imported) {
  if (imported && es !== undefined && es.importerOf(path) > 0) return es.importerOf(path);
  for (let i = stack.length - 1; i >= 0; i--) if (stack[i] > 0) return stack[i];
  return 0;
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

function beginBeyond(kind, name, t) {
  beyondStack.push({ kind, name, start: t, inner: 0, bytes: 0 });
  stack.push(-1);
}

function endBeyond(t) {
  while (stack.length > 0 && stack.pop() !== -1);
  const { kind, name, start, inner, bytes } = beyondStack.pop();
  if (beyondStack.length > 0) beyondStack[beyondStack.length - 1].inner += t - start;
  sumUp(kind, name, t - start - inner, bytes);
}

function sumUp(kind, name, self, size) {
  if (marks.truncated === undefined) set("truncated", 1);
  const key = `${kind}\t${name}`;
  let sum = beyond.get(key);
  if (sum === undefined) {
    if (beyond.size >= MAX_RECORDS) return;
    beyond.set(key, (sum = { kind, name, count: 0, self: 0, bytes: 0 }));
  }
  beyondGrown = true;
  sum.count++;
  sum.self += self;
  sum.bytes += size;
}

// packageOf is the name of a module's package, of an own one its folder.
function packageOf(name, path) {
  const at = packageEnd(path);
  if (at >= 0) return path.slice(path.lastIndexOf("/node_modules/") + 14, at);
  return path.slice(0, path.lastIndexOf("/")) || name;
}

// Writing.

// announce writes what is open when a file of the function's own begins, or the
// first of a package, so that an init that hangs in it says so. It costs a system
// call, so that it has a budget: four times, and then 0.1 %.
function announce(path, at) {
  if (path === "") return; // built into Node.js
  if (at >= 0) {
    const name = path.slice(0, at);
    if (packages.has(name)) return;
    packages.add(name);
  }
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
  if (es !== undefined) es.settle();
  writeAll();
  if (beyondGrown) write(sums());
  beyondGrown = false;
  cost += now() - t;
  if (costWritten !== Math.round(cost)) write(hookCost());
});

function writeAll() {
  let text = "";
  allPlain = plain.test(names.slice(done + 1, count + 1).join("") + paths.slice(done + 1, count + 1).join(""));
  for (let id = done + 1; id <= count; id++) {
    if (written[id] === 0 || (written[id] === 1 && ends[id] !== 0)) text += record(id);
  }
  allPlain = false;
  ended.length = 0;
  while (done < count && written[done + 1] === 2) done++;
  write(text + changedMarks());
}

function record(id) {
  written[id] = ends[id] === 0 ? 1 : 2;
  const path = field(paths[id], true);
  const name = names[id] === paths[id] ? path : field(names[id], false);
  const cpu = cpuUsed.size === 0 || !cpuUsed.has(id) ? "" : `w\t${id}\t${cpuUsed.get(id)}\n`;
  return `r\t${id}\t${parents[id]}\t${kinds[id]}\t${starts[id]}\t${ends[id]}\t${sizes[id]}\t${flags[id] || "-"}\t${name}\t${path}\n${cpu}`;
}

function set(name, value) {
  marks[name] = value;
  unwritten += `m\t${name}\t${value}\n`;
}

function changedMarks() {
  if (unwritten === "") return "";
  const lines = unwritten;
  unwritten = "";
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

let allPlain = false; // all that is being written
const plain = /^[\x20-\x5b\x5d-\x7e]*$/;
const escapes = { "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" };

// field is s as a field, cut to its end or to its beginning.
function field(s, keepEnd) {
  if (s.length <= MAX_TEXT && (allPlain || plain.test(s))) return s;
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
  unusual = true;
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
    set("first_next", now());
    if (marks.handler_end === undefined && marks.handler_begin !== undefined) set("handler_end", marks.first_next);
    setImmediate(flush);
  } else if (!off) {
    flush();
    if (env.THAW_PROFILE === "deep") write(part("deep.cjs").coverage(field));
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
    if (es !== undefined) es.stop();
    if (fd >= 0) closeSync(fd);
  } catch {
    // Each of them is transparent when it is off.
  }
}

module.exports = start;
