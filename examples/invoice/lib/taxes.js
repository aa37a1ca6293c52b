"use strict";
// The tax table: read, checked against its digest, parsed and indexed as a whole
// when the module is loaded.

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const data = path.join(__dirname, "..", "data");
const index = load();

function load() {
  const text = fs.readFileSync(path.join(data, "taxes.json"));
  const want = fs.readFileSync(path.join(data, "taxes.sha256"), "utf8").trim();
  const have = crypto.createHash("sha256").update(text).digest("hex");
  if (have !== want) throw new Error(`taxes.json is damaged: its digest is ${have}, not ${want}`);
  const rows = JSON.parse(text);
  return new Map(rows.map((row) => [key(row.country, row.region, row.category), row.rate]));
}

function key(country, region, category) {
  return `${country}/${region}/${category}`;
}

exports.rate = (country, region, category) => {
  const rate = index.get(key(country, region, category));
  if (rate === undefined) throw new RangeError(`no tax rate for ${key(country, region, category)}`);
  return rate;
};
