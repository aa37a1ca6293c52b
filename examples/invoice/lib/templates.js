"use strict";
// All templates of all languages, compiled to functions when the module is
// loaded. A template is text with {{name}} and, over several lines,
// {{#list}} ... {{/list}}.

const fs = require("node:fs");
const path = require("node:path");

const root = path.join(__dirname, "..", "templates");
const compiled = new Map();
for (const language of fs.readdirSync(root)) {
  for (const file of fs.readdirSync(path.join(root, language))) {
    const source = fs.readFileSync(path.join(root, language, file), "utf8");
    compiled.set(`${language}/${path.parse(file).name}`, compile(source));
  }
}

// compile makes a function of the template, and runs it once so that a mistake
// in a template is found at start and not in front of a customer.
function compile(source) {
  const body = source.split(/(\{\{[#/]?\w+\}\})/).map(statement).join("\n");
  const render = new Function("root", `let out = "", it = root;\n${body}\nreturn out;`);
  render(new Proxy({}, { get: (_, name) => (name === "lines" ? [{}] : String(name)) }));
  return render;
}

function statement(part) {
  const [, sigil, name] = /^\{\{([#/]?)(\w+)\}\}$/.exec(part) ?? [];
  if (!name) return `out += ${JSON.stringify(part)};`;
  if (sigil === "#") return `for (it of root[${JSON.stringify(name)}]) {`;
  if (sigil === "/") return "} it = root;";
  return `out += it[${JSON.stringify(name)}];`;
}

exports.render = (kind, language, values) => {
  const render = compiled.get(`${language}/${kind}`);
  if (!render) throw new RangeError(`no template ${language}/${kind}`);
  return render(values);
};
