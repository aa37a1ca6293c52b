"use strict";
// The part of the hook that follows ES modules, loaded where there are any.
//
// ES modules are read one after the other, breadth first, then linked, and then
// evaluated in post order. Reading is seen by a load hook. Evaluating is seen by
// nothing: in the mode "eval" a call is appended to each source, on a line of its
// own, so that lines and columns stay what they are.

const EVALUATED = Symbol.for("thaw.evaluated");

const importers = new Map(); // path: id and specifier of the first module that imports it
const modules = new Map(); // url: id
let edges; // by id, in the mode "eval": the urls that it imports
let evaluated; // by id: when its body was done
let records; // the hook's, see hook.cjs
let hooks;

function follow(Module, mode, hook) {
  records = hook;
  imported = hook.guard(imported);
  reading = hook.guard(reading);
  if (mode === "eval") {
    edges = [];
    evaluated = [];
    const value = (id) => {
      if (!records.isOff()) evaluated[id] = records.now();
    };
    Object.defineProperty(globalThis, EVALUATED, { value, configurable: true });
  }
  hooks = Module.registerHooks({ resolve: resolveHook, load: readHook });
}

function stop() {
  hooks.deregister();
  delete globalThis[EVALUATED];
}

function resolveHook(specifier, context, next) {
  const result = next(specifier, context);
  if (records.isOff()) return result;
  const t = records.now();
  imported(specifier, context.parentURL, result.url);
  records.spent(t);
  return result;
}

function readHook(url, context, next) {
  if (records.isOff()) return next(url, context);
  const t = records.now();
  const result = next(url, context);
  if (result.format !== "module" || records.isOff()) return result;
  const read = records.now();
  const changed = reading(url, result, t);
  records.spent(read);
  return changed || result;
}

let imported = (specifier, parent, url) => {
  const id = modules.get(parent);
  if (id === undefined) return;
  const path = pathOf(url);
  if (path !== "" && !importers.has(path)) importers.set(path, { id, specifier });
  if (edges !== undefined) edges[id].push(url);
};

// reading records that a module was read between t and now.
let reading = (url, result, t) => {
  const path = pathOf(url);
  const importer = importers.get(path);
  const { id, specifier } = importer === undefined ? { id: 0, specifier: path } : importer;
  const own = records.add("esm", specifier, path, id, t, result.source.length);
  if (own === 0) return undefined;
  modules.set(url, own);
  if (edges === undefined) return undefined;
  edges[own] = [];
  return { ...result, source: `${Buffer.from(result.source)}\n;globalThis[Symbol.for("thaw.evaluated")]?.(${own});` };
};

// importerOf is the id of the first module that imports the path, or 0.
function importerOf(path) {
  const importer = importers.get(path);
  return importer === undefined ? 0 : importer.id;
}

function pathOf(url) {
  if (!url.startsWith("file://")) return "";
  const path = url.slice(7).replace(/[?#].*$/, "");
  return path.includes("%") ? decodeURIComponent(path) : path;
}

// settle turns times of reading into times of evaluating, for what has been
// evaluated since the last time.
function settle() {
  if (evaluated === undefined || evaluated.length === 0) return;
  const roots = new Set();
  evaluated.forEach((_, id) => roots.add(id));
  evaluated.forEach((_, id) => childrenOf(id).forEach((child) => roots.delete(child)));
  const visited = new Set();
  for (const root of roots) settleRoot(root, visited);
  evaluated = [];
}

// childrenOf are the modules that had to be evaluated before: not those that are
// imported dynamically, and not the way back in a circle.
function childrenOf(id) {
  return edges[id].map((url) => modules.get(url)).filter((child) => child !== id && evaluated[child] <= evaluated[id]);
}

function settleRoot(root, visited) {
  const { starts, ends, parents, flags } = records;
  const order = [];
  const collect = (id) => {
    visited.add(id);
    for (const child of childrenOf(id)) {
      if (visited.has(child)) continue;
      parents[child] = id;
      collect(child);
    }
    order.push(id);
  };
  collect(root);
  const read = Math.min(...order.map((id) => starts[id]));
  const link = Math.max(...order.map((id) => ends[id]));
  step("(read ES modules)", root, read, link);
  step("(link ES modules)", root, link, evaluated[order[0]]);
  // In post order, what is done before a module is either below it, or done
  // before the first of those began.
  let last = evaluated[order[0]];
  const first = new Map(); // when the first child of a module began
  for (const id of order) {
    starts[id] = first.has(id) ? first.get(id) : last;
    // With top-level await others run in between, and times do not nest.
    if (id !== root && last <= evaluated[id]) flags[id] = flags[id].replace("a", "");
    ends[id] = last = Math.max(evaluated[id], starts[id]);
    records.changed(id);
    if (id !== root && !first.has(parents[id])) first.set(parents[id], starts[id]);
  }
}

// step records what Node.js did with a whole graph of modules.
function step(name, root, from, to) {
  if (to - from >= 1000) records.add("esm", name, "", records.parents[root], from, 0, to);
}

module.exports = { follow, importerOf, settle, stop };
